"""Every row of the lecture answers by one command, on sample files."""

import json
import shlex
import subprocess
from typing import Any

import pytest
from isolation import of_commit

from souron.cli import main
from souron.lecture import rows, samples
from souron.utils.messages import UserError

TRAINED = ("train", "compare")  # their answer is a figure, of seconds of training
LONG = (*TRAINED, "improper", "generated")  # two of these are tried, others for each commit
EXPECTED = {
    **dict.fromkeys(["C3", "C4", "V1", "V2", "V3", "V4", "V5", "V6", "V7"], "ankle boot"),
    **dict.fromkeys(["D1", "D2", "D3", "D4", "S1", "S2", "S3"], "sign"),
    "C6": "言語",
    "G13": "three blue flowers on sand",
    "G16": "saved: ",
    "G19": "heading",
    "L10": "blue",
    "C7": "too│th│ach│e",
    **dict.fromkeys(["L2", "L3", "L4", "L7"], "the pencil"),  # of which the question speaks
    "V8": "Egyptian cat",
    "D6": "12 frames",
    "S4": "12 tiles",
    "S5": "liver",
    "L8": "The ward is open from 2 pm to 7 pm",
    "L9": "20 questions",
    "E2": "aspirin",
    "E3": "Dentists",
}


def tried() -> list[Any]:
    every = list(rows.rows().values())
    slow = [row for row in every if row.answer.split()[1] in LONG]
    few = of_commit(slow, 2)
    return [*(row for row in every if row not in slow), *(pytest.param(row, marks=pytest.mark.slow) for row in few)]


@pytest.mark.parametrize("row", tried(), ids=lambda row: row.id)
def test_a_row_answers(row, tmp_path, monkeypatch, capsys):
    samples.write(tmp_path, row.answer)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(row.answer)
    assert words.pop(0) == "souron"
    code = main.run(words)
    told = capsys.readouterr()
    assert code == 0, told.err
    expected = "interval" if words[0] in TRAINED else EXPECTED.get(row.id, "")
    assert told.out.strip() and expected in told.out


@pytest.mark.slow
def test_fine_tuning_is_shown_with_a_finished_result(tmp_path, monkeypatch, capsys):
    """It trains for epochs, so that a busy machine shows what an idle one does."""
    row = rows.find("V10")
    samples.write(tmp_path, row.answer)
    monkeypatch.chdir(tmp_path)
    assert main.run([*shlex.split(row.answer)[1:], "--no-forecast", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"]["AUC"]["value"] > 0.8


def test_what_is_there_is_not_written_again(tmp_path):
    (tmp_path / "cat.png").write_bytes(b"my own")
    samples.write(tmp_path, "souron predict cat.png shoe.png")
    assert (tmp_path / "cat.png").read_bytes() == b"my own"
    assert (tmp_path / "shoe.png").is_file()
    assert samples.names("souron check answer.txt sources=notes/") == ["answer.txt", "notes/ward.txt"]


def test_the_samples_come_whole_or_say_what_is_missing(tmp_path, monkeypatch):
    for name in samples.writers():
        samples.write(tmp_path, f"souron predict {name}")
    assert (tmp_path / "notes/ward.txt").is_file()
    table = (tmp_path / "tissue/labels.csv").read_text().splitlines()
    assert {line.split(",")[1] for line in table[1:]} == {"brown", "blue"}
    assert all((tmp_path / "tissue" / line.split(",")[0]).is_file() for line in table[1:])
    monkeypatch.setattr(samples.zoo, "root", lambda: None)
    with pytest.raises(UserError, match="not installed"):
        samples.write(tmp_path / "other", "souron predict unet scene.png")


def test_try_prints_the_command_and_its_answer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main.run(["try", "C7"]) == 0
    printed = capsys.readouterr().out
    assert "$ souron tokens" in printed and "The│ pat│ient" in printed
    assert main.run(["try", "Z9"]) == 2
    assert "the lecture has no row 'Z9'" in capsys.readouterr().err


def test_a_command_that_fails_is_shown_and_ends_with_1(tmp_path, monkeypatch, capsys):
    def run(words, cwd, **_given):
        assert cwd == tmp_path / "try" and (cwd / "cat.png").is_file()
        return subprocess.CompletedProcess(words, 3, "", "[wrong] nothing here\n")

    monkeypatch.setattr(samples.subprocess, "run", run)
    assert main.run(["try", "V8", f"project={tmp_path}", "--json"]) == 1
    [answer] = json.loads(capsys.readouterr().out)
    assert answer["row"] == "V8" and answer["exit"] == 3
    assert answer["lines"] == ["[wrong] nothing here"]


def test_after_a_command_that_does_not_end_the_next_row_is_tried(tmp_path, monkeypatch, capsys):
    def run(words, timeout, **_given):
        if "cat.png" in words:
            raise subprocess.TimeoutExpired(words, timeout)
        lines = [f"line {number}" for number in range(9)]
        return subprocess.CompletedProcess(words, 0, "saved: there\n" + "\n".join(lines), "")

    monkeypatch.setattr(samples.subprocess, "run", run)
    assert main.run(["try", "V8", "V4", f"project={tmp_path}"]) == 1
    out = capsys.readouterr().out
    answers, table = out.split("\n\n")[:2], out.split("\n\n")[2].splitlines()
    answers = "\n".join(answers)
    assert "[try] souron predict cat.png took longer than 120 s" in answers
    assert "line 3\n" in answers and "line 4" not in answers and "saved" not in answers
    assert "  [resnet: trained for" in answers
    assert [(line[:2], line.endswith("answered")) for line in table[1:]] == [("V8", False), ("V4", True)]


def test_a_network_that_was_fetched_answers_a_row(tmp_path, monkeypatch):
    row = rows.find("D4")
    assert samples.command(row) == row.answer and row.fetched
    monkeypatch.setattr(samples.fetch, "where", lambda name: tmp_path if name == "nanodet" else None)
    assert samples.command(row) == "souron predict nanodet cat.png"
    assert samples.names(samples.command(row)) == ["cat.png"]


def test_every_command_for_fetched_networks_names_one():
    named = [samples.command_system(command) for row in rows.rows().values() for command in row.fetched]
    assert named and all(samples.fetch.item(name) for name in named)


def test_a_command_that_does_not_end_is_stopped(tmp_path, monkeypatch):
    def run(words, **given):
        raise subprocess.TimeoutExpired(words, given["timeout"])

    monkeypatch.setattr(samples.subprocess, "run", run)
    with pytest.raises(UserError, match="took longer than 120 s"):
        samples.answer(rows.find("V8"), tmp_path)
