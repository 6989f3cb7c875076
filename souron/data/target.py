"""Contract of the annotations of a data set. Each kind is one file in ``targets/``.

There is no list to edit: every file ``souron/data/targets/<name>.py`` defines one class derived
from ``Target``, and is found by its name. It holds

- how one case is annotated: the tensor or named tuple that formats and data sets build, systems
  learn from and tasks score;
- ``holds``: the data sets that are annotated in this way;
- ``counts``, ``of_class`` and ``words``: what is counted, listed and said of a case;
- ``picture`` and ``drawn``: what reports and the studio show of a case;
- ``findings``: what ``souron data check`` finds wrong with the annotations.

A target is a tensor (N, ...), or a ``ListColumn`` if cases differ in shape. Batches, splits and
digests need no more: a ``ListColumn`` takes tensors, texts, and named tuples of them.
"""

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, ClassVar

import torch
from PIL import Image
from torch import Tensor

from souron.utils import units
from souron.utils.files import package_folders
from souron.utils.messages import N_, _

if TYPE_CHECKING:
    from souron.data.dataset import Dataset
    from souron.data.quality.findings import Finding


@dataclass(frozen=True, eq=False)
class Target:
    """Annotations of all cases of a data set; this class itself for cases without any."""

    cases: "Dataset"
    heading: ClassVar[str] = N_("Classes")
    counted: ClassVar[str] = N_("cases")  # by ``counts``
    unit: ClassVar[str] = N_("{least} to {most} cases each")
    answer_name: ClassVar[str] = ""  # of ``answer``
    one_class: ClassVar[bool] = True  # a case has one class, by which a split can be stratified
    every_class: ClassVar[bool] = False  # every case shows all classes
    checks_files: ClassVar[bool] = False  # ``findings`` covers unusable files and patients, too

    @classmethod
    def holds(cls, cases: "Dataset") -> bool:
        """Return whether a data set is annotated in this way.

        At most one kind, and kinds that it derives from, may hold.
        """
        return False

    def counts(self) -> list[int]:
        """Return the number of cases of each class, or of whatever ``unit`` counts."""
        return [0] * len(self.cases.classes)

    def of_class(self, label: int) -> Iterator[int]:
        """Yield the rows of the cases that show a class."""
        yield from ()

    @property
    def number(self) -> int:
        """The number of the items named by ``heading``."""
        return len(self.cases.classes)

    def rows(self, count: int) -> dict[int, list[int]]:
        """Return the first ``count`` cases of each class that has any."""
        labels = range(len(self.cases.classes))
        found = {label: list(islice(self.of_class(label), count)) for label in labels}
        return {label: rows for label, rows in found.items() if rows}

    def words(self, row: int) -> str:
        """Describe the target of a case in a few words."""
        return ""

    def answer(self, row: int) -> str:
        """Return the target of a case as text, for cases that are read; "" if there is none."""
        return ""

    def image(self, row: int) -> Tensor:
        """Return a case's image (C, H, W) for a thumbnail."""
        return self.cases.input[row]

    def examples(self, label: int, rows: list[int]) -> Tensor:
        """Return images (n, C, h, w) that show a class."""
        return torch.stack([self.image(row) for row in rows])

    def pixels(self) -> Tensor:
        """Return the images for statistics of pixel values, (N, C, H, W) in 0..255."""
        return self.cases.input

    def drawn(self, row: int) -> tuple[Image.Image, str] | None:
        """Return a case's image with the target drawn on it, and a description; None if there is
        nothing to draw."""
        return None

    def findings(self) -> Iterator["Finding"]:
        """Yield what is wrong with the annotations."""
        yield from ()

    @property
    def layout(self) -> str:
        """The layout of the page of ``souron data``, a key of ``report.dataset.LAYOUTS``; "" if
        there is none for such cases."""
        return "images" if self.cases.images or self.cases.volumes else ""

    def sizes(self) -> dict[str, int]:
        """Return the numbers that describe the size of the cases, by name."""
        cases = self.cases
        if cases.volumes:
            return dict(zip(("slices", "rows", "columns"), cases.input.shape[2:], strict=True))
        if not cases.images:
            return {"columns": cases.input.shape[1]}
        return {"channels": cases.channels, "side": cases.side}

    def size(self) -> tuple[str, str]:
        """Return what the cases are, and their size, for a table."""
        shape = tuple(self.cases.input.shape[1:])
        if self.cases.volumes:
            return _("volumes"), " x ".join(map(str, shape[1:]))
        if not self.cases.images:
            return _("columns"), units.whole(shape[0])
        return _("images"), " × ".join(map(str, shape))

    def shape(self) -> tuple[str, str]:
        """Return what one case is, and its size, for the facts of a report."""
        cases = self.cases
        if cases.images:
            return _("image"), image_size(cases)
        if cases.volumes:
            size = " x ".join(map(str, cases.input.shape[2:]))
            return _("volume"), _("{size} voxels").format(size=size)
        if not isinstance(cases.input, Tensor):
            letters = [len(str(entry)) for entry in islice(cases.input, 1000)]
            count = units.whole(round(median(letters)))
            return _("a text"), _("{count} characters in the middle").format(count=count)
        return _("columns"), units.whole(cases.input[0].numel())


def image_size(cases: "Dataset") -> str:
    """Return the size of square images and whether they are in colour."""
    return _("{side} × {side} pixels, {colour}").format(side=cases.side, colour=colour(cases))


def colour(cases: "Dataset") -> str:
    """Return whether images are in colour or grey."""
    return _("colour") if cases.channels == 3 else _("grey")


@lru_cache
def kinds() -> dict[str, type[Target]]:
    """Return every kind of target by the name of its file."""
    files = [file for folder in package_folders("data/targets") for file in folder.glob("*.py")]
    names = sorted(file.stem for file in files if not file.name.startswith("_"))
    return {name: _kind_in(name) for name in names}


def _kind_in(name: str) -> type[Target]:
    """Return the only class derived from ``Target`` that a file of ``targets/`` defines."""
    module = importlib.import_module(f"souron.data.targets.{name}")
    own = [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing) and issubclass(thing, Target) and thing.__module__ == module.__name__
    ]
    assert len(own) == 1, f"{module.__name__} defines {len(own)} kinds of target; one file, one kind"
    return own[0]


def target_of(cases: "Dataset") -> Target:
    """Return the annotations of a data set, as an instance of their kind."""
    found = [kind for kind in kinds().values() if kind.holds(cases)]
    own = [kind for kind in found if not any(other is not kind and issubclass(other, kind) for other in found)]
    assert len(own) <= 1, f"{cases.name} is annotated in several ways: {own}"
    return (own[0] if own else Target)(cases)
