"""``--events`` and ``--forecast``: what programs that watch a command get to see."""

import errno
import json
import os
import re
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from interrupting import stop_after
from PIL import Image

from souron.cli import main
from souron.kinds.codecs import provenance
from souron.runs import events as runs_events
from souron.runs import folder as run_folder
from souron.runs import journal, train
from souron.runs.events import Event
from souron.runs.journal import Journal
from souron.utils import files
from souron.utils.messages import UserError

FAST = ("data=digits", "budget=2ep", "--quiet")
RUN = Path("runs/classify/mlp_tiny-digits")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "e.jsonl"


def lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]


def test_every_event_of_a_training_is_a_line_and_the_last_says_how_it_ended(file):
    before = time.time()
    assert main.run(["train", "mlp_tiny", *FAST, "--events", str(file)]) == 0
    *events, end = lines(file)
    assert (end["ended"], "error" in end) == (0, False)
    assert all(before <= event["time"] <= time.time() for event in events)
    phases = list(dict.fromkeys(event["phase"] for event in events))
    assert phases == ["data", "forecast", "train", "check", "test", "report", "done"]
    folders = [event.get("folder") for event in events]
    there = folders.index(str(RUN))
    assert folders == [None] * there + [str(RUN)] * (len(folders) - there)
    assert events[there]["phase"] == "train" and events[there - 1]["phase"] == "forecast"
    curve = [event["values"] for event in events if event["phase"] == "train" and "values" in event]
    assert curve[-1]["epoch"] == 2 and 0 < curve[-1]["val accuracy"] < 1
    assert [event["text"] for event in events if event["phase"] == "data"] == ["digits"]
    assert {"picture", "rows", "record", "forecast"}.isdisjoint(set().union(*events))


def test_what_is_said_is_there_in_the_other_language_too(file):
    assert main.run(["train", "mlp_tiny", *FAST, "--events", str(file)]) == 0
    told = [(event["text"], event.get("translated")) for event in lines(file) if "text" in event]
    assert ("writing the report", {"ja": {"text": "レポートを作成中"}}) in told
    assert ("digits", None) in told
    assert main.run(["train", "mlp_tiny", "data=nowhere/", f"events={file}"]) == 3
    assert "nowhere" in lines(file)[-1]["translated"]["ja"]["found"]


def test_lines_are_added_to_what_is_there(file):
    file.write_text('{"mine": 1}\n')
    assert main.run(["list", "--quiet", f"--events={file}"]) == 0
    assert [set(line) for line in lines(file)] == [{"mine"}, {"time", "ended"}]


def test_what_went_wrong_is_in_the_last_line(file, capsys):
    assert main.run(["train", "mlp_tiny", "data=nowhere/", f"events={file}", "--json"]) == 3
    printed = json.loads(capsys.readouterr().out)["error"]
    assert lines(file)[-1]["ended"] == 3
    assert lines(file)[-1]["error"] == printed and printed["code"]


def test_a_file_that_cannot_be_written_is_said_before_anything_begins(tmp_path, capsys):
    for place in (tmp_path / "no folder" / "e.jsonl", tmp_path, ""):
        assert main.run(["train", "mlp_tiny", *FAST, "--events", str(place)]) == 3
        assert capsys.readouterr().err.startswith("[events]")
    assert not Path("runs").exists()


def test_ctrl_c_is_the_last_line_too(file, monkeypatch):
    slices = stop_after(2, monkeypatch)
    assert main.run(["train", "mlp_tiny", *FAST, f"events={file}"]) == 130
    *_before, last, end = lines(file)
    assert (end["ended"], "error" in end) == (130, False)
    assert last["folder"] == str(RUN) and len(slices) == 3


@pytest.mark.parametrize("verb", ["train", "compare"])
def test_ctrl_c_that_meets_whoever_watches_loses_nothing(verb, file, monkeypatch, capsys):
    stop_after(10**9, monkeypatch)  # so that a slice is a few steps
    tell, seen = Journal.tell, []

    def interrupted(self, event):
        tell(self, event)
        seen.append(event)
        if sum(event.phase == "train" for event in seen) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Journal, "tell", interrupted)
    assert main.run([verb, "mlp_tiny", *FAST, f"events={file}"]) == 130
    [kept] = Path("runs").rglob("resume.safetensors")
    assert files.read_tensors(kept)[1]["state"]["step"] == 9  # three slices of three steps
    assert f"souron {verb} resume={seen[-1].folder}" in capsys.readouterr().err
    assert lines(file)[-1]["ended"] == 130


def test_a_run_that_goes_on_names_its_folder_from_the_first_event(monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(runs_events.Interrupted):
        stop_after(2, patch)
        train.train("mlp_tiny", "digits", budget="2ep")
    events = list(train.training(resume=RUN))
    assert {event.folder for event in events} == {RUN}


def test_a_comparison_names_its_folder_and_its_systems(file):
    words = ["compare", "mlp_tiny", "cnn_tiny", "data=digits", "budget=1ep", "seeds=1", "--quiet"]
    assert main.run([*words, f"events={file}"]) == 0
    *events, end = lines(file)
    assert end["ended"] == 0
    place = str(Path("runs/compare/digits-1ep"))
    known = [event.get("folder") for event in events]
    first = known.index(place)
    assert set(known[first:]) == {place} and events[first]["phase"] == "train"
    rows = next(event["rows"] for event in reversed(events) if event["phase"] == "train")
    assert [row["system"] for row in rows] == ["cnn_tiny", "mlp_tiny"]


def event(number, phase="train", step=0):
    return Event(phase, number / 100, values={"step": step})


def shares(file):
    return [line.get("fraction") for line in lines(file)]


def test_events_that_follow_at_once_are_left_out_but_the_last_of_each_phase(file, monkeypatch):
    monkeypatch.setattr(journal, "BETWEEN", 1e9)
    kept = Journal(file)
    for number in range(5):
        kept.tell(event(number))
    assert shares(file) == [0]
    for number in range(5, 9):
        kept.tell(event(number, "test"))
    assert shares(file) == [0, 0.04, 0.05]
    kept.end(0, None)
    assert shares(file) == [0, 0.04, 0.05, 0.08, None]


def test_no_value_is_left_out(file, monkeypatch):
    monkeypatch.setattr(journal, "BETWEEN", 1e9)
    kept = Journal(file)
    for number in range(6):
        kept.tell(event(number, step=number // 2))
    kept.end(0, None)
    told = [line["values"]["step"] for line in lines(file)[:-1]]
    assert told == [0, 0, 1, 2] and shares(file) == [0, 0.01, 0.03, 0.05, None]


def test_what_was_seen_before_an_interruption_is_told_again(file, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(runs_events.Interrupted):
        stop_after(4, patch)
        train.train("mlp_tiny", "digits", budget="4ep")
    assert main.run(["train", f"resume={RUN}", "--quiet", f"events={file}"]) == 0
    told = [line["values"] for line in lines(file) if line.get("phase") == "train" and "values" in line]
    epochs = [values["epoch"] for values in told]
    assert sorted(set(epochs)) == [1, 2, 3, 4] and epochs == sorted(epochs)


def test_slow_events_are_all_there_at_once(file, monkeypatch):
    monkeypatch.setattr(journal, "BETWEEN", 0.0)
    kept = Journal(file)
    for number in range(5):
        kept.tell(event(number, step=number))
        assert lines(file)[-1]["values"]["step"] == number
    kept.end(0, None)


def test_only_what_is_set_is_said_and_what_is_no_number_is_null(file):
    kept = Journal(file)
    kept.tell(Event("train", values={"loss": float("nan"), "best": float("inf"), "step": 1.5}))
    kept.end(0, None)
    line = lines(file)[0]
    assert line.keys() == {"time", "phase", "fraction", "values"}
    assert line["values"] == {"loss": None, "best": None, "step": 1.5}


def test_a_name_that_is_no_unicode_is_no_obstacle(file):
    kept = Journal(file)
    kept.tell(Event("train", folder=Path("runs/\udce9")))
    kept.end(0, None)
    first = json.loads(file.read_bytes().splitlines()[0])
    assert first["folder"] == "runs/\udce9"


def test_what_is_drawn_lies_beside_marked_as_generated(file, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "BETWEEN", 1e9)
    folder = tmp_path / "run"
    args = {"system": "dcgan_tiny", "data": "some/photos", "seed": 3, "seen": {}, "config": {}}
    run_folder.write_args(folder, args)
    kept = Journal(file)
    shown = Event("train", 0.5, picture=torch.full((16, 1, 8, 8), 77, dtype=torch.uint8))
    for each in (shown, replace(shown, folder=folder), event(50), replace(shown, folder=folder)):
        kept.tell(each)
    kept.end(0, None)
    told = [line.get("picture") for line in lines(file)]
    # without a folder it has no origin
    assert told == [None, "e.jsonl.png", None, "e.jsonl.png", None]
    with Image.open(tmp_path / "e.jsonl.png") as image:
        assert image.getpixel((0, 0)) == (77, 77, 77)
        assert image.width == image.height > 200
    mark = provenance.read(tmp_path / "e.jsonl.png")
    assert (mark.system, mark.data, mark.seed) == ("dcgan_tiny", "photos", 3)
    assert (mark.run, mark.number) == ("unfinished", None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.jsonl", "e.jsonl.png", "run"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/full")
def test_a_full_disk_does_not_end_the_training():
    assert main.run(["train", "mlp_tiny", *FAST, "--events", "/dev/full"]) == 0
    assert (RUN / "receipt.json").exists()


def test_lines_after_a_full_disk_are_whole_again(file):
    class Full:
        """Takes a few bytes more, then none, then all again."""

        def __init__(self, inner):
            self.inner, self.room = inner, [10, 0]

        def write(self, data):
            if not self.room:
                return self.inner.write(data)
            room = self.room.pop(0)
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.inner.write(data[:room])

        def close(self):
            self.inner.close()

    kept = Journal(file)
    kept._file = Full(kept._file)
    for phase in ("data", "forecast", "train"):
        kept.tell(Event(phase))
    kept.end(0, None)
    first, *whole = file.read_text().splitlines()
    assert len(first) == 10
    assert [json.loads(line).get("phase") for line in whole if line] == ["train", None]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_forecast_says_what_a_training_would_take_and_writes_nothing(options, capsys):
    assert main.run(["train", "mlp_tiny", *FAST, "--forecast", *options]) == 0
    out, err = capsys.readouterr()
    assert err == "" and not Path("runs").exists()
    if not options:
        assert "mlp_tiny on digits: 1,259 training cases, 269 test cases" in out
        assert "forecast: " in out
        return
    found = json.loads(out)
    assert found.keys() == {"system", "data", "budget", "forecast", "cases", "testing"}
    assert (found["system"], found["data"], found["budget"]) == ("mlp_tiny", "digits", "2ep")
    assert found["forecast"]["seconds"] > 0 and found["forecast"]["bytes"] > 2**20
    assert found["cases"] == {"train": 1259, "val": 269, "test": 269}


def test_a_training_may_begin_without_a_forecast(monkeypatch, capsys):
    monkeypatch.setattr(train, "probe", None)
    assert main.run(["train", "mlp_tiny", *FAST[:2], "--no-forecast"]) == 0
    said = capsys.readouterr()
    assert "no forecast, as was asked for" in said.err and re.search(r"training time +– ", said.out)
    [receipt] = Path("runs").glob("*/*/receipt.json")
    assert json.loads(receipt.read_text())["forecast"] == {"seconds": 0.0, "bytes": 0}


def test_a_forecast_of_a_comparison_says_what_each_takes(capsys):
    words = ["compare", "mlp_tiny", "cnn_tiny", "data=digits", "seeds=2", "forecast=true"]
    assert main.run([*words, "budget=3s", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert not Path("runs").exists()
    assert (found["systems"], found["seeds"]) == (["mlp_tiny", "cnn_tiny"], 2)
    assert found["cases"].keys() == {"train", "val", "test"}
    assert found["each"].keys() == {"mlp_tiny", "cnn_tiny"}
    assert all(seconds >= 6 for seconds in found["each"].values())  # two seeds of three seconds
    assert sum(found["each"].values()) == pytest.approx(found["forecast"]["seconds"])
    assert main.run([*words, "budget=3s", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "mlp_tiny, cnn_tiny on digits" in out and "forecast: " in out


def test_the_forecast_is_that_of_the_run_itself(monkeypatch):
    """The same events come from one generator, asked to stop early."""
    events = []
    for each in train.training("mlp_tiny", "digits", budget="2ep"):
        events.append(each)
        if each.forecast is not None:
            break
    assert not Path("runs").exists()
    assert [each.phase for each in events] == ["data", "forecast", "forecast"]
    assert events[-1].forecast.cost.seconds == events[-1].values["seconds"]


def test_a_forecast_of_what_does_not_fit_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(train, "probe", lambda fit: (_ for _ in ()).throw(UserError("memory", "too large", exit=4)))
    assert main.run(["train", "mlp_tiny", *FAST, "--forecast", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "memory"
