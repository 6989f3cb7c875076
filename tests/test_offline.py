"""A language chapter without a network: every command of it answers while sockets are blocked."""

import io
import json
import socket

import pytest
from talking import run_of_talks

from souron.cli import main

PAPER = "question,A,B,C,D,answer\n" + "".join(
    f"What is item {k}?,one,two,three,four,{'ABCD'[k % 4]}\n" for k in range(8)
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_of_talks(tmp_path_factory.mktemp("talks"))


@pytest.fixture
def blocked(tmp_path, monkeypatch):
    """What was asked of the network; each is refused."""
    asked = []

    def refuse(*given, **_named):
        asked.append(given)
        raise OSError("no network here")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return asked


def test_no_command_of_the_language_chapter_touches_the_network(run, blocked, tmp_path, capsys, monkeypatch):
    (tmp_path / "ward.txt").write_text("The ward opens at eight. 手術は金曜日です。", "utf-8")
    (tmp_path / "paper.csv").write_text(PAPER, "utf-8")
    (tmp_path / "q.txt").write_text("What is water?\nWhat is bread?\n", "utf-8")

    def told(*words, typed=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        assert main.run([*words, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    assert told("ask", "ward.txt", "When is the operation?", f"model={run}")["found"]
    assert told("ask", "ward.txt", "Open?", "retriever=windows", f"model={run}")["quotes"]
    assert told("exam", "nearest", "data=paper.csv")["n"] == 8
    assert told("chat", run, "What is water?", "length=5", "filter=lexicon")["withheld"] == []
    assert told("arena", run, run, "q.txt", "length=3", typed="3\n3\n")["models"]
    assert told("tokens", "歯が痛い", run)
    assert told("models", run)
    assert blocked == []
