"""Claims about two methods from few cases: none that a few more cases would overturn."""

import sys
from pathlib import Path

import numpy as np
import pytest

import souron
from souron.evaluation.method_verdict import METRICS
from souron.metrics import ranking
from souron.stats import intervals, verdict
from souron.stats.records import Row

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import _claims

ILL, WELL = ["ill"] * 8, ["well"] * 192
EIGHT = {  # two methods that answer alike in eight cases
    "accuracy": {"truth": ["ill", "well"] * 4, "a": ["ill", "well"] * 4, "b": ["ill", "well"] * 4},
    "sensitivity": {"truth": ILL + WELL, "a": ILL + WELL, "b": ILL + WELL},
    "specificity": dict.fromkeys(("truth", "a", "b"), ["ill"] * 192 + ["well"] * 8),
    "balanced accuracy": {"truth": ILL + WELL, "a": ILL + WELL, "b": ILL + WELL},
    "AUC": {"truth": ILL + WELL, "a": [0.9] * 8 + [0.1] * 192, "b": [0.8] * 8 + [0.2] * 192},
    "mean Dice": {"dice a": [0.9, 0.92, 0.91, 0.9] * 2, "dice b": [0.9, 0.92, 0.91, 0.9] * 2},
    "mean error": {"a": [1.2, 1.5, 1.1, 1.3] * 2, "b": [1.2, 1.5, 1.1, 1.3] * 2},
    "mean rating": {"a": [5] * 8, "b": [5] * 8},
}  # fmt: skip
KINDS = {"mean error": "error", "mean rating": "rating", "mean Dice": "dice"}
MARGINS = {"mean error": 0.3, "mean rating": 0.5}


@pytest.mark.parametrize("measure", EIGHT)
def test_eight_cases_alike_are_no_proof_that_methods_are_equivalent(measure):
    table = EIGHT[measure]
    cases = len(next(iter(table.values())))
    options = {"kind": KINDS[measure]} if measure in KINDS else {"measure": measure, "positive": "ill"}
    record = souron.verdict({"case": range(cases), **table}, margin=MARGINS.get(measure, 2), **options)
    [margin] = record.ranking.margins
    [pair] = record.ranking.verdicts
    assert pair.difference == 0 and pair.low < 0 < pair.high
    assert margin.word == "cannot tell"


def test_a_sensitivity_of_eight_ill_patients_has_the_interval_of_eight_cases():
    table = {"case": range(200), **EIGHT["sensitivity"]}
    [found] = souron.verdict(table, measure="sensitivity", positive="ill").ranking.verdicts
    eight = {name: values[:8] for name, values in table.items()}
    [alone] = souron.verdict({**eight, "truth": ["ill"] * 7 + ["well"]}, measure="accuracy").ranking.verdicts
    assert (found.low, found.high) == pytest.approx((-0.324, 0.324), abs=1e-3)
    assert alone.low == pytest.approx(found.low, abs=0.01)


def test_without_a_discordant_case_a_difference_is_as_unsure_as_a_share_of_which_none_was_seen():
    right = [1.0, 0.0] * 20
    none_of_forty = intervals.proportion_interval(0, 40).high
    alone = verdict.difference(right, right)
    assert (alone.low, alone.high) == pytest.approx((-none_of_forty, none_of_forty))
    twice = verdict.difference(right * 2, right * 2, groups=[*range(40)] * 2)
    assert (twice.low, twice.high) == pytest.approx((alone.low, alone.high))


def test_two_alike_cases_of_a_patient_leave_the_shares_of_cases_won_and_lost_as_they_are():
    a, b = [1.0] * 36 + [0.0] * 4, [1.0] * 38 + [0.0] * 2  # of forty patients, none lost by b
    one = verdict.difference(b, a)
    half = verdict.difference(np.repeat(b, 2), [*np.repeat(a, 2)[:-8], *[0.0, 1.0] * 4], groups=np.repeat(range(40), 2))
    assert one.high - one.low > half.high - half.low  # cases that vary within a patient say more than one
    both = verdict.difference(np.repeat(b, 2), np.repeat(a, 2), groups=np.repeat(range(40), 2).tolist())
    assert (both.low, both.high) == pytest.approx((one.low, one.high))


def test_cases_needed_for_a_sensitivity_are_cases_like_these():
    truth = ["ill"] * 12 + ["well"] * 288
    better = ["ill"] * 12 + ["well"] * 288
    weaker = ["well"] * 3 + ["ill"] * 9 + ["well"] * 288
    table = {"case": range(300), "truth": truth, "a": better, "b": weaker}
    [found] = souron.verdict(table, measure="sensitivity", positive="ill").ranking.verdicts
    few = {name: list(values)[:12] for name, values in table.items()}
    right = [[1.0] * 12, [0.0] * 3 + [1.0] * 9]
    needed = verdict.cases_needed(verdict.difference(*right))
    assert few and found.verdict == "cannot tell" and found.cases_needed == 25 * needed


QUICK = [  # kind of pair, patients: the cells of the table that failed before
    ("accuracy, 99% and 94%", 40),
    ("sensitivity, 99% and 94%", 8),
    ("specificity, 99% and 94%", 20),
    ("balanced accuracy, 99% and 94%", 20),
    ("AUC, 0.999 and 0.95", 8),
    ("Dice, of which 10% fail with b", 20),
    ("errors: 1.5 mm, with b 4% of 15 mm", 20),
    ("ratings around 4.5 and 4.0", 8),
]


@pytest.mark.parametrize("name, patients", QUICK)
def test_a_method_that_is_worse_by_the_margin_is_seldom_called_not_inferior(name, patients):
    """In at most 3.5 %, plus two standard errors; ``benchmarks/evidence.py margins`` has the whole table."""
    [pair] = [one for one in _claims.PAIRS if one.name == name]
    rng, trials = np.random.default_rng(0), 150
    covered, fine, equal = _claims.counted(lambda: _claims.found(pair, patients, False, rng), pair.difference, trials)
    assert fine <= 0.035 + 2 * (0.035 * 0.965 / trials) ** 0.5 and equal <= fine
    assert covered >= 0.93 - 2 * (0.07 * 0.93 / trials) ** 0.5


def test_a_difference_is_never_surer_than_its_two_figures():
    a, b = np.array([0.9, 0.92, 0.91, 0.9, 0.93] * 2), np.array([0.8, 0.82, 0.81, 0.84, 0.8] * 2)
    plain, paired = verdict.difference(a, b), verdict.difference(a, b, kind="overlap")
    one = intervals.overlap_interval(a)
    assert paired.low < plain.low and paired.high >= plain.high
    assert paired.low <= paired.difference - 0.5 * (one.value - one.low)
    assert verdict.p_value(paired) > plain.p


@pytest.mark.parametrize("kind", ["overlap", "error", "share"])
def test_two_cases_of_each_patient_count_as_one(kind):
    random = np.random.default_rng(0)
    a, b = random.uniform(0.7, 1, 12), random.uniform(0.6, 0.9, 12)
    once = verdict.difference(a, b, kind=kind)
    twice = verdict.difference(np.repeat(a, 2), np.repeat(b, 2), groups=np.repeat(range(12), 2).tolist(), kind=kind)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))


def test_the_p_of_a_pair_is_that_of_its_interval():
    random = np.random.default_rng(0)
    a, b = random.uniform(0.7, 1, 40), random.uniform(0.5, 0.9, 40)
    found = verdict.difference(a, b, kind="overlap")
    p = verdict.p_value(found)
    assert found.at(1 - 1.01 * p).verdict == "better" and found.at(1 - 0.99 * p).verdict == "cannot tell"


def test_readers_are_judged_by_the_cases_of_the_class():
    truth = np.array(ILL + WELL)
    table = {"case": range(200), "truth": truth, "method": truth, "reader 1": truth, "reader 2": truth}
    record = souron.verdict(table, measure="sensitivity", positive="ill", margin=2, readers="reader 1,reader 2")
    [pair] = record.ranking.reader_pairs
    [study] = record.as_json()["reader_study"]
    assert study["p"] > 0.05 and study["low"] < 0 < study["high"]
    assert pair.variation.n == 8 and pair.others.high - pair.others.low > 0.5
    assert record.ranking.margins[0].word == "cannot tell"


def test_every_figure_of_tables_has_a_kind_of_interval():
    for metric in (metric for metrics in METRICS.values() for metric in metrics):
        assert metric.kind != "mean" or metric.among or metric.name == "accuracy"


@pytest.mark.parametrize(("measure", "cases"), [("accuracy", 5), ("AUC", 60)])
def test_a_comparison_of_five_patients_gets_no_verdict(measure, cases):
    """Five patients, or five of the rarer class: each is won, and twelve cases of each do not help."""
    metric = METRICS["score"][0] if measure == "AUC" else METRICS["labels"][0]
    patients = np.repeat(np.arange(cases), 12)
    strata = (patients < 5).astype(int) if measure == "AUC" else None
    scores = {"a": np.ones(len(patients)), "b": np.zeros(len(patients))}
    rows = [Row(name, measure, float(table.mean()), 0, 1) for name, table in scores.items()]
    found = ranking.rank(metric, rows, scores, groups=patients, strata=strata, margin=0.3)
    assert [one.verdict for one in found.verdicts] == [one.word for one in found.margins] == ["cannot tell"]
    assert all(one.cases_needed >= 12 for one in (*found.verdicts, *found.margins))  # one more patient, not "never"
    if measure == "accuracy":
        found = ranking.rank(metric, rows, {name: table[:12] for name, table in scores.items()})
        assert found.verdicts[0].verdict == "better"  # twelve patients
