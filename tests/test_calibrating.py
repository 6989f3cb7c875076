"""Temperature, Brier's score, calibration error and curve: known values and references."""

import math

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, log_loss

from souron.metrics.calibration import SPREAD, brier, cool, curve, expected_error, temperature
from souron.stats import intervals, records


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(43)


def said_and_true(rng, cases: int, labels: int = 3, bold: float = 1.0, spread: float = 1.5):
    """Probabilities that are ``bold`` times too sure, and labels drawn from the true ones."""
    logits = spread * rng.standard_normal((cases, labels))
    true = softmax(logits, axis=1)
    label = (rng.random((cases, 1)) > true.cumsum(1)).sum(1).clip(max=labels - 1)
    return softmax(bold * logits, axis=1), label


# temperature


@pytest.mark.parametrize("bold", [0.5, 1.0, 3.0])
def test_the_temperature_is_by_how_much_the_system_was_too_sure(bold, rng):
    probability, label = said_and_true(rng, 40_000, bold=bold)
    assert temperature(probability, label) == pytest.approx(bold, rel=0.05)


def test_the_temperature_is_the_most_probable_one(rng):
    probability, label = said_and_true(rng, 100, bold=2.0)

    def likely(t: float) -> float:
        told = np.log(cool(probability, t)[np.arange(100), label]).sum()
        return told + norm.logpdf(math.log(t), scale=SPREAD)

    best = temperature(probability, label)
    assert all(likely(best) >= likely(t) - 1e-9 for t in np.geomspace(0.05, 20, 200))
    assert likely(best) > likely(1.0)


def test_luck_with_few_cases_does_not_make_a_system_certain(rng):
    """All but one are right, the wrong one nearly so: the lowest loss is at the coldest."""
    sure = np.append(np.full(44, 0.9), 0.4999)
    probability = np.stack([1 - sure, sure], axis=1)
    label = np.ones(45, int)
    assert log_loss(label, cool(probability, 0.05)[:, 1], labels=[0, 1]) < 0.02
    assert 0.4 < temperature(probability, label) < 1
    assert 0.8 < temperature([[0.9, 0.1], [0.2, 0.8]], [0, 1]) < 1  # all right
    many, truly = said_and_true(rng, 20_000, bold=2.0)
    assert temperature(many, truly) == pytest.approx(2.0, rel=0.03)


def test_cooling_leaves_the_order_and_undoes_itself(rng):
    probability, _label = said_and_true(rng, 50)
    milder = cool(probability, 2.5)
    assert milder.sum(-1) == pytest.approx(np.ones(50))
    assert (milder.argmax(1) == probability.argmax(1)).all()
    assert (milder.max(1) < probability.max(1)).all()
    assert cool(milder, 1 / 2.5) == pytest.approx(probability)
    assert cool(probability, 1.0) == pytest.approx(probability)
    assert cool([0.2, 0.8], 0.5) == pytest.approx([0.04 / 0.68, 0.64 / 0.68])
    assert cool(np.stack([probability] * 2), 2.5)[1] == pytest.approx(milder)
    with pytest.raises(ValueError, match="above 0"):
        cool(probability, 0.0)


def test_where_the_temperature_cannot_be_told_it_is_one():
    assert temperature(np.zeros((0, 3)), []) == pytest.approx(1.0)
    assert temperature(np.full((4, 2), 0.5), [0, 1, 0, 1]) == pytest.approx(1.0)


def test_the_temperature_stays_within_its_bounds():
    assert temperature([[0.99, 0.01]] * 5000, [1] * 5000) == pytest.approx(20, rel=1e-3)
    nearly = np.tile([[0.501, 0.499]], (5000, 1))
    label = np.arange(5000) == 0
    assert temperature(nearly, label.astype(int)) == pytest.approx(0.05, rel=1e-3)
    certain = temperature([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0, 1, 1])
    assert 1 < certain <= 20


def test_each_training_has_a_temperature_of_its_own():
    with pytest.raises(ValueError, match="of its own"):
        temperature(np.full((2, 3, 2), 0.5), [0, 1, 0])


# Brier


def test_brier_by_hand():
    found = brier([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], [0, 1, 2])
    assert found == pytest.approx([0.09 + 0.04 + 0.01, 0.0, 2.0])


def test_brier_of_two_labels_is_twice_scikit_learns(rng):
    probability, label = said_and_true(rng, 60, labels=2)
    expected = brier_score_loss(label, probability[:, 1], scale_by_half=True)
    assert brier(probability, label).mean() == pytest.approx(2 * expected)
    many, label = said_and_true(rng, 60, labels=4)
    expected = brier_score_loss(label, many, scale_by_half=False, labels=[0, 1, 2, 3])
    assert brier(many, label).mean() == pytest.approx(expected)


def test_brier_of_repeats_is_each_ones_own(rng):
    one, label = said_and_true(rng, 20)
    other = softmax(rng.standard_normal((20, 3)), axis=1)
    found = brier(np.stack([one, other]), label)
    assert found.shape == (2, 20)
    assert found[1] == pytest.approx(brier(other, label))


# the interval of a mean loss


@pytest.mark.parametrize(("cases", "least"), [(60, 0.91), (200, 0.93)])
def test_a_mean_of_which_few_are_large_is_covered_better_than_by_students_t(cases, least, rng):
    trials, true = 1500, float(np.exp(0.5 * 1.2**2))
    drawn = np.exp(1.2 * rng.standard_normal((trials, cases)))
    held = [one.low <= true <= one.high for one in map(intervals.loss_interval, drawn)]
    student = [one.low <= true <= one.high for one in map(intervals.interval, drawn)]
    assert np.mean(held) > np.mean(student) + 0.02
    assert np.mean(held) >= least - 3 * math.sqrt(least * (1 - least) / trials)
    assert np.mean(held) < 0.98


def test_a_mean_losss_interval_scales_with_it_and_counts_patients(rng):
    scores = rng.exponential(1.0, 120)
    found = intervals.loss_interval(scores)
    scaled = intervals.loss_interval(7 * scores)
    assert (scaled.low, scaled.high) == pytest.approx((7 * found.low, 7 * found.high))
    assert found.low * found.high == pytest.approx(found.value**2)
    patients = intervals.loss_interval(np.repeat(scores, 4), groups=np.repeat(np.arange(120), 4))
    assert (patients.low, patients.n, patients.groups) == (pytest.approx(found.low), 480, 120)
    again = intervals.loss_interval(np.stack([scores] * 3))
    assert again.low == pytest.approx(found.low, rel=0.05)


def test_little_says_little_of_a_mean_loss():
    assert intervals.loss_interval([0.3]) == records.Measure(0.3, 0.0, math.inf, 1)
    assert intervals.loss_interval([0.0, 0.0]) == records.Measure(0.0, 0.0, 0.0, 2)
    two = intervals.loss_interval([0.1, 0.9])
    assert two.low < 0.001 and two.high > 10
    with pytest.raises(ValueError, match="not negative"):
        intervals.loss_interval([0.1, -0.1])


# error and curve


def test_the_expected_error_by_hand():
    """Two bins of two: 0.65 sure and half right, 0.85 sure and all right."""
    sure = np.array([0.9, 0.6, 0.8, 0.7])
    probability, label = np.stack([sure, 1 - sure], 1), np.array([0, 1, 0, 0])
    assert expected_error(probability, label, bins=2) == pytest.approx((0.15 + 0.15) / 2)
    assert expected_error(probability, label, bins=1) == pytest.approx(0.0)
    order = [2, 0, 3, 1]
    assert expected_error(probability[order], label[order], 2) == pytest.approx(0.15)


def test_the_expected_error_of_the_overconfident_is_by_how_much(rng):
    right = rng.random(50_000) < 0.7
    probability = np.tile([[0.95, 0.05]], (50_000, 1))
    assert expected_error(probability, np.where(right, 0, 1)) == pytest.approx(0.25, abs=0.01)


def test_a_calibrated_system_gets_the_error_that_the_docstring_foretells(rng):
    found = []
    for _trial in range(300):
        sure = rng.uniform(0.75, 0.85, 200)  # different, so that there are fifteen bins
        label = np.where(rng.random(200) < sure, 0, 1)
        found.append(expected_error(np.stack([sure, 1 - sure], 1), label))
    assert np.mean(found) == pytest.approx(0.8 * math.sqrt(15 * 0.8 * 0.2 / 200), rel=0.1)


def test_the_curve_bins_by_count_and_keeps_equally_sure_cases_together(rng):
    probability, label = said_and_true(rng, 1000)
    found = curve(probability, label)
    assert len(found) == 10
    assert {one.n for one in found} == {100}
    assert [one.confidence for one in found] == sorted(one.confidence for one in found)
    assert all(one.low <= one.share <= one.high for one in found)
    right = (probability.argmax(1) == label).mean()
    assert np.mean([one.share for one in found]) == pytest.approx(right)
    tied = np.repeat([[0.6, 0.4], [0.8, 0.2]], [70, 30], axis=0)
    assert [one.n for one in curve(tied, np.zeros(100, dtype=int))] == [70, 30]


def test_few_cases_make_fewer_bins(rng):
    probability, label = said_and_true(rng, 35)
    assert len(curve(probability, label)) == 3
    (only,) = curve(probability[:4], label[:4])
    assert only.n == 4
    with pytest.raises(ValueError, match="no cases"):
        curve(np.zeros((0, 2)), [])
    with pytest.raises(ValueError, match="no cases"):
        expected_error(np.zeros((0, 2)), [])


def test_the_curves_intervals_count_patients_and_not_repeats(rng):
    probability, label = said_and_true(rng, 100)
    alone = curve(probability, label, bins=2)
    five = np.repeat(np.arange(100), 5)
    patients = curve(probability[five], label[five], bins=2, groups=[f"p{i}" for i in five])
    again = curve(np.stack([probability] * 5), label, bins=2)
    for one, patient, repeat in zip(alone, patients, again, strict=True):
        assert patient.share == repeat.share == pytest.approx(one.share)
        assert patient.low == pytest.approx(one.low, abs=0.02)
        assert repeat.low == pytest.approx(one.low, abs=0.02)
        assert repeat.n == one.n and patient.n == 5 * one.n


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        brier([[0.5, 0.5]], [0, 1])
    with pytest.raises(ValueError, match="finite"):
        expected_error([[math.nan, 0.5]], [0])
