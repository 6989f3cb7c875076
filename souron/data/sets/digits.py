"""Handwritten digits of 13 people, tiny and grey: the data that is always there.

Alpaydin, Kaynak: Optical Recognition of Handwritten Digits (1998).
https://doi.org/10.24432/C50P49

The 1 797 test images of that set, 8x8 pixels of 17 grey levels, as included in scikit-learn.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from souron.data.dataset import Dataset
from souron.data.transforms import resized

ja = "13 人が手で書いた数字の、ごく小さな灰色の画像。いつでも手元にあるデータ"
task = "classify"
licence = "CC-BY-4.0"
source = "https://doi.org/10.24432/C50P49"
cases = 1_797
ships_with = "sklearn"


def load(side: int | None = None) -> Dataset:
    package = importlib.util.find_spec("sklearn")  # its import takes longer than torch's
    assert package is not None and package.origin, "scikit-learn is a dependency"
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    table = torch.from_numpy(np.loadtxt(file, np.int64, delimiter=","))
    pixels, label = table[:, :-1], table[:, -1]  # (N, 64) in 0..16, (N,)
    image = pixels.view(-1, 1, 8, 8) * (255 / 16)
    return Dataset(
        name="digits",
        input=resized(image.round().to(torch.uint8), side),
        target=label.clone(),
        classes=tuple("0123456789"),
        file=[f"{i:05d}" for i in range(len(label))],
        augment=("shift",),
        source=source,
        licence=licence,
    )
