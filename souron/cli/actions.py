"""The commands of the actions: one for each file in ``souron/actions``, made from what it says."""

import inspect
import sys
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from typer import Argument

from souron import registry
from souron.cli import console
from souron.cli.console import follow, print_json, screen, show
from souron.cli.parsing import options
from souron.registry import ActionEntry
from souron.utils import hardware
from souron.utils.messages import _


def command_of(entry: ActionEntry) -> Callable:
    """The function that stands behind ``souron NAME``; its parameters are those of the action."""
    name = "files" if entry.given.many else "given"  # ``files`` may have "=" in their names

    def action(open: bool = False, project: str | None = None, **words: Any) -> None:
        given, more = words.pop(name) or [], words.pop("more", None) or []
        names = [given] if isinstance(given, str) else given
        conduct(entry, [*names, *more], words, project, open)

    rest = Annotated[list[str] | None, Argument(hidden=True)]  # too much; ``Given.check`` names it
    parameters = [
        _given(entry, name),
        *([] if entry.given.many else [_keyword("more", None, rest)]),
        *map(options.parameter, entry.options),
        _keyword("project", None, options.Project),
        _keyword("open", False, options.Open),
    ]
    action.__name__, action.__doc__ = entry.name, entry.title
    action.__annotations__ = {one.name: one.annotation for one in parameters}
    action.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return action


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


def _given(entry: ActionEntry, name: str) -> inspect.Parameter:
    given = entry.given
    kind: Any = (list[str] if given.many else str) | None
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
        chosen = action.read(options.given(words))
        action.tell = console.tell
    *_asked, record = map(answered, follow(action.run(given, chosen)))
    page = None
    if action.writes:
        with screen.err.status(_("writing the report")):
            page = record.write()
    if screen.json:
        print_json(record.printed(page))
    else:
        print_record(record)
        if page is not None:
            show(_("page: {path}").format(path=page))
        print_parts(record.below())
    if open and page is not None:
        webbrowser.open(page.absolute().as_uri())
    if record.exit_code:
        raise typer.Exit(record.exit_code)


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
