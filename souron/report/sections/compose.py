"""Report sections of composed pieces."""

from souron.evaluation.generators.compose import NAMES, ComposeResult
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.metrics.compose import BITS
from souron.report.blocks import Group, Live, Section, sections
from souron.report.music_overview import shown
from souron.report.page import bare, figures, filled
from souron.utils.messages import N_, _

WHO = {
    "test pieces": N_("the test pieces themselves"),
    "voices put together": N_("voices of different test pieces put together"),
}


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, ComposeResult) and test is not None
    rows = [([_("written by the system")], record.measures)]
    rows += [([_(WHO[who])], measures) for who, measures in result.beside.items()]
    beside = _(
        "The pieces were generated from scratch, as long as the test pieces at most. A voice combined with voices of "
        "other pieces, all transposed to one key, shows what chance does."
    )
    pieces = [
        Group(_("a new piece, as long as {file}").format(file=test.file[row]), [Live(shown(piece))])
        for row, piece in result.shown
    ]
    first = _("The first pieces that were generated, not selected.")
    return sections(
        ("counterpoint", _("Beside the test pieces"), [beside, *figures([""], rows, NAMES, cells=bare)]),
        ("pieces", _("Pieces to listen to"), [first, *pieces] if pieces else []),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    return []


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} pieces of {data} in {time}. Each token of {test} pieces "
        "with unseen tunes costs it {value} (95 % interval {interval})."
    )
    return filled(record, text, BITS)


def limits(record: RunRecord) -> list[str]:
    """Return the limits of the figures, for the model card."""
    return [
        _(
            "Consonances, parallels and crossings are counted as in a first course of "
            "counterpoint. They do not say whether a phrase leads anywhere or whether a piece "
            "pleases: listen to it."
        ),
        _("A run that is copied from a training piece counts in any key. A copy with one note changed is not found."),
    ]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Harmonising melodies in four voices in the style of {data}, and continuing pieces.")
    return text.format(data=record.data), 'print(model("melody.mid"))'
