"""``souron val``: what is given and the tasks' own options reach the evaluation; data of another kind is refused."""

from types import SimpleNamespace

import pytest

from souron import registry
from souron.actions.val import Val
from souron.data.dataset import Dataset, ListColumn
from souron.runs import evaluate
from souron.utils.messages import UserError


@pytest.fixture
def examined(monkeypatch):
    """What ``examine`` was called with, by name."""
    calls = {}

    def examine(folder, data=None, hasten=None, **options):
        calls.update(options, folder=folder, data=data)
        raise UserError("seen", "")

    monkeypatch.setattr(evaluate, "examine", examine)

    def call(*given, **options):
        calls.clear()
        with pytest.raises(UserError, match="seen"):
            Val().result(*given, **options)
        return dict(calls)

    return call


def test_the_options_of_all_tasks_are_those_of_the_command():
    own = {option.name for task in registry.tasks().values() for option in task.options}
    assert own <= {option.name for option in registry.action("val").options}
    samples = next(option for option in registry.action("val").options if option.name == "samples")
    assert {"generate", "text_to_image"} <= set(samples.tasks) and "classify" not in samples.tasks


def test_options_of_tasks_reach_the_evaluation_and_others_stay_away(examined):
    assert examined("cnn") == {"folder": "cnn", "data": None, "allow_leak": False}
    told = examined("cnn", samples=3, prevalence=0.2, positive="cat", data="d", fast="off")
    assert told == {
        "folder": "cnn", "data": "d", "allow_leak": False, "samples": 3, "prevalence": 0.2, "positive": "cat",
    }  # fmt: skip


def test_a_system_is_given_once(examined):
    assert examined(model="cnn")["folder"] == examined("cnn", model="cnn")["folder"] == "cnn"
    with pytest.raises(UserError, match="two names are given"):
        Val().result("cnn", model="mlp")
    with pytest.raises(UserError, match="is missing"):
        Val().result()
    with pytest.raises(UserError, match="no option is named"):
        Val().result("cnn", sampels=3)


def test_texts_are_no_classes():
    system = SimpleNamespace(spec=SimpleNamespace(labels=("a", "b")), any_class=False, task="classify")
    cases = Dataset("texts", ListColumn(["1.png", "2.png"]), ListColumn(["one", "two"]), (), "", "")
    with pytest.raises(UserError, match="do not have one class each"):
        evaluate._with_classes_of(system, cases)
