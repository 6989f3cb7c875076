"""Nothing that the tests start is left: not by a command that ends, not by one that is interrupted or killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import supervise
import waiting

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to another process")
DAEMON = """
import os, signal, sys, time
for name in ("SIGTERM", "SIGINT", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        os.rename(sys.argv[1], sys.argv[2])
        time.sleep(3600)
    os._exit(0)
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
"""  # a process of a session of its own, whose parent has ended, and which hears only SIGKILL


def command(folder, then):
    daemon = [sys.executable, "-c", DAEMON, str(folder / "new"), str(folder / "pid")]
    asleep = f"open({str(folder / 'asleep')!r}, 'w').close()"
    code = f"import subprocess, sys, time; subprocess.run({daemon!r}, check=True); {asleep}; {then}"
    return [sys.executable, str(Path(supervise.__file__)), sys.executable, "-c", code]


def gone(folder):
    """Wait until the daemon has ended."""
    pid = int((folder / "pid").read_text())
    waiting.until(lambda: not waiting.alive(pid))


ENDS = {"sys.exit(0)": 0, "sys.exit(3)": 3, "import os; os.kill(os.getpid(), 9)": 137}


@pytest.mark.parametrize("then", ENDS)
def test_what_a_command_leaves_behind_is_ended_and_its_exit_code_kept(tmp_path, then):
    assert subprocess.run(command(tmp_path, then)).returncode == ENDS[then]
    gone(tmp_path)


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_after_ctrl_c_nothing_is_left(tmp_path, asked):
    going = subprocess.Popen(
        command(tmp_path, "time.sleep(3600)"), start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    waiting.until((tmp_path / "asleep").exists, lambda: going.poll() is None)
    if asked == signal.SIGINT:
        os.killpg(going.pid, asked)  # as a terminal does
    else:
        going.send_signal(asked)
    _out, err = going.communicate(timeout=waiting.LIMIT)
    assert going.returncode == 128 + signal.SIGINT and "KeyboardInterrupt" in err
    gone(tmp_path)


def test_where_all_of_its_group_are_killed_nothing_is_left(tmp_path):
    going = subprocess.Popen(command(tmp_path, "time.sleep(3600)"), start_new_session=True, stderr=subprocess.DEVNULL)
    waiting.until((tmp_path / "asleep").exists, lambda: going.poll() is None)
    os.killpg(going.pid, signal.SIGKILL)
    going.wait()
    gone(tmp_path)


def test_where_make_is_killed_nothing_is_left(tmp_path):
    make = [sys.executable, "-c", f"import subprocess; subprocess.run({command(tmp_path, 'time.sleep(3600)')!r})"]
    going = subprocess.Popen(make, stderr=subprocess.DEVNULL)
    waiting.until((tmp_path / "asleep").exists, lambda: going.poll() is None)
    going.kill()
    going.wait()
    gone(tmp_path)


def test_the_suite_is_started_so():
    recipes = (Path(supervise.__file__).parent.parent / "Makefile").read_text(encoding="utf-8")
    assert "\nRUN := $(BIN)/python tests/supervise.py" in recipes
    for line in ("pytest --tests=$(TESTS)", "python tests/mutants/run.py --some 3", "python tests/affected.py\n"):
        assert f"\t$(RUN) $(BIN)/{line}" in recipes
