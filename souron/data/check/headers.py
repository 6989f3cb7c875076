"""Properties of image files that are independent of their content."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL.ExifTags import IFD, Base
from PIL.Image import Image

from souron.data.dataset import Dataset
from souron.kinds.codecs import image as image_codec
from souron.utils.messages import UserError

LONGEST = 200  # characters of a header value


@dataclass(frozen=True)
class File:
    """Properties of a file that are independent of its content: they should not predict
    the label."""

    width: int
    height: int
    bytes: int
    colours: int  # 1 grey, 3 colour
    day: float  # of the last change
    kind: str  # ".jpg"
    camera: str  # maker and model, from the header
    taken: str  # date and time, from the header: "2024:05:01 12:00:00"


def headers(cases: Dataset) -> Iterator[File | None]:
    """Yield the properties of each case's file; None if it cannot be read."""
    folder = cases.folder

    def look(name: str) -> File | None:
        path, _frame = image_codec.case_file(folder, name)
        try:
            about, seen = path.stat(), image_codec.look(path, folder)
            colours = 1 if seen.grey else 3
            return File(
                *seen.size,
                about.st_size,
                colours,
                about.st_mtime / 86400,
                path.suffix.lower(),
                *_camera_of(path, folder),
            )
        except (UserError, OSError):
            return None

    with ThreadPoolExecutor() as pool:
        yield from pool.map(look, cases.file)


def _camera_of(path: Path, folder: Path) -> tuple[str, str]:
    """Return camera and date; both empty for DICOM, whose device and date are columns of
    the cases."""
    try:
        with image_codec.opened(path, folder) as image:
            return _camera(image) if isinstance(image, Image) else ("", "")
    except UserError:
        return "", ""


def _camera(image: Image) -> tuple[str, str]:
    """Return camera and date from the header's EXIF; the location (GPS) is not read."""
    if image.format == "PNG" and "exif" not in image.info:
        return "", ""  # Pillow would decode the whole image to look behind the pixels
    try:
        exif = image.getexif()
        told = [exif.get(Base.Make), exif.get(Base.Model)]
        date = exif.get_ifd(IFD.Exif).get(Base.DateTimeOriginal) or exif.get(Base.DateTime)
    except image_codec.DAMAGE:
        return "", ""
    camera = " ".join(str(name).strip("\0 ")[:LONGEST] for name in told if name)
    return camera, str(date or "")[:LONGEST]
