"""Latent diffusion: stages that share a budget, words, and pictures that are drawn from them."""

import math
from dataclasses import replace

import pytest
import torch
from shapes import captioned

from souron import registry
from souron.blocks.unet import with_places
from souron.evaluation.generators.sampling import Noise, done, draw
from souron.runs import folder, prepare
from souron.runs.train import staged
from souron.systems.text_to_image import latent_diffusion
from souron.systems.text_to_image.latent_diffusion import CODER, DENOISER, TEXT, LatentDiffusion
from souron.tasks.text_to_image import PAD, Spec
from souron.training import stages
from souron.training.budget import Budget, one_cycle
from souron.training.loop import Run
from souron.training.trainer import Trainer
from souron.utils import files
from souron.utils.messages import UserError

PROMPTS = ["a red coin on the left", "夜の青い標識", "a green building", "a coin on sand"]


@pytest.fixture(scope="module")
def cases():
    return captioned(96, 32)


def made(cases, **config):
    torch.manual_seed(0)
    size = replace(LatentDiffusion.SIZES["tiny"], **config)
    return LatentDiffusion(size, LatentDiffusion.spec_for(cases))


@pytest.fixture(scope="module")
def learnt(cases):
    """A few steps of each stage: nothing in it is zero any more."""
    model = made(cases)
    for _progress in model.fit(model.loader(cases, seed=1), Run(30, 32)):
        pass
    return model


def images(model, numbers, prompts, **options):
    return done(draw(model, Noise(3, numbers), prompts, **{"steps": 4, **options}))


def test_a_stage_is_found_by_what_is_used_of_the_budget():
    shares = {"a": 1.0, "b": 3.0}
    assert stages.at(shares, 0.0) == ("a", 0.0)
    assert stages.at(shares, 0.25) == ("b", 0.0)
    assert stages.at(shares, 0.625) == ("b", 0.5)
    assert stages.at(shares, 1.0) == ("b", 1.0)
    assert stages.at({}, 0.3) == ("", 0.3)


def test_each_stage_moves_its_own_network_and_has_a_cycle_of_the_rate(cases):
    model = made(cases)
    fit = Trainer(model, model.loader(cases), None, Budget(10, "epochs"), 48)
    seen, rates, names = {}, {}, []
    for step in range(20):
        fit._used, model.used = fit.fraction, fit.fraction
        place, part = stages.at(model.in_stages, fit.fraction)
        names.append(fit.stage)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        fit.go(1e-9)  # a step
        assert fit.step == step + 1
        moved = {
            name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])
        }
        seen.setdefault(place, set()).update(moved)
        group = fit.optimizers[place].param_groups[0]
        assert group["lr"] == pytest.approx(group["initial_lr"] * one_cycle(part))
        rates.setdefault(place, []).append(group["lr"])
    assert seen == {
        TEXT: {"network"},
        CODER: {"coder", "shift", "spread"},
        DENOISER: {"unet", "average", "drawn", "empty"},
    }
    assert names == sorted(names, key=[TEXT, CODER, DENOISER].index) and set(names) == set(seen)
    for rate in rates.values():  # up, then down
        assert rate[0] < max(rate) > rate[-1]


def test_a_forecast_says_how_long_each_stage_takes():
    assert staged({}, 100) == ""
    said = staged(LatentDiffusion.in_stages, 1200)
    parts = "text encoder 4 min, autoencoder 4 min, denoiser 12 min"
    assert str(said) == f"It is trained in stages: {parts}."


def test_a_resumed_run_ends_in_the_weights_of_an_unbroken_one(cases, tmp_path):
    def trainer():
        model = made(cases)
        return Trainer(model, model.loader(cases), None, Budget(3, "epochs"), 24)

    whole = trainer()
    whole.go(math.inf)
    for stop in (1, 3, 6):  # in each stage
        broken = trainer()
        while broken.step < stop:
            broken.go(1e-9)
        broken.keep(tmp_path / "resume.safetensors")
        again = trainer()
        again.go_on(tmp_path / "resume.safetensors", tmp_path / "none")
        again.go(math.inf)
        kept = again.system.state_dict()
        for name, value in whole.system.state_dict().items():
            assert torch.equal(value, kept[name]), (stop, name)


def test_the_autoencoder_gives_numbers_of_known_mean_and_spread(cases):
    model = made(cases)
    model.in_stages = {CODER: 1.0}
    for _progress in model.fit(model.loader(cases, seed=1), Run(60, 32)):
        pass
    with torch.no_grad():
        mean, log_variance = model.encode(next(model.loader(cases).once()).image)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        z = (z - model.shift) / model.spread
    assert z.mean((0, 2, 3)).abs().max() < 0.3
    assert (z.std((0, 2, 3)) - 1).abs().max() < 0.3


def test_an_empty_text_is_the_learnt_token_alone_and_all_hidden_is_no_nan(cases, monkeypatch):
    model = made(cases)
    words, mask = model.read(["", "a coin"])
    assert torch.equal(words[0, 0], model.empty)
    assert (mask[0] == 0).sum() == 1 and mask[0, 0, 0, 0] == 0
    assert (mask[1] == 0).sum() == (model.tokens(["a coin"]) != PAD).sum() > 1
    monkeypatch.setattr(latent_diffusion, "HIDDEN", 1.0)
    with torch.no_grad():  # at the start the last layer gives nothing on
        for weight in model.unet.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    loss = model.unet_loss(next(model.loader(cases).once(8)).image, ["a coin"] * 8)
    loss.backward()
    assert loss.isfinite() and model.empty.grad.abs().sum() > 0


def test_one_caption_in_ten_is_hidden_in_training(cases, monkeypatch):
    """Without that, guidance leads away from what was never learnt."""
    model, read = made(cases), []
    monkeypatch.setattr(model, "read", lambda texts: read.extend(texts) or LatentDiffusion.read(model, texts))
    image = next(model.loader(cases).once(32)).image
    for _batch in range(20):
        model.unet_loss(image, ["a coin"] * 32)
    hidden = sum(not text for text in read) / len(read)
    assert len(read) == 640 and set(read) == {"", "a coin"}
    assert hidden == pytest.approx(0.1, abs=0.05)  # four standard deviations of chance


def test_every_caption_of_a_picture_is_read_sooner_or_later(cases, monkeypatch):
    model, read = made(cases), set()
    monkeypatch.setattr(model, "unet_loss", lambda _image, texts: read.update(texts))
    batch = next(model.loader(cases).once(2))
    model.used = 0.9
    for _time in range(40):
        next(model.updates(batch, 0))
    assert read == {each.text for captions in batch.captions for each in captions}


def test_the_autoencoders_numbers_are_held_near_normal_ones(cases, monkeypatch):
    """By a thousandth of the nats that a number is away from them."""
    model, image = made(cases), torch.rand(2, 3, 32, 32)
    mean, log_variance = torch.full((2, 4, 8, 8), 3.0), torch.full((2, 4, 8, 8), -2.0)
    monkeypatch.setattr(model, "encode", lambda _image: (mean, log_variance))
    monkeypatch.setattr(model, "decode", lambda _z, _side: image + 0.01)
    nats = (3**2 + math.exp(-2) - 1 + 2) / 2
    assert float(model.coder_loss(image)) == pytest.approx(0.01 + 1e-3 * nats, rel=1e-4)


def test_the_denoiser_learns_v_of_numbers_around_zero(cases, monkeypatch):
    model, seen = made(cases), []
    mean = 2 * torch.randn(8, 4, 8, 8) + 0.5
    model.shift.fill_(0.5)
    model.spread.fill_(2.0)
    monkeypatch.setattr(model, "encode", lambda _image: (mean, torch.full_like(mean, -100.0)))
    monkeypatch.setattr(
        model.unet, "forward", lambda noisy, step, *_words: seen.append((noisy, step)) or torch.zeros_like(noisy)
    )
    loss = model.unet_loss(torch.zeros(8, 3, 32, 32), ["a coin"] * 8)
    [(noisy, step)] = seen
    square = torch.tensor(model.alpha_bars)[step].float().view(-1, 1, 1, 1)
    a, s, z = square.sqrt(), (1 - square).sqrt(), (mean - 0.5) / 2
    noise = (noisy - a * z) / s
    assert float(noise.std()) == pytest.approx(1, abs=0.1)
    assert float(loss) == pytest.approx(float((a * noise - s * z).square().mean()), rel=1e-3)


def test_the_denoisers_average_follows_at_first_fast_and_later_slowly(cases, monkeypatch):
    model = made(cases)
    monkeypatch.setattr(model, "unet_loss", lambda _image, _texts: torch.zeros(()))
    batch = next(model.loader(cases).once(4))
    model.used = 0.9
    weight, average = (next(each.parameters()) for each in (model.unet, model.average))
    for count, share in ((0, 9 / 11), (10**6, 1e-3)):
        model.drawn.fill_(count)
        for _update in model.updates(batch, 0):
            with torch.no_grad():
                average.zero_()
                weight.fill_(1.0)
        torch.testing.assert_close(average, torch.full_like(average, share))


def test_guidance_goes_on_in_a_straight_line_from_no_caption_through_the_prompt(learnt, monkeypatch):
    monkeypatch.setattr(learnt, "decode", lambda z, _side: z)

    def drawn(guidance, negative=""):
        *_before, z = learnt.drawing(Noise(0, [0, 1]), PROMPTS[:2], guidance=guidance, negative=negative, steps=1)
        return z

    asked, none = drawn(1.0), drawn(1.0, "夜")
    torch.testing.assert_close(asked, none, atol=1e-4, rtol=1e-4)  # nothing is led away from
    leap = drawn(2.0) - asked
    assert leap.abs().max() > 1e-3
    for guidance in (1.5, 4.0):
        expected = asked + (guidance - 1) * leap
        torch.testing.assert_close(drawn(guidance), expected, atol=1e-4, rtol=1e-3)


def test_pictures_are_those_of_their_number_and_prompt_whatever_is_beside_them(learnt):
    together = images(learnt, [4, 5, 6, 7], PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        alone = images(learnt, [4 + row], [prompt])
        assert (alone[0].int() - together[row].int()).abs().max() <= 2
    assert (together[0].int() - together[2].int()).abs().max() > 8


def test_guidance_leads_away_from_the_negative_prompt(learnt):
    plain = images(learnt, [0], ["a coin"], guidance=6.0)
    away = images(learnt, [0], ["a coin"], guidance=6.0, negative="夜の青い標識")
    assert not torch.equal(plain, away)
    # as learnt, nothing is led away from
    free = [images(learnt, [0], ["a coin"], guidance=1.0, negative=n) for n in ("", "night")]
    assert (free[0].int() - free[1].int()).abs().max() <= 1
    none = images(learnt, [0], ["a coin"], guidance=6.0, negative="a coin")
    assert (none.int() - free[0].int()).abs().max() <= 1


@pytest.mark.parametrize("sampler", ["dpm", "ddim", "ddpm"])
def test_every_sampler_finds_a_picture_that_the_network_knows(learnt, sampler, monkeypatch):
    """A network that finds the true v: every way from noise ends in the one z."""
    known = torch.randn(4, 8, 8)

    class Finds(torch.nn.Module):
        def forward(self, noisy, step, words, mask):
            kept = torch.tensor(learnt.alpha_bars)[step].float().view(-1, 1, 1, 1)
            noise = (noisy - kept.sqrt() * known) / (1 - kept).sqrt()
            return kept.sqrt() * noise - (1 - kept).sqrt() * known

    monkeypatch.setitem(learnt._modules, "average", Finds())
    drawn = images(learnt, [0, 1], PROMPTS[:2], sampler=sampler, steps=10)
    with torch.no_grad():
        expected = learnt.decode(known[None] * learnt.spread + learnt.shift, 32)
    expected = ((expected.clamp(-1, 1) + 1) * 127.5).round()
    assert (drawn.float() - expected).abs().max() <= 6  # bfloat16's


def test_from_a_picture(learnt, cases):
    image = cases.input[:2].float() / 127.5 - 1
    prompts = PROMPTS[:2]
    kept = images(learnt, [0, 1], prompts, image=image, strength=0.0)
    assert torch.equal(kept, cases.input[:2])

    def far(strength):
        changed = images(learnt, [0, 1], prompts, image=image, strength=strength, steps=10)
        with torch.no_grad():
            again = learnt.decode(learnt.encode(image)[0], 32)
        again = (again.clamp(-1, 1) + 1) * 127.5
        return (changed.float() - again).square().mean().item()

    assert far(0.05) < far(0.5) < far(1.0)
    assert far(1.0) > 4 * far(0.05)


def test_outside_of_a_mask_the_picture_stays_to_the_pixel(learnt, cases):
    image = cases.input[:1].float() / 127.5 - 1
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 4:30] = 1
    changed = images(learnt, [0], PROMPTS[:1], image=image, mask=mask, strength=1.0)
    inside = mask[0, 0].bool()
    assert torch.equal(changed[0][:, ~inside], cases.input[0][:, ~inside])
    assert not torch.equal(changed[0][:, inside], cases.input[0][:, inside])


@pytest.mark.parametrize("side", [30, 45])
def test_sides_that_no_halving_divides(side):
    cases = captioned(32, side)
    model = made(cases)
    for _progress in model.fit(model.loader(cases, seed=1), Run(4, 16)):
        pass
    assert images(model, [0], ["a coin"]).shape == (1, 3, side, side)


def test_stable_diffusion_has_its_betas_and_its_text_encoder():
    import diffusers

    with torch.device("meta"):
        kind, config = registry.load_system("latent_diffusion_sd15")
        model = kind(config, Spec(3, 512, "", 49_408))
    counts = {
        part: sum(weight.numel() for weight in model.get_submodule(part).parameters())
        for part in ("network", "coder", "unet")
    }
    assert counts == {"network": 123_060_480, "coder": 83_653_863, "unet": 859_520_964}
    theirs = diffusers.DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    assert torch.allclose(torch.tensor(model.alpha_bars).float(), theirs.alphas_cumprod, atol=1e-6)


def test_a_text_encoder_of_another_run_is_taken_over_and_its_stage_left_out(cases, tmp_path):
    kind, config = registry.load_system("clip_tiny")
    torch.manual_seed(7)
    clip = kind(replace(config, text=(1, 48, 3)), kind.spec_for(cases))
    torch.nn.init.constant_(clip.network.logit_scale, 1.5)
    args = {
        "system": "clip_tiny",
        "config": folder.as_plain(clip.config),
        "seen": folder.as_plain(clip.spec),
        "data": "captioned",
    }
    folder.write_args(tmp_path, args)
    files.write_tensors(tmp_path / "weights" / "best.safetensors", clip.state_dict(), {})
    spec = LatentDiffusion.spec_for(captioned(40, 32, seed=5))  # other captions, other tokens
    model = prepare._from_run(tmp_path, LatentDiffusion, LatentDiffusion.SIZES["tiny"], spec)
    assert list(model.in_stages) == [CODER, DENOISER] and model.config.text == (1, 48, 3)
    assert model.spec.tokenizer == clip.spec.tokenizer
    tokens = model.tokens(["A RED coin"])
    assert torch.equal(tokens, clip.tokens(["a red coin"]))
    with torch.no_grad():
        own, other = model.network.features(tokens), clip.network.features(tokens)
    assert torch.equal(own, other)
    assert torch.equal(model.network.logit_scale, clip.network.logit_scale)  # not needed here, but of the same file
    before = model.network.state_dict()
    for _progress in model.fit(model.loader(cases, seed=1), Run(2, 16)):
        pass
    assert all(torch.equal(before[name], each) for name, each in model.network.state_dict().items())
    args["config"] = folder.as_plain(replace(clip.config, quick=True))
    folder.write_args(tmp_path, args)
    with pytest.raises(UserError, match="is another one"):
        prepare._from_run(tmp_path, LatentDiffusion, LatentDiffusion.SIZES["tiny"], spec)


def test_each_number_is_told_where_it_lies():
    told = with_places(torch.full((2, 3, 4, 6), 7.0))
    assert told.shape == (2, 5, 4, 6) and (told[:, :3] == 7).all()
    y, x = told[1, 3:]
    assert torch.allclose(y[:, 0], torch.linspace(-1, 1, 4)) and (y == y[:, :1]).all()
    assert torch.allclose(x[0], torch.linspace(-1, 1, 6)) and (x == x[:1]).all()
