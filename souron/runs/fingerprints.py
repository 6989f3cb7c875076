"""Fingerprints of a run's training images, to detect copies of them in other data.

They work even if the training data is gone. ``fingerprints.safetensors`` holds for each training
image its file name, a digest of its pixels and the image at 32 pixels a side or fewer (3 KB in
colour). Nothing is kept of data sets that souron knows by name, which can be read again, or of more
than ``MOST`` images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from souron.data import load, splits
from souron.data.dataset import Dataset, digests
from souron.data.lazy_column import Sketch
from souron.data.quality import duplicates
from souron.utils.files import read_tensors, write_tensors
from souron.utils.messages import UserError, _

FILE = "fingerprints.safetensors"
MOST = 20_000  # images
BY_CHANCE = 0.01  # share of images that may be taken for copies and are none; ten times what was measured


@dataclass(frozen=True)
class Fingerprints:
    files: Sequence[str]
    digest: Sequence[bytes]  # 16 bytes per file, of its pixels
    reduced: Tensor | None  # (N, C, h, w), see ``duplicates.reduced``; None without images


@dataclass(frozen=True)
class Overlap:
    """The overlap of other data with a run's training data."""

    total: int  # cases of the other data
    exact: list[tuple[str, str]] = field(default_factory=list)  # (file, training file)
    near: list[tuple[str, str]] = field(default_factory=list)  # seem resized, brightened, rotated, ...
    groups: list[str] = field(default_factory=list)  # patients
    unknown: str = ""  # why copies could not be searched, in the reader's language

    @property
    def many(self) -> list[tuple[str, str]]:
        """The altered copies, where they are more than images that resemble each other by chance; else none."""
        return self.near if len(self.near) > BY_CHANCE * self.total else []

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(file for file, _training in (*self.exact, *self.many))


def keep(folder: Path, data: Dataset, rows: Tensor, name: str) -> None:
    """Write fingerprints of the training ``rows`` of ``data``, which was requested as ``name``."""
    if name in load.names() or not data.images or not 0 < len(rows) <= MOST:
        return
    if isinstance(data.stored, Sketch):
        return
    made = fingerprints(data, rows)
    assert made.reduced is not None, "of pictures"
    digest = torch.frombuffer(bytearray(b"".join(made.digest)), dtype=torch.uint8)
    tensors = {"digest": digest.view(len(rows), -1), "reduced": made.reduced}
    write_tensors(folder / FILE, tensors, {"files": list(made.files)})


def read(folder: Path) -> Fingerprints | None:
    """Read the output of ``keep``; None if there is none. Raises UserError if it is damaged."""
    if not (folder / FILE).exists():
        return None
    tensors, about = read_tensors(folder / FILE)
    try:
        digest = [bytes(row.tolist()) for row in tensors["digest"]]
        return Fingerprints(about["files"], digest, tensors["reduced"])
    except (KeyError, TypeError) as error:
        raise UserError(
            "weights file",
            _("{path} cannot be read: {why}").format(path=folder / FILE, why=error),
            expected=_("a safetensors file that souron wrote"),
            exit=3,
        ) from error


def fingerprints(data: Dataset, rows: Tensor | None = None) -> Fingerprints:
    """Compute the fingerprints of some rows, or of all."""
    rows = torch.arange(len(data)) if rows is None else rows
    files = [data.file[row] for row in rows.tolist()]
    every = list(digests(data.stored))
    digest = [every[row] for row in rows.tolist()]
    if not data.images:
        return Fingerprints(files, digest, None)
    return Fingerprints(files, digest, duplicates.reduced(_Rows(data.stored, rows)))  # type: ignore[arg-type]


class _Rows:
    """Some rows of an image column, read in batches without copying all."""

    def __init__(self, column: Any, rows: Tensor) -> None:
        self.column, self.rows = column, rows

    def __len__(self) -> int:
        return len(self.rows)

    def is_floating_point(self) -> bool:
        return bool(self.column.is_floating_point())

    def split(self, size: int) -> Any:
        return (self.column.index_select(0, some) for some in self.rows.split(size))


def overlap(learnt: Fingerprints, cases: Dataset) -> Overlap:
    """Return the cases that are copies of training cases."""
    own = fingerprints(cases)
    known = dict(zip(learnt.digest, learnt.files, strict=True))
    exact = [(file, known[digest]) for file, digest in zip(own.files, own.digest, strict=True) if digest in known]
    if learnt.reduced is None or own.reduced is None:
        return Overlap(len(cases), exact)
    if len(learnt.files) * len(cases) > MOST**2:
        text = _("{learnt} training images and {count} others are too many to compare")
        why = text.format(learnt=len(learnt.files), count=len(cases))
        return Overlap(len(cases), exact, unknown=why)
    same = {file for file, _training in exact}
    first: dict[str, str] = {}
    framed = duplicates.unframed(cases.stored)
    for i, j in (
        *duplicates.copies(learnt.reduced, own.reduced),
        *duplicates.altered_between(learnt.reduced, own.reduced, framed),
    ):
        if own.files[j] not in same:
            first.setdefault(own.files[j], learnt.files[i])
    return Overlap(len(cases), exact, list(first.items()))


def refuse(shared: Overlap) -> None:
    """Raise UserError if copies of training images, or patients, are among the cases."""
    text = _shared(shared)
    if not text:
        return
    raise UserError(
        "leak",
        text,
        expected=_("images and patients that were not in training; else the figures are too good"),
        fix=_("other data, or allow_leak=true: the figures then come with a warning"),
        exit=3,
    )


def notes(shared: Overlap) -> list[str]:
    """Return caveats for figures with allowed or uncheckable overlaps."""
    text = _shared(shared)
    allowed = _("The figures are too good, which was allowed (allow_leak): {what}.")
    unknown = _("Copies of training images could not be looked for: {why}.")
    few = [] if shared.many else shared.near
    doubt = _("{count} of {total} images may be altered copies of training images; look at them: {names}.")
    return [
        *([allowed.format(what=text)] if text else []),
        *([doubt.format(count=len(few), total=shared.total, names=_names(few))] if few else []),
        *([unknown.format(why=shared.unknown)] if shared.unknown else []),
    ]


def _shared(shared: Overlap) -> str:
    texts = []
    if shared.groups:
        text = _("{count} groups (patients) are in training and in other parts: {names}")
        texts.append(text.format(count=len(shared.groups), names=splits.first_three(shared.groups)))
    if shared.files:
        text = _(
            "{count} of {total} images are the same as training images ({exact} identical to the "
            "pixel, {near} resized, brightened, rotated or otherwise altered): {names}"
        )
        counts = {"count": len(shared.files), "exact": len(shared.exact), "near": len(shared.many)}
        names = _names([*shared.exact[:2], *shared.many[:2]], len(shared.files))
        texts.append(text.format(**counts, total=shared.total, names=names))
    return "; ".join(texts)


def _names(pairs: Sequence[tuple[str, str]], count: int = 0) -> str:
    """Name the first of so many pairs."""
    as_training = _("{file} as {training}")
    names = [as_training.format(file=file, training=training) for file, training in pairs[:4]]
    return ", ".join(names) + (", ..." if max(count, len(pairs)) > len(names) else "")
