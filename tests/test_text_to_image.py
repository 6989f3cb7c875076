"""Pictures for prompts: who draws what was asked for is told from who does not."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from shapes import captioned as captioned_shapes

from souron.data.composing import captioned, captioned_words
from souron.data.dataset import Dataset, ListColumn
from souron.data.splits import Split
from souron.data.targets.captions import Caption
from souron.evaluation.generators import attribute_reader, prompt_adherence
from souron.evaluation.generators.attribute_reader import AttributeReader
from souron.evaluation.generators.sampling import Noise
from souron.kinds.text import Text
from souron.metrics import text_to_image as metrics
from souron.tasks.match import texts_of
from souron.tasks.text_to_image import Options, PromptedGenerator, Spec, TextToImage, checked, drawn_for, parts
from souron.utils.messages import UserError

TASK = TextToImage()


@dataclass(frozen=True)
class Config:
    rate: float = 1e-3


class Composes(PromptedGenerator):
    """Draws what a prompt asks for, or what another one does."""

    SIZES = {"small": Config()}
    heeds = True

    def drawing(self, noise, condition, *, negative="", steps=20, guidance=4.0):
        prompts = list(condition) if self.heeds else list(condition)[::-1]
        images = []
        for prompt in prompts:
            asked = captioned_words.asked_for(prompt)
            same = [
                row
                for row in range(len(LEARNT))
                if all(LEARNT.columns[name][row] == value for name, value in asked.items())
            ]
            images.append(LEARNT.input[same[0]])
        yield torch.stack(images).float() / 127.5 - 1


LEARNT = captioned_shapes(800, 32, seed=3)


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    """Prompts of shapes, with a reader that has learnt from others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURON_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(attribute_reader, "EXAMPLES", 12_000)
        patch.setattr(attribute_reader, "BATCH", 64)
        data = captioned_shapes(560, 32)
        split = Split(torch.arange(400), torch.arange(400, 460), torch.arange(460, 560))
        *_before, last = TASK.setup(data, split, Options(samples=60))
        yield last.result


def drawn_by(heeds, setup, data=None):
    painter = Composes(Config(), Spec(3, 32))
    painter.heeds = heeds
    painter.register_buffer("none", torch.zeros(1))
    *_before, last = TASK.answer(painter, setup.test, {}, setup, 0)
    return last.result


def test_who_draws_what_was_asked_for_is_told_from_who_does_not(setup):
    good, bad = drawn_by(True, setup), drawn_by(False, setup)
    figures = TASK.measures([good], setup)
    assert figures[metrics.ACCURACY].value > 0.9
    assert TASK.measures([bad], setup)[metrics.ACCURACY].value < 0.65
    whole, *_others = parts([good], setup)
    for name, measure in whole.measures.items():
        assert whole.floor[name] < measure.value or name == "count", name  # there is one of each
        assert whole.ceiling[name] >= 0.85, name
    english = [part for part in parts([good], setup) if part.language == "en"]
    assert english and english[0].cases == 30  # the languages take turns
    told = TASK.result(trainings_of(good, setup), setup).as_json()
    assert json.loads(json.dumps(told))["obedience"][0]["floor"]["colour"] < 0.9


def trainings_of(answers, setup):
    from souron.evaluation.answers import Trainings

    return Trainings.of_one(setup.test, answers, {})


def test_the_ceiling_is_of_real_pictures_and_the_floor_of_others_captions(setup):
    others = prompt_adherence.other_rows(setup.test)
    assert sorted(others.tolist()) == list(range(len(setup.test)))
    assert not (others == torch.arange(len(others))).any()
    again = setup.judged(setup.test.input[:])
    assert torch.equal(again["right"].nan_to_num(-1), setup.ceiling["right"].nan_to_num(-1))


def test_what_a_prompt_does_not_ask_is_not_judged():
    data = captioned_shapes(8, 32)
    columns = {**data.columns, "colour": [""] * 8}
    asked = prompt_adherence.asks(Dataset(**{**vars(data), "columns": columns}))
    assert not asked[:, 1].any() and asked[:, 0].all()


def test_the_reader_does_not_learn_that_a_pair_cannot_be(setup):
    """It tells an object by its shape alone, whatever its colour."""
    image = setup.test.input[:8].clone()
    painted = image[:, [2, 0, 1]]
    told, again = (setup.reader.read(each)["object"] for each in (image, painted))
    assert torch.allclose(told, again, atol=1e-4)
    assert not torch.allclose(*(setup.reader.read(each)["colour"] for each in (image, painted)), atol=1e-2)


def test_a_reader_is_kept_by_the_name_of_its_data(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path))
    monkeypatch.setattr(attribute_reader, "EXAMPLES", 128)
    data = captioned_shapes(64, 32)
    *_before, (_done, reader) = attribute_reader.attribute_reader(data)
    kept = attribute_reader.kept_reader(data.name)
    assert isinstance(kept, AttributeReader)
    told, again = reader.read(data.input[:4]), kept.read(data.input[:4])
    assert all(torch.allclose(told[name], again[name], atol=1e-4) for name in told)
    assert attribute_reader.kept_reader("other") is None
    read = prompt_adherence.read_off(data.name, data.input[:1], "a red coin on the left, on sand")
    assert set(read) == {"object", "colour", "place", "ground"}
    assert all(0 <= each["p"] <= 1 for each in read.values())


def test_without_attributes_a_matcher_looks_for_the_caption():
    texts = [f"picture {i}" for i in range(6)]
    near = torch.eye(6)
    rank = prompt_adherence.among(near, texts, torch.arange(6))
    assert rank.tolist() == [1] * 6
    assert prompt_adherence.among(near, texts, torch.arange(6).roll(1)).min() > 1
    assert prompt_adherence.among(torch.zeros(6, 6), ["same"] * 6, torch.arange(6)).tolist() == [1] * 6
    assert prompt_adherence.among(torch.zeros(6, 6), texts, torch.arange(6)).tolist() == [6] * 6


def test_prompts_are_drawn_for_new_scenes_and_new_pairs_alone():
    data = captioned_shapes(40, 32)
    names = ["new scenes"] * 10 + ["new pairs"] * 10 + ["unseen stamps"] * 20
    data = Dataset(**{**vars(data), "columns": {**data.columns, "subset": names}})
    rows = prompt_adherence.chosen(data, range(40), 8)
    assert rows == [0, 1, 2, 3, 10, 11, 12, 13]


@pytest.mark.parametrize("prompt", ["", "   ", "x" * 5000, "\n\t"])
def test_empty_and_endless_prompts_are_refused(prompt):
    with pytest.raises(UserError) as told:
        checked(prompt)
    assert told.value.code == "prompt"


def test_emoji_are_letters_like_others_and_unknown_words_are_named():
    assert checked(" 🐦  on 草 ") == "🐦 on 草"
    spec = Spec(3, 32, words=("a", "red", "bird", "on", "草", "の", "上"))
    painter = Composes(Config(), spec)
    assert painter.unknown_words("A red dragon on 草の上の龍") == ["dragon", "龍"]
    assert painter.unknown_words("a red bird") == []
    assert Composes(Config(), Spec(3, 32)).unknown_words("anything") == []


def test_words_that_a_prompt_names_are_found_in_both_languages():
    assert captioned_words.asked_for("two red birds on grass") == {
        "object": "bird",
        "colour": "red",
        "count": "2",
        "ground": "grass",
    }
    assert captioned_words.asked_for("青空の左側に、一羽の白い鳥") == {
        "object": "bird",
        "colour": "white",
        "count": "1",
        "place": "left",
        "ground": "sky",
    }
    assert captioned_words.asked_for("something else") == {}


def test_every_caption_is_read_back():
    random = np.random.default_rng(0)
    composer = captioned.Composer(captioned.Source("none", (), ""), 32)
    composer.classes = tuple(captioned_words.THINGS)
    for _number in range(100):
        asked = composer._drawn_by_chance(random)
        for caption in captioned_words.captions(asked):
            found = captioned_words.asked_for(caption.text)
            assert found["object"] == asked.object and found["ground"] == asked.ground
            assert found.get("colour", "") == asked.colour
            assert found.get("place", "") == asked.place
            assert int(found.get("count", 1)) == asked.count


def test_conditions_come_from_the_training_captions():
    painter = Composes(Config(), Spec(3, 32, prompts=("a", "b", "c")))
    painter.register_buffer("none", torch.zeros(1))
    drawn = painter.conditions(Noise(0, range(300)))
    assert set(drawn) == {"a", "b", "c"} and drawn == painter.conditions(Noise(0, range(300)))


class Asked(PromptedGenerator):
    """Draws noise, and keeps what it was asked for."""

    def drawing(self, noise, condition, **options):
        self.asked = list(condition), options
        yield noise.normal(3, 8, 8) / 4


def test_each_seed_draws_pictures_of_its_own_for_the_same_prompts():
    painter = Asked(Config(), Spec(3, 8))

    def drawn(seed, count=3):
        *_before, (done, sample) = drawn_for(painter, ["a coin"] * count, seed)
        assert done == 1
        return sample.image

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))
    assert torch.equal(drawn(1, 2), drawn(1)[:2])
    assert not torch.equal(drawn(1)[0], drawn(1)[1])


def test_one_text_is_drawn_with_the_seed_and_the_options_that_were_asked_for():
    painter = Asked(Config(), Spec(3, 8))
    first, again, other = (
        np.asarray(painter.predict(Text(" a  coin "), negative="night", steps=3, guidance=7.0, seed=seed).image)
        for seed in (5, 5, 6)
    )
    assert painter.asked == (["a coin"], {"negative": "night", "steps": 3, "guidance": 7.0})
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_half_of_a_prompts_words_may_not_be_unknown():
    painter = Asked(Config(), Spec(3, 8, prompts=("a red coin",), words=("a", "red", "coin")))
    painter.refuse_unknown("a red coin dragon")
    painter.refuse_unknown("a coin coin dragon dragon")
    for prompt in ("coin dragon", "a coin dragon hologram", "dragon"):
        with pytest.raises(UserError) as told:
            painter.refuse_unknown(prompt)
        assert told.value.code == "unknown words"


def test_examples_of_captions_come_from_all_of_the_training_set():
    data = captioned_shapes(320, 16)
    captions = ListColumn([(Caption(f"scene {number}", "en"),) for number in range(320)])
    spec = TASK.spec(replace(data, target=captions))
    assert spec.prompts == tuple(f"scene {10 * number}" for number in range(32))
    assert spec.words[0] == "scene" and len(spec.words) == 321


def test_all_with_the_same_caption_are_refused():
    data = captioned_shapes(6, 32)
    same = ListColumn([(Caption("a thing", "en"),)] * 6)
    with pytest.raises(UserError) as told:
        TASK.check(Dataset(**{**vars(data), "target": same}), Options())
    assert told.value.code == "one caption"


def test_texts_of_an_option(tmp_path):
    assert texts_of("a cat| a dog |a cat") == ["a cat", "a dog"]
    file = tmp_path / "texts.txt"
    file.write_text("犬\n\n猫\n", encoding="utf-8")
    assert texts_of(str(file)) == ["犬", "猫"]
    for wrong in ("", " | ", "x" * 2000, str(tmp_path / "gone.txt")):
        with pytest.raises(UserError):
            texts_of(wrong)


def test_spec_of_captions():
    train = captioned_shapes(40, 32)
    spec = TASK.spec(train)
    assert spec.channels == 3 and spec.side == 32 and len(spec.prompts) > 4
    assert {"red", "coin"} <= set(spec.words)
