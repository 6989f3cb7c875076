"""Application with which every command registers."""

from collections.abc import Callable
from typing import Any

import typer
import typer.main

from souron.cli import console
from souron.utils.messages import N_

UsageError: Any = typer.BadParameter.__base__  # of the click that typer uses

app = typer.Typer(
    cls=console.Commands,
    help=N_("Every AI system of an overview lecture on your own computer."),
    epilog=N_(
        "Exit codes:\n"
        "  0    fine\n"
        "  1    an error inside souron; SOURON_DEBUG=1 shows where\n"
        "  2    wrong usage: a name, an option, a value\n"
        "  3    data or files\n"
        "  4    this machine: memory, disk, something to fetch first\n"
        "  5    refused, and why\n"
        "  130  interrupted; the work is kept\n"
        "\n"
        "Environment:\n"
        "  SOURON_LANG   the language: en, ja\n"
        "  SOURON_DATA   the folder of your data sets\n"
        "  SOURON_CACHE  the folder of what was fetched"
    ),
    pretty_exceptions_enable=False,
)
COMPLETION = (
    N_("Install completion for the current shell."),
    N_("Show completion for the current shell, to copy it or customize the installation."),
)


@app.callback()
def everywhere() -> None:
    pass


def command(name: str, help: str, examples: str, *, group: str) -> Callable:
    """Register a command with its help, examples (one a line) and group in ``GROUPS``."""
    assert group in console.GROUPS, f"{name}: no group is named {group}"
    # without typer's own --help, for which it would import pydantic; ``obey`` answers it
    return app.command(
        name,
        cls=console.Command,
        help=help,
        epilog=examples,
        add_help_option=False,
        rich_help_panel=group,
    )


def parser(name: str = "") -> Any:
    """Return the parser of the command ``name``; for an unknown name, that of all commands."""
    alone = [one for one in app.registered_commands if one.name == name]
    if not alone:
        return typer.main.get_command(app)
    narrow = typer.Typer(cls=console.Commands, pretty_exceptions_enable=False)
    narrow.registered_callback, narrow.registered_commands = app.registered_callback, alone
    return typer.main.get_command(narrow)
