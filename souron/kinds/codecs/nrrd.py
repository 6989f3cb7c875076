"""NRRD: lines of text that describe a grid, an empty line, and the values, raw or gzipped.

Kindlmann: Definition of NRRD File Format (2005). https://teem.sourceforge.net/nrrd/format.html
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from souron.kinds.codecs import grid, nifti
from souron.kinds.codecs.grid import Grid, Placed
from souron.kinds.codecs.limits import trouble
from souron.utils.messages import _

MOST_HEAD = 100_000  # bytes
MOST_SKIPPED = 100_000  # lines or bytes before the values
MOST_SHOWN = 100  # characters of the units
LAST = -1  # byte skip: the values are the file's last bytes
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "f4": ("float",),
    "f8": ("double",),
}
TOWARDS = {  # signs that turn a space's axes to left, back and head
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
MILLIMETRES = {"": 1.0, "mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "nm": 1e-6}


def is_nrrd(begins: bytes) -> bool:
    """Return whether the first bytes are those of NRRD."""
    return re.match(rb"NRRD000[1-5]\r?\n", begins) is not None


def read(path: Path, raw: bytes, spacing: Sequence[float] | None = None) -> Grid:
    """Read a volume. Raises UserError and ValueError."""
    fields, size, start = _head(path, raw)
    if "data file" in fields or "datafile" in fields:
        raise trouble(path, "not a volume", _("a header without its values"), _("both in one file, .nrrd"))
    [code] = [code for code, names in TYPES.items() if fields["type"].lower() in names]
    order = {"little": "<", "big": ">"}[fields.get("endian", "little").lower()]
    needed = math.prod(size) * int(code[1])
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise trouble(path, "no decoder", _("its encoding is {name}").format(name=encoding), "raw, gzip")
    body = raw[start:]
    for _line in range(_skip(fields, "line skip")):
        body = body[body.find(b"\n") + 1 :] if b"\n" in body else b""
    skip = _skip(fields, "byte skip", least=-1 if encoding == "raw" else 0)
    if encoding != "raw" and body[:2] != b"\x1f\x8b":
        raise ValueError(_("its values are not gzipped"))
    content = body if encoding == "raw" else nifti.unfolded(body, skip + needed)
    skip = max(len(content) - needed, 0) if skip == LAST else skip
    if len(content) < skip + needed:
        raise trouble(path, "truncated", _("the file is cut short"))
    values = np.frombuffer(content, order + code, math.prod(size), skip).reshape(size[::-1])
    affine, notes = _affine(path, fields, spacing)
    return Grid(grid.stored(values), affine, path.name.partition(".")[0], notes)


def look(path: Path, begins: bytes, spacing: Sequence[float] | None = None) -> Placed:
    """Return size and affine from the first ``MOST_HEAD`` bytes. Raises what ``read`` does."""
    fields, size, _start = _head(path, begins)
    return Placed(tuple(size[::-1]), _affine(path, fields, spacing)[0])


def _head(path: Path, raw: bytes) -> tuple[dict[str, str], list[int], int]:
    """Return the fields, the number of columns, rows and slices, and the offset of the values."""
    end = re.search(rb"\r?\n\r?\n", raw[:MOST_HEAD])
    if end is None:
        raise trouble(path, "truncated", _("the file is cut short"))
    fields = _fields(raw[: end.start()])
    size = [int(n) for n in fields["sizes"].split()]
    if int(fields["dimension"]) != len(size):
        raise ValueError(f"dimension: {fields['dimension']}, sizes: {fields['sizes']}")
    grid.check_size(path, size)
    return fields, size, end.end()


def _skip(fields: dict[str, str], name: str, least: int = 0) -> int:
    """Return lines or bytes between the header and the values; bytes are counted decompressed.

    Raises ValueError.
    """
    count = int(fields.get(name, fields.get(name.replace(" ", ""), "0")))
    if not least <= count <= MOST_SKIPPED:
        raise ValueError(f"{name}: {count}")
    return count


def _fields(head: bytes) -> dict[str, str]:
    """Parse lines such as ``type: short``; comments and ``key:=value`` are skipped."""
    lines = head.decode("utf-8", "replace").splitlines()[1:]
    pairs = (line.partition(": ") for line in lines if line[:1] != "#" and ":=" not in line)
    return {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}


def _affine(path: Path, fields: dict[str, str], spacing: Sequence[float] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    if spacing is not None:
        told = _("taken as upright with the spacing that was given; left and right may be swapped")
        return grid.upright(spacing), (told,)
    signs = TOWARDS.get(fields.get("space", "").lower())
    vectors = [_vector(v) for v in re.findall(r"\([^)]*\)", fields.get("space directions", ""))]
    if signs is None or len(vectors) != 3:
        raise grid.no_geometry(path, _("no space with three directions"))
    [origin] = re.findall(r"\([^)]*\)", fields.get("space origin", "(0,0,0)"))
    affine = np.eye(4)
    affine[:3, 2::-1] = np.transpose(vectors)
    affine[:3, 3] = _vector(origin)
    affine[:3] *= np.multiply(signs, _millimetres(path, fields))[:, None]
    return affine, ()


def _millimetres(path: Path, fields: dict[str, str]) -> np.ndarray:
    """Return the millimetres of the unit along each axis of the space, (3,). Raises UserError."""
    text = fields.get("space units", fields.get("spaceunits", ""))
    names = re.findall(r'"([^"]*)"', text) if text else [""] * 3
    if len(names) != 3 or not {*names} <= MILLIMETRES.keys():
        raise grid.no_geometry(path, _("its space units are {units}").format(units=text[:MOST_SHOWN]))
    return np.array([MILLIMETRES[name] for name in names])


def _vector(text: str) -> list[float]:
    x, y, z = (float(number) for number in text.strip("()").split(","))
    return [x, y, z]
