"""Systems ranked by one measure, with the verdict on each pair: what every comparison ends with."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from souron.metrics.metric import Metric
from souron.stats import margin as margins
from souron.stats import verdict
from souron.stats.records import Margin, Ranking, Row
from souron.stats.verdict import Difference

FEWEST = 6  # patients: of five, even five wins of five are no evidence at 5 % (sign test: p = 0.06)


def rank(
    metric: Metric,
    rows: Sequence[Row],
    scores: Mapping[str, Any],
    groups: Sequence[Any] | None = None,
    trainings: Any = None,
    strata: Any = None,
    margin: float = 0.0,
) -> Ranking:
    """Rank systems by the scores (seeds, cases) of each, and judge every pair on the same cases.

    ``groups``, ``trainings`` and ``strata`` are those of ``stats.verdict.difference``; ``margin`` > 0, as a
    difference of the measure, judges each pair against it, too.

    >>> rows = [Row(name, "accuracy", value, 0, 1) for name, value in (("weak", 0.6), ("good", 1.0))]
    >>> found = rank(Metric("accuracy", unit="share"), rows, {"good": [1, 1, 1, 1, 1] * 8, "weak": [0, 1, 0, 1, 1] * 8})
    >>> found.rows[0].system, found.verdicts[0].verdict
    ('good', 'better')
    """

    def difference(a: str, b: str) -> Difference:
        return verdict.difference(
            scores[a],
            scores[b],
            higher_is_better=metric.higher_is_better,
            groups=groups,
            trainings=trainings,
            strata=strata if metric.by_label else None,
            kind=metric.kind,
        )

    cases = np.asarray(next(iter(scores.values()))).shape[-1]
    who = np.arange(cases) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    units = len(np.unique(who))
    if strata is not None and metric.by_label:
        units = min(len(np.unique(who[np.asarray(strata) == label])) for label in np.unique(strata))
    return rank_by(metric, rows, difference, len(who) / len(np.unique(who)), margin, units=units)


def rank_by(
    metric: Metric,
    rows: Sequence[Row],
    difference: Callable[[str, str], Difference],
    cases_per_unit: float = 1.0,
    margin: float = 0.0,
    level: float = 0.95,
    units: int = FEWEST,
) -> Ranking:
    """Rank systems, and judge each pair by the ``difference`` of two names, with Holm's correction.

    ``cases_per_unit`` are the cases per patient; with fewer than ``FEWEST`` patients, the ``units``, each
    verdict is "cannot tell" until there are as many.

    >>> rows = [Row("a", "accuracy", 1.0, 0, 1), Row("b", "accuracy", 0.5, 0, 1)]
    >>> found = rank_by(Metric("accuracy"), rows, lambda a, b: verdict.difference([1] * 40, [0, 1] * 20), units=5)
    >>> found.verdicts[0].verdict
    'cannot tell'
    """
    ordered = sorted(rows, key=lambda row: row.value, reverse=metric.higher_is_better)
    pairs = combinations([row.system for row in ordered], 2)
    differences = verdict.corrected({pair: difference(*pair) for pair in pairs}, level)
    verdicts = [
        verdict.verdict_of(*pair, pair_difference, cases_per_unit) for pair, pair_difference in differences.items()
    ]
    against = (
        [margins.against(pair_difference, margin, cases_per_unit) for pair_difference in differences.values()]
        if margin
        else []
    )
    if units < FEWEST:
        more = math.ceil((FEWEST - units) * cases_per_unit)  # before there is any verdict
        verdicts = [
            replace(pair_difference, verdict="cannot tell", cases_needed=more, seeds_needed=None)
            for pair_difference in verdicts
        ]
        against = [Margin("cannot tell", more) for _one in against]
    return Ranking(ordered, verdicts, against, differences)
