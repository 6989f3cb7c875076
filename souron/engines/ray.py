"""A cluster of Ray: ``on=ray://HOST:10001``, or ``on=ray`` for one on this computer.

Ray has no executor of its own. It reports its use unless told not to, which is done here before it
is imported.

https://docs.ray.io/en/latest/ray-core/tasks.html
"""

import os

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

import ray

from souron.utils.messages import UserError, _


class Tasks(Executor):
    """Calls as tasks of Ray, of which each takes so many cores."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.given: dict[Future[Any], Any] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        reference = ray.remote(fn).options(num_cpus=self.threads, max_retries=0).remote(*args, **kwargs)
        future: Future[Any] = reference.future()
        self.given[future] = reference
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for future, reference in self.given.items():
            if not future.done():
                ray.cancel(reference, force=True)


@contextmanager
def opened(address: str, threads: int) -> Iterator[Executor]:
    try:
        with ray.init(f"ray://{address}" if address else "local", log_to_driver=False, include_dashboard=False):
            tasks = Tasks(threads)
            try:
                yield tasks
            finally:
                tasks.shutdown()
    except ConnectionError as error:
        raise UserError(
            "engine",
            _("no cluster of Ray answers at {address}").format(address=address),
            expected=_("the address of its head, with the port for clients, such as {example}").format(
                example="ray://HOST:10001"
            ),
            fix="ray start --head --node-ip-address=127.0.0.1 --disable-usage-stats",
        ) from error
