"""Films for prompts: whether they move as asked is told by readers that never saw a drawn one."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import filmed
from torch.nn import functional as F

from souron.blocks.samplers import cosine
from souron.blocks.unet import ScaledResidual, places
from souron.data.composing import captioned, moving
from souron.data.composing.moving import Composer, Moving
from souron.data.dataset import Rows
from souron.data.splits import Split
from souron.data.targets.captions import Caption
from souron.evaluation.generators import film_reader
from souron.evaluation.generators.film_reader import ATTRIBUTES, frames_of, moved
from souron.evaluation.generators.sampling import Noise, done, draw
from souron.evaluation.record import DrawnRecord
from souron.kinds.codecs import provenance
from souron.kinds.text import Text
from souron.metrics import text_to_video as metrics
from souron.runs.generated_files import write_film
from souron.systems.text_to_video import video_diffusion
from souron.systems.text_to_video.still_picture import Config as OfMemory
from souron.systems.text_to_video.still_picture import StillPicture
from souron.systems.text_to_video.video_diffusion import Condition, FilmUNet, OverTime, VideoDiffusion
from souron.tasks import text_to_video as task_file
from souron.tasks.text_to_video import Batch, FilmGenerator, Options, Spec, TextToVideo, parts, video
from souron.training.loop import Run
from souron.utils.messages import UserError

TASK = TextToVideo()
LEARNT = filmed(600, seed=3)


@dataclass(frozen=True)
class Config:
    rate: float = 1e-3


class Projects(FilmGenerator):
    """Draws what a prompt asks for, or what the next one does."""

    SIZES = {"small": Config()}
    heeds = True

    def drawing(self, noise, condition, *, negative="", steps=20, guidance=2.0):
        prompts = list(condition) if self.heeds else [*condition[1:], condition[0]]
        rows = [
            next(i for i, said in enumerate(LEARNT.target) if any(s.text == prompt for s in said)) for prompt in prompts
        ]
        yield LEARNT.input[rows].float() / 127.5 - 1


@pytest.fixture(scope="module")
def films():
    return filmed(460, seed=1)


@pytest.fixture(scope="module")
def asked(films, tmp_path_factory):
    """What drawn films are judged with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(film_reader.files, "cache_folder", lambda: tmp_path_factory.mktemp("cache"))
        patch.setattr(film_reader, "EXAMPLES", 6_000)
        split = Split(range(400), [], range(400, 460), "")
        *_steps, last = TASK.setup(films, split, Options())
    return last.result


def middle(frame):
    """x and y of what is red."""
    there = frame[0] - frame[1] > 80
    return [float(places.float().mean()) for places in there.nonzero().unbind(1)][::-1]


def test_a_thing_moves_as_its_caption_says_and_the_ground_stands_still():
    composer = Composer(captioned.drawn(), 32, 8)
    for motion, (right, down) in moving.GOES.items():
        asked = Moving("coin", "red", "grass", motion)
        frames = composer._shot(asked, np.random.default_rng(1), careful=False)
        film = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
        (x, y), (to_x, to_y) = middle(film[0]), middle(film[-1])
        for first, last, way in ((x, to_x, right), (y, to_y, down)):
            assert (last - first) * way > 6 if way else abs(last - first) < 3
        assert (film[:, :, 0, 0] == film[:1, :, 0, 0]).all()
    still = composer._shot(Moving("coin", "red", "grass", "still"), np.random.default_rng(1), False)
    assert all((frame == still[0]).all() for frame in still)


def test_new_pairs_are_in_no_training_film_and_films_follow_from_their_number():
    composer = Composer(captioned.drawn(), 16, 3)
    trained = {(a.object, a.motion) for a in (composer.attributes("train", i) for i in range(900))}
    new = {(a.object, a.motion) for a in (composer.attributes(moving.NEW, i) for i in range(60))}
    assert new == composer.pairs and not new & trained
    again = Composer(captioned.drawn(), 16, 3).film("train", 5)
    assert torch.equal(composer.film("train", 5).strip, again.strip)
    texts = [caption.text for caption in again.captions]
    assert [caption.language for caption in again.captions] == ["en", "en", "ja", "ja"]
    assert len(set(texts)) == 4


def test_films_that_are_too_large_are_refused():
    recipe = moving.Recipe(512, 8, 0, {"train": 1})
    with pytest.raises(UserError) as caught:
        moving.films(recipe, captioned.drawn())
    assert caught.value.code == "imgsz"


def test_flicker_counts_what_trembles_and_not_what_passes():
    passing = torch.zeros(1, 3, 8, 8, 8)
    for frame in range(8):
        passing[0, :, frame, :, frame] = 255
    assert metrics.flicker(passing).item() == 0
    trembling = torch.zeros(1, 3, 8, 8, 8)
    trembling[:, :, ::2] = 10
    assert metrics.flicker(trembling).item() == 10


def test_the_reader_of_motion_sees_neither_ground_nor_what_stands_still():
    still = torch.randn(1, 3, 1, 4, 4).expand(-1, -1, 5, -1, -1)
    assert moved(still).abs().max() < 1e-5


def test_who_draws_what_was_asked_is_told_from_who_does_not(asked):
    spec = TASK.spec(LEARNT)
    found = {}
    for heeds in (True, False):
        system = Projects(Config(), spec)
        system.heeds = heeds
        *_rest, last = TASK.answer(system, asked.test, {}, asked)
        found[heeds] = last.result
    heeds, others = (TASK.scores([found[each]], asked) for each in (True, False))
    real = asked.ceiling["right"].nanmean(0)
    assert real.min() > 0.85
    for place, name in enumerate(metrics.ATTRIBUTES.values()):
        assert heeds[name].mean() > float(real[place]) - 0.15
    assert others["motion accuracy"].mean() < 0.5 and others["colour accuracy"].mean() < 0.6
    whole, *rest = parts([found[True]], asked)
    assert whole.floor["motion"] < 0.5 < whole.ceiling["motion"]
    assert {part.language for part in rest} == {"en", "ja"}
    assert whole.measures["flicker"].value == pytest.approx(whole.ceiling["flicker"], abs=3)


def test_the_still_picture_fits_and_does_not_move(asked, films):
    system = StillPicture(StillPicture.SIZES["small"], TASK.spec(films))
    assert len(list(system.fit(system.loader(films, seed=0), Run(20, 64)))) > 1
    *_rest, last = TASK.answer(system, asked.test, {}, asked)
    film = frames_of(last.result["strip"])
    assert (film == film[:, :, :1]).all()
    scores = TASK.scores([last.result], asked)
    assert scores["colour accuracy"].mean() > 0.9 and scores["ground accuracy"].mean() > 0.9
    assert scores["motion accuracy"].mean() < 0.5 and scores["flicker"].mean() == 0


def remembering(*captions, films=8):
    """It has seen a film of two frames for each caption; the first is as light as its number."""
    spec = Spec(1, 2, 2, words=("a", "red", "blue", "coin", "sign"))
    model = StillPicture(OfMemory(films), spec)
    light = torch.arange(len(captions)).float() / 10
    film = torch.stack([light, -torch.ones(len(captions))], 1)[:, None, :, None, None]
    batch = Batch(film.expand(-1, 1, 2, 2, 2), [(Caption(text, "en"),) for text in captions])
    model.remember(batch, model.words_of([[text] for text in captions]))
    return model


def shown(model, prompt, **options):
    """Which of its films it shows for the prompt, in each of forty drawings."""
    *_before, strip = model.drawing(Noise(0, range(40)), [prompt] * 40, **options)
    assert (strip == strip[:, :, :1]).all()
    return {round(10 * light) for light in strip[:, 0, 0, 0].tolist()}


def test_rare_words_weigh_more_in_what_is_remembered():
    model = remembering("a red coin", "a red coin", "a red coin", "a blue sign")
    [near] = model.likeness(model.words_of([["a red sign"]]).float())
    red, sign = np.log(5 / 4) + 1e-3, np.log(5 / 2) + 1e-3  # of a word in each film 0.001
    assert near[0] == pytest.approx((1e-3 + red) / (1e-3 + red + sign))
    assert near[3] == pytest.approx((1e-3 + sign) / (1e-3 + red + sign))
    assert shown(model, "a red sign") == {3}


def test_chance_takes_one_of_the_films_that_fit_and_leads_away_from_what_is_not_wanted():
    model = remembering("a red coin", "a blue coin", "a blue sign")
    assert shown(model, "coin") == {0, 1}
    assert shown(model, "coin", negative="red") == {1}


def test_no_more_films_are_remembered_than_told():
    model = remembering("a red coin", "a blue coin", "a blue sign", films=2)
    assert len(model.frames) == len(model.told) == 2
    assert shown(model, "sign") <= {0, 1}


def test_attention_over_time_knows_how_many_frames_lie_between():
    layer = OverTime(8, 2, 4, 2)
    with torch.no_grad():
        layer.to_qkv.weight[:16] = 0  # all frames look alike
        layer.to_qkv.weight[16:] = torch.eye(8)
        layer.to_out.weight.copy_(torch.eye(8))
        layer.to_out.bias.zero_()
        layer.apart[:, 4] = 50.0  # but the one before is looked at
        x = torch.randn(4, 8, 3, 3)
        torch.testing.assert_close((layer(x) - x)[1:], layer.norm(x)[:-1])


def test_attention_over_time_joins_the_frames_of_a_film_and_no_others():
    torch.manual_seed(0)
    layer = OverTime(8, 2, 4, 2)
    torch.nn.init.normal_(layer.to_out.weight)
    x = torch.randn(2 * 4, 8, 3, 3)
    changed = x.clone()
    changed[1, :, 0, 0] += 1  # a place of the first film's second frame
    apart = (layer(changed) - layer(x)).abs().sum(1) > 1e-4  # (B T, H, W)
    assert apart[[0, 2, 3], 0, 0].all(), "its other frames see it"
    assert not apart[4:].any(), "another film does not"


def test_a_first_frame_that_is_given_stays_and_another_prompt_makes_another_film():
    torch.manual_seed(0)
    model = VideoDiffusion(VideoDiffusion.SIZES["tiny"], TASK.spec(LEARNT))
    for weight in model.average.parameters():
        weight.data.normal_(std=0.2)
    first = LEARNT.input[:1, :, :16].float() / 127.5 - 1
    noise = lambda: Noise(0, [0])  # noqa: E731
    drawn = done(draw(model, noise(), ["a red sign"], steps=3, image=first))
    assert (drawn[:, :, :16].int() - LEARNT.input[:1, :, :16].int()).abs().max() <= 1
    one, two = (done(draw(model, noise(), [text], steps=3)) for text in ("a red sign", "左へ動く"))
    assert not torch.equal(one, two)
    assert one.shape == (1, 3, 4 * 16, 16)


def test_one_caption_in_ten_is_hidden_in_training_and_guidance_leads_away_from_it(monkeypatch):
    torch.manual_seed(0)
    model, read = VideoDiffusion(VideoDiffusion.SIZES["tiny"], TASK.spec(LEARNT)), []
    monkeypatch.setattr(model, "read", lambda texts: read.extend(texts) or VideoDiffusion.read(model, texts))
    batch = TASK.batch(Rows(LEARNT.input[:64], LEARNT.target[:64]), model.spec)
    for _batch in range(10):
        model.loss(batch)
    hidden = sum(not text for text in read) / len(read)
    assert len(read) == 640 and hidden == pytest.approx(0.1, abs=0.05)

    class Shows(torch.nn.Module):
        """A film of one grey: of the text, half as light of none."""

        def forward(self, film, _step, text):
            light = torch.where((text == none).all(1), 0.1, 0.2).view(-1, 1, 1, 1, 1)
            return light.expand_as(film[:, :, :-1])

    none = model.read([""])
    model.average = Shows()
    for guidance, light in ((1.0, 0.2), (2.0, 0.3), (5.0, 0.6)):
        *_before, film = model.drawing(Noise(0, [0]), ["a red sign"], guidance=guidance, steps=2)
        torch.testing.assert_close(film, torch.full_like(film, light), atol=1e-3, rtol=0)


def learning(monkeypatch, **constants):
    for name, value in constants.items():
        monkeypatch.setattr(video_diffusion, name, value)
    torch.manual_seed(0)
    model = VideoDiffusion(VideoDiffusion.SIZES["tiny"], TASK.spec(LEARNT))
    return model, TASK.batch(Rows(LEARNT.input[:64], LEARNT.target[:64]), model.spec)


def test_a_first_frame_that_is_given_is_clean_and_is_not_learnt(monkeypatch):
    model, batch = learning(monkeypatch, GIVEN=1.0)
    film = model.folded(batch.film)

    def finds(seen, _step, _text):
        """All but the first frame."""
        assert torch.equal(seen[:, 0, :-1], film[:, 0]) and (seen[:, 0, -1] == 1).all()
        assert not seen[:, 1:, -1].any()
        return torch.cat([film[:, :1] + 1, film[:, 1:]], 1)

    monkeypatch.setattr(model.unet, "forward", finds)
    assert float(model.loss(batch)) == 0


def test_the_first_frame_is_given_in_one_film_of_five(monkeypatch):
    model, batch = learning(monkeypatch)
    given = []

    def sees(seen, _step, _text):
        given.extend(seen[:, 0, -1, 0, 0].tolist())
        return seen[:, :, :-1]

    monkeypatch.setattr(model.unet, "forward", sees)
    for _batch in range(10):
        model.loss(batch)
    assert len(given) == 640 and np.mean(given) == pytest.approx(0.2, abs=0.06)


def test_every_caption_of_a_film_is_read_sooner_or_later(monkeypatch):
    model, batch = learning(monkeypatch, HIDDEN=0.0)
    few, read = Batch(batch.film[:2], batch.captions[:2]), set()
    monkeypatch.setattr(model, "read", lambda texts: read.update(texts) or VideoDiffusion.read(model, texts))
    monkeypatch.setattr(model.unet, "forward", lambda seen, _step, _text: seen[:, :, :-1])
    for _time in range(40):
        model.loss(few)
    assert read == {each.text for captions in few.captions for each in captions}


def test_the_average_follows_at_first_fast_and_later_slowly(monkeypatch):
    model, batch = learning(monkeypatch)
    monkeypatch.setattr(model, "loss", lambda _batch: torch.zeros(()))
    few = Batch(batch.film[:4], batch.captions[:4])
    weight, average = (each.enter.weight for each in (model.unet, model.average))
    for count, share in ((0, 9 / 11), (10**6, 5e-3)):
        model.drawn.fill_(count)
        for _update in model.updates(few, 0):
            with torch.no_grad():
                average.zero_()
                weight.fill_(1.0)
        torch.testing.assert_close(average, torch.full_like(average, share))


def test_a_film_is_folded_and_unfolded_without_loss():
    model = VideoDiffusion(VideoDiffusion.SIZES["tiny"], TASK.spec(LEARNT))
    film = frames_of(LEARNT.input[:2].float())
    assert torch.equal(model.strips(model.folded(film)), LEARNT.input[:2].float())


def test_a_drawn_film_is_written_as_moving_webp_and_mp4_both_marked(tmp_path):
    mark = provenance.of_published("video_diffusion", 3, {"prompt": "a red sign"})
    record = DrawnRecord(tmp_path, tmp_path, "video_diffusion", 3, 0, 0.0, [])
    write_film(tmp_path / "00000.png", LEARNT.input[0], mark.of(0), record)
    webp, mp4 = record.files
    assert webp.suffix == ".webp" and mp4.suffix == ".mp4"
    with Image.open(webp) as image:
        assert image.n_frames == video(LEARNT.input[0]).frames.shape[0] == 4
    for path in record.files:
        found = provenance.read(path)
        assert found is not None and found.settings["prompt"] == "a red sign"


class Blind:
    """A reader that has seen nothing."""

    def __init__(self, train):
        self.train, self.of = train, film_reader.FilmReader(train.classes, 4)
        self.wanted, self.read = self.of.wanted, self.of.read


def test_readers_learn_from_training_films_alone_and_samples_are_even(monkeypatch):
    def reader(train):
        yield 1.0, Blind(train)

    monkeypatch.setattr(task_file, "film_reader", reader)
    films = LEARNT.only(range(60))
    split = Split(torch.arange(20), torch.arange(20, 30), torch.arange(30, 60))
    *_steps, last = TASK.setup(films, split, Options(samples=10))
    assert last.result.reader.train.file == films.file[:20]
    taken = [films.file.index(name) - 30 for name in last.result.test.file]
    assert len(taken) == 10 and (taken[0], taken[-1]) == (0, 29)
    assert {3, 4} >= set(np.diff(taken).tolist())


def test_a_single_frame_is_no_film():
    image = replace(LEARNT, input=LEARNT.input[:, :, :16])
    with pytest.raises(UserError) as caught:
        TASK.check(image, Options())
    assert caught.value.code == "no films"
    TASK.check(replace(LEARNT, input=LEARNT.input[:, :, :32]), Options())


def test_one_text_is_drawn_with_the_seed_and_the_options_that_were_asked_for():
    asked = []

    class Asked(FilmGenerator):
        def drawing(self, noise, condition, **options):
            asked.append((condition, options))
            yield noise.normal(3, 32, 16) / 4

    system = Asked(Config(), Spec(3, 16, 2))
    first, again, other = (
        system.predict(Text(" a  coin "), negative="night", steps=3, guidance=7.0, seed=seed).frames
        for seed in (5, 5, 6)
    )
    assert asked[0] == (["a coin"], {"negative": "night", "steps": 3, "guidance": 7.0})
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_pictures_without_motion_are_refused(digits):
    with pytest.raises(UserError) as caught:
        TASK.check(digits, Options())
    assert caught.value.code == "no captions"
    assert tuple(ATTRIBUTES) == tuple(metrics.ATTRIBUTES)


@pytest.mark.parametrize("kept, weight", [(0.5, 2.0), (0.2, 1.25), (0.99, 5.0)])
def test_errors_weigh_as_those_of_v_but_five_times_at_most(kept, weight, monkeypatch):
    monkeypatch.setattr(video_diffusion, "GIVEN", 0.0)
    torch.manual_seed(0)
    model = VideoDiffusion(VideoDiffusion.SIZES["tiny"], TASK.spec(LEARNT))
    torch.nn.init.zeros_(model.unet.leave.weight)
    torch.nn.init.zeros_(model.unet.leave.bias)  # it says 0
    model.alpha_bars = [kept] * len(model.alpha_bars)
    batch = TASK.batch(Rows(LEARNT.input[:4], LEARNT.target[:4]), model.spec)
    expected = weight * float(model.folded(batch.film).square().mean())
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("used, lowest", [(0.0, 999), (0.25, 500), (0.5, 0), (1.0, 0)])
def test_training_begins_with_pure_noise_and_widens_to_all_levels(used, lowest, monkeypatch):
    model, batch = learning(monkeypatch)
    steps = []
    monkeypatch.setattr(model.unet, "forward", lambda seen, step, _text: steps.extend(step.tolist()) or seen[:, :, :-1])
    model.used = used
    for _batch in range(10):
        model.loss(batch)
    assert min(steps) >= lowest and max(steps) <= 999
    assert min(steps) - lowest < 0.02 * 1000 and 999 - max(steps) < 0.02 * 1000


def test_there_is_four_times_the_noise_of_images(monkeypatch):
    model, _batch = learning(monkeypatch)
    kept, image = torch.tensor(model.alpha_bars, dtype=torch.float64), cosine()
    torch.testing.assert_close((1 - kept) / kept, 4 * (1 - image) / image)


def test_the_frame_multiplies_what_the_text_says():
    torch.manual_seed(0)
    condition = Condition(6, 5, 8)
    torch.nn.init.zeros_(condition.whole.bias)
    frames = torch.randn(3, 5)
    silent, spoken = condition(torch.zeros(1, 6), frames), condition(torch.randn(2, 6), frames)
    assert spoken.shape == (2 * 3, 8)
    torch.testing.assert_close(silent, silent[:1].expand(3, -1))
    assert (spoken[0] - spoken[1]).abs().max() > 0.01


def test_the_condition_scales_and_shifts():
    torch.manual_seed(0)
    block = ScaledResidual(8, 8, 4, 2)
    torch.nn.init.normal_(block.conv2.weight)
    torch.nn.init.zeros_(block.to_scale_shift.weight)
    x, nothing = torch.randn(1, 8, 4, 4), torch.zeros(1, 4)
    with torch.no_grad():
        block.to_scale_shift.bias[:8], block.to_scale_shift.bias[8:] = -1.0, 0.5
    flat = F.conv2d(F.silu(torch.full((1, 8, 4, 4), 0.5)), block.conv2.weight, block.conv2.bias, padding=1)
    torch.testing.assert_close(block(x, nothing), x + flat)


def test_each_place_has_sines_of_its_own_that_the_text_can_emphasise():
    sines = places(6, 8, torch.device("cpu"))
    assert sines.shape == (1, 12, 6, 8) and sines.flatten(2)[0].T.unique(dim=0).shape[0] == 48
    torch.manual_seed(0)
    unet = FilmUNet(3, 3, 2, video_diffusion.Config((16, 16), 1, 8, 2))
    torch.nn.init.normal_(unet.leave.weight, std=0.1)
    given = torch.zeros(1, 2, 3, 8, 8), torch.zeros(1), torch.randn(1, 8)
    whole = unet(*given)
    with torch.no_grad():
        unet.emphasis.weight.zero_()
        other = unet(*given)
        unet.place.weight.zero_()
    assert not torch.allclose(whole, other) and not torch.allclose(other, unet(*given))
