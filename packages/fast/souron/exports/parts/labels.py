"""Labels with their probabilities."""

import json
from typing import Any


def show(outputs: Any, place: Any, about: Any, labels: Any) -> None:
    """Print the five most probable ones, the best first."""
    for label in outputs[0][0].argsort()[::-1][:5]:
        print(json.dumps({"label": labels[label], "probability": float(outputs[0][0][label])}, ensure_ascii=False))
