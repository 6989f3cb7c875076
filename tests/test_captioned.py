"""Scenes with captions: what is said of them is what is on them."""

from dataclasses import replace

import numpy as np
import pytest
import shapes
import torch

from souron.data.captions import Caption, are_captions, in_language, language_of
from souron.data.composing import captioned, captioned_words
from souron.data.composing.captioned_words import Attributes, captions, cleaned
from souron.data.composing.composer import LUMA
from souron.evaluation.answers import Setup, Trainings
from souron.tasks.match import Matching
from souron.utils.messages import UserError

SOURCE = captioned.drawn()
COMPOSER = captioned.Composer(SOURCE, 64)


def test_a_scene_follows_from_its_number_alone():
    first = COMPOSER.scene("train", 7)
    again = captioned.Composer(SOURCE, 64).scene("train", 7)
    assert torch.equal(first.picture, again.picture) and first.captions == again.captions
    assert not torch.equal(first.picture, COMPOSER.scene("train", 8).picture)
    assert not torch.equal(
        first.picture, captioned.Composer(SOURCE, 64, 1).scene("train", 7).picture
    )


WHOLE = [  # whose figures have no parts that lie apart
    number for number in range(300)
    if COMPOSER.attributes("new scenes", number).object in ("coin", "fruit")
]  # fmt: skip


@pytest.mark.parametrize("number", WHOLE[:14])
def test_things_are_as_many_and_where_the_caption_says(number):
    from scipy import ndimage

    scene = COMPOSER.scene("new scenes", number)
    asked = scene.attributes
    _labels, found = ndimage.label(scene.mask.numpy())
    assert found == asked.count
    if asked.count == 1:
        y, x = (float(axis.float().mean()) / 64 for axis in scene.mask.nonzero(as_tuple=True))
        nearest = min(captioned.MIDDLES, key=lambda name: np.hypot(
            x - captioned.MIDDLES[name][0], y - captioned.MIDDLES[name][1]
        ))  # fmt: skip
        assert nearest == asked.place
        rows, columns = scene.mask.any(1).sum(), scene.mask.any(0).sum()
        assert max(rows, columns) >= 0.5 * 64


@pytest.mark.parametrize("colour", captioned.TINTS)
def test_a_tint_is_the_colour_that_is_named(colour):
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.uniform(40, 220, (20, 20, 1)), 3, 2).astype(np.float32)
    seen = captioned.tinted(grey, np.ones((20, 20), bool), colour, rng).mean((0, 1))
    near = min(captioned.TINTS, key=lambda name: np.abs(seen - captioned.TINTS[name]).sum())
    assert near == colour
    assert captioned.tinted(grey, np.ones((20, 20), bool), colour, rng)[..., 0].std() > 3  # shade


def test_new_pairs_are_in_no_training_scene_and_unseen_figures_in_none_either():
    trained = [COMPOSER.attributes("train", number) for number in range(2000)]
    pairs = {(each.object, each.colour) for each in trained}
    assert not pairs & COMPOSER.pairs
    assert {c.object for c in trained} == set(SOURCE.classes)
    asked = [COMPOSER.attributes("new pairs", number) for number in range(200)]
    assert all((each.object, each.colour) in COMPOSER.pairs for each in asked)
    unseen = {cut.cutout.name for cut in SOURCE.cuts if cut.unseen}
    assert all(COMPOSER.scene("unseen stamps", number).cutout in unseen for number in range(8))
    assert not any(COMPOSER.scene("train", number).cutout in unseen for number in range(8))


@pytest.mark.parametrize("subset", ["new scenes", "new pairs", "unseen stamps"])
def test_no_two_test_scenes_ask_for_the_same(subset):
    asked = [COMPOSER.attributes(subset, number) for number in range(300)]
    assert len(set(asked)) == 300
    assert not any(each.ground in captioned.VANISHES.get(each.colour, ()) for each in asked)


def test_captions_have_counters_and_say_everything():
    said = captions(Attributes("bird", "red", 2, "", "grass"))
    assert "two red birds on grass" in [c.text for c in in_language(said, "en")]
    assert "草の上に、二羽の赤い鳥" in [c.text for c in in_language(said, "ja")]
    said = captions(Attributes("insect", "", 1, "left", "night"), ("bee", "ミツバチ"))
    assert [c.text for c in in_language(said, "en")] == [
        "an insect on the left, in the night sky",
        "a picture of an insect on the left, in the night sky",
        "in the night sky: an insect on the left",
        "a bee on the left, in the night sky",
    ]
    assert in_language(said, "ja")[-1].text == "夜空の左側に、一匹のミツバチ"
    several = captions(replace(Attributes("insect", "", 3, "", "night")), ("bee", "ミツバチ"))
    assert not any("bee" in c.text or "ミツバチ" in c.text for c in several)  # they may differ


def test_every_attribute_changes_every_caption():
    base = Attributes("bird", "red", 1, "left", "grass")
    others = [
        replace(base, object="fish"), replace(base, colour="blue"), replace(base, place="right"),
        replace(base, ground="snow"), replace(base, count=2, place=""),
    ]  # fmt: skip
    for other in others:
        for one, changed in zip(captions(base), captions(other), strict=True):
            assert one.text != changed.text and one.language == changed.language


@pytest.mark.parametrize(
    ("text", "japanese", "expected"),
    [
        ("A crow.", False, "crow"),
        ("A bulldozer. It pushes dirt with a big shovel.", False, "bulldozer"),
        ("Some cherries.", False, ""),
        ("A pink flamingo.", False, ""),  # it may be tinted
        ("Three.", False, ""),
        ("ブルドーザー。 おおきな シャベルで つちを うごかす。", True, "ブルドーザー"),
        ("ピンクのフラミンゴ", True, ""),
        ("オーストラリアに すんでいる やせいの イヌ", True, ""),
    ],
)
def test_names_of_stamps_are_cleaned(text, japanese, expected):
    assert cleaned(text, japanese) == expected


def test_every_class_and_ground_has_words_and_a_picture():
    assert set(captioned.KINDS) == set(captioned_words.THINGS)
    assert set(captioned.TINTS) == set(captioned_words.COLOURS)
    assert set(captioned.MIDDLES) == set(captioned_words.PLACES)
    means = {}
    for name in captioned_words.GROUNDS:
        seen = captioned.ground(name, 64, np.random.default_rng(0))
        assert seen.shape == (64, 64, 3) and seen.dtype == np.float32
        means[name] = seen.mean((0, 1))
    bright = {name: float(mean @ LUMA) for name, mean in means.items()}
    assert bright["night"] < bright["water"] < bright["sky"] < bright["snow"]


def test_languages_are_told_by_their_letters():
    assert language_of("二羽の red bird") == "ja"
    assert language_of("a bird") == "en"
    assert language_of("123 🙂") == ""
    assert are_captions((Caption("a", "en"),)) and not are_captions(("a",))


def test_scenes_of_impossible_sizes_are_refused():
    with pytest.raises(UserError) as told:
        captioned.scenes(captioned.Recipe(4096, 0, {"train": 1}), SOURCE)
    assert "4096" in told.value.found


def test_intervals_of_unseen_stamps_are_those_of_their_stamps():
    """Not those of a case whose answer came from a training of its own."""
    cases = shapes.captioned(60, 32)
    cases = replace(cases, group=[f"stamp {row // 4}" for row in range(60)], columns={
        **cases.columns, "subset": ["unseen stamps"] * 60,
    })  # fmt: skip
    rank = torch.ones(60, 2, dtype=torch.long)
    rank[::3] = 2
    none = torch.full((60, 2), torch.nan)
    answers = {"rank": rank, "back": rank, "zero": none, "swap": none[..., None].expand(-1, -1, 5)}
    result = Matching().result(Trainings.of_one(cases, answers, {}), Setup(None, cases))
    for part in result.parts:
        measure = part.measures["recall@1"]
        assert measure.value == pytest.approx(2 / 3)
        assert 0.4 < measure.low < measure.high < 0.9 and measure.groups == 15
