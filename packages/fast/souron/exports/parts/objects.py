"""The pixels of each object."""

import json
from typing import Any

import numpy as np

from souron.exports.parts.back import back
from souron.exports.parts.enlarged import enlarged
from souron.exports.parts.suppressed import suppressed
from souron.exports.parts.written import written


def show(outputs: Any, place: Any, about: Any, labels: Any) -> None:
    """Write the numbers of the objects as an image, 0 beside them, and print each with its box."""
    (box, score, weight, maps), size = (part[0] for part in outputs), np.multiply(place["size"], place["scale"])
    (wide, high), left, top = size.round().astype(int), place["left"], place["top"]
    area, (y, x) = np.zeros(place["size"][::-1], np.uint8), np.mgrid[: 4 * maps.shape[1], : 4 * maps.shape[2]] + 0.5
    for number, (k, label) in enumerate(suppressed(box, score, about), 1):
        logit = enlarged(np.tensordot(weight[k], maps, 1), maps.shape[:0:-1] * np.array(4))
        inside = (x >= box[k, 0]) & (x < box[k, 2]) & (y >= box[k, 1]) & (y < box[k, 3])
        part = ((logit > 0) & inside).astype(np.float32)[top : top + high, left : left + wide]
        area[(enlarged(part, place["size"]) >= 0.5) & (area == 0)] = number
        edges = back(box[k].reshape(2, 2), place).reshape(4).tolist()
        answer = {"number": number, "label": labels[label], "score": float(score[k, label]), "box": edges}
        print(json.dumps(answer, ensure_ascii=False))
    print(json.dumps({"file": written(area, place["name"], ".objects.png")}))
