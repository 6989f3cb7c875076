"""Calibration: measures agree with statsmodels and with figures by hand, intervals count patients, and no case judges
the recalibration that it was used for."""

import json
import re

import numpy as np
import pytest
import roots
from scipy.special import expit, logit

import souron
from souron.actions.calibration import calibration, validation
from souron.cli import main
from souron.metrics import recalibration, risk_calibration
from souron.runs import train
from souron.stats import logistic
from souron.utils.messages import UserError

STORED = roots.ROOT / "tests" / "stored" / "calibration"


def drawn(patients=200, seed=0, slope=0.6, shift=0.4):
    """Risks whose calibration slope and intercept are these, of patients with one to four cases, and outcomes."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), random.integers(1, 5, patients))
    logits = random.normal(size=patients)[who] + random.normal(size=len(who)) - 0.5
    own = 0.5 * random.normal(size=patients)[who]
    outcome = (random.random(len(who)) < expit(shift + slope * logits + own)).astype(int)
    return expit(logits), outcome, who


def columns(risk, outcome, who=None, name="network"):
    table = {
        "case": [f"c{n}" for n in range(len(outcome))],
        "truth": ["cancer" if one else "benign" for one in outcome],
        name: [f"{one:.6f}" for one in risk],
    }
    return table if who is None else {**table, "patient": [f"p{one}" for one in who]}


def refused(table, **options):
    with pytest.raises(UserError) as caught:
        calibration(table, **options)
    return caught.value


# the measures


@pytest.mark.parametrize("measure", ["intercept", "slope"])
def test_coefficients_and_cluster_robust_errors_agree_with_statsmodels(measure):
    """The variance is rebuilt from statsmodels' scores and information matrices, leaving out each patient (CR3)."""
    sm = pytest.importorskip("statsmodels.api")
    risk, outcome, who = drawn()
    logits = logit(risk)
    one = np.ones_like(logits)
    x, offset = (one[:, None], logits) if measure == "intercept" else (np.stack([one, logits], 1), None)
    model = sm.GLM(outcome, x, family=sm.families.Binomial(), offset=offset)
    reference = model.fit(tol=1e-14, maxiter=100)
    made = logistic.fit(x, outcome, offset, who)
    assert made.coefficients == pytest.approx(reference.params, abs=1e-8)
    steps = []
    for patient in np.unique(who):
        rest, own = who != patient, who == patient
        others = sm.GLM(
            outcome[rest], x[rest], family=sm.families.Binomial(), offset=None if offset is None else offset[rest]
        )
        steps.append(np.linalg.solve(-others.hessian(reference.params), model.score_obs(reference.params)[own].sum(0)))
    jackknife = np.array(steps)[:, -1] * 199 / 200
    assert np.bincount(who, made.influence[:, -1]) == pytest.approx(jackknife, abs=1e-9)
    found = risk_calibration.risk_calibration(risk, outcome, who).measures[measure]
    plain = model.fit(cov_type="cluster", cov_kwds={"groups": who}).bse[-1]
    assert found.value == pytest.approx(reference.params[-1], abs=1e-6)
    assert (found.high - found.low) / 2 / plain == pytest.approx(1.98, rel=0.06)


def test_errors_of_many_patients_are_those_of_statsmodels():
    """With 4000 patients the leverage of one is nothing, and the sandwich is the plain one."""
    sm = pytest.importorskip("statsmodels.api")
    risk, outcome, who = drawn(4000)
    x = np.stack([np.ones_like(risk), logit(risk)], 1)
    reference = sm.GLM(outcome, x, family=sm.families.Binomial()).fit(cov_type="cluster", cov_kwds={"groups": who})
    made = logistic.covariance(logistic.scores_of([logistic.fit(x, outcome, None, who)]), who)
    assert made == pytest.approx(reference.cov_params(), rel=5e-3)


def test_patients_count_and_not_their_copies():
    risk, outcome, who = drawn(60)
    once = risk_calibration.risk_calibration(risk, outcome, who).measures
    tenfold = risk_calibration.risk_calibration(np.tile(risk, 10), np.tile(outcome, 10), np.tile(who, 10)).measures
    for name in ("O:E", "intercept", "slope", "ICI"):
        widths = [one[name].high - one[name].low for one in (once, tenfold)]
        assert widths[1] > 0.8 * widths[0], name
    assert (tenfold["slope"].n, tenfold["slope"].groups) == (10 * len(risk), 60)


def test_distances_of_two_risks_are_those_by_hand():
    """35 of 100 cases at 20 % have the outcome, and 150 of 300 at 60 %: distances 0.15 and 0.1, and a curve through
    both shares."""
    risk, outcome = [0.2] * 100 + [0.6] * 300, [1] * 35 + [0] * 65 + [1] * 150 + [0] * 150
    made = risk_calibration.risk_calibration(risk, outcome)
    values = {name: made.measures[name].value for name in ("ICI", "E50", "E90", "O:E")}
    assert values == pytest.approx({"ICI": 0.1125, "E50": 0.1, "E90": 0.15, "O:E": 185 / 200}, abs=1e-6)
    assert made.curve.knots == 0
    measure = made.measures["ICI"]
    assert 0.05 < measure.low < 0.1125 < measure.high < 0.18


def test_calibrated_risks_are_not_called_miscalibrated_for_the_noise_of_their_curve():
    """One of 36 tables is expected to be; Student's interval of the ICI alone would call about six so."""
    random = np.random.default_rng(3)
    lows, values = [], []
    for _table in range(36):
        risk = expit(random.normal(size=150) - 0.5)
        made = risk_calibration.risk_calibration(risk, random.random(150) < risk)
        measure = made.measures["ICI"]
        values.append(measure.value)
        lows.append(measure.low)
        assert measure.low <= measure.value <= measure.high
        assert measure.high > 0.04, "an ICI that is small by luck is no proof"
    assert min(values) > 0 and np.mean(values) > 0.02 and sum(low > 0 for low in lows) <= 2
    assert made.chance == pytest.approx(np.mean(values), rel=0.5)


def test_the_curve_bends_where_risks_do():
    random = np.random.default_rng(0)
    risk = random.random(4000)
    true = 0.2 + 0.3 * np.sin(np.pi * risk)  # no line in the logit
    made = risk_calibration.risk_calibration(risk, random.random(4000) < true)
    curve = made.curve
    expected = 0.2 + 0.3 * np.sin(np.pi * curve.risk)
    inside = (curve.risk > 0.1) & (curve.risk < 0.9)
    assert curve.knots == 5 and abs(curve.observed - expected)[inside].max() < 0.06
    assert ((curve.low < curve.observed) & (curve.observed < curve.high)).all()
    assert made.measures["ICI"].value == pytest.approx(abs(true - risk).mean(), abs=0.02)


def test_a_natural_spline_is_a_line_beyond_its_knots():
    knots = (-1.0, 0.0, 0.5, 2.0)
    for ends in ([-9.0, -5.0, -1.0], [2.0, 4.0, 6.0]):
        made = risk_calibration.spline(ends, knots)
        assert made.shape == (3, 4) and np.diff(made, 2, axis=0) == pytest.approx(0, abs=1e-9)
    inner = risk_calibration.spline([0.0, 0.4, 0.8], knots)[:, 2]
    assert abs(np.diff(inner, 2)) > 1e-3


def test_trainings_have_estimates_of_their_own_and_their_spread_counts():
    risk, outcome, who = drawn(300, slope=1.0, shift=0.0)
    shifts = np.array([-0.8, 0.0, 0.9])[:, None]
    each = expit(logit(risk) + shifts)
    made = risk_calibration.risk_calibration(each, outcome, who).measures
    alone = [risk_calibration.risk_calibration(one, outcome, who).measures for one in each]
    for name, nearly in (("intercept", 1e-6), ("slope", 1e-6), ("ICI", 2e-3)):  # knots are shared
        assert made[name].value == pytest.approx(np.mean([one[name].value for one in alone]), abs=nearly), name
    assert made["intercept"].high - made["intercept"].low > 3 * (alone[0]["intercept"].high - alone[0]["intercept"].low)
    assert made["O:E"].value == pytest.approx(np.exp(np.mean([np.log(one["O:E"].value) for one in alone])))
    widest = max(one["ICI"].high - one["ICI"].value for one in alone)
    assert made["ICI"].high - made["ICI"].value > 1.2 * widest


# what cannot be estimated


def test_separated_outcomes_have_no_slope():
    random = np.random.default_rng(0)
    risk = random.random(100)
    made = risk_calibration.risk_calibration(risk, risk > 0.4)
    assert set(made.reasons) == {"slope", "ICI", "E50", "E90"} and {*made.reasons.values()} == {"separated"}
    assert set(made.measures) == {"O:E", "intercept"} and made.curve is None
    record = calibration(columns(risk, risk > 0.4), recalibrate="slope")
    assert "The slope cannot be estimated: the predicted risks separate" in record.sentences()[0]
    assert "cannot be recalibrated" in record.sentences()[0] and record.methods[0].after is None
    assert any("slope, ICI, E50, E90 cannot be estimated" in note for note in record.notes())


def test_equal_risks_have_no_slope_but_a_mean():
    made = risk_calibration.risk_calibration([0.3] * 100, [1] * 20 + [0] * 80)
    assert made.reasons == dict.fromkeys(("slope", "ICI", "E50", "E90"), "constant")
    assert made.measures["O:E"].value == pytest.approx(20 / 30)
    assert made.measures["intercept"].value == pytest.approx(logit(0.2) - logit(0.3))


def test_five_patients_are_too_few():
    risk, outcome, _who = drawn(40)
    made = risk_calibration.risk_calibration(risk, outcome, np.arange(len(risk)) % 5)
    assert not made.measures and {*made.reasons.values()} == {"few"} and made.observed == outcome.mean()
    record = calibration(columns(risk, outcome, np.arange(len(risk)) % 5), recalibrate="isotonic")
    assert "fewer than 10 patients with, or without" in record.sentences()[0] and record.as_json()


def test_risks_of_0_and_1_are_counted_and_bounded():
    risk, outcome, who = drawn()
    risk[:3], outcome[:3] = [0.0, 1.0, 1.0], [1, 1, 0]
    made = risk_calibration.risk_calibration(risk, outcome, who)
    assert (made.extreme, made.wrong) == (3, 2) and np.isfinite(made.measures["slope"].high)
    record = calibration(columns(risk, outcome, who))
    assert any("3 predicted risks are within" in note and "2 of them are wrong" in note for note in record.notes())


def test_risks_of_0_alone_have_no_ratio():
    made = risk_calibration.risk_calibration([0.0] * 60, [1] * 20 + [0] * 40)
    assert made.reasons["O:E"] == "zero" and made.reasons["slope"] == "constant" and "intercept" in made.measures


def test_one_class_and_several_classes_without_a_name_are_refused():
    risk, outcome, _who = drawn(40)
    assert refused(columns(risk, outcome * 0)).code == "one class"
    three = {"case": range(90), "truth": ["a", "b", "c"] * 30}
    three |= {f"net:{name}": [0.5 if one == name else 0.25 for one in three["truth"]] for name in "abc"}
    error = refused(three)
    assert error.code == "classes" and error.fix == "positive=a" and "3 classes" in error.found
    assert refused(three, positive="d").code == "positive"
    record = calibration(three, positive="b")
    assert (
        record.name == "b" and record.outcome.sum() == 30 and record.methods[0].before.predicted == pytest.approx(1 / 3)
    )
    assert any("against all others" in note for note in record.notes())


def test_shapes_and_values_are_checked():
    for risk, outcome in (([0.5, 1.2], [0, 1]), ([0.5], [0, 1]), ([0.5, 0.4], [0, 2]), ([np.nan, 0.4], [0, 1])):
        with pytest.raises(ValueError, match="risks"):
            risk_calibration.risk_calibration(risk, outcome)


# recalibration


def test_the_three_recalibrations_are_those_of_the_references():
    isotonic = pytest.importorskip("sklearn.isotonic")
    sm = pytest.importorskip("statsmodels.api")
    risk, outcome, _who = drawn(seed=4)
    risk = risk.round(2)
    further = np.linspace(0, 1, 50)
    reference = isotonic.IsotonicRegression(out_of_bounds="clip").fit(risk, outcome)
    assert recalibration.fitted("isotonic", risk, outcome).of(further) == pytest.approx(reference.predict(further))
    x = logit(np.clip(risk, 1e-6, 1 - 1e-6))
    both = sm.GLM(outcome, sm.add_constant(x), family=sm.families.Binomial()).fit().params
    made = recalibration.fitted("slope", risk, outcome)
    assert (made.intercept, made.slope) == pytest.approx(tuple(both), abs=1e-6)
    shift = recalibration.fitted("intercept", risk, outcome)
    assert shift.slope == 1 and shift.of(risk).mean() == pytest.approx(outcome.mean(), abs=1e-3)


@pytest.mark.parametrize("kind", recalibration.KINDS)
def test_no_patient_teaches_the_recalibration_of_their_own_risks(kind):
    """Another outcome of one patient changes the risks of others, and never that patient's own."""
    risk, outcome, who = drawn(80, seed=2)
    mine = who == 7
    other = np.where(mine, 1 - outcome, outcome)
    parts = recalibration._parts(outcome.astype(float), who, 0)
    assert all(len(np.unique(parts[who == one])) == 1 for one in np.unique(who))
    made = recalibration.cross_fitted(kind, risk, outcome, who)
    with pytest.MonkeyPatch.context() as patch:  # the parts depend on the outcome, and are to be the same ones
        patch.setattr(recalibration, "_parts", lambda *_given: parts)
        again = recalibration.cross_fitted(kind, risk, other, who)
    assert again[0, mine] == pytest.approx(made[0, mine]) and abs(again - made).max() > 1e-4


def test_recalibration_brings_the_slope_of_other_patients_to_one():
    risk, outcome, who = drawn(600, slope=0.5, shift=0.7)
    record = calibration(columns(risk, outcome, who), recalibrate="slope")
    [one] = record.methods
    before, after = one.before.measures, one.after.measures
    assert before["slope"].high < 0.7 and after["slope"].low < 1 < after["slope"].high
    assert before["O:E"].low > 1.1 and after["O:E"].value == pytest.approx(1, abs=0.02)
    assert after["ICI"].value < before["ICI"].value / 3
    assert one.recalibration.slope == pytest.approx(before["slope"].value, rel=1e-3)
    assert "too extreme" in record.sentences()[0] and "other patients" in record.sentences()[0]
    assert "too low on average" in record.sentences()[0]
    shifted = calibration(columns(risk, outcome, who), recalibrate="intercept").methods[0].after.measures
    assert shifted["O:E"].value == pytest.approx(1, abs=0.02) and shifted["slope"].high < 0.7


def test_nothing_is_recalibrated_unless_asked():
    record = calibration(columns(*drawn()))
    assert (
        record.kind == "none" and record.methods[0].after is None and "recalibrat" not in " ".join(record.sentences())
    )


def test_isotonic_recalibration_of_few_cases_gets_a_warning():
    assert any("overfits" in note for note in calibration(columns(*drawn()), recalibrate="isotonic").notes())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train.train("mlp_tiny", "digits", budget="3000ex", folds=1, project=tmp_path_factory.mktemp("runs")).folder


def test_a_run_is_recalibrated_on_its_validation_cases(run):
    record = calibration(run, positive="8", recalibrate="slope")
    [one] = record.methods
    held = validation.risks(run, "8")
    assert one.how == "validation" and one.learnt_from == len(held.risk) > 100
    assert one.recalibration == recalibration.fitted("slope", held.risk, held.outcome)
    rows = [line.split(",") for line in (run / "split.csv").read_text("utf-8").splitlines()]
    parts = {part: [row[1] == "8" for row in rows if row[3] == part] for part in ("val", "test")}
    assert held.outcome.sum() == sum(parts["val"]) and record.outcome.sum() == sum(parts["test"])
    assert sorted(held.risk.tolist()) != sorted(one.risk[0].tolist())
    assert one.new_risk == pytest.approx(one.recalibration.of(one.risk))
    assert any("validation cases" in note for note in record.notes())
    assert any("souron predict" in note for note in record.notes())


def test_a_cross_validated_run_is_recalibrated_by_other_patients(run, tmp_path):
    """The validation cases of its final network are test cases of the folds."""
    import shutil

    folder = shutil.copytree(run, tmp_path / "crossed")
    lines = (folder / "split.csv").read_text("utf-8").splitlines()
    test = [line.split(",")[:3] for line in lines[1:] if line.endswith(",test")]
    (folder / "folds.csv").write_text("\n".join(["file,label,group", *(",".join(one) for one in test)]), "utf-8")
    assert validation.risks(folder, "8") is None
    record = calibration(folder, positive="8", recalibrate="slope")
    assert record.methods[0].how == "cross-fitted" and record.methods[0].learnt_from == len(test)
    assert any("cross-validated" in note for note in record.notes())


# the command


def test_the_command_prints_sentences_and_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(STORED)
    assert main.run(["calibration", "predictions.csv", "recalibrate=slope", "--lang", "en"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert re.search(r"network: The predicted risks are .*? too extreme: slope 0\.\d\d \(0\.\d\d–0\.\d\d\)", shown)
    assert "After recalibration" in shown and "logit q =" in shown
    page = (roots.ROOT / "docs" / "calibration.md").read_text("utf-8")
    for block in re.findall(r"```text\n(network: .*?)```", page, re.DOTALL):
        assert " ".join(block.split()) in shown


@pytest.mark.usefixtures("each_drawn")
def test_json_and_page_hold_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["calibration", str(STORED / "predictions.csv"), "recalibrate=isotonic", "project=kept", "--json"]
    assert main.run([*words, "--lang", "en"]) == 0
    printed = json.loads(capsys.readouterr().out)
    folder = tmp_path / "kept/calibration/predictions"
    kept = json.loads((folder / "calibration.json").read_text("utf-8"))
    assert kept["methods"] == printed["methods"] and kept["patients"] == 130 and kept["positive"] == "cancer"
    first = kept["methods"][0]
    assert first["before"]["measures"]["slope"]["high"] < 1 and len(first["before"]["curve"]) == 101
    assert first["recalibration"]["fitted_on"] == "cross-fitted" and first["recalibration"]["points"]
    assert kept["receipt"]["options"] == {"recalibrate": "isotonic"} and len(kept["receipt"]["files"]) == 1
    page = (folder / "report.html").read_text("utf-8")
    assert "Observed against predicted risk" in page and page.count("data:image/png") == 2
    assert (folder / "report.ja.html").exists()


def test_a_missing_prediction_leaves_the_case_out_and_names_it():
    table = columns(*drawn())
    table["network"][4] = ""
    record = calibration(table)
    assert record.data.left_out == ("c4",) and len(record.outcome) == len(table["case"]) - 1
    assert any("1 cases are left out" in note and "c4" in note for note in record.notes())


def test_python_has_it_lazily():
    assert souron.calibration(columns(*drawn())).methods[0].name == "network"
    with pytest.raises(UserError, match="no option"):
        souron.calibration(columns(*drawn()), recalibration="slope")


def test_methods_are_named_with_commas_on_a_command_line(tmp_path, capsys):
    header, *rows = (STORED / "predictions.csv").read_text(encoding="utf-8").splitlines()
    table = tmp_path / "t.csv"
    table.write_text("\n".join([f"{header},other", *(f"{row},0.5" for row in rows)]), encoding="utf-8")
    assert main.run(["calibration", str(table), "methods=network,other", "--json"]) == 0
    assert [one["method"] for one in json.loads(capsys.readouterr().out)["methods"]] == ["network", "other"]
