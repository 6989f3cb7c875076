"""A verdict on anybody's predictions: does it keep its promise, and what does it cost?

    python benchmarks/evidence.py errors --trials 1000 --seed 0
    python benchmarks/evidence.py margins --trials 2000
    python benchmarks/evidence.py readers --trials 2000
    python benchmarks/evidence.py speed

``errors``: methods that are equally good on average, on patients with one to four cases. The share
of tables in which any pair is called different; at most 5 % is promised. Two and six methods;
labels (accuracy), probabilities (AUC), Dice.

``margins``: a method that is worse than another one by exactly the margin. The share of tables in which
it is called not inferior; at most 2.5 % is promised.

``readers``: a method that is as good as readers are on average, of whom some are drawn, with other
skills each time. The share of tables in which the method and the readers are called different, for
other readers, by Hillis's degrees of freedom, and for these readers; at most 5 % is promised of the first.

``speed``: the processor's seconds of ``souron verdict`` for 100 000 cases and 6 methods, from the
file to the record.
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.special import expit, ndtr

from souron.data.predictions import Predictions
from souron.evaluation.method_verdict import ACCURACY, AUC, judged, metrics
from souron.stats import margin
from souron.stats import verdict as stats_verdict
from souron.stats.readers import hillis
from souron.studies.verdict import verdict

PATIENTS = (60, 200, 1000)
MOST = 4  # cases of a patient
LETTERS = "abcdef"


def table(kind: str, patients: int, methods: int, rng: np.random.Generator) -> Predictions:
    """Draw predictions of methods that are equal on average: patients are hard, and suit one method or another."""
    person = np.repeat(np.arange(patients), rng.integers(1, MOST + 1, patients))
    cases = len(person)
    truth = (rng.random(patients) < 0.4).astype(np.int64)[person]
    hard = rng.standard_normal(patients)[person]
    values = {}
    for name in LETTERS[:methods]:
        suits = hard + rng.standard_normal(patients)[person] + rng.standard_normal(cases)
        if kind == "labels":
            values[name] = np.where(suits > -1.5, truth, 1 - truth).astype(np.float64)[None]
        elif kind == "probability":
            p = expit((2 * truth - 1) * (suits + 1.5))
            values[name] = np.stack([1 - p, p], 1)[None]
        else:
            values[name] = np.where(suits < -3, 0.0, 0.9 + 0.03 * np.minimum(suits, 3))[None]
    classes = ("well", "ill") if kind != "dice" else ()
    known = truth if classes else None
    names = tuple(map(str, range(cases)))
    return Predictions(names, kind, values, classes, known, 1 if classes else None, person)


def errors(trials: int, seed: int) -> list[str]:
    """Return a table of how often equal methods are called different."""
    lines = [
        "| kind | methods | " + " | ".join(f"{count} patients" for count in PATIENTS) + " |",
        "|---|---:" + "|---:" * 3 + "|",
    ]
    for kind in ("labels", "probability", "dice"):
        for methods in (2, 6):
            rng = np.random.default_rng(seed)
            shown = []
            for patients in PATIENTS:
                called = 0
                for _trial in range(trials):
                    data = table(kind, patients, methods, rng)
                    found = judged(data, metrics(data)[0])
                    called += any(one.verdict != "cannot tell" for one in found.verdicts)
                shown.append(f"{100 * called / trials:.1f} %")
            lines.append(f"| {kind} | {methods} | {' | '.join(shown)} |")
    return lines


def margins(trials: int, seed: int) -> list[str]:
    """Return a table of how often a method that is worse by the margin is called not inferior."""
    lines = [
        "| limits of good and bad | margin | " + " | ".join(f"{count} patients" for count in PATIENTS) + " |",
        "|---|---:" + "|---:" * 3 + "|",
    ]
    for good, bad in ((-1.5, -1.4), (-1.5, -1.1), (-2.5, -2.2)):
        rng = np.random.default_rng(seed)
        loss = float(ndtr(-good / 3**0.5) - ndtr(-bad / 3**0.5))
        shown = []
        for patients in PATIENTS:
            called = 0
            for _trial in range(trials):
                person = np.repeat(np.arange(patients), MOST // 2)
                hard = rng.standard_normal(patients)[person]
                suits = [hard + rng.standard_normal(patients)[person] + rng.standard_normal(len(person)) for _m in "ab"]
                right = [(one > limit).astype(float) for one, limit in zip(suits, (bad, good), strict=True)]
                found = stats_verdict.difference(*right, groups=person)
                called += margin.against(found, loss).word not in ("inferior", "cannot tell")
            shown.append(f"{100 * called / trials:.1f} %")
        lines.append(f"| {good}, {bad} | {100 * loss:.1f} points | {' | '.join(shown)} |")
    return lines


SKILL = 0.5  # standard deviation of the readers' skills


def panel(kind: str, patients: int, count: int, rng: np.random.Generator) -> Predictions:
    """Draw readers of other skills and a method as good as all readers on average, one case a patient."""
    truth = (rng.random(patients) < 0.4).astype(np.int64)
    hard = rng.standard_normal(patients)
    skills = 1.5 + SKILL * rng.standard_normal(count)
    # of labels the accuracy is P(hard + noise > -skill), of scores the AUC is P(two such sums differ by less)
    variance = 2.0 if kind == "labels" else 4.0
    method = 1.5 / (1 + SKILL**2 / variance) ** 0.5
    values = {}
    for name, skill in [*((f"reader {k}", one) for k, one in enumerate(skills)), ("method", method)]:
        own = hard + rng.standard_normal(patients)
        found = np.where(own > -skill, truth, 1 - truth) if kind == "labels" else own + skill * truth
        values[name] = found.astype(np.float64)[None]
    names = tuple(map(str, range(patients)))
    return Predictions(names, kind, values, ("well", "ill"), truth, 1)


def readers(trials: int, seed: int) -> list[str]:
    """Return a table of how often equal readers and method are called different."""
    lines = [
        "| kind | readers | patients | for other readers | by Hillis | for these readers |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind, metric in (("labels", ACCURACY), ("score", AUC)):
        for count in (2, 3, 5, 10):
            for patients in (60, 200):
                rng = np.random.default_rng(seed)
                called = np.zeros(3)
                for _trial in range(trials):
                    data = panel(kind, patients, count, rng)
                    [pair] = judged(
                        data, metric, readers=[name for name in data.methods if name != "method"]
                    ).reader_pairs
                    called += [one.verdict != "cannot tell" for one in (pair.others, hillis(pair.others), pair.these)]
                shown = " | ".join(f"{100 * one / trials:.1f} %" for one in called)
                lines.append(f"| {kind} | {count} | {patients} | {shown} |")
    return lines


def speed(seed: int) -> list[str]:
    """Return a table of the processor's seconds for 100 000 cases and 6 methods."""
    lines = ["| 100 000 cases, 6 methods | processor | file |", "|---|---:|---:|"]
    rng = np.random.default_rng(seed)
    for kind in ("labels", "probability"):
        data = table(kind, 45_000, 6, rng)
        keep = 100_000
        columns = {"case": range(keep), "truth": data.truth[:keep], "patient": data.groups[:keep]}
        for name, values in data.methods.items():
            columns[name] = values[0, :keep].astype(int) if kind == "labels" else values[0, :keep, 1].round(5)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            with path.open("w", newline="") as file:
                csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
            begun = time.process_time()
            record = verdict(path, margin=1)
            seconds = time.process_time() - begun
            assert len(record.deciding.verdicts) == 15 and len(record.data.cases) == keep
            lines.append(f"| {kind} | {seconds:.1f} s | {path.stat().st_size / 1e6:.1f} MB |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("errors", "margins", "readers", "speed"))
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    trials = {"errors": errors, "margins": margins, "readers": readers}
    made = trials[given.what](given.trials, given.seed) if given.what in trials else speed(given.seed)
    print("\n".join(made))


if __name__ == "__main__":
    main()
