"""Distances between surfaces on meshes: nearer to the truth than centres of voxels where slices are thick."""

import numpy as np
import pytest

from souron.metrics import volumes
from souron.metrics.surface_meshes import surface_agreement


def ball(shape, spacing, centre, radius):
    axes = np.meshgrid(*(np.arange(count) * step for count, step in zip(shape, spacing, strict=True)), indexing="ij")
    return sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)) <= radius**2


@pytest.mark.parametrize(
    ("shape", "spacing", "one", "other", "hd95", "assd", "near"),
    [  # figures of segauge 0.1.0 (Apache-2.0), tolerance 2 mm
        ((24, 32, 32), (3.0, 1.0, 1.0), ((36, 16, 16), 10), ((36, 18, 16), 11), 2.782606, 1.128066, 0.770091),
        ((20, 20, 20), (1.0, 1.0, 1.0), ((10, 10, 10), 6), ((10, 10, 11), 7), 1.783411, 0.886516, 0.993637),
        ((16, 40, 40), (6.8, 4.2, 4.2), ((50, 80, 80), 30), ((55, 84, 80), 26), 8.797222, 4.034531, 0.316515),
    ],
)
def test_distances_are_those_of_segauge(shape, spacing, one, other, hd95, assd, near):
    """Which divides fewer of the triangles, so that it is somewhat coarser."""
    found = surface_agreement(ball(shape, spacing, *one), ball(shape, spacing, *other), spacing, 2.0)
    assert found.hd95 == pytest.approx(hd95, rel=0.04) and found.assd == pytest.approx(assd, rel=0.01)
    assert found.surface_dice == pytest.approx(near, abs=0.01)


@pytest.mark.parametrize(("thick", "slices"), [(3.0, 30), (5.0, 20)])
def test_thick_slices_distort_less_than_between_centres_of_voxels(thick, slices):
    """Two balls around one centre, whose surfaces are 2 mm apart: nothing of them is within 1 mm."""
    shape, spacing = (slices, 60, 60), (thick, 1.0, 1.0)
    one, other = (ball(shape, spacing, (slices * thick / 2 - 3, 30, 30), radius) for radius in (20, 22))
    mesh, voxels = surface_agreement(one, other, spacing), volumes.agreement(one, other, spacing)
    assert mesh.surface_dice < voxels.surface_dice / 2
    assert abs(mesh.hd95 - 2) < abs(voxels.hd95 - 2)


def test_a_needle_hardly_counts():
    """A long box against the same with a thin needle, whose area is small."""
    box = np.zeros((40, 40, 40), bool)
    box[2:38, 2:38, 2:20] = True
    needle = box.copy()
    needle[20, 20, 20:38] = True
    found = surface_agreement(needle, box, (1, 1, 1))
    assert found.hd95 < 1 and 0 < found.assd < 0.2


def test_empty_masks_agree_or_are_as_far_as_can_be():
    nothing, some = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    assert surface_agreement(nothing, nothing, (1, 1, 1)) == (0, 0, 1)
    far = surface_agreement(nothing, some, (1, 2, 2))
    assert far == (volumes.diagonal((4, 4, 4), (1, 2, 2)),) * 2 + (0.0,)
    same = surface_agreement(some, some, (1, 2, 2))
    assert same.hd95 == 0 and same.surface_dice == 1
    for wrong in ((some, nothing[:3], (1, 1, 1)), (some[0], some[0], (1, 1)), (some, some, (1, 1))):
        with pytest.raises(ValueError):
            surface_agreement(*wrong)
