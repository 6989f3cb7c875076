"""Pairs of methods whose true difference is the margin: what is claimed of them, measure by measure.

``python benchmarks/evidence.py margins`` prints the table. Each ``Pair`` draws the answers of a method a and of a
method b that is worse by exactly the margin. What both get right or wrong is shared in part: hard cases are hard
for both. Clustered cases come two of each patient, who is hard or easy for both methods.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from souron.data.predictions import Predictions
from souron.evaluation.method_verdict import ACCURACY, AUC, METRICS, judged
from souron.metrics import detection
from souron.metrics.metric import Metric
from souron.stats import margin, verdict
from souron.stats.verdict import Difference

CASES = (8, 20, 60, 200)  # patients of which the measure is a mean: for a sensitivity the ill ones
PER_PATIENT = 2  # cases, where they are clustered
MANY = 200_000  # cases whose figures are the truth where no formula gives it
READERS = 5
Array = NDArray[np.float64]
Generator = np.random.Generator


@dataclass(frozen=True)
class Pair:
    """A kind of measure: draws two methods on so many patients, and knows their true difference, > 0 for a."""

    name: str
    metric: Metric
    draw: Callable[[int, bool, Generator], Predictions]
    difference: float  # a less b, or b less a where lower is better
    readers: int = 0


def hardness(patients: int, clustered: bool, rng: Generator) -> tuple[Array, NDArray[np.int64]]:
    """Draw how hard each case is, and name the patients; its variance is 0.5."""
    person = np.repeat(np.arange(patients), PER_PATIENT if clustered else 1)
    each = rng.standard_normal(len(person)) * (0.5 if clustered else 0.7071)
    return each + (0.5 * rng.standard_normal(patients)[person] if clustered else 0), person


def normal(hard: Array, rng: Generator) -> Array:
    """Draw a method's standard normal numbers; two methods' correlate by a half."""
    return hard + 0.7071 * rng.standard_normal(len(hard))


def predictions(kind: str, values: dict[str, Array], person: NDArray[np.int64], truth: Array | None) -> Predictions:
    clustered = len(np.unique(person)) < len(person)
    return Predictions(
        tuple(map(str, range(len(person)))),
        kind,
        {name: each[None] for name, each in values.items()},
        () if truth is None else ("well", "ill"),
        None if truth is None else truth.astype(np.int64),
        None if truth is None else 1,
        person if clustered else None,
    )


def of_labels(metric: Metric, a: float, b: float, ill: int = 1, well: int = 1, readers: int = 0) -> Pair:
    """Draw labels that are right with the chances ``a`` and ``b``; so many ill and well patients for each one."""

    def draw(patients: int, clustered: bool, rng: Generator) -> Predictions:
        hard, person = hardness((ill + well) * patients, clustered, rng)
        truth = (person < ill * patients).astype(float)
        skills = {f"reader {k}": a for k in range(readers)} or {"a": a}
        values = {}
        for name, rate in [*skills.items(), ("b", b)]:
            limit = -ndtri(rate)
            if readers and name != "b":  # readers' skills differ, and their mean is a
                limit = limit * 1.2**0.5 + 0.2**0.5 * rng.standard_normal()
            values[name] = np.where(normal(hard, rng) > limit, truth, 1 - truth)
        return predictions("labels", values, person, truth)

    name = f"{metric.name}, {a:.0%} and {b:.0%}" + (f", {readers} readers and a method" if readers else "")
    return Pair(name, metric, draw, a - b, readers)


def of_areas(a: float, b: float, readers: int = 0) -> Pair:
    """Draw scores whose AUCs are ``a`` and ``b``, three well patients for each ill one."""

    def draw(patients: int, clustered: bool, rng: Generator) -> Predictions:
        hard, person = hardness(4 * patients, clustered, rng)
        truth = (person < patients).astype(float)
        values = {}
        for name, area in [*((f"reader {k}", a) for k in range(readers)), *([] if readers else [("a", a)]), ("b", b)]:
            shift = 2**0.5 * ndtri(area)
            if readers and name != "b":
                shift = shift * 1.1**0.5 + 0.2**0.5 * rng.standard_normal()
            values[name] = normal(hard, rng) + shift * truth
        return predictions("score", values, person, truth)

    name = f"AUC, {a} and {b}" + (f", {readers} readers and a method" if readers else "")
    return Pair(name, AUC, draw, a - b, readers)


def of_overlaps(failing: float) -> Pair:
    """Draw Dice near 0.9, of which a share fails in b only."""

    def draw(patients: int, clustered: bool, rng: Generator) -> Predictions:
        hard, person = hardness(patients, clustered, rng)
        a, b = (np.clip(0.9 + 0.04 * normal(hard, rng), 0, 1) for _method in "ab")
        return predictions("dice", {"a": a, "b": failed(b, person, failing, clustered, 0.0, rng)}, person, None)

    name = f"Dice, of which {failing:.0%} fail with b"
    return Pair(name, METRICS["dice"][0], draw, failing * mean_dice())


@cache
def mean_dice() -> float:
    return float(np.clip(0.9 + 0.04 * np.random.default_rng(0).standard_normal(MANY), 0, 1).mean())


def failed(
    values: Array, person: NDArray[np.int64], share: float, clustered: bool, failure: float, rng: Generator
) -> Array:
    """Replace a share of the values by a failure; clustered, half of the failures are all cases of a patient."""
    each = rng.random(len(values)) < (share / 2 if clustered else share)
    if clustered:
        whole = (rng.random(person.max() + 1) < share / 2)[person]
        each = each | whole
        return np.where(each, failure, values)
    return np.where(each, failure, values)


def of_errors(name: str, typical: float, gross: float, share: float) -> Pair:
    """Draw distances in mm, gamma distributed, of which a share is gross with b."""

    def draw(patients: int, clustered: bool, rng: Generator) -> Predictions:
        hard, person = hardness(patients, clustered, rng)
        a, b = (typical * np.exp(0.5 * normal(hard, rng) - 0.125) for _method in "ab")
        return predictions("error", {"a": a, "b": failed(b, person, share, clustered, gross, rng)}, person, None)

    shown = f"{name}: {typical:g} mm, with b {share:.0%} of {gross:g} mm"
    return Pair(shown, METRICS["error"][0], draw, share * (gross - typical))


def of_ratings(a: float, b: float) -> Pair:
    """Draw ratings from 1 to 5 around means before they are rounded."""

    def rated(middle: float, numbers: Array) -> Array:
        return np.clip(np.rint(middle + 0.8 * numbers), 1, 5)

    def draw(patients: int, clustered: bool, rng: Generator) -> Predictions:
        hard, person = hardness(patients, clustered, rng)
        return predictions("rating", {n: rated(m, normal(hard, rng)) for n, m in (("a", a), ("b", b))}, person, None)

    many = np.random.default_rng(0).standard_normal(MANY)
    return Pair(
        f"ratings around {a} and {b}", METRICS["rating"][0], draw, rated(a, many).mean() - rated(b, many).mean()
    )


def boxes(images: int, clustered: bool, finding: float, rng: Generator, shared: Array) -> detection.Matches:
    """Draw images of one to four objects, and a detector that finds a share of them and invents others."""
    truth, found = [], []
    for row in range(images):
        count = 1 + int(4 * ndtr(shared[row] / 0.7071))
        corner = rng.uniform(0, 400, (count, 2))
        box = np.concatenate([np.zeros((count, 1)), corner, corner + 60], 1)
        seen = rng.random(count) < finding
        moved = box[seen] + np.concatenate([np.zeros((seen.sum(), 1)), rng.normal(0, 4, (seen.sum(), 4))], 1)
        alarms = rng.poisson(0.3)
        wrong = rng.uniform(500, 900, (alarms, 2))
        made = np.concatenate([np.zeros((alarms, 1)), wrong, wrong + 60], 1)
        score = np.concatenate([rng.beta(4, 2, len(moved)), rng.beta(2, 4, alarms)])
        truth.append(box)
        found.append(np.concatenate([np.concatenate([moved, made]), score[:, None]], 1))
    return detection.match(truth, found, labels=1)


FINDING = (0.9, 0.75)  # shares of the objects that a and b find


@cache
def mean_precision() -> tuple[float, float]:
    """Return the AP of both detectors on many images."""
    rng = np.random.default_rng(0)
    hard, _person = hardness(20_000, False, rng)
    return tuple(  # type: ignore[return-value]
        float(detection.scores(boxes(len(hard), False, finding, rng, hard))["AP50"].mean()) for finding in FINDING
    )


def of_boxes(patients: int, clustered: bool, rng: Generator, width: float) -> Difference:
    hard, person = hardness(patients, clustered, rng)
    groups = person if clustered else None
    a, b = (detection.scores(boxes(len(hard), clustered, f, rng, hard), groups)["AP50"] for f in FINDING)
    return verdict.difference(b, a, groups=groups, kind="share")


PAIRS = (
    of_labels(ACCURACY, 0.9, 0.8),
    of_labels(ACCURACY, 0.99, 0.94),
    of_labels(METRICS["labels"][1], 0.9, 0.8, well=4),
    of_labels(METRICS["labels"][1], 0.99, 0.94, well=4),
    of_labels(METRICS["labels"][2], 0.99, 0.94, ill=4),
    of_labels(METRICS["labels"][3], 0.9, 0.8, well=4),
    of_labels(METRICS["labels"][3], 0.99, 0.94, well=4),
    of_areas(0.95, 0.85),
    of_areas(0.999, 0.95),
    of_overlaps(0.1),
    of_overlaps(0.02),
    of_errors("errors", 1.5, 15.0, 0.04),
    of_errors("HD95", 5.0, 40.0, 0.1),
    of_ratings(4.5, 4.0),
    of_ratings(3.5, 3.0),
    of_labels(ACCURACY, 0.9, 0.8, readers=READERS),
    of_labels(METRICS["labels"][1], 0.9, 0.8, well=4, readers=READERS),
    of_areas(0.95, 0.85, readers=READERS),
)


def found(pair: Pair, patients: int, clustered: bool, rng: Generator) -> Difference:
    """Judge b against a of a drawn pair, > 0 for b."""
    data = pair.draw(patients, clustered, rng)
    if pair.metric.by_label and data.truth is not None and len(np.unique(data.truth)) < 2:
        return found(pair, patients, clustered, rng)
    members = [name for name in data.methods if name.startswith("reader")]
    judgement = judged(data, pair.metric, readers=members)
    [one] = [pair.others for pair in judgement.reader_pairs] or [None]
    if one is not None:
        return one if judgement.reader_pairs[0].a == "b" else turned(one)
    [seen] = judgement.verdicts
    sign = 1 if seen.a == "b" else -1
    low, high = sorted((sign * seen.low, sign * seen.high))
    return verdict.replace(_NOTHING, difference=sign * seen.difference, low=low, high=high)


_NOTHING = verdict.difference([0.0, 1.0], [0.0, 1.0])


def turned(one: Difference) -> Difference:
    return verdict.replace(one, difference=-one.difference, low=-one.high, high=-one.low)


def counted(judge: Callable[[], Difference], true: float, trials: int) -> tuple[float, float, float]:
    """Return how often the interval holds the true difference, and how often b, worse by the margin, is called not
    inferior, and equivalent, as shares."""
    held = np.zeros(3)
    for _trial in range(trials):
        one = judge()
        word = margin.word(one.low, one.high, true)
        held += one.low <= -true <= one.high, word not in ("inferior", "cannot tell"), word == "equivalent"
    covered, fine, equal = held / trials
    return float(covered), float(fine), float(equal)


def table(trials: int, seed: int) -> list[str]:
    """Return coverage, false claims of "not inferior" and of "equivalent", in percent, a row for each kind of pair."""
    lines = [
        "| measure | cases | " + " | ".join(f"{count} patients" for count in CASES) + " |",
        "|---|---|" + "---:|" * len(CASES),
    ]
    true = mean_precision()[0] - mean_precision()[1]
    for clustered in (False, True):
        for number, pair in enumerate(PAIRS):
            cells = []
            for patients in CASES:
                rng = np.random.default_rng([seed, number, patients, clustered])
                cells.append(counted(lambda: found(pair, patients, clustered, rng), pair.difference, trials))  # noqa: B023
            lines.append(row(pair.name, clustered, cells))
        cells = []
        for patients in CASES:
            rng = np.random.default_rng([seed, 99, patients, clustered])
            cells.append(counted(lambda: of_boxes(patients, clustered, rng, true), true, max(trials // 5, 1)))  # noqa: B023
        lines.append(row(f"AP50, {FINDING[0]:.0%} and {FINDING[1]:.0%} found", clustered, cells))
    return lines


def row(name: str, clustered: bool, cells: list[tuple[float, float, float]]) -> str:
    shown = (" / ".join(f"{100 * share:.1f}" for share in cell) for cell in cells)
    return f"| {name} | {'clustered' if clustered else 'independent'} | {' | '.join(shown)} |"
