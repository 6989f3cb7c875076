"""Read MedMNIST's files: images and labels of three parts in one ``.npz``.

    train_images, val_images, test_images     (N, side, side) or (N, side, side, 3) uint8
    train_labels, val_labels, test_labels     (N, 1)

Only plain arrays are read, never pickled objects.
"""

import zipfile
from pathlib import Path

import numpy as np
import torch

from souron.data.dataset import Dataset
from souron.data.formats import idx
from souron.data.transforms import resized
from souron.utils.messages import UserError, _

PARTS = ("train", "val", "test")
MOST_BYTES = 2 << 30  # of all arrays


def read(file: Path, side: int | None, **about) -> Dataset:
    """Read the cases of a file; ``about`` holds further arguments of ``Dataset``.

    Raises UserError if the file is damaged, too large, or if images and labels do not match.
    """
    try:
        with zipfile.ZipFile(file) as packed:
            if sum(member.file_size for member in packed.infolist()) > MOST_BYTES:
                raise ValueError(_("larger than {size} MB").format(size=MOST_BYTES >> 20))
        with np.load(file, allow_pickle=False) as arrays:
            images = [arrays[f"{part}_images"] for part in PARTS]
            labels = [arrays[f"{part}_labels"].reshape(-1) for part in PARTS]
        counts = [len(image) for image in images]
        if counts != [len(label) for label in labels]:
            raise ValueError(
                _("it has {images} images and {labels} labels").format(
                    images=counts, labels=[len(label) for label in labels]
                )
            )
        image = np.concatenate([each if each.ndim == 4 else each[..., None] for each in images])
        label = torch.from_numpy(np.concatenate(labels).astype(np.int64))
        if (
            image.dtype != np.uint8
            or image.shape[1] != image.shape[2]
            or image.shape[3] not in (1, 3)
            or label.min() < 0
        ):
            raise ValueError(_("its arrays are {shape} {kind}").format(shape=image.shape, kind=image.dtype))
    except Exception as error:  # a damaged archive or head of an array can raise anything
        raise UserError(
            "corrupt",
            _("{file} cannot be used: {found}").format(file=file, found=error),
            expected=_("images and labels of three parts, as they were published"),
            fix=_("delete it, then fetch the data set again (souron fetch)"),
            exit=3,
        ) from error
    idx.known(label, len(about["classes"]), file)
    parts = [part for part, count in zip(PARTS, counts, strict=True) for _number in range(count)]
    files = [f"{part}/{number:05d}" for part, count in zip(PARTS, counts, strict=True) for number in range(count)]
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(0, 3, 1, 2)))
    return Dataset(input=resized(pixels, side), target=label, file=files, part=parts, **about)
