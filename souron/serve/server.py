"""The web server: where it listens, who may connect, and how it ends."""

import ipaddress
import math
import secrets
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from souron.serve import access
from souron.serve.api import Gate
from souron.serve.service import Service
from souron.utils.messages import UserError, _

MAX_CONNECTIONS = 1000
EVERYWHERE = ("0.0.0.0", "::")
SECONDS_TO_CLOSE = 5  # for connections whose responses are being sent


def serve(service: Service, host: str, port: int, tell: Callable[[list[str], str], None]) -> None:
    """Serve until a signal comes. ``tell`` gets the addresses and the token ("" where only this
    computer can connect). Raises UserError where nothing can listen there."""
    try:
        listener = listen(host, port)
        port = listener.getsockname()[1]
        shared = not is_loopback(host)
        token = secrets.token_urlsafe(24) if shared else ""
        config = uvicorn.Config(
            Gate(service, access.Door(port, token=token, lan=shared, programs=True)),
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
        name = f"[{host}]" if ":" in host else host
        names = ["127.0.0.1", *access.addresses()] if host in EVERYWHERE else [name]
        tell([f"http://{name}:{port}/" for name in names], token)
        Server(config).run([listener])
    finally:
        service.close()


def listen(host: str, port: int) -> socket.socket:
    """Connections wait from here on until the server runs."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
    except OSError as error:
        raise UserError(
            "port",
            _("nothing can listen at {host}, port {port}: {why}").format(
                host=host, port=port, why=error.strerror or error
            ),
            expected=_("an address of this computer, and a port that no other program listens at"),
            fix=f"port={port + 1}",
            exit=4,
        ) from error


def is_loopback(host: str) -> bool:
    """Can only this computer connect to that address?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: Any) -> None:
        """A second signal ends it at once. uvicorn would raise the signal again afterwards; here
        the exit code is 0."""
        self.force_exit = self.should_exit
        self.should_exit = True
