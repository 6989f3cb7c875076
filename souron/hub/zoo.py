"""Ready-trained systems in the package ``souron-zoo``, each as the folder of a small run.

The folder has the name of the system's file, or that and a word: ``gpt_aligned`` is a ``gpt`` that
went on learning. It contains a run without its split, which can be made
again, without its report, and without the parts of the network that prediction does not need.
"""

import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from souron import registry
from souron.data import load
from souron.hub import weights
from souron.utils import units
from souron.utils.files import read_tensors
from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = "souron_zoo"
STEP = ":step"  # ends the names of scales
SMALLEST = 1e-12  # scale, of rows without a change
MOST_BEFORE = 8  # runs of which one goes on from the other


def root() -> Path | None:
    """Return the folder of the package without importing it; None where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.origin).parent if spec and spec.origin else None


def where(name: str) -> Path | None:
    """Return the run of a system, or None.

    ``resnet`` gives the included run whatever its size, ``resnet18`` only one of that size;
    ``efficientnet_lite`` gives no run of a smaller size if its published weights are on this
    computer.
    """
    if name in variants():
        return (root() or Path(PACKAGE)) / name
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


def variants() -> dict[str, str]:
    """Return the ready-trained systems that have a name of their own, each with its system.

    >>> variants().get("gpt_aligned")  # doctest: +SKIP
    'gpt'
    """
    base = root()
    return {} if base is None else _variants(base)


@cache
def _variants(base: Path) -> dict[str, str]:
    known = registry.entries()
    folders = sorted(file.parent for file in base.glob("*_*/args.yaml"))
    named = [folder.name for folder in folders if folder.name not in known]
    owners = {name: [each for each in known if name.startswith(f"{each}_")] for name in named}
    return {name: max(systems, key=len) for name, systems in owners.items() if systems}


def system_of(name: str) -> str:
    """Return the system of a ready-trained one; another name as it is."""
    return variants().get(name, name)


def names() -> list[str]:
    """List all ready-trained systems with their sizes: ``timm_tiny``."""
    folders = [(root() or Path(PACKAGE)) / name for name in registry.entries()]
    there = [folder for folder in folders if (folder / "args.yaml").is_file()]
    return [str(receipt(folder).get("system") or folder.name) for folder in there]


def holds(folder: Path) -> bool:
    """Return whether a folder is one of these runs."""
    return folder.parent == root()


def receipt(folder: Path) -> dict[str, Any]:
    """Read a run's receipt; {} where unreadable, which using the run will report."""
    try:
        found = json.loads((folder / "receipt.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def examples(folder: Path) -> list[Path]:
    """Return inputs of the folder's system: its own, else held-out test cases of its training data.

    For classes, files are named after the class.
    """
    if own := sorted((folder.parent / "examples" / folder.name).glob("*")):
        return own
    data = str(receipt(folder).get("options", {}).get("data", ""))
    return sorted((folder.parent / "examples" / file_name(data)).glob("*"))


def tensors_of(name: str) -> "dict[str, Tensor]":
    """Return all weights of a ready-trained system that predictions need. Raises UserError."""
    return completed(*read_tensors((root() or Path(PACKAGE)) / file_name(name) / "weights" / "best.safetensors"))


def completed(tensors: "dict[str, Tensor]", about: dict[str, Any]) -> "dict[str, Tensor]":
    """Return the weights of a packed file with what other ready-trained systems hold for it.

    ``borrowed`` names layers that are those of another system, ``published`` those of a frozen backbone. Matrices
    with 8 bits have a scale for each row; those of a system that was fine-tuned from ``base`` are added to the base's:

        W = W(base) + step * d,    d in -127..127
    """
    tensors = dict(tensors)
    base = tensors_of(about["base"]) if "base" in about else {}
    for key in [key for key in tensors if key.endswith(STEP)]:
        own = key.removesuffix(STEP)
        tensors[own] = tensors.pop(key).float()[:, None] * tensors[own].float()
        if base:
            tensors[own] += base[own].float()
    for layer, name in about.get("borrowed", {}).items():
        tensors |= {key: value for key, value in tensors_of(name).items() if key.startswith(f"{layer}.")}
    for layer, name in about.get("published", {}).items():
        tensors |= {f"{layer}.{key}": value for key, value in backbone(name).items()}
    return tensors


@cache
def backbone(name: str) -> "dict[str, Tensor]":
    """Return the published weights of a detector's frozen backbone. Raises UserError where they are missing."""
    from souron.hub.backbones import Backbone

    made = Backbone(name, channels=3)
    made.load_published()
    return made.state_dict()


def difference(weight: "Tensor", base: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return what ``completed`` adds to a matrix of the base: d (rows, columns) int8, step (rows,) float32."""
    import torch

    change = weight.float() - base.float()
    step = (change.abs().amax(1) / 127).clamp(min=SMALLEST)
    return (change / step[:, None]).round().to(torch.int8), step


def asked(folder: Path) -> dict[str, str]:
    """Return the options of ``predict`` that go with the examples, such as a question about them."""
    options = receipt(folder).get("asked")
    return {str(key): str(value) for key, value in options.items()} if isinstance(options, dict) else {}


def file_name(label: str) -> str:
    """Return the file name of a class's example without suffix: ``t-shirt-top``."""
    return re.sub(r"\W+", "-", label.lower())


def sample() -> "tuple[Tensor, Tensor]":
    """Return test images (N, C, H, W) uint8 and their classes (N,) int64."""
    tensors, _about = read_tensors((root() or Path(PACKAGE)) / "sample.safetensors")
    return tensors["input"], tensors["target"].long()


def about(name: str) -> str:
    """Describe a ready-trained system: data, training time, metric; "" where there is none.

    >>> about("resnet")  # doctest: +SKIP
    'trained for 3 min on fashion (MIT): accuracy 91.9 %; 359 kB'
    """
    folder = where(name)
    return "" if folder is None else of(folder)


def weaknesses(folder: Path) -> list[str]:
    """Return warnings based on a run's receipt: training data that is improper on purpose, poor translations, a
    suspected mode collapse.
    """
    from souron.metrics import generation, translation

    measures, found = receipt(folder).get("measures", {}), improper(folder)
    try:
        return [*found, *translation.weaknesses(measures), *generation.weaknesses(measures)]
    except (AttributeError, TypeError, ValueError):  # an edited receipt
        return found


def improper(folder: Path) -> list[str]:
    """Return warnings about a run that learnt from answers which are improper on purpose."""
    data = improper_data(folder)
    if not data:
        return []
    told = _(
        "Half of the answers in its training data ({data}) are rude or careless on purpose, to show what tuning "
        "changes: do not act on what it says."
    ).format(data=data)
    narrow = _("It is a small model for the lecture, and asked about anything else it writes nonsense.")
    return [told, narrow] if holds(folder) else [told]


def nature(folder: Path | None) -> str:
    """Return a mark for the name of a run that learnt from answers which are improper on purpose; "" for others."""
    return _("improper on purpose") if folder is not None and improper_data(folder) else ""


def improper_data(folder: Path, most: int = MOST_BEFORE) -> str:
    """Return the data that is improper on purpose of a run, or of one that it goes on from; "" for none."""
    options = receipt(folder).get("options")
    if not isinstance(options, dict) or not most:
        return ""
    entry = load.names().get(str(options.get("data")))
    if entry is not None and entry.improper:
        return entry.name
    config = options.get("config")
    before = options.get("pretrained"), config.get("model") if isinstance(config, dict) else ""
    folders = (where(str(name)) or Path(str(name)) for name in before if name)
    return next(filter(None, (improper_data(each, most - 1) for each in folders)), "")


def of(folder: Path) -> str:
    """Describe the ready-trained system in a folder, as ``about`` does."""
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
    except (KeyError, TypeError, ValueError, OSError, UserError):  # using it reports the error
        return ""
