"""Pedestrians in photographs of two campuses, each with its mask (Penn-Fudan).

Wang, Shi, Song, Shen: Object Detection Combining Recognition and Segmentation (2007).
https://www.cis.upenn.edu/~jshi/ped_html/

170 photographs with 345 people, the data of many an introduction to Mask R-CNN. The campus is the
first letters of the file's name.
"""

from dataclasses import replace

from souron.data.dataset import Dataset
from souron.data.formats import ids
from souron.data.load import found
from souron.data.readers.settings import Reading

ja = "2つの大学の構内の歩行者の写真。一人ずつマスクつき (Penn-Fudan)"
task = "segment_instances"
licence = "none stated"
source = "https://www.cis.upenn.edu/~jshi/ped_html/"
cases = 170
needs = ("PNGImages", "PedMasks")
inside = ("PennFudanPed", "")
downloads = ("https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip", "")
keeps = (".png",)
megabytes = 54


def load(side: int | None = None) -> Dataset:
    cases = ids.load(found("penn_fudan"), Reading(side))
    return replace(cases, name="penn_fudan", classes=("person",), source=source, licence=licence)
