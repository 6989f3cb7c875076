"""Detection and segmentation: boxes, masks, landmarks, tiles, volumes."""

from collections.abc import Sequence


def box_overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the IoU of two boxes (left, top, right, bottom).

    >>> round(box_overlap([0, 0, 10, 10], [5, 0, 15, 10]), 3)
    0.333
    """
    import numpy as np

    from souron.metrics.detection import overlaps

    a, b = (np.array([each], dtype=np.float64) for each in (one, other))
    return float(overlaps(a, b)[0, 0])


def corrected_left_edge(left: float, right: float, shift: float, log_scale: float) -> float:
    """Return the left edge of a proposal after a detector's offsets of centre and width.

    >>> round(corrected_left_edge(50, 150, 0.2, 0))
    70
    """
    import torch

    from souron.blocks.boxes import decode

    proposal, offset = torch.tensor([left, 0.0, right, 1.0]), torch.tensor([shift, 0.0, log_scale, 0.0])
    return float(decode(offset, proposal, (1.0, 1.0))[0])


def default_boxes(sides: Sequence[int], each: int) -> int:
    """Count the default boxes on feature maps with these sides, ``each`` at every position.

    >>> default_boxes([2, 1], 6)
    30
    """
    import torch

    from souron.blocks.boxes import around

    return sum(len(around(side, side, 1 / side, torch.ones(each, 2))) for side in sides)


def mask_overlap(shared: int, true: int, predicted: int) -> float:
    """Return the IoU of two masks with so many pixels, of which so many are shared.

    >>> mask_overlap(60, 100, 80)
    0.5
    """
    import numpy as np

    place = np.arange(true + predicted)
    y_true, y_pred = place < true, (place >= true - shared) & (place < true - shared + predicted)
    return float((y_true & y_pred).sum() / (y_true | y_pred).sum())


def mask_probability(prototypes: Sequence[float], coefficients: Sequence[float]) -> float:
    """Return the probability of a pixel in a mask that is mixed from prototypes.

    >>> mask_probability([1, 1], [2, -2])
    0.5
    """
    import torch

    prototype, coefficient = (torch.tensor(each, dtype=torch.float64) for each in (prototypes, coefficients))
    return float((coefficient @ prototype).sigmoid())


def panoptic_quality(overlaps: Sequence[float], missed: int, alarms: int) -> float:
    """Return PQ from the IoU of each segment that was found, and the counts of missed and false ones.

    >>> round(panoptic_quality([0.9, 0.7], 1, 1), 3)
    0.533
    """
    import numpy as np

    from souron.metrics.panoptic import Counted

    right, false, absent = (np.array([count]) for count in (len(overlaps), alarms, missed))
    return float(Counted(np.array([sum(overlaps)]), right, false, absent).quality["PQ"][0])


def landmark_error(across: float, down: float, spacing: float) -> float:
    """Return a landmark's radial error in mm from its offset in pixels.

    >>> landmark_error(3, 4, 0.5)
    2.5
    """
    from souron.metrics import keypoints

    error = keypoints.errors([[[across, down]]], [[[0.0, 0.0]]])
    return float(keypoints.millimetres(error, [spacing])[0, 0])


def tiles(side: int, tile: int, overlap: float) -> int:
    """Count the tiles of a square slide; ``overlap`` is a share of a tile's side.

    >>> tiles(2048, 512, 0.25)
    25
    """
    from souron.runs.tiles import grid

    return len(grid((side, side), tile, overlap))


def organ_volume(voxels: int, spacing: Sequence[float]) -> float:
    """Return the volume of an organ in mL; ``spacing`` is the size of a voxel in mm.

    >>> round(organ_volume(25000, [0.8, 0.8, 2.5]), 6)
    40.0
    """
    import numpy as np

    from souron.metrics.volumes import millilitres

    return millilitres(np.ones(voxels, dtype=bool), spacing)
