"""The commands of the actions: one for each file in ``souron/actions``, made from what it says."""

import inspect
import sys
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument

from souron import registry
from souron.cli import console, team
from souron.cli.console import follow, print_json, screen, show
from souron.cli.parsing import options
from souron.registry import ActionEntry
from souron.training import ranks
from souron.utils import hardware
from souron.utils.messages import _


def command_of(entry: ActionEntry) -> Callable:
    """The function that stands behind ``souron NAME``; its parameters are those of the action."""
    several, name = is_list(entry), name_of_given(entry)
    more_name = "files" if entry.given.rest else "more"

    def action(open: bool = False, project: str | None = None, **words: Any) -> None:
        given, more = words.pop(name) or [], words.pop(more_name, None) or []
        names = [given] if isinstance(given, str) else given
        conduct(entry, [*names, *more], words, project, open)

    info = Argument(hidden=True)  # too much; ``Given.check`` names it
    if entry.given.rest:
        info = Argument(metavar=entry.given.rest[0], help=entry.given.rest[1])
    parameters = [
        _given(entry, name, several),
        *([] if several else [_keyword(more_name, None, Annotated[list[str] | None, info])]),
        *(options.parameter(option) for option in entry.options if option.name != "project"),
        _keyword("project", None, options.Project),
        _keyword("open", False, options.Open),
    ]
    action.__name__, action.__doc__ = entry.name, entry.title
    action.__annotations__ = {one.name: one.annotation for one in parameters}
    action.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return action


def is_list(entry: ActionEntry) -> bool:
    """Return whether what is given are several things of one kind."""
    return entry.given.many and not entry.given.rest


def name_of_given(entry: ActionEntry) -> str:
    """Return the name of the parameter for what is given, and of its field in a form."""
    if entry.given.rest:
        return "run"
    name = "files" if is_list(entry) and not entry.given.names else "given"  # "=" may stand in ``files``
    return "run" if any(option.name == name for option in entry.options) else name


def inside(verb: str) -> dict[str, ActionEntry]:
    """Return the commands that ``souron VERB`` stands before, too, by name. Raises UserError."""
    entries = registry.actions()
    return {name: entries[name] for name in sorted(entries) if entries[name].within == verb}


def is_inside(verb: str, name: str) -> bool:
    """Return whether ``souron VERB NAME`` is ``souron NAME``. Reads one file. Raises UserError."""
    entry = registry.action(name) if name in registry.action_files() else None
    return entry is not None and entry.within == verb


class Family(console.Command):
    """A command that stands before the names of actions, such as ``souron audit``."""

    def __init__(self, name: str, **named: Any) -> None:
        self.actions = inside(name)
        examples = [
            f"souron {name} {example.removeprefix('souron ')}"
            for entry in self.actions.values()
            for example in entry.examples
        ]
        super().__init__(name, **{**named, "epilog": "\n".join(examples)})

    def arguments(self) -> list[tuple[str, str]]:
        """Return what may stand on the command line, with its explanation."""
        return [(f"{name} {entry.given.metavar}", _(entry.title)) for name, entry in self.actions.items()]


def _given(entry: ActionEntry, name: str, several: bool) -> inspect.Parameter:
    given = entry.given
    kind: Any = (list[str] if several else str) | None
    complete = options.COMPLETE.get(given.metavar)
    info = Argument(metavar=given.metavar, help=given.help, autocompletion=complete)
    return _keyword(name, None, Annotated[kind, info])


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def conduct(
    entry: ActionEntry, given: Sequence[str], words: Mapping[str, Any], project: str | None, open: bool
) -> None:
    """Run an action, print its record, and write it where it is kept. Raises UserError.

    With ``resume`` the folder of an earlier run says what was given.
    """
    if not words.get("resume"):
        entry.given.check(given, entry.examples[0])
    hardware.calm_allocator()
    with screen.err.status(_("reading data")):
        action = registry.load_action(entry.name)("runs" if open and project is None else project)
        chosen = action.read(options.given(words, entry.options))
        action.tell = console.tell
    from souron.action import Record  # with what it imports, for commands that run

    record: Any = None
    page = None
    events = action.run(given, chosen)
    if team.is_helper(words.get("processes")):
        ranks.help_with(events)
        return
    for record in map(answered, follow(team.led(events), entry.streams)):
        if entry.streams and isinstance(record, Record):
            tell(record)
    if action.writes:
        with screen.err.status(_("writing the report")):
            page = record.write()
    if not entry.streams:
        tell(record, page)
    if open and (page := page or record.report) is not None:
        webbrowser.open(page.absolute().as_uri())
    if record.exit_code:
        raise typer.Exit(record.exit_code)


def tell(record: Any, page: Path | None = None) -> None:
    """Print a record, as JSON where that was asked for."""
    if screen.json:
        if (told := record.printed(page)) is not None:
            print_json(told)
        return
    print_record(record)
    if page is not None:
        show(_("page: {path}").format(path=page))
    print_parts(record.below())


class Command(console.Command):
    """The command of an action, whose help also names the options of the system that stands beside --help."""

    def of_system(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        name = str(self.name)
        beside = len(self.words) > 1 and any(option.type is dict for option in registry.action(name).options)
        if beside and (own := registry.load_action(name)().further_options(self.words)):
            yield _("Options of {name}:").format(name=self.words[0]), options.with_help(own)


def answered(made: Any) -> Any:
    """Put an ``Ask`` to the person at the terminal; return any other record."""
    from souron.action import Ask

    if isinstance(made, Ask):
        # stdout is for the result where a program reads it
        console = screen.err if screen.json else screen.out
        for text, style in made.texts:
            console.print(text, style=style or None, soft_wrap=True)
        if made.prompt:
            screen.err.print(made.prompt, end="", soft_wrap=True)
            made.reply = sys.stdin.readline() or None
    return made


def print_record(record: Any) -> None:
    """Print what a record shows."""
    print_parts(record.shown())


def print_parts(parts: Sequence[Any]) -> None:
    """Print what a record shows: caveats and hints on stderr, the rest on stdout."""
    from souron.action import Hint, Note, Plain

    for part in parts:
        if isinstance(part, Note):
            console.warn(part)
        elif isinstance(part, Hint):
            console.note(part)
        elif isinstance(part, Plain):
            sys.stdout.write(part)
        else:
            show(part)
