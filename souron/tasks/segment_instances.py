"""Instance segmentation: an image in, the pixels of each object out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.data.splits import Split
from souron.data.targets.boxes import boxes_of
from souron.data.targets.instances import Instances, packed
from souron.evaluation.vision import detection
from souron.evaluation.vision.detection import DetectionSetup, Found
from souron.kinds.mask import Mask
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.metrics.metric import Metric
from souron.task import Answers, Step, Task
from souron.tasks.detect import CONF, IOU, Detection, Finder, Spec, mirrored, moved, renumbered
from souron.utils.messages import N_, UserError, _

MOST_PIXELS = 1_000_000_000  # of all masks of one image


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in 0..1
    target: list[Tensor]  # per image (n, 5): label, left, top, right, bottom in pixels
    mask: list[Tensor]  # per image (n, H, W) bool


class InstanceSegmenter(Finder):
    """An instance segmenter: ``segment`` finds boxes and the masks of the objects in them."""

    task = "segment_instances"

    def segment(self, image: Tensor, conf: float = CONF, iou: float = IOU) -> list[tuple[Tensor, Tensor]]:
        """Return per image boxes (n, 6), as from ``detect``, and masks (n, H, W) bool."""
        raise NotImplementedError(f"{type(self).__name__} needs segment()")

    def detect(self, image: Tensor, conf: float = CONF, iou: float = IOU) -> list[Tensor]:
        return [box for box, _mask in self.segment(image, conf, iou)]

    @torch.inference_mode()
    def found(self, data: Loader, conf: float = CONF, iou: float = IOU) -> Sequence[Found]:
        """Return the boxes and masks that ``segment`` finds in each case."""
        return [packed(box.cpu(), mask) for batch in data.once() for box, mask in self.segment(batch.image, conf, iou)]

    @torch.inference_mode()
    def predict(
        self,
        picture: Picture,
        *,
        conf: Annotated[float, Choice(N_("minimum confidence of an object"), low=0, high=1)] = 0.25,
        iou: Annotated[float, Choice(N_("merge boxes that overlap by"), low=0, high=1)] = 0.5,
        classes: Annotated[str, Choice(N_("labels to look for, with commas; all of them"), metavar="LABELS")] = "",
    ) -> Mask:
        """Return the objects in an image of any size, in its own pixels."""
        labels = self.numbers_of(classes)
        pixels, frame = self.framed(picture)
        batch = self.batch(Rows(pixels[None].to(self.device), None))
        [(box, mask)] = self.segment(batch.image, conf, iou)
        box, mask = box.cpu(), mask.cpu()
        if labels:
            rows = torch.isin(box[:, 0], torch.tensor(labels))
            box, mask = box[rows], mask[rows]
        width, height = picture.size
        most = max(1, MOST_PIXELS // (width * height))
        wide, high = (round(count * scale) for count, scale in zip(picture.size, frame, strict=False))
        inside = mask[:most, frame.top : frame.top + high, frame.left : frame.left + wide]
        areas = np.zeros((len(inside), height, width), dtype=bool)
        for area, small in zip(areas, inside, strict=True):
            large = F.interpolate(small[None, None].float(), (height, width), mode="bilinear")
            area[:] = large[0, 0].numpy() >= 0.5
        names = [self.spec.labels[int(label)] for label in box[:most, 0].tolist()]
        scores = box[:most, 5].clamp(0, 1).tolist()
        return Mask(picture, areas, names, scores, self.spec.labels)


@dataclass(frozen=True)
class Options:
    conf: Annotated[
        float | None, Choice(N_("minimum confidence of an object that is tested (default 0.001)"), low=0, high=1)
    ] = None
    iou: Annotated[
        float | None, Choice(N_("merge boxes that overlap by this much (default: the system's own)"), low=0, high=1)
    ] = None


class InstanceSegmentation(Detection, Task):
    """The pixels of each object in every test image, evaluated as in COCO."""

    title = N_("instance segmentation")
    takes = Picture
    gives = Mask
    metrics = (
        Metric(N_("mask AP"), unit="share", headline=True, kind="share"),
        Metric(N_("mask AP50"), unit="share", headline=True, kind="share"),
        Metric(N_("mask AP75"), unit="share", kind="share"),
        Metric(N_("box AP"), unit="share", kind="share"),
        Metric(N_("box AP50"), unit="share", kind="share"),
    )
    watches = "mask AP"
    default_data = "scenes"
    target = "instances"
    formats = ("yolo_masks", "coco_masks", "ids")
    augments = True

    def check(self, data: Dataset, options: Any) -> None:
        side = data.side if data.images else 0
        fits = isinstance(data.target, ListColumn) and all(
            isinstance(target, Instances) and target.bits.shape[1:] == (side, (side + 7) // 8) for target in data.target
        )
        if not fits or not any(map(len, boxes_of(data.target))):
            raise UserError(
                "no masks",
                _("{data} has no masks of objects").format(data=data.name),
                expected=_("images with a mask for each object"),
                fix="data=scenes",
                exit=3,
            )

    def batch(self, rows: Rows, spec: Spec) -> Any:
        """Scale images (B, C, H, W) from 0..255 to 0..1.

        Crowd regions, whose label is below 0, are excluded from training.
        """
        targets = [target.of(target.box[:, 0] >= 0) for target in rows.target or ()]
        masks = [target.masks(rows.input.shape[-1]) for target in targets]
        return Batch(rows.input.float() / 255, boxes_of(targets), masks)

    def moved(self, objects: Instances, move: Tensor, side: int) -> Instances:
        box, keep = moved(objects.box, move, side)
        right, down = move.tolist()
        masks = objects.of(keep).masks(side)
        return packed(box, F.pad(masks, (right, -right, down, -down)))

    def mirrored(self, objects: Instances, side: int) -> Instances:
        return packed(mirrored(objects.box, side), objects.masks(side).flip(2))

    def renumbered(self, target: Any, number: Tensor) -> ListColumn:
        return ListColumn([Instances(renumbered(target.box, number), target.bits) for target in target])

    def setup(self, data: Dataset, split: Split, options: Any) -> Iterator[Step]:
        boxes = boxes_of(data.target)
        mean = detection.mean_box([boxes[row] for row in split.train])
        constant = filled(mean, data.side)
        yield Step(1.0, result=DetectionSetup(options, data.only(split.test), constant=constant))

    def judged(
        self, predictions: Sequence[Found], cases: Dataset, sizes: bool = True
    ) -> dict[str, NDArray[np.float64]]:
        """Return pseudo-values (cases,) of each metric; in training, of mask metrics only."""
        return self.beside_boxes("mask", predictions, cases, sizes)

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "label", "left", "top", "right", "bottom", "score", "pixels"
        for file, objects in zip(test.file, detection.shown(answers, test), strict=True):
            assert isinstance(objects, Instances)
            pixels = objects.masks(test.side).sum((1, 2)).tolist()
            for (label, *edges, score), count in zip(objects.box.tolist(), pixels, strict=True):
                yield (file, test.classes[int(label)], *(round(edge, 1) for edge in edges), round(score, 4), count)


def filled(box: Tensor, side: int) -> Instances:
    """Return boxes (n, 6) with masks of all pixels whose centre is inside."""
    middle = torch.arange(side) + 0.5
    left_edge, top, right, bottom = box[:, 1:5, None].unbind(1)
    across = (middle >= left_edge) & (middle < right)
    down = (middle >= top) & (middle < bottom)
    return packed(box, down[:, :, None] & across[:, None])


__all__ = ["Batch", "InstanceSegmentation", "InstanceSegmenter", "Options", "Spec"]
