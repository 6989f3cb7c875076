"""What a table, a plot or a verdict must know of one figure."""

from dataclasses import dataclass
from typing import Literal

from souron.utils import units
from souron.utils.messages import _

Unit = Literal["share", "bits", "dB", "px", "mm", ""]


@dataclass(frozen=True)
class Metric:
    """One figure of a task, as it stands in the ``metrics`` of the task's file.

    Args:
        name: in English, also the key in JSON: ``"accuracy"``.
        higher_is_better: ``False`` for losses and distances.
        unit: ``"share"`` is a number in 0..1 that people read in percent, and whose differences
            are percentage points.
        headline: among the facts on top of a report.
        by_label: each label's cases are a sample of their own, so that few of one leave a
            difference unsure, however many others there are; as for the AUC.

    Example:
        >>> Metric("accuracy", unit="share").text(0.932)
        '93.2 %'
    """

    name: str
    higher_is_better: bool = True
    unit: Unit = ""
    headline: bool = False
    by_label: bool = False

    @property
    def title(self) -> str:
        """Its name in the reader's language."""
        return _(self.name)

    def text(self, value: float) -> str:
        """``93.2 %``, or three digits and the unit."""
        return units.measure(self.unit, value)

    def interval(self, low: float, high: float) -> str:
        """``91.5–92.6 %``"""
        return units.interval(self.unit, low, high)

    def difference(self, value: float) -> str:
        """With its sign: ``+1.2 points``."""
        return units.difference(self.unit, value)

    def differences(self, low: float, high: float) -> str:
        """``-1.2 to +0.4 points``"""
        return units.differences(self.unit, low, high)
