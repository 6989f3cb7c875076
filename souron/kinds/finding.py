"""Findings: answers about a picture or a volume, with how far that lies from the training cases."""

from dataclasses import dataclass, field
from typing import Any

from souron.kinds.kind import Kind
from souron.utils.messages import _


@dataclass(frozen=True)
class Familiarity:
    """The distance of one case from the training cases, and the one that 95 % of validation cases
    stay below."""

    score: float
    threshold: float

    @property
    def unlike(self) -> bool:
        return self.score > self.threshold

    def as_json(self) -> dict[str, Any]:
        return {
            "score": round(self.score, 4),
            "threshold": round(self.threshold, 4),
            "unlike": self.unlike,
        }

    def __str__(self) -> str:
        """The warning; "" for a case like those of training."""
        if not self.unlike:
            return ""
        return _(
            "unlike anything it has learnt from (distance {score:.2f}, threshold "
            "{threshold:.2f}): treat this answer as a guess"
        ).format(score=self.score, threshold=self.threshold)


@dataclass(frozen=True, eq=False)
class Finding(Kind):
    """An answer that may carry the check of ``evaluation.familiarity``."""

    familiar: Familiarity | None = field(default=None, kw_only=True)  # None: the run has no check

    def judged(self, familiar: Familiarity | None) -> "Finding":
        """Attach the check to the answer; set once, where the answer is made."""
        object.__setattr__(self, "familiar", familiar)
        return self

    def as_json(self) -> dict[str, Any]:
        """``familiar``, where the run has the check."""
        return {"familiar": self.familiar.as_json()} if self.familiar else {}


def unlike(answer: Any) -> str:
    """The warning about any answer; "" where there is no check, and for a familiar case."""
    return str(getattr(answer, "familiar", None) or "")
