"""Judgements of anybody's predictions: do they keep their promise, and what do they cost?

    python benchmarks/evidence.py errors --trials 1000 --seed 0
    python benchmarks/evidence.py margins --trials 1000
    python benchmarks/evidence.py readers --trials 2000
    python benchmarks/evidence.py calibration --trials 1000 --seed 0
    python benchmarks/evidence.py speed
    python benchmarks/evidence.py refer --trials 1000
    python benchmarks/evidence.py froc --trials 1000
    python benchmarks/evidence.py benefit --trials 1000

``errors``: methods that are equally good on average, on patients with one to four cases. The share
of tables in which any pair is called different; at most 5 % is promised. Two and six methods;
labels (accuracy), probabilities (AUC), Dice.

``margins``: a method that is worse than another one by exactly the margin, for every kind of measure, for 8 to 200
patients, alone and with two cases each, and for readers. How often the interval holds the true difference / "not
inferior" is said / "equivalent" is said, in percent; 95, 2.5 and 2.5 are promised.

``readers``: a method that is as good as readers are on average, of whom some are drawn, with other
skills each time. The share of tables in which the method and the readers are called different, for
other readers, by Hillis's degrees of freedom, and for these readers; at most 5 % is promised of the first.

``calibration``: predicted risks whose true calibration is known, on patients with one to four cases
that resemble each other. The share of intervals of ``souron calibration`` that hold the truth; 95 %
is promised. ICI, E50 and E90 of calibrated risks are 0, and their intervals hold 0 unless they
claim miscalibration, which 2.5 % may. The last row has four trainings, whose risks differ, and
truths that are means over trainings.

``speed``: the processor's seconds of ``souron verdict`` for 100 000 cases and 6 methods, from the
file to the record.

``refer``: classifiers of three classes, on patients with one to four cases. How often the intervals of ``souron
refer`` hold the truth: of the error when 10 % of the answers are passed on, of its difference to that of all, and of
the area under the risk-coverage curve; 95 % is promised. How often the conformal set of a case of a new patient holds
its class, calibrated on all the patients, and of the same patients by cross-fitting; at least 95 % is promised.

``froc``: detectors on patients with one to four images. How often the intervals hold the truth: of the sensitivity at
false positives per image, of their mean, and of the area of the AFROC; 95 % is promised.

``benefit``: how often the 95 % interval of a net benefit holds the true one, on patients with one to four cases, at
several thresholds; the same for its difference from treating all and from another model, for the standardised net
benefit, and at a given prevalence. The goal is 93 to 97 %.
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path

import _claims
import numpy as np
from scipy.special import expit, ndtr, softmax

from souron.actions.verdict import verdict
from souron.data.predictions import Predictions
from souron.evaluation.method_verdict import ACCURACY, AUC, judged, metrics
from souron.metrics import abstention, conformal, froc, net_benefit
from souron.metrics.risk_calibration import NAMES, risk_calibration
from souron.stats import logistic
from souron.stats.readers import hillis

PATIENTS = (60, 200, 1000)
POPULATION = 400_000  # patients, whose net benefits are taken for the true ones
THRESHOLDS = (0.05, 0.1, 0.2, 0.4, 0.7)
PREVALENCE = 0.05  # where one is given
MEASURES = (
    "net benefit",
    "difference from treating all",
    "standardised net benefit",
    "net benefit, prevalence given",
    "difference of two models",
)
Ends = tuple[float, float, float]  # value, low, high
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
            assert len(record.ranking.verdicts) == 15 and len(record.data.cases) == keep
            lines.append(f"| {kind} | {seconds:.1f} s | {path.stat().st_size / 1e6:.1f} MB |")
    return lines


def answers(patients: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw probabilities (cases, 3), truth (cases,) and patients (cases,); hard patients have more cases."""
    hard = rng.standard_normal(patients)
    person = np.repeat(np.arange(patients), 1 + rng.binomial(MOST - 1, expit(hard)))
    truth = rng.integers(0, 3, len(person))
    logits = rng.standard_normal((len(person), 3)) * 1.2
    logits[np.arange(len(person)), truth] += 3 - hard[person]
    return softmax(logits, axis=1), truth, person


def refer(trials: int, seed: int) -> list[str]:
    """Return a table of how often intervals and conformal sets of ``souron refer`` hold the truth."""
    rng = np.random.default_rng(seed)
    p, truth, _person = answers(300_000, rng)
    wrong, sure = (p.argmax(1) != truth)[None], p.max(1)[None]
    true = abstention.error_scores(wrong, sure, 0.1).mean()
    gain, area = true - wrong.mean(), abstention.aurc_scores(wrong, sure).mean()
    names = (
        "error with 10 % passed on", "difference to all", "AURC", "set of a new patient", "cross-fitted set",
        "cross-fitted set, each class",
    )  # fmt: skip
    shares = {name: [] for name in names}
    for patients in PATIENTS:
        held = np.zeros((trials, len(names)))
        for trial in range(trials):
            p, truth, person = answers(patients, rng)
            wrong, sure = (p.argmax(1) != truth)[None], p.max(1)[None]
            error = abstention.error(wrong, sure, 0.1, person.tolist())
            apart = abstention.change(wrong, sure, 0.1, person.tolist())
            risk = abstention.aurc(wrong, sure, person.tolist())
            held[trial, :3] = (
                error.low <= true <= error.high,
                apart.low <= gain <= apart.high,
                risk.low <= area <= risk.high,
            )
            q, there, who = answers(100, rng)
            sets = conformal.sets(q, conformal.floors(p, truth, 0.95, person.tolist()))
            held[trial, 3] = by_patient(sets[np.arange(len(there)), there], who)
            for place, each_class in ((4, False), (5, True)):
                own = conformal.cross_fitted(p[None], truth, 0.95, person.tolist(), each_class)[0]
                right = own[np.arange(len(truth)), truth]
                among = [truth == k for k in range(3)] if each_class else [truth >= 0]
                held[trial, place] = np.mean([by_patient(right[rows], person[rows]) for rows in among])
        for name, share in zip(names, held.mean(0), strict=True):
            shares[name].append(f"{100 * share:.1f} %")
    head = "| | " + " | ".join(f"{count} patients" for count in PATIENTS) + " |"
    return [head, "|---" + "|---:" * 3 + "|", *(f"| {name} | {' | '.join(cells)} |" for name, cells in shares.items())]


def marked(patients: int, rng: np.random.Generator) -> tuple[froc.Marks, np.ndarray]:
    """Draw lesions and marks of patients, of whom half have lesions, and whose lesions are alike."""
    person = np.repeat(np.arange(patients), rng.integers(1, MOST + 1, patients))
    ease = rng.standard_normal(patients)[person]
    lesions = np.where(rng.random(patients)[person] < 0.5, rng.integers(1, 4, len(person)), 0)
    owner = np.repeat(np.arange(len(person)), lesions)
    seen = rng.random(len(owner)) < expit(2 + ease[owner])
    alarms = np.repeat(np.arange(len(person)), rng.poisson(np.exp(2 + 0.5 * rng.standard_normal(patients)))[person])
    score = np.concatenate([1.2 + 0.7 * ease[owner[seen]], 0.0 * alarms]) + rng.standard_normal(
        seen.sum() + len(alarms)
    )
    hit = np.arange(len(score)) < seen.sum()
    return froc.Marks(lesions, np.concatenate([owner[seen], alarms]), score, hit), person


def lesion_level(trials: int, seed: int) -> list[str]:
    """Return a table of how often the intervals at the lesion level hold the truth."""
    rng = np.random.default_rng(seed)
    marks, _person = marked(100_000, rng)
    true = np.array([*froc.sensitivity_at(marks), froc.sensitivity_at(marks).mean(), froc.afroc(marks)])
    names = [*(f"sensitivity at {rate:g}" for rate in froc.RATES), "CPM", "AFROC"]
    columns = []
    for patients in PATIENTS:
        held = np.zeros(len(names))
        for _trial in range(trials):
            marks, person = marked(patients, rng)
            made = froc.froc(marks, person.tolist())
            ends = np.array([(one.low, one.high) for one in (*made.sensitivity, made.mean, made.area)])
            held += (ends[:, 0] <= true) & (true <= ends[:, 1])
        columns.append([f"{100 * one / trials:.1f} %" for one in held])
    head = "| | truth | " + " | ".join(f"{count} patients" for count in PATIENTS) + " |"
    rows = [
        f"| {name} | {value:.3f} | {' | '.join(cells)} |"
        for name, value, *cells in zip(names, true, *columns, strict=True)
    ]
    return [head, "|---" + "|---:" * 4 + "|", *rows]


def by_patient(values: np.ndarray, person: np.ndarray) -> float:
    """Return the mean over patients of the mean over their cases."""
    _names, who = np.unique(person, return_inverse=True)
    return float((np.bincount(who, values) / np.bincount(who)).mean())


def risks(patients: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw truth (C,), two models' risks (2, C), and patients (C,), whose cases share risk and half of the luck."""
    person = np.repeat(np.arange(patients), rng.integers(1, MOST + 1, patients))
    cases = len(person)
    logit = rng.normal(-1.8, 1.2, patients)[person] + rng.normal(0, 0.6, cases)
    shared = rng.random(patients)[person] < 0.5
    luck = np.where(shared, rng.random(patients)[person], rng.random(cases))
    seen = [expit(logit + rng.normal(0, noise, patients)[person]) for noise in (0.8, 1.2)]
    return luck < expit(logit), np.stack(seen), person


def benefits(y_true: np.ndarray, called: np.ndarray, threshold: float, person: np.ndarray | None) -> list[Ends]:
    """Return value and ends of each measure of ``MEASURES``, for the calls (2, C) of two models."""
    given = (y_true, called[0], threshold, person)
    found = [
        net_benefit.net_benefit(*given),
        net_benefit.against_all(*given),
        net_benefit.standardised(*given),
        net_benefit.net_benefit(*given, PREVALENCE),
    ]
    pair = net_benefit.difference(y_true, *called, threshold, person)
    return [*((one.value, one.low, one.high) for one in found), (pair.difference, pair.low, pair.high)]


def benefit(trials: int, seed: int) -> list[str]:
    """Return a table of how often intervals of net benefits hold the true value."""
    lines = [
        "| measure | patients | " + " | ".join(f"{100 * one:g} %" for one in THRESHOLDS) + " |",
        "|---|---:" + "|---:" * len(THRESHOLDS) + "|",
    ]
    rng = np.random.default_rng(seed)
    y_true, seen, _person = risks(POPULATION, rng)
    truths = [[one[0] for one in benefits(y_true, seen >= t, t, None)] for t in THRESHOLDS]
    held = np.zeros((len(PATIENTS), len(THRESHOLDS), len(MEASURES)))
    for row, patients in enumerate(PATIENTS):
        for _trial in range(trials):
            y_true, seen, person = risks(patients, rng)
            for column, (t, truth) in enumerate(zip(THRESHOLDS, truths, strict=True)):
                ends = benefits(y_true, seen >= t, t, person)
                held[row, column] += [
                    low <= true <= high for true, (_value, low, high) in zip(truth, ends, strict=True)
                ]
    for place, name in enumerate(MEASURES):
        for row, patients in enumerate(PATIENTS):
            shares = [f"{100 * one / trials:.1f} %" for one in held[row, :, place]]
            lines.append(f"| {name} | {patients} | {' | '.join(shares)} |")
    return lines


WHAT = {
    "errors": errors,
    "margins": _claims.table,
    "readers": readers,
    "speed": lambda _trials, seed: speed(seed),
    "benefit": benefit,
    "calibration": calibration_coverage,
    "refer": refer,
    "froc": lesion_level,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tuple(WHAT))
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("\n".join(WHAT[given.what](given.trials, given.seed)))


if __name__ == "__main__":
    main()
