"""A thing that souron does: an exam, an audit, a measurement. ``actions/<name>.py`` with a subclass of
``Action`` is an action, and so is a folder ``actions/<name>`` whose ``__init__.py`` has one.

It is found by its name, as systems and tasks are; nothing else is edited. Its command, its JSON,
its page and its form in the studio are made from the class and from the ``Record`` that it returns.
What a help text must know of it (the class variables of ``Action``) is read from the source without
running it, so these are plain values.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from souron.kinds.signature import Given, options_of_class, read_options
from souron.kinds.text import Text, text_of
from souron.registry import task_options
from souron.report.blocks import REPORT, Block, Cell, Fact, Gallery, Group, Hint, Live, Note, Section, Table, sections
from souron.utils import files
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.runs.events import Event

TEMPLATE = "study.html"


@dataclass(frozen=True)
class NoOptions:
    """The options of an action that has none."""


class Plain(str):
    """A text that is printed on stdout as it is, such as a CSV."""


@dataclass
class Ask:
    """A question to the person at the terminal.

    ``run`` yields it as the record of an event, and reads ``reply`` when it goes on.
    """

    prompt: str = ""  # "": the texts are shown, and nothing is asked
    texts: Sequence[tuple[str, str]] = ()  # shown before, each with its style, such as "bold"
    reply: str | None = None  # the line that was typed; None where nobody answers


class Record(ABC):
    """The result of an action. The command, the JSON and the page show what it returns."""

    eyebrow: ClassVar[str]  # N_("audit"): stands above the page's title
    json_file: ClassVar[str] = "record.json"
    page_file: ClassVar[str] = REPORT
    template: ClassVar[str] = TEMPLATE  # of the page, for one with scripts of its own
    folder: Path | None  # None: nothing is written

    @abstractmethod
    def page_title(self) -> str:
        """Return the title of the page."""

    @abstractmethod
    def as_json(self) -> dict[str, Any]:
        """Return what programs read; ``json_file`` holds it."""

    @abstractmethod
    def sentences(self) -> list[str]:
        """Return the result in sentences, the headline first."""

    def facts(self) -> list[Fact]:
        """Return single figures, the most important first."""
        return []

    def notes(self) -> list[str]:
        """Return caveats: what limits the figures or makes them doubtful."""
        return []

    def tables(self) -> Sequence[Table]:
        """Return tables for the terminal; by default those of the page."""
        return [table for section in self.sections() for table in section.tables()]

    def sections(self) -> list[Section]:
        """Return the parts of the page; by default the tables, where the record says which."""
        own = type(self).tables is not Record.tables
        return sections(("tables", _("Result"), self.tables() if own else []))

    def further(self) -> dict[str, Any]:
        """Return what else ``template`` fills in."""
        return {}

    def shown(self) -> list[Any]:
        """Return what the terminal shows: texts, ``Note``, ``Hint``, ``Plain`` and what rich can print."""
        tables = [
            part
            for table in self.tables()
            # the title not as the table's own, which is broken to the width of the table
            for part in (*filter(None, [table.title]), table, *filter(None, [table.text]), "")
        ]
        return [*self.sentences(), "", *tables, *map(Note, self.notes())]

    def below(self) -> list[Any]:
        """Return what the terminal shows below the path of the page, like ``shown``."""
        return []

    def printed(self, page: Path | None) -> Any:
        """Return what ``--json`` prints; ``page`` is what was written, if anything was."""
        told = {**self.as_json(), "sentence": " ".join(self.sentences())}
        return told if page is None else {**told, "page": page}

    @property
    def exit_code(self) -> int:
        """The exit code of the command: 3 where something that was given could not be read."""
        return 0

    @property
    def report(self) -> Path | None:
        """The page in the language of this run; None where none is written."""
        return self.folder / self.page_file if self.folder else None

    def write(self) -> Path | None:
        """Write the JSON file, and the page in each language; return the page. Raises UserError.

        None where the record has no folder.
        """
        if self.folder is None:
            return None
        from souron.report import page

        files.write_json(self.folder / self.json_file, self.as_json())
        return page.in_each_language(self.folder, self._page, self.page_file)

    def _repr_html_(self) -> str:
        """Return sentences and tables as HTML for a notebook."""
        from souron.report import page

        headline, tables = " ".join(self.sentences()), self.tables()
        return page.page("notebook.html", headline=headline, tables=tables, path=self.report)

    def _page(self, elsewhere: Sequence[Any]) -> str:
        from souron.report import page

        parts = self.sections()
        return page.page(
            self.template,
            elsewhere=elsewhere,
            title=self.page_title(),
            eyebrow=_(self.eyebrow),
            sentences=self.sentences(),
            notes=self.notes(),
            facts=self.facts(),
            contents=[(one.name, one.title) for one in parts],
            sections=parts,
            **self.further(),
        )


class Action(ABC):
    """One tool. Its results go to folders within ``project``, ``runs`` where none is named.

    Where ``texts`` is true, what is given names texts, and a ``Text`` may stand in place of a name:
    ``text_of`` reads both. The studio then has a place to paste them, and ``souron serve`` an
    endpoint, which passes each text as a ``Text``, so that a request names no file of the server.

    >>> from souron.actions.exam import Exam
    >>> record = Exam(project="runs").result("nearest", data="terms", seed=3)  # doctest: +SKIP
    """

    title: ClassVar[str]  # N_("Count the words of texts."): one line of help
    examples: ClassVar[tuple[str, ...]]  # command lines
    group: ClassVar[str]  # of ``souron --help``: a key of ``cli.console.GROUPS``
    given: ClassVar[Given]  # what stands on the command line beside the options
    question: ClassVar[str] = ""  # that it answers, below which the studio lists it: N_("How many patients?")
    Options: ClassVar[type] = NoOptions  # a dataclass of the same file
    within: ClassVar[str] = ""  # "audit": the command is ``souron audit NAME``, too
    lookup: ClassVar[bool] = False  # True: the command writes only with ``project=`` or ``open``
    texts: ClassVar[bool] = False  # what is given are texts; it takes seconds
    brief: ClassVar[bool] = False  # it takes seconds, and waits for no training in the studio
    page: ClassVar[str] = ""  # of the studio, where the same can be done by hand
    of_tasks: ClassVar[str] = ""  # the tasks' own options that it takes, too: "all", or "compared"
    streams: ClassVar[bool] = False  # each event's record is a part of the result, shown as it comes
    reads_only: ClassVar[bool] = False  # it trains, fetches and asks nothing: ``souron mcp`` offers it

    def __init_subclass__(cls) -> None:
        cls.Options = vars(sys.modules[cls.__module__]).get("Options", NoOptions)

    def __init__(self, project: str | Path | None = None, *, writes: bool | None = None) -> None:
        self.project = Path("runs" if project is None else project)
        asked = not self.lookup or project is not None
        self.writes = asked if writes is None else writes  # False: nothing is left on the disk
        self.camera = True  # False: no camera is opened
        self.tell: Callable[[Event], None] = lambda event: None  # shows an event from within what takes long

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def run(self, given: Sequence[Any], options: Any) -> Iterator["Event"]:
        """Yield events; the last one carries the ``Record``, which is not written yet. Earlier ones
        may carry an ``Ask``. ``given`` are words of the command line, or each a ``Text``;
        ``options`` is an ``Options``. Raises UserError."""

    def new_folder(self, name: str) -> Path | None:
        """Create ``project/ACTION/NAME`` for a record; None where nothing is to be written."""
        if not self.writes:
            return None
        return files.new_folder(self.project / self.name, name or self.given.metavar.lower())

    def read(self, options: Mapping[str, Any]) -> Any:
        """Return ``Options`` with these values, others at their defaults. Raises UserError."""
        further = task_options(self.of_tasks) if self.of_tasks else []
        known = options_of_class(self.Options) | {one.name: one for one in further}
        made = self.Options
        if further:
            fields = [(one.name, Any, field(default=None)) for one in further]  # each task has a default of its own
            made = make_dataclass("Options", fields, bases=(made,), frozen=True)
        return made(**read_options(known, options, f"souron {self.name} --help"))

    def further_options(self, given: Sequence[str]) -> Mapping[str, Any]:
        """Return the options that what is given has itself, for the help beside it."""
        return {}

    def result(self, *given: Any, **options: Any) -> Record:
        """Run to the end, write the record into its folder, and return it. Raises UserError."""
        record = None
        for event in self.run(given, self.read(options)):
            record = event.record
        assert isinstance(record, Record), f"{self.name}: the last event carries no Record"
        if self.writes:
            record.write()
        return record


__all__ = [
    "Action",
    "Ask",
    "Block",
    "Cell",
    "Fact",
    "Gallery",
    "Given",
    "Group",
    "Hint",
    "Live",
    "NoOptions",
    "Note",
    "Plain",
    "Record",
    "Section",
    "Table",
    "Text",
    "sections",
    "text_of",
]
