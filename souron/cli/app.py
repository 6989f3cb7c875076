"""Application with which every command registers."""

from collections.abc import Callable
from copy import copy
from typing import Any

import typer
import typer.main

from souron import registry
from souron.cli import actions, console
from souron.utils.messages import N_, UserError, _

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


def command(
    name: str,
    help: str,
    examples: str = "",
    *,
    group: str,
    of: typer.Typer = app,
    cls: type[console.Command] = console.Command,
) -> Callable:
    """Register a command: one line of help, examples (one a line), its group in ``GROUPS``."""
    assert group in console.GROUPS, f"{name}: no group is named {group}"
    # without typer's own --help, for which it would import pydantic; ``obey`` answers it
    return of.command(name, cls=cls, help=help, epilog=examples, add_help_option=False, rich_help_panel=group)


def parser(name: str = "") -> Any:
    """Return the parser of that command; without a known name, of every command in a group. Reads
    the files of no other action than those that are asked for. Raises UserError where an action's file
    is not complete."""
    some, known = copy(app), registry.action_files()
    alone = [one for one in app.registered_commands if one.name == name]
    wanted = [name] if name in known else [] if alone else list(known)
    some.registered_commands = alone or ([] if name in known else [*app.registered_commands])
    for entry in map(registry.action, wanted):
        if entry.group not in console.GROUPS:
            raise UserError(
                "action file",
                _("{file}: no group is named {group}").format(file=entry.file, group=entry.group),
                expected=", ".join(console.GROUPS),
                fix=_('see "Add an action" in CONTRIBUTING.md'),
            )
        examples = "\n".join(entry.examples)
        command(entry.name, entry.title, examples, group=entry.group, of=some, cls=actions.Command)(
            actions.command_of(entry)
        )
    return typer.main.get_command(some)
