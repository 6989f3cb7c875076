"""``POST /predict``: predictions for files, as ``souron predict --json`` prints them."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from souron.kinds.signature import Option, read_options
from souron.serve import uploads
from souron.serve.responses import json_response
from souron.serve.service import Service
from souron.utils.messages import UserError, _


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


PREDICTIONS = [
    {"file": "cat.jpg", "labels": [{"label": "cat", "probability": 0.97}]},
    {"file": "broken.png", "error": "[truncated] broken.png: ..."},
]


def add(app: FastAPI, service: Service) -> None:
    @app.post(
        "/predict",
        summary=_("Predictions for files, uploaded in a form or as JSON in base64"),
        description=_(
            "One object for each file, as souron predict --json prints it. A file that cannot be "
            "read gets its error and spoils no other."
        ),
        response_model=list[Prediction],
        response_description=_("one object for each file"),
        responses={200: {"content": {uploads.JSON: {"example": PREDICTIONS}}}, **errors()},
        openapi_extra={
            "requestBody": uploads.request_body(),
            "parameters": query_parameters(service.predictor.options),
        },
    )
    async def predict(request: Request) -> Response:
        return json_response(await predicted(request, service))


async def predicted(request: Request, service: Service) -> list[dict[str, Any]]:
    """Read the files of a request and return their predictions. Raises UserError."""
    limits = service.limits
    options = read_options(service.predictor.options, request.query_params, "/docs")
    check_open(service)
    service.waiting += 1
    try:
        async with asyncio.timeout(limits.seconds):
            files = await uploads.read(request, limits)
        async with asyncio.timeout(limits.seconds):
            predictions = await while_connected(request, service.predict(files, options))
    except TimeoutError as error:
        raise UserError(
            "timeout",
            _("there was no answer within {seconds} s").format(seconds=f"{limits.seconds:g}"),
            expected=_("fewer or smaller files, or a server with more time"),
            fix="souron serve ... timeout=120",
        ) from error
    finally:
        service.waiting -= 1
    service.served += 1
    return predictions


def check_open(service: Service) -> None:
    """Raise UserError if the service filters its answers, or if too many requests wait."""
    if service.filtered is not None:
        raise UserError(
            "filter",
            _("this server filters its answers, and /predict does not"),
            expected="/v1/chat/completions, /v1/completions",
        )
    if service.waiting >= service.limits.requests:
        raise UserError(
            "busy",
            _("too many requests wait"),
            expected=_("fewer at a time"),
            fix=_("again in a second"),
        )


async def while_connected(request: Request, work: Coroutine[Any, Any, Any]) -> Any:
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


def errors() -> dict[int | str, dict[str, Any]]:
    """Return the errors of a prediction by HTTP status, for the schema."""
    texts = {
        400: _("the upload is damaged, was cut off, or brings no file"),
        413: _("too many bytes, or too many files"),
        415: _("neither a form nor JSON"),
        422: _("an option is not understood"),
        503: _("too many requests wait: try again later"),
        504: _("there was no answer in time"),
    }
    return {status: {"model": ErrorBody, "description": text} for status, text in texts.items()}


def query_parameters(options: Mapping[str, Option]) -> list[dict[str, Any]]:
    """Return a system's options as OpenAPI parameters; ``read_options`` checks their values."""
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
