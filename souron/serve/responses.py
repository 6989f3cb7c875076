"""Responses in JSON, and errors with their HTTP status."""

from typing import Any

from starlette.responses import Response

from souron.utils.files import as_json
from souron.utils.messages import UserError

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


def json_response(content: Any, status: int = 200, headers: Any = None) -> Response:
    return Response(as_json(content), status, headers, "application/json")


def error_response(error: UserError, status: int = 0) -> Response:
    """Return an error as JSON; its status follows from its code unless it is given."""
    status = status or STATUS.get(error.code, 422)
    problem = {
        "code": error.code,
        "found": error.found,
        "expected": error.expected,
        "try": error.fix,
    }
    return json_response({"error": problem}, status, {"retry-after": "1"} if status == 503 else {})
