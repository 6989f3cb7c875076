"""Distances and shares of two samples, against their definitions; what they do when a generator
fails; influences; intervals and verdicts."""

import math
from dataclasses import replace

import numpy as np
import pytest
from judged import judge
from scipy.linalg import sqrtm

from souron.metrics import generation
from souron.metrics.generation import Figure
from souron.stats import variance as stats_variance


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def pair(rng, n=60, m=45, d=4):
    """Real ones with a covariance of their own, drawn ones wider and elsewhere."""
    real = rng.standard_normal((n, d)) @ rng.standard_normal((d, d))
    return real, 1.3 * rng.standard_normal((m, d)) + 0.3


def distances(a, b):
    return np.array([[math.dist(p, q) for q in b] for p in a])


def reach(x, k):
    """To the k-th nearest other."""
    return np.array([sorted(math.dist(p, q) for q in x)[k] for p in x])


def naive(key, real, drawn):
    """The definitions, a picture at a time."""
    apart = distances(real, drawn)
    if key == "precision":
        return (apart <= reach(real, 3)[:, None]).any(0).mean()
    if key == "recall":
        return (apart <= reach(drawn, 3)).any(1).mean()
    if key == "density":
        return (apart <= reach(real, 5)[:, None]).sum() / (5 * len(drawn))
    if key == "coverage":
        return (apart.min(1) <= reach(real, 5)).mean()
    n, m, d = len(real), len(drawn), real.shape[1]

    def k(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / d + 1) ** 3

    within = sum(k(real[i], real[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    also = sum(k(drawn[i], drawn[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within + also - 2 * sum(k(a, b) for a in real for b in drawn) / (n * m)


def figure(key, real, drawn):
    if key == "Fréchet distance":
        return generation.frechet(real, drawn)
    if key == "kernel distance":
        return generation.kernel(real, drawn)
    return generation.neighbourhoods(real, drawn)[key]


NEAREST = ("precision", "recall", "density", "coverage")


def by_roots(a_mean, a, b_mean, b):
    """The published formula, with the root of a matrix."""
    return float(((a_mean - b_mean) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b)).real)


def test_frechet_distance_is_the_published_formula(rng):
    real, drawn = pair(rng)
    found = generation.frechet(real, drawn).value
    args = (real.mean(0), np.cov(real.T), drawn.mean(0), np.cov(drawn.T))
    assert found == pytest.approx(by_roots(*args), rel=1e-9)
    assert found == pytest.approx(generation.frechet(drawn, real).value, rel=1e-12)


def test_frechet_distance_of_normal_distributions_is_known(rng):
    """Along each axis (a - b)^2 + (s - t)^2; with many pictures the estimate comes near to it."""
    s, t, apart = np.array([1.0, 0.5, 2.0]), np.array([0.7, 1.5, 2.0]), np.array([1.0, 0.0, -0.5])
    real = s * rng.standard_normal((100_000, 3))
    drawn = apart + t * rng.standard_normal((100_000, 3))
    true = float((apart**2).sum() + ((s - t) ** 2).sum())
    assert generation.frechet(real, drawn).value == pytest.approx(true, rel=0.02)


def test_frechet_distance_with_fewer_pictures_than_features(rng):
    """Covariances without an inverse: two sets in planes at right angles have nothing in common."""
    real, drawn = np.zeros((4, 30)), np.zeros((5, 30))
    real[:, :3], drawn[:, 10:14] = rng.standard_normal((4, 3)), rng.standard_normal((5, 4))
    far = generation.frechet(real, drawn)
    away = ((real.mean(0) - drawn.mean(0)) ** 2).sum()
    assert far.value == pytest.approx(away + real.var(0, ddof=1).sum() + drawn.var(0, ddof=1).sum())
    few, others = rng.standard_normal((10, 40)), rng.standard_normal((12, 40))
    found = generation.frechet(few, others)
    turned = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    assert found.value == pytest.approx(generation.frechet(few @ turned, others @ turned).value)
    assert generation.frechet(few, few).value == pytest.approx(0, abs=1e-10)
    assert np.isfinite(found.real).all()


def test_frechet_influence_is_the_derivative_by_a_pictures_weight(rng):
    real, drawn = pair(rng, 30, 25, 3)
    found = generation.frechet(real, drawn)
    mirrored = generation.frechet(drawn, real)
    np.testing.assert_allclose(found.drawn, mirrored.real, atol=1e-9)
    n, step = len(real), 1e-5
    other = drawn.mean(0), np.cov(drawn.T)

    def weighted(weight):
        mean = weight @ real
        away = real - mean
        return by_roots(mean, n / (n - 1) * (away * weight[:, None]).T @ away, *other)

    for i in range(0, n, 5):
        toward = np.eye(n)[i] - 1 / n
        slope = weighted(1 / n + step * toward) - weighted(1 / n - step * toward)
        assert found.real[i] == pytest.approx(slope / (2 * step), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("key", ["kernel distance", *NEAREST])
def test_figures_are_their_definitions(rng, key):
    real, drawn = pair(rng, 30, 24, 3)
    assert figure(key, real, drawn).value == pytest.approx(naive(key, real, drawn), rel=1e-9)


@pytest.mark.parametrize("key", ["kernel distance", *NEAREST])
def test_influences_are_what_leaving_out_each_picture_does(rng, key):
    real, drawn = pair(rng, 26, 22, 2)
    drawn *= 0.6
    found = figure(key, real, drawn)
    assert found.real.shape == (26,) and found.drawn.shape == (22,)
    assert found.real.any() and found.drawn.any()

    def centred(values, count):
        moved = -(count - 1) * np.array(values)
        return moved - moved.mean()

    of_real = [figure(key, np.delete(real, i, 0), drawn).value for i in range(26)]
    of_drawn = [figure(key, real, np.delete(drawn, j, 0)).value for j in range(22)]
    np.testing.assert_allclose(found.real, centred(of_real, 26), atol=1e-9)
    np.testing.assert_allclose(found.drawn, centred(of_drawn, 22), atol=1e-9)


def test_chunks_do_not_matter(rng, monkeypatch):
    real, drawn = pair(rng, 40, 33)
    whole = generation.resemble(real, drawn)
    monkeypatch.setattr(generation, "ROWS", 7)
    parts = generation.resemble(real, drawn)
    for key, one in whole.figures.items():
        assert parts.figures[key].value == pytest.approx(one.value, rel=1e-9), key
        np.testing.assert_allclose(parts.figures[key].real, one.real, atol=1e-7)


def test_equal_distributions_are_at_the_floor(rng):
    """Of equal ones the kernel distance is 0 in the mean, density 1, and of n pictures about
    1 - 2^-k is covered (Naeem and others 2020)."""
    sets = [generation.resemble(rng.standard_normal((150, 8)), rng.standard_normal((150, 8))) for _set in range(40)]

    def mean(key):
        return np.mean([one.measures[key].value for one in sets])

    spread = np.std([one.measures["kernel distance"].value for one in sets])
    assert abs(mean("kernel distance")) < 3 * spread / math.sqrt(40)
    assert mean("density") == pytest.approx(1, abs=0.05)
    assert mean("coverage") == pytest.approx(1 - 2**-5, abs=0.01)
    assert mean("precision") == pytest.approx(mean("recall"), abs=0.02)


def test_mode_collapse_shows_in_recall_and_coverage_and_not_in_precision(rng):
    modes = 6 * rng.standard_normal((8, 6))
    real = modes[rng.integers(0, 8, 400)] + rng.standard_normal((400, 6))
    all_modes = modes[rng.integers(0, 8, 400)] + rng.standard_normal((400, 6))
    one_mode = modes[0] + 0.5 * rng.standard_normal((400, 6))
    good = generation.resemble(real, all_modes).measures
    collapsed = generation.resemble(real, one_mode).measures
    assert collapsed["precision"].value > 0.95
    assert good["recall"].value > 0.7 and collapsed["recall"].value < 0.12
    assert good["coverage"].value > 0.9 and collapsed["coverage"].value < 0.2
    assert collapsed["Fréchet distance"].low > good["Fréchet distance"].high
    assert collapsed["kernel distance"].low > good["kernel distance"].high


def test_one_picture_over_and_over_has_no_recall(rng):
    real = rng.standard_normal((120, 5))
    same = np.repeat(real[:1] + 0.01, 120, 0)
    found = generation.resemble(real, same).measures
    assert found["recall"].value == 0 and 0 < found["recall"].high < 0.05
    assert all(math.isfinite(m.low) and m.low <= m.value <= m.high for m in found.values())


def test_noise_far_from_all_has_no_precision(rng):
    found = generation.resemble(rng.standard_normal((120, 5)), 50 + rng.standard_normal((120, 5)))
    for key in NEAREST:
        assert found.measures[key].value == 0 == found.measures[key].low


def chances(rows, labels, sure=0.9):
    table = np.full((len(rows), labels), (1 - sure) / (labels - 1))
    table[np.arange(len(rows)), rows] = sure
    return table


def test_shares_of_classes_and_how_sure_the_eye_is(rng):
    real, drawn = pair(rng, 40, 60)
    says = chances([0] * 20 + [1] * 10 + [2] * 10, 3)
    of_drawn = np.concatenate([chances([0] * 45, 3), chances([1] * 15, 3, 0.6)])
    found = generation.resemble(real, drawn, says, of_drawn, ("cat", "犬", "owl"))
    assert found.classes.real == (0.5, 0.25, 0.25) and found.classes.drawn == (0.75, 0.25, 0)
    assert found.classes.missing == ("owl",)
    assert found.measures["distance of class shares"].value == pytest.approx(0.25)
    assert found.measures["certainty"].value == pytest.approx((45 * 0.9 + 15 * 0.6) / 60)
    assert found.measures["share surely recognised"].value == pytest.approx(0.75)
    # half of what is 1 where too few are drawn, -1 where too many; less its mean
    influence = found.figures["distance of class shares"].real
    np.testing.assert_allclose(influence, [-0.375] * 20 + [0.125] * 10 + [0.625] * 10)
    assert list(found.measures) == list(generation.BETTER)
    assert not found.figures["certainty"].real.any()


def test_a_class_too_rare_to_be_expected_is_not_missing(rng):
    real, drawn = pair(rng, 100, 100)
    says = chances([0] * 97 + [1] * 3, 2)
    found = generation.resemble(real, drawn, says, chances([0] * 100, 2))
    assert found.classes.missing == ()


@pytest.mark.parametrize("n, m", [(45, 45), (60, 30), (400, 300)])
def test_pseudo_scores_have_the_value_as_their_mean(rng, n, m):
    real, drawn = pair(rng, n, m, 6)
    labels = rng.integers(0, 3, n + m)
    says = chances(labels, 3)
    found = generation.resemble(real, drawn, says[:n], says[n:])
    assert set(found.measures) == set(found.figures) == set(generation.BETTER)
    for key, measure in found.measures.items():
        scores = found.scores(key)
        assert scores.shape == (n,) and measure.n == n and measure.groups is None
        assert scores.mean() == pytest.approx(measure.value, abs=1e-9), key
        assert found.figures[key].drawn.mean() == pytest.approx(0, abs=1e-9)
        assert measure.low <= measure.value <= measure.high
        alone = generation.table([found], key)
        assert alone.shape == (min(20, m), n)
        assert alone.mean() == pytest.approx(measure.value, abs=1e-9)


def test_both_samples_count_in_an_interval():
    few = Figure(1.0, np.tile([-1.0, 1.0], 50), np.zeros(400))
    more = replace(few, drawn=np.tile([-2.0, 2.0], 200))

    def half(figure):
        found = generation.measure("kernel distance", figure)
        return (found.high - found.low) / 2

    assert half(few) == pytest.approx(1.96 * math.sqrt(1 / 100), rel=0.01)
    assert half(more) == pytest.approx(1.96 * math.sqrt(1 / 100 + 4 / 400), rel=0.01)


def test_what_blocks_estimate_has_the_wider_interval_of_a_student():
    """Their variance has about 12 degrees of freedom: 2.179 deviations for 95 %, not 1.960."""
    figure = Figure(0.5, np.tile([-0.5, 0.5], 500), np.zeros(1000))
    widths = [
        found.high - found.low
        for key in ("precision", "recall", "coverage", "certainty")
        for found in [generation.measure(key, figure)]
    ]
    assert [width / widths[-1] for width in widths[:3]] == pytest.approx([2.179 / 1.960] * 3, 0.01)


def test_what_cannot_be_negative_has_an_interval_above_zero():
    figure = Figure(0.2, np.tile([-3.0, 3.0], 50), np.zeros(100))
    assert generation.measure("kernel distance", figure).low < 0
    for key in ("Fréchet distance", "density"):
        found = generation.measure(key, figure)
        assert found.low > 0
        assert found.low * found.high == pytest.approx(0.2**2)  # as far each way, in logarithms


def test_patients_widen_an_interval():
    """Pictures of a patient that are all alike say no more than one of them."""
    figure = Figure(0.0, np.repeat(np.tile([-1.0, 1.0], 25), 4), np.zeros(300))
    alone = generation.measure("kernel distance", figure)
    grouped = generation.measure("kernel distance", figure, np.repeat(np.arange(50), 4).tolist())
    assert grouped.groups == 50 and grouped.n == 200
    ratio = (grouped.high - grouped.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(2, rel=0.03)


def test_the_variance_of_shares_is_near_the_true_one(rng):
    """Not the jackknife's, which is several times as large."""
    sets = [
        generation.neighbourhoods(rng.standard_normal((250, 12)), rng.standard_normal((250, 12))) for _set in range(60)
    ]
    for key in ("precision", "recall", "coverage"):
        figures = [one[key] for one in sets]
        true = np.var([figure.value for figure in figures], ddof=1)
        said = np.mean([(f.real.var() + f.drawn.var()) / 250 for f in figures])
        assert 0.55 < said / true < 2.2, key


def test_verdict_between_a_good_and_a_poor_generator_and_between_equal_ones(rng):
    real = rng.standard_normal((300, 6))

    def trainings(scale, k=3):
        return [generation.resemble(real, scale * rng.standard_normal((300, 6))) for _k in range(k)]

    good, poor, same = trainings(1.0), trainings(0.5), trainings(0.5)
    for key in ("Fréchet distance", "kernel distance", "recall", "coverage"):
        higher = generation.BETTER[key] == "higher"
        scores = {name: generation.table(of, key) for name, of in (("good", good), ("poor", poor), ("same", same))}
        assert scores["good"].shape == (3, 300)
        found = {(v.a, v.b): v.verdict for v in judge(scores, higher)}
        assert found["good", "poor"] == "better", key
        assert found["poor", "same"] == "cannot tell", key


def test_one_training_alone_counts_what_drawing_adds(rng):
    """Where the real pictures count for nothing, the drawn ones still do."""
    figure = Figure(0.5, np.zeros(40), rng.permutation(np.tile([-0.5, 0.5], 1000)))
    one = generation.Resemblance({}, {"certainty": figure}, 40, 2000)
    rows = generation.table([one], "certainty")
    variance, freedom = stats_variance.spread(rows)
    assert math.sqrt(variance) == pytest.approx(0.5 / math.sqrt(2000), rel=0.4)
    assert freedom == pytest.approx(generation.PARTS - 1)


def test_figures_over_trainings(rng):
    real = rng.standard_normal((100, 4))
    found = [generation.resemble(real, s + rng.standard_normal((90, 4))) for s in (0.0, 0.2, 0.4)]
    over = generation.over_trainings(found)
    for key, measure in over.items():
        mean = np.mean([one.measures[key].value for one in found])
        assert measure.value == pytest.approx(mean) and measure.low <= mean <= measure.high
    width = over["Fréchet distance"].high - over["Fréchet distance"].low
    assert width > max(m.high - m.low for m in (f.measures["Fréchet distance"] for f in found))
    assert generation.over_trainings(found[:1]) == found[0].measures


def test_a_generator_of_low_recall_or_coverage_is_called_weak():
    def told(recall, coverage):
        figures = {"recall": {"value": recall}, "coverage": {"value": coverage}}
        return [text.split(" ")[0] for text in generation.weaknesses(figures)]

    assert told(0.1, 0.25) == []
    assert told(0.09, 0.25) == ["Mode"] and told(0.1, 0.24) == ["Weak"]
    assert told(0.09, 0.24) == ["Mode", "Weak"]


def test_the_number_of_pictures_is_part_of_the_name(rng):
    real, drawn = pair(rng, 40, 40)
    assert generation.resemble(real, drawn).title("recall") == "recall, 40 pictures"
    found = generation.resemble(np.tile(real, (30, 1)), drawn)
    assert found.title("recall") == "recall, 40 pictures beside 1,200 real ones"


@pytest.mark.parametrize("n, m", [(3, 3), (4, 9), (5, 5), (6, 8), (7, 5)])
def test_few_pictures(rng, n, m):
    found = generation.resemble(*pair(rng, n, m)).measures
    assert ("precision" in found) == (min(n, m) >= 5)
    assert ("coverage" in found) == (n >= 7)
    assert all(math.isfinite(one.low) and one.low <= one.value <= one.high for one in found.values())


@pytest.mark.parametrize(
    "real, drawn",
    [
        (np.zeros((2, 3)), np.zeros((9, 3))),
        (np.zeros((9, 3)), np.zeros((9, 4))),
        (np.zeros(9), np.zeros(9)),
        (np.zeros((9, 3)), np.full((9, 3), np.nan)),
    ],
)
def test_what_cannot_be_compared_is_refused(real, drawn):
    with pytest.raises(ValueError):
        generation.resemble(real, drawn)


def test_answers_of_other_pictures_are_refused(rng):
    real, drawn = pair(rng, 20, 20)
    with pytest.raises(ValueError, match="answers"):
        generation.resemble(real, drawn, chances([0] * 19, 2), chances([0] * 20, 2))
