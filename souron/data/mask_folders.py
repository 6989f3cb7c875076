"""Folders of masks of several methods beside a folder of true masks, as a table of Dice.

    truth/1.png ...    unet/1.png ...    nnunet/1.png ...

A mask holds class numbers, 0 for the background and 255 for unlabelled pixels (``formats.masks``).
Where the true masks hold 0 and 255 alone, or 0 and 1, 255 is the class 1 in all masks. The Dice of
a case is the mean over the classes that its true mask or the method's has, without the background;
1 where both are empty.

Dice: Measures of the Amount of Ecologic Association Between Species (1945).
https://doi.org/10.2307/1932409
"""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from souron.data.dataset import Skipped
from souron.data.formats.folder import natural, walk
from souron.data.formats.masks import UNKNOWN, numbers_in
from souron.data.prediction_table import Key, Sheet
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs.limits import readable, trouble
from souron.utils.messages import UserError, _

Mask = NDArray[np.uint8]
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")


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
    values = {value for path in true.values() for value in np.unique(_read(path, truth)).tolist()}
    two = values <= {0, UNKNOWN} or values <= {0, 1}
    for done, (case, path) in enumerate(true.items()):
        if progress:
            progress(done, len(true))
        area = _read(path, truth, two)
        for name, folder, found in zip(names, methods, files, strict=True):
            cells[name].append(repr(dice(area, _read(found[case], folder, two))) if case in found else "")
    keys = [Key(case) for case in true]
    roles = [(name, "prediction") for name in names]
    return Sheet(keys, {}, cells, roles, [readable(truth.name)])


def dice(truth: Mask, found: Mask) -> float:
    """Return the mean Dice of two masks (H, W) over the classes that either has.

    Raises UserError where their sizes differ.

    >>> dice(np.array([[0, 1, 1]], np.uint8), np.array([[0, 0, 1]], np.uint8))
    0.6666666666666666
    """
    if truth.shape != found.shape:
        raise UserError(
            "size",
            _("a mask of {there} pixels beside a true one of {here}").format(
                there="{1} x {0}".format(*found.shape), here="{1} x {0}".format(*truth.shape)
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
        if path.suffix.lower() in SUFFIXES:
            case = readable(PurePosixPath(name).with_suffix("").as_posix())
            if case in found:
                raise trouble(folder, "duplicates", _("two masks are named {name}").format(name=case))
            found[case] = path
    return found


def _read(path: Path, folder: Path, two: bool = False) -> Mask:
    """Return the class numbers of a mask; of ``two`` classes 255 is the class 1. Raises UserError."""
    size = image_codec.look(path, folder).size
    numbers = numbers_in(path, readable(path.name), folder, size, UNKNOWN)[0]
    return np.where(numbers == UNKNOWN, 1, numbers).astype(np.uint8) if two else numbers
