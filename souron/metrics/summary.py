"""ROUGE metrics of summaries.

Lin: ROUGE: A Package for Automatic Evaluation of Summaries (2004).
https://aclanthology.org/W04-1013/
"""

import re
from collections import Counter
from collections.abc import Sequence

UNIT = re.compile(r"[぀-ヿ㐀-鿿々ｦ-ﾟ]|[a-z0-9]+")
LONGEST = 2_000  # units of a text in which the longest common subsequence is searched


def units(text: str) -> list[str]:
    """Split a text into lower-case words; Japanese, which has no spaces, into characters.

    >>> units("Two cats. 猫2匹")
    ['two', 'cats', '猫', '2', '匹']
    """
    return UNIT.findall(text.lower())


def rouge_n(pred: Sequence[str], right: Sequence[str], n: int) -> float:
    """Return ROUGE-N, the F-score of n-grams of units.

    >>> rouge_n(["a", "b", "c"], ["a", "b"], 1)
    0.8
    """
    ours, theirs = (Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1)) for text in (pred, right))
    return f_score((ours & theirs).total(), ours.total(), theirs.total())


def rouge_l(pred: Sequence[str], right: Sequence[str]) -> float:
    """Return ROUGE-L, the F-score of the longest common subsequence.

    >>> rouge_l(["a", "x", "b"], ["a", "b"])
    0.8
    """
    pred, right = pred[:LONGEST], right[:LONGEST]
    row = [0] * (len(right) + 1)
    for unit in pred:
        before = 0
        for j, other in enumerate(right, 1):
            above = row[j]
            row[j] = before + 1 if unit == other else max(above, row[j - 1])
            before = above
    return f_score(row[-1], len(pred), len(right))


def f_score(shared: int, ours: int, theirs: int) -> float:
    """Return the F-score of ``shared`` items, 2 shared / (ours + theirs).

    >>> f_score(1, 2, 2)
    0.5
    """
    return 2 * shared / (ours + theirs) if shared else 0.0
