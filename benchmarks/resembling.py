"""Do the intervals of generators' figures cover, and are equal generators called different?

    python benchmarks/resembling.py --sets 400 --trials 300 --seed 0

Features of real pictures come from six clusters, normal with covariances of their own whose
directions have standard deviations from 1 to 0.1, DIMENSIONS numbers each. Generators:

- equal: the same distribution, so that figures are at their floor
- shifted: every cluster moved by a tenth in every direction
- narrow: within each cluster 0.7 times the spread
- collapsed: three of the six clusters, unequally often, 0.8 times the spread

A true value is the figure's mean over all sets of that size: what the interval of a figure "of n
pictures" is about. A cell shows the share of sets whose 95 % interval holds it, and in brackets the
standard error that the intervals say beside the true one.

The second table draws k trainings of two equal narrow generators, whose trainings differ in how
narrow they are and where their clusters lie, and asks ``judging`` for a verdict on one set of real
pictures; of k = 1 the networks are equal, and parts of the drawn pictures stand for trainings. A
cell shows the share called different (5 % is promised), in brackets that of a narrow beside a
less narrow one, which is right.
"""

import argparse
import math
import time
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from printing import table, watched, where

from souron.metrics import generation
from souron.metrics.generation import Resemblance
from souron.stats import verdict

DIMENSIONS, CLUSTERS = 32, 6
SIZES = (500, 1000)
TRAINING_SD = 0.03  # of the spread, and of each cluster's place, between trainings
TRAININGS = (1, 2, 3)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Generator:
    """A distribution of features."""

    scale: float = 1.0  # of the spread within a cluster
    shift: float = 0.0  # in each direction
    shares: tuple[float, ...] = (1 / CLUSTERS,) * CLUSTERS


GENERATORS = {
    "equal": Generator(),
    "shifted": Generator(shift=0.1),
    "narrow": Generator(scale=0.7),
    "collapsed": Generator(0.8, shares=(0.5, 0.3, 0.2, 0.0, 0.0, 0.0)),
}


class World:
    """The clusters."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.place = rng.standard_normal((CLUSTERS, DIMENSIONS))
        directions = np.linalg.qr(rng.standard_normal((CLUSTERS, DIMENSIONS, DIMENSIONS)))[0]
        self.spread = directions * np.geomspace(1, 0.1, DIMENSIONS)

    def draw(self, n: int, rng: np.random.Generator, by: Generator, moved: Array | float = 0.0) -> tuple[Array, Array]:
        """Features (n, DIMENSIONS), and what an eye makes of them (n, CLUSTERS)."""
        cluster = rng.choice(CLUSTERS, n, p=by.shares)
        noise = by.scale * rng.standard_normal((n, DIMENSIONS))
        place = (self.place + by.shift + moved)[cluster]
        features = place + np.einsum("nij,nj->ni", self.spread[cluster], noise)
        sure = rng.beta(8, 2, n)
        probability = np.repeat((1 - sure)[:, None] / (CLUSTERS - 1), CLUSTERS, 1)
        probability[np.arange(n), cluster] = sure
        return features, probability


def coverage(world: World, n: int, sets: int, seed: int) -> dict[str, dict[str, str]]:
    """Figure -> generator -> cell."""
    cells: dict[str, dict[str, str]] = defaultdict(dict)
    for number, (name, generator) in enumerate(GENERATORS.items()):
        rng = np.random.default_rng([seed, n, number])
        found = []
        for _set in range(sets):
            real = world.draw(n, rng, GENERATORS["equal"])
            drawn = world.draw(n, rng, generator)
            found.append(generation.resemble(real[0], drawn[0], real[1], drawn[1]))
        for key in found[0].measures:
            measures = [one.measures[key] for one in found]
            values = np.array([one.value for one in measures])
            held = np.mean([one.low <= values.mean() <= one.high for one in measures])
            said = math.sqrt(np.mean([variance(one, key) for one in found]))
            true = values.std(ddof=1)
            ratio = f"{said / true:.2f}" if true > 0 else "-"
            cells[key][name] = f"{100 * held:.1f} ({ratio})"
    return cells


def variance(one: Resemblance, key: str) -> float:
    figure = one.figures[key]
    return float(figure.real.var(ddof=1) / one.n + figure.drawn.var(ddof=1) / one.m)


def trained(
    world: World, k: int, real: tuple[Array, Array], scale: float, rng: np.random.Generator
) -> list[Resemblance]:
    """k trainings of a generator, each with a sample of its own beside the same real pictures."""
    found = []
    for _training in range(k):
        varies = TRAINING_SD if k > 1 else 0.0
        by = Generator(scale + varies * rng.standard_normal())
        moved = varies * rng.standard_normal((CLUSTERS, DIMENSIONS))
        drawn = world.draw(len(real[0]), rng, by, moved)
        found.append(generation.resemble(real[0], drawn[0], real[1], drawn[1]))
    return found


def verdicts(world: World, n: int, trials: int, seed: int) -> dict[str, dict[str, str]]:
    """Figure -> k -> cell."""
    cells: dict[str, dict[str, str]] = defaultdict(dict)
    for k in TRAININGS:
        rng = np.random.default_rng([seed, n, k])
        wrong: dict[str, list[bool]] = defaultdict(list)
        right: dict[str, list[bool]] = defaultdict(list)
        for _trial in range(trials):
            real = world.draw(n, rng, GENERATORS["equal"])
            a, b, c = (trained(world, k, real, scale, rng) for scale in (0.7, 0.7, 0.78))
            for key in a[0].figures:
                scores = [generation.table(one, key) for one in (a, b, c)]
                wrong[key].append(verdict.difference(*scores[:2]).verdict != "cannot tell")
                right[key].append(verdict.difference(*scores[1:]).verdict != "cannot tell")
        for key in wrong:
            cells[key][f"k = {k}"] = f"{100 * np.mean(wrong[key]):.1f} ({100 * np.mean(right[key]):.0f})"
    return cells


def shown(cells: dict[str, dict[str, str]]) -> str:
    head = ["figure", *next(iter(cells.values()))]
    return table(head, [[key, *row.values()] for key, row in cells.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sets", type=int, default=400)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    world = World(np.random.default_rng(args.seed))
    begun = time.perf_counter()
    with watched():
        for n in SIZES:
            print(f"\n{n} real pictures and {n} drawn ones, {args.sets} sets\n")
            print(shown(coverage(world, n, args.sets, args.seed)), flush=True)
        n = SIZES[0]
        print(f"\n{n} pictures, {args.trials} trials\n")
        print(shown(verdicts(world, n, args.trials, args.seed)))
    print(f"\n{time.perf_counter() - begun:.0f} s; {where(1)}")


if __name__ == "__main__":
    main()
