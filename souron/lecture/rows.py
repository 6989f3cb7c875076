"""Rows of the lecture, one file each, found by its name: ``rows/V1.toml`` is AlexNet.

A file holds what a system's source does not: people and dates, how it works, its use, its
failures, and a text to read aloud, in English and Japanese. Each file is validated when read. Its
name is the letter of a chapter and a number, which is the row's place.

    systems = ["alexnet"]        the first is drawn, tried and trained; [] where there is none
    data = "digits"              what it is trained on for ten seconds; "" where it is not trained
    trained = "yolo_tiny"        what is trained, where it is not the first system; may be left out
    training = {imgsz = 64}      further options of that training; may be left out
    year = 2012
    source = "https://..."
    docs = "use"                 a page of docs/, or ""
    interactive = ["noise_slider"]   files of souron/studio/interactives/
    pages = ["train"]            pages of the studio where more can be done
    answer = "souron ..."        answers within seconds, from sample files (see ``samples``)
    section = "learning"         of the report that it writes: its figure is shown; the first one if left out
    fetched = ["souron ..."]     in its place, the first whose network was fetched; may be left out
    commands = ["souron ..."]    to be typed

    [en]                         and [ja]
    title = "AlexNet"
    what = "..."                 what it is: one or two sentences
    who = "..."                  who and when
    mechanism = ["...", "..."]   how it works: three to six sentences or steps
    used = "..."                 where it is used
    fails = "..."                where it fails
    spoken = "..."               to be read aloud: 120-200 words, in Japanese 300-500 characters

    [[exercise]]                 marks itself, see ``exercises``; at least one
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from souron.utils.files import package_folders
from souron.utils.messages import N_, UserError, _, language, near

MOST_BYTES = 32_000  # of a file
LONGEST = 2_000  # characters of a field
STEPS = (3, 6)  # of a mechanism: minimum, maximum
MOST_NAMES = 8  # in a list
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
COMMAND = re.compile(r"souron [^\n]{1,200}")
CHAPTERS = (
    ("course", N_("The course's own exercises"), "C"),
    ("images", N_("Image classification"), "V"),
    ("detection", N_("Detection and segmentation"), "DS"),
    ("language", N_("Language"), "L"),
    ("generation", N_("Generation"), "G"),
    ("society", N_("Society"), "E"),
)  # name, title, letters of its rows
LETTERS = "".join(letters for _name, _title, letters in CHAPTERS)  # in the lecture's order
ID = re.compile(rf"([{LETTERS}])([1-9]\d?)")


@dataclass(frozen=True)
class Text:
    """A row in one language."""

    title: str
    what: str
    who: str
    mechanism: tuple[str, ...]
    used: str
    fails: str
    spoken: str


@dataclass(frozen=True)
class Row:
    """One row of the lecture."""

    id: str
    systems: tuple[str, ...]
    data: str
    trained: str
    training: Mapping[str, int | bool]
    year: int
    source: str
    docs: str
    interactive: tuple[str, ...]
    pages: tuple[str, ...]
    answer: str
    section: str  # of the report that the answer writes, whose figure the row shows; "": the first figure
    fetched: tuple[str, ...]
    commands: tuple[str, ...]
    exercise: tuple[Mapping[str, Any], ...]  # as it stands in the file
    en: Text
    ja: Text

    @property
    def text(self) -> Text:
        """The row's text in the reader's language."""
        return self.ja if language() == "ja" else self.en

    @property
    def chapter(self) -> str:
        """The name of the row's chapter."""
        return next(name for name, _title, letters in CHAPTERS if self.id[0] in letters)


@dataclass(frozen=True)
class Chapter:
    name: str
    title: str  # English, the key of its translation
    rows: tuple[Row, ...]


@cache
def rows() -> dict[str, Row]:
    """Return every row, by id, in the lecture's order. Raises UserError."""
    folders = package_folders("lecture/rows")
    found = [read(file) for folder in folders for file in folder.glob("*.toml")]
    return {row.id: row for row in sorted(found, key=lambda row: _place(row.id))}


def _place(id: str) -> tuple[int, int]:
    """Return the position of a row in the lecture: its letter's, and its number."""
    return LETTERS.index(id[0]), int(id[1:])


@cache
def chapters() -> tuple[Chapter, ...]:
    """Return the chapters in order, without empty ones. Raises UserError."""
    found = [
        Chapter(name, title, tuple(row for row in rows().values() if row.id[0] in letters))
        for name, title, letters in CHAPTERS
    ]
    return tuple(chapter for chapter in found if chapter.rows)


def find(id: str) -> Row:
    """Return the row with an id, ignoring case. Raises UserError."""
    found = rows().get(id.strip().upper())
    if found is None:
        shown = id if len(id) <= 20 else f"{id[:20]}…"
        raise UserError(
            "row",
            _("the lecture has no row {name!r}").format(name=shown),
            expected=near(shown.upper(), list(rows())),
            fix="souron lecture",
        )
    return found


def of_system(name: str) -> Row | None:
    """Return the first row that shows a system; None where none does."""
    return next((row for row in rows().values() if name in row.systems), None)


def read(file: Path) -> Row:
    """Read the row of a file. Raises UserError where the file is not as described above."""
    if file.stat().st_size > MOST_BYTES:
        raise wrong(file, _("more than {count} bytes").format(count=MOST_BYTES), str(MOST_BYTES))
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise wrong(file, str(error), _("a file in TOML")) from error
    return checked(found, file)


def checked(found: Mapping[str, Any], file: Path) -> Row:
    """Validate that every field is present, of its type and within its limits. Raises UserError."""
    found = {"trained": "", "section": "", "training": {}, "fetched": [], "exercise": [], **found}
    _names(file, found, [field.name for field in fields(Row) if field.name != "id"])
    if not ID.fullmatch(file.stem):
        raise wrong(file, file.stem, _("a letter of {letters} and a number").format(letters=LETTERS))
    year = found["year"]
    if not isinstance(year, int) or isinstance(year, bool) or not 1600 <= year <= 2100:
        raise wrong(file, f"year = {year!r}", "year = 2012")
    if not COMMAND.fullmatch(_string(file, found, "answer")):
        raise wrong(file, f"answer = {found['answer']!r}"[:120], 'answer = "souron ..."')
    source = _string(file, found, "source", empty=True)
    if source and not re.fullmatch(r"https?://[^\s<>\"']+", source):
        raise wrong(file, f"source = {source!r}", 'source = "https://..."')
    docs = _string(file, found, "docs", empty=True)
    if docs and not re.fullmatch(r"[a-z][a-z0-9_-]*", docs):
        raise wrong(file, f"docs = {docs!r}", _("the name of a page in docs/, without .md"))
    training = found["training"]
    if not isinstance(training, dict) or not all(isinstance(v, int) for v in training.values()):
        raise wrong(file, f"training = {training!r}"[:120], "training = {imgsz = 64}")
    exercise = found["exercise"]
    if not isinstance(exercise, list) or len(exercise) > MOST_NAMES or not all(isinstance(e, dict) for e in exercise):
        raise wrong(file, f"exercise = {exercise!r}"[:120], "[[exercise]]")
    return Row(
        id=file.stem,
        systems=_list(file, found, "systems", NAME),
        data=_string(file, found, "data", empty=True),
        trained=_string(file, found, "trained", empty=True),
        training=training,
        year=year,
        source=source,
        docs=docs,
        interactive=_list(file, found, "interactive", NAME),
        pages=_list(file, found, "pages", NAME),
        answer=_string(file, found, "answer"),
        section=_string(file, found, "section", empty=True),
        fetched=_list(file, found, "fetched", COMMAND),
        commands=_list(file, found, "commands", COMMAND),
        exercise=tuple(exercise),
        en=_text(file, found["en"], "en"),
        ja=_text(file, found["ja"], "ja"),
    )


def _text(file: Path, found: Any, language: str) -> Text:
    if not isinstance(found, dict):
        raise wrong(file, f"{language} = {found!r}", f"[{language}]")
    _names(file, found, [field.name for field in fields(Text)])
    between = "" if language == "ja" else " "  # Japanese joins lines without a space
    lines = {name: _string(file, found, name).split("\n") for name in found if name != "mechanism"}
    plain = {name: between.join(map(str.strip, some)).strip() for name, some in lines.items()}
    steps = found["mechanism"]
    if not isinstance(steps, list) or not STEPS[0] <= len(steps) <= STEPS[1]:
        said = len(steps) if isinstance(steps, list) else repr(steps)
        raise wrong(
            file,
            f"[{language}] mechanism: {said}",
            _("a list of {least} to {most} texts").format(least=STEPS[0], most=STEPS[1]),
        )
    told = tuple(_string(file, {"mechanism": step}, "mechanism").strip() for step in steps)
    return Text(mechanism=told, **plain)


def _names(file: Path, found: Mapping[str, Any], wanted: list[str]) -> None:
    """Check that exactly these fields are present. Raises UserError otherwise."""
    missing = [name for name in wanted if name not in found]
    more = [str(name)[:40] for name in found if name not in wanted]
    if missing:
        raise wrong(file, _("no {name}").format(name=missing[0]), ", ".join(wanted))
    if more:
        raise wrong(file, _("no field is named {name!r}").format(name=more[0]), ", ".join(wanted))


def _string(file: Path, found: Mapping[str, Any], name: str, *, empty: bool = False) -> str:
    value = found[name]
    if not isinstance(value, str) or len(value) > LONGEST or not (empty or value.strip()):
        said = f"{name} = {value!r}"
        expected = _("a text of at most {count} characters").format(count=LONGEST)
        raise wrong(file, said if len(said) < 80 else f"{said[:80]}…", expected)
    return value


def _list(file: Path, found: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    values = found[name]
    fine = isinstance(values, list) and len(values) <= MOST_NAMES
    if not fine or not all(isinstance(v, str) and pattern.fullmatch(v) for v in values):
        expected = _("a list of at most {count} names").format(count=MOST_NAMES)
        raise wrong(file, f"{name} = {values!r}"[:120], expected)
    return tuple(values)


def wrong(file: Path, found: str, expected: str) -> UserError:
    return UserError(
        "lecture file",
        _("{file}: {found}").format(file=file.name, found=found),
        expected=expected,
        fix=_("see souron/lecture/rows/V1.toml"),
        exit=3,
    )
