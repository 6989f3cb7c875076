"""``souron try``: run the command that shows a row of the lecture at work."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument

from souron.cli.app import command
from souron.cli.console import note, print_json, screen, show
from souron.cli.lecture import complete_row
from souron.cli.parsing.options import Project
from souron.lecture import rows
from souron.utils import units
from souron.utils.messages import N_, _

EVERY = "all"
SHOWN = 2  # lines of each answer, of all rows


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
    answers = []
    for number, row in enumerate(chosen, 1):
        with screen.err.status(f"{number}/{len(chosen)}  {row.id}  {row.answer}"):
            answer = samples.answer(row, folder)
        answers.append(answer)
        if not screen.json:
            lines = answer.lines if len(chosen) == 1 else answer.lines[:SHOWN]
            show(f"{row.id}  {row.text.title}", f"$ {answer.command}", *lines, "")
    if screen.json:
        print_json([asdict(answer) for answer in answers])
    seconds = units.seconds(sum(answer.seconds for answer in answers))
    note(_("{seconds}; the files are in {folder}").format(seconds=seconds, folder=folder))
    if any(answer.exit for answer in answers):
        raise typer.Exit(1)
