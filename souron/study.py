"""A tool that is no task, such as an exam or an audit. ``studies/<name>.py`` with a subclass of
``Study`` is a study, and so is a folder ``studies/<name>`` whose ``__init__.py`` has one.

It is found by its name, as systems and tasks are; nothing else is edited. Its command, its JSON,
its page and its form in the studio are made from the class and from the ``Record`` that it returns.
What a help text must know of it (``title``, ``examples``, ``group``, ``given``, ``Options``,
``within``) is read from the source without running it, so these are plain values.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from souron.kinds.signature import Given, options_of_class, read_options
from souron.report import page
from souron.report.page import Fact, Section
from souron.runs.events import Event
from souron.utils import files
from souron.utils.messages import _

TEMPLATE = "study.html"


@dataclass(frozen=True)
class NoOptions:
    """The options of a study that has none."""


@dataclass(frozen=True)
class Table:
    """A table for the terminal."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    right: Sequence[str] = ()  # the columns that are aligned to the right


class Record(ABC):
    """The result of a study. The command, the JSON and the page show what it returns."""

    eyebrow: ClassVar[str]  # N_("audit"): stands above the page's title
    json_file: ClassVar[str] = "record.json"
    folder: Path

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

    def tables(self) -> list[Table]:
        """Return tables for the terminal."""
        return []

    def sections(self) -> list[Section]:
        """Return the parts of the page."""
        return []

    @property
    def report(self) -> Path:
        """The page in the language of this run."""
        return self.folder / page.REPORT

    def write(self) -> Path:
        """Write the JSON file, and the page in each language; return the page. Raises UserError."""
        files.write_json(self.folder / self.json_file, self.as_json())
        return page.in_each_language(self.folder, self._page)

    def _page(self, elsewhere: Sequence[Any]) -> str:
        sections = self.sections()
        return page.page(
            TEMPLATE,
            elsewhere=elsewhere,
            title=self.page_title(),
            eyebrow=_(self.eyebrow),
            sentences=self.sentences(),
            notes=self.notes(),
            facts=self.facts(),
            contents=[(one.name, one.title) for one in sections],
            sections=sections,
        )


class Study(ABC):
    """One tool. Its results go to folders within ``project``.

    >>> from souron.studies.exam import Exam
    >>> record = Exam(project="runs").result("nearest", data="terms", seed=3)  # doctest: +SKIP
    """

    title: ClassVar[str]  # N_("Count the words of texts."): one line of help
    examples: ClassVar[tuple[str, ...]]  # command lines
    group: ClassVar[str]  # of ``souron --help``: a key of ``cli.console.GROUPS``
    given: ClassVar[Given]  # what stands on the command line beside the options
    Options: ClassVar[type] = NoOptions  # a dataclass of the same file
    within: ClassVar[str] = ""  # "audit": the command is ``souron audit NAME``, too

    def __init_subclass__(cls) -> None:
        cls.Options = vars(sys.modules[cls.__module__]).get("Options", NoOptions)

    def __init__(self, project: str | Path = "runs") -> None:
        self.project = Path(project)

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def run(self, given: Sequence[str], options: Any) -> Iterator[Event]:
        """Yield events; the last one carries the ``Record``, which is not written yet. ``options``
        is an ``Options``. Raises UserError."""

    def read(self, options: Mapping[str, Any]) -> Any:
        """Return ``Options`` with these values, others at their defaults. Raises UserError."""
        known = options_of_class(self.Options)
        return self.Options(**read_options(known, options, f"souron {self.name} --help"))

    def result(self, *given: str, **options: Any) -> Record:
        """Run to the end, write the record into its folder, and return it. Raises UserError."""
        record = None
        for event in self.run(given, self.read(options)):
            record = event.record
        assert isinstance(record, Record), f"{self.name}: the last event carries no Record"
        record.write()
        return record


__all__ = ["Fact", "Given", "NoOptions", "Record", "Section", "Study", "Table"]
