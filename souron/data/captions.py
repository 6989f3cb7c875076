"""What a picture shows, in words: one or several captions, each in a language."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

LONGEST = 1_000  # letters of a caption; what follows is cut off
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[ァ-ヺー]+|[一-鿿々]+|[ぁ-ゖ]+|\d+", re.IGNORECASE)


class Caption(NamedTuple):
    """One sentence about a picture. What a picture is captioned with is a tuple of them."""

    text: str
    language: str  # "en", "ja"; "" where it is not known


def language_of(text: str) -> str:
    """``"ja"`` where kana or kanji stand in it, ``"en"`` for other Latin letters, else ``""``.

    >>> language_of("二羽の鳥"), language_of("two birds"), language_of("12")
    ('ja', 'en', '')
    """
    names = [unicodedata.name(letter, "") for letter in text[:LONGEST] if letter.isalpha()]
    if any(name.startswith(("HIRAGANA", "KATAKANA", "CJK")) for name in names):
        return "ja"
    return "en" if any(name.startswith("LATIN") for name in names) else ""


def are_captions(target: Any) -> bool:
    """Whether that is what a picture is captioned with."""
    return isinstance(target, tuple) and bool(target) and isinstance(target[0], Caption)


def in_language(captions: Sequence[Caption], language: str) -> tuple[Caption, ...]:
    """Those in that language."""
    return tuple(caption for caption in captions if caption.language == language)


def words(text: str) -> list[str]:
    """Its words in lower case; of Japanese, runs of letters of one sort.

    >>> words("A red bird. 草の上の赤いペンギン")
    ['a', 'red', 'bird', '草', 'の', '上', 'の', '赤', 'い', 'ペンギン']
    """
    return WORD.findall(text.lower())
