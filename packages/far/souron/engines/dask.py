"""A cluster of Dask: ``on=dask://HOST:PORT``.

    dask scheduler --host 127.0.0.1 --port 8786 --dashboard-address 127.0.0.1:0
    dask worker tcp://127.0.0.1:8786 --nthreads 1 --memory-limit 0 --resources machine=1

One part of the work runs on a machine at a time, since each worker has one ``machine``. Without
``--memory-limit 0`` a worker of one thread has one core's share of the memory. Whoever reaches the
port of the scheduler or of a worker can run any program there: keep them on the loopback interface,
or give them certificates (``DASK_DISTRIBUTED__COMM__TLS__...``).

Dask merges calls with equal arguments into one unless ``pure`` is false.

https://distributed.dask.org/en/stable/resources.html
"""

import ipaddress
import logging
import platform
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, suppress

from distributed import Client
from distributed.client import ClosedClientError
from distributed.comm import get_address_host

from souron.engines.engine import Delivery, not_private
from souron.utils.messages import UserError, _

PROTOCOLS = ("tcp", "tls")
PATIENCE = 10  # seconds until a scheduler answers

logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # a lost connection is reported here


def opened(address: str, threads: int) -> AbstractContextManager[Executor]:
    return opened_on(address, threads, "", None)


def is_private(address: str) -> bool:
    """Return whether an address is encrypted, or of this computer alone."""
    where = whole(address)
    return where.startswith("tls://") or is_loopback(get_address_host(where))


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def whole(address: str) -> str:
    """Return an address with its protocol. Raises UserError for another one than ``PROTOCOLS``."""
    protocol, found, _rest = address.partition("://")
    if found and protocol not in PROTOCOLS:
        raise UserError(
            "engine",
            _("the protocol {name} is not used for Dask here").format(name=protocol),
            expected=", ".join(f"{name}://HOST:PORT" for name in PROTOCOLS),
            fix="on=dask://127.0.0.1:8786",
        )
    return address if found else f"tcp://{address}"


@contextmanager
def opened_on(address: str, threads: int, host: str, delivery: Delivery | None) -> Iterator[Executor]:
    where = whole(address)
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
        chosen = {"workers": addresses(client, host)} if host else {}
        if delivery is not None:
            chosen = {"workers": delivered(client, delivery, chosen.get("workers"))}
        executor = client.get_executor(pure=False, retries=0, resources={"machine": 1}, **chosen)
        try:
            yield executor
        finally:
            with suppress(ClosedClientError):  # its scheduler has gone
                executor.shutdown(wait=False)


def addresses(client: Client, host: str) -> list[str]:
    """Return the network addresses of a computer by its name, where its workers may start again.

    Raises UserError where no worker runs on it.
    """
    names = client.run(platform.node, on_error="ignore")
    found = {get_address_host(address) for address, name in names.items() if name == host}
    if not found:
        raise UserError(
            "engine",
            _("no worker runs on {host}").format(host=host),
            expected=", ".join(sorted(set(names.values()))) or _("a worker that answers"),
            fix='python -c "import platform; print(platform.node())"',
        )
    return sorted(found)


def delivered(client: Client, delivery: Delivery, hosts: list[str] | None) -> list[str]:
    """Deliver to the workers that lack it, of all or some ``hosts``, and return the hosts that have it.

    Raises UserError unless each worker's own address is encrypted, or of this computer.
    """
    lacking = {
        address: lacks
        for address, lacks in client.run(delivery.lacks, delivery.key).items()
        if hosts is None or get_address_host(address) in hosts
    }
    for address in (client.scheduler_info()["address"], *lacking):
        if not is_private(address):
            raise not_private(address)
    wanted = [address for address, lacks in lacking.items() if lacks]
    if wanted:
        client.run(delivery.keep, delivery.key, delivery.content, workers=wanted)
    return sorted(map(get_address_host, lacking))
