"""Answers of a person to the question whether two images are copies, kept in a table of the project.

The table has a line for each pair that a check asked about; the person fills in the last column.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from souron.utils import files
from souron.utils.messages import UserError, _

FILE = "copies.csv"
COLUMNS = ("file", "other", "answer")
WORDS = {"copy": "copy", "different": "different", "写し": "copy", "別の画像": "different", "": ""}

Pair = frozenset[str]  # the names of two files
Answers = Mapping[Pair, str]  # "copy", "different", or "" where there is no answer yet


def read(path: Path) -> dict[Pair, str]:
    """Return the answers in a table; {} where there is none. Raises UserError."""
    if not path.exists():
        return {}
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), restval=""))
        return {frozenset((row["file"], row["other"])): WORDS[row["answer"].strip().lower()] for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        raise UserError(
            "answers",
            _("{path} cannot be read: {why}").format(path=path, why=error),
            expected=_("the columns {names}, and as an answer copy, different or nothing").format(
                names=", ".join(COLUMNS)
            ),
            fix=_("correct the table, or delete it; the questions are asked anew"),
            exit=3,
        ) from error


def write(path: Path, answers: Answers, asked: Iterable[tuple[str, str]]) -> None:
    """Write all answers, and a line for each new question. Raises UserError."""
    rows = dict(answers) | {frozenset(pair): "" for pair in asked if frozenset(pair) not in answers}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((min(pair), max(pair), answer) for pair, answer in rows.items())
    files.write_text(path, stream.getvalue())
