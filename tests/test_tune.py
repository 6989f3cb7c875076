"""The search of settings looks at validation cases only, and says on test cases what it was worth."""

import json
import math

import pytest

from souron import registry
from souron.cli import main
from souron.runs.compare import Comparison
from souron.studies import tune
from souron.studies.tune import Among, Range, Search, Trial, Tune, Tuned, read_space
from souron.utils.messages import UserError

optuna = pytest.importorskip("optuna")
CONFIG = registry.load_system("vit_tiny")[1]


def test_a_space_is_read():
    assert read_space("rate:1e-4..1e-1, layers:1|2", CONFIG) == {"rate": Range(1e-4, 0.1), "layers": Among(("1", "2"))}
    assert read_space("layers:1..4", CONFIG) == {"layers": Range(1, 4, whole=True)}


def test_without_one_the_rate_is_searched_around_its_own():
    assert read_space("", CONFIG) == {"rate": Range(CONFIG.rate / 10, CONFIG.rate * 10)}


@pytest.mark.parametrize(
    "text",
    ["rate:1..", "rate:0..1", "rate:2..1", "rate:a..b", "rate:1e-3", "rate:1..inf", "rate", "size:1|2", "layers:.5..2"],
)
def test_a_space_that_means_nothing_is_refused(text):
    with pytest.raises(UserError) as trouble:
        read_space(text, CONFIG)
    assert trouble.value.code == "option"


def search(higher=True, seed=0, folder=None):
    return Search(optuna, {"rate": Range(1e-4, 1.0)}, higher, seed, folder)


def test_the_default_is_tried_first_and_wins_a_tie():
    one = search()
    [(handle, changes), *others] = one.proposed(3)
    assert handle is None and changes == {} and len(others) == 2
    one.trials = [Trial({}, 0.5), Trial({"rate": "1"}, 0.5), Trial({"rate": "2"}, math.nan, "too large")]
    assert one.best.changes == {}


def test_the_better_figure_is_the_lower_one_where_lower_is_better():
    one = search(higher=False)
    one.trials = [Trial({}, 0.5), Trial({"rate": "1"}, 0.4)]
    assert one.best.changes == {"rate": "1"}


def test_where_all_trials_fail_the_reason_is_told():
    one = search()
    one.trials = [Trial({}, math.nan, "too large")]
    with pytest.raises(UserError, match="none of the trials"):
        one.best  # noqa: B018


def test_it_searches_where_figures_are_good(monkeypatch):
    """A figure that is best at a rate of 0.01: later proposals lie nearer to it than the first ones."""
    monkeypatch.setattr(tune, "attempt", lambda *given: (-abs(math.log10(float(given[4].get("rate", 1))) + 2), ""))
    one = search()
    options = tune.Options(trials=40)
    while len(one.trials) < 40:
        list(one.tried("cnn_tiny", options, one.proposed(1)))
    far = [-trial.value for trial in one.trials[1:]]
    assert sum(far[-10:]) < 0.6 * sum(far[:10])


def test_trials_never_look_at_test_cases(monkeypatch):
    comparison = tune.prepared("mlp_tiny", "digits", "200ex")
    looked = []
    task = type(comparison.task)
    monkeypatch.setattr(task, "answer", lambda *_given: looked.append(1) or iter(()))
    monkeypatch.setattr(task, "measures", lambda *_given: looked.append(1))
    value, trouble = tune.attempt("mlp_tiny", "digits", "200ex", 0, {})
    assert 0 < value < 1 and trouble == "" and looked == []


def test_settings_that_a_system_refuses_are_a_failed_trial(monkeypatch):
    def refused(*_given):
        raise UserError("memory", "too large")
        yield

    monkeypatch.setattr(Comparison, "enter", refused)
    value, trouble = tune.attempt("mlp_tiny", "digits", "200ex", 0, {"hidden": "9"})
    assert math.isnan(value) and trouble == "too large"


def test_it_ends_with_what_tuning_was_worth(capsys, tmp_path):
    words = [
        "tune",
        "mlp_tiny",
        "data=digits",
        "trials=3",
        "budget=400ex",
        "seeds=2",
        "space=rate:1e-3..1e-1",
        "--json",
    ]
    assert main.run(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["trials"]) == 3 and told["trials"][0]["changes"] == {}
    best = max(told["trials"], key=lambda one: one["value"])
    assert told["best"] == best["changes"]
    if told["best"]:
        assert len(told["worth"]["rows"]) == 2 and told["worth"]["sentence"] in told["sentence"]
    [folder] = (tmp_path / "runs" / "tune").iterdir()
    assert (folder / "report.html").is_file() and (folder / tune.JOURNAL).is_file()
    assert json.loads((folder / "tune.json").read_text())["best"] == told["best"]


def test_on_an_engine_the_figures_are_the_same():
    options = {"data": "digits", "trials": 3, "budget": "300ex", "seeds": 2, "at_once": 3}
    here, there = (Tune(writes=False).result("mlp_tiny", **options, **on) for on in ({}, {"on": "processes:2"}))
    assert sorted((one.name, one.value) for one in here.trials) == sorted((one.name, one.value) for one in there.trials)


def test_the_record_says_when_nothing_was_better():
    record = Tuned(None, "cnn", "digits", "5s", "accuracy", [Trial({}, 0.9), Trial({"rate": "1"}, 0.5)], Trial({}, 0.9))
    assert record.sentences()[0] == "Nothing was better than the default settings."
    [table] = record.tables()
    assert [row[0] for row in table.rows] == ["default", "rate=1"]
    assert "worth" not in record.as_json()
