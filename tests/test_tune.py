"""The search of settings looks at validation cases only, and says on test cases what it was worth."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from interrupting import stop_after

from souron import registry
from souron.actions import tune
from souron.actions.tune import JOURNAL, Among, Journal, Range, Search, Trial, Tune, Tuned, read_space
from souron.cli import main
from souron.runs import options as run_options
from souron.runs.compare import Comparison
from souron.runs.events import Event, Interrupted
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


def search(higher=True, seed=0):
    metric = SimpleNamespace(higher_is_better=higher)
    comparison = SimpleNamespace(task=SimpleNamespace(watches="accuracy", metric=lambda _name: metric))
    return Search(optuna, {"rate": Range(1e-4, 1.0)}, comparison, seed, Journal(None))


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


def test_no_case_is_tested_that_the_search_chose_on(photos, monkeypatch, compared):
    """Sixty images, which a comparison would cross-validate: then each is tested once, those that chose too."""
    trained(monkeypatch)
    Tune(writes=False).result("mlp_tiny", **{**SMALL, "data": str(photos), "trials": 3})
    [asked] = compared
    given = {name: asked.pop(name) for name in ("systems", "data")} | {"pretrained": "False"}
    common, own = run_options.read(run_options.CompareOptions, asked, "")
    comparison = Comparison({**common, **own, **given})
    [(_seed, chosen_on)] = tune.prepared("mlp_tiny", str(photos), "100ex").rounds
    tested = {row for _seed, split in comparison.rounds for row in split.test.tolist()}
    assert tested and tested.isdisjoint([*chosen_on.train.tolist(), *chosen_on.val.tolist()])


def test_a_task_without_cross_validation_is_not_asked_for_one_split():
    assert tune.one_split("mlp_tiny") == {"folds": 1} and tune.one_split("unet_tiny") == {}


def test_trials_have_other_seeds_than_the_comparison(monkeypatch):
    seeds = []

    def entered(_comparison, _name, seed, _split):
        seeds.append(seed)
        raise UserError("memory", "too large")
        yield

    monkeypatch.setattr(Comparison, "enter", entered)
    for seed in (0, 1):
        tune.attempt("mlp_tiny", "digits", "200ex", seed, {})
    assert len(set(seeds)) == 2 and set(seeds).isdisjoint(range(100))


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


SMALL = {"data": "digits", "trials": 14, "budget": "100ex", "seeds": 2}


def figure_of(changes):
    """A figure that is best at a rate of 0.02; of the default, that of 0.001."""
    return 1 / (1 + abs(math.log10(float(changes.get("rate", 0.001)) / 0.02)))


def trained(monkeypatch, stop=None):
    """Let a training be a figure, and the one after ``stop`` others Ctrl-C; return the settings as they come."""
    tried = []

    def attempt(_system, _data, _budget, _seed, changes):
        if len(tried) == stop:
            raise KeyboardInterrupt
        tried.append(dict(changes))
        return figure_of(changes), ""

    monkeypatch.setattr(tune, "attempt", attempt)
    return tried


@pytest.fixture
def compared(monkeypatch):
    """Let the comparison be its arguments; return those as they come."""
    asked = []

    def comparing(**options):
        asked.append(options)
        yield Event("train", folder=Path(options.get("resume") or "runs/compare/digits-100ex"))
        yield Event("done", record=SimpleNamespace(as_json=dict, sentence="better", warnings=(), folder=None))

    monkeypatch.setattr(tune, "comparing", comparing)
    return asked


def interrupted(stop, monkeypatch, **more):
    """Run a search that Ctrl-C ends after ``stop`` trials; return its folder."""
    trained(monkeypatch, stop)
    with pytest.raises(Interrupted) as stopped:
        Tune().result("mlp_tiny", **SMALL, **more)
    assert stopped.value.command == f"souron tune resume={stopped.value.folder}"
    return stopped.value.folder


@pytest.mark.parametrize(("stop", "at_once"), [(1, 1), (12, 1), (6, 4)])
def test_a_resumed_search_is_that_of_an_undisturbed_one(stop, at_once, monkeypatch, compared):
    trained(monkeypatch)
    whole = Tune().result("mlp_tiny", at_once=at_once, **SMALL)
    folder = interrupted(stop, monkeypatch, at_once=at_once)
    again = trained(monkeypatch)
    resumed = Tune().result(resume=str(folder))
    assert len(again) == SMALL["trials"] - stop and len(resumed.trials) == SMALL["trials"]
    assert resumed.trials == whole.trials and resumed.best == whole.best and resumed.best.changes
    assert resumed.folder == folder and len(compared) == 2


def test_a_killed_search_goes_on_by_the_command_line(tmp_path, capsys, monkeypatch, compared):
    code = (
        "import os, signal\nfrom souron.cli import main\nfrom souron.actions import tune\ncount = []\n"
        "def attempt(*given):\n    count.append(1)\n    if len(count) == 4:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n    return 0.1 * len(count), ''\n"
        "tune.attempt = attempt\nmain.run(['tune', 'mlp_tiny', 'trials=5', 'budget=100ex', 'seeds=2'])"
    )
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    [folder] = Path("runs/tune").iterdir()
    with (folder / JOURNAL).open("a") as file:
        file.write('{"number": 3, "chan')  # killed while it wrote
    again = trained(monkeypatch)
    assert main.run(["tune", "--resume", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(again) == 2 and [one["value"] for one in told["trials"][:3]] == pytest.approx([0.1, 0.2, 0.3])
    lines = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]
    assert [line["number"] for line in lines if "number" in line] == [0, 1, 2, 3, 4]


@pytest.mark.skipif(os.name == "nt", reason="SIGINT to the own process")
def test_a_comparison_that_was_begun_goes_on(monkeypatch):
    trained(monkeypatch)
    options = {**SMALL, "trials": 3, "budget": "3ep"}
    with monkeypatch.context() as once, pytest.raises(Interrupted) as stopped:
        stop_after(3, once)
        Tune().result("mlp_tiny", **options)
    folder = stopped.value.folder
    [comparison] = Path("runs/compare").iterdir()
    assert folder.parent.name == "tune" and list(comparison.rglob("resume.safetensors"))
    again = trained(monkeypatch)
    resumed = Tune().result(resume=str(folder))
    assert not again and list(Path("runs/compare").iterdir()) == [comparison]
    assert resumed.verdict.folder.resolve() == comparison.resolve()


def test_without_a_folder_the_latest_unfinished_search_goes_on(monkeypatch, compared, capsys):
    with pytest.raises(UserError, match="waits to be resumed"):
        Tune().result(resume="true")
    trained(monkeypatch)
    Tune().result("mlp_tiny", **SMALL)
    folder = interrupted(2, monkeypatch)
    trained(monkeypatch)
    assert main.run(["tune", "--resume", "--json"]) == 0
    assert (folder / "tune.json").is_file()
    with pytest.raises(UserError, match="waits to be resumed"):
        Tune().result(resume="true")


def test_other_settings_than_those_of_the_journal_are_refused(monkeypatch, compared):
    folder = interrupted(3, monkeypatch)
    trained(monkeypatch)
    for given, options in [
        (["cnn_tiny"], {}),
        ([], {"trials": 20}),
        ([], {"space": "rate:1e-3..1"}),
        ([], {"seed": 4}),
    ]:
        with pytest.raises(UserError, match="other settings") as trouble:
            Tune().result(*given, resume=str(folder), **options)
        assert trouble.value.code == "journal"
    monkeypatch.setattr(tune, "content", lambda _data: "other")
    with pytest.raises(UserError, match="other settings: content="):
        Tune().result(resume=str(folder))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace('"seed": 0', '"seed": 1'), "the search proposes"),
        (lambda text: text.replace('"number": 1', '"number": "x"'), "line 3"),
        (lambda text: text.replace("\n", "\n[]\n", 1), "line 2"),
        (lambda text: text + '{"comparison": ".."}\n', "line 5"),
        (lambda text: text + '{"comparison": "../../x"}\n', "line 5"),
        (lambda _text: "[" * 100_000 + "\n", "line 1"),
        (lambda _text: "", "line 1"),
    ],
)
def test_a_journal_that_is_not_of_this_search_is_refused(change, told, monkeypatch, compared):
    folder = interrupted(3, monkeypatch)
    path = folder / JOURNAL
    path.write_text(change(path.read_text()))
    trained(monkeypatch)
    with pytest.raises(UserError, match=told) as trouble:
        Tune().result(resume=str(folder))
    assert trouble.value.code == "journal" and not compared


def test_a_folder_without_a_journal_is_no_search(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="cannot be read") as trouble:
        Tune().result(resume=str(tmp_path))
    assert trouble.value.code == "journal"
    monkeypatch.setattr(tune, "MOST_JOURNAL", 10)
    (tmp_path / JOURNAL).write_text('{"settings": {}}\n')
    with pytest.raises(UserError, match="larger"):
        Tune().result(resume=str(tmp_path))


def test_failed_trials_are_kept_too(tmp_path):
    journal = Journal.new(tmp_path, {"system": "x"})
    journal.add(0, Trial({"rate": "1"}, math.nan, "too large"))
    [trial] = Journal.read(tmp_path).trials.values()
    assert trial.trouble == "too large" and math.isnan(trial.value) and trial.changes == {"rate": "1"}
