"""Advice on updating a classifier for another hospital, with the local patients that it needs.

Recalibrate where the order of the cases holds and the probabilities are off; refit the head where the order does not
hold but the features still carry it; train again where they do not. Janssen, Moons, Kalkman, et al.: Updating methods
improved the performance of a clinical prediction model in new patients (2008),
https://doi.org/10.1016/j.jclinepi.2007.04.018.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from souron.data.dataset import Dataset
from souron.evaluation import external
from souron.evaluation.external import Change
from souron.metrics import classification
from souron.stats import sample_size
from souron.stats.records import Measure
from souron.stats.sample_size import LinearPredictor

Line = dict[str, Measure]  # "O:E", "intercept" and "slope"
MARGIN = 0.05  # of an AUC: a loss that is not above it is none
SLOPE_WIDTH = OE_WIDTH = 0.4  # of the intervals that a recalibration should have
NARROW_SLOPE, NARROW_INTERCEPT = 0.6, 1.0  # widths of intervals that show that nothing is off
COMPONENTS = 10  # principal components that a refitted head is tried on
FOLDS = 5
FEWEST = 20  # patients of the rarer class with which a refitted head is tried
MOST_TRIED = 1000  # cases
REGAINED = 0.5  # share of the lost AUC that a refitted head is to regain


@dataclass(frozen=True)
class Advice:
    """One way of updating: whether to take it, why, and how many local patients it needs."""

    action: str  # "recalibrate", "refit", "retrain"
    word: str  # "yes", "no", "cannot tell"
    why: str  # the key of its reason, see ``record.reason``
    patients: int | None = None
    figures: dict[str, Any] = field(default_factory=dict)  # what the reason names


def advise(
    auc: Change,
    line: Line | None,
    prevalence: float,
    refitted: Callable[[], Measure | None],
    trained_on: int,
    two_classes: bool = True,
) -> list[Advice]:
    """Return what to do, in the order from the smallest update.

    ``auc`` in both samples; ``line`` is the external calibration, None where there is none; ``prevalence`` that of the
    positive class; ``refitted`` tries a head on the external cases, and is called only where the AUC fell;
    ``trained_on`` the training cases of the run.
    """
    holds = auc.shift.low > -MARGIN
    fell = auc.shift.high < 0 and not holds and auc.word == "worse"
    found = [_recalibrate(auc, line, prevalence, holds, fell, two_classes)]
    figures = {"internal": auc.internal.value, "external": auc.external.value, "low": auc.shift.low}
    if holds:
        return [*found, Advice("refit", "no", "holds", None, figures), Advice("retrain", "no", "holds", None, figures)]
    if not fell:
        needed = sample_size.c_statistic(_inside(auc.internal.value), _share(prevalence), 2 * MARGIN)
        unsure = [Advice(name, "cannot tell", "wide", needed, figures) for name in ("refit", "retrain")]
        return [*found, *unsure]
    head = refitted()
    if head is None:
        return [*found, *(Advice(name, "cannot tell", "few", None, figures) for name in ("refit", "retrain"))]
    figures |= {"head": head.value, "head_low": head.low, "head_high": head.high}
    wanted = auc.external.value + REGAINED * (auc.internal.value - auc.external.value)
    if head.value >= wanted:
        needed = development(prevalence, head.value)
        return [
            *found,
            Advice("refit", "yes", "regained", needed, figures),
            Advice("retrain", "no", "regained", None, figures),
        ]
    return [*found, Advice("refit", "no", "lost", None, figures), Advice("retrain", "yes", "lost", trained_on, figures)]


def _recalibrate(
    auc: Change, line: Line | None, prevalence: float, holds: bool, fell: bool, two_classes: bool
) -> Advice:
    if not two_classes:
        return Advice("recalibrate", "cannot tell", "classes")
    if line is None:
        return Advice("recalibrate", "cannot tell", "no line")
    intercept, slope = line["intercept"], line["slope"]
    figures = {
        "intercept": intercept.value,
        "intercept_low": intercept.low,
        "intercept_high": intercept.high,
        "slope": slope.value,
        "slope_low": slope.low,
        "slope_high": slope.high,
    }
    off = not (intercept.low <= 0 <= intercept.high and slope.low <= 1 <= slope.high)
    needed = calibration_patients(prevalence, auc.external.value)
    if off and fell:
        return Advice("recalibrate", "no", "order first", None, figures)
    if off and holds:
        return Advice("recalibrate", "yes", "off", needed, figures)
    if off:
        return Advice("recalibrate", "cannot tell", "off, order unknown", needed, figures)
    narrow = slope.high - slope.low <= NARROW_SLOPE and intercept.high - intercept.low <= NARROW_INTERCEPT
    if narrow:
        return Advice("recalibrate", "no", "calibrated", None, figures)
    return Advice("recalibrate", "cannot tell", "wide line", needed, figures)


def calibration_patients(prevalence: float, auc: float) -> int:
    """Return the patients that estimate observed / expected and the slope to intervals of a width of 0.4.

    Riley, Debray, Collins, et al. (2021), https://doi.org/10.1002/sim.9025.

    >>> calibration_patients(0.2, 0.8)
    679
    """
    share = _share(prevalence)
    slope = sample_size.calibration_slope(LinearPredictor.of(share, _inside(auc)), SLOPE_WIDTH)
    return max(slope, sample_size.observed_expected(share, OE_WIDTH))


def development(prevalence: float, auc: float) -> int:
    """Return the patients for a head on ``COMPONENTS`` principal components of the features.

    Riley, Ensor, Snell, et al. (2020), https://doi.org/10.1136/bmj.m441.

    >>> development(0.2, 0.85)
    380
    """
    share = _share(prevalence)
    return max(sample_size.development(COMPONENTS, sample_size.r2_of_auc(share, _inside(auc)), share).values())


def _inside(auc: float) -> float:
    """Keep an AUC where the formulas hold."""
    return min(max(auc, 0.55), 0.98)


def _share(prevalence: float) -> float:
    return min(max(prevalence, 0.01), 0.99)


def refitted_head(system: Any, cases: Dataset, seed: int) -> Measure | None:
    """Return the AUC of a head that is fitted to the cases themselves, cross-validated by patients.

    It is a logistic regression on the first principal components of the head's inputs. None for fewer than ``FEWEST``
    patients of the rarer class, and for a system without such inputs.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    cases = external.some_patients(cases, MOST_TRIED, seed)
    labels = np.asarray(cases.labels)
    units = np.asarray(cases.units or list(map(str, range(len(cases)))))
    if min(_count(units, labels == number) for number in range(len(cases.classes))) < FEWEST:
        return None
    rows = external.vectors(system, cases)
    if rows is None:
        return None
    probability = np.zeros((len(labels), len(cases.classes)))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(rows, labels, units):
        parts = min(COMPONENTS, len(train) - 1, rows.shape[1])
        head = make_pipeline(StandardScaler(), PCA(parts, random_state=seed), LogisticRegression(max_iter=1000))
        head.fit(rows[train], labels[train])
        probability[np.ix_(test, head.classes_)] = head.predict_proba(rows[test])
    return classification.auc(probability, labels, cases.units)


def _count(units: Any, chosen: Any) -> int:
    return len(np.unique(units[chosen]))


def headline(advice: Sequence[Advice]) -> str:
    """Return the key of the advice as a whole: an action, "none" or "cannot tell".

    >>> headline([Advice("recalibrate", "no", "calibrated"), Advice("refit", "no", "holds")])
    'none'
    """
    chosen = next((one.action for one in advice if one.word == "yes"), "")
    return chosen or ("none" if all(one.word == "no" for one in advice) else "cannot tell")


__all__ = ["Advice", "advise", "calibration_patients", "development", "headline", "refitted_head"]
