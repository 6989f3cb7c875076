"""Findings: a score for each of several findings that one image may show together."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar

from souron.kinds.labels import Labels
from souron.utils.messages import N_, _

POINT = 0.5  # the score at a finding's operating point
CAUTION = N_(
    "no medical device: it must not decide on anyone's care, it was trained on other hospitals' "
    "films, and a score is no probability of disease"
)


@dataclass(frozen=True)
class Findings(Labels):
    """Scores of findings, each in 0..1 and independent of the others; 0.5 is its threshold."""

    noun = N_("findings")
    several: ClassVar[bool] = True

    @property
    def scores(self) -> Sequence[float]:
        return self.probabilities

    @property
    def above(self) -> list[tuple[str, float]]:
        """The findings at or above their thresholds, highest score first, with their scores."""
        return [pair for pair in self._sorted() if pair[1] >= POINT]

    @property
    def notes(self) -> tuple[str, ...]:
        """The caution that goes with every answer."""
        return (_(CAUTION),)

    def _sorted(self) -> list[tuple[str, float]]:
        pairs = zip(self.labels, map(float, self.scores), strict=True)
        return sorted(pairs, key=lambda pair: -pair[1])

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``souron predict --json`` prints; names are the reader's."""
        told = super().as_json()
        del told["labels"]
        rows = [
            {"finding": label, "name": _(label), "score": score, "above": score >= POINT}
            for label, score in self._sorted()
        ]
        return {**told, "findings": rows, "notes": list(self.notes)}

    def __str__(self) -> str:
        rest = [pair for pair in self._sorted() if pair[1] < POINT]
        return "\n".join(
            [
                _("at or above its threshold (0.5): {findings}").format(findings=_listed(self.above)),
                _("below: {findings}").format(findings=_listed(rest)),
            ]
        )

    def _repr_html_(self) -> str:
        """Return a table of all findings, those above their thresholds in bold."""
        rows = "".join(
            f"<tr><td>{f'<strong>{escape(_(label))}</strong>' if score >= POINT else _(label)}</td>"
            f"<td style='text-align:right'>{score:.2f}</td></tr>"
            for label, score in self._sorted()
        )
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        heading = escape(_("score; 0.5 is each finding's threshold"))
        return f"<table><caption>{heading}</caption>{rows}</table>{notes}"


def _listed(pairs: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{_(label)} {score:.2f}" for label, score in pairs) or "–"
