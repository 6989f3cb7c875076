"""Reads the weights of a TensorFlow.js graph model, without TensorFlow or a browser.

The model is a table in JSON, which names files of raw numbers beside it. Weights may be stored as
float16, or as whole numbers with a scale and a minimum.
https://www.tensorflow.org/js/guide/save_load
"""

import json
from pathlib import Path
from typing import Any

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
    volume,
)

MOST_TABLE = 16 * 10**6  # bytes of the JSON
TYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "uint8": "u1", "uint16": "<u2", "bool": "?"}
KINDS = {
    "Conv2D": "conv",
    "_FusedConv2D": "conv",
    "DepthwiseConv2dNative": "depthwise",
    "FusedDepthwiseConv2dNative": "depthwise",
    "Add": "add",
    "AddV2": "add",
    "BiasAdd": "add",
}
OTHERS = frozenset((
    "Abs", "AddN", "ArgMax", "AvgPool", "Cast", "ConcatV2", "Conv2DBackpropInput", "Equal", "Exp",
    "ExpandDims", "FloorDiv", "FloorMod", "GatherNd", "GatherV2", "Greater", "GreaterEqual",
    "Identity", "LeakyRelu", "Less", "MaxPool", "Maximum", "Mean", "Minimum", "Mul", "Pack", "Pad",
    "PadV2", "Prelu", "RealDiv", "Relu", "Relu6", "Reshape", "ResizeBilinear",
    "ResizeNearestNeighbor", "Sigmoid", "Softmax", "SparseToDense", "SplitV", "Sqrt",
    "SquaredDifference", "Squeeze", "StridedSlice", "Sub", "Tanh", "Transpose", "Unpack",
))  # fmt: skip
GIVEN = ("Const", "Placeholder")
KERNELS = {"conv": (3, 2, 0, 1), "depthwise": (2, 3, 0, 1)}  # of (H, W, in, out); (H, W, in, 1)


def weights(file: Path) -> dict:
    """Return the weights of the convolutions of a model, see ``Graph.weights``.

    ``file`` is its JSON; the files that it names must lie beside it. Raises Refused.
    """
    if file.stat().st_size > MOST_TABLE:
        raise too_large(MOST_TABLE)
    try:
        model = json.loads(file.read_bytes())
        return graph(model, file.parent).weights()
    except Refused:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise Refused("it is no TensorFlow.js graph model") from error


def graph(model: dict[str, Any], folder: Path) -> Graph:
    topology = model["modelTopology"]
    if (topology.get("library") or {}).get("function"):
        raise Refused("it has functions of its own")
    constants: dict[str, Any] = {}
    for group in limited(model["weightsManifest"], MOST_TENSORS):
        constants |= _constants(group, folder)
    if len(constants) > MOST_TENSORS:
        raise Refused(f"more than {MOST_TENSORS:,} entries in a list")
    operations, inputs = [], []
    for node in limited(topology["node"], MOST_OPERATIONS):
        name, kind = _text(node["name"]), _text(node["op"])
        if kind == "Placeholder":
            inputs.append(name)
        if kind in GIVEN:
            continue
        if kind not in KINDS and kind not in OTHERS:
            raise unknown(kind)
        given = [_source(each) for each in limited(node.get("input", []), MOST_OPERATIONS)]
        operations.append(Operation(KINDS.get(kind, ""), name, tuple(given), (name,)))
    return Graph(operations, constants, tuple(inputs), KERNELS)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MOST_NAME:
        raise Refused("a name that is no text")
    return value


def _source(name: Any) -> str:
    """Return the operation that an input comes from: ``split:1`` and ``^split`` from ``split``."""
    return _text(name).removeprefix("^").partition(":")[0]


def _constants(group: dict[str, Any], folder: Path) -> dict:
    """Read the tensors of one group of files."""
    paths = [_text(path) for path in limited(group["paths"], MOST_TENSORS)]
    if any(Path(path).name != path or "\\" in path for path in paths):
        raise Refused("it names a file in another folder")
    files = [folder / path for path in paths]
    absent = next((file for file in files if not file.is_file()), None)
    if absent is not None:
        raise Refused(f"the file {absent.name} is not beside it")
    if sum(file.stat().st_size for file in files) > MOST_BYTES:
        raise too_large()
    data, start, found = b"".join(file.read_bytes() for file in files), 0, {}
    for entry in limited(group["weights"], MOST_TENSORS):
        name, shape = _text(entry["name"]), limited(entry["shape"], MOST_TENSORS)
        stored = entry.get("quantization") or {}
        kind = TYPES.get(_text(stored.get("dtype", entry["dtype"])))
        if kind is None or not all(type(length) is int for length in shape):
            raise Refused(f"{name} has values of an unknown type")
        size = volume(shape) * np.dtype(kind).itemsize
        if size > len(data) - start:
            raise damaged()
        values = np.frombuffer(data[start : start + size], kind)
        start += size
        if "scale" in stored:
            values = values * np.float32(stored["scale"]) + np.float32(stored["min"])
        found[name] = shaped(values.astype(_plain(values.dtype)), shape, name)
    if start != len(data):
        raise damaged()
    return found


def _plain(kind: np.dtype) -> Any:
    """Return the type as PyTorch has it."""
    return np.float32 if kind.kind == "f" else bool if kind.kind == "b" else np.int32
