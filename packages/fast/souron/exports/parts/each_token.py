"""A label for each token."""

import json
from typing import Any


def show(outputs: Any, place: Any, about: Any, labels: Any) -> None:
    """Print the most probable label of each token, or the most probable token itself, and its probability."""
    for row in outputs[0][0]:
        best = int(row.argmax())
        answer = {"label": labels[best] if labels else best, "probability": float(row[best])}
        print(json.dumps(answer, ensure_ascii=False))
