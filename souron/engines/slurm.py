"""A SLURM cluster: ``on=slurm``, ``on=slurm:PARTITION``; ``on=slurm:local`` needs none, for trials.

Each part of the work is one job of the queue, submitted by submitit. Its files, with the output of
each job, are in ``runs/.slurm``.

https://github.com/facebookincubator/submitit
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

import submitit

from souron.utils.messages import UserError, _

FOLDER = "runs/.slurm"
LOCAL = "local"
MINUTES = 24 * 60  # a job may run
LOOK = 1.0  # seconds between two looks at the queue
PATIENCE = 10.0  # seconds until cancelled jobs are over


class Waiting(Future[Any]):
    """A future that can still be cancelled while its job runs."""

    def __init__(self, job: Any) -> None:
        super().__init__()
        self.job = job

    def cancel(self) -> bool:
        if self.done():
            return False
        self.job.cancel()
        return super().cancel()


class Queue(Executor):
    """submitit's executor with the futures of Python's standard library."""

    def __init__(self, cluster: str, threads: int, partition: str) -> None:
        self.inner = submitit.AutoExecutor(FOLDER, cluster=cluster)
        options: dict[str, Any] = {"cpus_per_task": threads, "timeout_min": MINUTES, "name": "souron"}
        if partition:
            options["slurm_partition"] = partition
        self.inner.update_parameters(**options)
        self.waiting: list[Waiting] = []
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = Waiting(self.inner.submit(fn, *args, **kwargs))
        self.waiting.append(future)
        return future

    def watch(self) -> None:
        while not self.over.wait(LOOK):
            for future in [each for each in self.waiting if not each.done() and each.job.done()]:
                try:
                    result = future.job.result()
                except Exception as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for future in self.waiting:
            future.cancel()
        self.over.set()
        self.watcher.join()
        limit = time.monotonic() + PATIENCE
        while any(not future.job.done() for future in self.waiting) and time.monotonic() < limit:
            time.sleep(LOOK / 10)


@contextmanager
def opened(address: str, threads: int) -> Iterator[Executor]:
    local = address == LOCAL
    try:
        queue = Queue(LOCAL if local else "slurm", threads, "" if local else address)
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
