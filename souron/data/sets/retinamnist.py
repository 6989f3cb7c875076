"""The retina in diabetes, five grades of severity, 64 pixels (MedMNIST).

Yang and others: MedMNIST v2 (2023). https://doi.org/10.1038/s41597-022-01721-8

1 600 photographs of the back of the eye (DeepDRiD, Liu and others 2022). The grades have an order,
which a classifier does not know.
"""

from souron.data.dataset import Dataset
from souron.data.load import found
from souron.data.readers import npz_images

ja = "糖尿病の眼底写真、重症度5段階、64画素 (MedMNIST)"
task = "classify"
licence = "CC-BY-4.0"
source = "https://medmnist.com/"
cases = 1600
needs = ("retinamnist_64.npz",)
downloads = (
    "https://zenodo.org/records/10519652/files/retinamnist_64.npz?download=1",
    "md5:afda852cc34dcda56f86ad2b2457dbcc",
)
megabytes = 20

labels = ("no retinopathy", "mild", "moderate", "severe", "proliferative")


def load(side: int | None = None) -> Dataset:
    return npz_images.read(
        found("retinamnist") / needs[0],
        side,
        name="retinamnist",
        classes=labels,
        augment=("shift", "mirror"),
        source=source,
        licence=licence,
    )
