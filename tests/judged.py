"""The verdict on each pair of named scores, in the order of their names."""

from collections.abc import Mapping, Sequence
from typing import Any

from souron.metrics import ranking
from souron.metrics.metric import Metric
from souron.stats.records import Row, Verdict


def ranked(
    scores: Mapping[str, Any], higher_is_better: bool = True, names: Sequence[str] | None = None, **further: Any
) -> ranking.Ranking:
    """Rank scores that no measure is named for; ``further`` are arguments of ``ranking.rank``."""
    rows = [Row(name, "score", 0.0, 0, 0) for name in names or scores]
    metric = Metric("score", higher_is_better, among="both" if "strata" in further else "")
    return ranking.rank(metric, rows, scores, **further)


def judge(scores: Mapping[str, Any], *given: Any, **further: Any) -> list[Verdict]:
    """Return the verdicts of ``ranked``."""
    return ranked(scores, *given, **further).verdicts
