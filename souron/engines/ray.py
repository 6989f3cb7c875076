"""A cluster of Ray: ``on=ray`` for that of this computer, ``on=ray:HOST:6379`` for that of an address.

    ray get-auth-token --generate
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 ray start --head --include-dashboard=false --disable-usage-stats

Where this computer has joined none, one is started for this command. Whoever reaches a cluster can run any program on
it, unless it has a token. The variable keeps all ports on the loopback interface; ``--node-ip-address`` does not.

https://docs.ray.io/en/latest/ray-core/tasks.html
"""

import logging
import os

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_py_gcs_connect_timeout_s": "5"}
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

import ray

from souron.utils.messages import UserError, _

ATTEMPTS = "RAY_gcs_server_port_wait_time_s"


class Tasks(Executor):
    """Calls as tasks of Ray, of which each takes so many cores. They end with the connection."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return ray.remote(num_cpus=self.threads, max_retries=0)(fn).remote(*args, **kwargs).future()


@contextmanager
def opened(address: str, threads: int) -> Iterator[Executor]:
    if address:
        os.environ[ATTEMPTS] = "1"  # not twenty, which take ten minutes where nothing listens
    try:
        ray.init(address or None, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            "engine",
            _("no cluster of Ray answers at {address}").format(address=address or "127.0.0.1"),
            expected=_("the address of its head, such as {example}").format(example="HOST:6379"),
            fix="ray start --head --include-dashboard=false --disable-usage-stats",
        ) from error
    finally:
        os.environ.pop(ATTEMPTS, None)
    try:
        yield Tasks(threads)
    finally:
        ray.shutdown()
