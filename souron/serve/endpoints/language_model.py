"""``/v1/...`` and ``GET /filtered``: OpenAI's API, where the model is a language model."""

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from souron.serve import uploads
from souron.serve.openai import EXAMPLES, ChatAsked, TextAsked, answered, respond
from souron.serve.service import Service
from souron.utils.messages import _


def body_of(form: type[ChatAsked | TextAsked]) -> dict[str, Any]:
    """Describe the body of a request, with an example, for the schema."""
    content = {uploads.JSON: {"example": EXAMPLES[form]}}
    return {"requestBody": {"required": True, "content": content}}


def add(app: FastAPI, service: Service) -> None:
    if service.voice is None:
        return

    @app.get("/v1/models", summary=_("The model, as OpenAI's API lists it"))
    async def models() -> Response:
        entry = {"id": service.name, "object": "model", "created": 0, "owned_by": "souron"}
        return respond({"object": "list", "data": [entry]})

    @app.get("/filtered", summary=_("How many sentences were withheld, and why"))
    async def filtered() -> Response:
        found = service.filtered
        return respond({"filter": None} if found is None else found.as_json())

    @app.post(
        "/v1/chat/completions",
        summary=_("An answer in a conversation, as OpenAI's API gives it, also streamed"),
        openapi_extra=body_of(ChatAsked),
    )
    async def chat(request: Request) -> Response:
        return await answered(request, service, ChatAsked)

    @app.post(
        "/v1/completions",
        summary=_("The continuation of a text, as OpenAI's API gives it, also streamed"),
        openapi_extra=body_of(TextAsked),
    )
    async def complete(request: Request) -> Response:
        return await answered(request, service, TextAsked)
