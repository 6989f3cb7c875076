"""Does "A is better than B" hold when another training sample is drawn?

    OMP_NUM_THREADS=1 python benchmarks/training_sample.py --trials 1000 --seed 0

Two methods that are equal by symmetry: the same algorithm, each on its own half of the features,
and both halves tell equally much. Each trial draws a new sample of cases, cross-validates both on
the same folds, and asks for a verdict. The first table shows in how many trials the two are called
different at 5 %, in brackets how often a difference is found that one who knew the true variance
would find in 80 % (2.8 true standard errors, added to every trial's difference). A judge that fails
without the brackets has no power to boast of in them.

The second table has one split, from which the sample's luck cannot be told: the verdict's sentence
says that it is not counted, and this is how much it matters.

The algorithms: ridge regression on 5 and on 20 features, the nearest class mean on 10, the best
single feature of 10 (unstable: another sample, another feature), ridge regression on 40 random ReLU
features (a network whose seed is new in each training), and the five nearest neighbours.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from printing import say, table, watched, where
from scipy.special import stdtrit

from souron.stats import verdict
from souron.stats.variance import Crossed

LEVEL = 0.95
FOLDS, REPEATS = 5, 3
CASES = (60, 150, 300, 400)
TRAIN, TEST = 200, 400  # of one split
REACH = 2.8  # standard errors: found in 80 % by one who knows them
HIDDEN = 40
NEIGHBOURS = 5

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Fit = Callable[[Array, Labels, Array, np.random.Generator], NDArray[np.bool_]]


@dataclass(frozen=True)
class World:
    """An algorithm, and what its features tell."""

    name: str
    fit: Fit
    features: int  # of each half
    distance: float  # between the class means, in standard deviations


def ridge(x: Array, y: Labels, of: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Least squares to +1 and -1, with a penalty of 1."""
    mean = x.mean(0)
    inner = (x - mean).T @ (x - mean)
    inner[np.diag_indices_from(inner)] += 1.0
    weight = np.linalg.solve(inner, (x - mean).T @ (2.0 * y - 1))
    return (of - mean) @ weight + (2.0 * y - 1).mean() > 0


def random_network(x: Array, y: Labels, of: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Ridge regression on random ReLU features, drawn anew in each training."""
    first = rng.standard_normal((x.shape[1], HIDDEN)) / math.sqrt(x.shape[1])
    bias = 0.5 * rng.standard_normal(HIDDEN)
    return ridge(np.maximum(x @ first + bias, 0), y, np.maximum(of @ first + bias, 0), rng)


def class_means(x: Array, y: Labels, of: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    one, zero = x[y == 1].mean(0), x[y == 0].mean(0)
    return (of - (one + zero) / 2) @ (one - zero) > 0


def best_feature(x: Array, y: Labels, of: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    apart = x[y == 1].mean(0) - x[y == 0].mean(0)
    j = int(np.argmax(abs(apart) / x.std(0)))
    middle = (x[y == 1, j].mean() + x[y == 0, j].mean()) / 2
    return (of[:, j] - middle) * apart[j] > 0


def neighbours(x: Array, y: Labels, of: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    distance = (x**2).sum(1) - 2 * of @ x.T
    return y[np.argpartition(distance, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]].mean(1) > 0.5


WORLDS = (
    World("ridge, 5", ridge, 5, 1.6),
    World("ridge, 20", ridge, 20, 2.0),
    World("class means", class_means, 10, 1.6),
    World("best feature", best_feature, 10, 2.5),
    World("random network", random_network, 5, 1.8),
    World("neighbours", neighbours, 5, 1.8),
)


def draw(world: World, n: int, rng: np.random.Generator) -> tuple[Array, Labels]:
    """Cases (n, two halves of features), and their labels (n,), half of each."""
    y = rng.permutation(np.arange(n) % 2)
    half = 1 / np.sqrt(1 + np.arange(world.features))
    mean = world.distance * np.tile(half / np.linalg.norm(half), 2)
    return rng.standard_normal((n, 2 * world.features)) + (y[:, None] - 0.5) * mean, y


def right(
    world: World, x: Array, y: Labels, train: Array, test: Array, rng: np.random.Generator
) -> list[NDArray[np.bool_]]:
    """Whether each of the two is right on the test cases."""
    halves = x[:, : world.features], x[:, world.features :]
    return [world.fit(own[train], y[train], own[test], rng) == (y[test] == 1) for own in halves]


def cross_validated(
    world: World, n: int, repeats: int, rng: np.random.Generator, folds: int = FOLDS
) -> tuple[Array, Array, Labels]:
    """Right (1) or wrong (0) of both, and the training behind each answer, (repeats, n) each."""
    x, y = draw(world, n, rng)
    a, b = np.zeros((2, repeats, n))
    training = np.empty((repeats, n), dtype=np.int64)
    for repeat in range(repeats):
        fold = np.empty(n, dtype=np.int64)
        for label in (0, 1):
            rows = rng.permutation(np.flatnonzero(y == label))
            fold[rows] = np.arange(len(rows)) % folds
        training[repeat] = folds * repeat + fold
        for k in range(folds):
            test = fold == k
            a[repeat, test], b[repeat, test] = right(world, x, y, ~test, test, rng)
    return a, b, training


def one_split(world: World, seeds: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """The same of one split, (seeds, test cases)."""
    x, y = draw(world, TRAIN + TEST, rng)
    train = np.arange(TRAIN + TEST) < TRAIN
    both = [right(world, x, y, train, ~train, rng) for _seed in range(seeds)]
    a, b = np.array(both, dtype=float).transpose(1, 0, 2)
    return a, b


def half_width(variance: float, freedom: float) -> float:
    return float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(variance)


def not_counted(a: Array, b: Array, training: Labels) -> float:
    """souron's interval without the training sample's part."""
    variation = verdict.difference(a, b, LEVEL, trainings=training).variation
    assert isinstance(variation, Crossed)
    return half_width(*replace(variation, sample=0.0).total())


def nadeau_bengio(a: Array, b: Array, training: Labels) -> float:
    """The corrected resampled t-test on the folds' differences."""
    folds, count = len(np.unique(training[0])), len(np.unique(training))
    of_each = [float((a - b)[training == number].mean()) for number in np.unique(training)]
    return half_width((1 / count + 1 / (folds - 1)) * float(np.var(of_each, ddof=1)), count - 1)


def souron(a: Array, b: Array, training: Labels) -> float:
    return half_width(*verdict.difference(a, b, LEVEL, trainings=training).variation.total())


JUDGES = {"not counted": not_counted, "Nadeau and Bengio": nadeau_bengio, "souron": souron}


def rates(
    world: World, n: int, repeats: int, trials: int, rng: np.random.Generator, folds: int = FOLDS
) -> dict[str, tuple[float, float]]:
    """Each judge's share of trials in which the equal are called different, and its power."""
    found, reach = np.empty(trials), {name: np.empty(trials) for name in JUDGES}
    for trial in range(trials):
        a, b, training = cross_validated(world, n, repeats, rng, folds)
        found[trial] = (a - b).mean()
        for name, judge in JUDGES.items():
            reach[name][trial] = judge(a, b, training)
    return {name: shares(found, wide) for name, wide in reach.items()}


def shares(found: Array, reach: Array) -> tuple[float, float]:
    led = found + REACH * found.std()
    return float((abs(found) > reach).mean()), float((abs(led) > reach).mean())


def shown(pair: tuple[float, float]) -> str:
    return f"{100 * pair[0]:.1f} ({100 * pair[1]:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="of each row")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    begun = time.perf_counter()
    rows, every = [], []
    with watched():
        for n in CASES:
            for world in WORLDS:
                of = rates(world, n, asked.repeats, asked.trials, rng, asked.folds)
                every.append(of)
                rows.append([world.name, f"{n}", *map(shown, of.values())])
                say(" | ".join(rows[-1]))
        for title, summary in (("mean", np.mean), ("highest", np.max)):
            row = [title, ""]
            for name in JUDGES:
                row.append(f"{100 * summary([of[name][0] for of in every]):.1f}")
                row[-1] += f" ({100 * np.mean([of[name][1] for of in every]):.0f})"
            rows.append(row)
        print(f"Cross-validation, {asked.folds} folds, {asked.repeats} repeats; equal methods called")
        print("different, % (in brackets a true difference found, %):\n")
        print(table(["method", "cases", *JUDGES], rows))
        rows = []
        for world in WORLDS:
            row = [world.name]
            for seeds in (1, 3):
                found, reach = np.empty((2, asked.trials))
                for trial in range(asked.trials):
                    one = verdict.difference(*one_split(world, seeds, rng))
                    found[trial] = one.difference
                    reach[trial] = half_width(*one.variation.total())
                row.append(shown(shares(found, reach)))
            rows.append(row)
    print(f"\nOne split, {TRAIN} cases to train on, {TEST} to test on: not counted, and said so:\n")
    print(table(["method", "1 seed", "3 seeds"], rows))
    print(f"\n{time.perf_counter() - begun:.0f} s in all.")
    print(where(1, "numpy", "scipy", "souron"))


if __name__ == "__main__":
    main()
