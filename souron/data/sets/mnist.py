"""Handwritten digits, small and grey: where neural networks learned to read (MNIST).

LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition (1998).
https://doi.org/10.1109/5.726791

60 000 training images, 10 000 test images, 28x28 pixels of 256 grey levels.
"""

from souron.data.dataset import Dataset
from souron.data.formats import idx
from souron.data.load import found

ja = "手書き数字の小さな灰色の画像。ニューラルネットが字を読むことを覚えたデータ (MNIST)"
task = "classify"
licence = "CC-BY-SA-3.0"
source = "http://yann.lecun.com/exdb/mnist/"
cases = 70_000
needs = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
downloads = "torchvision:MNIST"
megabytes = 12


def load(side: int | None = None) -> Dataset:
    return idx.load(
        found("mnist"),
        side,
        name="mnist",
        classes=tuple("0123456789"),
        augment=("shift",),
        source=source,
        licence=licence,
    )
