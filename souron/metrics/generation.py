"""Metrics of generated images: distances, and shares of neighbours, of two samples of features.

Both samples are random, the real images and the generator's, and both count. Each figure gets
influences, one per image, whose mean is 0 and whose spread says how much the choice of images
matters: of the real ones and of the generated ones. The variance is the sum of both parts. A
figure's value plus the real images' influences are its pseudo-scores, one per real image, so that
``verdict`` can say which of two generators is better on the same real images: what sampling adds is
part of what their trainings add.

- Fréchet distance: the squared distance of two normal distributions (Heusel, Ramsauer, Unterthiner,
  Nessler and Hochreiter, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
  Equilibrium", 2017, https://arxiv.org/abs/1706.08500). It is biased upwards by about as much as
  two samples of the same images differ: that is the floor, and it depends on the number of images.
  Intervals are for the distance at this number of images.
- Kernel distance: squared maximum mean discrepancy, polynomial kernel, without such a bias
  (Bińkowski, Sutherland, Arbel and Gretton, "Demystifying MMD GANs", 2018,
  https://arxiv.org/abs/1801.01401).
- Precision and recall: shares of images among the other sample's nearest neighbours (Kynkäänniemi,
  Karras, Laine, Lehtinen and Aila, "Improved Precision and Recall Metric for Assessing Generative
  Models", 2019, https://arxiv.org/abs/1904.06991).
- Density and coverage: counterparts of these that use real neighbourhoods alone (Naeem, Oh, Uh,
  Choi and Yoo, "Reliable Fidelity and Diversity Metrics for Generative Models", 2020,
  https://arxiv.org/abs/2002.09797).

The influences of the last four and of the kernel distance are the jackknife's, from leaving out
each image in turn (Efron and Stein, "The Jackknife Estimate of Variance", 1981,
https://doi.org/10.1214/aos/1176345462, who show that it errs towards too large a variance; near the
floor by up to a factor of two); those of the Fréchet distance are its derivative. For precision,
recall and coverage the jackknife's variance is several times too large, as neighbours change
together: there the influences are shrunk to the variance between blocks of the images.
``benchmarks/resembling.py`` measures the coverage of the intervals.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from souron.stats import intervals
from souron.stats.records import Measure
from souron.stats.variance import Scores
from souron.utils import units
from souron.utils.messages import N_, _

NEIGHBOURS = 3  # k of precision and recall, as in the paper
MORE_NEIGHBOURS = 5  # k of density and coverage, as in the paper
FEWEST = 3  # images of each sample, at least
ROWS = 512  # rows of a table of distances computed at once
BLOCKS, SMALLEST_BLOCK, LARGEST_BLOCK = 3, 20, 1000  # parts of the images, and images in one
MIXED = 8  # random partitions into blocks
FREEDOM = 12  # degrees of freedom of a variance from them, by simulation
SURE = 0.8
COLLAPSED = 0.1  # recall below which mode collapse is suspected
SPARSE = 0.25  # coverage; of real images it is near 1
EXPECTED = 5  # expected images of a class: that none of so many is generated is no chance
PARTS = 20  # parts of one training's generated images, to estimate their variance

Figures = Mapping[str, Mapping[str, Any]]  # name of a measure -> value, low, high

Matrix = NDArray[np.float64]  # (N, D)
Index = NDArray[np.int64]

BETTER: dict[str, Literal["higher", "lower"]] = {
    N_("Fréchet distance"): "lower",
    N_("kernel distance"): "lower",
    N_("precision"): "higher",
    N_("recall"): "higher",
    N_("density"): "higher",
    N_("coverage"): "higher",
    N_("distance of class shares"): "lower",
    N_("certainty"): "higher",
    N_("share surely recognised"): "higher",
}
SHARES = ("precision", "recall", "coverage", "distance of class shares", "certainty", "share surely recognised")
OF_BLOCKS = ("precision", "recall", "coverage")
POSITIVE = ("Fréchet distance", "density")


def weaknesses(figures: Figures) -> list[str]:
    """Return warnings about a generator whose recall or coverage is low, in the reader's language.

    >>> weaknesses({"recall": {"value": 0.3}, "coverage": {"value": 0.6}})
    []
    >>> weaknesses({"recall": {"value": 0.05}})
    ['Mode collapse suspected: recall 5.0 %. It generates few kinds of images.']
    """
    texts = []
    if _value(figures, "recall") < COLLAPSED:
        texts.append(
            _("Mode collapse suspected: recall {recall}. It generates few kinds of images.").format(
                recall=units.percent(_value(figures, "recall"))
            )
        )
    if _value(figures, "coverage") < SPARSE:
        texts.append(
            _("Weak generator: only {coverage} of the test images have a generated image near them (coverage).").format(
                coverage=units.percent(_value(figures, "coverage"))
            )
        )
    return texts


def _value(figures: Figures, name: str) -> float:
    """Return the value of a figure; 1 where it was not measured."""
    return float(figures.get(name, {}).get("value", 1.0))


@dataclass(frozen=True)
class Figure:
    """A figure of two samples, and each image's influence on it. The influences' means are 0."""

    value: float
    real: Scores  # (n,)
    drawn: Scores  # (m,)


@dataclass(frozen=True)
class Classes:
    """Class shares of real and generated images, as the classifier ("eye") labels them."""

    labels: tuple[str, ...]
    real: tuple[float, ...]  # shares of 1
    drawn: tuple[float, ...]
    missing: tuple[str, ...]  # none generated, though at least EXPECTED were expected


@dataclass(frozen=True)
class Resemblance:
    """Resemblance of m generated images to n real ones.

    Keys are those of ``BETTER``, in its order; figures that cannot be computed (no classes, too few
    images for neighbours) are left out.
    """

    measures: dict[str, Measure]
    figures: dict[str, Figure]
    n: int
    m: int
    classes: Classes | None = None

    def scores(self, key: str) -> Scores:
        """Return pseudo-scores (n,) of the real images, whose mean is the value."""
        figure = self.figures[key]
        return figure.value + figure.real

    def title(self, key: str) -> str:
        """Return the figure's name for people, with the number of images that it depends on."""
        name = _(key)
        if self.n == self.m:
            return _("{name}, {n} pictures").format(name=name, n=f"{self.n:,}")
        return _("{name}, {m} pictures beside {n} real ones").format(name=name, n=f"{self.n:,}", m=f"{self.m:,}")


def resemble(
    real: ArrayLike,
    drawn: ArrayLike,
    real_probability: ArrayLike | None = None,
    drawn_probability: ArrayLike | None = None,
    labels: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
) -> Resemblance:
    """Compute every figure of real features (n, D) and generated ones (m, D).

    Probabilities (n, labels) and (m, labels) are a classifier's for the same images, ``labels`` its
    class names. ``groups`` (n,) name the patient of each real image. For the floor, call it with as
    many real images, seen neither by the classifier nor part of ``real``, in place of generated
    ones. Raises ValueError where features are not finite, do not fit, or are of fewer than three
    images.

    >>> import numpy as np
    >>> real = np.random.default_rng(0).normal(size=(20, 4))
    >>> found = resemble(real, real + 3)
    >>> sorted(found.measures), found.measures["coverage"].value
    (['Fréchet distance', 'coverage', 'density', 'kernel distance', 'precision', 'recall'], 0.0)
    """
    x, y = _features(real, drawn)
    figures = {"Fréchet distance": frechet(x, y), "kernel distance": kernel(x, y)}
    figures |= neighbourhoods(x, y)
    classes = None
    if real_probability is not None and drawn_probability is not None:
        p, q = _features(real_probability, drawn_probability)
        if len(p) != len(x) or len(q) != len(y):
            raise ValueError(f"{len(p)} and {len(q)} answers for {len(x)} and {len(y)} pictures")
        classes, of_classes = labelled(p, q, labels)
        figures |= of_classes
    measures = {key: measure(key, figure, groups, level) for key, figure in figures.items()}
    return Resemblance(measures, figures, len(x), len(y), classes)


def measure(key: str, figure: Figure, groups: Sequence[Any] | None = None, level: float = 0.95) -> Measure:
    """Return the figure with an interval that counts both samples.

    ``groups`` (n,) name the patients of the real images. The interval is Student's; for shares of 1
    Wilson's, with the sample size of the same variance; for figures that cannot be negative
    Student's for the logarithm.

    >>> import numpy as np
    >>> real = np.random.default_rng(0).normal(size=(20, 4))
    >>> found = measure("Fréchet distance", frechet(real, real + 3))
    >>> round(found.value), found.low < 36 < found.high  # 4 features, each 3 away
    (36, True)
    """
    n, m = len(figure.real), len(figure.drawn)
    # one sample of n + m, in which each part has the variance of its own mean
    parts = figure.real * ((n + m) / n), figure.drawn * ((n + m) / m)
    scores = figure.value + np.concatenate(parts)
    patients = None if groups is None else [*((0, g) for g in groups), *((1, j) for j in range(m))]
    together = None if patients is None else _numbered(patients)
    if key in OF_BLOCKS:
        level = 2 * float(scipy.special.ndtr(scipy.special.stdtrit(FREEDOM, (1 + level) / 2))) - 1
    if key in SHARES:
        interval_measure = intervals.share_interval(scores, together, level, units=min(n, m))
    else:
        interval_measure = intervals.interval(scores, together, level)
    if key in POSITIVE:
        interval_measure = _positive(interval_measure)
    low, high = min(interval_measure.low, figure.value), max(interval_measure.high, figure.value)
    return Measure(figure.value, low, high, n, None if groups is None else len(set(groups)))


def table(trainings: Sequence[Resemblance], key: str) -> Scores:
    """Return the pseudo-scores (trainings, n) of one generator for ``ranking.rank``.

    All trainings are measured with the same n real images. For a single training the shape is
    (PARTS, n), each row with the influence of a part of its generated images: then the variance
    from sampling is known, that from training is not.

    >>> import numpy as np
    >>> real = np.random.default_rng(0).normal(size=(20, 4))
    >>> one = resemble(real, real + 3)
    >>> table([one, one], "Fréchet distance").shape, table([one], "Fréchet distance").shape
    ((2, 20), (20, 20))
    """
    if len(trainings) > 1:
        return np.stack([training.scores(key) for training in trainings])
    [training] = trainings
    influence = training.figures[key].drawn
    parts = min(PARTS, len(influence))
    # equal parts, so that the rows' mean is the value
    order = influence[: len(influence) // parts * parts].reshape(-1, parts)
    return training.scores(key) + (order.mean(0) - order.mean())[:, None]


def over_trainings(
    trainings: Sequence[Resemblance], groups: Sequence[Any] | None = None, level: float = 0.95
) -> dict[str, Measure]:
    """Average each figure over one generator's trainings.

    The intervals hold for further trainings, further real and further generated images. For one
    training: its own measures.

    >>> import numpy as np
    >>> real = np.random.default_rng(0).normal(size=(20, 4))
    >>> found = over_trainings([resemble(real, real + 3), resemble(real, real - 3)])
    >>> round(found["Fréchet distance"].value)
    36
    """
    if len(trainings) == 1:
        return trainings[0].measures
    measures = {}
    for key in trainings[0].measures:
        scores = table(trainings, key)
        way = intervals.share_interval if key in SHARES else intervals.interval
        measure_of_key = way(scores, groups, level)
        measures[key] = _positive(measure_of_key) if key in POSITIVE else measure_of_key
    return measures


def frechet(real: ArrayLike, drawn: ArrayLike) -> Figure:
    """Compute the Fréchet distance |mean - mean|^2 + tr(A + B - 2 (A B)^(1/2)).

    A and B are the covariances. tr (A B)^(1/2) is the sum of the singular values of R_b R_a', where
    A = R_a' R_a: no matrix root is taken and no matrix inverted, so that it is as exact with fewer
    images than features, where A is singular. The distance of so few is mostly floor: it falls as
    their number grows.

    >>> import numpy as np
    >>> real = np.random.default_rng(0).normal(size=(20, 4))
    >>> round(frechet(real, real + 3).value, 6)  # equal covariances, 4 means each 3 away
    36.0
    """
    x, y = _features(real, drawn)
    n, m = len(x), len(y)
    x_mean, y_mean = x.mean(0), y.mean(0)
    apart = x_mean - y_mean
    x, y = x - x_mean, y - y_mean
    of_x, root_x = np.linalg.qr(x)  # x = of_x @ root_x
    of_y, root_y = np.linalg.qr(y)
    u, singular, v = np.linalg.svd(root_y @ root_x.T, full_matrices=False)
    scale = math.sqrt((n - 1) * (m - 1))
    spread_x, spread_y = (x**2).sum(1) / (n - 1), (y**2).sum(1) / (m - 1)
    value = float(apart @ apart + spread_x.sum() + spread_y.sum() - 2 * singular.sum() / scale)

    def influence(centered: Matrix, spread: Scores, common: Scores, away: Scores) -> Scores:
        pull = len(centered) * (spread - common / scale)
        change = 2 * centered @ away + pull
        return change - change.mean()

    # x' T x for the T with T A T = B, the optimal transport map between the normal distributions
    shared_x = ((of_x @ v.T) ** 2) @ singular
    shared_y = ((of_y @ u) ** 2) @ singular
    return Figure(max(value, 0.0), influence(x, spread_x, shared_x, apart), influence(y, spread_y, shared_y, -apart))


def kernel(real: ArrayLike, drawn: ArrayLike) -> Figure:
    """Compute the unbiased squared maximum mean discrepancy with the kernel (x'y / D + 1)^3.

    It is 0 on average for two samples of the same distribution.

    >>> import numpy as np
    >>> real = np.random.default_rng(0).normal(size=(20, 4))
    >>> kernel(real, real + 3).value > kernel(real, real + 1).value > 0
    True
    """
    x, y = _features(real, drawn)
    n, m = len(x), len(y)
    own_x, own_y = _kernel_sums(x, x), _kernel_sums(y, y)
    own_x -= ((x**2).sum(1) / x.shape[1] + 1) ** 3  # no picture beside itself
    own_y -= ((y**2).sum(1) / y.shape[1] + 1) ** 3
    across_x, across_y = _kernel_sums(x, y), _kernel_sums(y, x)
    across = across_x.sum()
    within = own_x.sum() / (n * (n - 1)), own_y.sum() / (m * (m - 1))
    value = sum(within) - 2 * across / (n * m)

    def without(own: Scores, other: Scores, count: int, others: int) -> Scores:
        """Return the parts of the figure that change, without each image."""
        alone = (own.sum() - 2 * own) / ((count - 1) * (count - 2))
        return alone - 2 * (across - other) / ((count - 1) * others)

    return Figure(
        float(value), _left_out(without(own_x, across_x, n, m), n), _left_out(without(own_y, across_y, m, n), m)
    )


def neighbourhoods(real: ArrayLike, drawn: ArrayLike) -> dict[str, Figure]:
    """Compute precision, recall, density and coverage, those for which there are enough images.

    An image's ball reaches to its k-th nearest neighbour in its own sample. Distances are computed
    ROWS at a time.

    >>> import numpy as np
    >>> real = np.random.default_rng(0).normal(size=(20, 4))
    >>> {name: figure.value for name, figure in neighbourhoods(real, real + 9).items()}
    {'precision': 0.0, 'recall': 0.0, 'density': 0.0, 'coverage': 0.0}
    """
    x, y = _features(real, drawn)
    y = y - x.mean(0)  # distances stay, their rounding is less
    x = x - x.mean(0)
    least = min(len(x), len(y))
    results: dict[str, Figure] = {}
    if least < NEIGHBOURS + 2:
        return results
    most = min(MORE_NEIGHBOURS, len(x) - 2)
    near_x, reach_x = _nearest(x, max(NEIGHBOURS, most) + 1)
    near_y, reach_y = _nearest(y, NEIGHBOURS + 1)

    inside, change = _inside(x, y, near_x, reach_x)
    value = float(inside.mean())
    results["precision"] = Figure(value, _left_out(change / len(y), len(x)), inside - value)
    inside, change = _inside(y, x, near_y, reach_y)
    value = float(inside.mean())
    results["recall"] = Figure(value, inside - value, _left_out(change / len(x), len(y)))
    if len(x) >= MORE_NEIGHBOURS + 2:
        results |= _density_and_coverage(x, y, near_x, reach_x)
    return _lessened(results, _of_blocks(x, y))


def labelled(real: ArrayLike, drawn: ArrayLike, labels: Sequence[str] = ()) -> tuple[Classes, dict[str, Figure]]:
    """Compare the predicted classes of real and generated images: class shares, and figures.

    ``real`` (n, labels) and ``drawn`` (m, labels) are a classifier's probabilities. The distance of
    the shares is their total variation: the share of images that would have to change their class.
    Real images are labelled by the classifier too, so that its errors are on both sides.

    >>> real, generated = [[1, 0], [1, 0], [0, 1], [0, 1]], [[1, 0], [1, 0], [1, 0], [0, 1]]
    >>> classes, figures = labelled(real, generated, ["cat", "dog"])
    >>> classes.drawn, figures["distance of class shares"].value
    ((0.75, 0.25), 0.25)
    """
    p, q = _features(real, drawn)
    n, m, count = len(p), len(q), p.shape[1]
    says_p, says_q = np.eye(count)[p.argmax(1)], np.eye(count)[q.argmax(1)]
    share_p, share_q = says_p.mean(0), says_q.mean(0)
    way = np.sign(share_q - share_p) / 2
    sure = q.max(1)
    surely = (sure > SURE).astype(float)
    nothing = np.zeros(n)
    figures = {
        "distance of class shares": Figure(
            float(abs(share_q - share_p).sum() / 2), -(says_p - share_p) @ way, (says_q - share_q) @ way
        ),
        "certainty": Figure(float(sure.mean()), nothing, sure - sure.mean()),
        "share surely recognised": Figure(float(surely.mean()), nothing, surely - surely.mean()),
    }
    names = tuple(labels) or tuple(str(c) for c in range(count))
    lacking = (share_q == 0) & (share_p * m >= EXPECTED)
    missing = tuple(name for name, lacks in zip(names, lacking, strict=True) if lacks)
    return Classes(names, tuple(share_p.tolist()), tuple(share_q.tolist()), missing), figures


def _lessened(figures: dict[str, Figure], variance: dict[str, float]) -> dict[str, Figure]:
    """Return the figures with influences shrunk to these variances, where those are smaller.

    The jackknife counts a change that neighbours share once for each of them. The part of an
    image's own being inside or not stays as it is: it is exact.
    """
    result = dict(figures)
    for key, target in variance.items():
        figure = figures[key]
        real_variance, fake_variance = _variance(figure.real), _variance(figure.drawn)
        exact = {"precision": fake_variance, "recall": real_variance}.get(key, 0.0)
        # neighbours are covered together, if anything: at least the variance of independent images
        target = max(target, figure.value * (1 - figure.value) / len(figure.real))
        estimate = real_variance + fake_variance - exact
        if not estimate > 0:
            continue
        factor = math.sqrt(min(max((target - exact) / estimate, 0.0), 1.0))
        result[key] = Figure(
            figure.value,
            figure.real * (1.0 if key == "recall" else factor),
            figure.drawn * (1.0 if key == "precision" else factor),
        )
    return result


def _of_blocks(x: Matrix, y: Matrix) -> dict[str, float]:
    """Estimate the variances of precision, recall and coverage from their variance between blocks.

    Each is a mean over neighbourhoods, so that its variance falls with their number (Penrose and
    Yukich, "Central limit theorems for some graphs in computational geometry", 2001,
    https://doi.org/10.1214/aoap/1015345393). Empty where blocks would be too small.
    """
    least = min(len(x), len(y))
    blocks = max(BLOCKS, math.ceil(max(len(x), len(y)) / LARGEST_BLOCK))
    if least < blocks * SMALLEST_BLOCK:
        return {}
    mixing = np.random.default_rng(0)
    few_x, few_y = x.astype(np.float32), y.astype(np.float32)
    variances = []
    for _repeat in range(MIXED):
        of_x, of_y = mixing.permutation(len(x)), mixing.permutation(len(y))
        parts = [(few_x[of_x[b::blocks]], few_y[of_y[b::blocks]]) for b in range(blocks)]
        shares = [_shares(*part) for part in parts]
        variances.append(np.var(shares, axis=0, ddof=1) / blocks)
    return dict(zip(("precision", "recall", "coverage"), np.mean(variances, axis=0).tolist(), strict=True))


def _shares(x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[float, float, float]:
    """Compute precision, recall and coverage of a few images, all distances at once."""
    own_x, own_y, across = _table(x, x), _table(y, y), _table(x, y)
    # each image is its own nearest
    reach_x = np.partition(own_x, (NEIGHBOURS, MORE_NEIGHBOURS), axis=1)
    reach_y = np.partition(own_y, NEIGHBOURS, axis=1)[:, NEIGHBOURS]
    precision = (across <= reach_x[:, [NEIGHBOURS]]).any(0).mean()
    recall = (across <= reach_y).any(1).mean()
    coverage = (across.min(1) <= reach_x[:, MORE_NEIGHBOURS]).mean()
    return float(precision), float(recall), float(coverage)


def _table(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return squared distances (len(a), len(b))."""
    return (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T)


def _variance(influence: Scores) -> float:
    """Return the variance of the influences' mean."""
    return float(influence.var(ddof=1)) / len(influence)


def _density_and_coverage(x: Matrix, y: Matrix, near: Index, reach: Matrix) -> dict[str, Figure]:
    """Compute density and coverage with the influences of each real and generated image."""
    n, m, k = len(x), len(y), MORE_NEIGHBOURS
    radius, further = reach[:, k - 1], reach[:, k]
    balls = np.zeros(m)  # balls that each generated image lies in
    ball_counts, more = np.zeros(n), np.zeros(n)  # generated images in a ball, and if it reached further
    nearest, second, which = np.empty(n), np.empty(n), np.empty(n, dtype=np.int64)
    for rows, square in _squares(x, y):
        within = square <= radius[rows, None]
        balls += within.sum(0)
        ball_counts[rows] = within.sum(1)
        more[rows] = (square <= further[rows, None]).sum(1)
        two = np.argpartition(square, 1, axis=1)[:, :2]
        low = np.take_along_axis(square, two, 1)
        order = low.argmin(1)
        line = np.arange(len(low))
        nearest[rows], second[rows] = low[line, order], low[line, 1 - order]
        which[rows] = two[line, order]

    density = float(balls.mean() / k)
    gain = _summed(near[:, :k], more - ball_counts, n)
    in_ball = nearest <= radius
    newly = _summed(near[:, :k], (~in_ball & (nearest <= further)).astype(float), n)
    coverage = float(in_ball.mean())
    without = (in_ball.sum() - in_ball + newly) / (n - 1)
    alone = in_ball & (second > radius)  # covered by one generated image only
    loss = np.bincount(which[alone], minlength=m).astype(float)
    return {
        "density": Figure(density, _left_out((gain - ball_counts) / (k * m), n), balls / k - density),
        "coverage": Figure(coverage, _left_out(without, n), _left_out(-loss / n, m)),
    }


def _inside(centre: Matrix, point: Matrix, near: Index, reach: Matrix) -> tuple[Scores, Scores]:
    """Return whether each point is in the ball of any centre, and the change without each.

    The first (m,) is 1 or 0. The second (n,) is how many more points would be inside without that
    centre: its own ball is gone then, and the balls of those whose neighbour it was reach further.
    """
    k = NEIGHBOURS
    near, radius, further = near[:, :k], reach[:, k - 1], reach[:, k]
    balls, which = np.zeros(len(point), dtype=np.int64), np.zeros(len(point), dtype=np.int64)
    for rows, square in _squares(centre, point):
        within = square <= radius[rows, None]
        balls += within.sum(0)
        which += np.arange(rows.start, rows.start + len(square)) @ within
    change = np.zeros(len(centre))
    # a point in two balls or more stays within one whichever centre goes
    [few] = np.nonzero(balls <= 1)
    owner = np.where(balls == 1, which, -1)[few]
    np.subtract.at(change, owner[owner >= 0], 1.0)
    pairs = []  # pairs of a point and a centre without which it would be inside
    for rows, square in _squares(centre, point[few]):
        shell = (square > radius[rows, None]) & (square <= further[rows, None])
        ball, at = np.nonzero(shell)
        pairs.append(np.repeat(at, k) * len(centre) + near[rows][ball].ravel())
    if pairs:
        at, removed_center = np.divmod(np.unique(np.concatenate(pairs)), len(centre))
        helps = (owner[at] < 0) | (owner[at] == removed_center)
        np.add.at(change, removed_center[helps], 1.0)
    return (balls > 0).astype(np.float64), change


def _left_out(values: Scores, count: int) -> Scores:
    """Return influences (count,) from the figure without each image, known up to a constant."""
    influence = -(count - 1) * values
    return influence - influence.mean()


def _summed(near: Index, values: Scores, count: int) -> Scores:
    """Sum for each image the values of those whose neighbour it is, shape (count,)."""
    sums = np.zeros(count)
    np.add.at(sums, near, values[:, None])
    return sums


def _nearest(x: Matrix, count: int) -> tuple[Index, Matrix]:
    """Return the nearest others of each row, nearest first, and squared distances, (n, count)."""
    near, reach = np.empty((len(x), count), dtype=np.int64), np.empty((len(x), count))
    for rows, square in _squares(x, x):
        line = np.arange(len(square))
        square[line, line + rows.start] = np.inf
        index = np.argpartition(square, count - 1, axis=1)[:, :count]
        distance = np.take_along_axis(square, index, 1)
        order = distance.argsort(1, kind="stable")
        near[rows] = np.take_along_axis(index, order, 1)
        reach[rows] = np.take_along_axis(distance, order, 1)
    return near, reach


def _squares(a: Matrix, b: Matrix) -> Iterator[tuple[slice, Matrix]]:
    """Yield blocks of rows of ``a`` and their squared distances to all of ``b``, (rows, len(b))."""
    of_b = (b**2).sum(1)
    for start in range(0, len(a), ROWS):
        block = a[start : start + ROWS]
        square = block @ b.T
        square *= -2
        square += (block**2).sum(1)[:, None]
        square += of_b
        yield slice(start, start + len(block)), np.maximum(square, 0, out=square)


def _kernel_sums(a: Matrix, b: Matrix) -> Scores:
    """Sum the kernel of each row of ``a`` over ``b``, shape (len(a),)."""
    sums = np.empty(len(a))
    for start in range(0, len(a), ROWS):
        near = a[start : start + ROWS] @ b.T
        near /= a.shape[1]
        near += 1
        sums[start : start + ROWS] = np.einsum("ij,ij,ij->i", near, near, near)
    return sums


def _positive(measure: Measure) -> Measure:
    """Return the measure with the interval of its logarithm, for a figure that is not negative."""
    half = (measure.high - measure.low) / 2
    if measure.value <= 0:
        return replace(measure, low=0.0, high=half)
    factor = math.exp(min(half / measure.value, 700.0))
    return replace(measure, low=measure.value / factor, high=measure.value * factor)


def _numbered(names: Sequence[Any]) -> list[int]:
    """Number names in the order of their first occurrence."""
    number: dict[Any, int] = {}
    return [number.setdefault(name, len(number)) for name in names]


def _features(real: ArrayLike, fake: ArrayLike) -> tuple[Matrix, Matrix]:
    """Return both samples as float64 arrays. Raises ValueError where they do not fit."""
    x, y = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features {x.shape} and {y.shape} do not fit")
    if min(len(x), len(y)) < FEWEST:
        raise ValueError(f"{FEWEST} pictures of each sort or more, not {len(x)} and {len(y)}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("features must be finite")
    return x, y
