"""Run a command, and end whatever it leaves behind: studios, browsers, workers of engines.

    python tests/supervise.py .venv/bin/pytest tests/test_studio.py

On Linux, processes whose parent has ended become children of this one (a "subreaper"), also those
that left their group or session. Once the command has ended, by itself or by Ctrl-C, they are asked
to end, and killed where they do not. The exit code is that of the command.

A guard in a session of its own does so, since a signal to all of a group would end it together with
the command. It hears when this process is killed, as this process hears when that of its parent is,
which is make.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys

import psutil
import waiting

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 5  # seconds to end by themselves


def adopt() -> None:
    """Make orphans below this process its own children and hear the end of its parent, where the system can."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        library.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def run(words: list[str]) -> int:
    """The exit code of a command, 128 and the signal where one ended it."""
    leader = os.getpid()
    guard = os.fork()
    if guard == 0:
        os.setsid()
        os._exit(guarded(words, leader))
    for signal_number in HEARD:
        signal.signal(signal_number, lambda *_given: os.kill(guard, signal.SIGTERM))
    adopt()
    return _ended(guard)


def guarded(words: list[str], leader: int) -> int:
    """The exit code of a command that Ctrl-C ends when ``leader`` is asked to end; it is killed when that is."""
    command = subprocess.Popen(words, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))

    def end(*_given: object) -> None:
        command.send_signal(signal.SIGINT if os.getppid() == leader else signal.SIGKILL)

    for signal_number in HEARD[1:]:
        signal.signal(signal_number, end)
    adopt()
    if os.getppid() != leader:
        end()
    return _ended(command.pid)


def _ended(main: int) -> int:
    """Wait for a process, and end whatever it leaves behind."""
    try:
        return _reaped(main)
    finally:
        end_all()


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
        left = [one for one in psutil.Process().children(recursive=True) if waiting.alive(one)]
        for one in left:
            with contextlib.suppress(psutil.Error):
                names.append(one.name())
                ask(one)
        psutil.wait_procs(left, GRACE)
    return names


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
