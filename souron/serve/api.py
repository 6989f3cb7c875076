"""The HTTP interface: its routes, its errors in the reader's language, its two pages."""

import asyncio
import sys
import traceback
from collections.abc import Coroutine
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from souron.kinds import signature
from souron.serve import access, openapi, pages, uploads
from souron.serve.service import Service
from souron.serve.uploads import Limits, Refusal
from souron.utils.files import as_json
from souron.utils.messages import N_, UserError, _, language, use_language

PREDICT, PAGES = "/predict", ("/", "/docs")
CLOSE = {"connection": "close"}
MORE = {  # headers that go with a status
    408: CLOSE,
    503: {"retry-after": "1"},
}
HEADERS = {  # of every answer: a page loads nothing, and is shown in no other page
    "content-security-policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def application(service: Service, door: access.Door) -> ASGIApp:
    """The whole interface of one service, for those whom ``door`` lets in."""
    options = service.answering.options
    app = FastAPI(
        title="souron serve",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        exception_handlers={
            UserError: refused,
            HTTPException: no_such,
            Exception: mistake,
        },
    )

    @app.post(
        PREDICT,
        summary=N_("Ask about files: in a form, or in JSON in base64"),
        description=N_(
            "One object for each file, as souron predict --json prints it. A file that cannot be "
            "read gets its error and spoils no other."
        ),
        response_model=list[openapi.Answer],
        response_description=N_("one object for each file"),
        responses=openapi.RESPONSES,
        openapi_extra={"requestBody": openapi.BODY, "parameters": openapi.parameters(options)},
    )
    async def predict(request: Request) -> Response:
        try:
            content_type = request.headers.get("content-type", "")
            said = signature.read_options(options, request.query_params, "/docs")
            with Reading(service, request) as reading:
                work = service.answer(content_type, await reading.body(), said)
                answers = await in_time(work, request, service.limits)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        service.served += 1
        return in_json(answers)

    @app.get(
        "/health",
        summary=N_("Whether it is ready, for how long, and what it has done"),
        response_model=openapi.Health,
        response_description=N_("it is ready"),
        responses={503: {"description": N_("the server is ending"), "model": openapi.Health}},
    )
    async def health() -> Response:
        return in_json(service.health(), 503 if service.closing else 200)

    @app.get("/openapi.json", include_in_schema=False)
    async def described() -> Response:
        return in_json(openapi.schema(app))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(pages.docs(openapi.schema(app)))

    @app.get("/", include_in_schema=False)
    async def start(request: Request) -> Response:
        return HTMLResponse(pages.start(service, str(request.base_url), door.token))

    return Gate(app, service, door)


class Reading:
    """The body of a request, within the limits; its bytes count as held until the end."""

    def __init__(self, service: Service, request: Request) -> None:
        self.service, self.request = service, request
        self.size = 0

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *error: object) -> None:
        self.service.held -= self.size

    async def body(self) -> bytes:
        """Raises Refusal; ClientDisconnect where the client leaves."""
        limits = self.service.limits
        headers = self.request.headers
        if headers.get("content-encoding", "identity") != "identity":
            name = headers["content-encoding"][:100]
            found = _("the request is packed as {name!r}").format(name=name)
            raise Refusal(415, "content type", found, "identity")
        declared = headers.get("content-length", "0")
        if declared.isdecimal():
            self.check(int(declared))
        try:
            async with asyncio.timeout(limits.seconds):
                return b"".join([chunk async for chunk in self.chunks()])
        except TimeoutError as error:
            raise slow(limits) from error

    async def chunks(self) -> Any:
        async for chunk in self.request.stream():
            self.size += len(chunk)
            self.service.held += len(chunk)
            self.check(self.size)
            if self.service.held > self.service.limits.held:
                raise busy()
            yield chunk

    def check(self, size: int) -> None:
        most = self.service.limits.request
        if size > most:
            raise uploads.too_large(_("the request is larger"), most)


async def in_time(work: Coroutine, request: Request, limits: Limits) -> Any:
    """What the work comes to. It ends where the client leaves (ClientDisconnect) or the time is
    over (Refusal)."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left(request))
    both = (working, leaving)
    try:
        await asyncio.wait(both, timeout=limits.seconds, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if leaving.done():
            raise ClientDisconnect
        raise Refusal(
            504,
            "timeout",
            _("there was no answer within {seconds} s").format(seconds=f"{limits.seconds:g}"),
            _("fewer or smaller files, or a server with more time"),
            "souron serve ... timeout=120",
        )
    finally:
        for task in both:
            task.cancel()


async def left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Gate:
    """Lets in whom ``door`` lets in, as many as may wait, each in the language of the reader; when
    the server is ending, nobody.

    A request counts until its answer has been handed to the network.
    """

    def __init__(self, app: ASGIApp, service: Service, door: access.Door) -> None:
        self.app, self.service, self.door = app, service, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                message = {**message, "headers": headers.raw}
            await send(message)

        headers = Headers(scope=scope)
        said = "accept-language" in headers
        with use_language(access.preferred(headers) if said else language()):
            ready = self.check(scope)
            if ready is not None:
                await ready(scope, receive, dressed)
            elif scope["path"] != PREDICT:
                await self.app(scope, receive, dressed)
            else:
                self.service.requests += 1
                try:
                    await self.app(scope, receive, dressed)
                finally:
                    self.service.requests -= 1

    def check(self, scope: Scope) -> Response | None:
        """What to answer at once."""
        try:
            ready = self.door.check(scope, linked=scope["path"] in PAGES)
        except access.Refused as error:
            told = error.trouble
            return refusal(Refusal(error.status, told.code, told.found, told.expected, told.fix))
        if ready is None and scope["path"] == PREDICT:
            if self.service.closing:
                return refusal(ending())
            if self.service.requests >= self.service.limits.requests:
                return refusal(busy())
        return ready


def in_json(thing: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(as_json(thing), status, headers, "application/json")


def problem(error: UserError) -> dict[str, Any]:
    return {
        "error": {
            "code": error.code,
            "found": error.found,
            "expected": error.expected,
            "try": error.fix,
        }
    }


def refusal(error: UserError) -> Response:
    status = getattr(error, "status", 422)
    return in_json(problem(error), status, MORE.get(status))


async def refused(_request: Request, error: Any) -> Response:
    return refusal(error)


async def no_such(request: Request, error: Any) -> Response:
    path = request.url.path
    if error.status_code == 405:
        found = _("{path} does not take {method}").format(path=path, method=request.method)
        return refusal(Refusal(405, "method", found, (error.headers or {}).get("Allow", "")))
    found = _("there is nothing at {path}").format(path=path)
    return refusal(Refusal(error.status_code, "path", found, f"{PREDICT}, /health, /docs"))


async def mistake(_request: Request, error: Exception) -> Response:
    """A mistake of souron's: whoever runs the server sees where."""
    traceback.print_exception(error, file=sys.stderr)
    text = f"{type(error).__name__}: {error}"
    expected = _("this should not happen: it is a mistake in souron")
    return refusal(Refusal(500, "bug", text, expected))


def busy() -> Refusal:
    return Refusal(
        503, "busy", _("too many requests wait"), _("fewer at a time"), _("again in a second")
    )


def ending() -> Refusal:
    return Refusal(503, "ending", _("the server is ending"), fix=_("again in a second"))


def slow(limits: Limits) -> Refusal:
    return Refusal(
        408,
        "slow",
        _("the request was not whole within {seconds} s").format(seconds=f"{limits.seconds:g}"),
        _("a faster connection, or a server with more time"),
        "souron serve ... timeout=120",
    )
