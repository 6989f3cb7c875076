"""Animals and vehicles, small and in colour (CIFAR-10).

Krizhevsky: Learning Multiple Layers of Features from Tiny Images (2009).
https://www.cs.toronto.edu/~kriz/cifar.html

50 000 training images, 10 000 test images, 32x32 pixels, ten classes. Only the binary version is
read: a record is one byte of label, then 1 024 bytes each of red, green and blue, row by row.
"""

import numpy as np
import torch

from souron.data import load as data_load
from souron.data.dataset import Dataset
from souron.data.formats import idx
from souron.data.transforms import resized
from souron.utils.messages import UserError, _

ja = "動物と乗り物の小さなカラー画像 (CIFAR-10)"
task = "classify"
licence = "none stated"
source = "https://www.cs.toronto.edu/~kriz/cifar.html"
cases = 60_000
needs = (
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
)
inside = ("", "cifar-10-batches-bin")
downloads = ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530")
megabytes = 162

labels = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
labels_ja = {
    "airplane": "飛行機",
    "automobile": "自動車",
    "bird": "鳥",
    "cat": "猫",
    "deer": "鹿",
    "dog": "犬",
    "frog": "カエル",
    "horse": "馬",
    "ship": "船",
    "truck": "トラック",
}

RECORD = 1 + 3 * 32 * 32  # bytes
LIMIT = 60_000 * RECORD


def load(side: int | None = None) -> Dataset:
    _refuse_pickles()
    folder = data_load.found("cifar10")
    records: list[np.ndarray] = []
    files: list[str] = []
    parts: list[str] = []
    for need in needs:
        file = folder / need
        size = file.stat().st_size
        if size % RECORD or not 0 < size <= LIMIT:
            raise UserError(
                "truncated",
                _("{file} cannot be used: it has {size:,} bytes").format(file=file, size=size),
                expected=_("records of {record:,} bytes").format(record=RECORD),
                fix=_("delete it, then: {command}").format(command="souron fetch cifar10"),
                exit=3,
            )
        records.append(np.fromfile(file, np.uint8).reshape(-1, RECORD))
        part = "test" if need.startswith("test") else "train"
        first = len(files) if part == "train" else 0
        files += [f"{part}/{first + i:05d}" for i in range(len(records[-1]))]
        parts += [part] * len(records[-1])
    table = torch.from_numpy(np.concatenate(records))
    label = table[:, 0].long()
    idx.known(label, len(labels), folder)
    return Dataset(
        name="cifar10",
        input=resized(table[:, 1:].reshape(-1, 3, 32, 32), side),
        target=label,
        classes=labels,
        file=files,
        part=parts,
        augment=("shift", "mirror"),
        source=source,
        licence=licence,
    )


def _refuse_pickles() -> None:
    """Raise UserError with an explanation if only the version for Python exists: opening it could
    run code."""
    entry = data_load.names()["cifar10"]
    for place in entry.places():
        for folder in (place, place / "cifar-10-batches-py"):
            if (folder / "data_batch_1").exists() and entry.where() is None:
                raise UserError(
                    "pickle",
                    _("{folder} holds CIFAR-10's version for Python").format(folder=folder),
                    expected=_(
                        "the binary version, {file}: souron opens no pickles, "
                        "since opening one can run whatever code it holds"
                    ).format(file="cifar-10-binary.tar.gz"),
                    fix="souron fetch cifar10",
                    exit=3,
                )
