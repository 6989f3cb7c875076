"""The number of this process among those of one training, and their start.

They meet in a file, and exchange gradients on the loopback interface: nothing of a training can be reached from
outside of this computer. PyTorch ends all where one ends.
https://docs.pytorch.org/docs/stable/elastic/multiprocessing.html
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from souron.utils import hardware
from souron.utils.messages import UserError, _

PATIENCE = 30  # seconds in which the leader says what went wrong, and all are ended
NOTICE = 10  # seconds in which the end of a process is noticed, and all are ended
SIGNALS = "SIGTERM,SIGHUP,SIGQUIT"  # Ctrl-C is the leader's, which keeps the work
MEETING = "SOURON_MEETING"  # the variable with the path of the file where the processes meet
LOOPBACK = ("lo", "lo0")  # interfaces that only this computer reaches, of Linux and of macOS


def rank() -> int:
    """Return the number of this process, 0 for the leader and outside of a team."""
    return int(os.environ.get("RANK", "0")) if size() > 1 else 0


def size() -> int:
    """Return the number of processes that train together; 1 outside of a team."""
    return int(os.environ.get("WORLD_SIZE", "1")) if MEETING in os.environ else 1


def meeting() -> str:
    """Return the path of the file where the processes of a team meet."""
    return os.environ[MEETING]


def help_with(events: Iterable[object]) -> None:
    """Run a training as a helper, in silence. What goes wrong is the leader's to say, or comes of its end."""
    try:
        for _event in events:
            pass
    except Exception:
        time.sleep(PATIENCE)
        raise


def lead(events: Iterator[Any]) -> Iterator[Any]:
    """Yield the events of a leader's training; an error that the end of another process brings is not its to say."""
    try:
        yield from events
    except RuntimeError:
        time.sleep(NOTICE)
        raise


def environments(count: int, folder: str) -> dict[int, dict[str, str]]:
    """Return the variables of each process of a team that meets in a new folder."""
    common = {"OMP_NUM_THREADS": str(max(1, hardware.cores() // count)), "WORLD_SIZE": str(count)}
    common[MEETING] = str(Path(folder) / "processes")
    for name in LOOPBACK:
        if name in psutil.net_if_addrs():
            common |= {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name}
    return {number: common | {"RANK": str(number), "LOCAL_RANK": str(number)} for number in range(count)}


def start(count: int, words: Sequence[str]) -> int:
    """Run ``souron WORDS`` on ``count`` processes of this computer and return the exit code.

    Raises UserError where a helper ended by itself.
    """
    import logging

    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, start_processes

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = SIGNALS
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with tempfile.TemporaryDirectory(prefix="souron-meeting-") as folder:
            own = environments(count, folder)
            args = dict.fromkeys(own, ("-m", "souron", *words))
            team = start_processes("souron", sys.executable, args, own, DefaultLogsSpecs())
            try:
                result = team.wait(period=0.5)
            except SignalException as ended:
                team.close(ended.sigval)
                raise SystemExit(128 + ended.sigval) from ended
            finally:
                team.close()
    finally:
        signal.signal(signal.SIGINT, earlier)
    if result is None or not result.is_failed():
        return 0
    number, failure = min(result.failures.items(), key=lambda item: item[1].timestamp)
    if number == 0 and failure.exitcode > 0:
        return int(failure.exitcode)  # its message is on the screen
    raise UserError(
        "processes",
        _("process {number} of {count} ended with code {code}").format(
            number=number + 1, count=count, code=failure.exitcode
        ),
        expected=_("enough memory for all of them"),
        fix="souron train --resume",
        exit=4,
    )


def without(words: Iterable[str]) -> list[str]:
    """Return the words of a command line without the number of processes."""
    options, skip = list[str](), False
    for word in words:
        if skip:
            skip = False
        elif word in ("--processes",):
            skip = True
        elif not word.startswith(("processes=", "--processes=")):
            options.append(word)
    return options
