"""Films for prompts: whether they move as asked is told by readers that never saw a drawn one."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import filmed

from souron.data.composing import captioned, moving
from souron.data.composing.moving import Composer, Moving
from souron.data.dataset import Rows
from souron.data.splits import Split
from souron.evaluation import film_reader
from souron.evaluation.film_reader import ATTRIBUTES, frames_of, moved
from souron.evaluation.sampling import Noise, done, draw
from souron.kinds.codecs import provenance
from souron.metrics import text_to_video as metrics
from souron.runs import generate as run_generate
from souron.runs.record import DrawnRecord
from souron.systems.text_to_video import video_diffusion
from souron.systems.text_to_video.still_picture import StillPicture
from souron.systems.text_to_video.video_diffusion import OverTime, VideoDiffusion
from souron.tasks.text_to_video import FilmGenerator, Options, TextToVideo, parts, video
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
            next(i for i, said in enumerate(LEARNT.target) if any(s.text == prompt for s in said))
            for prompt in prompts
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
    monkeypatch.setattr(model, "read", lambda texts: read.extend(texts) or VideoDiffusion.read(
        model, texts))  # fmt: skip
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


def test_a_film_is_folded_and_unfolded_without_loss():
    model = VideoDiffusion(VideoDiffusion.SIZES["tiny"], TASK.spec(LEARNT))
    film = frames_of(LEARNT.input[:2].float())
    assert torch.equal(model.strips(model.folded(film)), LEARNT.input[:2].float())


def test_a_drawn_film_is_written_as_moving_webp_and_mp4_both_marked(tmp_path):
    mark = provenance.of_published("video_diffusion", 3, {"prompt": "a red sign"})
    record = DrawnRecord(tmp_path, tmp_path, "video_diffusion", 3, 0, 0.0, [])
    run_generate.write_film(tmp_path / "00000.png", LEARNT.input[0], mark.of(0), record)
    webp, mp4 = record.files
    assert webp.suffix == ".webp" and mp4.suffix == ".mp4"
    with Image.open(webp) as image:
        assert image.n_frames == video(LEARNT.input[0]).frames.shape[0] == 4
    for path in record.files:
        found = provenance.read(path)
        assert found is not None and found.settings["prompt"] == "a red sign"


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
    model.kept = [kept] * len(model.kept)
    batch = TASK.batch(Rows(LEARNT.input[:4], LEARNT.target[:4]), model.spec)
    expected = weight * float(model.folded(batch.film).square().mean())
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-4)
