"""Check a folder of images for faults that would spoil a result, before anything is trained.

Each finding has a stable code, names the files concerned and says what to do. The data itself is
not changed: ``manifest`` writes a new table without the faulty cases. What is checked of the
annotations is said by their kind (``Target.findings``).
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from souron.data import load, splits
from souron.data.check.answers import Answers
from souron.data.check.copies import copies
from souron.data.check.files import broken, sizes
from souron.data.check.groups import patients, spellings
from souron.data.check.headers import headers
from souron.data.check.labels import coarse_pixels, wrong_labels
from souron.data.check.lettering import lettering
from souron.data.check.shortcuts import shortcuts
from souron.data.check.table import manifest
from souron.data.dataset import Dataset
from souron.data.quality import duplicates
from souron.data.quality.findings import Checkup, Finding, in_order
from souron.data.target import Target, target_of
from souron.utils.messages import UserError, _

__all__ = ["Checkup", "Finding", "check", "manifest"]

SIDE = 64  # pixels at which images are compared
MOST_COMPARED = 20_000  # images

Watch = Callable[[str, float], None]  # the current step, and the progress in 0..1
Embed = Callable[[Tensor], Tensor]


def check(
    data: str | Path,
    group: str | None = None,
    watch: Watch = lambda doing, part: None,
    window: str | None = None,
    formats: Sequence[str] = load.FORMATS,
    embed: Embed = coarse_pixels,
    answers: Answers = MappingProxyType({}),
) -> Checkup:
    """Check a folder, a CSV or a ``data.yaml``. ``watch`` is called with the current step and the
    progress in 0..1; ``window`` is the range of grey values for DICOM (see ``dicom.Window``);
    ``embed`` maps images (N, C, H, W) in 0..255 to features (N, D), which are used to find wrong
    labels; ``answers`` says of pairs of files whether they are copies. Raises UserError if nothing can be read at all.
    """
    text = _("reading the images")
    watch(text, 0.0)
    cases = load.load(
        Path(data), SIDE, group, window, progress=lambda done, total: watch(text, done / total), formats=formats
    )
    target = target_of(cases)
    if cases.images:
        parts = _of_images(cases, target, watch, embed, answers)
    elif target.checks_files:
        parts = [target.findings()]
    elif type(target).findings is not Target.findings:
        parts = [broken(cases), patients(cases), target.findings()]
    else:
        raise UserError(
            "no image",
            _("{data} has no images").format(data=data),
            expected=_("a folder of images, or a CSV that names them"),
            fix=f"souron data {data}",
            exit=3,
        )
    return Checkup(cases, len(cases) + len(cases.skipped), in_order(parts))


def _of_images(cases: Dataset, target: Target, watch: Watch, embed: Embed, answers: Answers) -> list[Iterable[Finding]]:
    """Return what is wrong with images and their annotations, by what is checked."""
    watch(_("looking for copies"), 0.0)
    alike = duplicates.near(cases.stored) if len(cases) <= MOST_COMPARED else []
    turned: list[tuple[int, int]] = []
    if len(cases) <= MOST_COMPARED:
        watch(_("looking for rotated copies"), 0.0)
        identical = list(enumerate(splits.same_image(cases, alike)))
        turned = duplicates.altered(cases.stored, identical)
    watch(_("reading the files' headers"), 0.0)
    about = list(headers(cases))
    parts: list[Iterable[Finding]] = [
        broken(cases),
        copies(cases, alike, turned, answers),
        patients(cases),
        sizes(cases, about),
        lettering(cases, watch),
    ]
    if cases.labels is None:
        return [*parts, target.findings()]
    return [
        *parts,
        spellings(cases),
        target.findings(),
        shortcuts(cases, about, watch),
        wrong_labels(cases, embed, watch),
    ]
