"""Breast ultrasound, malignant or not, 64 pixels (MedMNIST).

Yang and others: MedMNIST v2 (2023). https://doi.org/10.1038/s41597-022-01721-8

780 images of 600 women in Cairo (Al-Dhabyani and others 2020). Normal and benign are one class.
Which images belong to one woman is not published, so that a split may separate them.
"""

from souron.data.dataset import Dataset
from souron.data.load import found
from souron.data.readers import npz_images

ja = "乳房の超音波画像。悪性かどうか、64画素 (MedMNIST)"
task = "classify"
licence = "CC-BY-4.0"
source = "https://medmnist.com/"
cases = 780
needs = ("breastmnist_64.npz",)
downloads = (
    "https://zenodo.org/records/10519652/files/breastmnist_64.npz?download=1",
    "md5:742edef2a1fd1524b2efff4bd7ba9364",
)
megabytes = 4

labels = ("malignant", "normal or benign")


def load(side: int | None = None) -> Dataset:
    return npz_images.read(
        found("breastmnist") / needs[0],
        side,
        name="breastmnist",
        classes=labels,
        augment=("shift", "mirror"),
        source=source,
        licence=licence,
    )
