"""Rounds that go wrong, for workers that import this file by its name."""

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from souron.runs import compare


def round_of_a_lost_machine(calls: str, args: dict, number: int, threads: int, agreement: Any, sent: str) -> Any:
    """Play a round; at the first call of all, the machine with its nanny ends in the midst of training."""
    Path(calls, f"{number}-{os.getpid()}").touch()
    if take(Path(calls, "lost")):
        compare.Comparison._event = lambda *given: end_machine()
    return compare.play(args, number, threads, agreement, sent)


def take(mark: Path) -> bool:
    """Return whether this is the first call with a mark, of all processes."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def end_machine() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def round_while_the_clock_jumps(args: dict, number: int, threads: int, agreement: Any, sent: str) -> Any:
    """Play a round on a machine whose clock is set anew all the time."""
    with jumping():
        return compare.play(args, number, threads, agreement, sent)


@contextmanager
def jumping() -> Iterator[None]:
    """Let the clock of this process jump by weeks, back and forth, each time it is read."""
    clock, reads = time.time, itertools.count()
    time.time = lambda: clock() + 604_800 * (-1) ** (read := next(reads)) * (read % 97)
    try:
        yield
    finally:
        time.time = clock
