"""Questions about a picture with their answers: several a picture, each in a language.

Antol and others: VQA: Visual Question Answering (2015). https://arxiv.org/abs/1505.00468
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from souron.data.captions import language_of

LONGEST = 1_000  # letters of a question; a longer one is refused
LONGEST_ANSWER = 200  # letters
MOST = 1_000  # questions of a picture
YES_NO = "yes/no"
NUMBER, OTHER = "number", "other"  # with YES_NO the sorts of VQA, where nobody says which
POLAR = frozenset(("yes", "no", "はい", "いいえ"))
ENDS = re.compile(r"[\s.。!！]+$")


class PictureQuestion(NamedTuple):
    """One question. What a picture is asked is a tuple of them."""

    question: str
    answer: str
    language: str  # "en", "ja"; "" where it is not known
    sort: str = ""  # "colour", "count", "yes/no", ...


def are_picture_questions(target: Any) -> bool:
    """Whether that is what a picture is asked."""
    return isinstance(target, tuple) and bool(target) and isinstance(target[0], PictureQuestion)


def told(question: str, answer: str, language: str = "", sort: str = "") -> PictureQuestion:
    """As people write it: the answer in one form, the language and the sort guessed where they are
    not told.

    >>> told("How many birds?", " Two. ").answer, told("鳥はいますか。", "はい").sort
    ('two', 'yes/no')
    """
    short = usual(answer)
    return PictureQuestion(
        question.strip(), short, language or language_of(question), sort or sort_of(short)
    )


def usual(answer: str) -> str:
    """In small letters, one space between words, without a full stop: "Yes." is "yes"."""
    text = unicodedata.normalize("NFKC", answer[: 2 * LONGEST_ANSWER])
    return ENDS.sub("", " ".join(text.split())).lower()


def sort_of(answer: str) -> str:
    """The sort of a question by its answer, as in VQA."""
    if answer in POLAR:
        return YES_NO
    return NUMBER if answer.isdecimal() else OTHER


def known_answers(asked: Sequence[Sequence[PictureQuestion]], most: int) -> tuple[str, ...]:
    """The most frequent answers, so many at most; of equally frequent ones in their order."""
    count: dict[str, int] = {}
    for some in asked:
        for one in some:
            count[one.answer] = count.get(one.answer, 0) + 1
    return tuple(sorted(count, key=lambda answer: (-count[answer], answer))[:most])
