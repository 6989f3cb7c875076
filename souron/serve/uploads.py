"""Uploaded files of a request, as a form or JSON, kept in memory."""

import io
import logging
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from souron.utils.files import as_json
from souron.utils.messages import UserError, _

MB = 1_000_000
FORM, JSON = "multipart/form-data", "application/json"

logging.getLogger("python_multipart").addHandler(logging.NullHandler())  # keep stderr quiet


@dataclass(frozen=True)
class Limits:
    file: int = 20 * MB  # bytes
    files: int = 64  # per request
    seconds: float = 30.0  # for a body to arrive, and again for its response
    requests: int = 128  # at once
    batch: int = 32  # items in one forward pass

    @property
    def request(self) -> int:
        """Largest request, bytes: five of the largest files, as a form or in base64."""
        return 5 * self.file * 4 // 3


@dataclass(frozen=True)
class Upload:
    """A file in memory with the interface of a path, as far as the kinds use it."""

    name: str
    content: bytes

    def __fspath__(self) -> str:
        return self.name

    __str__ = __fspath__

    @property
    def suffix(self) -> str:
        return PurePath(self.name).suffix

    def stat(self) -> os.stat_result:
        return os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, len(self.content), 0, 0, 0))

    def open(self, _mode: str = "rb") -> io.BytesIO:
        return io.BytesIO(self.content)

    def read_bytes(self) -> bytes:
        return self.content


class JSONFile(BaseModel):
    model_config = ConfigDict(val_json_bytes="base64")

    file: str
    content: bytes = Field(json_schema_extra={"format": "byte"})


class JSONBody(BaseModel):
    files: list[JSONFile]


EXAMPLE = {"files": [{"file": "cat.jpg", "content": "/9j/4AAQSkZJRg..."}]}


def request_body() -> dict[str, Any]:
    """Return the request body in OpenAPI; FastAPI alone describes only one content type."""
    schema = JSONBody.model_json_schema()
    schema["properties"]["files"]["items"] = schema.pop("$defs")["JSONFile"]
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    form = {"type": "object", "properties": {"file": files}, "required": ["file"]}
    example = "curl -F file=@cat.jpg -F file=@dog.jpg"
    content = {FORM: {"schema": form, "example": example}, JSON: {"schema": schema, "example": EXAMPLE}}
    return {"required": True, "content": content}


async def read(request: Request, limits: Limits) -> list[Upload]:
    """Read the uploaded files. Raises UserError."""
    content_type = request.headers.get("content-type", "")
    form_or_json = content_type.partition(";")[0].strip().lower()
    if form_or_json not in (FORM, JSON):
        raise UserError(
            "content type",
            _("the request is of the type {name!r}").format(name=content_type[:100]),
            expected=f"{FORM}, {JSON}",
            fix="curl -F file=@cat.jpg",
        )
    uploads = await (from_form if form_or_json == FORM else from_json)(request, limits)
    if not uploads:
        raise UserError("no files", _("the request brings no file"), fix="curl -F file=@cat.jpg")
    check_count(len(uploads), limits)
    for upload in uploads:
        if len(upload.content) > limits.file:
            raise too_large(_("{name} has more").format(name=upload.name), limits.file)
    return uploads


async def limited(request: Request, most: int) -> AsyncIterator[bytes]:
    """Yield the chunks of the body as they arrive. Raises UserError beyond ``most`` bytes."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise too_large(_("the request is larger"), most)
        yield chunk


async def json_body(request: Request, most: int) -> bytes:
    """Read a body of JSON. Raises UserError for another type, and beyond ``most`` bytes."""
    sort = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sort != JSON:
        raise UserError("content type", _("the request is of the type {name!r}").format(name=sort[:100]), expected=JSON)
    return b"".join([chunk async for chunk in limited(request, most)])


class FormParser(MultiPartParser):
    """Form parser in memory only, which refuses too many files and a form that was cut off."""

    spool_max_size = 0  # never write a file to the disk

    def __init__(self, request: Request, limits: Limits) -> None:
        super().__init__(request.headers, self.body(request, limits))
        self.limits, self.complete = limits, False

    async def body(self, request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
        async for chunk in limited(request, limits.request):
            yield chunk
        if not self.complete:  # otherwise Starlette would drop the last file
            raise MultiPartException("no final boundary")

    def on_part_begin(self) -> None:
        super().on_part_begin()
        check_count(len(self.items) + 1, self.limits)

    def on_end(self) -> None:
        self.complete = True


async def from_form(request: Request, limits: Limits) -> list[Upload]:
    try:
        form = await FormParser(request, limits).parse()
    except MultiPartException as error:
        found = _("the form is damaged or was cut off")
        raise UserError("broken upload", found, expected=FORM) from error
    uploads = []
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            raise UserError(
                "option",
                _("{name!r} is no file").format(name=name),
                expected=_("files, and options in the address"),
                fix="/predict?top=3",
            )
        if value.filename or value.size:  # a browser sends an empty file where none was chosen
            uploads.append(Upload(value.filename or "?", await value.read()))
        await value.close()
    return uploads


async def from_json(request: Request, limits: Limits) -> list[Upload]:
    body = b"".join([chunk async for chunk in limited(request, limits.request)])
    try:
        files = JSONBody.model_validate_json(body).files
    except ValidationError as error:
        found = _("the JSON is not as expected")
        raise UserError("broken upload", found, expected=as_json(EXAMPLE)) from error
    return [Upload(each.file or "?", each.content) for each in files]


def check_count(count: int, limits: Limits) -> None:
    if count > limits.files:
        raise UserError(
            "too large",
            _("the request brings more than {count} files").format(count=limits.files),
            expected=_("at most {count} files; more requests").format(count=limits.files),
        )


def too_large(found: str, most: int) -> UserError:
    expected = _("at most {count} MB").format(count=f"{most / MB:g}")
    return UserError("too large", found, expected=expected, fix="souron serve ... limit=100")
