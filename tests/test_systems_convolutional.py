"""AlexNet, VGG, GoogLeNet, ResNet, DenseNet: equal to their references, and able to learn."""

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
import torchvision
from sklearn.datasets import load_digits
from torch import nn

from souron.cli import main
from souron.data.dataset import Dataset
from souron.evaluation import summary
from souron.registry import find, load_system
from souron.report import diagram
from souron.runs import folder
from souron.systems.classify import alexnet, densenet, googlenet
from souron.tasks.classify import Batch, Spec
from souron.training.loop import Run
from souron.utils.messages import UserError

FAMILIES = ("alexnet", "vgg", "googlenet", "resnet", "densenet")
DIGITS = tuple("0123456789")
IMAGENET = Spec(3, 224, tuple(str(i) for i in range(1000)))

# name -> torchvision's name, parameters as published
REFERENCES = {
    "alexnet_merged": ("alexnet", 61_100_840),
    "vgg16": ("vgg16", 138_357_544),
    "vgg19": ("vgg19", 143_667_240),
    "googlenet_torchvision": ("googlenet", 13_004_888),
    "resnet18": ("resnet18", 11_689_512),
    "resnet34": ("resnet34", 21_797_672),
    "resnet50": ("resnet50", 25_557_032),
    "resnet101": ("resnet101", 44_549_160),
    "resnet152": ("resnet152", 60_192_808),
    "densenet121": ("densenet121", 7_978_856),
    "densenet169": ("densenet169", 14_149_480),
    "densenet201": ("densenet201", 20_013_928),
    "densenet161": ("densenet161", 28_681_000),
}


def build(name: str, seen: Spec) -> nn.Module:
    found, config = load_system(name)
    return found(config, seen).eval()


def count(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def alike(name: str) -> tuple[nn.Module, nn.Module]:
    """The system and torchvision's, with torchvision's random weights loaded by name."""
    settings = {"init_weights": False, "aux_logits": True} if name.startswith("googlenet") else {}
    reference = torchvision.models.get_model(REFERENCES[name][0], weights=None, **settings)
    for layer in reference.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # one look at pictures, else the deep outputs vanish or explode
    reference.train()(torch.randn(4, 3, 64, 64))
    with torch.device("meta"):
        ours = build(name, IMAGENET)
    ours.load_state_dict(reference.state_dict(), strict=True, assign=True)
    return ours, reference.eval()


@pytest.mark.parametrize("name", REFERENCES)
@torch.inference_mode()
def test_outputs_and_parameters_equal_torchvisions(name):
    torch.manual_seed(0)
    ours, reference = alike(name)
    image = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(ours(image), reference(image), atol=1e-5, rtol=1e-5)
    assert count(ours) == REFERENCES[name][1]


@pytest.mark.parametrize("name", REFERENCES)
def test_published_weights_belong_to_a_network_of_this_size(name):
    found, _ = load_system(name)
    library, weights = found.WEIGHTS[find(name)[1]].split(":")
    assert library == "torchvision"
    assert torchvision.models.get_weight(weights).meta["num_params"] in (
        REFERENCES[name][1],
        6_624_904,  # GoogLeNet's without the auxiliary heads, which its file holds nevertheless
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_offered_only_where_outputs_were_compared(family):
    found, _ = load_system(family)
    elsewhere = {"xray"}  # tests/test_published_xray.py
    assert {f"{family}{size}" for size in found.WEIGHTS.keys() - elsewhere} == {
        name.replace("_", "") for name in REFERENCES if name.startswith(family)
    }


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", [8, 28, 33, 64])
@torch.inference_mode()
def test_small_sizes_take_any_side(family, side):
    for name in (family, f"{family}_tiny"):
        torch.manual_seed(0)
        model = build(name, Spec(2, side, DIGITS))
        image = torch.randn(2, 2, side, side)
        logits = model(image)
        assert logits.shape == (2, 10) and logits.isfinite().all()
        assert not torch.allclose(logits[0], logits[1], rtol=1e-3)  # it saw the picture
        image[:, :, -1:, -1:] += 9
        assert not torch.equal(model(image), logits)  # to its last pixel


@pytest.mark.parametrize(
    "name", ["alexnet_paper", "alexnet_merged", "vgg16", "googlenet_paper", "resnet50", "densenet121"]
)
def test_paper_sizes_take_small_pictures(name):
    """All layers that have weights are passed, and none of their maps is without a place."""
    for side in (8, 28, 32, 63, 64, 96):
        with torch.device("meta"):
            model = build(name, Spec(1, side, DIGITS))
            sizes = sizes_of_outputs(model)
            assert model(torch.randn(2, 1, side, side)).shape == (2, 10)
        assert all(sizes.values()), [layer for layer, size in sizes.items() if not size]


def sizes_of_outputs(model: nn.Module) -> dict[nn.Module, int]:
    """Each layer that has weights and answers -> numbers of its last output, 0 before it has one;
    GoogLeNet's auxiliary heads only learn."""
    sizes = {}
    for name, layer in model.named_modules():
        if [*layer.parameters(recurse=False)] and not name.startswith("aux"):
            sizes[layer] = 0
            layer.register_forward_hook(lambda one, _given, out: sizes.update({one: out.numel()}))
    return sizes


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_channels_last_gives_the_same_output(family):
    torch.manual_seed(0)
    model = build(family, Spec(1, 28, DIGITS))
    image = torch.randn(4, 1, 28, 28)
    before = model(image)
    model = model.to(memory_format=torch.channels_last)
    after = model(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_head_is_the_last_layer_and_alone_learns_when_frozen(family):
    torch.manual_seed(0)
    model = build(f"{family}_tiny", Spec(1, 16, DIGITS))
    model.freeze()
    model.train()
    head = model.get_submodule(model.head)
    assert head.out_features == 10
    model.loss(Batch(torch.randn(4, 1, 16, 16), torch.arange(4))).backward()
    moved = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert moved == {f"{model.head}.weight", f"{model.head}.bias"}


@pytest.mark.parametrize("family", FAMILIES)
def test_convolutions_begin_as_he_and_others_propose(family):
    """With a variance of 2 over what enters a map, in a ResNet over what a map is sent to."""
    torch.manual_seed(0)
    for layer in build(family, Spec(3, 28, DIGITS)).modules():
        if isinstance(layer, nn.Conv2d):
            connected = layer.weight[:, 0] if family == "resnet" else layer.weight[0]
            expected = (2 / connected.numel()) ** 0.5
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.4)


@lru_cache
def digits() -> Dataset:
    """Scikit-learn's 1 797 digits of 8x8 pixels."""
    bunch = load_digits()
    image = torch.tensor(bunch.images * 255 / 16).round().to(torch.uint8)[:, None]
    names = [str(i) for i in range(len(image))]
    return Dataset("digits", image, torch.tensor(bunch.target, dtype=torch.long), DIGITS, names)


@pytest.mark.parametrize("family", FAMILIES)
def test_tiny_learns_digits(family):
    torch.manual_seed(0)
    cases = digits()
    train, test = cases.only(range(1400)), cases.only(range(1400, len(cases)))
    found, config = load_system(f"{family}_tiny")
    model = found(config, found.spec_for(train)).to(memory_format=torch.channels_last)
    assert count(model) < 100_000
    steps = 120

    def cycle(optimizer: torch.optim.Optimizer, step: int) -> None:
        rate = config.rate * min((step + 1) / (steps * 0.25), (steps - step) / (steps * 0.75))
        for group in optimizer.param_groups:
            group["lr"] = rate

    for _ in model.fit(model.loader(train), Run(steps, batch=64, schedule=cycle)):
        pass
    assert model.validate(model.loader(test))["accuracy"].mean() > 0.8


# AlexNet


def test_alexnet_has_the_parameters_of_the_two_devices():
    with torch.device("meta"):
        assert count(build("alexnet_paper", IMAGENET)) == 60_965_224


@torch.inference_mode()
def test_alexnet_keeps_maps_on_their_device_until_the_third_convolution():
    torch.manual_seed(0)
    model = build("alexnet_tiny", Spec(1, 28, DIGITS))
    at = [i for i, layer in enumerate(model.features) if isinstance(layer, nn.Conv2d)]
    first = model.features[: at[1]](torch.randn(1, 1, 28, 28))
    changed = first.clone()
    changed[:, first.shape[1] // 2 :] += 1  # only what the second device holds
    second, other = (model.features[at[1] : at[2]](maps) for maps in (first, changed))
    half = second.shape[1] // 2
    assert torch.equal(second[:, :half], other[:, :half])
    assert not torch.equal(second[:, half:], other[:, half:])
    third, other = model.features[at[2]](second), model.features[at[2]](other)
    assert not torch.equal(third[:, : third.shape[1] // 2], other[:, : third.shape[1] // 2])


@torch.inference_mode()
def test_alexnet_normalises_as_the_paper_says():
    torch.manual_seed(0)
    maps = 30 * torch.randn(2, 12, 5, 5)
    # PyTorch divides alpha by the number of neighbours, the paper does not
    reference = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)
    torch.testing.assert_close(alexnet.Normalise(12, 1)(maps), reference(maps))
    halves = torch.cat([reference(half) for half in maps.chunk(2, 1)], 1)
    torch.testing.assert_close(alexnet.Normalise(12, 2)(maps), halves)


def test_alexnet_normalises_after_its_first_two_convolutions():
    whole = ["Conv2d", "ReLU", "Normalise", "Pool"] * 2 + ["Conv2d", "ReLU"] * 3 + ["Pool"]
    later = [name for name in whole if name != "Normalise"]
    for name, expected in {"alexnet_tiny": whole, "alexnet_merged": later}.items():
        with torch.device("meta"):
            model = build(name, Spec(1, 28, DIGITS))
        assert [type(layer).__name__ for layer in model.features] == expected


def test_alexnets_windows_of_pooling_overlap():
    maps = torch.zeros(1, 1, 5, 5)
    maps[..., 2, 2] = 1  # lies in all four
    assert alexnet.Pool()(maps).tolist() == [[[[1, 1], [1, 1]]]]


def test_alexnets_biases_begin_as_the_paper_says():
    """1 in the second, fourth and fifth convolution and in fc6 and fc7, else 0."""
    for name in ("alexnet_tiny", "alexnet", "alexnet_merged"):
        model = build(name, Spec(1, 28, DIGITS))
        layers = [part for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
        biases = [layer.bias.unique().tolist() for layer in layers]
        assert biases == [[0], [1], [0], [1], [1], [1], [1], [0]], name


def test_alexnets_three_grouped_convolutions_are_shown(capsys):
    for name, grouped in {"alexnet_paper": (2, 4, 5), "alexnet_merged": ()}.items():
        model, seen = summary.drawn(*find(name))
        rows = [row.type for row in summary.structure(model, seen) if "Conv2d" in row.type]
        expected = [f"Conv2d{', groups=2' * (at in grouped)}" for at in range(1, 6)]
        assert rows == expected
        [line] = diagram.boxes(model, seen)
        towers = [box.towers for box in line if box.kind == "convolution"]
        assert towers == [1 + (at in grouped) for at in range(1, 6)]
    assert main.run(["show", "alexnet"]) == 0
    assert capsys.readouterr().out.count("Conv2d, groups=2") == 3


@torch.inference_mode()
def test_alexnets_fully_connected_layers_see_both_devices():
    torch.manual_seed(0)
    model = build("alexnet_tiny", Spec(1, 28, DIGITS))
    maps = torch.randn(1, model.config.widths[-1] * model.grid**2)
    for half in (0, 1):
        changed = maps.clone()
        changed.chunk(2, 1)[half].add_(1)
        difference = model.classifier[:2](changed) - model.classifier[:2](maps)
        assert all(part.abs().max() > 0 for part in difference.chunk(2, 1))


def told(model: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    """What each fully connected layer is given."""
    given: list[torch.Tensor] = []
    layers = [part for part in model.classifier if isinstance(part, nn.Linear)]
    hooks = [layer.register_forward_pre_hook(lambda layer, taken: given.append(taken[0])) for layer in layers]
    model(image)
    for hook in hooks:
        hook.remove()
    return given


@pytest.mark.parametrize(
    "family, groups, dropped",
    # the paper's AlexNet and VGG drop what fc6 and fc7 give out, torchvision's what they take
    [("alexnet", 2, (False, True, True)), ("alexnet", 1, (True, True, False)), ("vgg", None, (False, True, True))],
)
@torch.no_grad()
def test_dropout_takes_half_away_in_training_and_nothing_afterwards(family, groups, dropped):
    torch.manual_seed(0)
    found, config = load_system(f"{family}_tiny")
    config = replace(config, dropout=0.5, hidden=512, **({"groups": groups} if groups else {}))
    model = found(config, Spec(1, 28, DIGITS))
    for layer in model.modules():  # every unit gives out exactly 1
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.zeros_(layer.weight)
            nn.init.ones_(layer.bias)
    image = torch.randn(8, 1, 28, 28)
    assert all(torch.equal(each, torch.ones_like(each)) for each in told(model.eval(), image))
    for each, drops in zip(told(model.train(), image), dropped, strict=True):
        assert set(each.unique().tolist()) == ({0.0, 2.0} if drops else {1.0})
        assert each.mean().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "name, dropout",
    [
        ("alexnet_paper", 0.5),
        ("alexnet_merged", 0.5),
        ("vgg16", 0.5),
        ("vgg19", 0.5),
        ("googlenet_paper", 0.4),
        ("googlenet_torchvision", 0.2),
    ],
)
def test_published_sizes_drop_out_as_much_as_published(name, dropout):
    assert load_system(name)[1].dropout == dropout
    with torch.device("meta"):
        model = build(name, IMAGENET)
    found = {
        part.p for name, part in model.named_modules() if isinstance(part, nn.Dropout) and not name.startswith("aux")
    }
    assert found == {dropout}


def test_a_run_of_another_version_says_what_today_is_not_there(tmp_path):
    model = build("alexnet_tiny", Spec(1, 28, DIGITS))
    config = folder.as_plain(model.config)
    config["devices"] = config.pop("groups")
    args = {"system": "alexnet_tiny", "data": "digits", "config": config, "seen": folder.as_plain(model.spec)}
    with pytest.raises(UserError, match="devices") as trouble:
        folder.build(args)
    assert "groups" in trouble.value.expected and trouble.value.code == "earlier version"


# VGG


@torch.inference_mode()
def test_vgg_equals_its_stages_written_out():
    """Maps double up to eight times those of the first stage; the largest of 2x2 goes on."""
    torch.manual_seed(0)
    found, config = load_system("vgg_tiny")
    config = replace(config, depths=(1, 2, 1, 1, 1), width=4)
    model = found(config, Spec(1, 28, DIGITS)).eval()
    layers = [layer for layer in model.features if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in layers] == [4, 8, 8, 16, 32, 32]
    x = image = torch.randn(2, 1, 28, 28)
    for stage in layers[:1], layers[1:3], layers[3:4], layers[4:5], layers[5:]:
        for layer in stage:
            x = layer(x).relu()
        if x.shape[-1] >= 4:
            x = nn.functional.max_pool2d(x, 2)
    assert x.shape == (2, 32, 3, 3)
    torch.testing.assert_close(model(image), model.classifier(x.flatten(1)))


# GoogLeNet


@torch.inference_mode()
def test_googlenet_takes_the_largest_of_3x3_in_steps_of_2_where_the_paper_does(monkeypatch):
    kernels = []
    plain = googlenet.pool

    def noted(x, kernel=3):
        kernels.append((kernel, x.shape[-1]))
        given = plain(x, kernel)
        assert given.shape[-1] == x.shape[-1] // 2
        return given

    monkeypatch.setattr(googlenet, "pool", noted)
    with torch.device("meta"):
        build("googlenet_paper", IMAGENET)(torch.empty(1, 3, 224, 224))
        assert kernels == [(3, 112), (3, 56), (3, 28), (3, 14)]  # the paper's table 1
        kernels.clear()
        build("googlenet_torchvision", IMAGENET)(torch.empty(1, 3, 224, 224))
    assert kernels == [(3, 112), (3, 56), (3, 28), (2, 14)]


@torch.inference_mode()
def test_googlenet_auxiliaries_equal_torchvisions():
    torch.manual_seed(0)
    ours, reference = alike("googlenet_torchvision")
    reference.training = True  # its auxiliaries speak, while dropout and statistics stay still
    image = torch.randn(1, 3, 224, 224)
    wanted = reference(image)
    early, middle, late = ours.maps(image)
    torch.testing.assert_close(ours.answer(late), wanted.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.aux1(early), wanted.aux_logits1, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.aux2(middle), wanted.aux_logits2, atol=1e-5, rtol=1e-5)


def test_googlenet_has_the_parameters_of_the_papers_network():
    with torch.device("meta"):
        model = build("googlenet_paper", IMAGENET)
    # the network of 2014 had biases where this one has batch normalisation's shift, and no scale
    assert (
        sum(
            weight.numel()
            for name, weight in model.named_parameters()
            if not name.startswith("aux") and not name.endswith("bn.weight")
        )
        == 6_998_552
    )


def test_googlenet_adds_the_auxiliaries_times_0_3_in_training_only():
    torch.manual_seed(0)
    model = build("googlenet_tiny", Spec(1, 28, DIGITS))
    batch = Batch(torch.randn(8, 1, 28, 28), torch.arange(8))
    asked = []
    for head in (model.aux1, model.aux2):
        head.register_forward_hook(lambda module, inward, outward: asked.append((module, outward)))

    judge = nn.CrossEntropyLoss()
    assert torch.equal(model.loss(batch), judge(model(batch.image), batch.label))
    assert not asked

    model.train()
    for layer in model.modules():  # so that two passes see the same statistics
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
    loss = model.loss(batch)
    assert [head for head, _answer in asked] == [model.aux1, model.aux2]
    wanted = judge(model(batch.image), batch.label)
    wanted = wanted + 0.3 * sum(judge(answer, batch.label) for _head, answer in asked)
    torch.testing.assert_close(loss, wanted)


@torch.inference_mode()
def test_googlenets_heads_drop_out_in_training_and_nothing_afterwards():
    torch.manual_seed(0)
    found, config = load_system("googlenet_tiny")
    config = replace(config, dropout=0.4, auxiliary_dropout=0.7)
    model = found(config, Spec(1, 28, DIGITS))
    for head in (model.aux1, model.aux2):  # every hidden unit gives out exactly 1
        nn.init.zeros_(head.fc1.weight)
        nn.init.ones_(head.fc1.bias)
    given: dict[str, torch.Tensor] = {}
    for name in (model.head, *model.side_heads):
        model.get_submodule(name).register_forward_pre_hook(
            lambda _layer, taken, name=name: given.update({name: taken[0]})
        )
    early, middle, late = (torch.ones(8, maps, 4, 4) for maps in (32, 33, 64))
    for training in (False, True):
        model.train(training)
        model.answer(late), model.aux1(early), model.aux2(middle)
        for name, dropped in (("fc", 0.4), ("aux1.fc2", 0.7), ("aux2.fc2", 0.7)):
            values = sorted(given[name].unique().tolist())
            assert values == (pytest.approx([0, 1 / (1 - dropped)]) if training else [1])
            assert given[name].mean().item() == pytest.approx(1, abs=0.2)


@torch.inference_mode()
def test_inception_places_four_views_side_by_side():
    module = googlenet.Inception(5, 3, 2, 4, 6, 1, 7, 8).eval()
    maps = torch.randn(1, 3, 9, 9)
    together = module(maps)
    assert together.shape == (1, 2 + 6 + 7 + 8, 9, 9)
    assert torch.equal(together[:, :2], module.branch1(maps))
    assert torch.equal(together[:, -8:], module.branch4(maps))


# DenseNet


@torch.inference_mode()
def test_dense_block_hands_every_layer_all_maps_before_it():
    torch.manual_seed(0)
    block = densenet.Block(6, 3, 4).eval()
    heard: list[torch.Tensor] = []
    for layer in block.children():
        layer.register_forward_hook(lambda module, inward, outward: heard.append(inward[0]))
    maps = torch.randn(2, 6, 5, 5)
    result = block(maps)
    assert [each.shape[1] for each in heard] == [6, 10, 14]
    assert result.shape == (2, 18, 5, 5)
    assert torch.equal(result[:, :6], maps)
    for each in heard:
        assert torch.equal(result[:, : each.shape[1]], each)
