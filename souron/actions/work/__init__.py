"""Exposure of the tasks of occupations, or of one's own tasks, to language models.

Nothing heavy is imported before ``run``, so that pages of the studio can read tables and names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from souron.action import Action, Given
from souron.kinds.codecs.limits import readable
from souron.kinds.signature import Choice
from souron.utils import files
from souron.utils.messages import N_, UserError, _

if TYPE_CHECKING:
    from souron.runs.events import Event

TEXTS = (".txt", ".md", ".tsv", ".csv", ".gz")


@dataclass(frozen=True)
class Options:
    table: Annotated[str, Choice(N_("a table of labelled tasks (default: the one that ships)"), metavar="FILE")] = ""


class Work(Action):
    """Answer for an occupation's name, a file of tasks, or all occupations (no name)."""

    title = N_("Estimate the exposure of an occupation to language models.")
    examples = (
        "souron work",
        'souron work "Registered Nurses"',
        "souron work 歯科医師",
        "souron work tasks.txt",
        "souron work --json",
    )
    group = "society"
    given = Given(
        "[OCCUPATION|FILE]", N_("an occupation, or a file with a task a line; without it: all occupations"), 0
    )
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator["Event"]:
        from souron.actions.work import answers, exposure, own_tasks, record, tables
        from souron.runs.events import Event

        yield Event("data")
        what = given[0] if given else None
        path = Path(what) if what is not None and files.there(what) else None
        file = path if path is not None and path.is_file() else None
        made: record.WorkRecord
        if file is not None and not answers.has_labels(file):
            rated = None
            for done, rated in own_tasks.rating(own_tasks.read(file), readable(file.name)):  # noqa: B007
                yield Event("answer", done, text=_("rating tasks"))
            assert rated is not None, "the last step has it"
            made = record.OwnTasksRecord(rated)
        elif file is not None or what is None:
            labelled = tables.read(file or Path(options.table)) if file or options.table else None
            table = labelled or tables.usual()
            made = record.WholeRecord(answers.WholeAnswer(exposure.whole(table)), table)
        else:
            _refuse_missing_file(what)
            table = tables.read(Path(options.table)) if options.table else tables.usual()
            made = record.OccupationRecord(answers.occupation(what, table), table)
        made.folder = files.new_folder(self.project / "work", made.run_name)
        yield Event("done", 1.0, record=made)


def _refuse_missing_file(what: str) -> None:
    if Path(what).suffix.lower() in TEXTS or ("/" in what.strip("/") and " " not in what):
        raise UserError(
            "missing",
            _("{path}: there is no such file").format(path=what[:200]),
            expected=_("a file with a task a line, or the name of an occupation"),
            fix='souron work "Registered Nurses"',
            exit=3,
        )
