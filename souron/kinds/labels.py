"""Labels: a classifier's prediction for one image."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from souron.kinds import files
from souron.kinds.finding import Finding
from souron.utils.messages import N_


@dataclass(frozen=True)
class Labels(Finding):
    """A probability for each label."""

    widget = "labels"
    noun = N_("labels")
    suffix = ".csv"
    several: ClassVar[bool] = False  # True where more than one of them may hold

    file: str
    labels: Sequence[str]
    probabilities: Sequence[float]  # one per label; they sum to 1

    @property
    def top5(self) -> list[tuple[str, float]]:
        """The five most probable labels with their probabilities, most probable first."""
        pairs = zip(self.labels, map(float, self.probabilities), strict=True)
        return sorted(pairs, key=lambda pair: -pair[1])[:5]

    @property
    def best(self) -> tuple[str, float]:
        """The most probable label and its probability."""
        return self.top5[0]

    def save(self, path: Path) -> None:
        """Save all labels as ``label,probability``."""
        files.ending(path, (".csv",))
        pairs = zip(self.labels, map(float, self.probabilities), strict=True)
        files.write(path, files.separated([("label", "probability"), *pairs]))

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``souron predict --json`` prints."""
        return {
            "file": self.file,
            "labels": [{"label": label, "probability": p} for label, p in self.top5],
            **super().as_json(),
        }

    def __str__(self) -> str:
        return f"{self.file}: " + ", ".join(f"{self.called(label)} {p:.1%}" for label, p in self.top5)

    def _repr_html_(self) -> str:
        """Return a bar for each of the top five, for notebooks."""
        bars = "".join(
            f"<tr><td>{escape(self.called(label))}</td><td style='text-align:right'>{p:.1%}</td>"
            f"<td style='width:12em'><div style='background:#4477aa;height:0.8em;"
            f"width:{p:.1%}'></div></td></tr>"
            for label, p in self.top5
        )
        return f"<table><caption>{escape(self.file)}</caption>{bars}</table>"
