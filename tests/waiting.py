"""Wait for a state, never for a time."""

import time
from collections.abc import Callable
from typing import Any

LIMIT = 300  # seconds: ends only what hangs


def until(state: Callable[[], Any], alive: Callable[[], Any] | None = None, *, every: float = 0.02) -> Any:
    """Ask for a state until it is true and return its value; fail where what brings it about is no longer alive."""
    end = time.monotonic() + LIMIT
    while True:
        lives = alive is None or alive()  # asked first, as it may end once the state is reached
        if value := state():
            return value
        assert lives, "what should bring about the state that is waited for has ended before"
        assert time.monotonic() < end, f"the state that is waited for has not come within {LIMIT} seconds"
        time.sleep(every)
