"""What a run says of how far to trust it, and cross-validation where cases are few."""

import csv
import json
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import radiographs
import torch
from interrupting import stop_after
from judged import judge

from souron import registry
from souron.data import load, splits
from souron.data.dataset import Dataset
from souron.data.formats import csv_table
from souron.data.readers.settings import Reading
from souron.evaluation.answers import Setup
from souron.evaluation.vision import classification
from souron.metrics.classification import auc_scores
from souron.report.sections import classify as section
from souron.runs import compare, crossval, evaluate
from souron.runs import events as runs_events
from souron.runs import fit as run_fit
from souron.runs import folder as run_folder
from souron.runs import train as run_train
from souron.runs.events import Interrupted
from souron.stats import intervals
from souron.tasks.classify import Options
from souron.training import forecast, trainer
from souron.utils.messages import UserError


@pytest.fixture
def clinic(tmp_path, monkeypatch):
    """A table of 60 small radiographs of 24 patients, in the working folder."""
    monkeypatch.chdir(tmp_path)
    radiographs.radiographs(tmp_path / "clinic", patients=24, side=48)
    return tmp_path / "clinic" / "labels.csv"


def train(data, **options):
    given = {"budget": "6ep", "batch": 16, "side": 24, **options}
    return run_train.train("cnn_tiny", str(data), **given)


def test_few_cases_are_cross_validated_by_patient(clinic):
    record = train(clinic)
    cases = csv_table.load(clinic, Reading(24))
    assert record.folds == splits.FOLDS and record.measures["accuracy"].n == len(cases)
    assert record.measures["accuracy"].groups == len(set(cases.group))
    with (record.folder / "folds.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == set(cases.file)
    for repeat in ("repeat 1", "repeat 2"):
        assert {row[repeat] for row in rows} == set("12345")
        where = {(row["group"], row[repeat]) for row in rows}
        assert len(where) == len(set(cases.group)), "each patient in one fold"
    split = (record.folder / "split.csv").read_text(encoding="utf-8").splitlines()
    assert {line.rpartition(",")[2] for line in split[1:]} == {"train", "val"}
    assert not (record.folder / "folds").exists()
    again = evaluate.examine(record.folder)
    assert again.measures == record.measures
    assert again.details.as_json() == record.details.as_json()


def test_folds_share_no_patient_and_no_picture(clinic):
    cases = csv_table.load(clinic, Reading(24))
    plan = splits.plan(cases, alike=[(0, 5), (5, 9)])
    for folds in plan.repeats:
        assert sorted(torch.cat([one.test for one in folds]).tolist()) == list(range(len(cases)))
        for one in folds:
            rows = [part.tolist() for part in (one.train, one.val, one.test)]
            parts = [{cases.group[i] for i in part} for part in rows]
            assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
            held = [len({0, 5, 9} & set(part)) for part in rows]
            assert sorted(held) == [0, 0, 3]
    assert plan.repeats[0][0].test.tolist() != plan.repeats[1][0].test.tolist()
    backwards = cases.only(list(range(len(cases)))[::-1])
    mirrored = splits.plan(backwards)
    same = splits.plan(cases)
    for one, other in zip(same.repeats[0], mirrored.repeats[0], strict=True):
        assert {cases.file[i] for i in one.test} == {backwards.file[i] for i in other.test}


def test_one_split_where_it_is_asked_for_or_cases_are_many(clinic):
    assert train(clinic, folds=1).folds == 1
    digits = load.load("digits")
    assert not splits.plan(digits).repeats
    assert len(splits.plan(digits, folds=3).repeats[0]) == 3


def test_an_interrupted_cross_validation_goes_on_where_it_was(clinic, monkeypatch):
    whole = train(clinic)
    tested = []
    original = crossval.files.write_tensors

    def write(path, tensors, about):
        original(path, tensors, about)
        if "probability" in tensors:
            tested.append(path)
            if len(tested) == 4:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(runs_events.Interrupted) as stopped:
        patch.setattr(crossval.files, "write_tensors", write)
        train(clinic, name="broken")
    folder = stopped.value.folder
    kept = {path: path.stat().st_mtime_ns for path in tested}
    events = list(run_train.training(resume=folder))
    record = events[-1].record
    assert all(not path.exists() for path in kept)
    assert record.measures == whole.measures
    assert torch.equal(record.answers[0]["probability"], whole.answers[0]["probability"])


def test_ctrl_c_in_the_last_step_of_a_fold_stops_the_run(clinic, monkeypatch):
    whole = train(clinic)
    go, finished = trainer.Trainer.go, []

    def last_step(self, *given):
        go(self, *given)
        finished.extend([self] if self.done else [])
        if len(finished) == 3:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch, pytest.raises(runs_events.Interrupted) as stopped:
        patch.setattr(trainer.Trainer, "go", last_step)
        train(clinic, name="broken")
    assert len(finished) == 3
    resumed = run_train.train(resume=stopped.value.folder)
    assert torch.equal(resumed.answers[0]["probability"], whole.answers[0]["probability"])


def test_each_training_has_the_whole_budget(clinic, monkeypatch):
    spent, learn = [], run_fit.learn

    def counted(fit, *given, **more):
        yield from learn(fit, *given, **more)
        spent.append((fit.budget.amount, fit.seconds))

    monkeypatch.setattr(run_fit, "learn", counted)
    monkeypatch.setattr(run_train, "learn", counted)
    record = train(clinic, budget="0.2s", repeats=1, learning_curve=0)
    assert record.trainings == len(spent) == 6
    assert all(amount == 0.2 <= seconds for amount, seconds in spent)
    assert record.outcome.seconds == pytest.approx(sum(seconds for _amount, seconds in spent))


WHOLE = {"folds": 5, "repeats": 2, "learning_curve": 2}


@pytest.mark.parametrize(
    "step, options, trainings, wishes",
    [
        (0.1, {}, 21, ()),
        (1, {}, 11, ("learning-curve=2",)),
        (2, {}, 6, ("repeats=2", "learning-curve=2")),
        (2, {"learning_curve": 2}, 16, ("repeats=2",)),
        (30, {}, 6, ("repeats=2", "learning-curve=2")),
        (60, {}, 1, ("folds=5",)),
        (60, {"folds": 5}, 6, ("repeats=2", "learning-curve=2")),
        (60, WHOLE, 21, ()),
    ],
)
def test_a_cross_validation_that_takes_too_long_is_reduced_and_says_so(
    clinic, step, options, trainings, wishes, monkeypatch
):
    monkeypatch.setattr(run_train, "probe", lambda fit: forecast.Probe(step, look=0, held=0))
    events = run_train.training("cnn_tiny", clinic, budget="6ep", batch=16, side=24, **options)
    found = next(event.forecast for event in events if event.forecast is not None)
    assert [wish for wish in ("repeats=2", "learning-curve=2", "folds=5") if wish in found.note] == list(wishes)
    assert trainings == 1 or f"{trainings - 1} trainings" in found.note


def test_without_cross_validation_a_frozen_run_is_measured_as_val_measures(clinic, monkeypatch):
    """On features in float32, although those of a cross-validation were computed first."""
    first = run_train.train("resnet_tiny", clinic, budget="1ep", side=24, folds=1)
    exact, features = [], run_train.features

    def noted(*given, **options):
        exact.append(options["exact"])
        return features(*given, **options)

    monkeypatch.setattr(run_train, "features", noted)
    monkeypatch.setattr(run_train, "probe", lambda fit: forecast.Probe(60.0, look=0, held=0))
    options = {"pretrained": str(first.folder), "freeze": True, "side": 24, "augment": "none"}
    events = run_train.training("resnet_tiny", clinic, budget="60ep", **options)
    next(event for event in events if event.forecast is not None)
    assert exact == [False, True]


def test_what_was_left_out_stands_in_report_and_receipt(clinic, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run_train, "probe", lambda fit: forecast.Probe(1.0, look=0, held=0))
        record = train(clinic)
    assert record.trainings == 11 and "learning-curve=2" in record.reduced
    assert record.reduced in record.as_json()["notes"]
    assert "learning-curve=2" in (record.folder / "report.html").read_text(encoding="utf-8")
    assert record.receipt["command"].endswith("folds=5 learning_curve=0")
    again = train(clinic, folds=5, learning_curve=0)
    assert again.measures == record.measures and not again.reduced


def test_a_resumed_run_says_too_what_was_left_out(clinic, monkeypatch):
    monkeypatch.setattr(run_train, "probe", lambda fit: forecast.Probe(2.0, look=0, held=0))
    with monkeypatch.context() as patch, pytest.raises(Interrupted) as stop:
        stop_after(2, patch)
        train(clinic)
    events = list(run_train.training(resume=stop.value.folder))
    record = events[-1].record
    assert record.trainings == 6 and "repeats=2 learning-curve=2" in record.reduced
    assert record.reduced in record.notes
    [told] = [event.forecast for event in events if event.forecast is not None]
    assert told.note.startswith(record.reduced) and "pretrained=true freeze=true" in told.note
    receipt = json.loads((record.folder / "receipt.json").read_text(encoding="utf-8"))
    assert record.reduced in receipt["notes"] and receipt["options"]["reduced"]
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    assert "Shortened to save time" in page

    with monkeypatch.context() as patch, pytest.raises(Interrupted) as stop:
        stop_after(2, patch)
        train(clinic, folds=5, repeats=1, learning_curve=0)  # as it was asked for
    assert not run_train.train(resume=stop.value.folder).reduced


def test_the_bar_of_a_cross_validation_never_runs_backward(clinic):
    options = {"budget": "2ep", "batch": 16, "side": 24, "repeats": 1, "learning_curve": 0}
    events = list(run_train.training("cnn_tiny", clinic, **options))
    shown = [event for event in events if event.phase in ("train", "test")]
    assert {event.phase for event in shown} == {"train"}
    fractions = [event.fraction for event in shown]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert any(event.text.startswith("6 of 6") for event in shown)


def test_the_forecast_counts_each_folds_own_steps(clinic, monkeypatch):
    """Trainings with fewer cases take fewer steps, and smaller ones where a batch is not full."""
    monkeypatch.setattr(run_train, "probe", lambda fit: forecast.Probe(step=0.1, look=0, held=0))
    go, steps = trainer.Trainer.go, []

    def counted(self, *given):
        go(self, *given)
        steps.extend([self.step * self.batch / 16] if self.done else [])

    monkeypatch.setattr(trainer.Trainer, "go", counted)
    record = train(clinic)
    assert record.forecast.seconds == pytest.approx(0.1 * sum(steps)) and len(set(steps)) > 2
    events = run_train.training("cnn_tiny", str(clinic), budget="2s", batch=16, side=24)
    found = next(event.forecast for event in events if event.forecast is not None)
    assert found.cost.seconds == pytest.approx(21 * 2)


def test_three_runs_with_one_seed_are_equal_to_the_bit(clinic):
    runs = [train(clinic, folds=1, budget="2ep") for _run in range(3)]
    first = runs[0].model.state_dict()
    for run in runs[1:]:
        assert all(torch.equal(first[name], value) for name, value in run.model.state_dict().items())
        assert torch.equal(run.answers[0]["probability"], runs[0].answers[0]["probability"])
        assert run.measures == runs[0].measures


def test_what_is_chosen_is_chosen_on_validation_cases(clinic):
    """Other labels of the test cases change the figures, neither threshold nor temperature."""
    record = train(clinic, folds=1)
    cases = csv_table.load(clinic, Reading(24))
    split = splits.read(record.folder / "split.csv", cases)
    parts = split.deal(cases)
    positive = classification.positive(None, cases.classes)
    chosen = classification.decide(record.model, parts.val, positive, None)
    # batches of another size add up in another order
    assert record.details.thresholds == pytest.approx((chosen["threshold"],) * 2, rel=1e-6)
    flipped = replace(parts.val, target=parts.val.target.flip(0))
    assert classification.decide(record.model, flipped, positive, None) != chosen


def ill(*label: int, patients=()) -> Dataset:
    """Cases with that diagnosis."""
    image = torch.zeros(len(label), 1, 4, 4, dtype=torch.uint8)
    names = [f"{number}.png" for number in range(len(label))]
    return Dataset("ill", image, torch.tensor(label), ("healthy", "ill"), names, patients)


def test_the_threshold_is_that_of_the_class_and_the_sensitivity_that_were_asked_for():
    val, task = ill(1, 1, 1, 1, 0, 0, 0, 0), registry.load_task("classify")
    sure = torch.tensor([0.9, 0.8, 0.7, 0.2, 0.6, 0.3, 0.1, 0.1])
    system = SimpleNamespace(
        eval=lambda: None, loader=lambda cases: cases, probabilities=lambda _cases: torch.stack([1 - sure, sure], 1)
    )

    def threshold(**options):
        return task.decide(system, val, Setup(Options(**options), val))["threshold"]

    assert threshold() == pytest.approx(0.65)
    assert threshold(sensitivity=1.0) == pytest.approx(0.15)
    assert threshold(positive="healthy") == pytest.approx(0.35)


def test_aucs_are_compared_by_patients():
    label, patients = [1, 1, 1, 0, 0, 0, 0, 0], list("aabcdefg")
    sure = torch.tensor([0.9, 0.4, 0.7, 0.5, 0.3, 0.2, 0.8, 0.1])
    probability = torch.stack([1 - sure, sure], 1)
    test = ill(*label, patients=patients)
    found = registry.load_task("classify").scores([{"probability": probability}], Setup(Options(), test))
    counted, alone = (auc_scores(probability, label, units) for units in (patients, None))
    assert found["AUC"] == pytest.approx(counted) and found["AUC"] != pytest.approx(alone)


def test_the_report_has_every_section_and_no_more_than_json_says(clinic):
    record = train(clinic, prevalence=0.07)
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    for anchor in ["discrimination", "confusion", "subgroups", "calibration", "robustness", "sizes"]:
        assert f'id="{anchor}"' in page, anchor
    assert "7.0" in page
    told = json.loads(json.dumps(record.as_json(), default=str))
    assert told["measures"]["AUC"].keys() == {"value", "low", "high", "n", "groups"}
    columns = {group["column"] for group in told["subgroups"]}
    assert {"site", "sex", "age"} <= columns and "date" not in columns
    assert told["calibration"]["before"]["brier"]["n"] > 0
    assert told["decision"]["positive"] == record.details.positive
    common = evaluate.examine(record.folder, prevalence=0.5)
    name = "positive predictive value"
    assert record.measures[name].value < common.measures[name].value


@pytest.mark.parametrize(
    "options, code",
    [({"prevalence": 5.0}, "value"), ({"sensitivity": 0.0}, "value"), ({"positive": "opacty"}, "positive")],
)
def test_a_wish_without_sense_is_refused(clinic, options, code):
    with pytest.raises(UserError) as trouble:
        train(clinic, **options)
    assert trouble.value.code == code


def test_a_table_with_parts_of_its_own_is_not_cross_validated(clinic):
    lines = clinic.read_text(encoding="utf-8").splitlines()
    patients = sorted({line.split(",")[2] for line in lines[1:]})
    part = {name: ("test" if i % 4 == 0 else "train") for i, name in enumerate(patients)}
    own = clinic.with_name("parts.csv")
    own.write_text("\n".join([lines[0] + ",part", *(f"{x},{part[x.split(',')[2]]}" for x in lines[1:])]))
    assert train(own).folds == 1
    with pytest.raises(UserError) as trouble:
        train(own, folds=5)
    assert trouble.value.code == "option"


def test_a_comparison_of_few_cases_tests_every_case_with_every_seed(clinic):
    record = compare.compare(["cnn_tiny", "mlp_tiny"], str(clinic), budget="2ep", seeds=2, batch=16, side=24)
    cases = csv_table.load(clinic, Reading(24))
    assert record.folds == 5 and record.cases == len(cases)
    assert record.scores["cnn_tiny"].shape == (2, len(cases))
    assert all(np.isfinite(table).all() for table in record.scores.values())
    assert [row.measure for row in record.further["AUC"].rows] == ["AUC", "AUC"]
    assert len(record.further["AUC"].verdicts) == 1
    page = record.report.read_text(encoding="utf-8")
    assert 'id="further"' in page and "test cases, trainings and the training sample" in page
    assert record.sample == 0 and "this training sample" not in record.sentence
    contest = compare.Comparison(run_folder.read_args(record.folder, ("systems", "data")))
    [told], by_patient = record.verdicts, {"groups": cases.group, "trainings": contest.training_of}
    [verdict] = judge(record.scores, names=[told.a, told.b], **by_patient)
    assert (verdict.low, verdict.high) == (told.low, told.high)
    again = list(compare.comparing(resume=record.folder))[-1].record
    assert again.as_json()["rows"][0]["value"] == record.as_json()["rows"][0]["value"]


def test_five_seeds_of_one_system_show_their_spread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task, answered = type(registry.load_task("classify")), []
    answer = task.answer

    def answering(self, system, test, decision, setup, seed):
        answered.append(seed)
        return answer(self, system, test, decision, setup, seed)

    monkeypatch.setattr(task, "answer", answering)
    record = compare.compare(["mlp_tiny"], "digits", budget="1ep", seeds=5)
    [row] = record.rows
    assert len(set(row.seeds)) > 1 and len(row.seeds) == 5 and not record.verdicts
    assert answered == [0, 1, 2, 3, 4]
    assert row.low < row.value < row.high and min(row.seeds) < row.value < max(row.seeds)
    assert "mlp_tiny" in record.report.read_text(encoding="utf-8")


def test_a_report_counts_patients_in_every_interval_of_a_sensitivity(clinic):
    """Class by class as above it, or one figure would have two intervals."""
    record = train(clinic, folds=1, positive="caries")
    test, trust = record.test, record.details
    # four patients, right on all cases of two of them
    test = replace(
        test.only([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]),
        target=torch.zeros(12).long(),
        group=[f"p{i // 3}" for i in range(12)],
    )
    sure = torch.tensor([0.9] * 6 + [0.1] * 6, dtype=torch.double)
    probability = torch.stack([sure, 1 - sure], 1)
    by_class = list(classification.by_class(test, probability[None].numpy()))
    *told, table, patients = section._classes(test, replace(trust, by_class=by_class))
    _name, _cases, recall, ends, *_precision = table.rows[0]
    wanted = intervals.interval((sure > 0.5).numpy(), test.group)
    assert (recall.value, ends.value) == (0.5, (wanted.low, wanted.high))
    assert ends.value[1] - ends.value[0] > 0.6, "of 12 cases that were independent: .51"
    assert "caries" in told[-1] and patients.startswith("The intervals count patients")
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    assert "What now?" in page and f"souron predict {record.folder}" in page
