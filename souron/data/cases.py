"""What a data set is in memory: cases, and the batches drawn from them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from souron.data.column import Column

MOST_VALUES = 2_500_000  # of pictures that a network sees at once: 16 of 224 x 224 in colour


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used."""

    file: str
    code: str  # "truncated", "empty file", "too large", "not an image", "outside", ...
    reason: str  # in the reader's language


@dataclass(frozen=True)
class Cases:
    """Pictures with labels, one row a case; files, groups and parts stand beside them."""

    name: str
    image: Tensor  # (N, C, H, W) in 0..255: uint8, or float32 where files hold finer steps; a
    # ``Column`` stands in for it where memory has no room
    label: Tensor  # (N,) int64
    labels: tuple[str, ...]  # the classes' names
    file: Sequence[str]  # each case's own name, as in split.csv
    group: Sequence[str] = ()  # patient, subject, ...; () where each case stands for itself
    part: Sequence[str] = ()  # "train", "val", "test" where the source says so, else ""
    skipped: tuple[Skipped, ...] = ()
    augment: tuple[str, ...] = ("shift", "mirror")  # what leaves the label true here
    source: str = ""  # where it comes from
    licence: str = ""
    grouped: str = ""  # what the groups were read from, in the reader's language
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)  # more that is known of
    # each case, by name: "site", "sex", "device", "date", ...; "" where it is not known

    def __len__(self) -> int:
        return self.image.shape[0]  # a fifth of the time that len() takes

    @property
    def channels(self) -> int:
        return self.image.shape[1]

    @property
    def side(self) -> int:
        """Pixels; pictures are square."""
        return self.image.shape[-1]

    @property
    def stored(self) -> Tensor:
        """The pictures as memory holds them: of a grey one three times over, one channel."""
        if isinstance(self.image, Column):
            return self.image.stored
        return self.image[:, :1] if self.image.stride(1) == 0 else self.image

    @property
    def units(self) -> list[str] | None:
        """What was drawn, for intervals: each case's group, of one without its own name; None where
        every case stands for itself."""
        if not any(self.group):
            return None
        return [group or f"\0{i}" for i, group in enumerate(self.group)]

    def only(self, chosen: Sequence[int] | Tensor) -> "Cases":
        """The chosen rows, in that order. Of a column no picture is read."""
        rows = torch.as_tensor(chosen, dtype=torch.long)

        def pick(names: Sequence[str]) -> Sequence[str]:
            return [names[i] for i in rows.tolist()] if names else ()

        if isinstance(self.image, Column):
            image = self.image.only(rows)
        else:
            image = self.stored[rows].expand(-1, *self.image.shape[1:])
        return replace(
            self,
            image=image,
            label=self.label[rows],
            file=pick(self.file),
            group=pick(self.group),
            part=pick(self.part),
            columns={name: pick(values) for name, values in self.columns.items()},
        )


@dataclass
class Feed:
    """Batches of some of the cases, as a system wants them.

    ``prepare`` is the task's: it turns pictures (B, C, H, W) and labels (B,) into a batch.
    The order, and what augmentation does, follow from ``seed`` and the step alone, so that a
    resumed run sees what an unbroken one would have seen.
    """

    cases: Cases
    prepare: Callable[[Tensor, Tensor], Any]
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __len__(self) -> int:
        return len(self.cases)

    def endless(self, size: int, start: int = 0) -> Iterator[Any]:
        """Shuffled, augmented batches; every epoch sees each case once, the odd rest left out."""
        size = min(size, len(self))
        a_day = len(self) // size
        shuffle, change = torch.Generator(), torch.Generator()
        step = start
        while True:
            shuffle.manual_seed(self.seed * 1_000_003 + step // a_day)
            order = torch.randperm(len(self), generator=shuffle)
            batches = order.split(size)[step % a_day : a_day]
            for rows, following in zip(batches, [*batches[1:], None], strict=True):
                if following is not None and isinstance(self.cases.image, Column):
                    self.cases.image.soon(following)
                # a tenth of the time that indexing by brackets takes
                image = self.cases.image.index_select(0, rows)  # (B, C, H, W) in 0..255
                if self.augment is not None:
                    change.manual_seed(self.seed * 1_000_003 + step)
                    image = self.augment(image, change)
                yield self._batch(image, self.cases.label.index_select(0, rows))
                step += 1

    def once(self, size: int | None = None) -> Iterator[Any]:
        """Every case once, in order, as it is; large pictures fewer at a time."""
        size = size or max(8, min(256, MOST_VALUES // max(1, self.cases.image[:1].numel())))
        for image, label in zip(
            self.cases.image.split(size), self.cases.label.split(size), strict=True
        ):
            yield self._batch(image, label)

    def all(self) -> Tensor:
        """Every case at once, (N, ...), as ``prepare`` makes it."""
        return torch.cat([batch[0] for batch in self.once(1024)])

    def _batch(self, image: Tensor, label: Tensor) -> Any:
        return self.prepare(image.to(self.device), label.to(self.device))
