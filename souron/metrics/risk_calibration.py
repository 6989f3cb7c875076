"""Calibration of predicted risks of a binary outcome: intercept, slope, O:E, and the flexible curve with ICI, E50, E90.

A calibration slope below 1 means that risks are too extreme, a calibration intercept below 0 that they are too high on
average (Cox, "Two further applications of a model for binary regression", 1958; Van Calster et al., "A calibration
hierarchy for risk models was defined", 2016, https://doi.org/10.1016/j.jclinepi.2015.12.005). The ICI is the mean
distance between predicted and observed risks along a flexible curve, E50 and E90 its median and 90th percentile
(Austin and Steyerberg, "The Integrated Calibration Index (ICI) and related metrics for quantifying the calibration of
logistic regression models", 2019, https://doi.org/10.1002/sim.8281). The curve is a logistic regression on a natural
cubic spline of the logit (Harrell, "Regression Modeling Strategies", 2015, section 2.4.5).

Intervals count patients and trainings. Each training, or repeat of a cross-validation, has estimates of its own, and
their mean is reported. ``benchmarks/evidence.py calibration`` shows how often the intervals cover the truth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from souron.stats import logistic
from souron.stats.logistic import Fit
from souron.stats.records import Measure
from souron.stats.variance import Scores, _quantile, spread
from souron.utils.messages import N_

EXTREME = 1e-6  # risks nearer to 0 or 1 count as this: their logit is to be finite
FEWEST = 10  # patients with, and as many without, the outcome
ENOUGH = {5: 300, 4: 100, 3: 0}  # knots of the curve -> cases of the rarer outcome from which it has them
KNOTS = {  # number -> quantiles (Harrell 2015, table 2.3)
    3: (0.1, 0.5, 0.9),
    4: (0.05, 0.35, 0.65, 0.95),
    5: (0.05, 0.275, 0.5, 0.725, 0.95),
}
SHOWN = 101  # points of a curve
CENTRAL = (0.005, 0.995)  # share of the risks that the curve is shown for
DRAWS = 800  # of the curve, for the intervals of ICI, E50 and E90
STRIPS = 100  # risks that stand for all cases in these draws
HALVINGS = 12
REASONS = {  # why something cannot be estimated
    "few": N_("fewer than {count} patients with, or without, the outcome"),
    "constant": N_("all predicted risks are equal"),
    "separated": N_("the predicted risks separate the outcomes perfectly, or single patients decide"),
    "zero": N_("all predicted risks are 0"),
}


@dataclass(frozen=True)
class Curve:
    """Observed risk (M,) for predicted risks (M,), with a pointwise band."""

    risk: Scores
    observed: Scores
    low: Scores
    high: Scores
    knots: int  # of the spline; 0: a straight line in the logit


@dataclass(frozen=True)
class RiskCalibration:
    """Measures by name, and why others cannot be estimated, as keys of ``REASONS``."""

    predicted: float  # mean predicted risk
    observed: float  # share with the outcome
    measures: dict[str, Measure]  # "O:E", "intercept", "slope", "ICI", "E50", "E90"
    reasons: dict[str, str] = field(default_factory=dict)
    curve: Curve | None = None
    chance: float | None = None  # median ICI of a perfectly calibrated model on as many patients
    extreme: int = 0  # predicted risks nearer to 0 or 1 than ``EXTREME``
    wrong: int = 0  # of these, predictions of the other outcome


NAMES = ("O:E", "intercept", "slope", "ICI", "E50", "E90")
DISTANCES = ("ICI", "E50", "E90")
SHARES = (None, 0.5, 0.9)  # quantile of the distances that each is; None: their mean


def risk_calibration(
    risk: ArrayLike,
    outcome: ArrayLike,
    groups: Sequence[Any] | None = None,
    trainings: ArrayLike | None = None,
    level: float = 0.95,
) -> RiskCalibration:
    """Return the calibration of risks (cases,) or (trainings, cases) for an ``outcome`` (cases,) of 0 or 1.

    ``groups`` (cases,) name the patients, ``trainings`` (S, cases) the training behind each risk where a repeat has
    several (``stats.variance.spread``). The intervals of intercept, slope and the logarithm of O:E are Student's with
    the variance by patients (``stats.logistic``). Those of ICI, E50 and E90, which are never below 0 and too large on
    few cases, begin at 0 unless calibrated risks would hardly show as much (``_Flexible.distances``). Raises
    ValueError where risks are not in 0..1 or the outcome is not 0 or 1.

    >>> risk = [0.1, 0.2, 0.3, 0.4] * 40
    >>> made = risk_calibration(risk, [0, 0, 0, 1] * 40)
    >>> round(made.measures["O:E"].value, 2), made.reasons["slope"]
    (1.0, 'separated')
    """
    table, y = _checked(risk, outcome)
    far = abs(table - 0.5) > 0.5 - EXTREME
    extreme, wrong = int(far.sum()), int((far & ((table > 0.5) != (y > 0))).sum())
    calibration = RiskCalibration(float(table.mean()), float(y.mean()), {}, extreme=extreme, wrong=wrong)
    measures, reasons = calibration_line(table, y, groups, trainings, level)
    if "few" in reasons.values():
        return replace(calibration, reasons=dict.fromkeys(NAMES, "few"))
    patients = None if groups is None else len(np.unique(np.asarray(groups)))
    logits = _logits(table)
    flexible = None if "slope" in reasons else _Flexible.of(logits, y, groups)
    if flexible is None:
        reasons |= dict.fromkeys(DISTANCES, reasons.get("slope", "separated"))
        return replace(calibration, measures=measures, reasons=reasons)
    curve = flexible.curve(groups, trainings, level)
    distances, chance = flexible.distances(groups, trainings, level)
    measures |= {name: Measure(*ends, len(y), patients) for name, ends in distances.items()}
    return replace(calibration, measures=measures, reasons=reasons, curve=curve, chance=chance)


def calibration_line(
    risk: ArrayLike,
    outcome: ArrayLike,
    groups: Sequence[Any] | None = None,
    trainings: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[dict[str, Measure], dict[str, str]]:
    """Return O:E, intercept and slope by name, and why others cannot be estimated, as keys of ``REASONS``.

    The arguments are those of ``risk_calibration``, which adds the flexible curve. Raises ValueError.

    >>> measures, _reasons = calibration_line([0.2] * 50 + [0.8] * 50, ([1] + [0] * 4) * 10 + ([1] * 4 + [0]) * 10)
    >>> round(measures["slope"].value, 3), round(measures["intercept"].value, 3)
    (1.0, 0.0)
    """
    table, y = _checked(risk, outcome)
    names = np.arange(len(y)) if groups is None else np.asarray(groups)
    if min(len(np.unique(names[y == design])) for design in (0, 1)) < FEWEST:
        return {}, dict.fromkeys(NAMES[:3], "few")
    logits = _logits(table)
    patients = None if groups is None else len(np.unique(names))

    def measured(scores: Scores, back: Callable[[float], float] = float) -> Measure:
        """Return the mean of scores (S, cases) with Student's interval, on the scale of ``back``."""
        variance, freedom = spread(scores, groups, trainings)
        half = _quantile(level, freedom) * variance**0.5
        value = float(scores.mean())
        return Measure(back(value), back(value - half), back(value + half), len(y), patients)

    measures, reasons = {}, {}
    if (table.sum(1) > 0).all():
        measures["O:E"] = measured(_log_ratio(table, y), lambda log: float(np.exp(log)))
    else:
        reasons["O:E"] = "zero"
    design = np.ones((len(y), 1))
    for name, fits in (
        ("intercept", [logistic.fit(design, y, row, groups) for row in logits]),
        ("slope", [logistic.fit(np.stack([design[:, 0], row], 1), y, None, groups) for row in logits]),
    ):
        usable = [fit for fit in fits if fit is not None]
        if len(usable) == len(fits):
            measures[name] = measured(logistic.scores_of(usable)[..., -1])
        else:
            reasons[name] = "constant" if np.ptp(logits, 1).min() == 0 else "separated"
    return measures, reasons


def _logits(table: Scores) -> Scores:
    return scipy.special.logit(np.clip(table, EXTREME, 1 - EXTREME))


def _checked(risk: ArrayLike, outcome: ArrayLike) -> tuple[Scores, Scores]:
    """Return risks (S, cases) and the outcome (cases,). Raises ValueError."""
    table, y = np.atleast_2d(np.asarray(risk, dtype=np.float64)), np.asarray(outcome, dtype=np.float64)
    if table.ndim != 2 or y.shape != table.shape[1:] or not table.size:
        raise ValueError(f"risks {table.shape} do not fit outcomes {y.shape}")
    if not ((table >= 0) & (table <= 1)).all() or not ((y == 0) | (y == 1)).all():
        raise ValueError("risks lie in 0..1, and outcomes are 0 or 1")
    return table, y


def _log_ratio(risk: Scores, y: Scores) -> Scores:
    """Return scores (S, cases) whose means are log(observed / expected), by the delta method."""
    expected = risk.sum(1, keepdims=True)
    return np.log(y.sum() / expected) + len(y) * (y / y.sum() - risk / expected)


def spline(logits: ArrayLike, knots: Sequence[float]) -> Scores:
    """Return the columns of a natural cubic spline, (..., K): 1, the logit, and one less than the inner knots' number.

    It is linear beyond the first and the last knot. Without knots it is a straight line.

    >>> spline([0.0, 1.0], ()).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    >>> spline([-3.0, 3.0], (-1.0, 0.0, 1.0)).round(2).tolist()
    [[1.0, -3.0, 0.0], [1.0, 3.0, 4.5]]
    """
    x = np.asarray(logits, dtype=np.float64)
    columns = [np.ones_like(x), x]
    if len(knots):
        *inner, before, last = knots
        for knot in inner:
            rest = ((last - knot) * _cube(x - before) - (before - knot) * _cube(x - last)) / (last - before)
            columns.append((_cube(x - knot) - rest) / (last - knots[0]) ** 2)
    return np.stack(columns, -1)


def _cube(x: Scores) -> Scores:
    return np.maximum(x, 0.0) ** 3


def _knots(logits: Scores, count: int) -> tuple[float, ...]:
    """Return the knots at quantiles of the logits; of the different values where many are equal; () for few values."""
    for values in (logits.ravel(), np.unique(logits)):
        knots = np.unique(np.quantile(values, KNOTS[count]))
        if len(knots) == count:
            return tuple(knots.tolist())
    return ()


@dataclass(frozen=True)
class _Flexible:
    """The flexible calibration curve of each training, on one basis."""

    logits: Scores  # (S, N)
    fits: tuple[Fit, ...]
    knots: tuple[float, ...]

    @classmethod
    def of(cls, logits: Scores, y: Scores, groups: Sequence[Any] | None) -> "_Flexible | None":
        """Fit it with as many knots as the cases bear; None where not even a straight line can be fitted."""
        rarer = min(y.sum(), len(y) - y.sum())
        for knots in (*(_knots(logits, count) for count, least in ENOUGH.items() if rarer >= least), ()):
            fits = [logistic.fit(spline(row, knots), y, None, groups) for row in logits]
            complete = tuple(fit for fit in fits if fit is not None)
            if len(complete) == len(fits):
                return cls(logits, complete, knots)
        return None

    def curve(self, groups: Sequence[Any] | None, trainings: ArrayLike | None, level: float) -> Curve:
        """Return the mean curve over the trainings, on the logit's scale, with its pointwise band."""
        scores = logistic.scores_of(self.fits)
        ends = scipy.special.expit(np.quantile(self.logits, CENTRAL))
        risk = ends[0] + (ends[1] - ends[0]) * (1 - np.cos(np.linspace(0, np.pi, SHOWN))) / 2  # dense at both ends
        columns = spline(scipy.special.logit(risk), self.knots)
        middle = columns @ scores.mean((0, 1))
        variance = np.einsum("mk,kl,ml->m", columns, logistic.covariance(scores, groups, trainings), columns)
        freedom = spread(scores[..., 1], groups, trainings)[1]
        half = _quantile(level, freedom) * np.sqrt(np.maximum(variance, 0.0))
        low, value, high = (scipy.special.expit(middle + shift) for shift in (-half, 0.0, half))
        return Curve(risk, value, low, high, len(self.knots))

    def distances(
        self, groups: Sequence[Any] | None, trainings: ArrayLike | None, level: float
    ) -> tuple[dict[str, tuple[float, float, float]], float]:
        """Return ICI, E50 and E90 with their intervals, and the median ICI where the risks are perfectly calibrated.

        Noise bends every curve away from the diagonal, so that all three are too large on few cases, and a bootstrap
        adds this bias once more. The upper end is Student's for the linearised distance (``_halves``). The lower end
        allows for the bias: the curves beta(t) = diagonal + t (estimate - diagonal) lead from perfect calibration at
        t = 0 to the estimate; around each, draws of the coefficients' sampling distribution give estimates, and the
        end is the distance of the first curve whose estimates exceed the observed one in 2.5 % of the draws. It is 0
        where those of perfect calibration do already. Student's lower end counts, too, where it is lower.
        """
        scores = logistic.scores_of(self.fits)
        of_patients = np.mean([logistic.covariance(of_training[None], groups) for of_training in scores], 0)
        noise = _noise(of_patients, spread(scores[:1, :, 1], groups)[1])
        rank = (np.arange(STRIPS) + 0.5) / STRIPS
        strip_logits = np.quantile(self.logits, rank, axis=1, method="inverted_cdf").T  # (S, strips)
        risks = scipy.special.expit(strip_logits)
        diagonal = np.zeros(scores.shape[2])
        diagonal[1] = 1.0
        columns = spline(strip_logits, self.knots)  # (S, strips, K)
        away = np.einsum("smk,sk->sm", columns, scores.mean(1) - diagonal)
        shaken = columns @ noise.T  # (S, strips, draws)

        def statistics(t: float, shift: Any = 0.0) -> Scores:
            """Return the three distances, (3, draws), of the curve at t with noise."""
            curves = scipy.special.expit((strip_logits + t * away)[..., None] + shift)
            return np.mean([_summary(*pair) for pair in zip(curves, risks, strict=True)], 0)

        sampled, perfect = statistics(1.0)[:, 0], statistics(0.0, shaken)
        whole, halves, intervals = self._whole(scores.mean(1)), self._halves(scores, groups, trainings, level), {}
        for index, name in enumerate(DISTANCES):
            value, half, low = float(whole[index]), halves[index], 0.0
            rare = (1 - level) / 2
            if (perfect[index] >= sampled[index]).mean() < rare:
                ends = 0.0, 1.0
                for _halving in range(HALVINGS):
                    t = sum(ends) / 2
                    ends = (
                        (t, ends[1]) if (statistics(t, shaken)[index] >= sampled[index]).mean() < rare else (ends[0], t)
                    )
                low = max(min(float(statistics(t)[index, 0]), value - half), 0.0)
            intervals[name] = value, low, value + half
        return intervals, float(np.median(perfect[0]))

    def _halves(
        self, scores: Scores, groups: Sequence[Any] | None, trainings: ArrayLike | None, level: float
    ) -> list[float]:
        """Return the half-widths of Student's intervals of the linearised distances.

        Each case changes a distance by its own one, and by its influence on the curve; trainings count, too.
        """
        columns = spline(self.logits, self.knots)
        curve = scipy.special.expit(np.einsum("snk,sk->sn", columns, scores.mean(1)))
        away = curve - scipy.special.expit(self.logits)
        slopes = (np.sign(away) * curve * (1 - curve))[..., None] * columns  # (S, cases, K) of a case's distance
        halves = []
        for share in SHARES:
            near, own = zip(*(_quantile_parts(np.abs(row), share) for row in away), strict=True)
            gradient = np.stack([slope[rows].mean(0) for slope, rows in zip(slopes, near, strict=True)])  # (S, K)
            variance, freedom = spread(np.einsum("snk,sk->sn", scores, gradient) + np.stack(own), groups, trainings)
            halves.append(_quantile(level, freedom) * variance**0.5)
        return halves

    def _whole(self, coefficients: Scores) -> Scores:
        """Return the three distances over all cases, the mean of the trainings."""
        curves = np.einsum("snk,sk->sn", spline(self.logits, self.knots), coefficients)
        pairs = zip(scipy.special.expit(curves)[..., None], scipy.special.expit(self.logits), strict=True)
        return np.mean([_summary(*pair)[:, 0] for pair in pairs], 0)


def _quantile_parts(distance: Scores, share: float | None) -> tuple[Any, Scores]:
    """Return the cases that move a quantile of distances (cases,), and scores whose mean it is up to a constant.

    A quantile moves with the distances whose ranks are within a tenth of its own; the mean, ``None``, with all.
    """
    if share is None:
        return slice(None), distance
    low, middle, high = np.quantile(distance, [share - 0.1, share, share + 0.1])
    return (low <= distance) & (distance <= high), (distance > middle) * (high - low) / 0.2


def _summary(curve: Scores, risk: Scores) -> Scores:
    """Return mean, median and 90th percentile (3, draws) of the distances of curves (M, draws) from risks (M,)."""
    distance = np.sort(np.abs(curve - risk[:, None]), axis=0)
    ranks = [round(share * (len(distance) - 1)) for share in SHARES if share is not None]
    return np.stack([distance.mean(0), *distance[ranks]])


def _noise(covariance: Scores, freedom: float) -> NDArray[np.float64]:
    """Return draws (DRAWS, K) of Student's t with a covariance matrix; the same ones each time."""
    random = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(covariance)
    normal = random.standard_normal((DRAWS, len(values))) * np.sqrt(np.maximum(values, 0.0))
    return (normal @ vectors.T) / np.sqrt(random.chisquare(freedom, (DRAWS, 1)) / freedom)


__all__ = ["Curve", "RiskCalibration", "risk_calibration", "spline"]
