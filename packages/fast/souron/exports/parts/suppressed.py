"""Non-maximum suppression within each label."""

from typing import Any

import numpy as np


def suppressed(box: Any, score: Any, about: Any) -> Any:
    """Return (candidate, label) of the boxes that stay of (A, 4) with scores (A, labels), the best first."""
    place, label = np.nonzero(score > about["conf"])
    order = (-score[place, label]).argsort(kind="stable")[: about["most"]]
    place, label, kept = place[order], label[order], list[int]()
    area = (box[place, 2:] - box[place, :2]).prod(1)
    for k in range(len(place)):
        mine = [j for j in kept if label[j] == label[k]]
        shared = np.minimum(box[place[mine], 2:], box[place[k], 2:]) - np.maximum(
            box[place[mine], :2], box[place[k], :2]
        )
        both = shared.clip(0).prod(1)
        if (both <= about["iou"] * (area[mine] + area[k] - both)).all():
            kept.append(k)
    return [(place[k], label[k]) for k in kept[:100]]
