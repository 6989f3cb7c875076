"""A verdict on anybody's predictions: does it keep its promise, and what does it cost?

    python benchmarks/evidence.py errors --trials 1000 --seed 0
    python benchmarks/evidence.py speed

``errors``: methods that are equally good on average, on patients with one to four cases. The share
of tables in which any pair is called different; at most 5 % is promised. Two and six methods;
labels (accuracy), probabilities (AUC), Dice.

``speed``: the processor's seconds of ``souron verdict`` for 100 000 cases and 6 methods, from the
file to the record.
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.special import expit

from souron.data.predictions import Predictions
from souron.evaluation.method_verdict import judged, metrics
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
    parser.add_argument("what", choices=("errors", "speed"))
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("\n".join(errors(given.trials, given.seed) if given.what == "errors" else speed(given.seed)))


if __name__ == "__main__":
    main()
