"""Computed tomography of one head with a defect in the skull (an example of InVesalius).

Amorim and others: InVesalius (2001-). https://invesalius.github.io/

108 slices of 256 x 256 voxels, 0.957 x 0.957 x 1.5 mm, in Hounsfield units; a head support is
visible, too. A single subject: suitable for viewing, but not as evidence for any claim. The archive
does not state the orientation: its rows run from back to front, as the nose shows, and its columns
are assumed to run to the patient's left, which nothing in it proves.
"""

import plistlib
import tarfile
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from souron.data.dataset import Dataset
from souron.data.load import found
from souron.kinds.codecs import grid, limits
from souron.kinds.volume import Volume
from souron.utils.messages import UserError, _

ja = "頭蓋骨に欠損のある頭部の CT 1 例 (InVesalius の例)"
task = "surface"
licence = "GPL-2.0"
source = "https://invesalius.github.io/"
cases = 1
needs = ("Cranium.inv3",)
debian = ("invesalius-examples", "usr/share/doc/invesalius-examples/examples")
keeps = (".inv3",)
megabytes = 19

MOST = 100_000  # bytes of the metadata


def load(side: int | None = None) -> Dataset:
    raise UserError(
        "data",
        _("{name} is one volume, on which no system is trained").format(name="head_ct"),
        expected=_("a data set of many cases (souron list --data)"),
        fix="souron surface head_ct",
        exit=3,
    )


def volume() -> Volume:
    """Read the volume. Raises UserError if it was not downloaded or is damaged."""
    path = found("head_ct") / needs[0]
    limits.check_file(path)
    try:
        with tarfile.open(path) as archive:
            about = plistlib.loads(_content(archive, "main.plist", MOST))
            size, kind = tuple(about["matrix"]["shape"]), np.dtype(about["matrix"]["dtype"])
            grid.check_size(path, size)
            raw = _content(archive, "matrix.dat", int(np.prod(size)) * kind.itemsize)
        values = np.frombuffer(raw, kind).reshape(size)
        columns, rows, slices = (float(step) for step in about["spacing"])
    except UserError:
        raise
    except (OSError, EOFError, KeyError, ValueError, TypeError, tarfile.TarError) as error:
        raise limits.trouble(path, "unreadable", _("cannot be decoded: {why}").format(why=error)) from error
    affine = np.eye(4)
    affine[:3] = [[0, 0, columns, 0], [0, -rows, 0, rows * (size[1] - 1)], [slices, 0, 0, 0]]
    return Volume(values, affine, str(path), "head_ct")


def _content(archive: tarfile.TarFile, name: str, most: int) -> Any:
    """Return the first ``most`` bytes of the file of that name, in any folder of the archive."""
    for member in archive:
        if PurePosixPath(member.name).name == name and member.isfile():
            stream = archive.extractfile(member)
            assert stream is not None
            return stream.read(most)
    raise KeyError(name)
