"""Judge a class's answers to the exercises of the lecture: how many were right at the first try.

Each student gives one file, ``exercises.jsonl`` of a project or what the studio saves. It holds no name; the names of
the files are shown only where ``names`` asks for them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from souron.action import Action, Given
from souron.actions.exercises import results
from souron.actions.exercises.record import ExercisesRecord
from souron.kinds import files as kind_files
from souron.kinds.codecs.limits import trouble
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.utils import units
from souron.utils.messages import N_, UserError, _

if TYPE_CHECKING:
    from souron.runs.events import Event

SUFFIX = ".jsonl"
MOST_FILES = 200
MOST_BYTES = 5_000_000  # of a file; the studio stops writing at 4 million
MOST_LETTERS = 50_000_000  # of all files


@dataclass(frozen=True)
class Options:
    names: Annotated[bool, Choice(N_("also show the names of the files, with each one's own result"))] = False
    csv: Annotated[bool, Choice(N_("print the table as CSV"))] = False


class Exercises(Action):
    """Judge the answers of a class; each file is one student's.

    >>> from souron.kinds.text import Text
    >>> answers = '{"row": "V1", "exercise": 0, "answer": 54, "right": false}'
    >>> record = Exercises(writes=False).result(Text(answers), Text(answers.replace("54", "55")))
    >>> [(item.exercise.row, item.right, item.tries) for item in record.results.items]
    [('V1', 1, 2)]
    """

    title = N_("Judge a class's answers to the lecture's exercises.")
    examples = ("souron exercises class/", "souron exercises ito.jsonl sato.jsonl names=true",
                "souron exercises class/ csv=true")  # fmt: skip
    group = "teach"
    given = Given("FILE...", N_("a file of answers for each student (.jsonl), or folders of them"), 1, None)
    lookup = True
    brief = True
    page = "exercises"

    def run(self, given: Sequence[Any], options: Options) -> Iterator["Event"]:
        from souron.runs.events import Event

        texts = read(given)
        yield Event("data", text=_("{count} files").format(count=len(texts)))
        found = results.judge(texts)
        folder = self.new_folder("class")
        yield Event("done", 1.0, record=ExercisesRecord(found, options.names, options.csv, folder))


def read(given: Sequence[Any]) -> list[Text]:
    """Return the files of answers; a ``Text`` may stand in place of a file. Raises UserError."""
    texts: list[Text] = []
    letters = 0
    for one in _each(given):
        text = one if isinstance(one, Text) else _text(one)
        texts.append(text)
        letters += len(text.text)
        if len(text.text) > MOST_BYTES:
            why = _("more than {count} MB").format(count=MOST_BYTES // 10**6)
            raise trouble(Path(text.file or SUFFIX), "too large", why)
        if len(texts) > MOST_FILES or letters > MOST_LETTERS:
            raise UserError(
                "too large",
                _("{files} files with {letters} characters, or more").format(
                    files=len(texts), letters=units.whole(letters)
                ),
                expected=_("at most {files} files and {letters} characters").format(
                    files=MOST_FILES, letters=units.whole(MOST_LETTERS)
                ),
                exit=3,
            )
    if not texts:
        raise UserError(
            "missing", _("no file of answers was given"), expected=SUFFIX, fix=Exercises.examples[0], exit=3
        )
    return texts


def _each(given: Sequence[Any]) -> Iterator[Any]:
    for one in given:
        path = None if isinstance(one, Text) else Path(one)
        if path is not None and path.is_dir():
            yield from sorted(path.glob(f"*{SUFFIX}"))
        else:
            yield path or one


def _text(path: Path) -> Text:
    """Return the answers in a file; broken bytes make broken lines, which are reported."""
    return Text(kind_files.content(path, MOST_BYTES).decode("utf-8-sig", "replace"), path.name)
