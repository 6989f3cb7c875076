"""Run a command, and end whatever it leaves behind: studios, browsers, workers of engines.

    python tests/supervise.py .venv/bin/pytest tests/test_studio.py

On Linux, processes whose parent has ended become children of this one (a "subreaper"), also those
that left their group or session. Once the command has ended, by itself or by Ctrl-C, they are asked
to end, and killed where they do not. The exit code is that of the command.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys

import psutil

PR_SET_CHILD_SUBREAPER = 36
GRACE = 5  # seconds to end by themselves


def adopt() -> None:
    """Make orphans below this process its own children, where the system can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(words: list[str]) -> int:
    """The exit code of a command, 128 and the signal where one ended it."""
    adopt()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command hears Ctrl-C itself
    command = subprocess.Popen(words, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    for asked in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, lambda *_given: command.send_signal(signal.SIGINT))
    try:
        code = _reaped(command.pid)
    finally:
        end_all()
    return code


def _reaped(main: int) -> int:
    """Wait for a process; orphans that end before it leave no zombies."""
    while True:
        pid, status = os.wait()
        if pid == main:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def end_all() -> list[str]:
    """End every descendant; the names of those that there were."""
    names = []
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        left = [one for one in psutil.Process().children(recursive=True) if _alive(one)]
        for one in left:
            with contextlib.suppress(psutil.Error):
                names.append(one.name())
                ask(one)
        psutil.wait_procs(left, GRACE)
    return names


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
