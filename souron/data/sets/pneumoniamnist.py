"""Chest X-rays of children, with pneumonia or without, 64 pixels (MedMNIST).

Yang and others: MedMNIST v2 (2023). https://doi.org/10.1038/s41597-022-01721-8

5 856 X-rays of children of one to five years from Guangzhou (Kermany and others 2018), cropped to
squares. Which images belong to one child is not published, so that a split may separate them.
"""

from souron.data.dataset import Dataset
from souron.data.load import found
from souron.data.readers import npz_images

ja = "小児の胸部X線画像。肺炎の有無、64画素 (MedMNIST)"
task = "classify"
licence = "CC-BY-4.0"
source = "https://medmnist.com/"
cases = 5856
needs = ("pneumoniamnist_64.npz",)
downloads = (
    "https://zenodo.org/records/10519652/files/pneumoniamnist_64.npz?download=1",
    "md5:8f4eceb4ccffa70c672198ea285246c6",
)
megabytes = 24

labels = ("normal", "pneumonia")


def load(side: int | None = None) -> Dataset:
    return npz_images.read(
        found("pneumoniamnist") / needs[0],
        side,
        name="pneumoniamnist",
        classes=labels,
        augment=("shift",),
        source=source,
        licence=licence,
    )
