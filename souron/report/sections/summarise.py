"""Report sections of summarisation."""

from typing import Any

from souron import registry
from souron.evaluation.language.generated_texts import WrittenResult
from souron.evaluation.language.generated_texts import shortened as shown
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.report.page import Section, figure, filled, section
from souron.utils.messages import _

TEMPLATE = "written.html"
NAMES = ("ROUGE-1", "ROUGE-2", "ROUGE-L")


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, WrittenResult) and test is not None
    rows = [
        (
            test.file[row],
            [
                (_("text"), shown(test.input[row])),
                (_("by a person"), shown(test.target[row])),
                (_("by the system"), said),
            ],
        )
        for row, (said,) in result.shown
    ]
    part = {
        "told": _("Some test texts, evenly spaced, not selected; of long ones only the beginning is shown."),
        "texts": rows,
    }
    parts = (
        ("languages", _("By language"), _languages(result)),
        ("written", _("Summaries to read"), part if rows else None),
    )
    return [one for name, title, each in parts for one in section(name, title, TEMPLATE, each)]


def comparison(record: ComparisonRecord) -> list[Section]:
    return []


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} extracted the most important sentences of {test} test texts of {data}. Their "
        "overlap with what a person wrote is {value} (ROUGE-1, 95 % interval {interval})."
    )
    return filled(record, text, "ROUGE-1")


def limits(record: RunRecord) -> list[str]:
    """Return the limits of the figures, for the model card."""
    return [
        _(
            "ROUGE counts words (in Japanese: characters) that a summary shares with a person's. "
            "It does not measure whether the important points are there: another good choice of "
            "sentences scores low."
        ),
        _(
            "Sentences are extracted word for word. Out of context a sentence may say something "
            "else: read it in the text."
        ),
    ]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Showing the sentences of a long text that are worth reading first.")
    return text, 'print(model("text.txt"))'


def _languages(result: WrittenResult) -> Any:
    names = {"en": _("English"), "ja": _("Japanese")}
    return (
        {
            "metrics": [registry.metric(name).title for name in NAMES],
            "rows": [
                (names.get(language, language), measures[NAMES[0]].n, [figure(name, measures[name]) for name in NAMES])
                for language, measures in result.by_language.items()
            ],
        }
        if result.by_language
        else None
    )
