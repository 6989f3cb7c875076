"""The commands: ``souron list``, ``show``, ``data``, ``train``, ``val``, ``predict``, ...

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
from typing import Annotated, Any

import typer
import typer.main
from typer import Argument, Option

import souron
from souron.cli import (
    arena,
    arguments,
    ask,
    audit,
    chat,
    check,
    console,
    data,
    exam,
    fetch,
    inspect,
    lecture,
    models,
    predict,
    sign,
    skill,
    surface,
    tokens,
    tour,
    train,
    work,
)
from souron.cli import options as cli_options
from souron.cli.app import UsageError, command, parser
from souron.cli.console import note, print_json, screen, show
from souron.cli.train import given_options, use_cores
from souron.utils import hardware
from souron.utils.messages import N_, UserError, _, near

# each registers its own
COMMANDS = (
    inspect, data, fetch, train, predict, chat, ask, check, exam, arena, models, tokens, skill,
    surface, audit, sign, work, lecture, tour,
)  # fmt: skip


@command(
    "serve",
    N_("Answer programs over HTTP: the same as souron predict, for many at once."),
    "souron serve runs/classify/resnet-photos\n"
    "souron serve resnet50 pretrained=true port=8080\n"
    "souron serve runs/classify/resnet-photos host=0.0.0.0 limit=100\n"
    "souron serve smollm2 filter=both withheld=withheld.jsonl",
)
def serve(
    system: Annotated[
        str | None,
        Argument(
            metavar="RUN|SYSTEM",
            help=N_("a run's folder, or a system: ready trained, or with pretrained=true"),
            autocompletion=cli_options.complete_system_or_run,
        ),
    ] = None,
    model: cli_options.Model = None,
    pretrained: Annotated[
        bool, Option("--pretrained", help=N_("use the system's published weights"))
    ] = False,
    host: Annotated[
        str,
        Option(metavar="ADDRESS", help=N_("default 127.0.0.1: this computer alone; others need "
                                          "the token that is shown")),
    ] = "127.0.0.1",
    port: Annotated[
        int, Option(min=0, max=65535, metavar="N", help=N_("default 8000; 0: any"))
    ] = 8000,
    workers: cli_options.Workers = None,
    batch: Annotated[
        int | None,
        Option(min=1, metavar="N", help=N_("cases through the network together (default 32)")),
    ] = None,
    timeout: Annotated[
        float | None,
        Option(min=0.1, metavar="S",
               help=N_("seconds for a request to arrive, and for its answer (default 30)")),
    ] = None,
    limit: Annotated[
        int | None, Option(min=1, metavar="MB", help=N_("the largest file, in MB (default 20)"))
    ] = None,
    filter: cli_options.Filter = "",
    lexicon: cli_options.Lexicon = None,
    withheld: Annotated[
        str | None,
        Option(metavar="FILE", help=N_("a new file for the sentences that filter= withholds")),
    ] = None,
) -> None:  # fmt: skip
    name = system or model
    if name is None:
        raise arguments.missing("RUN|SYSTEM", "souron serve runs/classify/resnet-photos")
    hardware.calm_allocator()
    hardware.share_cores()
    use_cores(workers)
    with screen.err.status(_("loading {name}").format(name=name)):
        from souron import model as models_api
        from souron.serve import server
        from souron.serve.service import Limits, Service

        limits = given_options(batch=batch, seconds=timeout, file=limit and limit * 1_000_000)
        from souron.society.improper import filters

        filtered = filters.named(filter, lexicon, Path(withheld) if withheld else None)
        with console.warning_lines():
            loaded = models_api.load(name, pretrained)
        service = Service(loaded, Limits(**limits), filtered)
    server.serve(service, host, port, tell_address)


def tell_address(addresses: list[str], token: str) -> None:
    """Where a server answers, once it does."""
    if screen.json:
        print_json({"addresses": addresses, "token": token})
        return
    for address in addresses:
        show(address + (f"?token={token}" if token else ""))
    if token:
        show(_("programs send: {header}").format(header=f"Authorization: Bearer {token}"))
    note(_("Ctrl-C ends it, once what it has accepted is answered"))


@command(
    "studio",
    N_("All of it in the browser, on this computer alone: look, train, compare, use."),
    "souron studio\nsouron studio port=8000 root=/data/xrays\nsouron studio --share-lan",
)
def studio(
    port: Annotated[
        int, Option(min=0, max=65535, metavar="N", help=N_("default 7860; 0: any"))
    ] = 7860,
    root: Annotated[
        list[str] | None,
        Option(metavar="FOLDER", help=N_("a further folder that may be read; may be repeated")),
    ] = None,
    project: cli_options.Project = None,
    no_browser: Annotated[bool, Option("--no-browser", help=N_("only say the address"))] = False,
    share_lan: Annotated[
        bool,
        Option("--share-lan", help=N_("also for other devices here, with the token that is shown")),
    ] = False,
    course: Annotated[
        str | None, Option(metavar="FILE", help=N_("open this course of the lecture's rows"))
    ] = None,
) -> None:
    studio_app = importlib.import_module("souron.studio.app")  # a form over these commands

    roots = [Path(folder) for folder in root or []]
    studio_app.start(
        Path(project or "runs"), port, roots, browser=not no_browser, share_lan=share_lan,
        course=Path(course) if course else None,
    )  # fmt: skip


@command("version", N_("souron's version."), "souron version\nsouron version --json")
def version() -> None:
    if screen.json:
        print_json({name: hardware.installed(name) for name in hardware.PACKAGES})
    else:
        show(f"souron {souron.__version__}")


def run(words: Sequence[str]) -> int:
    """One command line; the exit code. Messages go to stderr, results to stdout."""
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
            screen.journal.end(code, console.error(trouble) if trouble else None)
    return code


def attempt(words: Sequence[str]) -> tuple[int, UserError | None]:
    """Obey; the exit code and what went wrong."""
    try:
        return obey(arguments.take_global(words)), None
    except UserError as trouble:
        return trouble.exit, trouble
    except (KeyboardInterrupt, typer.Abort):
        console.warn(_("interrupted"))
        return 130, None
    except BrokenPipeError:
        # whoever read the output has seen enough; do not fail again when Python flushes it
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
    command = parser(verb)
    if verb in command.commands:
        # not through the group, for whose own options typer would import pydantic
        command, name = command.commands[verb], f"souron {verb}"
        words = arguments.rewrite(verb, command, rest)
    elif not verb.startswith("-"):
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
    """What typer has to say, in souron's way."""
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
    """The machine's own limits in words; anything else is a mistake in souron."""
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
