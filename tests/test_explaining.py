"""Heat maps: where the evidence is, and the system as it was."""

import copy

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from souron import registry
from souron.data.dataset import Rows
from souron.evaluation import gradcam
from souron.evaluation.gradcam import coarse, heat, method
from souron.report.plots import overlay
from souron.tasks.classify import Classifier, Spec
from souron.utils.messages import UserError

CLASSIFIERS = [name for name, entry in registry.entries().items() if entry.task == "classify"]
WITHOUT_PLACES = {"mlp"}
PATCHES = {"vit", "mlp_mixer"}


def make(name, side=32, channels=3, size="tiny"):
    torch.manual_seed(0)
    kind = registry.load_system(name)[0]
    seen = Spec(channels, side, ("a", "b", "c"), (0.5,) * channels, (0.25,) * channels)
    system = kind(kind.SIZES[size], seen).eval()
    for weight in system.get_submodule(system.head).parameters():
        nn.init.normal_(weight)  # some start at zero, and then nothing speaks for anything
    return system


def batch(system, count=3):
    image = torch.randint(0, 256, (count, system.spec.channels, system.spec.side, system.spec.side))
    label = torch.arange(count) % 3
    return system.batch(Rows(image.byte(), label))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("size", ["tiny", "small"])
@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in WITHOUT_PLACES])
def test_every_system_shows_where_it_looks_and_stays_as_it_was(name, size, frozen):
    system = make(name, size=size)
    if frozen:
        system.freeze()
    system.train()
    before = copy.deepcopy(system.state_dict())
    modes = [module.training for module in system.modules()]
    image, label = batch(system)
    kept = image.clone()
    found = heat(system, image, label)
    assert found.shape == (3, 32, 32) and found.dtype == torch.float32 and not found.requires_grad
    assert found.isfinite().all() and found.min() >= 0
    # the highest place is 1, or nothing speaks for the class at all
    assert all(top == 0 or abs(top - 1) < 1e-6 for top in found.amax((1, 2)).tolist())
    assert found.max() == 1 and found.unique().numel() > 10
    assert torch.equal(image, kept) and not image.requires_grad
    assert [module.training for module in system.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in system.state_dict().items())
    assert all(weight.grad is None for weight in system.parameters())
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    assert not any(getattr(module, kind) for module in system.modules() for kind in hooks)
    assert (method(system) != gradcam._("Grad-CAM at the last feature maps")) == (name in PATCHES)


@pytest.mark.parametrize("name", ["cnn", "resnet", "densenet", "vit", "mlp_mixer"])
@pytest.mark.parametrize("side, channels", [(8, 1), (28, 1), (64, 3)])
def test_pictures_of_any_side(name, side, channels):
    system = make(name, side, channels)
    image, label = batch(system, 6)
    found = heat(system, image, label)
    assert found.shape == (6, side, side)
    speaking = found[found.amax((1, 2)) > 0]  # nothing may speak for a class that was drawn by lot
    assert len(speaking) >= 2 and torch.allclose(speaking.amax((1, 2)), torch.ones(1))
    assert (speaking.amax((1, 2)) > speaking.amin((1, 2))).all()
    assert not torch.equal(speaking[0], speaking[1])


def test_a_picture_alone_is_explained_as_in_a_batch():
    for name in ("resnet", "vit"):
        system = make(name)
        image, label = batch(system, gradcam.BATCH + 3)
        together = heat(system, image, label)
        alone = torch.cat([heat(system, image[i : i + 1], label[i : i + 1]) for i in range(len(label))])
        torch.testing.assert_close(together, alone, atol=1e-3, rtol=0)


def test_autocast_and_inference_mode_change_nothing():
    system = make("resnet")
    image, label = batch(system)
    plain = heat(system, image, label)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = heat(system, image.clone(), label)
    torch.testing.assert_close(plain, inside, atol=1e-5, rtol=0)


def test_grad_cam_is_the_formula_of_the_paper():
    """After mean pooling and one layer the gradient is that layer's weight (CAM, Zhou 2016)."""
    for name in ("resnet", "densenet", "efficientnet_lite"):
        system = make(name, 96)
        image, label = batch(system)
        found = coarse(system, image, label)
        with torch.no_grad():
            given = []
            mean = torch.Tensor.mean

            def spied(x, *args, given=given, mean=mean):
                given.append(x)
                return mean(x, *args)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(torch.Tensor, "mean", spied)
                system(image)
        maps = given[-1]  # what was averaged last, after the activation
        weight = system.get_submodule(system.head).weight[label] / maps[0, 0].numel()
        expected = torch.einsum("bc,bchw->bhw", weight, maps).relu()
        assert found.max() > 0
        torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=1e-4)


def test_before_the_pooling_and_of_any_activation():
    system = make("cnn", 32)
    image, label = batch(system, 2)
    assert coarse(system, image, label).shape == (2, 16, 16)  # not pooled to 8, nor to 5
    assert make("airbench").config.relu


def test_patches_are_those_that_reach_the_class_token():
    system = make("vit", 28)
    image, label = batch(system, 2)
    found, given = coarse(system, image, label), []
    # of the last layer's own output only the class token counts; of what it is given, all
    handle = system.encoder.layers[-1].ln_1.register_forward_hook(lambda _layer, _inputs, tokens: given.append(tokens))
    asked = system(image).gather(1, label[:, None]).sum()
    handle.remove()
    (slope,) = torch.autograd.grad(asked, given)
    expected = (slope * given[0]).sum(2)[:, 1:].relu().detach().view(2, 7, 7)
    assert found.amax((1, 2)).min() > 0
    torch.testing.assert_close(found, expected)


class Spot(Classifier):
    """Says "bright" of a picture where any place is bright, "dark" where any is dark."""

    def __init__(self):
        super().__init__(None, Spec(1, 32, ("bright", "dark")))
        self.fc = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.fc.weight)

    def forward(self, image):
        maps = F.relu(torch.cat([image - 0.8, 0.2 - image], 1))
        return self.fc(F.avg_pool2d(maps, 4).mean((2, 3)))


def test_the_heat_lies_on_what_speaks_for_the_class():
    image = torch.full((2, 1, 32, 32), 0.5)
    image[:, :, 5:9, 20:24] = 1.0
    image[:, :, 22:26, 3:7] = 0.0
    bright, dark = heat(Spot(), image, torch.tensor([0, 1]))
    for found, rows, columns in ((bright, (5, 9), (20, 24)), (dark, (22, 26), (3, 7))):
        inside = torch.zeros(32, 32, dtype=torch.bool)
        inside[slice(*rows), slice(*columns)] = True
        assert (found[inside] == 1).all() and (found[~inside] == 0).all()


def test_nothing_is_shown_where_nothing_speaks_for_the_class():
    image = torch.full((1, 1, 32, 32), 0.5)
    assert (heat(Spot(), image, torch.tensor([0])) == 0).all()
    system = make("vit")
    nn.init.zeros_(system.heads.head.weight)
    assert (heat(system, *batch(system)) == 0).all()


def test_a_system_without_places_says_so():
    system = make("mlp")
    assert method(system) is None
    with pytest.raises(UserError) as trouble:
        heat(system, *batch(system))
    assert trouble.value.code == "heat" and "resnet" in trouble.value.expected


@pytest.mark.parametrize(
    "backbone", ["vit_tiny_patch16_224", "test_convnext", "swin_tiny_patch4_window7_224", "mobilenetv3_small_050"]
)
def test_networks_of_timm(backbone):
    if not timm.is_model(backbone):
        pytest.skip("this timm does not have it")
    kind = registry.load_system("timm")[0]
    torch.manual_seed(0)
    config = type(kind.SIZES["tiny"])(backbone)
    system = kind(config, Spec(3, 64, ("a", "b"))).eval()
    system.requires_grad_(False)
    found = heat(system, *batch(system, 2))
    assert found.shape == (2, 64, 64) and found.isfinite().all() and found.max() == 1
    assert 1 < coarse(system, *batch(system, 2)).shape[-1] <= 14


def test_an_overlay_shows_the_picture_where_there_is_no_heat():
    grey = torch.randint(0, 256, (1, 40, 40)).byte()
    cold = np.asarray(overlay(grey, torch.zeros(40, 40)))
    assert cold.shape == (160, 160, 3)
    assert (cold[::4, ::4] == grey[0].numpy()[..., None]).all()
    warm = torch.zeros(40, 40)
    warm[10:20, 25:35] = 1
    shown = np.asarray(overlay(grey.float().expand(3, -1, -1), warm)).astype(int)
    assert (shown[48:72, 108:132, 0] > shown[48:72, 108:132, 2] + 50).all()  # yellow
    assert (shown[:30, :90] == cold[:30, :90]).all()
    assert overlay(torch.zeros(3, 224, 224), torch.zeros(224, 224)).size == (224, 224)
