"""Disturbed pictures: each does what it says, the same every time; accuracy case by case."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.vision.corruptions import DISTURBANCES, disturb, robustness, some, steps, what
from souron.report import plots
from souron.stats import verdict
from souron.stats.records import Measure
from souron.utils.messages import UserError

pytestmark = pytest.mark.usefixtures("each_drawn")


def noise(*shape):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1)).byte()


def smooth(count=2, channels=3, side=48):
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (90 + 60 * torch.sin(x / 5) + 40 * torch.cos(y / 7)).byte().expand(count, channels, -1, -1)


@pytest.mark.parametrize("name", DISTURBANCES)
@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 3, 33, 20), (1, 1, 4, 4), (2, 4, 16, 16)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_same_seed_same_pictures_of_the_same_kind(name, shape, dtype):
    image = noise(*shape).to(dtype)
    before = image.clone()
    for level in (1, 2, 3):
        once, again = disturb(image, name, level, 7), disturb(image, name, level, 7)
        assert torch.equal(once, again)
        assert once.shape == image.shape and once.dtype == dtype
        assert once.min() >= 0 and once.max() <= 255
    assert torch.equal(image, before)
    untouched = disturb(image, name, 0)
    assert torch.equal(untouched, image) and untouched.data_ptr() != image.data_ptr()


@pytest.mark.parametrize("name", DISTURBANCES)
def test_stronger_is_further_away(name):
    image = smooth().float()  # bytes would round the lightest blur away
    away = [(disturb(image, name, k) - image).square().mean() for k in range(4)]
    assert away[0] == 0 and all(far > near for near, far in pairwise(away))


def test_chance_differs_with_the_seed_and_from_picture_to_picture():
    image = smooth(8)
    for name in ("noise", "rotation"):
        assert not torch.equal(disturb(image, name, 2, 0), disturb(image, name, 2, 1))
        assert len(disturb(image, name, 2, 0).unique(dim=0)) > 1


def test_blur_is_scipys():
    image = noise(1, 1, 200, 200).float()
    blurred = disturb(image, "blur", 2)[0, 0].numpy()
    sigma = 200 * DISTURBANCES["blur"][1]
    expected = ndimage.gaussian_filter(image[0, 0].numpy(), sigma, mode="mirror", truncate=3.0)
    np.testing.assert_allclose(blurred, expected, atol=0.02)


def test_noise_has_the_spread_that_it_says():
    image = torch.full((4, 1, 100, 100), 128.0)
    for level, spread in enumerate(DISTURBANCES["noise"], 1):
        off = disturb(image, "noise", level) - 128
        assert abs(off.std() - spread) < 0.03 * spread and abs(off.mean()) < 0.05 * spread


def test_brightness_is_a_factor():
    image = torch.tensor([0, 50, 100, 200]).byte().view(1, 1, 2, 2)
    assert disturb(image, "darker", 3).flatten().tolist() == [0, 20, 40, 80]
    assert disturb(image, "brighter", 3).flatten().tolist() == [0, 100, 200, 255]


def test_rotation_is_by_the_angle_about_the_middle():
    image = torch.zeros(16, 1, 61, 61)
    image[:, :, 30, 5:56] = 255
    columns = torch.arange(61.0)
    for level, degrees in enumerate(DISTURBANCES["rotation"], 1):
        found = set()
        for turned in disturb(image, "rotation", level)[:, 0]:
            height = (turned * columns[:, None]).sum(0) / turned.sum(0).clamp(min=1)
            slope = (height[45] - height[15]) / 30
            found.add(round(math.degrees(math.atan(slope)), 0))
            assert turned[30, 30] > 150
        assert found == {degrees, -degrees}


def test_what_is_unknown_is_refused():
    with pytest.raises(UserError) as trouble:
        disturb(noise(1, 1, 8, 8), "blurr", 1)
    assert trouble.value.fix == "blur"
    for level in (-1, 4):
        with pytest.raises(UserError):
            disturb(noise(1, 1, 8, 8), "blur", level)


def test_all_are_told_with_their_strengths():
    told = what()
    assert list(told) == list(DISTURBANCES)
    assert told["blur"][1] == tuple(f"blurred over {p} % of the side" for p in ("0.5", "1", "2"))
    assert told["rotation"][1][2] == "turned by 20 degrees"
    assert all(len(set(levels)) == 3 for _title, levels in told.values())


def bright_or_dark(count=60):
    label = torch.arange(count) % 2
    image = (40 + 60 * label).view(-1, 1, 1, 1).expand(-1, 1, 16, 16).byte()
    files, patients = [f"{i}.png" for i in range(count)], [f"p{i // 3}" for i in range(count)]
    return Dataset("few", image.contiguous(), label, ("dark", "bright"), files, group=patients)


def judge_of_brightness(cases):
    """Knows the threshold 70: right on all, and wrong once pictures are made much darker."""
    kind, config = registry.load_system("mlp_tiny")
    system = kind(config, kind.spec_for(cases))
    with torch.no_grad():
        for weight in system.parameters():
            weight.zero_()
        system.hidden[0].weight[0] = 1 / 256  # the mean, above or below that of all pictures
        system.hidden[0].weight[1] = -1 / 256
        system.fc.weight[1, 0] = system.fc.weight[0, 1] = 1.0
    return system


def test_robustness_is_case_by_case_and_leaves_the_system_as_it_was():
    cases = bright_or_dark()
    system = judge_of_brightness(cases).train()
    found = list(robustness(system, cases))
    assert system.training and len(found) == steps() == 1 + 3 * len(DISTURBANCES)
    assert found[0][:2] == ("", 0) and found[0][2].tolist() == [1.0] * 60
    right = {(name, level): of for name, level, of in found}
    assert all(of.shape == (60,) and set(of.tolist()) <= {0.0, 1.0} for of in right.values())
    # bright pictures pass for dark ones, and dark ones stay dark
    assert right["darker", 3].tolist() == [1.0, 0.0] * 30
    assert right["brighter", 3].tolist() == [0.0, 1.0] * 30
    assert right["rotation", 3].mean() == 1
    drop = verdict.difference(right["", 0].numpy(), right["darker", 3].numpy(), groups=cases.group)
    assert drop.difference == 0.5 and drop.verdict == "better"


def test_at_most_so_many_cases_are_tried_and_always_the_same():
    cases = bright_or_dark()
    few = some(cases, 20)
    assert len(few) == 20 and few.file == some(cases, 20).file == some(few, 20).file
    assert list(few.file) == sorted(few.file, key=cases.file.index)
    assert some(cases, 60) is cases
    system = judge_of_brightness(cases)
    assert all(len(right) == 20 for _name, _level, right in robustness(system, cases, 20))


def test_finer_steps_than_bytes_are_kept():
    image = torch.full((1, 1, 8, 8), 100.3)
    assert disturb(image, "darker", 1).unique().item() == pytest.approx(80.24, abs=1e-4)


def measures(*values):
    return [Measure(value, value - 0.05, value + 0.04, 100) for value in values]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_plots_are_drawn_without_a_warning(language, monkeypatch):
    monkeypatch.setenv("SOURON_LANG", language)
    names = [title for title, _levels in what().values()] + ["ぼかし $x$"]
    sure = torch.rand(50, generator=torch.Generator().manual_seed(0))
    points = list(zip((0.2, 0.5, 0.8), measures(0.3, 0.4, 0.9), strict=True))
    drawn = [
        plots.robustness({name: measures(0.9, 0.8, 0.6, 0.5) for name in names}),
        plots.reliability({"before": points, "補正後": points[:1]}, {"before": sure, "補正後": sure**2}),
        plots.roc({"resnet": ((0, 0.1, 1), (0, 0.8, 1))}, (0.1, 0.8)),
        plots.roc({"resnet": ((0, 1), (0, 1))}),
        plots.learning_sizes([25, 50, 100, 200], [0.6, 0.7, 0.75, 0.8], [0.5, 0.65, 0.7, 0.77], [0.7, 0.8, 0.8, 0.83]),
    ]
    assert all(image.startswith(b"\x89PNG") for image in drawn)
    assert len(set(drawn)) == len(drawn)
