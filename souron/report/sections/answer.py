"""Report sections of visual question answering.

Accuracy by kind of question, subset and language, beside the same questions asked of other images;
and the attention behind right and wrong answers.
"""

from collections.abc import Iterator
from typing import Any

from souron import registry
from souron.data.composing.captioned_words import TITLES
from souron.data.targets.picture_questions import NUMBER, OTHER, YES_NO
from souron.evaluation.answers import Sparse, dense
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision.visual_questions import OfQuestions
from souron.metrics import answer as metrics
from souron.report import plots
from souron.report.page import Section, Tile, figure, filled, section, tile
from souron.report.sections.match import SUBSETS
from souron.stats.records import Measure
from souron.utils import units
from souron.utils.messages import LANGUAGE_NAMES, N_, _

TEMPLATE = "answer.html"
FIGURES = (metrics.ACCURACY, metrics.OTHERS, metrics.GAIN)
SORTS = TITLES | {YES_NO: N_("yes or no"), NUMBER: N_("a number"), OTHER: N_("other")}
SHOWN = 12  # tiles of right answers, and of wrong ones


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for visual question answering."""
    sorts = [part for part in _parts(record) if part.sort and not part.subset]
    others = [part for part in _parts(record) if not part.sort]
    parts = (
        ("sorts", _("By kind of question"), _table(sorts)),
        ("subsets", _("By subset and language"), _table(others)),
        ("both", _("Each kind in each subset"), _matrix(record)),
        ("looked", _("Where it looked"), looked(record)),
    )
    return [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on the questions about {train} images of {data} in {time}. Of the "
        "questions about {test} test images it answers {value} correctly (95 % interval "
        "{interval})."
    )
    return filled(record, text, metrics.ACCURACY)


def notes(record: RunRecord) -> list[str]:
    """Return the caveats of the figures."""
    told = []
    if record.data.endswith("scene_questions"):
        told.append(
            _("The scenes and the questions are composed by a program: what people ask about photographs is harder.")
        )
    gain = record.measures.get(metrics.GAIN)
    if gain is not None and gain.low <= 0:
        told.append(_("With other images it answers as well: nothing shows that it uses the image."))
    return told


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Answering questions about images like those of {data}, with answers it knows.")
    return text.format(data=record.data), 'model("photo.jpg", question="What is shown?")'


def _parts(record: RunRecord) -> tuple[OfQuestions, ...]:
    return getattr(record.details, "parts", ())


def _table(parts: list[OfQuestions]) -> Any:
    """Tabulate the figures of groups of questions, one group per row."""
    return (
        {
            "names": [registry.metric(name).title for name in FIGURES],
            "by_sort": any(part.sort for part in parts),
            "rows": [
                {
                    "sort": _sort(part.sort),
                    "subset": _subset(part.subset),
                    "language": LANGUAGE_NAMES.get(part.language, part.language) or _("all"),
                    "questions": part.questions,
                    "figures": [_figure(name, part.measures.get(name)) for name in FIGURES],
                }
                for part in parts
            ],
        }
        if parts
        else {}
    )


def _figure(name: str, measure: Measure | None) -> dict[str, Any]:
    """Format a measure for the table; a gain is given in points with its sign."""
    shown = figure(name, measure)
    if name != metrics.GAIN or measure is None:
        return shown
    metric = registry.metric(name)
    return {
        "text": metric.difference(measure.value),
        "interval": metric.differences(measure.low, measure.high),
        "place": None,
    }


def _matrix(record: RunRecord) -> Any:
    """Tabulate accuracy by kind of question and subset, also with other images."""
    parts = [part for part in _parts(record) if part.sort and part.subset]
    subsets = list(dict.fromkeys(part.subset for part in parts))
    return (
        {
            "subsets": [_subset(name) for name in subsets],
            "rows": [
                {"sort": _sort(sort), "cells": [_cell(parts, sort, subset) for subset in subsets]}
                for sort in dict.fromkeys(part.sort for part in parts)
            ],
        }
        if parts
        else {}
    )


def _cell(parts: list[OfQuestions], sort: str, subset: str) -> dict[str, Any]:
    found = next((p for p in parts if (p.sort, p.subset) == (sort, subset)), None)
    measures = found.measures if found else {}
    return {
        "own": figure(metrics.ACCURACY, measures.get(metrics.ACCURACY)),
        "other": figure(metrics.OTHERS, measures.get(metrics.OTHERS))["text"],
    }


def _sort(name: str) -> str:
    return _(SORTS[name]) if name in SORTS else name


def _subset(name: str) -> str:
    return _(SUBSETS[name]) if name in SUBSETS else name or _("all")


def looked(record: RunRecord) -> dict[str, Any]:
    """Return right and wrong answers, each with the image regions attended to."""
    if record.test is None or not record.answers or "looked" not in record.answers[0]:
        return {}
    every = list(_tiles(record))
    found = {
        name: [shown for right, shown in every if right is wanted][:SHOWN]
        for name, wanted in (("right", True), ("wrong", False))
    }
    return found if every else {}


def _tiles(record: RunRecord) -> Iterator[tuple[bool, Tile]]:
    answers, test = record.answers[0], record.test
    assert test is not None
    maps, places = answers["looked"], answers["question"]
    assert isinstance(maps, Sparse) and isinstance(places, Sparse)
    chosen, sure = dense(answers, "chosen"), dense(answers, "probability")
    known = getattr(record.details, "known", ())
    for row, looked_at, place in zip(maps.rows.tolist(), maps.values, places.values.tolist(), strict=True):
        one = test.target[row][place]
        number = int(chosen[row, place])
        said = known[number] if 0 <= number < len(known) else "?"
        right = said == one.answer
        told = _("{answer} ({share})").format(answer=said, share=units.percent(float(sure[row, place])))
        lines = [one.question, told]
        if not right:
            lines.append(_("right: {answer}").format(answer=one.answer))
        shown = plots.overlay_of_shares(test.input[row], looked_at)
        yield right, tile(shown, f"{one.question} {told}", lines, test.file[row])


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the sections of a comparison's report: accuracy by kind of question and system."""
    compared = record.details or {}
    sorts = list(dict.fromkeys(sort for figures in compared.values() for sort in figures))
    part = (
        {
            "sorts": [_sort(sort) for sort in sorts],
            "rows": [
                {"system": system, "figures": [figure(metrics.ACCURACY, figures.get(sort)) for sort in sorts]}
                for system, figures in compared.items()
            ],
        }
        if sorts
        else {}
    )
    return section("compared", _("By kind of question"), TEMPLATE, part)
