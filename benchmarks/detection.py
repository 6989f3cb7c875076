"""Detectors and segmenters on scenes: one fair fight each, and what a picture costs.

    python benchmarks/detection.py fight        every detector, 20 minutes each, and the verdict
    python benchmarks/detection.py areas        every segmenter that names pixels, likewise
    python benchmarks/detection.py panoptic     things and stuff: from scratch, and with a
                                                 published backbone
    python benchmarks/detection.py speed        ms a picture of YOLO n and s at 640 and 320
                                                 pixels, beside ultralytics' with random weights
    python benchmarks/detection.py video FILE   frames a second, looked at, tracked and drawn
    python benchmarks/detection.py training     pictures a second that are learnt from, beside
                                                 torchvision's networks in its reference loop

``speed`` takes the peer from the environment of ``benchmarks/requirements.txt``; it is left out
where the package is not there. ``--budget 2min`` shortens a fight.
"""

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torchvision

from souron import registry
from souron.actions.watch import video as videos
from souron.blocks.fusing import fused
from souron.cli import console
from souron.data import load
from souron.data.dataset import Dataset, ListColumn
from souron.data.targets.boxes import boxes_of
from souron.data.targets.instances import Instances, packed
from souron.kinds.boxes import Boxes
from souron.model import Model
from souron.runs import compare
from souron.tasks.detect import Spec
from souron.training.loop import Run
from souron.training.trainer import autocast
from souron.utils import hardware

DETECTORS = ("yolo", "yolo_lite", "ssd_lite", "faster_rcnn_lite", "fast_rcnn_lite")
SEGMENTERS = ("unet", "unet_lite", "fcn_lite", "deeplab_lite")
PANOPTIC = ("panoptic_fpn", "panoptic_fpn_lite")
FIGHTS = {"fight": DETECTORS, "areas": SEGMENTERS, "panoptic": PANOPTIC}
LABELS = tuple(map(str, range(80)))  # as many as COCO has
ROUNDS, IMAGES = 5, 10
RIVALS = {  # of souron's own, torchvision's network of that paper with as deep a backbone; pixels
    "faster_rcnn_resnet50": ("fasterrcnn_resnet50_fpn", 256),
    "mask_rcnn_resnet50": ("maskrcnn_resnet50_fpn", 256),
    "ssd300": ("ssd300_vgg16", 300),
}
LEARNT = 4  # pictures a step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=[*FIGHTS, "speed", "video", "training"])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--budget", default="20min")
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    hardware.calm_allocator()
    if asked.what in FIGHTS:
        systems = FIGHTS[asked.what]
        with tempfile.TemporaryDirectory() as project:
            record = compare.compare(list(systems), "scenes", budget=asked.budget, seeds=asked.seeds, project=project)
            console.comparison(record)
    elif asked.what == "speed":
        speed()
    elif asked.what == "training":
        training()
    else:
        assert asked.file is not None, "a video, please"
        video(asked.file)


def speed() -> None:
    """Ours and the peer's take turns; medians of ``ROUNDS``."""
    peer = importlib.util.find_spec("ultralytics") is not None
    for side in (640, 320):
        image = torch.rand(1, 3, side, side).contiguous(memory_format=torch.channels_last)
        for size in ("n", "s"):
            rivals = {"souron": network(size, side, image)}
            if peer:
                rivals["ultralytics"] = theirs(size, image)
            took = {name: [] for name in rivals}
            for _round in range(ROUNDS):
                for name, ask in rivals.items():
                    took[name].append(seconds(ask, image))
            figures = {name: 1000 * statistics.median(times) for name, times in took.items()}
            print(
                f"yolo_{size} at {side} pixels: "
                + ", ".join(f"{name} {value:.1f} ms" for name, value in figures.items())
            )


@torch.inference_mode()
def seconds(ask, image: torch.Tensor) -> float:
    ask(image)
    begun = time.perf_counter()
    for _image in range(IMAGES):
        ask(image)
    return (time.perf_counter() - begun) / IMAGES


def network(size: str, side: int, image: torch.Tensor):
    kind, config = registry.load_system(f"yolo_{size}")
    system = kind(config, Spec(3, side, LABELS)).eval().to(memory_format=torch.channels_last)
    quick = fused(system, image)

    def ask(image):
        with autocast(torch.device("cpu"))():
            return quick(image)

    return ask


def theirs(size: str, image: torch.Tensor):
    from ultralytics import YOLO

    model = YOLO(f"yolov8{size}.yaml").model.eval().fuse().to(memory_format=torch.channels_last)

    def ask(image):
        with autocast(torch.device("cpu"))():
            return model(image)

    return ask


def training() -> None:
    """One step each by turns, of the same pictures; medians of ``ROUNDS`` after a first one."""
    for name, (theirs, side) in RIVALS.items():
        kind, _config = registry.load_system(name)
        wanted = registry.load_task(kind.task).target
        cases = enlarged(load.load("drawn_scenes", target=wanted), side)
        rivals = {"souron": own_steps(name, cases), "torchvision": their_steps(theirs, cases)}
        took = {who: [] for who in rivals}
        for turn in range(ROUNDS + 1):
            for who, steps in rivals.items():
                begun = time.perf_counter()
                next(steps)
                if turn:
                    took[who].append(time.perf_counter() - begun)
        rates = {who: LEARNT / statistics.median(times) for who, times in took.items()}
        print(
            f"{name} at {cases.side} pixels: "
            + ", ".join(f"{who} {rate:.2f} pictures a second" for who, rate in rates.items()),
            flush=True,
        )


def enlarged(cases: Dataset, side: int) -> Dataset:
    """The first step's training pictures, larger."""
    few = cases.only(range(LEARNT))
    image = torch.nn.functional.interpolate(few.input.float(), (side, side)).byte()
    target = []
    for objects in few.target:
        box = boxes_of([objects])[0].clone()
        box[:, 1:] *= side / cases.side
        if isinstance(objects, Instances):
            masks = objects.masks(cases.side).float()[None]
            large = torch.nn.functional.interpolate(masks, (side, side))[0] > 0.5
            target.append(packed(box, large))
        else:
            target.append(box)
    return replace(few, input=image, target=ListColumn(target))


def own_steps(name: str, cases: Dataset) -> Iterator[object]:
    kind, config = registry.load_system(name)
    system = kind(config, kind.spec_for(cases))
    if system.channels_last:
        system.to(memory_format=torch.channels_last)
    feed = system.loader(cases, seed=0)
    return system.fit(feed, Run(ROUNDS + 1, LEARNT, autocast=autocast(feed.device)))


def their_steps(name: str, cases: Dataset) -> Iterator[object]:
    """As torchvision's references/detection train: SGD with momentum, float32."""
    made = torchvision.models.get_model(
        name,
        weights=None,
        weights_backbone=None,
        num_classes=1 + len(cases.classes),
        **({} if name.startswith("ssd") else {"min_size": cases.side, "max_size": cases.side}),
    ).train()
    optimizer = torch.optim.SGD(made.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
    images, targets = [], []
    for image, objects in zip(cases.input, cases.target, strict=True):
        [box] = boxes_of([objects])
        about = {"boxes": box[:, 1:], "labels": 1 + box[:, 0].long()}
        if isinstance(objects, Instances):
            about["masks"] = objects.masks(cases.side).byte()
        images.append(image.float() / 255)
        targets.append(about)
    while True:
        loss = sum(made(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield


def video(file: Path) -> None:
    """An untrained YOLO n at 640 and at 320 pixels; every box that it is surest of is followed."""
    for side in (640, 320):
        kind, config = registry.load_system("yolo_n")
        system = kind(config, Spec(3, side, LABELS)).eval().to(memory_format=torch.channels_last)
        model = Model("yolo_n", system).for_many()

        def look(image, least: float, model: Model = model) -> Boxes:
            return model.answer(image, conf=least)

        with tempfile.TemporaryDirectory() as folder:
            *_frames, last = videos.watching(look, file, Path(folder), classes=LABELS, conf=0.02)
            record = last.record
            print(f"at {side} pixels: {record.frames} frames, {record.fps:.1f} a second, {len(record.tracks)} tracks")


if __name__ == "__main__":
    main()
