"""Several readers of the same cases against one method, or without and with aid: for other readers and other cases.

Obuchowski and Rockette: Hypothesis Testing of Diagnostic Accuracy for Multiple Readers and Multiple
Tests: an ANOVA Approach with Dependent Observations (1995). https://doi.org/10.1080/03610919508813243
Hillis: A Comparison of Denominator Degrees of Freedom Methods for Multiple Observer ROC Analysis
(2007). https://doi.org/10.1002/sim.2532
Hillis, Obuchowski and Berbaum: Power Estimation for Multireader ROC Methods: an Updated and Unified
Approach (2011). https://doi.org/10.1016/j.acra.2010.09.007
Hupse and others: Standalone Computer-Aided Detection Compared to Radiologists' Performance for the
Detection of Mammographic Masses (2013). https://doi.org/10.1007/s00330-012-2562-7

The difference of reader j from the method follows the model of one treatment,

    D_j = mean + R_j + e_j        var(e_j) = error, cov(e_j, e_k) = covariance

where R_j is the reader and e_j the chance of the cases, which all readers and the method share. With
the variance MS of the J differences

    variance of the mean = (MS + J max(covariance, 0)) / J
    degrees of freedom   = (MS + J max(covariance, 0))^2 / (MS^2 / (J - 1))

With D_j between the two ratings of the same reader, variance, degrees of freedom and p are those of
the analysis of two treatments: MS = 2 MS(T*R), covariance = 2 (Cov2 - Cov3).

``error`` and ``covariance`` are those of the scores by patients: DeLong's for the pseudo-scores of
``metrics.classification.auc_scores``, the jackknife's for its pseudo-values, the usual ones for
shares. ``difference`` is more cautious than that: MS counts at least as what the cases alone make
readers differ by, and the degrees of freedom are at most those whose 95 % quantile is the mean of
the quantiles of readers and patients, weighted by their shares of the variance (Cochran:
Approximate Significance Levels of the Behrens-Fisher Test, 1964, https://doi.org/10.2307/2527628).
Where few readers differ much, Hillis's degrees of freedom call equal readers and method
different in up to 11 %, these in about 5 % at most (``benchmarks/evidence.py readers``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from souron.stats.variance import MOST_FREEDOM, Counts, Scores, _quantile, _table, _units, by_stratum, satterthwaite
from souron.stats.verdict import Difference, Interval, concluded

LEVEL = 0.95  # at which Cochran's quantile is taken
TINY, NEAR = 1e-30, 1e-7


@dataclass(frozen=True)
class ReaderVariation:
    """Variance components of a mean over readers and cases."""

    n: int  # units: cases, or patients
    readers: int
    between: float  # MS: variance over readers
    error: float  # variance of one reader's mean from the sampling of cases
    covariance: float  # of two readers' means
    pseudo: int = 0  # 1 where scores have a range, such as 0 or 1: a unit half won, half lost is added
    units_freedom: float | None = None  # degrees of freedom of the units; None: Hillis's for the whole
    reach: float = 1.0  # that range: the largest difference of a unit

    @property
    def k(self) -> tuple[int, ...]:
        """Seeds of each system: none, further trainings are not judged."""
        return ()

    def total(self) -> tuple[float, float]:
        """Return the variance of the mean and its degrees of freedom."""
        if self.n < 2:
            return np.inf, 1.0
        variance, freedom = self._combined(self.n)
        return float(variance), float(freedom)

    def expected(self, n: Counts, _more_seeds: Counts) -> tuple[Scores, Scores]:
        """Predict variance and degrees of freedom for numbers of units, with as many readers."""
        return self._combined(n)

    def _combined(self, n: Any) -> tuple[Any, Any]:
        """Combine the components for n units."""
        times = self.n / n
        alone = max(self.error - self.covariance, 0.0)  # by which cases make two readers differ
        readers = (max(self.between - alone, 0.0) + alone * times) / self.readers
        cases = max(self.covariance, 0.0) * times + self.pseudo * self.reach**2 / (n * (n + self.pseudo))
        total = readers + cases
        freedom = satterthwaite(total, readers**2 / (self.readers - 1))
        if self.units_freedom is None:
            return total, freedom
        return total, np.minimum(freedom, self._cochran(readers, cases, np.maximum(self.units_freedom / times, 1.0)))

    def _cochran(self, readers: Any, cases: Any, freedom: Any) -> Any:
        """Return the degrees of freedom whose 95 % quantile is the weighted mean of those of readers and cases."""
        total = np.maximum(readers + cases, TINY)
        of_readers, of_cases = _quantile(LEVEL, self.readers - 1), scipy.special.stdtrit(freedom, (1 + LEVEL) / 2)
        quantile = np.where(readers + cases > 0, (readers * of_readers + cases * of_cases) / total, of_cases)
        least = _quantile(LEVEL, MOST_FREEDOM) + NEAR
        return np.where(
            quantile < least, MOST_FREEDOM, scipy.special.stdtridf((1 + LEVEL) / 2, np.maximum(quantile, least))
        )


def components(scores: ArrayLike, groups: Sequence[Any] | None = None) -> ReaderVariation:
    """Estimate the variance components of scores (readers, cases) whose means are each reader's measure.

    ``groups`` (cases,) are the patients. Raises ValueError for fewer than two readers.

    >>> found = components([[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 0, 1], [1, 0, 0, 1, 0, 1]])
    >>> round(found.between, 4), round(found.error, 4), round(found.covariance, 4)
    (0.0278, 0.0407, 0.0241)
    """
    table = _table(scores)
    if len(table) < 2:
        raise ValueError("one reader alone shows nothing of other readers")
    units = _units(table, groups)
    n = units.shape[1]
    matrix = np.cov(units) / n if n > 1 else np.full((len(units),) * 2, np.nan)
    others = ~np.eye(len(units), dtype=bool)
    between = float(table.mean(1).var(ddof=1))
    return ReaderVariation(n, len(units), between, float(np.diag(matrix).mean()), float(matrix[others].mean()))


def hillis(contrast: Difference) -> Difference:
    """Return a difference over readers with Hillis's degrees of freedom, as other programs report it.

    >>> readers = np.array([[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 0, 1], [1, 0, 0, 1, 0, 1]] * 2)
    >>> found = difference(readers - np.array([1, 1, 1, 1, 1, 1]))
    >>> hillis(found).freedom > found.freedom
    True
    """
    assert isinstance(contrast.variation, ReaderVariation)
    plain = replace(contrast.variation, pseudo=0, units_freedom=None)
    return concluded(contrast.difference, plain, contrast.level, "readers", contrast.limit)


def difference(
    apart: ArrayLike,
    level: float = 0.95,
    groups: Sequence[Any] | None = None,
    strata: ArrayLike | None = None,
    reach: float = 0.0,
    least: Interval | None = None,
) -> Difference:
    """Judge the mean of differences (readers, cases), > 0 in favour of the first of a pair.

    ``apart`` are each reader's scores less those of the method, or less those of the same reader
    with aid. ``strata`` (cases,) are labels whose cases are a sample each, as for an AUC. ``reach`` is the
    largest difference that a case can have, 1 where scores are 0 or 1; 0: none is known. The
    interval is never narrower than ``least``, that for these readers (``verdict.difference``).
    Raises ValueError for fewer than two readers.

    >>> readers = np.array([[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 0, 1], [1, 0, 0, 1, 0, 1]] * 2)
    >>> found = difference(readers - np.array([1, 1, 1, 1, 1, 1]))
    >>> round(found.difference, 2), found.verdict, found.scope
    (-0.33, 'cannot tell', 'readers')
    """
    table = _table(apart)
    components_of_variance = components(table, groups)
    pseudo = int(reach > 0)
    freedom = float(components_of_variance.n - 1 + pseudo)
    if strata is not None:
        freedom = by_stratum(table.mean(0), strata, groups, True)
    variation = replace(components_of_variance, pseudo=pseudo, units_freedom=freedom, reach=reach)
    return concluded(float(table.mean()), variation, level, "readers", reach or np.inf, least)
