"""A comparison whose rounds are played elsewhere says what it says here, and keeps what came home."""

import errno
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import round_parts
import torch
import waiting
from test_engines import HERE, cluster_of_dask, environment, running

from souron.actions.tune import prepared as tune_prepared
from souron.cli import main
from souron.data.load import load
from souron.engines import engine
from souron.runs import compare as run_compare
from souron.runs.compare import compare, comparing
from souron.runs.elsewhere import equal_examples
from souron.runs.elsewhere.machines import Machine, machines
from souron.runs.elsewhere.rounds import Agreement
from souron.runs.events import result
from souron.runs.train import train, training
from souron.training.budget import Budget
from souron.utils.messages import UserError

SYSTEMS = ["mlp_tiny", "cnn_tiny"]
SMALL = {"budget": "1ep", "seeds": 2}
DAY = 86_400  # seconds; a clock that jumps does so by weeks


def values(record):
    return [(row.system, row.value, row.low, row.high, row.seeds) for row in record.rows]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The comparison as one process makes it."""
    return compare(SYSTEMS, "digits", project=str(tmp_path_factory.mktemp("here")), **SMALL)


@pytest.fixture(scope="module", params=["processes", "dask"])
def on(request, tmp_path_factory):
    if request.param == "processes":
        yield "processes:2"
    else:
        pytest.importorskip("distributed")
        with cluster_of_dask(tmp_path_factory.mktemp("dask")) as (address, _processes):
            yield f"dask://{address}"


def play_as(monkeypatch, play):
    """Let workers play rounds with another function."""
    gather = engine.gather
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{HERE.parent}")
    monkeypatch.setattr(engine, "gather", lambda on, _play, parts, **more: gather(on, play, parts, **more))


def test_by_examples_its_figures_are_those_of_one_computer(here, on):
    found = compare(SYSTEMS, "digits", on=on, **SMALL)
    assert values(found) == values(here) and found.sentence == here.sentence
    played = found.as_json()["machines"]
    assert sorted(number for machine in played for number in machine["rounds"]) == [0, 1]
    assert all(machine["threads"] == 1 and machine["speed"] > 0 and machine["name"] for machine in played)
    assert all(machine["load"] >= 0 for machine in played)
    assert json.loads((found.folder / "receipt.json").read_text())["machines"] == played
    assert "machines" not in here.as_json()


def test_each_fold_is_a_round_with_the_figures_of_one_computer(on):
    folded = {"budget": "1ep", "seeds": 2, "folds": 3}
    found, alone = compare(SYSTEMS, "digits", on=on, **folded), compare(SYSTEMS, "digits", **folded)
    assert values(found) == values(alone) and found.sentence == alone.sentence
    assert all(np.array_equal(scores, alone.scores[system]) for system, scores in found.scores.items())
    rounds = [number for machine in found.as_json()["machines"] for number in machine["rounds"]]
    assert sorted(rounds) == [0, 1, 2, 3, 4, 5] and found.folds == 3


def test_seconds_on_one_machine_become_examples_once(monkeypatch):
    asked = []

    def examples_within(fit):
        asked.append(fit.budget)
        return 1280 if len(asked) == 1 else 640  # of the first system, and of the second

    monkeypatch.setattr(run_compare, "examples_within", examples_within)
    found = compare(SYSTEMS, "digits", budget="6s@here", seeds=1, folds=2, on="processes:2")
    examples = {"mlp_tiny": 1280, "cnn_tiny": 640}
    assert asked == [Budget(3, "seconds")] * 2, "of a seed, which its folds share"
    assert {row.system: row.examples_seen for row in found.rows} == {
        name: 2 * count for name, count in examples.items()
    }
    for system, curves in found.curves.items():
        assert [curve[-1]["examples"] for curve in curves] == [examples[system]]
    measured = {"machine": platform.node(), "threads": found.receipt["measured"]["threads"], "examples": examples}
    assert json.loads((found.folder / "receipt.json").read_text())["measured"] == measured
    assert found.as_json()["measured"] == measured and "measured" not in found.receipt["options"]
    assert "budget=6s@here" in found.receipt["command"] and "measured" not in found.receipt["command"]
    assert "1,280" in found.report.read_text() and "6 s on the computer that compared" in found.report.read_text()

    for file in (found.folder / "rounds").glob("1.*"):
        file.unlink()
    again = compare(resume=found.folder)
    assert len(asked) == 2 and values(again) == values(found)


@pytest.mark.quick(seconds=25)
def test_seconds_are_measured_on_the_machine_that_is_named(on, monkeypatch):
    name = platform.node()
    monkeypatch.setattr(equal_examples, "platform", SimpleNamespace(node=lambda: "another"))
    budget = f"0.1s@{name}"
    if on.startswith("processes"):
        with pytest.raises(UserError, match="cannot choose the computer"):
            compare(SYSTEMS, "digits", on=on, budget=budget, seeds=2)
        with pytest.raises(UserError, match="is not this computer, which is called another"):
            compare(SYSTEMS, "digits", budget=budget, seeds=2)
        return
    found = compare(SYSTEMS, "digits", on=on, budget=budget, seeds=2)
    measured = found.receipt["measured"]
    assert measured["machine"] == name and measured["threads"] == 1
    for system, curves in found.curves.items():
        assert [curve[-1]["examples"] for curve in curves] == [measured["examples"][system]] * 2
    with pytest.raises(UserError, match="no worker runs on nowhere") as trouble:
        compare(SYSTEMS, "digits", on=on, budget="1s@nowhere", seeds=2)
    assert trouble.value.expected == name


def test_a_machine_is_measured_with_the_threads_of_the_rounds(monkeypatch):
    monkeypatch.setattr(engine, "threads", lambda on: 2)
    monkeypatch.setattr(engine, "check_choice", lambda on: None)

    def measure():
        yield
        return {"threads": torch.get_num_threads()}

    comparison, before = SimpleNamespace(host="here", measure=measure), torch.get_num_threads()
    assert result(equal_examples.measured(comparison, None, "processes:1")) == {"threads": 2}
    assert torch.get_num_threads() == before == 1


@pytest.mark.parametrize("call", [train, tune_prepared])
def test_a_budget_of_one_training_names_no_machine(call):
    with pytest.raises(UserError, match="not a budget"):
        call("mlp_tiny", "digits", budget="2s@here")


def test_the_help_of_compare_names_a_budget_of_one_machine(capsys):
    main.run(["compare", "--help"])
    assert "5min@here" in capsys.readouterr().out


def test_rounds_that_came_home_are_not_played_again(here, monkeypatch):
    first = compare(SYSTEMS, "digits", on="processes:2", **SMALL)
    lost = first.folder / "rounds" / "1.safetensors"
    lost.unlink()
    asked = []
    gather = engine.gather
    monkeypatch.setattr(
        engine,
        "gather",
        lambda on, play, parts, **given: (
            asked.append([key for key, _given in parts]) or gather(on, play, parts, **given)
        ),
    )
    again = compare(resume=first.folder, on="processes:2")  # one alone has two threads, which add up in another order
    assert asked == [[1]] and values(again) == values(here)


def test_a_killed_caller_goes_on_where_its_rounds_came_home(here, on, tmp_path):
    words = [sys.executable, "-m", "souron", "compare", *SYSTEMS, "data=digits", "budget=1ep", "seeds=2"]
    caller = subprocess.Popen([*words, f"on={on}", "--quiet"], env=environment(), cwd=tmp_path)
    waiting.until(lambda: list(tmp_path.glob("runs/compare/*/rounds/*.safetensors")), running(caller))
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    [folder] = tmp_path.glob("runs/compare/*")
    assert not (folder / "receipt.json").exists()
    assert values(compare(resume=folder, on=on)) == values(here)


def test_the_round_of_a_lost_machine_is_played_on_another_and_counted_once(here, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    calls = tmp_path / "calls"
    calls.mkdir()
    play_as(monkeypatch, partial(round_parts.round_of_a_lost_machine, str(calls)))
    with cluster_of_dask(tmp_path) as (address, processes):
        found = compare(SYSTEMS, "digits", on=f"dask://{address}", **SMALL)
        assert [one.poll() is None for one in processes].count(False) == 1, "a machine is lost, with its nanny"
    played = Counter(file.name.partition("-")[0] for file in calls.glob("*-*"))
    assert sorted(played.values()) == [1, 2], "one round is played twice"
    assert values(found) == values(here) and found.sentence == here.sentence
    assert sorted(number for machine in found.as_json()["machines"] for number in machine["rounds"]) == [0, 1]


def test_a_full_disk_ends_a_comparison_and_keeps_its_rounds(here, monkeypatch, tmp_path):
    write, room = Path.write_bytes, 1

    def until_full(path, content):
        nonlocal room
        room -= 1
        write(path, content if room >= 0 else content[:100])
        if room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full, pytest.raises(UserError, match="No space left") as trouble:
        full.setattr(Path, "write_bytes", until_full)
        compare(SYSTEMS, "digits", on="processes:2", **SMALL)
    assert (trouble.value.code, trouble.value.exit) == ("disk", 4)
    [folder] = tmp_path.glob("runs/compare/*")
    [kept] = (folder / "rounds").glob("*.safetensors")
    assert sorted((folder / "rounds").iterdir()) == [kept.with_suffix(".machine.json"), kept], "nothing half-written"
    again = compare(resume=folder)
    assert values(again) == values(here)
    assert [machine["rounds"] for machine in again.as_json()["machines"]] == [[int(kept.stem)]]


def test_a_clock_that_jumps_changes_no_figure(here, monkeypatch):
    play_as(monkeypatch, round_parts.round_while_the_clock_jumps)
    with round_parts.jumping():
        found = compare(SYSTEMS, "digits", on="processes:2", **SMALL)
    assert values(found) == values(here)
    for file in (found.folder / "rounds").glob("*.machine.json"):
        assert 0 < json.loads(file.read_text())["seconds"] < DAY
    assert 0 < json.loads((found.folder / "receipt.json").read_text())["outcome"]["seconds"] < DAY


@pytest.mark.parametrize("kind", ["compare", "train"])
def test_a_second_process_on_one_run_folder_is_refused_at_once(kind, here, capsys):
    options = SMALL if kind == "compare" else {"budget": "1ep"}
    going = comparing(SYSTEMS, "digits", **options) if kind == "compare" else training("mlp_tiny", "digits", **options)
    folder = next(event.folder for event in going if event.folder)
    assert main.run([kind, "--resume", str(folder), "--json"]) == 4
    spoken = json.loads(capsys.readouterr().out)
    assert spoken["error"]["code"] == "busy" and str(folder) in spoken["error"]["found"]
    if kind == "compare":
        assert main.run(["compare", "--resume", str(folder), "round=1", "--quiet"]) == 0, "jobs of one round share it"
    going.close()
    assert not (folder / ".lock").exists()
    if kind == "compare":
        assert values(compare(resume=folder)) == values(here)
    else:
        assert train(resume=folder).measures["accuracy"].value > 0.1


def test_a_job_script_plays_each_round_and_the_folder_is_resumed(here, tmp_path, capsys):
    words = ["compare", *SYSTEMS, "data=digits", "budget=1ep", "seeds=2"]
    assert main.run([*words, "sbatch=my jobs.sh", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    script = (tmp_path / "my jobs.sh").read_text()
    assert told["rounds"] == 2 and "#SBATCH --array=0-1\n" in script and "sbatch 'my jobs.sh'" in told["sentence"]
    for number in ("1", "0"):
        subprocess.run(
            ["bash", "my jobs.sh"], env={**environment(), "SLURM_ARRAY_TASK_ID": number}, cwd=tmp_path, check=True
        )
    found = compare(resume=tmp_path / told["folder"])
    assert values(found) == values(here)
    assert [machine["rounds"] for machine in found.as_json()["machines"]] == [[0, 1]]
    assert main.run([*words, "sbatch=my jobs.sh"]) == 3, "a file that is there stays"
    assert main.run(["compare", "--resume", told["folder"], "round=2"]) != 0
    if shutil.which("sbatch"):
        subprocess.run(["sbatch", "--test-only", "my jobs.sh"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", ["souron", "code", "torch", "bf16", "data", "weights"])
def test_a_machine_that_does_not_agree_is_refused_with_what_mends_it(digits, name):
    own = Agreement.here(digits)
    other = replace(own, **{name: "other" if name != "bf16" else not own.bf16})
    with pytest.raises(UserError) as trouble:
        other.check(own)
    found = trouble.value
    assert found.code == "worker refused" and name in found.found and found.fix
    own.check(own)


def test_a_refused_machine_ends_the_comparison_with_its_reason(monkeypatch):
    honest = Agreement.here
    monkeypatch.setattr(Agreement, "here", lambda data: replace(honest(data), data="of other files"))
    with pytest.raises(UserError, match="data is"):
        compare(SYSTEMS, "digits", on="processes:1", **SMALL)


def test_machines_are_read_back_from_their_rounds(tmp_path):
    (tmp_path / "rounds").mkdir()
    for number, (name, speed) in enumerate([("desk", 10.0), ("lab", 3.0), ("desk", 20.0)]):
        told = vars(Machine(name, 2, speed, 1.0, 0.5))
        (tmp_path / "rounds" / f"{number}.machine.json").write_text(json.dumps(told))
    assert machines(tmp_path) == [
        {"name": "desk", "rounds": [0, 2], "speed": 15.0, "load": 0.5, "threads": 2},
        {"name": "lab", "rounds": [1], "speed": 3.0, "load": 0.5, "threads": 2},
    ]
    assert machines(tmp_path / "nothing") == []


def test_the_data_is_the_same_by_its_content(digits):
    assert Agreement.here(digits).data == Agreement.here(load("digits")).data
    other = replace(digits, target=digits.target.roll(1))
    assert Agreement.here(other).data != Agreement.here(digits).data
