"""Error rates of transcripts: edits that turn what was heard into what was said.

Levenshtein: Binary codes capable of correcting deletions, insertions, and reversals (1966).

    error rate = (substitutions + deletions + insertions) / words or characters of the reference

A ratio of sums over all recordings, as everywhere in the field, so that a long recording counts
more. Its pseudo-values, one for each recording, have the ratio as their mean and make its interval
that of the delta method: over recordings, or over speakers where these are known.
"""

import re
import unicodedata
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WORD, CHARACTER, BITS = "word error rate", "character error rate", "bits per byte of the text"
UNSPACED = re.compile(
    "[\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff66-\uff9d\u0e00-\u0eff\u1000-\u109f]"
)  # Japanese, Chinese, Thai, Lao, Burmese: written without spaces between words
MARKS = re.compile(r"[^\w\s']|_")


class Edit(NamedTuple):
    """A place of an alignment: a word of the reference, and that of the transcript; "" for none."""

    right: str
    pred: str


def plain(text: str) -> str:
    """Normalise a text before it is compared: width, case, punctuation, spaces.

    >>> plain("Ｔwenty-one,  Don't!")
    "twenty one don't"
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return " ".join(MARKS.sub(" ", text).split())


def words_of(text: str) -> list[str]:
    """Return the words of a text; none where it is written without spaces.

    >>> words_of("Good morning!"), words_of("おはよう")
    (['good', 'morning'], [])
    """
    text = plain(text)
    return [] if UNSPACED.search(text) else text.split()


def characters_of(text: str) -> list[str]:
    """Return the characters of a text; spaces count only where it has words.

    >>> characters_of("お はよう。"), characters_of("a b")
    (['お', 'は', 'よ', 'う'], ['a', ' ', 'b'])
    """
    text = plain(text)
    return list(re.sub(r"\s", "", text) if UNSPACED.search(text) else text)


def distance(right: Sequence[Hashable], pred: Sequence[Hashable]) -> int:
    """Return the least number of substitutions, deletions and insertions.

    >>> distance("kitten", "sitting"), distance("abc", "")
    (3, 3)
    """
    return int(_table(right, pred, last=True)[-1, -1])


def _table(right: Sequence[Hashable], pred: Sequence[Hashable], last: bool) -> NDArray[np.int64]:
    """Return the distances of all beginnings (n + 1, m + 1), or their last row alone."""
    numbers: dict[Hashable, int] = {}
    own = [numbers.setdefault(symbol, len(numbers)) for symbol in right]
    other = np.array([numbers.setdefault(symbol, len(numbers)) for symbol in pred], np.int64)
    positions = np.arange(len(other) + 1)
    rows = [positions]
    for symbol_number in own:
        before = rows[-1]
        row = before + 1  # deleted
        row[1:] = np.minimum(row[1:], before[:-1] + (other != symbol_number))  # kept or substituted
        row = np.minimum.accumulate(row - positions) + positions  # inserted
        rows = [row] if last else [*rows, row]
    return np.stack(rows)


def aligned(right: Sequence[str], pred: Sequence[str]) -> list[Edit]:
    """Align two sequences with the fewest edits.

    >>> aligned(["one", "two"], ["one", "too", "two"])
    [Edit(right='one', pred='one'), Edit(right='', pred='too'), Edit(right='two', pred='two')]
    """
    table = _table(right, pred, last=False)
    row, column = len(right), len(pred)
    edits = []
    while row or column:
        here = table[row, column]
        differs = row and column and right[row - 1] != pred[column - 1]
        if row and column and here == table[row - 1, column - 1] + differs:
            row, column = row - 1, column - 1
            edits.append(Edit(right[row], pred[column]))
        elif row and here == table[row - 1, column] + 1:
            row -= 1
            edits.append(Edit(right[row], ""))
        else:
            column -= 1
            edits.append(Edit("", pred[column]))
    return edits[::-1]


def word_error_rate(right: Sequence[str], pred: Sequence[str]) -> float:
    """Return the word error rate of transcripts ``pred`` of recordings whose texts are ``right``.

    nan where no text has words, as in Japanese.

    >>> word_error_rate(["one two three four"], ["one two free four five"])
    0.5
    """
    return float(_rate(np.array([counted(*pair)[0] for pair in zip(right, pred, strict=True)])))


def character_error_rate(right: Sequence[str], pred: Sequence[str]) -> float:
    """Return the character error rate, the measure for Japanese and Chinese.

    >>> character_error_rate(["本日は晴天なり"], ["本日も晴天"])
    0.42857142857142855
    """
    return float(_rate(np.array([counted(*pair)[1] for pair in zip(right, pred, strict=True)])))


def counted(right: str, pred: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Count errors and length of one recording, in words and in characters.

    >>> counted("one two", "one too")
    ((1, 2), (1, 7))
    """
    own, other = words_of(right), words_of(pred)
    if UNSPACED.search(plain(right)):
        own = other = []
    letters, pred_letters = characters_of(right), characters_of(pred)
    return (distance(own, other), len(own)), (distance(letters, pred_letters), len(letters))


def _rate(counts: NDArray[np.int64]) -> np.float64:
    errors, length = counts.sum(0)
    return np.float64(errors / length) if length else np.float64(np.nan)


def pseudo_values(errors: NDArray[np.float64], length: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return pseudo-values whose mean is sum(errors) / sum(length), over the last axis.

    None where the length is 0 everywhere.

    >>> pseudo_values(np.array([1.0, 0.0]), np.array([2.0, 6.0])).round(4).tolist()
    [0.3125, -0.0625]
    """
    total = length.sum(-1, keepdims=True)
    if not (total > 0).all():
        return None
    rate = errors.sum(-1, keepdims=True) / total
    pseudo: NDArray[np.float64] = rate + (errors - rate * length) * length.shape[-1] / total
    return pseudo
