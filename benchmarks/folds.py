"""Do the intervals of repeated cross-validation cover what they promise?

    python benchmarks/folds.py --sets 1000 --seed 0

Patients and their pictures are those of ``intervals.py``. Each patient is tested once a repeat, by
the network of a fold. A network has luck of its own: where it puts the positive cases' mean, and
where it puts all of them beside its threshold, both normal with the standard deviations of the
column "luck"; NOISE of a score's variance is new in each training. True values are those of the
mean network, by the normal distribution. What all networks of one set share because they learn
from the same cases is not simulated: no interval made from one set can see it.

A cell shows the share of sets whose 95 % interval holds the true value, in brackets the interval's
mean width in points; first each fold of each repeat as a training of its own, as souron counts,
then each repeat as one training.

    python benchmarks/folds.py pairs --sets 1000

shows the same of two systems that are equally good, on the same folds: in how many sets they are
called different, and how wide the interval of their difference is. Of a score's variance HARD is
the case's, the same for both systems.
"""

import argparse
import math
import time
from dataclasses import dataclass

import numpy as np
from intervals import BOLD, GOAL, MOST_IMAGES, NOISE, SHARED, Coverage, shown
from numpy.typing import NDArray
from printing import say, table, watched, where
from scipy.special import expit, logit, ndtr, ndtri

from souron.metrics import calibration, classification
from souron.stats import intervals, verdict
from souron.stats.records import Measure

FOLDS = 5
HARD = 0.4
NAMES = ("accuracy", "AUC", "sensitivity", "specificity", "PPV", "NPV", "balanced", "Brier")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    cases: int
    prevalence: float
    auc: float  # of a network without luck
    mean: float  # standard deviation of the positive cases' mean between trainings
    shift: float  # and of all scores beside the threshold
    repeats: int = 2

    @property
    def mu(self) -> float:
        return math.sqrt(2) * float(ndtri(self.auc))


def draw(
    world: World, rng: np.random.Generator
) -> tuple[Array, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Scores (repeats, cases), label and patient (cases,), training (repeats, cases)."""
    n = world.cases
    patient = np.repeat(np.arange(n), rng.integers(1, MOST_IMAGES + 1, n))[:n]
    ill = (rng.random(n) < world.prevalence).astype(int)
    label = ill[patient]
    score = math.sqrt(SHARED) * rng.standard_normal(n)[patient]
    score = score + math.sqrt(1 - SHARED - NOISE) * rng.standard_normal(n)
    score = score + math.sqrt(NOISE) * rng.standard_normal((world.repeats, n))
    training = np.empty((world.repeats, n), dtype=np.int64)
    people = int(patient.max()) + 1
    for repeat in range(world.repeats):
        order = rng.permutation(people)
        order = order[np.argsort(ill[order], kind="stable")]  # as many ill ones in each fold
        fold = np.empty(people, dtype=np.int64)
        fold[order] = np.arange(people) % FOLDS
        training[repeat] = FOLDS * repeat + fold[patient]
    mean = world.mu + world.mean * rng.standard_normal(FOLDS * world.repeats)
    shift = world.shift * rng.standard_normal(FOLDS * world.repeats)
    return score + mean[training] * label + shift[training], label, patient, training


def chance(world: World, score: Array) -> Array:
    mu = world.mu
    return expit(BOLD * (mu * score - mu**2 / 2 + logit(world.prevalence)))


def truth(world: World) -> dict[str, float]:
    mu, prevalence = world.mu, world.prevalence
    ill = math.sqrt(1 + world.mean**2 + world.shift**2)
    well = math.sqrt(1 + world.shift**2)

    def above(cut: float) -> tuple[float, float]:
        return float(ndtr((mu - cut) / ill)), float(ndtr(cut / well))

    hits, passes = above(mu / 2)
    right = above(mu / 2 - float(logit(prevalence)) / mu)
    # a pair is of one fold, whose shift is the same, in one of FOLDS cases
    pairs = [math.sqrt(2 + world.mean**2 + extra) for extra in (0, 2 * world.shift**2)]
    same, apart = (float(ndtr(mu / sd)) for sd in pairs)
    z = np.linspace(-10, 10, 4001)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    of_ill, of_well = chance(world, mu + ill * z), chance(world, well * z)
    brier = prevalence * weight @ (2 * (1 - of_ill) ** 2)
    brier = brier + (1 - prevalence) * weight @ (2 * of_well**2)
    called = prevalence * hits + (1 - prevalence) * (1 - passes)
    return {
        "accuracy": prevalence * right[0] + (1 - prevalence) * right[1],
        "AUC": same / FOLDS + apart * (1 - 1 / FOLDS),
        "sensitivity": hits,
        "specificity": passes,
        "PPV": prevalence * hits / called,
        "NPV": (1 - prevalence) * passes / (1 - called),
        "balanced": (hits + passes) / 2,
        "Brier": float(brier),
    }


def measures(
    world: World, score: Array, label: NDArray[np.int64], patient: NDArray[np.int64], training: NDArray[np.int64] | None
) -> dict[str, Measure]:
    positive = chance(world, score)
    p = np.stack([1 - positive, positive], axis=2)
    right = (p.argmax(2) == label).astype(float)
    at = classification.at_threshold(label == 1, score > world.mu / 2, patient, trainings=training)
    return {
        "accuracy": intervals.interval(right, patient, trainings=training),
        "AUC": classification.auc(p, label, patient, trainings=training),
        "sensitivity": at["sensitivity"],
        "specificity": at["specificity"],
        "PPV": at["positive predictive value"],
        "NPV": at["negative predictive value"],
        "balanced": at["balanced accuracy"],
        "Brier": intervals.loss_interval(calibration.brier(p, label), patient, trainings=training),
    }


LUCK = ((0.0, 0.0), (0.15, 0.2), (0.3, 0.5))
WORLDS = [
    *(World(cases, 0.3, auc, *luck) for auc in (0.75, 0.9) for luck in LUCK for cases in GOAL),
    *(World(cases, 0.3, 0.9, *LUCK[1], repeats) for repeats in (1, 5) for cases in GOAL),
]


def pairs(sets: int, rng: np.random.Generator) -> None:
    """Equal systems, right or wrong, judged with folds as trainings and with repeats."""
    rows = []
    for cases in GOAL:
        for repeats in (1, 2, 3):
            for luck in LUCK:
                world = World(cases, 0.3, 0.9, *luck, repeats)
                called, widths = np.zeros(2), np.zeros(2)
                for _set in range(sets):
                    _score, label, patient, training = draw(world, rng)
                    hard = rng.standard_normal(len(label))[patient]
                    hard = (hard + rng.standard_normal(len(label))) / math.sqrt(2)
                    right = [answers(world, hard, label, training, rng) for _system in "ab"]
                    for i, whose in enumerate((training, None)):
                        found = verdict.difference(*right, groups=patient, trainings=whose)
                        called[i] += found.verdict != "cannot tell"
                        widths[i] += found.high - found.low
                row = [f"{repeats}", f"{cases}", f"{luck[0]}, {luck[1]}"]
                row += [f"{100 * c / sets:.1f} ({100 * w / sets:.0f})" for c, w in zip(called, widths, strict=True)]
                rows.append(row)
                say(" | ".join(row))
    print(table(["repeats", "cases", "luck", "folds as trainings", "repeats as trainings"], rows))


def answers(
    world: World, hard: Array, label: NDArray[np.int64], training: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(repeats, cases): whether a system of its own luck is right."""
    own = math.sqrt(1 - HARD - NOISE) * rng.standard_normal(len(label))
    noise = math.sqrt(NOISE) * rng.standard_normal(training.shape)
    number = training.max() + 1
    mean = world.mu + world.mean * rng.standard_normal(number)
    shift = world.shift * rng.standard_normal(number)
    score = math.sqrt(HARD) * hard + own + noise + mean[training] * label + shift[training]
    return (score > world.mu / 2) == (label == 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("intervals", "pairs"), default="intervals")
    parser.add_argument("--sets", type=int, default=1000, help="of each row")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    begun = time.perf_counter()
    if asked.what == "pairs":
        with watched():
            pairs(asked.sets, rng)
        print(where(1, "numpy", "scipy", "souron"))
        return
    rows = []
    with watched():
        for world in WORLDS:
            true = truth(world)
            counts = {name: (Coverage(), Coverage()) for name in NAMES}
            widths: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in NAMES}
            for _set in range(asked.sets):
                score, label, patient, training = draw(world, rng)
                for i, whose in enumerate((training, None)):
                    for name, m in measures(world, score, label, patient, whose).items():
                        counts[name][i].count(m.low, m.high, m.value, true[name])
                        widths[name][i].append(m.high - m.low)
            row = [f"{world.repeats} repeats", str(world.cases), f"{world.auc}", f"{world.mean}, {world.shift}"]
            for name in NAMES:
                row.append(
                    " / ".join(
                        f"{shown(one.rate, world.cases)} ({100 * np.mean(wide):.0f})"
                        for one, wide in zip(counts[name], widths[name], strict=True)
                    )
                )
            rows.append(row)
            say(" | ".join(row))
    print(table(["what", "cases", "AUC", "luck", *NAMES], rows))
    print(f"\n{time.perf_counter() - begun:.0f} s in all.")
    print(where(1, "numpy", "scipy", "souron"))


if __name__ == "__main__":
    main()
