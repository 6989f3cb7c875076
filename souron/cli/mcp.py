"""``souron mcp``: let an assistant on this computer use souron."""

from pathlib import Path
from typing import Annotated

from typer import Option

from souron.cli.app import command
from souron.cli.parsing import arguments
from souron.utils import extras, hardware
from souron.utils.messages import N_, UserError, _


@command(
    "mcp",
    N_("Let an assistant on this computer use what only reads, in folders that you name."),
    "souron mcp --folder study/\nsouron mcp folder=study/ folder=runs/",
    group="use",
)
def mcp(
    folder: Annotated[
        list[str] | None,
        Option(metavar="FOLDER", help=N_("what may be read, and nothing above it; runs/ in the first is written to")),
    ] = None,
) -> None:
    if not folder:
        raise arguments.missing("--folder", "souron mcp --folder study/")
    folders = [Path(name).expanduser().resolve() for name in folder]
    for name, path in zip(folder, folders, strict=True):
        if not path.is_dir() or path in (Path(path.anchor), Path.home().resolve()):
            raise UserError(
                "folder",
                _("{path} is not a folder for an assistant").format(path=name),
                expected=_("a folder that exists, neither the whole disk nor your home"),
                fix="souron mcp --folder study/",
                exit=3,
            )
    extras.check("mcp", _("souron mcp needs the package mcp"))
    hardware.calm_allocator()
    from souron.mcp import server

    server.serve(folders)
