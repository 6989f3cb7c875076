"""Records of statistics: a measure with its interval, a row of a table, a verdict on a pair."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

# of a figure: ``intervals.of_kind``
Kind = Literal["mean", "scale", "amount", "signed", "share", "overlap", "loss", "error", "area"]
Word = Literal["superior", "not inferior", "equivalent", "inferior", "cannot tell"]


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
class Margin:
    """A pair's difference against a margin."""

    word: Word  # of the first of the two
    cases_needed: int | None  # further cases until "not inferior", where it cannot tell
    within: bool = False  # the whole interval lies within the margin

    @property
    def small(self) -> bool:
        """Return whether the difference is significant and yet within the margin (Piaggio 2012)."""
        return self.within and self.word in ("superior", "inferior")


@dataclass(frozen=True)
class Ranking:
    """Systems ranked by one measure."""

    rows: list[Row]  # best first
    verdicts: list[Verdict]  # each pair once
    margins: Sequence[Margin] = ()  # one for each verdict, with a margin

    def as_json(self) -> dict[str, Any]:
        """Return the ranking as plain dictionaries and lists."""
        return {"rows": [asdict(row) for row in self.rows], "verdicts": pairs_as_json(self.verdicts, self.margins)}


def pairs_as_json(verdicts: Sequence[Verdict], margins: Sequence[Margin] = ()) -> list[dict[str, Any]]:
    """Return verdicts as dictionaries, each with its ``margin`` where there is one.

    >>> pair = Verdict("a", "b", 0.01, -0.01, 0.03, "cannot tell", 50, None)
    >>> pairs_as_json([pair], [Margin("not inferior", None)])[0]["margin"]
    {'verdict': 'not inferior', 'cases_needed': None, 'within': False}
    """
    added = [
        {"margin": {"verdict": one.word, "cases_needed": one.cases_needed, "within": one.within}} for one in margins
    ]
    return [{**asdict(pair), **more} for pair, more in zip(verdicts, added or [{}] * len(verdicts), strict=True)]
