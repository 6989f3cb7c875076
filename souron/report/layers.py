"""Layers of a system: shape, weights, and the source lines that create them.

``found`` builds the system on the meta device and notes the source line of each layer. ``kept``
reads the result stored beside souron, valid as long as no source file has changed: then nothing is
built and torch is not imported.
"""

import hashlib
import inspect
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import souron
from souron import registry

HOME = Path(souron.__file__).parent
STORED = Path(__file__).parent / "layer_files"  # <system>.json, made by docs/layers.py
LONGEST = 44  # lines of an excerpt
one_at_a_time = threading.Lock()  # building patches torch's modules
AROUND = 4  # lines before and after the one that makes a layer


@dataclass(frozen=True)
class Layer:
    """One block of the diagram."""

    name: str  # as in the weights file: "layer1.0"; "" of the input
    kind: str  # a key of ``layer_kinds.COLOURS``
    shape: tuple[int, ...]  # of the output for one case
    towers: int = 1
    type: str = ""  # of the module: "Conv2d", "Block"
    parameters: int = 0
    file: str = ""  # below souron's folder: "systems/classify/alexnet.py"
    line: int = 0  # that creates it, from 1
    told: tuple[str, int, int] | None = None  # file, first and last line of its own class


@dataclass(frozen=True)
class Layers:
    """All layers of a system, one tuple for each network."""

    system: str
    size: str
    lines: tuple[tuple[Layer, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """Return a dict for JSON, with a hash of each source file that was read."""
        files = {layer.file for line in self.lines for layer in line if layer.file}
        files |= {layer.told[0] for line in self.lines for layer in line if layer.told}
        files.add(own_file(registry.entries()[self.system]))
        return {
            "system": self.system,
            "size": self.size,
            "files": {name: mark(name) for name in sorted(files)},
            "lines": [[asdict(layer) for layer in line] for line in self.lines],
        }


def layers(entry: registry.Entry) -> Layers:
    """Return the stored layers; if there are none, build the system, which imports torch."""
    return kept(entry) or found(entry)


def kept(entry: registry.Entry, folder: Path = STORED) -> Layers | None:
    """Read the stored layers of a system; None if there are none or a source file has changed."""
    try:
        held = json.loads((folder / f"{entry.name}.json").read_text(encoding="utf-8"))
        if own_file(entry) not in held["files"]:
            return None
        if any(mark(name) != value for name, value in held["files"].items()):
            return None
        return Layers(held["system"], held["size"], tuple(tuple(map(_layer, line)) for line in held["lines"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _layer(held: Mapping[str, Any]) -> Layer:
    told = held["told"]
    return Layer(**{**held, "shape": tuple(held["shape"]), "told": tuple(told) if told else None})


def own_file(entry: registry.Entry) -> str:
    """Return the system's file relative to souron's folder; the full path if it lies elsewhere."""
    return below(entry.file) or str(entry.file)


def below(file: str | Path) -> str:
    path = Path(file)
    return path.relative_to(HOME).as_posix() if path.is_relative_to(HOME) else ""


def mark(name: str) -> str:
    """Return a hash of a file's text, independent of line endings. Raises OSError."""
    text = (HOME / name).read_text(encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def found(entry: registry.Entry) -> Layers:
    """Build the system at its ``small`` size on the meta device and read its layers."""
    from souron.evaluation import summary
    from souron.report import diagram

    size = "small" if "small" in entry.sizes else entry.sizes[0]
    with sites() as made:
        model, seen = summary.drawn(entry, size)
        parts = dict(model.named_modules())
        lines = [
            tuple(_described(model, parts.get(box.name), box, made) for box in line)
            for line in diagram.boxes(model, seen)
        ]
    return Layers(entry.name, size, tuple(lines))


def _described(model: Any, part: Any, box: Any, made: Mapping[int, tuple[Any, str, int]]) -> Layer:
    plain = {"name": box.name, "kind": box.kind, "shape": box.shape, "towers": box.towers}
    if box.kind == "input":
        return Layer(**plain)
    if part is None:  # stored values, such as the centres of groups; a step that no module takes
        values = {**dict(model.named_parameters()), **dict(model.named_buffers())}.get(box.name)
        file, first, last = defined(type(model)) or ("", 0, 0)
        return Layer(
            **plain,
            type="step" if values is None else type(values).__name__,
            parameters=0 if values is None else values.numel(),
            file=file,
            line=first,
            told=(file, first, last) if file else None,
        )
    _part, file, line = made.get(id(part)) or twin(model, part, box.name, made)
    count = sum(weight.numel() for weight in part.parameters())
    return Layer(**plain, type=type(part).__name__, parameters=count, file=file, line=line, told=defined(type(part)))


def twin(model: Any, part: Any, name: str, made: Mapping[int, tuple[Any, str, int]]) -> tuple[Any, str, int]:
    """Find the module of which ``part`` is a copy, such as a moving average.

    Return that module with the file and line that created it; ``(part, "", 0)`` if there is none.
    """
    within = name.partition(".")[2]
    for other, each in model.named_modules():
        same = type(each) is type(part) and id(each) in made
        if same and within and (other == within or other.endswith(f".{within}")):
            return made[id(each)]
    return part, "", 0


def defined(kind: type) -> tuple[str, int, int] | None:
    """Return the file, first and last line of a class defined in souron; None for other classes."""
    file = below(inspect.getsourcefile(kind) or "") if kind.__module__ != "builtins" else ""
    if not file:
        return None
    lines, first = inspect.getsourcelines(kind)
    return file, first, first + len(lines) - 1


@contextmanager
def sites() -> Iterator[dict[int, tuple[Any, str, int]]]:
    """Record where modules are created within a ``with`` block.

    Yields a dict: id of the module -> (module, file, line of souron's source that creates it).
    """
    from torch import nn

    made: dict[int, tuple[Any, str, int]] = {}
    begin = nn.Module.__init__

    def noted(self: Any, *given: Any, **named: Any) -> None:
        made.setdefault(id(self), (self, *_site(self)))
        begin(self, *given, **named)

    with mock.patch.object(nn.Module, "__init__", noted):
        yield made


def _site(module: Any) -> tuple[str, int]:
    frame = sys._getframe(2)
    while frame is not None:
        file = below(frame.f_code.co_filename)
        if file and frame.f_locals.get("self") is not module and file != "report/layers.py":
            return file, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return "", 0


def excerpt(layer: Layer) -> tuple[str, int, list[str]]:
    """Return the file, the first line's number and the source lines that show a layer.

    These are the layer's own class where it has one, else the lines around its creation.
    """
    if layer.told is not None:
        file, first, last = layer.told
    else:
        file, first, last = layer.file, max(1, layer.line - AROUND), layer.line + AROUND
    if not file:
        return "", 0, []
    try:
        lines = (HOME / file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return "", 0, []
    return file, first, lines[first - 1 : min(last, first + LONGEST - 1)]
