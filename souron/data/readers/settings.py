"""Settings for reading files, passed to every format in ``data/formats/``.

A file there is a format. It defines ``describes(path) -> bool``, which only examines the path, and
``load(path, reading) -> Dataset``. A task's ``formats`` lists those that it accepts, in the order
in which they are tried.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# treatment of images that do not fit into memory: raise UserError; decode them once into a file
# (see ``cache``); or use a few of them as a sample, to estimate the cost of decoding
Large = Literal["refuse", "decode", "sketch"]


@dataclass(frozen=True)
class Reading:
    """Settings for reading files."""

    side: int | None = None  # pixels; None: the images' own if small and of one size
    group: str | None = None  # the source of patients' names, see ``patients``
    window: str | None = None  # of DICOM files, see ``dicom.Window``
    fewest_classes: int = 2  # 0: cases without any label are read, too
    progress: Callable[[int, int], None] | None = None  # called with files done and files in all
    large: Large = "refuse"
    target: str = ""  # the kind of target, if a file holds several: see ``Task.target``
