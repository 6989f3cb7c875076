"""Systems that come ready trained, in the package ``souron-zoo``: a small run's folder each.

The folder is named as the system's file is. It holds what a run's does, but for its split, which
can be made again, its report, and the parts of the network that answering does not need.
"""

import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from souron import registry
from souron.hub import weights
from souron.utils import units
from souron.utils.files import read_tensors
from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = "souron_zoo"


def root() -> Path | None:
    """The folder of the package; None where it is not installed. Runs nothing of it."""
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.origin).parent if spec and spec.origin else None


def where(name: str) -> Path | None:
    """The run of that system, or None. ``resnet`` is the one that there is, ``resnet18`` none of
    another size; ``efficientnet_lite`` none of a smaller size, where its published weights are on
    this computer."""
    try:
        entry, size = registry.find(name)
    except UserError:
        return None
    base = root()
    if base is None or not (base / entry.name / "args.yaml").is_file():
        return None
    folder = base / entry.name
    if str(receipt(folder).get("system")) == registry.full_name(entry, size):
        return folder
    published = size in entry.weights and weights.find(entry.weights[size]) is not None
    return folder if name == entry.name and not published else None


def names() -> list[str]:
    """Of all of them, each with its size: ``timm_tiny``."""
    folders = [(root() or Path(PACKAGE)) / name for name in registry.entries()]
    there = [folder for folder in folders if (folder / "args.yaml").is_file()]
    return [str(receipt(folder).get("system") or folder.name) for folder in there]


def holds(folder: Path) -> bool:
    """Is it one of these runs?"""
    return folder.parent == root()


def receipt(folder: Path) -> dict[str, Any]:
    """What a run says of itself; empty where that cannot be read, which using the run tells."""
    try:
        found = json.loads((folder / "receipt.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def examples(folder: Path) -> list[Path]:
    """Test cases of the data that a system of this folder learnt from; it learnt from none of
    them. Of classes they are named as the classes are."""
    data = str(receipt(folder).get("options", {}).get("data", ""))
    return sorted((folder.parent / "examples" / file_name(data)).glob("*"))


def file_name(label: str) -> str:
    """The name of a class's example, without the ending: ``t-shirt-top``."""
    return re.sub(r"\W+", "-", label.lower())


def sample() -> "tuple[Tensor, Tensor]":
    """(N, C, H, W) uint8 pictures of the test part, and their classes (N,) int64."""
    tensors, _about = read_tensors((root() or Path(PACKAGE)) / "sample.safetensors")
    return tensors["input"], tensors["target"].long()


def about(name: str) -> str:
    """What it learnt from, for how long, and its figure; "" where it does not come ready trained.

    >>> about("resnet")  # doctest: +SKIP
    'trained for 3 min on fashion (MIT): accuracy 91.9 %; 359 kB'
    """
    folder = where(name)
    return "" if folder is None else of(folder)


def weaknesses(folder: Path) -> list[str]:
    """Return warnings by the figures in a run's receipt: a suspected mode collapse."""
    from souron.metrics import generation

    measures = receipt(folder).get("measures")
    try:
        return generation.weaknesses(measures) if isinstance(measures, dict) else []
    except (AttributeError, TypeError, ValueError):  # a receipt that was changed
        return []


def of(folder: Path) -> str:
    """The same of a folder of the package."""
    held = receipt(folder)
    try:
        first = registry.tasks()[registry.find(str(held["system"]))[0].task].metrics[0].name
        metric, value = registry.metric(first), float(held["measures"][first]["value"])
        return _("trained for {time} on {data} ({licence}): {measure} {value}; {size}").format(
            time=units.seconds(held["train_seconds"]),
            data=held["data"]["name"],
            licence=held["data"]["licence"],
            measure=metric.title,
            value=metric.text(value),
            size=units.size((folder / "weights" / "best.safetensors").stat().st_size),
        )
    except (KeyError, TypeError, ValueError, OSError, UserError):  # using it tells what is wrong
        return ""
