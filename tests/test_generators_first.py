"""VAE, GAN, DCGAN and WGAN-GP: the bound under what it bounds, and what keeps a critic in check."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from souron.data.dataset import Dataset, Rows
from souron.evaluation.generators.sampling import Noise, Walk
from souron.evaluation.summary import parameters
from souron.systems.generate import vae, wgan_gp
from souron.systems.generate.dcgan import DCGAN
from souron.systems.generate.gan import GAN, Maxout
from souron.systems.generate.vae import VAE
from souron.systems.generate.wgan_gp import WGANGP, halving, slope_penalty
from souron.tasks.generate import Batch, Generator, Spec
from souron.training.loop import Run

GANS = [GAN, DCGAN, WGANGP]
GREYS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


def made(kind, channels=1, side=8, size="tiny", **changed):
    torch.manual_seed(0)
    config = kind.SIZES[size]
    return kind(type(config)(**{**vars(config), **changed}), Spec(channels, side)).eval()


def at_paper_size(kind):
    channels, side, _labels = kind.SHOWN["paper"]
    with torch.device("meta"):
        return kind(kind.SIZES["paper"], Spec(channels, side))


def some(count, channels=1, side=8):
    grey = torch.randint(256, (count, channels, side, side)).float()
    return Batch(grey / 127.5 - 1, torch.zeros(count, dtype=torch.long))


def learn(system: Generator, cases: Dataset, steps: int, size: int = 64, **run) -> list[dict]:
    torch.manual_seed(1)
    return [
        {name: loss.item() for name, loss in progress.losses.items()}
        for progress in system.fit(system.loader(cases, seed=1), Run(steps, size, **run))
    ]


def take_a_step(system: Generator, batch: Batch) -> None:
    """As the loop would."""
    optimizers = system.train().optimizers()
    for name, loss in system.updates(batch, 0):
        assert loss.isfinite()
        optimizers[name].zero_grad()
        loss.backward()
        optimizers[name].step()
    system.after_update(0)
    system.eval()


@pytest.mark.parametrize("kind", [VAE, *GANS])
@pytest.mark.parametrize("size", ["tiny", "small"])
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 13), (1, 28), (1, 45), (3, 64)])
def test_any_picture_is_drawn_and_learnt_from_two(kind, size, channels, side):
    system = made(kind, channels, side, size)
    take_a_step(system, some(2, channels, side))
    with torch.no_grad():
        drawn = system.draw(Noise(0, range(2)))
    assert drawn.shape == (2, channels, side, side)
    assert drawn.isfinite().all() and drawn.abs().max() <= 1
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("kind", [VAE, *GANS])
def test_a_single_picture_is_enough_to_learn_from(kind):
    system = made(kind)
    before = [weight.clone() for weight in system.parameters()]
    take_a_step(system, some(1))
    after = system.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("kind", [VAE, *GANS])
@torch.no_grad()
def test_a_picture_is_the_same_alone_and_among_others(kind):
    system = made(kind, side=16)
    alone = system.draw(Noise(1, [7]))
    among = system.draw(Noise(1, range(5, 9)))
    torch.testing.assert_close(alone[0], among[2])
    assert not torch.allclose(alone, system.draw(Noise(2, [7])))


@pytest.mark.parametrize("kind", [VAE, *GANS])
@torch.no_grad()
def test_a_walk_ends_at_both_pictures(kind):
    system = made(kind)
    ends = system.draw(Noise(0, [0, 1]))
    walk = Walk(Noise(0, [0] * 3), Noise(0, [1] * 3), [0.0, 0.5, 1.0])
    label = torch.zeros(3, dtype=torch.long)
    first, middle, last = system.draw(walk, label)
    # the label is drawn first where none is given, so that these are asked for theirs
    ends = [system.draw(Noise(0, [i]), label[:1])[0] for i in (0, 1)]
    torch.testing.assert_close(first, ends[0], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(last, ends[1], atol=1e-4, rtol=1e-3)
    assert not torch.allclose(middle, first) and not torch.allclose(middle, last)


def test_the_shares_of_256_grey_values_add_up_to_one():
    location = torch.tensor([-3.0, -1.0, -0.98, 0.0, 0.3, 1.0, 5.0], dtype=torch.float64)
    for log_scale in (vae.NARROWEST, -5.0, -2.0, 0.0, 3.0):
        scale = torch.full((1, 7), log_scale, dtype=torch.float64)
        share = vae.log_likelihood(GREYS[:, None], location[None], scale).exp()
        torch.testing.assert_close(share.sum(0), torch.ones(7, dtype=torch.float64))


def test_a_grey_values_share_is_the_logistic_distributions_between_its_ends():
    location, log_scale = torch.tensor(0.1).double(), torch.tensor(-2.0).double()
    share = vae.log_likelihood(GREYS, location, log_scale).exp()

    def below(value):
        return torch.sigmoid((value - location) / log_scale.exp())

    expected = below(GREYS + 1 / 255) - below(GREYS - 1 / 255)
    expected[0], expected[-1] = below(GREYS[0] + 1 / 255), 1 - below(GREYS[-1] - 1 / 255)
    torch.testing.assert_close(share, expected)


def test_the_likelihood_of_what_is_nearly_impossible_is_finite_and_has_a_gradient():
    location = torch.tensor([-1.0, 1.0, 50.0], requires_grad=True)
    log_scale = torch.full((3,), vae.NARROWEST, requires_grad=True)
    nats = vae.log_likelihood(torch.tensor([1.0, -1.0, 0.2]), location, log_scale)
    nats.sum().backward()
    # far away, the share falls by e for every scale
    assert nats[0].item() == pytest.approx(-(2 - 1 / 255) * math.exp(7), rel=1e-5)
    assert location.grad.isfinite().all() and log_scale.grad.isfinite().all()


def test_the_divergence_is_torchs():
    mean, spread = torch.randn(5, 3), torch.rand(5, 3) + 0.1
    expected = kl_divergence(Normal(mean, spread), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(vae.divergence(mean, spread), expected)
    assert vae.divergence(torch.zeros(1, 3), torch.ones(1, 3)).item() == 0


@pytest.fixture(scope="module")
def one_number():
    """A VAE of one latent number, which can be integrated: with each picture's log p(x), and how
    far q(z | x) is from p(z | x), in nats."""
    torch.manual_seed(0)
    system = VAE(vae.Config(16, 1, 1), Spec(1, 3)).double().eval()
    image = some(4, 1, 3).image.double()
    z = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    with torch.no_grad():
        for weight in system.decoder.parameters():
            weight *= 3  # so that z matters
        for weight in system.encoder.parameters():
            weight *= 3  # so that the divergence from p(z) matters
        drawn = vae.log_likelihood(image.flatten(1), *(p[:, None] for p in system.decode(z[:, None])))
        joint = drawn.sum(2) + Normal(0.0, 1.0).log_prob(z)[:, None]  # (z, B)
        exact = joint.logsumexp(0) + (z[1] - z[0]).log()
        mean, spread = system.encode(image)
        q = Normal(mean.T, spread.T).log_prob(z[:, None])
        gap = (q.exp() * (q - joint + exact)).sum(0) * (z[1] - z[0])
    return system, image, exact, gap


@torch.no_grad()
def test_the_bound_lies_under_the_likelihood_by_what_the_encoder_misses(one_number):
    system, image, exact, gap = one_number
    divergence = vae.divergence(*system.encode(image))
    torch.manual_seed(0)
    many = Batch(image.repeat_interleave(20_000, 0), torch.zeros(0))
    nats = -system.bits(many).view(4, -1) * image[0].numel() * math.log(2)
    error = nats.std(1) / math.sqrt(nats.shape[1])
    # what is looked for is far larger than chance: without the divergence the bound would fail
    assert (gap > 20 * error).all() and (divergence > 20 * error).any()
    assert ((nats.mean(1) - (exact - gap)).abs() < 5 * error).all()


@torch.no_grad()
def test_the_divergence_is_paid_for_in_bits_and_learnt_from():
    """A decoder that looks away from z leaves nothing but the divergence between two encoders."""
    system, batch = made(VAE), some(5)
    for layer in (system.decoder[0], system.encoder[-1]):
        nn.init.zeros_(layer.weight)
    latent, values = system.config.latent, 64
    mean, spread = torch.tensor([1.5, -0.5, 0.0, 2.0]), torch.tensor([0.5, 1.0, 2.0, 0.1])
    costs = []
    for at, log_variance in ((torch.zeros(latent), torch.zeros(latent)), (mean, 2 * spread.log())):
        system.encoder[-1].bias.copy_(torch.cat([at, log_variance]))
        costs.append((system.bits(batch), system.loss(batch)))
    nats = kl_divergence(Normal(mean, spread), Normal(0.0, 1.0)).sum()
    expected = nats / (values * math.log(2))  # of the standard normal it is 0
    torch.testing.assert_close(costs[1][0] - costs[0][0], expected.expand(5))
    torch.testing.assert_close(costs[1][1] - costs[0][1], expected)


@torch.no_grad()
def test_more_samples_tighten_the_bound_up_to_the_likelihood(one_number):
    system, image, exact, gap = one_number
    torch.manual_seed(0)
    many = Batch(image.repeat_interleave(200, 0), torch.zeros(0))
    below = [
        exact + system.bits(many, samples).view(4, -1).mean(1) * image[0].numel() * math.log(2)
        for samples in (1, 5, 300)
    ]
    assert (below[0] > below[1]).all() and (below[1] > below[2]).all()
    assert (below[2].abs() < 0.1 * gap).all()


def test_the_latent_number_passes_its_gradient_to_the_encoder(monkeypatch):
    """What is drawn from it does so, beside the divergence."""
    system = made(VAE)
    monkeypatch.setattr(vae, "divergence", lambda mean, spread: torch.zeros(len(mean)))
    system.loss(some(8)).backward()
    slopes = [weight.grad for weight in system.parameters()]
    assert all(slope is not None and slope.abs().max() > 0 for slope in slopes)


def test_no_pixels_scale_is_narrower_than_a_grey_value_needs():
    system = made(VAE)
    nn.init.constant_(system.decoder[-1].bias, -50)
    _location, log_scale = system.decode(torch.zeros(3, 4))
    assert torch.equal(log_scale, torch.full((3, 64), vae.NARROWEST))


def test_bits_are_computed_in_full_precision():
    system, batch = made(VAE), some(8)
    bits = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled):
            bits.append(system.bits(batch))
    assert torch.equal(*bits) and bits[0].dtype == torch.float32


def test_a_vae_learns_bits_and_pictures(digits):
    system = made(VAE)
    known, held = digits.only(range(1500)), digits.only(range(1500, 1797))
    feed = system.loader(held)
    before = system.validate(feed)["bits per dimension"]
    learn(system, known, 250)
    after = system.validate(feed)["bits per dimension"]
    assert torch.equal(after, system.validate(feed)["bits per dimension"])
    assert after.mean() < before.mean() - 1 and after.mean() < 6  # of 8 where nothing is known
    [batch] = feed.once(297)
    with torch.no_grad():
        back = system.decode(system.encode(batch.image)[0])[0].clamp(-1, 1)
    image = batch.image.flatten(1)
    missed = (back - image).square().mean(1)
    usual = (image.mean(0) - image).square().mean(1)
    assert missed.mean() < 0.7 * usual.mean()


@torch.no_grad()
def test_temperature_spreads_pictures_and_grain_their_pixels():
    system = made(VAE)
    noise = [Noise(0, range(200)) for _ in range(4)]
    cold = system.draw(noise[0], temperature=0.0)
    assert torch.equal(cold, cold[:1].expand_as(cold))
    usual, hot = system.draw(noise[1]), system.draw(noise[2], temperature=2.0)
    assert 0 < usual.std(0).mean() < hot.std(0).mean()
    grained = system.drawing(noise[3], torch.zeros(200), temperature=0.0, grain=1.0)
    values = next(grained).flatten(1)
    location, log_scale = system.decode(torch.zeros(1, 4))
    # three quarters of a logistic distribution lie below location + log(3) scale
    below = (values < location + math.log(3) * log_scale.exp()).float().mean()
    assert below.item() == pytest.approx(0.75, abs=0.02)


def test_a_vae_at_the_papers_size_has_500_hidden_units_on_each_side():
    encoder = 784 * 500 + 500 + 2 * (500 * 20 + 20)
    decoder = 20 * 500 + 500 + 2 * (500 * 784 + 784)
    assert parameters(at_paper_size(VAE)) == encoder + decoder


def test_the_paper_sizes_of_the_networks_that_compete():
    """The layers of https://github.com/goodfeli/adversarial (mnist.yaml) and of appendix F of
    https://arxiv.org/abs/1704.00028, counted by hand."""
    gan, wgan = at_paper_size(GAN), at_paper_size(WGANGP)
    assert parameters(gan.generator) == 101 * 1200 + 1201 * 1200 + 1201 * 784
    assert parameters(gan.critic) == 785 * 1200 + 241 * 1200 + 241
    convolution, shortcut, norm = 128 * 128 * 9 + 128, 128 * 128 + 128, 2 * 128
    up = 2 * convolution + shortcut + 2 * norm
    assert parameters(wgan.generator) == 129 * 2048 + 3 * up + norm + 128 * 3 * 9 + 3 == 1_204_483
    first = (3 * 128 * 9 + 128) + convolution + (3 * 128 + 128)
    assert parameters(wgan.critic) == first + 7 * convolution - convolution + shortcut + 129
    assert [parameters(block) for block in wgan.critic[2:4]] == [2 * convolution] * 2


def test_a_maxout_unit_is_the_largest_of_its_sums():
    layer = Maxout(6, 4, 3)
    value = torch.randn(5, 6)
    sums = value @ layer.sums.weight.T + layer.sums.bias
    for unit in range(4):
        expected = torch.stack([sums[:, 3 * unit + i] for i in range(3)]).amax(0)
        torch.testing.assert_close(layer(value)[:, unit], expected)


@torch.no_grad()
def test_only_a_learning_critic_sees_through_dropout():
    """A fifth of the pixels and half of each layer of hidden units are away, in training alone."""
    system = made(GAN, units=400, pieces=1)
    for layer in (system.critic[1].sums, system.critic[3].sums):  # every unit gives out exactly 1
        nn.init.zeros_(layer.weight)
        nn.init.ones_(layer.bias)
    taken = []
    for layer in (system.critic[1], system.critic[3], system.critic[5]):
        layer.register_forward_pre_hook(lambda module, given: taken.append(given[0]))
    image = torch.ones(50, 64)
    system.critic(image)
    assert all(torch.equal(each, torch.ones_like(each)) for each in taken)
    taken.clear()
    system.critic.train()
    system.critic(image)
    for each, share in zip(taken, (0.2, 0.5, 0.5), strict=True):
        assert (each == 0).float().mean().item() == pytest.approx(share, abs=0.03)
        torch.testing.assert_close(each[each != 0].unique(), torch.tensor([1 / (1 - share)]))


@pytest.mark.parametrize("kind", [GAN, DCGAN])
def test_a_critic_that_knows_nothing_loses_two_log_two(kind):
    system = made(kind)
    for weight in system.critic.parameters():
        nn.init.zeros_(weight)
    losses = dict(system.updates(some(4), 0))
    assert losses["critic"].item() == pytest.approx(2 * math.log(2))
    assert losses["generator"].item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("kind", [GAN, DCGAN])
def test_the_losses_are_those_of_the_paper(kind, monkeypatch):
    system, real, values = made(kind), some(4), torch.randn(4, 1, 8, 8)
    system.critic = Linear(*(torch.randn(64) / 8).tolist())
    given = values.flatten(1) if kind is GAN else values
    monkeypatch.setattr(system.generator, "forward", lambda noise: given)
    losses = dict(system.updates(real, 0))
    drawn = values if kind is GAN else values.tanh()  # GAN's own tanh is one of its layers
    real, drawn = (system.critic(image).sigmoid() for image in (real.image, drawn))  # chances
    torch.testing.assert_close(losses["critic"], -real.log().mean() - (1 - drawn).log().mean())
    torch.testing.assert_close(losses["generator"], -drawn.log().mean())


@pytest.mark.parametrize("kind", GANS)
def test_training_draws_from_noise_as_drawing_does(kind):
    """Normal numbers in WGAN-GP, in the others even ones between -1 and 1."""
    system, given = made(kind), []
    system.generator.register_forward_pre_hook(lambda module, noise: given.append(noise[0]))
    list(system.updates(some(64), 0))
    learning = torch.cat([noise.flatten() for noise in given])
    given.clear()
    system.draw(Noise(0, range(64)))
    for numbers in (learning, given[0]):
        assert numbers.mean().item() == pytest.approx(0, abs=0.1)
        spread = 1 if kind is WGANGP else 1 / math.sqrt(3)
        assert numbers.std().item() == pytest.approx(spread, abs=0.05)


@pytest.mark.parametrize("kind, betas", [(GAN, (0.5, 0.999)), (DCGAN, (0.5, 0.999)), (WGANGP, (0.0, 0.9))])
def test_both_networks_learn_with_the_rate_and_momentum_that_are_published(kind, betas):
    optimizers = at_paper_size(kind).optimizers()
    assert set(optimizers) == {"critic", "generator"}
    for optimizer in optimizers.values():
        [group] = optimizer.param_groups
        assert group["lr"] == 2e-4 and group["betas"] == betas


def test_dcgan_normalises_every_layer_but_the_outermost_ones():
    """The paper's guidelines: also which network has which bend, and no pooling."""
    system = at_paper_size(DCGAN)
    up = ["ConvTranspose2d", "BatchNorm2d", "ReLU"]
    down = ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    generator, critic = ([type(layer).__name__ for layer in network] for network in (system.generator, system.critic))
    assert generator == [*4 * up, "ConvTranspose2d"]
    assert critic == ["Conv2d", "LeakyReLU", *3 * down, "Conv2d"]
    bends = [layer for layer in system.critic if isinstance(layer, nn.LeakyReLU)]
    assert {layer.negative_slope for layer in bends} == {0.2}


def test_dcgans_weights_begin_near_zero():
    layers = [part for part in made(DCGAN, side=32, size="small").modules() if hasattr(part, "stride")]
    assert len(layers) == 8
    for layer in layers:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.15)
        assert layer.weight.mean().item() == pytest.approx(0, abs=0.003)


@pytest.mark.parametrize("kind", GANS)
def test_critics_learn_to_tell_and_generators_to_deceive(kind, digits):
    system = made(kind)
    real = system.batch(Rows(digits.input, digits.target)).image
    distances = []
    for steps in (2, 100):
        learn(system, digits, steps, 32)
        with torch.no_grad():
            drawn = system.draw(Noise(0, range(256)))
        distances.append((drawn.mean(0) - real.mean(0)).square().mean().sqrt().item())
    assert distances[1] < 0.7 * distances[0]  # from grey to where digits are


@pytest.mark.parametrize("kind", GANS)
def test_the_average_is_of_every_update_and_the_one_that_draws(kind, digits):
    system = made(kind, average=0.5)
    total = nn.utils.parameters_to_vector(system.generator.parameters())
    kept_by_hand = {n: w.detach().clone() for n, w in system.generator.named_parameters()}
    feed = system.loader(digits, seed=1)
    for progress in system.fit(feed, Run(20, 16)):
        kept = min(0.5, progress.step / (progress.step + 10))
        for name, weight in system.generator.named_parameters():
            kept_by_hand[name] = kept * kept_by_hand[name] + (1 - kept) * weight.detach()
    with torch.no_grad():
        drawn = system.draw(Noise(0, range(3)))
        system.generator.load_state_dict(kept_by_hand, strict=False)
        if kind is not GAN:  # the statistics are averaged as well
            named = system.averages()
            system.generator.load_state_dict(named, strict=False)
            for name, weight in kept_by_hand.items():
                torch.testing.assert_close(named[name], weight, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(drawn, plain(system), atol=1e-4, rtol=1e-3)
    assert total.numel() == parameters(system.generator)
    assert parameters(system) == total.numel() + parameters(system.critic)  # counted once


def plain(system: Generator) -> torch.Tensor:
    """What the generator draws without its average."""
    again = type(system)(type(system.config)(**{**vars(system.config), "average": 0.0}), system.spec)
    again.generator.load_state_dict(system.generator.state_dict())
    return again.eval().draw(Noise(0, range(3)))


@pytest.mark.parametrize("kind", GANS)
def test_without_an_average_the_generator_itself_draws(kind, digits):
    system = made(kind, average=0.0)
    assert not any("averaged" in name for name in system.state_dict())
    learn(system, digits, 3)
    with torch.no_grad():
        torch.testing.assert_close(system.draw(Noise(0, range(3))), plain(system))


@pytest.mark.parametrize("kind", [VAE, *GANS])
def test_going_on_after_a_stop_ends_where_an_unbroken_run_does(kind, digits):
    unbroken, broken = made(kind), made(kind)
    learn(unbroken, digits, 6)
    torch.manual_seed(1)
    feed = broken.loader(digits, seed=1)
    for progress in broken.fit(feed, Run(6, 64)):
        if progress.step == 2:
            break
    saved = {name: o.state_dict() for name, o in progress.optimizers.items()}
    random = torch.get_rng_state()
    again = made(kind)
    again.load_state_dict(broken.state_dict())
    torch.set_rng_state(random)
    for _progress in again.fit(feed, Run(6, 64, 3, saved)):
        pass
    kept = again.state_dict()
    for name, tensor in unbroken.state_dict().items():
        assert torch.equal(tensor, kept[name]), name


class Linear(nn.Module):
    """A critic whose slope is known."""

    def __init__(self, *weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.flatten(1) @ self.weight


def test_the_penalty_is_that_of_a_known_slope():
    critic = Linear(3.0, 0.0, 0.0, 4.0)
    real, drawn = some(6, 1, 2).image, some(6, 1, 2).image
    with torch.autocast("cpu", torch.bfloat16):
        penalty = slope_penalty(critic, real, drawn.bfloat16())
    assert penalty.dtype == torch.float32 and penalty.item() == pytest.approx(16.0)
    penalty.backward()  # of (|w| - 1)^2: 2 (|w| - 1) w / |w|
    torch.testing.assert_close(critic.weight.grad, 8 * critic.weight.detach() / 5)


def test_the_penalty_looks_between_the_pictures():
    class Square(nn.Module):
        def forward(self, image):
            return image.square().sum((1, 2, 3)) / 2  # its slope is the picture itself

    real, drawn = torch.zeros(4000, 1, 1, 1), torch.full((4000, 1, 1, 1), 6.0)
    torch.manual_seed(0)
    # slopes are uniform in 0..6: the mean of (s - 1)^2 is 7; of real ones 1, of drawn ones 25
    assert slope_penalty(Square(), real, drawn).item() == pytest.approx(7.0, rel=0.03)


def test_wgan_gps_critic_is_asked_for_its_slope_between_real_and_drawn_pictures(monkeypatch):
    """Of a linear critic that slope is known; where it is asked, the pictures tell."""
    system = made(WGANGP, turns=1, parts=1).train()
    system.critic = Linear(*[0.25] * 64)  # of slope 2
    monkeypatch.setattr(wgan_gp, "dequantised", lambda image: image)
    monkeypatch.setattr(system, "image", lambda noise, weights=None: -torch.ones(4000, 1, 8, 8))
    asked = []
    system.critic.register_forward_hook(lambda module, given, out: asked.append(given[0]))
    real = torch.full((4000, 1, 8, 8), 0.5)
    name, loss = next(system.updates(Batch(real, torch.zeros(4000)), 0))
    assert name == "critic"
    assert loss.item() == pytest.approx((-16 - 8) + 10 * (2 - 1) ** 2)
    [between] = [image for image in asked if image.requires_grad]
    share = (0.5 - between.flatten(1)) / 1.5  # of the way from real to drawn
    torch.testing.assert_close(share, share[:, :1].expand(-1, 64))  # one to a picture
    assert share.min() >= 0 and share.max() <= 1
    quarters = torch.histc(share[:, 0].detach(), 4, 0, 1) / 4000
    torch.testing.assert_close(quarters, torch.full((4,), 0.25), atol=0.04, rtol=0)


def test_wgan_gp_fills_each_step_of_grey_evenly():
    grey = torch.arange(256.0).double().repeat(200, 1)  # float32 rounds some up to the next step
    filled = (wgan_gp.dequantised(grey / 127.5 - 1) + 1) * 128
    assert torch.equal(filled.floor(), grey)
    within = filled - grey
    assert within.mean().item() == pytest.approx(0.5, abs=0.01)
    assert within.var().item() == pytest.approx(1 / 12, rel=0.02)


def test_the_best_linear_critic_leans_as_far_as_the_penalty_lets_it():
    """Of slope s on pictures d apart: s d - 10 (s - 1)^2 is largest at s = 1 + d / 20."""
    critic = Linear(0.5)
    real, drawn = torch.ones(8, 1, 1, 1), -torch.ones(8, 1, 1, 1)
    descent = torch.optim.SGD(critic.parameters(), 0.02)
    for _step in range(60):
        loss = critic(drawn).mean() - critic(real).mean() + 10 * slope_penalty(critic, real, drawn)
        descent.zero_grad()
        loss.backward()
        descent.step()
    assert critic.weight.item() == pytest.approx(1.1, abs=1e-3)


def test_each_turn_of_the_critic_sees_other_real_pictures():
    system, batch = made(WGANGP, turns=2, parts=5), some(23)
    seen = []
    system.critic.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    names = [name for name, _loss in system.updates(batch, 0)]
    round_of_two = ["critic", "critic", "generator"]
    assert names == [*round_of_two, *round_of_two, "critic", "generator"]
    of_critic = [0, 2, 5, 7, 10]  # each turn also asks for slopes; the generator asks as well
    halves = torch.cat([seen[i][: len(seen[i]) // 2] for i in of_critic])
    grey = ((halves + 1) * 128).floor()  # noise within each step of grey, no more
    assert torch.equal(grey, (127.5 * batch.image + 127.5).round())
    assert len(halves.unique()) > 256


def test_each_part_of_a_batch_is_learnt_from_by_itself():
    system, batch = made(DCGAN, parts=3), some(7)
    seen = []
    system.critic.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    assert [name for name, _loss in system.updates(batch, 0)] == 3 * ["critic", "generator"]
    assert torch.equal(torch.cat(seen[::3]), batch.image)  # then two drawn ones


def test_wgan_gps_generator_raises_the_score_of_twice_as_many_pictures(monkeypatch):
    system = made(WGANGP, turns=1, parts=1)
    system.critic = Linear(*[0.25] * 64)
    monkeypatch.setattr(system, "image", lambda noise, weights=None: noise[:, :1, None, None].expand(-1, 1, 8, 8))
    asked = []
    system.critic.register_forward_hook(lambda module, given, out: asked.append(given[0]))
    *_critic, (name, loss) = system.updates(some(5), 0)
    assert name == "generator" and len(asked[-1]) == 10
    assert loss.item() == pytest.approx(-16 * asked[-1].mean().item())


def test_a_mean_before_the_shortcuts_convolution_equals_the_one_after_it():
    block = halving(4, 6)
    mean, convolution = block.shortcut
    image = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(block.shortcut(image), mean(convolution(image)))


def test_a_block_adds_what_it_changes_to_what_it_lets_through():
    shortcut, within, x = nn.Linear(3, 3), nn.Linear(3, 3), torch.randn(2, 3)
    block = wgan_gp.Block(shortcut, nn.ReLU(), within)
    torch.testing.assert_close(block(x), shortcut(x) + within(x.relu()))


def test_no_picture_changes_anothers_score():
    system = made(WGANGP, side=16).train()
    images = some(6, 1, 16).image
    torch.testing.assert_close(system.critic(images)[:1], system.critic(images[:1]))
