"""Clothes, shoes and bags from a shop's catalogue, small and grey (Fashion-MNIST).

Xiao, Rasul, Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms (2017). https://arxiv.org/abs/1708.07747

60 000 training images, 10 000 test images, 28x28 pixels of 256 grey levels, ten classes.
"""

from souron.data.dataset import Dataset
from souron.data.formats import idx
from souron.data.load import found

ja = "通販カタログの服・靴・かばんの小さな灰色の画像 (Fashion-MNIST)"
task = "classify"
licence = "MIT"
source = "https://github.com/zalandoresearch/fashion-mnist"
cases = 70_000
needs = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
debian = ("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist")
downloads = "torchvision:FashionMNIST"
megabytes = 31

labels = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
labels_ja = {
    "T-shirt/top": "Tシャツ",
    "trouser": "ズボン",
    "pullover": "セーター",
    "dress": "ワンピース",
    "coat": "コート",
    "sandal": "サンダル",
    "shirt": "シャツ",
    "sneaker": "スニーカー",
    "bag": "かばん",
    "ankle boot": "ショートブーツ",
}


def load(side: int | None = None) -> Dataset:
    return idx.load(
        found("fashion"), side, name="fashion", classes=labels, augment=("mirror",), source=source, licence=licence
    )
