"""COCO's average precision against the evaluators of the field, its pseudo-values against leaving
pictures out, and the task around it."""

import contextlib
import io

import numpy as np
import pytest

from souron.metrics import detection
from souron.stats import intervals
from souron.stats.verdict import difference

LABELS = 3


def drawn(seed, pictures=6, labels=LABELS, crowd=0.15):
    """Objects and detections near some of them, with crowd regions, ties and empty pictures."""
    random = np.random.default_rng(seed)
    side = (64, 128, 300)[seed % 3]
    truth, found = [], []
    for _picture in range(pictures):
        objects, detections = random.integers(0, 5), random.integers(0, 25)
        corner = random.uniform(0, 0.8 * side, (objects, 2))
        box = np.c_[corner, corner + random.uniform(3, 0.9 * side, (objects, 2))]
        label = random.integers(0, labels, objects)
        truth.append(np.c_[np.where(random.random(objects) < crowd, -1 - label, label), box])
        if objects:
            near = random.integers(0, objects, detections)
            said = box[near] + random.normal(0, side / 25, (detections, 4))
            named = np.where(random.random(detections) < 0.7, label[near],
                             random.integers(0, labels, detections))  # fmt: skip
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


def left_out(truth, found, unit, name):
    """The evaluator's figure without each unit's pictures, one after the other."""
    for number in range(unit.max() + 1):
        rows = np.nonzero(unit != number)[0]
        yield detection.coco([truth[i] for i in rows], [found[i] for i in rows], LABELS)[name]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", ["AP", "AP50", "AP small"])
def test_pseudo_values_are_those_of_leaving_out_with_the_evaluator(name, grouped):
    truth, found = drawn(3, pictures=14)
    unit = np.array([0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 4, 5, 5, 5]) if grouped else np.arange(14)
    groups = [f"block {number}" for number in unit] if grouped else None
    scores = detection.scores(detection.match(truth, found, LABELS), groups)[name]
    whole = detection.coco(truth, found, LABELS)[name]
    assert scores.mean() == pytest.approx(whole, abs=1e-9)
    without = np.array(list(left_out(truth, found, unit, name)))
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
        for _picture in range(each):
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
    by_picture = intervals.share_interval(detection.scores(matches)["AP50"])
    scores = detection.scores(matches, groups)["AP50"]
    by_block = intervals.share_interval(scores, groups)
    assert by_block.value == pytest.approx(by_picture.value)
    width = (by_block.high - by_block.low) / (by_picture.high - by_picture.low)
    assert width > 2


def test_a_verdict_on_two_detectors_uses_what_they_share():
    truth, found, groups = blocks(1, count=30)
    worse = [said + np.array([0, 14, 0, 14, 0, 0]) for said in found]  # overlaps of about 0.56
    scores = [
        detection.scores(detection.match(truth, some, 1), groups)["AP"] for some in (found, worse)
    ]
    verdict = difference(*scores, groups=groups)
    assert verdict.verdict == "better"
    same = difference(scores[0], scores[0], groups=groups)
    assert same.verdict == "cannot tell" and same.difference == 0


def test_the_confusion_matrix_counts_each_object_once_and_background_beside():
    box = [0.0, 0.0, 10.0, 10.0]
    far = [50.0, 50.0, 60.0, 60.0]
    truth = [np.array([[0, *box], [1, *far]]), np.array([[-1, *box]])]
    found = [
        np.array([[1, *box, 0.9], [0, *box, 0.8], [0, *far, 0.1]]),
        np.array([[0, *box, 0.9], [1, *far, 0.6]]),
    ]
    table = detection.confusion(truth, found, 2, 0.5)
    assert table.tolist() == [[0, 1, 0], [0, 0, 1], [1, 1, 0]]


def test_the_threshold_is_where_f1_is_largest():
    truth, found, _groups = blocks(2, count=2)
    for row, said in enumerate(found):
        said[0, 5] = 0.7 if row % 2 else 0.3
        said[0, 1:5] = truth[row][0, 1:] if row % 2 else said[0, 1:5] + 200
    assert detection.best_threshold(detection.match(truth, found, 1)) == 0.7


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
