"""Blood cells of eight kinds under the microscope, 64 pixels (MedMNIST).

Yang and others: MedMNIST v2 (2023). https://doi.org/10.1038/s41597-022-01721-8

17 092 cells of healthy people from Barcelona (Acevedo and others 2020).
"""

from souron.data.dataset import Dataset
from souron.data.load import found
from souron.data.readers import npz_images

ja = "顕微鏡で見た8種類の血液細胞、64画素 (MedMNIST)"
task = "classify"
licence = "CC-BY-4.0"
source = "https://medmnist.com/"
cases = 17092
needs = ("bloodmnist_64.npz",)
downloads = (
    "https://zenodo.org/records/10519652/files/bloodmnist_64.npz?download=1",
    "md5:2b94928a2ae4916078ca51e05b6b800b",
)
megabytes = 210

labels = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "immature granulocyte",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)


def load(side: int | None = None) -> Dataset:
    return npz_images.read(
        found("bloodmnist") / needs[0],
        side,
        name="bloodmnist",
        classes=labels,
        augment=("shift", "mirror"),
        source=source,
        licence=licence,
    )
