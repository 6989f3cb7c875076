"""Records of statistics: a measure with its interval, a row of a table, a verdict on a pair."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Measure:
    """A figure on test cases with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int  # cases
    groups: int | None = None  # patients, where cases come in groups: the interval's units


class Named(Protocol):
    """A row of a ranking."""

    @property
    def system(self) -> str:
        """Return the name of what is compared."""


@dataclass(frozen=True)
class Row:
    """One system in a comparison, over all seeds."""

    system: str
    measure: str
    value: float
    low: float
    high: float
    train_seconds: float  # mean over seeds
    examples_seen: float  # mean over seeds
    parameters: int
    flops: int
    seeds: tuple[float, ...]  # the measure of each seed


@dataclass(frozen=True)
class Verdict:
    """The comparison of ``a`` and ``b``; ``difference`` > 0 favours ``a``, whatever the measure."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    verdict: str  # "better", "worse", "cannot tell"
    cases_needed: int | None  # further test cases, where it cannot tell and cases are lacking
    seeds_needed: int | None  # further seeds, where seeds are lacking


@dataclass(frozen=True)
class Ranking:
    """Systems ranked by one measure."""

    rows: list[Row]  # best first
    verdicts: list[Verdict]  # each pair once

    def as_json(self) -> dict[str, Any]:
        """Return the ranking as plain dictionaries and lists."""
        return {"rows": [asdict(row) for row in self.rows], "verdicts": [asdict(verdict) for verdict in self.verdicts]}
