"""Scenes with captions: what is said of them is what is on them."""

from dataclasses import replace

import numpy as np
import pytest
import shapes
import torch

from souron.data.composing import captioned, captioned_words
from souron.data.composing.captioned_words import Attributes, captions, cleaned
from souron.data.composing.composer import LUMA
from souron.data.dataset import Dataset, ListColumn
from souron.data.targets.captions import Caption, are_captions, in_language, language_of
from souron.evaluation.answers import Setup, Trainings
from souron.evaluation.vision import matching
from souron.metrics import match
from souron.tasks.match import Matching
from souron.utils.messages import UserError

SOURCE = captioned.drawn()
COMPOSER = captioned.Composer(SOURCE, 64)


def test_a_scene_follows_from_its_number_alone():
    first = COMPOSER.scene("train", 7)
    again = captioned.Composer(SOURCE, 64).scene("train", 7)
    assert torch.equal(first.image, again.image) and first.captions == again.captions
    assert not torch.equal(first.image, COMPOSER.scene("train", 8).image)
    assert not torch.equal(first.image, captioned.Composer(SOURCE, 64, 1).scene("train", 7).image)


WHOLE = [  # whose figures have no parts that lie apart
    number for number in range(300) if COMPOSER.attributes("new scenes", number).object in ("coin", "fruit")
]


@pytest.mark.parametrize("number", WHOLE[:14])
def test_things_are_as_many_and_where_the_caption_says(number):
    from scipy import ndimage

    scene = COMPOSER.scene("new scenes", number)
    asked = scene.attributes
    _labels, found = ndimage.label(scene.mask.numpy())
    assert found == asked.count
    if asked.count == 1:
        y, x = (float(axis.float().mean()) / 64 for axis in scene.mask.nonzero(as_tuple=True))
        nearest = min(
            captioned.MIDDLES, key=lambda name: np.hypot(x - captioned.MIDDLES[name][0], y - captioned.MIDDLES[name][1])
        )
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
        replace(base, object="fish"),
        replace(base, colour="blue"),
        replace(base, place="right"),
        replace(base, ground="snow"),
        replace(base, count=2, place=""),
    ]
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


def test_a_rank_is_behind_what_is_as_near_and_equal_captions_do_not_compete():
    similarity = torch.tensor([[0.5, 0.5, 0.9], [0.1, 0.7, 0.2], [0.9, 0.3, 0.8]])
    own = torch.eye(3, dtype=torch.bool)
    assert match.ranks(similarity, own).tolist() == [3, 1, 2]
    assert match.ranks(similarity, own | own.flip(0)).tolist() == [2, 1, 1]  # first and third


def test_what_has_no_score_does_not_count():
    assert match.found(torch.tensor([1, 3, 0]), 2)[:2].tolist() == [1, 0]
    scores = np.array([[[1, np.nan], [np.nan, np.nan], [0, 1], [1, 1]]])
    found = match.where(scores)
    assert found[0] == pytest.approx([0.96, 0.8, 0.32, 1.12])  # away from their mean, 4 of 5
    assert found.mean() == pytest.approx(0.8)
    assert np.isnan(match.where(match.found(torch.zeros(2, 3), 1))).all()


def told(data, read, width, scale=1.0, image=None):
    """The answers about pictures whose features are ``image``."""
    image = torch.eye(width)[: len(data)] if image is None else image
    *_before, (_done, answers) = matching.asked(image, data, data.classes, read, scale)
    return answers


def four():
    """Two pictures each of two subsets."""
    captions = ListColumn([(Caption(text, "en"),) for text in "abcd"])
    return Dataset(
        "four",
        torch.zeros(4, 3, 8, 8).byte(),
        captions,
        (),
        list("wxyz"),
        columns={"subset": ["one", "one", "other", "other"]},
    )


def test_pictures_find_captions_and_captions_pictures_within_their_subset(monkeypatch):
    near = torch.tensor(
        [  # of the picture in a row to the caption in a column
            [0.2, 0.6, 1.0, 1.0],
            [0.1, 0.9, 1.0, 1.0],
            [1.0, 1.0, 0.5, 0.3],
            [1.0, 1.0, 0.8, 0.7],
        ]
    )
    found = told(four(), lambda texts: near.T[["abcd".index(text) for text in texts]], 4)
    assert found["rank"].flatten().tolist() == [2, 1, 1, 2]
    assert found["back"].flatten().tolist() == [1, 1, 2, 1]
    assert found["preferred"].flatten().tolist() == [1, 1, 2, 2]
    monkeypatch.setattr(matching, "GALLERY", 1)
    assert [rows.tolist() for rows in matching.galleries(four())] == [[0], [1], [2], [3]]


def test_a_swap_changes_one_word_to_another():
    base, random = Attributes("bird", "red", 2, "", "grass"), np.random.default_rng(0)
    classes = ("bird", "fish", "coin")
    for name in ("object", "colour", "count", "ground"):
        for _again in range(20):
            other = matching.swapped(base, name, classes, random)
            assert getattr(other, name) != getattr(base, name)
            assert replace(other, **{name: getattr(base, name)}) == base
    assert matching.swapped(base, "place", classes, random) is None
    assert matching.swapped(replace(base, colour=""), "colour", classes, random) is None


def test_every_system_is_asked_the_same_and_does_not_win_where_both_are_as_near():
    cases, asked = shapes.captioned(30, 16), []

    def read(texts):
        asked.append(texts)
        return torch.zeros(len(texts), 2)

    swap = told(cases, read, 2, image=torch.ones(30, 2))["swap"]
    assert swap.isfinite().any() and swap.nan_to_num(0).sum() == 0
    first, asked = asked, []
    told(cases, read, 2, image=torch.ones(30, 2))
    assert asked == first


def test_a_class_is_as_likely_as_all_its_captions_together():
    """One caption in seven of a coin is nearest of all, but every one of a sign nearly so."""
    cases = shapes.captioned(20, 16)
    cases = replace(cases, target=ListColumn([in_language(said, "en") for said in cases.target]))

    def read(texts):
        near = [("sign" in text) * 0.9 + ("red coin" in text) * 1.0 for text in texts]
        return torch.tensor(near)[:, None]

    named = told(cases, read, 1, image=torch.ones(20, 1))["zero"][:, 0]
    truth = [float(thing == "sign") for thing in cases.columns["object"]]
    assert named.tolist() == truth and 0 < sum(truth) < 20


def test_intervals_of_unseen_stamps_are_those_of_their_stamps():
    """Not those of a case whose answer came from a training of its own."""
    cases = shapes.captioned(60, 32)
    cases = replace(
        cases,
        group=[f"stamp {row // 4}" for row in range(60)],
        columns={**cases.columns, "subset": ["unseen stamps"] * 60},
    )
    rank = torch.ones(60, 2, dtype=torch.long)
    rank[::3] = 2
    none = torch.full((60, 2), torch.nan)
    answers = {"rank": rank, "back": rank, "zero": none, "swap": none[..., None].expand(-1, -1, 5)}
    result = Matching().result(Trainings.of_one(cases, answers, {}), Setup(None, cases))
    for part in result.parts:
        measure = part.measures["recall@1"]
        assert measure.value == pytest.approx(2 / 3)
        assert 0.4 < measure.low < measure.high < 0.9 and measure.groups == 15
