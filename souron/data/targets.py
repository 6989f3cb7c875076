"""Kinds of target: the annotations of a case, as shown in reports and ``souron data``.

There is one class for each kind; the first of ``KINDS`` whose ``holds`` is true applies to the data
set.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from souron.data import instances, panoptic, recordings, texts, voices
from souron.data.captions import Caption, in_language
from souron.data.dataset import Dataset, ListColumn
from souron.data.poses import Figures
from souron.kinds import boxes, mask, overlay, points, segments
from souron.kinds.codecs.grid import upright
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.picture import Picture
from souron.kinds.score import Score
from souron.kinds.volume import Volume, window_of
from souron.metrics.segmentation import UNKNOWN
from souron.utils.messages import N_, _, language

AROUND = 4  # the fraction 1 / AROUND of the side is shown around a landmark


@dataclass(frozen=True, eq=False)
class Target:
    """One class for each case."""

    cases: Dataset
    heading: ClassVar[str] = N_("Classes")
    counted: ClassVar[str] = N_("cases")  # by ``counts``
    unit: ClassVar[str] = N_("{least} to {most} cases each")
    one_class: ClassVar[bool] = True  # a case has one class, by which a split can be stratified
    every_class: ClassVar[bool] = False  # every case shows all classes

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        """Return whether the data set's target is of this kind."""
        return True

    def counts(self) -> list[int]:
        """Return the number of cases of each class, or of whatever ``unit`` counts."""
        return self.cases.target.bincount(minlength=len(self.cases.classes)).tolist()

    def of_class(self, label: int) -> Iterator[int]:
        """Yield the rows of the cases that show a class."""
        yield from (self.cases.target == label).nonzero().flatten().tolist()

    @property
    def number(self) -> int:
        """The number of the items named by ``heading``."""
        return len(self.cases.classes)

    def rows(self, count: int) -> dict[int, list[int]]:
        """Return the first ``count`` cases of each class that has any."""
        found = {
            label: list(islice(self.of_class(label), count))
            for label in range(len(self.cases.classes))
        }
        return {label: rows for label, rows in found.items() if rows}

    def words(self, row: int) -> str:
        """Describe the target of a case in a few words."""
        return self.cases.classes[self.cases.target[row]]

    def picture(self, row: int) -> Tensor:
        """Return a case's image (C, H, W) for a thumbnail."""
        return self.cases.input[row]

    def examples(self, label: int, rows: list[int]) -> Tensor:
        """Return images (n, C, h, w) that show a class."""
        return torch.stack([self.picture(row) for row in rows])

    def pixels(self) -> Tensor:
        """Return the images for statistics of pixel values, (N, C, H, W) in 0..255."""
        return self.cases.input

    def drawn(self, row: int) -> tuple[Image.Image, str] | None:
        """Return a case's image with the target drawn on it, and a description; None if there is
        nothing to draw."""
        return None


class Landmarks(Target):
    """The positions (N, K, 2) of landmarks."""

    heading = N_("Landmarks")
    one_class = False
    every_class = True

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return cases.has_points

    def counts(self) -> list[int]:
        return self.cases.target.isfinite().all(2).sum(0).tolist()

    def of_class(self, label: int) -> Iterator[int]:
        yield from self.cases.target[:, label].isfinite().all(1).nonzero().flatten().tolist()

    def words(self, row: int) -> str:
        count = int(self.cases.target[row].isfinite().all(1).sum())
        return _("{count} landmarks").format(count=count)

    def examples(self, label: int, rows: list[int]) -> Tensor:
        """Return crops around the landmark."""
        cases = self.cases
        half = max(4, cases.side // AROUND // 2)
        wide = functional.pad(cases.input[rows].float(), (half,) * 4, mode="replicate")
        places = cases.target[rows, label].floor().long().clamp(0, cases.side - 1).tolist()
        around = [
            pixels[:, y : y + 2 * half + 1, x : x + 2 * half + 1]
            for pixels, (x, y) in zip(wide, places, strict=True)
        ]
        return torch.stack(around).round().byte()

    def drawn(self, row: int) -> tuple[Image.Image, str]:
        """Return the image with each landmark marked by its number, and a legend."""
        point = self.cases.target[row]
        there = point.isfinite().all(1)
        numbers = there.nonzero().flatten().tolist()
        names = {str(k + 1): self.cases.classes[k] for k in numbers}
        shown = points.Points(Picture.of(self.cases.input[row]), point[there].numpy(), list(names))
        return shown.drawn(), ", ".join(f"{number} {name}" for number, name in names.items())


class Areas(Target):
    """A class for every pixel, (N, H, W)."""

    counted = N_("pixels")
    unit = N_("{least} to {most} pixels each")
    one_class = False

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return cases.maps

    def counts(self) -> list[int]:
        return pixels_of(self.cases.target, len(self.cases.classes))

    def rows(self, count: int) -> dict[int, list[int]]:
        each = pixels_of_each(self.cases.target, len(self.cases.classes))
        found = {
            label: each[:, label].nonzero().flatten()[:count].tolist()
            for label in range(len(self.cases.classes))
        }
        return {label: rows for label, rows in found.items() if rows}

    def words(self, row: int) -> str:
        there = pixels_of_each(self.cases.target[row][None], len(self.cases.classes))[0, 1:]
        names = [self.cases.classes[label + 1] for label in there.nonzero().flatten().tolist()]
        return ", ".join(names) or self.cases.classes[0]

    def picture(self, row: int) -> Tensor:
        return tinted(self.cases.input[row], self.cases.target[row])

    def drawn(self, row: int) -> tuple[Image.Image, str]:
        area = self.cases.target[row]
        known = area.where(area != UNKNOWN, torch.zeros_like(area))
        names = ["", *self.cases.classes[1:]]
        shown = mask.Mask(Picture.of(self.cases.input[row]), known.numpy(), names)
        return shown.drawn(), self.words(row)


class Voxels(Areas):
    """A class for every voxel, (N, D, H, W)."""

    counted = N_("voxels")
    unit = N_("{least} to {most} voxels each")
    every_class = True

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return cases.volumes and isinstance(cases.target, Tensor) and cases.target.ndim == 4

    def counts(self) -> list[int]:
        return pixels_of(self.cases.target.flatten(2), len(self.cases.classes))

    def rows(self, count: int) -> dict[int, list[int]]:
        return Target.rows(self, count)

    def of_class(self, label: int) -> Iterator[int]:
        yield from (self.cases.target == label).flatten(1).any(1).nonzero().flatten().tolist()

    def words(self, row: int) -> str:
        labels = self.cases.target[row].unique().tolist()
        names = [self.cases.classes[label] for label in labels if label]
        return ", ".join(names) or self.cases.classes[0]

    def picture(self, row: int) -> Tensor:
        """Return the slice with most labelled voxels."""
        return self._slice(row, self.cases.target[row] > 0)

    def examples(self, label: int, rows: list[int]) -> Tensor:
        """Return the slices with most voxels of a class."""
        return torch.stack([self._slice(row, self.cases.target[row] == label) for row in rows])

    def _slice(self, row: int, inside: Tensor) -> Tensor:
        """Return a slice with its labels in colour, padded to a square, (3, side, side)."""
        number = int(inside.sum((1, 2)).argmax())
        shown = tinted(self._grey(row, number)[None], self.cases.target[row, number])
        side = max(shown.shape[1:])
        down, right = (side - count for count in shown.shape[1:])
        return functional.pad(shown, (right // 2, right - right // 2, down // 2, down - down // 2))

    def _grey(self, row: int, number: int) -> Tensor:
        """Return a slice in grey, (H, W) uint8."""
        volume = self.cases.input[row, 0].numpy()
        centre, width = window_of(volume)
        grey = ((volume[number] - centre) / width + 0.5).clip(0, 1) * 255
        return torch.from_numpy(grey.round().astype(np.uint8))

    def pixels(self) -> Tensor:
        middle = self.cases.input.shape[2] // 2
        return torch.stack([self._grey(row, middle)[None] for row in range(len(self.cases))])

    def drawn(self, row: int) -> tuple[Image.Image, str]:
        """Return the volume with its labels in three planes, and a description."""
        slices, rows, columns = self.cases.spacing[row]
        affine = upright((columns, rows, slices))
        volume = Volume(self.cases.input[row, 0].numpy(), affine)
        names = ["", *self.cases.classes[1:]]
        shown = LabelledVolume(volume, self.cases.target[row].numpy(), names)
        return shown.planes(), self.words(row)


class Objects(Target):
    """Boxes (n, 5) of each case: label and edges; a negative label is a crowd region."""

    counted = N_("objects")
    unit = N_("{least} to {most} objects each")
    one_class = False

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return isinstance(cases.target, ListColumn)

    def counts(self) -> list[int]:
        labels = torch.cat([box[:, 0].long() for box in self.cases.boxes])
        return labels[labels >= 0].bincount(minlength=len(self.cases.classes)).tolist()

    def of_class(self, label: int) -> Iterator[int]:
        yield from (row for row, box in enumerate(self.cases.boxes) if (box[:, 0] == label).any())

    def words(self, row: int) -> str:
        [box] = instances.boxes_of([self.cases.target[row]])
        labels = box[:, 0].long().unique().tolist()
        return ", ".join(self.cases.classes[label] for label in labels if label >= 0)

    def drawn(self, row: int) -> tuple[Image.Image, str]:
        [box] = instances.boxes_of([self.cases.target[row]])
        box = box[box[:, 0] >= 0]
        names = [self.cases.classes[label] for label in box[:, 0].int().tolist()]
        shown = boxes.Boxes(Picture.of(self.cases.input[row]), box[:, 1:].numpy(), names)
        return shown.drawn(), self.words(row)


class Instances(Objects):
    """Boxes and masks of each object."""

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        entries = cases.target.entries if isinstance(cases.target, ListColumn) else []
        return bool(entries) and isinstance(entries[0], instances.Instances)

    def picture(self, row: int) -> Tensor:
        objects = self.cases.target[row]
        area = torch.zeros(self.cases.input.shape[2:], dtype=torch.long)
        for label, inside in zip(objects.box[:, 0].long(), self._masks(objects), strict=True):
            area[inside] = label + 1
        return tinted(self.cases.input[row], area)

    def drawn(self, row: int) -> tuple[Image.Image, str]:
        objects = self.cases.target[row]
        objects = objects.of(objects.box[:, 0] >= 0)
        names = [self.cases.classes[label] for label in objects.box[:, 0].int().tolist()]
        area = self._masks(objects).numpy().astype(np.uint8)
        shown = mask.Mask(Picture.of(self.cases.input[row]), area, names)
        return shown.drawn(), self.words(row)

    def _masks(self, objects: instances.Instances) -> Tensor:
        return objects.masks(self.cases.side)


class Divided(Objects):
    """Segments of each case, things and stuff: see ``panoptic``."""

    counted = N_("segments")
    unit = N_("{least} to {most} segments each")

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        entries = cases.target.entries if isinstance(cases.target, ListColumn) else []
        return bool(entries) and isinstance(entries[0], panoptic.Panoptic)

    def counts(self) -> list[int]:
        labels = torch.cat([one.label[one.pixels() > 0] for one in self.cases.target])
        return labels[labels >= 0].bincount(minlength=len(self.cases.classes)).tolist()

    def of_class(self, label: int) -> Iterator[int]:
        for row, one in enumerate(self.cases.target):
            if (one.label[one.pixels() > 0] == label).any():
                yield row

    def words(self, row: int) -> str:
        one = self.cases.target[row].compact()
        labels = one.label[one.label >= 0].unique().tolist()
        return ", ".join(self.cases.classes[label] for label in labels)

    def picture(self, row: int) -> Tensor:
        """Return the image with each thing in a different colour; stuff is unchanged."""
        one = self.cases.target[row]
        counted = (one.thing & (one.label >= 0)).cumsum(0) * (one.thing & (one.label >= 0))
        number = torch.cat([torch.zeros(1, dtype=torch.long), counted])
        return tinted(self.cases.input[row], number[one.ids.long()])

    def drawn(self, row: int) -> tuple[Image.Image, str]:
        return shown(self.cases.input[row], self.cases.target[row], self.cases.classes).drawn(), (
            self.words(row)
        )


class Poses(Objects):
    """Boxes and keypoints of each figure."""

    counted = N_("figures")
    unit = N_("{least} to {most} figures each")

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        entries = cases.target.entries if isinstance(cases.target, ListColumn) else []
        return bool(entries) and isinstance(entries[0], Figures)

    def drawn(self, row: int) -> tuple[Image.Image, str]:
        """Return the image with each figure and its labelled keypoints, and a description."""
        figures = self.cases.target[row]
        figures = figures.of(figures.box[:, 0] >= 0)
        names = [self.cases.classes[label] for label in figures.box[:, 0].int().tolist()]
        canvas = overlay.Canvas(Picture.of(self.cases.input[row]))
        for name, box, points_of in zip(names, figures.box, figures.point.tolist(), strict=True):
            canvas.bones([at[:2] if at[2] > 0 else None for at in points_of],
                         figures.skeleton.lines)  # fmt: skip
            canvas.box(box[1:5].tolist(), name, overlay.colour(int(box[0])))
        return canvas.image, self.words(row)


class Captions(Target):
    """Captions of each image; one class each if the data set defines it."""

    heading = N_("Captions")
    one_class = False
    every_class = True

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return cases.has_captions

    @property
    def number(self) -> int:
        return sum(map(len, self.cases.target))

    def counts(self) -> list[int]:
        return [sum(1 for _row in self.of_class(k)) for k in range(len(self.cases.classes))]

    def of_class(self, label: int) -> Iterator[int]:
        objects = self.cases.columns.get("object")
        name = self.cases.classes[label]
        yield from (row for row in range(len(self.cases)) if not objects or objects[row] == name)

    def words(self, row: int) -> str:
        """Return a caption, in the reader's language if there is one."""
        told: tuple[Caption, ...] = self.cases.target[row]
        return texts.shown((*in_language(told, language()), *told)[0].text)


class Questions(Captions):
    """Questions about each image; one class each if the data set defines it."""

    heading = N_("Questions")

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return cases.has_picture_questions

    def words(self, row: int) -> str:
        """Return a question with its answer, in the reader's language if there is one."""
        asked = sorted(self.cases.target[row], key=lambda one: one.language != language())
        return texts.shown(f"{asked[0].question} {asked[0].answer}")


class Texts(Target):
    """Texts, whose target is a text, tags, or nothing."""

    heading = N_("Texts")
    one_class = False
    every_class = True

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return texts.holds(cases)

    def counts(self) -> list[int]:
        return [0] * len(self.cases.classes)

    def of_class(self, label: int) -> Iterator[int]:
        yield from range(len(self.cases))

    def words(self, row: int) -> str:
        return texts.shown(texts.plain(self.cases.input[row]))

    def answer(self, row: int) -> str:
        """Return the target of the case as text; "" if there is none."""
        known = self.cases.target
        return known[row] if isinstance(known, ListColumn) else ""


class TaggedTexts(Texts):
    """Words (n,) of each case, with the number of a tag for each."""

    heading = N_("Tags")
    unit = N_("{least} to {most} words each")

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return super().holds(cases) and bool(cases.classes) and cases.labels is None

    def counts(self) -> list[int]:
        tags = torch.cat(list(self.cases.target))
        return tags.bincount(minlength=len(self.cases.classes)).tolist()

    def of_class(self, label: int) -> Iterator[int]:
        yield from (row for row, tags in enumerate(self.cases.target) if (tags == label).any())

    def answer(self, row: int) -> str:
        tags = zip(self.cases.input[row], self.cases.target[row].tolist(), strict=True)
        return ", ".join(f"{word} {self.cases.classes[tag]}" for word, tag in tags if tag)


class LabelledTexts(Texts):
    """One class for each text; for a question the letter of the correct option."""

    heading = N_("Classes")
    unit = N_("{least} to {most} texts each")
    one_class = True
    every_class = False

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return super().holds(cases) and bool(cases.classes) and cases.labels is not None

    def counts(self) -> list[int]:
        return Target.counts(self)

    def of_class(self, label: int) -> Iterator[int]:
        yield from Target.of_class(self, label)

    def answer(self, row: int) -> str:
        return self.cases.classes[self.cases.target[row]]


class Pieces(Target):
    """Pieces in four voices, without a target."""

    heading = N_("Pieces")
    one_class = False
    every_class = True

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return voices.holds(cases)

    def counts(self) -> list[int]:
        return [0] * len(self.cases.classes)

    def of_class(self, label: int) -> Iterator[int]:
        yield from range(len(self.cases))

    def words(self, row: int) -> str:
        return str(Score.of(voices.notation(self.cases.input[row])))

    def drawn(self, row: int) -> tuple[Image.Image, str]:
        """Return the piano roll, and a description."""
        score = Score.of(voices.notation(self.cases.input[row]))
        return Image.open(io.BytesIO(score.roll())).convert("RGB"), str(score)


class Transcripts(Pieces):
    """Recordings with the text that is spoken."""

    heading = N_("Recordings")

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return recordings.holds(cases)

    def words(self, row: int) -> str:
        return texts.shown(self.cases.target[row]) if self.cases.target else ""

    def drawn(self, row: int) -> Any:
        return None


KINDS = (
    Transcripts,
    Pieces,
    LabelledTexts,
    TaggedTexts,
    Texts,
    Captions,
    Questions,
    Landmarks,
    Areas,
    Voxels,
    Divided,
    Poses,
    Instances,
    Objects,
    Target,
)


def of(cases: Dataset) -> Target:
    """Return the target of a data set, as an instance of its kind."""
    return next(kind for kind in KINDS if kind.holds(cases))(cases)


def shown(pixels: Tensor, one: panoptic.Panoptic, classes: Sequence[str]) -> segments.Segments:
    """Return an image (C, H, W) with its segments, without crowd regions."""
    crowd = torch.cat([torch.zeros(1, dtype=torch.bool), one.label < 0])
    one = one._replace(ids=one.ids.masked_fill(crowd[one.ids.long()], 0)).compact()
    names = [classes[label] for label in one.label.tolist()]
    things = one.thing.tolist()
    return segments.Segments(Picture.of(pixels), one.ids.numpy(), names, things, (), classes)


def tinted(pixels: Tensor, numbers: Tensor) -> Tensor:
    """Tint the pixels of an image (C, H, W) by their classes (H, W); 0 means none."""
    place = (numbers.long() - 1).clamp(min=0) % len(overlay.COLOURS)
    colours = torch.tensor(overlay.COLOURS)[place]
    plain = pixels.float().round().clamp(0, 255).byte().expand(3, -1, -1)
    mixed = (plain.int() + colours.permute(2, 0, 1)) // 2
    return torch.where((numbers > 0) & (numbers != UNKNOWN), mixed.byte(), plain)


def pixels_of_each(target: Tensor, classes: int) -> Tensor:
    """Count the pixels of each class in each of the label maps (N, H, W); return (N, classes)."""
    counted = []
    for some in target.split(256):
        place = torch.arange(len(some))[:, None, None] * (UNKNOWN + 1) + some
        count = place.flatten().bincount(minlength=len(some) * (UNKNOWN + 1))
        counted.append(count.view(len(some), UNKNOWN + 1)[:, :classes])
    return torch.cat(counted)


def pixels_of(target: Tensor, classes: int) -> list[int]:
    """Count the pixels of each class in label maps (N, H, W)."""
    return pixels_of_each(target, classes).sum(0).tolist()
