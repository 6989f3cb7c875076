"""Measures of several methods' predictions on the same cases, and the verdict on each pair.

Each measure is a mean of scores, one a case and training (``metrics.classification`` has those of
an AUC), so that one path gives intervals by patients and the paired verdict of ``stats.verdict``
with its correction for many pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from souron.data.coco_results import FIGURES
from souron.data.predictions import Predictions, Values
from souron.metrics import calibration, classification, ranking
from souron.metrics.metric import Metric, Unit
from souron.metrics.ranking import Method, Ranking
from souron.stats import verdict
from souron.stats.readers import ReaderVariation
from souron.stats.readers import difference as readers_difference
from souron.stats.records import Measure, Row
from souron.stats.verdict import Difference
from souron.utils.messages import N_

TINY = 1e-12  # least probability in a log loss
READERS = "readers"  # the mean of several readers, as one method
AIDED = "readers with aid"  # the mean of the same readers with aid

ACCURACY = Metric(N_("accuracy"), unit="share")
AUC = Metric(N_("AUC"), kind="area")
METRICS = {
    "labels": (
        ACCURACY,
        Metric(N_("sensitivity"), unit="share", among="positive"),
        Metric(N_("specificity"), unit="share", among="negative"),
        Metric(N_("balanced accuracy"), unit="share", among="both"),
    ),
    "probability": (
        AUC,
        ACCURACY,
        Metric(N_("log loss"), higher_is_better=False, kind="loss", most=27.64),
        Metric(N_("Brier score"), higher_is_better=False, kind="loss", most=2.0),
    ),
    "score": (AUC,),
    "dice": (Metric(N_("mean Dice"), unit="share", kind="overlap"),),
    "error": (Metric(N_("mean error"), higher_is_better=False, unit="mm", kind="error"),),
    "rating": (Metric(N_("mean rating"), kind="scale"),),
    "boxes": tuple(Metric(name, unit="share", kind="share") for name in FIGURES),
}


@dataclass(frozen=True)
class ReaderPair:
    """The difference of readers from a method or from themselves with aid, for whom it holds."""

    a: str
    b: str
    others: Difference  # for other readers and other cases
    these: Difference  # for these readers and other cases

    @property
    def variation(self) -> ReaderVariation:
        """Return the variance components over readers and cases."""
        return cast(ReaderVariation, self.others.variation)


def metrics(data: Predictions, unit: Unit = "mm") -> tuple[Metric, ...]:
    """Return the measures of a table, the deciding one first; ``unit`` is that of errors.

    It is the AUC where there are probabilities or scores for two classes, and the accuracy where
    there are labels, or probabilities of more classes.
    """
    candidates: Sequence[Metric] = METRICS[data.kind]
    if data.kind == "labels" and len(data.classes) > 2:
        candidates = candidates[:1]
    if data.kind == "probability" and len(data.classes) > 2:
        candidates = (ACCURACY, *(metric for metric in candidates if metric != ACCURACY))
    if data.truth is not None and len(np.unique(data.truth)) < 2:
        candidates = [metric for metric in candidates if not metric.by_label]
    if data.kind == "error":
        candidates = [replace(metric, unit=unit) for metric in candidates]
    return tuple(candidates)


def judged(
    data: Predictions,
    metric: Metric,
    margin: float | None = None,
    level: float = 0.95,
    readers: Sequence[str] = (),
    aided: Sequence[str] = (),
) -> Ranking:
    """Rank the methods by a measure of ``metrics`` and judge each pair.

    ``margin``, in points of a share or the measure's unit, adds a ``Margin`` to each pair. The mean of
    ``readers`` is judged in their place, and that of ``aided``, the same readers with aid in the
    same order: for other readers and cases (``stats.readers``), or, with several trainings of the
    methods, for these readers. With fewer than ``FEWEST`` patients each verdict is "cannot tell".

    >>> from souron.data.prediction_table import sheet_of
    >>> from souron.data.predictions import predictions
    >>> cases = [f"case {n}" for n in range(60)]
    >>> columns = {"case": cases, "dice a": ["0.9", "0.8"] * 30, "dice b": ["0.7", "0.6"] * 30}
    >>> found = judged(predictions(sheet_of(columns)), METRICS["dice"][0])
    >>> found.methods[0].system, found.verdicts[0].verdict
    ('dice a', 'better')
    """
    columns: dict[str, tuple[str, ...]] = {name: (name,) for name in data.methods}
    measures = {name: _measure(data, name, metric, level) for name in data.methods}
    alone = tuple(Method(name, measures.pop(name)) for name in (*readers, *aided))
    general = data.seeds == 1 and data.trainings is None
    for name, members in ((READERS, readers), (AIDED, aided)):
        if members:
            columns[name] = tuple(members)
            measures[name] = _mean_measure(data, metric, columns[name], level, general)
    these = {}

    def difference(a: str, b: str) -> Difference:
        between = _difference(data, metric, columns[a], columns[b], level)
        if not (general and {a, b} & {READERS, AIDED}):
            return between
        these[a, b] = between
        return _over_readers(data, metric, columns[a], columns[b], level, between)

    parts = _classes(data, metric)
    per_unit = len(data.cases) / (parts[0].units if len(parts) == 1 else data.units)  # a sensitivity rests on ill ones
    rows = [Row(name, metric.name, measure.value, measure.low, measure.high) for name, measure in measures.items()]
    units = _units(data, metric)
    result = ranking.rank_by(metric, rows, difference, per_unit, margin, level, units)
    return replace(
        result,
        trainings=data.seeds if data.trainings is None else len({*data.trainings.ravel().tolist()}),
        counted="rarer class" if units < data.units else "cases" if data.groups is None else "patients",
        methods=tuple(Method(row.system, measures[row.system]) for row in result.rows),
        readers=alone,
        reader_pairs=tuple(
            ReaderPair(*pair, others, these[pair].at(others.level))
            for pair, others in result.differences.items()
            if pair in these
        ),
    )


def _scores(data: Predictions, columns: Sequence[str], metric: Metric) -> Values:
    """Return the scores (columns, S, C) of a method, or of each of several readers."""
    return np.stack([pseudo_scores(data, name, metric.name) for name in columns])


def _classes(data: Predictions, metric: Metric) -> list[Predictions]:
    """Return the cases of each class of which a measure is a mean; none for one of all cases."""
    if not metric.among or data.truth is None:
        return []
    ill = data.truth == data.positive
    masks = {"positive": (ill,), "negative": (~ill,), "both": (ill, ~ill)}[metric.among]
    return [data.only(mask) for mask in masks]


def _difference(
    data: Predictions, metric: Metric, first: Sequence[str], other: Sequence[str], level: float
) -> Difference:
    """Judge a method, or the mean of these readers, against another, > 0 for ``first``."""
    parts = _classes(data, metric)
    of_class = [_difference(part, ACCURACY, first, other, level) for part in parts]
    if len(parts) == 1:
        return of_class[0]
    a, b = (_scores(data, columns, metric).mean(0) for columns in (first, other))
    strata = data.truth if metric.by_label else None
    whole = verdict.difference(
        a, b, level, metric.higher_is_better, data.groups, data.trainings, strata, "mean" if parts else metric.kind
    )
    if not parts:
        return whole
    return verdict.averaged(whole, of_class[0], of_class[1], _alike((a - b).mean(0), data))


def _alike(apart: Values, data: Predictions) -> float:
    """Return the correlation of the differences (C,) in two classes, through patients with cases of both."""
    if data.groups is None:
        return 0.0
    _names, who = np.unique(data.groups, return_inverse=True)
    away = apart - apart.mean()
    ill, well = (
        np.bincount(who, away * (data.truth == data.positive)),
        np.bincount(who, away * (data.truth != data.positive)),
    )
    size = float(np.sqrt((ill**2).sum() * (well**2).sum()))
    return float(ill @ well) / size if size else 0.0


def _over_readers(
    data: Predictions, metric: Metric, mine: Sequence[str], other: Sequence[str], level: float, these: Difference
) -> Difference:
    """Judge readers against a method, or against the same readers with aid, for other readers, too; > 0 for ``mine``.

    The interval is never narrower than that for these readers.
    """
    parts = _classes(data, metric)
    if len(parts) == 1:
        return _over_readers(parts[0], ACCURACY, mine, other, level, these)
    first, second = (_scores(data, columns, metric)[:, 0] for columns in (mine, other))
    apart = first - second if metric.higher_is_better else second - first
    binary = bool(np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all())
    strata = data.truth if metric.by_label else None
    groups = None if data.groups is None else data.groups.tolist()
    return readers_difference(apart, level, groups, strata, float(binary), lambda level: _ends(these.at(level)))


def _ends(difference: Difference) -> tuple[float, float]:
    return difference.low, difference.high


def _mean_measure(data: Predictions, metric: Metric, columns: Sequence[str], level: float, general: bool) -> Measure:
    """Return the mean measure of several readers with its interval by patients.

    Where it is ``general``, for other readers, too, it is never narrower than for these.
    """
    scores = _scores(data, columns, metric)
    measure = metric.measure(scores.mean(0), data.groups, data.trainings, level, data.truth)
    if not general:
        return measure
    difference = readers_difference(scores[:, 0], level, data.groups, data.truth if metric.by_label else None)
    least, most = metric.bounds
    return replace(
        measure, low=min(measure.low, max(difference.low, least)), high=max(measure.high, min(difference.high, most))
    )


def by_site(data: Predictions, metric: Metric) -> dict[str, dict[str, Measure]]:
    """Return the measure of each method at each site; nan where a site has no such measure."""
    sites = np.array(data.sites)
    measures: dict[str, dict[str, Measure]] = {}
    for site in dict.fromkeys(data.sites):
        part = data.only(sites == site)
        one_class = part.truth is not None and metric.by_label and len(np.unique(part.truth)) < 2
        if not one_class:
            measures[site] = {name: _measure(part, name, metric, 0.95) for name in part.methods}
    return measures


def pseudo_scores(data: Predictions, name: str, metric: str) -> Values:
    """Return scores (S, C) of a method whose mean is the measure."""
    values = data.methods[name]
    if data.kind == "boxes":
        return values[..., FIGURES.index(metric)]
    if data.truth is None:
        return values
    if metric == "accuracy":
        return (_labels(data, values) == data.truth).astype(np.float64)
    if metric == "AUC":
        return classification.auc_scores(_probabilities(data, values), data.truth, data.groups)
    if metric == "log loss":
        return -np.log(np.maximum(values[:, np.arange(len(data.cases)), data.truth], TINY))
    if metric == "Brier score":
        return calibration.brier(values, data.truth)
    return classification.threshold_scores(data.truth == data.positive, values == data.positive)[metric]


def _measure(data: Predictions, name: str, metric: Metric, level: float) -> Measure:
    """Return a measure with its interval by patients."""
    values, groups, trainings = data.methods[name], data.groups, data.trainings
    if metric.among and data.truth is not None:
        true, predicted = data.truth == data.positive, values == data.positive
        return classification.at_threshold(true, predicted, groups, level=level, trainings=trainings)[metric.name]
    return metric.measure(pseudo_scores(data, name, metric.name), groups, trainings, level, data.truth)


def _labels(data: Predictions, values: Values) -> Values:
    """Return class numbers (S, C) of labels or probabilities."""
    return values if values.ndim == 2 else values.argmax(2)


def _probabilities(data: Predictions, values: Values) -> Values:
    """Return probabilities (S, C, K), or scores (S, C) in their form."""
    if values.ndim == 3:
        return values
    of_last = values if data.positive == 1 else -values
    return np.stack([-of_last, of_last], 2)


def _units(data: Predictions, metric: Metric) -> int:
    """Return the patients, or cases, that a verdict rests on; those of the rarer class where it is by class."""
    if not metric.by_label or data.truth is None:
        return data.units
    parts = _classes(data, metric) or [data.only(data.truth == label) for label in np.unique(data.truth)]
    return min(part.units for part in parts)
