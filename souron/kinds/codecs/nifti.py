"""NIfTI-1 and NIfTI-2: a volume and its affine in one file, gzipped or not.

Cox, Ashburner, Breman and others: A (sort of) new image data format standard: NIfTI-1 (2004).
https://nifti.nimh.nih.gov/nifti-1

nibabel reads the header; its matrix runs towards right, front and head, the volume's towards left,
back and head, as DICOM's does. A file whose codes declare no matrix is refused, not guessed.
"""

import io
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from souron.kinds.codecs import grid
from souron.kinds.codecs.grid import Grid, Placed
from souron.kinds.codecs.limits import trouble
from souron.utils.messages import _

HEAD = 540  # bytes of a NIfTI-2 header; NIfTI-1 has 348
MOST_BEFORE = 16_000_000  # bytes before the values
MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # right, front, head <-> left, back, head


def is_nifti(begins: bytes) -> bool:
    """Return whether the first bytes, decompressed, are those of NIfTI."""
    return begins[344:347] in (b"n+1", b"ni1") or begins[4:7] in (b"n+2", b"ni2")


def unfolded(raw: bytes, most: int) -> bytes:
    """Return the first ``most`` bytes, decompressed where they are gzipped."""
    if raw[:2] != b"\x1f\x8b":
        return raw[:most]
    parts, room = [], most
    while raw[:2] == b"\x1f\x8b" and room > 0:  # gzip files may be concatenated
        stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        parts.append(stream.decompress(raw, room))
        room -= len(parts[-1])
        raw = stream.unused_data
    return b"".join(parts)


def read(path: Path, raw: bytes, spacing: Sequence[float] | None = None) -> Grid:
    """Read a volume. Raises UserError, ValueError and what nibabel raises."""
    header = _header(path, unfolded(raw, HEAD))
    size = _size(path, header)
    kind = header.get_data_dtype()
    if kind.fields or kind.kind not in "iuf" or kind.itemsize > 8:
        raise trouble(path, "not a volume", _("colours or complex numbers"), _("grey values"))
    start = int(header["vox_offset"])
    if not 0 <= start <= MOST_BEFORE:
        raise ValueError(f"vox_offset = {start}")
    needed = start + math.prod(size) * kind.itemsize
    content = unfolded(raw, needed)
    if len(content) < needed:
        raise trouble(path, "truncated", _("the file is cut short"))
    values = np.frombuffer(content, kind, math.prod(size), start).reshape(size, order="F")
    slope, shift = float(header["scl_slope"]), float(header["scl_inter"])
    if math.isfinite(slope) and slope and (slope, shift) != (1.0, 0.0):
        values = values * slope + (shift if math.isfinite(shift) else 0.0)
    affine, notes = _affine(path, header, spacing)
    return Grid(np.ascontiguousarray(grid.stored(values).T), affine, path.name.partition(".")[0], notes)


def look(path: Path, begins: bytes, spacing: Sequence[float] | None = None) -> Placed:
    """Return size and affine from the first bytes, decompressed. Raises what ``read`` does."""
    header = _header(path, begins)
    size = _size(path, header)
    return Placed(tuple(size[::-1]), _affine(path, header, spacing)[0])


def _size(path: Path, header: Any) -> list[int]:
    """Return the number of columns, rows, slices."""
    size = [int(n) for n in header["dim"][1 : 1 + min(max(int(header["dim"][0]), 0), 7)]]
    while len(size) > 3 and size[-1] == 1:
        size.pop()
    grid.check_size(path, size)
    return size


def _header(path: Path, begins: bytes) -> Any:
    import nibabel

    if begins[344:347] == b"ni1" or begins[4:7] == b"ni2":
        raise trouble(path, "not a volume", _("a header without its values"), _("both in one file, .nii"))
    second = begins[4:7] == b"n+2"
    form: Any = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    length = form.sizeof_hdr
    if len(begins) < length:
        raise trouble(path, "truncated", _("the file is cut short"))
    return form(begins[:length], check=False)


def _affine(path: Path, header: Any, spacing: Sequence[float] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    if spacing is not None:
        told = _("taken as upright with the spacing that was given; left and right may be swapped")
        return grid.upright(spacing), (told,)
    if header["sform_code"] > 0:
        matrix = header.get_sform()
    elif header["qform_code"] > 0:
        matrix = header.get_qform()
    else:
        raise grid.no_geometry(path, _("neither a qform nor an sform"))
    unit = MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    affine = FLIP @ np.asarray(matrix, np.float64)
    affine[:3] *= unit
    return affine[:, [2, 1, 0, 3]], ()


def written(values: np.ndarray, affine: np.ndarray, folded: bool) -> bytes:
    """Encode a NIfTI-1 file with both matrices, gzipped where ``folded``."""
    import nibabel

    matrix = FLIP @ affine[:, [2, 1, 0, 3]]
    image: Any = nibabel.Nifti1Image(values.T, matrix)
    image.set_qform(matrix, 1)
    image.set_sform(matrix, 1)
    image.header.set_xyzt_units("mm")
    raw = image.to_bytes()
    if not folded:
        return raw
    import gzip

    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=4, mtime=0) as out:
        out.write(raw)
    return stream.getvalue()
