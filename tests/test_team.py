"""Two processes that share each batch end where one ends, and all end where one does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
import typer
import waiting
from test_engines import environment

from souron.cli import team
from souron.training import ranks
from souron.utils.files import read_tensors
from souron.utils.messages import UserError

PARTS = Path(__file__).parent / "team_parts.py"
STEPS = 10


def trained(name, out, processes, *words, batch=32):
    """The weights after ten steps."""
    command = [sys.executable, str(PARTS), name, str(STEPS), str(batch), str(out), *words]
    meeting = out.parent / f"meeting {out.name}"
    meeting.mkdir()
    team = [{}] if processes == 1 else ranks.environments(processes, str(meeting)).values()
    going = [subprocess.Popen(command, env=environment() | own) for own in team]
    assert [one.wait(waiting.LIMIT) for one in going] == [0] * processes
    weights, about = read_tensors(out)
    assert about["steps"] == STEPS
    return weights


def apart(first, second):
    return max(float((first[name].float() - second[name].float()).abs().max()) for name in first)


@pytest.mark.parametrize("name", ["mlp_tiny", "resnet_tiny"])
def test_two_processes_end_where_one_does(name, tmp_path):
    """The second has batch normalisation, whose means are those of the whole batch."""
    one, two = (trained(name, tmp_path / str(count), count) for count in (1, 2))
    assert apart(one, two) < 1e-5
    if name == "resnet_tiny":
        assert any("running_mean" in key for key in one)
        assert apart(one, trained(name, tmp_path / "alone", 2, "alone")) > 1e-4


@pytest.mark.parametrize("batch, processes", [(5, 2), (8, 3)])
def test_unequal_parts_of_a_batch_count_by_their_cases(batch, processes, tmp_path):
    one, more = (trained("resnet_tiny", tmp_path / str(n), n, batch=batch) for n in (1, processes))
    assert apart(one, more) < 1e-4


def souron(*words, cwd):
    return subprocess.Popen(
        [sys.executable, "-m", "souron", *words],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_trains_on_two_processes_and_reports_once(tmp_path):
    going = souron(
        *["train", "mlp_tiny", "data=digits", "budget=2000ex", "folds=1", "processes=2", "--no-forecast", "--json"],
        cwd=tmp_path,
    )
    out, err = going.communicate(timeout=waiting.LIMIT)
    assert going.returncode == 0, err
    told = json.loads(out)
    assert told["measures"]["accuracy"]["value"] > 0.3
    assert [folder.name for folder in (tmp_path / "runs" / "classify").iterdir()] == ["mlp_tiny-digits"]
    assert (tmp_path / told["run"] / "receipt.json").is_file()


def learning(*words, cwd):
    """A command that trains, once its first steps are behind it."""
    events = cwd / f"{len(list(cwd.glob('*.jsonl')))}.jsonl"
    going = souron(*words, f"--events={events}", cwd=cwd)
    waiting.until(
        lambda: events.exists() and events.read_text().count('"phase": "train"') > 5, lambda: going.poll() is None
    )
    return going


def workers(going):
    every = psutil.Process(going.pid).children(recursive=True)
    return {
        int(one.environ().get("RANK", "-1")): one
        for one in every
        if one.is_running() and "RANK" in one.environ() and "multiprocessing" not in " ".join(one.cmdline())
    }


def endings(cwd):
    """The exit codes that the events of the first command tell."""
    lines = map(json.loads, (cwd / "0.jsonl").read_text().splitlines())
    return [line["ended"] for line in lines if "ended" in line]


LONG = "train mlp_tiny data=digits budget=1h folds=1 processes=2 --no-forecast"


def test_one_that_is_killed_ends_all_with_one_message(tmp_path):
    going = learning(*LONG.split(), cwd=tmp_path)
    every = workers(going)
    every[1].kill()
    _out, err = going.communicate(timeout=waiting.LIMIT)
    assert going.returncode == 4, err
    assert err.count("process 2 of 2 ended") == 1 and "Traceback" not in err and "[bug]" not in err
    assert endings(tmp_path) == [4]
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in every.values())


def test_ctrl_c_keeps_the_work_and_one_process_goes_on(tmp_path):
    going = learning(*LONG.split(), cwd=tmp_path)
    every = workers(going)
    for one in (going, *every.values()):  # as a terminal sends it to all
        os.kill(one.pid, signal.SIGINT)
    _out, err = going.communicate(timeout=waiting.LIMIT)
    assert going.returncode == 130, err
    [folder] = (tmp_path / "runs" / "classify").iterdir()
    assert (folder / "weights" / "resume.safetensors").is_file()
    assert endings(tmp_path) == [130]
    again = learning("train", f"resume={folder}", "--json", cwd=tmp_path)
    again.send_signal(signal.SIGINT)
    _out, err = again.communicate(timeout=waiting.LIMIT)
    assert again.returncode == 130, err


@pytest.mark.parametrize(
    "words, text",
    [
        ("train kmeans data=digits processes=2", "gradient descent"),
        ("train mlp_tiny data=digits folds=2 budget=100ex processes=2", "folds=1"),
        ("train mlp_tiny data=digits folds=1 batch=1 budget=10ex processes=2", "too small"),
    ],
)
def test_what_has_no_batch_to_share_is_refused(words, text, tmp_path):
    going = souron(*words.split(), "--no-forecast", cwd=tmp_path)
    _out, err = going.communicate(timeout=waiting.LIMIT)
    assert going.returncode == 2 and text in " ".join(err.split()) and "Traceback" not in err


def test_processes_meet_on_the_loopback_interface(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"eth0": [], "lo": []})
    for variables in ranks.environments(2, str(tmp_path)).values():
        assert variables["GLOO_SOCKET_IFNAME"] == variables["NCCL_SOCKET_IFNAME"] == "lo"


def test_the_words_of_the_processes_do_not_start_further_ones():
    words = ["train", "cnn", "processes=2", "budget=1s", "--processes", "3", "--processes=4", "--json"]
    assert ranks.without(words) == ["train", "cnn", "budget=1s", "--json"]


def test_an_error_that_the_end_of_another_process_brings_is_not_told_twice(monkeypatch):
    waits = []
    monkeypatch.setattr(ranks.time, "sleep", waits.append)

    def events(error):
        yield 1
        raise error

    for error in (RuntimeError("Connection closed by peer"), UserError("data", "no data")):
        with pytest.raises(type(error)):
            ranks.help_with(events(error))
        with pytest.raises(type(error)):
            list(ranks.lead(events(error)))
    assert waits == [ranks.PATIENCE, ranks.NOTICE, ranks.PATIENCE], "the leader says at once what a user can mend"


@pytest.mark.parametrize(("rank", "writes"), [("0", True), ("1", False)])
def test_the_leader_alone_writes_events(monkeypatch, rank, writes):
    monkeypatch.setattr(team.signal, "signal", lambda *given: None)
    monkeypatch.setattr(team.screen, "journal", "a journal")
    for name, value in {"RANK": rank, "WORLD_SIZE": "2", ranks.MEETING: "there"}.items():
        monkeypatch.setenv(name, value)
    assert team.is_helper(2) is not writes
    assert (team.screen.journal is not None) is writes


def test_who_starts_a_team_leaves_its_events_to_the_leader(monkeypatch):
    monkeypatch.setattr(team.screen, "journal", "a journal")
    monkeypatch.setattr(ranks, "start", lambda processes, words: 130)
    monkeypatch.delenv(ranks.MEETING, raising=False)
    with pytest.raises(typer.Exit) as ended:
        team.is_helper(2)
    assert ended.value.exit_code == 130 and team.screen.journal is None


def test_outside_of_a_team_a_process_leads_itself(monkeypatch):
    monkeypatch.setenv("RANK", "3")  # of another program
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv(ranks.MEETING, raising=False)
    assert ranks.rank() == 0 and ranks.size() == 1


def test_a_gradient_that_no_process_has_stays_none(monkeypatch):
    from souron.training import team

    made = object.__new__(team.Team)
    made.size = 1
    made.system = type("System", (), {"device": torch.device("cpu")})()
    monkeypatch.setattr(team.dist, "all_reduce", lambda tensor: None)
    with_one, without = (torch.nn.Parameter(torch.ones(2)) for _each in range(2))
    with_one.grad = torch.tensor([1.0, 2.0])
    made.average([with_one, without])
    assert with_one.grad.tolist() == [1, 2] and without.grad is None
