"""Which verdict keeps its promise? Simulated outcomes, six methods, one table.

    python benchmarks/verdict.py --trials 400 --seed 0
    python benchmarks/verdict.py auc --trials 1000
    python benchmarks/verdict.py machines --trials 2000

First table: two equal systems, share of trials in which a method calls them different at 5 %.
Second table: a true difference which Student's t with the true variances would find with 80 %
power (less where nothing is left to be better at), share of trials in which it is found. A method
that fails in the first table has no power to boast of in the second.

A case is answered rightly with probability sigmoid(skill + case + training + training-and-case +
system-and-case), the last four normal with mean 0: some cases are hard (sd 1.5), a training turns
out better or worse (sd ``seed_sd``), decides single cases differently (sd 1.2), and systems differ
in which cases suit them (sd ``system_sd``).

``auc`` instead: two systems with the same AUC, few patients who have what is to be found among many
who have not, one to four pictures of each. In how many trials their AUCs are called different: with
the degrees of freedom of all patients, then with those of each label's; in brackets how often a
difference is found that one who knew the true variance would find in 80 % (2.8 true standard
errors, added to each trial's).
"""

import argparse
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, nctdtr, ndtri, stdtr, stdtrit

from souron.metrics.classification import auc_scores
from souron.stats import verdict
from souron.stats.intervals import proportion_interval

CASE_SD = 1.5
NOISE_SD = 1.2
LEVEL = 0.95

Array = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """A comparison to simulate."""

    seeds: int
    cases: int
    seed_sd: float
    system_sd: float
    skill: float = 2.0  # log odds of an average case: about 80 % are right
    gap: float = 0.0  # by how much the first system's skill is above the others'
    systems: int = 2

    @property
    def skills(self) -> tuple[float, ...]:
        return (self.skill + self.gap, *[self.skill] * (self.systems - 1))


def simulate(world: World, trials: int, rng: np.random.Generator, learnt: Array | None = None) -> Array:
    """Right (1) or wrong (0), (trials, systems, seeds, cases).

    ``learnt`` (trials, systems, seeds) is added to the skill of each training.
    """
    shape = (trials, world.systems, world.seeds, world.cases)

    def normal(sd: float, *axes: int) -> NDArray[np.float32]:
        """Varies along these axes only."""
        drawn = [size if axis in axes else 1 for axis, size in enumerate(shape)]
        return np.float32(sd) * rng.standard_normal(drawn, dtype=np.float32)

    odds = np.array(world.skills, dtype=np.float32)[:, None, None] + normal(CASE_SD, 0, 3)
    odds = odds + normal(world.seed_sd, 0, 1, 2) + normal(world.system_sd, 0, 1, 3)
    odds = odds + normal(NOISE_SD, 0, 1, 2, 3)
    if learnt is not None:
        odds = odds + learnt[..., None].astype(np.float32)
    return (rng.random(shape, dtype=np.float32) < expit(odds)).astype(np.float64)


@dataclass(frozen=True)
class Truth:
    """What a world's scores come from, of its first two systems."""

    accuracy: tuple[float, float]
    seeds: tuple[float, float]  # variance of a training's mean over all cases there are
    noise: tuple[float, float]  # variance of training and case together
    cases: float  # variance of the difference over cases, over all trainings there are

    @property
    def difference(self) -> float:
        return self.accuracy[0] - self.accuracy[1]


def truth(world: World) -> Truth:
    """By Gauss-Hermite quadrature."""
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()

    def smooth(odds: Array, variance: float) -> Array:
        """Mean of sigmoid(odds + normal of this variance)."""
        return expit(odds[..., None] + np.sqrt(variance) * node) @ weight

    parts = []
    for skill in world.skills[:2]:
        training, system = world.seed_sd**2, world.system_sd**2
        of_training = smooth(skill + world.seed_sd * node, CASE_SD**2 + NOISE_SD**2 + system)  # (training,)
        of_case = smooth(
            skill + CASE_SD * node[:, None] + world.system_sd * node, NOISE_SD**2 + training
        )  # (case, system and case)
        accuracy = of_training @ weight
        seeds = (of_training - accuracy) ** 2 @ weight
        suits = (of_case - (of_case @ weight)[:, None]) ** 2 @ weight @ weight
        whole = (of_case - accuracy) ** 2 @ weight @ weight
        noise = accuracy * (1 - accuracy) - seeds - whole
        parts.append((accuracy, seeds, noise, suits, of_case @ weight))
    (acc_a, seeds_a, noise_a, suits_a, by_a), (acc_b, seeds_b, noise_b, suits_b, by_b) = parts
    shared = (by_a - by_b - acc_a + acc_b) ** 2 @ weight
    return Truth(
        (float(acc_a), float(acc_b)),
        (float(seeds_a), float(seeds_b)),
        (float(noise_a), float(noise_b)),
        float(suits_a + suits_b + shared),
    )


def power(world: World, level: float = LEVEL) -> float:
    """Of Student's t with the true variances and Satterthwaite's degrees of freedom for them."""
    true, n, k = truth(world), world.cases, world.seeds
    trainings = [(between + noise / n) / k for between, noise in zip(true.seeds, true.noise, strict=True)]
    cases = true.cases / n
    variance = sum(trainings) + cases
    freedom = variance**2 / (sum(part**2 for part in trainings) / (k - 1) + cases**2 / (n - 1))
    reach = stdtrit(freedom, (1 + level) / 2)
    # beyond twice its reach a difference is found for certain, and the distribution loses digits
    away = min(true.difference / np.sqrt(variance), 2 * reach + 10)
    return float(1 - nctdtr(freedom, away, reach))


def with_power(world: World, wish: float = 0.8) -> World:
    """The same with the gap that is found with this power, or the widest that means anything."""
    low, high = 0.0, 4.0
    for _step in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if power(replace(world, gap=middle)) > wish else (middle, high)
    return replace(world, gap=high)


def paired_bootstrap(scores: Array, rng: np.random.Generator, resamples: int = 500) -> Array:
    """Cases resampled, seeds averaged. Different? (trials,)"""
    n = scores.shape[-1]
    contrast = (scores[:, 0] - scores[:, 1]).mean(1)  # (trials, cases)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n
    return _excludes_zero(contrast @ counts.T)


def two_level_bootstrap(scores: Array, rng: np.random.Generator, resamples: int = 500) -> Array:
    """Cases and each system's seeds resampled."""
    _trials, _systems, k, n = scores.shape
    counts = rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n
    seeds = rng.multinomial(k, np.full(k, 1 / k), size=(2, resamples)) / k
    means = scores[:, :2] @ counts.T  # (trials, 2, seeds, resamples)
    a, b = np.einsum("tski,sik->sti", means, seeds)
    return _excludes_zero(a - b)


def _excludes_zero(drawn: Array) -> Array:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    return (low > 0) | (high < 0)


def welch(scores: Array, rng: np.random.Generator) -> Array:
    """Student's t on the seeds' means, variances unequal."""
    parts = scores[:, :2].mean(3).var(2, ddof=1).T / scores.shape[2]
    return _student(scores, parts, [scores.shape[2] - 1] * 2)


def both_variances(scores: Array, rng: np.random.Generator) -> Array:
    """Variance of seeds plus variance of cases: the noise of both together counts twice."""
    k, n = scores.shape[2:]
    trainings = scores[:, :2].mean(3).var(2, ddof=1).T / k
    cases = (scores[:, 0] - scores[:, 1]).mean(1).var(1, ddof=1) / n
    return _student(scores, [*trainings, cases], [k - 1, k - 1, n - 1])


def noise_once(scores: Array, rng: np.random.Generator) -> Array:
    """The same, the variance of single scores between seeds taken out of the cases' part."""
    k, n = scores.shape[2:]
    trainings = scores[:, :2].mean(3).var(2, ddof=1).T / k
    cases = (scores[:, 0] - scores[:, 1]).mean(1).var(1, ddof=1) / n
    noise = scores[:, :2].var(2, ddof=1).mean(2).sum(1) / (k * n)
    return _student(scores, [*trainings, np.maximum(cases - noise, 0)], [k - 1, k - 1, n - 1])


def _student(scores: Array, parts, freedoms: list[int]) -> Array:
    found = (scores[:, 0] - scores[:, 1]).mean((1, 2))
    variance = np.maximum(sum(parts), 1e-30)
    doubt = sum(part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True))
    freedom = variance**2 / np.maximum(doubt, 1e-70)
    return 2 * stdtr(freedom, -abs(found) / np.sqrt(variance)) < 1 - LEVEL


def souron(scores: Array, rng: np.random.Generator) -> Array:
    """judging.difference: the same, and never less than the noise alone makes."""
    return np.array([verdict.difference(a, b).verdict != "cannot tell" for a, b in scores[:, :2]])


METHODS = {
    "paired bootstrap": paired_bootstrap,
    "two-level bootstrap": two_level_bootstrap,
    "Welch on seeds": welch,
    "seeds + cases": both_variances,
    "noise once": noise_once,
    "souron": souron,
}
WORLDS = [
    World(seeds, cases, seed_sd, system_sd)
    for seeds in (2, 3, 5)
    for cases in (100, 1000)
    for seed_sd in (0.05, 0.3)
    for system_sd in (0.0, 1.0)
]


def rates(world: World, trials: int, rng: np.random.Generator) -> dict[str, float]:
    """Share of trials in which each method calls the two systems different."""
    called: dict[str, list[Array]] = {name: [] for name in METHODS}
    for start in range(0, trials, 100):
        scores = simulate(world, min(100, trials - start), rng)
        for name, method in METHODS.items():
            called[name].append(method(scores, rng))
    return {name: float(np.concatenate(found).mean()) for name, found in called.items()}


def table(worlds: list[World], trials: int, rng: np.random.Generator) -> list[str]:
    lines = [
        "| seeds | cases | seed sd | system sd | true difference | theory | " + " | ".join(METHODS) + " |",
        "|" + "---:|" * (6 + len(METHODS)),
    ]
    every = []
    for world in worlds:
        found = rates(world, trials, rng)
        every.append(found)
        shown = " | ".join(f"{rate:.3f}" for rate in found.values())
        points = 100 * truth(world).difference
        theory = power(world) if world.gap else 1 - LEVEL
        lines.append(
            f"| {world.seeds} | {world.cases} | {world.seed_sd} | {world.system_sd:.0f} "
            f"| {points:.1f} points | {theory:.2f} | {shown} |"
        )
    for title, summary in (("lowest", min), ("highest", max)):
        shown = " | ".join(f"{summary(found[name] for found in every):.3f}" for name in METHODS)
        lines.append(f"| {title} | | | | | | {shown} |")
    return lines


@dataclass(frozen=True)
class Rare:
    """Two systems with one AUC, on few patients who have what is to be found and many others."""

    ill: int  # patients
    pictures: int  # of a patient, one to so many
    auc: float
    seeds: int = 1
    well: int = 60
    hard: float = 0.4  # share of a score's variance that is the case's, the same for both systems
    noise: float = 0.2  # and that is new in each training; the rest is system's and case's
    patient: float = 0.6  # of what is no noise, the share that all pictures of a patient have

    def draw(self, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
        """Probabilities (2, seeds, cases, labels), label and patient (cases,)."""
        patients = self.ill + self.well
        person = np.repeat(np.arange(patients), rng.integers(1, self.pictures + 1, patients))
        label = (person < self.ill).astype(np.int64)

        def varies(share: float) -> Array:
            whole, own = rng.standard_normal(patients), rng.standard_normal(len(person))
            mixed = self.patient**0.5 * whole[person] + (1 - self.patient) ** 0.5 * own
            return share**0.5 * mixed

        score = np.sqrt(2) * ndtri(self.auc) * label + varies(self.hard)
        systems = [score + varies(1 - self.hard - self.noise) for _system in "ab"]
        drawn = rng.standard_normal((2, self.seeds, len(person)))
        p = expit(np.array(systems)[:, None] + self.noise**0.5 * drawn)
        return np.stack([1 - p, p], axis=3), label, person


def judged(world: Rare, rng: np.random.Generator) -> tuple[verdict.Difference, verdict.Difference]:
    """One trial, patients of both labels as one sample, and each label's as one of its own."""
    probability, label, person = world.draw(rng)
    blind = [auc_scores(one, label) for one in probability]
    aware = [auc_scores(one, label, person) for one in probability]
    return (verdict.difference(*blind, groups=person), verdict.difference(*aware, groups=person, strata=label))


RARE = [
    Rare(ill, images, auc, seeds)
    for seeds in (1, 3)
    for images in (1, 4)
    for ill in (5, 6, 8, 12)
    for auc in (0.75, 0.9, 0.97)
]


def rare_labels(trials: int, rng: np.random.Generator) -> list[str]:
    lines = ["| seeds | pictures of a patient | positive patients | AUC | one sample | souron |", "|" + "---:|" * 6]
    every = []
    for world in RARE:
        found = [judged(world, rng) for _trial in range(trials)]
        lead = 2.8 * float(np.std([aware.difference for _blind, aware in found]))
        cells = []
        for side in zip(*found, strict=True):
            away = np.array([abs(one.difference) for one in side])
            led = np.array([abs(one.difference + lead) for one in side])
            reach = np.array([(one.high - one.low) / 2 for one in side])
            # without any variance an interval is a point, which excludes what differs from it
            cells.append((float((away > reach).mean()), float((led > reach).mean())))
        every.append(cells)
        shown = " | ".join(f"{100 * rate:.1f} ({100 * power:.0f})" for rate, power in cells)
        images = "1" if world.pictures == 1 else f"1 to {world.pictures}"
        lines.append(f"| {world.seeds} | {images} | {world.ill} | {world.auc} | {shown} |")
    rates = np.array(every)[..., 0]
    for title, summary in (("mean", rates.mean(0)), ("highest", rates.max(0))):
        lines.append(f"| {title} | | | | {100 * summary[0]:.1f} | {100 * summary[1]:.1f} |")
    return lines


SPEEDS = (1.0, 3.0)  # of the machines, in cases seen in the budget
JITTER = 0.05  # sd of the logarithm of a training's own speed
EXPONENT = 0.5  # of the learning curve
MACHINES = [
    (World(seeds, cases, 0.1, 1.0, skill=1.0), steepness)
    for seeds in (2, 3, 5, 10)
    for cases in (200, 1000)
    for steepness in (0.5, 2.0)
]


def speeds(way: str, trials: int, seeds: int, rng: np.random.Generator) -> Array:
    """Speed of the machine of each training, (trials, 2 systems, seeds)."""
    shape = (trials, 2, seeds)
    if way == "one machine a system":
        chosen = np.broadcast_to(np.arange(2)[None, :, None], shape)
    elif way == "blocks":  # each round on a machine, both systems with it
        chosen = np.broadcast_to(rng.integers(2, size=(trials, 1, seeds)), shape)
    else:
        chosen = rng.integers(2, size=shape)
    return np.array(SPEEDS)[chosen] * np.exp(JITTER * rng.standard_normal(shape))


def learning_curve(examples: Array, steepness: float) -> Array:
    """Log odds gained since one unit of examples: steepness x (1 - examples ** -EXPONENT)."""
    return steepness * (1 - examples**-EXPONENT)


def on_machines(world: World, steepness: float, way: str, trials: int, rng: np.random.Generator) -> Array:
    """Scores of two equal systems with a budget in seconds, (trials, 2, seeds, cases)."""
    return simulate(world, trials, rng, learning_curve(speeds(way, trials, world.seeds, rng), steepness))


def outcomes(scores: Array, paired: bool = False) -> tuple[int, float]:
    """Number of trials whose systems are called different, and the mean length of the interval.

    ``paired``: the trainings of a round belong together, as those of a fold do.
    """
    rounds = np.broadcast_to(np.arange(scores.shape[2])[:, None], scores.shape[2:])
    found = [verdict.difference(a, b, trainings=rounds if paired else None) for a, b in scores]
    return sum(one.verdict != "cannot tell" for one in found), float(np.mean([one.high - one.low for one in found]))


def machines(trials: int, rng: np.random.Generator) -> list[str]:
    """The table of ``machines``."""
    ways = {
        "blocks": ("blocks", False),
        "blocks, rounds paired": ("blocks", True),
        "any machine": ("any machine", False),
        "one machine a system": ("one machine a system", False),
    }
    shown = ("blocks", "blocks, rounds paired", "any machine")  # their intervals have something to say
    lines = [
        "| rounds | cases | fast over slow | "
        + " | ".join(ways)
        + " | "
        + " | ".join(f"length: {name}" for name in shown)
        + " |",
        "|" + "---:|" * (3 + len(ways) + len(shown)),
    ]
    total = dict.fromkeys(ways, 0)
    for world, steepness in MACHINES:
        cells, lengths = [], []
        scores: dict[str, Array] = {}
        for name, (way, paired) in ways.items():
            if way not in scores:
                scores[way] = on_machines(world, steepness, way, trials, rng)
            wrong, length = outcomes(scores[way], paired)
            total[name] += wrong
            cells.append(rate(wrong, trials))
            lengths += [f"{100 * length:.1f}"] if name in shown else []
        lead = scores["one machine a system"].mean((0, 2, 3))
        gain = 100 * (lead[1] - lead[0])
        row = [str(world.seeds), str(world.cases), f"{gain:.1f} points", *cells, *lengths]
        lines.append("| " + " | ".join(row) + " |")
    every = [rate(wrong, trials * len(MACHINES)) for wrong in total.values()]
    lines.append("| all | | | " + " | ".join(every) + " | " + " | " * (len(shown) - 1) + " |")
    return lines


def rate(wrong: int, trials: int) -> str:
    """Percentage with Wilson's interval."""
    found = proportion_interval(wrong, trials)
    return f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=("accuracy", "auc", "machines"), default="accuracy")
    parser.add_argument("--trials", type=int, default=400, help="of each row")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    if asked.what == "auc":
        print(f"AUCs of equal systems called different, % ({asked.trials} trials a row):\n")
        print("\n".join(rare_labels(asked.trials, rng)))
        return
    if asked.what == "machines":
        print(f"Equal systems with a budget in seconds, machines of speeds {SPEEDS[0]:.0f} and {SPEEDS[1]:.0f}:")
        print(f"called different, % (promised: at most 5; {asked.trials} trials a row), and length of the")
        print("interval of the difference in points:\n")
        print("\n".join(machines(asked.trials, rng)))
        return
    error = (0.05 * 0.95 / asked.trials) ** 0.5
    print(f"Two equal systems called different (promised: 0.05; {asked.trials} trials a row,")
    print(f"standard error {error:.3f}):\n")
    print("\n".join(table(WORLDS, asked.trials, rng)))
    print("\nA true difference found (theory: Student's t with the true variances):\n")
    print("\n".join(table([with_power(world) for world in WORLDS], asked.trials, rng)))


if __name__ == "__main__":
    main()
