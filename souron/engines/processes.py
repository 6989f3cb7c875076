"""Several processes of this computer: ``on=processes:4``.

The reference that the other engines are compared with: ``ProcessPoolExecutor`` of Python's standard
library, whose processes are started anew (``spawn``).
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

from souron.utils import hardware
from souron.utils.messages import UserError, _

SHARES_FILES = True


def count(address: str) -> int:
    """Return how many processes an address asks for. Raises UserError."""
    if not address.isdecimal() or not 1 <= int(address) <= 1024:
        raise UserError(
            "engine",
            _("{name}={value} is not understood").format(name="on", value=f"processes:{address}"),
            expected=_("a number of processes"),
            fix=f"on=processes:{hardware.cores()}",
        )
    return int(address)


def threads(address: str) -> int:
    return max(1, hardware.cores() // count(address))


def is_private(address: str) -> bool:
    return True


@contextmanager
def opened(address: str, threads: int) -> Iterator[Executor]:
    processes = count(address)
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=begin, initargs=(threads,)
    )
    finished = False
    try:
        yield executor
        finished = True
    finally:
        if not finished:  # what runs would be waited for
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
        executor.shutdown(wait=True, cancel_futures=True)


def begin(threads: int) -> None:
    """Set up a worker before torch is imported: Ctrl-C is its parent's, and it ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    hardware.calm_allocator()
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """End this process once its parent has gone, to which ``kill -9`` leaves no time to say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
