"""Classification metrics with intervals: AUC, and sensitivity etc. at a threshold.

These metrics are no means over cases. Each gets pseudo-scores, one per case, whose mean over the
cases is the metric and whose spread is its influence function, so that ``verdict`` can count
patients, trainings and paired differences as it does for accuracy:

- AUC: a positive case's share of the negatives below it, a negative's share of the positives above
  it, rescaled to one mean over all cases. With one training and independent cases the variance is
  that of DeLong, DeLong and Clarke-Pearson ("Comparing the areas under two or more correlated
  receiver operating characteristic curves", 1988, https://doi.org/10.2307/2531595), with patients
  to leading order that of Obuchowski ("Nonparametric analysis of clustered ROC curve data", 1997,
  https://doi.org/10.2307/2533958).
- Ratios such as the predictive values: the delta method.

Metrics that combine sensitivity and specificity take their intervals from those of the two (MOVER:
Donner and Zou, "Closed-form confidence intervals for functions of the normal mean and standard
deviation", 2012, https://doi.org/10.1177/0962280210383082), which stay within 0..1 and hold where
nothing was missed. ``benchmarks/intervals.py`` measures their coverage by simulation.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from souron.stats import intervals, variance
from souron.stats.records import Measure
from souron.stats.variance import Scores

Truth = NDArray[np.bool_]
Whose = NDArray[Any] | None  # (repeats, cases), the training behind each answer
_Count = tuple[int, int | None]  # cases and patients

NEGATIVE = {
    "0", "-", "absent", "absence", "benign", "control", "controls", "false", "good", "healthy",
    "intact", "neg", "negative", "no", "none", "normal", "ok", "sound", "unaffected", "without",
    "なし", "ナシ", "無", "無し", "正常", "陰性", "健常", "健康", "健全", "良性", "対照", "良品",
    "いいえ",
}  # fmt: skip
DENYING = {"no", "non", "not", "without"}  # a name that begins so: "no finding", "non-tumour"
ENDINGS = tuple(sorted(name for name in NEGATIVE if not name.isascii()))  # "異常なし"


def auc_scores(probability: ArrayLike, label: ArrayLike, groups: Sequence[Any] | None = None) -> Scores:
    """Return pseudo-scores (repeats, cases) whose mean is the area under the ROC curve.

    ``probability`` (cases, labels) or (repeats, cases, labels), ``label`` (cases,). With two
    labels, the AUC is how often a case of label 1 is above one of label 0, ties counting half; with
    more, the mean over the labels that occur of one-vs-rest AUCs. ``groups`` (cases,) name the
    patients; few patients in a label widen the spread. Raises ValueError where only one label
    occurs.

    >>> p = [[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]]
    >>> auc_scores(p, [0, 0, 1, 1]).mean().item()  # 3 of 4 pairs in the right order
    0.75
    """
    table, y_true = _probabilities(probability, label)
    labels = table.shape[2]
    present = [c for c in range(labels) if 0 < (y_true == c).sum() < len(y_true)]
    if not present:
        raise ValueError("cases of one label only: there is nothing to tell apart")
    classes = [1] if labels == 2 else present
    aucs = [[_components(row[:, c], y_true == c, groups) for row in table] for c in classes]
    return np.mean(aucs, axis=0)


def auc(
    probability: ArrayLike,
    label: ArrayLike,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> Measure:
    """Compute the AUC, the mean of ``auc_scores``, with an interval.

    ``groups`` (cases,) name the patients, ``trainings`` (repeats, cases) the training behind each
    answer (see ``variance.spread``).

    The interval is ``intervals.area_interval``. Where only one label occurs, the result is nan with
    the interval 0 to 1 and n = 0.

    >>> p = [[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]]
    >>> found = auc(p, [0, 0, 1, 1])
    >>> found.value, found.low < 0.5 < found.high
    (0.75, True)
    """
    y_true = np.asarray(label)
    try:
        scores = auc_scores(probability, y_true, groups)
    except ValueError:
        if len(np.unique(y_true)) > 1:
            raise
        return _unknown(groups)
    return intervals.area_interval(scores, groups, level, trainings, y_true)


def positive_class(labels: Sequence[str]) -> int:
    """Return the index of the positive one of two labels: 1, unless that label reads as an absence.

    Raises ValueError unless there are two labels.

    >>> positive_class(("normal", "tumour")), positive_class(("melanoma", "benign"))
    (1, 0)
    >>> positive_class(("異常", "異常なし"))
    0
    """
    if len(labels) != 2:
        raise ValueError(f"one of two labels is positive, not one of {len(labels)}")
    first, second = map(_denial, labels)
    return 0 if second > first else 1


def choose_threshold(y_true: ArrayLike, probability: ArrayLike, sensitivity: float | None = None) -> float:
    """Choose the decision threshold on validation cases.

    ``probability`` (cases,) of the positive class, ``y_true`` (cases,) whether a case is positive.
    Without ``sensitivity`` it is the threshold with the highest sensitivity + specificity (Youden,
    "Index for rating diagnostic tests", 1950), and of several the one nearest to 0.5; else the
    highest one that finds this share of the positive cases. It lies midway between two values that
    occur, the lowest midway between 0 and the smallest. 0.5 where a class is missing. Apply it in
    float64, as ``probability >= threshold``. Raises ValueError where the sensitivity is not in
    0..1.

    >>> round(choose_threshold([0, 0, 1, 1], [0.1, 0.3, 0.5, 0.9]), 3)
    0.4
    """
    score, positive = _scores_and_truth(y_true, probability)
    if sensitivity is not None and not 0 <= sensitivity <= 1:
        raise ValueError(f"a sensitivity is in 0..1, not {sensitivity}")
    if positive.all() or not positive.any():
        return 0.5
    value = np.unique(score)
    below = np.concatenate([[min(0.0, value[0])], value[:-1]])
    middle = below + (value - below) / 2
    thresholds = np.where(middle > below, middle, value)  # neighbours in float64 have no middle
    sensitivities = 1 - np.searchsorted(np.sort(score[positive]), thresholds) / positive.sum()
    specificities = np.searchsorted(np.sort(score[~positive]), thresholds) / (~positive).sum()
    if sensitivity is not None:
        return float(thresholds[sensitivities >= sensitivity - 1e-12].max())
    youden = sensitivities + specificities
    best = thresholds[youden >= youden.max() - 1e-12]
    return float(best[np.argmin(abs(best - 0.5))])


def threshold_scores(y_true: ArrayLike, y_pred: ArrayLike, prevalence: float | None = None) -> dict[str, Scores]:
    """Return pseudo-scores (repeats, cases) of ``at_threshold``'s metrics.

    They are for ``verdict.difference``. ``y_true`` (cases,), ``y_pred`` (cases,) or (repeats,
    cases). A metric without a case is left out. Raises ValueError where the prevalence is not
    between 0 and 1.

    >>> scores = threshold_scores([1, 1, 0, 0], [1, 0, 0, 0])
    >>> for name, each in scores.items():
    ...     print(f"{name} {each.mean():.2f}")
    sensitivity 0.50
    specificity 1.00
    positive predictive value 1.00
    negative predictive value 0.67
    balanced accuracy 0.75
    """
    predicted, positive = _predicted_and_true(y_true, y_pred)
    _check_prevalence(prevalence)
    right = (predicted == positive).astype(float)
    scores: dict[str, Scores] = {}
    if positive.any():
        scores["sensitivity"] = _stretched(right, positive)
    if not positive.all():
        scores["specificity"] = _stretched(right, ~positive)
    if prevalence is None:
        for name, group in (("positive predictive value", predicted), ("negative predictive value", ~predicted)):
            if group.any():
                value = right[group].mean()
                scores[name] = value + group / group.mean() * (right - value)
    if not positive.any() or positive.all():
        return scores
    hits, passes = scores["sensitivity"], scores["specificity"]
    if prevalence is not None:
        for name, numerator, counterpart, common in (
            ("positive predictive value", hits, passes, prevalence),
            ("negative predictive value", passes, hits, 1 - prevalence),
        ):
            good, bad = common * numerator.mean(), (1 - common) * (1 - counterpart.mean())
            if good + bad > 0:
                away = bad * common * (numerator - numerator.mean())
                away = away + good * (1 - common) * (counterpart - counterpart.mean())
                scores[name] = good / (good + bad) + away / (good + bad) ** 2
    scores["balanced accuracy"] = (hits + passes) / 2
    return scores


def at_threshold(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    groups: Sequence[Any] | None = None,
    prevalence: float | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> dict[str, Measure]:
    """Compute sensitivity, specificity, predictive values and balanced accuracy at a threshold.

    ``y_true`` (cases,): whether a case is positive. ``y_pred`` (cases,) or (repeats, cases):
    whether it was predicted so. ``groups`` and ``trainings`` are those of ``auc``.

    With ``prevalence``, the predictive values follow from sensitivity and specificity by Bayes'
    rule; without it they are the shares among the cases predicted so, repeats pooled. ``n`` counts
    the cases behind a metric: the positive ones for sensitivity, those predicted positive (on
    average over the repeats) for the positive predictive value. A metric without a case is nan with
    the interval 0 to 1. Raises ValueError where the prevalence is not between 0 and 1.

    >>> found = at_threshold([1, 1, 0, 0], [1, 0, 0, 0])
    >>> found["sensitivity"].value, found["sensitivity"].n, found["specificity"].value
    (0.5, 2, 1.0)
    >>> rare = at_threshold([1, 1, 0, 0], [1, 1, 1, 0], prevalence=0.01)
    >>> round(rare["positive predictive value"].value, 3)
    0.02
    """
    predicted, positive = _predicted_and_true(y_true, y_pred)
    _check_prevalence(prevalence)
    whose = None if trainings is None else np.asarray(trainings)
    sensitivity, specificity, together = sensitivity_and_specificity(y_true, y_pred, groups, level, trainings)
    all_of_them = np.ones_like(positive)
    count = len(positive), None if groups is None else _patients(groups, all_of_them)
    if prevalence is None:
        ppv = _predictive(predicted, positive, groups, level, whose)
        npv = _predictive(~predicted, ~positive, groups, level, whose)
    else:
        ppv = _by_bayes(sensitivity, specificity, together, prevalence, count)
        npv = _by_bayes(specificity, sensitivity, together, 1 - prevalence, count)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "positive predictive value": ppv,
        "negative predictive value": npv,
        "balanced accuracy": _balanced(sensitivity, specificity, together, count),
    }


def sensitivity_and_specificity(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> tuple[Measure, Measure, float]:
    """Compute sensitivity and specificity as ``at_threshold``, and the correlation of their errors.

    >>> sensitivity, specificity, _together = sensitivity_and_specificity([1, 1, 0, 0], [1, 0, 0, 0])
    >>> sensitivity.value, specificity.value
    (0.5, 1.0)
    """
    predicted, positive = _predicted_and_true(y_true, y_pred)
    right = predicted == positive
    whose = None if trainings is None else np.asarray(trainings)
    both = positive.any() and not positive.all()
    return (
        _among(right, positive, groups, level, whose),
        _among(right, ~positive, groups, level, whose),
        _correlation(right, positive, groups, whose) if both else 0.0,
    )


def recall_and_precision(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> tuple[Measure, Measure]:
    """Compute sensitivity and positive predictive value as ``at_threshold``, of one class against the rest.

    >>> recall, precision = recall_and_precision([1, 1, 0, 0], [1, 0, 0, 0])
    >>> recall.value, precision.value
    (0.5, 1.0)
    """
    predicted, positive = _predicted_and_true(y_true, y_pred)
    whose = None if trainings is None else np.asarray(trainings)
    return (
        _among(predicted == positive, positive, groups, level, whose),
        _predictive(predicted, positive, groups, level, whose),
    )


def roc(y_true: ArrayLike, score: ArrayLike) -> tuple[Scores, Scores]:
    """Compute the ROC curve: false positive rates and sensitivities, (points,).

    It runs from (0, 0) to (1, 1). One point for each value that occurs in ``score`` (cases,), so
    that ties make a slope. Raises ValueError where a class is missing.

    >>> false, found = roc([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])
    >>> false.tolist(), found.tolist()
    ([0.0, 0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0, 1.0])
    """
    score, positive = _scores_and_truth(y_true, score)
    if positive.all() or not positive.any():
        raise ValueError("a ROC curve needs positive and negative cases")
    thresholds = np.unique(score)[::-1]
    alarms = np.sort(score[~positive])
    hits = np.sort(score[positive])
    false = 1 - np.searchsorted(alarms, thresholds) / len(alarms)
    sensitivities = 1 - np.searchsorted(hits, thresholds) / len(hits)
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], sensitivities])


def _components(score: Scores, y_true: Truth, groups: Sequence[Any] | None) -> Scores:
    """Return DeLong's structural components, rescaled to a mean over all cases, shape (cases,)."""
    above = _ranks(score)
    above[y_true] -= _ranks(score[y_true])  # negatives below each positive
    above[~y_true] -= _ranks(score[~y_true])  # positives below each negative
    share = np.where(y_true, above / (~y_true).sum(), 1 - above / y_true.sum())
    value = share[y_true].mean()
    factor = np.where(y_true, _factor(y_true, groups), _factor(~y_true, groups))
    return value + factor * (share - value)


def _ranks(score: Scores) -> Scores:
    """Rank scores (cases,) from 1 for the lowest; equal scores share the mean of their ranks."""
    _values, index, count = np.unique(score, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[index]


def _stretched(values: Scores, subset: Truth) -> Scores:
    """Express the mean of ``values`` over the chosen cases as one over all, (repeats, cases)."""
    value = values[:, subset].mean(1, keepdims=True)
    return value + np.where(subset, _factor(subset), 0.0) * (values - value)


def _factor(subset: Truth, groups: Sequence[Any] | None = None) -> float:
    """Return the factor that rescales deviations among the m chosen cases to deviations among all.

    The mean over all cases then has the variance of those m alone, s^2 / m with m - 1 degrees of
    freedom, counted in cases or in the groups that they belong to.
    """
    share = len(subset) / max(int(subset.sum()), 1)
    n, m = _patients(groups, np.ones_like(subset)), _patients(groups, subset)
    return share * math.sqrt((n - 1) / n * m / (m - 1)) if m > 1 else share


def _among(right: Truth, subset: Truth, groups: Sequence[Any] | None, level: float, whose: Whose) -> Measure:
    """Return the share of right answers (repeats, cases) among the chosen; nan if none is."""
    if not subset.any():
        return _unknown(groups)
    return intervals.interval(right, groups, level, whose, among=subset)


def _predictive(y_pred: Truth, y_true: Truth, groups: Sequence[Any] | None, level: float, whose: Whose) -> Measure:
    """Return the share of true cases among those predicted (repeats, cases)."""
    if not y_pred.any():
        return _unknown(groups)
    if len(y_pred) == 1 and whose is None:
        return intervals.interval(y_pred == y_true, groups, level, among=y_pred[0])
    scores = threshold_scores(y_true, y_pred)["positive predictive value"]
    patients = _patients(groups, np.any(y_pred, axis=0))
    measure = intervals.share_interval(scores, groups, level, units=patients, trainings=whose)
    count = round(float(y_pred.sum(1).mean()))
    return Measure(measure.value, measure.low, measure.high, count, None if groups is None else patients)


def _balanced(first: Measure, second: Measure, together: float, count: _Count) -> Measure:
    """Average two shares whose errors correlate by ``together``."""
    if math.isnan(first.value + second.value):
        return Measure(math.nan, 0.0, 1.0, *count)
    low = intervals.length(first.value - first.low, second.value - second.low, together) / 2
    high = intervals.length(first.high - first.value, second.high - second.value, together) / 2
    value = (first.value + second.value) / 2
    return Measure(value, max(value - low, 0.0), min(value + high, 1.0), *count)


def _by_bayes(hits: Measure, passes: Measure, together: float, prevalence: float, count: _Count) -> Measure:
    """Compute a predictive value by Bayes' rule at the given prevalence.

    ``hits`` is the share of cases with the condition that are predicted so; ``1 - passes`` that of
    the others.
    """
    if math.isnan(hits.value + passes.value):
        return Measure(math.nan, 0.0, 1.0, *count)
    wrong = Measure(1 - passes.value, 1 - passes.high, 1 - passes.low, passes.n)
    odds = prevalence / (1 - prevalence)
    low = odds * _least_ratio(hits, wrong, -together)
    inverse_odds = _least_ratio(wrong, hits, -together) / odds
    right = prevalence * hits.value
    positives = right + (1 - prevalence) * wrong.value
    value = right / positives if positives > 0 else math.nan
    return Measure(value, low / (1 + low) if low < math.inf else 1.0, 1 / (1 + inverse_odds), *count)


def _least_ratio(top: Measure, bottom: Measure, together: float) -> float:
    """Return the lower end of top / bottom.

    It is the ratio at which the interval of top - ratio * bottom reaches 0.
    """
    down, up = top.value - top.low, bottom.high - bottom.value
    a = (bottom.value - up) * (bottom.value + up)
    b = top.value * bottom.value - together * down * up
    c = (top.value - down) * (top.value + down)
    below = b + math.sqrt(max(b * b - a * c, 0.0))
    return max(c, 0.0) / below if below > 0 else 0.0


def _correlation(right: Truth, y_true: Truth, groups: Sequence[Any] | None, whose: Whose) -> float:
    """Estimate the correlation of the errors of sensitivity and specificity.

    They correlate through patients and trainings that contribute to both.
    """
    sensitivity = _stretched(right.astype(float), y_true)
    specificity = _stretched(right.astype(float), ~y_true)
    variances = [
        variance.spread(scores, groups, whose)[0] for scores in (sensitivity, specificity, sensitivity + specificity)
    ]
    return variance.correlation(*variances)


def _patients(groups: Sequence[Any] | None, subset: Truth) -> int:
    """Count the patients among the chosen cases; without groups each case is its own patient."""
    return int(subset.sum()) if groups is None else len(np.unique(np.asarray(groups)[subset]))


def _unknown(groups: Sequence[Any] | None) -> Measure:
    """Return the measure of no case: nan, from 0 to 1."""
    return Measure(math.nan, 0.0, 1.0, 0, None if groups is None else 0)


def _denial(label: str) -> int:
    """Rate how clearly a label names the absence of a finding: 3, 2, 1 or 0."""
    name = unicodedata.normalize("NFKC", label).strip().casefold()
    words = [word for word in re.split(r"[\W_]+", name) if word]
    if name in NEGATIVE:
        return 3
    if NEGATIVE.intersection(words) or name.endswith(ENDINGS):
        return 2
    return int(bool(words) and words[0] in DENYING)


def _probabilities(probability: ArrayLike, label: ArrayLike) -> tuple[Scores, NDArray[np.int64]]:
    """Return arrays (repeats, cases, labels) and (cases,). Raises ValueError if they do not fit."""
    table = np.asarray(probability, dtype=np.float64)
    table = table[None] if table.ndim == 2 else table
    y_true = np.asarray(label)
    if table.ndim != 3 or y_true.shape != table.shape[1:2] or not table.size:
        raise ValueError(f"probabilities {table.shape} do not fit labels {y_true.shape}")
    if not np.isfinite(table).all():
        raise ValueError("probabilities must be finite")
    return table, y_true


def _scores_and_truth(y_true: ArrayLike, score: ArrayLike) -> tuple[Scores, Truth]:
    """Return arrays (cases,) each. Raises ValueError where they do not fit."""
    values, positive = np.asarray(score, dtype=np.float64), np.asarray(y_true, dtype=bool)
    if values.ndim != 1 or values.shape != positive.shape:
        raise ValueError(f"scores {values.shape} do not fit the truth {positive.shape}")
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite")
    return values, positive


def _predicted_and_true(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Truth, Truth]:
    """Return arrays (repeats, cases) and (cases,). Raises ValueError where they do not fit."""
    predicted = np.atleast_2d(np.asarray(y_pred, dtype=bool))
    positive = np.asarray(y_true, dtype=bool)
    if predicted.ndim != 2 or positive.shape != predicted.shape[1:]:
        raise ValueError(f"answers {predicted.shape} do not fit the truth {positive.shape}")
    return predicted, positive


def _check_prevalence(prevalence: float | None) -> None:
    """Raise ValueError unless the prevalence is None or between 0 and 1."""
    if prevalence is not None and not 0 < prevalence < 1:
        raise ValueError(f"a prevalence is between 0 and 1, not {prevalence}")


def score(probability: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Return accuracy and log loss of each case, from probabilities (N, labels) and labels (N,).

    >>> import torch
    >>> score(torch.tensor([[0.5, 0.5], [0.8, 0.2]]), torch.tensor([0, 1]))
    {'accuracy': tensor([1., 0.]), 'log loss': tensor([0.6931, 1.6094])}
    """
    return {
        "accuracy": (probability.argmax(1) == label).float(),
        "log loss": F.nll_loss(probability.clamp(min=1e-12).log(), label, reduction="none"),
    }
