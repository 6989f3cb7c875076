"""Decision curves: net benefit as dcurves has it, its intervals, the study's sentences, and its page in a browser."""

import json
import math
import re
from pathlib import Path

import dcurves
import numpy as np
import pandas
import pytest
import roots
from browsing import CHROMIUM, visiting

from souron.actions import decision as study
from souron.actions.decision import sliders
from souron.cli import main
from souron.data.prediction_table import sheet_of
from souron.data.predictions import Asked, predictions
from souron.evaluation import decision_curves
from souron.metrics import classification, net_benefit
from souron.stats import intervals
from souron.utils.messages import UserError

THRESHOLDS = [0.01, 0.05, 0.1, 0.2, 0.35]
EXACT = {"rel": 1e-9, "abs": 1e-9}


@pytest.mark.parametrize(
    "name, outcome, prevalence",
    [("binary", "cancer", None), ("binary", "cancer", 0.2), ("case_control", "casecontrol", 0.15)],
)
def test_net_benefit_and_interventions_avoided_are_those_of_dcurves(name, outcome, prevalence):
    data, model = pandas.read_csv(Path(dcurves.data) / f"df_{name}.csv"), "cancerpredmarker"
    given = {} if prevalence is None else {"prevalence": prevalence}
    theirs = dcurves.dca(data=data, outcome=outcome, modelnames=[model], thresholds=THRESHOLDS, nper=100, **given)
    y_true, risk = data[outcome].to_numpy(bool), data[model].to_numpy(float)
    for threshold in THRESHOLDS:
        rows = theirs[np.isclose(theirs["threshold"], threshold)].set_index("model")
        called = risk >= threshold
        ours = net_benefit.net_benefit(y_true, called, threshold, prevalence=prevalence)
        assert ours.value == pytest.approx(rows.loc[model, "net_benefit"], **EXACT)
        everyone = net_benefit.treat_all(y_true, threshold, prevalence=prevalence)
        assert everyone.value == pytest.approx(rows.loc["all", "net_benefit"], **EXACT)
        over_all = net_benefit.against_all(y_true, called, threshold, prevalence=prevalence)
        assert over_all.value == pytest.approx(ours.value - everyone.value, **EXACT)
        avoided = net_benefit.interventions_avoided(over_all, threshold)
        assert avoided.value == pytest.approx(rows.loc[model, "net_intervention_avoided"], **EXACT)


def test_the_mean_of_the_scores_is_the_net_benefit():
    """With repeats and a prevalence, too; a difference of two models is that of their net benefits."""
    y_true, risk, _patient = drawn(80)
    called = np.stack([risk >= 0.2, risk >= 0.3])
    for prevalence in (None, 0.1):
        one = net_benefit.net_benefit(y_true, called, 0.2, prevalence=prevalence)
        assert net_benefit.benefit_scores(y_true, called, 0.2, prevalence).mean() == pytest.approx(one.value)
        parts = [net_benefit.net_benefit(y_true, row, 0.2, prevalence=prevalence).value for row in called]
        assert one.value == pytest.approx(np.mean(parts))
        found = net_benefit.difference(y_true, called[0], called[1], 0.2, prevalence=prevalence)
        assert found.difference == pytest.approx(parts[0] - parts[1])
        share = y_true.mean() if prevalence is None else prevalence
        standard = net_benefit.standardised(y_true, called, 0.2, prevalence=prevalence)
        assert standard.value == pytest.approx(one.value / share) and standard.low < standard.value < standard.high


def drawn(patients, seed=0, most=4):
    """Truth and predicted risk of cases whose patients share risk and luck, and the patient of each."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
    true = rng.normal(-1.5, 1.3, patients)[patient]
    y_true = rng.random(patients)[patient] < 1 / (1 + np.exp(-true))
    return y_true, 1 / (1 + np.exp(-true - rng.normal(0, 0.5, len(patient)))), patient


def test_copies_of_a_patients_cases_make_no_interval_shorter():
    y_true, risk, _patient = drawn(100, most=1)
    alone = net_benefit.net_benefit(y_true, risk >= 0.2, 0.2)
    many = [np.repeat(values, 10) for values in (y_true, risk >= 0.2, np.arange(100))]
    copied = net_benefit.net_benefit(many[0], many[1], 0.2, many[2])
    assert copied.value == pytest.approx(alone.value) and (copied.n, copied.groups) == (1000, 100)
    assert copied.high - copied.low > 0.9 * (alone.high - alone.low)


def test_false_positives_that_a_sample_lacks_widen_the_interval():
    """Two of a hundred cases are called at 90 %, rightly: Student's interval ignores that a wrong one weighs nine."""
    y_true, called = np.arange(100) < 20, np.arange(100) < 2
    found = net_benefit.net_benefit(y_true, called, 0.9)
    students = intervals.interval(net_benefit.benefit_scores(y_true, called, 0.9))
    assert found.value == students.value == pytest.approx(0.02)
    assert students.low > -0.01 and found.low < -9 * 0.02
    nobody = net_benefit.net_benefit(y_true, np.zeros(100, bool), 0.9)
    assert nobody.value == 0 and nobody.low < 0 < nobody.high


@pytest.mark.parametrize("threshold, prevalence", [(0.05, None), (0.3, None), (0.3, 0.05)])
def test_the_interval_holds_the_true_net_benefit_of_clustered_cases(threshold, prevalence):
    y_true, risk, _patient = drawn(100_000, seed=1)
    truth = net_benefit.net_benefit(y_true, risk >= threshold, threshold, prevalence=prevalence).value
    held = 0
    for seed in range(150):
        y_true, risk, patient = drawn(60, seed=seed + 2)
        one = net_benefit.net_benefit(y_true, risk >= threshold, threshold, patient, prevalence)
        held += one.low <= truth <= one.high
    assert held >= 134  # 89 %: fewer of 150 are seen once in a thousand where 95 % is promised


def test_only_what_beats_treating_all_and_treating_none_is_better_than_both():
    y_true = np.arange(400) < 100
    better_than_none = np.ones(400, bool)  # treats all
    found = net_benefit.against_default(y_true, better_than_none, 0.1)
    assert found.value == 0 and net_benefit.net_benefit(y_true, better_than_none, 0.1).low > 0
    perfect = net_benefit.against_default(y_true, y_true, 0.1)
    assert 0 < perfect.low < perfect.value == pytest.approx(0.75 / 9)


@pytest.mark.parametrize("threshold, prevalence", [(0, None), (1, None), (0.1, 0), (0.1, 1)])
def test_thresholds_and_prevalences_lie_between_0_and_1(threshold, prevalence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        net_benefit.net_benefit([1, 0], [1, 0], threshold, prevalence=prevalence)
    with pytest.raises(ValueError, match="positive and negative"):
        net_benefit.net_benefit([1, 1], [1, 0], 0.1, prevalence=0.2)


def table(path, patients=120, seed=0, second=False):
    """A table of predicted risks that are calibrated, of a second method that knows less, and patients."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), 2)
    logit = rng.normal(-1.2, 1.6, patients)[patient]
    risk = (1 / (1 + np.exp(-logit))).round(4)
    truth = np.where(rng.random(2 * patients) < risk, "ill", "healthy")
    columns = {"case": np.arange(2 * patients), "truth": truth, "patient": patient, "unet:ill": risk}
    columns["unet:healthy"] = (1 - risk).round(4)
    if second:
        weak = (1 / (1 + np.exp(-logit / 3 - rng.normal(-0.8, 1, 2 * patients)))).round(4)
        columns |= {"old:ill": weak, "old:healthy": (1 - weak).round(4)}
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n", encoding="utf-8")
    return path


def decided(source, **options):
    return study.DecisionStudy(writes=False).result(str(source), **options)


def test_the_study_says_where_acting_on_the_prediction_helps(tmp_path, capsys):
    path = table(tmp_path / "risks.csv", second=True)
    words = ["decision", str(path), "low=2%", "high=40%", "threshold=10%,25%", f"project={tmp_path}/runs"]
    assert main.run([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["positive"] == "ill" and found["cases"] == 240 and found["patients"] == 120
    assert found["thresholds"][0] == 0.02 and found["thresholds"][-1] == 0.4 and found["marked"] == [0.1, 0.25]
    first = found["methods"][0]
    assert first["method"] == "unet" and first["miscalibration"] is None
    low, high = first["certain"][0]
    assert first["better"][0][0] <= low < high <= first["better"][0][1]
    sentence = found["sentence"]
    assert re.search(r"Between thresholds of [\d.]+ % and 40 %, unet is better than treating all", sentence)
    assert "above 0 from" in sentence or "above 0 there" in sentence
    assert "At a threshold of 10 %: of 1,000 cases" in sentence and "interventions avoided per 100" in sentence
    assert "Acting from 10 % on means accepting 9 unnecessary interventions for one ill patient found." in sentence
    assert {one["a"] for one in found["pairs"]} | {one["b"] for one in found["pairs"]} == {"unet", "old"}
    assert "net benefit at 10 %" in sentence
    [folder] = (tmp_path / "runs" / "decision").iterdir()
    assert {"report.html", "report.ja.html", "decision.json"} <= {file.name for file in folder.iterdir()}
    page = (folder / "report.html").read_text(encoding="utf-8")
    for part in ('id="curve"', 'id="people"', 'id="meaning"', "25\N{NO-BREAK SPACE}%", 'id="receipt"'):
        assert part in page, part


def test_the_tables_hold_the_figures_of_the_curve(tmp_path):
    record = decided(table(tmp_path / "risks.csv"), threshold="10%,20%")
    benefits, differences = record.tables()
    data = predictions_of(tmp_path / "risks.csv")
    y_true = data.truth == list(data.classes).index("ill")
    calls = data.methods["unet"][0, :, list(data.classes).index("ill")] >= 0.1
    expected = net_benefit.net_benefit(y_true, calls, 0.1, data.groups)
    assert benefits.rows[0][:2] == ["10 %", f"{expected.value:.3f}"]
    assert benefits.rows[0][2] == f"{expected.low:.3f}–{expected.high:.3f}"  # as everywhere
    over_all = net_benefit.against_all(y_true, calls, 0.1, data.groups)
    assert differences.rows[0][3] == f"{net_benefit.interventions_avoided(over_all, 0.1).value:.0f}"
    assert len(benefits.rows) == 2 and "method" not in benefits.columns


def predictions_of(path):
    lines = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    return predictions(sheet_of(dict(zip(lines[0], map(list, zip(*lines[1:], strict=True)), strict=True))), Asked())


def test_a_given_prevalence_changes_what_is_better_and_what_is_called_calibrated(tmp_path):
    path = table(tmp_path / "risks.csv")
    own, rare = decided(path), decided(path, prevalence="1%")
    assert own.made.prevalence == pytest.approx(own.made.risks.y_true.mean()) and rare.made.prevalence == 0.01
    assert own.made.curves[0].miscalibration == "" and rare.made.curves[0].miscalibration == "level"
    assert any("souron calibration" in note and "where 1 % are ill" in note for note in rare.notes())
    assert not any("calibration" in note for note in own.notes())
    assert own.made.everyone[0].low < own.made.everyone[0].high  # the prevalence is uncertain
    assert rare.made.everyone[0].low == rare.made.everyone[0].high
    at = rare.made.thresholds.index(0.1)
    assert rare.made.everyone[at].value == pytest.approx(0.01 - 0.99 / 9)


def test_risks_that_are_too_extreme_are_named(tmp_path):
    """The level is right, and every risk is three times as far from even odds as it should be."""
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 1, 800)
    y_true = rng.random(800) < 1 / (1 + np.exp(-logit))
    for factor, expected in ((3, "extreme"), (1, ""), (0.2, "central")):
        risks = decision_curves.Risks("ill", y_true, {"net": 1 / (1 + np.exp(-factor * logit))[None]}, False)
        made = decision_curves.decision(risks, (0.1, 0.5), (0.1,), None, (0.1,))
        assert made.curves[0].miscalibration == expected


def test_a_range_without_predicted_risks_is_warned_of(tmp_path):
    record = decided(table(tmp_path / "risks.csv"), low="95%", high="99%")
    assert any("of the predicted risks lie between 95 % and 99 %" in note for note in record.notes())
    assert not any("of the predicted risks" in note for note in decided(tmp_path / "risks.csv").notes())
    assert "rather than intervening once without need" in record.sentences()[-1]


def columns(cases, **methods):
    return {"case": [str(number) for number in range(cases)], **methods}


def risks(truth, risk, **asked):
    held = columns(len(truth), truth=truth, net=[f"{one:.3f}" for one in risk])
    return decision_curves.risks_of(predictions(sheet_of(held), Asked(**asked)), asked.get("positive", ""))


def test_constant_predictions_are_treating_all_or_treating_none():
    y_true = ["ill"] * 30 + ["well"] * 70
    made = decision_curves.decision(risks(y_true, [0.3] * 100, positive="ill"), (0.1, 0.3, 0.4), (0.1,), None, (0.1,))
    [curve] = made.curves
    assert [point.net_benefit.value for point in curve.points[:2]] == [one.value for one in made.everyone[:2]]
    assert curve.points[2].net_benefit.value == 0 and not curve.better and not curve.certain


def test_every_figure_of_a_curve_counts_patients():
    """Four cases of a patient in place of one: curves, rates, treating all, pairs and calibration stay as unsure."""
    y_true, risk, _patient = drawn(60, most=1)

    def made(times):
        methods = {"net": risk, "old": np.roll(risk, 7) / 2}
        tables = {name: np.repeat(values, times)[None] for name, values in methods.items()}
        groups = np.repeat(np.arange(60), times)
        cases = decision_curves.Risks("ill", np.repeat(y_true, times), tables, False, groups)
        return decision_curves.decision(cases, (0.1, 0.2), (0.2,), None, (0.2,))

    def widths(found):
        for curve in found.curves:
            for point in curve.points:
                yield from (point.net_benefit, point.standardised, point.against_default, point.avoided)
            yield from (one for rate in curve.rates for one in (rate.sensitivity, rate.specificity))
        yield from (*found.everyone, *found.ranking.verdicts)

    once, copied = made(1), made(4)
    for one, other in zip(widths(once), widths(copied), strict=True):
        assert other.high - other.low > 0.9 * (one.high - one.low) > 0
    assert [curve.miscalibration for curve in copied.curves] == [curve.miscalibration for curve in once.curves]


def test_a_calibration_is_doubted_by_patients():
    y_true, groups = np.repeat([True, False], 160), np.repeat(np.arange(40), 8)
    table = {"net": np.full((1, 320), 0.6)}
    assert decision_curves._miscalibration(decision_curves.Risks("ill", y_true, table, False), table["net"], None)
    assert not decision_curves._miscalibration(
        decision_curves.Risks("ill", y_true, table, False, groups), table["net"], None
    )


def test_five_patients_get_no_verdict(tmp_path):
    path = tmp_path / "five.csv"
    rows = [
        "case,truth,net:ill,net:healthy",
        "1,ill,.9,.1",
        "2,ill,.8,.2",
        "3,healthy,.1,.9",
        "4,healthy,.2,.8",
        "5,healthy,.1,.9",
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    record = decided(path)
    assert record.sentences()[0] == "net: cannot tell, 5 patients are too few."
    assert not record.made.curves[0].certain and any("rarer class has 2" in note for note in record.notes())


def test_cases_of_a_single_patient_are_written_without_a_verdict(tmp_path):
    path = tmp_path / "one.csv"
    rows = ["case,truth,patient,net:ill,net:healthy,old:ill,old:healthy"]
    rows += [f"{n},{'ill' if n < 4 else 'healthy'},p1,0.{n},0.{10 - n},0.3,0.7" for n in range(1, 9)]
    path.write_text("\n".join(rows), encoding="utf-8")
    record = study.DecisionStudy(project=tmp_path / "runs").result(str(path))
    stored = json.loads((record.folder / "decision.json").read_text(encoding="utf-8"))
    assert [one["verdict"] for one in stored["pairs"]] == ["cannot tell"] and "cannot tell" in record.sentences()[0]


def test_one_of_many_classes_is_held_against_the_rest(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.choice(["cat", "dog", "owl"], 60)
    p = rng.dirichlet([1, 1, 1], 60).round(3)
    held = columns(
        60, truth=truth.tolist(), **{f"net:{c}": list(map(str, p[:, k])) for k, c in enumerate(sorted({*truth}))}
    )
    data = predictions(sheet_of(held), Asked(positive="owl"))
    found = decision_curves.risks_of(data, "owl")
    assert found.positive == "owl" and (found.y_true == (truth == "owl")).all()
    assert found.methods["net"] == pytest.approx(data.methods["net"][..., 2])
    with pytest.raises(UserError, match="3 classes"):
        decision_curves.risks_of(data)
    with pytest.raises(UserError, match="no class named bat"):
        decision_curves.risks_of(data, "bat")


def test_of_two_classes_whose_names_do_not_say_it_the_one_to_detect_is_asked_for():
    held = columns(4, truth=["ill", "well"] * 2, **{"net:ill": ["0.5"] * 4, "net:well": ["0.5"] * 4})
    data = predictions(sheet_of(held))
    with pytest.raises(UserError, match="2 classes") as caught:
        decision_curves.risks_of(data)
    assert caught.value.fix == "positive=ill" and decision_curves.risks_of(data, "ill").positive == "ill"


def test_labels_are_calls_at_every_threshold():
    held = columns(8, truth=["ill", "well"] * 4, reader=["ill", "well", "ill", "ill"] * 2)
    found = decision_curves.risks_of(predictions(sheet_of(held), Asked(positive="ill")), "ill")
    assert found.called and (found.calls("reader", 0.05) == found.calls("reader", 0.95)).all()
    assert found.calls("reader", 0.9)[0].tolist() == [True, False, True, True] * 2


@pytest.mark.parametrize(
    "words, code",
    [
        (["threshold=0"], 2),
        (["threshold=100%"], 2),
        (["prevalence=0%"], 2),
        (["prevalence=1"], 2),
        (["low=5"], 2),
        (["low=40%", "high=10%"], 2),
        (["threshold=60%"], 2),
        (["positive=nobody"], 3),
        (["missing=maybe"], 2),
    ],
)
def test_what_cannot_be_decided_on_is_refused(tmp_path, capsys, words, code):
    path = table(tmp_path / "risks.csv", patients=10)
    assert main.run(["decision", str(path), *words, f"project={tmp_path}/runs"]) == code
    assert "  expected: " in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "text, code",
    [
        ("case,truth,net\n1,ill,0.5\n2,ill,0.7\n", 3),  # one class
        ("case,dice a,dice b\n1,0.5,0.6\n2,0.7,0.8\n", 3),  # no probabilities
        ("case,truth,net\n1,0,1.5\n2,1,7\n3,1,9\n", 3),  # scores
    ],
)
def test_a_table_without_risks_of_two_classes_is_refused(tmp_path, capsys, text, code):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    assert main.run(["decision", str(path), f"project={tmp_path}/runs"]) == code
    assert capsys.readouterr().err.strip()


def test_the_documentation_shows_what_is_printed():
    stored = roots.ROOT / "tests" / "stored" / "decision" / "risks.csv"
    page = (roots.ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    record = decided(stored, threshold="10%", low="2%", high="40%")
    for sentence in record.sentences()[:3]:
        assert sentence in page, sentence


def test_natural_frequencies_add_up():
    for prevalence in (0.001, 0.05, 0.478, 0.999):
        found = net_benefit.frequencies(0.873, 0.641, prevalence)
        assert found.found + found.missed == found.ill and found.found + found.alarms == found.called
        assert found.ill + found.alarms + found.spared == 1000 and min(found) >= 0


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The folder of a study with two methods, and its record."""
    folder = tmp_path_factory.mktemp("decision")
    path = table(folder / "risks.csv", second=True)
    return study.DecisionStudy(project=folder / "runs").result(str(path), low="2%", high="40%")


def shares(text):
    return [float(number) / 100 for number in re.findall(r"[\d.]+", text)]


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here: apt-get install chromium")
def test_in_a_browser_the_sliders_give_the_figures_of_python(page):
    made, file = page.made, page.folder / "report.html"
    with visiting(width=390) as visit:
        view = visit.page
        view.goto(file.absolute().as_uri())
        view.wait_for_selector("html[data-state=ready]", state="attached")
        assert view.inner_text("#people-result") == sliders.part(made, "")["text"]  # the script repeats the first state
        before = view.inner_text("#people-t")
        view.focus("#people-threshold")
        view.keyboard.press("ArrowRight")
        assert view.inner_text("#people-t") != before and view.get_attribute("#people-threshold", "aria-valuetext")
        assert view.get_attribute("#people-result", "aria-live") == "polite"
        for place, (position, prevalence) in enumerate([(4, 0.005), (30, 0.1), (80, 0.6), (98, 0.03)]):
            method = place % 2
            shown = [one.threshold for one in made.curves[0].rates]
            view.select_option("#people-method", str(method))
            view.locator("#people-threshold").fill(str(position))
            view.locator("#people-prevalence").fill(str(sliders.prevalences(made.prevalence).index(prevalence)))
            calls = made.risks.calls(made.curves[method].system, shown[position])
            found = classification.at_threshold(made.risks.y_true, calls, made.risks.groups, prevalence)
            names = ("sensitivity", "specificity", "positive predictive value", "negative predictive value")
            for key, name in zip(("sensitivity", "specificity", "ppv", "npv"), names, strict=True):
                one = found[name]
                ends = shares(view.inner_text(f"#people-{key}-interval"))
                assert ends == pytest.approx([one.low, one.high], abs=6e-4), (name, position, prevalence)
                value = view.inner_text(f"#people-{key}")
                assert value == "–" if math.isnan(one.value) else shares(value) == pytest.approx([one.value], abs=6e-4)
            counts = net_benefit.frequencies(found["sensitivity"].value, found["specificity"].value, prevalence)
            text = sliders.words(made)["result"].format(**counts._asdict())
            assert view.inner_text("#people-result") == text
            dots = (
                view.get_attribute("#people-alarms", "d").count("M"),
                view.get_attribute("#people-spared", "d").count("M"),
            )
            assert dots == (counts.alarms, counts.spared)
        assert view.evaluate("document.documentElement.scrollWidth") <= 390
        view.goto(file.with_name("report.ja.html").absolute().as_uri())
        view.wait_for_selector("html[data-state=ready]", state="attached")
        assert not visit.errors and visit.outside == [
            one.absolute().as_uri() for one in (file, file.with_name("report.ja.html"))
        ]
