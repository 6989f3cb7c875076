"""Pictures made step by step: diffusion and autoregression."""

import copy
import math
from itertools import pairwise

import pytest
import torch

from souron import registry
from souron.blocks import samplers
from souron.blocks.samplers import SAMPLERS, cosine, linear
from souron.blocks.unet import UNet
from souron.evaluation.generators.sampling import Noise
from souron.systems.generate import image_gpt
from souron.systems.generate.image_gpt import k_means
from souron.tasks.generate import Batch, Spec
from souron.training.loop import Run

GREY = Spec(1, 8, ("a", "b", "c"), (0.5, 0.25, 0.25))


def make(name, seen, **changed):
    kind, config = registry.load_system(name)
    torch.manual_seed(0)
    return kind(type(config)(**{**vars(config), **changed}), seen).eval()


# Reference: diffusers 0.42.1, DDPMScheduler(), DDIMScheduler() and DPMSolverMultistepScheduler(),
# each with timestep_spacing="trailing" (DDIM with use_clipped_model_output, DPM with thresholding
# at 1), 4 steps, from START in float64. The model's output is the noise in x whose clean picture is
# 0.8 sin(2 x + t / 400); the noise that DDPM adds at its i-th step (from 1) is cos(i [0, 1, 2, 3]).
START = torch.tensor([-1.2, -0.3, 0.4, 1.1], dtype=torch.float64)
DIFFUSERS = {
    "ddpm": [
        [0.8655015, 0.5466638, -0.3762969, -0.9078021],
        [1.0100068, -0.2494834, -0.4928797, 0.7422786],
        [0.7975215, -0.3422581, 0.6758952, -0.2425163],
        [0.6384387, -0.0495811, 0.7357558, 0.1096279],
    ],
    "ddim": [
        [-1.1939979, -0.2604507, 0.3929347, 1.0569487],
        [-1.2366533, -0.0749856, 0.4613272, 0.8818529],
        [-1.2821073, 0.3181398, 0.6766673, 0.6881167],
        [-0.7455959, 0.7613732, 0.7352698, 0.727859],
    ],
    "dpm": [
        [-1.1939979, -0.2604507, 0.3929347, 1.0569486],
        [-1.2754449, -0.0730824, 0.5020632, 0.8984162],
        [-1.3977108, 0.3062994, 0.7372621, 0.8259607],
        [-0.6593071, 0.7553446, 0.6917663, 0.6100015],
    ],
}


EXACT = [name for name in SAMPLERS if name != "lcm"]  # for distilled networks: test_latent_parity


@pytest.mark.parametrize("name", EXACT)
def test_a_sampler_steps_as_diffusers_does(name, monkeypatch):
    for stops in ("evenly", "evenly_in_noise"):  # diffusers' stops
        monkeypatch.setattr(samplers, stops, lambda kept, steps: [999, 749, 499, 249])
    numbers = iter(range(1, 9))
    way = SAMPLERS[name](
        lambda x, t: 0.8 * (2 * x + t / 400).sin(),
        linear().tolist(),
        4,
        START,
        lambda: (next(numbers) * torch.arange(4, dtype=torch.float64)).cos(),
    )
    first, *steps = way
    assert torch.equal(first, START)
    expected = torch.tensor(DIFFUSERS[name], dtype=torch.float64)
    assert torch.allclose(torch.stack(steps), expected, rtol=0, atol=1e-5)


def test_the_unet_is_that_of_diffusers():
    # diffusers 0.42.1: UNet2DModel(in_channels=2, out_channels=2, block_out_channels=(8, 16),
    # down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D",
    # "UpBlock2D"), layers_per_block=1, norm_num_groups=2, num_class_embeds=4) and what is "cifar10"
    # below, with the weights and pictures of this test
    unet = UNet(2, 2, (8, 16), 1, (1,), labels=3)
    weights = sorted(unet.named_parameters())
    assert len(weights) == 145
    with torch.no_grad():
        for i, (_name, weight) in enumerate(weights):
            numbers = torch.arange(weight.numel(), dtype=torch.float64) + i
            weight.copy_(numbers.sin().view(weight.shape) / 4)
        x = torch.arange(144, dtype=torch.float64).view(2, 2, 6, 6).cos().float()
        out = unet(x, torch.tensor([3, 700]), torch.tensor([1, 3]))
    expected = torch.tensor([[-0.307157, -0.012418], [-0.332168, 0.034125]])
    assert torch.allclose(out[:, :, 2, 3], expected, rtol=0, atol=1e-5)


def test_the_papers_unet_has_35_7_million_weights():
    with torch.device("meta"):
        model = make("ddpm_paper", Spec(3, 32))
    # google/ddpm-cifar10-32 in diffusers: sample_size=32, block_out_channels=(128, 256, 256, 256),
    # attention at the second level, freq_shift=1, flip_sin_to_cos=False, downsample_padding=0,
    # norm_eps=1e-6, attention_head_dim=None
    assert sum(weight.numel() for weight in model.network.parameters()) == 35_746_307


def test_the_schedules_are_the_published_ones():
    assert linear()[-1].item() == pytest.approx(4.0358e-5, rel=1e-3)  # Ho: a_T^2, about 4e-5
    assert (1 - linear()[0]).item() == pytest.approx(1e-4)
    middle = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2
    none = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert cosine()[499].item() == pytest.approx(middle / none)
    assert (cosine().diff() < 0).all() and cosine()[-1] > 0


def test_ddpms_published_size_has_the_betas_of_its_paper():
    """0.0001 to 0.02 in even steps, 1000 of them; the others have a cosine's."""
    with torch.device("meta"):
        published = make("ddpm_paper", Spec(3, 32)).alpha_bars
    square, expected = 1.0, []
    for t in range(1000):
        square *= 1 - (1e-4 + (0.02 - 1e-4) * t / 999)
        expected.append(square)
    assert published == pytest.approx(expected)
    for size in ("tiny", "small"):
        assert make(f"ddpm_{size}", GREY).alpha_bars == cosine().tolist()


@pytest.mark.parametrize("options", [{"guidance": 0.0}, {"guidance": 2.0}])
@pytest.mark.parametrize("labels", [1, 3])
def test_the_average_draws_and_what_learns_does_not(labels, options):
    names = tuple("abc"[:labels])
    model = make("ddpm_tiny", Spec(1, 8, names, (1 / labels,) * labels))
    for weight in [*model.network.parameters(), *model.average.parameters()]:
        torch.nn.init.normal_(weight, std=0.3)
    before = model.draw(Noise(3, [0, 1]), steps=3, **options)
    for weight in model.network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    assert torch.equal(model.draw(Noise(3, [0, 1]), steps=3, **options), before)
    for weight in model.average.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    assert not torch.allclose(model.draw(Noise(3, [0, 1]), steps=3, **options), before, atol=1e-2)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("schedule", [linear, cosine])
def test_with_a_perfect_denoiser_the_pictures_are_distributed_as_the_data(name, schedule):
    """Of data that is normal, the clean picture expected in a noisy one is known."""
    mean, variance, kept = 0.3, 0.25, schedule().tolist()

    def denoise(x, t):
        a = math.sqrt(kept[t])
        return mean + a * variance / (kept[t] * variance + 1 - kept[t]) * (x - a * mean)

    random = torch.Generator().manual_seed(0)
    noise = torch.randn(20_000, generator=random, dtype=torch.float64)
    way = SAMPLERS[name](
        denoise,
        kept,
        {"ddpm": 300, "ddim": 300, "dpm": 60}[name],
        noise,
        lambda: torch.randn(20_000, generator=random, dtype=torch.float64),
    )
    *_, drawn = way
    assert drawn.mean().item() == pytest.approx(mean, abs=0.015)
    assert drawn.std().item() == pytest.approx(math.sqrt(variance), abs=0.02)


def test_dpm_is_more_exact_than_ddim_at_as_many_steps():
    kept = linear().tolist()

    def denoise(x, t):
        a = math.sqrt(kept[t])
        return 0.3 + a * 0.25 / (kept[t] * 0.25 + 1 - kept[t]) * (x - a * 0.3)

    noise = torch.randn(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def done(name, steps):
        *_, drawn = SAMPLERS[name](denoise, kept, steps, noise, lambda: noise)
        return drawn

    exact = done("ddim", 1000)
    assert (done("dpm", 15) - exact).abs().mean() < (done("ddim", 15) - exact).abs().mean() / 2


def test_the_noisy_picture_has_the_closed_forms_mean_and_variance():
    model = make("ddpm_tiny", GREY)
    torch.manual_seed(0)
    clean = torch.full((1, 1, 200, 200), 0.5)
    for t in (0, 300, 999):
        kept = model.alpha_bars[t]
        noisy = model.noisy(clean, t)
        assert noisy.mean().item() == pytest.approx(math.sqrt(kept) * 0.5, abs=0.02)
        assert noisy.var().item() == pytest.approx(1 - kept, rel=0.03)


def test_the_loss_is_of_the_noise_that_was_added(monkeypatch):
    """A network that knows the clean picture finds the noise, at every step and label."""
    model = make("ddpm_tiny", GREY).train()
    image = torch.rand(64, 1, 8, 8) * 2 - 1
    labels, steps = [], []

    def knows(network, noisy, step, label):
        labels.append(label)
        steps.append(step)
        kept = torch.tensor(model.alpha_bars)[step].view(-1, 1, 1, 1)
        return (noisy - kept.sqrt() * image) / (1 - kept).sqrt()

    monkeypatch.setattr(model, "find", knows)
    for _ in range(20):
        assert model.loss(Batch(image, torch.ones(64, dtype=torch.long))).item() < 1e-6
    hidden = (torch.stack(labels) == 3).float().mean().item()
    assert hidden == pytest.approx(0.1, abs=0.035)
    assert set(torch.stack(labels).unique().tolist()) == {1, 3}
    quarters = torch.histc(torch.cat(steps).float(), 4, 0, 1000) / (20 * 64)
    torch.testing.assert_close(quarters, torch.full((4,), 0.25), atol=0.05, rtol=0)


def test_the_bound_of_a_network_that_knows_the_picture_is_the_closed_form(monkeypatch):
    model = make("ddpm_tiny", GREY)
    image = (torch.randint(1, 255, (3, 1, 8, 8)) / 127.5 - 1).float()
    label = torch.tensor([0, 1, 2])
    monkeypatch.setattr(model, "clean", lambda noisy, t, label: image)
    found = torch.stack([model.bits(Batch(image, label)) for _ in range(200)]).mean(0)
    kept = torch.tensor(model.alpha_bars, dtype=torch.float64)
    now, after = kept[1:], kept[:-1]
    share = (1 - after) / (1 - now)  # of beta, the variance of what lies between
    between = ((share - 1 - share.log()) / 2).sum()  # KL of two normals with one mean
    end = (kept[-1] * image.square() - kept[-1] - (1 - kept[-1]).log()).flatten(1).mean(1) / 2
    piece = math.erf(1 / 255 / math.sqrt(2 * (1 - model.alpha_bars[0])))
    label_costs = -torch.tensor(model.spec.shares)[label].log() / 64
    expected = (between + end.double() - math.log(piece) + label_costs) / math.log(2)
    assert torch.allclose(found.double(), expected, rtol=0.02)


def test_a_label_half_as_frequent_costs_one_bit_more(monkeypatch):
    model, image = make("ddpm_tiny", GREY), torch.zeros(1, 1, 8, 8)
    monkeypatch.setattr(model, "clean", lambda noisy, t, label: image)
    bits = []
    for label in (0, 1):
        torch.manual_seed(0)
        bits.append(model.bits(Batch(image, torch.tensor([label]))).item() * 64)
    assert bits[1] - bits[0] == pytest.approx(1, abs=1e-3)


def test_the_sampled_bound_is_that_of_all_steps():
    model = make("ddpm_tiny", Spec(1, 8))
    model.alpha_bars = cosine(50).tolist()
    torch.nn.init.normal_(model.average.conv_out.weight, std=0.2)
    image = torch.rand(32, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    label = torch.zeros(32, dtype=torch.long)
    last = model.alpha_bars[-1]
    end = (last * image.square() - last - math.log(1 - last)).flatten(1).sum(1) / 2
    with torch.no_grad():
        torch.manual_seed(0)
        sampled = torch.stack([model.bits(Batch(image, label)) for _ in range(10)]).mean()
        exact = model.decoding(image, model.noisy(image, 0), label) + end
        for t in range(1, 50):
            exact += model.leap(image, t, label)
    exact = exact.mean() / (64 * math.log(2))
    assert sampled.item() == pytest.approx(exact.item(), rel=0.05)


def test_the_first_t_of_few_steps_leaves_the_image_as_it_is():
    """f(x, 0) = x whatever the network finds, and nearly so at t = 1: the boundary of a consistency model."""
    noise = iter([torch.full((1,), 2.0), torch.full((1,), 5.0)])
    nine, zero = (lambda x, t: torch.full_like(x, 9.0)), lambda x, t: torch.zeros_like(x)
    *_before, noisy, found = samplers.lcm(nine, linear(3).tolist(), 3, torch.ones(1), noise.__next__)
    assert torch.equal(found, noisy) and found.item() != 9
    [_start, found] = samplers.lcm(zero, linear(2).tolist(), 1, torch.ones(1), noise.__next__)
    assert found.item() == pytest.approx(0.25 / 100.25)


@pytest.mark.parametrize("schedule", [linear, cosine])
@pytest.mark.parametrize("stops", [samplers.evenly, samplers.evenly_in_noise])
def test_stops_are_all_steps_or_fewer(stops, schedule):
    kept = schedule().tolist()
    assert stops(kept, 1000) == list(range(999, -1, -1))
    for steps in (1, 2, 7, 20, 300, 999):
        at = stops(kept, steps)
        assert len(at) == steps and at[0] >= 990 and at[-1] >= 0
        assert all(before > after for before, after in pairwise(at))


def test_the_stops_of_dpm_halve_the_noise_again_and_again():
    kept = linear().tolist()
    ratio = [math.log(kept[t] / (1 - kept[t])) / 2 for t in samplers.evenly_in_noise(kept, 8)]
    leaps = [after - before for before, after in pairwise(ratio)]
    assert max(leaps[:-1]) == pytest.approx(min(leaps[:-1]), rel=0.25)  # t are whole numbers


def test_the_decoder_shares_out_all_of_the_chance(monkeypatch):
    """Over the 256 values of a pixel the probabilities add up to 1, wherever the network points."""
    model = make("ddpm_tiny", Spec(1, 8))
    values = (torch.arange(256) / 127.5 - 1).view(256, 1, 1, 1)
    label = torch.zeros(256, dtype=torch.long)
    for pointed in (-1.0, -0.998, 0.0, 0.3, 1.0):
        monkeypatch.setattr(model, "clean", lambda x, t, label, p=pointed: torch.full_like(x, p))
        chance = (-model.decoding(values, values, label)).exp()
        assert chance.sum().item() == pytest.approx(1, abs=1e-3)


def test_guidance_leads_away_from_pictures_of_no_class(monkeypatch):
    model = make("ddpm_tiny", GREY)
    kept = model.alpha_bars[500]
    monkeypatch.setattr(model, "find", lambda network, noisy, step, label: label.view(-1, 1, 1, 1) / 10 + 0 * noisy)
    noisy, label = torch.zeros(1, 1, 8, 8), torch.tensor([1])

    def found(guidance):
        return (model.clean(noisy, 500, label, guidance) * -math.sqrt(kept / (1 - kept))).mean()

    assert found(0).item() == pytest.approx(0.1)
    assert found(2).item() == pytest.approx(0.1 + 2 * (0.1 - 0.3))  # the label 3 is none


def test_what_is_thought_clean_has_grey_values(monkeypatch):
    model, label = make("ddpm_tiny", GREY), torch.tensor([0])
    monkeypatch.setattr(model, "find", lambda network, noisy, step, label: 0 * noisy)
    for grey in (-50.0, 50.0):
        clean = model.clean(torch.full((1, 1, 8, 8), grey), 500, label)
        assert torch.equal(clean, torch.full((1, 1, 8, 8), grey / 50))


def test_in_the_end_ddpms_average_takes_a_ten_thousandth_of_each_step():
    model = make("ddpm_tiny", GREY)
    slow, fast = model.average.conv_in.weight, model.network.conv_in.weight
    torch.nn.init.zeros_(slow)
    torch.nn.init.ones_(fast)
    for step, share in ((0, 0.9), (10**6, 1e-4)):
        torch.nn.init.zeros_(slow)
        model.after_update(step)
        torch.testing.assert_close(slow, torch.full_like(slow, share), rtol=1e-2, atol=0)


def test_the_published_size_learns_with_a_tenth_of_the_features_away():
    with torch.device("meta"):
        published = make("ddpm_paper", Spec(3, 32)).network
    away = [part.p for part in published.modules() if isinstance(part, torch.nn.Dropout)]
    assert len(away) == 22 and set(away) == {0.1}  # in each residual block
    torch.manual_seed(0)
    block, taken = UNet(1, 1, (8,), 1, (), 0, 0.1).down_blocks[0].resnets[0], []
    block.conv2.register_forward_pre_hook(lambda layer, given: taken.append(given[0]))
    x, time = torch.randn(4, 8, 9, 9), torch.randn(4, 32)
    block.train()(x, time)
    block.eval()(x, time)
    learning, drawing = ((each == 0).float().mean().item() for each in taken)
    assert learning == pytest.approx(0.1, abs=0.02) and drawing == 0


def test_the_class_and_the_samplers_change_the_picture_but_steps_do_not_change_its_beginning():
    model = make("ddpm_tiny", GREY)
    for weight in model.average.parameters():
        torch.nn.init.normal_(weight, std=0.3)

    def drawn(label=0, **options):
        return list(model.drawing(Noise(3, [0, 1]), torch.tensor([label, 0]), **options))

    plain = drawn(steps=5)
    assert len(plain) == 6 and torch.equal(plain[0], drawn(steps=3, sampler="ddim")[0])
    other = drawn(1, steps=5)
    assert not torch.equal(plain[-1][0], other[-1][0])
    assert torch.allclose(plain[-1][1], other[-1][1], atol=1e-5)
    for change in ({"sampler": "ddim"}, {"sampler": "ddpm"}, {"guidance": 2.0}, {"steps": 9}):
        assert not torch.allclose(plain[-1], drawn(**({"steps": 5} | change))[-1], atol=1e-3)
    assert 20 <= len(drawn(steps=250)) <= 27


@pytest.mark.parametrize("size", ["tiny", "small"])
@pytest.mark.parametrize("channels, side, labels", [(1, 8, 1), (3, 28, 2), (1, 45, 3), (3, 64, 1)])
def test_ddpm_takes_any_picture(size, channels, side, labels):
    names = tuple("abc"[:labels])
    model = make(f"ddpm_{size}", Spec(channels, side, names, (1 / labels,) * labels))
    drawn = model.draw(Noise(0, [0]), steps=1)
    assert drawn.shape == (1, channels, side, side) and drawn.isfinite().all()
    model.train()
    batch = Batch(torch.rand(1, channels, side, side), torch.zeros(1, dtype=torch.long))
    loss = model.loss(batch)
    loss.backward()
    assert all(weight.grad is not None for weight in model.network.parameters())


@pytest.mark.parametrize("labels", [1, 3])
def test_the_first_loss_of_ddpm_is_the_variance_of_its_noise(labels):
    """The network begins with zeros: the mean square of 256 x 64 normal numbers, 1 +- 0.011."""
    names = tuple("abc"[:labels])
    model = make("ddpm_tiny", Spec(1, 8, names, (1 / labels,) * labels)).train()
    batch = Batch(torch.rand(256, 1, 8, 8), torch.zeros(256, dtype=torch.long))
    torch.manual_seed(0)
    assert model.loss(batch).item() == pytest.approx(1, abs=0.05)


def test_ddpm_learns_and_its_average_follows(digits):
    kind, config = registry.load_system("ddpm_tiny")
    torch.manual_seed(0)
    model = kind(config, kind.spec_for(digits))
    first = copy.deepcopy(model.average.state_dict())
    data = model.loader(digits)
    losses = [progress.losses["model"].item() for progress in model.fit(data, Run(30, 64))]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    weights = dict(model.network.named_parameters())
    for name, mean in model.average.named_parameters():
        assert not mean.requires_grad
        assert (mean - weights[name]).norm() < (first[name] - weights[name]).norm() or (
            torch.equal(first[name], weights[name])
        )


def test_image_gpt_has_the_published_weights():
    for size, millions in {"s": 76, "m": 455, "l": 1362}.items():  # the paper's section 3.3
        with torch.device("meta"):
            model = make(f"image_gpt_{size}", Spec(3, 32))
        found = sum(weight.numel() for weight in model.parameters()) / 1e6
        assert found == pytest.approx(millions, rel=0.01), size


def noise_images(*shape):
    random = torch.Generator().manual_seed(1)
    return (torch.randint(256, shape, generator=random).float() / 255).square() * 2 - 1


def knowing(seen, **changed):
    """A small one that knows the colours of its pictures, with weights that make a difference."""
    model = make("image_gpt_tiny", seen, **changed)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=0.5 if "w" in name else 0.2)
    image = noise_images(64, seen.channels, seen.side, seen.side)

    class Same:
        def endless(self, size, start=0):
            while True:
                yield Batch(image, torch.zeros(len(image), dtype=torch.long))

    model.know(Same())
    return model.eval()


def chance(model, images):
    """(B,) the probability of each picture."""
    label = torch.zeros(len(images), dtype=torch.long)
    with torch.no_grad():
        return 2 ** (-model.bits(Batch(images, label)).double() * images[0].numel())


VALUES = torch.arange(256) / 127.5 - 1


@pytest.mark.parametrize("channels", [1, 2])
def test_the_chances_of_all_pictures_of_one_pixel_add_up_to_one(channels):
    model = knowing(Spec(channels, 1))
    images = torch.cartesian_prod(*[VALUES] * channels).view(-1, channels, 1, 1)
    assert chance(model, images).sum().item() == pytest.approx(1, abs=1e-4)


def test_two_pixels_leave_their_chance_to_all_that_may_follow():
    """p(x_1 x_2), from two tokens alone, is the sum of all pictures that go on from them."""
    model = knowing(Spec(1, 2))
    rest = torch.cartesian_prod(VALUES, VALUES)
    first = [13, 200]
    begun = torch.tensor(first) / 127.5 - 1
    images = torch.cat([begun.expand(len(rest), 2), rest], 1).view(-1, 1, 2, 2)
    with torch.no_grad():
        cluster = model.foretold(model.tokens(images[:1]))[0, :2].softmax(-1)  # (2, K)
    value = model.histogram[0][:, first].T  # (2, K)
    expected = (cluster * value).sum(1).prod().item()
    assert chance(model, images).sum().item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_drawing_with_and_without_cache_is_the_same(channels):
    model = knowing(Spec(channels, 8)).double()
    number = Noise(4, range(3)).uniform(64)
    for first in (torch.empty(3, 0, dtype=torch.long), torch.randint(8, (3, 24))):
        kept = torch.stack([t[:, -1] for t in model.growing(number, first, 0.8)])
        again = torch.stack([t[:, -1] for t in model.growing(number, first, 0.8, cached=False)])
        assert torch.equal(kept, again)
        assert len(kept) == 64 - first.shape[1] and len(kept.unique()) > 3


def test_a_pixel_sees_only_what_came_before():
    model = knowing(Spec(1, 8))
    tokens = torch.randint(8, (1, 64))
    changed = tokens.clone()
    changed[0, 30] = (tokens[0, 30] + 1) % 8
    with torch.no_grad():
        before, after = model.foretold(tokens), model.foretold(changed)
    assert torch.equal(before[:, :31], after[:, :31])
    assert not torch.allclose(before[:, 31:], after[:, 31:], atol=1e-3)


def test_a_layer_adds_attention_and_then_a_network_of_each_place():
    layer = knowing(Spec(1, 8)).h[0]  # of two heads
    for norm in (layer.ln_1, layer.ln_2):
        torch.nn.init.normal_(norm.weight)

    def normed(x, weight):
        return weight * x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    x, mixed = torch.randn(2, 5, 32), []
    stacked = layer.attn.c_attn(normed(x, layer.ln_1.weight)).split(16, -1)
    for q, k, v in zip(stacked[:2], stacked[2:4], stacked[4:], strict=True):
        unseen = torch.full((5, 5), -math.inf).triu(1)
        mixed.append((q @ k.mT / 4 + unseen).softmax(-1) @ v)
    middle = x + layer.attn.c_proj(torch.cat(mixed, -1))
    wide = layer.c_fc(normed(middle, layer.ln_2.weight))
    expected = middle + layer.c_proj(wide * (1.702 * wide).sigmoid())
    torch.testing.assert_close(layer(x, None, 0), expected, rtol=1e-4, atol=1e-4)


def test_each_place_adds_its_own_position():
    """To what a token is; with and without the cache, so that drawing and learning agree."""
    model = knowing(Spec(1, 8))
    torch.nn.init.normal_(model.wpe)
    taken = []
    model.h[0].register_forward_pre_hook(lambda layer, given: taken.append(given[0]))
    tokens = torch.randint(8, (2, 64))
    with torch.no_grad():
        model.foretold(tokens)
    begun = torch.cat([torch.full((2, 1), model.clusters), tokens[:, :-1]], 1)
    assert torch.equal(taken.pop(), model.wte.weight[begun] + model.wpe)

    drawn = list(model.growing(torch.rand(2, 64), torch.empty(2, 0, dtype=torch.long)))[-1]
    before = torch.cat([torch.full((2, 1), model.clusters), drawn[:, :-1]], 1)
    assert torch.equal(torch.cat(taken, 1), model.wte.weight[before] + model.wpe)


def test_positions_begin_as_waves_of_row_and_column():
    model = make("image_gpt_tiny", Spec(1, 8))
    rows, columns = model.wpe.detach().view(8, 8, 2, 16).unbind(2)
    assert torch.equal(rows, rows[:, :1].expand_as(rows))
    assert torch.equal(columns, columns[:1].expand_as(columns))
    assert torch.equal(rows[:, 0], columns[0])
    angle = torch.arange(8)[:, None] * 100 ** (-torch.arange(8) / 8)
    torch.testing.assert_close(rows[:, 0], 0.1 * torch.cat([angle.sin(), angle.cos()], 1))
    assert len(model.wpe.unique(dim=0)) == 64


def test_what_is_drawn_is_distributed_as_it_is_foretold():
    model = knowing(Spec(1, 2))
    with torch.no_grad():
        expected = model.foretold(torch.zeros(1, 4, dtype=torch.long))[0, 0].softmax(-1)
        noise = Noise(0, range(3000)).uniform(4)
        first = next(model.growing(noise, torch.empty(3000, 0, dtype=torch.long)))[:, 0]
        cold = next(model.growing(noise, torch.empty(3000, 0, dtype=torch.long), 0.01))[:, 0]
    shares = torch.bincount(first, minlength=8) / 3000
    assert torch.allclose(shares, expected, atol=0.04)
    assert (cold == expected.argmax()).float().mean() > 0.95


def test_the_upper_rows_of_a_given_picture_stay_and_the_lower_ones_are_drawn():
    model = knowing(Spec(3, 8))
    given, label = noise_images(2, 3, 8, 8), torch.zeros(2, dtype=torch.long)
    for kept, rows in ((0.5, 4), (0.3, 2), (1.0, 8), (0.0, 0)):
        way = list(model.drawing(Noise(2, [0, 1]), label, given=given, kept=kept))
        for image in way:
            assert torch.equal(image[:, :, :rows], given[:, :, :rows])
        if rows < 8:
            assert not torch.allclose(way[-1][:, :, rows:], given[:, :, rows:], atol=0.1)
    other = [*model.drawing(Noise(2, [0, 1]), label, given=given.flip(0), kept=0.5)][-1]
    same = [*model.drawing(Noise(2, [0, 1]), label, given=given, kept=0.5)][-1]
    assert not torch.equal(other[:, :, 4:], same[:, :, 4:])


def test_a_picture_grows_in_about_twenty_looks():
    model = knowing(Spec(1, 8))
    way = list(model.drawing(Noise(0, [5]), torch.zeros(1, dtype=torch.long)))
    assert 16 <= len(way) <= 22
    there = [int((image != 0).sum()) for image in way]
    assert there[0] == 0 and there == sorted(there) and there[-1] == 64


def test_the_clusters_are_those_of_the_pictures():
    points = torch.tensor([[0.0], [2.0], [100.0], [104.0], [255.0]])
    centres = k_means(points, torch.tensor([3.0, 1.0, 1.0, 3.0, 1.0]), 3)
    assert torch.allclose(centres.sort(0).values.flatten(), torch.tensor([0.5, 103.0, 255.0]))
    few = k_means(points, torch.ones(5), 9)  # more clusters than colours
    assert set(few.flatten().tolist()) == set(points.flatten().tolist())


def test_a_clusters_histogram_counts_each_value_once_more():
    """So that no value is impossible in any cluster."""
    model = knowing(Spec(1, 2))
    values = image_gpt.bytes_of(noise_images(64, 1, 2, 2)).flatten().repeat(image_gpt.LOOKED_AT)
    cluster = model.nearest(values[:, None].float())
    for number, shares in enumerate(model.histogram[0]):
        counted = torch.bincount(values[cluster == number], minlength=256) + 1
        torch.testing.assert_close(shares, counted / counted.sum())


def test_what_is_added_to_the_stream_begins_smaller_the_more_layers_there_are():
    for name, layers in (("image_gpt_tiny", 1), ("image_gpt_small", 3)):
        for layer in make(name, Spec(1, 8)).h:
            spread = 0.02 / math.sqrt(2 * layers)
            assert layer.attn.c_attn.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert layer.attn.c_proj.weight.std().item() == pytest.approx(spread, rel=0.1)
            assert layer.c_proj.weight.std().item() == pytest.approx(spread, rel=0.1)


def test_image_gpt_learns_its_clusters_once(digits):
    kind, config = registry.load_system("image_gpt_tiny")
    torch.manual_seed(0)
    model = kind(config, kind.spec_for(digits))
    data = model.loader(digits)
    losses = [progress.losses["model"].item() for progress in model.fit(data, Run(25, 64))]
    assert losses[-1] < 0.8 * losses[0]
    assert model.known and torch.allclose(model.histogram.sum(-1), torch.ones(1))
    tokens = model.tokens(next(data.once(300)).image)
    near = model.image(tokens) - next(data.once(300)).image
    assert near.abs().mean() < 0.1  # of a range of 2, with 8 greys
    palette = model.palette.clone()
    bits = model.validate(model.loader(digits.only(range(100))))["bits per dimension"]
    assert 0.5 < bits.mean() < 6  # a picture of 17 greys; 8 without having learnt
    other = model.loader(digits.only(range(5)))
    next(model.fit(other, Run(9, 5, start=8)))
    assert torch.equal(model.palette, palette)


@pytest.mark.parametrize("size", ["tiny", "small"])
@pytest.mark.parametrize("channels, side", [(1, 8), (3, 28), (1, 45), (3, 64)])
def test_image_gpt_takes_any_picture(size, channels, side):
    model = make(f"image_gpt_{size}", Spec(channels, side))
    batch = Batch(noise_images(1, channels, side, side), torch.zeros(1, dtype=torch.long))
    [(_name, loss)] = model.updates(batch, 0)
    clusters = model.palette.shape[0]
    assert loss.item() == pytest.approx(math.log(clusters), rel=0.1)  # it begins knowing nothing
    with torch.no_grad():
        assert model.bits(batch).item() == pytest.approx(8, abs=0.5)
        pixel = next(model.growing(torch.rand(1, side**2), torch.empty(1, 0, dtype=torch.long)))
    assert model.image(pixel).shape == (1, channels, side, side)


def test_a_batch_is_learnt_from_in_several_updates():
    model = make("image_gpt_tiny", GREY, pictures=3)
    batch = Batch(noise_images(7, 1, 8, 8), torch.zeros(7, dtype=torch.long))
    assert len(list(model.updates(batch, 0))) == 3
    with torch.no_grad():
        alone = [model.bits(Batch(image[None], batch.label[:1])) for image in batch.image]
        assert torch.allclose(model.bits(batch), torch.cat(alone), atol=1e-4)
