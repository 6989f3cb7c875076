"""Shortcuts: single features that predict the class although they should not."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from souron.data.check.features import features, ranks, typical
from souron.data.check.headers import File
from souron.data.dataset import Dataset
from souron.data.quality.findings import TINY, Finding
from souron.utils.messages import Message, _, again, use_language

TELLS = 0.6  # of the way from chance to certainty: from there on a feature alone is suspicious
FOLDS = 5


def shortcuts(cases: Dataset, about: Sequence[File | None], watch: Callable[[str, float], None]) -> Iterator[Finding]:
    """Find single properties that predict the label on cases that they were not fitted to."""
    label = cases.target.numpy()
    names = cases.group or [""] * len(cases)
    groups = [name or f"\0{i}" for i, name in enumerate(names)]  # ungrouped cases count singly
    named = features(cases, about)
    for i, (name, values) in enumerate(named.items()):
        watch(_("looking for shortcuts"), i / len(named))
        shortcut = shortcut_of(values, label, groups)
        if shortcut is None or not shortcut.classes:
            continue
        shown = [
            _("{label} ({value})").format(label=cases.classes[c], value=typical(name, values, label == c))
            for c in shortcut.classes
        ]
        if len(shortcut.classes) < len(cases.classes):
            others = ~np.isin(label, shortcut.classes)
            shown.append(_("others ({value})").format(value=typical(name, values, others)))
        with use_language("en"):
            named_so = str(again(name))
        yield Finding(
            "shortcut",
            "warning",
            (),
            _("{name} alone predicts the class: {classes}; {share:.0%} of the way from chance to certainty").format(
                name=name, classes=Message(", ").join(shown), share=shortcut.share
            ),
            _("make it the same in all classes, else a network will learn it"),
            about=named_so,
        )


class Shortcut(NamedTuple):
    """The classes that a single property predicts, and how well."""

    classes: list[int]
    share: float  # of the way from chance to certainty


def shortcut_of(values: np.ndarray | Sequence[str], label: np.ndarray, groups: Sequence[Any]) -> Shortcut | None:
    """Return the classes that a property predicts, by the balanced accuracy of a small tree, or of
    a table of categories; for one class against the others by Youden's J. None if there are too few
    groups or values."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    classes = len(np.unique(label))
    if len(set(groups)) < FOLDS or len(np.unique(values, axis=0)) < 2:
        return None
    ways, numbers = [], values if isinstance(values, np.ndarray) else ranks(values)
    if not isinstance(values, np.ndarray):
        ways.append(by_category(values, label, groups))
    if numbers is not None:
        few = 2 * classes
        tree = DecisionTreeClassifier(max_leaf_nodes=few, min_samples_leaf=3, random_state=0)
        folds = GroupKFold(FOLDS)
        ways.append(cross_val_predict(tree, numbers.reshape(len(label), -1), label, groups=groups, cv=folds))
    chance = 1 / classes
    accuracy, best = max(((balanced_accuracy_score(label, way), way) for way in ways), key=lambda pair: pair[0])
    overall = (accuracy - chance) / (1 - chance)
    each = {c: informedness(label == c, best == c) for c in np.unique(label).tolist()}
    large = {c: share for c, share in each.items() if (label == c).sum() >= TINY}
    given = [c for c, share in large.items() if share > TELLS]
    if overall > TELLS:
        return Shortcut(given or [max(each, key=lambda c: each[c])], overall)
    return Shortcut(given, max((large[c] for c in given), default=0.0))


def informedness(truly: np.ndarray, predicted: np.ndarray) -> float:
    """Return Youden's J: sensitivity minus false positive rate."""
    return float(predicted[truly].mean() - predicted[~truly].mean())


def by_category(values: Sequence[str], label: np.ndarray, groups: Sequence[Any]) -> np.ndarray:
    """Predict for each case (N,) the class that is most frequent, relative to its size, in the
    case's category among the other folds' cases; the first class for a category that they lack."""
    from sklearn.model_selection import GroupKFold

    kind = np.unique(values, return_inverse=True)[1]
    said = np.empty_like(label)
    for train, test in GroupKFold(FOLDS).split(kind, label, groups):
        count = np.zeros((kind.max() + 1, label.max() + 1))
        np.add.at(count, (kind[train], label[train]), 1)
        said[test] = (count / count.sum(0).clip(min=1)).argmax(1)[kind[test]]
    return said
