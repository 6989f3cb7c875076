"""One request within the limits of a service: how many wait, and how long each may take."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from souron.serve.responses import json_response
from souron.serve.service import Service
from souron.utils.messages import UserError, _

Work = Coroutine[Any, Any, Any]


async def answer(request: Request, service: Service, read: Work, work: Callable[[Any], Work]) -> Response:
    """Respond with the JSON of what ``work`` returns for the body that ``read`` returns.

    Each has the service's seconds. Raises UserError ("busy", "timeout") and ClientDisconnect.
    """
    seconds = service.limits.seconds
    if service.waiting >= service.limits.requests:
        read.close()
        raise UserError("busy", _("too many requests wait"), expected=_("fewer at a time"), fix=_("again in a second"))
    service.waiting += 1
    try:
        async with asyncio.timeout(seconds):
            body = await read
        async with asyncio.timeout(seconds):
            answered = await while_connected(request, work(body))
    except TimeoutError as error:
        raise UserError(
            "timeout",
            _("there was no answer within {seconds} s").format(seconds=f"{seconds:g}"),
            expected=_("fewer or smaller files, or a server with more time"),
            fix="souron serve ... timeout=120",
        ) from error
    finally:
        service.waiting -= 1
    service.served += 1
    return json_response(answered)


async def while_connected(request: Request, work: Work) -> Any:
    """Await the work; cancel it if the client disconnects, so that others need not wait for it.

    Raises ClientDisconnect.
    """

    async def disconnect() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.create_task(work), asyncio.create_task(disconnect())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
