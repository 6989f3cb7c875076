"""Photographs of horses and of zebras, the data of CycleGAN.

Zhu, Park, Isola, Efros: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks (2017). https://arxiv.org/abs/1703.10593

1 187 horses and 1 474 zebras of ImageNet, 256 pixels a side; no two show the same scene.
"""

from dataclasses import replace

from souron.data.dataset import Dataset
from souron.data.formats import unpaired
from souron.data.load import found
from souron.data.readers.settings import Reading

ja = "馬の写真とシマウマの写真。CycleGAN の論文のデータ"
task = "image_to_image"
licence = "none stated; photographs of ImageNet"
source = "https://arxiv.org/abs/1703.10593"
cases = 2661
needs = ("trainA", "trainB", "testA", "testB")
inside = ("horse2zebra", "")
downloads = ("https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/horse2zebra.zip", "")
keeps = (".jpg",)
megabytes = 117


def load(side: int | None = None) -> Dataset:
    cases = unpaired.load(found("horse2zebra"), Reading(side or 64, group="none"))
    return replace(cases, name="horse2zebra", source=source, licence=licence)
