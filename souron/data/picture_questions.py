"""Questions about an image with their answers: several per image, each in a language.

Antol and others: VQA: Visual Question Answering (2015). https://arxiv.org/abs/1505.00468
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from souron.data.captions import language_of

LONGEST = 1_000  # characters of a question; longer ones are rejected
LONGEST_ANSWER = 200  # characters
MOST = 1_000  # questions of an image
YES_NO = "yes/no"
NUMBER, OTHER = "number", "other"  # the sorts of VQA (with YES_NO), used if none is given
POLAR = frozenset(("yes", "no", "はい", "いいえ"))
ENDS = re.compile(r"[\s.。!！]+$")


class PictureQuestion(NamedTuple):
    """One question with its answer. The target of an image is a tuple of them."""

    question: str
    answer: str
    language: str  # "en", "ja"; "" if unknown
    sort: str = ""  # "colour", "count", "yes/no", ...


def are_picture_questions(target: Any) -> bool:
    """Return whether a target is a non-empty tuple of questions."""
    return isinstance(target, tuple) and bool(target) and isinstance(target[0], PictureQuestion)


def told(question: str, answer: str, language: str = "", sort: str = "") -> PictureQuestion:
    """Build a question from raw texts: the answer is normalised, a missing language and sort are
    guessed.

    >>> told("How many birds?", " Two. ").answer, told("鳥はいますか。", "はい").sort
    ('two', 'yes/no')
    """
    short = usual(answer)
    return PictureQuestion(
        question.strip(), short, language or language_of(question), sort or sort_of(short)
    )


def usual(answer: str) -> str:
    """Normalise an answer: lower case, single spaces, no full stop at the end: "Yes." becomes
    "yes"."""
    text = unicodedata.normalize("NFKC", answer[: 2 * LONGEST_ANSWER])
    return ENDS.sub("", " ".join(text.split())).lower()


def sort_of(answer: str) -> str:
    """Return the sort of a question by its answer, as in VQA."""
    if answer in POLAR:
        return YES_NO
    return NUMBER if answer.isdecimal() else OTHER


def known_answers(asked: Sequence[Sequence[PictureQuestion]], most: int) -> tuple[str, ...]:
    """Return the ``most`` most frequent answers; ties are in alphabetical order."""
    count: dict[str, int] = {}
    for some in asked:
        for one in some:
            count[one.answer] = count.get(one.answer, 0) + 1
    return tuple(sorted(count, key=lambda answer: (-count[answer], answer))[:most])
