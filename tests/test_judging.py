"""The verdict keeps its promises on simulated outcomes whose truth is known."""

import importlib.util
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judged import judge
from scipy.stats import binom

from souron.metrics.metric import Metric
from souron.metrics.ranking import Ranking
from souron.report import wording
from souron.stats import variance as stats_variance
from souron.stats import verdict as stats_verdict
from souron.stats.intervals import interval, overlap_interval, proportion_interval
from souron.stats.records import Measure, Row
from souron.stats.verdict import cases_needed, difference, seeds_needed

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def benchmark(name: str):
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


bench, symmetric = benchmark("verdict"), benchmark("training_sample")
World = bench.World

TRIALS = 400


def sampling_error(rate: float, trials: int = TRIALS) -> float:
    """Three standard errors."""
    return 3 * math.sqrt(rate * (1 - rate) / trials)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240)


def called_different(world, trials: int, rng: np.random.Generator) -> float:
    return float(
        np.concatenate([bench.souron(bench.simulate(world, part, rng), rng) for part in [50] * (trials // 50)]).mean()
    )


# two equal systems


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("cases", [100, 1000])
def test_equal_systems_are_called_different_in_at_most_5_percent(seeds, cases, rng):
    rates = [
        called_different(World(seeds, cases, seed_sd, system_sd), TRIALS, rng)
        for seed_sd in (0.05, 0.3)
        for system_sd in (0.0, 1.0)
    ]
    assert max(rates) <= 0.05 + sampling_error(0.05)
    assert np.mean(rates) <= 0.05 + sampling_error(0.05, 4 * TRIALS)
    assert max(rates) > 0.01  # nor is it silent


@pytest.mark.parametrize("seeds", [2, 5])
def test_rounds_on_machines_of_unequal_speed_make_no_equal_systems_different(seeds, rng):
    """A short form of ``benchmarks/verdict.py machines``."""
    world, steepness = World(seeds, 200, 0.1, 1.0, skill=1.0), 2.0
    blocks = bench.on_machines(world, steepness, "blocks", TRIALS, rng)
    apart = bench.on_machines(world, steepness, "one machine a system", TRIALS // 4, rng)
    wrong, length = bench.outcomes(blocks)
    paired_wrong, paired_length = bench.outcomes(blocks, paired=True)
    limit = 0.05 + sampling_error(0.05)
    assert wrong / TRIALS <= limit and paired_wrong / TRIALS <= limit
    assert paired_length < 0.8 * length, "what a round's machine adds to both systems widens the interval"
    assert bench.outcomes(apart)[0] / (TRIALS // 4) > 0.2
    assert bench.rate(5, 100) == "5.0 (2.2 to 11.2)"


def test_systems_spread_over_machines_vary_by_the_machine_and_not_with_each_other(rng):
    speeds = {way: np.log(bench.speeds(way, 500, 3, rng)) for way in ("blocks", "any machine", "one machine a system")}
    for table in speeds.values():
        assert table.shape == (500, 2, 3)
    apart = {way: abs(table[:, 0] - table[:, 1]) for way, table in speeds.items()}
    assert apart["blocks"].max() < 0.5, "a round has one machine"
    assert (apart["any machine"] > 0.5).mean() == pytest.approx(0.5, abs=0.06)
    assert apart["one machine a system"].min() > 0.5
    assert bench.learning_curve(np.array([1.0, 4.0]), 2.0).tolist() == [0.0, 1.0]


def test_the_simulation_exposes_the_paired_bootstrap_over_cases(rng):
    scores = bench.simulate(World(3, 1000, 0.3, 0.0), 200, rng)
    assert bench.paired_bootstrap(scores, rng).mean() > 0.2
    assert bench.souron(scores, rng).mean() < 0.1


def test_one_seed_speaks_of_two_networks_and_keeps_its_promise_there(rng):
    for cases in (20, 100, 1000):
        scores = bench.simulate(World(1, cases, 0.0, 1.0), TRIALS, rng)
        found = [difference(a, b) for a, b in scores]
        assert {one.scope for one in found} == {"networks"}
        rate = np.mean([one.verdict != "cannot tell" for one in found])
        assert rate <= 0.05 + sampling_error(0.05)


@pytest.mark.parametrize("seed_sd", [0.05, 0.3])
def test_among_five_equal_systems_any_false_verdict_is_as_rare(seed_sd, rng):
    world = World(3, 300, seed_sd, 1.0, systems=5)
    wrong = [
        any(verdict.verdict != "cannot tell" for verdict in judge(dict(zip("abcde", scores, strict=True))))
        for part in range(8)
        for scores in bench.simulate(world, TRIALS // 8, rng)
    ]
    assert np.mean(wrong) <= 0.05 + sampling_error(0.05)


# a true difference


@pytest.mark.parametrize(
    ("world", "loss"),
    [
        (World(5, 1000, 0.3, 0.0), 0.03),
        (World(5, 1000, 0.05, 1.0), 0.05),
        (World(5, 100, 0.3, 1.0), 0.05),
        (World(3, 1000, 0.3, 1.0), 0.10),
        (World(3, 100, 0.05, 1.0), 0.12),
    ],
    ids=str,
)
def test_a_true_difference_is_found_with_the_power_of_theory(world, loss, rng):
    """``loss``: what it costs that the variances are estimated from few seeds."""
    world = bench.with_power(world)
    assert bench.power(world) == pytest.approx(0.8, abs=0.001)
    found = called_different(world, TRIALS, rng)
    assert 0.8 - loss - sampling_error(0.8) <= found <= 0.8 + sampling_error(0.8)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_difference_intervals_cover_the_truth(seeds, rng):
    rates = []
    for cases, seed_sd, system_sd in [(100, 0.3, 1.0), (1000, 0.3, 0.0), (1000, 0.05, 1.0)]:
        world = World(seeds, cases, seed_sd, system_sd, gap=0.4)
        true = bench.truth(world).difference
        found = [difference(a, b) for _ in range(4) for a, b in bench.simulate(world, TRIALS // 4, rng)]
        rates.append(np.mean([one.low <= true <= one.high for one in found]))
    assert min(rates) >= 0.95 - sampling_error(0.95)
    assert np.mean(rates) >= 0.95 - sampling_error(0.95, 3 * TRIALS)
    if seeds == 5:
        assert max(rates) < 0.99


def test_unequal_numbers_of_seeds_are_judged_alike(rng):
    scores = bench.simulate(World(5, 300, 0.3, 1.0), TRIALS, rng)
    wrong = [difference(a[:2], b).verdict != "cannot tell" for a, b in scores]
    assert 0.005 < np.mean(wrong) <= 0.05 + sampling_error(0.05)


def test_estimated_variances_are_right_on_average(rng):
    world = World(5, 300, 0.2, 2.0, gap=0.5)  # no variance near 0, where it would be cut off
    true = bench.truth(world)
    found = [difference(a, b).variation for a, b in bench.simulate(world, TRIALS, rng)]
    seeds = np.mean([one.seeds for one in found], axis=0)
    noise = np.mean([one.noise for one in found], axis=0)
    assert noise == pytest.approx(np.array(true.noise), rel=0.02)
    assert seeds == pytest.approx(np.array(true.seeds) + noise / 300, rel=0.2)
    assert np.mean([one.cases for one in found]) == pytest.approx(true.cases, rel=0.1)


def test_a_lower_measure_can_be_the_better(rng):
    loss = rng.random((3, 200))
    assert difference(loss, loss + 0.3, higher_is_better=False).verdict == "better"
    assert difference(loss, loss + 0.3).verdict == "worse"


def test_the_same_cases_are_compared_with_each_other(rng):
    """Cases differ much, the systems always by as little."""
    hard = 10 * rng.standard_normal((1, 50))
    found = difference(hard + 0.1, hard)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_exchanging_the_systems_changes_the_sign_only(rng):
    a, b = bench.simulate(World(3, 200, 0.3, 1.0, gap=1.0), 1, rng)[0]
    there, back = difference(a, b), difference(b, a)
    assert (there.difference, there.low, there.high) == pytest.approx((-back.difference, -back.high, -back.low))
    assert there.p == pytest.approx(back.p)


# what is missing


def planned(world, level: float = 0.95) -> stats_verdict.Difference:
    """A comparison that estimated everything exactly right."""
    true, n, k = bench.truth(world), world.cases, (world.seeds, world.seeds)
    seeds = tuple(own + noise / n for own, noise in zip(true.seeds, true.noise, strict=True))
    variation = stats_variance.Variation(n, true.cases, k, seeds, true.noise, pseudo=1)
    found = true.difference
    return stats_verdict.Difference(found, found, found, 1, 0.95, 1, "trainings", variation).at(level)


def test_with_the_cases_needed_the_difference_is_found_four_times_in_five(rng):
    world = World(5, 100, 0.02, 1.0, gap=0.3)
    found = planned(world)
    assert found.verdict == "cannot tell"
    more = cases_needed(found)
    assert more is not None and more > 100
    enough = replace(world, cases=world.cases + more)
    assert called_different(enough, TRIALS, rng) == pytest.approx(0.8, abs=0.1)
    half = replace(world, cases=world.cases + more // 2)
    assert called_different(half, TRIALS, rng) < 0.7


def test_with_the_seeds_needed_the_difference_is_found_four_times_in_five(rng):
    world = World(3, 2000, 0.4, 0.0, gap=0.5)
    found = planned(world)
    assert found.verdict == "cannot tell"
    more = seeds_needed(found)
    assert more is not None and more > 2
    enough = replace(world, seeds=world.seeds + more)
    assert called_different(enough, 200, rng) == pytest.approx(0.8, abs=0.1)


def test_the_hundredth_further_seed_is_tried(monkeypatch):
    found = planned(World(3, 2000, 0.4, 0.0, gap=0.5))
    more = seeds_needed(found)
    monkeypatch.setattr(stats_verdict, "MOST_SEEDS", more)
    assert seeds_needed(found) == more
    monkeypatch.setattr(stats_verdict, "MOST_SEEDS", more - 1)
    assert seeds_needed(found) is None


def test_where_seeds_are_what_varies_more_cases_do_not_help_and_the_other_way_round():
    by_seeds = planned(World(3, 2000, 0.4, 0.0, gap=0.4))
    assert cases_needed(by_seeds) is None and seeds_needed(by_seeds) is not None
    by_cases = planned(World(5, 100, 0.02, 2.0, gap=0.3))
    assert cases_needed(by_cases) is not None and seeds_needed(by_cases) is None


def test_the_stricter_the_level_the_more_is_needed():
    world = World(5, 100, 0.02, 1.0, gap=0.3)
    once, corrected = cases_needed(planned(world)), cases_needed(planned(world, 0.99))
    assert once is not None and corrected is not None and corrected > once


def test_no_number_of_cases_settles_a_difference_of_nearly_nothing():
    found = planned(World(3, 1000, 0.05, 1.0, gap=0.001))
    assert cases_needed(found) is None and seeds_needed(found) is None


# little to go by


def test_two_copies_of_the_same_scores_cannot_be_told_apart(rng):
    for scores in (
        rng.integers(0, 2, (3, 50)),
        rng.random((3, 50)),
        rng.random((1, 50)),
        np.ones((3, 10)),
        np.full((2, 5), 0.3),
        np.ones((1, 1)),
        np.full((2, 1), 0.3),
    ):
        found = difference(scores, scores)
        assert found.verdict == "cannot tell" and found.p == 1.0
        assert found.difference == 0.0
        assert cases_needed(found) is None and seeds_needed(found) is None


def test_ten_cases_without_a_difference_do_not_prove_that_there_is_none():
    found = difference(np.ones((1, 10)), np.ones((1, 10)))
    assert found.low < -0.1 and found.high > 0.1
    assert found.variation.total()[0] == pytest.approx(1 / (10 * 11))


def test_seeds_that_agree_by_luck_do_not_pass_for_certainty(rng):
    """Each system's trainings have the same mean, yet answer other cases rightly."""
    one, other = np.arange(400) < 320, np.arange(400) < 300
    a = np.stack([rng.permutation(one) for _ in range(2)])
    b = np.stack([rng.permutation(other) for _ in range(2)])
    found = difference(a, b)
    assert found.variation.seeds == (0.0, 0.0)
    variance, _freedom = found.variation.total()
    assert variance >= sum(found.variation.noise) / (2 * 400)


def test_one_case_decides_nothing():
    right = difference(np.ones((3, 1)), np.zeros((3, 1)))
    assert (right.low, right.high, right.verdict) == (-1.0, 1.0, "cannot tell")
    loss = difference([[0.1]], [[0.9]])
    assert (loss.low, loss.high, loss.verdict) == (-math.inf, math.inf, "cannot tell")
    assert cases_needed(loss) is None


def test_one_seed_of_either_system_speaks_of_these_networks_and_asks_for_no_seeds(rng):
    a, b = bench.simulate(World(3, 500, 0.05, 0.0, gap=0.1), 1, rng)[0]
    for found in (difference(a[:1], b), difference(a[0], b[0])):
        assert found.scope == "networks"
        assert seeds_needed(found) is None
    assert difference(a, b).scope == "trainings"


def test_other_cases_or_groups_than_were_scored_are_refused():
    with pytest.raises(ValueError, match="cannot be paired"):
        difference(np.ones((2, 10)), np.ones((2, 11)))
    with pytest.raises(ValueError, match="9 group names for 10 cases"):
        interval(np.ones(10), groups=["p"] * 9)
    with pytest.raises(ValueError, match="scores are"):
        interval(np.ones((2, 2, 2)))


# patients with several cases


def patients(rng: np.random.Generator, trials: int, seeds: int):
    """Scores (trials, 2, seeds, cases) that patients decide, and whose each case is."""
    sizes = rng.integers(1, 9, 60)
    group = np.repeat(np.arange(60), sizes)
    ease = rng.standard_normal((trials, 2, 1, 60)) * 1.5 + 1
    seed_sd = 0.2 if seeds > 1 else 0.0  # two networks as given, where there is one seed
    odds = np.repeat(ease, sizes, axis=3) + seed_sd * rng.standard_normal((trials, 2, seeds, 1))
    return (rng.random((trials, 2, seeds, len(group))) < bench.expit(odds)).astype(float), group


@pytest.mark.parametrize("seeds", [1, 3])
def test_cases_of_one_patient_do_not_count_as_many(seeds, rng):
    scores, group = patients(rng, TRIALS, seeds)
    aware = np.mean([difference(a, b, groups=group).verdict != "cannot tell" for a, b in scores])
    blind = np.mean([difference(a, b).verdict != "cannot tell" for a, b in scores])
    assert aware <= 0.05 + sampling_error(0.05)
    assert blind > aware + 0.05


def test_an_interval_over_patients_covers_and_counts_patients(rng):
    scores, group = patients(rng, TRIALS, 1)
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    true = float(bench.expit(1 + 1.5 * node) @ weight / weight.sum())
    names = [f"patient {number}" for number in group]
    found = [interval(one[0, 0], groups=names) for one in scores]
    assert {one.groups for one in found} == {60}
    rate = np.mean([one.low <= true <= one.high for one in found])
    assert abs(rate - 0.95) <= sampling_error(0.95) + 0.01


def few_and_many(rng: np.random.Generator, few: float, many: float, trials: int = TRIALS):
    """Right or wrong (trials, 1, cases) of 6 patients with 4 pictures and of 60 others, and who;
    ``few`` and ``many`` of them are right in all pictures or in none."""

    def right(patients: int, alike: float):
        whole = rng.random((trials, 1, patients)) < 0.8
        own = rng.random((trials, 1, 4 * patients)) < 0.8
        whose = rng.random((trials, 1, patients)) < alike
        return np.where(np.repeat(whose, 4, 2), np.repeat(whole, 4, 2), own).astype(float)

    return np.concatenate([right(6, few), right(60, many)], axis=2), np.repeat(np.arange(66), 4)


def width(found: list[Measure]) -> float:
    return float(np.mean([one.high - one.low for one in found]))


def test_few_patients_learn_from_others_how_alike_their_pictures_are(rng):
    scores, group = few_and_many(rng, few=0.5, many=0.5)
    among = group < 6
    alone = [interval(one[:, among], groups=group[among]) for one in scores]
    beside = [interval(one, groups=group, among=among) for one in scores]
    assert [one.value for one in beside] == pytest.approx([one.value for one in alone])
    assert {(one.n, one.groups) for one in beside} == {(24, 6)}
    assert width(beside) < 0.97 * width(alone)
    for one in beside, alone:
        assert np.mean([found.low <= 0.8 <= found.high for found in one]) >= 0.93
    # many learn next to nothing from few, and independent cases nothing at all
    few = interval(scores[0], groups=group, among=~among)
    many = interval(scores[0][:, ~among], groups=group[~among])
    assert (few.low, few.high) == pytest.approx((many.low, many.high), abs=0.01)
    single = interval(scores[0], among=among)
    assert single == interval(scores[0][:, among])


def test_patients_more_alike_than_the_others_keep_their_own_spread(rng):
    scores, group = few_and_many(rng, few=0.9, many=0.0)
    among = group < 6
    alone = [interval(one[:, among], groups=group[among]) for one in scores]
    beside = [interval(one, groups=group, among=among) for one in scores]
    assert np.mean([one.low <= 0.8 <= one.high for one in beside]) >= 0.93
    assert width(beside) > 0.88 * width(alone)


def test_where_nothing_varies_the_others_are_not_asked(rng):
    scores, group = few_and_many(rng, few=0.5, many=0.0, trials=1)
    among = group < 6
    scores[0][:, among] = 1.0
    for part in (among, ~among):
        alone = interval(scores[0][:, part], groups=group[part])
        assert interval(scores[0], groups=group, among=part) == alone
    everyone = interval(scores[0], groups=group, among=np.ones(264, bool))
    assert everyone == interval(scores[0], groups=group)


def test_groups_of_one_case_each_change_nothing(rng):
    a, b = bench.simulate(World(3, 100, 0.3, 1.0, gap=1.0), 1, rng)[0]
    single = np.arange(100)
    assert difference(a, b, groups=single).low == pytest.approx(difference(a, b).low)
    loss = rng.random(50)
    assert interval(loss, groups=np.arange(50)).low == pytest.approx(interval(loss).low)


# intervals of one system


@pytest.mark.parametrize("n", [5, 20, 50, 100, 1000])
def test_a_proportions_interval_covers_whatever_the_true_share(n):
    """By summing over every possible outcome: nothing is left to chance."""
    share = np.linspace(0.001, 0.999, 999)
    outcome = np.arange(n + 1)
    ends = [proportion_interval(int(successes), n) for successes in outcome]
    low, high = np.array([(one.low, one.high) for one in ends]).T[:, :, None]
    cover = (binom.pmf(outcome[:, None], n, share) * ((low <= share) & (share <= high))).sum(0)
    assert cover.min() >= 0.915
    assert cover.mean() >= 0.9495


def test_all_or_nothing_right_still_leaves_room():
    assert interval(np.ones(10)) == Measure(1.0, pytest.approx(0.7225, abs=1e-4), 1.0, 10)
    assert interval(np.zeros(10)).high == pytest.approx(0.2775, abs=1e-4)
    assert interval(np.ones((3, 10))).low == pytest.approx(0.7225, abs=1e-4)
    assert interval([1.0]).low < 0.21
    grouped = interval(np.ones(30), groups=np.arange(30) // 10)
    assert grouped.low < 0.5 and (grouped.n, grouped.groups) == (30, 3)
    nothing = proportion_interval(0, 0)
    assert math.isnan(nothing.value) and (nothing.low, nothing.high, nothing.n) == (0.0, 1.0, 0)


def test_a_proportions_interval_is_wilsons():
    """Newcombe 1998, table I: 81 of 263."""
    found = proportion_interval(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_systems_interval_holds_for_further_trainings_and_cases(seeds, rng):
    world = World(seeds, 300, 0.3, 0.0)
    true = bench.truth(world).accuracy[0]
    found = [interval(scores[0]) for scores in bench.simulate(world, TRIALS, rng)]
    rate = np.mean([one.low <= true <= one.high for one in found])
    assert rate >= 0.95 - sampling_error(0.95)


@pytest.mark.parametrize("repeats", [1, 2, 5])
@pytest.mark.parametrize("luck", [0.0, 0.3])
def test_the_trainings_of_cross_validation_are_told_from_their_cases(repeats, luck, rng):
    """The mean of the estimates is the variance, which two repeats alone would tell badly."""
    folds, patients, means, found = 5, 60, [], []
    for _set in range(600):
        person = np.repeat(np.arange(patients), 2)
        fold = np.stack([rng.permutation(patients) % folds for _ in range(repeats)])[:, person]
        training = fold + folds * np.arange(repeats)[:, None]
        scores = rng.standard_normal(patients)[person] + luck * rng.standard_normal(folds * repeats)[training]
        scores = scores + 0.5 * rng.standard_normal(scores.shape)
        means.append(scores.mean())
        found.append(stats_variance.spread(scores, person, training))
    variance, freedom = np.mean(found, axis=0)
    # trainings' variance is not below 0, so that it is a little too large where there is none
    most = {1: 1.6, 2: 1.15, 5: 1.15}[repeats]
    assert 0.87 < variance / np.var(means) < most
    assert freedom > (4 if repeats == 1 else 20)


def test_one_training_a_repeat_is_what_seeds_are(rng):
    scores = rng.standard_normal((3, 400)) + rng.standard_normal((3, 1))
    whole = np.repeat(np.arange(3)[:, None], 400, axis=1)
    assert stats_variance.spread(scores, None, whole) == pytest.approx(stats_variance.spread(scores), rel=0.01)


def crossed(n, repeats, luck, gap, rng, folds=5):
    """Right or wrong answers of two systems (repeats, cases), patients and trainings."""
    person = np.repeat(np.arange(n // 2), 2)
    fold = np.stack([rng.permutation(n // 2) % folds for _ in range(repeats)])[:, person]
    training = fold + folds * np.arange(repeats)[:, None]
    hard = 0.8 * rng.standard_normal(n // 2)[person] + 0.6 * rng.standard_normal(n)

    def system(lead):
        own = 0.5 * rng.standard_normal(n // 2)[person]
        drawn = luck * rng.standard_normal(folds * repeats)[training]
        score = hard + own + drawn + 0.5 * rng.standard_normal((repeats, n)) + lead
        return (score > -0.7).astype(float)

    return system(gap), system(0.0), person, training


@pytest.mark.parametrize("repeats", [1, 2, 3])
@pytest.mark.parametrize("luck", [0.0, 0.3, 0.6])
def test_cross_validated_equals_are_called_different_in_at_most_5_percent(repeats, luck, rng):
    false = 0
    for _set in range(TRIALS):
        a, b, person, training = crossed(200, repeats, luck, 0.0, rng)
        false += difference(a, b, groups=person, trainings=training).verdict != "cannot tell"
    assert false / TRIALS <= 0.05 + sampling_error(0.05)


def test_folds_tell_more_of_trainings_than_repeats_alone(rng):
    narrower, blind = [], 0
    for _set in range(TRIALS // 4):
        a, b, person, training = crossed(200, 2, 0.6, 0.0, rng)
        ours = difference(a, b, groups=person, trainings=training)
        same_sample = replace(ours, variation=replace(ours.variation, sample=0.0)).at(0.95)
        narrower.append(np.ptp(ends(same_sample)) / np.ptp(ends(difference(a, b, groups=person))))
        one = difference(a[:1], b[:1], groups=person)
        blind += one.scope == "networks" and one.verdict != "cannot tell"
        assert difference(a[:1], b[:1], 0.95, True, person, training[:1]).scope == "sample"
    assert np.median(narrower) < 0.7
    assert blind > 0.3 * TRIALS / 4  # one repeat that takes its folds for one network


@pytest.mark.parametrize("name", ["best feature", "neighbours"])
def test_methods_equal_by_symmetry_are_rarely_called_different_on_another_sample(name, rng):
    """What the folds share, since they learn from one sample, counts too."""
    (world,) = [world for world in symmetric.WORLDS if world.name == name]
    found = symmetric.rates(world, 60, 3, 200, rng)
    assert found["souron"][0] <= 0.05 + sampling_error(0.05, 200)
    assert found["not counted"][0] > 0.05 + sampling_error(0.05, 200)
    assert found["souron"][1] > 0.55


def test_another_training_sample_adds_a_share_of_what_trainings_differ_by(rng):
    a, b, person, training = crossed(200, 3, 0.3, 0.0, rng, folds=3)
    for folds, repeats, share in ((3, 3, 1 / 2), (3, 1, 0.1), (10, 2, 1 / 3)):
        a, b, person, training = crossed(200, repeats, 0.3, 0.0, rng, folds)
        of = difference(a, b, groups=person, trainings=training).variation
        plain = replace(of, sample=0.0)
        assert of.total()[0] - plain.total()[0] == pytest.approx(share * of.seen)
        assert of.seen > 0
    # what learns from all cases in each training has no folds to tell a sample by
    whole = np.repeat(np.arange(2)[:, None], 200, axis=1)
    found = difference(a, b, groups=person, trainings=whole)
    assert found.scope == "trainings" and found.variation.sample == 0.0


def test_answers_that_do_not_depend_on_the_training_sample_cost_no_power(rng):
    """The same answers in each repeat: all that varies are the cases."""
    a, b = (np.repeat(rng.random((1, 200)) < share, 3, axis=0) for share in (0.9, 0.8))
    training = np.stack([rng.permutation(200) % 5 + 5 * repeat for repeat in range(3)])
    counted = difference(a, b, trainings=training)
    cases = difference(a[:1], b[:1])
    assert np.ptp(ends(counted)) == pytest.approx(np.ptp(ends(cases)), rel=0.01)


def ends(found):
    return found.low, found.high


def test_what_cross_validation_needs_is_foretold(rng):
    """A variance for further cases and repeats is that of so many, in the mean."""
    of = {}
    for n, repeats in ((100, 2), (300, 2), (100, 4)):
        found = [crossed(n, repeats, 0.6, 0.5, rng) for _set in range(TRIALS // 2)]
        of[n, repeats] = [difference(a, b, 0.95, True, p, t).variation for a, b, p, t in found]
    for (n, repeats), (units, more) in {(300, 2): (150, 0), (100, 4): (50, 2)}.items():
        foretold = np.mean([one.expected(units, more)[0] for one in of[100, 2]])
        assert foretold == pytest.approx(np.mean([v.total()[0] for v in of[n, repeats]]), rel=0.1)


def test_a_mean_loss_has_students_interval(rng):
    for n in (5, 30):
        loss = rng.normal(2.0, 1.0, (2 * TRIALS, n))
        found = [interval(one) for one in loss]
        rate = np.mean([one.low <= 2.0 <= one.high for one in found])
        assert abs(rate - 0.95) <= sampling_error(0.95, 2 * TRIALS)
    assert interval([0.3]) == Measure(0.3, -math.inf, math.inf, 1)


# many systems


def test_every_pair_is_judged_once_and_verdicts_agree_with_their_intervals(rng):
    seen = set()
    for gap in (0.5, 1.5):
        for scores in bench.simulate(World(3, 300, 0.2, 1.0, gap=gap, systems=4), 20, rng):
            verdicts = judge(dict(zip("abcd", scores, strict=True)), names=list("dcba"))
            pairs = [(verdict.a, verdict.b) for verdict in verdicts]
            assert pairs == [("d", "c"), ("d", "b"), ("d", "a"), ("c", "b"), ("c", "a"), ("b", "a")]
            for one in verdicts:
                expected = "better" if one.low > 0 else "worse" if one.high < 0 else "cannot tell"
                assert one.verdict == expected
                assert one.low <= one.difference <= one.high
                if one.verdict != "cannot tell":
                    assert one.cases_needed is None and one.seeds_needed is None
                seen.add(one.verdict)
    assert seen >= {"worse", "cannot tell"}


def test_the_correction_is_holms(rng):
    scores = dict(zip("abcd", bench.simulate(World(5, 500, 0.1, 0.0, 1.0, 0.5, 4), 1, rng)[0], strict=True))
    scores["b"] = scores["b"] * (rng.random((5, 500)) < 0.93)
    verdicts = judge(scores)
    p = sorted(difference(scores[one.a], scores[one.b]).p for one in verdicts)
    rejected = 0
    while rejected < len(p) and p[rejected] < 0.05 / (len(p) - rejected):
        rejected += 1
    assert 0 < rejected < len(p)
    assert sum(one.verdict != "cannot tell" for one in verdicts) == rejected


def test_where_no_pair_differs_each_has_the_level_that_holds_for_all_together(rng):
    scores = {name: rng.standard_normal((3, 100)) for name in "abc"}
    for one in judge(scores):
        alone = difference(scores[one.a], scores[one.b], 1 - 0.05 / 3)
        assert one.verdict == alone.verdict == "cannot tell"
        assert (one.low, one.high) == (alone.low, alone.high)


def test_needs_are_told_in_cases_even_where_patients_are_counted(rng):
    a, b = bench.simulate(World(1, 400, 0.0, 0.0, gap=0.1), 1, rng)[0]
    group = np.repeat(np.arange(100), 4)
    found = difference(a, b, groups=group)
    units = cases_needed(found)
    (verdict,) = judge({"a": a, "b": b}, groups=group)
    assert verdict.verdict == "cannot tell"
    assert units is not None and verdict.cases_needed == 4 * units


def test_one_training_tells_nothing_of_further_seeds(rng):
    """Also where its scores are parts of a mean, and so several rows."""
    rates = {"a": (0.7, 0.8, 0.9), "b": (0.6, 0.7, 0.8)}
    rows = {name: (rng.random((400, 3)) < each).T.astype(float) for name, each in rates.items()}
    [several], [once] = judge(rows), judge(rows, times=1)
    assert several.seeds_needed is not None and once.seeds_needed is None
    assert (once.low, once.high) == (several.low, several.high)


# AUC, where one label is rare


@pytest.mark.parametrize("ill", [5, 6])
def test_equal_aucs_of_few_positive_patients_are_rarely_called_different(ill, rng):
    found = [bench.judged(bench.Rare(ill, 4, 0.75), rng) for _trial in range(250)]
    blind, aware = (np.mean([one.verdict != "cannot tell" for one in side]) for side in zip(*found, strict=True))
    assert aware <= 0.05 + sampling_error(0.05, 250)
    assert blind > 0.05 + sampling_error(0.05, 250) / 2 and aware < blind - 0.03


def test_the_rarer_label_has_the_degrees_of_freedom(rng):
    """All that varies are five patients."""
    label = np.arange(105) < 5
    a = np.where(label, np.resize([3.0, -3.0, 3.0, -3.0, 0.0], 105), 0.0)
    b = np.zeros(105)
    few = difference(a, b, strata=label)
    assert few.freedom == pytest.approx(4, rel=0.01)
    assert difference(a, b).freedom == pytest.approx(104)
    # two pictures of each patient are no further patients
    twice = np.repeat(np.arange(105), 2)
    doubled = difference(np.repeat(a, 2), np.repeat(b, 2), groups=twice, strata=np.repeat(label, 2))
    assert doubled.freedom == pytest.approx(few.freedom, rel=0.01)
    (verdict,) = judge({"a": a, "b": b}, strata=label)
    assert (verdict.low, verdict.high) == pytest.approx((few.low, few.high))
    # a patient with most of the pictures leaves fewer: 9^2 / (5^2 + 4) - 1
    most = np.repeat(np.arange(105), np.where(np.arange(105) == 0, 5, 1))
    uneven = difference(a[most], b[most], groups=most, strata=label[most])
    assert uneven.freedom == pytest.approx(81 / 29 - 1, rel=0.02)


# the sentence


ACCURACY = Metric("accuracy", unit="share")


def told(scores: dict[str, np.ndarray], seeds: int = 3, unit: str = "share") -> str:
    ranked = sorted(scores, key=lambda name: -scores[name].mean())
    rows = [Row(name, "accuracy", float(scores[name].mean()), 0, 1, 1, 1, 1, 1, ()) for name in ranked]
    cases = next(iter(scores.values())).shape[-1]
    return wording.sentence(Ranking(Metric("accuracy", unit=unit), rows, judge(scores), trainings=seeds), cases)


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("SOURON_LANG", "en")


def steady(rng: np.random.Generator, *shares: float, seeds: int = 3, cases: int = 4000):
    """Systems of these accuracies."""
    names = ("vit", "cnn", "mlp", "vgg")
    scores = [(rng.random((seeds, cases)) < share).astype(float) for share in shares]
    return dict(zip(names, scores, strict=False))


def test_the_sentence_names_the_better_of_two_with_difference_and_interval(rng):
    said = told(steady(rng, 0.70, 0.90))
    assert said.startswith("cnn is better than vit by ")
    assert " points (" in said and "cannot tell" not in said


def test_the_sentence_does_not_choose_between_equals(rng):
    said = told(steady(rng, 0.90, 0.905))
    assert "cannot tell which is better" in said
    assert "4,000 test cases" in said


def test_the_sentence_names_a_winner_only_if_it_beats_all(rng):
    assert told(steady(rng, 0.7, 0.95, 0.8)).startswith("cnn is the best of 3: better than mlp, the second, by ")
    tied = told(steady(rng, 0.7, 0.9, 0.901))
    assert tied.startswith("mlp is better than vit. ") and "cannot be distinguished from cnn" in tied
    every = told(steady(rng, 0.9, 0.9, 0.9))
    assert "cannot be distinguished from any other of the 3" in every


def test_the_sentence_says_what_is_needed():
    rows = [Row(name, "accuracy", 0.9, 0, 1, 1, 1, 1, 1, ()) for name in ("a", "b")]

    def said(cases: int | None, seeds_more: int | None, seeds: int = 3) -> str:
        verdict = stats_verdict.Verdict("b", "a", -0.01, -0.03, 0.01, "cannot tell", cases, seeds_more)
        return wording.sentence(Ranking(ACCURACY, rows, [verdict], trainings=seeds), 1000)

    assert "a leads by 1.0 points (-1.0 to 3.0) on 1,000 test cases" in said(1234, None)
    assert said(1234, None).endswith("About 1,300 more cases needed; more seeds alone will not decide it.")
    assert said(None, 4).endswith("More seeds needed, about 4 each; more cases alone will not decide it.")
    assert said(7, 1).endswith("About 7 more cases needed, or more seeds: about 1 each.")
    neither = "More cases alone (up to 100 times), or more trainings alone (up to a hundred)"
    assert neither in said(None, None)
    assert "One seed each" in said(500, None, seeds=1)
    assert "more seeds" not in said(500, None, seeds=1)


def test_one_seed_is_admitted_in_the_sentence(rng):
    said = told(steady(rng, 0.7, 0.9, seeds=1), seeds=1)
    assert said.startswith("cnn is better than vit") and "these trained networks only" in said


def test_the_sentence_names_the_training_sample_that_it_does_not_count(rng):
    kept = "This holds for this training sample of 1,259 cases; another training set could reverse this."
    rows = [Row(name, "accuracy", 0.9, 0, 1, 1, 1, 1, 1, ()) for name in ("a", "b")]

    def said(verdict: str, seeds: int = 3, sample: int = 1259) -> str:
        judged = stats_verdict.Verdict("a", "b", 0.02, 0.01, 0.03, verdict, None, None)
        return wording.sentence(Ranking(ACCURACY, rows, [judged], trainings=seeds), 1000, sample=sample)

    assert said("better").endswith(kept)
    assert "sample" not in said("cannot tell")  # nothing is claimed
    assert "sample" not in said("better", sample=0)  # it is counted: cross-validation
    assert "trained networks only" in said("better", seeds=1) and kept not in said("better", 1)


def test_a_clear_difference_is_never_shown_as_zero():
    rows = [Row(name, "accuracy", 0.9, 0, 1, 1, 1, 1, 1, ()) for name in ("a", "b")]
    verdict = stats_verdict.Verdict("a", "b", 0.0012, 0.0002, 0.0022, "better", None, None)
    assert "0.12 points (0.02–0.22)" in wording.sentence(Ranking(ACCURACY, rows, [verdict], trainings=3), 1000)
    assert "0.0012 (0.0002–0.0022)" in wording.sentence(Ranking(Metric("log loss"), rows, [verdict], trainings=3), 1000)


def test_a_system_alone_has_no_verdict(rng):
    assert "ran alone" in told(steady(rng, 0.9))


@pytest.mark.parametrize("n", [8, 15, 40])
def test_the_interval_of_a_dice_allows_for_failures_that_a_sample_lacks(n, rng):
    """One case in ten fails; the others are alike."""
    held = 0
    for _again in range(600):
        dice = rng.normal(0.92, 0.03, n).clip(0, 0.99)
        dice[rng.random(n) < 0.1] = 0
        made = overlap_interval(dice)
        held += made.low <= 0.92 * 0.9 <= made.high
    assert held >= 0.95 * 600 - 2 * (600 * 0.05 * 0.95) ** 0.5
