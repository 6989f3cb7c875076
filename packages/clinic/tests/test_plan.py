"""Sample sizes are those of published examples, and keep what they promise in simulations."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from souron.actions.plan import PlanStudy, pilot, questions
from souron.cli import main
from souron.stats import sample_size
from souron.stats.intervals import proportion_interval
from souron.stats.sample_size import LinearPredictor
from souron.utils.messages import UserError, use_language


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURON_LANG", "en")


def answer(*given, **options):
    return PlanStudy(writes=False).result(*given, **options)


def test_sensitivity_and_specificity_need_what_buderers_formula_gives():
    """Sensitivity 0.9, specificity 0.85, prevalence 0.2, half-width 0.1: the example of the README of the R package
    SampleSizeDiagnostics (https://rdrr.io/cran/SampleSizeDiagnostics/f/README.md); the numbers are Buderer's formulas
    1.96^2 0.9 0.1 / 0.1^2 = 34.6 and 1.96^2 0.85 0.15 / 0.1^2 = 48.98 by hand."""
    options = {"sensitivity": 0.9, "specificity": 0.85, "prevalence": 0.2, "width": 0.1}
    assert sample_size.proportion(0.9, 0.1) == 35 and sample_size.proportion(0.85, 0.1) == 49
    made = answer(**options, interval="normal").plan
    assert made.criteria == {"sensitivity": 175, "specificity": 62}
    assert (made.patients, made.diseased(made.patients)) == (175, 35)
    assert answer(**options).plan.patients > 175  # Wilson's interval is wider here


def test_development_needs_what_the_authors_package_documents():
    """Riley et al. 2019 and 2020: 24 parameters, proportion 0.174, Cox-Snell R2 0.288 (Chagas disease). The counts of
    each criterion but the mean error, also for a c statistic of 0.89 in place of R2, stand in the tests of the Python
    package pmsampsize, https://github.com/RebeccaWhittle/pmsampsize; the abstract of https://doi.org/10.1002/sim.7992
    has EPP 4.8 without it. The mean error by hand: exp((-0.508 + 0.259 ln 0.174 + 0.504 ln 24 - ln 0.05) / 0.544)."""
    options = {"question": "development", "parameters": 24, "prevalence": 0.174}
    made = answer(**options, r2=0.288).plan
    assert list(made.criteria.values()) == [623, 662, 221, 801] and made.patients == 801
    assert made.diseased(662) == 116
    loose = answer(**options, r2=0.288, mean_error=0.1)
    assert loose.plan.patients == 662 and "4.8 for each parameter" in loose.sentences()[1]
    made = answer(**options, auc=0.89).plan
    assert list(made.criteria.values()) == [615, 660, 221, 801]
    unknown = answer(**options).plan.values
    assert questions.r2(unknown) == pytest.approx(0.15 * sample_size.largest_r2(0.174))
    assert sample_size.mean_error(10, 0.8) == sample_size.mean_error(10, 0.2)


@pytest.mark.parametrize(
    ("options", "strong", "many"),
    [({"auc": 0.89}, 1, 0), ({"auc": 0.8}, 0, 0), ({"r2": 0.288}, 1, 0), ({}, 0, 0), ({"parameters": 40}, 0, 1)],
    ids=str,
)
def test_a_strong_model_and_many_parameters_are_where_the_formulas_fail(options, strong, many):
    """Pavlou et al. 2024: the formula of the shrinkage holds below a c statistic of 0.8."""
    notes = answer(**{"question": "development", "prevalence": 0.174, **options}).notes()
    assert sum("Pavlou et al. 2024" in note for note in notes) == strong
    assert sum("at most 30 parameters" in note for note in notes) == many


def test_a_margin_is_planned_for_where_the_methods_are_equal():
    """Fifteen percent discordant, 2 points: (1.96 + 0.842)^2 0.15 / 0.02^2 = 2,943.3 pairs; ill are one in five."""
    options = {"question": "methods", "discordant": 0.15, "compared": "sensitivity", "margin": 2}
    made = answer(**options, difference=0)
    assert made.plan.criteria == {"non-inferiority": 2944 * 5} and "Liu et al. 2002" in made.sentences()[1]
    assert any(row[0] == "margin" for row in made.tables()[1].rows) and not made.notes()
    found = answer(**options, difference=0.05)
    assert found.plan.criteria == {"difference": 2345} and found.as_json()["margin"] == 2
    assert all(row[0] != "margin" for row in found.tables()[1].rows)
    assert any("not counted for it" in note for note in found.notes())
    with use_language("ja"):
        assert "2 パーセントポイント" in made.sentences()[1] and "{" not in made.sentences()[1]


def test_a_margin_is_kept_with_the_planned_power():
    """Equal methods, 15 % discordant, a margin of 4 points."""
    n = sample_size.not_inferior(0.15, 0.04)
    table = np.random.default_rng(7).multinomial(n, [0.075, 0.075, 0.85], 2000) / n
    apart, together = table[:, 0] - table[:, 1], table[:, 0] + table[:, 1]
    low = apart - 1.96 * np.sqrt((together - apart**2) / n)
    assert (low > -0.04).mean() == pytest.approx(0.8, abs=0.03)


def test_validation_needs_what_the_authors_example_does():
    """Mechanical heart valves (Riley et al. 2021): proportion 0.018, c statistic 0.8, log-odds with mean -5 and SD 2.5,
    width 1 for O/E. 905, 4544 and 4252 are in docs/example.ipynb of https://github.com/RebeccaWhittle/pmvalsampsize.
    There the standard error of O/E is searched in steps of 0.0001, and the slope simulated with a million cases."""
    made = answer(question="validation", prevalence=0.018, auc=0.8, lp_mean=-5, lp_sd=2.5, oe_width=1.0)
    counts = made.plan.criteria
    assert counts["c statistic"] == 4252
    assert counts["observed/expected"] == pytest.approx(905, abs=1)
    assert counts["calibration slope"] == pytest.approx(4544, rel=0.005)
    assert any("a prevalence of 5.2 %, not 1.8 %" in note for note in made.notes())


def test_mcnemars_test_needs_connors_number():
    """0.45 and 0.05 discordant: 23 (http://powerandsamplesize.com, after Connor 1987, p. 209);
    0.3 and 0.15: 155 (https://clinicaltrials-tools.vercel.app/calculators/mcnemar-test)."""
    assert sample_size.mcnemar(0.5, 0.4) == 23
    assert sample_size.mcnemar(0.45, 0.15) == 155
    among = answer(question="methods", discordant=0.5, difference=0.4, compared="sensitivity", prevalence=0.1).plan
    assert among.patients == 230
    few = answer(question="methods", discordant=0.5, difference=0.4, compared="specificity")
    assert few.plan.patients == 29 and any("About 12 discordant pairs" in note for note in few.notes())


def test_the_variance_of_an_auc_is_that_of_hanley_and_mcneil():
    """Their example: 109 images, 51 abnormal, area 0.893, standard error 0.032 (1982)."""
    assert math.sqrt(sample_size.auc_variance(0.893, 51, 58)) == pytest.approx(0.032, abs=0.001)
    one, other = 40, 60  # exact under the null, Mann and Whitney 1947
    assert sample_size.auc_variance(0.5, one, other) == pytest.approx((one + other + 1) / (12 * one * other))


def test_wilsons_interval_has_the_planned_half_width():
    random = np.random.default_rng(0)
    n = sample_size.proportion(0.9, 0.05, wilson=True)
    widths = [
        (found.high - found.low) / 2 for k in random.binomial(n, 0.9, 400) for found in [proportion_interval(k, n)]
    ]
    assert np.mean(widths) == pytest.approx(0.05, rel=0.05)


def scores(random, n, prevalence, aucs, together):
    """Normal scores of two methods on the same patients, (2, n), and who has the disease."""
    sick = random.random(n) < prevalence
    shared = random.normal(size=n)
    apart = [math.sqrt(together) * shared + math.sqrt(1 - together) * random.normal(size=n) for _auc in aucs]
    from scipy.special import ndtri

    return np.array([one + sick * math.sqrt(2) * ndtri(auc) for one, auc in zip(apart, aucs, strict=True)]), sick


def area(score, sick):
    from scipy.stats import rankdata

    n = sick.sum()
    return (rankdata(score)[sick].sum() - n * (n + 1) / 2) / (n * (len(sick) - n))


def test_an_auc_varies_as_planned():
    random, n = np.random.default_rng(1), sample_size.auc_precision(0.85, 0.3, 0.05)
    found = [area(score[0], sick) for score, sick in (scores(random, n, 0.3, [0.85], 0.0) for _i in range(300))]
    assert 1.96 * np.std(found) == pytest.approx(0.05, rel=0.15)  # exponential scores vary a little more


def test_two_correlated_aucs_are_told_apart_with_the_planned_power():
    random = np.random.default_rng(2)
    draws = [scores(random, 400, 0.3, [0.85, 0.75], 0.6) for _i in range(200)]
    pairs = np.array([[area(score, sick) for score in both] for both, sick in draws])
    together = float(np.corrcoef(pairs.T)[0, 1])
    n = sample_size.auc_difference(0.85, 0.75, together, 0.3)
    draws = [scores(random, n, 0.3, [0.85, 0.75], 0.6) for _i in range(400)]
    gaps = np.array([area(both[0], sick) - area(both[1], sick) for both, sick in draws])
    assert (gaps / gaps.std() > 1.96).mean() == pytest.approx(0.8, abs=0.08)


def test_mcnemars_test_has_the_planned_power():
    n = sample_size.mcnemar(0.2, 0.08)
    table = np.random.default_rng(3).multinomial(n, [0.14, 0.06, 0.8], 2000)
    statistic = (table[:, 0] - table[:, 1]) / np.sqrt(table[:, 0] + table[:, 1])
    assert (abs(statistic) > 1.96).mean() == pytest.approx(0.8, abs=0.03)


def test_net_benefit_and_slope_vary_as_planned():
    random, log_odds = np.random.default_rng(4), LinearPredictor.of(0.2, 0.8)
    sensitivity, specificity = log_odds.at(0.2)
    n = sample_size.net_benefit(sensitivity, specificity, 0.2, 0.2, 0.2)
    found, slopes = [], []
    for _i in range(400):
        value = random.normal(log_odds.mean, log_odds.sd, n)
        risk = 1 / (1 + np.exp(-value))
        sick = random.random(n) < risk
        treated = risk >= 0.2
        found.append(((treated & sick).mean() - (treated & ~sick).mean() * 0.25) / sick.mean())
        design = np.stack([np.ones(n), value])
        information = design * (risk * (1 - risk)) @ design.T  # one step of Newton from intercept 0, slope 1
        slopes.append(1 + np.linalg.solve(information, design @ (sick - risk))[1])
    assert 1.96 * np.std(found) == pytest.approx(0.1, rel=0.1)
    width = 2 * 1.96 * np.std(slopes)
    assert sample_size.calibration_slope(log_odds, width) == pytest.approx(n, rel=0.2)


def test_observed_over_expected_has_an_interval_of_the_width():
    n = sample_size.observed_expected(0.1, 0.2)
    error = math.sqrt(0.9 / (n * 0.1))
    assert math.exp(1.96 * error) - math.exp(-1.96 * error) == pytest.approx(0.2, rel=1e-3)


def test_several_images_of_a_patient_are_counted_by_the_design_effect():
    one = answer(width=0.1).plan
    alike = answer(width=0.1, images=4, icc=1).plan  # further images say nothing
    apart = answer(width=0.1, images=4).plan
    between = answer(width=0.1, images=4, icc=0.5).plan
    assert alike.patients == one.patients and alike.images == 4 * one.patients
    assert apart.patients == math.ceil(one.patients / 4)
    assert between.effect == 2.5 and between.patients == math.ceil(one.patients * 2.5 / 4)
    assert "design effect 2.5" in " ".join(answer(width=0.1, images=4, icc=0.5).sentences())
    assert any("independent" in note for note in answer(width=0.1, images=4).notes())
    for question in questions.QUESTIONS:
        single = answer(question=question).plan.patients
        assert answer(question=question, images=3, icc=0.4).plan.patients == pytest.approx(single * 0.6, abs=1)


@pytest.mark.parametrize(
    "options",
    [
        {"prevalence": 0},
        {"prevalence": 1},
        {"width": 0.5},
        {"width": -0.1},
        {"icc": -0.1},
        {"images": 0},
        {"level": 1},
        {"question": "auc", "auc": 0.5},
        {"question": "auc", "auc": 0.7, "null_auc": 0.8},
        {"question": "auc", "null_auc": 0.7, "width": 0.1},
        {"question": "auc", "power": 0.9},
        {"question": "two-aucs", "auc": 0.8, "other_auc": 0.8},
        {"question": "methods", "discordant": 0.1, "difference": 0.2},
        {"question": "methods", "difference": 0},
        {"question": "methods", "difference": 0, "margin": 0},
        {"question": "methods", "difference": 1e-6, "margin": 2},
        {"question": "methods", "compared": "speed"},
        {"question": "validation", "sensitivity": 0.8},
        {"question": "validation", "lp_mean": -2},
        {"question": "development", "parameters": -3},
        {"question": "development", "parameters": 2.5},
        {"question": "development", "r2": 0.7},
        {"question": "development", "r2": 0.1, "auc": 0.8},
        {"interval": "exact"},
    ],
    ids=str,
)
def test_what_cannot_be_planned_is_refused_with_what_is_expected(options):
    with pytest.raises(UserError) as caught:
        answer(**options)
    assert caught.value.expected


def test_an_option_of_another_question_is_refused_with_the_question_that_has_it():
    with pytest.raises(UserError, match="auc= does not belong to the question sensitivity") as caught:
        answer(auc=0.9)
    assert caught.value.fix == "souron plan question=auc auc=..." and "specificity" in caught.value.expected
    for question, asked in questions.QUESTIONS.items():
        for name in {name for one in questions.QUESTIONS.values() for name in one.defaults} - asked.defaults.keys():
            with pytest.raises(UserError, match=f"{name}= does not belong"):
                answer(question=question, **{name: 0.6})


def test_only_what_has_an_effect_is_an_assumption():
    assert "power" not in answer(question="auc").plan.values
    made = answer(question="auc", null_auc=0.7)
    assert "width" not in made.plan.values and "power of 80.0 %" in made.sentences()[1]
    assert "benefit_width" not in answer(question="validation").plan.values
    assert "net benefit" in answer(question="validation", threshold=0.2).plan.criteria


def test_every_option_is_one_of_a_question():
    from dataclasses import fields

    from souron.actions.plan import Options

    known = {name for one in questions.QUESTIONS.values() for name in one.defaults} | questions.COMMON.keys()
    assert {one.name for one in fields(Options)} == known | {"question"}
    assert known == questions.LIMITS.keys() | questions.CLOSED.keys() | questions.AMONG.keys()


@pytest.mark.parametrize("question", questions.QUESTIONS)
def test_more_is_needed_in_the_direction_that_is_harder(question):
    curve = answer(question=question).plan.curve
    counts = [count for _value, count in curve]
    assert len(curve) >= 5 and len(set(counts)) > 1
    if question in ("methods", "development"):
        assert counts == sorted(counts)
    if question == "two-aucs":
        assert counts == sorted(counts, reverse=True)


def test_the_page_and_the_json_hold_the_plan(capsys):
    words = ["plan", "sensitivity=0.9", "prevalence=0.2", "width=0.05", "margin=2", "--json"]
    assert main.run(words) == 0
    told = json.loads(capsys.readouterr().out)
    stored = json.loads(Path("runs/plan/sensitivity/plan.json").read_text("utf-8"))
    assert told == {**stored, "sentence": told["sentence"], "page": told["page"]}
    assert stored["margin"] == 2 and stored["patients"] == 705 and stored["diseased"] == 141
    assert stored["assumptions"]["prevalence"] == {"value": 0.2, "source": "option"}
    assert stored["assumptions"]["specificity"] == {"value": 0.9, "source": "default"}
    assert "705 patients (141 with the disease)" in stored["protocol"] and "Buderer 1996" in stored["protocol"]
    page = Path(told["page"]).read_text("utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert f"<blockquote>{stored['protocol']}</blockquote>" in page
    assert stored["protocol"] in page and "<img" in page and "Buderer 1996, https://doi.org" in page
    assert Path("runs/plan/sensitivity/report.ja.html").is_file()


@pytest.mark.parametrize("question", questions.QUESTIONS)
def test_each_question_has_words_in_both_languages(question):
    record = answer(question=question)
    for language in ("en", "ja"):
        with use_language(language):
            sentences = " ".join([record.page_title(), *record.sentences(), *record.notes()])
            assert f"{record.plan.patients:,}" in sentences and "{" not in sentences
            assert all("{" not in cell for table in record.tables() for row in table.rows for cell in row)


PATIENTS = 60


def folder(path, chance, labels, patients):
    """A run as ``souron train`` leaves it, as far as a pilot is read."""
    path.mkdir(parents=True)
    names = [f"{i}.png" for i in range(len(labels))]
    words = np.array(["normal", "lesion"])
    said = (chance > 0.5).astype(int)
    for file, head, rows in (
        ("folds.csv", ("file", "label", "group", "repeat 1"), zip(names, words[labels], patients, labels, strict=True)),
        (
            "predictions.csv",
            ("file", "label", "predicted", "probability"),
            zip(names, words[labels], words[said], np.maximum(chance, 1 - chance), strict=True),
        ),
    ):
        with (path / file).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([head, *rows])
    hit, passed = (said == labels)[labels == 1].mean(), (said == labels)[labels == 0].mean()
    value = {"low": 0, "high": 1, "n": 1}
    measures = {"sensitivity": {"value": hit, **value}, "specificity": {"value": passed, **value}}
    measures["AUC"] = {"value": area(chance, labels == 1), **value}
    (path / "receipt.json").write_text(json.dumps({"measures": measures}), encoding="utf-8")
    return str(path)


@pytest.fixture
def runs(tmp_path):
    random = np.random.default_rng(5)
    patients = np.repeat(np.arange(PATIENTS), 3)
    labels = (patients % 4 == 0).astype(int)
    own = random.normal(size=PATIENTS)[patients]
    log_odds = [2.4 * labels - 1.2 + own + random.normal(size=len(labels)) for _run in range(2)]
    return [
        folder(tmp_path / f"run{i}", 1 / (1 + np.exp(-one)), labels, [f"p{p}" for p in patients])
        for i, one in enumerate(log_odds)
    ]


def test_a_run_lends_the_plan_its_figures(runs):
    made = answer(runs[0], width=0.1).plan
    assert made.values["prevalence"] == 0.25 and made.values["images"] == 3
    assert 0.2 < made.values["icc"] < 0.8
    assert {made.sources[name] for name in ("sensitivity", "specificity", "prevalence", "images", "icc")} == {"pilot"}
    stated = answer(runs[0], width=0.1, prevalence=0.1).plan
    assert stated.values["prevalence"] == 0.1 and stated.sources["prevalence"] == "option"
    assert answer(runs[0]).notes() and answer(runs[0], question="auc").plan.sources["auc"] == "pilot"


def test_two_runs_lend_their_discordance_and_the_correlation_of_their_aucs(runs):
    made = answer(*runs, question="two-aucs").plan.values
    assert 0.2 < made["correlation"] < 0.95 and made["auc"] != made["other_auc"]
    found = pilot.read(runs)
    tables = [pilot.table(Path(run) / "predictions.csv", ()) for run in runs]
    apart = [one["predicted"] != other["predicted"] for one, other in zip(*tables, strict=True)]
    assert found["discordant"] == pytest.approx(np.mean(apart)) and "difference" not in found
    sick = [row["label"] == "lesion" for row in tables[0]]
    assert pilot.read(runs, "sensitivity")["discordant"] == pytest.approx(np.mean(np.array(apart)[sick]))
    planned = answer(*runs, question="methods", difference=0.02).plan
    assert (planned.sources["discordant"], planned.sources["difference"]) == ("pilot", "option")


def test_a_comparison_lends_the_discordance_of_its_two_best_systems(runs, tmp_path):
    import torch

    from souron.utils import files

    place = tmp_path / "compare"
    (place / "rounds").mkdir(parents=True)
    (place / "folds.csv").write_bytes((Path(runs[0]) / "folds.csv").read_bytes())
    chances = [[0.9, 0.2, 0.7, 0.4], [0.9, 0.8, 0.7, 0.1]]  # they differ on one of four cases
    tensors = {
        f"{name}/probability": torch.tensor([[1 - p, p] for p in chance])
        for name, chance in zip(("mlp", "cnn"), chances, strict=True)
    }
    files.write_tensors(place / "rounds" / "0.safetensors", tensors, {})
    rows = [{"system": name, "measure": "accuracy", "value": 0.8} for name in ("cnn", "mlp", "vit")]
    areas = [{"system": name, "measure": "AUC", "value": value} for name, value in (("mlp", 0.81), ("cnn", 0.86))]
    (place / "receipt.json").write_text(json.dumps({"rows": rows, "auc": {"rows": areas}}), encoding="utf-8")
    found = pilot.read([str(place)])
    assert found == {"auc": 0.86, "other_auc": 0.81, "discordant": 0.25, "images": 3.0, "prevalence": 0.25}
    assert "discordant" not in pilot.read([str(place)], "sensitivity")
    (place / "receipt.json").write_text(json.dumps({"rows": rows[:1]}), encoding="utf-8")
    with pytest.raises(UserError, match="no comparison of two systems"):
        pilot.read([str(place)])


def test_a_folder_that_is_no_pilot_is_refused(runs, tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match=r"receipt\.json|csv"):
            answer(str(path))
    labels = np.zeros(10, dtype=int)
    labels[:5] = 1
    other = folder(tmp_path / "other", np.linspace(0.1, 0.9, 10), labels, [f"p{i}" for i in range(10)])
    with pytest.raises(UserError, match="its test cases are not those of"):
        answer(runs[0], other)
    (Path(other) / "receipt.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match="it is no receipt"):
        answer(other)


def test_the_intraclass_correlation_is_that_of_the_model_that_made_the_values():
    random = np.random.default_rng(6)
    groups = np.repeat(np.arange(400), 3)
    values = math.sqrt(0.3) * random.normal(size=400)[groups] + math.sqrt(0.7) * random.normal(size=1200)
    assert sample_size.intraclass_correlation(values, groups) == pytest.approx(0.3, abs=0.06)
    assert sample_size.intraclass_correlation(values, np.arange(1200)) == 0


def test_the_correlation_of_images_is_that_within_a_label():
    """All images of the sick are wrong, all others right: the label explains it, not the patient."""
    groups = [f"p{i // 2}" for i in range(40)]
    truth = np.arange(40) < 10
    assert pilot.clusters((~truth).astype(float), truth, groups) == {"images": 2.0, "icc": 0.0}
    assert pilot.clusters((~truth).astype(float), truth, [f"p{i}" for i in range(40)]) == {}
