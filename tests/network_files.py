"""Tiny networks in the formats of other programs, written by hand to try the readers on."""

import json
import struct

import numpy as np

KERNEL = np.arange(24, dtype=np.float32).reshape(2, 2, 2, 3)  # (outputs, H, W, inputs), as in TFLite
BIAS = np.array([0.5, -0.5], np.float32)


# TensorFlow Lite: a FlatBuffer, written from its end to its start


class Buffer:
    """Writes the parts of a FlatBuffer; a place is counted from the end."""

    def __init__(self):
        self.data = b""

    def add(self, content, align=4):
        self.data = content + b"\0" * (-(len(content) + len(self.data)) % align) + self.data
        return len(self.data)

    def vector(self, form, values):
        body = struct.pack(f"<I{len(values)}{form}", len(values), *values)
        return self.add(body)

    def offsets(self, places):
        """A vector of offsets to tables."""
        size = 4 + 4 * len(places)
        start = len(self.data) + size + (-(size + len(self.data)) % 4)
        each = [start - 4 - 4 * i - place for i, place in enumerate(places)]
        return self.add(struct.pack(f"<{1 + len(places)}I", len(places), *each))

    def table(self, fields):
        """``fields``: number -> ("form", value) in place, or ("@", place of what it leads to)."""
        most = max(fields, default=-1) + 1
        body, inside = b"", [0] * most
        for number, (form, _value) in fields.items():
            inside[number] = 4 + len(body)
            body += b"\0" * (4 if form == "@" else max(4, struct.calcsize(form)))
        directory = struct.pack(f"<{2 + most}H", 4 + 2 * most, 4 + len(body), *inside)
        directory += b"\0" * (-len(directory) % 4)
        start = len(self.data) + len(body) + 4
        content = struct.pack("<i", len(directory)) + body
        out = bytearray(content)
        for number, (form, value) in fields.items():
            at = inside[number]
            if form == "@":
                struct.pack_into("<I", out, at, start - at - value)
            else:
                struct.pack_into(f"<{form}", out, at, value)
        assert not len(self.data) % 4
        self.data = directory + bytes(out) + self.data
        return start


def tflite(shape=(2, 2, 2, 3), code=3, inputs=(0, 1, 2), output=3, half=True, graphs=1, identifier=b"TFL3"):
    """A convolution of a constant kernel, stored as float16, with a bias: its output is "out"."""
    b = Buffer()
    kernel = KERNEL.astype(np.float16 if half else np.float32)
    contents = [b"", kernel.tobytes(), BIAS.tobytes()]
    buffers = b.offsets([b.table({0: ("@", b.vector("B", list(content)))} if content else {}) for content in contents])
    tensors = []
    for name, dims, kind, buffer in (
        ("image", (1, 4, 4, 3), 0, 0),
        ("kernel_half", shape, int(half), 1),
        ("bias", (2,), 0, 2),
        ("out;and more", (1, 4, 4, 2), 0, 0),
        ("kernel", shape, 0, 0),
    ):
        tensors.append(
            b.table(
                {
                    0: ("@", b.vector("i", dims)),
                    1: ("b", kind),
                    2: ("I", buffer),
                    3: ("@", b.vector("B", list(name.encode()))),
                }
            )
        )
    operations = [
        b.table({0: ("I", 1), 1: ("@", b.vector("i", (1,))), 2: ("@", b.vector("i", (4,)))}),
        b.table(
            {
                0: ("I", 0),
                1: ("@", b.vector("i", [4 if i == 1 else i for i in inputs])),
                2: ("@", b.vector("i", (output,))),
            }
        ),
    ]
    graph = b.table(
        {
            0: ("@", b.offsets(tensors)),
            1: ("@", b.vector("i", (0,))),
            2: ("@", b.vector("i", (3,))),
            3: ("@", b.offsets(operations)),
        }
    )
    codes = b.offsets([b.table({0: ("b", code)}), b.table({0: ("b", 6)})])
    model = b.table({0: ("I", 3), 1: ("@", codes), 2: ("@", b.offsets([graph] * graphs)), 4: ("@", buffers)})
    return struct.pack("<I", len(b.data) + 8 - model) + identifier + b.data


# TensorFlow.js: a table in JSON, and raw numbers


def tfjs(folder, **changes):
    """Return the same convolution, its bias added by another operation; the kernel in eight bits."""
    kernel = KERNEL.transpose(1, 2, 3, 0)  # (H, W, inputs, outputs)
    (folder / "net.bin").write_bytes(kernel.astype(np.uint8).tobytes() + BIAS.tobytes())
    model = {
        "modelTopology": {
            "node": [
                {"name": "sum", "op": "BiasAdd", "input": ["conv", "bias"]},
                {"name": "image", "op": "Placeholder"},
                {"name": "kernel", "op": "Const"},
                {"name": "bias", "op": "Const"},
                {"name": "conv", "op": "Conv2D", "input": ["image", "kernel"]},
            ]
        },
        "weightsManifest": [
            {
                "paths": ["net.bin"],
                "weights": [
                    {
                        "name": "kernel",
                        "shape": list(kernel.shape),
                        "dtype": "float32",
                        "quantization": {"dtype": "uint8", "scale": 1.0, "min": 0.0},
                    },
                    {"name": "bias", "shape": [2], "dtype": "float32"},
                ],
            }
        ],
    }
    changed = changes.pop("change", None)
    if changed:
        changed(model)
    (folder / "net.json").write_text(json.dumps(model))
    return folder / "net.json"


# ONNX: a Protocol Buffer


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, content):
    """A field with a whole number, a text or the bytes of a message."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name, values, kind, shape=None):
    dims = b"".join(field(1, length) for length in (values.shape if shape is None else shape))
    return dims + field(2, kind) + field(8, name) + field(9, values.tobytes())


def node(kind, inputs, outputs, attributes=b""):
    return b"".join(
        [*(field(1, name) for name in inputs), *(field(2, name) for name in outputs), field(4, kind), attributes]
    )


def onnx(shape=None, kind="Conv", attributes=b"", inputs=("image", "kernel", "bias"), more=b""):
    """Return the same convolution; the kernel in eight bits, with a scale for each output."""
    kernel = KERNEL.transpose(0, 3, 1, 2).astype(np.int8)  # (outputs, inputs, H, W)
    axis = field(5, field(1, "axis") + field(3, 0))
    graph = b"".join(
        [
            field(1, node("DequantizeLinear", ("kernel8", "scale", "zero"), ("kernel",), axis)),
            field(1, node(kind, inputs, ("out",), attributes)),
            field(5, tensor("kernel8", kernel, 3, shape)),
            field(5, tensor("scale", np.array([1, 1], np.float32), 1)),
            field(5, tensor("zero", np.array([0, 0], np.int8), 3)),
            field(5, tensor("bias", BIAS, 1)),
            field(11, field(1, "image")),
            more,
        ]
    )
    return field(1, 8) + field(7, graph)
