"""Detect labels that may be wrong: cases to which a cross-validated classifier confidently assigns
another class.

Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels (2021).
https://doi.org/10.1613/jair.1.12125

    t_j = mean of p_j over the cases labelled j
    a case labelled i counts as j where p_j >= t_j, and p_j is the largest of such

Differs from the paper: the off-diagonal entries of the confident joint are listed directly, by
margin, and not pruned to the estimated rate of noise.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
STRENGTH = 1.0  # inverse strength of the classifier's regularisation


def suspects(probability: NDArray[Any], label: NDArray[Any]) -> list[tuple[int, int]]:
    """Return the cases whose label may be wrong, the most confident first, each with its likely
    class.

    ``probability`` (cases, classes), by a classifier that was not fitted to the case; ``label``
    (cases,).

    >>> sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.05, 0.95]])
    >>> suspects(sure, np.array([0, 0, 1, 1, 0]))
    [(4, 1)]
    """
    rows = np.arange(len(label))
    classes = probability.shape[1]
    means = [probability[label == j, j].mean() if (label == j).any() else 2 for j in range(classes)]
    confident = np.where(probability >= np.array(means), probability, 0.0)
    seems = confident.argmax(1)
    margin = confident[rows, seems] - probability[rows, label]
    wrong = np.flatnonzero((seems != label) & (confident.max(1) > 0) & (margin > 0))
    return [(int(row), int(seems[row])) for row in wrong[np.argsort(-margin[wrong])]]


def cross_validated(features: NDArray[Any], label: NDArray[Any], groups: Sequence[str]) -> NDArray[Any] | None:
    """Return each case's class probabilities (cases, classes) by a logistic regression on
    ``features`` (cases, D) that was fitted to cases of other ``groups``; None if a class has groups
    in too few folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = np.asarray(groups)
    each = [len(np.unique(names[label == j])) for j in np.unique(label)]
    if len(each) < 2 or min(each) < FOLDS:
        return None
    small = STRENGTH / features.shape[1]
    way = make_pipeline(StandardScaler(), LogisticRegression(C=small, max_iter=300))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    return cross_val_predict(way, features, label, groups=groups, cv=folds, method="predict_proba")
