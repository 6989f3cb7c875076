"""Reads the weights of a TensorFlow Lite file, without TensorFlow.

The file is a FlatBuffer: tables that point to their fields by relative offsets. Every offset is
checked before it is followed. https://flatbuffers.dev/internals,
https://www.tensorflow.org/lite/api_docs (schema of version 3)
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from readers.graphs import (
    MOST_BYTES,
    MOST_NAME,
    MOST_OPERATIONS,
    MOST_TENSORS,
    Graph,
    Operation,
    Refused,
    damaged,
    limited,
    shaped,
    too_large,
    unknown,
)

IDENTIFIER = b"TFL3"
TYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 6: "?", 9: "i1"}
KINDS = {  # builtin operators of networks for images; all but these four only compute
    0: "add", 3: "conv", 4: "depthwise", 6: "dequantize", 1: "", 2: "", 5: "", 9: "", 14: "",
    17: "", 18: "", 19: "", 21: "", 22: "", 23: "", 25: "", 28: "", 34: "", 40: "", 41: "",
    42: "", 43: "", 54: "", 67: "", 97: "", 117: "",
}  # fmt: skip
KERNELS = {"conv": (0, 3, 1, 2), "depthwise": (3, 0, 1, 2)}  # outputs first; (1, H, W, outputs)


def weights(data: bytes) -> dict:
    """Return the weights of the convolutions in a file's content, see ``Graph.weights``.

    A convolution is called as its output, up to the first semicolon. Raises Refused.
    """
    try:
        return graph(data).weights()
    except (struct.error, UnicodeDecodeError) as error:
        raise damaged() from error


def graph(data: bytes) -> Graph:
    if len(data) > MOST_BYTES:
        raise too_large()
    if data[4:8] != IDENTIFIER:
        raise Refused("it is no TensorFlow Lite file")
    model = Table(data, _offset(data, 0))
    codes = [_code(code) for code in model.tables(1, MOST_OPERATIONS)]
    buffers = list(model.tables(4, MOST_TENSORS))
    parts = list(model.tables(2, 2))
    if len(parts) != 1:
        raise Refused(f"it has {len(parts)} graphs in place of one")
    [part] = parts
    names: list[str] = []
    constants = {}
    for number, tensor in enumerate(part.tables(0, MOST_TENSORS)):
        names.append(f"{number} {tensor.text(3)}")
        content = _at(buffers, tensor.number(2, "I")).bytes(0)
        if len(content):
            kind = TYPES.get(tensor.number(1, "b"))
            if kind is None or len(content) % np.dtype(kind).itemsize:
                raise Refused(f"{names[-1]} has values of an unknown type")
            constants[names[-1]] = shaped(np.frombuffer(content, kind), tensor.ints(0), names[-1])
    operations = []
    for made in part.tables(3, MOST_OPERATIONS):
        kind = _at(codes, made.number(0, "I"))
        inputs = [_at(names, number) for number in made.ints(1) if number >= 0]
        outputs = [_at(names, number) for number in made.ints(2)]
        if not outputs:
            raise Refused("an operation without an output")
        if kind == "dequantize" and inputs and inputs[0] in constants:
            constants[outputs[0]] = constants[inputs[0]].float()
            continue
        name = outputs[0].partition(" ")[2].partition(";")[0]
        operations.append(Operation(kind, name, tuple(inputs), tuple(outputs)))
    given = tuple(_at(names, number) for number in part.ints(1))
    return Graph(operations, constants, given, KERNELS)


def _code(code: "Table") -> str:
    """Return the kind of an operator. Raises Refused for an unknown one."""
    number = max(code.number(0, "b"), code.number(3, "i"))
    if number not in KINDS or code.place(1):
        raise unknown(f"{number} {code.text(1)}".strip())
    return KINDS[number]


def _at(items: list, number: int):
    if not 0 <= number < len(items):
        raise Refused(f"it refers to entry {number} of {len(items)}")
    return items[number]


def _read(data: bytes, form: str, place: int) -> int:
    if not 0 <= place <= len(data) - struct.calcsize(form):
        raise damaged()
    return struct.unpack_from(f"<{form}", data, place)[0]


def _offset(data: bytes, place: int) -> int:
    """Return the place that the offset at ``place`` leads to; offsets only lead forward."""
    return place + _read(data, "I", place)


@dataclass(frozen=True)
class Table:
    """A table of a FlatBuffer. Its fields are numbered as in the schema."""

    data: bytes
    start: int

    def place(self, field: int) -> int:
        """Return where a field lies, 0 where the table has none."""
        directory = self.start - _read(self.data, "i", self.start)
        entry = 4 + 2 * field
        if entry + 2 > _read(self.data, "H", directory):
            return 0
        inside = _read(self.data, "H", directory + entry)
        return self.start + inside if inside else 0

    def number(self, field: int, form: str) -> int:
        place = self.place(field)
        return _read(self.data, form, place) if place else 0

    def _vector(self, field: int, size: int) -> tuple[int, int]:
        """Return where the entries of a vector begin, and their number."""
        place = self.place(field)
        if not place:
            return 0, 0
        start = _offset(self.data, place)
        count = _read(self.data, "I", start)
        if count * size > len(self.data) - start - 4:
            raise damaged()
        return start + 4, count

    def tables(self, field: int, most: int) -> Iterator["Table"]:
        start, count = self._vector(field, 4)
        for number in limited(range(count), most):
            yield Table(self.data, _offset(self.data, start + 4 * number))

    def ints(self, field: int) -> list[int]:
        start, count = self._vector(field, 4)
        if count > MOST_TENSORS:
            raise Refused(f"more than {MOST_TENSORS:,} entries in a list")
        return [_read(self.data, "i", start + 4 * number) for number in range(count)]

    def bytes(self, field: int) -> bytes:
        start, count = self._vector(field, 1)
        return self.data[start : start + count]

    def text(self, field: int) -> str:
        content = self.bytes(field)
        if len(content) > MOST_NAME:
            raise Refused(f"a name of {len(content)} bytes")
        return content.decode()
