"""Questions about an image with their answers: several per image, each in a language; a
``ListColumn`` of tuples of ``PictureQuestion``.

Antol and others: VQA: Visual Question Answering (2015). https://arxiv.org/abs/1505.00468
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from souron.data import texts
from souron.data.dataset import Dataset
from souron.data.quality.findings import Finding
from souron.data.targets.boxes import first_of
from souron.data.targets.captions import Captions, language_of
from souron.utils import units
from souron.utils.messages import N_, _, language

LONGEST = 1_000  # characters of a question; longer ones are rejected
LONGEST_ANSWER = 200  # characters
MOST = 1_000  # questions of an image
OFTEN, GIVEN_AWAY = 5, 0.75  # times a question is asked, and the share answered by its words
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
    return PictureQuestion(question.strip(), short, language or language_of(question), sort or sort_of(short))


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


class Questions(Captions):
    """Questions about each image; one class each if the data set defines it."""

    heading = N_("Questions")

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return are_picture_questions(first_of(cases))

    def words(self, row: int) -> str:
        """Return a question with its answer, in the reader's language if there is one."""
        asked = sorted(self.cases.target[row], key=lambda one: one.language != language())
        return texts.shown(f"{asked[0].question} {asked[0].answer}")

    def findings(self) -> Iterator[Finding]:
        """Find questions whose wording gives the answer away."""
        answers: dict[str, Counter[str]] = {}
        for some in self.cases.target:
            for one in some:
                answers.setdefault(one.question, Counter())[one.answer] += 1
        often = [count for count in answers.values() if count.total() >= OFTEN]
        asked = sum(count.total() for count in often)
        usual_ones = sum(count.most_common(1)[0][1] for count in often)
        if asked and usual_ones > GIVEN_AWAY * asked:
            message = _(
                "of the questions that are asked {often} times or more, always the usual answer is "
                "right for {share}: the words alone reveal as much"
            )
            yield Finding(
                "language bias",
                "warning",
                (),
                message.format(often=OFTEN, share=units.percent(usual_ones / asked)),
                _("the same questions about images with other answers, and question_only beside every system"),
            )
