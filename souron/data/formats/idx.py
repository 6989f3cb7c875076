"""The IDX format of MNIST and similar data sets: magic number, dimensions, bytes; often gzipped.

LeCun, Cortes, Burges: The MNIST database of handwritten digits (1998).
http://yann.lecun.com/exdb/mnist/

    00 00 08 n     unsigned bytes, n dimensions
    n x uint32     the dimensions, big-endian
    the bytes      in C order: the last dimension varies fastest
"""

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from souron.data.dataset import Dataset
from souron.data.transforms import resized
from souron.utils.messages import UserError, _

LIMIT = 1 << 31  # bytes of an unpacked file: forty times MNIST


def load(folder: Path, side: int | None, **about) -> Dataset:
    """Read the cases of MNIST's four files in a folder; ``about`` holds further arguments of
    ``Dataset``. Raises UserError if a file is damaged, or if images and labels do not match.
    """
    images, labels, files, parts = [], [], [], []
    for stem, part in (("train", "train"), ("t10k", "test")):
        image = read(_spelled(folder / f"{stem}-images-idx3-ubyte"), 3)  # (N, H, W)
        label = read(_spelled(folder / f"{stem}-labels-idx1-ubyte"), 1)  # (N,)
        if len(image) != len(label):
            raise UserError(
                "corrupt",
                _("{folder} has {pictures} {part} images, but {labels} labels").format(
                    folder=folder, pictures=len(image), part=part, labels=len(label)
                ),
                expected=_("a label for each image"),
                exit=3,
            )
        images.append(image)
        labels.append(label)
        files += [f"{part}/{i:05d}" for i in range(len(image))]
        parts += [part] * len(image)
    if images[0].shape[1:] != images[1].shape[1:] or images[0].shape[1] != images[0].shape[2]:
        raise UserError(
            "corrupt",
            _("the images in {folder} are {train} and {test} pixels").format(
                folder=folder, train=images[0].shape[1:], test=images[1].shape[1:]
            ),
            expected=_("squares of one size"),
            exit=3,
        )
    everything = torch.from_numpy(np.concatenate(images))[:, None]  # (N, 1, H, W)
    answers = torch.from_numpy(np.concatenate(labels)).long()
    known(answers, len(about["classes"]), folder)
    return Dataset(input=resized(everything, side), target=answers, file=files, part=parts, **about)


def known(label: Tensor, count: int, where: Path) -> None:
    """Raise UserError if a label is not below the number of classes."""
    if len(label) and label.max() >= count:
        raise UserError(
            "corrupt",
            _("{where} has the label {label}").format(where=where, label=int(label.max())),
            expected=_("labels from 0 to {last}").format(last=count - 1),
            exit=3,
        )


def read(file: Path, dimensions: int) -> np.ndarray:
    """Read a raw or gzipped IDX file with that many dimensions as a read-only uint8 array.

    At most as many bytes are unpacked as the header announces, and at most 2 GiB. Raises UserError
    if the file is not of that format, or too short, or too long.
    """
    if file.stat().st_size > LIMIT:
        raise _damaged(file, "too large", _("{size:,} bytes").format(size=file.stat().st_size))
    data = file.read_bytes()
    start = 4 + 4 * dimensions
    packed = data[:2] == b"\x1f\x8b"
    unpack = zlib.decompressobj(wbits=31)  # gzip
    try:
        header = unpack.decompress(data, start) if packed else data[:start]
        shape = _shape(file, header, dimensions)
        size = int(np.prod(shape, dtype=object))
        if size > LIMIT:
            raise _damaged(file, "too large", _("{size:,} bytes announced").format(size=size))
        # one byte more than announced, to detect a longer file without unpacking it
        body = unpack.decompress(unpack.unconsumed_tail, size + 1) if packed else data[start:]
    except zlib.error as error:
        raise _damaged(file, "corrupt", str(error)) from error
    if len(body) < size or (packed and len(body) == size and not unpack.eof):
        raise _damaged(
            file, "truncated", _("it ends after {there:,} of {size:,} bytes").format(there=len(body), size=size)
        )
    if len(body) > size:
        raise _damaged(file, "corrupt", _("it goes on after the {size:,} bytes announced").format(size=size))
    return np.frombuffer(body, np.uint8).reshape(shape)


def _shape(file: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    if len(header) < 4 + 4 * dimensions:
        raise _damaged(file, "truncated", _("it ends within its header"))
    if header[:4] != bytes([0, 0, 8, dimensions]):
        raise _damaged(file, "corrupt", _("it begins with {bytes}").format(bytes=header[:4].hex()))
    return tuple(np.frombuffer(header, ">u4", dimensions, 4).tolist())


def _damaged(file: Path, code: str, found: str) -> UserError:
    return UserError(
        code,
        _("{file} cannot be used: {found}").format(file=file, found=found),
        expected=_("an IDX file of unsigned bytes, as it was published, with or without .gz"),
        fix=_("delete it, then fetch the data set again (souron fetch)"),
        exit=3,
    )


def _spelled(file: Path) -> Path:
    packed = file.with_name(f"{file.name}.gz")
    return packed if packed.exists() else file
