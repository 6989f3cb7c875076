"""BigGAN and Glow: their mathematics, their published sizes, what their options do."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from souron import registry
from souron.evaluation import summary
from souron.evaluation.generators.sampling import Noise
from souron.systems.generate import biggan, glow
from souron.tasks.generate import Batch, Spec
from souron.training.loop import Run

SIDES = [(1, 8), (3, 28), (1, 45), (3, 64)]


def disturbed(module, spread=0.3):
    """The same module with every weight moved, so that nothing is zero any more."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(spread * torch.randn_like(weight))
    return module.eval()


def tiny(kind, seen, **changes):
    torch.manual_seed(0)
    config = kind.SIZES["tiny"]
    return kind(type(config)(**{**vars(config), **changes}), seen)


def taught(kind, cases, steps, batch=64):
    model = tiny(kind, kind.spec_for(cases))
    torch.manual_seed(1)
    for _progress in model.fit(model.loader(cases, seed=1), Run(steps, batch)):
        pass
    return model


@pytest.fixture(scope="module")
def flow(digits):
    return taught(glow.Glow, digits.only(range(512)), 30)


@pytest.mark.parametrize("kind", [biggan.BigGAN, glow.Glow])
@pytest.mark.parametrize("size", ["tiny", "small"])
@pytest.mark.parametrize("channels, side", SIDES)
def test_any_picture(kind, size, channels, side):
    torch.manual_seed(0)
    model = kind(kind.SIZES[size], Spec(channels, side, ("a", "b"), (0.5, 0.5))).eval()
    with torch.inference_mode():
        drawn = model.draw(Noise(0, range(2)), torch.tensor([1, 1]))
        alone = model.draw(Noise(0, [1]), torch.tensor([1]))
    assert drawn.shape == (2, channels, side, side) and drawn.isfinite().all()
    assert not torch.allclose(drawn[0], drawn[1], atol=1e-3)  # each noise another picture
    assert torch.allclose(alone[0], drawn[1], atol=1e-4)  # whoever is beside


@pytest.mark.parametrize("kind", [biggan.BigGAN, glow.Glow])
@pytest.mark.parametrize("count", [1, 3])
def test_one_class_and_a_batch_of_one_are_enough(kind, count):
    model = tiny(kind, Spec(1, 8)).train()
    batch = Batch(torch.rand(count, 1, 8, 8) * 2 - 1, torch.zeros(count, dtype=torch.long))
    optimizers = model.optimizers()
    for name, loss in model.updates(batch, 0):
        assert loss.isfinite()
        loss.backward()
        optimizers[name].step()
        optimizers[name].zero_grad()
    model.after_update(0)
    assert model.eval().draw(Noise(0, [0])).isfinite().all()


@pytest.mark.parametrize("kind", [biggan.BigGAN, glow.Glow])
@pytest.mark.parametrize("size", ["small", "paper"])
def test_its_layers_and_operations_are_told_without_numbers(kind, size):
    channels, side, labels = kind.SHOWN.get(size, (1, 45, 2))
    seen = Spec(channels, side, tuple(map(str, range(labels))), (1 / labels,) * labels)
    model = summary.blueprint(kind, kind.SIZES[size], seen)
    layers = summary.structure(model, seen)
    assert sum(layer.parameters for layer in layers) == summary.parameters(model)
    assert any(layer.shape for layer in layers) and summary.flops(model, seen) > 1e6


# Glow


def change_by_autograd(layer, x):
    """log |det| of the Jacobian of what comes out by what goes in."""
    jacobian = torch.autograd.functional.jacobian(layer, x, vectorize=True)
    return jacobian.reshape(x.numel(), x.numel()).slogdet().logabsdet


@pytest.mark.parametrize(
    "layer", [glow.Actnorm(4), glow.InvertibleConv1x1(4), glow.Coupling(4, 8)], ids=lambda x: type(x).__name__
)
def test_a_layer_of_the_flow_runs_backwards_and_counts_its_change_of_volume(layer):
    torch.manual_seed(0)
    disturbed(layer.double())
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    y, change = layer(x)
    torch.testing.assert_close(layer.inverse(y), x, atol=1e-10, rtol=0)
    expected = change_by_autograd(lambda x: layer(x)[0], x)
    torch.testing.assert_close(change.sum(), expected, atol=1e-10, rtol=0)
    assert abs(expected) > 0.1 and not torch.allclose(y, x)


@pytest.mark.parametrize("layer", [glow.SplitPrior(2), glow.Edge(2)], ids=lambda x: type(x).__name__)
def test_what_leaves_the_flow_is_a_normal_distribution_told_by_what_stays(layer):
    torch.manual_seed(0)
    disturbed(layer.double())
    stays = torch.randn(1, 2, 3, 3, dtype=torch.float64)
    leaves = torch.randn(1, 2, 3, 3) if type(layer) is glow.SplitPrior else torch.randn(1, 2, 7)
    leaves = leaves.double()
    normal, change = layer(leaves, stays)
    torch.testing.assert_close(layer.inverse(normal, stays), leaves, atol=1e-10, rtol=0)
    expected = change_by_autograd(lambda x: layer(x, stays)[0], leaves)
    torch.testing.assert_close(change.sum(), expected, atol=1e-10, rtol=0)
    mean, log_spread = layer.estimate(stays)
    density = torch.distributions.Normal(mean, log_spread.exp()).log_prob(leaves).sum()
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(normal).sum()
    torch.testing.assert_close(standard + change.sum(), density)


@pytest.mark.parametrize("side", [8, 17, 18])  # one level; an edge at the first; at the second
def test_the_whole_flow_is_one_invertible_map(side):
    torch.manual_seed(0)
    model = disturbed(glow.Glow(glow.Config(2, 1, 4), Spec(1, side)).double(), 0.1)
    x = torch.randn(1, 1, side, side, dtype=torch.float64)

    def flat(x):
        return torch.cat([z.flatten() for done in model(x)[0] for z in done])

    assert flat(x).shape == (side * side,)  # as many numbers as the picture has
    torch.testing.assert_close(model(x)[1][0], change_by_autograd(flat, x), atol=1e-8, rtol=0)
    torch.testing.assert_close(model.inverse(model(x)[0]), x, atol=1e-8, rtol=0)


@pytest.mark.parametrize("channels, side", SIDES)
def test_the_way_back_from_a_picture_leads_to_it(channels, side):
    model = tiny(glow.Glow, Spec(channels, side)).train()
    x = torch.rand(4, channels, side, side) - 0.5
    with torch.no_grad():
        model(x)  # starts the actnorms
        back = model.eval().inverse(model(x)[0])
    assert (back - x).abs().max() < 1e-4


def test_a_taught_flow_gives_back_the_noise_that_it_draws_from(flow):
    drawn = next(flow.drawing(Noise(3, range(8)), torch.zeros(8, dtype=torch.long)))
    noise, same = Noise(3, range(8)), flow((drawn * 127.5 + 128) / 256 - 0.5)[0]
    for shapes, done in zip(flow.shapes, same, strict=True):
        for shape, normal in zip(shapes, done, strict=True):
            torch.testing.assert_close(normal, noise.normal(*shape), atol=1e-4, rtol=0)


def test_its_density_integrates_to_one():
    torch.manual_seed(0)
    model = disturbed(glow.Glow(glow.Config(1, 2, 4), Spec(1, 2)), 0.2)
    points = model.inverse([[torch.randn(4000, 4, 1, 1)]]).detach().flatten(1)
    wide = torch.distributions.MultivariateNormal(points.mean(0), 1.5 * points.T.cov())
    x = wide.sample((100_000,))
    with torch.no_grad():
        [[normal]], change = model(x.view(-1, 1, 2, 2))
    density = -0.5 * normal.square().sum((1, 2, 3)) - 2 * math.log(2 * math.pi) + change
    assert (density - wide.log_prob(x)).exp().mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    "grey, bits",
    [
        # a normal distribution of spread 20 has an entropy of log2(20 sqrt(2 pi e)) bits
        (lambda: (128 + 20 * torch.randn(512, 1, 8, 8)).round(), 6.369),
        # uniform noise has 8 bits; a normal distribution as wide costs log2 sqrt(pi e / 6) more
        (lambda: torch.randint(0, 256, (512, 1, 8, 8)).float(), 8.2546),
    ],
)
def test_the_first_batch_makes_it_the_normal_distribution_of_that_spread(grey, bits):
    model = tiny(glow.Glow, Spec(1, 8)).train()
    first, other = (Batch(grey() / 127.5 - 1, torch.zeros(512)) for _ in range(2))
    with torch.no_grad():
        model.loss(first)
        assert model.eval().bits(other).mean() == pytest.approx(bits, abs=0.03)


def test_the_first_batch_leaves_an_actnorm_with_mean_zero_and_variance_one():
    torch.manual_seed(0)
    layer = glow.Actnorm(4).train()
    for mean, variance in ((0.0, 1.0), (2.0, 4.0)):  # the second batch is moved as the first was
        x = 3 + 0.5 * (mean + variance**0.5 * torch.randn(64, 4, 5, 5))
        y, _change = layer(x)
        torch.testing.assert_close(y.mean((0, 2, 3)), torch.full((4,), mean), atol=0.2, rtol=0)
        torch.testing.assert_close(y.var((0, 2, 3)), torch.full((4,), variance), atol=0.5, rtol=0)


def test_only_the_first_batch_starts_it_and_saving_remembers_that(digits):
    model = tiny(glow.Glow, Spec(1, 8))
    batch = next(model.loader(digits).once(64))
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.eval().bits(batch)
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in model.state_dict().items())
    model.train().loss(batch)
    started = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert not torch.equal(started["levels.0.steps.0.shift"], fresh["levels.0.steps.0.shift"])
    again = tiny(glow.Glow, Spec(1, 8)).train()
    again.load_state_dict(started)
    again.loss(Batch(-batch.image, batch.label))
    assert all(torch.equal(tensor, started[name]) for name, tensor in again.state_dict().items())


def test_glow_fills_each_step_of_grey_evenly():
    model, seen = tiny(glow.Glow, Spec(1, 8)).eval(), []
    model.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    grey = torch.arange(256.0).repeat(50).view(200, 1, 8, 8)
    model.cost(grey / 127.5 - 1)
    filled = 256 * (seen[0] + 0.5)
    assert torch.equal(filled.floor(), grey)
    within = filled - grey
    assert within.mean().item() == pytest.approx(0.5, abs=0.01)
    assert within.var().item() == pytest.approx(1 / 12, rel=0.02)


def test_what_scales_in_the_flow_is_bounded():
    """Else noise far from the training pictures would grow without end."""
    coupling, rest, x = glow.Coupling(4, 8).eval(), glow.SplitPrior(2), torch.randn(1, 2, 3, 3)
    for layer, conv, most in ((coupling, coupling.conv3, 2.0), (rest, rest.conv, 4.0)):
        scales = {glow.Coupling: 0, glow.SplitPrior: 1}[type(layer)]
        for sign in (-1, 1):
            nn.init.constant_(conv.bias, 1000.0 * sign)
            log_scale = layer.estimate(x)[scales]
            torch.testing.assert_close(log_scale, torch.full((1, 2, 3, 3), most * sign))


def test_the_flow_begins_with_rotations_of_the_channels_and_changes_nothing_else():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 3)
    y, change = glow.Coupling(4, 8)(x)
    assert torch.equal(y, x) and not change.any()
    normal, change = glow.SplitPrior(2)(x[:, :2], x[:, 2:])
    assert torch.equal(normal, x[:, :2]) and not change.any()
    weight = glow.InvertibleConv1x1(12).weight.detach()
    torch.testing.assert_close(weight @ weight.T, torch.eye(12), atol=1e-5, rtol=0)
    assert weight.abs().max() < 0.95  # no channel is left as it is


def test_learning_lowers_the_bits_and_eight_bit_rounding_does_not_reach_them(flow, digits):
    cases = digits.only(range(600, 800))
    data = flow.loader(cases)
    learnt = flow.validate(data)["bits per dimension"]
    started = taught(glow.Glow, digits.only(range(512)), 1).validate(data)["bits per dimension"]
    assert learnt.mean() < started.mean() - 0.1
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(flow.validate(data)["bits per dimension"], learnt)


def test_temperature_is_the_spread_of_the_noise(flow):
    cold, cool, usual, plain = (
        flow.draw(Noise(5, range(64)), **options)
        for options in ({"temperature": 0.0}, {"temperature": 0.5}, {"temperature": 1.0}, {})
    )
    assert torch.equal(usual, plain)
    assert cold.std(0).max() < 1e-6 < cool.std(0).mean() < usual.std(0).mean()


def test_glow_has_the_published_number_of_parameters():
    model = summary.blueprint(glow.Glow, glow.Config(), Spec(3, 32))
    expected = 0
    for channels in (12, 24, 48):  # folded, at the three levels
        network = 9 * channels // 2 * 512 + 512**2 + 9 * 512 * channels + 4 * 512 + channels
        expected += 32 * (2 * channels + channels**2 + network)
    for half in (6, 12):
        expected += 9 * half * 2 * half + 2 * half
    expected += 2 * 48
    assert summary.parameters(model) == expected == pytest.approx(44e6, rel=0.01)


# BigGAN


def test_biggan_has_the_published_numbers_of_parameters():
    labels = tuple(map(str, range(1000)))
    seen = Spec(3, 128, labels, (0.001,) * 1000)
    model = summary.blueprint(biggan.BigGAN, biggan.Config(), seen)
    assert summary.parameters(model.generator) == 70_433_988
    assert summary.parameters(model.critic) == 87_982_370


@pytest.mark.parametrize(
    "ours, plain", [(biggan.Conv(5, 7, 3), nn.Conv2d(5, 7, 3)), (biggan.Linear(9, 4), nn.Linear(9, 4))]
)
def test_spectral_norm_equals_that_of_torch(ours, plain):
    torch.manual_seed(0)
    with torch.no_grad():
        ours.weight.copy_(torch.randn_like(ours.weight))
        plain.weight.copy_(ours.weight)
    theirs = spectral_norm(plain)
    [known] = theirs.parametrizations.weight
    ours.left.copy_(known._u)
    ours.right.copy_(known._v)
    for _ in range(3):
        weight, expected = biggan.spectral(ours), theirs.weight
        torch.testing.assert_close(weight, expected)
    target = torch.randn_like(weight)
    (weight * target).sum().backward()
    (expected * target).sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.parametrizations.weight.original.grad)

    for _ in range(200):
        biggan.iterate(ours)
    largest = torch.linalg.matrix_norm(biggan.spectral(ours.eval()).flatten(1), 2)
    assert largest.item() == pytest.approx(1, abs=1e-4)


def test_only_learning_moves_the_singular_vectors():
    layer = biggan.Linear(6, 5)
    nn.init.normal_(layer.weight)
    before = layer.left.clone()
    layer.eval()(torch.randn(2, 6))
    assert torch.equal(layer.left, before)
    layer.train()(torch.randn(2, 6))
    assert not torch.equal(layer.left, before)


def test_the_penalty_is_what_filters_have_in_common():
    torch.manual_seed(0)
    network = nn.Sequential(biggan.Conv(2, 9, 1), biggan.Conv(4, 3, 3), nn.Embedding(4, 4))
    expected = 0.0
    for layer in network[:2]:
        nn.init.normal_(layer.weight)
        rows = layer.weight.detach().flatten(1)
        expected += sum(float(a @ b) ** 2 for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j)
    assert biggan.repetition(network).item() == pytest.approx(expected, rel=1e-4)
    assert biggan.repetition(nn.Sequential(biggan.Conv(4, 3, 3))).abs() < 1e-4  # orthogonal


def test_conditional_norm_scales_and_shifts_what_batch_norm_gives():
    torch.manual_seed(0)
    layer, x, code = biggan.ConditionalNorm(3, 4), torch.randn(6, 3, 5, 5), torch.randn(6, 4)
    given = F.batch_norm(x, None, None, training=True)
    gain, shift = (F.linear(code, biggan.spectral(part.eval())) for part in (layer.gain, layer.shift))
    expected = [(1 + gain[i])[:, None, None] * given[i] + shift[i][:, None, None] for i in range(6)]
    torch.testing.assert_close(layer(x, code), torch.stack(expected))


def test_attention_starts_as_nothing_and_then_finds_what_is_alike():
    torch.manual_seed(0)
    layer, x = biggan.Attention(16).eval(), torch.randn(2, 16, 4, 4)
    assert torch.equal(layer(x), x)
    nn.init.ones_(layer.share)
    query = layer.query(x).flatten(2).mT
    key, value = (F.max_pool2d(part(x), 2).flatten(2).mT for part in (layer.key, layer.value))
    found = F.scaled_dot_product_attention(query, key, value, scale=1.0).mT.unflatten(2, (4, 4))
    torch.testing.assert_close(layer(x), x + layer.out(found), atol=1e-5, rtol=1e-5)


def test_both_networks_attend_at_the_finest_maps_but_those_of_the_picture():
    """Before the generator's last block and after the critic's first, whatever attention gives."""
    torch.manual_seed(0)
    model = tiny(biggan.BigGAN, Spec(1, 16, ("a", "b"), (0.5, 0.5))).eval()
    label = torch.tensor([0, 1])
    for network, given, before, after in (
        (model.generator, torch.randn(2, model.numbers), -2, -1),
        (model.critic, torch.rand(2, 1, 16, 16), 0, 1),
    ):
        nn.init.constant_(network.attention.share, 0.7)
        kept = {}
        blocks = network.blocks
        blocks[before].register_forward_hook(lambda b, i, out, kept=kept: kept.update(before=out))
        blocks[after].register_forward_pre_hook(lambda b, i, kept=kept: kept.update(after=i[0]))
        network(given, label)
        torch.testing.assert_close(kept["after"], network.attention(kept["before"]))
        assert not torch.allclose(kept["after"], kept["before"], atol=1e-3)


def test_spectral_norm_takes_the_length_of_every_layers_weights_away():
    """Five times the weights give the same pictures and scores: in convolutions, in the linear
    layers, and in the critic's class vectors."""
    torch.manual_seed(0)
    model = tiny(biggan.BigGAN, Spec(1, 8, ("a", "b"), (0.5, 0.5))).eval()
    for network, given in ((model.generator, torch.randn(2, model.numbers)), (model.critic, torch.rand(2, 1, 8, 8))):
        nn.init.ones_(network.attention.share)
        layers = [
            part
            for name, part in network.named_modules()
            if isinstance(part, nn.Conv2d | nn.Linear | nn.Embedding) and (name != "vector" or network is model.critic)
        ]
        assert {type(part).__base__ for part in layers} >= {nn.Conv2d, nn.Linear}
        before = network(given, torch.tensor([0, 1]))
        for layer in layers:
            with torch.no_grad():
                layer.weight *= 5
            torch.testing.assert_close(network(given, torch.tensor([0, 1])), before)


@pytest.mark.parametrize("layer", [biggan.Conv(4, 6, 1), biggan.Linear(4, 6)])
def test_a_layers_longest_step_is_one(layer):
    torch.manual_seed(0)
    nn.init.normal_(layer.weight, std=3)
    for _ in range(100):
        biggan.iterate(layer)
    way = layer.right.view(1, 4) if isinstance(layer, nn.Linear) else layer.right.view(1, 4, 1, 1)
    step = layer.eval()(way) - layer(torch.zeros_like(way))
    torch.testing.assert_close(step.flatten(), layer.left)


def test_the_critic_adds_how_well_features_fit_the_class():
    torch.manual_seed(0)
    model = tiny(biggan.BigGAN, Spec(1, 8, ("a", "b", "c"), (0.3, 0.3, 0.4))).eval()
    kept = []
    model.critic.score.register_forward_hook(lambda layer, given, out: kept.append(given[0]))
    image = torch.rand(3, 1, 8, 8) * 2 - 1
    first, second = (model.critic(image, torch.full((3,), label)) for label in (0, 1))
    vectors = biggan.spectral(model.critic.vector)
    torch.testing.assert_close(first - second, kept[0] @ (vectors[0] - vectors[1]))


def test_the_critic_scores_the_sum_of_its_features_over_all_places():
    model, kept = tiny(biggan.BigGAN, Spec(1, 16)).eval(), []
    model.critic.blocks[-1].register_forward_hook(lambda block, given, out: kept.append(out))
    model.critic.score.register_forward_pre_hook(lambda layer, given: kept.append(given[0]))
    model.critic(torch.rand(3, 1, 16, 16) * 2 - 1, torch.zeros(3, dtype=torch.long))
    features, scored = kept
    torch.testing.assert_close(scored, features.relu().flatten(2).sum(2))


def test_the_losses_are_hinges(monkeypatch):
    model = tiny(biggan.BigGAN, Spec(1, 8)).train()
    batch = Batch(torch.rand(2, 1, 8, 8) * 2 - 1, torch.zeros(2, dtype=torch.long))
    given = [torch.tensor([0.5, 3.0, -2.0, 0.0]), torch.tensor([0.25, 0.75])]
    monkeypatch.setattr(model.critic, "forward", lambda image, label: given.pop(0))
    losses = dict(model.updates(batch, 0))
    assert losses["critic"] == pytest.approx((0.5 + 0) / 2 + (0 + 1) / 2)
    penalty = biggan.ORTHOGONAL * biggan.repetition(model.generator)
    assert losses["generator"].item() == pytest.approx(penalty.item() - 0.5)


def test_the_critic_takes_its_turns_on_parts_of_the_batch(monkeypatch):
    model = tiny(biggan.BigGAN, Spec(1, 8), turns=2).train()
    seen = []
    plain = model.critic.forward
    monkeypatch.setattr(model.critic, "forward", lambda image, label: seen.append(image) or plain(image, label))
    batch = Batch(torch.rand(6, 1, 8, 8) * 2 - 1, torch.zeros(6, dtype=torch.long))
    assert [name for name, _loss in model.updates(batch, 0)] == ["critic", "critic", "generator"]
    assert torch.equal(torch.cat([seen[0][:3], seen[1][:3]]), batch.image)


def test_each_part_of_the_batch_has_its_rounds(monkeypatch):
    model = tiny(biggan.BigGAN, Spec(1, 8), turns=1, parts=3).train()
    seen = []
    plain = model.critic.forward
    monkeypatch.setattr(model.critic, "forward", lambda image, label: seen.append(image) or plain(image, label))
    batch = Batch(torch.rand(6, 1, 8, 8) * 2 - 1, torch.zeros(6, dtype=torch.long))
    assert [name for name, _loss in model.updates(batch, 0)] == 3 * ["critic", "generator"]
    assert torch.equal(torch.cat([image[:2] for image in seen[::2]]), batch.image)
    assert [len(image) for image in seen[1::2]] == [2, 2, 2]


def test_each_block_is_told_the_class_and_a_part_of_the_noise_of_its_own():
    model = tiny(biggan.BigGAN, Spec(1, 16, ("a", "b"), (0.5, 0.5))).eval()
    begun, told = [], []
    model.generator.start.register_forward_pre_hook(lambda layer, given: begun.append(given[0]))
    for block in model.generator.blocks:
        block.register_forward_pre_hook(lambda block, given: told.append(given[1]))
    noise, label = torch.randn(3, model.numbers), torch.tensor([0, 1, 1])
    model.generator(noise, label)
    first, *parts = noise.split(model.config.noise, 1)
    assert torch.equal(begun[0], first)
    vector = model.generator.vector.weight[label]
    for code, part in zip(told, parts, strict=True):
        assert torch.equal(code, torch.cat([vector, part], 1))


def test_drawn_pictures_have_the_classes_of_the_real_ones():
    model = tiny(biggan.BigGAN, Spec(1, 8, ("a", "b", "c"), (0.2, 0.4, 0.4))).train()
    asked, judged = [], []
    model.generator.register_forward_pre_hook(lambda network, given: asked.append(given[1]))
    model.critic.register_forward_pre_hook(lambda network, given: judged.append(given[1]))
    label = torch.tensor([0, 2, 1, 1, 2])
    list(model.updates(Batch(torch.rand(5, 1, 8, 8) * 2 - 1, label), 0))
    assert [named.tolist() for named in asked] == [label.tolist()] * 2  # for critic and generator
    assert [named.tolist() for named in judged] == [2 * label.tolist(), label.tolist()]


def test_the_critic_learns_four_times_as_fast_and_without_momentum():
    optimizers = tiny(biggan.BigGAN, Spec(1, 8)).optimizers()
    critic, generator = (optimizers[name].param_groups[0] for name in ("critic", "generator"))
    assert critic["lr"] == 4 * generator["lr"] == 4e-3
    assert critic["betas"] == generator["betas"] == (0.0, 0.999)


def test_truncation_bounds_the_noise_as_drawing_again_would(monkeypatch):
    model = tiny(biggan.BigGAN, Spec(1, 8)).eval()
    kept = []
    draws = lambda noise, label: kept.append(noise) or torch.zeros(len(noise), 1, 8, 8)  # noqa: E731
    monkeypatch.setattr(model.average, "forward", draws)
    for options in ({"truncation": 1.0}, {"truncation": 0.1}, {}):
        model.draw(Noise(0, range(2000)), **options)
    one, tenth, usual = kept
    assert one.abs().max() <= 1 and tenth.abs().max() <= 0.1
    # the standard deviation of a normal distribution cut at 1: sqrt(1 - 2 f(1) / (2 F(1) - 1))
    assert one.std() == pytest.approx(0.5396, abs=0.01)
    assert usual.std() == pytest.approx(1, abs=0.02) and usual.abs().max() > 3
    again = Noise(0, range(2000))
    model.conditions(again)
    torch.testing.assert_close(usual, again.normal(model.numbers), atol=5e-3, rtol=0)
    assert (one.sign() == usual.sign()).all()


def test_the_average_follows_the_generator():
    model = tiny(biggan.BigGAN, Spec(1, 8)).train()
    before = [weight.clone() for weight in model.average.parameters()]
    disturbed(model.generator)
    model.after_update(10_001)
    kept = model.config.average
    after = zip(before, model.average.parameters(), model.generator.parameters(), strict=True)
    for old, now, weight in after:
        torch.testing.assert_close(now, kept * old + (1 - kept) * weight)


def test_the_average_draws_with_statistics_of_its_own():
    model = tiny(biggan.BigGAN, Spec(1, 8)).train()
    disturbed(model.average, 0.2)
    noise, label = torch.randn(256, model.numbers), torch.zeros(256, dtype=torch.long)
    off = []
    for step in (None, 0, 8, 16, 24, 32):
        if step is not None:
            model.generator.load_state_dict(model.average.state_dict())
            model.after_update(step)
        with torch.no_grad():
            standing = model.average.eval()(noise, label)
            at_hand = copy.deepcopy(model.average).train()(noise, label)
        off.append((standing - at_hand).abs().mean().item())
    assert max(off[1:]) < 0.08 < off[0] / 4


def test_the_averages_statistics_are_of_classes_as_often_as_the_data_has_them():
    model, seen = tiny(biggan.BigGAN, Spec(1, 8, ("a", "b"), (0.0, 1.0))).train(), []
    model.average.register_forward_pre_hook(lambda network, given: seen.append(given[1]))
    for step in range(9):
        model.after_update(step)
    assert [len(label) for label in seen] == [64, 64]  # in every eighth step
    assert all(label.eq(1).all() for label in seen)


def test_a_class_asked_for_is_the_class_drawn():
    torch.manual_seed(0)
    seen = Spec(1, 8, ("dark", "bright"), (0.5, 0.5))
    model = tiny(biggan.BigGAN, seen).train()
    optimizers = model.optimizers()
    for step in range(60):
        label = torch.arange(32) % 2
        image = (label * 1.2 - 0.6)[:, None, None, None] + 0.1 * torch.randn(32, 1, 8, 8)
        for name, loss in model.updates(Batch(image, label), step):
            optimizers[name].zero_grad()
            own = [w for group in optimizers[name].param_groups for w in group["params"]]
            loss.backward(inputs=own)
            optimizers[name].step()
        model.after_update(step)
    model.eval()
    dark, bright = (model.draw(Noise(1, range(16)), torch.full((16,), i)) for i in (0, 1))
    assert bright.mean() - dark.mean() > 0.4


def test_blocks_double_from_four_to_seven_pixels():
    for side, widths in ((8, 2), (28, 3), (45, 4), (64, 5), (128, 6)):
        seen = Spec(1, side, ("a",), (1.0,))
        model = summary.blueprint(biggan.BigGAN, biggan.Config(width=4), seen)
        assert len(model.generator.blocks) + 1 == widths
        assert 4 <= model.generator.first <= 7
        ins = [block.conv1.in_channels for block in model.generator.blocks]
        assert all(wide in (narrow, 2 * narrow) for wide, narrow in pairwise(ins))


def test_they_are_found_by_name():
    assert registry.load_system("biggan")[0] is biggan.BigGAN
    assert registry.load_system("glow")[0] is glow.Glow
