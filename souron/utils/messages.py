"""Messages in two languages, and errors that suggest a fix."""

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

import souron

LANGUAGES = ("en", "ja")
LANGUAGE_NAMES = {"en": "English", "ja": "日本語"}  # each in its own language
_here: ContextVar[str] = ContextVar("language", default="")  # set by ``use_language``


def language() -> str:
    """Return ``"en"`` or ``"ja"``, from ``use_language``, SOURON_LANG, the locale, else English."""
    if _here.get():
        return _here.get()
    named = (os.environ.get(name) for name in ("SOURON_LANG", "LC_ALL", "LC_MESSAGES", "LANG"))
    wish = next(filter(None, named), None) or locale.getlocale()[0] or "en"
    return "ja" if wish.lower().startswith("ja") else "en"


def set_language(wish: str) -> None:
    """Set the language of all messages in this process and its children."""
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
    """Set the language within the block, for this thread or task alone."""
    token = _here.set(wish)
    try:
        yield
    finally:
        _here.reset(token)


@lru_cache
def _translations(wish: str) -> gettext.NullTranslations:
    """Return all catalogs of a language: the core's, and one of each distribution beside it."""
    all_catalogs = gettext.NullTranslations()
    for root in souron.__path__:
        for file in sorted(Path(root, "locale", wish, "LC_MESSAGES").glob("*.mo")):
            with file.open("rb") as opened:
                all_catalogs.add_fallback(gettext.GNUTranslations(opened))
    return all_catalogs


class Message(str):
    """A text that ``again`` can translate anew: returned by ``_`` and by this class's own methods.

    Other operations give a plain str.

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
    """Apply ``how`` and record the call in ``recipe``.

    Only numbers and texts are stored; other objects as their text, since an exception would keep
    alive all that its traceback refers to.
    """
    made = Message(how(*given, **fields))
    kept = {name: _kept(value) for name, value in fields.items()}
    made.recipe = (how, tuple(map(_kept, given)), kept)
    return made


def _kept(thing: Any) -> Any:
    return thing if isinstance(thing, str | Number | tuple) else str(thing)


def _translated(message: str) -> str:
    return _translations(language()).gettext(message)


def _(message: str) -> str:
    """Translate a message to the reader's language.

    Fill its ``{fields}`` with ``.format`` afterwards.
    """
    return _made(_translated, message)


def again(text: Any) -> Any:
    """Translate a text made of messages to the current language; return anything else unchanged."""
    if isinstance(text, tuple):
        return tuple(map(again, text))
    if not isinstance(text, Message) or text.recipe is None:
        return text
    how, given, fields = text.recipe
    return how(*map(again, given), **{name: again(value) for name, value in fields.items()})


def translated(texts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Translate texts to the other languages: language -> name -> text, where it differs.

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
    """Join sentences into one text that ``again`` can translate."""
    return Message(" ").join(texts)


def listed(names: Sequence[str], most: int) -> str:
    """Join the first ``most`` names; an ellipsis says that there are more.

    >>> listed(["cat", "dog", "owl"], 2)
    'cat, dog, …'
    """
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def N_(message: str) -> str:
    """Mark a message that ``_`` translates later, when it is shown."""
    return message


class Caution(UserWarning):
    """A warning about a result, which the command line shows as one line."""


class UserError(ValueError):
    """An error that a user can fix: what was found, what was expected, what to do.

    ``code`` is the same in every language; ``exit`` is the command line's exit code (2 wrong usage,
    3 data or files, 4 machine: memory, disk, missing fetch, 5 refused).
    """

    def __init__(self, code: str, found: str, *, expected: str = "", fix: str = "", exit: int = 2) -> None:
        super().__init__(found)
        self.code, self.found, self.expected, self.fix, self.exit = code, found, expected, fix, exit

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it travel between processes."""
        return type(self), (self.code, self.found), vars(self)

    def as_json(self) -> dict[str, str]:
        """Return what programs read."""
        return {"code": self.code, "found": self.found, "expected": self.expected, "try": self.fix}

    def __str__(self) -> str:
        lines = [f"[{self.code}] {self.found}"]
        if self.expected:
            lines.append(_("  expected: {what}").format(what=self.expected))
        if self.fix:
            lines.append(_("  try:      {what}").format(what=self.fix))
        return "\n".join(lines)


def near(name: str, known: Sequence[str]) -> str:
    """Return the most similar names, or all."""
    return ", ".join(difflib.get_close_matches(name, known, 3, 0.6) or known)


def unknown_option(name: str, known: Sequence[str], fix: str = "") -> UserError:
    return UserError("option", _("no option is named {name!r}").format(name=name), expected=near(name, known), fix=fix)
