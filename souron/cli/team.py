"""A training on several processes of this computer, each of which runs the same command."""

import signal
import sys
from collections.abc import Iterator
from typing import Any

import typer

from souron.cli.console import screen
from souron.training import ranks


def is_helper(processes: int | None) -> bool:
    """Start the processes that are asked for, and end with their exit code; True in a helper of them."""
    if ranks.size() == 1 and processes and processes > 1:
        code = ranks.start(processes, ranks.without(sys.argv[1:]))
        screen.journal = None  # the leader has written how it ended
        raise typer.Exit(code)
    if ranks.size() > 1:
        signal.signal(signal.SIGINT, signal.SIG_IGN if ranks.rank() else signal.default_int_handler)
    if ranks.rank():
        screen.journal = None  # the leader writes the events
    return ranks.rank() > 0


def led(events: Iterator[Any]) -> Iterator[Any]:
    """Return the events of an action, of a leader those that are its to show."""
    return ranks.lead(events) if ranks.size() > 1 else events
