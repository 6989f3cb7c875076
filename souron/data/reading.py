"""How files become cases: what every format of ``data/formats/`` is told.

A file there is a format. It has ``describes(path) -> bool``, which looks but does not read, and
``load(path, reading) -> Dataset``. A task's ``formats`` names those that it takes, in the order in
which they are asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# what is done with pictures that memory has no room for: UserError; decoded once into a file (see
# ``cache``); or a few of them stand for all, to foretell what that will take
Large = Literal["refuse", "decode", "sketch"]


@dataclass(frozen=True)
class Reading:
    """How files are read."""

    side: int | None = None  # pixels; None: the pictures' own where they are small and of one size
    group: str | None = None  # where patients are read from, see ``patients``
    window: str | None = None  # of DICOM files, see ``dicom.Window``
    fewest_classes: int = 2
    progress: Callable[[int, int], None] | None = None  # hears of files done and files in all
    large: Large = "refuse"
    target: str = ""  # of what may be read from a file that holds several: see ``Task.target``
