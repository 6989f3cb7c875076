"""Functions that the engines' conformance tests run on workers, which import this file by its name."""

import os
import signal
import time
from pathlib import Path

import waiting

from souron.utils.messages import UserError


def double(number: int) -> int:
    return 2 * number


def slow_first(number: int, folder: str) -> int:
    """The first part ends once another one's result has arrived, which its receiver notes in the folder."""
    if not number:
        waiting.until(lambda: any(Path(folder).iterdir()))
    return number


def counted(folder: str) -> str:
    """A file for each call, and none for two."""
    number = time.time_ns()
    Path(folder, f"{os.getpid()}-{number}").touch()
    return str(number)


def held(number: int, folder: str) -> int:
    """The first that begins ends at once, the others once their caller says that it is over; they leave a file each."""
    try:
        Path(folder, "first").touch(exist_ok=False)
    except FileExistsError:
        waiting.until(Path(folder, "over").exists)
        Path(folder, f"ended-{number}").touch()
    return number


def refuse(number: int) -> int:
    if number == 1:
        raise UserError("worker refused", "no room", expected="some", fix="souron doctor", exit=5)
    time.sleep(0.5)
    return number


class Odd(Exception):
    """An error that cannot be put together again from what it says."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def odd() -> None:
    raise Odd(1, 2)


def dies_once(mark: str) -> str:
    """End the worker as a machine ends that loses its power, at the first call only."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def dies(folder: str) -> None:
    counted(folder)
    os.kill(os.getpid(), signal.SIGKILL)


def large(content: bytes) -> bytes:
    return content[::-1]


def lasting(folder: str) -> None:
    """Write the process's number, and go on until it is over, for longer than anybody waits for the end."""
    Path(folder, str(os.getpid())).touch()
    limit = time.monotonic() + 2 * waiting.LIMIT
    while not Path(folder, "over").exists() and time.monotonic() < limit:
        time.sleep(0.05)


def lasts_once(mark: str) -> str:
    """Go on for longer than anybody waits, at the first call only."""
    if not Path(mark).exists():
        Path(mark).touch()
        time.sleep(2 * waiting.LIMIT)
    return "back"
