"""``POST /predict``: predictions for files, as ``souron predict --json`` prints them."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from souron.kinds.signature import Option, read_options
from souron.serve import requests, uploads
from souron.serve.responses import errors
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
        options = read_options(service.predictor.options, request.query_params, "/docs")
        if service.filtered is not None:
            raise UserError(
                "filter",
                _("this server filters its answers, and /predict does not"),
                expected="/v1/chat/completions, /v1/completions",
            )
        return await requests.answer(
            request, service, uploads.read(request, service.limits), lambda files: service.predict(files, options)
        )


def query_parameters(options: Mapping[str, Option]) -> list[dict[str, Any]]:
    """Return a system's options as OpenAPI parameters; ``read_options`` checks their values."""
    return [
        {"name": name, "in": "query", "description": _(option.help), "schema": option.json_schema()}
        for name, option in options.items()
    ]
