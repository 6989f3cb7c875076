"""Reads the weights of an ONNX file, without the library of that name.

The file is a Protocol Buffer: numbered fields, each with its length. Weights may be stored in
eight bits, with a scale for each output. https://protobuf.dev/programming-guides/encoding,
https://github.com/onnx/onnx/blob/main/docs/IR.md
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from torch import Tensor

TYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
OWN = {1: 4, 6: 5, 7: 7}  # type -> the field of a tensor with its values, where they are not raw
KINDS = {"Conv": "conv", "Add": "add", "DequantizeLinear": "dequantize"}
OTHERS = frozenset((
    "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "ConvTranspose",
    "Div", "Exp", "Gather", "Gemm", "GlobalAveragePool", "Identity", "InstanceNormalization",
    "LeakyRelu", "MatMul", "MaxPool", "Mul", "PRelu", "Pad", "QuantizeLinear", "Reciprocal",
    "ReduceMean", "Relu", "Reshape", "Resize", "Shape", "Sigmoid", "Slice", "Softmax", "Split",
    "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Upsample",
))  # fmt: skip
KERNELS = {"conv": (0, 1, 2, 3)}
VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5  # how a field is stored
MOST_VARINT = 10  # bytes

Field = tuple[int, int, "int | bytes"]  # number, how it is stored, content


def weights(data: bytes) -> dict:
    """Return the weights of the convolutions in a file's content, see ``Graph.weights``.

    A convolution is called as its output. Raises Refused.
    """
    if len(data) > MOST_BYTES:
        raise too_large()
    try:
        model = list(fields(data))
        graphs = messages(model, 7)
        if messages(model, 25):
            raise Refused("it has functions of its own")
        if len(graphs) != 1:
            raise Refused(f"it has {len(graphs)} graphs in place of one")
        return graph(graphs[0]).weights()
    except UnicodeDecodeError as error:
        raise damaged() from error


def graph(data: bytes) -> Graph:
    parts = list(fields(data))
    if messages(parts, 15):
        raise Refused("it has sparse tensors")
    constants = dict(map(_tensor, limited(messages(parts, 5), MOST_TENSORS)))
    operations = []
    for node in limited(messages(parts, 1), MOST_OPERATIONS):
        operation = _operation(list(fields(node)))
        if operation.kind == "dequantize" and operation.inputs[0] in constants:
            axis = _axis(list(fields(node)))
            constants[operation.outputs[0]] = _dequantized(operation, constants, axis)
            continue
        operations.append(operation)
    inputs = [_name(messages(list(fields(one)), 1)) for one in messages(parts, 11)]
    given = tuple(name for name in inputs if name not in constants)
    return Graph(operations, constants, ("", *given), KERNELS)


def _operation(node: list[Field]) -> Operation:
    kind = _name(messages(node, 4))
    domain = _name(messages(node, 7)) if messages(node, 7) else ""
    if domain not in ("", "ai.onnx") or (kind not in KINDS and kind not in OTHERS):
        raise unknown(f"{domain} {kind}".strip())
    for attribute in messages(node, 5):
        inside = list(fields(attribute))
        if messages(inside, 6) or messages(inside, 11):
            raise Refused("it has a branch or a loop")
    inputs, outputs = (tuple(map(_text, messages(node, number))) for number in (1, 2))
    if not outputs or (kind == "DequantizeLinear" and len(inputs) < 2):
        raise Refused("an operation without an output")
    return Operation(KINDS.get(kind, ""), outputs[0], inputs, outputs)


def _axis(node: list[Field]) -> int:
    """Return the axis that the scales of a dequantisation belong to."""
    for attribute in messages(node, 5):
        inside = list(fields(attribute))
        if _name(messages(inside, 1)) == "axis":
            values = [value for number, how, value in inside if (number, how) == (3, VARINT)]
            return int(values[0]) if values else 0
    return 1


def _dequantized(operation: Operation, constants: "dict[str, Tensor]", axis: int) -> "Tensor":
    """Return (values - zero) * scale, with scale and zero for each entry of an axis."""
    values = constants[operation.inputs[0]]
    scale, *zero = (constants.get(name) for name in operation.inputs[1:])
    offset = zero[0] if zero else None
    if scale is None or not (0 <= axis < max(1, values.ndim)):
        raise Refused(f"{operation.name} has no scale")
    shape = [1] * values.ndim
    if scale.numel() != 1:
        if scale.numel() != values.shape[axis]:
            raise Refused(f"{operation.name} has no scale")
        shape[axis] = -1
    if offset is not None and offset.numel() != scale.numel():
        raise Refused(f"{operation.name} has no scale")
    centred = values.float() - (0 if offset is None else offset.float().reshape(shape))
    return centred * scale.float().reshape(shape)


def _tensor(data: bytes) -> "tuple[str, Tensor]":
    """Return the name and the values of a constant."""
    parts = list(fields(data))
    name = _name(messages(parts, 8))
    kind = next((value for number, how, value in parts if (number, how) == (2, VARINT)), 0)
    if any(number in (13, 14) and value for number, _how, value in parts):
        raise Refused(f"the values of {name} lie in another file")
    if kind not in TYPES:
        raise Refused(f"{name} has values of an unknown type")
    shape, raw = numbers(parts, 1), messages(parts, 9)
    if raw:
        content = raw[-1]
        if len(content) % np.dtype(TYPES[kind]).itemsize:
            raise damaged()
        values = np.frombuffer(content, TYPES[kind])
    elif kind == 1:
        content = b"".join(messages(parts, 4))
        values = np.frombuffer(content[: len(content) // 4 * 4], "<f4")
    elif kind in OWN:
        values = np.array([_signed(value) for value in numbers(parts, OWN[kind])], np.int64)
    else:
        values = np.empty(0, TYPES[kind])
    return name, shaped(values.astype(np.int64) if values.dtype == "u8" else values, shape, name)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _name(found: list[bytes]) -> str:
    return _text(found[-1]) if found else ""


def _text(content: bytes) -> str:
    if len(content) > MOST_NAME:
        raise Refused(f"a name of {len(content)} bytes")
    return content.decode()


def messages(parts: list[Field], number: int) -> list[bytes]:
    """Return the contents of the fields of a number that are stored as bytes."""
    return [value for one, _how, value in parts if one == number and isinstance(value, bytes)]


def numbers(parts: list[Field], number: int) -> list[int]:
    """Return the whole numbers of a repeated field, packed or not."""
    found: list[int] = []
    for one, _how, value in parts:
        if one != number:
            continue
        if isinstance(value, int):
            found.append(value)
        else:
            place = 0
            while place < len(value):
                entry, place = _varint(value, place)
                found.append(entry)
    return found


def fields(data: bytes) -> Iterator[Field]:
    """Yield number, way of storing and content of each field of a message. Raises Refused."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, how = key >> 3, key & 7
        if how == VARINT:
            value, place = _varint(data, place)
            yield number, how, value
            continue
        if how == BYTES:
            size, place = _varint(data, place)
        elif how in (EIGHT, FOUR):
            size = 8 if how == EIGHT else 4
        else:
            raise damaged()
        if size > len(data) - place:
            raise damaged()
        yield number, how, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a whole number and where the next field begins."""
    value = 0
    for count in range(MOST_VARINT):
        if place + count >= len(data):
            break
        byte = data[place + count]
        value |= (byte & 127) << 7 * count
        if byte < 128:
            return value & ((1 << 64) - 1), place + count + 1
    raise damaged()
