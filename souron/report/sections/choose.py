"""Report sections of multiple-choice examinations.

The score beside chance and its controls, figures by subject, calibration, and wrong answers to
read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from souron import registry
from souron.data.dataset import Dataset
from souron.data.language.exam_papers import LETTERS
from souron.evaluation.answers import Answers, dense
from souron.evaluation.language.exams import PASS_MARKS, ExamResult, share_right
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.report import plots
from souron.report.page import Plot, Section, figure, plot, section
from souron.stats.records import Measure
from souron.utils import plotting, units
from souron.utils.messages import _

TEMPLATE = "choose.html"
MOST_WRONG = 40  # questions shown
LETTERS_SHOWN = 1_500  # characters of a question
DISAGREEMENTS = 20
VOCABULARY = ("terms", "glosses")


def run(record: RunRecord) -> list[Section]:
    assert record.test is not None
    return paper(record.details, record.answers[0], record.test, record.data)


def paper(result: ExamResult, answers: Answers, test: Dataset, data: str) -> list[Section]:
    """Return the sections of one examination paper."""
    parts = (
        ("result", _("The result"), _result(result, data)),
        ("subjects", _("By subject"), _subjects(result.by_subject)),
        ("calibration", _("Calibration"), _calibration(result)),
        ("wrong", _("Answered wrongly"), wrong(answers, test)),
    )
    return [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]


def notes(record: RunRecord) -> list[str]:
    return warnings(record.details, record.data)


def warnings(result: ExamResult, data: str) -> list[str]:
    """Return the caveats of the figures."""
    found = []
    if data in VOCABULARY:
        found.append(_("These questions measure vocabulary, not clinical judgement."))
    if result.accuracy.low <= result.chance:
        found.append(_("No better than picking at random."))
    if result.control.low > result.chance:
        found.append(
            _(
                "The options alone give answers away: without the questions it is right on {value}, "
                "by chance on {chance}."
            ).format(value=units.percent(result.control.value), chance=units.percent(result.chance))
        )
    if not result.fair:
        found.append(
            _("With the key shuffled it does not score at chance level: the scoring, or the paper, is at fault.")
        )
    return found


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Choosing among the options of questions like those of {data}.")
    return text.format(data=record.data), 'model("question.json").best'


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return questions that some systems answered correctly and others wrongly."""
    if not record.details or record.test is None:
        return []
    rows = _apart(record.details, record.test)
    return section("disagreements", _("Where they disagree"), TEMPLATE, rows)


def _result(result: ExamResult, data: str) -> dict[str, Any]:
    rows = [
        (_("accuracy"), result.accuracy, ""),
        (_("without the questions"), result.control, _("what the options alone give away")),
        (_("with the key shuffled"), result.shuffled, _("must be at chance level")),
    ]
    why = result.no_pass_marks
    return {
        "picture": _scale(result),
        "rows": [
            {"name": name, "about": about, "n": measure.n, **figure("accuracy", measure)}
            for name, measure, about in rows
        ],
        "chance": units.percent(result.chance),
        "decision": _decision(result.decision),
        "marks": ", ".join(f"{name} {units.percent(mark)}" for name, mark in PASS_MARKS),
        "why": why,
        "vocabulary": data in VOCABULARY,
    }


def _scale(result: ExamResult) -> Plot:
    """Plot the score and its control, with chance and, where they apply, the pass marks."""
    drawn = plotting.new_figure(7.2, 1.9)
    axes = drawn.subplots()
    plotting.style_axes(axes, registry.metric("accuracy").title, "")
    rows = (result.accuracy, result.control)
    for place, measure in enumerate(rows):
        colour = plotting.COLOURS[place]
        axes.plot((measure.low, measure.high), (place, place), color=colour, linewidth=2)
        axes.plot(measure.value, place, plotting.MARKS[place], color=colour, markersize=7)
    marks = [(_("chance"), result.chance), *([] if result.no_pass_marks else PASS_MARKS)]
    for name, mark in marks:
        axes.axvline(mark, color=plotting.FAINT, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            name, (mark, -0.55), (2, 0), textcoords="offset points", fontsize=7.5, color=plotting.INK, va="top"
        )
    axes.set_yticks((0, 1), [_("with the questions"), _("without")], fontsize=9)
    axes.set_xlim(0, 1)
    axes.set_ylim(1.5, -0.8)
    axes.xaxis.set_major_formatter(lambda value, _place: f"{100 * value:.0f} %")
    axes.grid(visible=False, axis="y")
    return plot(plotting.as_png(drawn), _("the accuracy with its interval, beside chance"))


def _decision(decision: Mapping[str, float]) -> str:
    if not decision:
        return _("Nothing was chosen on validation questions: the scores are used unchanged.")
    taken = (
        _("The score of the options alone was subtracted from the scores.")
        if decision.get("prior")
        else _("The score of the options alone was left in the scores.")
    )
    return (
        taken
        + " "
        + _("Chosen on validation questions, with the temperature {value}.").format(
            value=f"{decision.get('temperature', 1.0):.2f}"
        )
    )


def _subjects(found: Mapping[str, Measure]) -> list[dict[str, Any]]:
    return [
        {"name": name, "n": measure.n, **figure("accuracy", measure)}
        for name, measure in sorted(found.items(), key=lambda pair: -pair[1].n)
    ]


def _calibration(result: ExamResult) -> dict[str, Any]:
    name = _("this paper")
    points = [(one.confidence, Measure(one.share, one.low, one.high, one.n)) for one in result.curve]
    drawn = plots.reliability({name: points}, {name: torch.from_numpy(result.confidence)})
    return {"picture": plot(drawn, _("accuracy by confidence")), "error": units.percent(result.ece)}


def wrong(answers: Answers, test: Dataset, most: int = MOST_WRONG) -> dict[str, Any]:
    """Return the wrong answers with the highest confidence.

    A question counts as wrong if the answer is wrong in at least one order of its options.
    """
    probability = dense(answers, "probability")
    right = share_right(dense(answers, "picked"), test.target)
    sure, picks = probability.max(1)
    some = (right < 1).nonzero().flatten()
    rows = some[sure[some].argsort(descending=True)].tolist()
    return (
        {
            "count": len(rows),
            "items": [
                item(test, row, int(picks[row]), probability[row].tolist(), float(right[row])) for row in rows[:most]
            ],
        }
        if rows
        else {}
    )


def item(test: Dataset, row: int, pick: int, probability: Sequence[float], right: float) -> dict[str, Any]:
    question, key = test.input[row], int(test.target[row])
    return {
        "text": question.text[:LETTERS_SHOWN],
        "file": test.file[row],
        "orders": "" if right in (0.0, 1.0) else units.percent(right),
        "options": [
            {
                "letter": LETTERS[i],
                "text": option,
                "key": i == key,
                "pick": i == pick,
                "probability": units.percent(probability[i]),
            }
            for i, option in enumerate(question.options)
        ],
    }


def _apart(picked: Mapping[str, Any], test: Dataset) -> dict[str, Any]:
    names, rows = list(picked), []
    target = test.target.numpy()
    right = {name: picked[name] == target for name in names}
    for row in range(len(test)):
        if len({bool(right[name][row]) for name in names}) > 1:
            rows.append(row)
    step = max(1, len(rows) // DISAGREEMENTS)
    shown = rows[::step][:DISAGREEMENTS]
    return (
        {
            "count": len(rows),
            "names": names,
            "rows": [
                {
                    "text": test.input[row].text[:300],
                    "key": test.input[row].options[int(target[row])],
                    "said": [
                        (test.input[row].options[int(picked[name][row])], bool(right[name][row])) for name in names
                    ],
                }
                for row in shown
            ],
        }
        if rows
        else {}
    )
