"""``souron skill``: test whether motion measures predict a skill score given by people."""

from pathlib import Path
from typing import Annotated

from typer import Argument

from souron.cli import console
from souron.cli.app import command
from souron.cli.console import print_json, screen, show
from souron.utils.messages import N_, _


@command(
    "skill",
    N_("Relate measures of motion to ratings of skill, by operator."),
    "souron skill videos/scores.csv",
    group="use",
)
def skill(
    scores: Annotated[
        str,
        Argument(
            metavar="CSV",
            help=N_("video,operator,score: each video a folder that souron predict wrote"),
        ),
    ],
) -> None:
    with screen.err.status(_("reading data")):
        from souron.evaluation import skill as evaluation

        found = evaluation.fit(evaluation.read(Path(scores)))
    if screen.json:
        print_json(found.as_json())
        return
    show(_("{videos} videos of {operators} operators").format(
        videos=found.videos, operators=found.operators))  # fmt: skip
    value, interval = _("rank correlation"), _("95 % interval")
    table = console.table(_("figure"), value, interval, right=(value, interval))
    for name, one in found.correlations.items():
        table.add_row(name, f"{one.value:+.2f}", f"{one.low:+.2f} – {one.high:+.2f}")
    show(table)
    text = _(
        "Together, for held-out operators: error {error:.3g} on average ({low:.3g}–{high:.3g}); "
        "always the mean score: {constant:.3g}."
    )
    show(text.format(error=found.error.value, low=found.error.low, high=found.error.high,
                     constant=found.constant.value))  # fmt: skip
    told = (
        _("The figures predict the score: better by {gain:.3g} ({low:.3g}–{high:.3g}).")
        if found.gain.low > 0
        else _("No better than always answering the mean score ({low:.3g} to {high:.3g}).")
    )
    show(told.format(gain=found.gain.value, low=found.gain.low, high=found.gain.high))
