"""Object detection: an image in, a box around each object out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from souron.blocks.boxes import local_maxima
from souron.blocks.portable import Free, Input, Pixels, Portable
from souron.data import transforms
from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.data.splits import Split
from souron.data.targets.boxes import boxes_of
from souron.evaluation.steps import Explained, Maps
from souron.evaluation.vision import detection
from souron.evaluation.vision.detection import NOTHING, DetectionResult, DetectionSetup, Found
from souron.hub import published
from souron.hub.published import About
from souron.kinds.boxes import Boxes
from souron.kinds.codecs.image import Letterbox
from souron.kinds.kind import Kind
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice, signature
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Augment, Jackknifed, Step, Task, Trainings, numbers, one_by_one
from souron.utils.messages import N_, UserError, _

CONF, IOU = 0.001, 0.7  # default thresholds of an evaluation
SURE, OVERLAP = 0.25, 0.45  # default thresholds of explanations
MOST_SIDE = 4096  # pixels a side of an exported network's input
CANDIDATES = 200  # most that are drawn
MOST_CANDIDATES = 1000  # per image, the highest-scoring, before non-maximum suppression
SHOWN = (3, 128, 8)  # channels, pixels a side, labels that ``souron show`` builds with
PUBLISHED = (3, 640, 80)  # of COCO
LEAST_LEFT = 0.3  # least share of an object's area that a shift must leave in the image


def coco_labels() -> tuple[str, ...]:
    """Return the 80 labels of COCO's boxes in order, without the gaps in its numbers."""
    labels, start = published.CLASSES["coco"]
    return tuple(name for name in published.torchvision_list(labels)[start:] if name != "N/A")


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a detector needs before it is built."""

    channels: int
    side: int  # pixels
    labels: tuple[str, ...]


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in 0..1
    target: list[Tensor]  # per image (n, 5): label, left, top, right, bottom in pixels


class Finder(System):
    """A detector of boxes: ``forward`` maps images (B, C, H, W) to candidate boxes and scores.

    Boxes are (B, A, 4), left, top, right and bottom in pixels; scores (B, A, labels) in 0..1. Of
    candidates for the same object the highest-scoring is kept. A system that finds boxes in another
    way overrides ``detect``.
    """

    overlap: ClassVar[float] = IOU  # IoU threshold of non-maximum suppression
    step: ClassVar[int] = 0  # pixels; for systems that accept rectangular images, their sides are
    # multiples of it
    spec: Spec

    def framed(self, picture: Picture) -> tuple[Tensor, Letterbox]:
        """Return the network's input (channels, H, W) in 0..255 for an image of any size, and the
        image's position in it.
        """
        return picture.letterbox(self.spec.side, self.spec.channels, self.step)

    def detect(self, image: Tensor, conf: float = CONF, iou: float = IOU) -> list[Tensor]:
        """Return (n, 6) per image: label, left, top, right, bottom, score; the highest score first.

        ``conf`` is the minimum score; of two boxes of a label that overlap by more than ``iou`` the
        higher-scoring one is kept.
        """
        return [
            suppressed(box, score, conf, iou)
            for box, score in zip(*(part.float() for part in self(image)), strict=True)
        ]

    def explain(self, image: Tensor, truth: Tensor) -> Sequence[Explained | Maps]:
        """Return the intermediate steps for an image (1, C, H, W) in 0..1; empty if it shows none.

        ``truth`` (n, 5) are the objects, label and edges in pixels, possibly none.
        """
        return []

    def unknown(self, image: Tensor) -> Tensor:
        """Return an empty ``truth`` for ``explain``, for an image without annotations."""
        return image.new_zeros(0, 5)

    @torch.inference_mode()
    def candidates(self, image: Tensor) -> Explained:
        """Return the candidates in an image (1, C, H, W), before suppression."""
        box, score = (part[0].float() for part in self(image))
        sure, index = score.amax(1).topk(min(CANDIDATES, len(score)))
        box = box[index] if box.ndim == 2 else box[index, score[index].argmax(1)]
        caption = _("the most confident candidates: many for each object, and many for none")
        return Explained(_("Candidates"), caption, box, sure)

    @torch.inference_mode()
    def surest(self, image: Tensor) -> Explained:
        """Return the final boxes in an image (1, C, H, W)."""
        [boxes] = self.detect(image, SURE, OVERLAP)
        title, caption = _("Found boxes"), _("of boxes for one object the most confident stays")
        return Explained(title, caption, boxes[:, 1:5], boxes[:, 5].clamp(0, 1))

    @torch.inference_mode()
    def found(self, data: Loader, conf: float = CONF, iou: float = IOU) -> Sequence[Found]:
        """Return the boxes that ``detect`` finds in each case."""
        return [boxes.cpu() for batch in data.once() for boxes in self.detect(batch.image, conf, iou)]

    def numbers_of(self, classes: str) -> list[int]:
        """Parse comma-separated labels into their numbers. Raises UserError for unknown ones."""
        names = [name.strip() for name in classes.split(",") if name.strip()]
        for name in names:
            if name not in self.spec.labels:
                raise UserError(
                    "option",
                    _("{name} is none of its labels").format(name=name),
                    expected=", ".join(self.spec.labels[:20]),
                    fix=f"classes={self.spec.labels[0]}",
                )
        return [self.spec.labels.index(name) for name in names]

    def carried(
        self,
        network: Callable[[Tensor], Any],
        outputs: tuple[str, ...],
        shows: str,
        finish: Callable | None = None,
        **about: Any,
    ) -> Portable:
        """Return what others run: images in; candidates before suppression, ``outputs``, out.

        The first two are boxes (B, A, 4) and scores (B, A, labels). A system that accepts rectangles
        does so there, too.
        """
        side, channels = self.spec.side, self.spec.channels
        least = 2 * self.step if self.step <= side // 2 else 0  # smaller ones are always squares
        free = Free(least, MOST_SIDE // self.step * self.step, self.step) if least else None
        return Portable(
            Pixels(network, finish or tuple),
            (Input("image", (channels, side, side), free={1: free, 2: free} if free else {}),),
            outputs,
            "letterbox",
            shows,
            self.spec.labels,
            about={
                "side": side,
                "channels": channels,
                "step": self.step,
                "least": least,
                **self._shown_at(),
                "most": MOST_CANDIDATES,
                **about,
            },
            of_rows=lambda rows: (rows,),
            of_kind=lambda picture: (self.framed(picture)[0][None],),
        )

    def _shown_at(self) -> dict[str, float]:
        """Return the default thresholds of ``predict``."""
        options = signature(type(self))
        assert options is not None, "what finds boxes predicts"
        return {name: options.options[name].default for name in ("conf", "iou")}


class Detector(Finder):
    """A detector that returns boxes."""

    task = "detect"

    def portable(self) -> Portable:
        return self.carried(self, ("box", "probability"), "boxes")

    @torch.inference_mode()
    def predict(
        self,
        picture: Picture,
        *,
        conf: Annotated[float, Choice(N_("minimum confidence of a box"), low=0, high=1)] = 0.25,
        iou: Annotated[float, Choice(N_("merge boxes that overlap by"), low=0, high=1)] = 0.5,
        classes: Annotated[str, Choice(N_("labels to look for, with commas; all of them"), metavar="LABELS")] = "",
    ) -> Boxes:
        """Return the boxes in an image of any size, in its own pixels."""
        labels = self.numbers_of(classes)
        pixels, frame = self.framed(picture)
        batch = self.batch(Rows(pixels[None].to(self.device), None))
        [boxes] = self.detect(batch.image, conf, iou)
        if labels:
            boxes = boxes[torch.isin(boxes[:, 0].cpu(), torch.tensor(labels)).to(boxes.device)]
        box = frame.back(boxes[:, 1:5].double().cpu().numpy())
        box = box.clip(0, np.array(picture.size * 2))
        names = [self.spec.labels[int(label)] for label in boxes[:, 0].tolist()]
        scores = boxes[:, 5].clamp(0, 1).tolist()
        return Boxes(picture, box, names, scores, self.spec.labels)


def suppressed(box: Tensor, score: Tensor, conf: float, iou: float) -> Tensor:
    """Apply non-maximum suppression within each label.

    Candidates are (A, 4), or (A, labels, 4) where each label has its own edges; scores (A, labels).
    Returns (n, 6), at most ``detection.MOST``, the highest score first.
    """
    return chosen(box, score, conf, iou)[0]


def chosen(box: Tensor, score: Tensor, conf: float, iou: float) -> tuple[Tensor, Tensor]:
    """Apply ``suppressed`` and return also the index (n,) of the candidate of each box."""
    able = (score.amax(1) > conf).nonzero().flatten()  # few; a search among all labels takes longer
    row, label = (score[able] > conf).nonzero(as_tuple=True)
    index = able[row]
    sure = score[index, label]
    if len(sure) > MOST_CANDIDATES:
        sure, order = sure.topk(MOST_CANDIDATES)
        index, label = index[order], label[order]
    edges = box[index] if box.ndim == 2 else box[index, label]
    keep = local_maxima(edges, sure, label, iou)[: detection.MOST]
    boxes = torch.cat([label[keep, None].float(), edges[keep], sure[keep, None]], 1)
    return boxes, index[keep]


@dataclass(frozen=True)
class Options:
    conf: Annotated[
        float | None, Choice(N_("minimum confidence of a box that is tested (default 0.001)"), low=0, high=1)
    ] = None
    iou: Annotated[
        float | None, Choice(N_("merge boxes that overlap by this much (default: the system's own)"), low=0, high=1)
    ] = None


class Detection(Jackknifed, Task):
    """The boxes in every test image, evaluated as in COCO."""

    title = N_("object detection")
    takes = Picture
    gives: ClassVar[type[Kind]] = Boxes
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(N_("AP"), unit="share", headline=True, kind="share"),
        Metric(N_("AP50"), unit="share", headline=True, kind="share"),
        Metric(N_("AP75"), unit="share", kind="share"),
        Metric(N_("AP small"), unit="share", kind="share"),
        Metric(N_("AP medium"), unit="share", kind="share"),
        Metric(N_("AP large"), unit="share", kind="share"),
    )
    watches = "AP"
    default_data = "scenes"
    first_system = "yolo"
    target = "boxes"
    formats: ClassVar[tuple[str, ...]] = ("yolo_boxes", "coco", "voc")
    published_from = "COCO"
    augments = True

    def check(self, data: Dataset, options: Options) -> None:
        if not isinstance(data.target, ListColumn) or not any(len(box) for box in data.target):
            raise UserError(
                "no boxes",
                _("{data} has no boxes").format(data=data.name),
                expected=_("images with boxes around objects: YOLO, COCO or VOC"),
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
        """Scale images (B, C, H, W) from 0..255 to 0..1.

        Crowd regions, whose label is below 0, are excluded from training.
        """
        target = [] if rows.target is None else [box[box[:, 0] >= 0] for box in rows.target]
        return Batch(rows.input.float() / 255, target)

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        if "rotate" in names:
            raise UserError(
                "augment",
                _("a turned box is no box"),
                expected="shift, mirror, brightness, erase",
                fix="augment=shift,mirror",
            )
        return one_by_one(names, self.changed)

    def changed(self, rows: Rows, name: str, generator: Generator) -> Rows:
        """Apply one augmentation to images and to their objects."""
        objects, side = list(rows.target), rows.input.shape[-1]
        if name == "shift":
            image, moves = transforms.shifted(rows.input, generator)
            objects = [self.moved(*pair, side) for pair in zip(objects, moves, strict=True)]
        elif name == "mirror":
            image, turns = transforms.mirrored(rows.input, generator)
            objects = [
                self.mirrored(boxes, side) if turn else boxes
                for boxes, turn in zip(objects, turns.tolist(), strict=True)
            ]
        else:
            image = transforms.CHANGES[name](rows.input, generator)
        return Rows(image, ListColumn(objects))

    def moved(self, objects: Any, move: Tensor, side: int) -> Any:
        """Shift the objects of an image by (2,) pixels, dropping those that leave it."""
        return moved(objects, move, side)[0]

    def mirrored(self, objects: Any, side: int) -> Any:
        """Mirror the objects of an image left to right."""
        return mirrored(objects, side)

    def renumbered(self, target: Any, number: Tensor) -> ListColumn:
        return ListColumn([renumbered(box, number) for box in target])

    def judged(
        self, predictions: Sequence[Found], cases: Dataset, sizes: bool = True
    ) -> dict[str, NDArray[np.float64]]:
        """Return pseudo-values (cases,) of each metric."""
        return detection.scores_of(predictions, cases, sizes)

    def beside_boxes(
        self, kind: str, predictions: Sequence[Found], cases: Dataset, boxes: bool
    ) -> dict[str, NDArray[np.float64]]:
        """Return pseudo-values (cases,) of masks or keypoints, and with ``boxes`` of the boxes.

        The metrics are named ``kind AP`` and ``box AP``.
        """
        every = {kind: detection.scores_of(predictions, cases, sizes=False)}
        if boxes:
            box_cases = replace(cases, target=ListColumn(boxes_of(cases.target)))
            every["box"] = detection.scores_of(boxes_of(predictions), box_cases, sizes=False)
        scores = {f"{of} {name}": values for of, table in every.items() for name, values in table.items()}
        return {metric.name: scores[metric.name] for metric in self.metrics if metric.name in scores}

    def setup(self, data: Dataset, split: Split, options: Options) -> Iterator[Step]:
        constant = detection.mean_box(data.target.index_select(0, split.train))
        yield Step(1.0, result=DetectionSetup(options, data.only(split.test), constant=constant))

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, Finder)
        scores = self.judged(system.found(data, CONF, system.overlap), data.cases, sizes=False)
        metrics = [metric.name for metric in self.metrics[:2]]
        return {name: torch.from_numpy(scores[name]) for name in metrics if name in scores}

    def decide(self, system: System, val: Dataset, setup: DetectionSetup) -> dict[str, float]:
        """Choose the score threshold for display that maximises F1 on validation cases."""
        assert isinstance(system, Finder)
        return {"conf": detection.threshold(self._found(system, val, setup), val)}

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: DetectionSetup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, Finder)
        thresholds = torch.full((len(test),), decision.get("conf", detection.SHOWN_FROM)).double()
        answers = detection.packed(self._found(system, test, setup))
        yield Step(1.0, result={**answers, "conf": thresholds})

    def _found(self, system: Finder, cases: Dataset, setup: DetectionSetup) -> Sequence[Found]:
        conf, iou = setup.options.conf, setup.options.iou
        thresholds = (CONF if conf is None else conf), (system.overlap if iou is None else iou)
        with numbers(system, setup):
            return system.found(system.loader(cases), *thresholds)

    def judge(self, answers: Answers, setup: DetectionSetup) -> dict[str, NDArray[np.float64]]:
        return self.judged(detection.unpacked(answers, setup.test), setup.test)

    def ask_untrained(self, system: System, setup: DetectionSetup) -> Answers:
        assert isinstance(system, Finder)
        return detection.packed(self._found(system, setup.test, setup), "untrained")

    def result(self, trainings: Trainings, setup: DetectionSetup) -> DetectionResult:
        return detection.result(trainings, setup, self.judged)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: DetectionSetup) -> dict[str, list[Any]]:
        """Return system -> the boxes that its first seed shows in each test image."""
        return {name: detection.shown(seeds[0], setup.test) for name, seeds in answers.items()}

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "label", "left", "top", "right", "bottom", "score"
        boxes_of_cases = boxes_of(detection.shown(answers, test))
        for file, boxes in zip(test.file, boxes_of_cases, strict=True):
            for label, *edges, score in boxes.tolist():
                yield (file, test.classes[int(label)], *(round(edge, 1) for edge in edges), round(score, 4))


def moved(box: Tensor, move: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Shift boxes (n, 5) by (2,) pixels, clip them, and return a mask (n,) of those kept."""
    far = box.clone()
    far[:, 1:] += torch.cat([move, move])
    inside = far.clone()
    inside[:, 1:].clamp_(0, side)
    keep = _area(inside) > LEAST_LEFT * _area(far)
    return inside[keep], keep


def mirrored(box: Tensor, side: int) -> Tensor:
    label, left_edge, top, right, bottom = box.unbind(1)
    return torch.stack([label, side - right, top, side - left_edge, bottom], 1)


def _area(box: Tensor) -> Tensor:
    return (box[:, 3:] - box[:, 1:3]).prod(1)


def renumbered(box: Tensor, number: Tensor) -> Tensor:
    """Map labels through ``number`` (labels,), including those of crowd regions."""
    label = box[:, 0].long()
    there = number[torch.where(label < 0, -1 - label, label)]
    there = torch.where(label < 0, -1 - there, there)
    return torch.cat([there[:, None].to(box.dtype), box[:, 1:]], 1)


__all__ = [
    "NOTHING",
    "Batch",
    "Detection",
    "Detector",
    "Explained",
    "Finder",
    "Maps",
    "Options",
    "Spec",
    "chosen",
    "suppressed",
]
