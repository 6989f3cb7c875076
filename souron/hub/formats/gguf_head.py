"""Check the header of a GGUF file against the file size before a library parses it.

A file of 69 bytes may claim a list of 2^40 items, which the library would try to read.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from pathlib import Path
from typing import IO

from souron.utils.messages import _

MOST_ITEMS = 5_000_000  # of all lists; a vocabulary of 200,000 words and 440,000 merges counts as 4,100,000
TEXT = 6  # items that a text counts as: it takes the library as long
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of numbers
STRING, LIST = 8, 9
LEAST_TENSOR, LEAST_FIELD = 24, 13  # minimum bytes of each in the header


def check(path: Path) -> None:
    """Raise ValueError where lengths in the header exceed the file, or any plausible model."""
    with path.open("rb") as stream:
        size = path.stat().st_size
        stream.seek(8)
        tensors, fields = _numbers(stream, "<QQ")
        _hold(tensors * LEAST_TENSOR + fields * LEAST_FIELD, stream, size)
        items = 0
        for _field in range(fields):
            _skip_text(stream, size)
            (kind,) = _numbers(stream, "<I")
            items += _skip_value(stream, kind, size)
            if items > MOST_ITEMS:
                raise ValueError(_("its lists have over {count} items").format(count=MOST_ITEMS))


def _skip_value(stream: IO[bytes], kind: int, size: int) -> int:
    """Skip a value and return its number of items."""
    if kind == STRING:
        _skip_text(stream, size)
        return 1
    if kind != LIST:
        _skip(stream, _width(kind), size)
        return 1
    kind, count = _numbers(stream, "<IQ")
    if kind != STRING:
        _skip(stream, count * _width(kind), size)
        return int(count)
    _hold(count * 8, stream, size)
    for _item in range(min(count, MOST_ITEMS // TEXT)):
        _skip_text(stream, size)
    return int(count) * TEXT


def _width(kind: int) -> int:
    if kind not in WIDTHS:  # also rejects nested lists, which no model has
        raise ValueError(_("its head is damaged"))
    return WIDTHS[kind]


def _skip_text(stream: IO[bytes], size: int) -> None:
    (length,) = _numbers(stream, "<Q")
    _skip(stream, length, size)


def _skip(stream: IO[bytes], length: int, size: int) -> None:
    _hold(length, stream, size)
    stream.seek(length, 1)


def _hold(length: int, stream: IO[bytes], size: int) -> None:
    """Raise ValueError where fewer than ``length`` bytes follow."""
    if length > size - stream.tell():
        raise ValueError(_("it claims to hold more than it does"))


def _numbers(stream: IO[bytes], form: str) -> tuple[int, ...]:
    content = stream.read(struct.calcsize(form))
    if len(content) < struct.calcsize(form):
        raise ValueError(_("it claims to hold more than it does"))
    return struct.unpack(form, content)
