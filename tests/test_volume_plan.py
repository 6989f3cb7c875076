"""A network for volumes follows from their spacing, size and grey values."""

import math
from dataclasses import replace

import pytest
import torch

from souron import registry
from souron.blocks import volume_plan
from souron.runs import folder as run_folder
from souron.tasks.segment_volume import Batch, Spec
from souron.utils.messages import UserError

SPEC = Spec(1, (16, 24, 24), (6.0, 1.0, 1.0), ("background", "liver"), (1,), (-50.0, 150.0, 60.0, 40.0))


def network(size="unet_3d_planned", spec=SPEC, **changes):
    kind, config = registry.load_system(size)
    return kind(replace(config, width=2, **changes), spec)


def test_thick_slices_are_halved_only_when_rows_are_as_long():
    made = volume_plan.plan((20, 128, 128), (6.0, 1.0, 1.0), 10**9, 5)
    steps = [[math.prod(axis[: level + 1]) for axis in zip(*made.strides, strict=True)] for level in range(5)]
    spacing = [[6.0 * along, 1.0 * rows, 1.0 * columns] for along, rows, columns in steps]
    assert made.strides[1][0] == made.strides[2][0] == 1 and made.strides[3][0] == 2
    for kernel, lengths in zip(made.kernels, spacing, strict=True):
        assert (kernel[0] == 3) == (lengths[0] < 2 * lengths[1]) and kernel[1:] == (3, 3)


def test_equal_spacing_gives_the_fixed_network():
    made = volume_plan.plan((64, 64, 64), (1.0, 1.0, 1.0), 32**3, 4)
    assert made == volume_plan.fixed((32, 32, 32), 4)


@pytest.mark.parametrize("size", [(48, 80, 96), (5, 8, 8), (1, 300, 300), (33, 47, 500), (3, 3, 3)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (20.0, 4.0, 4.0), (1.0, 5.0, 1.0)])
def test_a_patch_fits_the_volume_and_the_budget_and_is_halved_without_a_rest(size, spacing):
    made = volume_plan.plan(size, spacing, 20_000, 5)
    assert math.prod(made.patch) <= 20_000
    for side, count, strides in zip(made.patch, size, zip(*made.strides, strict=True), strict=True):
        assert 1 <= side <= count and side % math.prod(strides) == 0


def test_a_patch_is_as_long_on_each_axis_in_mm():
    patch = volume_plan.plan((100, 400, 400), (4.0, 1.0, 1.0), 65_536, 1).patch
    lengths = [side * step for side, step in zip(patch, (4.0, 1.0, 1.0), strict=True)]
    assert max(lengths) / min(lengths) < 1.1


def test_intensities_are_those_of_the_foreground():
    volumes, target = torch.zeros(2, 1, 4, 4, 4), torch.zeros(2, 4, 4, 4, dtype=torch.uint8)
    target[0, :2], volumes[0, 0, :2] = 1, 100.0
    volumes[1] = 9999.0
    assert volume_plan.intensities(volumes, target)[:3] == (100.0, 100.0, 100.0)
    nothing = volume_plan.intensities(volumes, torch.zeros_like(target))
    assert nothing[2] == pytest.approx(float(volumes.mean()))


def test_grey_values_of_any_unit_look_the_same_to_a_planned_network():
    volume = torch.randn(1, 16, 24, 24) * 50
    low, high, mean, deviation = SPEC.foreground
    other = replace(SPEC, foreground=(4 * low + 500, 4 * high + 500, 4 * mean + 500, 4 * deviation))
    one, two = network().channels(volume), network(spec=other).channels(4 * volume + 500)
    assert torch.allclose(one, two, atol=1e-5) and one.shape[0] == 4
    assert one[0].max() <= (high - mean) / deviation + 1e-6
    fixed = network("unet_3d")
    assert not torch.allclose(fixed.channels(volume), fixed.channels(4 * volume + 500))


def test_a_planned_network_has_the_levels_of_its_plan():
    model = network()
    assert [tuple(level[0].kernel_size) for level in model.down] == list(model.layout.kernels)
    assert [tuple(up.enlarge.stride) for up in model.up] == list(model.layout.strides[1:])
    assert model.named(torch.zeros(1, 16, 24, 24)).shape == (16, 24, 24)
    assert model.named(torch.zeros(1, 17, 23, 25)).shape == (17, 23, 25)
    target = torch.zeros(2, 16, 24, 24, dtype=torch.uint8)
    target[:, 4:8, 4:12, 4:12] = 1
    assert model.loss(Batch(torch.randn(2, 1, 16, 24, 24), target)).isfinite()


def test_a_run_that_describes_its_data_without_grey_values_is_read():
    known = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(SPEC).items()}
    del known["foreground"]
    assert run_folder._from_dict(Spec, known).foreground == ()
    for wrong in ({**known, "colour": 3}, {name: known[name] for name in ("channels", "size")}, 3):
        with pytest.raises(UserError, match="describes its data"):
            run_folder._from_dict(Spec, wrong)
