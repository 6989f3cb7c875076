"""External validation: a shift that exists is seen, one that does not is not, and the advice has its reasons."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import counting
import numpy as np
import pytest
import radiographs
import torch
from PIL import Image
from sklearn import model_selection

from souron import registry
from souron.actions.external import advice, sides
from souron.actions.external.advice import advise
from souron.cli import main
from souron.data.dataset import Dataset
from souron.evaluation import external
from souron.metrics import classification
from souron.runs import evaluate, train
from souron.stats import intervals, label_shift, two_samples
from souron.stats.records import Measure
from souron.utils import files
from souron.utils.messages import UserError


def measure(value, half=0.02, n=200, groups=None):
    return Measure(value, value - half, value + half, n, groups)


# statistics


def test_the_difference_of_two_proportions_has_newcombes_interval():
    """Newcombe (1998), table II, method 10: 56/70 - 48/80 has 0.0524 to 0.3339, 9/10 - 3/10 0.1705 to 0.8090."""

    def wilson(successes, n):
        return Measure(successes / n, *intervals._wilson(successes / n, n, 1.959964), n)

    for (a, m), (b, n), low, high in (((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)):
        found = two_samples.difference(wilson(b, n), wilson(a, m))
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_the_interval_of_a_difference_covers_the_truth():
    """Two AUCs of independent samples whose cases come in patients, of equal and of unequal truth."""
    random, covered = np.random.default_rng(3), 0
    for trial in range(200):
        found = []
        for gap in (1.4, 1.4 if trial % 2 else 0.7):
            y = np.repeat(random.integers(0, 2, 60), 2)
            own = np.repeat(random.normal(size=60), 2)
            score = gap * y + 0.7 * own + math.sqrt(1 - 0.49) * random.normal(size=120)
            chance = 1 / (1 + np.exp(-score))
            found.append(classification.auc(np.stack([1 - chance, chance], 1), y, np.repeat(np.arange(60), 2)))
        truth = 0.0 if trial % 2 else _area(0.7) - _area(1.4)
        shift = two_samples.difference(*found)
        covered += shift.low <= truth <= shift.high
    assert 180 <= covered <= 199


def _area(gap):
    from scipy.stats import norm

    return norm.cdf(gap / math.sqrt(2))


def test_an_unknown_measure_has_no_difference():
    found = two_samples.difference(Measure(math.nan, 0, 1, 0), measure(0.9))
    assert math.isnan(found.difference) and (found.low, found.high) == (-math.inf, math.inf)


def test_the_standardised_difference_is_that_of_a_hand_computation():
    """Means 40 and 50; variances 100 and 400, whose mean is 250."""
    assert two_samples.standardised_difference([30, 40, 50], [30, 50, 70]) == pytest.approx(10 / math.sqrt(250))
    assert two_samples.standardised_difference([5, 5], [5, 5]) == 0
    assert two_samples.standardised_difference([5, 5], [4, 4]) == -math.inf
    # two categories: 0.3 / sqrt((0.5 * 0.5 + 0.2 * 0.8) / 2)
    found = two_samples.categorical_difference("FFFFFMMMMM", "FFMMMMMMMM")
    assert found == pytest.approx(0.3 / math.sqrt((0.25 + 0.16) / 2))
    # three: T - C = (0.2, -0.1) of b and c; S by hand [[0.225, -0.085], [-0.085, 0.185]]
    three = two_samples.categorical_difference("aaaabbbccc", "aaabbbbbcc")
    one = np.array([[0.21, -0.09], [-0.09, 0.21]])
    other = np.array([[0.25, -0.1], [-0.1, 0.16]])
    apart = np.array([0.2, -0.1])
    assert three == pytest.approx(math.sqrt(apart @ np.linalg.inv((one + other) / 2) @ apart))
    assert two_samples.categorical_difference("aa", "bb") == math.inf


def test_the_energy_test_sees_a_shift_and_none_where_none_is():
    """About 5 % of 200 tests of one distribution are below 0.05; a standard error is 1.5 %."""
    random = np.random.default_rng(0)
    below = sum(
        two_samples.energy_test(random.normal(size=(20, 4)), random.normal(size=(25, 4)), permutations=99, seed=n).p
        <= 0.05
        for n in range(200)
    )
    assert 3 <= below <= 19
    rows = random.normal(size=(60, 4))
    assert two_samples.energy_test(rows[:30], rows[30:] + 1.0).p <= 0.002
    assert two_samples.energy_test(rows[:30], rows[30:] * 3).p <= 0.01  # equal means, more spread


def test_the_energy_test_exchanges_patients_not_images():
    """Images of a patient are alike: as independent images they would pass for a shift in most samples."""
    random, wrong, right = np.random.default_rng(1), 0, 0
    for seed in range(40):
        patients = [np.repeat(random.normal(size=(12, 3)), 8, 0) for _side in range(2)]
        rows = [own + 0.2 * random.normal(size=own.shape) for own in patients]
        names = [np.repeat(np.arange(12), 8).tolist()] * 2
        right += two_samples.energy_test(*rows, *names, permutations=99, seed=seed).p <= 0.05
        wrong += two_samples.energy_test(*rows, permutations=99, seed=seed).p <= 0.05
    assert right <= 6 < 20 <= wrong


def test_more_images_of_a_patient_are_no_shift():
    """One hospital takes one image of each patient, the other six: the distance is of patients, and unbiased."""
    random, found = np.random.default_rng(2), []
    for _trial in range(30):
        one = random.normal(size=(25, 3)) + random.normal(size=(25, 3))
        own = np.repeat(random.normal(size=(25, 3)), 6, 0) + random.normal(size=(150, 3))
        names = np.repeat(np.arange(25), 6).tolist()
        found.append(two_samples.energy_test(one, own, None, names, permutations=19).distance)
    assert abs(np.mean(found)) < 3 * np.std(found) / math.sqrt(30)


def test_the_energy_distance_is_that_of_its_definition():
    one, two = np.array([[0.0], [1.0]]), np.array([[3.0], [5.0]])
    spread = np.concatenate([one, two]).std()
    found = two_samples.energy_test(one, two, permutations=9)
    assert found.distance == pytest.approx((2 * 3.5 - 1 - 2) / spread)
    assert found.further == pytest.approx(2 * 3.5 / 3 - 1)
    with pytest.raises(ValueError, match="two patients"):
        two_samples.energy_test(one, two, None, ["a", "a"])


def shifted(prevalence, cases=2000, seed=0, prior=0.5, gap=2.0):
    """Calibrated probabilities of two classes at ``prior``, of cases with another ``prevalence``."""
    random = np.random.default_rng(seed)
    y = (random.random(cases) < prevalence).astype(int)
    x = gap * (y - 0.5) + random.normal(size=cases)
    p = 1 / (1 + np.exp(-(gap * x + math.log(prior / (1 - prior)))))
    return np.stack([1 - p, p], 1), y


@pytest.mark.parametrize("prior, prevalence", [(0.5, 0.1), (0.5, 0.8), (0.3, 0.3), (0.2, 0.6)])
def test_em_recovers_a_known_prevalence(prior, prevalence):
    p, y = shifted(prevalence, prior=prior, seed=4)
    [_none, found] = label_shift.estimated_prevalence(p, [1 - prior, prior])
    assert found.low < prevalence < found.high and abs(found.value - y.mean()) < 0.03
    if prior != prevalence:  # the mean of the probabilities is drawn towards the training's share
        assert abs(p[:, 1].mean() - prevalence) > 2 * abs(found.value - prevalence)


def test_the_interval_of_an_estimated_prevalence_counts_patients():
    p, _y = shifted(0.3, cases=60)
    once = label_shift.estimated_prevalence(p, [0.5, 0.5])[1]
    copies = np.repeat(p, 9, 0)
    many = label_shift.estimated_prevalence(copies, [0.5, 0.5], np.repeat(np.arange(60), 9).tolist())[1]
    assert many.groups == 60 and many.n == 540
    assert many.high - many.low == pytest.approx(once.high - once.low, rel=0.25)
    for given in ([0.5, 0.5, 0.0], [1.0, 0.0]):
        with pytest.raises(ValueError):
            label_shift.estimated_prevalence(p, given)


# side by side, case mix


def test_a_fall_is_told_by_the_direction_of_the_measure_and_not_from_five_patients():
    inside = {"accuracy": measure(0.9), "log loss": measure(0.2), "AUC": measure(0.9), "sensitivity": measure(0.9)}
    outside = {"accuracy": measure(0.7), "log loss": measure(0.5), "AUC": measure(0.91), "sensitivity": measure(0.7)}
    words = {one.name: one.word for one in external.side_by_side(inside, outside)}
    assert words == {"accuracy": "worse", "log loss": "not tested", "AUC": "cannot tell", "sensitivity": "worse"}
    better = external.side_by_side({"log loss": measure(0.5)}, {"log loss": measure(0.2)})
    assert [one.word for one in better] == ["better"]
    five = {"accuracy": measure(0.2, groups=5)}
    assert [one.word for one in external.side_by_side(inside, five)] == ["cannot tell"]


HEADLINE = ("accuracy", "AUC", "sensitivity", "specificity")


def test_headline_measures_are_corrected_for_their_number_and_the_others_not_tested():
    """A fall by 2.2 standard errors is one alone, none of four, and none of the three beside a clear one (Holm)."""
    inside, outside = ({name: measure(value) for name in (*HEADLINE, "log loss")} for value in (0.9, 0.868))
    [alone] = external.side_by_side({"AUC": inside["AUC"]}, {"AUC": outside["AUC"]})
    assert alone.word == "worse" and alone.shift.level == 0.95
    found = {one.name: one for one in external.side_by_side(inside, outside)}
    assert {found[name].word for name in HEADLINE} == {"cannot tell"} and found["log loss"].word == "not tested"
    assert {found[name].shift.level for name in HEADLINE} == {1 - 0.05 / 4} and found["log loss"].shift.level == 0.95
    assert all(found[name].shift.high > 0 for name in HEADLINE) and found["log loss"].shift.high < 0
    clear = {one.name: one for one in external.side_by_side(inside, outside | {"accuracy": measure(0.5)})}
    assert [clear[name].word for name in HEADLINE] == ["worse", *["cannot tell"] * 3]
    assert clear["AUC"].shift.level == pytest.approx(1 - 0.05 / 3)
    assert found["AUC"].as_json()["level"] == 1 - 0.05 / 4


def test_the_interval_of_a_shift_at_another_level_is_that_of_its_p():
    shift = two_samples.difference(measure(0.9), measure(0.868), 9)
    assert shift.at(1 - shift.p).high == pytest.approx(0, abs=1e-6)
    assert shift.at(0.95).low == pytest.approx(shift.low) and shift.at(0.99).low < shift.low
    few = (dict.fromkeys(HEADLINE, one) for one in (Measure(0.9, 0.5, 1.0, 6), Measure(0.2, 0.0, 0.6, 6)))
    assert {one.shift.low for one in external.side_by_side(*few)} == {-1}
    unknown = external.side_by_side({"AUC": measure(math.nan)}, {"AUC": measure(0.9)})
    assert [one.word for one in unknown] == ["cannot tell"] and unknown[0].as_json()["low"] is None


def test_an_auc_of_few_patients_of_a_class_gets_no_verdict():
    inside = {name: measure(0.95) for name in ("AUC", "sensitivity", "specificity")}
    outside = {"AUC": measure(0.6), "sensitivity": measure(0.6, n=5), "specificity": measure(0.6)}
    assert {one.name: one.word for one in external.side_by_side(inside, outside)} == {
        "AUC": "cannot tell",
        "sensitivity": "cannot tell",
        "specificity": "worse",
    }


def test_shared_columns_are_compared_by_what_they_hold():
    inside = {
        "age": ["50", "60", "70", ""],
        "sex": ["F", "F", "M", "M"],
        "site": ["A", "A", "A", "A"],
        "date": ["2021-01-01", "2021-01-03", "2021-01-02", "2021-01-02"],
        "name": [f"case {n}" for n in range(4)],
        "own": ["x", "y", "x", "y"],
        "visit": ["2021-01-01", "NaT", "2021-01-01", "2021-01-02"],
    }
    outside = {
        "age": ["60", "70", "80", "70"],
        "sex": ["F", "M", "M", "M"],
        "site": ["D", "D", "E", "E"],
        "date": ["2022-01-01", "2022-01-03", "2022-01-02", "2022-01-02"],
        "name": [f"other {n}" for n in range(40)],
        "empty": ["", "", "", ""],
        "visit": ["2021-01-01", "2021-01-01", "2021-01-02", "2021-01-02"],
    }
    found = {one.column: one for one in external.case_mix(inside, outside)}
    assert list(found) == ["age", "sex", "date", "visit"]
    assert not found["visit"].numeric
    assert found["age"].numeric and found["age"].missing == (0.25, 0.0)
    assert found["age"].difference == pytest.approx(10 / math.sqrt((100 + 200 / 3) / 2))
    assert found["age"].internal == {"mean": 60.0, "sd": 10.0}
    assert not found["sex"].numeric and found["sex"].external == {"F": 0.25, "M": 0.75}
    assert found["date"].dates and found["date"].difference > 100
    assert external.case_mix({}, outside) == []


def test_a_sample_of_cases_keeps_patients_whole_and_follows_the_seed():
    names = [f"p{n // 4}" for n in range(400)]
    cases = Dataset("x", torch.zeros(400, 1, 2, 2), torch.zeros(400).long(), ("a",), list(map(str, range(400))), names)
    some = external.some_patients(cases, 100, 3)
    assert len(some) == 100 and len(set(some.group)) == 25
    assert list(some.file) == list(external.some_patients(cases, 100, 3).file)
    assert list(some.file) != list(external.some_patients(cases, 100, 4).file)


# advice


def change(internal, outside, half=0.01):
    return external.side_by_side({"AUC": measure(internal, half)}, {"AUC": measure(outside, half)})[0]


def line(intercept=0.0, slope=1.0, half=0.1):
    return {"intercept": measure(intercept, half), "slope": measure(slope, half)}


def words(found):
    return {one.action: one.word for one in found}, advice.headline(found)


def test_probabilities_that_are_off_ask_for_recalibration_where_the_auc_holds():
    found = advise(change(0.9, 0.9), line(slope=0.5), 0.3, pytest.fail, 100)
    assert words(found) == ({"recalibrate": "yes", "refit": "no", "retrain": "no"}, "recalibrate")
    assert found[0].patients == advice.calibration_patients(0.3, 0.9)
    found = advise(change(0.9, 0.9), line(intercept=-1.0), 0.3, pytest.fail, 100)
    assert words(found)[1] == "recalibrate"


def test_nothing_is_advised_where_everything_holds_or_nothing_can_be_told():
    found = advise(change(0.9, 0.9), line(), 0.3, pytest.fail, 100)
    assert words(found) == ({"recalibrate": "no", "refit": "no", "retrain": "no"}, "none")
    found = advise(change(0.9, 0.9), line(half=0.9), 0.3, pytest.fail, 100)
    assert words(found)[1] == "cannot tell" and found[0].why == "wide line" and found[0].patients
    found = advise(change(0.9, 0.85, half=0.1), line(half=0.9), 0.3, pytest.fail, 100)
    assert set(words(found)[0].values()) == {"cannot tell"}
    found = advise(change(0.9, 0.7), line(), 0.3, lambda: None, 100)
    assert words(found)[0]["retrain"] == "cannot tell" and found[1].why == "few"
    assert advise(change(0.9, 0.9), None, 0.3, pytest.fail, 100)[0].why == "no line"


def test_a_lost_order_asks_for_a_new_head_if_one_regains_it_and_else_for_training():
    found = advise(change(0.9, 0.7), line(slope=0.5), 0.3, lambda: measure(0.88), 100)
    assert words(found) == ({"recalibrate": "no", "refit": "yes", "retrain": "no"}, "refit")
    assert found[1].patients == advice.development(0.3, 0.88) and found[0].why == "order first"
    found = advise(change(0.9, 0.7), line(), 0.3, lambda: measure(0.75), 248)
    assert words(found) == ({"recalibrate": "no", "refit": "no", "retrain": "yes"}, "retrain")
    assert found[2].patients == 248


# a run


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    """A run, the same hospital's other patients, and another hospital's: darker, noisier, rarer disease."""
    root = tmp_path_factory.mktemp("hospitals")
    radiographs.radiographs(root / "own", patients=90, side=64)
    own = root / "own/labels.csv"
    header, *rows = own.read_text("utf-8").splitlines()
    parts = [("train", "val", "test")[(number > 40) + (number > 50)] for number in map(_number, rows)]
    lines = [f"{header},part", *(f"{row},{part}" for row, part in zip(rows, parts, strict=True))]
    own.write_text("\n".join(lines) + "\n", "utf-8")
    radiographs.radiographs(root / "same", patients=50, seed=7, side=64, letter="Q")
    radiographs.radiographs(root / "other", patients=50, seed=8, side=64, sites="D,E", letter="H", ill=0.2)
    record = train.train(
        "cnn", root / "own/labels.csv", budget="20ep", project=str(root / "runs"), folds=1, side=32, rate=0.01
    )
    return root, record.folder


def _number(row):
    """Return the number of a row's patient."""
    return int(row.split(",")[2][1:])


def flat(thing):
    """Return the numbers and words of nested dictionaries, in order."""
    return [one for value in thing.values() for one in flat(value)] if isinstance(thing, dict) else [thing]


def same(one, other):
    """Compare both but for rounding: a receipt's figures were computed in other batches."""
    pairs = zip(flat(one), flat(other), strict=True)
    return all(a == (pytest.approx(b, abs=1e-6) if isinstance(b, float) else b) for a, b in pairs)


def external_record(hospitals, data, **options):
    root, folder = hospitals
    study = registry.load_action("external")(writes=False)
    return study.result(str(folder), data=str(root / data), **options)


def test_another_scanner_is_a_shift_of_inputs_and_the_same_hospital_is_none(hospitals):
    same = external_record(hospitals, "same/labels.csv")
    other = external_record(hospitals, "other/labels.csv")
    assert other.inputs.everything.p <= 0.01 < 0.05 < same.inputs.everything.p
    assert other.inputs.everything.further > 2 * max(same.inputs.everything.further, 0.01)
    assert set(other.inputs.classes) <= {"caries", "sound"}
    assert list(other.sites) == ["D", "E"] and list(same.sites) == ["A", "B", "C"]
    assert {one.column for one in same.mix} == {"sex", "age", "date"}
    assert max(abs(one.difference) for one in same.mix) < 0.5
    [caries] = [one for one in other.prevalence if one.name == "caries"]
    assert caries.external.value < caries.internal.value and caries.estimated is not None


def test_the_record_is_printed_written_and_read_again(hospitals, tmp_path, capsys):
    root, folder = hospitals
    words_given = ["external", str(folder), f"data={root / 'other/labels.csv'}", f"project={tmp_path}"]
    assert main.run([*words_given, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    measured = evaluate.examine(folder, root / "other/labels.csv").measures
    found = told["external"]["measures"]
    assert found["accuracy"]["external"]["value"] == measured["accuracy"].value
    assert found["accuracy"]["internal"]["value"] == evaluate.examine(folder).measures["accuracy"].value
    assert found["accuracy"]["low"] <= found["accuracy"]["difference"] <= found["accuracy"]["high"]
    assert told["advice"]["action"] in ("recalibrate", "refit", "retrain", "none", "cannot tell")
    page = Path(told["page"]).read_text("utf-8")
    assert page.count("<h2 id=") == 7 and page.count("<img") == 3
    assert Path(told["page"]).with_name("report.ja.html").is_file()
    stored = json.loads(Path(told["page"]).with_name("external.json").read_text("utf-8"))
    assert stored["inputs"]["everything"]["p"] == told["inputs"]["everything"]["p"]
    assert main.run(words_given) == 0
    out = capsys.readouterr().out
    assert "Case mix" in out and "Updates" in out and "energy distance" in out


def test_val_prints_both_sides_and_the_same_figures(hospitals, capsys):
    root, folder = hospitals
    words_given = ["val", str(folder), f"data={root / 'other/labels.csv'}"]
    assert main.run([*words_given, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    record = external_record(hospitals, "other/labels.csv")
    assert same(told["external"], record.as_json()["external"])
    assert main.run(words_given) == 0
    out = capsys.readouterr().out
    assert "internal" in out and "external" in out and told["external"]["sentence"].split()[0] in out
    assert main.run([*words_given, "prevalence=0.1", "--json"]) == 0
    asked = json.loads(capsys.readouterr().out)["external"]["measures"]["positive predictive value"]
    inside = evaluate.examine(folder, prevalence=0.1).measures["positive predictive value"]
    assert asked["internal"]["value"] == inside.value
    assert main.run(["val", str(folder), "--json"]) == 0
    assert "external" not in json.loads(capsys.readouterr().out)


def test_cases_without_labels_are_compared_by_their_inputs_and_estimated(hospitals, tmp_path):
    root, folder = hospitals
    table = (root / "other/labels.csv").read_text("utf-8").splitlines()
    rows = [line.split(",") for line in table]
    bare = root / "other/unlabelled.csv"
    bare.write_text("\n".join(",".join([row[0], *row[2:]]) for row in rows) + "\n", "utf-8")
    record = external_record(hospitals, "other/unlabelled.csv")
    known = external_record(hospitals, "other/labels.csv")
    assert not record.changes and not record.advice and record.external.truth is None
    assert "no labels" in record.sentences()[0]
    assert record.inputs.everything == known.inputs.everything
    assert [one.estimated for one in record.prevalence] == [one.estimated for one in known.prevalence]
    assert [one.external for one in record.prevalence] == [None, None]
    loose = tmp_path / "loose"
    loose.mkdir()
    for number in range(6):
        Image.open(root / "other" / rows[number + 1][0]).save(loose / f"{number}.png")
    few = external_record((tmp_path, folder), "loose")
    assert few.external.truth is None and len(few.external.cases) == 6
    assert few.as_json()["labels"] is False and not few.mix


def test_five_patients_get_no_verdict_but_are_shown(hospitals):
    root, _folder = hospitals
    lines = (root / "other/labels.csv").read_text("utf-8").splitlines()
    names = dict.fromkeys(line.split(",")[2] for line in lines[1:])
    five = set(list(names)[:5])
    chosen = [line for line in lines[1:] if line.split(",")[2] in five]
    (root / "other/five.csv").write_text("\n".join([lines[0], *chosen]) + "\n", "utf-8")
    record = external_record(hospitals, "other/five.csv")
    assert {one.word for one in record.changes} == {"cannot tell", "not tested"}
    assert any("Fewer than six" in note for note in record.notes())
    assert not [one for one in record.advice if one.word == "yes" and one.action != "recalibrate"]


@pytest.mark.parametrize(
    "content, code", [("one", "one class"), ("empty", "no image"), ("lion", "labels"), ("own", "leak")]
)
def test_what_cannot_be_compared_is_refused_as_before(hospitals, tmp_path, content, code):
    root, folder = hospitals
    there = tmp_path / "data"
    there.mkdir()
    if content in ("one", "lion"):
        for name in {"one": ["sound"], "lion": ["sound", "lion"]}[content]:
            (there / name).mkdir()
            for number in range(3):
                noise = np.random.default_rng(number + len(name)).integers(0, 255, (64, 64), np.uint8)
                Image.fromarray(noise).save(there / name / f"{number}.png")
    data = there if content != "own" else root / "own/copy.csv"
    if content == "own":
        data.write_text((root / "own/labels.csv").read_text("utf-8"), "utf-8")
    with pytest.raises(UserError) as caught:
        registry.load_action("external")(writes=False).result(str(folder), data=str(data))
    assert caught.value.code == code


def test_the_runs_own_data_and_no_data_are_refused(hospitals):
    root, folder = hospitals
    study = registry.load_action("external")(writes=False)
    with pytest.raises(UserError, match="data= is missing"):
        study.result(str(folder))
    with pytest.raises(UserError, match="own data"):
        study.result(str(folder), data=str(root / "own/labels.csv"))


def test_without_the_runs_own_data_its_receipt_stands_for_it(hospitals, tmp_path):
    """The run alone was sent to the other hospital."""
    root, _folder = hospitals
    whole = external_record(hospitals, "other/labels.csv")
    (root / "own").rename(root / "away")
    try:
        record = external_record(hospitals, "other/labels.csv")
    finally:
        (root / "away").rename(root / "own")
    assert same(record.as_json()["external"], whole.as_json()["external"])
    assert record.inputs is None and any("receipt" in note for note in record.notes())
    assert record.lines[0]["slope"].value == pytest.approx(whole.lines[0]["slope"].value, abs=1e-5)
    assert [one.word for one in record.advice] == [one.word for one in whole.advice]


def test_cases_that_the_final_network_was_trained_on_do_not_stand_for_new_ones(hospitals, tmp_path, monkeypatch):
    """A cross-validated run tests every case, but its final network was trained on them."""
    root, _folder = hospitals
    fast = {"budget": "1ep", "folds": 2, "repeats": 1, "learning_curve": 0, "side": 16}
    record = train.train("cnn", root / "same/labels.csv", project=str(tmp_path), **fast)
    side = sides.internal(record.folder)
    rows = [row.split(",") for row in (record.folder / "split.csv").read_text("utf-8").splitlines()]
    validated = {row[0] for row in rows if row[-1] == "val"}
    monkeypatch.setattr(sides, "FEWEST_HELD_OUT", 5)
    assert set(sides.held_out(record.folder, side).file) == validated < set(side.cases.file)
    moved = evaluate.at_final_threshold(record.folder, sides.run_folder.read_args(record.folder))
    assert moved["specificity"] != evaluate.internal_measures(record.folder, {})["specificity"]
    outside = evaluate.examine(record.folder, root / "other/labels.csv")
    assert moved.items() <= side.measures.items() and moved.items() <= outside.internal.items()
    assert any("final network's threshold" in note for note in outside.notes)
    monkeypatch.setattr(sides, "FEWEST_HELD_OUT", 1000)
    assert sides.held_out(record.folder, side) is None
    frozen = sides.run_folder.read_args(record.folder) | {"freeze": True}
    monkeypatch.setattr(sides.run_folder, "read_args", lambda _folder: frozen)
    assert sides.held_out(record.folder, side) is side.cases


def test_figures_at_a_threshold_are_those_at_the_final_networks_on_both_sides(tmp_path):
    """Folds with thresholds of 0.2, a final network with one of 0.5: 0.4 would be positive on one side alone."""
    chance = np.array([0.1, 0.3, 0.6, 0.4, 0.7, 0.9])
    rows = [f"{n}.png,{'ill' if n > 2 else 'sound'},p{n}" for n in range(6)]
    (tmp_path / "folds.csv").write_text("\n".join(["file,label,group", *rows]) + "\n", "utf-8")
    (tmp_path / "args.yaml").write_text("seen:\n  labels: [ill, sound]\n", "utf-8")
    tensors = {
        "0:probability": np.stack([chance, 1 - chance], 1),
        "0:threshold": np.full(6, 0.2),
        "training": [[1, 2] * 3],
    }
    about = {"decision": {"threshold": 0.5}, "learnt_from": []}
    files.write_tensors(tmp_path / evaluate.ANSWERS, {n: torch.tensor(one) for n, one in tensors.items()}, about)
    found = evaluate.at_final_threshold(tmp_path, {"positive": "ill"})
    assert found["sensitivity"].value == pytest.approx(2 / 3) == found["specificity"].value
    assert found["sensitivity"].groups == 3
    rare = evaluate.at_final_threshold(tmp_path, {"positive": "ill", "prevalence": 0.01})
    assert rare["positive predictive value"].value < 0.1 < found["positive predictive value"].value
    (tmp_path / "folds.csv").unlink()
    assert evaluate.at_final_threshold(tmp_path, {}) == {}


def test_another_task_shows_its_measures_side_by_side():
    found = external.side_by_side(
        {"mean Dice": Measure(0.9, 0.88, 0.92, 40), "HD95": Measure(4.0, 3.0, 5.0, 40)},
        {"mean Dice": Measure(0.8, 0.78, 0.83, 30), "HD95": Measure(9.0, 7.0, 12.0, 30)},
    )
    assert [one.word for one in found] == ["worse", "worse"]


def two_classes(patients=40, each=2):
    """Cases of two classes whose patients have several, and what a last layer receives."""
    label = torch.arange(patients).remainder(2).repeat_interleave(each)
    names = [f"p{row // each}" for row in range(patients * each)]
    cases = Dataset(
        "x", torch.zeros(len(label), 1, 2, 2), label, ("a", "b"), [f"{k}.png" for k in range(len(label))], names
    )
    rows = np.random.default_rng(0).normal(size=(len(label), 3)) + 0.5 * label.numpy()[:, None]
    return cases, rows


def test_whatever_is_drawn_for_the_inputs_follows_the_seed_and_counts_patients(monkeypatch):
    cases, rows = two_classes()
    seeds, units = [], []
    monkeypatch.setattr(external, "vectors", lambda _system, _cases: rows)
    monkeypatch.setattr(external, "some_patients", lambda some, _most, seed: seeds.append(seed) or some)

    def tested(_one, _other, *given, seed):
        seeds.append(seed)
        units.extend(len(set(each)) for each in given)

    monkeypatch.setattr(two_samples, "energy_test", tested)
    monkeypatch.setattr(external, "InputShift", lambda *given: given)
    tested_all = external._tested
    monkeypatch.setattr(external, "_tested", lambda *given: tested_all(*given) or "a test")
    external.input_shift(None, cases, cases, 100, seed=7)
    assert seeds == [7] * 5 and units == [40, 40, 20, 20, 20, 20]
    one_patient = replace(cases, group=["p"] * len(cases))
    assert tested_all([rows, rows], [cases, one_patient], 0) is None and len(seeds) == 5


def test_a_side_has_the_patients_of_its_record(tmp_path):
    cases, _rows = two_classes()
    record = SimpleNamespace(
        test=cases, measures={}, model=None, notes=[], unlike=None, answers=[{}], warnings=[], folder=None
    )
    assert sides.of_record(record).units == cases.units


def test_a_new_head_is_tried_by_patients_and_follows_the_seed(monkeypatch):
    cases, rows = two_classes(2 * advice.FEWEST)
    folds = []

    class Folds(model_selection.StratifiedGroupKFold):
        def split(self, given, labels, units):
            folds.append((self.random_state, len(set(units))))
            return super().split(given, labels, units)

    monkeypatch.setattr(model_selection, "StratifiedGroupKFold", Folds)
    monkeypatch.setattr(external, "vectors", lambda _system, some: rows[: len(some)])
    found = advice.refitted_head(None, cases, 3)
    assert folds == [(3, 40)] and found.groups == 40 and found == advice.refitted_head(None, cases, 3)
    assert advice.refitted_head(None, cases.only(range(78)), 3) is None, "19 patients of a class"
    monkeypatch.setattr(external, "some_patients", lambda some, _most, seed: folds.append(seed) or some)
    advice.refitted_head(None, cases, 4)
    assert folds[-2:] == [4, (4, 40)]


@pytest.fixture
def compared(monkeypatch, tmp_path):
    """A study of the same cases on both sides, and what was drawn for it with which seed."""
    from souron.actions import external as study

    cases, rows = two_classes()
    cases = replace(cases, columns={"site": ["north", "south"] * 40})
    sure = 1 / (1 + np.exp(-rows.sum(1)))
    probability = np.stack([1 - sure, sure], 1)[None]
    truth = cases.target.numpy()
    auc = classification.auc(probability, truth, cases.units)
    side = sides.Side({"AUC": auc}, cases.classes, probability, None, truth, cases.units, cases)
    seeds, units = [], []

    def estimated(_probability, counts, groups, seed):
        seeds.append(seed)
        units.append(groups)
        return [None] * len(counts)

    monkeypatch.setattr(study, "estimated_prevalence", estimated)
    monkeypatch.setattr(study.comparison, "input_shift", lambda *given: seeds.append(given[-1]))
    monkeypatch.setattr(study.advice, "refitted_head", lambda _model, _cases, seed: seeds.append(seed))
    monkeypatch.setattr(study.advice, "advise", lambda *given: given[3]() or [])
    monkeypatch.setattr(sides, "positive", lambda *_given: 1)
    monkeypatch.setattr(sides, "held_out", lambda _folder, side: side.cases)
    monkeypatch.setattr(sides, "training_labels", lambda *_given: {"a": 1, "b": 1})
    record = study.compare(tmp_path, side, side, study.Options(seed=7))
    return record, seeds, units, cases


def test_whatever_a_study_draws_follows_its_seed(compared):
    _record, seeds, units, cases = compared
    assert seeds == [7, 7, 7] and units == [cases.units]


def test_every_interval_of_both_sides_counts_patients(compared):
    record = compared[0]
    found = dict(counting.intervals([record.prevalence, record.sites, record.lines]))
    assert len(found) >= 10 and {measure.groups for measure in found.values()} == {40}
    assert record.as_json()["patients"] == 40 and any(fact.value == "40" for fact in record.facts())


def test_a_seed_draws_the_exchanges_and_the_samples():
    random = np.random.default_rng(0)
    rows = random.normal(size=(30, 2))
    first, again, other = (two_samples.energy_test(rows[:15], rows[15:], permutations=99, seed=n).p for n in (1, 1, 2))
    assert first == again != other
    p, _y = shifted(0.3, cases=60)
    first, again, other = (label_shift.estimated_prevalence(p, [0.5, 0.5], seed=n)[1] for n in (1, 1, 2))
    assert first == again != other and first.value == other.value


def test_the_smaller_side_tells_the_degrees_of_freedom():
    [one] = external.side_by_side({"accuracy": measure(0.9, n=50)}, {"accuracy": measure(0.8, n=300, groups=20)})
    assert one.shift.freedom == 19


def test_a_column_and_a_sample_of_just_the_bound_are_compared():
    most = [f"value {n}" for n in range(external.MOST_VALUES)]
    found = external.case_mix({"age": ["1", "2"], "of": most}, {"age": ["2", "3"], "of": most})
    assert [(one.column, one.numeric) for one in found] == [("age", True), ("of", False)]
