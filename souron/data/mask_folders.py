"""Folders of masks of several methods beside a folder of true masks, as a table of Dice.

    truth/1.png ...       unet/1.png ...       nnunet/1.png ...
    truth/1.nii.gz ...    unet/1.nii.gz ...    nnunet/1.nii.gz ...     volumes, on the same grid

A mask holds class numbers, 0 for the background and 255 for unlabelled pixels (``formats.masks``).
Where the true masks hold 0 and 255 alone, or 0 and 1, 255 is the class 1 in all masks. The Dice of
a case is the mean over the classes that its true mask or the method's has, without the background;
1 where both are empty.

Dice: Measures of the Amount of Ecologic Association Between Species (1945).
https://doi.org/10.2307/1932409
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from souron.data.dataset import Skipped
from souron.data.formats.folder import natural, walk
from souron.data.formats.masks import UNKNOWN, numbers_in
from souron.data.prediction_table import Key, Sheet
from souron.kinds.codecs import grid
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs.limits import check_file, readable, trouble
from souron.kinds.volume import Volume
from souron.utils.messages import UserError, _

Mask = NDArray[np.integer[Any]]
VOLUMES = (".nii.gz", ".nii")
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif", *VOLUMES)
NEAR = 1e-3  # millimetres between the positions of the same voxel


class Area(NamedTuple):
    """The class numbers of a mask, and where its voxels are."""

    numbers: Mask  # (H, W), or (slices, H, W)
    affine: NDArray[np.float64] | None = None  # of a volume, as in ``grid.Grid``


def read(truth: Path, methods: Sequence[Path], progress: Callable[[int, int], None] | None = None) -> Sheet:
    """Compare each method's masks with the true ones of the same names. Raises UserError.

    A method's missing mask is a missing prediction. Each folder is named as it is.
    """
    true = _files(truth)
    if not true:
        raise trouble(truth, "no masks", _("there is no mask in this folder"), ", ".join(SUFFIXES))
    names = [readable(folder.name) for folder in methods]
    if len({*names}) < len(names):
        raise UserError("methods", _("two folders have the same name"), fix=_("rename one"))
    files = [_files(folder) for folder in methods]
    cells: dict[str, list[str]] = {name: [] for name in names}
    values = {value for path in true.values() for value in np.unique(_read(path, truth).numbers).tolist()}
    two = values <= {0, UNKNOWN} or values <= {0, 1}
    for done, (case, path) in enumerate(true.items()):
        if progress:
            progress(done, len(true))
        area = _read(path, truth, two)
        for name, folder, found in zip(names, methods, files, strict=True):
            cells[name].append(repr(_overlap(area, _read(found[case], folder, two), case)) if case in found else "")
    keys = [Key(case) for case in true]
    roles = [(name, "prediction") for name in names]
    return Sheet(keys, {}, cells, roles, [readable(truth.name)])


def _overlap(truth: Area, found: Area, case: str) -> float:
    """Return the Dice of two masks. Raises UserError where two volumes are not on the same grid."""
    if truth.affine is None or found.affine is None:
        return dice(truth.numbers, found.numbers)
    if truth.numbers.shape != found.numbers.shape or not np.allclose(truth.affine, found.affine, 0, NEAR):
        sizes = [" x ".join(map(str, area.numbers.shape[::-1])) for area in (truth, found)]
        raise UserError(
            "grid",
            _("{case}: the true mask and a method's are on different grids: {here} and {there} voxels").format(
                case=case, here=sizes[0], there=sizes[1]
            ),
            expected=_("the same size, and the same positions of the voxels"),
            fix=_("resample the method's mask onto the grid of the true one"),
            exit=3,
        )
    return dice(truth.numbers, found.numbers)


def dice(truth: Mask, found: Mask) -> float:
    """Return the mean Dice of two masks, (H, W) or (slices, H, W), over the classes that either has.

    Raises UserError where their sizes differ.

    >>> dice(np.array([[0, 1, 1]], np.uint8), np.array([[0, 0, 1]], np.uint8))
    0.6666666666666666
    """
    if truth.shape != found.shape:
        raise UserError(
            "size",
            _("a mask of {there} pixels beside a true one of {here}").format(
                there=" x ".join(map(str, found.shape[::-1])), here=" x ".join(map(str, truth.shape[::-1]))
            ),
            expected=_("masks of one size"),
            exit=3,
        )
    known = truth != UNKNOWN
    classes = {*np.unique(truth[known]).tolist(), *np.unique(found[known]).tolist()} - {0}
    overlaps = []
    for number in sorted(classes):
        own, other = (truth == number) & known, (found == number) & known
        overlaps.append(2 * float((own & other).sum()) / float(own.sum() + other.sum()))
    return float(np.mean(overlaps)) if overlaps else 1.0


def _files(folder: Path) -> dict[str, Path]:
    """Return the masks of a folder by their names without endings. Raises UserError."""
    skipped: list[Skipped] = []
    found: dict[str, Path] = {}
    for path, name in sorted(walk(folder, skipped), key=lambda one: natural(one[1])):
        ending = next((one for one in SUFFIXES if name.lower().endswith(one)), "")
        if ending:
            case = readable(name[: -len(ending)])
            if case in found:
                raise trouble(folder, "duplicates", _("two masks are named {name}").format(name=case))
            found[case] = path
    return found


def _read(path: Path, folder: Path, two: bool = False) -> Area:
    """Return the class numbers of a mask; of ``two`` classes 255 is the class 1. Raises UserError."""
    if path.name.lower().endswith(VOLUMES):
        area = _volume(path, folder)
    else:
        size = image_codec.look(path, folder).size
        area = Area(numbers_in(path, readable(path.name), folder, size, UNKNOWN)[0])
    return area._replace(numbers=np.where(area.numbers == UNKNOWN, 1, area.numbers)) if two else area


def _volume(path: Path, folder: Path) -> Area:
    """Return the class numbers of a NIfTI file. Raises UserError."""
    check_file(path, folder, grid.MOST_BYTES, "unreadable")
    volume = Volume.read(path)
    if volume.values.dtype != np.int16 or volume.values.min() < 0:
        raise trouble(path, "class", _("a mask whose values are not whole numbers from 0 on"), "0, 1, 2, ...")
    return Area(volume.values, volume.affine)
