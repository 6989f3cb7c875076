"""Dice, HD95, surface Dice and millilitres: by brute force, by formulas, and of nothing."""

import itertools
import math

import numpy as np
import pytest

from souron.metrics import volumes
from souron.metrics.volumes import agreement


def by_hand(found, truth, spacing, tolerance):
    """Every pair of surface voxels, without a distance transform."""

    def rim(mask):
        made = []
        for voxel in zip(*np.nonzero(mask), strict=True):
            for axis, step in itertools.product(range(3), (-1, 1)):
                beside = list(voxel)
                beside[axis] += step
                out = not 0 <= beside[axis] < mask.shape[axis]
                if out or not mask[tuple(beside)]:
                    made.append([n * s for n, s in zip(voxel, spacing, strict=True)])
                    break
        return made

    a, b = rim(found), rim(truth)
    there = sorted(min(math.dist(p, q) for q in b) for p in a)
    back = sorted(min(math.dist(p, q) for q in a) for p in b)

    def rank(ordered):
        place = 0.95 * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (place - low) * (ordered[high] - ordered[low])

    shared = sum(bool(p) and bool(q) for p, q in zip(found.flat, truth.flat, strict=True))
    near = sum(d <= tolerance for d in there) + sum(d <= tolerance for d in back)
    return (2 * shared / (found.sum() + truth.sum()), max(rank(there), rank(back)), near / (len(there) + len(back)))


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_counting_gives(seed):
    chance = np.random.default_rng(seed)
    spacing = chance.uniform(0.5, 3, 3)
    found, truth = chance.random((2, 6, 7, 8)) < chance.uniform(0.05, 0.9, (2, 1, 1, 1))
    told = agreement(found, truth, spacing, 1.2)
    assert told[:3] == pytest.approx(by_hand(found, truth, spacing, 1.2))


def ball(radius, centre, spacing, shape=(40, 50, 60)):
    place = [(np.arange(n) - n // 2) * s for n, s in zip(shape, spacing, strict=True)]
    far = sum((axis.reshape([-1 if k == n else 1 for k in range(3)]) - centre[n]) ** 2 for n, axis in enumerate(place))
    return far <= radius**2


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.8, 0.8)])
def test_a_ball_has_the_volume_of_a_ball(spacing):
    inner, outer = ball(12, (0, 0, 0), spacing), ball(15, (0, 0, 0), spacing)
    told = agreement(inner, outer, spacing, 1)
    small, large = (4 / 3 * math.pi * r**3 / 1000 for r in (12, 15))
    assert (told.found, told.truth) == pytest.approx((small, large), rel=0.02)
    assert told.error == pytest.approx(small - large, rel=0.03) and told.error < 0
    assert told.dice == pytest.approx(2 * small / (small + large), abs=0.01)
    assert told.hd95 == pytest.approx(3, abs=0.75)
    assert told.surface_dice == 0 and agreement(inner, outer, spacing, 5).surface_dice == 1


def test_balls_that_are_shifted_are_as_far_as_the_formula_says():
    """|‖p + d‖ - r| for p on the sphere: 95 % are within d times 0.95."""
    spacing, shift = (0.5, 0.5, 0.5), 4.0
    shape = (70, 70, 90)
    first = ball(14, (0, 0, -shift / 2), spacing, shape)
    second = ball(14, (0, 0, shift / 2), spacing, shape)
    told = agreement(first, second, spacing, 1.0)
    cosine = np.linspace(-1, 1, 200_001)  # even over a sphere
    far = np.abs(np.sqrt(14**2 + shift**2 + 2 * 14 * shift * cosine) - 14)
    assert told.hd95 == pytest.approx(np.percentile(far, 95), abs=0.3)
    assert told.surface_dice == pytest.approx((far <= 1).mean(), abs=0.08)
    assert told.error == 0


def test_nothing_is_compared_with_nothing():
    none, some = np.zeros((5, 6, 7), bool), np.zeros((5, 6, 7), bool)
    some[2, 3, 3] = True
    assert agreement(none, none, (1, 1, 1))[:3] == (1, 0, 1)
    farthest = math.dist((0, 0, 0), (4 * 3, 5 * 2, 6 * 1))
    for pair in ((none, some), (some, none)):
        assert agreement(*pair, (3, 2, 1))[:3] == pytest.approx((0, farthest, 0))
    assert agreement(none, some, (3, 2, 1)).error == pytest.approx(-0.006)


def test_a_mask_that_fills_the_volume_has_a_surface():
    whole = np.ones((4, 4, 4), bool)
    assert volumes.surface(whole).sum() == 64 - 8
    assert agreement(whole, whole, (1, 2, 3)) == (1, 0, 1, 0.384, 0.384)


def test_spacing_turns_with_the_axes():
    chance = np.random.default_rng(1)
    found, truth = chance.random((2, 6, 7, 8)) < 0.3
    first = agreement(found, truth, (1, 2, 3))
    turned = agreement(found.transpose(2, 0, 1), truth.transpose(2, 0, 1), (3, 1, 2))
    assert turned == pytest.approx(first)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError):
        agreement(np.ones((2, 2, 2)), np.ones((2, 2, 3)), (1, 1, 1))
