"""Evaluate pose estimation: errors by keypoint, and a constant pose as the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron.data.dataset import Dataset
from souron.data.targets.poses import Figures, area_of, nothing
from souron.evaluation.vision import detection
from souron.metrics import poses
from souron.stats import intervals
from souron.stats.records import Measure

ALIKE = 0.5  # least keypoint similarity of a match
NEAR = 0.1  # of the square root of a figure's area, for a point to count as near

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OfPoint:
    """Figures of one keypoint, over the matched poses."""

    name: str
    marked: int  # in matched figures
    error: Measure | None  # in pixels; None where no figure marks it
    near: Measure | None  # proportion within ``NEAR``
    worst: float


def mean_pose(figures: Sequence[Figures]) -> Figures:
    """Return the mean pose as a baseline that ignores the image.

    It has the mean box of the most frequent label and the mean position of each keypoint within the
    box. Empty without figures.
    """
    skeleton = figures[0].skeleton
    box = detection.mean_box([figure.box for figure in figures])
    if not len(box):
        return nothing(skeleton)
    boxes = torch.cat([figure.box for figure in figures])
    points = torch.cat([figure.point for figure in figures])
    of_label = boxes[:, 0] == box[0, 0]
    low, high = boxes[of_label, None, 1:3], boxes[of_label, None, 3:5]
    visible = points[of_label, :, 2:] > 0
    share = (points[of_label, :, :2] - low) / (high - low).clamp(min=1e-6)
    mean = (share * visible).sum(0) / visible.sum(0).clamp(min=1)
    position = box[0, 1:3] + mean * (box[0, 3:5] - box[0, 1:3])
    point = torch.cat([position, torch.ones(len(position), 1)], 1)[None]
    return Figures(box, point, area_of(box), skeleton)


def pairs(prediction: Figures, there: Figures) -> list[tuple[int, int]]:
    """Match predicted with true figures: in order of score, each takes the most similar
    one left.
    """
    sigmas = poses.sigmas_of(there.skeleton.names, there.skeleton.sigmas)
    likeness = poses.similarities(prediction.point, there.point, there.area, sigmas)
    likeness[:, (there.box[:, 0] < 0).numpy()] = np.nan
    matches: list[tuple[int, int]] = []
    for row in prediction.box[:, 5].argsort(descending=True, stable=True).tolist():
        free = np.nan_to_num(likeness[row], nan=-1.0)
        if len(free) and free.max() >= ALIKE:
            matches.append((row, int(free.argmax())))
            likeness[:, matches[-1][1]] = np.nan
    return matches


def errors(prediction: Figures, there: Figures) -> tuple[Array, Array]:
    """Compute errors (n, K) of the matched figures of an image in pixels, NaN where unmarked.

    Also returns them relative to the square root of the figure's area.
    """
    both = pairs(prediction, there)
    rows, true = ([pair[side] for pair in both] for side in (0, 1))
    far = (prediction.point[rows, :, :2] - there.point[true, :, :2]).norm(dim=2).double()
    far = far.where(there.point[true, :, 2] > 0, torch.nan)
    return far.numpy(), (far / there.area[true, None].double().sqrt()).numpy()


def by_point(predictions: Sequence[Any], test: Dataset) -> list[OfPoint]:
    """Compute the figures of each keypoint over all matched poses."""
    names = test.target[0].skeleton.names
    errors_of_cases = [errors(*pair) for pair in zip(predictions, test.target, strict=True)]
    units = test.units or list(map(str, range(len(test))))
    unit = [units[row] for row, (far, _share) in enumerate(errors_of_cases) for _figure in far]
    far, share = (np.concatenate([case[part] for case in errors_of_cases]) for part in (0, 1))
    return [_of_point(name, far[:, k], share[:, k], unit) for k, name in enumerate(names)]


def _of_point(name: str, far: Array, share: Array, unit: Sequence[str]) -> OfPoint:
    rows = np.nonzero(np.isfinite(far))[0]
    if not len(rows):
        return OfPoint(name, 0, None, None, float("nan"))
    units = [unit[row] for row in rows.tolist()]
    return OfPoint(
        name,
        len(rows),
        intervals.error_interval(far[rows], units),
        intervals.interval((share[rows] <= NEAR).astype(float), units),
        float(far[rows].max()),
    )


def joined(box: Tensor, point: Tensor, skeleton: Any) -> Figures:
    """Combine predicted boxes (n, 6) and keypoints (n, K, 3)."""
    return Figures(box, point, area_of(box), skeleton)
