"""A folder of volumes with labels: a class number for every voxel.

    images/1.nii.gz  labels/1.nii.gz       or imagesTr, labelsTr, dataset.json, as in nnU-Net
    p1/volume.nii.gz  p1/labels.nii.gz     NIfTI, NRRD, or a series of DICOM slices
    p1/ct/*.dcm  p1/seg.dcm                and a DICOM segmentation
    classes.txt                            one name per line, of class 0, 1, ...; optional

0 is the background. Names are read from ``classes.txt`` or ``dataset.json``, or from the
segmentations. Labels are reordered to the axes of their volume if that needs no interpolation; any
other difference in geometry is a fault. Then the patient is brought into standard orientation, and
all cases are resampled to one spacing and padded to one size with their lowest value.

Every fault is reported: what could not be used is listed in ``Dataset.skipped``.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.nn import functional as F

from souron.data.dataset import Dataset, Skipped
from souron.data.formats.folder import missing
from souron.data.formats.masks import listed
from souron.data.patients import groups
from souron.data.readers import resampling, volume_pairs
from souron.data.readers.box_annotations import many
from souron.data.readers.settings import Reading
from souron.data.readers.volume_pairs import SUFFIXES, Pair
from souron.kinds import files
from souron.kinds.codecs import axes, grid, limits, segmentation
from souron.kinds.codecs.limits import printable, readable
from souron.kinds.volume import Volume
from souron.utils.messages import UserError, _

says_why = True  # report why a folder cannot be read if no other format claims it
DEFAULT = Reading()
DATASET = "dataset.json"
BACKGROUND = "background"
MOST_VOXELS = 400_000  # of a case, the default
MOST_READ = 150_000_000  # of an original volume
MOST_LABELS = 255
LONGEST = 100  # characters of a class's name
OF_A_VOXEL = 4 + 1  # bytes: a value and a class

Names = Mapping[int, str]  # number of a class -> its name


class Looked(NamedTuple):
    """A pair, and the geometry of its volume in standard orientation."""

    pair: Pair
    placed: grid.Placed
    size: tuple[int, ...]  # slices, rows, columns
    steps: tuple[float, ...]  # mm between them


class Read(NamedTuple):
    values: Tensor  # (D, H, W) float32
    area: Tensor  # (D, H, W) uint8: numbers of ``names``
    names: Names  # of the classes that occur
    steps: tuple[float, ...]  # mm
    whole: bool  # the file's values are integers
    overlapping: int = 0
    notes: Sequence[str] = ()


def describes(path: Path) -> bool:
    """Return whether a folder holds volumes and labels."""
    return path.is_dir() and volume_pairs.described(path)


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the volumes that have labels. ``side``: voxels along the longest axis; without it, a
    case has at most ``MOST_VOXELS``. Raises UserError if none can be used, and if memory does not
    suffice."""
    if not path.is_dir():
        raise missing(path)
    told: list[Skipped] = []
    known = _names(path, told)
    pairs = volume_pairs.found(path, told)
    looked = [one for one in (_look(pair, path, told) for pair in pairs) if one]
    if not looked:
        raise _nothing(path, told)
    spacing, size = common(looked, reading.side)
    check_memory(len(looked), size)
    kept: list[Looked] = []
    read: list[Read] = []
    for done, one in enumerate(looked):
        if reading.progress:
            reading.progress(done, len(looked))
        try:
            read.append(_read(one, known, spacing, size))
            kept.append(one)
        except UserError as trouble:
            told.append(_skipped(one.pair, trouble))
    if not read:
        raise _nothing(path, told)
    return _dataset(path, kept, read, known, told, reading)


def _dataset(
    path: Path, kept: Sequence[Looked], read: Sequence[Read], known: Names, told: list[Skipped], reading: Reading
) -> Dataset:
    pairs = [one.pair for one in kept]
    classes = _classes(known, read)
    target = torch.stack([_renumbered(one, classes) for one in read])
    there = torch.stack([(target == label).flatten(1).any(1) for label in range(len(classes))])
    empty = [pair.file for pair, has in zip(pairs, there[1:].any(0), strict=True) if not has]
    told += many(empty, "no object", _("{count} volumes without a labelled voxel, which stay"))
    never = [name for name, has in zip(classes, there.any(1).tolist(), strict=True) if not has]
    told += many(never, "no voxel", _("{count} classes that no volume has"))
    both = [pair.labels_file for pair, one in zip(pairs, read, strict=True) if one.overlapping]
    told += many(both, "overlap", _("{count} segmentations with voxels of several segments: the last has them"))
    for pair, one in zip(pairs, read, strict=True):
        told += [Skipped(pair.file, "slices", note) for note in one.notes]
    whole = all(one.whole for one in read)
    values = torch.stack([one.values for one in read])[:, None]
    names = [pair.file for pair in pairs]
    group, how, question = groups(names, [""] * len(names), reading.group)
    patients = [one.placed.patient for one in kept]
    if reading.group is None and any(patients):
        group, how, question = patients, _("PatientID of the DICOM files"), ""
    return Dataset(
        name=readable(path.absolute().name),
        input=values.round().to(torch.int16) if whole else values,
        target=target,
        classes=classes,
        file=names,
        group=group if any(group) else (),
        grouped=how if any(group) else "",
        question=question,
        part=[pair.part for pair in pairs] if any(pair.part for pair in pairs) else (),
        skipped=tuple(told),
        augment=(),
        source=readable(path),
        spacing=[one.steps for one in read],
    )


def _names(path: Path, told: list[Skipped]) -> Names:
    """Read the names in ``classes.txt`` or nnU-Net's ``dataset.json``."""
    names = listed(path, told)
    if names:
        return dict(enumerate(names))
    file = path / DATASET
    if not file.is_file():
        return {}
    try:
        limits.check_file(file, path)
        held = files.parsed(file)
        labels = held.get("labels") if isinstance(held, dict) else None
        pairs = list(labels.items()) if isinstance(labels, dict) else []
        read = dict(_numbered(*pair) for pair in pairs)
    except UserError as error:
        why = error.found.removeprefix(f"{readable(file)}: ")
        told.append(Skipped(DATASET, error.code, why))
        return {}
    except (TypeError, ValueError):
        read, pairs = {}, [("", "")]
    if pairs and (len(read) < len(pairs) or len(set(read.values())) < len(read)):
        why = _("labels that are not one number and one name each")
        told.append(Skipped(DATASET, "names", why))
        return {}
    return read


def _numbered(key: object, value: object) -> tuple[int, str]:
    """Convert an entry ``{"liver": 1}``, or ``{"1": "liver"}``. Raises ValueError and TypeError."""
    name, number = (value, key) if isinstance(value, str) else (key, value)
    if isinstance(number, bool) or not isinstance(number, int | str):
        raise ValueError
    if not 0 <= int(number) <= MOST_LABELS or not str(name).strip():
        raise ValueError
    return int(number), _name(str(name))


def _name(text: str) -> str:
    return printable(" ".join(text.split()))[:LONGEST]


def _look(pair: Pair, root: Path, told: list[Skipped]) -> Looked | None:
    try:
        for path in (pair.volume, pair.labels):
            if path.is_file():
                limits.check_file(path, root, grid.MOST_BYTES)
        placed = Volume.look(pair.volume)
        if math.prod(placed.size) > MOST_READ:
            raise UserError(
                "too large", _("the volume has {size} voxels").format(size=" x ".join(map(str, placed.size)))
            )
        Volume(np.zeros((1, 1, 1), np.int16), placed.affine)
    except UserError as trouble:
        told.append(_skipped(pair, trouble))
        return None
    order, _flipped = axes.upright(placed.affine)
    steps = np.linalg.norm(placed.affine[:3, :3], axis=0)[list(order)]
    return Looked(pair, placed, tuple(placed.size[k] for k in order), tuple(steps.tolist()))


def common(looked: Sequence[Looked], side: int | None) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Choose one spacing and one size for all: the median spacing, or the finest above it with few
    enough voxels, and the size of the largest volume."""
    usual = np.median([one.steps for one in looked], axis=0)
    longest = np.max([np.multiply(one.size, one.steps) for one in looked], axis=0)

    def size(least: float) -> np.ndarray:
        return np.maximum(1, np.ceil(longest / np.maximum(usual, least) - 1e-6)).astype(int)

    least = 0.0
    if side is not None:
        least = float(longest.max()) / side
    elif np.prod(size(0.0)) > MOST_VOXELS:
        low, high = 0.0, float(longest.max())
        for _halving in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if np.prod(size(middle)) <= MOST_VOXELS else (middle, high)
        least = high
    return tuple(np.maximum(usual, least).tolist()), tuple(size(least).tolist())


def check_memory(count: int, size: Sequence[int]) -> None:
    """Raise UserError if the volumes need more than half of the free memory; the other half is for
    the copy of the training part."""
    free = psutil.virtual_memory().available // 2
    need = count * math.prod(size) * OF_A_VOXEL
    if need > free:
        fits = int(max(size) * (free / need) ** (1 / 3))
        raise UserError(
            "memory",
            _("{count} volumes of {size} voxels need {need} MB, {free} MB may be used").format(
                count=count, size=" x ".join(map(str, size)), need=need // 10**6, free=free // 10**6
            ),
            expected=_("at most {side} voxels along the longest axis").format(side=fits),
            fix=f"imgsz={fits}",
            exit=4,
        )


def _read(one: Looked, known: Names, spacing: Sequence[float], size: Sequence[int]) -> Read:
    """Read a volume and its labels, resampled and padded to ``size``. Raises UserError."""
    volume = Volume.read(one.pair.volume)
    area, names, overlapping = _labels(one.pair, volume, known)
    order, flipped = axes.upright(volume.affine)
    values, _affine = axes.turned(volume.values, volume.affine, order, flipped)
    area, _affine = axes.turned(area, volume.affine, order, flipped)
    own = resampling.sizes(one.size, one.steps, spacing)
    own = tuple(min(pair) for pair in zip(own, size, strict=True))  # rounding may exceed it
    grey = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    small = resampling.resampled(grey[None], own)[0]
    there = sorted(names)
    number = np.zeros(256, np.uint8)
    number[there] = range(len(there))
    numbers = torch.from_numpy(number[np.ascontiguousarray(area)])
    labels = resampling.resampled_labels(numbers, own, len(there))
    steps = tuple(n * s / m for n, s, m in zip(one.size, one.steps, own, strict=True))
    return Read(
        _padded(small, size, float(small.min())),
        _padded(labels, size, there.index(0)),
        {k: names[label] for k, label in enumerate(there)},
        steps,
        volume.values.dtype == np.int16,
        overlapping,
        volume.notes,
    )


def _padded(values: Tensor, size: Sequence[int], fill: float) -> Tensor:
    """Pad a volume to a larger grid, centred."""
    around: list[int] = []
    for have, want in zip(values.shape[::-1], size[::-1], strict=True):
        around += [(want - have) // 2, want - have - (want - have) // 2]
    return F.pad(values, around, value=fill)


def _labels(pair: Pair, volume: Volume, known: Names) -> tuple[np.ndarray, Names, int]:
    """Return the class numbers on the volume's grid (slices, rows, columns), the names of the
    classes that occur, and the number of voxels with several. 0 is always included. Raises
    UserError."""
    path = pair.labels
    ground = known.get(0, BACKGROUND)
    if not path.name.lower().endswith(SUFFIXES):
        made = segmentation.read(path, volume.values.shape, volume.affine)
        if made.series and volume.uid and made.series != volume.uid:
            raise _fault(path, "series", _("it refers to another series: {uid}").format(uid=made.series))
        names = [_name(name) for name in made.names]
        if known:
            spelt = {name.casefold(): number for number, name in known.items()}
            lost = [name for name in names if name.casefold() not in spelt]
            if lost:
                raise _fault(path, "class", _("a segment called {name}, which is no class").format(name=lost[0]))
            number = np.array([0, *(spelt[name.casefold()] for name in names)], np.uint8)
            area = number[made.area]
            return area, {n: known.get(n, ground) for n in _there(area)}, made.overlapping
        of_each = [ground, *names]
        return made.area, {n: of_each[n] for n in _there(made.area)}, made.overlapping
    area = _brought(path, Volume.read(path), volume)
    there = _there(area)
    if known:
        lost_numbers = [number for number in there if number not in known and number]
        if lost_numbers:
            raise _fault(
                path,
                "class",
                _("class {number}, where there are {count}").format(
                    number=", ".join(map(str, lost_numbers[:5])), count=len(known)
                ),
            )
    return area, {n: known.get(n, str(n) if n else ground) for n in there}, 0


def _there(area: np.ndarray) -> list[int]:
    """Return the numbers in a label map, and 0."""
    count = np.bincount(area.ravel(), minlength=1)
    return [n for n in range(len(count)) if count[n] or n == 0]


def _brought(path: Path, labels: Volume, volume: Volume) -> np.ndarray:
    """Return labels reordered to the axes of their volume, (slices, rows, columns) uint8. Raises
    UserError if they are not whole numbers, or if the grids do not coincide."""
    order, flipped = axes.along(labels.affine, volume.affine)
    area, affine = axes.turned(labels.values, labels.affine, order, flipped)
    if area.shape != volume.values.shape:
        here, there = (" x ".join(map(str, one.values.shape)) for one in (volume, labels))
        raise _fault(path, "size", _("the volume has {here} voxels, its labels {there}").format(here=here, there=there))
    far = axes.apart(area.shape, affine, volume.affine)
    if far > axes.APART:
        raise _fault(
            path, "geometry", _("the labels lie elsewhere than the volume, by {count:.2g} voxels").format(count=far)
        )
    low, high = float(area.min()), float(area.max())
    if low < 0 or high > MOST_LABELS or (area != np.round(area)).any():
        raise _fault(
            path,
            "class",
            _("values from {low:g} to {high:g}, where whole numbers from 0 to {most} are classes").format(
                low=low, high=high, most=MOST_LABELS
            ),
        )
    return area.astype(np.uint8)


def _classes(known: Names, read: Sequence[Read]) -> tuple[str, ...]:
    """Return the names of the classes, the background first."""
    ground = known.get(0, BACKGROUND)
    if known:
        return (ground, *(known[number] for number in sorted(known) if number))
    every = dict.fromkeys(name for one in read for number, name in one.names.items() if number)
    names = sorted(every, key=int) if all(name.isdecimal() for name in every) else list(every)
    return (ground, *names)


def _renumbered(one: Read, classes: Sequence[str]) -> Tensor:
    number = torch.zeros(256, dtype=torch.uint8)
    for own, name in one.names.items():
        number[own] = classes.index(name)
    return number[one.area.long()]


def _fault(path: Path, code: str, why: str) -> UserError:
    return limits.trouble(path, code, why)


def _skipped(pair: Pair, trouble: UserError) -> Skipped:
    """Convert an error to a note under the name of the file that caused it."""
    for path, name in ((pair.labels, pair.labels_file), (pair.volume, pair.file)):
        start = f"{readable(path)}: "
        if trouble.found.startswith(start):
            return Skipped(name, trouble.code, trouble.found.removeprefix(start))
        if trouble.found.startswith(f"{readable(path)}/"):
            rest = trouble.found.removeprefix(f"{readable(path)}/")
            return Skipped(name, trouble.code, rest)
    return Skipped(pair.file, trouble.code, trouble.found)


def _nothing(path: Path, told: Sequence[Skipped]) -> UserError:
    found = _("no volume of {folder} has labels that can be used").format(folder=readable(path))
    lost = [f"{some.file}: {some.reason}" for some in told[:3]]
    return UserError(
        "no labels",
        "; ".join([found, *lost]),
        expected=_("images/1.nii.gz beside labels/1.nii.gz: a class number for every voxel"),
        exit=3,
    )


__all__ = ["describes", "load"]
