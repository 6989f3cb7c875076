"""Decode a listed file to its image, or to its frames; shared by ``formats`` and ``workers``."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from souron.data.dataset import Skipped
from souron.kinds.codecs import dicom
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs.limits import printable, readable
from souron.utils.messages import UserError, _

NOTHING_KNOWN = dicom.Known()


class Listed(NamedTuple):
    """A file that should become a case."""

    path: Path
    file: str  # its name in ``Dataset``: relative to the folder, with slashes
    label: str
    group: str = ""
    part: str = ""
    frame: int = 0  # of a DICOM file, from 1; 0 means all
    columns: Mapping[str, str] = {}  # see ``Dataset.columns``

    def printable(self) -> "Listed":
        """Return a copy with names that are safe to print in a table."""
        return self._replace(
            label=printable(self.label),
            group=printable(self.group),
            columns={name: printable(value) for name, value in self.columns.items()},
        )


class Read(NamedTuple):
    """A case after reading."""

    item: Listed
    pixels: Tensor | Skipped
    known: dicom.Known = NOTHING_KNOWN


def reader(root: Path, side: int, channels: int, window: str | None) -> Callable[[tuple[Listed, int]], list[Read]]:
    """Return a function that decodes one file to its image, or to that many separate frames."""
    return partial(_decode, root, side, channels, window)


def _decode(
    root: Path, side: int, channels: int, window: str | None, file_and_frames: tuple[Listed, int]
) -> list[Read]:
    """Decode the file to its image, or to that many separate frames."""
    item, frames = file_and_frames
    try:
        with image_codec.opened(item.path, root) as file:
            if isinstance(file, dicom.File):
                return _decode_dicom(item, frames, file, side, channels, window)
            pixels = image_codec.shrunk(file, side, partial(image_codec.square, side=side, channels=channels))
            return [Read(item, pixels)]
    except UserError as trouble:
        return [Read(item, _skipped(item, trouble))]


def _decode_dicom(
    item: Listed, frames: int, file: dicom.File, side: int, channels: int, window: str | None
) -> list[Read]:
    count, known, read = file.look().frames, file.known(), []
    if item.frame > count:
        why = _("the file has {count} frames").format(count=count)
        return [Read(item, Skipped(item.file, "missing", why))]
    for frame in [item.frame] if item.frame else range(1, frames + 1):
        one = item
        if count > 1 and not item.frame:
            one = item._replace(file=f"{item.file}#{frame}", frame=frame)
        try:
            pixels = image_codec.square(file.frame(frame - 1, window), side, channels)
            read.append(Read(one, pixels, known))
        except UserError as trouble:
            read.append(Read(one, _skipped(one, trouble)))
    return read


def _skipped(item: Listed, trouble: UserError) -> Skipped:
    why = trouble.found.removeprefix(f"{readable(item.path)}: ")
    return Skipped(item.file, trouble.code, why)
