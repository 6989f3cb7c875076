"""Detectors and segmenters on scenes: one fair fight each, and what a picture costs.

    python benchmarks/detection.py fight        every detector, 20 minutes each, and the verdict
    python benchmarks/detection.py areas        every segmenter that names pixels, likewise
    python benchmarks/detection.py speed        ms a picture of YOLO n and s at 640 and 320
                                                 pixels, beside ultralytics' with random weights
    python benchmarks/detection.py video FILE   frames a second, looked at, tracked and drawn

``speed`` takes the peer from the environment of ``benchmarks/requirements.txt``; it is left out
where the package is not there. ``--budget 2min`` shortens a fight.
"""

import argparse
import importlib.util
import statistics
import tempfile
import time
from pathlib import Path

import torch

from souron import registry
from souron.blocks.fusing import fused
from souron.cli import console
from souron.kinds.boxes import Boxes
from souron.model import Model
from souron.runs import compare, watch
from souron.tasks.detect import Spec
from souron.training.trainer import autocast
from souron.utils import hardware

DETECTORS = ("yolo", "yolo_lite", "ssd_lite", "faster_rcnn_lite", "fast_rcnn_lite")
SEGMENTERS = ("unet", "unet_lite", "fcn_lite", "deeplab_lite")
LABELS = tuple(map(str, range(80)))  # as many as COCO has
ROUNDS, PICTURES = 5, 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["fight", "areas", "speed", "video"])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--budget", default="20min")
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    hardware.calm_allocator()
    hardware.share_cores()
    if asked.what in ("fight", "areas"):
        systems = DETECTORS if asked.what == "fight" else SEGMENTERS
        with tempfile.TemporaryDirectory() as project:
            record = compare.compare(
                list(systems), "scenes", budget=asked.budget, seeds=asked.seeds, project=project
            )
            console.comparison(record)
    elif asked.what == "speed":
        speed()
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
            print(f"yolo_{size} at {side} pixels: " + ", ".join(
                f"{name} {value:.1f} ms" for name, value in figures.items()))  # fmt: skip


@torch.inference_mode()
def seconds(ask, image: torch.Tensor) -> float:
    ask(image)
    begun = time.perf_counter()
    for _picture in range(PICTURES):
        ask(image)
    return (time.perf_counter() - begun) / PICTURES


def network(size: str, side: int, image: torch.Tensor):
    kind, config = registry.load_system(f"yolo_{size}")
    system = kind(config, Spec(3, side, LABELS)).eval().to(memory_format=torch.channels_last)
    quick = fused(system, image)

    def ask(picture):
        with autocast(torch.device("cpu"))():
            return quick(picture)

    return ask


def theirs(size: str, image: torch.Tensor):
    from ultralytics import YOLO

    model = YOLO(f"yolov8{size}.yaml").model.eval().fuse().to(memory_format=torch.channels_last)

    def ask(picture):
        with autocast(torch.device("cpu"))():
            return model(picture)

    return ask


def video(file: Path) -> None:
    """An untrained YOLO n at 640 and at 320 pixels; every box that it is surest of is followed."""
    for side in (640, 320):
        kind, config = registry.load_system("yolo_n")
        system = kind(config, Spec(3, side, LABELS)).eval().to(memory_format=torch.channels_last)
        model = Model("yolo_n", system).for_many()

        def look(picture, least: float, model: Model = model) -> Boxes:
            return model.answer(picture, conf=least)

        with tempfile.TemporaryDirectory() as folder:
            *_frames, last = watch.watching(look, file, Path(folder), classes=LABELS, conf=0.02)
            record = last.record
            print(f"at {side} pixels: {record.frames} frames, {record.fps:.1f} a second, "
                  f"{len(record.tracks)} tracks")  # fmt: skip


if __name__ == "__main__":
    main()
