"""What the interface says of itself: OpenAPI, in the reader's language."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

import souron
from souron.kinds import signature
from souron.serve import uploads
from souron.utils.messages import N_, _

ANSWER = [
    {"file": "cat.jpg", "labels": [{"label": "cat", "probability": 0.97}]},
    {"file": "broken.png", "error": "[truncated] broken.png: ..."},
]
ERROR = {"error": {"code": "...", "found": "...", "expected": "...", "try": "..."}}


class Label(BaseModel):
    label: str
    probability: float


class Answer(BaseModel):
    model_config = {"extra": "allow"}  # other systems than classifiers say other things

    file: str
    labels: list[Label] | None = None
    error: str | None = None


class Problem(BaseModel):
    code: str
    found: str
    expected: str
    fix: str = Field(alias="try")


class Problems(BaseModel):
    error: Problem


class Health(BaseModel):
    ready: bool
    model: str
    task: str
    uptime: float
    waiting: int
    served: int
    cases: int
    batches: int


REFUSED = {
    400: N_("the upload is damaged, was cut off, or brings no file"),
    408: N_("the request came too slowly"),
    413: N_("too many bytes, or too many files"),
    415: N_("neither a form nor JSON"),
    422: N_("an option is not understood"),
    503: N_("too many requests wait, or the server is ending: try again later"),
    504: N_("the answer took too long"),
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {uploads.JSON: {"example": ANSWER}}},
    **{
        status: {
            "model": Problems,
            "description": text,
            "content": {uploads.JSON: {"example": ERROR}},
        }
        for status, text in REFUSED.items()
    },
}
BODY = {
    "required": True,
    "content": {
        uploads.FORM: {
            "schema": {
                "type": "object",
                "properties": {
                    "file": {"type": "array", "items": {"type": "string", "format": "binary"}}
                },
            },
            "example": "curl -F file=@cat.jpg -F file=@dog.jpg",
        },
        uploads.JSON: {
            "schema": {
                "type": "object",
                "required": ["files"],
                "properties": {
                    "files": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["file", "content"],
                            "properties": {
                                "file": {"type": "string"},
                                "content": {"type": "string", "format": "byte"},
                            },
                        },
                    }
                },
            },
            "example": uploads.EXAMPLE,
        },
    },
}


def parameters(options: dict[str, signature.Option]) -> list[dict[str, Any]]:
    """What a request may say in its address, as OpenAPI has it."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    found = []
    for name, option in options.items():
        kind = next((names[kind] for kind in names if isinstance(option.default, kind)), "string")
        choice = option.choice
        limits = {"minimum": choice.low, "maximum": choice.high, "enum": list(choice.among) or None}
        known = {key: value for key, value in limits.items() if value is not None}
        schema = {"type": kind, "default": option.default, **known}
        found.append({"name": name, "in": "query", "description": choice.help, "schema": schema})
    return found


def schema(app: FastAPI) -> dict[str, Any]:
    """OpenAPI in the reader's language."""
    about = N_("What souron predict --json says, over HTTP.")
    whole = get_openapi(
        title=app.title, version=souron.__version__, description=about, routes=app.routes
    )
    return translated(whole)


def translated(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {
            key: _(value)
            if key in ("summary", "description") and isinstance(value, str) and value
            else translated(value)
            for key, value in thing.items()
        }
    return [translated(each) for each in thing] if isinstance(thing, list) else thing
