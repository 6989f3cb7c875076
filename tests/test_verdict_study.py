"""A verdict on anybody's predictions: what a table holds is found, said, or asked for."""

import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from judged import judge
from PIL import Image

import souron
from souron.actions.verdict import verdict
from souron.cli import main
from souron.data import coco_results, mask_folders, prediction_table, predictions
from souron.data.prediction_table import sheet_of
from souron.evaluation import method_verdict
from souron.stats import margin
from souron.stats.verdict import difference
from souron.utils import files
from souron.utils.messages import UserError

NAMES = ("benign", "malignant")


def columns(cases=200, per_patient=2, seed=0, rates=(0.95, 0.7)):
    """Labels of methods that are right with these probabilities."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, cases)
    table = {
        "case": [f"c{n}" for n in range(cases)],
        "truth": [NAMES[c] for c in y],
        "patient": [f"p{n // per_patient}" for n in range(cases)],
    }
    for place, rate in enumerate(rates):
        right = random.random(cases) < rate
        table[["unet", "resnet", "vit"][place]] = [NAMES[c if one else 1 - c] for c, one in zip(y, right, strict=True)]
    return table


def scored(cases=200, seed=0, gaps=(3.0, 1.0)):
    """Probabilities of the positive class, per patient two cases."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, cases)
    table = {"case_id": range(cases), "ground_truth": y, "patient": [n // 2 for n in range(cases)]}
    for place, gap in enumerate(gaps):
        table[f"alg_{place}"] = (1 / (1 + np.exp(-gap * (2 * y - 1) / 2 - random.normal(size=cases)))).round(4)
    return table


def overlaps(cases=100, seed=0, middles=(0.9, 0.8)):
    random = np.random.default_rng(seed)
    table = {"case": range(cases)}
    for place, middle in enumerate(middles):
        table[f"method {place}"] = np.clip(random.normal(middle, 0.05, cases), 0, 1).round(3)
    return table


def write(path, table, delimiter=",", encoding="utf-8", comma=False):
    rows = [list(table), *zip(*table.values(), strict=True)]
    text = "\n".join(delimiter.join(str(cell).replace(".", "," if comma else ".") for cell in row) for row in rows)
    path.write_text(text + "\n", encoding=encoding)
    return path


def refused(table, **options):
    with pytest.raises(UserError) as caught:
        verdict(table, **options)
    return caught.value


def test_labels_are_judged_by_accuracy_with_intervals_by_patients():
    record = verdict(columns())
    assert record.data.kind == "labels" and record.ranking.metric.name == "accuracy"
    [pair] = record.ranking.verdicts
    assert (pair.a, pair.verdict, pair.b) == ("unet", "better", "resnet")
    measure = record.ranking.methods[0].measure
    assert (measure.n, measure.groups) == (200, 100)
    assert [each.metric.name for each in record.others.values()] == ["sensitivity", "specificity", "balanced accuracy"]
    assert record.data.taken["patient"] == "group" and record.data.taken["unet"] == "labels"


def test_it_is_the_verdict_of_a_comparison():
    """Compare the pairs of three methods with those of ``ranking.rank`` on the same scores."""
    table = columns(rates=(0.9, 0.8, 0.84))
    scores = {
        name: np.array([a == b for a, b in zip(table[name], table["truth"], strict=True)], float)
        for name in ("unet", "resnet", "vit")
    }
    record = verdict(table)
    order = [one.system for one in record.ranking.methods]
    assert list(record.ranking.verdicts) == [
        one if one.seeds_needed is None else None for one in judge(scores, names=order, groups=table["patient"])
    ]


def test_clustered_cases_are_not_counted_as_so_many_patients():
    """Ten copies of each case are worth one."""
    table = columns(60, 1, rates=(0.9, 0.85))
    many = {name: [cell for cell in cells for _copy in range(10)] for name, cells in table.items()}
    many["case"] = range(600)
    once, copied = verdict(table), verdict(many)
    widths = [one.ranking.methods[0].measure for one in (once, copied)]
    assert widths[1].high - widths[1].low > 0.8 * (widths[0].high - widths[0].low)
    assert once.ranking.verdicts[0].verdict == copied.ranking.verdicts[0].verdict


def test_claims_reloadeds_columns_and_one_probability_column_are_read():
    record = verdict(scored())
    assert record.data.kind == "probability" and record.ranking.metric.name == "AUC"
    assert record.data.positive == 1 and list(record.data.methods) == ["alg_0", "alg_1"]
    assert record.ranking.verdicts[0].verdict == "better"
    from sklearn.metrics import log_loss, roc_auc_score

    table = scored()
    values = {one.system: one.measure.value for one in record.ranking.methods}
    assert values["alg_0"] == pytest.approx(roc_auc_score(table["ground_truth"], table["alg_0"]))
    losses = next(each for each in record.others.values() if each.metric.name == "log loss")
    found = next(one.measure.value for one in losses.methods if one.system == "alg_1")
    assert found == pytest.approx(log_loss(table["ground_truth"], table["alg_1"]))


def test_the_positive_class_may_be_the_first():
    table = scored()
    table["ground_truth"] = ["abnormal" if one else "normal" for one in table["ground_truth"]]
    value = verdict(table).ranking.methods[0].measure.value
    assert value == pytest.approx(verdict(scored()).ranking.methods[0].measure.value) and value > 0.9


def test_probabilities_of_each_class_are_read():
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 150)
    names = np.array(["cat", "dog", "owl"])
    table = {"case": range(150), "truth": names[y]}
    for method, gap in (("a", 3.0), ("b", 0.5)):
        p = np.exp(random.normal(size=(150, 3)) + gap * np.eye(3)[y])
        p = (p / p.sum(1, keepdims=True)).round(4)
        table |= {f"{method}:{name}": p[:, place] for place, name in enumerate(names)}
    record = verdict(table)
    assert record.data.kind == "probability" and record.ranking.metric.name == "accuracy"
    assert record.ranking.verdicts[0].verdict == "better" and record.data.taken["a:cat"] == "probability"
    expected = np.mean(
        [names[np.argmax([table[f"a:{name}"][k] for name in names])] == table["truth"][k] for k in range(150)]
    )
    assert record.ranking.methods[0].measure.value == pytest.approx(expected)


def test_dice_errors_and_ratings_have_their_direction():
    table = overlaps()
    assert verdict(table, kind="dice").ranking.methods[0].system == "method 0"
    record = verdict(table, kind="error")
    assert record.ranking.methods[0].system == "method 1" and not record.ranking.metric.higher_is_better
    assert "mm" in record.sentences()[0]
    points = {"case": range(30), "a": [5, 4] * 15, "b": [3, 4] * 15}
    assert verdict(points, kind="rating").ranking.methods[0].system == "a"


def test_a_column_that_could_be_two_things_is_asked_about():
    error = refused(overlaps())
    assert error.code == "two readings" and "kind=dice" in error.fix and "kind=error" in error.fix
    assert verdict({("dice " + name if name != "case" else name): cells for name, cells in overlaps().items()})
    random = np.random.default_rng(0)
    numbers = {"case": range(40), "truth": [0, 1] * 20, "a": random.uniform(0, 30, 40), "b": random.uniform(0, 30, 40)}
    assert refused(numbers).fix == "kind=score kind=error"
    assert verdict(numbers, kind="score").ranking.metric.name == "AUC"
    numbers["a"] = numbers["a"] - 10  # no error is below 0
    assert verdict(numbers).data.kind == "score"
    cats = {"case": range(40), "truth": ["cat", "dog"] * 20, "a": random.uniform(0, 1, 40)}
    assert refused(cats).fix == "positive=cat positive=dog"
    assert verdict(cats, positive="dog").data.positive == 1


def test_the_long_form_is_the_wide_form():
    wide = columns()
    rows = [
        (case, truth, patient, method, answer)
        for method in ("unet", "resnet")
        for case, truth, patient, answer in zip(wide["case"], wide["truth"], wide["patient"], wide[method], strict=True)
    ]
    long = dict(
        zip(("case", "truth", "patient", "method", "prediction"), map(list, zip(*rows, strict=True)), strict=True)
    )
    assert verdict(long).ranking == verdict(wide).ranking
    assert refused({name: [*cells, cells[0]] for name, cells in long.items()}).code == "duplicates"
    lacking = {name: cells[:-3] for name, cells in long.items()}
    error = refused(lacking)
    assert error.code == "missing" and "resnet" in error.found and "3" in error.found and "c199" in error.found


def test_files_of_one_method_each_are_joined_by_their_cases(tmp_path):
    table = columns()
    order = np.random.default_rng(1).permutation(200)
    base = {name: table[name] for name in ("case", "truth", "patient")}
    one = write(tmp_path / "unet.csv", {**base, "prediction": table["unet"]})
    other = {"case": table["case"], "prediction": table["resnet"]}
    two = write(tmp_path / "resnet.csv", {name: [cells[k] for k in order] for name, cells in other.items()})
    record = verdict([one, two])
    assert record.ranking == verdict(table).ranking
    assert "not to other trainings" in " ".join(record.sentences())
    write(
        tmp_path / "odd.csv",
        {"case": ["c0"], "truth": [NAMES[table["truth"][0] == "benign"]], "prediction": ["benign"]},
    )
    assert refused([one, tmp_path / "odd.csv"]).code == "two truths"


def test_seeds_are_trainings_and_folds_are_too():
    seeds = [columns(80, 1, seed=0, rates=(0.9, 0.8)) for _seed in range(3)]
    random = np.random.default_rng(2)
    whole = {name: [] for name in ("case", "truth", "seed", "unet", "resnet")}
    for number, table in enumerate(seeds):
        whole["case"] += table["case"]
        whole["truth"] += table["truth"]
        whole["seed"] += [number] * 80
        for name, rate in (("unet", 0.9), ("resnet", 0.85)):
            right = random.random(80) < rate
            whole[name] += [c if one else NAMES[c == "benign"] for c, one in zip(table["truth"], right, strict=True)]
    record = verdict(whole)
    assert record.data.seeds == 3 and "other trainings" not in " ".join(record.sentences())
    assert refused({name: cells for name, cells in whole.items() if name != "seed"}).code == "duplicates"
    folded = {**columns(80, 1), "fold": [n % 5 for n in range(80)]}
    record = verdict(folded)
    assert record.data.seeds == 1 and record.ranking.trainings == 5
    assert "other trainings" not in " ".join(record.sentences())


def test_a_case_with_two_truths_and_a_case_in_two_rows_are_named():
    table = columns()
    doubled = {name: [*cells, cells[7]] for name, cells in table.items()}
    error = refused(doubled)
    assert error.code == "duplicates" and "c7" in error.found
    doubled["truth"][-1] = NAMES[doubled["truth"][7] == "benign"]
    error = refused(doubled)
    assert error.code == "two truths" and "c7" in error.found


def test_patients_with_two_truths_are_counted():
    table = columns(40, 2)
    table["truth"] = [NAMES[n // 2 % 2] for n in range(40)]
    assert not any("different truths" in note for note in verdict(table).notes())
    table["truth"][0] = table["truth"][4] = "malignant"
    assert any(note.startswith("2 patients have cases of different truths") for note in verdict(table).notes())


def test_missing_predictions_are_named_and_somebody_has_to_decide():
    table = columns()
    for place in (3, 4, 5):
        table["unet"][place] = "" if place < 5 else "NaN"
    error = refused(table)
    assert error.code == "missing" and "unet has no prediction for 3 of 200 cases: c3, c4, c5" in error.found
    wrong = verdict(table, missing="wrong")
    whole = np.mean([a == b for a, b in zip(table["unet"], table["truth"], strict=True)])
    assert wrong.ranking.methods[0].measure.value == pytest.approx(whole)
    assert wrong.as_json()["missing"] == {"unet": ["c3", "c4", "c5"]}
    assert any("count as wrong" in note for note in wrong.notes())
    left = verdict(table, missing="leave-out")
    assert len(left.data.cases) == 197 and left.data.left_out == ("c3", "c4", "c5")
    assert any("left out" in note for note in left.notes())
    dice = overlaps()
    dice["method 0"] = [None, *dice["method 0"][1:]]
    assert verdict(dice, kind="dice", missing="wrong").data.methods["method 0"][0, 0] == 0
    assert refused(dice, kind="error", missing="wrong").fix == "missing=leave-out"


def test_a_missing_prediction_is_the_worst_one_whatever_the_truth_is():
    """Count the other of two classes; with none, a missing label of a negative case would be called right."""
    for make, options in ((columns, {}), (scored, {})):
        table = make()
        name = list(table)[-1]
        for place in range(20):
            table[name] = ["" if k == place else cell for k, cell in enumerate(table[name])]
        found = verdict(table, missing="wrong", **options)
        for judged in (found.ranking, *found.others.values()):
            before = verdict(make())
            full = next(j for j in (before.ranking, *before.others.values()) if j.metric == judged.metric)
            values = [next(m.measure.value for m in j.methods if m.system == name) for j in (judged, full)]
            assert (values[0] < values[1]) == judged.metric.higher_is_better, judged.metric.name


def test_cases_without_a_truth_are_left_out_only_if_asked():
    table = columns()
    table["truth"][0] = ""
    assert refused(table).code == refused(table, missing="wrong").code == "missing"
    assert len(verdict(table, missing="leave-out").data.cases) == 199


def test_probabilities_outside_of_their_bounds_are_refused():
    table = scored()
    table["alg_0"] = [1.2, *table["alg_0"][1:]]
    assert refused(table, kind="probability").code == "numbers"
    pairs = {"case": range(40), "truth": ["no", "yes"] * 20, "a:no": [0.5, 0.2] * 20, "a:yes": [0.48, 0.78] * 20}
    error = refused(pairs)
    assert error.code == "probabilities" and "0.98" in error.found and "40" in error.found
    pairs["a:yes"] = [0.499, 0.8] * 20
    assert verdict(pairs).data.methods["a"].sum() == pytest.approx(40)
    pairs["a:yes"] = [1.5, 0.8] * 20
    assert refused(pairs).code == "numbers"


def test_other_class_names_and_too_few_classes_are_refused():
    table = columns()
    table["unet"][0] = "Benign"
    error = refused(table)
    assert error.code == "classes" and "Benign" in error.found and error.expected == "benign, malignant"
    three = columns()
    three["unet"][0] = "cyst"
    assert verdict(three, classes="benign,malignant,cyst").data.classes == ("benign", "malignant", "cyst")
    assert refused({**columns(), "truth": ["benign"] * 200}).code == "one class"
    assert refused({"case": range(9), "truth": ["a", "b", "c"] * 3, "x:a": [1] * 9, "x:b": [0] * 9}).code == "columns"


def test_five_patients_are_too_few_for_any_verdict():
    table = columns(100, 20, rates=(1.0, 0.0))
    record = verdict(table)
    assert [one.verdict for one in record.ranking.verdicts] == ["cannot tell"]
    assert record.sentences() == ["Cannot tell: 5 patients are too few for a verdict; 6 at least are needed."]
    assert verdict(columns(120, 20, rates=(1.0, 0.0))).ranking.verdicts[0].verdict == "better"


def test_few_positive_patients_are_too_few_for_an_auc():
    table = scored(100)
    table["ground_truth"] = [int(n < 5) for n in range(100)]
    table["patient"] = range(100)
    record = verdict(table)
    assert record.ranking.metric.name == "AUC" and "rarer class" in record.sentences()[0]
    assert record.ranking.verdicts[0].verdict == "cannot tell"


def test_four_hundred_columns_are_no_methods_until_some_are_chosen():
    table = {**columns(), **{f"extra {n}": columns(seed=n)["unet"] for n in range(400)}}
    error = refused(table)
    assert error.code == "methods" and "402" in error.found
    assert list(verdict(table, methods="unet,extra 7").data.methods) == ["unet", "extra 7"]
    assert refused(table, methods="unet,nobody").code == "methods"


@pytest.mark.parametrize("cell", ["3-May", "05-May", "2026/3/5", "2026-03-05", "5月3日", "3/4"])
def test_dates_of_a_spreadsheet_are_named(cell):
    table = scored()
    table["alg_0"] = [cell, *table["alg_0"][1:]]
    assert refused(table).code == "dates"
    table = columns()
    table["unet"][3] = cell
    assert refused(table).code == "dates"


def test_decimal_commas_are_read_and_ambiguous_ones_are_not(tmp_path):
    german = write(tmp_path / "german.csv", scored(), ";", comma=True)
    assert verdict(german).ranking == verdict(scored()).ranking
    table = {"case": range(3), "a": ["1,234", "2", "3"], "b": ["1", "2", "3"]}
    assert refused(table, kind="error").code == "numbers"
    assert refused({**table, "a": ["0,5", "0.7", "3"]}, kind="error").code == "numbers"


@pytest.mark.parametrize("encoding", ["cp932", "utf-16", "utf-8-sig"])
def test_japanese_tables_are_read_in_any_encoding(tmp_path, encoding):
    english = columns()
    turn = dict(zip(NAMES, ("陰性", "陽性"), strict=True))
    table = {"症例番号": english["case"], "正解": [turn[one] for one in english["truth"]], "患者": english["patient"]}
    table |= {name: [turn[one] for one in english[key]] for name, key in (("手法一", "unet"), ("手法二", "resnet"))}
    record = verdict(write(tmp_path / "表.csv", table, "\t", encoding))
    assert record.data.classes == ("陰性", "陽性") and record.data.positive == 1
    assert record.ranking.methods[0].system == "手法一" and record.data.units == 100


def test_files_that_are_no_table_are_refused(tmp_path, monkeypatch):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "heading.csv").write_text("case,truth,a\n")
    (tmp_path / "book.xlsx").write_bytes(b"PK")
    (tmp_path / "broken.csv").write_text("case,truth,a\n1,x,x\n2,x\n")
    (tmp_path / "twice.csv").write_text("case,truth,a,a\n1,x,x,x\n")
    (tmp_path / "nameless.csv").write_text("patient,truth,a\n1,x,x\n")
    codes = {
        "empty": "empty file",
        "heading": "empty file",
        "broken": "broken row",
        "twice": "columns",
        "nameless": "columns",
    }
    for name, code in codes.items():
        assert refused(tmp_path / f"{name}.csv").code == code
    assert refused(tmp_path / "book.xlsx").code == "unreadable"
    assert refused(tmp_path / "nowhere.csv").code == "missing"
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(200_000_000)  # sparse
    error = refused(tmp_path / "large.csv")
    assert error.code == "too large" and "100 MB" in error.expected
    monkeypatch.setattr(prediction_table, "MOST_CELLS", 100)
    assert refused(write(tmp_path / "cells.csv", columns())).code == "too large"


def test_readers_and_a_network_are_compared_by_labels():
    table = {**scored(), "reader": scored()["ground_truth"]}
    record = verdict(table)
    assert record.data.kind == "labels" and record.ranking.methods[0].system == "reader"
    assert any("became labels at 0.5" in note for note in record.notes())
    table["dice unet"] = np.linspace(0, 0.9, 200)
    assert refused(table).code == "kinds"


def test_the_mean_of_readers_is_compared_with_a_method():
    table = columns(rates=(0.97, 0.75, 0.8))
    record = verdict(table, readers="resnet,vit")
    [pair] = record.ranking.verdicts
    assert (pair.a, pair.b) == ("unet", "readers")
    assert record.ranking.reader_pairs[0].these.verdict == "better"
    alone = {one.system: one.measure.value for one in record.ranking.readers}
    assert record.ranking.methods[1].measure.value == pytest.approx(np.mean([alone["resnet"], alone["vit"]]))
    assert any("other readers" in note for note in record.notes()) and record.tables()[0].rows[2][0] == "resnet"
    for readers in ("resnet", "resnet,nobody", "unet,resnet,vit"):
        assert refused(table, readers=readers).code == "readers"


def test_words_of_a_margin_follow_the_interval():
    words = {
        (0.01, 0.03): "superior",
        (-0.03, -0.01): "inferior",
        (-0.01, 0.01): "equivalent",
        (-0.01, 0.03): "not inferior",
        (-0.03, 0.03): "cannot tell",
        (-0.02, 0.01): "cannot tell",
    }
    assert {ends: margin.word(*ends, 0.02) for ends in words} == words


def test_more_cases_would_show_what_a_margin_asks():
    """With that many more of the same cases it is not inferior; with half of them it is not."""
    a, b = np.repeat([1.0, 1, 0, 0], [64, 16, 16, 4]), np.repeat([1.0, 0, 1, 0], [64, 16, 16, 4])
    found = margin.against(difference(a, b), 0.05)
    assert found.word == "cannot tell" and found.cases_needed
    times = 1 + found.cases_needed / 100
    assert (
        margin.against(difference(np.tile(a, round(2 * times)), np.tile(b, round(2 * times))), 0.05).word
        != "cannot tell"
    )
    assert margin.against(difference(np.tile(a, 2), np.tile(b, 2)), 0.05).word == "cannot tell"


def test_a_margin_is_in_points_and_noted_in_the_receipt():
    table = columns(400, 1, rates=(0.9, 0.9))
    record = verdict(table, margin=20)
    assert record.ranking.margins[0].word == "equivalent" and record.receipt["margin"] == 20
    assert "With a margin of 20 points" in record.sentences()[1]
    assert verdict(table, margin=0.5).ranking.margins[0].word == "cannot tell"
    assert verdict(table).receipt["margin"] is None and not verdict(table).ranking.margins
    error = {"case": range(60), "a": [1.0, 1.2, 1.1] * 20, "b": [1.1, 1.0, 1.2] * 20}
    assert verdict(error, kind="error", margin=1).ranking.margins[0].word == "equivalent"


def test_equal_methods_are_seldom_called_different():
    """At 60, 200 and 1 000 patients with one to four cases each: in at most 5 %, plus two standard errors."""
    random = np.random.default_rng(0)
    for patients, trials in ((60, 300), (200, 200), (1000, 60)):
        called = 0
        for _trial in range(trials):
            person = np.repeat(np.arange(patients), random.integers(1, 5, patients))
            hard = random.normal(size=patients)[person]
            answers = [
                hard + random.normal(size=patients)[person] + random.normal(size=len(person)) > -1.5 for _m in "ab"
            ]
            made = predictions.Predictions(
                tuple(map(str, range(len(person)))),
                "labels",
                {name: np.where(one, 1.0, 0.0)[None] for name, one in zip("ab", answers, strict=True)},
                ("x", "y"),
                np.ones(len(person), int),
                1,
                person,
            )
            called += method_verdict.judged(made, method_verdict.ACCURACY).verdicts[0].verdict != "cannot tell"
        assert called / trials <= 0.05 + 2 * (0.05 * 0.95 / trials) ** 0.5, patients


def test_sites_have_figures_of_their_own():
    table = {**columns(), "hospital": ["north", "south"] * 100}
    record = verdict(table)
    assert set(record.sites) == {"north", "south"}
    right = [a == b for a, b in zip(table["unet"], table["truth"], strict=True)][::2]
    assert (
        record.sites["north"]["unet"].value == pytest.approx(np.mean(right)) and record.sites["north"]["unet"].n == 100
    )


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_command_prints_sentence_methods_and_pairs(tmp_path, monkeypatch, capsys, language):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "table.csv", columns())
    assert main.run(["verdict", "table.csv", "margin=2", "--lang", language]) == 0
    out = capsys.readouterr().out
    assert out.index("unet") < out.index("resnet") and "unet – resnet" in out
    if language == "en":
        assert out.startswith("unet is better than resnet by")
        for part in ("superior", "▲ better", "Sensitivity", "taken for", "95 % interval"):
            assert part in out
    assert not (tmp_path / "runs").exists()


def test_the_command_takes_names_with_commas_between_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "table.csv", columns(rates=(0.9, 0.8, 0.7)))
    assert main.run(["verdict", "table.csv", "methods=unet,vit", "--json", "--lang", "en"]) == 0
    assert [one["method"] for one in json.loads(capsys.readouterr().out)["methods"]] == ["unet", "vit"]


def test_the_example_table_has_its_verdict(monkeypatch, capsys):
    """One to four lesions of each patient, two networks and a reader: docs/verdict_any.md shows what is printed."""
    monkeypatch.chdir(Path(__file__).parent / "stored" / "verdict")
    assert main.run(["verdict", "predictions.csv", "--lang", "en"]) == 0
    shown = capsys.readouterr().out
    page = (Path(__file__).parent.parent / "docs" / "verdict_any.md").read_text("utf-8")
    [sentence] = re.findall(r"```text\n(unet is the best of 3.*?)```", page, re.DOTALL)
    assert " ".join(sentence.split()) in " ".join(shown.split())


def test_json_and_page_hold_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "table.csv", {**columns(), "site": ["north", "south"] * 100})
    assert main.run(["verdict", "table.csv", "margin=2", "project=kept", "--json", "--lang", "en"]) == 0
    told = json.loads(capsys.readouterr().out)
    folder = tmp_path / "kept/verdict/table"
    kept = json.loads((folder / "verdict.json").read_text("utf-8"))
    assert told["sentence"].startswith("unet is better than resnet") and kept["pairs"] == told["pairs"]
    assert told["pairs"][0]["margin"]["verdict"] == "superior" and told["receipt"]["margin"] == 2
    assert told["receipt"]["files"].keys() == {"table.csv"} and told["columns"]["unet"] == "labels"
    assert told["methods"][0]["measures"]["accuracy"]["groups"] == 100
    page = (folder / "report.html").read_text("utf-8")
    assert "unet is better than resnet" in page and "superior" in page and "north" in page


def test_python_has_it_lazily():
    assert souron.verdict(columns()).ranking.methods[0].system == "unet"
    with pytest.raises(UserError, match="no option"):
        souron.verdict(columns(), kinds="labels")


def test_one_method_alone_has_its_intervals_and_no_verdict():
    record = verdict({name: cells for name, cells in columns().items() if name != "resnet"})
    assert not record.ranking.verdicts and "ran alone" in record.sentences()[0]


def test_a_sheet_needs_a_patient_for_every_case():
    table = columns()
    table["patient"][3] = ""
    assert refused(table).code == "no group"
    assert sheet_of(prediction_table.columns_from({"ID": [1], "Age": [50], "unet": ["x"]})).roles[1] == (
        "Age",
        "unused",
    )


def squares(folder, shift, count=12, values=(0, 255)):
    """Masks of a square of 8 x 8 pixels, moved by so many pixels to the right."""
    folder.mkdir()
    for number in range(count):
        area = np.full((16, 16), values[0], np.uint8)
        area[4:12, 4 + shift : 12 + shift] = values[1]
        Image.fromarray(area).save(folder / f"{number}.png")


def test_folders_of_masks_are_judged_by_dice(tmp_path):
    for name, shift, values in (("truth", 0, (0, 255)), ("unet", 0, (0, 1)), ("old", 2, (0, 255))):
        squares(tmp_path / name, shift, values=values)
    record = verdict([tmp_path / name for name in ("truth", "unet", "old")])
    assert [one.measure.value for one in record.ranking.methods] == pytest.approx([1.0, 0.75])
    assert record.data.kind == "dice" and record.ranking.verdicts[0].a == "unet"
    (tmp_path / "old/3.png").unlink()
    folders = [tmp_path / name for name in ("truth", "unet", "old")]
    assert refused(folders).code == "missing" and "3" in refused(folders).found
    assert verdict(folders, missing="wrong").data.methods["old"][0, 3] == 0
    assert refused(tmp_path / "truth").code == "methods"
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "old/3.png")
    assert refused(folders).code == "size"


def test_dice_is_the_mean_over_the_classes_that_either_mask_has():
    true = np.array([[0, 1, 1, 2, 255]], np.uint8)
    assert mask_folders.dice(true, np.array([[0, 1, 0, 2, 2]], np.uint8)) == pytest.approx((2 / 3 + 1) / 2)
    assert mask_folders.dice(true, np.array([[3, 1, 1, 2, 0]], np.uint8)) == pytest.approx(2 / 3)
    empty = np.zeros((1, 5), np.uint8)
    assert mask_folders.dice(empty, empty) == 1


def test_detectors_are_judged_by_cocos_average_precision(tmp_path):
    random = np.random.default_rng(0)
    images = [{"id": n, "width": 100, "height": 100} for n in range(30)]
    boxes = [[10.0 * k, 20.0, 30.0, 30.0] for k in random.integers(0, 6, 30)]
    true = [{"id": n, "image_id": n, "category_id": 7, "bbox": box, "iscrowd": 0} for n, box in enumerate(boxes)]
    about = {"images": images, "annotations": true, "categories": [{"id": 7, "name": "polyp"}]}
    (tmp_path / "instances.json").write_text(json.dumps(about))
    for name, shift in (("detr", 1), ("yolo", 8)):
        found = [
            {"image_id": n, "category_id": 7, "bbox": [box[0] + shift, *box[1:]], "score": random.random()}
            for n, box in enumerate(boxes)
            if n % 10
        ]
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    paths = [tmp_path / f"{name}.json" for name in ("instances", "yolo", "detr")]
    record = verdict(paths)
    assert record.ranking.metric.name == "AP" and [one.system for one in record.ranking.methods] == ["detr", "yolo"]
    assert record.ranking.verdicts[0].verdict == "better" and len(record.data.cases) == 30
    from souron.metrics import detection

    boxed = coco_results._boxes(paths[0], true, {str(n): n for n in range(30)}, {"7": 0}, "")
    scored = json.loads(paths[2].read_text())
    given = coco_results._boxes(paths[2], scored, {str(n): n for n in range(30)}, {"7": 0}, "score")
    assert record.ranking.methods[0].measure.value == pytest.approx(detection.coco(boxed, given, 1)["AP"])
    scored[3]["category_id"] = 8
    paths[2].write_text(json.dumps(scored))
    assert refused(paths).code == "broken row" and "4" in refused(paths).found
    assert refused([paths[1], paths[0]]).code == "unreadable"


def ball(path, radius=4.0, label=1, shift=0.0, size=(12, 14, 16), kind=np.uint8):
    """A mask of a ball in a volume with voxels of 1 x 1 x 2 mm, moved by some millimetres."""
    path.parent.mkdir(exist_ok=True)
    axes = np.meshgrid(*(np.arange(n) - n / 2 for n in size), indexing="ij")
    inside = sum(axis**2 for axis in axes) < radius**2
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 3] = shift
    nibabel.save(nibabel.Nifti1Image((inside * label).astype(kind), affine), path)


def test_folders_of_nifti_masks_are_judged_by_dice(tmp_path):
    for number in range(8):
        ball(tmp_path / f"truth/{number}.nii.gz", 4 + number / 10)
        ball(tmp_path / f"unet/{number}.nii.gz", 4 + number / 10, 255)
        ball(tmp_path / f"old/{number}.nii", 3)
    folders = [tmp_path / name for name in ("truth", "unet", "old")]
    record = verdict(folders)
    assert record.data.cases == tuple(map(str, range(8))) and record.data.kind == "dice"
    true, old = (np.asarray(nibabel.load(tmp_path / f"{name}/0.nii{end}").dataobj) for name, end in NIFTI)
    expected = 2 * (true & old).sum() / (true.sum() + old.sum())
    assert record.data.methods["unet"][0] == pytest.approx(1)
    assert record.data.methods["old"][0, 0] == pytest.approx(expected) and 0.3 < expected < 0.9
    (tmp_path / "old/3.nii").unlink()
    assert refused(folders).code == "missing"


NIFTI = (("truth", ".gz"), ("old", ""))


def test_nifti_masks_on_another_grid_are_refused(tmp_path):
    for number in range(6):
        ball(tmp_path / f"truth/{number}.nii.gz")
        ball(tmp_path / f"unet/{number}.nii.gz")
    folders = [tmp_path / "truth", tmp_path / "unet"]
    assert verdict(folders).data.methods["unet"].min() == 1
    for change in ({"shift": 5.0}, {"size": (12, 14, 15)}):
        ball(tmp_path / "unet/4.nii.gz", **change)
        error = refused(folders)
        assert error.code == "grid" and "4" in error.found and "12 x 14 x 16" in error.found
    ball(tmp_path / "unet/4.nii.gz", kind=np.float32, label=0.5)
    assert refused(folders).code == "class"
    ball(tmp_path / "unet/4.nii.gz", kind=np.int16, label=-1)
    assert refused(folders).code == "class"
    (tmp_path / "unet/4.nii.gz").write_bytes(b"\x1f\x8b no volume")
    assert refused(folders).exit == 3


def test_a_nifti_mask_that_leads_out_of_its_folder_is_refused(tmp_path):
    for number in range(6):
        ball(tmp_path / f"truth/{number}.nii")
        ball(tmp_path / f"unet/{number}.nii")
    (tmp_path / "unet/2.nii").rename(tmp_path / "secret.nii")
    (tmp_path / "unet/2.nii").symlink_to(tmp_path / "secret.nii")
    assert refused([tmp_path / "truth", tmp_path / "unet"]).code == "outside"


def answers(path, count=40, methods=("gpt", "llama"), **changes):
    """Answers of two models: the first is right on four of five questions, the second on every other one."""
    rules = {"gpt": lambda n: n % 5 > 0, "llama": lambda n: n % 2 > 0}
    lines = [
        json.dumps({"case": f"q{n}", "method": name, "correct": rules[name](n), "group": f"text {n // 2}"} | changes)
        for n in range(count)
        for name in methods
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_answers_marked_right_or_wrong_are_judged_by_accuracy(tmp_path):
    record = verdict(answers(tmp_path / "answers.jsonl"))
    assert record.ranking.metric.name == "accuracy" and record.data.units == 20 and not record.others
    assert [(one.system, one.measure.value) for one in record.ranking.methods] == [("gpt", 0.8), ("llama", 0.5)]
    table = {
        "case": range(40),
        "patient": [n // 2 for n in range(40)],
        "truth": ["right"] * 40,
        "gpt": ["right" if n % 5 else "wrong" for n in range(40)],
        "llama": ["right" if n % 2 else "wrong" for n in range(40)],
    }
    assert verdict(table, classes="wrong,right").ranking.verdicts == record.ranking.verdicts


def test_answers_have_other_keys_and_a_file_for_each_model(tmp_path):
    for name, right in (("gpt", 1), ("llama", 0)):
        lines = [json.dumps({"question_id": n, "ID": n, "score": right if n % 3 else 1 - right}) for n in range(90)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    record = verdict([tmp_path / "gpt.jsonl", tmp_path / "llama.jsonl"])
    assert [(one.system, round(one.measure.value, 2)) for one in record.ranking.methods] == [
        ("gpt", 0.67),
        ("llama", 0.33),
    ]
    assert [pair.verdict for pair in record.ranking.verdicts] == ["better"]


@pytest.mark.parametrize(
    "line",
    [
        '{"case": "q1", "method": "gpt"',
        '{"method": "gpt", "correct": true}',
        '{"case": "q9", "method": "gpt"}',
        '{"case": "q9", "method": "gpt", "score": 0.5}',
        '{"case": "q9", "method": "gpt", "correct": "yes"}',
        '{"case": ["q9"], "method": "gpt", "correct": true}',
        '{"case": true, "method": "gpt", "correct": true}',
        "[1, 2]",
    ],
)
def test_lines_that_cannot_be_used_are_named_by_their_number(tmp_path, line):
    path = answers(tmp_path / "answers.jsonl", 4)
    path.write_text(path.read_text("utf-8") + line + "\n", encoding="utf-8")
    error = refused(path)
    assert error.code == "broken row" and "answers.jsonl:9" in error.found and error.exit == 3


def test_two_answers_of_a_model_and_missing_ones_are_named(tmp_path):
    path = answers(tmp_path / "answers.jsonl")
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines, lines[0]]), encoding="utf-8")
    assert refused(path).code == "duplicates"
    path.write_text("\n".join(lines[:-1]), encoding="utf-8")
    error = refused(path)
    assert error.code == "missing" and "q39" in error.found
    assert verdict(path, missing="wrong").data.methods["llama"][0, -1] == 0
    path.write_text("\n", encoding="utf-8")
    assert refused(path).code == "empty file"


def run_of(folder, right, count=40):
    """A finished run whose data is gone: two classes, the share ``right`` of the cases of each."""
    folder.mkdir(parents=True)
    seen = "{channels: 1, side: 8, labels: [ill, well], mean: [0.0], std: [1.0]}"
    (folder / "args.yaml").write_text(
        f"system: cnn_tiny\ndata: gone/\nside: 8\nseen: {seen}\nconfig: {{}}\n", encoding="utf-8"
    )
    (folder / "receipt.json").write_text('{"measures": {}}', encoding="utf-8")
    truth = np.arange(count) % 2
    p = np.where(np.arange(count) < right * count, 0.9, 0.1)
    p = np.where(truth == 0, p, 1 - p)
    tensors = {"0:probability": torch.tensor(np.stack([p, 1 - p], 1))}
    tensors["training"] = torch.ones(1, count, dtype=torch.long)
    files.write_tensors(folder / "answers.safetensors", tensors, {"decision": {}, "learnt_from": {}})
    rows = [f"{n}.png,{('ill', 'well')[c]},p{n // 2},test" for n, c in enumerate(truth)]
    (folder / "split.csv").write_text("\n".join(["file,label,group,part", *rows]), encoding="utf-8")
    return folder


def test_folders_of_runs_are_judged(tmp_path):
    """Also where their data is gone: by the answers and labels that they keep."""
    runs = [run_of(tmp_path / "a/cnn", 0.95), run_of(tmp_path / "b/mlp", 0.6)]
    record = verdict(runs, margin=2)
    assert [(one.system, one.measure.value) for one in record.ranking.methods] == [("cnn", 0.95), ("mlp", 0.6)]
    assert record.measure == "accuracy" and record.verdicts[0].verdict == "better" and record.patients == 20
    assert record.ranking.margins[0].word == "superior" and len(record.receipt["files"]) == 2
    assert sum("its data cannot be read" in note for note in record.notes()) == 2
    by_area = verdict(runs, measure="AUC")
    assert by_area.measure == "AUC" and [one.metric.name for one in by_area.others.values()] == ["accuracy"]
    assert "measure=AUC" in by_area.command and refused(runs, measure="Dice").expected == "accuracy, AUC"
    for wrong in ({"missing": "wrong"}, {"kind": "labels"}, {"methods": "cnn"}):
        assert refused(runs, **wrong).code == "option"
    assert verdict(runs, kind="probability").verdicts == record.verdicts
    assert verdict(runs[:1]).names == ["cnn"] and verdict(runs[:1], positive="ill").data.positive == 0
    (tmp_path / "masks").mkdir()
    assert refused([runs[0], tmp_path / "masks"]).exit == 3


def test_both_commands_end_with_one_record_of_the_same_runs(tmp_path, monkeypatch, capsys):
    """By the same measure, with the keys that each of them printed before it was one."""
    monkeypatch.chdir(tmp_path)
    runs = [str(run_of(tmp_path / name, right)) for name, right in (("cnn", 0.95), ("mlp", 0.6))]
    told = []
    for command in ("compare", "verdict"):
        assert main.run([command, *runs, "margin=2", "--json", "--lang", "en"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1] and told[0]["measure"] == "accuracy"
    of_compare = {"runs", "task", "data", "measure", "cases", "rows", "verdicts", "sentence", "notes", "settings"}
    of_compare |= {"differing", "differ most"}
    of_verdict = {"kind", "measure", "cases", "patients", "classes", "positive", "trainings", "columns", "missing"}
    of_verdict |= {"left_out", "methods", "readers", "reader_study", "pairs", "further", "sites", "notes", "receipt"}
    assert told[0].keys() == of_compare | of_verdict and told[0]["pairs"] == told[0]["verdicts"]
    (tmp_path / "mlp" / "receipt.json").unlink()
    errors = [(main.run([command, *runs, "--json"]), capsys.readouterr().out) for command in ("compare", "verdict")]
    assert errors[0] == errors[1] and errors[0][0] == 5


def test_a_page_of_runs_is_written_in_each_language(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [str(run_of(tmp_path / name, right)) for name, right in (("cnn", 0.95), ("mlp", 0.6))]
    assert main.run(["verdict", *runs, "project=kept", "--lang", "en"]) == 0
    [english] = (tmp_path / "kept/verdict").glob("*/report.html")
    assert "What was equal" in english.read_text("utf-8")
    [japanese] = english.parent.glob("report.ja.html")
    text = japanese.read_text("utf-8")
    assert "its data cannot be read" not in text and "What was equal" not in text and "budget" not in text
