"""Data sets in memory: cases, and the batches taken from them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from souron.data.lazy_column import LazyColumn
from souron.data.target import kinds
from souron.utils.messages import UserError, _

MOST_VALUES = 2_500_000  # of a batch of images at inference: 16 of 224 x 224 in colour


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used."""

    file: str
    code: str  # "truncated", "empty file", "too large", "not an image", "outside", ...
    reason: str  # in the reader's language


class Rows(NamedTuple):
    """Input and target of some cases, as stored in memory."""

    input: Any
    target: Any


class ListColumn:
    """A column whose entries differ in shape: tensors, named tuples of them, texts, or anything
    else that the task reads. Supports the operations of a tensor along its first axis."""

    def __init__(self, entries: Sequence[Any]) -> None:
        self.entries = list(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.entries)

    def __getitem__(self, place: int | slice) -> Any:
        found = self.entries[place]
        return ListColumn(found) if isinstance(place, slice) else found

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.entries),)

    def index_select(self, _dim: int, rows: Tensor) -> "ListColumn":
        return ListColumn([self.entries[row] for row in rows.tolist()])

    def split(self, size: int) -> list["ListColumn"]:
        return [self[start : start + size] for start in range(0, len(self), size)]

    def to(self, device: torch.device) -> "ListColumn":
        return ListColumn([_moved(entry, device) for entry in self.entries])


def _moved(entry: Any, device: torch.device) -> Any:
    if isinstance(entry, tuple):
        parts = [_moved(part, device) for part in entry]
        return type(entry)(*parts) if hasattr(entry, "_fields") else tuple(parts)
    return entry.to(device) if isinstance(entry, Tensor) else entry


Column = Tensor | ListColumn | LazyColumn


def digest(column: Any, hasher: Any) -> None:
    """Update a ``hashlib`` hasher with all entries of a column."""
    if isinstance(column, Tensor | LazyColumn):
        for some in column.split(1024):
            hasher.update(some.contiguous().numpy().data)
    elif column is not None:
        for entry in column:
            _digest_entry(entry, hasher)


def content(data: "Dataset") -> str:
    """Return a hash of all inputs and targets, for receipts and between machines."""
    hasher = blake2b(digest_size=16)
    digest(data.input, hasher)
    digest(data.target, hasher)
    return hasher.hexdigest()


def digests(column: Any) -> Iterator[bytes]:
    """Yield 16 bytes for each entry, equal if the entries are."""
    if isinstance(column, LazyColumn):
        yield from column.digests()
        return
    if isinstance(column, Tensor):
        for row in column.flatten(1).contiguous().numpy():
            yield blake2b(row, digest_size=16).digest()
        return
    for entry in column:
        hasher = blake2b(digest_size=16)
        _digest_entry(entry, hasher)
        yield hasher.digest()


def _digest_entry(entry: Any, hasher: Any) -> None:
    if isinstance(entry, Tensor):
        hasher.update(repr(tuple(entry.shape)).encode())
        hasher.update(entry.contiguous().numpy().data)
    elif isinstance(entry, tuple):
        hasher.update(repr(len(entry)).encode())
        for part in entry:
            _digest_entry(part, hasher)
    else:
        hasher.update(repr(entry).encode())


@dataclass(frozen=True, repr=False)
class Dataset:
    """Cases, one per row: inputs and targets of a system, with files, groups and parts."""

    name: str
    input: Any  # a Column; of images (N, C, H, W) in 0..255: uint8, or float32 if files have
    # finer levels; a ``LazyColumn`` if memory is too small
    target: Any  # a Column; of classes (N,) int64. None if unknown
    classes: tuple[str, ...]  # the classes' names
    file: Sequence[str]  # each case's own name, as in split.csv
    group: Sequence[str] = ()  # patient, subject, ...; () if every case is independent
    part: Sequence[str] = ()  # "train", "val", "test" if the source defines it, else ""
    skipped: tuple[Skipped, ...] = ()
    augment: tuple[str, ...] = ("shift", "mirror")  # changes that preserve the target in this data
    source: str = ""  # the folder, file or URL of origin
    licence: str = ""
    grouped: str = ""  # the origin of the groups, in the reader's language
    question: str = ""  # other possible groups, in the reader's language
    written: Sequence[str] = ()  # groups as the source spells them, where one has several spellings
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)  # metadata of
    # each case, by name: "site", "sex", "device", "date", ...; "" if unknown
    spacing: Sequence[Any] = ()  # millimetres per pixel of each case after resizing; 0 if
    # unknown, () if unknown for all; of a volume between slices, rows and columns

    def __len__(self) -> int:
        return self.input.shape[0]  # a fifth of the time of len()

    def __repr__(self) -> str:
        """Return a one-line summary, as shown in a notebook."""
        shape = " x ".join(map(str, self.input.shape[1:]))
        each = f" of {shape}" if shape else ""
        return f"<Dataset {self.name}: {len(self)} cases{each}, {len(self.classes)} classes>"

    @property
    def images(self) -> bool:
        """True if the input is images of one size."""
        return isinstance(self.input, Tensor | LazyColumn) and len(self.input.shape) == 4

    @property
    def labels(self) -> list[int] | None:
        """The class of each case; None if the target is of another kind: boxes, masks, points."""
        one_each = isinstance(self.target, Tensor) and self.target.ndim == 1
        return self.target.tolist() if one_each else None

    def has(self, kind: str) -> bool:
        """Return whether the target is of a kind: the name of a file of ``data/targets/``."""
        return kinds()[kind].holds(self)

    @property
    def volumes(self) -> bool:
        """True if the input is volumes of one size, (N, C, slices, rows, columns)."""
        return isinstance(self.input, Tensor) and self.input.ndim == 5

    @property
    def channels(self) -> int:
        return self.input.shape[1]

    @property
    def side(self) -> int:
        """Pixels a side of square images."""
        return self.input.shape[-1]

    @property
    def stored(self) -> Any:
        """The input as stored in memory: one channel for grey images expanded to three."""
        if isinstance(self.input, LazyColumn):
            return self.input.stored
        return self.input[:, :1] if self.images and self.input.stride(1) == 0 else self.input

    @property
    def folder(self) -> Path:
        """The folder that the files' names are relative to."""
        source = Path(self.source)
        return source if source.is_dir() else source.parent

    @property
    def units(self) -> list[str] | None:
        """The independent sampling units for confidence intervals: each case's group, a unique name
        for a case without one; None if no case has a group."""
        if not any(self.group):
            return None
        return [group or f"\0{i}" for i, group in enumerate(self.group)]

    def only(self, chosen: Sequence[int] | Tensor) -> "Dataset":
        """Select rows in that order. A ``LazyColumn`` is not read."""
        rows = torch.as_tensor(chosen, dtype=torch.long)

        def pick(names: Sequence[str]) -> Sequence[str]:
            return [names[i] for i in rows.tolist()] if names else ()

        return replace(
            self,
            input=self._inputs(rows),
            target=None if self.target is None else self.target.index_select(0, rows),
            file=pick(self.file),
            group=pick(self.group),
            written=pick(self.written),
            part=pick(self.part),
            spacing=[self.spacing[i] for i in rows.tolist()] if self.spacing else (),
            columns={name: pick(values) for name, values in self.columns.items()},
        )

    def _inputs(self, rows: Tensor) -> Any:
        if isinstance(self.input, LazyColumn):
            return self.input.only(rows)
        stored = self.stored
        chosen = stored.index_select(0, rows)
        return chosen if stored is self.input else chosen.expand(-1, *self.input.shape[1:])


def check_classes(data: Dataset) -> None:
    """Raise UserError if the target is not one class for each case but boxes, masks or points."""
    if data.target is not None and data.labels is None:
        raise UserError(
            "no classes",
            _("the cases of {data} do not have one class each").format(data=data.name),
            expected=_("a sub-folder for each class, or a CSV with a column of classes"),
            fix="data=digits",
            exit=3,
        )


@dataclass
class Loader:
    """Iterate over batches of cases in the form that a system takes.

    ``batch`` makes a batch of ``Rows`` (``System.batch``). The order, and the random augmentation,
    depend on ``seed`` and the step only, so that a resumed run sees the same batches as an
    uninterrupted one.
    """

    cases: Dataset
    batch: Callable[[Rows], Any]
    augment: Callable[[Rows, torch.Generator], Rows] | None = None
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    part: Callable[[Tensor], Tensor] = lambda rows: rows  # of a batch, for one of several processes

    def __len__(self) -> int:
        return len(self.cases)

    def endless(self, size: int, start: int = 0) -> Iterator[Any]:
        """Yield shuffled, augmented batches without end; every epoch visits each case once, except
        the remainder of an incomplete batch."""
        size = min(size, len(self))
        a_day = len(self) // size
        shuffle, change = torch.Generator(), torch.Generator()
        step = start
        while True:
            shuffle.manual_seed(self.seed * 1_000_003 + step // a_day)
            order = torch.randperm(len(self), generator=shuffle)
            batches = [self.part(rows) for rows in order.split(size)[step % a_day : a_day]]
            for rows, following in zip(batches, [*batches[1:], None], strict=True):
                if following is not None and isinstance(self.cases.input, LazyColumn):
                    self.cases.input.soon(following)
                # a tenth of the time of indexing by brackets
                some = Rows(
                    self.cases.input.index_select(0, rows),
                    None if self.cases.target is None else self.cases.target.index_select(0, rows),
                )
                if self.augment is not None:
                    change.manual_seed(self.seed * 1_000_003 + step)
                    some = self.augment(some, change)
                yield self._batch(some)
                step += 1

    def once(self, size: int | None = None) -> Iterator[Any]:
        """Yield every case once, in order, without augmentation; batches of large images are
        smaller."""
        size = size or self._fitting()
        target = self.cases.target
        targets = repeat(None) if target is None else target.split(size)
        for image, target in zip(self.cases.input.split(size), targets, strict=False):
            yield self._batch(Rows(image, target))

    def all(self) -> Tensor:
        """Return every case at once, (N, ...), after ``batch``."""
        return torch.cat([batch[0] for batch in self.once(1024)])

    def _fitting(self) -> int:
        first = self.cases.input[0]
        values = first.numel() if isinstance(first, Tensor) else 1
        return max(8, min(256, MOST_VALUES // max(1, values)))

    def _batch(self, rows: Rows) -> Any:
        return self.batch(Rows(*(None if part is None else part.to(self.device) for part in rows)))
