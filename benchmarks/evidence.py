"""Judgements of anybody's predictions: do they keep their promise, and what do they cost?

    python benchmarks/evidence.py errors --trials 1000 --seed 0
    python benchmarks/evidence.py calibration --trials 1000 --seed 0
    python benchmarks/evidence.py speed

``errors``: methods that are equally good on average, on patients with one to four cases. The share
of tables in which any pair is called different; at most 5 % is promised. Two and six methods;
labels (accuracy), probabilities (AUC), Dice.

``calibration``: predicted risks whose true calibration is known, on patients with one to four cases
that resemble each other. The share of intervals of ``souron calibration`` that hold the truth; 95 %
is promised. ICI, E50 and E90 of calibrated risks are 0, and their intervals hold 0 unless they
claim miscalibration, which 2.5 % may. The last row has four trainings, whose risks differ, and
truths that are means over trainings.

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
from souron.evaluation.method_verdict import judged, metrics
from souron.metrics.risk_calibration import NAMES, risk_calibration
from souron.stats import logistic
from souron.studies.verdict import verdict

PATIENTS = (60, 200, 1000)
MOST = 4  # cases of a patient
LETTERS = "abcdef"
TRUE_LOGITS = {  # of the outcome, from the logit of the predicted risk
    "calibrated": lambda logit: logit,
    "too extreme": lambda logit: 0.65 * logit - 0.3,
    "curved": lambda logit: logit - 0.3 * np.log1p(np.exp(2 * (logit + 0.5))),  # slope 1 for low risks, 0.4 for high
}
ALIKE = 0.4  # correlation of a patient's cases, for the same risk
MANY = 200_000  # patients whose figures are the truth
TRAININGS, APART = 4, 0.4  # trainings, and the standard deviation of their logits' means


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


def patients_risks(patients: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the logits of predicted risks and the patient of each case."""
    person = np.repeat(np.arange(patients), rng.integers(1, MOST + 1, patients))
    own = rng.standard_normal(patients)[person] + 0.8 * rng.standard_normal(len(person))
    return 1.1 * own - 0.9, person


def outcomes(risk: np.ndarray, person: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw outcomes of these true risks that are correlated within patients."""
    shared = rng.standard_normal(person.max() + 1)[person]
    return (ndtr(ALIKE**0.5 * shared + (1 - ALIKE) ** 0.5 * rng.standard_normal(len(risk))) < risk).astype(float)


def true_figures(logits: np.ndarray, risk: np.ndarray) -> dict[str, float]:
    """Return the measures of predicted risks whose true risks are known."""
    predicted = expit(logits)
    one = np.ones(len(logits))
    away = np.abs(predicted - risk)
    return {
        "O:E": risk.sum() / predicted.sum(),
        "intercept": logistic.fit(one[:, None], risk, logits).coefficients[0],
        "slope": logistic.fit(np.stack([one, logits], 1), risk).coefficients[1],
        "ICI": away.mean(),
        "E50": np.median(away),
        "E90": np.quantile(away, 0.9),
    }


def calibration_coverage(trials: int, seed: int) -> list[str]:
    """Return a table of how often the intervals of ``risk_calibration`` hold the truth, in %."""
    lines = ["| predicted risks | patients | " + " | ".join(NAMES) + " |", "|---|---:" + "|---:" * len(NAMES) + "|"]
    for name, law in TRUE_LOGITS.items():
        rng = np.random.default_rng(seed)
        logits, _person = patients_risks(MANY, rng)
        lines += _covered(name, true_figures(logits, expit(law(logits))), law, 1, trials, rng)
    rng = np.random.default_rng(seed)
    logits, _person = patients_risks(MANY // 10, rng)
    shifts = APART * rng.standard_normal(400)
    each = [true_figures(logits + shift, expit(logits)) for shift in shifts]
    truth = {name: float(np.mean([one[name] for one in each])) for name in NAMES}
    truth["O:E"] = float(np.exp(np.mean([np.log(one["O:E"]) for one in each])))
    return lines + _covered(f"{TRAININGS} trainings", truth, lambda logit: logit, TRAININGS, trials, rng)


def _covered(name, truth, law, trainings, trials, rng) -> list[str]:
    """Return a row for each number of patients."""
    lines = []
    for patients in PATIENTS:
        held = dict.fromkeys(NAMES, 0)
        counts = dict.fromkeys(NAMES, 0)
        for _trial in range(trials):
            logits, person = patients_risks(patients, rng)
            y = outcomes(expit(law(logits)), person, rng)
            shifts = APART * rng.standard_normal((trainings, 1)) if trainings > 1 else np.zeros((1, 1))
            for each, one in risk_calibration(expit(logits + shifts), y, person).measures.items():
                counts[each] += 1
                held[each] += one.low <= truth[each] <= one.high
        shown = " | ".join(f"{100 * held[each] / max(counts[each], 1):.1f}" for each in NAMES)
        lines.append(f"| {name} | {patients} | {shown} |")
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
    parser.add_argument("what", choices=("errors", "calibration", "speed"))
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "speed":
        print("\n".join(speed(given.seed)))
    else:
        tables = {"errors": errors, "calibration": calibration_coverage}
        print("\n".join(tables[given.what](given.trials, given.seed)))


if __name__ == "__main__":
    main()
