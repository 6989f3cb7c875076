"""Entity-level metrics of named-entity recognition, as in CoNLL.

A span is right where its ends and its label are.

Tjong Kim Sang, De Meulder: Introduction to the CoNLL-2003 Shared Task (2003).
https://aclanthology.org/W03-0419

    precision = right / pred,    recall = right / true,    F1 = 2 right / (pred + true)

``pred`` counts the predicted spans.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
F1, PRECISION, RECALL = "span F1", "span precision", "span recall"


def counts(pred: Sequence[Any], true: Sequence[Any]) -> Array:
    """Count right, predicted and true spans of each case, (cases, 3).

    The spans of a case are (n, >= 3): label, start, end.

    >>> counts([[(0, 0, 4), (1, 5, 9)]], [[(0, 0, 4)]]).tolist()
    [[1.0, 2.0, 1.0]]
    """
    rows = []
    for pred_spans, true_spans in zip(pred, true, strict=True):
        first, second = (
            {tuple(map(int, span[:3])) for span in np.asarray(spans).tolist()} for spans in (pred_spans, true_spans)
        )
        rows.append((len(first & second), len(first), len(second)))
    return np.asarray(rows, np.float64).reshape(-1, 3)


def figures(counted: Array) -> dict[str, Array]:
    """Compute F1, precision and recall from counts (..., 3), each (...).

    0 where there is nothing to be right.

    >>> import numpy as np
    >>> {name: round(value.item(), 2) for name, value in figures(np.array([1, 2, 1])).items()}
    {'span F1': 0.67, 'span precision': 0.5, 'span recall': 1.0}
    """
    right, pred, true = np.moveaxis(counted, -1, 0)

    def share(part: Array, whole: Array) -> Array:
        return part / np.maximum(whole, 1)

    return {F1: share(2 * right, pred + true), PRECISION: share(right, pred), RECALL: share(right, true)}


def scores(counted: Array, groups: Sequence[Any] | None = None) -> dict[str, Array]:
    """Return jackknife pseudo-values (cases,) of each metric from counts (cases, 3).

    Their mean is the metric. The jackknife leaves out cases, or ``groups`` (cases,) of them.

    Efron, Stein: The Jackknife Estimate of Variance (1981). https://doi.org/10.1214/aos/1176345462

    >>> import numpy as np
    >>> counted = np.array([[1.0, 2.0, 1.0], [2.0, 2.0, 2.0]])
    >>> scores(counted)["span precision"].mean().item()  # 3 of 4 predicted spans are right
    0.75
    """
    count = len(counted)
    names = np.arange(count) if groups is None else np.asarray(groups)
    patients, unit = np.unique(names, return_inverse=True)
    units = len(patients)
    own = np.zeros((units, 3))
    np.add.at(own, unit, counted)
    sizes = np.bincount(unit, minlength=units)
    whole, without = figures(counted.sum(0)), figures(own.sum(0) - own)
    scores = {}
    for name, value in whole.items():
        without_unit = -(units - 1) * without[name]
        away = (without_unit - without_unit.mean()) * count / units / sizes
        scores[name] = float(value) + away[unit]
    return scores
