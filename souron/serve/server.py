"""The web server below the interface: slow clients are cut off, and nothing accepted is lost."""

import asyncio
import http
import ipaddress
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from souron.serve import access
from souron.serve.api import application, problem, slow
from souron.serve.service import Service
from souron.serve.uploads import Limits, Refusal
from souron.utils.files import as_json
from souron.utils.messages import UserError, _

MOST_CONNECTIONS = 1000
EVERYWHERE = ("0.0.0.0", "::")
SECONDS_TO_CLOSE = 5  # for connections whose answers have been sent


def serve(service: Service, host: str, port: int, tell: Callable[[list[str], str], None]) -> None:
    """Answer until a signal comes. ``tell`` gets the addresses and the token ("" where only this
    computer is served) once it answers. Raises UserError where nothing can listen there."""
    config = uvicorn.Config(
        nobody,
        host=host,
        port=port,
        loop="asyncio",
        http=cast(Any, partial(Connection, service.limits)),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SECONDS_TO_CLOSE,
    )
    try:
        Server(config, service, tell).run()
    except SystemExit as error:
        why = error.__context__
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


async def nobody(_scope: Any, _receive: Any, _send: Any) -> None:
    """Stands where the interface will be once the port is known."""


def loopback(host: str) -> bool:
    """Does nobody but this computer reach that address?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Server(uvicorn.Server):
    """Ends gently: what was accepted is answered, what comes meanwhile is told to come again."""

    def __init__(
        self, config: uvicorn.Config, service: Service, tell: Callable[[list[str], str], None]
    ) -> None:
        super().__init__(config)
        self.service, self.tell = service, tell

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        host, others = self.config.host, not loopback(self.config.host)
        port = self.servers[0].sockets[0].getsockname()[1]
        token = secrets.token_urlsafe(24) if others else ""
        door = access.Door(port, token=token, lan=others, programs=True)
        self.config.loaded_app = application(self.service, door)
        own = f"[{host}]" if ":" in host else host
        names = ["127.0.0.1", *access.addresses()] if host in EVERYWHERE else [own]
        self.tell([f"http://{name}:{port}/" for name in names], token)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A second signal ends at once. A signal is no error, the exit code is 0."""
        self.force_exit = self.should_exit
        self.should_exit = self.service.closing = True

    async def shutdown(self, sockets: Any = None) -> None:
        while self.service.requests and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


class Connection(H11Protocol):
    """Cuts off whoever sends a header, or takes an answer, too slowly. The interface itself looks
    after bodies."""

    def __init__(self, limits: Limits, **given: Any) -> None:
        super().__init__(**given)
        self.limits = limits
        self.late: asyncio.TimerHandle | None = None  # until a header must be whole
        self.full: asyncio.TimerHandle | None = None  # until what was sent must be taken

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        self.watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.watch()

    def connection_lost(self, error: Exception | None) -> None:
        for timer in filter(None, (self.late, self.full)):
            timer.cancel()
        super().connection_lost(error)

    def watch(self) -> None:
        """Every header has so many seconds, however its bytes trickle in."""
        if self.cycle is not None and not self.cycle.response_complete:
            if self.late is not None:
                self.late.cancel()
            self.late = None
        elif self.late is None:
            self.late = self.loop.call_later(self.limits.seconds, self.cut)

    def cut(self) -> None:
        if self.conn.our_state is h11.IDLE and not self.transport.is_closing():
            self.refuse(slow(self.limits))
        else:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        self.refuse(Refusal(400, "http", _("this is no HTTP request"), "HTTP/1.1"))

    def refuse(self, error: Refusal) -> None:
        body = as_json(problem(error)).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        reason = http.HTTPStatus(error.status).phrase.encode()
        events = (
            h11.Response(status_code=error.status, headers=headers, reason=reason),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.full = self.loop.call_later(self.limits.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.full is not None:
            self.full.cancel()
            self.full = None
