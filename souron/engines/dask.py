"""A cluster of Dask: ``on=dask://HOST:PORT``.

    dask scheduler --host 127.0.0.1 --port 8786 --dashboard-address 127.0.0.1:0
    dask worker tcp://127.0.0.1:8786 --nthreads 1 --resources machine=1

One part of the work runs on a machine at a time, since each worker has one ``machine``. Whoever
reaches the scheduler's port can run any program on all workers: keep it on the loopback interface,
or give it certificates (``DASK_DISTRIBUTED__COMM__TLS__...``).

Dask merges calls with equal arguments into one unless ``pure`` is false.

https://distributed.dask.org/en/stable/resources.html
"""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from distributed import Client

from souron.utils.messages import UserError, _

PATIENCE = 10  # seconds until a scheduler answers


@contextmanager
def opened(address: str, threads: int) -> Iterator[Executor]:
    where = address if "://" in address else f"tcp://{address}"
    try:
        client = Client(where, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            "engine",
            _("no scheduler of Dask answers at {address}").format(address=where),
            expected=_("the address that it printed when it was started"),
            fix="dask scheduler --host 127.0.0.1 --port 8786 --dashboard-address 127.0.0.1:0",
        ) from error
    with client:
        executor = client.get_executor(pure=False, retries=0, resources={"machine": 1})
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)
