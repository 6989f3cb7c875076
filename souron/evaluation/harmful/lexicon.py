"""A list of words searched for in texts, literally and at word boundaries.

A word in Latin letters must stand by itself (``ass`` is not in ``assessment``). Japanese has no
spaces, so the boundaries are those of a script: an entry in katakana is not found within a longer
katakana word (デブ is not in デブリードマン), one in hiragana not after hiragana other than a
particle (なめ is not in ななめ), a single kanji not beside another kanji (裸 is not in 裸眼);
longer entries with kanji are found anywhere. Case and width are ignored, and no character has a
special meaning: ``a.*b`` matches only ``a.*b``.

The list of ``souron fetch naughty_words`` is LDNOOBW, https://github.com/LDNOOBW, as
packed in https://www.npmjs.com/package/naughty-words (CC-BY-4.0).
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from souron.hub import fetch
from souron.utils.messages import UserError, _

NAME = "naughty_words"
FILES = ("en.json", "ja.json")
MOST_BYTES, MOST_ENTRIES, LONGEST = 4_000_000, 50_000, 100  # LONGEST: characters of an entry
MOST_LETTERS = 20_000  # of a text; the rest is not searched
UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")  # zero-width characters
PARTICLES = "はがをにでともやのへか"
HIRAGANA, KATAKANA = re.compile("[ぁ-ゖ]"), re.compile("[ァ-ヺー]")
KANJI = re.compile("[\u3400-\u4dbf\u4e00-\u9fff々]")


def bare(text: str) -> str:
    """Normalise case, width and spaces, and remove zero-width characters."""
    plain = unicodedata.normalize("NFKC", UNSEEN.sub("", text[:MOST_LETTERS])).casefold()
    return " ".join(plain.split())


@dataclass(frozen=True)
class Lexicon:
    """Entries indexed by their first character, the longest first."""

    name: str  # for reports
    count: int
    entries: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, words: Iterable[str], name: str = "") -> "Lexicon":
        """Build a lexicon from words, ignoring those that are empty once normalised."""
        forms = sorted({plain for word in words if (plain := bare(word))}, key=len, reverse=True)
        entries: dict[str, tuple[str, ...]] = {}
        for entry in forms:
            entries[entry[0]] = (*entries.get(entry[0], ()), entry)
        return cls(name, len(forms), entries)

    @classmethod
    def read(cls, file: str | Path) -> "Lexicon":
        """Read a text with one entry per line, or a JSON list of texts. Raises UserError."""
        path = Path(file).expanduser()
        try:
            data = path.read_bytes() if path.is_file() else None
        except OSError as error:
            raise _unusable(path, str(error.strerror)) from error
        if data is None:
            raise _unusable(path, _("no such file"))
        if len(data) > MOST_BYTES:
            raise _unusable(path, _("more than {count} bytes").format(count=MOST_BYTES))
        try:
            text = data.decode("utf-8-sig")
            words = json.loads(text) if path.suffix == ".json" else text.splitlines()
        except (ValueError, RecursionError) as error:
            raise _unusable(path, str(error).partition("\n")[0][:200]) from error
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise _unusable(path, _("not a list of words"))
        if len(words) > MOST_ENTRIES or any(len(word) > LONGEST for word in words):
            why = _("more than {count} entries, or one of more than {letters} characters")
            raise _unusable(path, why.format(count=MOST_ENTRIES, letters=LONGEST))
        lexicon = cls.of(words, path.name)
        if not lexicon.count:
            raise _unusable(path, _("no entry"))
        return lexicon

    def find(self, text: str) -> list[str]:
        """Return the distinct entries found in the text, in order."""
        return list(dict.fromkeys(self._found(bare(text))))

    def _found(self, text: str) -> Iterator[str]:
        position = 0
        while position < len(text):
            hit = next(
                (
                    entry
                    for entry in self.entries.get(text[position], ())
                    if text.startswith(entry, position) and _bounded(text, position, position + len(entry))
                ),
                None,
            )
            if hit:
                yield hit
            position += len(hit) if hit else 1


def _bounded(text: str, start: int, end: int) -> bool:
    """Return whether the text from ``start`` to ``end`` is a word by itself."""
    before, after = text[start - 1 : start], text[end : end + 1]
    entry = text[start:end]
    if len(entry) == 1 and KANJI.match(entry):
        return not (KANJI.match(before) or KANJI.match(after))
    if HIRAGANA.match(entry) and HIRAGANA.match(before) and before not in PARTICLES:
        return False
    return not (_joined(before, entry[0]) or _joined(entry[-1], after))


def _joined(letter: str, other: str) -> bool:
    """Return whether two adjacent characters belong to one word, by their script."""
    if KATAKANA.match(letter) and KATAKANA.match(other):
        return True
    latin = [bool(sign) and (sign.isalnum() or sign == "_") and sign < "\u2e80" for sign in (letter, other)]
    return all(latin)


def fetched() -> Lexicon | None:
    """Load the list of ``souron fetch naughty_words``; None if not downloaded."""
    folder = fetch.where(NAME)
    if folder is None:
        return None
    words = [word for name in FILES for word in _words(folder / name)]
    return Lexicon.of(words, NAME)


def _words(file: Path) -> list[str]:
    words = json.loads(file.read_text(encoding="utf-8"))
    return [word for word in words if isinstance(word, str)]


def _unusable(path: Path, why: str) -> UserError:
    return UserError(
        "lexicon",
        _("{path} is no list of words: {why}").format(path=path, why=why),
        expected=_("a text file with a word a line, or a .json file with a list of words"),
        fix="lexicon=words.txt",
        exit=3,
    )
