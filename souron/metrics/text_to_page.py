"""Metrics of generated web pages: share of the requested parts, colours, counts and labels.

Parts are compared by the content of the page that was written. F1: van Rijsbergen: Information
Retrieval (1979), http://www.dcs.gla.ac.uk/Keith/Preface.html
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Tally(NamedTuple):
    """Counts of one page: parts that were asked for, and parts that are there."""

    right: float  # 1 where all parts are as requested, in order, and nothing else is there
    matched: float  # requested parts that are there, by kind
    pred: float  # parts of the page
    asked: float  # parts of the request
    colours: float  # right ones
    coloured: float  # requested ones
    counts: float
    counted: float
    labels: float
    labelled: float
    valid: float = 1.0  # 1 where it is a valid page


RATIOS = {  # metric -> (right, of how many) as names of a tally, sums over all pages
    "F1 of parts": ("matched", ("pred", "asked")),
    "precision of parts": ("matched", ("pred",)),
    "recall of parts": ("matched", ("asked",)),
    "colours right": ("colours", ("coloured",)),
    "counts right": ("counts", ("counted",)),
    "labels right": ("labels", ("labelled",)),
}


def tally(pred: Sequence[Any], target: Sequence[Any], valid: bool = True) -> Tally:
    """Compare the parts of a page with those of the request.

    The first part of a kind is compared with the first of that kind, the second with the second.

    >>> from types import SimpleNamespace
    >>> box = SimpleNamespace(kind="box", colour="red", many=1, across=False, words=(), press="")
    >>> found = tally([box], [box])
    >>> found.right, found.matched, found.colours
    (1.0, 1.0, 1.0)
    """
    remaining = list(pred)
    matches = colours = colour_total = counts = count_total = labels = label_total = 0
    for part in target:
        index = next((k for k, candidate in enumerate(remaining) if candidate.kind == part.kind), None)
        own = None if index is None else remaining.pop(index)
        matches += own is not None
        if part.colour:
            colour_total += 1
            colours += own is not None and own.colour == part.colour
        if part.many > 1 or part.across:
            count_total += 1
            counts += own is not None and (own.many, own.across) == (part.many, part.across)
        for number, word in enumerate([*part.words, *([part.press] if part.press else [])]):
            label_total += 1
            last = number == len(part.words)
            if own is None:
                continue
            there = own.press if last else (own.words[number : number + 1] or ("",))[0]
            labels += there == word
    right = valid and tuple(pred) == tuple(target)
    return Tally(
        float(right),
        *map(
            float,
            (matches, len(pred), len(target), colours, colour_total, counts, count_total, labels, label_total, valid),
        ),
    )


def scores(table: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return pseudo-values (cases,) of each metric from a table (cases, fields of a ``Tally``).

    Their mean is the metric. Ratios of sums get the jackknife's pseudo-values (Efron, Stein: The
    Jackknife Estimate of Variance, 1981, https://doi.org/10.1214/aos/1176345462).

    >>> import numpy as np
    >>> half = Tally(0, 1, 2, 2, 0, 0, 0, 0, 0, 0)  # 2 parts asked for, 2 written, 1 of them right
    >>> round(scores(np.array([half, half], float))["F1 of parts"].mean().item(), 2)
    0.5
    """
    column = {name: table[:, index] for index, name in enumerate(Tally._fields)}
    metrics = {"all right": column["right"]}
    for name, (right, of) in RATIOS.items():
        whole = np.sum([column[field] for field in of], axis=0)
        metrics[name] = ratio(column[right] * len(of), whole)
    metrics["valid pages"] = column["valid"]
    return metrics


def ratio(right: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return pseudo-values (cases,) of sum(right) / sum(whole); 1 where nothing was asked for.

    >>> import numpy as np
    >>> ratio(np.array([1.0, 2.0]), np.array([2.0, 2.0])).mean().item()
    0.75
    """
    count, total = len(right), whole.sum()
    if total == 0:
        return np.ones(count)
    value, rest = right.sum() / total, total - whole
    without = np.divide(right.sum() - right, rest, out=np.full(count, value), where=rest > 0)
    pseudo = -(count - 1) * without
    return value + pseudo - pseudo.mean()
