"""A folder of DICOM slices as one volume: sorted by position, checked, never guessed.

    normal = row direction x column direction      place of a slice = normal · its position

DICOM PS3.3, C.7.6.2 (position, orientation, spacing), C.11.1 (values).
https://dicom.nema.org/medical/dicom/current/output/html/part03.html#sect_C.7.6.2

File names and instance numbers do not give the position of a slice. Missing slices, two slices at
one position, uneven steps and a tilted gantry are refused, or resampled onto an even grid if
requested; slices of several sizes or directions are always refused, and so are different images at
one position, which are two phases or reconstructions under one UID. Steps much longer than the
headers' slice spacing or thickness are noted. Each slice has its own rescale slope and intercept.
"""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from souron.kinds.codecs import dicom, grid, limits
from souron.kinds.codecs.grid import Grid, Placed
from souron.utils import units
from souron.utils.messages import UserError, _, sentences

MOST_FILES = 20_000
UNEVEN = 0.02  # tolerance of a step, relative to the median
SAME = 0.01  # mm below which slices are at one position
WIDE = 1.5  # step, in slice spacings or thicknesses, from which slices may be missing
SQUARE = 1e-3  # tolerance of directions from right angles and length 1
ASIDE = 0.25  # pixels of in-plane shift allowed over all slices
MAPS = "1.2.840.10008.5.1.4.1.1.66"  # prefix of SOP classes of segmentations
MOST_NAMED = 5  # positions that a message lists
UNDO = "resample=true"


@dataclass(frozen=True)
class Slice:
    """Geometry of one slice, from its header."""

    path: Path
    size: tuple[int, int]  # rows, columns
    spacing: tuple[float, float]  # mm between rows, and between columns
    directions: tuple[float, ...]  # (6,) of a row and of a column
    position: np.ndarray  # (3,) mm, of the first pixel's centre
    instance: tuple[str, str] = ("", "")  # UIDs of its SOP class and its own
    pitch: float = 0.0  # mm to the next slice by the header, else its thickness; 0: unknown

    @property
    def row(self) -> np.ndarray:
        """Direction of increasing column number."""
        return np.array(self.directions[:3])

    @property
    def column(self) -> np.ndarray:
        return np.array(self.directions[3:])

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.row, self.column)

    @property
    def kind(self) -> tuple[Any, ...]:
        """Properties that all slices of a volume share, rounded as files round them."""
        about = [round(v, 3) + 0.0 for v in (*self.directions, *self.spacing)]
        return (*self.size, *about)


def read(folder: Path, series: str | None = None, resample: bool = False) -> Grid:
    """Read the only series in a folder, or the one with the number or UID ``series``.

    Raises UserError.
    """
    uid, header, slices = ordered(folder, series)
    troubles = _geometry(folder, slices, resample)
    values = _values(slices)
    named = _named(header)
    notes = tuple(_wide(slices))
    if not troubles:
        affine = _affine(slices[0], _step(slices), slices[0].position)
        return Grid(values, affine, named, notes, uid)
    _check_copies(folder, slices, values)
    even, affine = _resampled(slices, values)
    grid.check_size(folder, even.shape)
    note = _("resampled onto an even grid: {why}").format(why=sentences(troubles))
    return Grid(even, affine, named, (note, *notes), uid)


def look(folder: Path, series: str | None = None) -> Placed:
    """Return the geometry of what ``read`` returns, from the headers. Raises UserError."""
    _uid, header, slices = ordered(folder, series)
    _geometry(folder, slices, False)
    size = (len(slices), *slices[0].size)
    affine = _affine(slices[0], _step(slices), slices[0].position)
    return Placed(size, affine, dicom.pseudonym(dicom.text(header, "PatientID", 1000)))


def ordered(folder: Path, series: str | None = None) -> tuple[str, Any, list[Slice]]:
    """Return a series' UID, the header of one of its files, and its slices by position.

    Raises UserError.
    """
    found = _found(folder)
    if not found:
        raise limits.trouble(
            folder, "no files", _("no DICOM slices in this folder"), _("a folder with the files of a series")
        )
    chosen = _chosen(folder, found, series)
    slices = [_slice(path, header) for path, header in found[chosen]]
    _check_alike(folder, slices)
    normal = slices[0].normal
    slices.sort(key=lambda one: float(normal @ one.position))
    grid.check_size(folder, (len(slices), *slices[0].size))
    return chosen, found[chosen][0][1], slices


def _geometry(folder: Path, slices: Sequence[Slice], resample: bool) -> list[str]:
    """Return problems of the slices' positions. Raises UserError unless ``resample``."""
    troubles = list(_troubles(slices))
    if troubles and not resample:
        raise UserError(
            "geometry",
            limits.readable(folder) + ": " + sentences(troubles),
            expected=_("slices at even steps along their normal, one at each position"),
            fix=_("{option} puts them onto an even grid; or copy the series anew").format(option=UNDO),
            exit=3,
        )
    return troubles


Found = dict[str, list[tuple[Path, Any]]]  # UID of a series -> its files and headers


def _found(folder: Path) -> Found:
    found: Found = defaultdict(list)
    for path in _files(folder):
        limits.check_file(path, inside=folder)
        with path.open("rb") as stream:
            begins = stream.read(132)
        if begins[128:] != b"DICM" and path.suffix.lower() not in limits.DICOM:
            continue
        try:
            header = dicom.read(path, pixels=False)
        except UserError as trouble:
            if trouble.code == "no pixels":  # a directory, a report
                continue
            raise
        if dicom.text(header, "SOPClassUID").startswith(MAPS):
            continue
        found[dicom.text(header, "SeriesInstanceUID")].append((path, header))
    return found


def _files(folder: Path) -> list[Path]:
    """Return regular files of a folder and its sub-folders, without hidden ones."""
    files: list[Path] = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        files += [Path(here, name) for name in sorted(names) if name[0] != "."]
        if len(files) > MOST_FILES:
            raise limits.trouble(
                folder,
                "too large",
                _("the folder has too many files"),
                _("at most {count}").format(count=units.whole(MOST_FILES)),
            )
    return files


def _chosen(folder: Path, found: Found, series: str | None) -> str:
    names = sorted(found, key=lambda uid: (_number(found[uid][0][1]), uid))
    if series is None and len(names) == 1:
        return names[0]
    by_number = dict(enumerate(names, 1))
    if series in found:
        return str(series)
    if series and series.isdecimal() and int(series) in by_number:
        return by_number[int(series)]
    listed = "; ".join(
        f"{number}: {_named(found[uid][0][1])}, {units.whole(len(found[uid]))} " + _("slices") + f", {uid}"
        for number, uid in list(by_number.items())[:20]
    )
    raise UserError(
        "series",
        _("{path}: {count} series: {listed}").format(path=limits.readable(folder), count=len(names), listed=listed),
        expected=_("one of them: its number here, or its UID"),
        fix="series=1",
        exit=3,
    )


def _number(header: Any) -> int:
    text = dicom.text(header, "SeriesNumber")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _named(header: Any) -> str:
    """Return a name without the patient: ``CT 3``."""
    return f"{dicom.text(header, 'Modality', 16)} {_number(header)}"


def _slice(path: Path, header: Any) -> Slice:
    with dicom.translated(path):
        if dicom.whole_number(header, "NumberOfFrames", 1) > 1:
            raise limits.trouble(path, "not a volume", _("a file of many frames"), _("one file for each slice"))
        numbers: dict[str, list[float]] = {}
        for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
            given = header.get(keyword)
            found = [] if given in (None, "") else [float(v) for v in given]
            if len(found) != count or not all(map(math.isfinite, found)):
                raise limits.trouble(
                    path,
                    "no geometry",
                    _("{keyword} is missing").format(keyword=keyword),
                    _("where the slice lies, in millimetres"),
                )
            numbers[keyword] = found
        size = dicom.whole_number(header, "Rows"), dicom.whole_number(header, "Columns")
    between, beside = numbers["PixelSpacing"]
    uids = dicom.text(header, "SOPClassUID"), dicom.text(header, "SOPInstanceUID")
    made = Slice(
        path,
        size,
        (between, beside),
        tuple(numbers["ImageOrientationPatient"]),
        np.array(numbers["ImagePositionPatient"]),
        uids,
        _pitch(header),
    )
    axes = np.stack([made.row, made.column])
    if not np.allclose(axes @ axes.T, np.eye(2), atol=SQUARE) or min(between, beside) <= 0:
        raise limits.trouble(
            path,
            "no geometry",
            _("its directions or its spacing make no sense"),
            _("directions at right angles, a spacing above 0"),
        )
    return made


def _pitch(header: Any) -> float:
    """Return millimetres to the next slice by the header, else a slice's thickness; 0 if unknown.

    Spacings of some devices are negative.
    """
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        try:
            length = abs(float(header.get(keyword) or 0))
        except (TypeError, ValueError):
            continue
        if length > 0 and math.isfinite(length):
            return length
    return 0.0


def _check_alike(folder: Path, slices: Sequence[Slice]) -> None:
    if len(slices) == 1:
        raise limits.trouble(folder, "geometry", _("one slice only"), _("two slices or more"))
    kinds = Counter(one.kind for one in slices)
    if len(kinds) == 1:
        return
    listed = "; ".join(
        _("{count} of {rows} x {columns} pixels of {between:g} x {beside:g} mm, direction {direction}").format(
            count=count,
            rows=kind[0],
            columns=kind[1],
            between=kind[8],
            beside=kind[9],
            direction=", ".join(f"{v:g}" for v in kind[2:8]),
        )
        for kind, count in kinds.most_common(MOST_NAMED)
    )
    raise limits.trouble(
        folder,
        "geometry",
        _("slices of several kinds: {listed}").format(listed=listed),
        _("one size and one direction; put the others elsewhere"),
    )


def _places(slices: Sequence[Slice]) -> np.ndarray:
    """Return positions along the normal in mm, (slices,)."""
    return np.array([slices[0].normal @ one.position for one in slices])


def _step(slices: Sequence[Slice]) -> float:
    """Return the median step: half of the steps are no larger."""
    steps = np.diff(_places(slices))
    steps = steps[steps > SAME]
    return float(np.median(steps)) if len(steps) else 1.0


def _aside(slices: Sequence[Slice]) -> np.ndarray:
    """Return the in-plane shift of each slice from the first in rows and columns, (slices, 2)."""
    first = slices[0]
    moved = np.array([one.position - first.position for one in slices])
    return np.stack([moved @ first.column, moved @ first.row], 1) / first.spacing


def _troubles(slices: Sequence[Slice]) -> Iterator[str]:
    places, step = _places(slices), _step(slices)
    doubled, gaps, uneven, missing = [], [], [], 0
    for before, after in pairwise(places):
        steps = (after - before) / step
        if after - before <= SAME:
            doubled.append(f"{before:.2f}")
        elif abs(steps - 1) > UNEVEN:
            whole = round(steps)
            span = f"{before:.2f}..{after:.2f}"
            if whole > 1 and abs(steps - whole) <= UNEVEN * whole:
                missing += whole - 1
                gaps.append(span)
            else:
                uneven.append(span)
    if gaps:
        yield _("Missing slices: {count}, at {places} mm.").format(count=missing, places=_listed(gaps))
    if doubled:
        yield _("Slices where another one lies: {count}, at {places} mm.").format(
            count=len(doubled), places=_listed(doubled)
        )
    if uneven:
        yield _("Steps other than {step:.3g} mm: {count}, at {places} mm.").format(
            count=len(uneven), step=step, places=_listed(uneven)
        )
    aside = _aside(slices)
    if np.abs(aside).max() > ASIDE:
        reach = np.linalg.norm((aside * slices[0].spacing)[-1])
        angle = math.degrees(math.atan2(float(reach), float(np.ptp(places))))
        yield _(
            "The slices move sideways, by {reach:.1f} mm over {length:.1f} mm: the gantry was "
            "tilted by {angle:.1f} degrees, or the table moved."
        ).format(reach=reach, length=np.ptp(places), angle=angle)


def _wide(slices: Sequence[Slice]) -> Iterator[str]:
    """Warn where slices are missing at regular distances, which even steps hide."""
    step, pitch = _step(slices), float(np.median([one.pitch for one in slices]))
    if pitch and step >= WIDE * pitch:
        yield _(
            "The slices are {pitch:.3g} mm apart or thick by their headers, but lie {step:.3g} mm "
            "apart: slices may be missing, and volumes are measured across the gaps."
        ).format(pitch=pitch, step=step)


def _check_copies(folder: Path, slices: Sequence[Slice], values: np.ndarray) -> None:
    """Refuse different images at one position: no grid holds both. Raises UserError."""
    places = _places(slices)
    different = [
        f"{places[k]:.2f}"
        for k in range(len(slices) - 1)
        if places[k + 1] - places[k] <= SAME and not np.array_equal(values[k], values[k + 1])
    ]
    if different:
        raise UserError(
            "geometry",
            _("{path}: different images at one position: {count}, at {places} mm").format(
                path=limits.readable(folder), count=len(different), places=_listed(different)
            ),
            expected=_("one phase and one reconstruction in a series"),
            fix=_("copy each phase or reconstruction into a folder of its own"),
            exit=3,
        )


def _listed(places: Sequence[str]) -> str:
    return ", ".join(places[:MOST_NAMED]) + (", ..." if len(places) > MOST_NAMED else "")


def _values(slices: Sequence[Slice]) -> np.ndarray:
    made = np.empty((len(slices), *slices[0].size), np.float32)
    whole = True
    for number, one in enumerate(slices):
        found = dicom.File(one.path).values()
        if found.shape != one.size:
            raise limits.trouble(one.path, "not a volume", _("a slice in colours"), _("grey values"))
        made[number] = found
        whole = whole and np.array_equal(made[number], np.round(found))
    return grid.stored(made) if whole else made


def _affine(one: Slice, step: float, origin: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    between, beside = one.spacing
    affine[:3] = np.stack([one.normal * step, one.column * between, one.row * beside, origin], axis=1)
    return affine


def _resampled(slices: Sequence[Slice], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Resample onto an even grid without shear: linear in between, the least value outside."""
    first, step = slices[0], _step(slices)
    aside = _aside(slices)
    least = np.floor(aside.min(0))
    rows, columns = (np.ceil(aside.max(0)) - least).astype(int) + first.size
    outside = float(values.min())
    places = _places(slices) - first.normal @ first.position
    count = round(float(places[-1]) / step) + 1
    if count > grid.MOST_SLICES or count * rows * columns > grid.MOST_VOXELS:
        raise limits.trouble(
            first.path.parent,
            "too large",
            _("the volume has {size} voxels").format(size=f"{count} x {rows} x {columns}"),
            _("at most {count} million voxels").format(count=grid.MOST_VOXELS // 1_000_000),
        )
    upright = np.full((len(slices), rows, columns), outside, np.float32)
    for number, (one, moved) in enumerate(zip(values, aside - least, strict=True)):
        upright[number, : one.shape[0], : one.shape[1]] = one
        if np.abs(moved).max() > 0:
            upright[number] = scipy.ndimage.shift(upright[number], moved, order=1, mode="constant", cval=outside)
    unique, where, times = np.unique(np.round(places / SAME), return_inverse=True, return_counts=True)
    if len(unique) < len(places):  # copies at one position: their mean
        sums = np.zeros((len(unique), rows, columns), np.float32)
        np.add.at(sums, where, upright)
        upright = sums / times[:, None, None].astype(np.float32)
        places = np.array([places[where == n].mean() for n in range(len(unique))])
    made = np.empty((count, rows, columns), np.float32)
    for number, place in enumerate(np.arange(count) * step):
        after = int(np.clip(np.searchsorted(places, place), 1, len(places) - 1))
        share = np.clip((place - places[after - 1]) / (places[after] - places[after - 1]), 0, 1)
        made[number] = (1 - share) * upright[after - 1] + share * upright[after]
    down, right = least * first.spacing
    origin = first.position + first.column * down + first.row * right
    return made, _affine(first, step, origin)
