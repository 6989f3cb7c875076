"""HTTP API: its endpoints, and errors in the reader's language."""

import importlib
import sys
import traceback
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import souron
from souron.serve import access, endpoints
from souron.serve.responses import error_response
from souron.serve.service import Service
from souron.utils.files import names_in
from souron.utils.messages import LANGUAGES, UserError, _, language, use_language

FIRST = "predict"  # endpoint; the others follow by name
HEADERS = {  # for every response: pages load nothing and cannot be framed
    "content-security-policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def application(service: Service, token: bool) -> FastAPI:
    """Build the API of a service, described in the current language.

    ``token``: clients need one.
    """
    app = FastAPI(
        title="souron serve",
        version=souron.__version__,
        description=_("The predictions of souron predict --json, over HTTP."),
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            UserError: user_error,
            HTTPException: http_error,
            ClientDisconnect: disconnected,
            Exception: bug,
        },
    )
    app.state.token = token
    for name in sorted(names_in(endpoints), key=lambda name: (name != FIRST, name)):
        importlib.import_module(f"souron.serve.endpoints.{name}").add(app, service)
    return app


class Gate:
    """ASGI application that checks each request with ``door`` and passes it on in its language."""

    def __init__(self, service: Service, door: access.Door) -> None:
        self.door = door
        self.apps: dict[str, FastAPI] = {}
        for each in LANGUAGES:
            with use_language(each):
                self.apps[each] = application(service, bool(door.token))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        chosen = access.preferred(headers) if "accept-language" in headers else language()
        with use_language(chosen):
            try:
                linked = scope["path"] in ("/", "/docs")
                app: ASGIApp = self.door.check(scope, linked=linked) or self.apps[chosen]
            except access.Refused as refused:
                app = error_response(refused.trouble, refused.status)
            await app(scope, receive, send_with_headers)


async def user_error(_request: Request, error: Any) -> Response:
    return error_response(error)


async def http_error(request: Request, error: Any) -> Response:
    path = request.url.path
    if error.status_code == 405:
        found = _("{path} does not take {method}").format(path=path, method=request.method)
        return error_response(UserError("method", found, expected=error.headers["Allow"]))
    found = _("there is nothing at {path}").format(path=path)
    documented = ", ".join([*request.app.openapi()["paths"], "/docs"])
    return error_response(UserError("path", found, expected=documented))


async def disconnected(_request: Request, _error: Any) -> Response:
    return Response(status_code=400)  # to nobody


async def bug(_request: Request, error: Exception) -> Response:
    """Respond with status 500, and print the traceback for the person who runs the server."""
    traceback.print_exception(error, file=sys.stderr)
    expected = _("this should not happen: it is a mistake in souron")
    return error_response(UserError("bug", f"{type(error).__name__}: {error}", expected=expected))
