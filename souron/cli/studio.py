"""``souron studio``: start the studio in the browser."""

import importlib
from pathlib import Path
from typing import Annotated

from typer import Option

from souron.cli.app import command
from souron.cli.parsing import options as cli_options
from souron.utils.messages import N_


@command(
    "studio",
    N_("Do all of it in the browser, on this computer alone."),
    "souron studio\nsouron studio port=8000 root=/data/xrays\nsouron studio --share-lan",
    group="start",
)
def studio(
    port: Annotated[int, Option(min=0, max=65535, metavar="N", help=N_("default 7860; 0: any"))] = 7860,
    root: Annotated[
        list[str] | None, Option(metavar="FOLDER", help=N_("a further folder that may be read; may be repeated"))
    ] = None,
    project: cli_options.Project = None,
    no_browser: Annotated[bool, Option("--no-browser", help=N_("only print the address"))] = False,
    share_lan: Annotated[
        bool, Option("--share-lan", help=N_("also for other devices here, with the token that is shown"))
    ] = False,
    course: Annotated[str | None, Option(metavar="FILE", help=N_("open this course of the lecture's rows"))] = None,
) -> None:
    studio_app = importlib.import_module("souron.studio.app")  # a form over these commands

    roots = [Path(folder) for folder in root or []]
    studio_app.start(
        Path(project or "runs"),
        port,
        roots,
        browser=not no_browser,
        share_lan=share_lan,
        course=Path(course) if course else None,
    )
