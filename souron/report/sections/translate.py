"""Report sections of translation."""

from souron.evaluation.language.generated_texts import WrittenResult
from souron.evaluation.language.generated_texts import shortened as shown
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.report.blocks import Section, sections, texts
from souron.report.page import filled
from souron.utils.messages import _


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
                (_("by the system, backwards"), back),
            ],
        )
        for row, (said, back) in result.shown
    ]
    text = _(
        "Some test texts, evenly spaced, not selected. Each was translated in both "
        "directions: backwards means from the person's translation."
    )
    return sections(("written", _("Translations to read"), texts(text, rows)))


def comparison(record: ComparisonRecord) -> list[Section]:
    return []


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} pairs of {data} in {time}. Its translations of {test} "
        "unseen test texts have a chrF of {value} (95 % interval {interval})."
    )
    return filled(record, text, "chrF")


def limits(record: RunRecord) -> list[str]:
    """Return the limits of the figures, for the model card."""
    return [
        _(
            "chrF counts character n-grams that a translation shares with one by a person. It does "
            'not measure whether the meaning is right: a wrong number or a lost "not" costs next '
            "to nothing, and a good translation in other words costs much."
        ),
        _("It knows no words of subjects that are not in its training texts."),
    ]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Translating texts like those of {data}, to be checked by someone who knows both languages.").format(
        data=record.data
    )
    return text, 'print(model("text.txt"))'
