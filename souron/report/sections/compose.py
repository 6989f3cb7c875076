"""Report sections of composed pieces."""

from typing import TYPE_CHECKING, Any

from souron import registry
from souron.evaluation.compose import NAMES, ComposeResult
from souron.metrics.compose import BITS
from souron.report.page import Section, figure, filled, section
from souron.report.pieces import shown
from souron.utils.messages import N_, _

if TYPE_CHECKING:
    from souron.runs.record import ComparisonRecord, RunRecord

TEMPLATE = "compose.html"
WHO = {"test pieces": N_("the test pieces themselves"),
       "voices put together": N_("voices of different test pieces put together")}  # fmt: skip


def run(record: "RunRecord") -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, ComposeResult) and test is not None
    rows: list[Any] = [(_("written by the system"), record.measures)]
    rows += [(_(WHO[who]), measures) for who, measures in result.beside.items()]
    table = {
        "metrics": [registry.metric(name).title for name in NAMES],
        "rows": [(who, [figure(name, one[name]) for name in NAMES]) for who, one in rows],
    }
    pieces = [
        (_("a new piece, as long as {file}").format(file=test.file[row]), shown(piece))
        for row, piece in result.shown
    ]
    parts = (
        ("counterpoint", _("Beside the test pieces"), table),
        ("pieces", _("Pieces to hear"), pieces),
    )
    return [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]


def comparison(record: "ComparisonRecord") -> list[Section]:
    return []


def headline(record: "RunRecord") -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} learnt from {train} pieces of {data} in {time}. Each token of {test} pieces with "
        "tunes that it never saw costs it {value} (95 % interval {interval})."
    )
    return filled(record, text, BITS)


def limits(record: "RunRecord") -> list[str]:
    """Return the limits of the figures, for the model card."""
    return [
        _("Consonances, parallels and crossings are counted as in a first lesson of counterpoint. "
          "Whether a phrase leads anywhere and whether a piece pleases, they do not say: hear it."),
        _("A run that is copied from a training piece counts in whatever key. What is copied with "
          "one tone changed is not found."),
    ]  # fmt: skip


def use(record: "RunRecord") -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Setting melodies in four voices in the manner of {data}, and going on with pieces.")
    return text.format(data=record.data), 'print(model("melody.mid"))'
