"""A teacher's course: rows of the lecture and interactives in a chosen order, with texts of one's own.

    title = "AI in the clinic"

    [[part]]
    row = "V1"                   a row of the lecture
    show = ["work", "picture"]   the parts of its page, without which all are shown (see ``SECTIONS``)
    heading = "Where it began"   replaces the row's own heading; "" keeps it
    minutes = 5                  the plan, for the timer of presentation mode
    before = "Who has ..."       Markdown, before and after the row's text
    after = ""
    say = "..."                  speaker notes: replaces the row's text to read aloud
    ask = "..."                  speaker notes: the question to the class
    see = "..."                  speaker notes: what to do, and what the class sees

    [[part]]
    interactive = "which_luck"   an interactive in place of a row

    [[part]]
    heading = "A break"          a part without either has only these texts
    before = "Ten minutes."

``lecture/courses/en`` and ``lecture/courses/ja`` hold the courses that come with souron, under the
same names in both languages.

A course file may come from anybody: its size is limited, and its Markdown becomes text, lists,
emphasis and links to pages; HTML and images in it are shown as text.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from souron.lecture import rows
from souron.utils import files
from souron.utils.messages import UserError, _, language

MOST_BYTES = 500_000  # of a file
MOST_PARTS = 100
MOST_COURSES = 500  # in a folder
LONGEST_TITLE = 200  # characters
LONGEST_TEXT = 5_000
LONGEST_PLAN = 600  # minutes of a part
TITLES, TEXTS = ("row", "interactive", "heading"), ("before", "after", "say", "ask", "see")
FIELDS = (*TITLES, "minutes", "show", *TEXTS)
SECTIONS = ("work", "interactive", "picture", "mechanism", "try", "train", "marked", "used", "fails", "more")
NAME = re.compile(r"[\w-]{1,60}")  # file name of a saved course
LINK = re.compile(r"https?://[^\s<>\"']+")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # except tab and newline


@dataclass(frozen=True)
class Part:
    """One step of a course."""

    row: str = ""  # an id; "" for a part with texts only
    interactive: str = ""  # a name, in place of a row
    heading: str = ""
    minutes: float = 0  # of the plan; 0 without one
    show: tuple[str, ...] = ()  # of SECTIONS; () for all
    before: str = ""  # Markdown
    after: str = ""
    say: str = ""  # Markdown of the speaker notes
    ask: str = ""
    see: str = ""

    @property
    def title(self) -> str:
        """The part's own heading, or else the row's title in the reader's language, or the interactive's name."""
        return self.heading or (rows.find(self.row).text.title if self.row else self.interactive.replace("_", " "))

    def as_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in FIELDS}
        return {name: list(value) if name == "show" else value for name, value in values.items() if value}


@dataclass(frozen=True)
class Course:
    title: str
    parts: tuple[Part, ...]

    @property
    def minutes(self) -> float:
        """The minutes of the whole plan; 0 without one."""
        return sum(part.minutes for part in self.parts)

    def begin(self, number: int) -> float:
        """Return the minute of the plan at which a step begins, numbered from 1."""
        return sum(part.minutes for part in self.parts[: number - 1])

    def as_json(self) -> dict[str, Any]:
        return {"title": self.title, "parts": [part.as_json() for part in self.parts]}

    def as_toml(self) -> str:
        """Return the course as TOML that ``read`` accepts."""
        lines = [f"title = {_quoted(self.title)}"]
        for part in self.parts:
            lines += ["", "[[part]]", *(f"{name} = {_quoted(value)}" for name, value in part.as_json().items())]
        return "\n".join(lines) + "\n"


def _quoted(value: str | float | list[str]) -> str:
    return json.dumps(CONTROL.sub("", value) if isinstance(value, str) else value, ensure_ascii=False)


def load(path: Path) -> Course:
    """Load a course from a file, or the one of that name that comes with souron. Raises UserError."""
    if not path.suffix and not path.exists() and (course := shipped().get(str(path))):
        return course
    try:
        if not path.is_file():
            raise OSError(_("not a regular file") if path.exists() else _("there is no such file"))
        if path.stat().st_size > MOST_BYTES:
            raise _wrong(
                _("{path} has more than {count} bytes").format(path=path, count=MOST_BYTES),
                _("a file such as souron lecture course= reads: a title and its parts"),
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            "missing",
            _("{path} cannot be read: {why}").format(path=path, why=error.strerror or str(error)),
            expected=_("a course's file, such as course.toml"),
            exit=3,
        ) from error
    except UnicodeDecodeError as error:
        raise _wrong(str(error), _("text in UTF-8")) from error
    return read(text)


def read(text: str) -> Course:
    """Parse a course from a text in TOML. Raises UserError."""
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise _wrong(_("more than {count} bytes").format(count=MOST_BYTES), _("a shorter course"))
    try:
        held = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, deep brackets
        raise _wrong(str(error)[:200], _("a file in TOML")) from error
    parts = held.pop("part", [])
    return checked({**held, "parts": parts})


def checked(held: Any) -> Course:
    """Validate ``{"title", "parts"}`` and return the course. Raises UserError."""
    if not isinstance(held, Mapping) or set(held) - {"title", "parts"}:
        more = sorted(map(str, set(held) - {"title", "parts"})) if isinstance(held, Mapping) else []
        raise _wrong(
            _("no field is named {name!r}").format(name=more[0][:40]) if more else repr(held)[:80], "title, [[part]]"
        )
    title, parts = held.get("title"), held.get("parts")
    if not isinstance(title, str) or not title.strip() or len(title) > LONGEST_TITLE:
        raise _wrong(f"title = {title!r}"[:80], _("a text of at most {count} characters").format(count=LONGEST_TITLE))
    if not isinstance(parts, list) or not 1 <= len(parts) <= MOST_PARTS:
        said = len(parts) if isinstance(parts, list) else repr(parts)[:40]
        raise _wrong(
            _("parts: {count}").format(count=said), _("{least} to {most} parts").format(least=1, most=MOST_PARTS)
        )
    return Course(_plain(title).strip(), tuple(map(_part, parts, range(1, len(parts) + 1))))


def _part(held: Any, number: int) -> Part:
    where = _("part {number}").format(number=number)
    if not isinstance(held, Mapping):
        raise _wrong(f"{where}: {held!r}"[:80], ", ".join(FIELDS))
    for name, value in held.items():
        _check_field(where, name, value)
    texts = {name: _plain(held.get(name, "")).strip() for name in (*TITLES, *TEXTS)}
    if texts["row"] and texts["interactive"]:
        found = f"{where}: row = {texts['row']!r}, interactive = {texts['interactive']!r}"
        raise _wrong(found[:120], _("a row or an interactive"))
    if texts["row"]:
        texts["row"] = rows.find(texts["row"]).id
    if not any(texts.values()):
        raise _wrong(where, _("a row, an interactive, a heading or a text"))
    return Part(**texts, minutes=held.get("minutes", 0), show=tuple(held.get("show", ())))


def _check_field(where: str, name: Any, value: Any) -> None:
    """Check a field of a part. Raises UserError."""
    if name == "minutes":
        is_right = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_PLAN
        expected = _("a number from {low} to {high}").format(low=0, high=LONGEST_PLAN)
    elif name == "show":
        is_right = isinstance(value, list) and all(each in SECTIONS for each in value)
        expected = ", ".join(SECTIONS)
    elif name in FIELDS:
        most = LONGEST_TEXT if name in TEXTS else LONGEST_TITLE
        is_right = isinstance(value, str) and len(value) <= most
        expected = _("a text of at most {count} characters").format(count=most)
        if name == "interactive" and is_right and value:
            is_right, expected = rows.NAME.fullmatch(value) is not None, _("the name of an interactive")
    else:
        found = _("no field is named {name!r}").format(name=str(name)[:40])
        raise _wrong(f"{where}: {found}", ", ".join(FIELDS))
    if not is_right:
        raise _wrong(f"{where}: {name} = {value!r}"[:80], expected)


def _plain(text: str) -> str:
    return CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _wrong(found: str, expected: str) -> UserError:
    return UserError("course", found, expected=expected, fix="souron lecture --help", exit=3)


def markdown(text: str) -> str:
    """Render Markdown (CommonMark) as HTML: paragraphs, emphasis, lists, code, links to pages.

    HTML in it is shown as text; headings and images are not rendered.
    """
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False})
    reader.disable(["image", "heading", "lheading", "html_block", "html_inline", "hr"])
    reader.validateLink = lambda url: LINK.fullmatch(url) is not None  # type: ignore[method-assign]
    return str(reader.render(text))


def called(title: str) -> str:
    """Return the file name of a course, without the extension."""
    return re.sub(r"[^\w]+", "-", title.lower())[:40].strip("-_") or "course"


def place(folder: Path, name: str) -> Path | None:
    """Return the path of a saved course; None where there is none."""
    path = folder / f"{name}.toml"
    return path if NAME.fullmatch(name) and path.is_file() else None


def save(course: Course, folder: Path, name: str = "") -> str:
    """Write a course to ``folder``, replacing the one of that name; return its name.

    Without a name it becomes a new file. Raises UserError.
    """
    path = place(folder, name) or files.free(folder, called(course.title), ".toml")
    files.write_text(path, course.as_toml())
    return path.stem


def saved(folder: Path) -> dict[str, Course]:
    """Return the courses in a folder by name; unreadable files are left out."""
    there = {}
    for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem)[:MOST_COURSES]:
        try:
            there[path.stem] = load(path)
        except UserError:
            continue
    return there


def shipped() -> dict[str, Course]:
    """Return the courses that come with souron, by name, in the reader's language."""
    folders = files.package_folders(f"lecture/courses/{language()}")
    return {path.stem: load(path) for folder in folders for path in sorted(folder.glob("*.toml"))}


def bring(path: Path, folder: Path) -> str:
    """Copy a course's file into ``folder``, unless an equal course is there; return its name.

    ``path`` may also name a course that comes with souron, of which nothing is copied. Raises
    UserError.
    """
    if not path.exists() and str(path) in shipped():
        return str(path)
    course = load(path)
    same = [name for name, other in saved(folder).items() if other == course]
    return same[0] if same else save(course, folder)
