"""The commands of the studies: one for each file in ``souron/studies``, made from what it says."""

import inspect
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from typer import Argument

from souron import registry
from souron.cli import arguments, console, options
from souron.cli.console import follow, print_json, screen, show
from souron.registry import StudyEntry
from souron.runs.options import Field
from souron.utils import hardware
from souron.utils.messages import UserError, _


def command_of(entry: StudyEntry) -> Callable:
    """The function that stands behind ``souron NAME``; its parameters are those of the study."""
    name = "files" if entry.given.many else "given"  # ``files`` may have "=" in their names

    def study(open: bool = False, project: str | None = None, **words: Any) -> None:
        given = words.pop(name) or []
        names = [given] if isinstance(given, str) else given
        conduct(entry, names, words, project, open)

    parameters = [
        _given(entry, name),
        *(options.parameter(Field.of(option)) for option in entry.options),
        _keyword("project", None, options.Project),
        _keyword("open", False, options.Open),
    ]
    study.__name__, study.__doc__ = entry.name, entry.title
    study.__annotations__ = {one.name: one.annotation for one in parameters}
    study.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return study


def _given(entry: StudyEntry, name: str) -> inspect.Parameter:
    given = entry.given
    kind: Any = (list[str] if given.many else str) | None
    complete = options.COMPLETE.get(given.metavar)
    info = Argument(metavar=given.metavar, help=given.help, autocompletion=complete)
    return _keyword(name, None, Annotated[kind, info])


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def check_given(entry: StudyEntry, given: Sequence[str]) -> None:
    """Raises UserError where too little or too much stands on the command line."""
    least, most = entry.given.least, entry.given.most
    if len(given) < least:
        raise arguments.missing(entry.given.metavar, entry.examples[0])
    if most is not None and len(given) > most:
        raise UserError(
            "option",
            _("one thing too many: {name}").format(name=given[most]),
            expected=entry.given.metavar,
            fix=entry.examples[0],
        )


def conduct(
    entry: StudyEntry,
    given: Sequence[str],
    words: Mapping[str, Any],
    project: str | None,
    open: bool,
) -> None:
    """Run a study, print its record, and write it where it is kept. Raises UserError."""
    check_given(entry, given)
    hardware.calm_allocator()
    hardware.share_cores()
    with screen.err.status(_("reading data")):
        study = registry.load_study(entry.name)(project or "runs")
        chosen = study.read(options.given(words))
    [record] = follow(study.run(given, chosen))
    page = None
    if entry.kept or project or open:
        with screen.err.status(_("writing the report")):
            page = record.write()
    if screen.json:
        sentence = " ".join(record.sentences())
        written = {"page": page} if page else {}
        print_json({**record.as_json(), "sentence": sentence, **written})
    else:
        print_record(record)
        if page:
            show(_("page: {path}").format(path=page))
    if open and page:
        webbrowser.open(page.absolute().as_uri())


def print_record(record: Any) -> None:
    """The sentences and tables of a record on stdout, its caveats on stderr."""
    show(*record.sentences(), "")
    for table in record.tables():
        made = console.table(*table.columns, title=table.title, right=table.right)
        for row in table.rows:
            made.add_row(*row)
        show(made, *([table.text] if table.text else []), "")
    for note in record.notes():
        console.warn(note)
