"""Images too large for memory, region by region: histology slides and tiled TIFF.

OpenSlide (https://openslide.org), through the package ``openslide-python``, reads scanners' formats
(SVS, NDPI, MRXS, tiled TIFF, ...) without decoding all of it. Other files are decoded whole by
Pillow, up to ``MOST_WHOLE`` pixels. ``scaled`` reads a slide at another resolution, from the level
of its pyramid that fits; ``tissue`` tells tissue from glass.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from souron.kinds.codecs import image, limits
from souron.utils import extras
from souron.utils.messages import UserError, _

MOST_WHOLE = 150_000_000  # pixels
MOST_SIDE = 1_000_000
STRIP = 4_000_000  # pixels of an overview processed at once
MOST_BYTES = 50_000_000_000
FINEST, COARSEST = 0.05, 50.0  # µm a pixel that may be asked for
COLOURED = (0.03, 0.12)  # bounds of the saturation, 0..1, from which on a pixel is tissue
BRIGHT = 0.75  # darker than this, 0..1, a pixel is tissue whatever its colour
SUFFIXES = (".tif", ".tiff", ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".svslide", ".vms", ".vmu")


class Slide(Protocol):
    """A large colour image."""

    size: tuple[int, int]  # width and height, pixels
    microns: float  # µm a pixel; 0 where the file does not say

    def region(self, left: int, top: int, width: int, height: int) -> Image.Image: ...

    def reduced(self, edges: tuple[float, float, float, float], size: tuple[int, int]) -> Image.Image:
        """Return the part between left, top, right and bottom, at a size in pixels."""
        ...

    def overview(self, longest: int) -> Image.Image:
        """Return the whole image, its longer side at most ``longest`` pixels."""
        ...


@contextmanager
def opened(path: Path) -> Iterator[Slide]:
    """Open an image of any size. Raises UserError."""
    limits.check_file(path, most=MOST_BYTES)
    if path.suffix.lower() in SUFFIXES and reads():
        import openslide

        kind = openslide.OpenSlide.detect_format(str(path))
        if kind is not None:
            try:
                with openslide.OpenSlide(str(path)) as file:
                    yield _Tiled(path, file)
            except openslide.OpenSlideError as error:
                why = _("cannot be decoded: {why}").format(why=error)
                raise limits.trouble(path, "unreadable", why) from error
            return
    try:
        whole = _read(path)
    except UserError as error:
        if path.suffix.lower() not in SUFFIXES or reads():
            raise
        need = _("{path}: nothing here reads such slides").format(path=limits.readable(path))
        raise extras.missing("slides", need) from error
    yield _Whole(whole)


def scaled(slide: Slide, microns: float) -> Slide:
    """Return the slide at a resolution in µm a pixel. Raises UserError where it states none."""
    if not FINEST <= microns <= COARSEST:
        raise UserError("value", f"microns={microns:g}", expected=f"{FINEST:g}..{COARSEST:g}")
    if not slide.microns:
        raise UserError(
            "microns",
            _("the image does not state its µm per pixel"),
            expected=_("a slide as its scanner wrote it"),
            fix=_("leave microns out"),
            exit=3,
        )
    return _Scaled(slide, microns)


def tissue(overview: Image.Image) -> np.ndarray:
    """Return where an overview shows tissue rather than glass, (H, W) bool.

    Tissue is coloured or dark. The bound of the saturation is Otsu's, within limits, since a slide
    may be all tissue; a border of one pixel is added.

    Otsu: A Threshold Selection Method from Gray-Level Histograms (1979).
    https://doi.org/10.1109/TSMC.1979.4310076
    """
    from scipy import ndimage
    from skimage import filters

    values = np.asarray(overview.convert("HSV"), np.float32) / 255
    saturation, value = values[..., 1], values[..., 2]
    bound = filters.threshold_otsu(saturation) if np.ptp(saturation) else COLOURED[1]
    found = (saturation > np.clip(bound, *COLOURED)) | (value < BRIGHT)
    return ndimage.binary_dilation(ndimage.binary_opening(found), iterations=2) if found.any() else found


def reads() -> bool:
    """Return whether OpenSlide is installed."""
    return extras.installed("slides")


def _read(path: Path) -> Image.Image:
    """Decode the whole image in colour."""
    with limits.quiet, image.opened(path, most=MOST_WHOLE) as file:
        if isinstance(file, Image.Image):
            return _colour(image.plain(file))
    return _colour(image.read(path))


def _colour(picture: Image.Image) -> Image.Image:
    return image.rounded(picture).convert("RGB")


class _Whole:
    microns = 0.0

    def __init__(self, picture: Image.Image) -> None:
        self.image, self.size = picture, picture.size

    def region(self, left: int, top: int, width: int, height: int) -> Image.Image:
        return self.image.crop((left, top, left + width, top + height))

    def reduced(self, edges: tuple[float, float, float, float], size: tuple[int, int]) -> Image.Image:
        return self.image.resize(size, Image.Resampling.BOX, edges)

    def overview(self, longest: int) -> Image.Image:
        small = self.image.copy() if max(self.size) <= longest else self.image
        scale = min(1.0, longest / max(self.size))
        wanted = [max(1, round(side * scale)) for side in self.size]
        return small.resize((wanted[0], wanted[1]), Image.Resampling.BOX, reducing_gap=2.0)


class _Tiled:
    def __init__(self, path: Path, file: Any) -> None:
        self.file, self.size = file, file.dimensions
        self.microns = _microns(file.properties)
        if max(self.size) > MOST_SIDE or min(self.size) < 1:
            raise UserError(
                "too large",
                _("{path}: {width} x {height} pixels").format(
                    path=limits.readable(path), width=self.size[0], height=self.size[1]
                ),
                expected=_("at most {count} pixels a side").format(count=MOST_SIDE),
                exit=3,
            )

    def region(self, left: int, top: int, width: int, height: int) -> Image.Image:
        return _on_white(self.file.read_region((left, top), 0, (width, height)))

    def reduced(self, edges: tuple[float, float, float, float], size: tuple[int, int]) -> Image.Image:
        left, top, right, _bottom = edges
        level = self.file.get_best_level_for_downsample((right - left) / size[0] * 1.001)
        step = self.file.level_downsamples[level]
        first = int(left), int(top)
        box = tuple((edge - begin) / step for edge, begin in zip(edges, 2 * first, strict=True))
        whole = math.ceil(box[2]), math.ceil(box[3])
        read = _on_white(self.file.read_region(first, level, whole))
        way = Image.Resampling.BOX if right - left >= size[0] else Image.Resampling.BICUBIC
        return read.resize(size, way, box)

    def overview(self, longest: int) -> Image.Image:
        """Downsample the coarsest level that is fine enough; without one, strip by strip."""
        scale = min(1.0, longest / max(self.size))
        wanted = tuple(max(1, round(side * scale)) for side in self.size)
        level = self.file.get_best_level_for_downsample(1 / scale)
        width, height = self.file.level_dimensions[level]
        if width * height <= MOST_WHOLE // 4:
            whole = self.file.read_region((0, 0), level, (width, height))
            return _on_white(whole).resize(wanted, Image.Resampling.BOX)
        made = Image.new("RGB", wanted)
        rows = max(1, int(STRIP / self.size[0] * scale))
        for row in range(0, wanted[1], rows):
            end = min(row + rows, wanted[1])
            top, bottom = (min(round(edge / scale), self.size[1]) for edge in (row, end))
            strip = self.region(0, top, self.size[0], max(1, bottom - top))
            made.paste(strip.resize((wanted[0], end - row), Image.Resampling.BOX), (0, row))
        return made


class _Scaled:
    def __init__(self, slide: Slide, microns: float) -> None:
        self.slide, self.microns = slide, microns
        self.factor = microns / slide.microns  # pixels of the slide for one of these
        wide, high = (max(1, round(side / self.factor)) for side in slide.size)
        self.size = wide, high

    def region(self, left: int, top: int, width: int, height: int) -> Image.Image:
        edges = (left, top, left + width, top + height)
        most = 2 * self.slide.size
        corners = [min(edge * self.factor, float(limit)) for edge, limit in zip(edges, most, strict=True)]
        return self.reduced((corners[0], corners[1], corners[2], corners[3]), (width, height))

    def reduced(self, edges: tuple[float, float, float, float], size: tuple[int, int]) -> Image.Image:
        return self.slide.reduced(edges, size)

    def overview(self, longest: int) -> Image.Image:
        return self.slide.overview(min(longest, max(self.size)))


def _microns(properties: Mapping[str, str]) -> float:
    """Return the µm a pixel that a slide states for both directions; 0 where it does not."""
    try:
        across, down = (float(properties[f"openslide.mpp-{axis}"]) for axis in "xy")
    except (KeyError, ValueError):
        return 0.0
    square = 0.01 <= across <= 100 and abs(across - down) <= 0.01 * across
    return across if square else 0.0


def _on_white(region: Image.Image) -> Image.Image:
    """Fill areas that the scanner left out with white, like glass."""
    white = Image.new("RGB", region.size, "white")
    white.paste(region, mask=region.getchannel("A"))
    return white
