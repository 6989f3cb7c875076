"""DICOM: pixel values as the standard defines them, and case data from the header.

    stored bits -> values (rescaled, or looked up) -> window -> 0..255

DICOM PS3.3, C.7.6.3 (pixels), C.11.1 (modality LUT), C.11.2 (window).
https://dicom.nema.org/medical/dicom/current/output/html/part03.html

pydicom reads the file and calls a decoder for compressed pixels, one for each kind of compression;
those in C and C++ run in a separate process, see ``dicom_worker``. Files are untrusted: their
sizes, frames, sequences and decompressed sizes are bounded. Errors are raised as ``UserError`` with
the codes that ``codecs.image`` lists.
"""

import io
import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from souron.kinds.codecs import dicom_worker
from souron.kinds.codecs.limits import MOST_BYTES, MOST_PIXELS, Look, check_pixels, quiet, trouble
from souron.utils.messages import UserError, _
from souron.utils.spelling import one_spelling

MOST_FRAMES = 10_000
MOST_TOTAL = 20 * MOST_PIXELS  # pixels of all frames
MOST_ITEMS = 100_000  # items of sequences and fragments; each becomes an object in memory
MOST_ELEMENTS = 20_000  # elements outside of sequences
MOST_VALUE = 1e12  # largest rescaled pixel; activities in Bq/ml reach 1e9
MOST_RUNS = 256_000_000  # decompressed bytes of run lengths from which on they are counted first
ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # an item's tag, little and big endian
DEFLATED = "1.2.840.10008.1.2.1.99"
RUNS = "1.2.840.10008.1.2.5"
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # tags of float, double and integer pixels
BETWEEN = re.compile(r"[\s^]+")  # separators within a PatientID
PSEUDONYM = re.compile(r"souron-[0-9a-f]{12}")
COLUMNS = ("sex", "device", "date", "modality")

# One decoder each, all with permissive licences; a second one would see what the first refuses.
DECODERS = {
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51": "pillow",  # JPEG Extended: of 8 bits only
    "1.2.840.10008.1.2.4.57": "gdcm",  # JPEG Lossless
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.4.80": "gdcm",  # JPEG-LS
    "1.2.840.10008.1.2.4.81": "gdcm",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",  # High-Throughput JPEG 2000
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
    RUNS: "pydicom",
}
APART = ("gdcm", "pylibjpeg")  # decoders that a damaged file can crash or hang
MODULES = (
    "BitsStored",
    "PixelRepresentation",
    "PhotometricInterpretation",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
)


class Window(NamedTuple):
    """Display window: the values from black to white, ``center`` ± half of ``width``.

    In rescaled units (Hounsfield units for CT). An infinite width stands for the whole range of the
    stored bits.
    """

    center: float
    width: float

    @staticmethod
    def parse(text: str | None) -> "Window | None":
        """Parse ``"40,400"`` or ``"full"``; None means the file's own. Raises UserError."""
        if text is None:
            return None
        if text.strip().lower() == "full":
            return Window(0.0, math.inf)
        try:
            center, width = (float(part) for part in text.split(","))
        except ValueError:
            center = width = math.nan
        if not (math.isfinite(center) and math.isfinite(width) and width >= 1):
            raise UserError(
                "window",
                _("{text!r} is no window").format(text=text),
                expected=_("CENTER,WIDTH with a width of 1 or more, or full"),
                fix="window=40,400",
            )
        return Window(center, width)


class Known(NamedTuple):
    """Case data from a header, without the patient's identity."""

    group: str = ""  # pseudonym of the PatientID
    columns: tuple[str, ...] = ("",) * len(COLUMNS)  # values for ``COLUMNS``


class File:
    """An opened DICOM file, read lazily. Every method raises UserError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def dataset(self) -> Any:
        """pydicom's dataset, with pixels."""
        return read(self.path)

    def look(self) -> Look:
        """Return size and format, from the header alone if the file was not read yet."""
        whole = "dataset" in self.__dict__
        dataset = self.dataset if whole else read(self.path, pixels=False)
        with translated(self.path):
            height, width = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
            frames = whole_number(dataset, "NumberOfFrames", 1)
            grey = whole_number(dataset, "SamplesPerPixel", 1) == 1
            grey = grey and str(dataset.PhotometricInterpretation) != "PALETTE COLOR"
            deep = grey and whole_number(dataset, "BitsStored", 32) > 8
            millimetres = spacing(dataset)
        check_pixels(self.path, width, height)
        if frames > MOST_FRAMES or frames * width * height > MOST_TOTAL:
            raise trouble(
                self.path,
                "too large",
                _("the file has {count} frames").format(count=frames),
                _("at most {count}, and {pixels} million pixels in all").format(
                    count=MOST_FRAMES, pixels=MOST_TOTAL // 1_000_000
                ),
            )
        return Look((width, height), grey, deep, frames, millimetres)

    def known(self) -> Known:
        """Return the pseudonym and the columns of the case."""
        dataset = self.dataset
        date = text(dataset, "StudyDate")
        found = {
            "sex": text(dataset, "PatientSex").upper(),
            "device": f"{text(dataset, 'Manufacturer')} {text(dataset, 'ManufacturerModelName')}",
            "date": date if re.fullmatch(r"(?!0001)\d{8}", date) else "",
            "modality": text(dataset, "Modality"),
        }
        found["sex"] = found["sex"] if found["sex"] in ("M", "F", "O") else ""
        group = pseudonym(text(dataset, "PatientID", 1000))
        return Known(group, tuple(found[name].strip() for name in COLUMNS))

    def values(self, number: int = 0) -> np.ndarray:
        """Return frame ``number``, from 0, before any window.

        Grey (H, W) in rescaled units, or RGB (H, W, 3) in stored units.
        """
        self.look()
        with translated(self.path):
            return values(self.dataset, number, self.path)

    def frame(self, number: int = 0, window: str | None = None) -> Image.Image:
        """Return frame ``number``, from 0, as ``image.read`` returns images.

        Mode ``"F"`` where grey and finer than bytes, else ``"L"`` or ``"RGB"``. ``window``: see
        ``Window``.
        """
        chosen = Window.parse(window)
        found = self.values(number)
        with translated(self.path):
            if found.ndim == 3:
                return Image.fromarray(colours(found, self.dataset))
            shown = brightness(found, view(self.dataset, number), chosen, self.path)
            whole = shown.round()
            if self.dataset.get("BitsStored", 32) <= 8 and np.allclose(shown, whole, atol=1e-4):
                return Image.fromarray(whole.astype(np.uint8))
            return Image.fromarray(shown.astype(np.float32))


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Convert whatever pydicom or a decoder raises to UserError; untrusted files raise anything.

    Warnings, which name paths and lines of libraries, are ignored.
    """
    try:
        with quiet:
            yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        why = lines[-1 if lines[0].endswith(":") else 0].strip()
        short = re.search(r"less than|truncated|end of file|EOF", why) is not None
        raise trouble(
            path,
            "truncated" if short else "unreadable",
            _("the DICOM file cannot be decoded: {why}").format(why=why[:300]),
        ) from error


def read(path: Path, pixels: bool = True, items: int = MOST_ITEMS) -> Any:
    """Read pydicom's dataset, within limits.

    ``pixels``: also read what follows the header; ``items``: limit on sequence items. Raises
    UserError, also where there are no pixels.
    """
    from pydicom import filereader

    data = path.read_bytes()
    count, found = 0, False
    dataset: Any = {}

    def stop(tag: int, _kind: str | None, _length: int) -> bool:
        nonlocal count, found
        count += 1
        if count > MOST_ELEMENTS:
            raise trouble(path, "too large", _("the DICOM header has too many elements"))
        found = found or tag in PIXELS
        return tag > PIXELS[-1] or (found and not pixels)

    named = data[128:132] == b"DICM"
    try:
        with translated(path):
            check_items(path, data, items)
            check_deflated(path, data, 132 if named else 0)
            dataset = filereader.read_partial(io.BytesIO(data), stop, force=not named)
    except UserError as error:
        if named or found or error.code == "too large":
            raise
    if not (named or found or "Rows" in dataset):
        raise trouble(path, "not an image", _("not a DICOM file, whatever its name says"), "DICM")
    if not found:
        raise trouble(path, "no pixels", _("a DICOM file without an image"))
    if pixels and not any(tag in dataset for tag in PIXELS):
        raise trouble(path, "truncated", _("the file is cut short"))
    return dataset


def check_items(path: Path, data: bytes, most: int = MOST_ITEMS) -> None:
    """Refuse files of millions of empty items, each of which would become an object."""
    if sum(data.count(item) for item in ITEMS) > most:
        raise trouble(path, "too large", _("the DICOM file has too many items"))


def check_deflated(path: Path, data: bytes, start: int) -> None:
    """Refuse a deflated file that would grow beyond ``MOST_BYTES``, using little memory."""
    from pydicom.filereader import read_dataset

    if DEFLATED.encode() not in data:
        return
    stream = io.BytesIO(data)
    stream.seek(start)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _kind, _length: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != DEFLATED:
        return
    inflating, rest, size = zlib.decompressobj(-zlib.MAX_WBITS), data[stream.tell() :], 0
    while rest and not inflating.eof:
        some = inflating.decompress(rest, 1 << 20)
        check_items(path, some)
        rest, size = inflating.unconsumed_tail, size + len(some)
        if size > MOST_BYTES:
            raise trouble(
                path, "too large", _("the file unfolds to over {count} MB").format(count=MOST_BYTES // 1_000_000)
            )


def whole_number(dataset: Any, keyword: str, default: int | None = None) -> int:
    """Return a positive integer of the header. Raises ValueError."""
    value = dataset.get(keyword)
    if value in (None, ""):
        value = default
    if value is None or not 1 <= int(value) < 2**32:
        raise ValueError(_("{keyword} is {value}").format(keyword=keyword, value=value))
    return int(value)


def text(dataset: Any, keyword: str, most: int = 64) -> str:
    """Return a value of the header as text; "" where it is missing or unreadable."""
    try:
        with quiet:  # values are converted when they are asked for
            value = dataset.get(keyword)
        found = "" if value is None else str(value)
    except Exception:  # a damaged value counts as missing
        return ""
    return "".join(letter for letter in found if letter.isprintable()).strip()[:most]


def pseudonym(identity: str, secret: bytes = b"") -> str:
    """Return a pseudonym, equal for all spellings of a PatientID.

    Without a ``secret`` (64 bytes at most), anyone who guesses an identity can check the guess. A
    pseudonym stays as it is.

    Blanks and empty components are left out, as DICOM pads with them.

    >>> pseudonym("P001") == pseudonym(" p 1^ ")
    True
    """
    if PSEUDONYM.fullmatch(identity):
        return identity
    identity = one_spelling(BETWEEN.sub("", identity))
    if not identity:
        return ""
    return f"souron-{blake2b(identity.encode(), digest_size=6, key=secret).hexdigest()}"


def spacing(dataset: Any) -> float:
    """Return millimetres per pixel of a dataset.

    PixelSpacing, else ImagerPixelSpacing, which is measured at the detector and so larger than in
    the patient by the magnification. 0 where both are missing, or rows and columns differ by more
    than 1 %.
    """
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        try:
            down, across = (float(value) for value in dataset.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if 0.001 <= down <= 10 and abs(down - across) <= 0.01 * down:
            return down
    return 0.0


def syntax(dataset: Any) -> str:
    """Return the transfer syntax; where the file names none, the matching uncompressed one."""
    from pydicom import uid

    named = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if named:
        return str(named)
    implicit, little = dataset.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def stored(dataset: Any, number: int, path: Path) -> np.ndarray:
    """Decode the pixels of a frame: (H, W), or (H, W, 3) in RGB. Raises UserError and others."""
    from pydicom.pixels import get_decoder

    how = syntax(dataset)
    try:
        decoder = get_decoder(how)
    except NotImplementedError:
        decoder = None
    plugin = DECODERS.get(how, "")
    if decoder is None or (plugin and plugin not in decoder.available_plugins):
        raise trouble(path, "no decoder", _("nothing here decodes its compression, {name}").format(name=how))
    if whole_number(dataset, "BitsAllocated") > 1:
        high, bits = dataset.get("HighBit"), dataset.get("BitsStored")
        if high not in (None, "") and bits and high != bits - 1:
            raise ValueError(f"HighBit = {high}, BitsStored = {bits}")
    if plugin:
        coded = check_coded(dataset, number, how, path)
    if plugin in APART:
        array, kind = dicom_worker.decode(how, plugin, coded, options(dataset))
        return checked(array, kind)
    if "TransferSyntaxUID" not in getattr(dataset, "file_meta", {}):
        dataset.ensure_file_meta()
        dataset.file_meta.TransferSyntaxUID = how
    array, about = decoder.as_array(dataset, index=number, decoding_plugin=plugin)
    return checked(array, str(about["photometric_interpretation"]))


def options(dataset: Any) -> dict[str, Any]:
    """Return a decoder's options for one frame, as plain numbers and text."""
    from pydicom.pixels import as_pixel_options

    found = as_pixel_options(dataset, number_of_frames=1, pixel_keyword="PixelData")
    found.pop("extended_offsets", None)
    return {name: value if isinstance(value, int) else str(value) for name, value in found.items() if value is not None}


def checked(array: np.ndarray, kind: str) -> np.ndarray:
    """Return the array. Raises ValueError for colours that are not RGB."""
    if array.ndim == 3 and kind not in ("RGB", "YBR_ICT", "YBR_RCT"):  # JPEG 2000's become RGB
        raise ValueError(kind)
    return array


def check_coded(dataset: Any, number: int, how: str, path: Path) -> bytes:
    """Return a compressed frame.

    Refuses one whose own header gives another size, or which decompresses to more.
    """
    from pydicom.encaps import get_frame

    frames = whole_number(dataset, "NumberOfFrames", 1)
    width, height = whole_number(dataset, "Columns"), whole_number(dataset, "Rows")
    table = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        table = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    coded = get_frame(dataset.PixelData, number, extended_offsets=table, number_of_frames=frames)
    if how == RUNS:
        most = width * height * dataset.BitsAllocated // 8 * dataset.SamplesPerPixel
        if 64 * len(coded) > MOST_RUNS and run_length(coded[64:], 2 * most) > 2 * most:
            raise trouble(path, "too large", _("the file unfolds to more than its image"))
        return coded
    size = coded_size(coded)
    if size != (width, height):
        found = " x ".join(map(str, size)) if size else "?"
        raise ValueError(f"{found} pixels are coded, {width} x {height} are expected")
    return coded


def coded_size(coded: bytes) -> tuple[int, int] | None:
    """Return width and height from the header of a JPEG, JPEG-LS or JPEG 2000 code stream.

    ITU-T T.81 (1992), B.2.2, https://www.w3.org/Graphics/JPEG/itu-t81.pdf; T.800, A.5.1.
    """
    place = coded.find(b"\xff\x4f\xff\x51", 0, 4096)
    if place >= 0:
        right, bottom, left, top = struct.unpack_from(">4I", coded, place + 8)
        return right - left, bottom - top
    place = 2
    while place + 9 <= len(coded) and coded[place] == 0xFF:
        marker, length = coded[place + 1], int.from_bytes(coded[place + 2 : place + 4])
        if marker == 0xFF:  # fill byte
            place += 1
        elif (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            height, width = struct.unpack_from(">2H", coded, place + 5)
            return width, height
        else:
            place += 2 + length
    return None


def run_length(coded: bytes, most: int) -> int:
    """Return the decompressed size of PackBits (PS3.5, G.3.1), counted up to ``most``."""
    size = place = 0
    while place < len(coded) and size <= most:
        head = coded[place]
        size += 257 - head if head > 128 else head + 1 if head < 128 else 0
        place += 2 if head > 128 else head + 2 if head < 128 else 1
    return size


def values(dataset: Any, number: int, path: Path) -> np.ndarray:
    """Return a frame before any window, see ``File.values``."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut

    kind, samples = str(dataset.PhotometricInterpretation), dataset.get("SamplesPerPixel", 1)
    array = stored(dataset, number, path)
    if kind in ("MONOCHROME1", "MONOCHROME2") and samples == 1:
        return bounded(apply_modality_lut(array, view(dataset, number)))
    if kind == "PALETTE COLOR" and samples == 1:
        if "SegmentedRedPaletteColorLookupTableData" in dataset:
            raise ValueError(_("its palette is segmented"))  # a few bytes decompress to gigabytes
        return apply_color_lut(array, dataset)[..., :3]
    if samples == 3 and (kind == "RGB" or kind.startswith("YBR_")):
        return array
    raise ValueError(f"{kind}, {samples}")


def bounded(found: np.ndarray) -> np.ndarray:
    """Return the values unless no device measures them, such as with a slope of 1e30.

    Raises ValueError.
    """
    if found.size and not np.abs((found.min(), found.max())).max() <= MOST_VALUE:
        raise ValueError(
            _("values of {low:.3g} to {high:.3g} after its rescale slope and intercept").format(
                low=found.min(), high=found.max()
            )
        )
    return found


def view(dataset: Any, number: int) -> Any:
    """Return a dataset of the attributes that convert a frame's stored bits to brightness.

    Also where an enhanced file keeps them frame by frame (PS3.3, C.7.6.16).
    """
    from pydicom.dataset import Dataset

    found = Dataset()
    found.file_meta = dataset.file_meta

    def take(source: Any) -> None:
        for keyword in MODULES:
            if keyword in source:
                found.add(source[keyword])

    take(dataset)
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for group in [*shared[:1], *own[number : number + 1]]:
        for keyword in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in (group.get(keyword) or [])[:1]:
                take(item)
    return found


def limits(about: Any) -> tuple[float, float]:
    """Return the least and the largest value of the stored bits; ``about`` is from ``view``."""
    if about.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** about.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    bits = whole_number(about, "BitsStored")
    low, high = 0.0, 2.0**bits - 1
    if about.get("PixelRepresentation"):
        low, high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    if "RescaleSlope" in about and "RescaleIntercept" in about:
        slope, shift = float(about.RescaleSlope), float(about.RescaleIntercept)
        low, high = sorted((slope * low + shift, slope * high + shift))
    return low, high


def brightness(found: np.ndarray, about: Any, window: Window | None, path: Path) -> np.ndarray:
    """Return values (H, W) in 0..255, float64, 0 black.

    By ``window``; else by the file's first window or, without one, its first VOI LUT; else by the
    range of the stored bits. ``about`` is from ``view``.
    """
    how = "LINEAR"
    if window is None and about.get("WindowCenter") is not None and "WindowWidth" in about:
        window = Window(first(about.WindowCenter), first(about.WindowWidth))
        how = str(about.get("VOILUTFunction") or how).upper()
    if window is not None and math.isfinite(window.width):
        shown = windowed(found, window, how, path)
    elif window is None and about.get("VOILUTSequence"):
        from pydicom.pixels import apply_voi

        bits = about.VOILUTSequence[0].LUTDescriptor[2]
        shown = apply_voi(found.round().astype(np.int64), about) / (2.0**bits - 1)
    else:
        fractions = found.dtype.kind == "f" and "RescaleSlope" not in about
        if fractions or about.get("BitsStored") is None:
            raise trouble(
                path,
                "no scale",
                _("its values are fractions, and nothing says what black and white are"),
                "window=CENTER,WIDTH",
            )
        low, high = limits(about)
        shown = (found - low) / (high - low)
    shown = shown.clip(0, 1) * 255
    return 255 - shown if about.PhotometricInterpretation == "MONOCHROME1" else shown


def first(value: Any) -> float:
    """Return the first value of an attribute with one or several."""
    return float(value if isinstance(value, (int, float, str)) else value[0])


def windowed(found: np.ndarray, window: Window, how: str, path: Path) -> np.ndarray:
    """Apply a window function, 0..1: LINEAR, LINEAR_EXACT or SIGMOID (PS3.3, C.11.2.1.2-3)."""
    center, width = window
    functions: dict[str, Callable[[], np.ndarray]] = {
        "LINEAR": lambda: (
            (found - (center - 0.5)) / (width - 1) + 0.5 if width > 1 else (found > center - 0.5).astype(np.float64)
        ),
        "LINEAR_EXACT": lambda: (found - center) / width + 0.5,
        "SIGMOID": lambda: 1 / (1 + np.exp(-4 * (found - center) / width)),
    }
    least = 1 if how == "LINEAR" else 0
    good = width >= least and width > 0 and math.isfinite(center) and math.isfinite(width)
    if how not in functions or not good:
        raise trouble(
            path,
            "window",
            _("the window in the file makes no sense: {center:g}, {width:g}, {how}").format(
                center=center, width=width, how=how
            ),
            "window=CENTER,WIDTH, window=full",
        )
    with np.errstate(over="ignore"):
        return functions[how]()


def colours(found: np.ndarray, dataset: Any) -> np.ndarray:
    """Convert stored units of any depth to (H, W, 3) uint8."""
    if found.dtype == np.uint8 and dataset.get("BitsStored") == 8:
        return found
    if str(dataset.PhotometricInterpretation) == "PALETTE COLOR":
        bits = dataset.RedPaletteColorLookupTableDescriptor[2]
        bits = bits if found.max() < 2**bits else 8 * found.dtype.itemsize
    else:
        bits = whole_number(dataset, "BitsStored")
    return (found * (255 / (2.0**bits - 1))).round().clip(0, 255).astype(np.uint8)
