"""What souron says to people: two languages, and errors that say what to do next."""

import difflib
import gettext
import locale
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

LANGUAGES = ("en", "ja")
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


def _(message: str) -> str:
    """The message in the reader's language. Fill its ``{fields}`` with ``.format`` afterwards."""
    return _translations(language()).gettext(message)


def N_(message: str) -> str:
    """Marks a message that ``_`` translates later, when it is shown."""
    return message


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
