"""Findings with their scores, of which several may hold."""

import json
from typing import Any


def show(outputs: Any, place: Any, about: Any, labels: Any) -> None:
    """Print each finding with its score, 0.5 at its threshold."""
    for label, p, least in zip(labels, outputs[0][0].tolist(), about["thresholds"], strict=True):
        score = p / (2 * least) if p < least else 1 - (1 - p) / (2 * (1 - least))
        print(json.dumps({"label": label, "score": score}, ensure_ascii=False))
