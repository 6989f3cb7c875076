"""``souron studio``: start the studio in the browser."""

import importlib
from pathlib import Path
from typing import Annotated

from typer import Option

from souron.cli.app import command
from souron.cli.parsing import options as cli_options
from souron.utils.messages import N_, UserError, _

MOST_LETTERS = 1000  # of a password's line


@command(
    "studio",
    N_("Do all of it in the browser, on this computer alone."),
    "souron studio\nsouron studio port=8000 root=/data/xrays\nsouron studio --share-lan\n"
    "souron studio --host 0.0.0.0 --password-file room.txt\n"
    "souron studio --host 0.0.0.0 --password-file room.txt --cert cert.pem --key key.pem",
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
    host: Annotated[
        str,
        Option("--host", metavar="ADDRESS", help=N_("for several people, each with a login; 0.0.0.0: all networks")),
    ] = "",
    password: Annotated[str, Option("--password", metavar="WORD", help=N_("of the room, 8 characters or more"))] = "",
    password_file: Annotated[
        str | None, Option("--password-file", metavar="FILE", help=N_("a file whose first line is the password"))
    ] = None,
    cert: Annotated[str | None, Option("--cert", metavar="FILE", help=N_("a certificate, for TLS (PEM)"))] = None,
    key: Annotated[str | None, Option("--key", metavar="FILE", help=N_("its key (PEM)"))] = None,
    course: Annotated[
        str | None, Option(metavar="FILE", help=N_("open this course: a file, or ninety_minutes"))
    ] = None,
) -> None:
    if (cert is None) != (key is None):
        raise UserError(
            "certificate", _("a certificate and its key belong together"), expected="--cert FILE --key FILE"
        )
    if password_file is not None:
        password = first_line(Path(password_file))
    studio_app = importlib.import_module("souron.studio.app")  # a form over these commands

    roots = [Path(folder) for folder in root or []]
    studio_app.start(
        Path(project or "runs"),
        port,
        roots,
        browser=not no_browser,
        share_lan=share_lan,
        course=Path(course) if course else None,
        host=host,
        password=password,
        certificate=(Path(cert), Path(key)) if cert is not None and key is not None else None,
    )


def first_line(path: Path) -> str:
    """Return the first line of a file. Raises UserError where it cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(MOST_LETTERS).strip()
    except (OSError, ValueError) as error:
        raise UserError(
            "password",
            _("{path} cannot be read").format(path=path),
            expected=_("a text file whose first line is the password"),
            exit=3,
        ) from error
