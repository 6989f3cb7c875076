"""Build the graphs of a network's parts, and check that they answer as the network does."""

import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from souron.evaluation.familiarity import Sensor
from souron.hub import zoo
from souron.inference import cases, trial
from souron.inference.agreement import TOLERANCES, Agreement
from souron.inference.graph import Flat, Graph, Signature, converted
from souron.inference.outer_calls import Call, Calls, copied, part_of, recording
from souron.inference.refusal import Refused
from souron.utils import silent
from souron.utils.messages import _

TRIVIAL = (nn.Embedding, nn.LayerNorm, nn.Dropout, nn.Identity)  # too little to do for an engine
DEEPEST = 3  # levels of parts, where a whole network cannot be converted
MOST_SIZES = 3  # signatures of one module
SAMPLING = 8  # calls of one module in an answer from which on errors may add up: float32 alone
TURNS = 5  # of the timing
SEED = 20240229  # of the probe


class Cancelled(Exception):
    """The build was stopped as the program ends."""


@dataclass
class Part:
    """One module with its graphs, while it is built."""

    name: str
    module: nn.Module  # of the copy
    graphs: list[Graph]
    flats: list[Flat]
    like: list[cases.Moments]
    counts: list[int]  # cases of the recorded calls
    agreement: Agreement = field(default_factory=Agreement)

    @property
    def pairs(self) -> Iterator[tuple[Graph, Flat, cases.Moments]]:
        """Yield each graph with its module, and what noise for it is made from."""
        yield from zip(self.graphs, self.flats, self.like, strict=True)


@dataclass
class Build:
    """Graphs that were checked, and the record of the check."""

    graphs: dict[str, list[Graph]]  # by the module's name
    like: dict[str, list[cases.Moments]]  # for the probe of each graph
    probes: dict[str, list[float]]  # difference of each graph's probe
    record: dict[str, Any]

    @property
    def precision(self) -> str:
        return str(self.record["precision"])


def shared_copy(system: Any) -> Any:
    """Return a copy in evaluation mode with the same tensors in memory. Raises Refused."""
    tensors = {id(each): each for each in [*system.parameters(), *system.buffers()]}
    try:
        return copy.deepcopy(system, tensors).eval()
    except Exception as error:  # whatever a system's own objects raise
        raise Refused(_("the network cannot be copied ({why})").format(why=error)) from error


def build(
    system: Any,
    calls: Calls,
    precision: str,
    folder: Path | None,
    layers: Sequence[str] = (),
    cancelled: Callable[[], bool] = lambda: False,
    parts: cases.Parts | None = None,
) -> Build:
    """Convert, compile and check the parts of a system that were called from outside.

    ``system`` is a copy of the network that nothing else uses; ``layers`` are those of a
    familiarity check. The cases are those of ``parts`` or of the run in ``folder``. Raises Refused,
    or Cancelled.
    """
    with made_parts(system, calls, precision, layers, cancelled) as made:
        ready = folder is not None and zoo.holds(folder)  # its examples are here, its data is generated or fetched
        parts = parts or (None if ready else cases.parts_of(system, folder))
        source, count = check(system, made, folder, parts, cancelled)
        tolerance = TOLERANCES[precision]
        for part in made:
            part.agreement.check(tolerance)
        gain = faster(made)
        probes = {part.name: [probed(*each) for each in part.pairs] for part in made}
        record = {
            "precision": precision,
            "cases": count,
            "source": source,
            "difference": max(part.agreement.difference for part in made),
            "tolerance": tolerance,
            "faster": round(gain, 2),
        }
        return Build({p.name: p.graphs for p in made}, {p.name: p.like for p in made}, probes, record)


@contextmanager
def made_parts(
    system: Any, calls: Calls, precision: str, layers: Sequence[str], cancelled: Callable[[], bool] = lambda: False
) -> Iterator[list[Part]]:
    """Convert and compile the parts of a system; their results are not checked yet. Raises Refused."""
    sensor = Sensor(system, list(layers)) if layers else None
    try:
        made, reasons = [], list[str]()
        for name, those in calls.by_name.items():
            made += _parts_of(system, name, those, precision, sensor, reasons, cancelled)
        made = compiled(made, reasons)
        if cancelled():
            raise Cancelled
        if not made:
            raise Refused(reasons[0] if reasons else _("it has no layers that an engine could take"))
        yield made
    finally:
        if sensor is not None:
            sensor.remove()


def compiled(made: Sequence[Part], reasons: list[str]) -> list[Part]:
    """Compile the graphs of parts that did not fail in a process of their own; note why the others did.

    Raises Refused where there is no room to write them.
    """
    openvino = silent.imported("openvino")
    able = []
    with tempfile.TemporaryDirectory() as folder:
        graphs = [graph for part in made for graph in part.graphs]
        files = [Path(folder, f"{number}.xml") for number in range(len(graphs))]
        for graph, file in zip(graphs, files, strict=True):
            trial.save(openvino, graph.model, file)
        results = iter(trial.tried([graph.trial(str(file)) for graph, file in zip(graphs, files, strict=True)]))
    for part in made:
        own = [(graph, *next(results)) for graph in part.graphs]
        try:
            for graph, place, reason in own:
                if place is None:
                    raise Refused(reason)
                graph.signature = replace(graph.signature, any_batch=graph.signature.any_batch and place == 0)
                graph.compile()
            able.append(part)
        except Refused as refused:
            reasons.append(f"{type(part.module).__name__}: {refused}")
    return able


def _parts_of(
    system: nn.Module,
    name: str,
    calls: Sequence[Call],
    precision: str,
    sensor: Sensor | None,
    reasons: list[str],
    cancelled: Callable[[], bool],
    depth: int = 0,
) -> list[Part]:
    """Return the part of a module, or where it cannot be converted the parts of its own layers."""
    if cancelled():
        raise Cancelled
    module = part_of(system, name)
    if isinstance(module, TRIVIAL) or not any(True for _each in module.parameters()):
        return []
    distinct: dict[str, Call] = {}
    for call in calls:
        read = Signature.of(call.args, call.kwargs)
        fresh = Call(name, *copied((call.args, call.kwargs)))  # tensors of an inference mode allow less
        distinct.setdefault(repr(read and read[0].plain), fresh)
    try:
        if len(distinct) > MOST_SIZES:
            raise Refused(_("its arguments are of another size at each step"))
        part = Part(name, module, [], [], [], [])
        for call in distinct.values():
            listening: Any = sensor.listening if sensor is not None else (lambda: nullcontext({}))
            graph, flat = converted(module, call, precision, listening)
            recorded, tensors = Signature.of(call.args, call.kwargs)  # type: ignore[misc]
            part.counts.append(recorded.batch)
            part.graphs.append(graph)
            part.flats.append(flat)
            part.like.append(cases.moments(tensors))
        return [part]
    except Refused as refused:
        reasons.append(f"{type(module).__name__}: {refused}")
    if depth == DEEPEST:
        return []
    try:
        with torch.no_grad(), recording(module, name, without=True) as inner:
            for call in distinct.values():
                module(*call.args, **call.kwargs)
    except Exception:  # a module that keeps a state cannot be called again
        return []
    found = [
        _parts_of(system, each, those, precision, sensor, reasons, cancelled, depth + 1)
        for each, those in inner.by_name.items()
    ]
    return [part for parts in found for part in parts]


class Compared:
    """A ``forward`` that also asks the engine, and notes how far its outputs are from the network's."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        read = Signature.of(args, kwargs)
        for graph, flat in zip(self.part.graphs, self.part.flats, strict=True):
            if read is not None and graph.signature.fits(read[0]):
                return self._compared(graph, flat, read[1])
        return self.part.flats[0].eager(*args, **kwargs)

    def _compared(self, graph: Graph, flat: Flat, tensors: list[Tensor]) -> Any:
        expected = flat(*tensors)
        assert flat.last is not None
        if (flat.last.layers, flat.last.others) != (graph.layout.layers, graph.layout.others):
            raise Refused(_("its results have another structure for other cases"))
        self.part.agreement.add(expected, graph(tensors))
        return flat.last.rebuilt(expected)[0]


@contextmanager
def comparing(parts: Sequence[Part]) -> Iterator[None]:
    """Compare every call of the parts within this block."""
    for part in parts:
        part.module.forward = Compared(part)
    try:
        yield
    finally:
        for part in parts:
            del part.module.forward


@torch.no_grad()
def check(
    system: Any, made: list[Part], folder: Path | None, parts: cases.Parts | None, cancelled: Callable[[], bool]
) -> tuple[str, int]:
    """Run cases through the network and its graphs; return where they came from, and how many.

    Raises Refused where a part was compared with no case at all.
    """
    chunk = cases.CHUNK if all(graph.signature.any_batch for part in made for graph in part.graphs) else 1
    sources: dict[str, Iterator[tuple[int, cases.Run]]] = {"examples": cases.examples(system, folder)}
    if parts is not None:
        sources = {parts.source: cases.of_run(parts, chunk), **sources}
    with comparing(made):
        for source, some in sources.items():
            count = 0
            for size, run in some:
                if cancelled():
                    raise Cancelled
                run(system)
                count += size
            if count and all(part.agreement.calls for part in made):
                return source, count
    for part in made:
        part.agreement = Agreement()
        for graph, flat, like in part.pairs:
            for seed in range(cases.NOISY):
                tensors = cases.noise(graph.signature, like, seed)
                part.agreement.add(flat(*tensors), graph(tensors))
    return "noise", cases.NOISY


@torch.no_grad()
def faster(made: list[Part]) -> float:
    """Return how many times as fast the graphs are, by medians of turns."""
    eager = engine = 0.0
    for part in made:
        for (graph, flat, like), count in zip(part.pairs, part.counts, strict=True):
            tensors = cases.noise(graph.signature, like, SEED, count)
            args, kwargs = graph.signature.rebuilt(tensors)
            turns = [(seconds(flat.eager, *args, **kwargs), seconds(graph, tensors)) for _turn in range(TURNS)]
            medians = [statistics.median(each) for each in zip(*turns, strict=True)]
            eager, engine = eager + medians[0], engine + medians[1]
    return eager / max(engine, 1e-9)


def seconds(run: Callable[..., object], *args: Any, **kwargs: Any) -> float:
    """Return how long one call takes."""
    begun = time.perf_counter()
    run(*args, **kwargs)
    return time.perf_counter() - begun


@torch.no_grad()
def probed(graph: Graph, flat: Flat, like: cases.Moments) -> float:
    """Return how far the engine is from the network for noise of a stored seed. Raises Refused."""
    tensors = cases.noise(graph.signature, like, SEED)
    agreement = Agreement()
    agreement.add(flat(*tensors), graph(tensors))
    for output in agreement.outputs:
        if output.trouble:
            raise Refused(output.trouble)
    return agreement.difference
