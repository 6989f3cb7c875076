"""Responses in JSON, and errors with their HTTP status."""

from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from souron.utils.files import as_json
from souron.utils.messages import UserError, _

STATUS = {  # error code -> HTTP status; 422 for other codes
    "broken upload": 400,
    "no files": 400,
    "path": 404,
    "method": 405,
    "too large": 413,
    "content type": 415,
    "bug": 500,
    "busy": 503,
    "timeout": 504,
}


class Problem(BaseModel):
    code: str
    found: str
    expected: str
    fix: str = Field(alias="try")


class ErrorBody(BaseModel):
    error: Problem


def json_response(content: Any, status: int = 200, headers: Any = None) -> Response:
    return Response(as_json(content), status, headers, "application/json")


def error_response(error: UserError, status: int = 0) -> Response:
    """Return an error as JSON; its status follows from its code unless it is given."""
    status = status or STATUS.get(error.code, 422)
    return json_response({"error": error.as_json()}, status, {"retry-after": "1"} if status == 503 else {})


def errors() -> dict[int | str, dict[str, Any]]:
    """Return the refusals by HTTP status, for the schema."""
    texts = {
        400: _("the upload is damaged, was cut off, or brings no file"),
        413: _("too many bytes, or too many files"),
        415: _("neither a form nor JSON"),
        422: _("an option is not understood"),
        503: _("too many requests wait: try again later"),
        504: _("there was no answer in time"),
    }
    return {status: {"model": ErrorBody, "description": text} for status, text in texts.items()}
