"""Stages of training within one budget."""

from collections.abc import Mapping


def at(stages: Mapping[str, float], used: float) -> tuple[str, float]:
    """Return the current stage and its progress, given the fraction ``used`` of the budget, 0..1.

    Args:
        stages: name -> share of the budget; shares need not sum to 1. Without stages, the whole
            budget is one stage named "".

    >>> at({"first": 1, "second": 3}, 0.625)
    ('second', 0.5)
    """
    start, total = 0.0, sum(stages.values())
    for name, share in stages.items():
        end = start + share / total
        if used < end:
            return name, (used - start) / (end - start)
        start = end
    return (list(stages)[-1], 1.0) if stages else ("", used)
