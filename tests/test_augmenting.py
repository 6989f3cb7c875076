"""Changes of pictures: each does what its name says, by chance that can be repeated."""

import math

import pytest
import torch
from torch import Generator
from torch.nn import functional as F

from souron.data.transforms import CHANGES, augmentation, brightness, erase, mirror, rotate, shift, steps, what
from souron.utils.messages import UserError


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=seeded(1)).byte()


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("shape", [(16, 1, 8, 8), (5, 3, 33, 20), (1, 1, 28, 28)])
def test_same_chance_same_pictures(name, shape):
    image = noise(*shape)
    before = image.clone()
    once, again = (CHANGES[name](image, seeded()) for _i in range(2))
    assert torch.equal(once, again)
    assert once.shape == image.shape and once.dtype == torch.uint8 and once.is_contiguous()
    assert torch.equal(image, before)
    if len(image) > 1:
        assert not torch.equal(once, CHANGES[name](image, seeded(2)))


@pytest.mark.parametrize("name", CHANGES)
def test_each_picture_in_its_own_way(name):
    image = noise(1, 3, 16, 16).expand(32, -1, -1, -1)
    changed = CHANGES[name](image, seeded())
    assert len(changed.unique(dim=0)) >= {"mirror": 2, "shift": 6}.get(name, 8)


def test_mirror():
    image = noise(64, 3, 7, 9)
    mirrored = mirror(image, seeded())
    turned = [torch.equal(a, b.flip(2)) for a, b in zip(mirrored, image, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(mirrored, image, strict=True)]
    assert all(a != b for a, b in zip(turned, kept, strict=True))
    assert 20 <= sum(turned) <= 44
    assert torch.equal(mirror(mirrored, seeded()), image)


def test_shift_is_a_slice_of_the_reflected_picture():
    image = noise(200, 2, 32, 32)
    wide = F.pad(image.float(), (2, 2, 2, 2), mode="reflect").byte()
    found = set()
    for moved, border in zip(shift(image, seeded()), wide, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(moved, border[:, y : y + 32, x : x + 32])]
        assert len(places) == 1
        found.update(places)
    assert len(found) == 25  # every move up to a sixteenth of 32 pixels


def test_brightness_is_linear_within_bounds():
    image = noise(50, 1, 16, 16)
    changed = brightness(image, seeded())
    for before, after in zip(image.float(), changed.float(), strict=True):
        inner = (after > 0) & (after < 255)
        x, y = before[inner], after[inner]
        slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
        assert 0.75**2 - 0.01 <= slope <= 1.25**2 + 0.01
        assert (y - y.mean() - slope * (x - x.mean())).abs().max() < 1
    dark = torch.zeros(4, 1, 4, 4, dtype=torch.uint8)
    assert torch.equal(brightness(dark, seeded()), dark)


def test_erase_covers_one_rectangle_with_the_mean():
    image = noise(60, 3, 24, 24)
    areas = []
    for before, after in zip(image, erase(image, seeded()), strict=True):
        mean = before.float().mean((1, 2)).round().byte()
        covered = (after == mean[:, None, None]).all(0)
        assert torch.equal(after[:, ~covered], before[:, ~covered])
        rows, columns = covered.any(1).nonzero(), covered.any(0).nonzero()
        height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
        assert covered.sum() >= height * width and max(height, width) <= 13
        areas.append(int(covered.sum()))
    assert max(areas) >= 100


def test_rotate_turns_upright_and_level_lines_alike_about_the_middle():
    level, upright = torch.zeros(2, 40, 1, 41, 61, dtype=torch.uint8).unbind()
    level[:, :, 20, 10:51] = 255
    upright[:, :, 5:36, 30] = 255
    heights, widths = torch.arange(41.0)[:, None], torch.arange(61.0)
    angles = []
    for one, other in zip(rotate(level, seeded()), rotate(upright, seeded()), strict=True):
        assert one[0, 20, 30] > 200 and other[0, 20, 30] > 200
        height = (one[0] * heights).sum(0) / one[0].sum(0)  # the line's, in each column
        width = (other[0] * widths).sum(1) / other[0].sum(1)
        angles.append(math.degrees(math.atan2(float(height[45] - height[15]), 30)))
        other_angle = math.degrees(math.atan2(float(width[10] - width[30]), 20))
        assert abs(angles[-1] - other_angle) < 1
    assert -15.5 <= min(angles) < -8 and 8 < max(angles) <= 15.5


def test_one_after_the_other():
    image = noise(8, 1, 12, 12)
    both = augmentation(("shift", "mirror"))
    generator = seeded()
    assert both is not None
    assert torch.equal(both(image, seeded()), mirror(shift(image, generator), generator))
    assert augmentation(()) is None


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UserError) as caught:
        augmentation(["shift", "miror"])
    assert caught.value.code == "augment" and caught.value.fix == "augment=mirror"


def test_steps_show_each_change_at_work():
    image = noise(3, 16, 16)
    shown = steps(image, tuple(CHANGES))
    assert [name for name, _image in shown] == list(CHANGES) == list(what())
    for (_name, picture), (_again, same) in zip(shown, steps(image, tuple(CHANGES)), strict=True):
        assert picture.shape == image.shape and torch.equal(picture, same)
        assert not torch.equal(picture, image)
