"""Systems that learn in stages, one after another, out of one budget."""

from collections.abc import Mapping


def at(stages: Mapping[str, float], used: float) -> tuple[str, float]:
    """The stage that is going on where so much of the budget is used, 0..1, and how far it is.

    Args:
        stages: name -> share of the budget; they need not add up to 1. Of none, the whole budget
            is one without a name.

    >>> at({"first": 1, "second": 3}, 0.625)
    ('second', 0.5)
    """
    begun, total = 0.0, sum(stages.values())
    for name, share in stages.items():
        end = begun + share / total
        if used < end:
            return name, (used - begun) / (end - begun)
        begun = end
    return (list(stages)[-1], 1.0) if stages else ("", used)
