"""A file of votes: the rivals' answers, a person's preferences, a judge's choices.

JSON lines, one entry each, written at once, so that nothing is lost if the program ends. A damaged
line, as one interrupted while being written, is reported by its number and skipped.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from souron.data.dataset import Skipped
from souron.data.language.tokenizer import readable
from souron.data.readers import text_files
from souron.data.readers.text_files import Faults
from souron.utils.files import as_json, cannot_write
from souron.utils.messages import UserError, _

FIRST, SECOND, GOOD, BAD, SAME = "first", "second", "good", "bad", "same"
SAID = {FIRST: 1.0, SECOND: 0.0, GOOD: 0.5, BAD: 0.5, SAME: 0.5}  # score of the first side
RIVALS = (2, 4)  # least and most models
MOST_QUESTION = 100_000  # characters


@dataclass(frozen=True)
class Settings:
    """Settings with which an arena's answers are generated."""

    models: tuple[str, ...]
    seed: int = 0  # for the order of sides, and for the answers
    length: int = 256  # most tokens of an answer
    temperature: float = 0.7


@dataclass(frozen=True)
class Answer:
    question: str
    model: str
    text: str
    tokens: int
    seconds: float
    stopped_by: str  # "end", "length" or "context"


@dataclass(frozen=True)
class Vote:
    """A person's preference between two answers."""

    question: str
    first: str  # the model shown first
    second: str
    said: str  # FIRST, SECOND, GOOD, BAD or SAME
    blind: bool = True  # whether the names were unknown

    @property
    def pair(self) -> tuple[str, ...]:
        return (self.question, *sorted((self.first, self.second)))


@dataclass(frozen=True)
class Judged:
    """A model's judgement of two answers, in both orders."""

    question: str
    judge: str
    first: str
    second: str
    chances: tuple[float, float]  # probability of the first answer, in either order
    said: str  # FIRST, SECOND, or GOOD if the orders disagree

    @property
    def pair(self) -> tuple[str, ...]:
        return (self.question, *sorted((self.first, self.second)))


@dataclass
class Votes:
    """The content of a file of votes."""

    file: Path
    settings: Settings | None = None
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)  # (question, model)
    votes: list[Vote] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    skipped: tuple[Skipped, ...] = ()

    @property
    def counted(self) -> list[Vote]:
        """Return the first vote on each pair of answers, if it was blind."""
        first: dict[tuple[str, ...], Vote] = {}
        for vote in self.votes:
            first.setdefault(vote.pair, vote)
        return [vote for vote in first.values() if vote.blind]

    def add(self, thing: Settings | Answer | Vote | Judged) -> None:
        """Write an entry to the file and keep it. Raises UserError if writing fails."""
        _append(self.file, {_NAMES[type(thing)]: True, **vars(thing)})
        self._hold(thing)

    def _hold(self, thing: Any) -> None:
        if isinstance(thing, Settings):
            self.settings = thing
        elif isinstance(thing, Answer):
            self.answers[thing.question, thing.model] = thing
        elif isinstance(thing, Vote):
            self.votes.append(thing)
        else:
            self.judged.append(thing)


_NAMES: dict[type, str] = {Settings: "arena", Answer: "answer", Vote: "vote", Judged: "judge_said"}
_KINDS = {name: kind for kind, name in _NAMES.items()}


def read(file: str | Path) -> Votes:
    """Read a file of votes. Raises UserError if it is missing or holds no arena."""
    file = Path(file)
    faults, found = Faults(), Votes(file)
    for place, thing in _objects(file, faults):
        try:
            found._hold(_told(thing))
        except (KeyError, TypeError, ValueError) as error:
            faults.add(place, "not a vote", _("no vote and no answer: {why}").format(why=error))
    found.skipped = faults.told()
    if found.settings is None:
        raise UserError(
            "no arena",
            _("{path} holds no votes of an arena").format(path=file),
            expected=_("a file that souron arena wrote"),
            fix="souron arena MODEL MODEL questions.txt",
            exit=3,
        )
    return found


def _objects(file: Path, faults: Faults) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, thing, *_rest in text_files.records(file, faults):
        yield place, thing


def _told(thing: dict[str, Any]) -> Settings | Answer | Vote | Judged:
    """Parse an entry. Raises KeyError, TypeError or ValueError for anything else."""
    kind = next((_KINDS[name] for name in _KINDS if thing.get(name) is True), None)
    if kind is None:
        raise ValueError(", ".join(list(thing)[:3]))
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    for name in ("question", "first", "second", "model", "text", "judge"):
        if name in names and not isinstance(thing[name], str):
            raise ValueError(name)
    made = kind(**{name: thing[name] for name in names})
    if isinstance(made, Settings):
        models = tuple(map(str, made.models))
        if not RIVALS[0] <= len(set(models)) == len(models) <= RIVALS[1]:
            raise ValueError("models")
        return Settings(models, int(made.seed), int(made.length), float(made.temperature))
    if isinstance(made, Vote | Judged) and (made.said not in SAID or made.first == made.second):
        raise ValueError(made.said)
    if isinstance(made, Judged):
        one, other = (float(chance) for chance in made.chances)
        return Judged(made.question, made.judge, made.first, made.second, (one, other), made.said)
    if isinstance(made, Vote) and not isinstance(made.blind, bool):
        raise ValueError("blind")
    return made


def _append(file: Path, thing: dict[str, Any]) -> None:
    """Append a line and flush it to the disk; an unterminated last line stays separate."""
    line = as_json(thing) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab+") as stream:
            if stream.tell():
                stream.seek(-1, os.SEEK_END)
                line = line if stream.read(1) == b"\n" else "\n" + line
            stream.write(line.encode("utf-8", "replace"))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise cannot_write(file, error) from error


def questions(file: Path) -> tuple[list[str], tuple[Skipped, ...]]:
    """Return the distinct questions of a file, and the skipped lines.

    The file has one question per line, or JSON lines with ``question`` or ``prompt``. Raises
    UserError if there are none.
    """
    faults = Faults()
    if file.suffix.lower() in text_files.RECORDS:
        told = ((place, thing.get("question", thing.get("prompt"))) for place, thing in _objects(file, faults))
    else:
        lines = enumerate(text_files.read(file).split("\n"), 1)
        told = ((f"{file.name}:{number}", line) for number, line in lines if line.strip())
    found: dict[str, None] = {}
    for place, text in told:
        if not isinstance(text, str) or not text.strip():
            faults.add(place, "no question", _("no text under question or prompt"))
        elif len(text) > MOST_QUESTION:
            faults.add(place, "too long", _("over {count} characters").format(count=MOST_QUESTION))
        elif (whole := readable(text.strip())) in found:
            faults.add(place, "twice", _("the question stands there twice"))
        else:
            found[whole] = None
    return some(list(found), file), faults.told()


def some(found: Sequence[str], file: Path | str) -> list[str]:
    """Return the questions. Raises UserError if there are none."""
    if not found:
        raise UserError(
            "no questions",
            _("{path} holds no question").format(path=file),
            expected=_('a question a line, or JSON lines such as {"question": "..."}'),
            exit=3,
        )
    return list(found)
