"""`install.py`: which Python, which PyTorch, and an environment that is whole."""

import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("souron_install", ROOT / "install.py")
assert spec is not None and spec.loader is not None
install = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with a blank and Japanese letters, and what decides what is installed."""
    folder = tmp_path / "フォルダー mit blank"
    for name in (*install.DECIDES, *install.STARTERS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(install, "HERE", folder)
    monkeypatch.setattr(install, "NEEDED", 0)
    monkeypatch.setattr(install, "flaw", lambda venv: None)
    monkeypatch.setattr(install, "has_nvidia", lambda: False)
    monkeypatch.setattr(install, "reachable", lambda address: True)
    monkeypatch.setattr(install.sys, "platform", "linux")
    return folder


@pytest.fixture
def said(clone, monkeypatch):
    """The words after ``pip install`` of each call; nothing is installed."""
    calls: list[tuple[str, ...]] = []

    def pip(folder, *words):
        calls.append(words)
        return 0

    monkeypatch.setattr(install, "pip", pip)
    monkeypatch.setattr(install, "bring_starters", lambda venv: None)
    monkeypatch.setattr(install, "bring_chat_model", lambda venv: None)
    (clone / ".venv").mkdir()
    return calls


MAIN = ("--constraint", "constraints.txt", "--editable", ".[fast]", "--editable", "./zoo", "--editable", "./starters")


def test_without_a_card_torch_comes_from_its_own_index_and_the_rest_does_not(said):
    install.main(["--torch="])
    (first, second) = said
    assert first[:3] == ("--no-deps", "--index-url", "https://download.pytorch.org/whl/cpu")
    assert [word.partition(">")[0] for word in first[3:]] == ["torch", "torchvision"]
    assert second == MAIN


def test_where_that_index_is_out_of_reach_pip_works_at_once(said, monkeypatch):
    monkeypatch.setattr(install, "reachable", lambda address: False)
    install.main([])
    assert said == [MAIN]


@pytest.mark.parametrize(
    ("words", "nvidia", "platform", "own_index"),
    [
        (["--torch=cuda"], False, "linux", False),
        ([], True, "linux", False),
        (["--torch=cpu"], True, "linux", True),
        ([], False, "darwin", False),
        ([], False, "win32", False),
    ],
)
def test_the_build_follows_the_card_and_the_word(words, nvidia, platform, own_index, said, monkeypatch):
    monkeypatch.setattr(install, "has_nvidia", lambda: nvidia)
    monkeypatch.setattr(install.sys, "platform", platform)
    install.main(words)
    assert len(said) == 1 + own_index and said[-1] == MAIN


def test_what_is_installed_is_not_installed_again(said, clone):
    install.main([])
    count = len(said)
    install.main([])
    assert len(said) == count
    install.main(["--dev"])
    assert said[count:][-1] == tuple(word if word != ".[fast]" else ".[dev,docs]" for word in MAIN)
    count = len(said)
    install.main([])  # the tests' environment can run it, too
    assert len(said) == count
    (clone / "pyproject.toml").write_text("[project]\n")
    install.main([])
    assert len(said) > count


@pytest.mark.parametrize("code", [0, 1])
def test_the_starters_are_converted_once_and_not_for_development(code, clone, monkeypatch, capsys):
    calls: list[list[str]] = []
    monkeypatch.setattr(install, "pip", lambda venv, *words: 0)
    monkeypatch.setattr(install.subprocess, "call", lambda words, **how: calls.append(words) or code)
    monkeypatch.setattr(install, "bring_chat_model", lambda venv: None)
    (clone / ".venv").mkdir()
    install.main(["--dev"])
    assert not calls
    install.main([])
    assert [words[1:] for words in calls] == [[str(clone / "starters" / "convert.py")]]
    assert ("make starters" in capsys.readouterr().out) == bool(code)
    install.main([])
    assert len(calls) == 1
    (clone / "starters" / "packages.toml").write_text("")
    install.main([])
    assert len(calls) == 2


@pytest.mark.parametrize("code", [0, 1])
def test_the_chat_model_is_fetched_once_and_not_where_a_small_installation_is_asked_for(
    code, clone, monkeypatch, capsys
):
    calls: list[list[str]] = []
    monkeypatch.setattr(install, "pip", lambda venv, *words: 0)
    monkeypatch.setattr(install, "bring_starters", lambda venv: None)
    monkeypatch.setattr(install.subprocess, "call", lambda words, **how: calls.append(words) or code)
    (clone / ".venv").mkdir()
    monkeypatch.setenv("SMALL", "1")
    install.main([])
    assert not calls
    monkeypatch.delenv("SMALL")
    install.main(["--dev"])
    assert not calls
    install.main([])
    install.main([])
    assert [words[1:] for words in calls] == [["-m", "souron", "fetch", "smollm2"]]
    assert ("souron fetch smollm2" in capsys.readouterr().out) == bool(code)


def test_torch_that_is_there_stays_unless_another_build_is_asked_for(said, clone, monkeypatch):
    (clone / ".venv/lib/python3.11/site-packages/torch-2.13.0+cpu.dist-info").mkdir(parents=True)
    removed: list[list[str]] = []
    monkeypatch.setattr(install.subprocess, "call", lambda words: removed.append(words) or 0)
    install.main([])
    assert said == [MAIN] and not removed
    install.main(["--torch=cuda"])
    assert removed[0][-2:] == ["torch", "torchvision"] and said == [MAIN, MAIN]


def test_an_address_without_an_answer_is_not_waited_for():
    assert not install.reachable("http://127.0.0.1:9/torch/")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("環境 a") / ".venv"
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    packages = next(folder.glob("[Ll]ib*/**/site-packages"))
    (packages / "pip.py").write_text("")  # stands for pip, which takes seconds to unpack
    return folder


def test_a_whole_environment_is_kept_and_others_say_why_not(whole, tmp_path):
    assert install.flaw(whole) is None
    moved = tmp_path / ".venv"
    moved.mkdir()
    assert "does not start" in install.flaw(moved)
    marker = whole / "souron-installing"
    marker.touch()
    assert "interrupted" in install.flaw(whole)
    marker.unlink()


@pytest.mark.skipif(os.name == "nt", reason="a script stands for Python")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [("echo False; echo {0}", "older than 3.11"), ("echo True; echo /elsewhere", "another folder")],
)
def test_an_environment_of_another_python_is_made_anew(answer, reason, tmp_path, monkeypatch, capsys):
    folder = tmp_path / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    (folder / "left").touch()
    (folder / "bin" / "python").write_text(f"#!/bin/sh\n{answer.format(folder)}\n")
    (folder / "bin" / "python").chmod(0o755)
    monkeypatch.setattr(install, "NEEDED", 0)
    monkeypatch.setattr(install.subprocess, "call", lambda words, **how: 0)
    install.make_venv(folder)
    assert not (folder / "left").exists() and reason in capsys.readouterr().out


def test_a_folder_that_is_no_environment_is_not_deleted(tmp_path):
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "letter.txt").touch()
    with pytest.raises(SystemExit, match="no virtual environment"):
        install.make_venv(tmp_path / ".venv")
    assert (tmp_path / ".venv" / "letter.txt").exists()


def test_too_little_disk_is_said_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(install, "NEEDED", 1e18)
    with pytest.raises(SystemExit, match="GB of disk"):
        install.make_venv(tmp_path / ".venv")
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("codes", "code", "asked"),
    [
        ([0, 0], 0, ["pip install uv", "uv install x"]),
        ([0, 2, 0], 0, ["pip install uv", "uv install x", "pip install x"]),
        ([1, 0], 0, ["pip install uv", "pip install x"]),
        ([0, 2, 1], 1, ["pip install uv", "uv install x", "pip install x"]),
    ],
)
def test_uv_installs_and_pip_where_uv_cannot(codes, code, asked, tmp_path, monkeypatch, capsys):
    left, calls = list(codes), []

    def call(words, **how):
        calls.append(f"{words[2]} install {words[-1]}")
        assert words[2] == "pip" or words[words.index("--python") + 1] == words[0]
        return left.pop(0)

    monkeypatch.setattr(install.subprocess, "call", call)
    monkeypatch.setattr(install, "settings_of_pip", lambda venv: [])
    assert install.pip(tmp_path, "x") == code
    assert calls == asked and ("pip tries" in capsys.readouterr().out) == (len(codes) > 2 or codes[0] > 0)


def test_uv_looks_for_packages_where_pip_does(tmp_path, monkeypatch):
    listed = (
        ":env:.index-url='https://mirror.example/simple'\nglobal.index-url='https://other.example'\n"
        "global.constraint='/etc/pip/caps.txt'\nglobal.find-links='/opt/wheels\\nC:\\\\new'\nglobal.timeout='180'\n"
    )
    answer = subprocess.CompletedProcess([], 0, stdout=listed.encode())
    monkeypatch.setattr(install.subprocess, "run", lambda words, **how: answer)
    chosen = ["--constraint", "/etc/pip/caps.txt", "--find-links", "/opt/wheels", "--find-links", r"C:\new"]
    chosen += ["--index-url", "https://mirror.example/simple"]
    assert install.settings_of_pip(tmp_path) == chosen
    calls = []
    monkeypatch.setattr(install.subprocess, "call", lambda words, **how: calls.append(words) or 0)
    install.pip(tmp_path, "x")
    install.pip(tmp_path, "--index-url", "https://own.example", "x")
    assert calls[1][-9:] == [*chosen, "x"] and calls[3][-3:] == ["--index-url", "https://own.example", "x"]
    assert "https://mirror.example/simple" not in calls[3]


def test_an_interrupted_pip_leaves_its_mark_and_a_failed_one_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(install.subprocess, "call", lambda *given, **how: 1)
    assert install.pip(tmp_path, "x") == 1 and not (tmp_path / "souron-installing").exists()

    def interrupted(*given, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr(install.subprocess, "call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        install.pip(tmp_path, "x")
    assert (tmp_path / "souron-installing").exists()


def test_a_second_installation_waits_for_the_first(clone, monkeypatch, capsys):
    fcntl = pytest.importorskip("fcntl")
    asked = []

    def flock(lock, how):
        asked.append(how)
        if how & fcntl.LOCK_NB:
            raise BlockingIOError

    with install.alone():
        pass
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(fcntl, "flock", flock)
    with install.alone():
        assert asked == [fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_EX]
    assert "waiting" in capsys.readouterr().out


def test_an_old_python_looks_for_a_newer_one_and_otherwise_says_what_to_do(monkeypatch):
    monkeypatch.setattr(install.sys, "version_info", (3, 10, 1))
    monkeypatch.setattr(install.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match=r"needs Python 3.11 or later, and this is Python 3.10"):
        install.main([])
    asked: list[list[str]] = []
    monkeypatch.setattr(install.shutil, "which", lambda name: f"/usr/bin/{name}")

    def call(words, **how):
        asked.append(words)
        return 0 if "3.11" in words[0] else 1  # the others do not start

    monkeypatch.setattr(install.subprocess, "call", call)
    with pytest.raises(SystemExit) as end:
        install.main(["--dev"])
    assert end.value.code == 0 and asked[-1][0] == "/usr/bin/python3.11" and asked[-1][-1] == "--dev"


def test_a_word_that_is_no_option_is_refused():
    done = subprocess.run([sys.executable, ROOT / "install.py", "--torch=rocm"], capture_output=True, text=True)
    assert done.returncode == 1 and "--torch=rocm is not understood" in done.stderr
