"""A SLURM cluster: ``on=slurm``, ``on=slurm:PARTITION``; ``on=slurm:local`` needs none, for trials.

Each part of the work is one job of the queue, submitted by submitit. Its files, with the output of
each job, are in ``runs/.slurm``. A job may run as long as its partition allows, a day at most.

https://github.com/facebookincubator/submitit
"""

import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import submitit

from souron.engines.engine import IN_FLIGHT, check_line
from souron.utils import hardware
from souron.utils.messages import UserError, _

FOLDER = "runs/.slurm"
LOCAL = "local"
MINUTES = 24 * 60  # a job may run at most
LOOK = 1.0  # seconds between two looks for results
QUEUE_LOOK = 30.0  # seconds between two looks at the queue
MISSED = 3  # looks at the queue without a job that has no result, which is then lost
PATIENCE = 10.0  # seconds until cancelled jobs are over

logging.getLogger("submitit").setLevel(logging.CRITICAL)  # it writes to stdout, which is the result's


def most(address: str, threads: int) -> int:
    return max(1, hardware.cores() // threads) if address == LOCAL else IN_FLIGHT


class Waiting(Future[Any]):
    """A future that can still be cancelled while its job runs."""

    def __init__(self, job: Any) -> None:
        super().__init__()
        self.job = job
        self.missed = 0  # looks at the queue that did not find the job

    def cancel(self) -> bool:
        if self.done():
            return False
        with suppress(subprocess.CalledProcessError):  # it has ended meanwhile
            self.job.cancel()
        return super().cancel()


class Queue(Executor):
    """submitit's executor with the futures of Python's standard library."""

    def __init__(self, cluster: str, threads: int, partition: str) -> None:
        self.inner = submitit.AutoExecutor(FOLDER, cluster=cluster)
        minutes = MINUTES if cluster == LOCAL else limit(partition)
        options: dict[str, Any] = {"cpus_per_task": threads, "timeout_min": minutes, "name": "souron"}
        if partition:
            options["slurm_partition"] = partition
        self.inner.update_parameters(**options)
        self.listed = cluster != LOCAL
        self.waiting: list[Waiting] = []
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a job. Raises UserError where SLURM does not take it."""
        try:
            future = Waiting(self.inner.submit(fn, *args, **kwargs))
        except RuntimeError as error:  # of submitit, with sbatch's message
            raise UserError(
                "engine",
                _("SLURM does not take the job: {error}").format(error=error),
                expected=_("a job within the limits of this cluster"),
                fix="sinfo",
            ) from error
        self.waiting.append(future)
        return future

    def watch(self) -> None:
        looked = time.monotonic()
        while not self.over.wait(LOOK):
            for future in self.unfinished():
                if future.job.done():
                    settle(future)
            if self.listed and time.monotonic() - looked >= QUEUE_LOOK:
                self.give_up_lost(queued())
                looked = time.monotonic()

    def unfinished(self) -> list[Waiting]:
        return [future for future in self.waiting if not future.done()]

    def give_up_lost(self, queue: set[str] | None) -> None:
        """Count the looks that missed a job, whose end a cluster without accounting does not report."""
        for future in self.unfinished() if queue is not None else []:
            future.missed = 0 if future.job.job_id in (queue or ()) else future.missed + 1
            if future.missed >= MISSED:
                future.set_exception(RuntimeError(f"job {future.job.job_id} has left the queue without a result"))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for future in self.waiting:
            future.cancel()
        self.over.set()
        self.watcher.join()
        end = time.monotonic() + PATIENCE
        while any(not future.job.done() for future in self.waiting) and time.monotonic() < end:
            time.sleep(LOOK / 10)


def settle(future: Waiting) -> None:
    """Hand on the result of a job that has ended, or its error."""
    with suppress(InvalidStateError):  # cancelled meanwhile
        try:
            result = future.job.result()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)


def queued() -> set[str] | None:
    """Return the numbers of this user's jobs in the queue; None where it cannot be read."""
    text = output("squeue", "--noheader", "--format=%i", f"--user={os.getuid()}")
    return None if text is None else set(text.split())


def limit(partition: str) -> int:
    """Return the minutes that a job may run in partitions, "" for the default one: their limit, a day at most.

    Raises UserError where there is no such partition.
    """
    text = output("sinfo", "--noheader", "--format=%P|%l") or ""
    limits = dict(line.split("|", 1) for line in text.split() if "|" in line)
    default = [name.rstrip("*") for name in limits if name.endswith("*")]
    limits = {name.rstrip("*"): allowed for name, allowed in limits.items()}
    names = partition.split(",") if partition else default
    if limits and (unknown := [name for name in names if name not in limits]):
        raise UserError(
            "engine",
            _("this cluster has no partition {name}").format(name=", ".join(unknown)),
            expected=", ".join(limits),
            fix="on=slurm",
        )
    return min([MINUTES, *(minutes(limits[name]) for name in names if name in limits)])


def minutes(allowed: str) -> int:
    """Return a time limit as sinfo prints it in minutes; a day where there is none.

    >>> minutes("1:30:00"), minutes("20:00"), minutes("2-00:00:00"), minutes("infinite")
    (90, 20, 2880, 1440)
    """
    days, _dash, clock = allowed.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in [*parts, days or "0"]) or len(parts) < 2:
        return MINUTES
    hours, rest = ([0, 0, *map(int, parts)])[-3:-1]
    return max(1, 1440 * int(days or 0) + 60 * hours + rest)


def output(*command: str) -> str | None:
    """Return what a command of SLURM prints; None where it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None


@contextmanager
def opened(address: str, threads: int) -> Iterator[Executor]:
    folder = check_line(str(Path(FOLDER).absolute()))
    if "%" in folder:  # SLURM and submitit would put numbers of jobs there
        raise UserError(
            "engine",
            _("SLURM cannot work in {folder}").format(folder=folder),
            expected=_("a folder without % in its path"),
        )
    local = address == LOCAL
    try:
        queue = Queue(LOCAL if local else "slurm", threads, "" if local else check_line(address))
    except RuntimeError as error:
        raise UserError(
            "engine",
            _("there is no SLURM on this computer: {error}").format(error=error),
            expected=_("a computer with the command sbatch, such as a cluster's login node"),
            fix=f"on=slurm:{LOCAL}",
        ) from error
    try:
        yield queue
    finally:
        queue.shutdown()
