"""Exercises that mark themselves, in the files of the lecture's rows.

    [[exercise]]
    kind = "predict"             choose one of ``choices``; ``right`` is its place, from 0
    right = 1
    en = {question = "...", choices = ["...", "..."], hint = "...", explanation = "..."}
    ja = {...}

    [[exercise]]
    kind = "number"              type a number; the function ``compute`` of ``computed/`` has the
    compute = "box_overlap"      right one, from the arguments ``given``
    given = {one = [0, 0, 10, 10], other = [5, 0, 15, 10]}
    tolerance = 0.01             the largest difference that counts as right
    en = {question = "...", hint = "...", explanation = "... {answer} ..."}
    ja = {...}

Answers are kept without names, a line of JSON each, in ``exercises.jsonl`` of the project. A line without an answer
says that the solution was shown.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from souron.lecture import computed
from souron.lecture.rows import Row, wrong
from souron.utils import files
from souron.utils.messages import UserError, _, language

KEPT = "exercises.jsonl"
FUNCTION = "function"  # kind of a line about a function of ``checks``
MOST_BYTES = 4_000_000  # of that file
CHOICES = (2, 6)  # minimum, maximum
TEXTS = ("question", "hint", "explanation")
LARGEST = 1e300  # number that is understood as an answer
writing = threading.Lock()


@dataclass(frozen=True)
class Words:
    """An exercise in one language; ``choices`` is empty where a number is asked for."""

    question: str
    hint: str
    explanation: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Exercise:
    """One exercise; ``number`` is its place among those of the row, from 0."""

    row: str
    number: int
    kind: str  # predict or number
    answer: float  # the place of the right choice, or the number
    tolerance: float
    en: Words
    ja: Words

    @property
    def words(self) -> Words:
        return self.ja if language() == "ja" else self.en

    @property
    def explanation(self) -> str:
        number = f"{self.answer:,.4g}" if self.answer % 1 else f"{self.answer:,.0f}"
        return self.words.explanation.replace("{answer}", number.replace(",", " "))


@dataclass(frozen=True)
class Kept:
    """One line of a file of answers."""

    row: str
    number: int
    answer: float | None  # None: the solution was shown
    right: bool  # as it was marked then


def of_row(row: Row) -> list[Exercise]:
    """Return the exercises of a row. Raises UserError where its file is not as described above."""
    return [_checked(row, number, found) for number, found in enumerate(row.exercise)]


def _checked(row: Row, number: int, found: Mapping[str, Any]) -> Exercise:
    file = Path(f"{row.id}.toml")
    kind = found.get("kind")
    wanted = {"predict": {"kind", "right", "en", "ja"}, "number": {"kind", "compute", "given", "tolerance", "en", "ja"}}
    if kind not in wanted or set(found) != wanted[kind]:
        raise wrong(file, f"exercise: kind = {kind!r}, {', '.join(found)}"[:120], "; ".join(map(str, wanted.values())))
    en, ja = (_words(file, found[tongue], kind) for tongue in ("en", "ja"))
    if kind == "predict":
        answer, tolerance = found["right"], 0.0
        if not isinstance(answer, int) or not 0 <= answer < len(en.choices) or len(en.choices) != len(ja.choices):
            raise wrong(file, f"exercise: right = {answer!r}", _("the place of a choice, from 0"))
    else:
        function, tolerance = computed.functions().get(str(found["compute"])), found["tolerance"]
        if function is None:
            raise wrong(file, f"compute = {found['compute']!r}"[:120], ", ".join(computed.functions()))
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not tolerance > 0:
            raise wrong(file, f"tolerance = {tolerance!r}"[:120], "tolerance = 0.01")
        try:
            answer = float(function(**found["given"]))
        except (TypeError, ValueError, IndexError) as error:
            raise wrong(file, f"given = {found['given']!r}: {error}"[:200], "given = {...}") from error
    return Exercise(row.id, number, kind, answer, tolerance, en, ja)


def _words(file: Path, found: Any, kind: str) -> Words:
    choices = found.get("choices", []) if isinstance(found, dict) else None
    least, most = CHOICES if kind == "predict" else (0, 0)
    texts = [found.get(name) for name in TEXTS] if isinstance(found, dict) else [None]
    if not all(isinstance(text, str) and text.strip() for text in [*texts, *(choices or [])]):
        raise wrong(file, f"exercise: {found!r}"[:120], ", ".join((*TEXTS, "choices")))
    if not isinstance(choices, list) or not least <= len(choices) <= most:
        raise wrong(
            file, f"choices = {choices!r}"[:120], _("a list of {least} to {most} texts").format(least=least, most=most)
        )
    return Words(found["question"], found["hint"], found["explanation"], tuple(choices))


def right(exercise: Exercise, answer: Any) -> bool:
    """Return whether an answer is right: a choice's place, or a number within the tolerance. Raises UserError."""
    plain = isinstance(answer, int | float) and not isinstance(answer, bool) and abs(answer) < LARGEST
    if not plain or (exercise.kind == "predict" and answer not in range(len(exercise.en.choices))):
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="answer", value=str(answer)[:40]),
            expected=_("a number") if exercise.kind == "number" else _("one of the choices"),
        )
    return abs(answer - exercise.answer) <= exercise.tolerance


def keep(project: Path, exercise: Exercise, answer: float | None, is_right: bool) -> None:
    """Append an answer to the project's file of answers, or None where the solution was shown.

    Raises UserError where the file is full or cannot be written.
    """
    path = project / KEPT
    line = {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "row": exercise.row,
        "exercise": exercise.number,
        "answer": answer,
        "right": is_right,
    }
    append(path, line)


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Append a line of JSON to a file of answers. Raises UserError where that is full or cannot be written."""
    with writing:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > MOST_BYTES:
                raise UserError(
                    "full",
                    _("{path} holds more than {count} bytes").format(path=path, count=MOST_BYTES),
                    expected=_("move it to another folder; a new one is begun"),
                )
            with path.open("a", encoding="utf-8") as file:
                file.write(files.as_json(line) + "\n")
        except OSError as error:
            raise files.cannot_write(path, error) from error


def solved(project: Path) -> set[tuple[str, int]]:
    """Return (row, number) of the exercises that were answered right in this project; broken lines are left out."""
    path = project / KEPT
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    kept = filter(None, map(read_line, lines))
    return {(one.row, one.number) for one in kept if one.right}


def read_function(line: str) -> tuple[str, bool] | None:
    """Return the name of a function that was checked and whether it was right; None for any other line.

    >>> read_function('{"kind": "function", "row": "D2", "exercise": "box_overlap", "answer": null, "right": true}')
    ('box_overlap', True)
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.get("kind") != FUNCTION:
        return None
    name, is_right = fields.get("exercise"), fields.get("right")
    return (name, is_right) if isinstance(name, str) and isinstance(is_right, bool) else None


def read_line(line: str) -> Kept | None:
    """Return a line of a file of answers; None for one that is no such line.

    >>> read_line('{"row": "V1", "exercise": 0, "answer": 55, "right": true}')
    Kept(row='V1', number=0, answer=55, right=True)
    >>> read_line("[]") is None
    True
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    row, number, answer, is_right = (fields.get(name) for name in ("row", "exercise", "answer", "right"))
    plain = answer is None or (isinstance(answer, int | float) and not isinstance(answer, bool))
    if not isinstance(row, str) or type(number) is not int or not plain or not isinstance(is_right, bool):
        return None
    return Kept(row, number, answer, is_right)
