"""Multiple-choice questions."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Self

from souron.kinds import files
from souron.kinds.codecs import limits
from souron.kinds.kind import Kind
from souron.utils import units
from souron.utils.messages import N_, _

MOST_OPTIONS = 10
MOST_LETTERS = 50_000  # characters of a question with its options
# "A) ", "(b). ", "1: ", "イ、", "- "
MARK = re.compile(r"\s*(?:\(?[A-Ja-j]\s*[).:．）]|\(?\d{1,2}\s*[).:．）]|[ア-コ][、.．）)]|[-*・])\s*")
EXAMPLE = '{"question": "...", "options": ["...", "..."]}'


@dataclass(frozen=True)
class Question(Kind):
    """A question with its options. As text: the question, then a line for each option."""

    widget = "question"
    noun = N_("exam question")
    suffix = ".json"
    formats = (".json", ".txt")

    text: str
    options: tuple[str, ...]
    subject: str = ""
    file: str = ""

    def __post_init__(self) -> None:
        options = tuple(option.strip() for option in self.options)
        object.__setattr__(self, "options", options)
        expected = _("a question and 2 to {most} options, no two alike").format(most=MOST_OPTIONS)
        if not 2 <= len(options) <= MOST_OPTIONS:
            raise files.wrong(_("{count} options").format(count=len(options)), expected)
        if not self.text.strip() or not all(options):
            raise files.wrong(_("an empty question or option"), expected)
        if len(set(options)) < len(options):
            twice = next(option for option in options if options.count(option) > 1)
            raise files.wrong(_("the option {option!r} twice").format(option=twice[:60]), expected)
        letters = len(self.text) + sum(map(len, options))
        if letters > MOST_LETTERS:
            raise files.wrong(
                _("a question of {count} characters").format(count=units.count(letters)),
                _("at most {count}").format(count=units.count(MOST_LETTERS)),
            )

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        return next(cls.each(path, **how))

    @classmethod
    def each(cls, path: Path, **how: Any) -> Iterator[Self]:
        """Yield the question of a text file, or the questions of a JSON file."""
        if path.suffix.lower() == ".txt":
            yield cls.of_text(files.words(path), str(path))
            return
        told = files.parsed(path)
        every = told if isinstance(told, list) else [told]
        for number, one in enumerate(every, 1):
            name = str(path) if one is told else f"{path}#{number}"
            yield cls(*_fields(one, path), file=name)
        if not every:
            raise _no_question(path)

    @classmethod
    def of_text(cls, text: str, file: str = "") -> Self:
        """Parse a question followed by its options.

        Options are the lines with marks such as "A)", or, where no line has one, all lines after
        the first empty line, else after the first line. Raises UserError.
        """
        lines = text.strip()[: 2 * MOST_LETTERS].splitlines()
        first = next((i for i, line in enumerate(lines) if i and MARK.match(line)), None)
        if first is None:
            blank = next((i for i, line in enumerate(lines) if not line.strip()), 0)
            first = blank + 1
        options = [MARK.sub("", line, count=1) for line in lines[first:] if line.strip()]
        return cls("\n".join(lines[:first]).strip(), tuple(options), file=file)

    def save(self, path: Path) -> None:
        files.ending(path, (".json",))
        files.write(path, json.dumps(self.as_json(), ensure_ascii=False, indent=1).encode())

    def as_json(self) -> dict[str, Any]:
        return {"question": self.text, "options": list(self.options), "subject": self.subject}

    def __str__(self) -> str:
        pairs = zip("ABCDEFGHIJ", self.options, strict=False)
        return "\n".join([self.text, *(f"{letter}) {option}" for letter, option in pairs)])

    def _repr_html_(self) -> str:
        options = "".join(f"<li>{escape(option)}</li>" for option in self.options)
        return f"<p style='white-space:pre-wrap'>{escape(self.text)}</p><ol type='A'>{options}</ol>"


def _fields(thing: Any, path: Path) -> tuple[str, tuple[str, ...], str]:
    """Return text, options and subject of a JSON object. Raises UserError."""
    if not isinstance(thing, dict):
        raise _no_question(path)
    text, options, subject = (thing.get(name) for name in ("question", "options", "subject"))
    if isinstance(options, dict):  # {"A": "...", "B": "..."}
        options = list(options.values())
    if not isinstance(text, str) or not isinstance(options, list):
        raise _no_question(path)
    if not all(isinstance(option, str) for option in options):
        raise _no_question(path)
    return text, tuple(options), subject if isinstance(subject, str) else ""


def _no_question(path: Path) -> Exception:
    return limits.trouble(path, "not a question", _("no question with its options"), EXAMPLE)
