"""Describe a data set, or check it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

from souron import registry
from souron.action import Action, Given
from souron.actions.data.record import CheckRecord, DataRecord
from souron.data import check, deidentify, display_names, load
from souron.data.check import answers
from souron.data.check import warnings as data_warnings
from souron.data.target import target_of
from souron.evaluation.vision import perceptual
from souron.kinds.signature import Choice
from souron.pipelines import advice
from souron.runs.events import Event
from souron.utils.messages import N_, UserError, _, unknown_option


@dataclass(frozen=True)
class Options:
    task: Annotated[str, Choice(N_("read it as this task does: segment_instances, ..."), metavar="TASK")] = ""
    imgsz: Annotated[int | None, Choice(N_("the images' side in pixels (default: the data's own)"), low=4)] = None
    group: Annotated[
        str, Choice(N_("which images belong to one patient: a column, a pattern for file names, or none"), metavar="G")
    ] = ""
    window: Annotated[
        str, Choice(N_("grey values of DICOM to show: centre,width; full; the file's"), metavar="C,W")
    ] = ""
    fix: Annotated[
        str, Choice(N_("after check: a new table without broken files and copies"), metavar="CSV", writes=True)
    ] = ""
    answer: Annotated[
        str | None,
        Choice(
            N_("after check: an answer, WARNING: SENTENCE; an empty one takes it back"), metavar="TEXT", writes=True
        ),
    ] = None


class Data(Action):
    """Describe a data set; after the word ``check``, find its problems.

    >>> Data(writes=False).result("digits").as_json()["cases"]
    1797
    """

    title = N_("Describe a data set; souron data check finds its problems.")
    examples = (
        "souron data digits",
        "souron data photos/ --open",
        "souron data list.csv --json",
        "souron data check photos/",
        "souron data check photos/ --fix photos/checked.csv",
        'souron data check photos/ answer="few patients: a pilot, nothing is claimed of others"',
        "souron data cells/ task=segment_instances",
    )
    group = "data"
    given = Given("DATA", N_("a data set's name, a folder, or a CSV; or: check FOLDER; or: anonymise FOLDER OUT"), 1, 3)
    brief = True
    page = "data"
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        data, *rest = given
        if data == "check" and len(rest) < 2:
            if not rest:
                raise UserError(
                    "argument",
                    _("{argument} is missing").format(argument="FOLDER"),
                    expected="FOLDER",
                    fix="souron data check photos/",
                )
            yield Event("data")
            yield Event("done", 1.0, record=self.check(rest[0], options))
        elif rest:
            raise _surplus(rest)
        else:
            yield Event("data")
            yield Event("done", 1.0, record=self.describe(data, options))

    def place(self, name: str) -> Path:
        """Return the folder of the pages about a data set, which later ones replace."""
        return self.project / "data" / (Path(name).stem or "data")

    def describe(self, data: str, options: Options) -> DataRecord:
        def progress(done: int, total: int) -> None:
            self.tell(Event("data", done / total))

        formats, kind = reading_of(options.task)
        group, window = options.group or None, options.window or None
        cases = load.load(data, options.imgsz, group, window, progress=progress, formats=formats, target=kind)
        held, target = deidentify.held(cases) if cases.images else {}, target_of(cases)
        folder = self.place(display_names.folder(data)) if self.writes and target.layout else None
        return DataRecord(data, target, held, folder)

    def check(self, data: str, options: Options) -> CheckRecord:
        """Find the problems of a data set. Raises UserError, also for an answer to no warning of it."""

        def progress(doing: str, part: float) -> None:
            self.tell(Event("data", part, text=doing))

        place, formats = self.place(data), reading_of(options.task)[0]
        known = answers.read(place / answers.FILE)
        found = check.check(
            data, options.group or None, progress, options.window or None, formats, perceptual.pooled, known
        )
        keys = [one.key for one in data_warnings.of_check(found, data)]
        answer = None if options.answer is None else answered(options.answer, keys)
        task = options.task or advice.task_of(type(target_of(found.cases)).__module__.rpartition(".")[2])
        folder = place if self.writes else None
        fix = options.fix if self.writes else ""
        return CheckRecord(data, found, known, task, self.project, folder, fix, answer)


def _surplus(rest: Sequence[str]) -> UserError:
    """Return the error of what stands behind the data."""
    name = rest[-1]
    if "=" in name:
        return unknown_option(
            name.partition("=")[0], [option.name for option in registry.action("data").options], "souron data --help"
        )
    return UserError(
        "option",
        _("one thing too many: {name}").format(name=name),
        expected=_("a data set, or: check FOLDER"),
        fix=f"souron data check {rest[0]}",
    )


def every_format() -> tuple[str, ...]:
    """Return all formats in the order in which they are tried.

    Text formats, which look into files, come first; then formats of single tasks, the more specific
    ones first; folders of classes accept everything else, so they come last.
    """
    of_tasks = (name for task in registry.tasks().values() for name in task.formats)
    special = [name for name in of_tasks if name not in (*load.FORMATS, *load.TEXTS)]
    modules = {name: import_module(f"souron.data.formats.{name}") for name in special}
    special.sort(key=lambda name: not hasattr(modules[name], "refines"))
    return tuple(dict.fromkeys([*load.TEXTS, *special, *load.FORMATS]))


def reading_of(task: str) -> tuple[tuple[str, ...], str]:
    """Return the formats that a task accepts and its kind of target; all formats for "".

    Raises UserError for an unknown task.
    """
    if not task:
        return every_format(), ""
    if task not in registry.tasks():
        raise UserError(
            "option",
            _("no task is called {name}").format(name=task),
            expected=", ".join(registry.tasks()),
            fix="souron list",
        )
    asked = registry.load_task(task)
    return asked.formats, asked.target


def answered(text: str, keys: Sequence[str]) -> tuple[str, str]:
    """Return the warning that an answer is about, and its sentence. Raises UserError for an unknown one.

    >>> answered("few patients: a pilot", ["few patients"])
    ('few patients', 'a pilot')
    """
    key, colon, sentence = (part.strip() for part in text.partition(":"))
    if key not in keys or not colon:
        raise UserError(
            "answer",
            _("{answer} answers no warning of this data").format(answer=f"answer={text!r}"),
            expected=" | ".join(f"{key}: ..." for key in dict.fromkeys(keys)) or _("a warning that the check gives"),
            fix='answer="shortcut brightness: one lamp lights all classes"',
        )
    return key, sentence


__all__ = ["CheckRecord", "Data", "DataRecord", "Options"]
