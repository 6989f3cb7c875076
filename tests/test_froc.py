"""Lesion level: FROC, its mean and the AFROC, by hand and by the rule of LUNA16."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from souron.metrics import froc
from souron.metrics.froc import RATES, Marks


def box(label, left, top, side=10.0, score=None):
    return [label, left, top, left + side, top + side, *([] if score is None else [score])]


def images(random, count, normal=0.4):
    """Lesions, and marks near some of them and elsewhere; scores are higher where a lesion is."""
    truth, found = [], []
    for _image in range(count):
        lesions = 0 if random.random() < normal else int(random.integers(1, 4))
        there = [box(0, 40 * k, 0) for k in range(lesions)]
        marks = [
            box(0, 40 * k + random.uniform(-2, 2), 0, score=random.normal(1.5))
            for k in range(lesions)
            for _mark in range(random.choice(3, p=(0.2, 0.5, 0.3)))
        ]
        marks += [box(0, 40 * k, 200, score=random.normal()) for k in range(random.poisson(9))]
        truth.append(np.array(there).reshape(-1, 5))
        found.append(np.array(marks).reshape(-1, 6))
    return truth, found


def luna16(truth, found):
    """The rule of LUNA16's evaluation script: each lesion's best candidate, or none; every candidate elsewhere."""
    labels, scores, missed = [], [], 0
    for there, marks in zip(truth, found, strict=True):
        used = set()
        for lesion in there:
            near = [k for k, one in enumerate(marks) if np.abs(one[1:5] - lesion[1:5]).max() < 5]
            used |= set(near)
            missed += not near
            if near:
                labels.append(1)
                scores.append(max(marks[k][5] for k in near))
        for k, one in enumerate(marks):
            if k not in used:
                labels.append(0)
                scores.append(one[5])
    lesions, alarms = sum(map(len, truth)), labels.count(0)
    false, true, _thresholds = roc_curve(labels, scores)
    rate, sensitivity = false * alarms / len(truth), true * labels.count(1) / lesions
    return np.interp(RATES, rate, sensitivity)


def test_sensitivities_are_those_of_luna16():
    truth, found = images(np.random.default_rng(0), 60)
    own = froc.sensitivity_at(froc.of_detections(truth, found))
    assert own == pytest.approx(luna16(truth, found)) and 0.2 < own[0] < own[-1] < 0.95


def test_a_curve_by_hand():
    """Four lesions: 0.9 hits, 0.8 does not, 0.7 and 0.55 hit one, 0.6 does not, 0.5 hits; one is missed."""
    truth = [
        np.array([box(0, 0, 0), box(0, 40, 0)]),
        np.array([box(0, 0, 0)]),
        np.array([box(0, 0, 0)]),
        np.zeros((0, 5)),
    ]
    found = [
        np.array([box(0, 0, 0, score=0.9), box(0, 80, 0, score=0.8)]),
        np.array([box(0, 0, 0, score=0.7), box(0, 1, 0, score=0.55)]),
        np.array([box(0, 0, 0, score=0.5)]),
        np.array([box(0, 0, 0, score=0.6)]),
    ]
    marks = froc.of_detections(truth, found)
    alarms, sensitivity = froc.curve(marks)
    assert alarms.tolist() == [0, 0, 0.25, 0.25, 0.5, 0.5] and sensitivity.tolist() == [0, 0.25, 0.25, 0.5, 0.5, 0.75]
    assert froc.sensitivity_at(marks).tolist() == [0.25, 0.5, 0.75, 0.75, 0.75, 0.75, 0.75]
    made = froc.froc(marks)
    assert made.mean.value == pytest.approx((0.25 + 0.5 + 5 * 0.75) / 7) and made.without == 1
    assert froc.afroc(marks) == 0.5  # of the lesions 0.9 and 0.7 are above 0.6
    shown = froc.at_threshold(marks.above(0.65))
    assert [one.value for one in shown] == [0.5, 0.25]


def test_equal_scores_count_together():
    marks = Marks(np.array([1, 1]), np.array([0, 1]), np.array([0.5, 0.5]), np.array([True, False]))
    assert [each.tolist() for each in froc.curve(marks)] == [[0, 0.5], [0, 0.5]]


def test_a_hit_has_the_label_and_the_place_of_its_lesion():
    truth = [np.array([box(0, 0, 0), box(1, 100, 0)])]
    beside = [np.array([box(0, 0, 5, score=0.9)])]  # IoU 1/3, its centre on the edge
    assert not froc.of_detections(truth, beside).hit.any() and froc.of_detections(truth, beside, overlap=None).hit.all()
    assert froc.of_detections(truth, beside, overlap=0.3).hit.all()
    assert not froc.of_detections(truth, [np.array([box(0, 100, 0, score=0.9)])]).hit.any()
    crowd = [np.array([box(0, 0, 0), box(-1, 50, 0)])]
    marks = froc.of_detections(crowd, [np.array([box(0, 50, 0, score=0.9), box(0, 0, 0, score=0.8)])])
    assert marks.lesions.tolist() == [1] and marks.score.tolist() == [0.8]


def test_the_area_of_the_afroc_is_that_of_a_roc_where_each_case_has_one_rating():
    """One lesion and one mark in each ill case, one false positive in each normal case: Mann and Whitney's area."""
    random = np.random.default_rng(1)
    ill, normal = random.normal(1, size=40).round(1), random.normal(size=30).round(1)
    marks = Marks(
        np.repeat([1, 0], [40, 30]), np.arange(70), np.concatenate([ill, normal]), np.repeat([True, False], [40, 30])
    )
    assert froc.afroc(marks) == pytest.approx(roc_auc_score(np.repeat([1, 0], [40, 30]), np.concatenate([ill, normal])))
    nothing = Marks(np.array([1, 0]), np.zeros(0, int), np.zeros(0), np.zeros(0, bool))
    assert froc.afroc(nothing) == 0.5  # no mark anywhere: guessing


def test_without_normal_cases_the_false_positives_of_all_count():
    marks = Marks(np.array([1, 1]), np.array([0, 0, 1]), np.array([0.9, 0.95, 0.7]), np.array([True, False, True]))
    assert froc.afroc(marks) == pytest.approx((1 + 1) / 4) and froc.froc(marks).without == 0


def test_parts_of_masks_are_lesions_and_marks():
    truth = np.zeros((2, 8, 8, 8), bool)
    truth[0, :2, :2, :2] = truth[0, 5:7, 5:7, 5:7] = True
    found = np.zeros_like(truth)
    found[0, :2, :2, 1:4] = True  # shares 4 of 12 + 8 voxels
    found[0, 5, 2, 2] = found[1, 0, 0, 0] = True
    marks = froc.of_masks(truth, found)
    assert marks.lesions.tolist() == [2, 0] and marks.hit.tolist() == [True, False, False]
    assert [one.value for one in froc.at_threshold(marks)] == [0.5, 1.0]
    assert (
        froc.of_masks(truth, found, overlap=0.25).hit.sum() == 1
        and froc.of_masks(truth, found, overlap=0.26).hit.sum() == 0
    )
    sure = np.where(found, 0.6, 0.0)
    sure[0, 0, 0, 1] = 1.0
    assert froc.of_masks(truth, found, score=sure).score[0] == pytest.approx((11 * 0.6 + 1) / 12)


def test_one_part_may_hit_two_lesions():
    truth, found = np.array([[1, 0, 1, 0, 1]]), np.array([[1, 1, 1, 0, 0]])
    marks = froc.of_masks(truth, found)
    assert marks.lesions.tolist() == [3] and marks.hit.tolist() == [True, True]


def test_intervals_count_patients():
    truth, found = images(np.random.default_rng(0), 40)
    once = froc.froc(froc.of_detections(truth, found))
    many = froc.froc(froc.of_detections(truth * 5, found * 5), groups=[*range(40)] * 5)
    blind = froc.froc(froc.of_detections(truth * 5, found * 5))
    width = [one.mean.high - one.mean.low for one in (once, many, blind)]
    assert width[1] == pytest.approx(width[0], rel=0.1) and width[2] < 0.6 * width[0]
    assert many.mean.groups == 40 and many.mean.value == pytest.approx(once.mean.value)
    ratio = froc.at_threshold(froc.of_detections(truth * 5, found * 5), [*range(40)] * 5)[0]
    assert ratio.high - ratio.low == pytest.approx(once.sensitivity[-1].high - once.sensitivity[-1].low, rel=0.3)


def test_every_lesion_found_is_no_proof():
    marks = Marks(np.ones(20, int), np.arange(20), np.ones(20), np.ones(20, bool))
    made = froc.froc(marks).mean
    assert (made.value, made.high) == (1.0, 1.0) and 0.75 < made.low < 0.9
    with pytest.raises(ValueError):
        froc.froc(Marks(np.zeros(3, int), np.zeros(0, int), np.zeros(0), np.zeros(0, bool)))


def test_a_boundary_itself_counts():
    """A centre on the edge of a lesion, an overlap of just a half, a score of just the threshold."""
    truth, found = [np.array([[0, 0.0, 0, 10, 10]])], [np.array([[0, -5.0, -5, 5, 5, 0.5], [0, 5.0, 5, 15, 15, 0.4]])]
    assert froc.of_detections(truth, found, overlap=None).hit.tolist() == [True]
    marks = froc.of_detections(truth, [np.array([[0, 0.0, 0, 10, 20, 0.5]])], overlap=0.5)
    assert marks.hit.tolist() == [True] and len(marks.above(0.5).hit) == 1


def test_patients_without_a_lesion_prove_nothing_of_a_sensitivity():
    """All four lesions of each of five patients are found, of five images and of fifty."""
    marks = np.repeat(np.arange(5), 4), np.ones(20), np.ones(20, bool)
    ill, every = (Marks(np.r_[np.full(5, 4), np.zeros(well, int)], *marks) for well in (0, 45))
    for figure in (lambda marks, who: froc.froc(marks, who).mean, lambda marks, who: froc.at_threshold(marks, who)[0]):
        for who in (None, range(50)):
            own, other = figure(ill, who and who[:5]), figure(every, who)
            assert own.value == other.value == 1 and own.low == pytest.approx(other.low)


def test_false_positives_count_patients():
    marks = Marks(np.ones(4, int), np.array([0, 1]), np.ones(2), np.array([True, False]))
    assert [one.groups for one in froc.at_threshold(marks, [0, 0, 1, 1])] == [2, 2]
    nothing = Marks(np.zeros(4, int), np.array([0, 1]), np.ones(2), np.array([False, False]))
    assert [one.groups for one in froc.at_threshold(nothing, [0, 0, 1, 1])] == [2, 2]


def test_the_bootstrap_follows_its_seed():
    marks = froc.of_detections(*images(np.random.default_rng(0), 20))
    first, again, other = (froc.froc(marks, seed=seed).mean for seed in (1, 1, 2))
    assert first == again != other and first.value == other.value
