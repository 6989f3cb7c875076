"""Segmenters: counted against what was published, each mechanism against a reference or against
what happens without it."""

import dataclasses

import pytest
import torch
from shapes import masked
from torch import nn
from torch.nn import functional as F

from souron import registry
from souron.data.dataset import Rows
from souron.evaluation import summary
from souron.hub import backbones
from souron.hub.backbones import Backbone
from souron.systems.segment import deeplab, fcn, unet
from souron.systems.segment.deeplab import DeepLab
from souron.systems.segment.fcn import FCN
from souron.systems.segment.unet import UNet
from souron.tasks.segment import UNKNOWN, Spec
from souron.training.budget import Budget
from souron.training.trainer import Trainer
from souron.utils.messages import UserError

TASK = registry.load_task("segment")
KINDS = (UNet, FCN, DeepLab)
LABELS = ("background", "square", "disc", "wedge")


def made(kind, side=32, size="tiny", channels=3, seed=0, **changes):
    torch.manual_seed(seed)
    config = dataclasses.replace(kind.SIZES[size], **changes)
    return kind(config, Spec(channels, side, LABELS))


def convolutions(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]


def blueprint(kind, size, channels=3, labels=21):
    spec = Spec(channels, 512, tuple(map(str, range(labels))))
    return summary.blueprint(kind, kind.SIZES[size], spec)


def test_a_unet_has_the_layers_and_parameters_that_were_published():
    model = blueprint(UNet, "paper", channels=1, labels=1)
    layers = convolutions(model)
    assert len(layers) == 23  # "in total the network has 23 convolutional layers"
    norms = sum(norm.num_features for norm in model.modules() if isinstance(norm, nn.BatchNorm2d))
    # a bias in place of the two numbers of a normalisation: 31 030 593, as its re-implementations
    # without normalisation have for one channel and one logit
    assert summary.parameters(model) - norms == 31_030_593


def test_an_fcn_has_as_many_parameters_as_published():
    for size, finer in (("8s", 2), ("16s", 1), ("32s", 0)):
        model = blueprint(FCN, size)
        assert round(summary.parameters(model) / 1e6) == 134 and len(model.finer) == finer


def test_a_deeplab_has_the_layers_of_the_modified_xception():
    model = blueprint(DeepLab, "xception")
    depthwise = [layer for layer in convolutions(model.encoder) if layer.groups > 1]
    assert len(depthwise) == 3 * (3 + 16 + 1) + 3
    assert [view[0].dilation[0] for view in model.views.views] == [1, 6, 12, 18]
    assert model.encoder.maps == [256, 2048]
    fine, coarse = model.encoder(torch.empty(1, 3, 512, 512, device="meta"))
    assert fine.shape[2:] == (128, 128) and coarse.shape[2:] == (32, 32)  # output stride 16


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels, side", [(1, 8), (3, 50), (3, 64)])
def test_it_takes_pictures_of_any_side(kind, channels, side):
    """The answer has the picture's places: of a change in one corner, that corner tells most."""
    model = made(kind, side, channels=channels).eval()
    for weight in model.parameters():  # some scores begin with zeros
        if weight.ndim == 4 and not weight.any():
            nn.init.normal_(weight, std=0.1)
    image = torch.rand(2, channels, side, side)
    image[1] = image[0]
    image[1, :, : side // 4, : side // 4] += 1
    with torch.inference_mode():
        logits = model(image)
    assert logits.shape == (2, 4, side, side) and logits.isfinite().all()
    change, half = (logits[1] - logits[0]).abs().sum(0), side // 2
    assert change.any()
    if side > 8:  # the deepest maps of so small a picture have one place
        assert change[:half, :half].mean() > 1.2 * change[half:, half:].mean()


@pytest.mark.parametrize("kind", KINDS)
def test_it_shows_how_likely_each_class_is_and_where_it_doubts(kind):
    model = made(kind).eval()
    cases = masked(1, 32)
    image = cases.input.float() / 255
    chance, doubt = model.explain(image, cases.target[0].long())
    assert [name for name, _map in chance.maps] == [*LABELS[1:], LABELS[0]]
    maps = torch.stack([one for _name, one in chance.maps]).double()
    assert torch.allclose(maps.sum(0), torch.ones(32, 32).double(), atol=1e-5)
    with torch.inference_mode():
        said = model(image)[0].argmax(0)
    assert torch.equal((maps.argmax(0) + 1) % 4, said)
    [(_name, shown)] = doubt.maps
    entropy = -(maps * maps.log2()).sum(0)
    assert torch.allclose(shown.double(), entropy / entropy.max(), atol=1e-4)
    assert f"{entropy.max():.2f}" in doubt.maps[0][0]
    many = kind(kind.SIZES["tiny"], Spec(3, 32, tuple("abcdefghi"))).eval()
    there = torch.full((32, 32), 255)
    there[:3, 0] = 7
    named = [name for name, _map in many.explain(image, there)[0].maps]
    assert len(named) == 6 and "h" in named and named[-1] == "a"


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_from_one_picture_at_a_time(kind):
    data = masked(1, 64)
    model = made(kind, 64).train()
    batch = TASK.batch(Rows(data.input, data.target), model.spec)
    [optimizer] = model.optimizers().values()
    losses = []
    for _step in range(10):
        optimizer.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], losses


def test_it_learns_to_tell_shapes_in_pictures_it_never_saw():
    train, test = masked(240, 32, 2, seed=0), masked(60, 32, 2, seed=1)
    model = made(UNet)
    augment = TASK.augmentation(("shift", "mirror"))
    data = model.loader(train, augment), model.loader(test)
    fit = Trainer(model, *data, Budget.parse("10ep"), 16, 0, TASK)
    while not fit.done:
        fit.go(60)
    fit.use_best()
    scores = TASK.validate(model, model.loader(test))
    assert scores["mIoU"].shape == (60,)
    assert scores["mIoU"].mean() > 0.5, scores["mIoU"].mean()
    assert scores["object IoU"].mean() > 0.85, scores["object IoU"].mean()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_known_teaches_nothing(kind):
    data = masked(4, 32)
    target = data.target.clone()
    target[:, :16] = UNKNOWN
    other = target.clone()
    model = made(kind).eval()  # statistics of a batch would depend on every pixel
    losses = [model.loss(TASK.batch(Rows(data.input, some), model.spec)).item() for some in (target, other)]
    assert losses[0] == losses[1]
    other[:, 16:] = (other[:, 16:] + 1) % 4
    wrong = model.loss(TASK.batch(Rows(data.input, other), model.spec)).item()
    assert wrong != losses[0]


def test_the_way_up_sees_each_level_of_the_way_down():
    """Without what it was on the way down, an edge is only as sharp as the smallest maps."""
    model = made(UNet, 32).eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        whole = model(image)
        for up in model.up:
            first = up.convs[0]
            fine = first.in_channels - up.enlarge.out_channels
            kept = first.weight[:, :fine].clone()
            first.weight[:, :fine] = 0
            assert not torch.equal(model(image), whole)
            first.weight[:, :fine] = kept
        assert torch.equal(model(image), whole)
    before = model.down(image)
    assert [maps.shape[2] for maps in before] == [32, 16, 8, 4]
    assert [maps.shape[1] for maps in before] == [8, 16, 32, 64]


def test_a_coarser_level_sees_the_largest_of_two_by_two_places():
    down = unet.Down(1, [1, 1], 1)
    down.levels = nn.ModuleList([nn.Identity(), nn.Identity()])
    x = torch.rand(1, 1, 5, 4)
    coarse = down(x)[1][0, 0]
    expected = [[x[0, 0, y : y + 2, z : z + 2].max().item() for z in (0, 2)] for y in (0, 2, 4)]
    assert torch.equal(coarse, torch.tensor(expected))


def test_blocks_of_pixels_become_places_and_nothing_is_lost():
    image = torch.rand(2, 3, 7, 10)
    packed = unet.blocks(image, 4)
    assert packed.shape == (2, 48, 2, 3)
    assert torch.equal(F.pixel_shuffle(packed, 4)[:, :, :7, :10], image)


def test_doubling_starts_as_linear_interpolation():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 6, 9)
    doubled = fcn.Double(3)(x)
    linear = F.interpolate(x, scale_factor=2, mode="bilinear")
    assert torch.allclose(doubled, linear, atol=1e-6)


def test_finer_scores_begin_without_a_say_and_learn_one():
    model = made(FCN, 64).eval()
    found = model.classifier(torch.rand(2, 3, 64, 64))
    other = [torch.rand_like(found[0]), torch.rand_like(found[1]), found[2]]
    image = torch.rand(2, 3, 64, 64)

    def answers():
        with torch.no_grad():
            return [
                FCN.forward(model, image)
                for maps in (found, other)
                if setattr(model.classifier, "forward", lambda _image, maps=maps: maps) is None
            ]

    first, second = answers()
    assert torch.equal(first, second) and first.std() > 0
    del model.classifier.forward
    data = masked(16, 64)
    model.train().loss(TASK.batch(Rows(data.input, data.target), model.spec)).backward()
    assert all(score.weight.grad.abs().sum() > 0 for score in model.finer)
    for score in model.finer:
        score.weight.data.normal_()
        first, second = (answer for answer in answers())
        assert not torch.equal(first, second)
        score.weight.data.zero_()


def test_both_layers_that_were_fully_connected_drop_values_while_they_learn():
    model, seen = made(FCN, 64, dropout=1.0), []
    nn.init.ones_(model.fc7[1].bias)
    for layer in (model.fc7, model.score):
        layer.register_forward_pre_hook(lambda _layer, given: seen.append(given[0].any().item()))
    with torch.no_grad():
        model.train()(torch.rand(2, 3, 64, 64))
        model.eval()(torch.rand(2, 3, 64, 64))
    assert seen == [False, False, True, True]


def reach(layer, side=65):
    """The places that the middle of a map depends on, left to right."""
    x = torch.rand(1, layer[0].in_channels, side, side, requires_grad=True)
    layer.eval()(x).sum(1)[0, side // 2, side // 2].backward()
    return sorted(set(x.grad.abs().sum((0, 1)).nonzero()[:, 1].tolist()))


def test_views_see_points_that_are_their_rate_apart():
    torch.manual_seed(0)
    views = deeplab.Views(8, 16, (6, 12, 18))
    assert [[place - 32 for place in reach(view)] for view in views.views] == [
        [0],
        [-6, 0, 6],
        [-12, 0, 12],
        [-18, 0, 18],
    ]
    x = torch.rand(1, 8, 20, 20)
    far = x.clone()
    far[:, :, 0, 0] += 5
    change = (views.eval()(far) - views(x)).abs().sum(1)[0]
    assert change[19, 10] > 0  # through the mean alone
    views.mean.weight.data.zero_()
    assert (views(far) - views(x)).abs().sum(1)[0, 19, 10] == 0


@pytest.mark.parametrize("maps, stride", [((8, 8, 8, 8), 1), ((8, 16, 16, 16), 2)])
def test_a_block_of_xception_adds_to_what_passes_by_it(maps, stride):
    torch.manual_seed(0)
    block = deeplab.Block(maps, stride).eval()
    nn.init.zeros_(block.third[1][1].weight)  # so that it adds nothing
    x = torch.randn(1, 8, 10, 10)
    with torch.no_grad():
        assert torch.equal(block(x)[0], block.past(x)) and block.past(x).any()


def test_the_published_encoder_of_deeplab_ends_at_a_sixteenth_of_the_side():
    model = made(DeepLab, 64, "small", backbone="efficientnet_lite").eval()
    with torch.no_grad():
        maps = model.encoder(torch.rand(1, 3, 64, 64))
    assert [each.shape[2] for each in maps] == [16, 8, 4, 4]


def test_the_decoder_takes_edges_from_finer_maps():
    model = made(DeepLab, 64).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        whole = model(image)
        fine = model.encoder(image)[0]
        assert fine.shape[2:] == (16, 16)
        model.low[0].weight.zero_()
        assert not torch.equal(model(image), whole)


def published(name, side=64, **how):
    torch.manual_seed(0)
    backbone = Backbone(name, 3, **how)
    for layer in backbone.modules():  # statistics that are not those of no picture at all
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_var.fill_(0.5)
    return backbone.eval()


@pytest.mark.parametrize("name", ["efficientnet_lite", "resnet18"])
def test_a_backbone_gives_finer_maps_and_keeps_its_last_ones_large(name):
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        usual, five, large = (published(name, **how)(image) for how in ({}, {"levels": 5}, {"levels": 3, "atrous": 1}))
    assert [maps.shape[2] for maps in usual] == [8, 4, 2]
    assert [maps.shape[2] for maps in five] == [32, 16, 8, 4, 2]
    assert all(torch.equal(*pair) for pair in zip(usual, five[2:], strict=True))
    assert [maps.shape[2] for maps in large] == [8, 4, 4]
    assert all(torch.equal(*pair) for pair in zip(usual[:2], large[:2], strict=True))


def test_the_places_of_a_small_map_are_among_those_of_the_large_one():
    """What atrous convolutions are for: every second place answers as before, and no weight
    changes (resnet18, whose places are padded alike)."""
    image = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        small = published("resnet18")(image)[2]
        large = published("resnet18", atrous=1)(image)[2]
        wrong = published("resnet18", atrous=1)
        for layer in wrong.stages[-1].modules():
            if isinstance(layer, nn.Conv2d) and layer.dilation[0] > 1:
                layer.dilation, layer.padding = (1, 1), (1, 1)
    assert large.shape[2] == 2 * small.shape[2]
    assert torch.allclose(large[:, :, ::2, ::2], small, rtol=1e-3, atol=1e-2)
    with torch.no_grad():
        assert not torch.allclose(wrong(image)[2][:, :, ::2, ::2], small, rtol=0.1, atol=1)


def test_steps_that_follow_each_other_spread_what_comes_after_further():
    layers = nn.Sequential(
        nn.Conv2d(1, 1, 3, padding=1),
        nn.Conv2d(1, 1, 3, 2, 1),
        nn.Conv2d(1, 1, 3, 2, 1),
        nn.Conv2d(1, 1, 1, 2),
        nn.Conv2d(1, 1, 3, padding=1),
    )
    assert backbones.spread(layers) == 4
    assert [layer.dilation[0] for layer in layers] == [1, 1, 2, 1, 4]
    assert [layer.padding[0] for layer in layers] == [1, 1, 2, 0, 4]
    assert {layer.stride for layer in layers} == {(1, 1)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_published_classifier_is_its_way_down_and_its_filters_stay(kind):
    model = made(kind, 64, "small", backbone="efficientnet_lite")
    [backbone] = (part for part in model.modules() if isinstance(part, Backbone))
    backbone.load_published()
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    data = masked(8, 64)
    for _name, loss in model.train().updates(TASK.batch(Rows(data.input, data.target), None), 0):
        loss.backward()
        model.optimizers()["model"].step()
    moved = {name for name, w in model.named_parameters() if not torch.equal(w, before[name])}
    inside = {name for name in moved if ".stages." in name}
    assert inside and moved - inside
    assert not any(f".stages.{stage}." in name for name in inside for stage in range(3))
    assert not any("depthwise" in name for name in inside)
    assert any("expand_conv" in name for name in inside)
    with pytest.raises(UserError, match="backbone"):
        made(kind, 64, backbone="mlp")
    with torch.inference_mode():
        assert model.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 4, 64, 64)
