"""Records of statistics: a measure with its interval, a row of a table, a verdict on a pair."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

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


@dataclass(frozen=True)
class Row:
    """One system in a comparison, over all seeds."""

    system: str
    measure: str
    value: float
    low: float
    high: float
    train_seconds: float = math.nan  # mean over seeds; nan and 0: not known
    examples_seen: float = math.nan  # mean over seeds
    parameters: int = 0
    flops: int = 0
    seeds: tuple[float, ...] = ()  # the measure of each seed


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

    def of(self, name: str) -> "Verdict":
        """Return it as the comparison of ``name``, one of the two, with the other.

        >>> Verdict("a", "b", 0.2, 0.1, 0.3, "better", None, None).of("b").verdict
        'worse'
        """
        if name == self.a:
            return self
        word = {"better": "worse", "worse": "better"}.get(self.verdict, self.verdict)
        low, high = -self.high, -self.low
        return replace(self, a=self.b, b=self.a, difference=-self.difference, low=low, high=high, verdict=word)


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


def pairs_as_json(verdicts: Sequence[Verdict], margins: Sequence[Margin] = ()) -> list[dict[str, Any]]:
    """Return verdicts as dictionaries, each with its ``margin`` where there is one.

    >>> pair = Verdict("a", "b", 0.01, -0.01, 0.03, "cannot tell", 50, None)
    >>> pairs_as_json([pair], [Margin("not inferior", None)])[0]["margin"]
    {'verdict': 'not inferior', 'cases_needed': None, 'within': False}
    """
    margin_entries = [
        {"margin": {"verdict": margin.word, "cases_needed": margin.cases_needed, "within": margin.within}}
        for margin in margins
    ]
    return [
        {**asdict(pair), **more} for pair, more in zip(verdicts, margin_entries or [{}] * len(verdicts), strict=True)
    ]


def pairs_of_json(entries: Any) -> tuple[list[Verdict], list[Margin]]:
    """Return the verdicts and margins that ``pairs_as_json`` made; what is none of these is left out.

    >>> pair = Verdict("a", "b", 0.01, -0.01, 0.03, "cannot tell", 50, None)
    >>> pairs_of_json([*pairs_as_json([pair], [Margin("not inferior", None)]), {"a": 3}]) == (
    ...     [pair], [Margin("not inferior", None)])
    True
    """
    names = [field.name for field in fields(Verdict)]
    verdicts, margins = [], []
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or entry.get("verdict") not in ("better", "worse", "cannot tell"):
            continue
        if not all(_is_number(entry.get(end)) for end in ("difference", "low", "high")):
            continue
        counts = {
            name: entry[name] if _is_number(entry.get(name)) else None for name in ("cases_needed", "seeds_needed")
        }
        own: dict[str, Any] = {name: entry.get(name) for name in names}
        verdicts.append(Verdict(**{**own, "a": str(own["a"]), "b": str(own["b"]), **counts}))
        beside = entry.get("margin")
        if isinstance(beside, dict) and beside.get("verdict") in get_args(Word):
            cases_needed = beside.get("cases_needed")
            margins.append(
                Margin(
                    beside["verdict"], cases_needed if _is_number(cases_needed) else None, beside.get("within") is True
                )
            )
    return verdicts, margins if len(margins) == len(verdicts) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300
