"""Read the tensors of a CTranslate2 ``model.bin``, the format of faster-whisper's weights.

    version 6, name, revision, count; then for each: name, rank, shape, type, bytes, values
    count of further names; then for each: name, the one it stands for

Integers are little-endian; a name is its length with a final zero, in 16 bits, then its bytes.
Nothing is executed: the file is mapped into memory, and every size is checked against its length.
Eight-bit integers are divided by the scale of their row, which stands beside them.
"""

import math
import mmap
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from souron.hub.weights import unreadable
from souron.utils.messages import UserError, _

VERSIONS = (5, 6)
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}  # 5 is bfloat16
BFLOAT16 = 5
MOST_TENSORS = 20_000
MOST_RANK = 4
MOST_BYTES = 16 << 30


class _Reader:
    """Numbers and names at a position of the mapped file, which moves on."""

    def __init__(self, raw: mmap.mmap) -> None:
        self.raw, self.at = raw, 0

    def take(self, count: int) -> memoryview:
        if count < 0 or self.at + count > len(self.raw):
            raise ValueError(_("it ends within a tensor"))
        self.at += count
        return memoryview(self.raw)[self.at - count : self.at]

    def number(self, form: str) -> int:
        return int(struct.unpack(f"<{form}", self.take(struct.calcsize(form)))[0])

    def name(self) -> str:
        return bytes(self.take(self.number("H"))).rstrip(b"\0").decode("utf-8")


def read(file: Path) -> tuple[str, dict[str, Tensor]]:
    """Return the name of the structure and its tensors, in float32, by name. Raises UserError."""
    try:
        if not 8 < file.stat().st_size <= MOST_BYTES:
            raise ValueError(_("its size does not fit"))
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return _read(_Reader(m))
    except UserError:
        raise
    except (ValueError, OSError, struct.error, UnicodeDecodeError, BufferError) as error:
        raise unreadable(file, str(error)) from error


def _read(reader: _Reader) -> tuple[str, dict[str, Tensor]]:
    version = reader.number("I")
    if version not in VERSIONS:
        raise ValueError(_("its version is {version}").format(version=version))
    structure = reader.name()
    reader.number("I")
    count = reader.number("I")
    if count > MOST_TENSORS:
        raise ValueError(_("it has {count} tensors").format(count=count))
    held = dict(_tensor(reader) for _number in range(count))
    names = reader.number("I")
    if names > MOST_TENSORS:
        raise ValueError(_("it has {count} tensors").format(count=names))
    for _number in range(names):
        name, other = reader.name(), reader.name()
        if other in held:
            held[name] = held[other]
    return structure, {
        name: _scaled(tensor, held.get(f"{name}_scale")) for name, tensor in held.items() if not name.endswith("_scale")
    }


def _tensor(reader: _Reader) -> tuple[str, Tensor]:
    name, rank = reader.name(), reader.number("B")
    if rank > MOST_RANK:
        raise ValueError(_("{name} has {count} dimensions").format(name=name, count=rank))
    shape = [reader.number("I") for _dimension in range(rank)]
    kind, size = reader.number("B"), reader.number("I")
    width = 2 if kind == BFLOAT16 else np.dtype(TYPES[kind]).itemsize if kind in TYPES else 0
    if width == 0 or size != width * math.prod(shape):
        raise ValueError(_("the size of {name} does not fit its shape").format(name=name))
    raw = np.frombuffer(reader.take(size), np.int16 if kind == BFLOAT16 else TYPES[kind])
    values = torch.from_numpy(raw.copy().reshape(shape))
    values = values.view(torch.bfloat16) if kind == BFLOAT16 else values
    return name, values if values.dtype == torch.int8 else values.float()


def _scaled(values: Tensor, scale: Tensor | None) -> Tensor:
    """Undo the quantisation of rows to eight bits."""
    if values.dtype != torch.int8:
        return values
    values = values.float()
    if scale is None or values.ndim == 0:
        return values
    if scale.numel() not in (1, len(values)) or not (scale > 0).all():
        raise ValueError(_("the scale of a row does not fit"))
    return values / scale.view(-1, *[1] * (values.ndim - 1))
