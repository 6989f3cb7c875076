"""Find the words of an answer that occur in none of its source passages.

Only words are compared. A word that occurs may still be wrong, such as a drug that the patient must
not get: read the passages first.
"""

import re
from collections.abc import Iterable

ASIAN = r"\u3400-\u9fff\uf900-\ufaff\u30a1-\u30ff"  # kanji, katakana; hiragana is grammar
WORD = re.compile(rf"[{ASIAN}]+|[^\W_{ASIAN}\u3040-\u309f]+(?:[.,:/-]\d+)*")
BINDING = """
a about after all also an and any as at be been before being between both but by can could did
do does during each for from had has have having he her here his how i if in into is it its just
may might more most must my no not of on only or other our over s same shall she should so some
such t than that the their then there these they this those to under until very was we were what
when where which who whom whose why will with without would yes you your are am
"""  # function words, which need no support
BINDS = frozenset(BINDING.split())
ENDS = ("'s", "ing", "ed", "es", "s", "ly")


def unsupported(answer: str, passages: Iterable[str]) -> list[tuple[int, int]]:
    """Return the (first, last) character spans of words that occur in no passage.

    Function words, and the endings of English words, are ignored.
    """
    text = "\n".join(passages).casefold()
    stems = {_stem(word) for word in WORD.findall(text)}
    return [match.span() for match in WORD.finditer(answer) if not _stands(match.group().casefold(), text, stems)]


def _stands(word: str, text: str, stems: set[str]) -> bool:
    if word in BINDS or _stem(word) in stems:
        return True
    return bool(re.match(rf"[{ASIAN}]", word)) and word in text


def _stem(word: str) -> str:
    for end in ENDS:
        if word.endswith(end) and len(word) - len(end) >= 3 and word[0].isascii():
            return word[: -len(end)]
    return word


def marked(answer: str, spans: Iterable[tuple[int, int]], before: str, after: str) -> str:
    """Wrap the words of these spans in ``before`` and ``after``."""
    parts, at = [], 0
    for first, last in spans:
        parts += [answer[at:first], before, answer[first:last], after]
        at = last
    return "".join([*parts, answer[at:]])
