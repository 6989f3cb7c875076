"""What souron says to people: two languages, and errors that say what to do next."""

import difflib
import gettext
import locale
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from numbers import Number
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "ja")
LANGUAGE_NAMES = {"en": "English", "ja": "日本語"}  # of the languages, each in itself
_here: ContextVar[str] = ContextVar("language", default="")  # what ``use_language`` chose


def language() -> str:
    """``"en"`` or ``"ja"``: ``use_language`` first, then SOURON_LANG, the locale, English."""
    if _here.get():
        return _here.get()
    named = (os.environ.get(name) for name in ("SOURON_LANG", "LC_ALL", "LC_MESSAGES", "LANG"))
    wish = next(filter(None, named), None) or locale.getlocale()[0] or "en"
    return "ja" if wish.lower().startswith("ja") else "en"


def set_language(wish: str) -> None:
    """Choose the language of everything said from here on, in this process and its children."""
    if wish not in LANGUAGES:
        raise UserError(
            "language",
            _("no such language: {wish}").format(wish=wish),
            expected=", ".join(LANGUAGES),
            fix="souron --lang ja ...",
        )
    os.environ["SOURON_LANG"] = wish


@contextmanager
def use_language(wish: str) -> Iterator[None]:
    """That language within the block, in this thread or task alone: a server answers many."""
    token = _here.set(wish)
    try:
        yield
    finally:
        _here.reset(token)


@lru_cache
def _translations(wish: str) -> gettext.NullTranslations:
    return gettext.translation(
        "souron", Path(__file__).parents[1] / "locale", languages=[wish], fallback=True
    )


class Message(str):
    """A text that ``again`` says in another language: what ``_`` returns, and what its own methods
    make of it. Whatever else is done to it makes a plain text.

    >>> again(_("{count} cases").format(count=3))
    '3 cases'
    """

    recipe: tuple[Callable[..., str], tuple[Any, ...], dict[str, Any]] | None = None

    def format(self, /, *given: Any, **fields: Any) -> "Message":
        return _made(str.format, self, *given, **fields)

    def join(self, parts: Iterable[str]) -> "Message":
        return _made(str.join, self, tuple(parts))

    def removeprefix(self, prefix: str) -> "Message":
        return _made(str.removeprefix, self, prefix)


def _made(how: Callable[..., str], /, *given: Any, **fields: Any) -> Message:
    """What ``how`` makes of all that, with the recipe. Numbers and texts are kept in it; of other
    things their text, for an exception would hold all that it was raised among."""
    made = Message(how(*given, **fields))
    kept = {name: _kept(value) for name, value in fields.items()}
    made.recipe = (how, tuple(map(_kept, given)), kept)
    return made


def _kept(thing: Any) -> Any:
    return thing if isinstance(thing, str | Number | tuple) else str(thing)


def _translated(message: str) -> str:
    return _translations(language()).gettext(message)


def _(message: str) -> str:
    """The message in the reader's language. Fill its ``{fields}`` with ``.format`` afterwards."""
    return _made(_translated, message)


def again(text: Any) -> Any:
    """A text that was made of messages, in the language that is spoken now; anything else as it
    is."""
    if isinstance(text, tuple):
        return tuple(map(again, text))
    if not isinstance(text, Message) or text.recipe is None:
        return text
    how, given, fields = text.recipe
    return how(*map(again, given), **{name: again(value) for name, value in fields.items()})


def translated(texts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What the other languages say in place of these texts, where it differs, by language and name.

    >>> translated({"text": _("done"), "folder": "runs"})
    {'ja': {'text': '完了'}}
    """
    found = {}
    for wish in LANGUAGES:
        if wish != language():
            with use_language(wish):
                said = {name: again(text) for name, text in texts.items()}
            found[wish] = {name: text for name, text in said.items() if text != texts[name]}
    return {wish: said for wish, said in found.items() if said}


def sentences(texts: Iterable[str]) -> str:
    """One after the other, as a text that ``again`` takes."""
    return Message(" ").join(texts)


def N_(message: str) -> str:
    """Marks a message that ``_`` translates later, when it is shown."""
    return message


class Caution(UserWarning):
    """What is to be known before a result is believed: a warning that the command line shows as a
    line."""


class UserError(ValueError):
    """An error that a person can mend: what was found, what was expected, what to do.

    ``code`` is the same in every language; ``exit`` is the command line's exit code
    (2 wrong usage, 3 data or files, 4 machine: memory, disk, missing fetch, 5 refused).
    """

    def __init__(
        self, code: str, found: str, *, expected: str = "", fix: str = "", exit: int = 2
    ) -> None:
        super().__init__(found)
        self.code, self.found, self.expected, self.fix, self.exit = code, found, expected, fix, exit

    def __str__(self) -> str:
        lines = [f"[{self.code}] {self.found}"]
        if self.expected:
            lines.append(_("  expected: {what}").format(what=self.expected))
        if self.fix:
            lines.append(_("  try:      {what}").format(what=self.fix))
        return "\n".join(lines)


def near(name: str, known: Sequence[str]) -> str:
    """The names most like it, or all."""
    return ", ".join(difflib.get_close_matches(name, known, 3, 0.6) or known)


def unknown_option(name: str, known: Sequence[str], fix: str = "") -> UserError:
    return UserError(
        "option",
        _("no option is named {name!r}").format(name=name),
        expected=near(name, known),
        fix=fix,
    )
