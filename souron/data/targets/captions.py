"""Captions: descriptions of an image or a film in words, each in a language; a ``ListColumn`` of
tuples of ``Caption``."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from souron.data import texts
from souron.data.dataset import Dataset
from souron.data.quality.findings import MANY, TINY, Finding
from souron.data.target import Target
from souron.data.targets.boxes import first_of
from souron.utils.messages import N_, _, language

LONGEST = 1_000  # characters of a caption; the rest is cut off
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[ァ-ヺー]+|[一-鿿々]+|[ぁ-ゖ]+|\d+", re.IGNORECASE)


class Caption(NamedTuple):
    """One sentence about an image. The target of an image is a tuple of captions."""

    text: str
    language: str  # "en", "ja"; "" if unknown


def language_of(text: str) -> str:
    """Return ``"ja"`` if the text has kana or kanji, ``"en"`` for other Latin letters, else ``""``.

    >>> language_of("二羽の鳥"), language_of("two birds"), language_of("12")
    ('ja', 'en', '')
    """
    names = [unicodedata.name(letter, "") for letter in text[:LONGEST] if letter.isalpha()]
    if any(name.startswith(("HIRAGANA", "KATAKANA", "CJK")) for name in names):
        return "ja"
    return "en" if any(name.startswith("LATIN") for name in names) else ""


def are_captions(target: Any) -> bool:
    """Return whether a target is a non-empty tuple of captions."""
    return isinstance(target, tuple) and bool(target) and isinstance(target[0], Caption)


def in_language(captions: Sequence[Caption], language: str) -> tuple[Caption, ...]:
    """Return the captions in that language."""
    return tuple(caption for caption in captions if caption.language == language)


def words(text: str) -> list[str]:
    """Split a text into words in lower case; Japanese is split where the script changes.

    >>> words("A red bird. 草の上の赤いペンギン")
    ['a', 'red', 'bird', '草', 'の', '上', 'の', '赤', 'い', 'ペンギン']
    """
    return WORD.findall(text.lower())


class Captions(Target):
    """Captions of each case; one class each if the data set defines it."""

    heading = N_("Captions")
    one_class = False
    every_class = True

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return are_captions(first_of(cases))

    @property
    def number(self) -> int:
        return sum(map(len, self.cases.target))

    def counts(self) -> list[int]:
        return [sum(1 for _row in self.of_class(k)) for k in range(len(self.cases.classes))]

    def of_class(self, label: int) -> Iterator[int]:
        objects = self.cases.columns.get("object")
        name = self.cases.classes[label]
        yield from (row for row in range(len(self.cases)) if not objects or objects[row] == name)

    def words(self, row: int) -> str:
        """Return a caption, in the reader's language if there is one."""
        told: tuple[Caption, ...] = self.cases.target[row]
        return texts.shown((*in_language(told, language()), *told)[0].text)

    def findings(self) -> Iterator[Finding]:
        """Find captions that describe nothing particular, because all or most cases share them."""
        target, count = self.cases.target, len(self.cases)
        if count > 1 and len(set(target)) == 1:
            yield _shared(_("all {count} images have the same caption").format(count=count))
            return
        captions = Counter(one.text for several in target for one in {*several})
        text, most = captions.most_common(1)[0]
        if most > max(TINY, MANY * count):
            message = _("{count} of {all} images have the caption {text!r}")
            yield _shared(message.format(count=most, all=count, text=texts.shown(text)))


def _shared(message: str) -> Finding:
    fix = _("captions that say how the images differ")
    return Finding("one caption", "warning", (), message, fix)
