"""Report sections of generators of images, for a run and a comparison."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from souron import registry
from souron.data.called import called
from souron.evaluation.generation import Gallery, GenerationResult
from souron.hub import zoo
from souron.kinds.codecs import animation
from souron.metrics import generation
from souron.metrics.generation import Classes
from souron.report import plots
from souron.report.page import Plot, Section, plot, section
from souron.stats.records import Measure, Ranking
from souron.utils import units
from souron.utils.messages import _, again

if TYPE_CHECKING:
    from souron.runs.record import ComparisonRecord, RunRecord

TEMPLATE = "generate.html"
SHOWN = 64  # images of a run
IN_THE_TABLE = (  # of a comparison, which also ranks by all other metrics
    "Fréchet distance", "kernel distance", "precision", "recall", "coverage", "bits per dimension",
)  # fmt: skip
HIGH, LOW = 0.8, 0.25  # precision above and coverage below which images resemble no real one
IN_A_ROW = 12  # images of each system in a comparison


def run(record: "RunRecord") -> list[Section]:
    """Return the sections of a run's report for a generator."""
    result: GenerationResult = record.details
    reference = result.reference
    floor = reference.floor.measures if reference.floor else {}
    film = len(record.film) > 1 and plot(
        animation.film(animation.frames(record.film)), _("the same pictures while it learnt")
    )
    samples = {
        "drawn": _sheet(result.sample, _("pictures drawn by {system}"), record.system),
        "real": _sheet(reference.test.input, _("real pictures of {data}"), record.data),
        "each": units.seconds(result.seconds),
    }
    resemblance = {
        "eye": reference.extractor.name,
        "count": units.whole(len(result.sample)),
        "rows": [_row(name, measure, floor) for name, measure in result.measures.items()],
        "remark": empty_precision({name: each.value for name, each in result.measures.items()}),
    }
    parts = (
        ("samples", _("Samples"), samples),
        ("resemblance", _("How near to real pictures"), resemblance),
        ("drawn_classes", _("What it draws"), _classes(result.resemblance.classes)),
        ("film", _("How it learnt to draw"), film),
    )
    return [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]


def comparison(record: "ComparisonRecord") -> list[Section]:
    """Return the images of the compared generators, side by side."""
    return section("gallery", _("Side by side"), TEMPLATE, gallery(record))


def comparison_notes(record: "ComparisonRecord") -> list[str]:
    """Warn that longer training changes the order, where the ready-trained weights show it."""
    figures = []  # for each system's ready-trained weights: figure, name, seconds of training
    for row in record.rows:
        folder = zoo.where(row.system)
        held = zoo.receipt(folder) if folder is not None else {}
        measure, seconds = held.get("measures", {}).get(record.measure), held.get("train_seconds")
        if measure and seconds and seconds > row.train_seconds:
            figures.append((float(measure["value"]), row.system, float(seconds)))
    metric = registry.metric(record.measure)
    ranked = sorted(figures, reverse=metric.higher_is_better)
    if not ranked or ranked[0][1] == figures[0][1]:
        return []
    return [
        _("After longer training the order is another one; ready trained: {figures}.").format(
            figures=_(", ").join(
                f"{name} {metric.text(value)} ({units.seconds(seconds)})"
                for value, name, seconds in ranked
            )
        )
    ]


def headline(record: "RunRecord") -> str:
    """Return the headline of a run's report."""
    name, measure = next(iter(record.measures.items()))
    metric = registry.metric(name)
    return _(
        "{system} learnt from {train} pictures of {data} in {time}; {measure} {value} (95 % "
        "interval {interval}) between what it draws and {test} test pictures it never saw."
    ).format(
        system=record.system,
        data=called(record.data),
        train=units.whole(record.parts.get("train", 0)),
        test=units.whole(measure.n),
        time=units.seconds(record.outcome.seconds),
        measure=metric.title,
        value=metric.text(measure.value),
        interval=metric.interval(measure.low, measure.high),
    )


def use(record: "RunRecord") -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Drawing pictures like those of {data}.").format(data=record.data)
    return text, "model.generate(16).folder"


def notes(record: "RunRecord") -> list[str]:
    """Return the weaknesses of the generated images and the classes that are missing."""
    result: GenerationResult = record.details
    texts = generation.weaknesses({name: vars(m) for name, m in result.measures.items()})
    classes = result.resemblance.classes
    if classes is not None and classes.missing:
        texts.append(
            _("Classes of which it drew none: {labels}.").format(labels=", ".join(classes.missing))
        )
    return texts


def empty_precision(values: Mapping[str, float], system: str = "") -> str:
    """Warn that a high precision means little where coverage is low; "" otherwise.

    Outlying real images have wide neighbourhoods, into which even grey noise falls.
    """
    precision, coverage = values.get("precision", 0.0), values.get("coverage", 1.0)
    if precision < HIGH or coverage > LOW:
        return ""
    told = _(
        "Precision {precision} is no praise here: only {coverage} of the real pictures have a "
        "drawn one near them. Uniform or noisy pictures fall into the wide gaps between real ones "
        "and count as precise. Believe coverage and the distances."
    ).format(precision=units.percent(precision), coverage=units.percent(coverage))
    return f"{system}: {told}" if system else told


def gallery(record: "ComparisonRecord") -> dict[str, Any]:
    """Return random images of the compared generators and a table of their figures."""
    shown: Gallery = record.details
    rankings = {record.measure: Ranking(record.rows, record.verdicts), **record.further}
    names = [row.system for row in record.rows]
    strips = [
        *((name, _strip(shown.drawn[name][0], name)) for name in names),
        (_("real pictures"), _strip(shown.real, _("real pictures"))),
    ]
    columns = [name for name in IN_THE_TABLE if name in rankings]
    return {
        "strips": strips,
        "columns": [registry.metric(name).title for name in columns],
        "rows": [(name, [_of(rankings[c], name) for c in columns], _each(shown, name))
                 for name in names],
        "floor": [_value(name, shown.floor.get(name)) for name in columns],
        "remarks": [text for name in names if (text := empty_precision(
            {c: r.value for c in columns for r in rankings[c].rows if r.system == name}, name))],
        "eye": again(shown.eye),
        "count": units.whole(shown.sample),
        "cost": plot(
            plots.against_cost(
                record.rows,
                {
                    _("seconds of training"): [row.train_seconds for row in record.rows],
                    _("seconds for a picture"): [
                        max(1e-6, _mean(shown.seconds[row.system])) for row in record.rows
                    ],
                },
            ),
            _("{measure} against what training and drawing cost").format(
                measure=registry.metric(record.measure).title
            ),
        ),
    }  # fmt: skip


def _row(name: str, measure: Measure, floor: Mapping[str, Measure]) -> dict[str, Any]:
    return {
        "name": registry.metric(name).title,
        "text": registry.metric(name).text(measure.value),
        "interval": registry.metric(name).interval(measure.low, measure.high),
        "floor": _value(name, floor.get(name)),
        "n": measure.n,
    }


def _value(name: str, measure: Measure | None) -> str:
    return units.UNKNOWN if measure is None else registry.metric(name).text(measure.value)


def _of(ranking: Ranking, system: str) -> tuple[str, str]:
    """Return a system's value and its interval."""
    for row in ranking.rows:
        if row.system == system:
            return (
                registry.metric(row.measure).text(row.value),
                registry.metric(row.measure).interval(row.low, row.high),
            )
    return units.UNKNOWN, ""


def _each(shown: Gallery, system: str) -> str:
    return units.seconds(_mean(shown.seconds[system]))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _sheet(image: Tensor, alt: str, name: str) -> Plot:
    return plot(plots.samples(_bytes(image[:SHOWN])), alt.format(system=name, data=name))


def _strip(image: Tensor, alt: str) -> Plot:
    return plot(plots.samples(_bytes(image[:IN_A_ROW]), IN_A_ROW, width=900), alt)


def _bytes(image: Tensor) -> Tensor:
    return image if image.dtype == torch.uint8 else image.round().clamp(0, 255).to(torch.uint8)


def _classes(found: Classes | None) -> dict[str, Any] | None:
    if found is None or len(found.labels) < 2:
        return None
    most = sorted(range(len(found.labels)), key=lambda k: -found.real[k])
    rows = [(found.labels[k], found.real[k], found.drawn[k]) for k in most]
    rows = rows[: plots.READABLE_CLASSES]
    labels, real, drawn = zip(*rows, strict=True)
    alt = "; ".join(f"{name}: {units.percent(r)}, {units.percent(d)}" for name, r, d in rows)
    return {"picture": plot(plots.shares(labels, real, drawn), alt)}
