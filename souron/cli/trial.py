"""``souron try``: run the command that shows a row of the lecture at work."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument

from souron.cli.app import command
from souron.cli.console import note, print_json, screen, show, table
from souron.cli.lecture import complete_row
from souron.cli.parsing.options import Project
from souron.lecture import rows
from souron.utils import units
from souron.utils.messages import N_, _

if TYPE_CHECKING:
    from souron.lecture.samples import Answer

EVERY = "all"


@command(
    "try",
    N_("Run one command of a row of the lecture, on sample files."),
    "souron try V8\nsouron try D4 --json\nsouron try all",
    group="teach",
)
def trial(
    names: Annotated[list[str], Argument(metavar="ROWS", help=N_("such as V8, or all"), autocompletion=complete_row)],
    project: Project = None,
) -> None:
    from souron.lecture import samples

    every = [name.lower() for name in names] == [EVERY]
    chosen = list(rows.rows().values()) if every else [rows.find(name) for name in names]
    folder = Path(project or "runs") / "try"
    several = len(chosen) > 1
    answers = []
    for number, row in enumerate(chosen, 1):
        with screen.err.status(f"{number}/{len(chosen)}  {row.id}  {samples.command(row)}"):
            answer = samples.attempt(row, folder)
        answers.append(answer)
        if not screen.json:
            show(*answer.block(row.text.title, few=several), "")
    if screen.json:
        print_json([asdict(answer) for answer in answers])
    elif several:
        show(summary(answers), "", whole=True)
    seconds = units.seconds(sum(answer.seconds for answer in answers))
    note(_("{seconds}; the files are in {folder}").format(seconds=seconds, folder=folder))
    if any(answer.exit for answer in answers):
        raise typer.Exit(1)


def summary(answers: Sequence["Answer"]) -> Any:
    """Return the table of all rows that were tried, with the reason where one did not answer."""
    seconds = _("seconds")
    made = table("", _("row"), seconds, _("answer"), right=[seconds])
    for each in answers:
        reasons = [line for line in each.lines if line.startswith("[")] or each.lines
        outcome = (*reasons, "")[0] if each.exit else _("answered")
        made.add_row(each.row, rows.find(each.row).text.title, f"{each.seconds:.1f}", outcome)
    return made
