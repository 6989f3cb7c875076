"""The pictures of ``detection.md``, without words: ``python docs/detection.py`` (28 minutes);
``python docs/detection.py unet_lite`` makes one alone."""

import base64
import os
import re
import sys
import tempfile
from pathlib import Path

from souron.runs import train

STATIC = Path(__file__).parent / "_static"
KEPT = {  # system -> budget, section of its report, picture's name
    "yolo_lite": ("4min", "found", "detection-found"),
    "ssd_lite": ("2min", "steps", "detection-anchors"),
    "unet_lite": ("4min", "found", "segmentation-found"),
    "panoptic_fpn_lite": ("4min", "found", "panoptic-found"),
    "keypoint_rcnn_lite": ("8min", "found", "poses-found"),
    "heatmap_points": ("3min", "found", "landmarks-found"),
}


def main() -> None:
    """Of all systems, or of those that the command line names."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for system in sys.argv[1:] or KEPT:
            budget, section, name = KEPT[system]
            record = train.train(system, budget=budget)
            keep(record.folder / "report.html", section, STATIC / name)
            print(system, {key: round(m.value, 4) for key, m in record.measures.items()})


def keep(report: Path, section: str, place: Path) -> None:
    """Save the first picture of a report's section, as it is."""
    page = report.read_text(encoding="utf-8")
    after = page.partition(f'id="{section}"')[2]
    kind, data = re.findall(r'src="data:image/(png|jpeg);base64,([^"]+)"', after)[0]
    ending = {"png": ".png", "jpeg": ".jpg"}[kind]
    place.with_name(place.name + ending).write_bytes(base64.b64decode(data))


if __name__ == "__main__":
    main()
