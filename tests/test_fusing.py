"""Fused networks answer alike, without normalisations."""

import pytest
import torch
from shapes import cases_for
from torch import nn

from souron import registry
from souron.blocks.fusing import fused
from souron.kinds.picture import Picture
from souron.model import Model


@pytest.mark.parametrize("name", ["yolo", "ssd", "unet", "resnet"])
def test_a_fused_network_answers_alike(name, digits):
    kind = registry.load_system(name)[0]
    task = kind.task
    cases = cases_for(task, digits, 64)
    torch.manual_seed(0)
    system = kind(kind.SIZES["tiny"], kind.spec_for(cases))
    for norm in system.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 2)
    image = next(system.loader(cases).endless(4)).image
    with torch.no_grad():
        before, after = system.eval()(image), fused(system, lambda copy: copy(image[:1]))(image)
    before, after = ([each] if torch.is_tensor(each) else list(each) for each in (before, after))
    for one, other in zip(before, after, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max()))
    quick = fused(system, lambda copy: copy(image[:1]))
    left = [m for m in quick.modules() if isinstance(m, nn.BatchNorm2d)]
    there = [m for m in system.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(left) <= len(there) // 2  # those of what only learns are not asked


def test_a_convolution_that_is_asked_twice_stays():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.first(self.conv(x)) + self.second(self.conv(x + 1))

    network = Shared().eval()
    nn.init.constant_(network.second.weight, 3.0)
    x = torch.rand(2, 3, 4, 4)
    assert torch.allclose(fused(network, lambda copy: copy(x))(x), network(x))
    assert isinstance(fused(network, lambda copy: copy(x)).first, nn.BatchNorm2d)


def test_a_model_for_many_answers_as_the_model_does(digits):
    kind = registry.load_system("yolo")[0]
    torch.manual_seed(0)
    system = kind(kind.SIZES["tiny"], kind.spec_for(cases_for("detect", digits, 32)))
    model = Model("yolo", system)
    picture = Picture.of(cases_for("detect", digits, 1).input[0])
    plain, quick = (m.answer(picture, conf=0.0, iou=1.0) for m in (model, model.for_many()))
    assert len(plain.box) == len(quick.box) > 10
    assert abs(sum(plain.found.scores) - sum(quick.found.scores)) < 0.05 * sum(plain.found.scores)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.for_many().system.average.modules())
    assert model.system is system  # which may learn on


@pytest.mark.parametrize("name", ["yolo_seg", "mask_rcnn"])
def test_what_draws_masks_answers_many_alike(name, digits):
    kind = registry.load_system(name)[0]
    cases = cases_for("segment_instances", digits, 32)
    torch.manual_seed(0)
    model = Model(name, kind(kind.SIZES["tiny"], kind.spec_for(cases)))
    picture, quick = Picture.of(cases.input[0]), model.for_many()
    plain, fast = (m.answer(picture, conf=0.0, iou=0.5) for m in (model, quick))
    assert len(plain.area) > 0 and len(fast.area) == pytest.approx(len(plain.area), abs=3)
    both = [each.any(0) for each in (plain.area, fast.area)]
    assert (both[0] == both[1]).mean() > 0.9
    norms = [[m for m in each.modules() if isinstance(m, nn.BatchNorm2d)] for each in (model.system, quick.system)]
    assert len(norms[1]) < len(norms[0])
