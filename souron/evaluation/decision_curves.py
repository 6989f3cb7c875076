"""Decision curves of several methods on the same cases, and the checks that say how far to trust them.

Methods predict probabilities of one class against the rest, or call cases without a probability, as readers do: their
calls are the same at every threshold.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from souron.data.prediction_table import NAMED
from souron.data.predictions import HALF, KINDS, Predictions, canonical
from souron.metrics import classification, net_benefit, ranking
from souron.metrics.metric import Metric
from souron.metrics.ranking import FEWEST, Ranking
from souron.stats import intervals
from souron.stats.records import Measure, Row
from souron.stats.variance import Scores
from souron.utils.messages import UserError, _, listed

STEPS = (0.001, 0.002, 0.005, 0.01, 0.02)
MOST_POINTS = 100  # of a curve
DIGITS = 6  # of a threshold
PERCENTS = tuple(round(number / 100, DIGITS) for number in range(1, 100))
RARE = tuple(round(number / 1000, DIGITS) for number in range(1, 10))  # prevalences below 1 %
CERTAIN = 0.99  # level at which probabilities are called badly calibrated
ABOVE = 1e-12  # what a net benefit differs by at least

Range = tuple[float, float]


@dataclass(frozen=True)
class Risks:
    """Predicted risks of one class, (S, C) by method; calls are 0 or 1."""

    positive: str
    y_true: NDArray[np.bool_]  # (C,)
    methods: dict[str, Scores]
    called: bool  # without probabilities
    groups: Any = None  # (C,) numbers of patients
    trainings: Any = None  # (S, C)

    @property
    def units(self) -> int:
        """Return the number of patients, or of cases without patients."""
        return len(self.y_true) if self.groups is None else len(np.unique(self.groups))

    def calls(self, method: str, threshold: float) -> NDArray[np.bool_]:
        """Return whether each case (S, C) is called at a threshold."""
        return self.methods[method] >= (HALF if self.called else threshold)

    def weights(self, prevalence: float | None) -> Scores:
        """Return the weight of each case (C,), with the mean 1: that of its class at a given prevalence."""
        share = float(self.y_true.mean())
        p = share if prevalence is None else prevalence
        return np.where(self.y_true, p / share, (1 - p) / (1 - share))


@dataclass(frozen=True)
class Point:
    """A method at one threshold."""

    threshold: float
    net_benefit: Measure
    standardised: Measure
    against_default: Measure  # difference from the better one of treating all and treating none
    avoided: Measure  # interventions avoided among 100


@dataclass(frozen=True)
class Rates:
    """Sensitivity and specificity at one threshold, and the correlation of their errors."""

    threshold: float
    sensitivity: Measure
    specificity: Measure
    together: float


@dataclass(frozen=True)
class Curve:
    """The decision curve of a method."""

    system: str
    points: tuple[Point, ...]
    rates: tuple[Rates, ...]
    better: tuple[Range, ...]  # thresholds at which it is above treating all and treating none in these cases
    certain: tuple[Range, ...]  # those at which the interval of the difference is, too
    inside: float  # share of the predicted risks within the range of thresholds
    predicted: float  # mean predicted risk, at the prevalence if one is given
    miscalibration: str  # "level", "extreme" or "central" where these cases contradict the predicted risks, else ""


@dataclass(frozen=True)
class Decision:
    """Decision curves, and the pairs of methods at the first of the marked thresholds."""

    risks: Risks
    prevalence: float  # as given, or that of the cases
    given: bool
    marked: tuple[float, ...]  # thresholds of the tables
    curves: tuple[Curve, ...]  # the highest net benefit at the first marked threshold first
    everyone: tuple[Measure, ...]  # treating all, at the thresholds of ``points``
    ranking: Ranking  # of the methods at the first marked threshold

    @property
    def few(self) -> bool:
        """Return whether there are too few patients for any verdict."""
        return self.risks.units < FEWEST

    @property
    def thresholds(self) -> list[float]:
        return [point.threshold for point in self.curves[0].points]


def risks_of(data: Predictions, positive: str = "") -> Risks:
    """Return the predicted risks of ``positive``, by default the positive one of two classes. Raises UserError."""
    if data.kind not in ("probability", "labels") or data.truth is None:
        raise UserError(
            "kind",
            _("a decision curve needs probabilities, and these are {kind}").format(kind=_(KINDS[data.kind])),
            expected=_("columns method:class, or one column of probabilities for each method"),
            exit=3,
        )
    number = _number(data, canonical(positive) if positive else "")
    y_true = data.truth == number
    if y_true.all() or not y_true.any():
        raise UserError(
            "one class",
            _("all cases have the same truth: {names}").format(
                names=data.classes[int(data.truth[0])]
                if y_true.all()
                else _("not {name}").format(name=data.classes[number])
            ),
            expected=_("cases with and without the class to detect"),
            exit=3,
        )
    labels = data.kind == "labels"
    methods = {
        method: (values == number).astype(np.float64) if labels else values[..., number]
        for method, values in data.methods.items()
    }
    return Risks(data.classes[number], y_true, methods, labels, data.groups, data.trainings)


def _number(data: Predictions, name: str) -> int:
    """Return the number of the class to detect; one of two is chosen only where its name says so. Raises UserError."""
    classes = data.classes
    if name in classes:
        return classes.index(name)
    if not name and data.positive is not None:
        reverse = classes[::-1]
        if reverse[classification.positive_class(reverse)] == classes[classification.positive_class(classes)]:
            return data.positive
    problem = _("there is no class named {name}").format(name=name)
    if not name:
        problem = _("there are {count} classes, and none is named as the one to detect").format(count=len(classes))
    raise UserError(
        "positive",
        problem,
        expected=_("one class, which is held against the rest: {names}").format(names=listed(list(classes), 2 * NAMED)),
        fix=f"positive={classes[0]}",
        exit=3,
    )


def grid(low: float, high: float, marks: Sequence[float] = ()) -> tuple[float, ...]:
    """Return thresholds from ``low`` to ``high`` in even steps, with both ends and the marked ones between them.

    >>> grid(0.01, 0.05, [0.025])[:3], len(grid(0.01, 0.5))
    ((0.01, 0.011, 0.012), 99)
    """
    step = next((step for step in STEPS if (high - low) / step <= MOST_POINTS), STEPS[-1])
    even = [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    within = [mark for mark in marks if low <= mark <= high]
    return tuple(sorted({round(threshold, DIGITS) for threshold in (low, *even, *within, high)}))


def prevalences(own: float) -> tuple[float, ...]:
    """Return the positions of a slider of prevalences, with that of the cases.

    >>> prevalences(0.025)[8:13]
    (0.009, 0.01, 0.02, 0.025, 0.03)
    """
    return tuple(sorted({*RARE, *PERCENTS, round(own, DIGITS)}))


def decision(
    risks: Risks, thresholds: Sequence[float], marks: Sequence[float], prevalence: float | None, slider: Sequence[float]
) -> Decision:
    """Compute the curve of each method at ``thresholds``, and its rates at ``slider``, the page's thresholds.

    ``marks`` are some of the thresholds; pairs of methods are judged at the first.
    """
    curves = [_curve(risks, method, thresholds, prevalence, slider) for method in risks.methods]
    index = list(thresholds).index(marks[0])
    curves.sort(key=lambda curve: -curve.points[index].net_benefit.value)
    rows = [Row(curve.system, "net benefit", curve.points[index].net_benefit.value, 0, 0) for curve in curves]
    return Decision(
        risks,
        float(risks.y_true.mean()) if prevalence is None else prevalence,
        prevalence is not None,
        tuple(marks),
        tuple(curves),
        tuple(net_benefit.treat_all(risks.y_true, threshold, risks.groups, prevalence) for threshold in thresholds),
        _ranking(risks, rows, marks[0], prevalence),
    )


def _ranking(risks: Risks, rows: Sequence[Row], threshold: float, prevalence: float | None) -> Ranking:
    """Judge each pair of methods by net benefit at a threshold."""
    scores = {
        row.system: net_benefit.benefit_scores(risks.y_true, risks.calls(row.system, threshold), threshold, prevalence)
        for row in rows
    }
    metric = Metric("net benefit", among="" if prevalence is None else "both")  # a sample of each class has its weight
    return ranking.rank(metric, rows, scores, risks.groups, risks.trainings, risks.y_true)


def _curve(
    risks: Risks, method: str, thresholds: Sequence[float], prevalence: float | None, slider: Sequence[float]
) -> Curve:
    points = tuple(_point(risks, method, threshold, prevalence) for threshold in thresholds)
    values = risks.methods[method]
    return Curve(
        method,
        points,
        tuple(_rates(risks, method, threshold) for threshold in slider),
        _ranges(points, lambda point: point.against_default.value > ABOVE),
        _ranges(points, lambda point: point.against_default.low > ABOVE),
        float(((values >= thresholds[0]) & (values <= thresholds[-1])).mean()),
        float((values * risks.weights(prevalence)).mean()),
        "" if risks.called else _miscalibration(risks, values, prevalence),
    )


def _point(risks: Risks, method: str, threshold: float, prevalence: float | None) -> Point:
    calls, common = risks.calls(method, threshold), (threshold, risks.groups, prevalence, 0.95, risks.trainings)
    benefit = net_benefit.net_benefit(risks.y_true, calls, *common)
    over_all = net_benefit.against_all(risks.y_true, calls, *common)
    return Point(
        threshold,
        benefit,
        net_benefit.standardised(risks.y_true, calls, *common),
        net_benefit.lesser(benefit, over_all),
        net_benefit.interventions_avoided(over_all, threshold),
    )


def _rates(risks: Risks, method: str, threshold: float) -> Rates:
    calls = risks.calls(method, threshold)
    rates = classification.sensitivity_and_specificity(risks.y_true, calls, risks.groups, trainings=risks.trainings)
    return Rates(threshold, *rates)


def _ranges(points: Sequence[Point], good: Callable[[Point], bool]) -> tuple[Range, ...]:
    """Return the ranges of neighbouring thresholds that are good, the widest first."""
    ranges: list[list[float]] = []
    before = False
    for point in points:
        now = good(point)
        if now and before:
            ranges[-1][1] = point.threshold
        elif now:
            ranges.append([point.threshold, point.threshold])
        before = now
    return tuple(sorted(((low, high) for low, high in ranges), key=lambda ends: ends[0] - ends[1]))


def _miscalibration(risks: Risks, values: Scores, prevalence: float | None) -> str:
    """Return how the cases contradict the predicted risks, by patients and trainings; "" where they do not.

    Two means are 0 for calibrated risks p: that of y - p ("level"), and that of (y - p)(1 - 2p), which is above 0 where
    risks are too close to 0 and 1 ("extreme") and below it where they are too far from them ("central") (Spiegelhalter,
    "Probabilistic prediction in patient management and clinical trials", 1986, https://doi.org/10.1002/sim.4780050506).
    """
    away = (risks.y_true - values) * risks.weights(prevalence)
    level, spread = (
        intervals.interval(scores, risks.groups, CERTAIN, risks.trainings) for scores in (away, away * (1 - 2 * values))
    )
    if not level.low <= 0 <= level.high:
        return "level"
    return "extreme" if spread.low > 0 else "central" if spread.high < 0 else ""


__all__ = ["Curve", "Decision", "Point", "Rates", "Risks", "decision", "grid", "risks_of"]
