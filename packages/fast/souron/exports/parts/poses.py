"""Figures with their keypoints."""

import json
from typing import Any

from souron.exports.parts.back import back
from souron.exports.parts.suppressed import suppressed


def show(outputs: Any, place: Any, about: Any, labels: Any) -> None:
    """Print each figure: its box and its points in pixels of the image, x, y and score."""
    box, score, point = (part[0] for part in outputs)
    for k, label in suppressed(box, score, about):
        edges, at = back(box[k].reshape(2, 2), place).reshape(4).tolist(), back(point[k, :, :2], place)
        named = {
            name: [*xy, float(s)] for name, xy, s in zip(about["points"], at.tolist(), point[k, :, 2], strict=True)
        }
        answer = {"label": labels[label], "score": float(score[k, label]), "box": edges, "points": named}
        print(json.dumps(answer, ensure_ascii=False))
