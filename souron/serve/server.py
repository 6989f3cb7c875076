"""Web server: its address, access to it, and its shutdown."""

import ipaddress
import math
import secrets
from collections.abc import Callable
from typing import Any

import uvicorn

from souron.serve import access
from souron.serve.api import Gate
from souron.serve.protocol import BoundedProtocol
from souron.serve.service import Service
from souron.utils.messages import UserError, _

MAX_CONNECTIONS = 1000
EVERYWHERE = ("0.0.0.0", "::")
SECONDS_TO_CLOSE = 5  # for connections whose responses are being sent


def serve(service: Service, host: str, port: int, tell: Callable[[list[str], str], None]) -> None:
    """Serve until a signal arrives.

    ``tell`` gets the addresses and the token ("" where only this computer can connect). Raises
    UserError if the address cannot be opened.
    """
    shared = not is_loopback(host)
    token = secrets.token_urlsafe(24) if shared else ""
    gate = Gate(service, access.Door(port, token=token, lan=shared, programs=True))

    def started(port: int) -> None:
        gate.door = access.Door(port, token=token, lan=shared, programs=True)  # it was perhaps 0
        name = f"[{host}]" if ":" in host else host
        names = ["127.0.0.1", *access.addresses()] if host in EVERYWHERE else [name]
        tell([f"http://{name}:{port}/" for name in names], token)

    config = uvicorn.Config(
        gate,
        host=host,
        port=port,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=math.ceil(service.limits.seconds) + SECONDS_TO_CLOSE,
    )
    try:
        Server(config, started).run()
    except SystemExit as error:  # uvicorn cannot listen there
        why: Any = error.__context__
        raise UserError(
            "port",
            _("nothing can listen at {host}, port {port}: {why}").format(
                host=host, port=port, why=getattr(why, "strerror", "") or why
            ),
            expected=_("an address of this computer, and a port that no other program listens at"),
            fix=f"port={port + 1}",
            exit=4,
        ) from error
    finally:
        service.close()


def is_loopback(host: str) -> bool:
    """Return whether only this computer can connect to an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Server(uvicorn.Server):
    """Server that calls ``started`` with its port.

    It opens the socket itself: one of ``Config.bind_socket`` lacks TCP_NODELAY, so each response
    would wait 40 ms for an acknowledgement.
    """

    def __init__(self, config: uvicorn.Config, started: Callable[[int], None]) -> None:
        super().__init__(config)
        self.on_start = started

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.on_start(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Exit on a signal, at once on a second one.

        The exit code is 0; uvicorn would raise the signal again.
        """
        self.force_exit = self.should_exit
        self.should_exit = True
