"""The first 128 photographs of COCO with the boxes of 80 kinds of things.

Lin and others: Microsoft COCO: Common Objects in Context (2014). https://arxiv.org/abs/1405.0312

A sample that fits into a lesson: enough to see published detectors at work on the data that they
were trained on, and far too few for a figure, since they are images of their training.
"""

from dataclasses import replace

from souron.data.dataset import Dataset
from souron.data.formats import yolo_boxes
from souron.data.load import found
from souron.data.readers import box_annotations
from souron.data.readers.settings import Reading

ja = "COCO の最初の128枚の写真。80種類の物の位置つき"
task = "detect"
licence = "annotations: CC-BY-4.0; photographs of Flickr, each with terms of its own"
source = "https://cocodataset.org/"
cases = 128
needs = ("images", "labels")
inside = ("coco128", "")
downloads = ("https://github.com/ultralytics/assets/releases/download/v0.0.0/coco128.zip", "")
megabytes = 7
keeps = (".jpg", ".txt")

NAMES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, "
    "skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, "
    "sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining "
    "table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, "
    "refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush"
)
labels = tuple(NAMES.split(", "))


def load(side: int | None = None) -> Dataset:
    folder = found("coco128")
    about = {"path": ".", "train": "images/train2017", "names": dict(enumerate(labels))}
    listed, skipped, classes = yolo_boxes.written(folder / "data.yaml", about, yolo_boxes.box)
    plain = [item._replace(part="") for item in listed]
    cases = box_annotations.gather(folder, folder, plain, skipped, classes, Reading(side), True)
    return replace(cases, name="coco128", source=source, licence=licence)
