"""Report sections of multiple-choice examinations.

The score beside chance and its controls, figures by subject, calibration, and wrong answers to
read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from souron import registry
from souron.data.dataset import Dataset
from souron.data.language.exam_papers import LETTERS
from souron.evaluation.answers import Answers, dense
from souron.evaluation.language.exams import PASS_MARKS, ExamResult, share_right
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.report import plots
from souron.report.blocks import Block, Cell, Group, Plot, Section, Table, sections
from souron.report.page import figure, plot
from souron.stats.records import Measure
from souron.utils import plotting, units
from souron.utils.messages import _

MOST_WRONG = 40  # questions shown
LETTERS_SHOWN = 1_500  # characters of a question
DISAGREEMENTS = 20
VOCABULARY = ("terms", "glosses")


def run(record: RunRecord) -> list[Section]:
    assert record.test is not None
    return paper(record.details, record.answers[0], record.test, record.data)


def paper(result: ExamResult, answers: Answers, test: Dataset, data: str) -> list[Section]:
    """Return the sections of one examination paper."""
    by_subject = sorted(result.by_subject.items(), key=lambda pair: -pair[1].n)
    subjects = _accuracies(_("subject"), by_subject) if by_subject else []
    return sections(
        ("result", _("The result"), _result(result)),
        ("subjects", _("By subject"), subjects),
        ("calibration", _("Calibration"), _calibration(result)),
        ("wrong", _("Answered wrongly"), wrong(answers, test)),
    )


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
    return sections(("disagreements", _("Where they disagree"), _apart(record.details, record.test)))


def _result(result: ExamResult) -> list[Block]:
    drawn, why = _scale(result), result.no_pass_marks
    rows = [
        (Cell(_("accuracy")), result.accuracy),
        (_with(_("without the questions"), _("what the options alone give away")), result.control),
        (_with(_("with the key shuffled"), _("must be at chance level")), result.shuffled),
    ]
    chance = _(
        "Picking at random is right on {chance}. Each question was asked with its options in every cyclic order, and "
        "counts once."
    )
    marks = (
        _("The pass marks of USMLE-style papers ({marks}) are not drawn: {why}.")
        if why
        else _(
            "The paper looks like USMLE's (long stems about patients, four or five options), so that its pass marks "
            "are drawn: {marks}. They were set on other questions."
        )
    )
    return [
        replace(drawn, caption=drawn.alt),
        *_accuracies("", rows),
        chance.format(chance=units.percent(result.chance)),
        _decision(result.decision),
        marks.format(marks=", ".join(f"{name} {units.percent(mark)}" for name, mark in PASS_MARKS), why=why),
    ]


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


def _calibration(result: ExamResult) -> list[Block]:
    name = _("this paper")
    points = [(one.confidence, Measure(one.share, one.low, one.high, one.n)) for one in result.curve]
    drawn = plots.reliability({name: points}, {name: torch.from_numpy(result.confidence)})
    caption = _(
        "Reliability diagram. Dots on the diagonal: an answer given with 80 % is right on 80 % of the questions."
    )
    text = _("Expected calibration error: {error}. It is overestimated on few questions, and has no interval.")
    return [
        _("Whether a probability means what it says."),
        plot(drawn, _("accuracy by confidence"), caption),
        text.format(error=units.percent(result.ece)),
    ]


def wrong(answers: Answers, test: Dataset, most: int = MOST_WRONG) -> list[Block]:
    """Return the wrong answers with the highest confidence.

    A question counts as wrong if the answer is wrong in at least one order of its options.
    """
    probability = dense(answers, "probability")
    right = share_right(dense(answers, "picked"), test.target)
    sure, picks = probability.max(1)
    some = (right < 1).nonzero().flatten()
    rows = some[sure[some].argsort(descending=True)].tolist()
    text = _("{count} questions were answered wrongly in some order of their options; the most confident first.")
    shown = [item(test, row, int(picks[row]), probability[row].tolist(), float(right[row])) for row in rows[:most]]
    return [text.format(count=len(rows)), *shown] if rows else []


def item(test: Dataset, row: int, pick: int, probability: Sequence[float], right: float) -> Group:
    """Return a question with its options, the right one and the one that was picked."""
    question, key = test.input[row], int(test.target[row])
    options = []
    for i, option in enumerate(question.options):
        words = [f"{LETTERS[i]})", Cell(option, style="strong" if i == key else "")]
        words += [f"({_('right option')})"] if i == key else []
        words += [Cell(_("picked"), style="worse")] if i == pick else []
        options.append([Cell.of(*words), Cell(units.percent(probability[i]), probability[i], "faint")])
    orders = _("right in {share} of the orders").format(share=units.percent(right))
    source = test.file[row] if right in (0.0, 1.0) else f"{test.file[row]}; {orders}"
    return Group(question.text[:LETTERS_SHOWN], [Table(["", ""], options), Cell(source, style="faint")])


def _apart(picked: Mapping[str, Any], test: Dataset) -> list[Block]:
    names, target = list(picked), test.target.numpy()
    right = {name: picked[name] == target for name in names}
    rows = [row for row in range(len(test)) if len({bool(right[name][row]) for name in names}) > 1]
    step = max(1, len(rows) // DISAGREEMENTS)
    cells = []
    for row in rows[::step][:DISAGREEMENTS]:
        options = test.input[row].options
        said = ((options[int(picked[name][row])], bool(right[name][row])) for name in names)
        signs = [f"✓ {option}" if is_right else Cell(f"✗ {option}", style="worse") for option, is_right in said]
        cells.append([test.input[row].text[:300], options[int(target[row])], *signs])
    text = _("{count} questions are right for some and wrong for others. Some of them:").format(count=len(rows))
    return [text, Table([_("exam question"), _("right option"), *names], cells)] if rows else []


def _accuracies(head: str, rows: Sequence[tuple[str, Measure]]) -> list[Block]:
    columns = [_("accuracy"), _("95 % interval"), _("exam questions")]
    cells = [[name, *figure("accuracy", one), Cell(units.whole(one.n), one.n)] for name, one in rows]
    return [Table([head, *columns], cells, right=columns)]


def _with(name: str, about: str) -> Cell:
    return Cell.of(name, Cell(about, style="faint"))
