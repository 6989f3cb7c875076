"""Captions: what a picture shows, in words, each with its language.

The target of a case is a tuple of ``Caption``, in a ``ListColumn``.
"""

from typing import NamedTuple

from souron.data.texts import HAN, KANA, LATIN

JAPANESE, ENGLISH = "ja", "en"


class Caption(NamedTuple):
    text: str
    language: str  # "en", "ja"; "" where it is not known


def language_of(text: str) -> str:
    """ "ja" where kana or kanji stand in it, "en" for other Latin text, "" for neither."""
    if KANA.search(text) or HAN.search(text):
        return JAPANESE
    return ENGLISH if LATIN.search(text) else ""
