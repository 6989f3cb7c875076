"""AUC and figures at a threshold: known values, agreement with references, honest intervals."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from souron.metrics.classification import (
    at_threshold,
    auc,
    auc_scores,
    choose_threshold,
    positive_class,
    roc,
    threshold_scores,
)
from souron.stats import intervals, verdict
from souron.stats import variance as stats_variance

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    """The simulation of ``benchmarks/intervals.py``."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("benchmark_intervals", BENCHMARKS / "intervals.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(41)


def two(score) -> np.ndarray:
    """(..., cases) -> (..., cases, 2)"""
    score = np.asarray(score, dtype=float)
    return np.stack([1 - score, score], axis=-1)


def sampling_error(rate: float, trials: int) -> float:
    """Three standard errors."""
    return 3 * math.sqrt(rate * (1 - rate) / trials)


# AUC


def test_auc_by_hand():
    """Positives 0.8 and 0.4, negatives 0.4, 0.3 and 0.9: 2 + half + 1 of 6 pairs."""
    score, label = [0.8, 0.4, 0.4, 0.3, 0.9], [1, 1, 0, 0, 0]
    scores = auc_scores(two(score), label)
    assert scores.shape == (1, 5)
    assert scores.mean() == pytest.approx(3.5 / 6)
    # a positive's share of negatives below it, a negative's of positives above it
    share = np.array([2 / 3, 1.5 / 3, 1.5 / 2, 1.0, 0.0])
    stretch = np.sqrt(5 * 4 / np.array([2, 2, 6, 6, 6]))
    assert scores[0] == pytest.approx(3.5 / 6 + stretch * (share - 3.5 / 6))


@pytest.mark.parametrize("digits", [1, 6])
def test_auc_is_scikit_learns_with_ties_and_without(digits, rng):
    label = rng.integers(0, 2, 90)
    score = np.round(np.clip(rng.normal(0.4 + 0.2 * label, 0.2), 0, 1), digits)
    assert auc(two(score), label).value == pytest.approx(roc_auc_score(label, score))


def test_auc_of_three_labels_is_the_mean_of_each_against_the_rest(rng):
    probability = rng.dirichlet([1, 1, 1], 80)
    label = rng.integers(0, 3, 80)
    expected = roc_auc_score(label, probability, multi_class="ovr", average="macro")
    assert auc(probability, label).value == pytest.approx(expected)
    some = label < 2  # the third label does not occur
    expected = np.mean([roc_auc_score(label[some] == c, probability[some, c]) for c in (0, 1)])
    assert auc(probability[some], label[some]).value == pytest.approx(expected)


def delong(first, second, label):
    """AUCs and the variance of their difference, from all pairs as the paper defines them."""
    label = np.asarray(label, dtype=bool)
    parts = []
    for score in (first, second):
        pair = score[label][:, None] - score[~label][None]
        won = (pair > 0) + 0.5 * (pair == 0)
        parts.append((won.mean(), won.mean(1), won.mean(0)))
    (one, by_positive, by_negative), (other, positive_too, negative_too) = parts
    s10, s01 = np.cov(by_positive, positive_too), np.cov(by_negative, negative_too)
    s = s10 / label.sum() + s01 / (~label).sum()
    return one, other, s[0, 0], s[0, 0] + s[1, 1] - 2 * s[0, 1]


def test_one_training_has_the_variance_of_delong_also_of_a_paired_difference(rng):
    label = rng.random(70) < 0.3
    first, second = rng.normal(label, 1.0), np.round(rng.normal(0.5 * label, 1.0), 1)
    one, other, variance, of_difference = delong(first, second, label)
    a, b = auc_scores(two(first), label), auc_scores(two(second), label)
    assert stats_variance.spread(a)[0] == pytest.approx(variance)
    found = verdict.difference(a, b)
    assert found.difference == pytest.approx(one - other)
    assert found.variation.total()[0] == pytest.approx(of_difference)


def test_patients_count_as_obuchowski_counts_them(rng):
    """Her variance, written from the paper's sums over clusters; equal to leading order."""
    patient = np.repeat(np.arange(150), rng.integers(1, 5, 150))
    label = (rng.random(150) < 0.4)[patient] ^ (rng.random(len(patient)) < 0.1)
    score = rng.normal(label, 0.7) + rng.normal(0, 0.7, 150)[patient]
    pair = score[label][:, None] - score[~label][None]
    won = (pair > 0) + 0.5 * (pair == 0)
    value, m, n = won.mean(), label.sum(), (~label).sum()
    by_patient = np.zeros((2, 150))
    np.add.at(by_patient[0], patient[label], won.mean(1) - value)
    np.add.at(by_patient[1], patient[~label], won.mean(0) - value)
    with_positive, with_negative = len(set(patient[label])), len(set(patient[~label]))
    s10 = with_positive / ((with_positive - 1) * m) * (by_patient[0] ** 2).sum()
    s01 = with_negative / ((with_negative - 1) * n) * (by_patient[1] ** 2).sum()
    s11 = 150 / 149 * (by_patient[0] * by_patient[1]).sum()
    expected = s10 / m + s01 / n + 2 * s11 / (m * n)
    scores = auc_scores(two(score), label)
    assert stats_variance.spread(scores, patient)[0] == pytest.approx(expected, rel=0.02)
    assert stats_variance.spread(scores)[0] < 0.9 * expected


def test_auc_knows_the_order_only_and_turns_with_the_labels(rng):
    label = rng.integers(0, 2, 60)
    score = np.round(rng.random(60), 2)
    found = auc(two(score), label)
    assert auc(two(score**3), label) == found
    turned = auc(two(1 - score), label)
    assert (1 - turned.value, 1 - turned.high) == pytest.approx((found.value, found.low))
    swapped = auc(two(score)[:, ::-1], 1 - label)
    assert (swapped.value, swapped.low) == pytest.approx((found.value, found.low))
    order = rng.permutation(60)
    moved = auc(two(score)[order], label[order])
    assert (moved.value, moved.low) == pytest.approx((found.value, found.low))


def test_an_auc_of_one_still_leaves_room_by_the_smaller_class():
    score, label = np.arange(40) / 40, np.arange(40) >= 35
    found = auc(two(score), label)
    assert (found.value, found.high) == (1.0, 1.0) and 0.4 < found.low < 0.85
    patient = np.where(label, 50 + np.arange(40) // 39, np.arange(40))  # two positive patients
    assert auc(two(score), label, patient).low < found.low
    tied = auc(two(np.full(40, 0.5)), label)
    assert tied.value == 0.5 and tied.low < 0.35 and tied.high > 0.65


def test_few_misplaced_cases_do_not_make_an_area_near_one_certain():
    """No more certain than Hanley and McNeil's variance, whose units are 20 x 20 / (1 + 38 / 4)."""
    score, label = np.arange(40) / 40, np.arange(40) >= 20
    score[[19, 20]] = score[[20, 19]]  # one pair of 400 is the wrong way round
    found = auc(two(score), label)
    assert found.value == pytest.approx(399 / 400)
    error = 1.96 * math.sqrt(found.low * (1 - found.low) / (400 / 10.5))
    assert found.value - found.low > 0.99 * error


def test_one_label_alone_has_no_auc():
    found = auc(two([0.1, 0.2]), [1, 1])
    assert math.isnan(found.value) and (found.low, found.high, found.n) == (0.0, 1.0, 0)
    with pytest.raises(ValueError, match="one label only"):
        auc_scores(two([0.1, 0.2]), [1, 1])
    one = auc(two([0.3, 0.6]), [0, 1])
    assert one.value == 1.0 and one.low < 0.3 and one.high == 1.0


def test_several_trainings_are_averaged_and_their_spread_counts(rng):
    label = np.arange(200) % 2
    steady = rng.normal(label, 1.0)
    alike = auc(two(np.stack([steady] * 3)), label)
    single = auc(two(steady), label)
    assert alike.value == pytest.approx(single.value)
    skill = np.array([0.2, 1.0, 2.0])[:, None]
    apart = auc(two(rng.normal(skill * label, 1.0)), label)
    assert apart.high - apart.low > 1.5 * (alike.high - alike.low)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        auc(two([0.1, 0.2, 0.3]), [0, 1])
    with pytest.raises(ValueError, match="finite"):
        auc(two([0.1, math.nan]), [0, 1])
    with pytest.raises(ValueError, match="do not fit"):
        at_threshold([True, False], np.ones((2, 3)))
    with pytest.raises(ValueError, match="prevalence"):
        at_threshold([True, False], [True, False], prevalence=1.0)


def test_a_share_without_a_bound_has_wilsons_interval_of_its_effective_size(rng):
    """Of even scores, whose kurtosis takes nothing from the degrees of freedom."""
    scores = np.tile([0.2, 0.8, 0.9], 400)
    found = intervals.share_interval(scores)
    variance, freedom = stats_variance.spread(scores)
    assert freedom == 1199 and variance == pytest.approx(scores.var(ddof=1) / 1200)
    n, z = found.value * (1 - found.value) / variance, 1.9619
    for end in (found.low, found.high):  # where the true share is a limit of what was found
        assert abs(end - found.value) == pytest.approx(z * math.sqrt(end * (1 - end) / n), rel=1e-3)
    bound = intervals.share_interval(scores, most=n / 4)
    assert bound.high - bound.low == pytest.approx(2 * (found.high - found.low), rel=0.01)
    assert intervals.share_interval(scores, most=4 * n) == found


def test_a_variance_that_few_cases_decide_has_few_degrees_of_freedom():
    rare = np.where(np.arange(200) < 3, 0.0, 0.9)
    even = np.full(200, rare.mean()) + np.where(np.arange(200) % 2, 1, -1) * rare.std()
    assert stats_variance.spread(rare)[0] == pytest.approx(stats_variance.spread(even)[0])
    assert intervals.share_interval(rare).low < intervals.share_interval(even).low - 0.002


def test_a_share_where_nothing_varies_rests_on_its_units():
    assert intervals.share_interval(np.ones(30)).low == pytest.approx(intervals.interval(np.ones((2, 30))).low)
    found = intervals.share_interval(np.ones(30), groups=np.arange(30) // 3)
    assert (found.n, found.groups, found.high) == (30, 10, 1.0)
    assert found.low > intervals.share_interval(np.ones(30), np.arange(30) // 3, units=2).low


# the positive class


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("normal", "tumour"), 1),
        (("tumour", "Normal"), 0),
        (("abnormal", "normal"), 0),
        (("melanoma", "benign nevus"), 0),
        (("covid", "non-covid"), 0),
        (("DR", "No_DR"), 0),
        (("1", "0"), 0),
        (("0", "1"), 1),
        (("０", "１"), 1),
        (("cat", "dog"), 1),
        (("非結核性抗酸菌症", "正常"), 0),
        (("異常なし", "異常"), 1),
        (("異常", "異常なし"), 0),
        (("陽性", "陰性"), 0),
        (("健常", "患者"), 1),
        (("normal pressure hydrocephalus", "control"), 0),
    ],
)
def test_what_is_found_is_what_does_not_read_as_its_absence(labels, expected):
    assert positive_class(labels) == expected


def test_of_three_labels_none_is_the_positive_one():
    with pytest.raises(ValueError, match="two labels"):
        positive_class(["a", "b", "c"])


# the threshold


def test_the_threshold_lies_midway_where_youdens_index_is_highest():
    score, truly = [0.1, 0.2, 0.6, 0.8], [False, False, True, True]
    assert choose_threshold(truly, score) == pytest.approx(0.4)


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_taken():
    score, truly = [0.1, 0.3, 0.8, 0.9], [False, True, False, True]  # 0.2 and 0.85 alike
    assert choose_threshold(truly, score) == pytest.approx(0.2)
    score = [0.1, 0.2, 0.5, 0.9]  # 0.15 and 0.7
    assert choose_threshold(truly, score) == pytest.approx(0.7)


@pytest.mark.parametrize("wish", [0.0, 0.5, 0.75, 0.8, 1.0])
def test_the_highest_threshold_that_finds_enough(wish, rng):
    truly = np.arange(40) % 2 == 0
    score = np.round(rng.random(40), 1)
    threshold = choose_threshold(truly, score, wish)
    assert (score[truly] >= threshold).mean() >= wish
    higher = score[score > threshold].min()  # the next cut leaves out the values up to here
    assert wish == 0 or (score[truly] > higher).mean() < wish


def test_a_threshold_divides_even_neighbouring_numbers_and_ties():
    low = 0.5
    high = np.nextafter(low, 1)
    threshold = choose_threshold([False, True], [low, high])
    assert low < threshold <= high
    assert choose_threshold([True, False, True], [0.0, 0.0, 0.0]) == 0.0
    assert choose_threshold([True, True], [0.3, 0.4]) == 0.5
    with pytest.raises(ValueError, match="sensitivity"):
        choose_threshold([True, False], [0.3, 0.4], 90)


def test_the_curve_is_scikit_learns(rng):
    truly = rng.random(50) < 0.4
    score = np.round(rng.random(50), 1)
    false, found = roc(truly, score)
    expected_false, expected_found, _cut = roc_curve(truly, score, drop_intermediate=False)
    assert false == pytest.approx(expected_false) and found == pytest.approx(expected_found)
    assert np.trapezoid(found, false) == pytest.approx(roc_auc_score(truly, score))
    with pytest.raises(ValueError, match="positive and negative"):
        roc([True], [0.1])


# at a threshold


SAID = np.repeat([True, False, True, False], [8, 2, 6, 24])
TRULY = np.repeat([True, True, False, False], [8, 2, 6, 24])


def test_figures_of_a_table_by_hand():
    """8 found, 2 missed, 6 false alarms, 24 spared."""
    found = at_threshold(TRULY, SAID)
    values = [(one.value, one.n) for one in found.values()]
    assert values == [(8 / 10, 10), (24 / 30, 30), (8 / 14, 14), (24 / 26, 26), (pytest.approx(0.8), 40)]
    assert found["sensitivity"] == intervals.proportion_interval(8, 10)
    assert found["positive predictive value"] == intervals.proportion_interval(8, 14)
    stated = at_threshold(TRULY, SAID, prevalence=0.01)
    assert stated["positive predictive value"].value == pytest.approx(0.008 / (0.008 + 0.198))
    assert stated["negative predictive value"].value == pytest.approx(0.792 / (0.792 + 0.002))
    assert stated["positive predictive value"].n == 40


@pytest.mark.parametrize("prevalence", [None, 0.02, 0.4])
def test_pseudo_scores_have_the_figures_as_their_means(prevalence, rng):
    said, truly = rng.random((3, 60)) < 0.4, rng.random(60) < 0.3
    found = at_threshold(truly, said, prevalence=prevalence)
    scores = threshold_scores(truly, said, prevalence)
    assert scores.keys() == found.keys()
    for name, values in scores.items():
        assert values.shape == (3, 60)
        assert values.mean() == pytest.approx(found[name].value)
        assert found[name].low < found[name].value < found[name].high


@pytest.mark.parametrize("prevalence", [None, 0.1])
def test_their_spread_is_the_delta_methods(prevalence):
    """Of 300 times as many cases, where the delta method is exact."""
    said, truly = np.tile(SAID, 300), np.tile(TRULY, 300)
    scores = threshold_scores(truly, said, prevalence)
    se, sp = 0.16 / 3000, 0.16 / 9000
    ppv = 8 / 14
    expected = ppv * (1 - ppv) / (14 * 300)
    if prevalence is not None:
        # d PPV: prevalence (1 - prevalence) ((1 - sp) d se + se d sp) / P(positive)^2
        inner = 0.09 * math.sqrt(0.2**2 * se + 0.8**2 * sp)
        expected = (inner / (0.1 * 0.8 + 0.9 * 0.2) ** 2) ** 2
    found = stats_variance.spread(scores["positive predictive value"])[0]
    assert found == pytest.approx(expected, rel=0.01)
    balanced = stats_variance.spread(scores["balanced accuracy"])[0]
    assert balanced == pytest.approx((se + sp) / 4, rel=0.01)
    one = at_threshold(truly, said, prevalence=prevalence)["positive predictive value"]
    assert (one.high - one.low) / (2 * 1.96) == pytest.approx(math.sqrt(found), rel=0.02)


def test_groups_of_one_case_change_next_to_nothing(rng):
    said, truly = rng.random(200) < 0.4, rng.random(200) < 0.3
    single = np.arange(200)
    for prevalence in (None, 0.1):
        alone = at_threshold(truly, said, prevalence=prevalence)
        grouped = at_threshold(truly, said, single, prevalence)
        for name, one in alone.items():
            assert (grouped[name].value, grouped[name].n) == (pytest.approx(one.value), one.n)
            assert grouped[name].low == pytest.approx(one.low, abs=0.005)
            assert grouped[name].groups == one.n and one.groups is None
    label, p = truly.astype(int), two(rng.random(200))
    assert auc(p, label, single).low == pytest.approx(auc(p, label).low)


def test_patients_who_share_errors_widen_every_interval(rng):
    said, truly = np.repeat(SAID, 5), np.repeat(TRULY, 5)
    patient = np.repeat(np.arange(40), 5)
    for prevalence in (None, 0.1):
        blind = at_threshold(truly, said, prevalence=prevalence)
        aware = at_threshold(truly, said, patient, prevalence)
        for name, one in blind.items():
            assert aware[name].value == pytest.approx(one.value)
            assert aware[name].high - aware[name].low > 1.5 * (one.high - one.low)


def test_patients_with_both_kinds_of_case_bind_sensitivity_to_specificity(rng):
    """A patient always called positive adds to one and takes from the other."""
    truly = np.tile([True, False], 100)
    patient = np.repeat(np.arange(100), 2)
    bold = np.repeat(rng.random(100) < 0.5, 2)
    opposed = at_threshold(truly, bold, patient)["balanced accuracy"]
    assert opposed.value == 0.5
    assert opposed.high - opposed.low < 0.02
    able = np.repeat(rng.random(100) < 0.5, 2) == truly  # right of both cases, or of neither
    aware = at_threshold(truly, np.where(np.repeat(rng.random(100) < 0.5, 2), truly, ~truly), patient)[
        "balanced accuracy"
    ]
    blind = at_threshold(truly, able)["balanced accuracy"]
    assert aware.high - aware.low > 1.2 * (blind.high - blind.low)


def test_nothing_missed_and_no_false_alarm_still_leave_room():
    truly = np.arange(30) < 10
    for prevalence in (None, 0.01):
        found = at_threshold(truly, truly, prevalence=prevalence)
        for one in found.values():
            assert one.value == one.high == 1.0 and one.low < 1
    assert found["positive predictive value"].low < 0.1  # one false alarm in a hundred is enough


def test_a_class_that_is_missing_leaves_its_figures_open():
    found = at_threshold([True, True, True], [True, False, True], prevalence=0.1)
    assert found["sensitivity"].value == pytest.approx(2 / 3)
    for name in found.keys() - {"sensitivity"}:
        assert math.isnan(found[name].value), name
        assert (found[name].low, found[name].high) == (0.0, 1.0)
    never = at_threshold([True, False], [False, False], groups=["a", "b"])
    assert math.isnan(never["positive predictive value"].value)
    assert never["positive predictive value"].n == never["positive predictive value"].groups == 0
    assert "positive predictive value" not in threshold_scores([True, False], [False, False])


def test_repeats_that_never_call_positive_do_not_spoil_the_others():
    said = np.stack([SAID, np.zeros(40, dtype=bool)])
    found = at_threshold(TRULY, said)["positive predictive value"]
    assert found.value == pytest.approx(8 / 14) and found.n == 7
    assert 0 < found.low < found.value < found.high < 1


# coverage


@pytest.mark.parametrize("trainings", [1, 3])
def test_every_interval_covers_where_patients_have_several_pictures(trainings, bench):
    """One cell of ``benchmarks/intervals.py``, reduced."""
    world = bench.World(300, 0.3, 0.85, trainings=trainings)
    sets = 250
    figures = bench.coverage(world, sets, np.random.default_rng(5)).figures
    assert set(figures) == set(bench.NAMES)
    for name, (aware, blind) in figures.items():
        assert aware.sets == sets
        assert aware.rate >= 0.93 - sampling_error(0.93, sets), name
        assert blind.rate < aware.rate, name
    naive = np.mean([blind.rate for _aware, blind in figures.values()])
    assert naive < 0.9


def test_the_simulations_true_values_are_what_large_sets_give(bench):
    for world in (bench.World(200_000, 0.2, 0.8), bench.World(200_000, 0.3, 0.9, alike=0.5)):
        true = bench.truth(world)
        found = bench.measures(bench.draw(world, np.random.default_rng(1)), True)
        for name, value in true.items():
            error = (found[name].high - found[name].low) / 2
            assert abs(found[name].value - value) < 2 * error, name
