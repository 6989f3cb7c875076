"""Report sections of summarisation."""

from souron.evaluation.language.generated_texts import WrittenResult
from souron.evaluation.language.generated_texts import shortened as shown
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.report.blocks import Section, Table, sections, texts
from souron.report.page import bare, figures, filled
from souron.utils import units
from souron.utils.messages import _

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
    text = _("Some test texts, evenly spaced, not selected; of long ones only the beginning is shown.")
    return sections(
        ("languages", _("By language"), _languages(result)), ("written", _("Summaries to read"), texts(text, rows))
    )


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


def _languages(result: WrittenResult) -> list[Table]:
    names = {"en": _("English"), "ja": _("Japanese")}
    rows = [
        ([names.get(language, language), units.whole(measures[NAMES[0]].n)], measures)
        for language, measures in result.by_language.items()
    ]
    return figures([_("language"), _("test cases")], rows, NAMES, [_("test cases")], bare)
