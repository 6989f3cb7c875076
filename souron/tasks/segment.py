"""Semantic segmentation: an image in, a class for every pixel out."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from souron.blocks.portable import Input, Pixels, Portable, refused
from souron.data import transforms
from souron.data.dataset import Dataset, Loader, Rows
from souron.data.splits import Split
from souron.evaluation.steps import Maps
from souron.evaluation.vision import segmentation
from souron.evaluation.vision.segmentation import UNKNOWN, SegmentationResult, SegmentationSetup
from souron.hub import published
from souron.hub.published import About
from souron.kinds.codecs.image import Letterbox
from souron.kinds.mask import Mask
from souron.kinds.picture import Picture
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Augment, Jackknifed, Step, Task, Trainings, numbers, one_by_one
from souron.utils.messages import N_, UserError, _

SHOWN = (3, 128, 9)  # channels, pixels a side, classes that ``souron show`` builds with
PUBLISHED = (3, 512, 21)  # of VOC
AT_ONCE = 16  # images per training step
VALUES = 20_000_000  # most logits computed at once
MOST_MAPS = 5  # classes whose probabilities are shown
LONGEST = 4  # times the shorter side of an image that is not padded
SMOOTH = 1.0  # smoothing term of the Dice loss, in pixels


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a segmenter needs before it is built."""

    channels: int
    side: int  # pixels
    labels: tuple[str, ...]  # the first is the background


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in 0..1
    target: Tensor  # (B, H, W) int64, ``UNKNOWN`` for unlabelled pixels


class Segmenter(System):
    """A semantic segmenter: ``forward`` maps images (B, C, H, W) to logits (B, labels, H, W)."""

    task = "segment"
    spec: Spec

    def loss(self, batch: Batch) -> Tensor:
        """Return the sum of the cross-entropy over labelled pixels and the Dice loss."""
        logits = self(batch.image).float()
        return cross_entropy(logits, batch.target) + dice_loss(logits, batch.target)

    def loss_of_heads(self, batch: Batch, scores: Tensor, beside: Tensor, weight: float) -> Tensor:
        """Return the loss of ``scores`` (B, labels, h, w), and ``weight`` times the cross-entropy
        of those of a second head, both enlarged to the image.
        """
        size = batch.image.shape[2:]
        logits, other = (F.interpolate(x.float(), size, mode="bilinear") for x in (scores, beside))
        loss = cross_entropy(logits, batch.target) + dice_loss(logits, batch.target)
        return loss + weight * cross_entropy(other, batch.target)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        for image, target in zip(*(part.split(AT_ONCE) for part in batch), strict=True):
            if len(image) > 1 or len(batch.image) == 1:  # batch norm needs two
                yield "model", self.loss(Batch(image, target))

    @torch.inference_mode()
    def found(self, data: Loader) -> Tensor:
        """Return the class of every pixel of each case, (cases, H, W) uint8."""
        values_of_case = len(self.spec.labels) * self.spec.side**2
        return torch.cat(
            [
                self(image).argmax(1).byte().cpu()
                for batch in data.once()
                for image in batch.image.split(max(1, VALUES // values_of_case))
            ]
        )

    @torch.inference_mode()
    def explain(self, image: Tensor, truth: Tensor) -> list[Maps]:
        """Return class probability maps and the entropy map of an image (1, C, H, W) in 0..1.

        The classes shown are those with the largest predicted or true area.
        """
        chance = self(image)[0].float().softmax(0)  # (labels, H, W)
        there = chance.mean((1, 2))
        there += truth[..., None].eq(torch.arange(len(there), device=truth.device)).any(0).any(0)
        largest = there[1:].argsort(descending=True)[:MOST_MAPS].add(1).tolist()
        bits = torch.special.entr(chance).sum(0) / math.log(2)
        most = _("at most {bits:.2f} bits").format(bits=float(bits.max()))
        maps_of_classes = [(self.spec.labels[label], chance[label]) for label in (*sorted(largest), 0)]
        return [
            Maps(
                _("Probability of each class"),
                _(
                    "probability of each class for every pixel: softmax of its logits; the "
                    "likeliest one is the prediction"
                ),
                maps_of_classes,
                "heat",
            ),
            Maps(
                _("Uncertainty"),
                _("the entropy of these probabilities, the brighter the higher: mostly where areas end"),
                [(most, bits / bits.max().clamp(min=1e-6))],
            ),
        ]

    def unknown(self, image: Tensor) -> Tensor:
        """Return a ``truth`` of unknown pixels, for an image without annotations."""
        return torch.full(image.shape[2:], UNKNOWN, device=image.device)

    def framed(self, picture: Picture) -> tuple[Tensor, Letterbox]:
        """Return the network's input (channels, H, W) in 0..255 for an image of any size, and the
        image's position in it.

        For published weights, the shorter side is that of their training.
        """
        if self.as_published:
            side, short = self.spec.side, min(picture.size)
            width, height = (min(LONGEST * side, side * edge // short) for edge in picture.size)
            return picture.resized((width, height), smooth=True)
        return picture.letterbox(self.spec.side, self.spec.channels)

    def portable(self) -> Portable:
        if self.as_published:
            raise refused(
                type(self).__name__, _("its published weights take images of any size, with a scale of their own")
            )
        side, channels = self.spec.side, self.spec.channels
        return Portable(
            Pixels(self, lambda logits: (logits.float(),)),
            (Input("image", (channels, side, side)),),
            ("score",),
            "letterbox",
            "mask",
            self.spec.labels,
            {"score": 1},
            {"side": side, "channels": channels, "step": 0, "least": 0},
            of_rows=lambda rows: (rows,),
            of_kind=lambda picture: (self.framed(picture)[0][None],),
        )

    @torch.inference_mode()
    def predict(self, picture: Picture) -> Mask:
        """Return the class of every pixel of an image of any size."""
        pixels, frame = self.framed(picture)
        batch = self.batch(Rows(pixels[None].to(self.device), None))
        logits = self(batch.image)[0].float()
        width, height = picture.size
        wide, high = (round(count * scale) for count, scale in zip(picture.size, frame, strict=False))
        inside = logits[:, frame.top : frame.top + high, frame.left : frame.left + wide]
        names = ["", *self.spec.labels[1:]]
        return Mask(picture, enlarged(inside, height, width).cpu().numpy(), names)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy over the labelled pixels."""
    total = F.cross_entropy(logits, target, ignore_index=UNKNOWN, reduction="sum")
    return total / (target != UNKNOWN).sum().clamp(min=1)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - 2 |A and B| / (|A| + |B|), averaged over the classes in these images.

    Unlabelled pixels are excluded from both sets.

    Milletari, Navab, Ahmadi: V-Net: Fully Convolutional Neural Networks for Volumetric Medical
    Image Segmentation (2016). https://arxiv.org/abs/1606.04797
    """
    mask = (target != UNKNOWN)[:, None]
    probability = logits.softmax(1) * mask  # (B, labels, H, W)
    label = torch.where(target == UNKNOWN, 0, target)[:, None]
    intersection = torch.zeros_like(probability[0, :, 0, 0]).index_add(
        0, label.flatten(), probability.gather(1, label).flatten()
    )
    true = torch.zeros_like(intersection).index_add(0, label.flatten(), mask.flatten().to(probability.dtype))
    dice = (2 * intersection + SMOOTH) / (probability.sum((0, 2, 3)) + true + SMOOTH)
    there = true > 0
    return (1 - dice)[there].mean() if there.any() else 0 * dice.sum()


def enlarged(logits: Tensor, height: int, width: int) -> Tensor:
    """Upsample logits (labels, h, w) bilinearly and return the classes (height, width) uint8.

    Large images are processed in strips of rows.
    """
    across = F.interpolate(logits[None], (logits.shape[1], width), mode="bilinear")[0]
    position = (torch.arange(height, device=logits.device) + 0.5) * across.shape[1] / height - 0.5
    position = position.clamp(0, across.shape[1] - 1)
    above = position.long()
    below, share = (above + 1).clamp(max=across.shape[1] - 1), (position - above)[:, None]
    strips = max(1, VALUES // (len(logits) * width))
    return torch.cat(
        [
            torch.lerp(across[:, up], across[:, down], part).argmax(0).byte()
            for up, down, part in zip(*(x.split(strips) for x in (above, below, share)), strict=True)
        ]
    )


class Segmentation(Jackknifed, Task):
    """The class of every pixel of every test image."""

    title = N_("semantic segmentation")
    takes = Picture
    gives = Mask
    metrics = (
        Metric(N_("mIoU"), unit="share", headline=True, kind="share"),
        Metric(N_("object IoU"), unit="share", headline=True, kind="share"),
        Metric(N_("boundary IoU"), unit="share", kind="share"),
        Metric(N_("pixel accuracy"), unit="share", kind="share"),
    )
    watches = "mIoU"
    default_data = "scenes"
    target = "classes_of_pixels"
    formats = ("masks", "areas")
    published_from = "COCO"
    augments = True

    def check(self, data: Dataset, options: Any) -> None:
        fault = segmentation.fault(data)
        if fault:
            raise UserError(
                "no masks",
                fault,
                expected=_("images with masks: a class number for every pixel"),
                fix="data=scenes",
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        return Spec(train.channels, train.side, tuple(train.classes))

    def published_spec(self, about: About) -> Spec:
        return Spec(3, about.side, published.labels(about))

    def example(self, system: type[System], size: str) -> Spec:
        channels, side, labels = SHOWN if size in ("tiny", "small", "lite") else PUBLISHED
        return Spec(channels, side, tuple(map(str, range(labels))))

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        """Scale images (B, C, H, W) from 0..255 to 0..1."""
        image = rows.input.float() / 255
        if rows.target is None:
            return Batch(image, torch.full_like(image[:, 0], UNKNOWN, dtype=torch.long))
        return Batch(image, rows.target.long())

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        return one_by_one(names, _changed)

    def renumbered(self, target: Any, number: Tensor) -> Tensor:
        every = torch.full((UNKNOWN + 1,), UNKNOWN, dtype=torch.uint8)
        every[: len(number)] = number.byte()
        return every[target.long()]

    def setup(self, data: Dataset, split: Split, options: Any) -> Iterator[Step]:
        constant = segmentation.most_frequent(data.target, split.train, len(data.classes))
        yield Step(1.0, result=SegmentationSetup(options, data.only(split.test), constant=constant))

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, Segmenter)
        scores = segmentation.scores_of(system.found(data), data.cases, edges=False)
        metrics = ("mIoU", "object IoU")
        return {name: torch.from_numpy(scores[name]) for name in metrics if name in scores}

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: SegmentationSetup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, Segmenter)
        yield Step(1.0, result={"found": _found(system, test, setup)})

    def judge(self, answers: Answers, setup: SegmentationSetup) -> dict[str, Any]:
        return segmentation.scores_of(segmentation.said(answers), setup.test)

    def ask_untrained(self, system: System, setup: SegmentationSetup) -> Answers:
        assert isinstance(system, Segmenter)
        return {"untrained": _found(system, setup.test, setup)}

    def result(self, trainings: Trainings, setup: SegmentationSetup) -> SegmentationResult:
        return segmentation.result(trainings, setup)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: SegmentationSetup) -> dict[str, Tensor]:
        """Return system -> the class maps that its first seed predicts for the test images."""
        return {name: segmentation.said(seeds[0]) for name, seeds in answers.items()}

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "label", "pixels", "true", "IoU"
        counts = segmentation.counted(segmentation.said(answers), test, edges=False).whole
        for row, file in enumerate(test.file):
            for label, name in enumerate(test.classes):
                intersection, true, predicted = (int(part[row, label]) for part in counts)
                if true or predicted:
                    yield file, name, predicted, true, round(intersection / (true + predicted - intersection), 4)


def _found(system: Segmenter, cases: Dataset, setup: SegmentationSetup) -> Tensor:
    with numbers(system, setup):
        return system.found(system.loader(cases))


def _changed(rows: Rows, name: str, generator: Generator) -> Rows:
    """Apply one augmentation to images and to their masks."""
    mask = rows.target
    if name == "shift":
        image, moves = transforms.shifted(rows.input, generator)
        mask = torch.stack([_moved(target, *move) for target, move in zip(mask, moves.tolist(), strict=True)])
    elif name == "mirror":
        image, flips = transforms.mirrored(rows.input, generator)
        mask = torch.where(flips[:, None, None], mask.flip(2), mask)
    elif name == "erase":
        image, holes = transforms.erased(rows.input, generator)
        mask = mask.masked_fill(holes, UNKNOWN)
    elif name == "rotate":
        image, grid, _angle = transforms.rotated(rows.input, generator)
        # add one so that padding from outside becomes 0
        there = F.grid_sample(mask[:, None] + 1.0, grid, mode="nearest", align_corners=False)[:, 0]
        mask = torch.where(there > 0, there - 1, UNKNOWN).to(mask.dtype)
    else:
        image = transforms.CHANGES[name](rows.input, generator)
    return Rows(image, mask)


def _moved(mask: Tensor, right: int, down: int) -> Tensor:
    """Shift a mask (H, W) by pixels; the area shifted in is ``UNKNOWN``."""
    return F.pad(mask, (right, -right, down, -down), value=UNKNOWN)


__all__ = ["UNKNOWN", "Batch", "Segmentation", "Segmenter", "Spec", "cross_entropy", "dice_loss"]
