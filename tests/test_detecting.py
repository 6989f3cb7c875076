"""COCO's average precision against the evaluators of the field, its pseudo-values against leaving
pictures out, and the task around it."""

import contextlib
import importlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import shapes

import souron
from souron import model, registry
from souron.cli import main
from souron.data import load
from souron.data.dataset import ListColumn, Rows
from souron.evaluation.answers import Trainings
from souron.evaluation.vision import detection as evaluation
from souron.evaluation.vision.detection import DetectionSetup
from souron.kinds.picture import Picture
from souron.metrics import detection
from souron.report.sections import detect as report_detect
from souron.runs import compare, evaluate, train
from souron.stats import intervals
from souron.stats.verdict import difference
from souron.tasks import detect
from souron.tasks.detect import Detector
from souron.utils.messages import UserError

LABELS = 3
TASK = registry.load_task("detect")


def drawn(seed, images=6, labels=LABELS, crowd=0.15):
    """Objects and detections near some of them, with crowd regions, ties and empty pictures."""
    random = np.random.default_rng(seed)
    side = (64, 128, 300)[seed % 3]
    truth, found = [], []
    for _image in range(images):
        objects, detections = random.integers(0, 5), random.integers(0, 25)
        corner = random.uniform(0, 0.8 * side, (objects, 2))
        box = np.c_[corner, corner + random.uniform(3, 0.9 * side, (objects, 2))]
        label = random.integers(0, labels, objects)
        truth.append(np.c_[np.where(random.random(objects) < crowd, -1 - label, label), box])
        if objects:
            near = random.integers(0, objects, detections)
            said = box[near] + random.normal(0, side / 25, (detections, 4))
            named = np.where(random.random(detections) < 0.7, label[near], random.integers(0, labels, detections))
        else:
            said = np.tile([2.0, 3.0, 20.0, 30.0], (detections, 1))
            named = random.integers(0, labels, detections)
        said[:, 2:] = np.maximum(said[:, 2:], said[:, :2] + 1)
        found.append(np.c_[named, said, random.random(detections).round(1)])
    return truth, found


def pycocotools(truth, found, most):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        given = COCO()
        given.dataset = {"info": {}, **detection.as_coco(truth, LABELS)}
        given.createIndex()
        evaluator = COCOeval(given, given.loadRes(detection.results(found)), "bbox")
        evaluator.params.maxDets = list(most)
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"]  # (overlaps, recalls, labels, areas, most)

    def mean(area, overlap):
        values = precision[overlap, :, :, area, -1]
        return values[values > -1].mean() if (values > -1).any() else np.nan

    return {name: mean(area, overlap) for name, (area, overlap) in detection.METRICS.items()}


@pytest.mark.parametrize("most", [3, 100])
def test_200_sets_agree_with_both_evaluators_with_crowds_areas_and_the_most_that_count(most):
    seen = set()
    for seed in range(100):
        truth, found = drawn(seed + most)
        expected = pycocotools(truth, found, (1, 2, most))
        kept = detection.coco(truth, found, LABELS, (1, 2, most))
        own = detection.scores(detection.match(truth, found, LABELS, most))
        for name in detection.METRICS:
            if np.isnan(expected[name]):
                assert name not in own
                continue
            seen.add(name)
            assert own[name].mean() == pytest.approx(expected[name], abs=1e-6)
            if most == 100 or name == "AP":  # the others ask for 100 by name
                assert kept[name] == pytest.approx(expected[name], abs=1e-6)
    assert seen == set(detection.METRICS)


def left_out(truth, found, unit, name, smooth=False):
    """The figure without each unit's pictures, by the evaluator, or ``smooth``, over all recalls."""
    area, overlaps = detection.METRICS[name]
    for number in range(unit.max() + 1):
        rows = np.nonzero(unit != number)[0]
        some = [[one[i] for i in rows] for one in (truth, found)]
        if smooth:
            matches = detection.match(*some, LABELS)
            yield np.nanmean(matches.without(np.zeros(len(rows), int), 2, smooth=True)[1, area, overlaps])
        else:
            yield detection.coco(*some, LABELS)[name]


@pytest.mark.parametrize("name", ["AP", "AP50", "AP small"])
def test_leaving_out_is_that_of_the_evaluator(name):
    truth, found = drawn(3, images=14)
    unit, (area, overlaps) = np.arange(14) // 3, detection.METRICS[name]
    each = detection.match(truth, found, LABELS).without(unit, 5)[:, area, overlaps]
    assert np.nanmean(each, axis=(1, 2)) == pytest.approx(list(left_out(truth, found, unit, name)), abs=1e-9)


def test_an_interval_does_not_jump_where_a_recall_of_coco_is_reached():
    """Two hundred images, of which 80 % are found: at the recall of 0.80 by one image more or less."""
    true = np.array([[0, 10, 10, 60, 60]])
    widths = []
    for hits in (159, 160, 161, 163):
        said = [
            np.array([[0, 10 + 200 * (i >= hits), 10, 60 + 200 * (i >= hits), 60, 1 - i / 300]]) for i in range(200)
        ]
        scores = detection.scores(detection.match([true] * 200, said, 1))["AP50"]
        widths.append(np.sqrt(intervals.spread(scores)[0]))
    assert max(widths) < 1.1 * min(widths) and widths[0] == pytest.approx((0.8 * 0.2 / 200) ** 0.5, rel=0.1)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", ["AP", "AP50", "AP small"])
def test_pseudo_values_are_those_of_leaving_out_over_all_recalls(name, grouped):
    truth, found = drawn(3, images=14)
    unit = np.array([0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 4, 5, 5, 5]) if grouped else np.arange(14)
    groups = [f"block {number}" for number in unit] if grouped else None
    scores = detection.scores(detection.match(truth, found, LABELS), groups)[name]
    whole = detection.coco(truth, found, LABELS)[name]
    assert scores.mean() == pytest.approx(whole, abs=1e-9)
    without = np.array(list(left_out(truth, found, unit, name, smooth=True)))
    count = len(without)
    variance = (count - 1) / count * ((without - without.mean()) ** 2).sum()  # the jackknife's
    half = intervals.interval(scores, groups)
    from scipy.stats import t

    freedom = intervals.spread(scores[None], groups)[1]
    expected = t.ppf(0.975, freedom) * variance**0.5
    assert half.high - half.value == pytest.approx(expected, rel=1e-6)
    assert half.groups == (6 if grouped else None)


def blocks(seed, count=12, each=10):
    """Pictures of a block are found equally well, and better in some blocks than in others."""
    random = np.random.default_rng(seed)
    truth, found, groups = [], [], []
    for block in range(count):
        skill = 0.1 + 0.8 * (block % 2)
        for _image in range(each):
            box = np.array([10.0, 10.0, 60.0, 60.0])
            truth.append(np.r_[0, box][None])
            hit = random.random() < skill
            said = box if hit else box + 200
            found.append(np.r_[0, said, random.random()][None])
            groups.append(f"{block}")
    return truth, found, groups


def test_intervals_count_blocks_of_pictures_made_of_the_same_parts():
    truth, found, groups = blocks(0)
    matches = detection.match(truth, found, 1)
    by_image = intervals.share_interval(detection.scores(matches)["AP50"])
    scores = detection.scores(matches, groups)["AP50"]
    assert len(set(scores.round(9))) <= 12  # what a block says, as often as it has pictures
    by_block = intervals.share_interval(scores, groups)
    assert by_block.value == pytest.approx(by_image.value)
    width = (by_block.high - by_block.low) / (by_image.high - by_image.low)
    assert width > 2


def test_a_verdict_on_two_detectors_uses_what_they_share():
    truth, found, groups = blocks(1, count=30)
    worse = [said + np.array([0, 14, 0, 14, 0, 0]) for said in found]  # overlaps of about 0.56
    scores = [detection.scores(detection.match(truth, some, 1), groups)["AP"] for some in (found, worse)]
    verdict = difference(*scores, groups=groups)
    assert verdict.verdict == "better"
    same = difference(scores[0], scores[0], groups=groups)
    assert same.verdict == "cannot tell" and same.difference == 0


def test_the_confusion_matrix_counts_each_object_once_and_background_beside():
    box = [0.0, 0.0, 10.0, 10.0]
    far = [50.0, 50.0, 60.0, 60.0]
    truth = [np.array([[0, *box], [1, *far]]), np.array([[-1, *box]])]
    found = [np.array([[1, *box, 0.9], [0, *box, 0.8], [0, *far, 0.1]]), np.array([[0, *box, 0.9], [1, *far, 0.6]])]
    table = detection.confusion(truth, found, 2, 0.5)
    assert table.tolist() == [[0, 1, 0], [0, 0, 1], [1, 1, 0]]


def test_the_threshold_is_where_f1_is_largest():
    truth, found, _groups = blocks(2, count=2)
    for row, said in enumerate(found):
        said[0, 5] = 0.7 if row % 2 else 0.3
        said[0, 1:5] = truth[row][0, 1:] if row % 2 else said[0, 1:5] + 200
    assert detection.best_threshold(detection.match(truth, found, 1)) == 0.7


def test_detections_of_one_score_count_together_where_the_threshold_is_chosen():
    """At 0.9 F1 is 2/3; at 0.5 it would be 1 for the first of five detections, and is 1/2."""
    box, far = [0.0, 0, 9, 9], [50.0, 50, 60, 60]
    truth = [np.array([[0, *box], [0, *far]])]
    wrong = [[0, *np.add(box, 100 * n), 0.5] for n in range(1, 5)]
    found = [np.array([[0, *box, 0.9], [0, *far, 0.5], *wrong])]
    assert detection.best_threshold(detection.match(truth, found, 1)) == 0.9


def test_a_crowd_region_counts_neither_for_nor_against():
    truth = [np.array([[0.0, 0, 0, 9, 9], [-1, 20, 20, 60, 60]])]
    found = [np.array([[0, 22, 22, 40, 40, 0.9], [0, 25, 25, 50, 50, 0.8], [0, 0, 0, 9, 9, 0.7]])]
    matches = detection.match(truth, found, 2)
    assert matches.objects[0].tolist() == [[1, 0]]
    assert detection.scores(matches)["AP"].tolist() == pytest.approx([1])
    alone = detection.scores(detection.match(truth, [found[0][:2]], 2))["AP"]
    assert alone.tolist() == [0]  # the object itself is missed
    outside = [found[0] + np.array([0, 60, 60, 60, 60, 0]) * (found[0][:, 5:] > 0.75)]
    alarms = detection.scores(detection.match(truth, outside, 2))["AP"]
    assert alarms.tolist() == pytest.approx([1 / 3])


class Told(Detector):
    """Finds what it was told."""

    overlap = 0.33

    def __init__(self, cases, told):
        super().__init__(None, TASK.spec(cases))
        self.told, self.asked = told, []

    def found(self, data, conf, iou):
        self.asked.append((conf, iou))
        return self.told


def test_the_score_from_which_boxes_are_shown_is_chosen_on_validation_cases():
    cases = shapes(6, 32)
    found = [
        torch.cat([torch.cat([box, torch.full((len(box), 1), 0.6)], 1), torch.tensor([[0.0, 0, 0, 1, 1, 0.4]])])
        for box in cases.target
    ]
    setup = DetectionSetup(TASK.Options(), cases)
    assert TASK.decide(Told(cases, found), cases, setup) == {"conf": pytest.approx(0.6)}


def test_a_detector_is_asked_with_its_own_overlap_unless_another_is_given():
    cases = shapes(6, 32)
    system = Told(cases, [torch.zeros(0, 6)] * 6)
    TASK.validate(system, system.loader(cases))
    for given in ({}, {"conf": 0.2, "iou": 0.6}):
        TASK.decide(system, cases, DetectionSetup(TASK.Options(**given), cases))
    assert system.asked == [(0.001, 0.33), (0.001, 0.33), (0.2, 0.6)]


def test_a_boundary_itself_counts_as_in_coco():
    half, whole = [0.0, 0, 32, 16], [0.0, 0, 32, 32]  # an overlap of 0.5
    truth, found = [np.array([[0, *half]])], [np.array([[0, *whole, 0.5], [0, *whole, 0.4]])]
    assert detection.match(truth, found, 1).matched[0, 0].tolist() == [True, False]
    assert detection.match(truth, found, 1, most=1).score.tolist() == [0.5]
    assert detection.confusion(truth, found, 1, least=0.5).tolist() == [[1, 0], [0, 0]]
    crowd = [np.array([[-1, *half]])]
    assert not detection.confusion(crowd, found, 1, least=0.5).any()
    large = [np.array([[0, *whole]])]  # 32 x 32 pixels are small and medium
    assert detection.match(large, found, 1).objects[:, 0, 0].tolist() == [1, 1, 1, 0]


def test_what_has_no_area_overlaps_nothing():
    point, nothing = np.zeros((1, 4)), np.zeros((1, 2, 1), np.uint8)
    assert detection.overlaps(point, point).tolist() == [[0]]
    assert detection.of_masks(nothing, nothing, np.array([False])).overlap.tolist() == [[0]]


def test_a_label_whose_only_objects_are_left_out_has_no_precision():
    box, far = [0.0, 0, 9, 9], [50.0, 50, 60, 60]
    truth = [np.array([[0, *box], [1, *far]]), np.array([[0, *box]])]
    found = [np.array([[0, *box, 0.9], [1, *box, 0.8]])] * 2
    left_out = detection.match(truth, found, 2).without(np.arange(2), 2)[:, 0, 0]
    assert left_out[0] == pytest.approx([1, np.nan], nan_ok=True) and left_out[1] == pytest.approx([1, 0])


def test_units_that_are_left_out_in_turns_are_those_of_one_pass(monkeypatch):
    matches = detection.match(*drawn(3, images=14), LABELS, sizes=False)
    whole = matches.without(np.arange(14), 14)
    monkeypatch.setattr(detection, "AT_ONCE", 1)
    assert matches.without(np.arange(14), 14) == pytest.approx(whole, abs=1e-12, nan_ok=True)


def test_the_precision_of_a_label_counts_patients():
    truth, found, groups = blocks(0)
    matches = detection.match(truth, found, 1)
    [of_label] = detection.by_label(matches, groups)
    assert np.array_equal(of_label, detection.scores(matches, groups)["AP50"])


def test_a_label_without_objects_has_no_precision_and_a_curve_ends_at_its_recall():
    truth = [np.array([[0, 0, 0, 9, 9], [0, 20, 20, 40, 40]])]
    found = [np.array([[0, 0, 0, 9, 9, 0.9], [1, 0, 0, 9, 9, 0.8], [0, 50, 50, 60, 60, 0.7]])]
    matches = detection.match(truth, found, 2)
    first, second = detection.by_label(matches, None)
    assert first.mean() == pytest.approx(detection.coco(truth, found, 2)["AP50"])
    assert np.isnan(second).all()
    recall, precision, score = detection.curve(matches, 0)
    assert recall.tolist() == [0.5, 0.5] and precision.tolist() == [1, 0.5]
    assert score.tolist() == [0.9, 0.7]
    nothing = [np.zeros((0, 6))]
    assert detection.coco(truth, nothing, 2)["AP"] == 0
    assert detection.scores(detection.match(truth, nothing, 2))["AP"].tolist() == [0]


DATA = '''"""Bright shapes on dark noise, with boxes."""

from shapes import shapes

ja = "暗い雑音の上の明るい図形と枠"
task = "detect"
licence = "CC0"
source = "https://example.org/shapes"
cases = 160
ships_with = "torch"


def load(side=None):
    return shapes(cases, side or 32, 2)
'''


@pytest.fixture
def wedges(tmp_path, monkeypatch):
    """The shapes as a data set of its own."""
    file = tmp_path / "elsewhere" / "souron" / "data" / "sets" / "wedges.py"
    file.parent.mkdir(parents=True)
    file.write_text(DATA, encoding="utf-8")
    monkeypatch.setattr(souron, "__path__", [*souron.__path__, str(file.parents[2])])
    load.names.cache_clear()
    importlib.invalidate_caches()
    yield "wedges"
    sys.modules.pop("souron.data.sets.wedges", None)
    monkeypatch.undo()
    load.names.cache_clear()


def rows(count=40, side=48):
    data = shapes(count, side, 3, seed=3)
    return Rows(data.input, data.target)


def bright(image, box):
    """The share of pixels inside and outside of the boxes that are brighter than noise."""
    lit = (image.float().amax(0) > 120).numpy()
    inside = np.zeros(lit.shape, dtype=bool)
    for left, top, right, bottom in box[:, 1:].round().int().tolist():
        inside[top:bottom, left:right] = True
    return lit[inside].mean(), lit[~inside].mean()


@pytest.mark.parametrize("names", [("mirror",), ("shift",), ("shift", "mirror", "brightness")])
def test_boxes_move_with_their_pictures(names):
    before = rows()
    after = TASK.augmentation(names)(before, torch.Generator().manual_seed(1))
    assert not torch.equal(after.input, before.input)
    moved = 0
    for image, box, old in zip(after.input, after.target, before.target, strict=True):
        assert box.dtype == torch.float32 and (box[:, 1:] >= 0).all() and (box[:, 1:] <= 48).all()
        assert ((box[:, 3:] - box[:, 1:3]) > 0).all()
        inside, outside = bright(image, box)
        assert inside > (0.1 if "brightness" in names else 0.4)
        if names == ("mirror",):
            assert outside < 0.01 and sorted(box[:, 0]) == sorted(old[:, 0])
        moved += len(box) != len(old) or not torch.equal(box, old)
    assert moved > len(before.input) / 4


def test_a_turned_box_is_refused_and_none_changes_nothing():
    with pytest.raises(UserError, match="augment"):
        TASK.augmentation(("rotate",))
    with pytest.raises(UserError, match="augment"):
        TASK.augmentation(("shfit",))
    assert TASK.augmentation(()) is None


def test_crowd_regions_are_not_learnt_from():
    target = ListColumn([torch.tensor([[0.0, 1, 1, 5, 5], [-2.0, 2, 2, 9, 9]])])
    batch = TASK.batch(Rows(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), target), None)
    assert batch.target[0].tolist() == [[0, 1, 1, 5, 5]]
    number = torch.tensor([2, 0])
    assert TASK.renumbered(target, number)[0][:, 0].tolist() == [2, -1]


@pytest.mark.parametrize("size", [(300, 100), (40, 90), (64, 64)])
def test_a_picture_of_any_shape_lies_whole_in_the_square_and_boxes_come_back(size):
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    box = np.array([[size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2]], dtype=float)
    left, top, right, bottom = box[0].astype(int)
    pixels[top:bottom, left:right] = 255
    square, place = Picture(Image.fromarray(pixels)).letterbox(64, 3)
    assert square.shape == (3, 64, 64)
    there = place.within(box)
    assert np.allclose(place.back(there), box)
    y, x = np.nonzero(square[0].numpy() > 200)
    edges = [x.min(), y.min(), x.max() + 1, y.max() + 1]
    assert np.abs(there[0] - edges).max() <= 1.5
    beside = square[0].numpy() == 114
    assert beside.mean() == pytest.approx(1 - min(size) / max(size), abs=0.03)
    oblong, place = Picture(Image.fromarray(pixels)).letterbox(64, 3, 8)
    assert all(edge % 8 == 0 for edge in oblong.shape[1:]) and max(oblong.shape) == 64
    assert 64 * min(size) / max(size) - 1 < min(oblong.shape[1:]) < 64 * min(size) / max(size) + 8
    assert np.allclose(place.back(place.within(box)), box)
    y, x = np.nonzero(oblong[0].numpy() > 200)
    assert np.abs(place.within(box)[0] - [x.min(), y.min(), x.max() + 1, y.max() + 1]).max() <= 1.5


def test_yolo_looks_at_no_more_grey_than_it_must(monkeypatch):
    kind, config = registry.load_system("yolo_tiny")
    system = kind(config, TASK.Spec(3, 64, ("a", "b"))).eval()
    looked = []

    def detect(image, *_limits):
        looked.append(tuple(image.shape))
        return [torch.tensor([[0.0, 0, 0, 64, 32, 0.9]])]

    box, _score = system(torch.zeros(1, 3, 32, 64))
    assert box.shape == (1, 8 * 4 + 4 * 2 + 2 * 1, 4)
    monkeypatch.setattr(system, "detect", detect)
    found = system.predict(Picture(Image.new("RGB", (300, 140))))
    assert looked == [(1, 3, 32, 64)] and np.allclose(found.box, [[0, 0, 300, 140]], atol=6)


def test_a_detector_trains_reports_predicts_is_measured_again_and_compared(wedges, tmp_path):
    record = train.train("yolo_tiny", wedges, budget="14ep", batch=16)
    assert list(record.measures)[:2] == ["AP", "AP50"]
    measure = record.measures["AP50"]
    assert measure.value > 0.2 and measure.low < measure.value < measure.high
    assert measure.groups == len(set(record.test.group)) < measure.n
    setup = DetectionSetup(TASK.Options(), record.test)
    own = TASK.scores(record.answers, setup)["AP50"][0]
    assert len(set(own.round(9))) <= measure.groups  # pictures of a block share what it says
    baselines = record.details.baselines
    assert baselines["untrained"]["AP50"].value < 0.05
    assert baselines["constant"]["AP50"].value < 0.2 < measure.value
    assert record.details.coco["AP50"] == pytest.approx(measure.value, abs=1e-6)
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    assert f"as the system sees them, {record.test.side} pixels a side" in page
    for part in ("found", "precision", "curves", "froc", "confusion"):
        assert f'id="{part}"' in page
    for curve, sensitivity, _alarms in record.details.froc.values():
        rising = [one.value for one in curve.sensitivity]
        assert rising == sorted(rising) and rising[-1] >= sensitivity.value > 0.1
        assert curve.mean.groups == measure.groups and curve.without == 0
    assert record.as_json()["froc"]["centre"]["CPM"]["value"] > 0
    assert "untrained" in page and "wedge" in page and "groups of images" in page
    assert evaluate.evaluate(record.folder) == record.measures
    strict = evaluate.evaluate(record.folder, conf=0.9)
    assert strict["AP"].value < record.measures["AP"].value
    header, *lines = (record.folder / "predictions.csv").read_text().splitlines()
    assert header == "file,label,left,top,right,bottom,score" and lines

    row = max(range(len(record.test)), key=lambda row: len(record.details.found[row]))
    pixels = record.test.input[row].numpy().transpose(1, 2, 0).repeat(3, 0).repeat(3, 1)
    Image.fromarray(np.pad(pixels, ((0, 0), (0, 12), (0, 0)))).save(tmp_path / "wide.png")
    asked = model.load(record.folder)
    found = asked(tmp_path / "wide.png", conf=0.02)
    assert len(found.box) and found.box.min() >= 0
    assert (found.box[:, 2] <= 108).all() and (found.box[:, 3] <= 96).all()
    true = 3 * record.test.target[row][:, 1:].double().numpy()
    assert detection.overlaps(found.box.astype(float), true).max() > 0.4
    told = found.as_json()["boxes"][0]
    assert told["label"] in record.test.classes and 0.02 <= told["score"] <= 1
    assert len(asked(tmp_path / "wide.png", conf=0.99).box) == 0

    both = ["yolo_tiny", "ssd_tiny"]
    fought = compare.compare(both, wedges, budget="32ex", seeds=2, batch=8)
    assert "too few" in fought.sentence and {row.system for row in fought.rows} == set(both)
    assert "side_by_side" in (fought.folder / "report.html").read_text(encoding="utf-8")


def test_data_without_boxes_is_refused_and_data_with_boxes_is_shown(wedges, capsys):
    with pytest.raises(UserError, match="boxes"):
        train.train("yolo_tiny", "digits", budget="1ep")
    Path("empty").mkdir()
    with pytest.raises(UserError, match="'empty' is a folder that holds nothing") as trouble:
        train.train("yolo_tiny", "empty", budget="1ep")
    assert "coco" in trouble.value.expected
    assert main.run(["data", wedges, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    data = load.load(wedges)
    assert sum(told["labels"].values()) == sum(map(len, data.target))


def test_the_ten_pictures_with_most_mistakes_stand_beside_the_truth():
    """Picture n lacks every object and has n % 7 + 1 boxes too many; three are right."""
    test = shapes(20, 32)
    found = [torch.cat([torch.tensor([[0.0, 0, 0, 2, 2, 0.9]])] * (row % 7 + 1)) for row in range(17)]
    found += [torch.cat([test.target[row], torch.ones(len(test.target[row]), 1)], 1) for row in range(17, 20)]
    result = SimpleNamespace(found=found, conf=0.5)
    _text, *shown = report_detect.worst(test, result, "the worst")
    wrong = [len(test.target[row]) + row % 7 + 1 for row in range(17)]
    order = sorted(range(17), key=lambda row: -wrong[row])[:10]
    assert [image.alt.partition(":")[0] for image in shown] == [test.file[r] for r in order]
    assert all("true: " in one.alt and "found: " in one.alt for one in shown)
    few = SimpleNamespace(found=[*found[:2], *found[17:]], conf=0.5)
    some = test.only([0, 1, 17, 18, 19])
    assert len(report_detect.worst(some, few, "the worst")) == 1 + 2
    none = SimpleNamespace(found=found[17:], conf=0.5)
    assert report_detect.worst(test.only([17, 18, 19]), none, "the worst") == []


def test_an_average_precision_of_few_images_says_so():
    few = SimpleNamespace(parts={"test": 199})
    [told] = report_detect.few_images(few)
    assert "199 test images" in told
    assert report_detect.few_images(SimpleNamespace(parts={"test": 200})) == []


def test_figures_of_a_label_and_of_pictures_count_patients():
    truth, found, groups = blocks(0, count=6, each=4)
    cases = shapes(24, 48)
    cases = replace(
        cases,
        target=ListColumn([torch.from_numpy(box).float() for box in truth]),
        group=[f"p{name}" for name in groups],
    )
    said = [torch.from_numpy(box).float() for box in found]
    expected = detection.by_label(evaluation.matched(said, cases), cases.units)[0]
    assert np.array_equal(evaluation.scores_of(said, cases)["AP50"], expected)
    setup = DetectionSetup(TASK.Options(), cases)
    answers = evaluation.packed(said) | {"conf": torch.full((24,), 0.2)}
    result = TASK.result(Trainings.of_one(cases, answers, {}), setup)
    own = registry.metric("AP").measure(expected, cases.units)
    assert result.labels[0].ap50 == own and own.groups == 6


def test_what_is_shown_has_at_least_the_least_score():
    box = torch.tensor([[0.0, 0, 0, 9, 9, 0.5], [0, 0, 0, 9, 9, 0.25]])
    assert len(evaluation.sure(box, 0.25)) == 2
    matches = detection.match([box[:1, :5].numpy()], [box.numpy()], 1)
    ap = np.ones(1)
    assert evaluation._of_label(matches, 0, "thing", ap, ap, None, 0.25).at == (1.0, 0.5)
    assert evaluation._of_label(matches, 0, "thing", ap, ap, None, 0.5).at == (1.0, 1.0)


def test_the_mean_box_is_that_of_objects_and_not_of_crowds():
    boxes = [torch.tensor([[0.0, 0, 0, 2, 2], [-1, 0, 0, 40, 40]]), torch.tensor([[0.0, 2, 2, 4, 4]])]
    assert evaluation.mean_box(boxes).tolist() == [[0, 1, 1, 3, 3, 1]]


def test_a_candidate_needs_more_than_the_least_score():
    box, score = torch.tensor([[0.0, 0, 9, 9], [20, 20, 29, 29]]), torch.tensor([[0.5], [0.6]])
    assert detect.suppressed(box, score, 0.5, 0.5)[:, 5].tolist() == pytest.approx([0.6])
