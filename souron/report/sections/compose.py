"""Report sections of composed pieces."""

from typing import Any

from souron import registry
from souron.evaluation.generators.compose import NAMES, ComposeResult
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.metrics.compose import BITS
from souron.report.music_overview import shown
from souron.report.page import Section, figure, filled, section
from souron.utils.messages import N_, _

TEMPLATE = "compose.html"
WHO = {
    "test pieces": N_("the test pieces themselves"),
    "voices put together": N_("voices of different test pieces put together"),
}


def run(record: RunRecord) -> list[Section]:
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
        (_("a new piece, as long as {file}").format(file=test.file[row]), shown(piece)) for row, piece in result.shown
    ]
    parts = (("counterpoint", _("Beside the test pieces"), table), ("pieces", _("Pieces to listen to"), pieces))
    return [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]


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
