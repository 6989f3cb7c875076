"""Sample sizes of studies of diagnostic accuracy and of prediction models with a binary outcome.

All functions count independent patients and return whole numbers, rounded up. ``share`` and ``prevalence`` are
proportions, ``half_width`` is half of an interval's width, ``width`` the whole of it, ``level`` the two-sided
confidence level. Normal quantiles are exact, where tables of the papers use 1.96.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from souron.stats.intervals import _wilson

MOST = 10**9  # patients; more is no plan
NODES = 4001  # of integrals over the linear predictor
REACH = 12.0  # standard deviations that these integrals span
RULE_OF_THUMB = 0.15  # of the largest possible Cox-Snell R2, where nothing is known about a model
MOST_PARAMETERS = 30  # for which the formula of the mean error was fitted


def quantile(level: float) -> float:
    """Return the normal quantile of a two-sided level.

    >>> round(quantile(0.95), 2)
    1.96
    """
    return float(scipy.special.ndtri((1 + level) / 2))


def least(enough: Callable[[int], bool], first: int = 1) -> int:
    """Return the smallest number from ``first`` on that is enough, where all larger ones are.

    Raises ValueError where a billion is not enough.

    >>> least(lambda n: n * n >= 50)
    8
    """
    high = first
    while not enough(high):
        if high > MOST:
            raise ValueError("more than a billion patients")
        high *= 2
    low = max(first - 1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def design_effect(size: float, icc: float) -> float:
    """Return by how much clusters of ``size`` cases increase a variance: 1 + (size - 1) ICC.

    Kish: Survey Sampling (1965), section 5.4.

    >>> design_effect(3, 0.5)
    2.0
    """
    return 1 + (size - 1) * icc


def intraclass_correlation(values: ArrayLike, groups: Sequence[Any]) -> float:
    """Return the correlation of the values (cases,) of a group, by one-way analysis of variance; at least 0.

    0 where no group has two cases. Fleiss, Levin, Paik: Statistical Methods for Rates and Proportions (2003), ch. 15.

    >>> round(intraclass_correlation([1, 1, 0, 0, 1, 0], ["a", "a", "b", "b", "c", "c"]), 2)
    0.5
    """
    table = np.asarray(values, dtype=np.float64)
    _names, member, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    n, count = len(table), len(sizes)
    if not 1 < count < n:
        return 0.0
    means = np.bincount(member, table) / sizes
    between = float((sizes * (means - table.mean()) ** 2).sum()) / (count - 1)
    within = float(((table - means[member]) ** 2).sum()) / (n - count)
    usual = (n - float((sizes**2).sum()) / n) / (count - 1)
    below = between + (usual - 1) * within
    return max((between - within) / below, 0.0) if below > 0 else 0.0


def proportion(share: float, half_width: float, level: float = 0.95, wilson: bool = False) -> int:
    """Return the cases that estimate a proportion to a half-width.

    With the normal approximation n = z^2 p (1 - p) / w^2, as in Buderer: Statistical Methodology: I. Incorporating
    the Prevalence of Disease into the Sample Size Calculation for Sensitivity and Specificity (1996),
    https://doi.org/10.1111/j.1553-2712.1996.tb03538.x. ``wilson``: the least n at which half of Wilson's score
    interval around the expected proportion is not wider.

    >>> proportion(0.9, 0.1), proportion(0.9, 0.1, wilson=True)
    (35, 37)
    """
    z = quantile(level)
    if not wilson:
        return math.ceil(z**2 * share * (1 - share) / half_width**2)

    def enough(n: int) -> bool:
        low, high = _wilson(share, n, z)
        return (high - low) / 2 <= half_width

    return least(enough)


def auc_variance(auc: float, diseased: float, others: float) -> float:
    """Return the variance of an area under the ROC curve.

    Hanley, McNeil: The Meaning and Use of the Area under a Receiver Operating Characteristic (ROC) Curve (1982),
    https://doi.org/10.1148/radiology.143.1.7063747, with their Q1 and Q2 for exponential distributions.

    >>> round(auc_variance(0.893, 51, 58) ** 0.5, 3)
    0.033
    """
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (diseased - 1) * (q1 - auc**2) + (others - 1) * (q2 - auc**2)
    return spread / (diseased * others)


def _areas(n: int, prevalence: float) -> tuple[float, float]:
    """Return the expected patients with and without the disease, at least one of each."""
    return max(n * prevalence, 1.0), max(n * (1 - prevalence), 1.0)


def auc_precision(auc: float, prevalence: float, half_width: float, level: float = 0.95) -> int:
    """Return the patients that estimate an AUC to a half-width, with the variance of ``auc_variance``.

    >>> auc_precision(0.85, 0.2, 0.05)
    484
    """
    z = quantile(level)
    return least(lambda n: z * math.sqrt(auc_variance(auc, *_areas(n, prevalence))) <= half_width, 2)


def auc_power(auc: float, null: float, prevalence: float, power: float = 0.8, level: float = 0.95) -> int:
    """Return the patients with which an AUC is shown to differ from ``null``, tested on two sides.

    The variances under the null value and under the expected one are those of ``auc_variance``.

    >>> auc_power(0.85, 0.75, 0.2) > auc_power(0.85, 0.7, 0.2)
    True
    """
    z, z_power = quantile(level), float(scipy.special.ndtri(power))

    def enough(n: int) -> bool:
        counts = _areas(n, prevalence)
        under = math.sqrt(auc_variance(null, *counts))
        return z * under + z_power * math.sqrt(auc_variance(auc, *counts)) <= abs(auc - null)

    return least(enough, 2)


def auc_difference(
    auc: float, other: float, correlation: float, prevalence: float, power: float = 0.8, level: float = 0.95
) -> int:
    """Return the patients with which two AUCs of the same patients are shown to differ.

    The variance of the difference is V1 + V2 - 2 r SE1 SE2 after Hanley, McNeil: A Method of Comparing the Areas under
    Receiver Operating Characteristic Curves Derived from the Same Cases (1983),
    https://doi.org/10.1148/radiology.148.3.6878708. ``correlation`` is r, that of the two areas, not of the scores.
    Under the null both areas are their mean.

    >>> auc_difference(0.85, 0.8, 0.6, 0.2) < auc_difference(0.85, 0.8, 0.3, 0.2)
    True
    """
    z, z_power = quantile(level), float(scipy.special.ndtri(power))
    mean = (auc + other) / 2

    def enough(n: int) -> bool:
        counts = _areas(n, prevalence)
        sd, other_sd, null = (math.sqrt(auc_variance(area, *counts)) for area in (auc, other, mean))
        apart = math.sqrt(sd**2 + other_sd**2 - 2 * correlation * sd * other_sd)
        return z * null * math.sqrt(2 * (1 - correlation)) + z_power * apart <= abs(auc - other)

    return least(enough, 2)


def mcnemar(discordant: float, difference: float, power: float = 0.8, level: float = 0.95) -> int:
    """Return the pairs with which McNemar's test finds a difference of two proportions of the same cases.

    ``discordant`` is the share of cases that one method gets right and the other wrong, ``difference`` that of the
    two proportions, at most ``discordant``. Connor: Sample Size for Testing Differences in Proportions for the
    Paired-Sample Design (1987), https://doi.org/10.2307/2531961.

    >>> mcnemar(0.5, 0.4)
    23
    """
    z, z_power = quantile(level), float(scipy.special.ndtri(power))
    root = z * math.sqrt(discordant) + z_power * math.sqrt(discordant - difference**2)
    return math.ceil(root**2 / difference**2)


def not_inferior(discordant: float, margin: float, power: float = 0.8, level: float = 0.95) -> int:
    """Return the pairs with which one of two equal methods is shown not to be inferior by ``margin``.

    The lower end of the two-sided interval of their difference is then above -margin. The variance is the usual one,
    discordant / n. Liu, Hsueh, Hsieh, Chen: Tests for Equivalence or Non-inferiority for Paired Binary Data (2002),
    https://doi.org/10.1002/sim.1012.

    >>> not_inferior(0.15, 0.02)
    2944
    """
    z, z_power = quantile(level), float(scipy.special.ndtri(power))
    return math.ceil((z + z_power) ** 2 * discordant / margin**2)


@dataclass(frozen=True)
class LinearPredictor:
    """A normal distribution of a model's linear predictor, the log-odds of its risks, which are taken as correct."""

    mean: float
    sd: float

    @classmethod
    def of(cls, prevalence: float, auc: float) -> "LinearPredictor":
        """Find the normal distribution with which a correct model has this prevalence and this AUC.

        >>> found = LinearPredictor.of(0.2, 0.8)
        >>> round(found.prevalence, 4), round(found.auc, 4)
        (0.2, 0.8)
        """

        def centred(sd: float) -> "LinearPredictor":
            return cls(
                scipy.optimize.brentq(lambda mean: cls(mean, sd).prevalence - prevalence, -60 - 3 * sd, 60 + 3 * sd), sd
            )

        sd = scipy.optimize.brentq(lambda sd: centred(sd).auc - auc, 1e-3, 40.0, xtol=1e-8)
        return centred(sd)

    def grid(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return values of the predictor, their probabilities and their risks, (``NODES``,) each."""
        normal = np.linspace(-REACH, REACH, NODES)
        weights = np.exp(-(normal**2) / 2)
        value = self.mean + self.sd * normal
        return value, weights / weights.sum(), scipy.special.expit(value)

    @property
    def prevalence(self) -> float:
        _value, weight, risk = self.grid()
        return float((weight * risk).sum())

    @property
    def auc(self) -> float:
        _value, weight, risk = self.grid()
        cases, others = weight * risk, weight * (1 - risk)
        below = np.cumsum(others) - others / 2  # ties count half
        return float((cases * below).sum() / (cases.sum() * others.sum()))

    def information(self) -> tuple[float, float, float]:
        """Return the information of one patient on intercept, both, and slope of a logistic recalibration."""
        value, weight, risk = self.grid()
        bernoulli = weight * risk * (1 - risk)
        return float(bernoulli.sum()), float((bernoulli * value).sum()), float((bernoulli * value**2).sum())

    def at(self, threshold: float) -> tuple[float, float]:
        """Return sensitivity and specificity where a risk from ``threshold`` on counts as positive."""
        value, weight, risk = self.grid()
        positive = value >= scipy.special.logit(threshold)
        cases, others = weight * risk, weight * (1 - risk)
        return float(cases[positive].sum() / cases.sum()), float(others[~positive].sum() / others.sum())


# external validation. Riley, Debray, Collins, et al.: Minimum sample size for external validation of a clinical
# prediction model with a binary outcome (2021), https://doi.org/10.1002/sim.9025; Riley, Snell, Archer, et al.:
# Evaluation of clinical prediction models (part 3) (2024), https://doi.org/10.1136/bmj-2023-074821


def observed_expected(prevalence: float, width: float, level: float = 0.95) -> int:
    """Return the patients that estimate observed / expected = 1 to an interval of this width.

    The interval is that of the logarithm, whose variance is (1 - prevalence) / (n prevalence); so its standard error
    is asinh(width / 2) / z.

    >>> observed_expected(0.1, 0.2)
    3469
    """
    error = math.asinh(width / 2) / quantile(level)
    return math.ceil((1 - prevalence) / (prevalence * error**2))


def calibration_slope(predictor: LinearPredictor, width: float, level: float = 0.95) -> int:
    """Return the patients that estimate a calibration slope of 1 to an interval of this width.

    >>> calibration_slope(LinearPredictor(-2.0, 1.0), 0.3)
    1920
    """
    error = width / 2 / quantile(level)
    intercept, both, slope = predictor.information()
    return math.ceil(intercept / (error**2 * (intercept * slope - both**2)))


def c_statistic(auc: float, prevalence: float, width: float, level: float = 0.95) -> int:
    """Return the patients that estimate the c statistic to an interval of this width.

    Newcombe: Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2 (2006),
    https://doi.org/10.1002/sim.2324, as in Riley et al.

    >>> c_statistic(0.8, 0.018, 0.1)
    4252
    """
    error = width / 2 / quantile(level)

    def enough(n: int) -> bool:
        more = (n / 2 - 1) * ((1 - auc) / (2 - auc) + auc / (1 + auc))
        return auc * (1 - auc) * (1 + more) <= error**2 * n**2 * prevalence * (1 - prevalence)

    return least(enough, 2)


def net_benefit(
    sensitivity: float, specificity: float, prevalence: float, threshold: float, width: float, level: float = 0.95
) -> int:
    """Return the patients that estimate the standardised net benefit to an interval of this width.

    It is sensitivity - (1 - specificity) odds(threshold) (1 - prevalence) / prevalence; its variance by the delta
    method.

    >>> net_benefit(0.8, 0.8, 0.2, 0.1, 0.2)
    342
    """
    error = width / 2 / quantile(level)
    odds = threshold / (1 - threshold)
    others = 1 - prevalence
    variance = (
        sensitivity * (1 - sensitivity) / prevalence
        + odds**2 * specificity * (1 - specificity) * others / prevalence**2
        + odds**2 * (1 - specificity) ** 2 * others / prevalence**3
    )
    return math.ceil(variance / error**2)


# development. Riley, Ensor, Snell, et al.: Calculating the sample size required for developing a clinical prediction
# model (2020), https://doi.org/10.1136/bmj.m441; Riley, Snell, Ensor, et al.: Minimum sample size for developing a
# multivariable prediction model: Part II (2019), https://doi.org/10.1002/sim.7992


def largest_r2(prevalence: float) -> float:
    """Return the largest Cox-Snell R2 that a model of a binary outcome can have.

    >>> round(largest_r2(0.5), 2)
    0.75
    """
    entropy = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    return 1 - math.exp(2 * entropy)


def r2_of_auc(prevalence: float, auc: float) -> float:
    """Return the Cox-Snell R2 of a logistic model with this AUC.

    The linear predictor is normal with one variance among those with and those without the outcome, as in Riley, Van
    Calster, Collins: A note on estimating the Cox-Snell R2 from a reported C statistic (2021),
    https://doi.org/10.1002/sim.8806; the integral takes the place of their simulation.

    >>> round(r2_of_auc(0.174, 0.89), 2)
    0.29
    """
    apart = math.sqrt(2) * float(scipy.special.ndtri(auc))
    z = np.linspace(-REACH, REACH + apart, NODES)
    others = (1 - prevalence) * np.exp(-(z**2) / 2)
    cases = prevalence * np.exp(-((z - apart) ** 2) / 2)
    log_odds = apart * z - apart**2 / 2 + math.log(prevalence / (1 - prevalence))
    whole = others.sum() + cases.sum()
    log_loss = -(cases * np.logaddexp(0, -log_odds) + others * np.logaddexp(0, log_odds)).sum() / whole
    null = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    return 1 - math.exp(-2 * (float(log_loss) - null))


def shrinkage(parameters: int, r2: float, factor: float = 0.9) -> int:
    """Return the patients with which a model's coefficients are expected to need a shrinkage of ``factor`` only.

    ``r2`` is the Cox-Snell R2, below ``factor``.

    >>> shrinkage(24, 0.288)
    623
    """
    return math.ceil(parameters / ((factor - 1) * math.log(1 - r2 / factor)))


def optimism(parameters: int, r2: float, prevalence: float, most: float = 0.05) -> int:
    """Return the patients with which Nagelkerke's R2 is expected to be too high by ``most`` at most.

    >>> optimism(24, 0.288, 0.174)
    662
    """
    return shrinkage(parameters, r2, r2 / (r2 + most * largest_r2(prevalence)))


def overall_risk(prevalence: float, half_width: float = 0.05, level: float = 0.95) -> int:
    """Return the patients that estimate the overall risk to a half-width.

    >>> overall_risk(0.174)
    221
    """
    return proportion(prevalence, half_width, level)


def mean_error(parameters: int, prevalence: float, most: float = 0.05) -> int:
    """Return the patients with which predicted risks are expected to be off by ``most`` on average.

    van Smeden, Moons, de Groot, et al.: Sample size for binary logistic prediction models: Beyond events per variable
    criteria (2019), https://doi.org/10.1177/0962280218784726. The formula was fitted for at most ``MOST_PARAMETERS``.

    >>> mean_error(24, 0.174)
    801
    """
    rarer = min(prevalence, 1 - prevalence)
    power = -0.508 + 0.259 * math.log(rarer) + 0.504 * math.log(parameters) - math.log(most)
    return math.ceil(math.exp(power / 0.544))


def development(
    parameters: int,
    r2: float,
    prevalence: float,
    factor: float = 0.9,
    most_optimism: float = 0.05,
    half_width: float = 0.05,
    most_error: float = 0.05,
    level: float = 0.95,
) -> dict[str, int]:
    """Return the patients for each of the four criteria of developing a model (Riley et al. 2020).

    >>> development(24, 0.288, 0.174)
    {'shrinkage': 623, 'optimism': 662, 'overall risk': 221, 'mean error': 801}
    """
    return {
        "shrinkage": shrinkage(parameters, r2, factor),
        "optimism": optimism(parameters, r2, prevalence, most_optimism),
        "overall risk": overall_risk(prevalence, half_width, level),
        "mean error": mean_error(parameters, prevalence, most_error),
    }
