"""The parts of a run's and a comparison's report that say how good drawn pictures are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from souron.evaluation.generation import Gallery, GenerationResult
from souron.kinds.codecs import animation
from souron.metrics.generation import Classes
from souron.report import plots
from souron.report.page import Plot, page, plot
from souron.stats.records import Measure, Ranking
from souron.utils import units
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.runs.record import ComparisonRecord, DrawnRecord, RunRecord

NAMES = ("samples", "resemblance", "drawn_classes", "film")
SHOWN = 64  # pictures of a run
IN_THE_TABLE = (  # of a comparison, which ranks by all the others too
    "Fréchet distance", "kernel distance", "precision", "recall", "coverage", "bits per dimension",
)  # fmt: skip
IN_A_ROW = 12  # pictures of each system in a comparison


def parts(record: "RunRecord") -> dict[str, Any]:
    """What the template ``generation.html`` shows; nothing of systems that do not draw."""
    found = record.appraisal
    if not isinstance(found, GenerationResult):
        return dict.fromkeys(NAMES)
    floor = found.scale.floor.measures if found.scale.floor else {}
    return {
        "samples": {
            "drawn": _sheet(found.sample, _("pictures drawn by {system}"), record.system),
            "real": _sheet(found.scale.test.image, _("real pictures of {data}"), record.data),
            "each": units.seconds(found.seconds),
        },
        "resemblance": {
            "eye": found.scale.eye.name,
            "count": units.whole(len(found.sample)),
            "rows": [_row(name, measure, floor) for name, measure in found.measures.items()],
        },
        "drawn_classes": _classes(found.resemblance.classes),
        "film": plot(
            animation.film(animation.frames(record.film)), _("the same pictures while it learnt")
        )
        if len(record.film) > 1
        else None,
    }


def notes(record: "RunRecord") -> list[str]:
    """What stands on top of the report."""
    found = record.appraisal
    if not isinstance(found, GenerationResult):
        return []
    said = []
    if found.collapsed:
        said.append(
            _("Mode collapse suspected: recall {recall}. It draws few kinds of pictures.").format(
                recall=units.percent(found.measures["recall"].value)
            )
        )
    classes = found.resemblance.classes
    if classes is not None and classes.missing:
        said.append(
            _("Classes of which it drew none: {labels}.").format(labels=", ".join(classes.missing))
        )
    return said


def gallery(record: "ComparisonRecord") -> dict[str, Any] | None:
    """What compared generators drew, at random and side by side, and their figures in one table."""
    shown = record.gallery
    if shown is None:
        return None
    rankings = {record.measure: Ranking(record.rows, record.verdicts), **record.further}
    names = [row.system for row in record.rows]
    strips = [
        *((name, _strip(shown.drawn[name][0], name)) for name in names),
        (_("real pictures"), _strip(shown.real, _("real pictures"))),
    ]
    columns = [name for name in IN_THE_TABLE if name in rankings]
    return {
        "strips": strips,
        "columns": [units.called(name) for name in columns],
        "rows": [(name, [_of(rankings[c], name) for c in columns], _each(shown, name))
                 for name in names],
        "floor": [_value(name, shown.floor.get(name)) for name in columns],
        "eye": shown.eye,
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
                measure=units.called(record.measure)
            ),
        ),
    }  # fmt: skip


def drawn_html(record: "DrawnRecord") -> str:
    """The sheet of what was drawn, for a notebook."""
    sheet = record.folder / "grid.png"
    return page(
        "notebook.html",
        headline=_("{count} pictures by {system}, seed {seed}").format(
            count=units.whole(record.count), system=record.system, seed=record.seed
        ),
        columns=(),
        rows=(),
        picture=plot(sheet.read_bytes(), _("pictures drawn by {system}").format(
            system=record.system)),
        path=record.folder,
    )  # fmt: skip


def _row(name: str, measure: Measure, floor: Mapping[str, Measure]) -> dict[str, Any]:
    return {
        "name": units.called(name),
        "text": units.measure(name, measure.value),
        "interval": units.interval(name, measure.low, measure.high),
        "floor": _value(name, floor.get(name)),
        "n": measure.n,
    }


def _value(name: str, measure: Measure | None) -> str:
    return units.UNKNOWN if measure is None else units.measure(name, measure.value)


def _of(ranking: Ranking, system: str) -> tuple[str, str]:
    """A system's value, and its interval."""
    for row in ranking.rows:
        if row.system == system:
            return (
                units.measure(row.measure, row.value),
                units.interval(row.measure, row.low, row.high),
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
