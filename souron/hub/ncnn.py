"""Read networks of ncnn, a library for telephones: a ``.param`` text and a ``.bin`` of weights.

https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure

The text begins with 7767517 and the numbers of layers and blobs; then each line is a layer: kind,
name, numbers of inputs and outputs, their names, and options as ``number=value``. The weights
follow each other in the order of the layers. A layer's matrix begins with four bytes that tell its
type: 0 for float32, 0x01306B47 for float16; a bias, and PReLU's slopes, are float32 without them.

Only what an enlarger consists of is read: convolutions and PReLU have weights, the other layers
below have none. Nothing of a file is run.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from souron.utils.messages import _

MAGIC = "7767517"
HALF = 0x01306B47  # a matrix in float16
MOST_LAYERS = 10_000
MOST_TEXT = 10_000_000  # bytes of a .param
OUTPUTS, KERNEL, KERNEL_HEIGHT, BIAS, WEIGHTS, QUANTISED = 0, 1, 11, 5, 6, 8  # of a convolution
WITHOUT = ("Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle", "Reorg")
DENSE = 5  # convolutions of a dense block of ESRGAN
AROUND = 6  # ESRGAN's convolutions outside of its dense blocks, at a factor of four
BLOCK = 3 * DENSE  # convolutions of a block of ESRGAN


@dataclass(frozen=True)
class Layer:
    """A layer with weights."""

    kind: str  # "Convolution" or "PReLU"
    weight: Tensor  # (outputs, inputs, height, width), or (outputs,)
    bias: Tensor | None = None  # (outputs,)


def read(param: Path, file: Path) -> list[Layer]:
    """Return the layers that have weights, in order. Raises ValueError for anything else.

    ``file`` must hold exactly the weights that ``param`` names.
    """
    if param.stat().st_size > MOST_TEXT:
        raise ValueError(_("larger than {size} MB").format(size=MOST_TEXT // 10**6))
    lines = param.read_text(encoding="ascii").split("\n")
    head = lines[1].split() if len(lines) > 1 else []
    if lines[0].strip() != MAGIC or len(head) != 2 or not head[0].isdigit():
        raise ValueError(_("it does not begin as a file of ncnn does"))
    rows = [line.split() for line in lines[2:] if line.strip()]
    if len(rows) != int(head[0]) or len(rows) > MOST_LAYERS:
        raise ValueError(_("{count} layers are named").format(count=len(rows)))
    stream, found = _Weights(np.memmap(file, np.uint8, "r")), []
    for row in rows:
        kind, options = row[0], _options(row)
        if kind == "Convolution":
            found.append(_convolution(options, stream))
        elif kind == "PReLU":
            found.append(Layer(kind, stream.floats(options.get(0, 0))))
        elif kind not in WITHOUT:
            raise ValueError(_("the layer {kind} is not known here").format(kind=kind[:40]))
    stream.end()
    return found


def _options(row: Sequence[str]) -> dict[int, int]:
    """Return the whole numbers among a layer's options; arrays and fractions are left out."""
    found = (re.fullmatch(r"(\d{1,3})=(\d{1,9})", word) for word in row[2:])
    return {int(match[1]): int(match[2]) for match in found if match}


def _convolution(options: dict[int, int], stream: "_Weights") -> Layer:
    out, wide, count = (options.get(key, 0) for key in (OUTPUTS, KERNEL, WEIGHTS))
    high = options.get(KERNEL_HEIGHT, wide)
    if not out * wide * high or count % (out * wide * high) or options.get(QUANTISED):
        raise ValueError(_("{count} weights are no convolution").format(count=count))
    weight = stream.matrix(count).reshape(out, -1, high, wide)
    return Layer("Convolution", weight, stream.floats(out) if options.get(BIAS) else None)


class _Weights:
    """The bytes of a ``.bin``, read from the front; never more than there are."""

    def __init__(self, held: np.ndarray) -> None:
        self.held, self.place = held, 0

    def _take(self, size: int) -> np.ndarray:
        if size > len(self.held) - self.place:
            raise ValueError(_("it ends before its weights do"))
        self.place += size
        return self.held[self.place - size : self.place]

    def floats(self, count: int) -> Tensor:
        return torch.from_numpy(self._take(4 * count).view("<f4").astype(np.float32))

    def matrix(self, count: int) -> Tensor:
        sort = int(self._take(4).view("<u4")[0])
        if sort == 0:
            return self.floats(count)
        if sort != HALF:
            raise ValueError(_("its weights are neither in 16 nor in 32 bits"))
        values = self._take(2 * count).view("<f2").astype(np.float32)
        self._take(-self.place % 4)  # filled up to four bytes
        return torch.from_numpy(values)

    def end(self) -> None:
        if self.place != len(self.held):
            raise ValueError(_("it holds more weights than its layers have"))


def enlarger(layers: Sequence[Layer]) -> dict[str, Tensor]:
    """Return the weights of an enlarger by the names of its authors' program in PyTorch.

    Those of ESRGAN are convolutions alone (``conv_first``, ``body.0.rdb1.conv1``, ...); those of
    Real-ESRGAN's compact network alternate with PReLU (``body.0``, ``body.1``, ...). Whoever loads
    them compares all shapes. Raises ValueError for another number of layers.

    >>> [*enlarger([Layer("Convolution", torch.zeros(4, 3, 3, 3)), Layer("PReLU", torch.ones(4))])]
    ['body.0.weight', 'body.1.weight']
    """
    names = [f"body.{number}" for number in range(len(layers))]
    if all(layer.kind == "Convolution" for layer in layers):
        blocks, rest = divmod(len(layers) - AROUND, BLOCK)
        if rest or blocks < 0:
            raise ValueError(_("{count} layers are named").format(count=len(layers)))
        dense = [f"rdb{i}.conv{j}" for i in (1, 2, 3) for j in range(1, DENSE + 1)]
        body = [f"body.{block}.{name}" for block in range(blocks) for name in dense]
        after = ["conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
        names = ["conv_first", *body, *after]
    made = {}
    for name, layer in zip(names, layers, strict=True):
        made[f"{name}.weight"] = layer.weight
        if layer.bias is not None:
            made[f"{name}.bias"] = layer.bias
    return made
