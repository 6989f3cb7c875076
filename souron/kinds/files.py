"""Shared file functions: reading within limits, decoding text, writing atomically."""

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
    """Read all of a file.

    Raises UserError: "missing", "empty file", "too large", "unreadable".

    >>> try:
    ...     content(Path("nowhere.png"))
    ... except UserError as error:
    ...     print(error.code)
    missing
    """
    check_file(path, most=most, otherwise="unreadable")
    try:
        return path.read_bytes()
    except OSError as error:
        raise trouble(path, "unreadable", error.strerror or str(error)) from error


def words(path: Path, most: int = MOST_TEXT) -> str:
    """Read the text in a file: UTF-8, UTF-16 with a byte order mark, or Shift_JIS.

    Raises UserError as ``content`` does, and "not a text".

    >>> words(Path("notes.txt"))  # doctest: +SKIP
    'To be or not to be'
    """
    return decoded(content(path, most), path, most)


def decoded(raw: bytes, path: Path, most: int = MOST_TEXT) -> str:
    """Decode the bytes of the file ``path``. Raises UserError as ``words`` does.

    >>> decoded("歯".encode("utf-16"), Path("a.txt")), decoded("歯".encode("cp932"), Path("a.txt"))
    ('歯', '歯')
    """
    if not raw or len(raw) > most:
        raise trouble(
            path,
            "too large" if raw else "empty file",
            _("more than {count} MB").format(count=most // 1_000_000) if raw else _("the file is empty"),
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
    """Decode UTF-8, else Shift_JIS. Raises UnicodeDecodeError."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp932")


def parsed(path: Path, most: int = MOST_TEXT) -> Any:
    """Parse the JSON in a file. Raises UserError as ``words`` does, and "not JSON".

    >>> parsed(Path("chat.json"))  # doctest: +SKIP
    {'messages': []}
    """
    try:
        return json.loads(words(path, most))
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise trouble(path, "not JSON", str(error)) from error


def write(path: Path, written: bytes) -> None:
    """Write a file completely or not at all.

    Raises UserError where the disk is full or the folder cannot be written.

    >>> write(Path("notes.txt"), b"To be or not to be")  # doctest: +SKIP
    """
    with atomically(path) as beside:
        beside.write_bytes(written)


def ending(path: Path, known: Collection[str]) -> str:
    """Return the lower-case ending of a file to be written. Raises UserError unless it is known.

    >>> ending(Path("photo.PNG"), (".png", ".jpg"))
    '.png'
    """
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
    """Return the UserError for invalid numbers.

    >>> print(wrong("a score of 2", "0..1"))
    [numbers] a score of 2
      expected: 0..1
    """
    return UserError("numbers", found, expected=expected, exit=3)


def rows_of(values: Any, width: int) -> np.ndarray:
    """Validate finite numbers and return them as float32, (N, width). Raises UserError.

    >>> rows_of([[0, 1], [2, 3]], 2).shape, rows_of([], 4).shape
    ((2, 2), (0, 4))
    """
    array = np.asarray(values, np.float32)
    if array.size == 0:
        return np.zeros((0, width), np.float32)
    if array.ndim != 2 or array.shape[1] != width:
        raise wrong(
            _("numbers in the shape {shape}").format(shape=array.shape), _("rows of {width}").format(width=width)
        )
    if not np.isfinite(array).all():
        raise wrong(_("numbers that are not finite"), _("rows of {width}").format(width=width))
    return array


def html_table(columns: Collection[str], rows: Collection[Collection[Any]], caption: str) -> str:
    """Return an HTML table for notebooks and pages.

    >>> html_table(["label"], [["cat & dog"]], "found")[-42:]
    'tr><tr><td>cat &amp; dog</td></tr></table>'
    """
    head = "".join(f"<th scope='col'>{escape(str(name))}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><tr>{head}</tr>{body}</table>"


def separated(rows: Collection[Collection[Any]]) -> bytes:
    """Return rows as CSV, encoded in UTF-8.

    >>> separated([["label", "score"], ["cat, grey", 0.9]])
    b'label,score\\n"cat, grey",0.9\\n'
    """
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()
