"""Texts as cases: the types of a data set's input.

A case's input is a plain text ``str``, a conversation ``tuple[Turn, ...]``, a ``Preference``, a
``Question``, or the words ``tuple[str, ...]`` of a sentence, in a ``ListColumn``.
"""

import re
import unicodedata
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

from souron.data.dataset import Dataset, ListColumn
from souron.kinds.chat import ROLES, Turn
from souron.utils.messages import _

PIECE = 6_000  # characters of a piece of a long text, approximate
LONGEST = 2_000_000  # characters of one case
SHOWN = 60  # characters of a text in a message
SURROGATE = re.compile("[\ud800-\udfff]")
KANA = re.compile("[\u3041-\u30fa\u30fc-\u30ff\uff66-\uff9d]")
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff々]")
LATIN = re.compile("[A-Za-z]")


class Preference(NamedTuple):
    """A prompt with two answers, one of which is preferred."""

    prompt: tuple[Turn, ...]
    chosen: str
    rejected: str


class Question(NamedTuple):
    """A multiple-choice question."""

    text: str
    options: tuple[str, ...]
    subject: str = ""


class Fault(Exception):
    """The reason why a case cannot be used."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def holds(cases: Dataset) -> bool:
    """Return whether the cases are texts of some kind."""
    first = next(iter(cases.input), None) if isinstance(cases.input, ListColumn) else None
    return isinstance(first, str) or (isinstance(first, tuple) and bool(first) and isinstance(first[0], str | tuple))


def plain(entry: Any) -> str:
    """Return a case's input as one readable text."""
    if isinstance(entry, str):
        return entry
    if isinstance(entry, Question):
        options = (f"{chr(65 + i)}. {option}" for i, option in enumerate(entry.options))
        return "\n".join((entry.text, *options))
    if isinstance(entry, Preference):
        return "\n".join((plain(entry.prompt), f"+ {entry.chosen}", f"- {entry.rejected}"))
    if entry and isinstance(entry[0], Turn):
        return "\n".join(f"{turn.role}: {turn.text}" for turn in entry)
    words = tuple(entry)
    return ("" if KANA.search("".join(words)) else " ").join(words)


def asked(entry: Any) -> str:
    """Return the text that must not occur in two parts: the prompt of conversations and
    preferences, else the whole input."""
    if isinstance(entry, Preference):
        return plain(entry.prompt)
    if isinstance(entry, tuple) and entry and isinstance(entry[0], Turn):
        last = max((i for i, turn in enumerate(entry) if turn.role == "assistant"), default=None)
        return plain(entry[:last] if last else entry)
    return plain(entry)


def bare(text: str) -> str:
    """Normalise a text for comparison: width, case, whitespace."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def digests(cases: Dataset) -> Iterator[bytes]:
    """Yield 16 bytes for the prompt of each case, equal if the prompts are."""
    for entry in cases.input:
        told = bare(asked(entry)).encode("utf-8", "surrogatepass")
        yield blake2b(told, digest_size=16).digest()


def language(text: str) -> str:
    """Return "ja" or "en" by the characters; "" if it has none of them."""
    kana, han, latin = (len(letters.findall(text[:5000])) for letters in (KANA, HAN, LATIN))
    if kana + han and (kana + han) * 4 > latin:
        return "ja"
    return "en" if latin else ""


def pieces(text: str, size: int = PIECE) -> list[str]:
    """Split a text into pieces of about ``size`` characters, at the ends of paragraphs if possible,
    else of lines or sentences. Joined they give the text; a short remainder is added to the last
    piece."""
    found = [""]
    for part in _breakable(text, size):
        if len(found[-1]) + len(part) > size and len(found[-1]) > size // 2:
            found.append("")
        found[-1] += part
    if len(found) > 1 and len(found[-1]) < size // 4:
        found[-2:] = ["".join(found[-2:])]
    return [piece for piece in found if piece.strip()]


def _breakable(text: str, size: int) -> Iterator[str]:
    """Yield paragraphs with the following whitespace; long ones as lines, sentences, or ``size``
    characters each."""
    for paragraph in re.findall(r"(?s).+?(?:\n\s*\n|\Z)", text):
        if len(paragraph) <= size:
            yield paragraph
            continue
        for line in re.findall(r"(?s).+?(?:\n|[。．！？]|[.!?]\s|\Z)", paragraph):
            yield from (line[i : i + size] for i in range(0, len(line), size))


def usable(text: Any, what: str = "") -> str:
    """Return a text that is usable for training. Raises Fault if it is of another type, empty or
    too long, or contains half of a surrogate pair or NUL."""
    named = f"{what}: " if what else ""
    if not isinstance(text, str):
        raise Fault("not a text", named + _("not a text: {thing}").format(thing=shown(text)))
    text = unicodedata.normalize("NFC", text)
    if not text.strip():
        raise Fault("empty", named + _("empty"))
    if SURROGATE.search(text):
        raise Fault("lone surrogate", named + _("half of a surrogate pair, which is no character"))
    if "\0" in text:
        raise Fault("binary", named + _("a NUL character"))
    if len(text) > LONGEST:
        count = len(text)
        raise Fault("too large", named + _("{count} characters").format(count=f"{count:,}"))
    return text


def worded(text: Any, what: str = "") -> str:
    """Return a usable text, as ``usable`` does, that has a letter or a number: one emoji teaches
    nothing."""
    text = usable(text, what)
    if not any(map(str.isalnum, text)):
        named = f"{what}: " if what else ""
        raise Fault("no words", named + _("no letter and no number: {text}").format(text=shown(text)))
    return text


def shown(thing: Any) -> str:
    """Return the beginning of something, for a message."""
    text = thing if isinstance(thing, str) else repr(thing)
    text = SURROGATE.sub("\ufffd", " ".join(text[: 4 * SHOWN].split()))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def turns(messages: Any, ends: str = "") -> tuple[Turn, ...]:
    """Convert messages ``{"role", "content"}`` to turns; a plain text becomes a user's turn. The
    content may be OpenAI's list of parts ``{"type": "text", "text": ...}``. Raises Fault if a role
    is missing or unknown, if two turns of one role follow each other, and if the last is not of the
    role ``ends``."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not isinstance(messages, list) or not messages:
        raise Fault("no messages", _("no list of messages: {thing}").format(thing=shown(messages)))
    found: list[Turn] = []
    for number, message in enumerate(messages, 1):
        what = _("message {number}").format(number=number)
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            told = _("no role") if role is None else _("the role {role}").format(role=shown(role))
            raise Fault("role", f"{what}: {told} ({', '.join(ROLES)})")
        if found and role == found[-1].role:
            raise Fault("order", _("{what}: two turns of {role} follow each other").format(what=what, role=role))
        if role == "system" and found:
            raise Fault("order", _("{what}: {role} comes first or not at all").format(what=what, role=role))
        found.append(Turn(role, usable(_content(message.get("content")), what)))
    if found[0].role == "assistant":
        raise Fault("order", _("the first turn is the assistant's, who has nothing to answer"))
    if ends and found[-1].role != ends:
        raise Fault("order", _("the last turn is not of {role}").format(role=ends))
    return tuple(found)


def _content(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    parts = [part.get("text") for part in content if isinstance(part, dict)]
    if not all(isinstance(part, str) for part in parts) or len(parts) < len(content):
        raise Fault("not a text", _("a message with something else than text"))
    return "".join(map(str, parts))
