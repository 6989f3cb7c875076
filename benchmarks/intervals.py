"""Do the intervals cover what they promise? Simulated patients, every figure of a trust report.

    python benchmarks/intervals.py --sets 1000 --seed 0
    python benchmarks/intervals.py dice        (of Dice where some cases fail entirely)

Patients have one to six pictures, as many of each. A picture's score is normal around 0, or around
mu where the label is positive; SHARED of its variance belongs to the patient, so that a patient's
pictures are right or wrong together. Labels belong to patients ("of a patient"), or vary among a
patient's pictures with an intraclass correlation of a half ("of a picture"). With three labels
there is such a score for each, and the label's own is around mu. Where positive and negative cases
are "unlike", the patient's part of their variance is UNLIKE. With several trainings, each has a mu
of its own, and NOISE of a score's variance is new in each training.

The system says what the scores' likelihood says, its logarithm BOLD times too large: it is too
sure of itself. A case is called positive above mu / 2. True values follow from the normal
distribution, those of three labels from a million cases.

A cell shows the share of sets whose 95 % interval holds the true value, in brackets that of the
interval which takes every picture for a patient of its own. Sets in which a figure has no value (no
positive case) do not count for it. A second table compares other ways to intervals of AUC and of
log loss.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from printing import say, table, watched, where
from scipy.special import expit, logit, ndtr, ndtri, softmax, stdtrit

from souron.metrics import calibration, classification
from souron.stats import intervals
from souron.stats import variance as stats_variance
from souron.stats.records import Measure

SHARED = 0.4  # of a score's variance that belongs to the patient
UNLIKE = (0.8, 0.1)  # the same of positive and of negative cases, where they differ
NOISE = 0.2  # and to one training's view of one case, where there are several trainings
TRAINING_SD = 0.15  # of mu between trainings
BOLD = 1.5
MOST_IMAGES = 6
STATED = 0.05  # the prevalence for which predictive values are asked
LEVEL = 0.95
GOAL = {60: (0.91, 0.98), 200: (0.93, 0.97), 1000: (0.93, 0.97)}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """A set of cases to simulate."""

    cases: int
    prevalence: float
    auc: float
    alike: float = 1.0  # correlation of the labels of a patient's pictures: 1 or 0.5
    labels: int = 2
    trainings: int = 1
    unlike: bool = False  # positive and negative cases, in what belongs to the patient

    @property
    def mu(self) -> float:
        """The positive cases' mean score, for this AUC."""
        return math.sqrt(2 + (TRAINING_SD**2 if self.trainings > 1 else 0)) * float(ndtri(self.auc))


@dataclass(frozen=True)
class Drawn:
    """One set."""

    probability: Array  # (trainings, cases, labels)
    said: NDArray[np.bool_]  # (trainings, cases), two labels
    label: NDArray[np.int64]  # (cases,)
    patient: NDArray[np.int64]  # (cases,)


def draw(world: World, rng: np.random.Generator) -> Drawn:
    n = world.cases
    patient = np.repeat(np.arange(n), rng.integers(1, MOST_IMAGES + 1, n))[:n]
    label = _labels(world, patient, rng)
    shape = (n, 1 if world.labels == 2 else world.labels)
    shared = np.where(label == 1, *UNLIKE)[:, None] if world.unlike else np.full(shape, SHARED)
    kept = 1 - shared - (NOISE if world.trainings > 1 else 0)
    score = np.sqrt(shared) * rng.standard_normal(shape)[patient]
    score = score + np.sqrt(kept) * rng.standard_normal(shape)
    score = np.repeat(score[None], world.trainings, axis=0)  # (trainings, cases, 1 or labels)
    mu = np.full((world.trainings, 1), world.mu)
    if world.trainings > 1:
        score += math.sqrt(NOISE) * rng.standard_normal(score.shape)
        mu += TRAINING_SD * rng.standard_normal(mu.shape)
    if world.labels > 2:
        score += mu[..., None] * np.eye(world.labels)[label]
        return Drawn(softmax(BOLD * world.mu * score, axis=2), score[..., 0] > 0, label, patient)
    single = score[..., 0] + mu * label
    positive = chance(world, single)
    said = single > world.mu / 2
    return Drawn(np.stack([1 - positive, positive], axis=2), said, label, patient)


def _labels(world: World, patient: NDArray[np.int64], rng: np.random.Generator):
    n = world.cases
    if world.labels > 2:
        return rng.integers(0, world.labels, n)[patient]
    if world.alike == 1:
        return (rng.random(n) < world.prevalence).astype(int)[patient]
    scale = 1 / world.alike - 1
    inclined = rng.beta(world.prevalence * scale, (1 - world.prevalence) * scale, n)
    return (rng.random(n) < inclined[patient]).astype(int)


def chance(world: World, score: Array) -> Array:
    """What the system says of the probability that a case is positive."""
    mu = world.mu
    return expit(BOLD * (mu * score - mu**2 / 2 + logit(world.prevalence)))


def truth(world: World) -> dict[str, float]:
    """The true value of each figure."""
    if world.labels > 2:
        return _truth_of_many(world)
    mu, prevalence = world.mu, world.prevalence
    sd = math.sqrt(1 + (TRAINING_SD**2 if world.trainings > 1 else 0))  # of positive scores

    def above(cut: float) -> tuple[float, float]:
        return float(ndtr((mu - cut) / sd)), float(ndtr(cut))

    sensitivity, specificity = above(mu / 2)
    right = above(mu / 2 - float(logit(prevalence)) / mu)  # where the system says 0.5
    # the trapezoid rule over ten standard deviations to each side is exact to many digits
    z = np.linspace(-10, 10, 4001)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    positive, negative = chance(world, mu + sd * z), chance(world, z)

    def mean(of_positive: Array, of_negative: Array) -> float:
        return float(prevalence * weight @ of_positive + (1 - prevalence) * weight @ of_negative)

    def predictive(common: float) -> tuple[float, float]:
        hits, alarms = common * sensitivity, (1 - common) * (1 - specificity)
        spared, missed = (1 - common) * specificity, common * (1 - sensitivity)
        return hits / (hits + alarms), spared / (spared + missed)

    sample, stated = predictive(prevalence), predictive(STATED)
    return {
        "accuracy": prevalence * right[0] + (1 - prevalence) * right[1],
        "AUC": world.auc,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "PPV": sample[0],
        "NPV": sample[1],
        "PPV stated": stated[0],
        "NPV stated": stated[1],
        "balanced": (sensitivity + specificity) / 2,
        "Brier": mean(2 * (1 - positive) ** 2, 2 * negative**2),
        "log loss": mean(-_log(positive), -_log(1 - negative)),
    }


def _truth_of_many(world: World) -> dict[str, float]:
    large = draw(replace(world, cases=1_000_000), np.random.default_rng(20_000))
    row = np.arange(len(large.label))
    return {
        "accuracy": float((large.probability[0].argmax(1) == large.label).mean()),
        "AUC": float(classification.auc_scores(large.probability, large.label).mean()),
        "Brier": float(calibration.brier(large.probability, large.label).mean()),
        "log loss": float(-_log(large.probability[0][row, large.label]).mean()),
    }


def _log(probability: Array) -> Array:
    return np.log(np.maximum(probability, calibration.LEAST))


def measures(drawn: Drawn, patients: bool) -> dict[str, Measure]:
    """Every figure of one set as souron gives it, with or without its patients."""
    groups = drawn.patient if patients else None
    p, label = drawn.probability, drawn.label
    right = (p.argmax(2) == label).astype(float)
    loss = -_log(p[:, np.arange(len(label)), label])
    found = {
        "accuracy": intervals.interval(right, groups),
        "AUC": classification.auc(p, label, groups),
        "Brier": intervals.loss_interval(calibration.brier(p, label), groups),
        "log loss": intervals.loss_interval(loss, groups),
    }
    if p.shape[2] > 2:
        return found
    sample = classification.at_threshold(label == 1, drawn.said, groups)
    stated = classification.at_threshold(label == 1, drawn.said, groups, STATED)
    return found | {
        "sensitivity": sample["sensitivity"],
        "specificity": sample["specificity"],
        "balanced": sample["balanced accuracy"],
        "PPV": sample["positive predictive value"],
        "NPV": sample["negative predictive value"],
        "PPV stated": stated["positive predictive value"],
        "NPV stated": stated["negative predictive value"],
    }


NAMES = (
    "accuracy",
    "AUC",
    "sensitivity",
    "specificity",
    "PPV",
    "NPV",
    "PPV stated",
    "NPV stated",
    "balanced",
    "Brier",
    "log loss",
)


@dataclass
class Coverage:
    """How often an interval held the true value."""

    held: int = 0
    sets: int = 0

    def count(self, low: float, high: float, value: float, true: float) -> None:
        if not math.isnan(value):
            self.held += low <= true <= high
            self.sets += 1

    @property
    def rate(self) -> float:
        return self.held / self.sets if self.sets else math.nan


def student(scores: Array, patient: NDArray[np.int64]) -> tuple[float, float]:
    """The mean with Student's t: may leave 0..1, and is a point where nothing varies."""
    value, (variance, freedom) = float(scores.mean()), stats_variance.spread(scores, patient)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(variance)
    return value - half, value + half


def on_logits(scores: Array, patient: NDArray[np.int64]) -> tuple[float, float]:
    """Student's t on the logit: a point at 0 and 1."""
    value = float(scores.mean())
    if not 0 < value < 1:
        return value, value
    low, high = student(scores, patient)
    half = (high - low) / 2 / (value * (1 - value))
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))


def effective_size(scores: Array, patient: NDArray[np.int64]) -> tuple[float, float]:
    """Wilson's with the size that independent cases would have needed for the same variance, and
    as many degrees of freedom as patients less one."""
    value, (variance, freedom) = float(scores.mean()), stats_variance.spread(scores, patient)
    n = len(np.unique(patient))
    size = value * (1 - value) / variance if 0 < value < 1 and 0 < variance < math.inf else n
    square = float(stdtrit(freedom, (1 + LEVEL) / 2)) ** 2 / size
    half = math.sqrt(square * (value * (1 - value) + square / 4))
    return (value + square / 2 - half) / (1 + square), (value + square / 2 + half) / (1 + square)


def logarithm(scores: Array, patient: NDArray[np.int64]) -> tuple[float, float]:
    """Student's t on the logarithm, with as many degrees of freedom as patients less one."""
    value = float(scores.mean())
    low, high = student(scores, patient)
    factor = math.exp((high - low) / 2 / value)
    return value / factor, value * factor


Way = Callable[[Array, NDArray[np.int64]], tuple[float, float]]
WAYS: dict[str, dict[str, Way]] = {
    "AUC": {"Student": student, "logit": on_logits, "Wilson": effective_size},
    "log loss": {"Student": student, "logarithm": logarithm},
}


@dataclass
class Found:
    """What the sets of a world gave."""

    figures: dict[str, tuple[Coverage, Coverage]]  # with patients, and without
    ways: dict[str, dict[str, Coverage]]  # of other ways to an interval
    positive: float  # patients with a case of label 1, in the mean


def coverage(world: World, sets: int, rng: np.random.Generator) -> Found:
    true = truth(world)
    figures = {name: (Coverage(), Coverage()) for name in NAMES if name in true}
    ways = {name: {way: Coverage() for way in of} for name, of in WAYS.items()}
    positive = []
    for _set in range(sets):
        drawn = draw(world, rng)
        positive.append(len(np.unique(drawn.patient[drawn.label == 1])))
        for i, patients in enumerate((True, False)):
            for name, found in measures(drawn, patients).items():
                figures[name][i].count(found.low, found.high, found.value, true[name])
        p, label = drawn.probability, drawn.label
        scores = {"log loss": -_log(p[:, np.arange(len(label)), label])}
        if len(np.unique(label)) > 1:
            scores["AUC"] = classification.auc_scores(p, label)
        for name, values in scores.items():
            for way, ends in WAYS[name].items():
                ways[name][way].count(*ends(values, drawn.patient), 0.0, true[name])
    return Found(figures, ways, float(np.mean(positive)))


WORLDS = [
    *(
        World(cases, prevalence, auc, alike)
        for alike in (1.0, 0.5)
        for prevalence in (0.3, 0.1)
        for auc in (0.75, 0.9, 0.97)
        for cases in GOAL
    ),
    *(World(cases, 1 / 3, 0.9, labels=3) for cases in GOAL),
    *(World(cases, 0.3, 0.9, trainings=3) for cases in GOAL),
    *(World(cases, common, 0.9, unlike=True) for common in (0.3, 0.1) for cases in GOAL),
]


FEW = 5  # positive patients; fewer cannot show how much they vary
HEAD = ["what", "cases", "prevalence", "positive patients", "AUC"]


def meets(rate: float, cases: int) -> bool:
    return GOAL[cases][0] <= rate <= GOAL[cases][1]


def shown(rate: float, cases: int) -> str:
    """In percent, with a mark where it is outside the goal."""
    if math.isnan(rate):
        return "-"
    mark = "" if meets(rate, cases) else "!" if rate < GOAL[cases][0] else "+"
    return f"{100 * rate:.1f}{mark}"


def about(world: World, positive: float) -> list[str]:
    of = "patient" if world.alike == 1 else "picture"
    return [
        f"label of a {of}, {world.labels} labels" + ", 3 trainings" * (world.trainings > 1) + ", unlike" * world.unlike,
        str(world.cases),
        f"{world.prevalence:.2f}",
        f"{positive:.1f}" + (" (too few)" * (positive < FEW)),
        f"{world.auc}",
    ]


def dice(sets: int, rng: np.random.Generator) -> None:
    """Print how often the interval of a mean Dice holds the truth where a share of the cases fails,
    with the allowance for failures that a sample lacks and without it."""
    rows = []
    for failing in (0.1, 0.05, 0.02):
        for n in (8, 15, 30, 60, 120):
            held = np.zeros(2)
            for _set in range(sets):
                scores = rng.normal(0.92, 0.03, n).clip(0, 0.99)
                scores[rng.random(n) < failing] = 0
                for i, way in enumerate((intervals.overlap_interval, intervals.share_interval)):
                    made = way(scores)
                    held[i] += made.low <= 0.92 * (1 - failing) <= made.high
            shares = (f"{100 * one / sets:.1f}" for one in held)
            rows.append([f"{100 * failing:.0f} %", str(n), *shares])
    print(f"Share of {sets} samples whose 95 % interval holds the true mean Dice, %\n")
    print(table(["cases that fail", "cases", "souron", "without the allowance"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("all", "dice"), default="all")
    parser.add_argument("--sets", type=int, default=1000, help="of each row")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.what == "dice":
        dice(asked.sets, np.random.default_rng(asked.seed))
        return
    rows, compared, every = [], [], []
    begun = time.perf_counter()
    with watched():
        for number, world in enumerate(WORLDS):
            # each row by itself, so that any of them can be taken again
            found = coverage(world, asked.sets, np.random.default_rng((asked.seed, number)))
            row, other = about(world, found.positive), about(world, found.positive)
            for name in NAMES:
                if name not in found.figures:
                    row.append("-")
                    continue
                aware, blind = (one.rate for one in found.figures[name])
                row.append(f"{shown(aware, world.cases)} ({100 * blind:.0f})")
                every.append((aware, blind, world.cases, found.positive))
            for name, of in found.ways.items():
                other += [shown(way.rate, world.cases) for way in of.values()]
                other.append(shown(found.figures[name][0].rate, world.cases))
            rows.append(row)
            compared.append(other)
            say(" ".join(row))
    error = 100 * math.sqrt(LEVEL * (1 - LEVEL) / asked.sets)
    print(f"Share of {asked.sets} sets whose 95 % interval holds the true value, %, in brackets")
    print(f"where patients are ignored; standard error {error:.1f}. Goal: 93 to 97 %, with 60")
    print("cases 91 to 98 %; ! below it, + above it.\n")
    print(table([*HEAD, *NAMES], rows))
    told = {"All rows": 0, f"Rows with {FEW} positive patients or more": FEW}
    print()
    for what, least in told.items():
        cells = [cell for cell in every if cell[3] >= least]
        below = [aware for aware, _blind, cases, _n in cells if aware < GOAL[cases][0]]
        above = [aware for aware, _blind, cases, _n in cells if aware > GOAL[cases][1]]
        print(f"{what}: {len(cells) - len(below) - len(above)} of {len(cells)} cells meet the goal,")
        print(f"{len(above)} are above it (too cautious) and {len(below)} below it; the lowest is")
        print(f"{100 * min(aware for aware, *_rest in cells):.1f} %. Without patients:")
        naive = sum(meets(blind, cases) for _aware, blind, cases, _n in cells)
        print(f"{naive} meet it, the lowest is {100 * min(b for _a, b, *_rest in cells):.1f} %.")
    print(f'\nPredictive values "stated" are those at a prevalence of {STATED}. Fewer than {FEW}')
    print("positive patients cannot show how much they vary, whatever the method.\n")
    print("Other ways, patients counted:\n")
    names = [f"{name}: {way}" for name, of in WAYS.items() for way in [*of, "souron"]]
    print(table([*HEAD, *names], compared))
    print(f"\n{time.perf_counter() - begun:.0f} s in all.")
    print(where(1, "numpy", "scipy", "souron"))


if __name__ == "__main__":
    main()
