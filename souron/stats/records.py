"""What statistics say: a measure with its interval, a row of a table, a verdict on a pair."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """A figure on test cases with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int  # cases
    groups: int | None = None  # patients, where cases come in groups: these were resampled


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
    """Is ``a`` better than ``b``? ``difference`` > 0 speaks for ``a``, whatever the measure."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    verdict: str  # "better", "worse", "cannot tell"
    cases_needed: int | None  # further test cases, where it cannot tell and cases are what lacks
    seeds_needed: int | None  # further seeds, where seeds are what lacks


@dataclass(frozen=True)
class Ranking:
    """Systems by one measure."""

    rows: list[Row]  # best first
    verdicts: list[Verdict]  # each pair once

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": [asdict(row) for row in self.rows],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }
