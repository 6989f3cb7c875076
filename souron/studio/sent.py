"""The files that a page sent, under the names that they had.

A browser writes ``"`` as ``%22`` when it sends a file, and Gradio leaves out what some disk may not
take; what people see is to be called as they call it.
"""

import os
import unicodedata
from abc import ABCMeta
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

LONGEST = 255  # bytes of a name


class Painted(NamedTuple):
    """A picture and what was painted on it."""

    picture: str  # its file
    layers: tuple[str, ...]  # of each layer a file, clear where nothing was painted


def received(component: Any, read: Callable[[Any], Any] | None = None) -> Any:
    """The component, which from here on hands over where what was sent lies: Gradio itself would
    open it, without limits. A class, since Gradio makes a component anew when it is updated."""
    kind: Any = type(component)
    component.__class__ = _receiving(kind, read or place)
    return component


@lru_cache
def _receiving(kind: Any, read: Callable[[Any], Any]) -> Any:
    def preprocess(_self: Any, payload: Any) -> Any:
        return read(payload)

    about = {"preprocess": preprocess, "__module__": kind.__module__}
    return ABCMeta.__new__(type(kind), kind.__name__, (kind,), about)  # writes no .pyi beside it


def place(sent: Any) -> str | None:
    """Where the file lies that was sent; None where none was."""
    if not sent:
        return None
    path, name = Path(sent.path), str(getattr(sent, "orig_name", None) or "")
    if name == path.name or not can_be_kept(name):
        return str(path)
    own = path.with_name(name)
    with suppress(OSError, ValueError):  # a disk that does not take the name, or no second one
        if not own.exists():
            os.link(path, own)
        return str(own)
    return str(path)


def places(sent: Any) -> list[str]:
    """Of several."""
    return [path for each in sent or [] if (path := place(each))]


def painted(sent: Any) -> Painted | None:
    """Of an editor of pictures; None where it holds none."""
    if sent is None or not getattr(sent, "background", None):
        return None
    layers = (place(layer) for layer in sent.layers or ())
    return Painted(place(sent.background) or "", tuple(path for path in layers if path))


def can_be_kept(name: str) -> bool:
    """The name of a file that lies beside the one that was sent, and nowhere else?"""
    plain = Path(name).name == name and not name.startswith(".") and "\\" not in name
    if not plain or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return False
    return 0 < len(os.fsencode(name)) <= LONGEST
