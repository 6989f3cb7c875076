"""Wait for a state, never for a time."""

import time
from collections.abc import Callable
from typing import Any

import psutil

LIMIT = 300  # seconds: ends only what hangs


def until(
    state: Callable[[], Any],
    alive: Callable[[], Any] | None = None,
    *,
    every: float = 0.02,
    log: Callable[[], str] = lambda: "",
) -> Any:
    """Ask for a state until it is true and return its value; fail where what brings it about is no longer alive.

    A failure shows its ``log``.
    """
    end = time.monotonic() + LIMIT
    while True:
        lives = alive is None or alive()  # asked first, as it may end once the state is reached
        if value := state():
            return value
        assert lives, f"what should bring about the state that is waited for has ended before\n{log()}"
        assert time.monotonic() < end, f"the state that is waited for has not come within {LIMIT} seconds\n{log()}"
        time.sleep(every)


def alive(process: psutil.Process | int) -> bool:
    """Return whether a process, or that of a number, is at work, and neither gone nor waiting for its parent."""
    try:
        process = psutil.Process(process) if isinstance(process, int) else process
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
