"""Systems ranked by one measure, with the verdict on each pair: what every comparison ends with."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np

from souron.metrics.metric import Metric
from souron.stats import margin as margins
from souron.stats import verdict
from souron.stats.records import Margin, Measure, Row, Verdict, pairs_as_json
from souron.stats.verdict import Difference

FEWEST = 6  # patients: of five, even five wins of five are no evidence at 5 % (sign test: p = 0.06)


@dataclass(frozen=True)
class Method:
    """A method's measure."""

    system: str
    measure: Measure


@dataclass(frozen=True)
class Ranking:
    """Systems ranked by one measure, and the verdict on each pair."""

    metric: Metric
    rows: list[Row]  # best first
    verdicts: list[Verdict]  # each pair once
    margins: Sequence[Margin] = ()  # one for each verdict, with a margin
    margin: float | None = None  # as it was given: points of a share, or the measure's unit
    trainings: int = 1  # of each system
    units: int = FEWEST  # that the verdicts rest on
    counted: Literal["patients", "cases", "rarer class"] = "cases"  # what the units are
    methods: tuple[Method, ...] = ()  # the rows with their numbers of cases and patients, where they are known
    readers: tuple[Method, ...] = ()  # single ones, whose mean stands among the rows
    reader_pairs: Sequence[Any] = ()  # with readers, where the verdict is on other readers, too
    differences: Mapping[tuple[str, str], Any] = field(default_factory=dict, repr=False, compare=False)  # of pairs

    @property
    def few(self) -> bool:
        """Return whether there are too few patients for any verdict."""
        return self.units < FEWEST

    def as_json(self) -> dict[str, Any]:
        """Return the ranking as plain dictionaries and lists."""
        return {"rows": [asdict(row) for row in self.rows], "verdicts": pairs_as_json(self.verdicts, self.margins)}


class Judged:
    """Base of each record of a verdict: it has a ranking by the measure that decides."""

    ranking: Ranking

    @property
    def measure(self) -> str:
        """The name of the measure that decides."""
        return self.ranking.metric.name

    @property
    def rows(self) -> list[Row]:
        """The systems, best first."""
        return self.ranking.rows

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdict on each pair."""
        return self.ranking.verdicts

    @property
    def names(self) -> list[str]:
        """The names of the systems, best first."""
        return [row.system for row in self.rows]


def rank(
    metric: Metric,
    rows: Sequence[Row],
    scores: Mapping[str, Any],
    groups: Sequence[Any] | None = None,
    trainings: Any = None,
    strata: Any = None,
    margin: float | None = None,
    times: int = 0,
    level: float = 0.95,
) -> Ranking:
    """Rank systems by the scores (seeds, cases) of each, and judge every pair on the same cases.

    ``groups``, ``trainings`` and ``strata`` are those of ``stats.verdict.difference``; ``margin``, in points of a
    share or the measure's unit, is judged against, too. ``times`` counts the trainings of each system, by default the
    seeds; after one training, nothing is known of further seeds.

    >>> rows = [Row(name, "accuracy", value, 0, 1) for name, value in (("weak", 0.6), ("good", 1.0))]
    >>> found = rank(Metric("accuracy", unit="share"), rows, {"good": [1, 1, 1, 1, 1] * 8, "weak": [0, 1, 0, 1, 1] * 8})
    >>> found.rows[0].system, found.verdicts[0].verdict
    ('good', 'better')
    """

    def difference(a: str, b: str) -> Difference:
        return verdict.difference(
            scores[a],
            scores[b],
            level,
            higher_is_better=metric.higher_is_better,
            groups=groups,
            trainings=trainings,
            strata=strata if metric.by_label else None,
            kind=metric.kind,
        )

    table = np.atleast_2d(np.asarray(next(iter(scores.values()))))
    who = np.arange(table.shape[-1]) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    people = units = len(np.unique(who))
    if strata is not None and metric.by_label:
        units = min(len(np.unique(who[np.asarray(strata) == label])) for label in np.unique(strata))
    units_name: Any = "rarer class" if units < people else "cases" if groups is None else "patients"
    result = rank_by(metric, rows, difference, len(who) / people, margin, level, units)
    if times == 1:
        result = replace(result, verdicts=[replace(pair, seeds_needed=None) for pair in result.verdicts])
    return replace(result, trainings=times or len(table), counted=units_name)


def rank_by(
    metric: Metric,
    rows: Sequence[Row],
    difference: Callable[[str, str], Difference],
    cases_per_unit: float = 1.0,
    margin: float | None = None,
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
    ranking = sorted(rows, key=lambda row: row.value, reverse=metric.higher_is_better)
    pairs = combinations([row.system for row in ranking], 2)
    differences = verdict.corrected({pair: difference(*pair) for pair in pairs}, level)
    verdicts = [verdict.verdict_of(*pair, contrast, cases_per_unit) for pair, contrast in differences.items()]
    width = metric.margin_width(margin or 0.0)
    against = [margins.against(contrast, width, cases_per_unit) for contrast in differences.values()] if width else []
    if units < FEWEST:
        more = math.ceil((FEWEST - units) * cases_per_unit)  # before there is any verdict
        verdicts = [
            replace(pair_difference, verdict="cannot tell", cases_needed=more, seeds_needed=None)
            for pair_difference in verdicts
        ]
        against = [Margin("cannot tell", more) for _one in against]
    return Ranking(metric, ranking, verdicts, against, margin or None, units=units, differences=differences)
