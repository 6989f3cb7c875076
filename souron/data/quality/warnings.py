"""Warnings of the data check, which travel with every result of the data until a person answers them.

A result keeps its warnings in ``receipt.json``. The answers are kept in the project, so that one answer reaches all
results of that data. Every place that shows a result draws its caveats from here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from souron.utils import files
from souron.utils.messages import N_, UserError, _, language

FILE = Path("data/answers.json")  # in the project
MOST_BYTES = 2 * 10**7  # of a file that is read here
LONGEST = 1000  # characters of an answer, and of each text in a receipt
ONE_BY_ONE = N_("each case was looked at on the page My data")  # the answer that corrections give

Answers = Mapping[str, Mapping[str, str]]  # folder of data, see ``place_of`` -> key of a warning -> sentence


@dataclass(frozen=True)
class DataWarning:
    """A warning about the data of a result."""

    key: str  # the finding's code, of a shortcut with the property: "shortcut brightness"
    data: str  # name of the data
    place: str  # of the data, see ``place_of``
    message: str
    translated: Mapping[str, str]  # language -> message, of the other languages
    answer: str = ""  # a person's; "" while the warning is open

    @property
    def text(self) -> str:
        """The warning in the reader's language; once it is answered, the answer."""
        if self.answer:
            return _("Data check of {data}: [{key}] {answer}").format(
                data=self.data, key=self.key, answer=answered(self.answer)
            )
        message = self.translated.get(language(), self.message)
        return _("Data check of {data}: {message} [{key}]").format(data=self.data, message=message, key=self.key)


def place_of(data: str | Path) -> str:
    """Return the name under which answers about a folder, or the tables in it, are kept.

    >>> place_of("photos/checked.csv") == place_of("photos/checked-2.csv")
    True
    """
    path = Path(data).absolute().resolve()
    folder = path.parent if path.suffix and not path.is_dir() else path
    return blake2b(str(folder).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def answered(sentence: str) -> str:
    """Return a person's answer as it is shown.

    >>> answered("a pilot")
    'answered: a pilot'
    """
    return _("answered: {answer}").format(answer=_(sentence))


def answers(project: Path) -> Answers:
    """Return the answers of a project; {} where there are none, or where they cannot be read.

    >>> answers(Path("no-such-project"))
    {}
    """
    found = read_json(project / FILE) or {}
    return {
        str(place): {str(key): str(text)[:LONGEST] for key, text in own.items() if text}
        for place, own in found.items()
        if isinstance(own, dict)
    }


def answer(project: Path, place: str, key: str, sentence: str) -> None:
    """Keep the answer to a warning; "" takes it back. Raises UserError where it cannot be kept."""
    path = project / FILE
    if path.exists() and read_json(path) is None:
        raise UserError(
            "answers",
            _("{path} cannot be read: {why}").format(path=path, why=_("it holds no answers")),
            expected=_("the file as souron wrote it"),
            fix=_("correct the file, or delete it; the warnings are then open again"),
            exit=3,
        )
    kept = {where: dict(own) for where, own in answers(project).items()}
    own = kept.setdefault(place, {})  # stays where all is taken back: what a receipt holds no longer counts
    own[key] = " ".join(sentence.split())[:LONGEST]
    files.write_json(path, kept)


def current(warnings: Sequence[DataWarning], folder: Path) -> list[DataWarning]:
    """Return a result's warnings with the answers of today; ``folder`` is ``project/task/name``."""
    known = answers(folder.parent.parent) if warnings else {}
    return [replace(one, answer=known[one.place].get(one.key, "")) if one.place in known else one for one in warnings]


def texts(warnings: Sequence[DataWarning], folder: Path) -> list[str]:
    """Return a result's warnings, or their answers, in the reader's language."""
    return [one.text for one in current(warnings, folder)]


def as_json(warnings: Sequence[DataWarning], folder: Path) -> dict[str, Any]:
    """Return the entry of a receipt, and of what ``--json`` prints; {} without warnings."""
    return {"warnings": [asdict(one) for one in current(warnings, folder)]} if warnings else {}


def read(receipt: Mapping[str, Any]) -> list[DataWarning]:
    """Return the warnings in a receipt; what is no warning is left out."""
    told = receipt.get("warnings")
    return [made for one in (told if isinstance(told, list) else []) if (made := _read_one(one)) is not None]


def of_run(folder: Path | None) -> list[DataWarning]:
    """Return the warnings of a finished run or comparison; [] of anything else.

    >>> of_run(None)
    []
    """
    return [] if folder is None else read(read_json(folder / "receipt.json") or {})


def caveats(receipt: Mapping[str, Any], folder: Path) -> list[str]:
    """Return what must be read beside the figures of a receipt: the data's warnings and the report's notes."""
    return [*texts(read(receipt), folder), *notes(receipt)]


def notes(receipt: Mapping[str, Any]) -> list[str]:
    """Return the report's notes in a receipt, in the reader's language where it has them."""
    translated = receipt.get("translated")
    own = translated.get(language()) if isinstance(translated, dict) else None
    found = (own if isinstance(own, dict) else receipt).get("notes")
    return [note for note in found if isinstance(note, str)] if isinstance(found, list) else []


def _read_one(told: Any) -> DataWarning | None:
    if not isinstance(told, dict):
        return None
    plain = [told.get(name) for name in ("key", "data", "place", "message")]
    if not all(isinstance(text, str) for text in plain):
        return None
    others = told.get("translated")
    translated = {str(k): str(text)[:LONGEST] for k, text in others.items()} if isinstance(others, dict) else {}
    key, data, place, message = (str(text)[:LONGEST] for text in plain)
    return DataWarning(key, data, place, message, translated, str(told.get("answer") or "")[:LONGEST])


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a file; None where there is none, or where it cannot be read."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
