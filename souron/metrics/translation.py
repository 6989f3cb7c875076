"""chrF: similarity of a translation and a reference by character n-grams.

Popović: chrF: character n-gram F-score for automatic MT evaluation (2015).
https://doi.org/10.18653/v1/W15-3049
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from souron.utils import units
from souron.utils.messages import _

ORDER = 6  # longest n-gram
BETA = 2.0  # weight of recall relative to precision
POOR = 0.3  # chrF of test texts below which most translations say something else


def chrf(pred: str, right: str) -> float:
    """Return chrF, the F-score of character n-grams of 1 to 6 characters, in 0..1.

    Precision and recall are averaged over the lengths that both texts have. White space does not
    count, so that Japanese and English are measured alike.

    >>> chrf("Open the file.", "Open the file."), round(chrf("Open a file.", "Open the file."), 2)
    (1.0, 0.41)
    """
    pred, right = "".join(pred.split()), "".join(right.split())
    precision = recall = orders = 0.0
    for n in range(1, min(ORDER, len(pred), len(right)) + 1):
        ours, theirs = grams(pred, n), grams(right, n)
        overlap = sum((ours & theirs).values())
        precision += overlap / ours.total()
        recall += overlap / theirs.total()
        orders += 1
    if not precision + recall:
        return 0.0
    precision, recall = precision / orders, recall / orders
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


def weaknesses(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a warning about a translator with a low chrF in one of its directions, in the reader's language.

    >>> weaknesses({"chrF": {"value": 0.62}})
    []
    """
    scores = [float(figures[name]["value"]) for name in ("chrF", "chrF, backwards") if name in figures]
    if not scores or min(scores) >= POOR:
        return []
    text = _("Poor translator: chrF {share} on test texts. Most of what it writes says something else than the text.")
    return [text.format(share=units.percent(min(scores)))]


def grams(text: str, n: int) -> Counter[str]:
    """Count the character n-grams of a text.

    >>> sorted(grams("banana", 2).items())
    [('an', 2), ('ba', 1), ('na', 2)]
    """
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))
