"""What every page is made of: one HTML file, pictures inside it, nothing from elsewhere."""

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from torch import Tensor

import souron
from souron import saving
from souron.data.cases import Cases
from souron.reporting import pictures, units
from souron.speaking import _, language

MOST_ITEMS = 12  # of a list in a receipt, such as label names


@dataclass(frozen=True)
class Plot:
    uri: str
    alt: str
    width: int  # CSS pixels


@dataclass(frozen=True)
class Tile:
    """A small picture with lines of text below."""

    uri: str
    alt: str
    side: int  # pixels
    lines: tuple[str, ...] = ()
    file: str = ""


@dataclass(frozen=True)
class Fact:
    name: str
    value: str
    detail: str = ""


def plot(png: bytes, alt: str) -> Plot:
    (wide,) = struct.unpack(">I", png[16:20])
    return Plot(pictures.uri(png), alt, round(wide * 96 / pictures.DOTS))


def tile(image: Tensor, alt: str, lines: Sequence[str] = (), file: str = "") -> Tile:
    """``image`` (C, H, W) uint8."""
    return Tile(pictures.thumbnail(image), alt, image.shape[-1], tuple(lines), file)


def of_each_class(cases: Cases, count: int) -> dict[int, list[int]]:
    """The first ``count`` cases of each class that has any: label -> rows."""
    rows = {}
    for label in range(len(cases.labels)):
        found = (cases.label == label).nonzero().flatten()[:count].tolist()
        if found:
            rows[label] = found
    return rows


def counts_of(cases: Cases) -> list[int]:
    """Cases of each class."""
    return cases.label.bincount(minlength=len(cases.labels)).tolist()


def picture_size(cases: Cases) -> str:
    colour = _("colour") if cases.channels == 3 else _("grey")
    return _("{side} × {side} pixels, {colour}").format(side=cases.side, colour=colour)


def flat(thing: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested dicts as rows: ``machine · cores``, ``2``. Empty values are left out."""
    if isinstance(thing, Mapping):
        for key, value in thing.items():
            yield from flat(value, f"{name} · {key}" if name else str(key))
    elif isinstance(thing, list | tuple):
        more = len(thing) - MOST_ITEMS
        shown = ", ".join(str(item) for item in thing[:MOST_ITEMS])
        yield name, f"{shown}, … (+{more})" if more > 0 else shown
    elif thing not in (None, ""):
        in_bytes = re.search(r"(memory|memory_free|bytes)$", name) and isinstance(thing, int)
        yield name, units.size(thing) if in_bytes else str(thing)


@lru_cache
def _pages() -> jinja2.Environment:
    return _environment(autoescape=True)


@lru_cache
def _cards() -> jinja2.Environment:
    return _environment(autoescape=False, finalize=_plain)


def _environment(**options: Any) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    environment.globals.update(_=_)
    environment.filters["whole"] = units.whole
    return environment


def _plain(text: Any) -> str:
    """Text that Markdown and the HTML in it leave as it is; Markup is trusted."""
    if isinstance(text, Markup):
        return text
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|>#])", r"\\\1", line)


def page(template: str, **context: Any) -> str:
    """An HTML page in the reader's language."""
    context |= {
        "language": language(),
        "version": souron.__version__,
        "day": date.today().isoformat(),
    }
    return _pages().get_template(template).render(context)


def card(template: str, **context: Any) -> str:
    """A Markdown page in the reader's language."""
    return _cards().get_template(template).render(context)


def write(path: Path, text: str) -> Path:
    """Atomically; file names that are no valid text are shown with ``?``."""
    saving.write_text(path, text.encode("utf-8", "replace").decode("utf-8"))
    return path
