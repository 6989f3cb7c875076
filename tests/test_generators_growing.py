"""ProGAN, StyleGAN and StyleGAN2: networks that grow, and networks that draw with a style."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from souron import registry
from souron.evaluation import summary
from souron.evaluation.generators.sampling import Noise
from souron.kinds import signature
from souron.runs import folder, train
from souron.tasks.generate import Batch, Spec
from souron.training.loop import Run
from souron.utils import files
from souron.utils.messages import UserError


def make(name: str, seen: Spec | None = None, **changed: Any) -> Any:
    kind, config = registry.load_system(name)
    torch.manual_seed(0)
    return kind(replace(config, **changed), seen or Spec(1, 8))


def blueprint(name: str) -> Any:
    kind, config = registry.load_system(name)
    return summary.blueprint(kind, config, Spec(*kind.SHOWN["paper"][:2]))


def images(count: int, channels: int = 1, side: int = 8) -> Batch:
    return Batch(torch.rand(count, channels, side, side) * 2 - 1, torch.zeros(count).long())


def untied(model: Any) -> Any:
    """Fresh noise strengths and biases are zero, and would hide what they do."""
    for weight in model.parameters():
        if weight.ndim < 2:
            torch.nn.init.normal_(weight)
    return model


@pytest.mark.parametrize(
    "name, generator, critic",
    [
        # as the authors' programs print them for 1024 x 1024 colour pictures
        ("progan_paper", 23_079_115, 23_087_249),
        ("stylegan_paper", 26_219_627, 23_087_249),
        ("stylegan2_paper", 30_370_060, 29_012_513),
    ],
)
def test_the_published_networks_have_as_many_weights(name, generator, critic):
    model = blueprint(name)
    if name == "stylegan_paper":  # the published ones also have the colours of the coarser sides
        widths = [min(32 * 2**i, 512) for i in range(8)]
        generator -= sum(3 * width + 3 for width in widths)
        critic -= sum(3 * width + width for width in widths)
    assert summary.parameters(model.generator) == generator
    assert summary.parameters(model.critic) == critic


@pytest.mark.parametrize("name", ["progan", "stylegan", "stylegan2"])
@pytest.mark.parametrize("size", ["tiny", "small"])
@pytest.mark.parametrize("channels, side", [(1, 8), (3, 9), (1, 28), (3, 45), (3, 64)])
def test_any_picture_is_learnt_and_drawn(name, size, channels, side):
    model = make(f"{name}_{size}", Spec(channels, side))
    optimizers = model.optimizers()
    for count in (1, 2):
        for network, loss in model.updates(images(count, channels, side), 0):
            model.zero_grad()
            loss.backward()
            groups = optimizers[network].param_groups
            grads = [w.grad for group in groups for w in group["params"] if w.grad is not None]
            assert loss.isfinite() and all(grad.isfinite().all() for grad in grads)
            assert sum(grad.abs().sum() for grad in grads) > 0, network
    drawn = model.draw(Noise(0, range(2)))
    assert drawn.shape == (2, channels, side, side) and drawn.isfinite().all()
    assert not torch.allclose(drawn[0], drawn[1], atol=1e-3)  # each noise another picture
    assert torch.allclose(model.draw(Noise(0, [1]))[0], drawn[1], atol=1e-4)  # whoever is beside


@pytest.mark.parametrize("name", ["progan", "stylegan", "stylegan2"])
def test_pictures_are_drawn_with_the_mean_of_past_weights(name):
    model = make(f"{name}_tiny")
    before = model.draw(Noise(0, range(2)))
    for weight in model.generator.parameters():
        torch.nn.init.zeros_(weight)
    assert torch.equal(model.draw(Noise(0, range(2))), before)
    start = [weight.clone() for weight in model.average.parameters()]
    model.after_update(0)
    for old, slow in zip(start, model.average.parameters(), strict=True):
        torch.testing.assert_close(slow, 0.1 * old)  # (1 + 0) / (10 + 0) stays after the first step
        assert not slow.requires_grad
    start = [weight.clone() for weight in model.average.parameters()]
    model.after_update(10**6)
    for old, slow in zip(start, model.average.parameters(), strict=True):
        torch.testing.assert_close(slow, 0.99 * old)
    assert all(weight.requires_grad for weight in model.generator.parameters())


@pytest.mark.parametrize("name", ["progan", "stylegan", "stylegan2"])
def test_the_critic_learns_to_tell(name, digits):
    model = make(f"{name}_tiny").train()
    real = model.loader(digits.only(range(256)), seed=1)
    for _progress in model.fit(real, Run(8, 64)):
        pass
    score = {
        "real": model.critic(real.all()[:64], *([1.0] if name == "progan" else [])),
        "noise": model.critic(images(64).image, *([1.0] if name == "progan" else [])),
    }
    assert score["real"].mean() > score["noise"].mean()


@pytest.mark.parametrize("name", ["progan", "stylegan", "stylegan2"])
def test_drawn_pictures_come_nearer_to_real_ones(name, digits):
    model = make(f"{name}_tiny")
    data = model.loader(digits, seed=1)
    mean = data.all().mean(0)

    def distance() -> float:
        with torch.no_grad():
            return (model.draw(Noise(0, range(64))).mean(0) - mean).square().mean().item()

    before = distance()
    for _progress in model.fit(data, Run(20, 64)):
        pass
    assert distance() < 0.8 * before


@pytest.mark.parametrize("name", ["progan", "stylegan"])
def test_both_networks_learn_without_momentum(name):
    """With the published rate; what StyleGAN2's critic does is told below."""
    for optimizer in blueprint(f"{name}_paper").optimizers().values():
        [group] = optimizer.param_groups
        assert group["lr"] == 1e-3 and group["betas"] == (0.0, 0.99)


# ProGAN


def test_stages_take_doubling_shares_and_fade_in_during_the_first_half():
    model = make("progan_tiny", Spec(1, 28))  # 7, 14, 28 pixels: 1, 2 and 4 sevenths
    for sevenths, grown in [(0, 0), (0.9, 0), (1, 0), (1.5, 0.5), (2, 1), (2.9, 1), (3, 1), (4, 1.5), (5, 2), (7, 2)]:
        assert model.growth(sevenths / 7) == pytest.approx(grown, abs=1e-9), sevenths
    ways = [model.growth(i / 500) for i in range(501)]
    assert all(0 <= later - earlier < 0.02 for earlier, later in pairwise(ways))


def test_a_stage_begins_as_the_last_one_ended():
    model = untied(make("progan_tiny", Spec(1, 28)))
    noise = torch.randn(4, 16)
    old, begun = model.generator(noise, 1.0), model.generator(noise, 1 + 1e-6)
    assert old.shape[-1] == 14 and begun.shape[-1] == 28
    torch.testing.assert_close(begun, old.repeat_interleave(2, 2).repeat_interleave(2, 3), rtol=0, atol=1e-4)
    fine = torch.randn(4, 1, 28, 28)
    torch.testing.assert_close(
        model.critic(fine, 1 + 1e-6), model.critic(F.avg_pool2d(fine, 2), 1.0), rtol=1e-3, atol=1e-3
    )
    half, full = model.generator(noise, 1.5), model.generator(noise, 2.0)
    torch.testing.assert_close(half, (begun + full) / 2, rtol=0, atol=1e-4)


def test_real_pictures_fade_in_too():
    model = make("progan_tiny", Spec(1, 28))
    real = torch.randn(2, 1, 28, 28)
    coarse = F.avg_pool2d(real, 2)
    assert torch.equal(model.at(real, 2.0), real)
    torch.testing.assert_close(model.at(real, 1.0), coarse)
    doubled = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(model.at(real, 1.25), 0.75 * doubled + 0.25 * real)


def test_the_stage_survives_saving(tmp_path, digits):
    model = make("progan_tiny")
    for _progress in model.fit(model.loader(digits.only(range(64))), Run(10, 32)):
        if model.used >= 0.5:
            break
    assert 0 < model.grown < 1
    files.write_tensors(tmp_path / "weights.safetensors", model.state_dict(), {})
    again = make("progan_tiny")
    again.load_state_dict(files.read_tensors(tmp_path / "weights.safetensors")[0])
    assert torch.equal(again.draw(Noise(3, [7])), model.draw(Noise(3, [7])))


def test_layers_of_later_stages_wait():
    model = make("progan_tiny", Spec(1, 28)).train()
    model.used = 0.2  # 14 pixels
    for name, loss in model.updates(images(4, side=28), 0):
        network = getattr(model, name)
        model.zero_grad()
        loss.backward()
        for stage, is_there in enumerate((True, True, False)):
            gradients = [weight.grad for weight in network.blocks[stage].parameters()]
            assert all((gradient is not None) is is_there for gradient in gradients)


def test_the_penalty_asks_for_a_slope_of_one():
    model = make("progan_tiny")
    weight = torch.randn(64)
    for length in (1.0, 3.0):
        slope = length * weight / weight.norm()
        model.critic = Linear(slope)
        penalty = model.penalty(images(4).image, images(4).image, 1.0)
        assert penalty.item() == pytest.approx((length - 1) ** 2, abs=1e-5)


class Linear(torch.nn.Module):
    """A critic whose slope is known."""

    def __init__(self, slope: torch.Tensor) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(slope)

    def forward(self, image: torch.Tensor, grown: float = 0) -> torch.Tensor:
        return image.flatten(1) @ self.slope


class Bowl(torch.nn.Module):
    """A critic whose slope is the picture itself."""

    def forward(self, image: torch.Tensor, grown: float = 0) -> torch.Tensor:
        return image.square().sum((1, 2, 3)) / 2


def drawing_only(model: Any, value: float) -> None:
    """Let the generator draw pictures of that one grey."""

    def grey(noise: torch.Tensor, *_more: Any) -> torch.Tensor:
        return torch.full((len(noise), 1, 8, 8), value)

    model.generator.forward = grey


def test_progans_critic_is_asked_for_its_slope_between_the_pictures():
    """Its slope is 8 times a picture's grey: 0 at real ones, 8 at drawn ones, uniform between."""
    model = make("progan_tiny", part=4000).train()
    model.used = 1.0
    model.critic = Bowl()
    drawing_only(model, 1.0)
    real = Batch(torch.zeros(4000, 1, 8, 8), torch.zeros(4000))
    name, loss = next(model.updates(real, 0))
    assert name == "critic"
    penalty = (loss.item() - 32) / 10  # E[D(drawn)] - E[D(real)] = 64 / 2, and there is no drift
    # the mean of (s - 1)^2 for s in 0..8; 1 at real pictures alone and 49 at drawn ones
    assert penalty == pytest.approx(64 / 3 - 8 + 1, rel=0.03)


def test_progans_loss_has_all_of_its_terms():
    model = make("progan_tiny").train()
    model.used = 1.0
    slope = torch.randn(64)
    model.critic = Linear(slope)
    drawing_only(model, 0.5)
    batch = images(4)
    losses = dict(model.updates(batch, 0))
    real, drawn = model.critic(batch.image), model.critic(torch.full((4, 1, 8, 8), 0.5))
    expected = drawn.mean() - real.mean() + 0.001 * real.square().mean()
    expected = expected + 10 * (slope.norm() - 1) ** 2
    torch.testing.assert_close(losses["critic"], expected)
    torch.testing.assert_close(losses["generator"], -drawn.mean())


def test_layers_keep_the_size_of_what_passes():
    """What the scale of the weights is for: features of unit variance stay so, however wide."""
    model = make("progan_tiny")
    layer = type(model.generator.blocks[1][1])
    for inputs in (4, 64):
        torch.manual_seed(0)
        out = layer(inputs, 64, 3)(torch.randn(16, inputs, 12, 12))
        assert out.std().item() == pytest.approx(2**0.5, rel=0.1)


def test_pixel_norm_leaves_features_of_unit_size():
    norm = make("progan_tiny").generator.blocks[0][0]
    out = norm(7 * torch.randn(2, 16, 3, 3))
    torch.testing.assert_close(out.square().mean(1), torch.ones(2, 3, 3), rtol=1e-4, atol=1e-4)


def test_every_layer_of_progans_generator_takes_features_of_unit_size():
    model, seen = untied(make("progan_tiny", Spec(1, 28))), []
    for layer in model.generator.modules():
        if hasattr(layer, "scale"):
            layer.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    model.generator(torch.randn(3, 16), 2.0)
    assert len(seen) == 7  # two layers in each block, and the colours of the last
    for x in seen:
        ones = torch.ones(len(x), *x.shape[2:])
        torch.testing.assert_close(x.square().mean(1), ones, rtol=1e-4, atol=1e-4)


def test_minibatch_deviation_sees_copies():
    see = make("progan_tiny").critic.blocks[0][0]
    same = torch.randn(1, 5, 4, 4).expand(6, -1, -1, -1)
    varied = torch.randn(6, 5, 4, 4)
    out = see(varied)
    assert out.shape == (6, 6, 4, 4) and torch.equal(out[:, :5], varied)
    torch.testing.assert_close(out[:, 5], varied.std(0, correction=0).mean().expand(6, 4, 4))
    assert see(same)[:, 5].max() < 1e-3


# StyleGAN and StyleGAN2

STYLED = ["stylegan", "stylegan2"]


def styles_of(model: Any) -> int:
    """One to a layer; StyleGAN2's last colours have one of their own."""
    return len(model.generator.layers) + (type(model).__name__ == "StyleGAN2")


@pytest.mark.parametrize("name", STYLED)
def test_r1_is_asked_of_real_pictures_alone(name):
    """The critic's slope is the picture itself: no other pictures give this figure."""
    model = make(f"{name}_tiny", gamma=3.0).train()
    model.critic = Bowl()
    drawing_only(model, 0.5)
    batch = images(4)
    slope = batch.image.square().sum((1, 2, 3))
    r1 = 3.0 / 2 * slope.mean()
    score, drawn = slope / 2, torch.tensor(64 * 0.5**2 / 2)
    told = F.softplus(-score).mean() + F.softplus(drawn)
    # in every 16th update, 16 times as strong: StyleGAN's beside the loss, StyleGAN2's before it
    expected = [told + 16 * r1] if name == "stylegan" else [16 * r1, told]
    for step, losses in ((0, expected), (1, [told]), (15, [told]), (16, expected)):
        found = [loss for network, loss in model.updates(batch, step) if network == "critic"]
        torch.testing.assert_close(found, losses)


@pytest.mark.parametrize("name", STYLED)
def test_the_generator_learns_by_the_critics_no(name):
    model = make(f"{name}_tiny").train()
    model.critic = Linear(torch.ones(64))
    drawing_only(model, -0.25)
    [loss] = [loss for name, loss in model.updates(images(4), 1) if name == "generator"]
    torch.testing.assert_close(loss, F.softplus(torch.tensor(16.0)))  # -log sigmoid(D(drawn))


@pytest.mark.parametrize("name", STYLED)
def test_the_critic_sees_how_much_four_pictures_differ(name):
    model = make(f"{name}_tiny")
    seen = []
    model.critic.conv.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    first = images(8).image
    model.critic(first)
    model.critic(first[:1].expand(8, -1, -1, -1))
    varied, same = (x.split([x.shape[1] - 1, 1], 1) for x in seen)
    for features, spread in (varied, same):
        for i in range(8):
            group = features[i % 2 :: 2]  # every second picture: two groups of four
            expected = (group.var(0, correction=0) + 1e-8).sqrt().mean()
            torch.testing.assert_close(spread[i], expected.expand(1, *features.shape[2:]))
    assert varied[1].min() > 1e-2 and same[1].max() < 1e-3


@pytest.mark.parametrize("name", STYLED)
def test_nine_of_ten_pictures_of_training_have_two_styles(name):
    model = make(f"{name}_tiny")
    seen = []
    model.generator.forward = lambda styles, noise: seen.append(styles)
    model.image(4000)
    [styles] = seen
    changes = (styles[:, 1:] != styles[:, :-1]).any(2)  # (B, layers - 1)
    assert set(changes.sum(1).tolist()) == {0, 1}
    assert changes.any(1).float().mean().item() == pytest.approx(0.9, abs=0.02)
    assert changes.float().mean(0).min() > 0.7 / changes.shape[1]  # anywhere


@pytest.mark.parametrize("name", STYLED)
def test_pictures_of_one_style_differ_by_their_noise_in_training_and_drawing(name):
    model = untied(make(f"{name}_tiny"))
    first, second = model.draw(Noise(0, range(2)), truncation=0.0)
    assert not torch.allclose(first, second, atol=1e-3)
    model.generator.style = torch.zeros_like
    first, second = model.image(2)
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("name", STYLED)
def test_the_mapping_learns_a_hundredth_as_fast_as_other_layers(name):
    """It gives out as much as they do; what a step of its weights changes is less."""
    mapping = make(f"{name}_tiny").generator.mapping[0]
    other, x = type(mapping)(16, 16), torch.randn(1, 16)
    slopes = [torch.autograd.grad(layer(x).sum(), [layer.weight, layer.bias]) for layer in (mapping, other)]
    for slow, fast in zip(*slopes, strict=True):
        torch.testing.assert_close(slow, 0.01 * fast)
    used = [(layer.weight * layer.scale).std().item() for layer in (mapping, other)]
    assert used[0] == pytest.approx(used[1], rel=0.2)


# StyleGAN


def blurred(x: torch.Tensor, line: list[float], padding: int) -> torch.Tensor:
    """Each channel by itself, in both directions."""
    kernel = torch.outer(torch.tensor(line), torch.tensor(line))[None, None] / sum(line) ** 2
    return torch.cat([F.conv2d(channel, kernel, padding=padding) for channel in x.split(1, 1)], 1)


def test_stylegans_critic_blurs_before_it_halves():
    torch.manual_seed(0)
    block = untied(make("stylegan_tiny")).critic.blocks[0]
    x, size = torch.randn(2, 8, 8, 8), (2 / (8 * 9)) ** 0.5
    inner = F.conv2d(x, block.first.weight * size, block.first.bias, padding=1)
    inner = blurred(F.leaky_relu(inner, 0.2), [1.0, 2.0, 1.0], 1)
    inner = F.conv2d(inner, block.second.weight * size, block.second.bias, padding=1)
    expected = F.leaky_relu(F.avg_pool2d(inner, 2), 0.2)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_adain_sets_each_features_mean_and_spread():
    torch.manual_seed(0)
    adain = untied(make("stylegan_tiny")).generator.layers[1].adain
    x, style = 3 + 5 * torch.randn(4, 16, 6, 6), torch.randn(4, 16)
    scale, shift = adain.told(style).chunk(2, 1)
    out = adain(x, style)
    expected = (1 + scale)[..., None, None] * F.instance_norm(x) + shift[..., None, None]
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out.mean((2, 3)), shift, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out.std((2, 3), correction=0), (1 + scale).abs(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_layer_is_convolution_noise_bend_and_then_the_style(at):
    torch.manual_seed(0)
    layer = untied(make("stylegan_tiny")).generator.layers[at]
    x, style = torch.randn(2, 16, 4, 4), torch.randn(2, 16)
    noise = torch.randn(2, 1, 4 << (at == 2), 4 << (at == 2))
    strength, bias = layer.strength[:, None, None], layer.bias[:, None, None]
    inner = x
    if at:
        weight = layer.conv.weight * (2 / (16 * 9)) ** 0.5
        inner = x.repeat_interleave(2, 2).repeat_interleave(2, 3) if at == 2 else x
        inner = F.conv2d(inner, weight, padding=1)
    if at == 2:
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        kernel = torch.outer(line, line)[None, None]
        inner = torch.cat([F.conv2d(c, kernel, padding=1) for c in inner.split(1, 1)], 1)
    inner = F.leaky_relu(inner + strength * noise + bias, 0.2)
    torch.testing.assert_close(layer(x, style, noise), layer.adain(inner, style), rtol=1e-4, atol=1e-4)


def test_every_picture_starts_from_the_constant():
    model = make("stylegan_tiny")
    assert model.generator.constant.shape == (16, 4, 4)
    assert model.generator.constant.std((1, 2)).min() > 0.3  # AdaIN divides by it
    seen = []
    model.generator.layers[0].register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    model.image(3)
    assert torch.equal(seen[0], model.generator.constant.expand(3, -1, -1, -1))


def test_the_published_networks_have_a_style_to_each_of_eighteen_layers():
    generator = blueprint("stylegan_paper").generator
    assert [tuple(layer.weight.shape) for layer in generator.mapping] == [(512, 512)] * 8
    assert len(generator.layers) == 18


def test_a_run_of_what_was_stylegan_before_says_what_to_write(tmp_path):
    """Its file became stylegan2; one line of args.yaml opens the run again."""
    model = make("stylegan2_tiny")
    args = {
        "system": "stylegan_tiny",
        "data": "digits",
        "config": folder.as_plain(model.config),
        "seen": folder.as_plain(model.spec),
    }
    folder.write_args(tmp_path, args)
    files.write_tensors(tmp_path / "weights" / "best.safetensors", model.state_dict(), {})
    with pytest.raises(UserError, match="stylegan2_tiny") as trouble:
        folder.load(tmp_path)
    assert "system: stylegan2_tiny" in trouble.value.fix

    folder.write_args(tmp_path, args | {"system": "stylegan2_tiny"})
    assert torch.equal(folder.load(tmp_path).draw(Noise(3, [7])), model.draw(Noise(3, [7])))


# StyleGAN2


@pytest.mark.parametrize("up", [False, True])
def test_the_modulated_convolution_equals_the_loop_over_pictures(up):
    torch.manual_seed(0)
    conv = untied(make("stylegan2_tiny")).generator.layers[1].conv
    x, style = torch.randn(5, 16, 6, 6), torch.randn(5, 16)
    expected = []
    for one, scale in zip(x, conv.style(style), strict=True):
        weight = conv.scale * conv.weight * scale[:, None, None]  # (out, in, 3, 3)
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            drawn = F.conv_transpose2d(one[None], weight.transpose(0, 1), stride=2)
            drawn = filtered(drawn)
        else:
            drawn = F.conv2d(one[None], weight, padding=1)
        expected.append(drawn[0] + conv.bias[:, None, None])
    torch.testing.assert_close(conv(x, style, up=up), torch.stack(expected), rtol=1e-4, atol=1e-4)


def filtered(x: torch.Tensor) -> torch.Tensor:
    """Each channel by itself with 1, 3, 3, 1 in both directions, four times as bright."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    kernel = torch.outer(line, line)[None, None]
    return torch.cat([F.conv2d(channel, kernel, padding=1) for channel in x.split(1, 1)], 1)


def test_demodulation_keeps_unit_variance():
    torch.manual_seed(0)
    conv = make("stylegan2_small", Spec(1, 28)).generator.layers[0].conv
    out = conv(torch.randn(64, 64, 9, 9), 5 * torch.randn(64, 64))[..., 1:-1, 1:-1]
    deviation = out.transpose(0, 1).flatten(1).std(1)
    torch.testing.assert_close(deviation, torch.ones(64), rtol=0, atol=0.1)
    plain = conv(torch.randn(64, 64, 9, 9), 5 * torch.randn(64, 64), plain=True)
    assert plain.std() > 2


def test_a_style_of_zeros_leaves_features_as_they_are():
    conv = make("stylegan2_tiny").generator.layers[0].conv
    assert torch.equal(conv.style(torch.zeros(2, 16)), torch.ones(2, 16))


def test_the_colours_of_every_side_are_added_up_and_not_demodulated():
    model, still = untied(make("stylegan2_tiny")), lambda side: torch.zeros(2, 1, side, side)
    styles, colours = torch.randn(2, styles_of(model), 16), model.generator.colours
    for colour in colours:
        torch.nn.init.zeros_(colour.bias)

    def alone(number: int) -> torch.Tensor:
        hooks = [
            colour.register_forward_hook(lambda layer, given, out: 0 * out)
            for i, colour in enumerate(colours)
            if i != number
        ]
        drawn = model.generator(styles, still)
        for hook in hooks:
            hook.remove()
        return drawn

    with torch.no_grad():
        whole, parts = model.generator(styles, still), [alone(i) for i in range(len(colours))]
        assert len(parts) == 2 and min(part.std() for part in parts) > 0.1
        torch.testing.assert_close(sum(parts), whole, rtol=1e-4, atol=1e-4)
        for colour in colours:
            colour.style.weight *= 2
            colour.style.bias *= 2
        torch.testing.assert_close(model.generator(styles, still), 2 * whole, rtol=1e-4, atol=1e-4)


def test_stylegan2s_critic_blurs_before_it_halves_and_keeps_the_size_of_features():
    torch.manual_seed(0)
    block = untied(make("stylegan2_tiny")).critic.blocks[0]
    x, line = torch.randn(2, 8, 8, 8), [1.0, 3.0, 3.0, 1.0]

    def bent(x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(x, 0.2) * 2**0.5

    first, second = (part.weight / (8 * 9) ** 0.5 for part in (block.first, block.second))
    inner = bent(F.conv2d(x, first, block.first.bias, padding=1))
    inner = bent(F.conv2d(blurred(inner, line, 2), second, block.second.bias, stride=2))
    short = F.conv2d(blurred(x, line, 1), block.short.weight / 8**0.5, stride=2)
    expected = (inner + short) / 2**0.5
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_the_published_mapping_has_eight_layers_and_eighteen_styles():
    generator = blueprint("stylegan2_paper").generator
    assert [tuple(layer.weight.shape) for layer in generator.mapping] == [(512, 512)] * 8
    assert len(generator.layers) + 1 == 18


@pytest.mark.parametrize("name", STYLED)
def test_a_style_does_not_depend_on_the_length_of_its_noise(name):
    generator = make(f"{name}_tiny").generator
    noise = torch.randn(3, 16)
    torch.testing.assert_close(generator.style(noise), generator.style(9 * noise))


@pytest.mark.parametrize("name", STYLED)
def test_truncation_0_draws_one_style_for_all(name):
    model = untied(make(f"{name}_tiny"))
    model.mean = torch.randn(16)
    same = Same(Noise(0, range(4)))
    drawn = model.draw(same, truncation=0.0)
    assert torch.equal(drawn, drawn[:1].expand_as(drawn))
    near, far = (model.draw(same, truncation=share) - drawn for share in (0.1, 1.0))
    assert 0 < near.abs().mean() < far.abs().mean()


class Same(Noise):
    """Styles differ from picture to picture, what is added at the layers does not."""

    def __init__(self, noise: Noise) -> None:
        self.sources, self.device = noise.sources, noise.device

    def normal(self, *shape: int) -> torch.Tensor:
        drawn = super().normal(*shape)
        return drawn[:1].expand_as(drawn) if len(shape) == 3 else drawn


@pytest.mark.parametrize("name", STYLED)
def test_a_style_that_takes_over_from_the_start_is_all_there_is(name):
    model = make(f"{name}_tiny")
    first, second = torch.randn(2, 3, 16)
    layers = styles_of(model)

    def drawn(begin: int) -> torch.Tensor:
        styles = model.cross(first, second, torch.full((3,), begin))
        return model.generator(styles, lambda side: torch.zeros(3, 1, side, side))

    def alone(style: torch.Tensor) -> torch.Tensor:
        styles = style[:, None].expand(-1, layers, -1)
        return model.generator(styles, lambda side: torch.zeros(3, 1, side, side))

    assert torch.equal(drawn(0), alone(second))
    assert torch.equal(drawn(layers), alone(first))
    assert not torch.equal(drawn(1), alone(second)) and not torch.equal(drawn(1), alone(first))


@pytest.mark.parametrize("name", STYLED)
def test_mixing_keeps_the_noise_and_the_first_layers(name):
    model = untied(make(f"{name}_tiny"))
    layers = styles_of(model)
    plain, late, early = (model.draw(Noise(0, range(3)), mix=mix) for mix in (0, layers - 1, 1))
    assert torch.equal(model.draw(Noise(0, range(3)), mix=layers), plain)
    assert (late - plain).abs().mean() < (early - plain).abs().mean()
    assert (late - plain).abs().mean() > 0


@pytest.mark.parametrize("name", STYLED)
def test_the_options_are_read(name):
    options = signature.options_of(type(make(f"{name}_tiny")).drawing)
    assert {name: option.default for name, option in options.items()} == {"truncation": 1.0, "mix": 0}
    assert (options["truncation"].low, options["truncation"].high) == (0, 2)


@pytest.mark.parametrize("name", STYLED)
def test_noise_draws_what_a_style_leaves_open(name):
    model = untied(make(f"{name}_tiny"))
    styles = torch.randn(1, styles_of(model), 16).expand(2, -1, -1)
    still = model.generator(styles, lambda side: torch.zeros(2, 1, side, side))
    moved = model.generator(styles, lambda side: torch.randn(2, 1, side, side))
    assert torch.allclose(still[0], still[1])
    assert not torch.allclose(moved[0], moved[1], atol=1e-3)


@pytest.mark.parametrize("name", STYLED)
def test_the_slope_of_a_linear_critic_is_its_weight(name):
    model = make(f"{name}_tiny")
    weight = torch.randn(64)
    model.critic = Linear(weight)
    slope = model.slope(images(4).image)
    torch.testing.assert_close(slope, weight.square().sum())
    slope.backward()
    torch.testing.assert_close(model.critic.slope.grad, 2 * weight)


def test_the_slope_is_asked_for_in_every_16th_update():
    model = make("stylegan2_tiny").train()
    many = [len(list(model.updates(images(4), step))) for step in range(33)]
    assert [step for step, count in enumerate(many) if count == 3] == [0, 16, 32]
    assert set(many) == {2, 3}


def test_the_critics_optimizer_allows_for_the_update_that_the_slope_has():
    """Seventeen updates of it move as far, and remember as long, as sixteen of the generator."""
    optimizers = make("stylegan2_tiny").optimizers()
    critic, generator = (optimizers[name].param_groups[0] for name in ("critic", "generator"))
    assert 17 * critic["lr"] == pytest.approx(16 * generator["lr"])
    assert generator["betas"] == (0.0, 0.99)
    assert critic["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))


@pytest.mark.parametrize("name", STYLED)
def test_the_mean_style_is_followed_in_training(name):
    model = make(f"{name}_tiny").train()
    for _ in range(100):
        model.image(8)
    styles = model.generator.style(torch.randn(4096, 16)).mean(0)
    torch.testing.assert_close(model.mean, (1 - 0.995**100) * styles, rtol=0, atol=0.1)


@pytest.mark.usefixtures("same_eyes")
def test_a_forecast_tries_every_stage(monkeypatch):
    """The first one costs least: a probe that saw no other would promise too much."""
    kind = registry.load_system("progan_tiny")[0]
    growth, grown = kind.growth, []

    def noted(self, used):
        grown.append(growth(self, used))
        return grown[-1]

    monkeypatch.setattr(kind, "growth", noted)
    begun = train.training("progan_tiny", "digits", budget="5ep")
    assert any(event.forecast for event in begun)
    assert {0.0, 0.5, 1.0} <= {round(stage, 6) for stage in grown}  # 4 pixels, fading in, 8
