"""What kinds share: a file's content within limits, its text, writing one whole or not at all."""

import csv
import io
import json
from collections.abc import Collection
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from souron.kinds.codecs.limits import MOST_BYTES, check_file, trouble
from souron.utils.files import atomically
from souron.utils.messages import UserError, _

MOST_TEXT = 50_000_000  # bytes


def content(path: Path, most: int = MOST_BYTES) -> bytes:
    """All of a file. Raises UserError: "missing", "empty file", "too large", "unreadable"."""
    check_file(path, most=most, otherwise="unreadable")
    try:
        return path.read_bytes()
    except OSError as error:
        raise trouble(path, "unreadable", error.strerror or str(error)) from error


def words(path: Path, most: int = MOST_TEXT) -> str:
    """The text in a file: UTF-8, UTF-16 with its mark, or Shift_JIS. Raises UserError, also "not a
    text"."""
    return decoded(content(path, most), path, most)


def decoded(raw: bytes, path: Path, most: int = MOST_TEXT) -> str:
    """The text that bytes stand for, of what is called ``path``. Raises what ``words`` does."""
    if not raw or len(raw) > most:
        raise trouble(
            path,
            "too large" if raw else "empty file",
            _("more than {count} MB").format(count=most // 1_000_000)
            if raw
            else _("the file is empty"),
        )
    try:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            text = raw.decode("utf-16")
        else:
            text = _decoded(raw.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError as error:
        raise trouble(path, "not a text", _("neither UTF-8 nor Shift_JIS")) from error
    if "\0" in text:
        raise trouble(path, "not a text", _("neither UTF-8 nor Shift_JIS"))
    return text


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp932")


def parsed(path: Path, most: int = MOST_TEXT) -> Any:
    """The JSON in a file. Raises UserError, also "not JSON"."""
    try:
        return json.loads(words(path, most))
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise trouble(path, "not JSON", str(error)) from error


def write(path: Path, written: bytes) -> None:
    """Raises UserError where the disk is full or the folder cannot be written."""
    with atomically(path) as beside:
        beside.write_bytes(written)


def ending(path: Path, known: Collection[str]) -> str:
    """The end of a name that is to be written, in small letters. Raises UserError for others."""
    suffix = path.suffix.lower()
    if suffix not in known:
        raise trouble(
            path,
            "format",
            _("files that end in {suffix!r} are not written").format(suffix=path.suffix),
            ", ".join(known),
        )
    return suffix


def wrong(found: str, expected: str) -> UserError:
    """For numbers that make no sense."""
    return UserError("numbers", found, expected=expected, exit=3)


def rows_of(values: Any, width: int) -> np.ndarray:
    """(N, width) finite numbers as float32. Raises UserError."""
    array = np.asarray(values, np.float32)
    if array.size == 0:
        return np.zeros((0, width), np.float32)
    if array.ndim != 2 or array.shape[1] != width:
        raise wrong(
            _("numbers in the shape {shape}").format(shape=array.shape),
            _("rows of {width}").format(width=width),
        )
    if not np.isfinite(array).all():
        raise wrong(_("numbers that are not finite"), _("rows of {width}").format(width=width))
    return array


def html_table(columns: Collection[str], rows: Collection[Collection[Any]], caption: str) -> str:
    """For notebooks and pages."""
    head = "".join(f"<th scope='col'>{escape(str(name))}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>"
        for row in rows
    )
    return f"<table><caption>{escape(caption)}</caption><tr>{head}</tr>{body}</table>"


def separated(rows: Collection[Collection[Any]]) -> bytes:
    """CSV, as UTF-8."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()
