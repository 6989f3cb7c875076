"""Boxes around objects."""

import json
from typing import Any

from souron.exports.parts.back import back
from souron.exports.parts.suppressed import suppressed


def show(outputs: Any, place: Any, about: Any, labels: Any) -> None:
    """Print each box: left, top, right and bottom in pixels of the image."""
    box, score = outputs[0][0], outputs[1][0]
    for k, label in suppressed(box, score, about):
        edges = back(box[k].reshape(2, 2), place).reshape(4).tolist()
        answer = {"label": labels[label], "score": float(score[k, label]), "box": edges}
        print(json.dumps(answer, ensure_ascii=False))
