"""An answer as the JSON object that ``souron predict --json`` prints on one line."""

from collections.abc import Mapping
from typing import Any

from souron.kinds.finding import check_json
from souron.utils.messages import UserError


def as_json(file: str, answer: Any, top: int = 5, origin: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the object for an answer, or for the ``UserError`` in its place.

    Of labels of which one holds the ``top`` most probable ones; ``origin``: the system that answered.
    """
    if isinstance(answer, UserError):
        return {"file": file, "error": f"[{answer.code}] {answer.found}"}
    told: dict[str, Any] = {"file": file, **(origin or {})}
    if excludes(answer):
        told["labels"] = [{"label": name, "probability": p} for name, p in best(answer, top)]
    else:
        told |= answer.as_json()
    return told | check_json(answer)


def best(answer: Any, top: int) -> list[tuple[str, float]]:
    """Return the ``top`` most probable labels with their probabilities."""
    pairs = zip(answer.labels, map(float, answer.probabilities), strict=True)
    return sorted(pairs, key=lambda pair: -pair[1])[:top]


def are_labels(answer: Any) -> bool:
    """Return whether an answer consists of labels; only for these does the user choose a number."""
    return hasattr(answer, "labels") and hasattr(answer, "probabilities")


def excludes(answer: Any) -> bool:
    """Return whether an answer consists of labels of which one holds."""
    return are_labels(answer) and not getattr(answer, "several", False)
