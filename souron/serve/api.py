"""HTTP API: its routes, their schema, and errors in the reader's language."""

import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import souron
from souron.kinds import signature
from souron.registry import task_name
from souron.report import page
from souron.serve import access, openai, requests, studies, uploads
from souron.serve.requests import json_response
from souron.serve.service import Service
from souron.utils.files import as_json
from souron.utils.messages import LANGUAGES, UserError, _, language, use_language

STATUS = {  # error code -> HTTP status; 422 for other codes
    "broken upload": 400, "no files": 400, "path": 404, "method": 405, "too large": 413,
    "content type": 415, "bug": 500, "busy": 503, "timeout": 504,
}  # fmt: skip
HEADERS = {  # for every response: pages load nothing and cannot be framed
    "content-security-policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Label(BaseModel):
    label: str
    probability: float


class Prediction(BaseModel):
    model_config = ConfigDict(extra="allow")  # fields of systems other than classifiers

    file: str
    labels: list[Label] | None = None
    error: str | None = None


class Problem(BaseModel):
    code: str
    found: str
    expected: str
    fix: str = Field(alias="try")


class ErrorBody(BaseModel):
    error: Problem


class Health(BaseModel):
    ready: bool = True
    model: str
    task: str
    uptime: float
    waiting: int
    served: int
    cases: int
    batches: int


PREDICTIONS = [
    {"file": "cat.jpg", "labels": [{"label": "cat", "probability": 0.97}]},
    {"file": "broken.png", "error": "[truncated] broken.png: ..."},
]


def application(service: Service, token: bool) -> FastAPI:
    """Build the API of a service, described in the current language.

    ``token``: clients need one.
    """
    options = service.predictor.options
    errors = {
        status: {"model": ErrorBody, "description": text}
        for status, text in requests.errors().items()
    }
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

    @app.post(
        "/predict",
        summary=_("Predictions for files, uploaded in a form or as JSON in base64"),
        description=_(
            "One object for each file, as souron predict --json prints it. A file that cannot be "
            "read gets its error and spoils no other."
        ),
        response_model=list[Prediction],
        response_description=_("one object for each file"),
        responses={
            200: {"content": {uploads.JSON: {"example": PREDICTIONS}}},
            **errors,
        },
        openapi_extra={
            "requestBody": uploads.request_body(),
            "parameters": query_parameters(options),
        },
    )
    async def predict(request: Request) -> Response:
        chosen = signature.read_options(options, request.query_params, "/docs")
        if service.filtered is not None:
            raise UserError(
                "filter",
                _("this server filters its answers, and /predict does not"),
                expected="/v1/chat/completions, /v1/completions",
            )
        return await requests.answer(
            request,
            service,
            uploads.read(request, service.limits),
            lambda files: service.predict(files, chosen),
        )

    if service.voice is not None:
        openai.add(app, service)
    studies.add(app, service, errors)

    @app.get(
        "/health",
        summary=_("Whether the server is ready, its uptime and its counts"),
        response_description=_("the server is ready"),
    )
    async def health() -> Health:
        return Health(
            model=service.name,
            task=service.task,
            uptime=round(time.monotonic() - service.start, 3),
            waiting=service.waiting,
            served=service.served,
            cases=service.batcher.cases,
            batches=service.batcher.batches,
        )

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """Serve a page on the API; FastAPI's own would load its scripts from elsewhere."""
        title = _("The API")
        text = page.page("serving_docs.html", title=title, schema=app.openapi(), as_json=as_json)
        return HTMLResponse(text)

    @app.get("/", include_in_schema=False)
    async def start(request: Request) -> Response:
        about = {"title": service.name, "task": task_name(service.task), "service": service}
        return HTMLResponse(page.page("serving.html", **about, url=request.base_url, token=token))

    return app


def query_parameters(options: Mapping[str, signature.Option]) -> list[dict[str, Any]]:
    """Return a system's options as OpenAPI parameters; ``signature.read_options`` checks values."""
    types = {bool: "boolean", int: "integer", float: "number"}
    parameters = []
    for name, option in options.items():
        choice = option.choice
        limits = {"minimum": choice.low, "maximum": choice.high, "enum": list(choice.among) or None}
        schema = {"type": types.get(type(option.default), "string"), "default": option.default}
        schema |= {key: value for key, value in limits.items() if value is not None}
        parameters.append(
            {"name": name, "in": "query", "description": _(choice.help), "schema": schema}
        )
    return parameters


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


def error_response(error: UserError, status: int = 0) -> Response:
    status = status or STATUS.get(error.code, 422)
    problem = {
        "code": error.code, "found": error.found, "expected": error.expected, "try": error.fix,
    }  # fmt: skip
    return json_response({"error": problem}, status, {"retry-after": "1"} if status == 503 else {})


async def user_error(_request: Request, error: Any) -> Response:
    return error_response(error)


async def http_error(request: Request, error: Any) -> Response:
    path = request.url.path
    if error.status_code == 405:
        found = _("{path} does not take {method}").format(path=path, method=request.method)
        return error_response(UserError("method", found, expected=error.headers["Allow"]))
    found = _("there is nothing at {path}").format(path=path)
    return error_response(UserError("path", found, expected="/predict, /health, /docs"))


async def disconnected(_request: Request, _error: Any) -> Response:
    return Response(status_code=400)  # to nobody


async def bug(_request: Request, error: Exception) -> Response:
    """Respond with status 500, and print the traceback for the person who runs the server."""
    traceback.print_exception(error, file=sys.stderr)
    expected = _("this should not happen: it is a mistake in souron")
    return error_response(UserError("bug", f"{type(error).__name__}: {error}", expected=expected))
