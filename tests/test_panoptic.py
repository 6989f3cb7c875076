"""Panoptic quality against torchmetrics, void and crowds by hand, segments moved and packed, COCO's
files, and the task around them."""

import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from shapes import instanced, pieced
from torchmetrics.detection import PanopticQuality

import souron
from souron import model, registry
from souron.data import load
from souron.data.dataset import ListColumn, Rows
from souron.data.sets import scenes
from souron.data.targets.panoptic import boxes_of, divided, stuff_of
from souron.evaluation.answers import Trainings
from souron.evaluation.vision import panoptic as evaluation
from souron.kinds.picture import Picture
from souron.kinds.segments import Segments
from souron.metrics import panoptic
from souron.metrics.panoptic import Divided
from souron.runs import compare, evaluate, train
from souron.tasks import segment_panoptic
from souron.utils.messages import UserError

TASK = registry.load_task("segment_panoptic")
STUFF, CLASSES = (0, 1), 5


def drawn(random, side=40):
    """A map of segments of every class, stuff at most once, some of a few pixels, and void."""
    smooth = ndimage.gaussian_filter(random.normal(size=(9, side, side)), (0, 4, 4))
    ids = smooth.argmax(0) * (random.random((side, side)) > random.choice([0, 0.02]))
    labels = [0, 1, *random.integers(2, CLASSES, 6).tolist()]
    return Divided(np.array(labels), ids.astype(np.uint8))


def near(truth, random):
    """The same moved, some segments renamed or joined; no void but where the truth's came along."""
    ids = np.roll(truth.ids, random.integers(-3, 4, 2), (0, 1))
    ids = np.where(ids == 0, 1, ids)
    label = truth.label.copy()
    renamed = random.random(len(label)) < 0.2
    label[2:] = np.where(renamed, random.integers(2, CLASSES, len(label)), label)[2:]
    for row in range(2, len(label)):
        if random.random() < 0.1:
            ids[ids == row + 1] = random.integers(1, len(label) + 1)
    return Divided(label, ids.astype(np.uint8))


def as_pairs(one, void):
    """(H, W, 2) category and number, as torchmetrics wants them."""
    category = np.concatenate([[void], one.label])[one.ids]
    return torch.from_numpy(np.stack([category, one.ids], -1).astype(np.int64))


def theirs(truth, found, **asked):
    metric = PanopticQuality(set(range(CLASSES)) - set(STUFF), set(STUFF), **asked)
    metric.update(*(torch.stack([as_pairs(one, 99) for one in each]) for each in (found, truth)))
    return metric.compute()


def test_panoptic_quality_is_that_of_torchmetrics():
    """Void is a category that it does not know."""
    random = np.random.default_rng(0)
    truth = [drawn(random) for _image in range(40)]
    found = [near(one, random) for one in truth]
    for some in (slice(0, 40), slice(3, 4), slice(10, 12)):
        counted = panoptic.compare(truth[some], found[some], CLASSES)
        own = panoptic.scores(counted, STUFF)
        expected = theirs(truth[some], found[some], return_sq_and_rq=True).tolist()
        for name, value in zip(("PQ", "SQ", "RQ"), expected, strict=True):
            assert own[name].mean() == pytest.approx(value, abs=1e-6), name
        [each] = theirs(truth[some], found[some], return_per_class=True).tolist()
        each = [*each[-len(STUFF) :], *each[: -len(STUFF)]]  # things come first there
        quality = counted.summed().quality["PQ"]
        assert np.nan_to_num(quality) == pytest.approx(each, abs=1e-6)
        assert own["PQ of stuff"].mean() == pytest.approx(np.nanmean(quality[:2]))
        assert own["PQ of things"].mean() == pytest.approx(np.nanmean(quality[2:]))


def test_void_and_crowds_count_neither_for_nor_against():
    """As panopticapi has it."""
    ids = np.zeros((10, 10), np.uint8)
    ids[:, :4], ids[:, 4:6] = 1, 2  # a thing and a crowd region of its class; the rest is void
    truth = Divided([3, -1 - 3], ids)

    def judged(left, right, label=3):
        said = np.zeros((10, 10), np.uint8)
        said[:, left:right] = 1
        return panoptic.compare([truth], [Divided([label], said)], CLASSES)

    def counts(counted, label=3):
        return tuple(int(part[0, label]) for part in (counted.right, counted.alarms, counted.missed))

    assert counts(judged(0, 4)) == (1, 0, 0)
    assert judged(1, 10).overlap[0, 3] == 0  # 3 of 4 + 2: void is in no union, the crowd is
    assert judged(1, 6).overlap[0, 3] == 0
    assert judged(0, 5).overlap[0, 3] == pytest.approx(4 / 5)
    assert counts(judged(6, 9)) == (0, 0, 1)  # in void alone
    assert counts(judged(4, 6)) == (0, 0, 1)  # in the crowd alone
    assert counts(judged(4, 6, 2), 2) == (0, 1, 0)  # which is not of that class
    assert counts(judged(3, 5)) == (0, 1, 1)  # half in it
    assert counts(judged(3, 7)) == (0, 0, 1)  # by more than half in both
    bare = Divided([3], np.where(ids == 1, 1, 0))
    wide = Divided([3], (np.arange(100).reshape(10, 10) % 10 < 7).astype(np.uint8))
    assert panoptic.compare([bare], [wide], CLASSES).overlap[0, 3] == 1  # all but void is right
    none = panoptic.compare([truth], [Divided([], np.zeros((10, 10), np.uint8))], CLASSES)
    assert counts(none) == (0, 0, 1) and none.missed.sum() == 1  # the crowd is of no class


def test_the_jackknife_leaves_out_groups_and_its_mean_is_the_metric():
    random = np.random.default_rng(1)
    truth = [drawn(random) for _image in range(12)]
    found = [near(one, random) for one in truth]
    counted = panoptic.compare(truth, found, CLASSES)
    groups = [row // 4 for row in range(12)]
    each = panoptic.scores(counted, STUFF, groups)
    for name, values in each.items():
        assert len(set(values.round(12))) == 3
        left = []
        for group in range(3):
            rows = [row for row in range(12) if groups[row] != group]
            few = [[every[row] for row in rows] for every in (truth, found)]
            left.append(panoptic.scores(panoptic.compare(*few, CLASSES), STUFF)[name].mean())
        own = values[[0, 4, 8]]
        assert own - own.mean() == pytest.approx(-2 * (np.array(left) - np.mean(left)))
        assert values.mean() == pytest.approx(panoptic.scores(counted, STUFF)[name].mean())


def test_segments_have_pixels_boxes_and_kinds():
    ids = torch.zeros(6, 8, dtype=torch.uint8)
    ids[1:3, 2:7], ids[4, 5] = 1, 3
    one = divided([2, 1, 0], [True, True, False], ids)
    assert one.pixels().tolist() == [10, 0, 1]
    assert boxes_of(one, torch.tensor([2, 0])).tolist() == [[0, 5, 4, 6, 5], [2, 2, 1, 7, 3]]
    assert torch.equal(one.masks(torch.tensor([0]))[0], ids == 1)
    left = one.compact()
    assert left.label.tolist() == [2, 0] and left.thing.tolist() == [True, False]
    assert left.ids.unique().tolist() == [0, 1, 2] and torch.equal(left.ids > 0, ids > 0)
    crowd = divided([-1 - 3, 4], [True, False], ids)
    assert stuff_of([one, crowd], 5) == [0, 4]
    assert stuff_of([one, divided([0], [True], ids)], 5) == []


def test_scenes_give_things_and_the_background(monkeypatch):
    monkeypatch.setattr(scenes, "COUNTS", {"train": 12, "val": 4, "test": 4})
    whole, things, maps = (
        load.load("scenes", 48, target=target) for target in ("panoptic", "instances", "classes_of_pixels")
    )
    assert whole.classes == maps.classes and stuff_of(whole.target, 9) == [0]
    for one, objects, area in zip(whole.target, things.target, maps.target, strict=True):
        assert torch.equal(one.label[one.ids.long() - 1].byte(), area) and (one.ids > 0).all()
        rows = one.thing.nonzero().flatten()
        assert torch.equal(one.masks(rows), objects.masks(48))
        assert torch.equal(boxes_of(one, rows)[:, 1:], objects.box[:, 1:])
    spec = TASK.spec(whole)
    assert spec.stuff == ("background",) and spec.things == things.classes


@pytest.mark.parametrize("name", ["mirror", "shift", "erase", "rotate"])
def test_segments_move_with_their_pictures_and_what_comes_in_is_void(name):
    cases = pieced(40, 48, seed=3)
    before = Rows(cases.input, cases.target)
    after = TASK.augmentation((name,))(before, torch.Generator().manual_seed(1))
    moved, void = 0, 0
    for image, one, old in zip(after.input, after.target, before.target, strict=True):
        lit = image.amax(0) >= 150
        thing = torch.cat([torch.zeros(1, dtype=torch.bool), one.thing])[one.ids.long()]
        known = one.ids > 0
        assert (lit == thing)[known].float().mean() > (0.93 if name == "rotate" else 0.99)
        assert (one.pixels() > 0).all() and one.ids.max() == len(one.label)
        moved += not torch.equal(one.ids, old.ids)
        void += int((~known).sum())
    assert moved > 10 and bool(void) == (name != "mirror")


def test_answers_come_back_and_pixels_of_no_segment_are_refused():
    cases = pieced(6, 32)
    answers = evaluation.packed(cases.target)
    trainings = Trainings.empty(cases, {})
    for rows in ([5, 0, 3], [1, 4, 2]):
        few = evaluation.packed([cases.target[row] for row in rows])
        trainings.add(few, torch.tensor(rows))
    for own in (answers, trainings.answers[0]):
        for one, there in zip(evaluation.unpacked(own), cases.target, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, there, strict=True))
    with pytest.raises(ValueError, match="no segment"):
        evaluation.unpacked({**answers, "found": answers["found"] + 5})
    scores = evaluation.scores_of(evaluation.unpacked(answers), cases)
    assert all(values.mean() == pytest.approx(1) for values in scores.values())


def test_a_gap_among_the_segments_is_refused():
    packed = evaluation.packed([pieced(1, 40).target[0]])
    packed["found labels"][0, 0] = 0
    packed["found"].clamp_(max=1)
    with pytest.raises(ValueError, match="no segment"):
        evaluation.unpacked(packed)


def test_the_constant_answer_is_the_stuff_of_most_pixels():
    cases = pieced(4, 32)
    assert evaluation.most_frequent(list(cases.target)) == 0
    things = [one._replace(thing=torch.ones_like(one.thing)) for one in cases.target]
    assert evaluation.most_frequent(things) is None
    assert not len(evaluation.whole(None, 8).label) and not evaluation.whole(None, 8).ids.any()
    same = evaluation.scores_of([evaluation.whole(0, 32)] * 4, cases)
    assert same["PQ of things"].mean() == 0 and 0.5 < same["PQ of stuff"].mean() < 1


class Stub(segment_panoptic.PanopticSegmenter):
    """Sees all at a least score of 0.3, else nothing."""

    def __init__(self, cases):
        super().__init__(None, TASK.spec(cases))
        self.cases = cases

    def found_at(self, data, confs):
        nothing = [evaluation.whole(None, 32)] * len(data)
        return [list(data.cases.target) if conf == 0.3 else nothing for conf in confs]


def test_the_least_score_is_the_best_one_on_validation_pictures_unless_it_is_given():
    cases = pieced(5, 32)
    system, setup = Stub(cases), evaluation.PanopticSetup(segment_panoptic.Options(), cases)
    decision = TASK.decide(system, cases, setup)
    assert decision == {"conf": 0.3}
    for options, quality in ((segment_panoptic.Options(), 1), (segment_panoptic.Options(0.4), 0)):
        [step] = TASK.answer(system, cases, decision, replace(setup, options=options))
        assert TASK.scores([step.result], setup)["PQ"].mean() == pytest.approx(quality)


def test_data_without_segments_are_refused():
    cases = pieced(4, 32)
    TASK.check(cases, None)
    stuff = [one._replace(thing=torch.zeros_like(one.thing)) for one in cases.target]
    for wrong in (
        instanced(4, 32),
        cases.only([]),
        replace(cases, input=torch.zeros(4, 3, 40, 40)),
        replace(cases, target=ListColumn(stuff)),
    ):
        with pytest.raises(UserError, match="no segments"):
            TASK.check(wrong, None)


def test_classes_are_renumbered_those_of_crowds_too():
    one = divided([0, -1 - 2, 1], [False, True, True], torch.zeros(4, 4))
    again = TASK.renumbered(ListColumn([one]), torch.tensor([2, 0, 1]))[0]
    assert again.label.tolist() == [2, -1 - 1, 0] and torch.equal(again.thing, one.thing)


def test_a_map_is_enlarged_along_its_edges():
    ids = torch.tensor([[1, 2], [1, 0]], dtype=torch.uint8)
    large = segment_panoptic.enlarged(ids, 6, 8)
    assert torch.equal(large[:, :4], torch.ones(6, 4, dtype=torch.uint8))
    assert large[0, -1] == 2 and large[-1, -1] == 0
    slope = torch.ones(4, 4, dtype=torch.uint8).tril() + 1
    stairs = slope.repeat_interleave(8, 0).repeat_interleave(8, 1)
    cut = (segment_panoptic.enlarged(slope, 32, 32) != stairs).nonzero()
    assert 20 < len(cut) < 100  # the corners of the stairs alone
    assert ((cut[:, 0] - cut[:, 1]).abs() < 9).all()


def segments(**changes):
    picture = Picture.of(torch.full((3, 20, 30), 90, dtype=torch.uint8))
    ids = np.zeros((20, 30), int)
    ids[:, :8], ids[:, 8:16], ids[:, 16:24] = 1, 2, 3
    given = {
        "ids": ids,
        "names": ["cat", "cat", "grass"],
        "things": [True, True, False],
        "scores": [0.9, 0.4, 0.8],
        "classes": ["grass", "cat"],
    }
    return Segments(picture, **given | changes)


def test_two_things_of_a_class_have_two_colours_and_stuff_a_dark_one():
    one = segments()
    colours = [one.colour(row) for row in range(3)]
    assert len(set(colours)) == 3 and max(colours[2]) < 80
    turned = segments(names=["grass", "cat", "cat"], things=[False, True, True])
    assert turned.colour(0) == colours[2] and turned.colour(1) == colours[0]
    drawn = np.asarray(one.drawn())
    scale = drawn.shape[1] // 30
    middle = [drawn[18 * scale, column * scale].tolist() for column in (2, 10, 18, 27)]
    assert len(set(map(tuple, middle))) == 4 and middle[3] == [90] * 3
    assert [row[0] for row in one.rows(0.5)] == ["cat 90%", "grass 80%"]
    assert str(one) == "2 cat, 1 grass" and one.scored == "2 cat (40-90%), 1 grass (80%)"
    told = json.loads(json.dumps(one.as_json()))["segments"]
    assert told[1]["pixels"] == 160 and told[1]["rle"]["counts"] == [160, 160, 280]
    assert [each["thing"] for each in told] == [True, True, False]


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": np.zeros((20, 31), int)},
        {"ids": np.full((20, 30), 4)},
        {"ids": np.zeros((20, 30))},
        {"things": [True]},
        {"ids": np.full((20, 30), -1)},
        {"scores": [0.5]},
        {"names": ["a"] * 256, "things": [True] * 256, "scores": ()},
    ],
)
def test_segments_that_make_no_sense_are_refused(changes):
    with pytest.raises(UserError):
        segments(**changes)


def test_labels_without_a_number_are_not_written(tmp_path):
    segments().save(tmp_path / "a.coco.png")
    about = json.loads((tmp_path / "a.coco.json").read_text())
    assert about["categories"] == [{"id": 1, "name": "grass", "isthing": 0}, {"id": 2, "name": "cat", "isthing": 1}]
    first = about["annotations"][0]["segments_info"][0]
    assert first == {"id": 1, "category_id": 2, "area": 160, "bbox": [0, 0, 8, 20], "iscrowd": 0}
    with pytest.raises(UserError, match="dog"):
        segments(names=["cat", "dog", "grass"]).save(tmp_path / "b.coco.json")


DATA = '''"""Bright shapes on dark noise, each a thing, and the noise is stuff."""

from shapes import pieced

ja = "暗い雑音の上の明るい図形"
task = "segment_panoptic"
licence = "CC0"
source = "https://example.org/shapes"
cases = 160
ships_with = "torch"


def load(side=None):
    return pieced(cases, side or 32, 2)
'''


@pytest.fixture
def pieces(tmp_path, monkeypatch):
    """The shapes as a data set of its own."""
    file = tmp_path / "elsewhere" / "souron" / "data" / "sets" / "pieces.py"
    file.parent.mkdir(parents=True)
    file.write_text(DATA, encoding="utf-8")
    monkeypatch.setattr(souron, "__path__", [*souron.__path__, str(file.parents[2])])
    load.names.cache_clear()
    importlib.invalidate_caches()
    yield "pieces"
    sys.modules.pop("souron.data.sets.pieces", None)
    monkeypatch.undo()
    load.names.cache_clear()


def test_it_trains_reports_predicts_is_measured_again_and_compared(pieces, tmp_path):
    record = train.train("panoptic_fpn_tiny", pieces, budget="12ep", batch=16)
    assert list(record.measures) == ["PQ", "PQ of things", "PQ of stuff", "SQ", "RQ"]
    measure = record.measures["PQ"]
    baselines = record.details.baselines
    assert measure.low < measure.value < measure.high
    assert measure.low > max(baselines["constant"]["PQ"].value, baselines["untrained"]["PQ"].value)
    assert measure.groups == len(set(record.test.group)) < measure.n
    assert record.measures["PQ of things"].value > 0.1
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    for part in ("found", "quality", "worst", "steps"):
        assert f'id="{part}"' in page
    assert "PQ of things" in page and "untrained" in page
    assert evaluate.evaluate(record.folder) == record.measures
    header, *lines = (record.folder / "predictions.csv").read_text().splitlines()
    assert header == "file,label,thing,pixels" and lines

    row = max(range(len(record.test)), key=lambda row: len(record.details.found[row].label))
    pixels = record.test.input[row].numpy().transpose(1, 2, 0).repeat(3, 0).repeat(3, 1)
    Image.fromarray(np.pad(pixels, ((0, 0), (0, 12), (0, 0)))).save(tmp_path / "wide.png")
    found = model.load(record.folder)(tmp_path / "wide.png", conf=record.details.conf)
    assert found.ids.shape == (96, 108) and set(found.names) <= set(record.test.classes)
    assert found.things == [name != "background" for name in found.names]
    assert len(model.load(record.folder)(tmp_path / "wide.png", conf=1.0).names) <= 1

    both = ["panoptic_fpn_tiny", "panoptic_fpn_small"]
    fought = compare.compare(both, pieces, budget="32ex", seeds=1, batch=8)
    assert "too few" in fought.sentence and {row.system for row in fought.rows} == set(both)


def test_figures_of_a_class_and_of_pictures_count_patients():
    cases = pieced(12, 40)
    found = [*cases.target[:6], *cases.target[:6]]
    cases = replace(cases, group=[f"patient {row // 4}" for row in range(12)])
    counted = evaluation.counted(found, cases)
    for label, values in enumerate(panoptic.by_label(counted, cases.units)):
        chosen = np.arange(len(cases.classes)) == label
        expected = panoptic.pseudo_values(counted, "PQ", chosen, cases.units)
        assert len(set(expected.round(9))) > 1 and np.array_equal(values, expected)
    for values in evaluation.scores_of(found, cases).values():
        assert len(set(values.reshape(3, 4)[:, 0].round(9))) > 1
        assert values.reshape(3, 4) == pytest.approx(np.tile(values.reshape(3, 4)[:, :1], 4))
    made = evaluation._labels(counted, found, cases)
    assert (
        made[0].quality.low
        == registry.metric("PQ").measure(panoptic.by_label(counted, cases.units)[0], cases.units).low
    )


def test_the_first_class_alone_makes_things():
    cases = pieced(2, 40)
    first = [one._replace(label=0 * one.label, thing=torch.ones_like(one.thing)) for one in cases.target]
    assert not evaluation.fault(replace(cases, target=ListColumn(first)))
