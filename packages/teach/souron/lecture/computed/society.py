"""Society: exposure of an occupation."""

from collections.abc import Sequence


def expected_exposure(core: Sequence[str], others: Sequence[str]) -> float:
    """Return beta, E1 + half of E2, of an occupation from the labels of its tasks; core tasks count twice.

    >>> expected_exposure(["E1", "E0", "E0"], ["E2", "E2"])
    0.375
    """
    value = {"E0": 0.0, "E1": 1.0, "E2": 0.5}
    total = 2 * sum(value[label] for label in core) + sum(value[label] for label in others)
    return total / (2 * len(core) + len(others))
