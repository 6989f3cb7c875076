"""8-bit graphs, taken only where validation cases show that they lose less than a point.

Weights and activations are quantised after training, with ranges from training cases (NNCF). The
loss is the paired difference of the task's own metric on validation cases, with an interval: the
8-bit network is taken where the interval's lower end is above -``MOST``. Where the interval is too
wide for that, it is not taken, and the number of cases that would be needed is given.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.familiarity import sampled
from souron.inference import cases
from souron.inference.building import Build, Cancelled, Part, compiled, faster, made_parts, probed
from souron.inference.graph import Graph, Signature
from souron.inference.outer_calls import Calls
from souron.inference.refusal import Refused
from souron.metrics.metric import Metric
from souron.stats import margin
from souron.stats.records import Margin
from souron.stats.verdict import Difference, difference
from souron.utils import hardware, silent
from souron.utils.messages import _

MOST = 1.0  # points of the task's metric that may be lost
CALIBRATION = 300  # training cases
VALIDATION = 2000  # cases of the proof
CHUNK = 32  # of them at a time
UNSEEN = 3.0  # what none of n cases shows may hold of a share of 3 / n (the rule of three)
MOST_VALUES = 2 * 10**8  # of the calibration cases in memory


def build(
    system: Any,
    calls: Calls,
    folder: Path | None,
    layers: Sequence[str] = (),
    cancelled: Callable[[], bool] = lambda: False,
    parts: cases.Parts | None = None,
) -> Build:
    """Quantise the parts of a system, and measure what is lost. Raises Refused, or Cancelled."""
    parts = parts or cases.parts_of(system, folder)
    if parts is None:
        raise Refused(_("8 bits need the run's own data, which is not here"), lasting=False)
    if not len(parts.val):
        raise Refused(_("8 bits need validation cases"))
    with made_parts(system, calls, "f32", layers, cancelled) as made:
        chunk = CHUNK if all(graph.signature.any_batch for part in made for graph in part.graphs) else 1
        before = scores(system, parts.val, chunk, cancelled)
        quantise(system, made, parts.train, cancelled)
        with answering(made):
            after = scores(system, parts.val, chunk, cancelled)
        record = proof(system, before, after, parts)
        gain = faster(made)
        probes = {part.name: [probed(*each) for each in part.pairs] for part in made}
        record |= {"precision": "int8", "cases": len(after[0]), "source": parts.source, "faster": round(gain, 2)}
        return Build({p.name: p.graphs for p in made}, {p.name: p.like for p in made}, probes, record)


def quantise(system: Any, made: list[Part], train: Dataset, cancelled: Callable[[], bool]) -> None:
    """Replace the graphs of the parts by 8-bit ones, with ranges from training cases. Raises Refused."""
    per_case = sum(sum(map(_numel, graph.signature.shapes)) for part in made for graph in part.graphs)
    count = max(1, min(CALIBRATION, MOST_VALUES // max(1, per_case)))
    some = sampled(train, count)
    with collecting(made) as inputs, torch.no_grad():
        for row in range(len(some)):
            if cancelled():
                raise Cancelled
            system.validate(system.loader(some.only([row])))
    for part in made:
        for place, graph in enumerate(part.graphs):
            if not inputs[id(graph)]:
                raise Refused(_("8 bits need training cases of the same size as the answers"))
            part.graphs[place] = quantised(graph, inputs[id(graph)])
            if cancelled():
                raise Cancelled
    reasons: list[str] = []
    if len(compiled(made, reasons)) < len(made):
        raise Refused(reasons[0])


def quantised(graph: Graph, inputs: Sequence[Sequence[Tensor]]) -> Graph:
    """Return an 8-bit graph, not compiled yet, with the ranges that ``inputs`` show: the tensors of some calls.

    ``graph`` is compiled, so that it has the sizes of its signature: NNCF runs it for the inputs.
    """
    nncf = silent.imported("nncf")
    nncf.set_log_level(logging.CRITICAL)
    fix = nncf.OverflowFix.DISABLE if hardware.vnni() else nncf.OverflowFix.ENABLE
    with without_progress():
        model = nncf.quantize(
            graph.model,
            nncf.Dataset(inputs, lambda tensors: [tensor.numpy() for tensor in tensors]),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix),
        )
    return Graph(graph.signature, graph.layout, model, "int8")


@contextmanager
def without_progress() -> Iterator[None]:
    """Let NNCF draw no progress bars: they would stand among the answers."""
    from nncf.common.logging import track_progress

    shown = track_progress.track.__init__

    def hidden(self: Any, *given: Any, **named: Any) -> None:
        shown(self, *given, **named | {"disable": True})

    track_progress.track.__init__ = hidden
    try:
        yield
    finally:
        track_progress.track.__init__ = shown


def _numel(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape[1:]).numel()) if shape else 1


@contextmanager
def _forwards(made: Sequence[Part], made_forward: Callable[[Part], Callable[..., Any]]) -> Iterator[None]:
    """Put another ``forward`` into each part within this block."""
    for part in made:
        part.module.forward = made_forward(part)
    try:
        yield
    finally:
        for part in made:
            del part.module.forward


@contextmanager
def collecting(made: Sequence[Part]) -> Iterator[dict[int, list[list[Tensor]]]]:
    """Collect the tensors that each graph would be given, by the graph's id."""
    inputs: dict[int, list[list[Tensor]]] = {id(graph): [] for part in made for graph in part.graphs}

    def collector(part: Part) -> Callable[..., Any]:
        eager = part.flats[0].eager

        def forward(*args: Any, **kwargs: Any) -> Any:
            found = fitting(part, args, kwargs)
            if found is not None and len(inputs[id(found[0])]) < CALIBRATION:
                inputs[id(found[0])].append([tensor.detach().clone() for tensor in found[1]])
            return eager(*args, **kwargs)

        return forward

    with _forwards(made, collector):
        yield inputs


@contextmanager
def answering(made: Sequence[Part]) -> Iterator[None]:
    """Let the graphs answer within this block."""

    def answerer(part: Part) -> Callable[..., Any]:
        eager = part.flats[0].eager

        def forward(*args: Any, **kwargs: Any) -> Any:
            found = fitting(part, args, kwargs)
            if found is None:
                return eager(*args, **kwargs)
            return found[0].layout.rebuilt(found[0](found[1]))[0]

        return forward

    with _forwards(made, answerer):
        yield


def fitting(part: Part, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Graph, list[Tensor]] | None:
    """Return the graph of a part for a call, with the call's tensors."""
    read = Signature.of(args, kwargs)
    if read is None:
        return None
    graph = next((one for one in part.graphs if one.signature.fits(read[0])), None)
    return None if graph is None else (graph, read[1])


@torch.no_grad()
def scores(system: Any, val: Dataset, chunk: int, cancelled: Callable[[], bool]) -> tuple[Tensor, str]:
    """Return the task's watched metric for each validation case, and the metric's name. Raises Refused."""
    some, name = sampled(val, VALIDATION), str(registry.load_task(system.task).watches or "")
    rows = []
    for chosen in torch.arange(len(some)).split(chunk):
        if cancelled():
            raise Cancelled
        measured = system.validate(system.loader(some.only(chosen)))
        if name not in measured or len(measured[name]) != len(chosen):
            raise Refused(_("8 bits need a metric of single cases"))
        rows.append(measured[name].double())
    return torch.cat(rows), name


def proof(system: Any, before: tuple[Tensor, str], after: tuple[Tensor, str], parts: cases.Parts) -> dict[str, Any]:
    """Return the record of what 8 bits lose, of the metric and of a named class. Raises Refused."""
    some, name = sampled(parts.val, VALIDATION), before[1]
    metric = registry.metric(name)
    if not metric.in_points:
        raise Refused(_("8 bits need a metric of single cases"))
    groups = some.units
    width = metric.margin_width(MOST)
    judged = {name: lost(before[0], after[0], width, metric, groups)}
    if parts.positive is not None:
        there = torch.as_tensor(some.labels or []) == parts.positive
        own = None if groups is None else [group for group, one in zip(groups, there.tolist(), strict=True) if one]
        judged["sensitivity"] = lost(before[0][there], after[0][there], width, metric, own)
    for measure, (found, word) in judged.items():
        refuse(registry.metric(measure).title, found, word)
    kept = {
        measure: {"difference": found.difference, "low": found.low, "high": found.high}
        for measure, (found, _word) in judged.items()
    }
    return {"proof": kept, "most": MOST, "difference": max(-found.difference for found, _word in judged.values())}


def lost(
    before: Tensor, after: Tensor, width: float, metric: Metric, groups: Sequence[str] | None = None
) -> tuple[Difference, Margin]:
    """Return the paired difference of 8 bits from the network itself, judged against a margin.

    It is never surer than the two figures are, so that ten cases in which nothing failed, as for a Dice, are no
    proof. Raises Refused where there are fewer than two cases.

    Example:
        >>> right = torch.ones(4000)
        >>> lost(right, right, 0.01, Metric("accuracy", unit="share"))[1].word
        'equivalent'
    """
    if len(before) < 2:
        raise Refused(_("8 bits need validation cases"))
    higher = metric.higher_is_better
    found = difference(after.numpy(), before.numpy(), higher_is_better=higher, groups=groups, kind=metric.kind)
    units = len(before) if groups is None else len(set(groups))
    if found.low == found.high and units * width < UNSEEN:  # no case differs, of few: more of them might
        return replace(found, low=found.low - UNSEEN / units), Margin("cannot tell", math.ceil(UNSEEN / width) - units)
    return found, margin.against(found, width)


def refuse(measure: str, found: Difference, word: Margin) -> None:
    """Raise Refused unless the difference is shown to be above the margin."""
    if word.word in ("superior", "equivalent", "not inferior"):
        return
    points = 100 * found.low
    if word.cases_needed is not None:
        text = _("cannot tell whether 8 bits lose more than a point of {measure}; about {count} more cases needed")
        raise Refused(text.format(measure=measure, count=word.cases_needed))
    text = _("8 bits may lose {points:.1f} points of {measure}")
    raise Refused(text.format(points=-points, measure=measure))
