"""The description of a metric that tables, plots and verdicts need."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from souron.stats.records import Kind, Measure
from souron.utils import units
from souron.utils.messages import _

Unit = Literal["share", "bits", "dB", "px", "mm", ""]
POINTS = 100  # of a share
ALSO_IN_POINTS = ("AUC", "log loss", "Brier score")  # measures whose margins are given in points, beside shares


@dataclass(frozen=True)
class Metric:
    """One metric of a task, as listed in the ``metrics`` of the task's file.

    Args:
        name: in English, also the key in JSON: ``"accuracy"``.
        higher_is_better: ``False`` for losses and distances.
        unit: ``"share"`` is a number in 0..1, shown in percent, whose differences are shown in
            percentage points.
        headline: among the facts on top of a report.
        kind: the kind of interval that the figure has (``intervals.of_kind``).
        among: the cases of which it is a mean, for a sensitivity the ``"positive"`` ones.
        most: the largest possible value, where neither kind nor unit tell; that of a log loss is that of a
            probability of 1e-12, the least that counts.

    >>> Metric("accuracy", unit="share").text(0.932)
    '93.2 %'
    """

    name: str
    higher_is_better: bool = True
    unit: Unit = ""
    headline: bool = False
    kind: Kind = "mean"
    among: Literal["", "positive", "negative", "both"] = ""
    most: float = math.inf

    @property
    def by_label(self) -> bool:
        """Return whether each label's cases are a sample of their own, as for an AUC.

        Few cases of one label then leave a difference uncertain, however many others there are.
        """
        return self.kind == "area" or bool(self.among)

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the lowest and the highest possible value."""
        if self.kind in ("amount", "loss", "error"):
            return 0.0, self.most
        if self.kind == "signed":
            return -1.0, 1.0
        within = self.unit == "share" or self.kind in ("share", "overlap", "area")
        return (0.0, 1.0) if within else (-math.inf, self.most)

    def measure(
        self,
        scores: Any,
        groups: Sequence[Any] | None = None,
        trainings: Any = None,
        level: float = 0.95,
        strata: Any = None,
    ) -> Measure:
        """Return the figure with its interval, the only one that is shown of it.

        ``scores`` (cases,) or (seeds, cases) have the figure as their mean; ``groups``, ``trainings``
        and ``strata`` are those of ``intervals.of_kind``. Shares that are not all 0 or 1 get Wilson's
        interval for as many cases as have their variance.

        >>> found = Metric("bits per token", unit="bits", kind="amount").measure([0.5, 4.0])
        >>> found.value, found.low
        (2.25, 0.0)
        """
        from souron.stats import intervals  # imports numpy, which lists of metrics do without

        of_shares = self.kind == "mean" and self.unit == "share"
        own = intervals.of_kind(self.kind, strata) or (intervals.of_shares if of_shares else intervals.interval)
        measure = own(scores, groups, level, trainings)
        low, high = self.bounds
        return replace(measure, low=max(measure.low, low), high=min(measure.high, high))

    @property
    def title(self) -> str:
        """Name in the reader's language."""
        return _(self.name)

    @property
    def in_points(self) -> bool:
        """Return whether a margin is given in points, hundredths of the measure."""
        return self.unit == "share" or self.name in ALSO_IN_POINTS

    def margin_width(self, margin: float) -> float:
        """Return a margin as a difference of the measure; 2 points of a share are 0.02."""
        return margin / POINTS if self.in_points else margin

    def text(self, value: float) -> str:
        """Format a value: ``93.2 %``, or three digits and the unit."""
        return units.measure(self.unit, value)

    def interval(self, low: float, high: float) -> str:
        """Format an interval: ``91.5–92.6 %``."""
        return units.interval(self.unit, low, high)

    def difference(self, value: float) -> str:
        """Format a difference with its sign: ``+1.2 points``."""
        return units.difference(self.unit, value)

    def differences(self, low: float, high: float) -> str:
        """Format an interval of differences: ``-1.2 to +0.4 points``."""
        return units.differences(self.unit, low, high)
