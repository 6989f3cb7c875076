"""Spans that were found, as CoNLL counts them: right are those whose ends and label are.

Tjong Kim Sang, De Meulder: Introduction to the CoNLL-2003 Shared Task (2003).
https://aclanthology.org/W03-0419

    precision = right / said,    recall = right / true,    F1 = 2 right / (said + true)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
F1, PRECISION, RECALL = "span F1", "span precision", "span recall"


def counts(said: Sequence[Any], true: Sequence[Any]) -> Array:
    """Spans (n, >= 3) of each case, label, start, end -> (cases, 3): right, said, true."""
    rows = []
    for found, there in zip(said, true, strict=True):
        first, second = (
            {tuple(map(int, span[:3])) for span in np.asarray(one).tolist()}
            for one in (found, there)
        )
        rows.append((len(first & second), len(first), len(second)))
    return np.asarray(rows, np.float64).reshape(-1, 3)


def figures(counted: Array) -> dict[str, Array]:
    """(..., 3) -> each metric, (...): 0 where nothing is there to be right."""
    right, said, true = np.moveaxis(counted, -1, 0)

    def share(part: Array, whole: Array) -> Array:
        return part / np.maximum(whole, 1)

    return {
        F1: share(2 * right, said + true),
        PRECISION: share(right, said),
        RECALL: share(right, true),
    }


def scores(counted: Array, groups: Sequence[Any] | None = None) -> dict[str, Array]:
    """(cases, 3) -> the jackknife's pseudo-values (cases,) of each metric, whose mean it is, over
    cases or over ``groups`` (cases,) of them.

    Efron, Stein: The Jackknife Estimate of Variance (1981). https://doi.org/10.1214/aos/1176345462
    """
    count = len(counted)
    names = np.arange(count) if groups is None else np.asarray(groups)
    drawn, unit = np.unique(names, return_inverse=True)
    units = len(drawn)
    own = np.zeros((units, 3))
    np.add.at(own, unit, counted)
    sizes = np.bincount(unit, minlength=units)
    whole, without = figures(counted.sum(0)), figures(own.sum(0) - own)
    found = {}
    for name, value in whole.items():
        each = -(units - 1) * without[name]
        away = (each - each.mean()) * count / units / sizes
        found[name] = float(value) + away[unit]
    return found
