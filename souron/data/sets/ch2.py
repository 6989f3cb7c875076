"""Magnetic resonance (T1) of one head, the mean of 27 scans of the same person (Colin 27).

Holmes and others: Enhancement of MR Images Using Registration for Signal Averaging (1998).
https://doi.org/10.1097/00004728-199803000-00032

181 x 217 x 181 voxels of 1 mm, from MRIcron's templates. A single subject: suitable for viewing,
but not as evidence for any claim. The grey values are not Hounsfield units: skin begins at about
40.
"""

from souron.data.dataset import Dataset
from souron.data.load import found
from souron.kinds.volume import Volume
from souron.utils.messages import UserError, _

ja = "1 人の頭部の T1 強調 MR 画像、27 回の撮像の平均 (Colin 27)"
task = "surface"
licence = "BSD-3-Clause"
source = "https://doi.org/10.1097/00004728-199803000-00032"
cases = 1
needs = ("ch2.nii.gz",)
debian = ("mricron-data", "usr/share/mricron/templates")
keeps = ("ch2.nii.gz",)
megabytes = 16


def load(side: int | None = None) -> Dataset:
    raise UserError(
        "data",
        _("{name} is one volume, on which no system is trained").format(name="ch2"),
        expected=_("a data set of many cases (souron list --data)"),
        fix="souron surface ch2 level=40",
        exit=3,
    )


def volume() -> Volume:
    """Read the volume. Raises UserError if it was not downloaded or is damaged."""
    return Volume.read(found("ch2") / needs[0])
