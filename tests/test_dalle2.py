"""DALL-E 2: CLIP, prior, decoder and enlarger, each alone and together."""

from dataclasses import replace

import pytest
import torch
from diffusers import PriorTransformer as Published
from shapes import captioned
from torchvision.transforms.functional import gaussian_blur

from souron import registry
from souron.blocks import glide, velocity
from souron.blocks.glide import Condition, GlideUNet, PointDecoder
from souron.blocks.prior import PriorTransformer, Text, between, drawn_points
from souron.blocks.samplers import SAMPLERS, cosine
from souron.evaluation.generators.sampling import Noise, done, draw
from souron.systems.text_to_image import dalle2
from souron.systems.text_to_image.dalle2 import DALLE2, DECODER, ENLARGER, GUIDE, PRIOR
from souron.training import stages
from souron.training.loop import Run
from souron.utils.messages import UserError

PROMPTS = ["a red coin on the left", "夜の青い標識", "a green building", "a coin on sand"]
SMALL = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 2, "embedding_dim": 12, "num_embeddings": 6}


def shaken(module):
    """Small random weights everywhere: the last layers of blocks begin with zeros."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn_like(weight) / max(1, weight[0].numel()) ** 0.5)
    return module.eval()


def told_texts(count=2, length=6, known=(6, 3), dims=12):
    there = torch.arange(length) < torch.tensor(known)[:, None]
    return Text(torch.randn(count, dims), torch.randn(count, length, dims), there)


@pytest.fixture(scope="module")
def cases():
    return captioned(96, 32)


def made(cases, **config):
    torch.manual_seed(0)
    return DALLE2(replace(DALLE2.SIZES["tiny"], **config), DALLE2.spec_for(cases))


@pytest.fixture(scope="module")
def learnt(cases):
    """A few steps of each stage: nothing in it is zero any more."""
    model = made(cases)
    for _progress in model.fit(model.loader(cases, seed=1), Run(24, 64)):
        pass
    return model


def images(model, numbers, prompts, **options):
    return done(draw(model, Noise(3, numbers), prompts, **{"steps": 3, **options}))


# the prior


def test_karlos_prior_has_the_published_tensors():
    with torch.device("meta"):
        ours, theirs = PriorTransformer(), Published()
    shapes = {name: weight.shape for name, weight in ours.state_dict().items()}
    assert shapes == {name: weight.shape for name, weight in theirs.state_dict().items()}
    assert round(sum(shape.numel() for shape in shapes.values()) / 1e6, 1) == 1022.0


def test_the_prior_computes_what_diffusers_does():
    theirs = shaken(Published(**SMALL))
    ours = PriorTransformer(12, 12, 6, 16, 2, 2).eval()
    ours.load_state_dict(theirs.state_dict())
    noisy, step, text = torch.randn(2, 12), torch.tensor([3, 700]), told_texts()
    with torch.no_grad():
        expected = theirs(noisy, step, text.point, text.words, text.known)
        expected = expected.predicted_image_embedding
        assert expected.std() > 0.1
        assert torch.allclose(ours(noisy, step, text), expected, rtol=0, atol=1e-5)
        assert torch.allclose(ours.point(noisy), theirs.post_process_latents(noisy))


def test_the_prior_sees_what_is_known_of_a_text_and_nothing_else():
    prior, noisy, step = shaken(PriorTransformer(12, 12, 8, 16, 2, 2)), torch.randn(2, 12), [9, 99]
    step, text = torch.tensor(step), told_texts()
    with torch.no_grad():
        found = prior(noisy, step, text)
        longer = text._replace(
            words=torch.cat([text.words, torch.randn(2, 2, 12)], 1),
            known=torch.cat([text.known, torch.zeros(2, 2, dtype=torch.bool)], 1),
        )
        torch.testing.assert_close(prior(noisy, step, longer), found)
        other = told_texts()
        assert not torch.allclose(prior(noisy, step, text._replace(words=other.words)), found)
        assert not torch.allclose(prior(noisy, step, text._replace(point=other.point)), found)
        free = prior(noisy, step, text.hidden())
        torch.testing.assert_close(prior(noisy, step, other.hidden()), free)
        assert not torch.allclose(free, found)


class Known:
    """A prior that finds the point of a text that is shown, and zero of one that is hidden; with
    ``own`` the signs of the noise that it is given."""

    def __init__(self, own=False):
        self.own = own

    def __call__(self, noisy, step, text):
        return noisy.sign() if self.own else text.point

    def point(self, normal):
        return normal


def test_of_two_points_the_one_nearer_to_the_text_is_taken():
    torch.manual_seed(0)
    text, start = told_texts(8, known=[6] * 8), torch.randn(8, 2, 12)
    found = drawn_points(Known(own=True), cosine().tolist(), start, text, 1.0, steps=3)
    near = torch.cosine_similarity(start.sign(), text.point[:, None], dim=2)
    assert (near.argmax(1) == 1).any() and (near.argmax(1) == 0).any()
    assert torch.equal(found, start.sign()[torch.arange(8), near.argmax(1)])


def test_guidance_leads_away_from_points_of_no_text():
    text, start = told_texts(), torch.randn(2, 2, 12)
    for guidance in (1.0, 3.0):
        found = drawn_points(Known(), cosine().tolist(), start, text, guidance, steps=3)
        torch.testing.assert_close(found, guidance * text.point)


def test_points_turn_on_an_arc():
    torch.manual_seed(0)
    start, end = torch.nn.functional.normalize(torch.randn(2, 5, 12), dim=2)
    torch.testing.assert_close(between(start, 3 * end, 0.0), start)
    torch.testing.assert_close(between(start, 3 * end, 1.0), end)
    third = between(start, end, 1 / 3)
    torch.testing.assert_close(third.norm(dim=1), torch.ones(5))
    angle = (start * end).sum(1).acos()
    torch.testing.assert_close((start * third).sum(1).acos(), angle / 3)


# networks of pictures


def test_v_tells_the_picture_and_every_sampler_finds_it():
    torch.manual_seed(0)
    kept, clean = cosine().tolist(), torch.rand(3, 2, 4, 4) * 2 - 1
    step, noisy, v = velocity.mixed(clean, kept)
    square = torch.tensor(kept)[step].view(-1, 1, 1, 1)
    torch.testing.assert_close(square.sqrt() * noisy - (1 - square).sqrt() * v, clean)

    def find(noisy, step):  # v, where ``clean`` is the picture
        square = torch.tensor(kept)[step].view(-1, 1, 1, 1)
        return (square.sqrt() * noisy - clean) / (1 - square).sqrt()

    for name in SAMPLERS:
        way = velocity.drawn(find, kept, name, 5, lambda: torch.randn(3, 2, 4, 4))
        torch.testing.assert_close([*way][-1], clean, rtol=0, atol=1e-3)


@pytest.mark.parametrize("side", [8, 7])
def test_the_decoder_looks_at_the_point_and_at_words_that_are_shown(side):
    decoder, step = shaken(PointDecoder(3, (8, 16), 12)), torch.tensor([9, 99])
    text, yes = told_texts(), torch.ones(2, dtype=torch.bool)
    x, told = torch.randn(2, 3, side, side), Condition(text.point, yes, text.words, text.known)
    other = told._replace(point=torch.randn(2, 12), words=torch.randn(2, 6, 12))
    with torch.no_grad():
        found = decoder(x, step, told)
        assert found.shape == x.shape
        for name in ("point", "words"):
            changed = told._replace(**{name: getattr(other, name)})
            assert not torch.allclose(decoder(x, step, changed), found, atol=1e-4), name
        beyond = torch.where(told.known[..., None], told.words, other.words)
        torch.testing.assert_close(decoder(x, step, told._replace(words=beyond)), found)
        free = decoder(x, step, told.hidden())
        torch.testing.assert_close(decoder(x, step, other.hidden()), free)
        for way in (decoder.vector, decoder.extra):  # the point reaches places by both
            kept = way.weight.clone()
            way.weight.zero_()
            changed = decoder(x, step, told._replace(point=other.point))
            assert not torch.allclose(decoder(x, step, told), changed, atol=1e-4)
            way.weight.copy_(kept)


def test_an_enlarger_is_made_of_convolutions_alone():
    """What is far from a place does not change it."""
    unet, step = shaken(GlideUNet(2, 1, (8,))), torch.tensor([9])
    x = torch.randn(1, 2, 24, 24, requires_grad=True)
    # normalisation sees the whole map: what is left is how far weights reach
    for part in unet.modules():
        if isinstance(part, torch.nn.GroupNorm):
            part.forward = lambda x: x
    [slope] = torch.autograd.grad(unet(x, step)[0, 0, 0, 0], x)
    assert slope[..., :2, :2].abs().amin() > 0 and not slope[..., 16:, :].any()


def test_small_pictures_are_blurred_by_gaussians_of_their_own():
    torch.manual_seed(0)
    image = torch.rand(4, 3, 9, 9)
    torch.manual_seed(5)
    found = glide.blurred(image)
    torch.manual_seed(5)
    width = glide.BLUR * torch.rand(4, 1, 1, 1).clamp(min=0.1)
    for one, seen, sigma in zip(image, found, width.flatten().tolist(), strict=True):
        expected = gaussian_blur(one, [3, 3], [sigma, sigma])
        torch.testing.assert_close(seen[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1])
    torch.testing.assert_close(glide.blurred(torch.ones(2, 3, 5, 5)), torch.ones(2, 3, 5, 5))


# together


def test_each_stage_moves_its_own_network_and_clip_stays_as_it_has_learnt(cases):
    model, moved, steps = made(cases), {}, 16
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for progress in model.fit(model.loader(cases), Run(steps, 64)):
        stage, _part = stages.at(model.in_stages, progress.step / steps)
        assert [*progress.losses] == [stage]
        for name, value in model.state_dict().items():
            if not torch.equal(value, before[name]):
                place = 2 if name.startswith("averages") else 1
                moved.setdefault(stage, set()).add(".".join(name.split(".")[:place]))
                before[name] = value.clone()
    assert moved == {GUIDE: {"network"}} | {
        name: {name, f"averages.{name}", "counts"} for name in (PRIOR, DECODER, ENLARGER)
    }
    model.train()
    model.used = 0.6
    [_update] = model.updates(next(model.loader(cases).once(8)), 0)
    assert not model.network.training  # its statistics stay, too


def test_texts_and_points_are_hidden_in_training_as_often_as_in_the_paper(cases, monkeypatch):
    """Of the prior one text in ten; of the decoder one point in ten and half of the texts."""
    model = made(cases)
    batch = next(model.loader(cases).once(32))
    tokens = model.tokens(["a red coin"] * 32)
    prior, points, words = [], [], []

    def foretells(noisy, _step, text):
        prior.extend(zip(text.point.abs().sum(1).tolist(), text.known.any(1).tolist(), strict=True))
        return noisy

    def draws(noisy, _step, told):
        points.extend(told.shown.tolist())
        words.extend(told.known.any(1).tolist())
        return noisy

    monkeypatch.setattr(model.prior, "forward", foretells)
    monkeypatch.setattr(model.decoder, "forward", draws)
    torch.manual_seed(0)
    for _batch in range(20):
        for stage in (PRIOR, DECODER):
            model.of_stage(stage, batch.image, tokens)
    assert all((point > 0) == known for point, known in prior)  # both or none
    assert sum(not known for _point, known in prior) / 640 == pytest.approx(0.1, abs=0.05)
    assert 1 - sum(points) / 640 == pytest.approx(0.1, abs=0.05)
    assert 1 - sum(words) / 640 == pytest.approx(0.5, abs=0.08)


def test_every_caption_of_a_picture_is_read_sooner_or_later(cases, monkeypatch):
    model, read = made(cases), set()
    batch = next(model.loader(cases).once(2))
    monkeypatch.setattr(model, "tokens", lambda texts: read.update(texts) or DALLE2.tokens(model, texts))
    model.used = 0.9  # the enlarger learns, which takes the least time
    for _time in range(40):
        next(model.updates(batch, 0))
    assert read == {each.text for captions in batch.captions for each in captions}


def test_the_decoder_is_told_points_as_the_prior_draws_them(cases, monkeypatch):
    """Around 0 with a deviation of 1, not those that CLIP sees."""
    model, told = made(cases), []
    image = real(model, cases)[:8]
    model.prior.clip_mean.fill_(0.1)
    model.prior.clip_std.fill_(0.3)
    monkeypatch.setattr(model.decoder, "forward", lambda x, _step, what: told.append(what) or x)
    model.of_stage(DECODER, image, model.tokens(["a red coin"] * 8))
    with torch.no_grad():
        torch.testing.assert_close(told[0].point, (model.see(image) - 0.1) / 0.3)


def test_the_enlarger_learns_from_small_pictures_that_are_blurred(cases, monkeypatch):
    model, given = made(cases), []
    image = real(model, cases)[:4]
    monkeypatch.setattr(dalle2, "blurred", lambda small: torch.full_like(small, 0.25))
    monkeypatch.setattr(model.enlarger, "forward", lambda x, _step: given.append(x) or x[:, :12])
    model.of_stage(ENLARGER, image, model.tokens(["a red coin"] * 4))
    coarse = torch.nn.functional.pixel_shuffle(given[0], dalle2.PATCH)[:, 3:]
    torch.testing.assert_close(coarse, torch.full_like(coarse, 0.25))


@torch.no_grad()
def test_averages_of_the_weights_draw(cases):
    model = made(cases)
    for average in model.averages.values():
        shaken(average)
    drawn = images(model, [0], PROMPTS[:1])
    for name in model.averages:
        for weight in model.get_submodule(name).parameters():
            weight.normal_(std=0.3)
    assert torch.equal(images(model, [0], PROMPTS[:1]), drawn)


def test_an_average_follows_at_first_fast_and_later_slowly(cases):
    model = made(cases)
    batch = next(model.loader(cases).once(4))
    model.used = 0.9
    weight, average = (each.last[2].weight for each in (model.enlarger, model.averages[ENLARGER]))
    for count, share in ((0, 0.9), (10**6, 1e-4)):
        model.counts.fill_(count)
        for _update in model.updates(batch, 0):
            with torch.no_grad():
                average.zero_()
                weight.fill_(1.0)
        torch.testing.assert_close(average, torch.full_like(average, share))


def test_guidance_is_what_was_asked_for_in_the_prior_and_in_the_decoder(cases, monkeypatch):
    model, found = made(cases), []
    prior, decoder = model.averages[PRIOR], model.averages[DECODER]
    monkeypatch.setattr(prior, "forward", lambda _noisy, _step, text: text.point)
    monkeypatch.setattr(prior, "point", lambda normal: normal)
    monkeypatch.setattr(
        decoder, "forward", lambda x, _step, told: torch.where(told.shown.view(-1, 1, 1, 1), 0.2, 0.1).expand_as(x)
    )

    def asks(find, kept, sampler, steps, normal):
        noisy = normal()
        found.append(find(noisy, torch.full((len(noisy),), 9)))
        yield noisy

    monkeypatch.setattr(dalle2, "drawn", asks)
    with torch.no_grad():
        point = model.read(model.tokens(PROMPTS)).point
        for guidance in (1.0, 3.0):
            told = model.given(torch.randn(4, 2, 32), PROMPTS, guidance)
            torch.testing.assert_close(told.point, guidance * point)
            found.clear()
            [*model.drawing(Noise(0, [0]), PROMPTS[:1], guidance=guidance)]
            torch.testing.assert_close(found[0], torch.full_like(found[0], 0.1 + 0.1 * guidance))


def test_the_priors_points_lie_around_zero(learnt, cases):
    with torch.no_grad():
        points = learnt.see(real(learnt, cases))
    normal = learnt.prior.normal(points)
    assert normal.mean(0).abs().max() < 0.5 and 0.7 < normal.std(0).mean() < 1.3
    torch.testing.assert_close(learnt.prior.point(normal), points)
    torch.testing.assert_close(learnt.averages[PRIOR].point(normal), points)  # which draws


def real(model, cases):
    return next(model.loader(cases).once(len(cases))).image


def test_a_picture_of_a_seed_is_the_same_in_any_batch(learnt):
    several = images(learnt, range(4), PROMPTS)
    assert several.shape == (4, 3, 32, 32)
    # sums of another batch are rounded otherwise on some processors
    assert (images(learnt, [1], PROMPTS[1:2])[0].int() - several[1].int()).abs().max() <= 2
    assert (images(learnt, [2], PROMPTS[1:2])[0].int() - several[1].int()).abs().max() > 50


def test_prompt_guidance_and_what_is_not_wanted_change_the_picture(learnt):
    plain = images(learnt, [0], PROMPTS[:1]).int()
    for changed in (
        images(learnt, [0], PROMPTS[1:2]),
        images(learnt, [0], PROMPTS[:1], guidance=1.0),
        images(learnt, [0], PROMPTS[:1], negative="a green building"),
    ):
        assert (changed.int() - plain).abs().max() > 2
    same = images(learnt, [0], PROMPTS[:1], negative="night", guidance=1.0)
    assert torch.equal(same, images(learnt, [0], PROMPTS[:1], guidance=1.0))


def test_a_picture_is_varied_by_its_own_point(learnt, cases):
    first, second = real(learnt, cases)[:2]
    own = images(learnt, [0], PROMPTS[:1], image=first[None], strength=0.0)
    assert torch.equal(images(learnt, [0], PROMPTS[1:2], image=first[None], strength=0.0), own)
    assert not torch.equal(images(learnt, [0], PROMPTS[:1], image=second[None], strength=0.0), own)
    ends = [images(learnt, [0], PROMPTS[:1], image=each[None], strength=1.0).int() for each in (first, second)]
    assert (ends[0] - ends[1]).abs().max() <= 2  # the prompt's point alone
    assert not torch.equal(ends[0], own.int())


def test_without_a_prior_the_decoder_gets_the_points_of_texts(cases):
    model = made(cases, prior="none")
    assert [*model.in_stages] == [GUIDE, DECODER, ENLARGER] and PRIOR not in model.optimizers()
    told = model.given(torch.randn(4, 2, 32), PROMPTS, 4.0)
    assert torch.equal(told.point, model.read(model.tokens(PROMPTS)).point)
    assert images(model, [0], PROMPTS[:1]).shape == (1, 3, 32, 32)
    with pytest.raises(UserError, match="prior"):
        images(model, [0], PROMPTS[:1], image=torch.zeros(1, 3, 32, 32))


def test_a_prior_that_is_not_known_is_refused(cases):
    with pytest.raises(UserError, match="prior=magic"):
        made(cases, prior="magic")


def test_grey_pictures_of_an_odd_side_are_drawn():
    cases = captioned(16, 31)
    cases = replace(cases, input=cases.input[:].float().mean(1, keepdim=True).byte())
    model = made(cases)
    assert model.low == 15
    for _progress in model.fit(model.loader(cases), Run(8, 8)):
        pass
    assert images(model, [0], [""]).shape == (1, 1, 31, 31)


def test_all_of_a_run_of_clip_is_taken_over(tmp_path):
    """Its eyes too, as the points that are drawn from are those of pictures."""
    kind, config = registry.load_system("clip")
    cases = captioned(40, 64)
    torch.manual_seed(7)
    clip = kind(config, kind.spec_for(cases))
    dalle = DALLE2(DALLE2.SIZES["small"], DALLE2.spec_for(cases))
    dalle.begin_with(clip, tmp_path)
    theirs = clip.state_dict()
    for name, weight in dalle.network.state_dict().items():
        assert torch.equal(weight, theirs[f"network.{name}"]), name
    assert len(dalle.in_stages) == 3 and GUIDE not in dalle.in_stages
