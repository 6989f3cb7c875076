"""The page of an examination."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from souron import registry
from souron.data.called import called
from souron.report import page as pages
from souron.report.page import Fact, Section, section
from souron.report.sections import choose
from souron.utils import units
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.audit.exam import ExamRecord

MOST_SEEN = 10  # questions that are named


def write(record: "ExamRecord") -> Path:
    """Write the report in both languages; its path. Raises UserError."""
    return pages.in_each_language(record.report.parent, partial(_page, record))


def headline(record: "ExamRecord") -> str:
    result, metric = record.result, registry.metric("accuracy")
    text = _("{model} is right on {value} of {n} questions of {data} (95 % interval {interval}); "
             "chance level is {chance}.")  # fmt: skip
    return text.format(
        model=record.model,
        value=metric.text(result.accuracy.value),
        n=units.whole(result.accuracy.n),
        data=called(record.data),
        interval=metric.interval(result.accuracy.low, result.accuracy.high),
        chance=metric.text(result.chance),
    )


def warnings(record: "ExamRecord") -> list[str]:
    """What is to be known before the figures are believed."""
    return [*choose.warnings(record.result, record.data), *record.remarks, *_seen(record)]


def _seen(record: "ExamRecord") -> list[str]:
    shared, found = record.overlap, []
    if shared.seen:
        text = _("Its training data contain {count} of {all} questions, {answered} of them with "
                 "their right option in the same text.")  # fmt: skip
        found.append(text.format(
            count=units.whole(len(shared.seen)), all=units.whole(shared.questions),
            answered=units.whole(len(shared.answered)),
        ))  # fmt: skip
    if shared.unknown:
        text = _("Whether its training data contain these questions is unknown: {why}.")
        found.append(text.format(why=shared.unknown))
    return found


def _page(record: "ExamRecord", elsewhere: Sequence[Any]) -> str:
    sections = [
        *choose.paper(record.result, record.answers, record.test, record.data),
        *_ledger(record),
    ]
    result = record.result
    metric = registry.metric("accuracy")
    return pages.page(
        "exam.html",
        elsewhere=elsewhere,
        title=_("{model}: an examination in {data}").format(
            model=record.model, data=called(record.data)
        ),
        eyebrow=registry.task_name("choose"),
        headline=headline(record),
        notes=warnings(record),
        facts=[
            Fact(
                metric.title,
                metric.text(result.accuracy.value),
                metric.interval(result.accuracy.low, result.accuracy.high),
            ),
            Fact(_("without the questions"), metric.text(result.control.value)),
            Fact(_("chance"), metric.text(result.chance)),
            Fact(_("exam questions"), units.whole(result.accuracy.n)),
            Fact(_("time"), units.seconds(record.seconds)),
        ],
        contents=[(one.name, one.title) for one in sections],
        sections=sections,
    )


def _ledger(record: "ExamRecord") -> list[Section]:
    shared, test = record.overlap, record.test
    rows = [
        (_("data"), called(record.data)),
        (_("seed"), str(record.seed)),
        (_("source"), test.source or units.UNKNOWN),
        (_("licence"), test.licence or units.UNKNOWN),
        (_("questions left out"), units.whole(len(test.skipped))),
        (_("training texts"), f"{units.whole(shared.texts)} ({called(shared.data)})"
         if shared.data else _("none of souron's")),
        (_("questions in them"), units.whole(len(shared.seen)) if shared.data else units.UNKNOWN),
    ]  # fmt: skip
    seen = [test.input[row].text[:200] for row in shared.seen[:MOST_SEEN]]
    command = f"souron exam {record.model} data={record.data} seed={record.seed}"
    part = {"rows": rows, "seen": seen, "command": command}
    return section("ledger", _("The paper and the training data"), choose.TEMPLATE, part)
