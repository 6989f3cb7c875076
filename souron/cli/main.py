"""Entry point of the commands: ``souron list``, ``show``, ``data``, ``train``, ``val``, ...

Nothing here imports torch before a command needs it. Every option is understood as ``--epochs 5``
and as ``epochs=5``.
"""

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
import typer.main

import souron.cli
from souron.cli import actions, console
from souron.cli.app import UsageError, parser
from souron.cli.console import screen
from souron.cli.parsing import arguments
from souron.utils import distributions
from souron.utils.messages import UserError, _, near

for folder in souron.cli.__path__:  # each file that has a command registers it
    for file in sorted(Path(folder).glob("*.py")):
        if "\n@command(" in file.read_text(encoding="utf-8"):
            importlib.import_module(f"souron.cli.{file.stem}")


def run(words: Sequence[str]) -> int:
    """Run one command line and return its exit code; results go to stdout, messages to stderr."""
    screen.json = screen.quiet = False
    screen.journal = None
    code = 1
    trouble: UserError | None = None
    try:
        code, trouble = attempt(words)
        if trouble is not None:
            console.show_trouble(trouble)
    finally:
        if screen.journal is not None:
            screen.journal.end(code, trouble.as_json() if trouble else None)
    return code


def attempt(words: Sequence[str]) -> tuple[int, UserError | None]:
    """Run one command line; return the exit code and the error, if any."""
    try:
        return obey(arguments.take_global(words)), None
    except UserError as trouble:
        return trouble.exit, trouble
    except (KeyboardInterrupt, typer.Abort):
        console.warn(_("interrupted"))
        return 130, None
    except BrokenPipeError:
        # the reader closed the pipe; do not fail again when Python flushes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0, None
    except Exception as error:
        if os.environ.get("SOURON_DEBUG"):
            traceback.print_exc()
        named = as_trouble(error)
        return named.exit, named


def obey(words: list[str]) -> int:
    if os.environ.get("_SOURON_COMPLETE"):
        parser().main([], prog_name="souron")  # a shell asks for completions; does not return
    words = ["version", *words[1:]] if words[:1] == ["--version"] else words or ["--help"]
    verb, rest, name = words[0], words[1:], "souron"
    if rest and actions.is_inside(verb, rest[0]):  # souron audit NAME
        name, verb, rest = f"souron {verb}", rest[0], rest[1:]
    command = parser(verb)
    if verb in command.commands:
        # not through the group, for whose own options typer would import pydantic
        command, name = command.commands[verb], f"{name} {verb}"
        words = arguments.rewrite(verb, command, rest)
    elif not verb.startswith("-"):
        distributions.check(f"actions/{verb}")
        raise UserError(
            "command",
            _("no command is named {name!r}").format(name=verb),
            expected=near(verb, list(command.commands)),
            fix="souron --help",
        )
    if words in (["--help"], ["-h"]):
        print(command.get_help(typer.Context(command, info_name=name)))
        return 0
    try:
        code = command.main(words, prog_name=name, standalone_mode=False)
    except UsageError as error:
        raise misused(error, name, words) from error
    return code if isinstance(code, int) else 0


def misused(error: Any, name: str, words: list[str]) -> UserError:
    """Convert an error of typer to a UserError."""
    param = getattr(error, "param", None)
    help = f"{name} --help"
    if param is None:
        return UserError("usage", error.format_message(), fix=help)
    if param.param_type_name == "argument":
        return arguments.missing(param.metavar or param.name, help)
    option = param.opts[0].removeprefix("--")
    value = next((w.partition("=")[2] for w in words if w.startswith(f"--{option}=")), "")
    return UserError(
        "value",
        _("{name}={value} is not understood").format(name=option, value=value),
        expected=f"{option}={param.metavar}: {_(param.help)}",
        fix=help,
    )


def as_trouble(error: Exception) -> UserError:
    """Convert an exception to a UserError: limits of the machine, or else a bug in souron."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return UserError(
            "memory",
            _("there is not enough memory"),
            expected=_("a smaller batch, side or size"),
            fix="batch=32",
            exit=4,
        )
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return UserError(
            "disk full" if full else "file",
            str(error),
            expected=_("room on the disk") if full else _("a file or folder that can be used"),
            exit=4 if full else 3,
        )
    return UserError(
        "bug",
        f"{type(error).__name__}: {error}",
        expected=_("this should not happen: it is a mistake in souron"),
        fix=_("SOURON_DEBUG=1 souron ... shows where; please report it"),
        exit=1,
    )


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        # a name that this terminal cannot write must not end the command
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(run(sys.argv[1:]))
