"""A comparison whose rounds are played elsewhere says what it says here, and keeps what came home."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from test_engines import cluster_of_dask, environment

from souron.cli import main
from souron.data.load import load
from souron.engines import engine
from souron.runs.compare import compare
from souron.runs.elsewhere.machines import Machine, machines
from souron.runs.elsewhere.rounds import Agreement
from souron.utils.messages import UserError

SYSTEMS = ["mlp_tiny", "cnn_tiny"]
SMALL = {"budget": "1ep", "seeds": 2}


def values(record):
    return [(row.system, row.value, row.low, row.high, row.seeds) for row in record.rows]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The comparison as one process makes it."""
    return compare(SYSTEMS, "digits", project=str(tmp_path_factory.mktemp("here")), **SMALL)


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_by_examples_its_figures_are_those_of_one_computer(here, kind, tmp_path):
    if kind == "processes":
        found = compare(SYSTEMS, "digits", on="processes:2", **SMALL)
    else:
        pytest.importorskip("distributed")
        with cluster_of_dask(tmp_path) as (address, _processes):
            found = compare(SYSTEMS, "digits", on=f"dask://{address}", **SMALL)
    assert values(found) == values(here) and found.sentence == here.sentence
    played = found.as_json()["machines"]
    assert sorted(number for machine in played for number in machine["rounds"]) == [0, 1]
    assert all(machine["threads"] == 1 and machine["speed"] > 0 and machine["name"] for machine in played)
    assert json.loads((found.folder / "receipt.json").read_text())["machines"] == played
    assert "machines" not in here.as_json()


def test_rounds_that_came_home_are_not_played_again(here, monkeypatch):
    first = compare(SYSTEMS, "digits", on="processes:2", **SMALL)
    lost = first.folder / "rounds" / "1.safetensors"
    lost.unlink()
    asked = []
    gather = engine.gather
    monkeypatch.setattr(
        engine,
        "gather",
        lambda on, play, parts: asked.append([key for key, _given in parts]) or gather(on, play, parts),
    )
    again = compare(resume=first.folder, on="processes:1")
    assert asked == [[1]] and values(again) == values(here)


def test_a_killed_caller_goes_on_where_its_rounds_came_home(here, tmp_path):
    words = [sys.executable, "-m", "souron", "compare", *SYSTEMS, "data=digits", "budget=1ep", "seeds=2"]
    caller = subprocess.Popen([*words, "on=processes:2", "--quiet"], env=environment(), cwd=tmp_path)
    limit = time.monotonic() + 120
    while not list(tmp_path.glob("runs/compare/*/rounds/*.safetensors")):
        assert time.monotonic() < limit and caller.poll() is None
        time.sleep(0.05)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    [folder] = tmp_path.glob("runs/compare/*")
    assert not (folder / "receipt.json").exists()
    assert values(compare(resume=folder)) == values(here)


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


@pytest.mark.parametrize("name", ["souron", "code", "torch", "bf16", "data"])
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
        told = vars(Machine(name, 2, speed, 1.0))
        (tmp_path / "rounds" / f"{number}.machine.json").write_text(json.dumps(told))
    assert machines(tmp_path) == [
        {"name": "desk", "rounds": [0, 2], "speed": 15.0, "threads": 2},
        {"name": "lab", "rounds": [1], "speed": 3.0, "threads": 2},
    ]
    assert machines(tmp_path / "nothing") == []


def test_the_data_is_the_same_by_its_content(digits):
    assert Agreement.here(digits).data == Agreement.here(load("digits")).data
    other = replace(digits, target=digits.target.roll(1))
    assert Agreement.here(other).data != Agreement.here(digits).data
