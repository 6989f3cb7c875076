"""Uploaded files under their original names.

A browser sends ``"`` in a name as ``%22``, and Gradio drops characters that some file system does
not allow; the user should see the name as it was.
"""

import os
import unicodedata
from abc import ABCMeta
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from souron.kinds import files
from souron.kinds.text import Text
from souron.studio.security.paths import upload_folder
from souron.utils.messages import UserError

LONGEST = 255  # bytes of a name
TYPED = "typed"  # the folder of typed texts


class Painted(NamedTuple):
    """An image and what was painted on it."""

    image: str  # its file
    layers: tuple[str, ...]  # a file for each layer, transparent where nothing was painted


def received(component: Any, read: Callable[[Any], Any] | None = None) -> Any:
    """Make a component return the path of an upload instead of its content.

    Gradio would open the file without limits. The component's class is changed, since Gradio
    creates components anew on updates.
    """
    kind: Any = type(component)
    component.__class__ = _receiving(kind, read or place)
    return component


@lru_cache
def _receiving(kind: Any, read: Callable[[Any], Any]) -> Any:
    def preprocess(_self: Any, payload: Any) -> Any:
        return read(payload)

    about = {"preprocess": preprocess, "__module__": kind.__module__}
    return ABCMeta.__new__(type(kind), kind.__name__, (kind,), about)  # avoids writing a .pyi file


def place(sent: Any) -> str | None:
    """Return the path of an uploaded file under its original name; None where there is none."""
    if not sent:
        return None
    path, name = Path(sent.path), str(getattr(sent, "orig_name", None) or "")
    if name == path.name or not can_be_kept(name):
        return str(path)
    own = path.with_name(name)
    with suppress(OSError, ValueError):  # a file system without such names or hard links
        if not own.exists():
            os.link(path, own)
        return str(own)
    return str(path)


def places(sent: Any) -> list[str]:
    """Return the paths of several uploaded files."""
    return [path for each in sent or [] if (path := place(each))]


def is_sent(path: str) -> bool:
    """Return whether a path leads to a file that was uploaded, also to a server that has ended."""
    try:
        return Path(path).resolve().is_relative_to(Path(upload_folder()).parent.resolve())
    except (OSError, ValueError):  # ValueError: a null byte
        return False


def painted(sent: Any) -> Painted | None:
    """Return the content of an image editor; None where it is empty."""
    if sent is None or not getattr(sent, "background", None):
        return None
    layers = (place(layer) for layer in sent.layers or ())
    return Painted(place(sent.background) or "", tuple(path for path in layers if path))


def can_be_kept(name: str) -> bool:
    """Return whether a name is safe for a file beside the uploaded one."""
    plain = Path(name).name == name and not name.startswith(".") and "\\" not in name
    if not plain or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return False
    return 0 < len(os.fsencode(name)) <= LONGEST


def typed(text: str, name: str = "text") -> Path:
    """Return the file that holds a typed text, written if it is new. Raises UserError."""
    written = Text(text).text.encode("utf-8", "replace")
    digest = blake2b(written, digest_size=12).hexdigest()
    path = _typed_folder() / digest / f"{name}.txt"
    if not path.exists():
        files.write(path, written)
    return path


def typed_in(path: str) -> str:
    """Return the text of a file that ``typed`` has written; "" for any other, or none any more."""
    try:
        file = Path(path).resolve()
        ours = file.parent.parent == _typed_folder().resolve()
        return files.words(file) if ours else ""
    except (UserError, OSError, ValueError):  # ValueError: a null byte
        return ""


def _typed_folder() -> Path:
    return Path(upload_folder()) / TYPED
