"""Read the data with progress events if it takes long."""

import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any

from souron.data.dataset import Dataset
from souron.data.readers.settings import Large
from souron.runs import prepare
from souron.runs.events import Event, left

SLICE = 0.25  # seconds between two events
TELLS_TIME = 2.0  # seconds before the time left is reported


class _Stopped(Exception):
    """The consumer no longer waits for the images."""


def reading(args: dict[str, Any], large: Large = "decode") -> Generator[Event, None, Dataset]:
    """Run ``prepare.dataset_for`` in another thread and yield progress events.

    Reading stops when the consumer does.
    """
    part, stop, begun = None, threading.Event(), time.monotonic()

    def told(files: int, of: int) -> None:
        nonlocal part
        if stop.is_set():
            raise _Stopped
        part = files / of

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(copy_context().run, prepare.dataset_for, args, told, large)
        try:
            while not wait([job], SLICE).done:
                if part is not None and time.monotonic() - begun > TELLS_TIME:
                    yield Event("data", part, left(begun, part), str(args["data"]))
        finally:
            stop.set()
        return job.result()
