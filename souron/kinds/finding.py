"""Findings: answers about an image or a volume, with a check for out-of-distribution cases."""

from dataclasses import dataclass, field
from typing import Any

from souron.kinds.kind import Kind
from souron.utils.messages import _


@dataclass(frozen=True)
class Familiarity:
    """Distance of a case from the training cases, with the 95th percentile of validation cases."""

    score: float
    threshold: float

    @property
    def unlike(self) -> bool:
        """True where the case is farther than the threshold."""
        return self.score > self.threshold

    def as_json(self) -> dict[str, Any]:
        return {"score": round(self.score, 4), "threshold": round(self.threshold, 4), "unlike": self.unlike}

    def __str__(self) -> str:
        """Return the warning; "" for a case similar to those of training."""
        if not self.unlike:
            return ""
        return _(
            "unlike its training data (distance {score:.2f}, threshold {threshold:.2f}): treat this answer as a guess"
        ).format(score=self.score, threshold=self.threshold)


@dataclass(frozen=True, eq=False)
class Finding(Kind):
    """An answer that may carry the check of ``evaluation.familiarity``."""

    familiar: Familiarity | None = field(default=None, kw_only=True)  # None: the run has no check

    def judged(self, familiar: Familiarity | None) -> "Finding":
        """Attach the check to the answer, once, when it is made."""
        object.__setattr__(self, "familiar", familiar)
        return self

    def as_json(self) -> dict[str, Any]:
        """Return ``familiar``, where the run has the check."""
        return {"familiar": self.familiar.as_json()} if self.familiar else {}


def unlike(answer: Any) -> str:
    """Return the warning of an answer; "" without a check, and for a familiar case.

    >>> unlike("an answer without a check")
    ''
    >>> str(Familiarity(score=0.5, threshold=1.0)), Familiarity(2.0, 1.0).unlike
    ('', True)
    """
    return str(getattr(answer, "familiar", None) or "")
