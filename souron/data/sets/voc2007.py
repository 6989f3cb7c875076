"""Photographs with the boxes of 20 kinds of things, and their areas (Pascal VOC 2007).

Everingham, Van Gool, Williams, Winn, Zisserman: The Pascal Visual Object Classes (VOC) Challenge
(2010). https://doi.org/10.1007/s11263-009-0275-4

9 963 photographs of Flickr with boxes, the data of Fast R-CNN, SSD and YOLO; 632 of them with the
class of each pixel, the data of FCN. Objects marked as difficult do not count.
"""

from dataclasses import replace

from souron.data.dataset import Dataset, Skipped
from souron.data.formats import masks, voc
from souron.data.load import found
from souron.data.readers.settings import Reading

ja = "20種類の物の位置と領域が付いた写真 (Pascal VOC 2007)"
task = "detect"
licence = "photographs of Flickr, each with terms of its own; for research"
source = "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/"
cases = 9963
needs = ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets")
inside = ("VOCdevkit/VOC2007", "VOC2007", "")
downloads = (
    (
        "https://thor.robots.ox.ac.uk/pascal/VOC/voc2007/VOCtrainval_06-Nov-2007.tar",
        "md5:c52e279531787c972589f7e41ab4ae64",
    ),
    ("https://thor.robots.ox.ac.uk/pascal/VOC/voc2007/VOCtest_06-Nov-2007.tar", "md5:b6e924de25625d8de591ea690078ad9f"),
)
megabytes = 911
targets = ("boxes", "classes_of_pixels")

NAMES = (
    "aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, motorbike, "
    "person, pottedplant, sheep, sofa, train, tvmonitor"
)
labels = tuple(NAMES.split(", "))


def load(side: int | None = None, target: str = "boxes") -> Dataset:
    folder = found("voc2007")
    if target == "boxes":
        cases = voc.load(folder, Reading(side))
    else:
        told: list[Skipped] = []
        parts = {
            stem: part
            for part in ("train", "val", "test")
            if (listed := folder / "ImageSets" / "Segmentation" / f"{part}.txt").is_file()
            for stem in listed.read_text(encoding="utf-8", errors="replace").split()
        }
        pairs = [pair._replace(part=parts.get(pair.image.stem, "")) for pair in masks.pairs_of(folder, told)]
        cases = masks.gather(folder, folder, pairs, [], Reading(side), ("background", *labels))
    return replace(cases, name="voc2007", source=source, licence=licence)
