"""``souron train`` and ``souron compare`` as actions: what they hand on, and what they refuse."""

import dataclasses
import json

import pytest

from souron import registry
from souron.cli import main
from souron.kinds.signature import options_of_class
from souron.runs import compare, train
from souron.runs.options import CompareOptions, TrainOptions
from souron.utils.messages import UserError


@pytest.fixture
def handed_on(monkeypatch, tmp_path):
    """The calls of trainings and comparisons, which end with the exit code 3."""
    calls = []

    def events(*given, **options):
        calls.append((*given, options))
        raise UserError("end", "it ends here", exit=3)
        yield

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.setattr(train, "training", events)
    monkeypatch.setattr(compare, "comparing", events)
    return calls


def test_without_a_system_the_last_layer_of_the_network_that_is_here_is_trained(handed_on, capsys):
    assert main.run(["train", "data=photos", "budget=5s"]) == 3
    [(system, data, options)] = handed_on
    assert (system, data) == ("efficientnet_lite", "photos")
    assert options == {"config": {}, "project": "runs", "budget": "5s", "pretrained": True, "freeze": True}
    assert "no system is named" in capsys.readouterr().err
    assert main.run(["train"]) == 2


@pytest.mark.parametrize(("name", "options"), [("train", TrainOptions), ("compare", CompareOptions)])
def test_the_options_are_those_of_the_function_and_of_the_tasks(name, options):
    entry = registry.action(name)
    known = {option.name: option for option in entry.options}
    for inherited in options_of_class(options).values():
        assert known[inherited.name] == inherited
    assert {"data", "epochs", "time", "resume"} <= set(known)
    assert ("learning_curve" in known) is (name == "train") and "folds" in known
    assert {one.name for one in dataclasses.fields(registry.load_action(name).Options)} <= set(known)


def test_a_budget_is_given_once(handed_on, capsys):
    for words in (["epochs=3", "time=5"], ["budget=5s", "epochs=3"]):
        for command in (["train", "cnn"], ["compare", "cnn", "mlp"]):
            assert main.run([*command, *words, "--json"]) == 2
            assert "cannot go together" in json.loads(capsys.readouterr().out)["error"]["found"]
    assert not handed_on
    assert main.run(["compare", "cnn", "mlp", "epochs=3"]) == 3
    assert handed_on == [(["cnn", "mlp"], None, {"project": "runs", "budget": "3ep"})]


def test_runs_that_are_trained_take_no_options_of_a_training(handed_on, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "runs/classify" / name).mkdir(parents=True)
        (tmp_path / "runs/classify" / name / "args.yaml").touch()
    assert main.run(["compare", "runs/classify/a", "runs/classify/b", "seeds=5", "budget=5s", "--json"]) == 2
    assert "budget, seeds cannot go together" in json.loads(capsys.readouterr().out)["error"]["found"]
    assert not handed_on
