"""Captions: descriptions of an image in words, each in a language."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

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
