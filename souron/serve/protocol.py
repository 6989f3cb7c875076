"""Limits on connections: a timeout for headers, and a maximum for each client address."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 20.0  # from the first byte of a request, or from connecting, to its last header
MOST_OF_ADDRESS = 250  # connections


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 that closes connections whose headers are not complete in ``HEADER_SECONDS``.

    An address has at most ``MOST_OF_ADDRESS`` connections. A further one replaces the one that has
    waited longest for its headers; if none is waiting for headers, the new one is closed.
    """

    _due: asyncio.TimerHandle | None = None  # while headers are awaited

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        mine = [other for other in self.connections if _address(other) == _address(self)]
        if len(mine) > MOST_OF_ADDRESS:
            idle = {other._due.when(): other for other in mine if isinstance(other, BoundedProtocol) and other._due}
            if not idle:
                transport.close()
                return
            oldest = idle[min(idle)]
            oldest._stop_waiting()
            oldest.transport.close()
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._due is None:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        self._due = self.loop.call_later(HEADER_SECONDS, self._close)

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _close(self) -> None:
        self._due = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def _address(protocol: Any) -> str:
    return protocol.client[0] if protocol.client else ""
