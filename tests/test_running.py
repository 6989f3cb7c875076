"""One run from data to report, resumed, interrupted, killed, refused."""

import csv
import json
import subprocess
import sys
from itertools import count
from types import SimpleNamespace

import pytest
import torch
import waiting
from interrupting import stop_after

from souron import registry
from souron.actions.tour import chapters
from souron.data import load
from souron.data.dataset import Loader
from souron.runs import evaluate, prepare, train
from souron.runs import events as runs_events
from souron.runs import folder as run_folder
from souron.stats.records import Measure
from souron.tasks.classify import Classifier
from souron.training import checkpoint, forecast, trainer
from souron.training.budget import Budget
from souron.utils import files
from souron.utils.messages import UserError

ARGS = {
    "system": "mlp_tiny",
    "data": "digits",
    "budget": "1ep",
    "batch": 64,
    "seed": 0,
    "rate": None,
    "changes": {},
    "pretrained": "False",
    "freeze": False,
    "device": "cpu",
    "patience": 0,
}

pytestmark = pytest.mark.usefixtures("same_eyes")


def fast(system="mlp_tiny", data="digits", **options):
    return train.train(system, data, **{"budget": "2ep", "batch": 64, **options})


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_a_folder_that_explains_itself(photos):
    record = fast(data=str(photos), folds=1)
    folder = record.folder
    assert folder.parts[:2] == ("runs", "classify")
    for name in (
        "args.yaml",
        "results.csv",
        "split.csv",
        "predictions.csv",
        "report.html",
        "card.md",
        "receipt.json",
        "weights/best.safetensors",
        "weights/last.safetensors",
    ):
        assert (folder / name).stat().st_size > 0, name
    assert not list(folder.rglob("*.part"))
    split = rows(folder / "split.csv")
    assert list(split[0]) == ["file", "label", "group", "part"]
    assert {row["part"] for row in split} == {"train", "val", "test"}
    assert len(split) == 60 == len({row["file"] for row in split})
    receipt = json.loads((folder / "receipt.json").read_text(encoding="utf-8"))
    assert receipt["forecast"].keys() == receipt["outcome"].keys() == {"seconds", "bytes"}
    assert receipt["options"]["seed"] == 0 and receipt["data"]["hash"]
    assert receipt["command"].startswith("souron train mlp_tiny")


def test_the_json_has_the_promised_shape():
    record = fast()
    shape = json.loads(json.dumps(record.as_json()))
    assert shape.keys() >= {"run", "system", "data", "measures", "train_seconds", "forecast", "outcome", "skipped"}
    assert shape["measures"].keys() == {"accuracy", "AUC", "Brier score", "log loss"}
    assert shape["measures"]["accuracy"].keys() == {"value", "low", "high", "n", "groups"}


def test_it_learns_and_the_measure_is_of_unseen_cases():
    record = fast(budget="12ep")
    accuracy = record.measures["accuracy"]
    assert accuracy.value > 0.8 and accuracy.low < accuracy.value < accuracy.high
    split = rows(record.folder / "split.csv")
    assert accuracy.n == sum(row["part"] == "test" for row in split)
    told = rows(record.folder / "predictions.csv")
    assert {row["file"] for row in told} == {r["file"] for r in split if r["part"] == "test"}
    right = sum(row["label"] == row["predicted"] for row in told)
    assert right / len(told) == pytest.approx(accuracy.value)


def test_measuring_again_gives_the_same():
    record = fast()
    assert evaluate.evaluate(record.folder) == record.measures
    assert isinstance(record.measures["accuracy"], Measure)


def test_one_seed_gives_one_result_and_another_another():
    first, again, other = fast(), fast(), fast(seed=1)
    assert first.measures == again.measures != other.measures
    assert first.folder != again.folder


@pytest.mark.parametrize("system", ["cnn_tiny", "alexnet_tiny", "airbench_tiny", "dcgan_tiny", "stylegan_tiny"])
def test_a_resumed_run_equals_the_unbroken_one_to_the_bit(system, monkeypatch):
    options = {"system": system, "budget": "2ep", "batch": 128}
    if registry.find(system)[0].task == "generate":
        options["samples"] = 64
    whole = fast(**options)
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(runs_events.Interrupted) as interrupted:
            fast(**options)
    folder = interrupted.value.folder
    assert (folder / "weights" / "resume.safetensors").exists()
    resumed = fast(resume=folder)
    assert resumed.folder == folder
    assert len(resumed.curve) == len(whole.curve)
    for which in ("best", "last"):
        one, _about = files.read_tensors(whole.folder / "weights" / f"{which}.safetensors")
        two, _about = files.read_tensors(folder / "weights" / f"{which}.safetensors")
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert resumed.measures == whole.measures


def test_a_run_interrupted_again_before_its_first_step_loses_nothing(monkeypatch):
    whole = fast("cnn_tiny")
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(runs_events.Interrupted) as interrupted:
            fast("cnn_tiny")
    folder = interrupted.value.folder
    with monkeypatch.context() as patch:
        stop_after(0, patch)
        with pytest.raises(runs_events.Interrupted):
            fast(resume=folder)
    assert fast(resume=folder).measures == whole.measures


@pytest.mark.parametrize("best", [0, 4, 9])
def test_the_network_that_is_kept_is_the_best_on_validation(monkeypatch, best):
    """Of ten looks at the validation cases, whatever the last one was."""
    weights, figures = [], iter([0.5 + 0.4 * (look == best) for look in range(10)])

    def watch(_task, trainer, _setup, _last):
        weights.append(trainer._weights())
        return {"accuracy": next(figures)}

    monkeypatch.setattr(type(registry.load_task("classify")), "watch", watch)
    record = train.train("mlp_tiny", "digits", budget="1280ex", batch=32)
    assert len(weights) == 10
    kept = record.model.state_dict()
    equal = [all(torch.equal(kept[n], w) for n, w in one.items()) for one in weights]
    assert equal == [look == best for look in range(10)]


def test_ctrl_c_on_a_chapter_keeps_the_work_of_the_stop(monkeypatch):
    monkeypatch.setattr(chapters.zoo, "root", lambda: None)
    events = chapters.touring("classification")
    here = next(e for e in events if e.phase == "train" and e.values and "mlp" in e.folder.name)
    with pytest.raises(runs_events.Interrupted) as interrupted:
        events.throw(KeyboardInterrupt)
    assert interrupted.value.folder == here.folder
    assert (here.folder / "weights" / "resume.safetensors").exists()


def test_a_finished_run_is_not_resumed():
    record = fast()
    with pytest.raises(UserError, match="finished already"):
        fast(resume=record.folder)


def test_a_run_killed_in_the_middle_opens_and_goes_on(tmp_path):
    code = (
        "from souron.runs import fit, train\n"
        "fit.KEEP_EVERY = 0.1\n"
        "for event in train.training('mlp_tiny', 'digits', budget='1000000ep', name='killed'):\n"
        "    print(event.phase, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    folder = tmp_path / "runs" / "classify" / "killed"
    waiting.until((folder / "weights" / "resume.safetensors").exists, lambda: process.poll() is None)
    process.kill()
    process.wait()
    process.stdout.close()
    assert run_folder.read_args(folder)["system"] == "mlp_tiny"
    model = prepare.build(run_folder.read_args(folder) | {"changes": {}}, load.load("digits"))
    _optimizers, state, _random = checkpoint.read_checkpoint(folder / "weights" / "resume.safetensors", model)
    assert state["step"] > 0


def test_a_checkpoint_of_another_system_is_refused(monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(runs_events.Interrupted) as interrupted:
            fast()
    folder = interrupted.value.folder
    args = run_folder.read_args(folder)
    run_folder.write_args(folder, {**args, "system": "cnn_tiny"})
    with pytest.raises(UserError, match=r"another system|earlier version"):
        fast(resume=folder)


@pytest.mark.parametrize("options", [{}, {"folds": 2, "repeats": 1, "learning_curve": 0}])
def test_what_is_chosen_is_chosen_on_cases_that_are_not_tested(options, monkeypatch):
    """Threshold and temperature, of the network that is kept and of each fold's."""
    task, asked = registry.load_task("classify"), []

    def told(system, val, setup):
        asked.append(set(val.file))
        return {"threshold": 0.5, "temperature": 1.0}

    answer = type(task).answer

    def tested(self, system, test, *given):
        assert asked[-1] and not asked[-1] & set(test.file)
        asked.append(None)
        return answer(self, system, test, *given)

    monkeypatch.setattr(task, "decide", told)
    monkeypatch.setattr(train, "probe", lambda fit: forecast.Probe(0.0, look=0, held=0))
    monkeypatch.setattr(type(task), "rehearse", lambda self, system, setup: None)
    monkeypatch.setattr(type(task), "answer", tested)
    fast(budget="1ep", **options)
    assert asked.count(None) == (2 if options else 1)


def quickly(monkeypatch):
    """Train without a forecast; the seeds with which networks answer are noted."""
    task, seeds = type(registry.load_task("classify")), []
    answer = task.answer

    def answering(self, system, test, decision, setup, seed):
        seeds.append(seed)
        return answer(self, system, test, decision, setup, seed)

    monkeypatch.setattr(train, "probe", lambda fit: forecast.Probe(0.0, look=0, held=0))
    monkeypatch.setattr(task, "rehearse", lambda *given: None)
    monkeypatch.setattr(task, "answer", answering)
    return seeds


def test_each_fold_learns_with_a_seed_of_its_own(monkeypatch):
    build, seeds, answered = prepare.build, [], quickly(monkeypatch)

    def building(args, cases):
        seeds.append(args["seed"])
        return build(args, cases)

    monkeypatch.setattr(prepare, "build", building)
    fast(budget="1ep", seed=5, folds=2, repeats=1, learning_curve=0)
    assert [seed for seed in seeds if seed != 5] == [6, 7] == answered


def test_a_run_answers_with_its_seed(monkeypatch):
    answered = quickly(monkeypatch)
    record = fast(budget="1ep", seed=5)
    evaluate.evaluate(record.folder)
    assert answered == [5, 5]


def test_initial_weights_and_the_order_of_batches_follow_the_seed(digits):
    """Else the seeds of a comparison would be one training, and its spread nothing but the cases."""
    parts = prepare.divide(ARGS, digits).kept.deal(digits)

    def first(seed, weights=0):
        model = prepare.build({**ARGS, "seed": weights}, parts.train)
        data = prepare.trainer({**ARGS, "seed": seed, "augment": "none"}, model, parts).data
        return torch.cat([weight.flatten() for weight in model.parameters()]), next(data.endless(64)).image

    start, batch = first(3, 1)
    assert all(map(torch.equal, first(3, 1), (start, batch)))
    other, same = first(3, 2)
    assert not torch.equal(other, start) and torch.equal(same, batch)
    same, other = first(4, 1)
    assert torch.equal(same, start) and not torch.equal(other, batch)


def test_augmentation_follows_the_seed_and_the_step(digits):
    drawn = []
    change = lambda rows, generator: drawn.append(generator.initial_seed()) or rows  # noqa: E731
    for seed in (0, 1, 1):
        batches = Loader(digits.only(range(8)), lambda rows: rows, change, seed).endless(4)
        for _batch in range(3):
            next(batches)
    assert len(set(drawn[:6])) == 6 and drawn[3:6] == drawn[6:]


def test_epochs_visit_the_cases_in_orders_of_their_own(digits):
    batches = Loader(digits.only(range(64)), lambda rows: rows, seed=1).endless(64)
    assert not torch.equal(next(batches).input, next(batches).input)


def test_a_receipt_tells_other_data_by_a_pixel_or_a_label(digits):
    def told(cases):
        return train.receipt(ARGS, cases)["data"]["hash"]

    some = digits.only(range(50))
    assert told(some) == told(digits.only(range(50)))
    pixel, label = digits.only(range(50)), digits.only(range(50))
    pixel.input[7, 0, 3, 3] ^= 1
    label.target[7] = (label.target[7] + 1) % 10
    assert len({told(some), told(pixel), told(label), told(digits.only(range(49)))}) == 4


def test_training_pictures_are_augmented_unless_that_is_not_wanted():
    data = load.load("digits")
    split = prepare.divide(ARGS, data).kept
    parts = split.deal(data)

    def first(augment):
        model = prepare.build(ARGS, parts.train)
        trainer = prepare.trainer({**ARGS, "augment": augment}, model, parts)
        return next(trainer.data.endless(64)).image

    plain = first("none")
    assert torch.equal(plain, first("none"))
    assert not torch.equal(plain, first(None))  # what the data set names
    assert not torch.equal(plain, first("mirror"))


def test_early_stopping_stops():
    record = fast(budget="200ep", patience=3, rate=1e-9)
    assert record.stopped == "patience" and record.curve[-1]["epoch"] < 200


def test_transfer_from_an_own_run_keeps_the_body():
    first = fast("cnn_tiny", budget="4ep")
    second = fast("cnn_tiny", pretrained=str(first.folder), freeze=True, seed=5)
    before, after = first.model.state_dict(), second.model.state_dict()
    head = first.model.head + "."
    for name in before:
        assert torch.equal(before[name], after[name]) == (not name.startswith(head)), name


def test_freezing_random_layers_is_refused():
    with pytest.raises(UserError, match="random layers"):
        fast(freeze=True)


def test_published_weights_that_are_not_there_say_how_to_get_them():
    with pytest.raises(UserError) as trouble:
        fast("resnet18", pretrained=True)
    assert trouble.value.fix == "souron fetch resnet18" and trouble.value.exit == 4


def test_what_does_not_fit_into_memory_is_refused_with_what_fits(monkeypatch):
    monkeypatch.setattr(forecast.hardware, "memory", lambda: (10**7, 10**7))
    with pytest.raises(UserError) as trouble:
        fast("cnn", side=32, batch=1024)
    assert trouble.value.code == "memory" and trouble.value.exit == 4
    fits = int(trouble.value.fix.removeprefix("batch="))
    assert 1 < fits < 1024


def test_a_loss_that_explodes_is_said_with_its_step():
    with pytest.raises(UserError, match="not finite at step") as trouble:
        fast(rate=1e30, budget="5ep")
    assert "lr0=" in trouble.value.fix


def test_an_unwritable_project_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError) as trouble:
        fast(project=tmp_path / "file")
    assert trouble.value.code == "disk" and "project=" in trouble.value.fix


def test_a_grouping_groups():
    grouped = fast("kmeans", budget="20ep")
    assert len(grouped.answers[0]["cluster"]) == grouped.parts["test"]
    assert 0 < grouped.measures["silhouette"].value < 1


def test_a_broken_file_is_skipped_by_name_and_counted(photos):
    (photos / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n1234")
    record = fast(data=str(photos))
    assert [skipped.file for skipped in record.skipped] == ["cat/broken.png"]
    assert record.as_json()["skipped"][0]["code"]
    assert "cat/broken.png" in (record.folder / "report.html").read_text(encoding="utf-8")


def test_other_data_is_measured_by_the_labels_names(photos):
    record = fast(data=str(photos))
    others = photos.rename(photos.with_name("others"))
    assert evaluate.examine(record.folder, others, allow_leak=True).measures["accuracy"].n == 60
    (others / "cat").rename(others / "lion")
    with pytest.raises(UserError, match="does not know the labels lion"):
        evaluate.evaluate(record.folder, others, allow_leak=True)


def test_a_brief_training_holds_validation_and_test_within_the_budget_of_the_clock(monkeypatch):
    """Where the processor works for a tenth of the time; a look takes as long as four steps."""
    data, clock, task = load.load("digits"), [0.0], registry.load_task("classify")
    args = {**ARGS, "budget": "10s", "augment": None, "brief": True}
    parts = prepare.divide(args, data).kept.deal(data)
    fit = prepare.trainer(args, prepare.build(args, parts.train), parts)
    fit.setup, fit.task = SimpleNamespace(test=parts.test), task

    def passing(seconds, value):
        clock[0] += seconds
        return value

    monkeypatch.setattr(task, "watch", lambda *_others: passing(0.4, {"accuracy": 0.5}))
    monkeypatch.setattr(fit, "_count", lambda seconds, worked, count=fit._count: count(passing(0.1, 0.1), 0.01))
    monkeypatch.setattr(trainer, "time", SimpleNamespace(perf_counter=lambda: clock[0], thread_time=lambda: 0.0))
    while not fit.done:
        fit.go(1.0)
    assert fit.seconds + len(fit.curve) * 0.4 == pytest.approx(clock[0])
    assert clock[0] + 0.4 == pytest.approx(10, abs=0.5)  # the test's cases take a look's time
    assert len(fit.curve) >= 2 and len(fit.curve) * 0.4 <= fit.seconds + 0.8  # and most of it is training


def test_looks_that_are_long_leave_half_of_a_brief_budget_to_the_training(monkeypatch):
    fit = trainer.Trainer.__new__(trainer.Trainer)
    vars(fit).update(
        by_clock=True, _looked=2.0, seconds=1.0, budget=SimpleNamespace(unit="seconds"), _used=0.9, curve=[]
    )
    assert not fit._due()
    fit.seconds = 2.0
    assert fit._due()


def test_a_brief_training_is_tested_on_few_cases_which_are_always_the_same():
    data = load.load("digits")
    whole, brief = (prepare.divide({**ARGS, "brief": brief}, data).kept for brief in (False, True))
    assert [len(part) for part in brief.deal(data)] == [len(whole.train), 200, 200]
    assert {*brief.test.tolist()} < {*whole.test.tolist()} and brief.test.tolist() == sorted(brief.test.tolist())
    assert brief.test.equal(prepare.divide({**ARGS, "brief": True}, data).kept.test)
    few = data.only(range(300))  # else it would be cross-validated
    assert not prepare.divide({**ARGS, "data": "few", "brief": True}, few).repeats


def test_the_test_of_a_brief_generator_draws_what_half_of_its_budget_holds(monkeypatch):
    task = registry.load_task("generate")
    monkeypatch.setattr(task, "seconds", lambda *_others: 100.0)
    monkeypatch.setattr(train, "batch_within", lambda fit: fit.batch)
    monkeypatch.setattr(train, "_ready", lambda _task, args, *_others: iter([args]))
    setup = SimpleNamespace(test=range(200))
    fit = SimpleNamespace(batch=64, setup=setup, budget=Budget(10, "seconds"))
    ready = SimpleNamespace(fit=fit, everything=None, computed=None)
    [args] = train._hurried(task, {"samples": None}, ready, False)
    assert args == {"samples": 10}
    assert not [*train._hurried(task, {"samples": 50}, ready, False)]  # as somebody wished


def test_a_brief_training_begins_at_once_with_steps_that_its_budget_holds(monkeypatch):
    """By a clock on which a case takes a twentieth of a second: half a second is a step of ten."""
    clock, loss = [0.0], Classifier.loss

    def slow(system, batch):
        clock[0] += 0.05 * len(batch.image)
        return loss(system, batch)

    monkeypatch.setattr(Classifier, "loss", slow)
    monkeypatch.setattr(forecast, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    events = train.training("mlp_tiny", "digits", budget="2s", brief=True)
    begun = next(event for event in events if event.phase == "train")
    events.close()
    assert run_folder.read_args(begun.folder)["batch"] == 10
    assert len(rows(begun.folder / "split.csv")) == len(load.load("digits"))


@pytest.mark.parametrize("share, steps", [(1.0, 100), (0.5, 100), (0.1, 30)])
def test_a_budget_of_seconds_counts_those_that_the_processor_had(monkeypatch, share, steps):
    """Where other programs have it half of the time, a training takes twice as long and learns as
    much; it ends where three times the budget is over."""
    wall, own = count(), count()  # each step takes a tenth of a second of the processor
    times = SimpleNamespace(perf_counter=lambda: next(wall) * 0.1 / share, thread_time=lambda: next(own) * 0.1)
    data = load.load("digits")
    parts = prepare.divide(ARGS, data).kept.deal(data)
    args = {**ARGS, "budget": "10s", "augment": None}
    fit = prepare.trainer(args, prepare.build(ARGS, parts.train), parts)
    monkeypatch.setattr(trainer, "time", times)
    while not fit.done:
        fit.go(1.0)
    assert fit.step == pytest.approx(steps, abs=1)
    assert fit.seconds == pytest.approx(min(10 / share, 30), rel=0.05)
