"""What a request brings: pictures in a form or in JSON. They stay in memory, never on the disk."""

import base64
import io
import json
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from souron.utils.files import as_json
from souron.utils.messages import UserError, _

MB = 1_000_000
FORM, JSON = "multipart/form-data", "application/json"
EXAMPLE = {"files": [{"file": "cat.jpg", "content": "/9j/4AAQSkZJRg..."}]}

logging.getLogger("python_multipart").addHandler(logging.NullHandler())  # else it prints to stderr


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may ask for."""

    file: int = 20 * MB  # bytes
    files: int = 64
    seconds: float = 30.0  # for a request to arrive, and again for its answer
    requests: int = 128  # that arrive or wait at once
    batch: int = 32  # pictures that go through the network together

    @property
    def request(self) -> int:
        """Bytes of a request: five of the largest files, as a form or in base64."""
        return 5 * self.file * 4 // 3

    @property
    def held(self) -> int:
        """Bytes of all requests that are held in memory at once."""
        return 4 * self.request


class Refusal(UserError):
    """A request that gets no answer: an HTTP status, what was found, what was expected."""

    def __init__(
        self, status: int, code: str, found: str, expected: str = "", fix: str = ""
    ) -> None:
        super().__init__(code, found, expected=expected, fix=fix)
        self.status = status


@dataclass(frozen=True)
class Upload:
    """A file that was sent. It answers what the kinds ask of a path."""

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


def parse(content_type: str, body: bytes, limits: Limits) -> list[Upload]:
    """The files of a request. Raises Refusal."""
    kind, options = parse_options_header(content_type)
    if kind == FORM.encode():
        uploads = from_form(options.get(b"boundary", b""), body, limits)
    elif kind == JSON.encode():
        uploads = from_json(body, limits)
    else:
        raise Refusal(
            415,
            "content type",
            _("the request is of the type {name!r}").format(name=content_type[:100]),
            f"{FORM}, {JSON}",
            "curl -F file=@cat.jpg",
        )
    if not uploads:
        raise Refusal(400, "no files", _("the request brings no file"), fix="curl -F file=@cat.jpg")
    return uploads


def from_form(boundary: bytes, body: bytes, limits: Limits) -> list[Upload]:
    form = Form(limits)
    try:
        MultipartParser(boundary, form.callbacks()).write(body)
    except FormParserError as error:
        raise broken_form() from error
    if not (boundary and form.ended):
        raise broken_form()
    return form.uploads


def broken_form() -> Refusal:
    return Refusal(400, "broken upload", _("the form is damaged or was cut off"), FORM)


class Form:
    """Collects the files of a form as a parser finds them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.uploads: list[Upload] = []
        self.ended = False
        self.begin()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self.begin,
            "on_header_field": self.field,
            "on_header_value": self.value,
            "on_header_end": self.header,
            "on_part_data": self.data,
            "on_part_end": self.end,
            "on_end": self.finish,
        }

    def begin(self) -> None:
        self.name = self.about = self.disposition = b""
        self.chunks: list[bytes] = []

    def field(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def value(self, data: bytes, start: int, end: int) -> None:
        self.about += data[start:end]

    def header(self) -> None:
        if self.name.lower() == b"content-disposition":
            self.disposition = self.about
        self.name = self.about = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        self.chunks.append(data[start:end])

    def end(self) -> None:
        _kind, options = parse_options_header(self.disposition)
        if b"filename" not in options:
            name = options.get(b"name", b"").decode("utf-8", "replace")
            raise Refusal(
                422,
                "option",
                _("{name!r} is no file").format(name=name),
                _("files, and options in the address"),
                "/predict?top=3",
            )
        name, content = options[b"filename"].decode("utf-8", "replace"), b"".join(self.chunks)
        if name or content:  # a browser's form in which no file was chosen holds an empty one
            self.uploads.append(checked(name, content, self.limits))
            check_count(len(self.uploads), self.limits)

    def finish(self) -> None:
        self.ended = True


def from_json(body: bytes, limits: Limits) -> list[Upload]:
    try:
        files = json.loads(body)["files"]
        check_count(len(files), limits)
        sent = [(each["file"], base64.b64decode(each["content"], validate=True)) for each in files]
        if not all(isinstance(name, str) for name, _content in sent):
            raise TypeError
    except Refusal:
        raise
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise Refusal(
            400, "broken upload", _("the JSON is not as expected"), as_json(EXAMPLE)
        ) from error
    return [checked(name, content, limits) for name, content in sent]


def checked(name: str, content: bytes, limits: Limits) -> Upload:
    """A file that is not too large, under a name that can be written."""
    name = name.encode("utf-8", "replace").decode() or "?"
    if len(content) > limits.file:
        raise too_large(_("{name} has more").format(name=name), limits.file)
    return Upload(name, content)


def too_large(found: str, most: int) -> Refusal:
    return Refusal(
        413,
        "too large",
        found,
        _("at most {count} MB").format(count=f"{most / MB:g}"),
        "souron serve ... limit=100",
    )


def check_count(count: int, limits: Limits) -> None:
    if count > limits.files:
        raise Refusal(
            413,
            "too large",
            _("the request brings more than {count} files").format(count=limits.files),
            _("at most {count} files; more requests").format(count=limits.files),
        )
