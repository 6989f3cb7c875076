"""Look of the command line: help, tables, progress bars, messages.

Results go to stdout, everything else to stderr.
"""

import shlex
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import typer.core
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from souron import registry
from souron.runs.journal import Journal
from souron.utils import units
from souron.utils.files import as_json
from souron.utils.messages import N_, Caution, UserError, _
from souron.utils.terminal import pairs, table

GROUPS = {  # of commands, in the order of ``souron --help``
    "start": N_("Start"),
    "data": N_("Data"),
    "train": N_("Train and compare"),
    "use": N_("Use"),
    "language": N_("Language"),
    "society": N_("Trust and society"),
    "teach": N_("Teach"),
}
FIRST = {  # the commands that a beginner needs, each with an example
    "tour": "souron tour",
    "studio": "souron studio",
    "predict": "souron predict photo.jpg",
    "train": "souron train resnet data=photos/ budget=5min",
    "compare": "souron compare mlp cnn vit data=digits budget=10s seeds=3",
}
WIDEST = 10_000  # characters of a row of a table that is read by another program
SECONDS_BETWEEN_LINES = 10  # where stderr is not a terminal, so there is no bar


@dataclass
class Screen:
    """Output streams, and the options that control what is printed."""

    json: bool = False
    quiet: bool = False
    journal: Journal | None = None  # of --events
    watch: Callable[[Any], None] = lambda event: None  # shows an event, while ``follow`` runs

    @property
    def out(self) -> Console:
        return Console(markup=False, highlight=False, emoji=False)

    @property
    def err(self) -> Console:
        return Console(stderr=True, markup=False, highlight=False, emoji=False, quiet=self.quiet)


screen = Screen()


def show(*things: RenderableType, whole: bool = False) -> None:
    """Print a result on stdout, without breaking long paths, so that they can be copied.

    ``whole``: if stdout is not a terminal, each row of a table is one line, which other programs read.
    """
    for thing in things:
        print(_drawn(thing, whole), flush=True)


def _drawn(thing: RenderableType, whole: bool = False) -> str:
    """Render for this terminal; if stdout is not a terminal, trailing blanks are removed."""
    console = screen.out
    if whole and not console.is_terminal:
        console.width = WIDEST
    with console.capture() as captured:
        console.print(thing, soft_wrap=isinstance(thing, str))
    lines = captured.get().rstrip("\n").split("\n")
    return "\n".join(lines if console.is_terminal else map(str.rstrip, lines))


def note(text: str) -> None:
    """Print a remark on stderr, unless --quiet."""
    screen.err.print(text, style="dim", soft_wrap=True)


def warn(text: str, style: str = "yellow") -> None:
    """Print a warning on stderr, even with --quiet."""
    Console(stderr=True, markup=False, highlight=False, emoji=False).print(text, style=style, soft_wrap=True)


@contextmanager
def warning_lines() -> Iterator[None]:
    """Print each ``Caution`` raised within the block once, as a line on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", Caution)
        other = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], *more: Any, **named: Any) -> None:
            if issubclass(category, Caution):
                warn(str(message))
            else:
                other(message, category, *more, **named)

        warnings.showwarning = tell
        yield


def print_json(thing: Any) -> None:
    """Print one JSON value on one line of stdout; NaN and infinity become null."""
    print(as_json(thing), flush=True)


def show_trouble(trouble: UserError) -> None:
    """Print an error on stderr and, with --json, as an object on stdout."""
    first, *rest = str(trouble).splitlines()
    loud = Console(stderr=True, markup=False, highlight=False, emoji=False)
    loud.print(first, style="bold red", soft_wrap=True)
    for line in rest:
        loud.print(line, soft_wrap=True)
    if screen.json:
        print_json({"error": trouble.as_json()})


class Following:
    """Live display of the latest event with a bar; for a comparison, its table above."""

    def __init__(self) -> None:
        self.event: Any = None

    def __rich__(self) -> RenderableType:
        from rich.progress_bar import ProgressBar

        event = self.event
        if event is None:
            return ""
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(1.0, event.fraction, width=24, pulse=event.fraction == 0)
        line.add_row(Text(words(event), "bold"), bar, percent(event), left(event), watched(event.values))
        return Group(contest(event.rows), line) if event.rows else line


def words(event: Any) -> str:
    """Return the current phase and its subject."""
    phases = {
        "data": _("reading data"),
        "forecast": _("forecast"),
        "features": _("computing features"),
        "train": _("training"),
        "test": _("testing"),
        "compare": _("comparing"),
        "draw": _("generating"),
        "export": _("exporting"),
        "report": _("writing the report"),
        "watch": _("watching"),
        "read": _("reading"),
        "check": _("checking"),
        "answer": _("answering"),
        "done": _("done"),
    }
    phase = phases.get(event.phase, event.phase)
    return f"{phase}: {event.text}" if event.text and event.text != phase else phase


def percent(event: Any) -> str:
    return f"{100 * event.fraction:.0f} %" if event.fraction else ""


def left(event: Any) -> str:
    if event.seconds_left is None:
        return ""
    return _("{time} left").format(time=units.seconds(event.seconds_left))


def watched(values: dict[str, float]) -> str:
    """Return the validation figure, "" where there is none."""
    for name, value in values.items():
        if name.startswith("val "):
            plain = name.removeprefix("val ")
            return f"{registry.metric(plain).title} {registry.metric(plain).text(value)}"
    return ""


def contest(rows: list[dict[str, Any]]) -> Table:
    """Return a table of a comparison while it runs."""
    system, trained = _("system"), _("trained")
    now, tests = _("validation"), _("tested, seed by seed")
    made = table(system, trained, now, tests, right=(trained, now))
    for row in rows:
        value, (watched, tested) = row.get("val"), map(registry.metric, row["measures"])
        made.add_row(
            row["system"],
            units.seconds(row.get("seconds", 0.0)),
            "" if value is None else watched.text(value),
            "  ".join(tested.text(value) for value in row.get("test", ())),
        )
    return made


def tell(event: Any) -> None:
    """Show an event, and write it into the journal."""
    if screen.journal is not None:
        screen.journal.tell(event)
    screen.watch(event)


def follow(events: Iterable[Any], streams: bool = False) -> Iterator[Any]:
    """Draw events as they arrive; yield each record, with the live display removed.

    Records of a stream are yielded while it is watched; where one takes long, that is said.

    On Ctrl-C, yield the record of a generator that then ends with one, as a camera's does. Of
    others print what is kept and how to resume, and exit with code 130.
    """
    events, event = iter(events), None
    coming = awaited(events) if streams else events
    while True:
        record = None
        try:
            with warning_lines(), watcher() as screen.watch:
                for event in coming:
                    tell(event)
                    record = event.record
                    if record is not None and not streams:
                        break
                    if record is not None:
                        yield record
                        record = None
        except KeyboardInterrupt as stop:
            told = _passed_on(stop, events)
            if (last := getattr(told, "record", None)) is not None:
                yield last
                coming = awaited(events) if streams else events
                continue
            folder = getattr(told, "folder", None) or getattr(event, "folder", None)
            _tell_what_is_kept(folder, getattr(told, "command", ""))
            raise typer.Exit(130) from stop
        if record is None:
            return
        yield record


def _passed_on(stop: KeyboardInterrupt, events: Any) -> Any:
    """Pass a Ctrl-C caught here on to the generator of events, which saves its state.

    Return the event that it ends with, or else the interrupt to report: the generator's, which
    names what is kept, or ``stop``.
    """
    try:
        return events.throw(stop) if hasattr(events, "throw") else stop
    except KeyboardInterrupt as told:
        return told
    except StopIteration:
        return stop


def quoted(path: Path | str) -> str:
    """Quote a path for a command line that can be copied."""
    return shlex.quote(str(path))


def _tell_what_is_kept(folder: Path | None, command: str = "") -> None:
    if folder is None:
        warn(_("interrupted"))
        return
    verb = "compare" if folder.parent.name == "compare" else "train"
    command = command or f"souron {verb} resume={quoted(folder)}"
    warn(_("interrupted; the work so far is kept in {folder}").format(folder=folder))
    warn(_("  resume: {command}").format(command=command))


@contextmanager
def watcher() -> Iterator[Callable[[Any], None]]:
    """Yield a function that shows an event: a bar on a terminal, or else occasional lines.

    It shows nothing with --quiet.
    """
    console = screen.err

    def foretell(event: Any) -> None:
        if event.note:
            console.print(event.note, style="dim", soft_wrap=True)
        if event.forecast is not None and event.record is None:
            console.print(*event.forecast.sentences(), sep="\n", style="dim", soft_wrap=True)

    if screen.quiet:
        yield lambda event: None
    elif console.is_terminal:
        from rich.live import Live

        following = Following()
        with Live(following, console=console, transient=True, refresh_per_second=8, redirect_stdout=False):

            def draw(event: Any) -> None:
                following.event = event if event.phase else None
                foretell(event)

            yield draw
    else:
        phase, printed = "", 0.0

        def write(event: Any) -> None:
            nonlocal phase, printed
            foretell(event)
            now = time.monotonic()
            if event.phase and (event.phase != phase or now - printed > SECONDS_BETWEEN_LINES):
                phase, printed = event.phase, now
                parts = [words(event), percent(event), left(event), watched(event.values)]
                console.print("  ".join(part for part in parts if part), soft_wrap=True)

        yield write


def awaited(answers: Iterable[Any]) -> Iterator[Any]:
    """Yield answers; while one of them takes long, say so on stderr now and then."""
    end, since, text = threading.Event(), time.monotonic(), _("still answering, for {time} so far")

    def tell() -> None:
        while not end.wait(SECONDS_BETWEEN_LINES):
            waited = time.monotonic() - since
            if waited >= SECONDS_BETWEEN_LINES:
                note(text.format(time=units.seconds(waited)))

    threading.Thread(target=tell, daemon=True).start()
    try:
        for answer in answers:
            yield answer
            since = time.monotonic()
    finally:
        end.set()


@contextmanager
def fetching_bar(name: str, size: int = 0) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar for bytes; yields a function to call with (done, total).

    ``size`` is about how many bytes there are, where the total turns out to be unknown.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(24), DownloadColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=screen.err, disable=screen.quiet) as progress:
        task = progress.add_task(name, total=size or None)
        yield lambda done, total: progress.update(task, completed=done, total=total or max(size, done) or None)


class Command(typer.core.TyperCommand):
    """A command with help in the reader's language; its epilog holds examples, one a line."""

    words: Sequence[str] = ()  # that stand beside --help

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write("\n".join(map(_drawn, self._help(ctx))))

    def get_short_help_str(self, limit: int = 45) -> str:
        return _(self.help) if self.help else ""

    def _help(self, ctx: Any) -> list[RenderableType]:
        options = self._shown("option")
        names = [argument.metavar or argument.name.upper() for argument in self._shown("argument")]
        usage = [ctx.command_path, *names, *([_("[option=value ...]")] if options else [])]
        parts: list[RenderableType] = [Text(" ".join(usage), "bold"), "", _(self.help or " "), ""]
        if arguments := self.arguments():
            parts += [pairs(arguments), ""]
        if options:
            heading = _("Options, as epochs=5 or as --epochs 5:")
            parts += [Text(heading, "bold"), _indented(pairs([_row(o) for o in options])), ""]
        for title, own in self.of_system():
            parts += [Text(title, "bold"), _indented(pairs(own)), ""]
        parts += [_everywhere(), ""]
        if self.epilog:
            examples = "\n".join(self.epilog.splitlines())
            parts += [Text(_("Examples:"), "bold"), _indented(examples), ""]
        return parts

    def of_system(self) -> Iterable[tuple[str, list[tuple[str, str]]]]:
        """Return a title and options, with explanations, for a system that is named beside --help."""
        return ()

    def arguments(self) -> list[tuple[str, str]]:
        """Return what stands on the command line beside the options, with its explanation."""
        return [(one.metavar, _(one.help or " ")) for one in self._shown("argument")]

    def _shown(self, kind: str) -> list[Any]:
        return [one for one in self.params if one.param_type_name == kind and not getattr(one, "hidden", False)]


class Commands(typer.core.TyperGroup):
    """Help of ``souron`` itself: first steps, then the commands by group."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        own: list[Any] = [p for p in self.params if p.name.endswith("completion")]
        parts: list[RenderableType] = [
            Text(_("souron COMMAND ... [option=value ...]"), "bold"),
            "",
            _(self.help or " "),
            "",
            Text(_("Begin with:"), "bold"),
            _indented("\n".join(FIRST.values())),
            "",
            *self._groups(),
            _everywhere(own),
            "",
            _(self.epilog or " "),
            "",
        ]
        formatter.write("\n".join(map(_drawn, parts)))

    def _groups(self) -> Iterator[RenderableType]:
        """Yield the heading and commands of each group; the commands in ``FIRST`` come first."""
        places = {name: place for place, name in enumerate(FIRST)}
        names = sorted(self.commands, key=lambda name: (places.get(name, len(places)), name))
        column = max(map(len, names))
        for group, title in GROUPS.items():
            rows = [
                (name.ljust(column), command.get_short_help_str())
                for name in names
                if (command := self.commands[name]).rich_help_panel == group  # type: ignore[attr-defined]
            ]
            if rows:
                yield from (Text(_(title), "bold"), _indented(pairs(rows)), "")


def _row(option: Any) -> tuple[str, str]:
    name = option.opts[0].removeprefix("--")
    return (f"{name}={option.metavar}" if option.metavar else name, _(option.help or " "))


def _everywhere(more: Sequence[Any] = ()) -> RenderableType:
    rows = [
        ("--json", _("print the result as JSON on stdout")),
        ("--quiet", _("no progress, no remarks")),
        ("--lang en|ja", _("the language of messages and reports")),
        ("--events FILE", _("also write events to FILE, one JSON object a line")),
        *[(option.opts[0], _(option.help)) for option in more],
        ("--help", _("show this text")),
    ]
    return Group(Text(_("With every command:"), "bold"), _indented(pairs(rows)))


def _indented(thing: RenderableType) -> RenderableType:
    from rich.padding import Padding

    return Padding(thing, (0, 0, 0, 2))
