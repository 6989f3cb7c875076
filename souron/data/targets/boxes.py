"""Boxes around the objects of an image: a ``ListColumn`` of tensors (n, 5), each row a label and
the edges left, top, right, bottom in pixels. A negative label, -1 - label, is a crowd region, which
counts as nothing."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from souron.data.dataset import Dataset, ListColumn
from souron.data.quality.findings import MANY, TINY, Finding, tiny_class
from souron.data.target import Target
from souron.kinds.boxes import Boxes
from souron.kinds.picture import Picture
from souron.utils.messages import N_, _

SPECK = 0.02  # share of the side


def boxes_of(objects: Iterable[Any]) -> list[Tensor]:
    """Return the boxes of each image, without masks or keypoints: the tensor, or its ``box``."""
    return [each if isinstance(each, Tensor) else each.box for each in objects]


class Objects(Target):
    """Boxes (n, 5) of each case; also the base of objects that have more than a box."""

    counted = N_("objects")
    unit = N_("{least} to {most} objects each")
    one_class = False

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        first = first_of(cases)
        return isinstance(first, Tensor) and first.shape[1:] == (5,)

    def counts(self) -> list[int]:
        labels = torch.cat([box[:, 0].long() for box in boxes_of(self.cases.target)])
        return labels[labels >= 0].bincount(minlength=len(self.cases.classes)).tolist()

    def of_class(self, label: int) -> Iterator[int]:
        boxes = boxes_of(self.cases.target)
        yield from (row for row, box in enumerate(boxes) if (box[:, 0] == label).any())

    def words(self, row: int) -> str:
        [box] = boxes_of([self.cases.target[row]])
        labels = box[:, 0].long().unique().tolist()
        return ", ".join(self.cases.classes[label] for label in labels if label >= 0)

    def drawn(self, row: int) -> tuple[Image, str]:
        [box] = boxes_of([self.cases.target[row]])
        box = box[box[:, 0] >= 0]
        names = [self.cases.classes[label] for label in box[:, 0].int().tolist()]
        shown = Boxes(Picture.of(self.cases.input[row]), box[:, 1:].numpy(), names)
        return shown.drawn(), self.words(row)

    def findings(self) -> Iterator[Finding]:
        """Find faults that many boxes share: a wrong unit, and classes with few objects."""
        cases, boxes = self.cases, torch.cat(boxes_of(self.cases.target))
        outside = sum(skipped.code in ("outside", "no area") for skipped in cases.skipped)
        if outside > MANY * (outside + len(boxes)):
            message = _("{count} of {all} objects lie outside of their images or have no area")
            yield _wrong_unit(message.format(count=outside, all=outside + len(boxes)))
        boxes = boxes[boxes[:, 0] >= 0]
        small = int(((boxes[:, 3:] - boxes[:, 1:3]).amax(1) < SPECK * cases.side).sum())
        if small > MANY * len(boxes):
            message = _("{count} of {all} objects are smaller than a fiftieth of the side")
            yield _wrong_unit(message.format(count=small, all=len(boxes)))
        counts = boxes[:, 0].long().bincount(minlength=len(cases.classes)).tolist()
        few = [name for name, count in zip(cases.classes, counts, strict=True) if count < TINY]
        if few:
            message = _("fewer than {count} objects of: {labels}")
            yield tiny_class(message.format(count=TINY, labels=", ".join(few)), _("more images, or join classes"))


def first_of(cases: Dataset) -> Any:
    """Return the first entry of a target that is a ``ListColumn``; None for any other target."""
    return next(iter(cases.target), None) if isinstance(cases.target, ListColumn) else None


def _wrong_unit(message: str) -> Finding:
    fix = _("shares of the side in YOLO's files, pixels in COCO's and VOC's")
    return Finding("unit of boxes", "error", (), message, fix)
