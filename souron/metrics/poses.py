"""Pose similarity, so that poses are scored as COCO scores them.

Lin, Maire, Belongie, Hays, Perona, Ramanan, Dollár, Zitnick: Microsoft COCO: Common Objects in
Context (2014). https://cocodataset.org/#keypoints-eval

    OKS = mean over the marked points of exp(-d^2 / (2 area (2 sigma)^2))

d is the distance between a point and its prediction, area that of the figure, and sigma the
annotators' spread for such a point: COCO's for its own 17 names, else 0.05, unless the data gives
others. The average precision is that of ``metrics.detection`` with this similarity (object keypoint
similarity) in place of the overlap.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from souron.metrics.detection import Measured

Array = NDArray[np.float64]

MOST = 20  # figures of a label in an image that count, the highest scores
USUAL = 0.05
SIGMAS = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
}
COCO = (
    "nose",
    *(
        f"{side}_{part}"
        for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    ),
)


def sigmas_of(names: Sequence[str], given: Sequence[float] = ()) -> Array:
    """Return the sigma of each named point, (K,); ``given`` are those that come with the data.

    >>> sigmas_of(["tip", "base"]).tolist(), sigmas_of(["tip"], [0.1]).tolist()
    ([0.05, 0.05], [0.1])
    >>> sigmas_of(COCO)[0].item()  # the nose
    0.026
    """
    if len(given) == len(names):
        return np.asarray(given, np.float64)
    if tuple(name.lower().replace(" ", "_") for name in names) != COCO:
        return np.full(len(names), USUAL)
    return np.array([SIGMAS[name.rpartition("_")[2]] for name in COCO])


def similarities(point: ArrayLike, true: ArrayLike, area: ArrayLike, sigmas: ArrayLike) -> Array:
    """Compute the object keypoint similarity of predicted and true poses, (D, G).

    ``point`` (D, K, 2) predicted, ``true`` (G, K, 3) with visibility last, ``area`` (G,) of the
    figures in square pixels. nan where no point of a figure is marked.

    >>> similarities([[[5.0, 5.0]]], [[[5.0, 5.0, 1.0]]], area=[100.0], sigmas=[0.05]).tolist()
    [[1.0]]
    """
    pred, there = np.asarray(point, np.float64), np.asarray(true, np.float64)
    room = 2 * (np.asarray(area, np.float64) + np.spacing(1))[:, None]
    far = np.square(pred[:, None, :, :2] - there[None, :, :, :2]).sum(3)  # (D, G, K)
    near = np.exp(-far / (room * np.square(2 * np.asarray(sigmas, np.float64))))
    visible = there[..., 2] > 0
    count = visible.sum(1)
    total = np.where(visible, near, 0.0).sum(2)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def measured(
    box: ArrayLike, point: ArrayLike, true_box: ArrayLike, true: ArrayLike, area: ArrayLike, sigmas: ArrayLike
) -> Measured:
    """Return similarities and areas that replace the overlaps of boxes in ``detection.match``.

    Predicted figures are (D, 6) and (D, K, 3), true ones (G, 5), (G, K, 3) and (G,). A figure
    without a marked point is not to be found: its area is infinite, and predictions within twice
    its box are similar to it.

    >>> import numpy as np
    >>> box, true_box = [[0, 0, 0, 10, 10, 0.9]], [[0, 0, 0, 10, 10]]
    >>> measured(box, [[[5, 5, 0.9]]], true_box, [[[5, 5, 1]]], [100], [0.05]).overlap.tolist()
    [[1.0]]
    """
    likeness = similarities(point, true, area, sigmas)
    pred, boxes = np.asarray(point, np.float64), np.asarray(true_box, np.float64)
    room = np.asarray(area, np.float64).copy()
    for column in np.nonzero(~(np.asarray(true)[..., 2] > 0).any(1))[0]:
        low, high = boxes[column, 1:3], boxes[column, 3:5]
        size = high - low
        away = (low - size - pred[..., :2]).clip(min=0) + (pred[..., :2] - high - size).clip(min=0)
        vary = 2 * (room[column] + np.spacing(1)) * np.square(2 * np.asarray(sigmas, np.float64))
        likeness[:, column] = np.exp(-np.square(away).sum(2) / vary).mean(1)
        room[column] = np.inf
    own = np.asarray(box, np.float64)
    return Measured(likeness, (own[:, 3:5] - own[:, 1:3]).prod(1), room)
