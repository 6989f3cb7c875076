"""Layers of a system: formula, shape, parameters, FLOPs, and the source lines that make them.

``found`` builds the system on the meta device and notes the source line of each layer. ``kept``
reads the result stored beside souron, valid as long as no source file has changed: then nothing is
built and torch is not imported.
"""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from unittest import mock

from souron import registry
from souron.report.layers import formulas, places, steps
from souron.report.layers.places import HOME, Place, below

STORED = Path(__file__).parent.parent / "layer_files"  # <system>.json, made by docs/layers.py
READ_BY = ("report/diagram.py", *(f"report/layers/{name}.py" for name in ("__init__", "formulas", "places", "steps")))
one_at_a_time = threading.Lock()  # building patches torch's modules


@dataclass(frozen=True)
class Layer:
    """One block of the diagram."""

    name: str  # as in the weights file: "layer1.0"; of a step the name of its function; "" of the input
    kind: str  # a key of ``kinds.COLOURS``
    shape: tuple[int, ...]  # of the output for one case
    towers: int = 1
    type: str = ""  # of the module: "Conv2d", "Block"
    base: str = "input"  # for ``formulas.meaning``
    formula: str = "x"
    output: str = ""  # of a step: the type of its result
    parameters: int = 0
    flops: int = 0  # of all its calls for one case; a multiplication and an addition are two
    calls: int = 0  # for one case
    learning: bool = False  # called in training only
    made: tuple[Place, ...] = ()  # the statement that creates it, and the one that names it
    own_class: Place | None = None  # its class, where souron defines it


@dataclass(frozen=True)
class Layers:
    """All layers of a system, one tuple for each network."""

    system: str
    size: str
    flops: int  # of one pass for one case; 0 where PyTorch counts none
    lines: tuple[tuple[Layer, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """Return a dict for JSON, with a hash of each source file that was read."""
        files = {place.file for line in self.lines for layer in line for place in lines_of(layer)}
        files |= {own_file(registry.entries()[self.system]), *READ_BY}
        return {
            "system": self.system,
            "size": self.size,
            "flops": self.flops,
            "files": {name: mark(name) for name in sorted(files)},
            "lines": [[_without_defaults(layer) for layer in line] for line in self.lines],
        }


def lines_of(layer: Layer) -> list[Place]:
    """Return the lines that make a layer, with its class."""
    return [*layer.made, *([layer.own_class] if layer.own_class else [])]


def _without_defaults(layer: Layer) -> dict[str, Any]:
    plain = {field.name: field.default for field in fields(Layer)}
    return {name: value for name, value in asdict(layer).items() if value != plain[name]}


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
        lines = tuple(tuple(map(_layer, line)) for line in held["lines"])
        return Layers(held["system"], held["size"], held["flops"], lines)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _layer(held: Mapping[str, Any]) -> Layer:
    own = held.get("own_class")
    made = tuple(Place(**each) for each in held.get("made", ()))
    shape = tuple(held.get("shape", ()))
    return Layer(**{**held, "shape": shape, "made": made, "own_class": Place(**own) if own else None})


def own_file(entry: registry.Entry) -> str:
    """Return the system's file relative to souron's folder; the full path if it lies elsewhere."""
    return below(entry.file) or str(entry.file)


def mark(name: str) -> str:
    """Return a hash of a file's text, independent of line endings. Raises OSError."""
    text = (HOME / name).read_text(encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def found(entry: registry.Entry) -> Layers:
    """Build the system at its ``small`` size on the meta device and read its layers.

    Of a system without parameters, these are the values that it stores and the functions of its file.
    """
    from souron.evaluation import summary
    from souron.report import diagram

    size = "small" if "small" in entry.sizes else entry.sizes[0]
    with sites() as made:
        model, seen = summary.drawn(entry, size)
        if not any(True for _weight in model.parameters()):
            return Layers(entry.name, size, 0, (tuple(_method(model, entry, summary.describe(seen))),))
        calls = {} if model.sketch() else diagram.watched(model, seen)
        parts = dict(model.named_modules())
        lines = [
            tuple(_described(model, parts.get(box.name), box, calls.get(box.name), made) for box in line)
            for line in diagram.boxes(model, seen, calls)
        ]
    return Layers(entry.name, size, summary.flops(model, seen), tuple(lines))


def _method(model: Any, entry: registry.Entry, taken: tuple[int, ...]) -> Iterator[Layer]:
    """Yield the input, the stored values and the steps of a method that is no network."""
    yield Layer("", "input", taken)
    for name, values in model.named_buffers():
        if 0 not in values.shape:
            yield _stored(model, Layer(name, "kept", tuple(values.shape) or (1,)), values)
    for step in steps.steps(entry.file):
        made = (Place(own_file(entry), step.first, step.last),)
        yield Layer(step.name, "step", (), 1, "step", "step", step.formula, step.output, made=made)


def _described(model: Any, part: Any, box: Any, call: Any, made: Mapping[int, tuple[Any, str, int]]) -> Layer:
    plain = Layer(box.name, box.kind, box.shape, box.towers)
    if box.kind == "input":
        return plain
    if part is None:  # values of the system's own; a step that no module takes
        values = {**dict(model.named_parameters()), **dict(model.named_buffers())}.get(box.name)
        if values is not None:
            return _stored(model, plain, values)
        formula = formulas.computed(type(model).forward)
        place = places.method(type(model), "forward")
        return replace(plain, type="step", base="own", formula=formula, made=(place,) if place else ())
    _part, file, line = made.get(id(part)) or twin(model, part, box.name, made)
    base, formula = formulas.described(part)
    return replace(
        plain,
        type=type(part).__name__,
        base=base,
        formula=formula,
        parameters=sum(weight.numel() for weight in part.parameters()),
        flops=call.flops if call else 0,
        calls=call.calls if call else 0,
        learning=call.learning if call else False,
        made=tuple(_made(model, box.name, places.statement(file, line) if file else None)),
        own_class=places.class_place(type(part)),
    )


def _stored(model: Any, plain: Layer, values: Any) -> Layer:
    """Describe values that a system keeps beside its modules."""
    trained = values.requires_grad
    kind = "ℝ" if values.is_floating_point() else "{0, 1}" if str(values.dtype) == "torch.bool" else "ℤ"
    return replace(
        plain,
        type=type(values).__name__,
        base="parameter" if trained else "stored",
        formula=f"{plain.name} ∈ {kind}^({' × '.join(map(str, values.shape))})"
        if values.shape
        else f"{plain.name} ∈ {kind}",
        parameters=values.numel(),
        made=tuple(_made(model, plain.name, None)),
    )


def _made(model: Any, name: str, creating: Place | None) -> Iterator[Place]:
    """Yield the statement that creates a layer, and the one that gives it its name.

    Where souron's files have neither, this is the system's class.
    """
    kind, attr = places.owner(model, name)
    naming = places.attribute(kind, attr)
    if creating and not (naming and naming.contains(creating)):
        yield creating
    if naming and not (creating and creating.contains(naming) and creating != naming):
        yield naming
    if not (creating or naming) and (own := places.class_place(type(model))):
        yield own


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
        if file and frame.f_locals.get("self") is not module and file != "report/layers/__init__.py":
            return file, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return "", 0
