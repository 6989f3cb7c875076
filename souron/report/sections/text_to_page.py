"""Report sections of web pages generated from requests."""

from souron.data.language import web_pages
from souron.evaluation.language.generated_texts import shortened as shown
from souron.evaluation.language.web_pages import PageResult
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.report.blocks import Section, Table, sections, texts
from souron.report.page import bare, figures, filled
from souron.utils import units
from souron.utils.messages import N_, _

NAMES = ("all right", "F1 of parts", "colours right", "counts right", "labels right")
SUBSETS = {
    "new combinations": N_("combinations of parts that were not in training"),
    "new pairs": N_("pairs of parts that never occurred on one page in training"),
    "new wordings": N_("wordings that were never used in training"),
}


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, PageResult) and test is not None
    rows = [
        (
            test.file[row],
            [
                (_("request"), shown(test.input[row])),
                (_("asked for"), "\n".join(web_pages.outline(test.target[row]))),
                (_("by the system"), said),
            ],
        )
        for row, said in result.shown
    ]
    text = _(
        "Some test requests, evenly spaced, not selected, with the parts of the page that "
        "was written, read from its HTML."
    )
    return sections(
        ("apart", _("What was held out of training"), _apart(result)),
        ("written", _("Pages to read"), texts(text, rows)),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    return []


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} wrote a page for each of {test} test requests of {data}. All parts, colours, "
        "counts, labels and their order are as requested in {value} (95 % interval {interval})."
    )
    return filled(record, text, "all right")


def limits(record: RunRecord) -> list[str]:
    """Return the limits of the figures, for the model card."""
    return [
        _(
            "Requests and pages were composed from lists of wordings. People phrase requests "
            "differently: what was not in its training data it names, and leaves out."
        ),
        _("The measures count what is on the page, not how it looks. Its contents are placeholders."),
    ]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Drafting the parts of a web page from one sentence, to be filled and checked by hand.")
    return text, 'print(model("request.txt"))'


def _apart(result: PageResult) -> list[Table]:
    names = {"en": _("English"), "ja": _("Japanese")}

    def called(name: str) -> str:
        return ", ".join(_(SUBSETS[each]) if each in SUBSETS else names.get(each, each) for each in name.split(", "))

    rows = [([called(name), units.whole(measures[NAMES[0]].n)], measures) for name, measures in result.apart.items()]
    return figures([_("test cases"), _("number")], rows, NAMES, [_("number")], bare)
