"""Pose estimation: an image in, each figure with its named keypoints out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.data.splits import Split
from souron.data.targets.boxes import boxes_of
from souron.data.targets.poses import COCO_LINES, Figures, Skeleton
from souron.evaluation.steps import Explained, Maps
from souron.evaluation.vision import detection, poses
from souron.evaluation.vision.detection import DetectionSetup, Found
from souron.hub import published
from souron.hub.published import About
from souron.kinds.picture import Picture
from souron.kinds.poses import Poses
from souron.kinds.signature import Choice
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Step, Task
from souron.tasks import detect
from souron.tasks.detect import CONF, IOU, PUBLISHED, SHOWN, Detection, Finder, mirrored, moved, renumbered
from souron.utils.messages import N_, UserError, _

POINTS = 13  # keypoints that ``souron show`` builds with
PUBLISHED_POINTS = 17  # of COCO
KEYPOINTS = "_COCO_PERSON_KEYPOINT_NAMES"  # torchvision's list of them


def body() -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return COCO's 17 points of a body, and the ends of the lines that join them, in pairs."""
    points = published.torchvision_list(KEYPOINTS)
    return points, tuple(end for line in COCO_LINES for end in line)


@dataclass(frozen=True)
class Spec(detect.Spec):
    """The detector's specification, and the keypoints of a figure."""

    points: tuple[str, ...]  # their names
    lines: tuple[int, ...] = ()  # pairs of indices of the keypoints that lines join

    @property
    def skeleton(self) -> Skeleton:
        pairs = [(start, end) for start, end in zip(self.lines[::2], self.lines[1::2], strict=True)]
        return Skeleton(self.points, tuple(pairs))


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in 0..1
    target: list[Tensor]  # per image (n, 5): label, left, top, right, bottom in pixels
    point: list[Tensor]  # per image (n, K, 3): x, y in pixels, above 0 if annotated


class Poser(Finder):
    """A pose estimator: ``poses`` finds boxes and the keypoints of the figures in them."""

    task = "pose"
    spec: Spec

    def poses(self, image: Tensor, conf: float = CONF, iou: float = IOU) -> list[tuple[Tensor, Tensor]]:
        """Return per image boxes (n, 6), as from ``detect``, and keypoints (n, K, 3).

        A keypoint is x, y in pixels and a score in 0..1.
        """
        raise NotImplementedError(f"{type(self).__name__} needs poses()")

    def detect(self, image: Tensor, conf: float = CONF, iou: float = IOU) -> list[Tensor]:
        return [box for box, _point in self.poses(image, conf, iou)]

    def maps(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return per image boxes (n, 6) and heat maps (n, K, h, w) within the boxes.

        Each heat map has sum 1. Empty for systems without heat maps.
        """
        return []

    def explain(self, image: Tensor, truth: Tensor) -> list[Explained | Maps]:
        """Return the boxes, and the heat maps of the keypoints of the highest-scoring box."""
        steps: list[Explained | Maps] = [self.surest(image)]
        maps_of_boxes = self.maps(image)
        if maps_of_boxes and len(maps_of_boxes[0][0]):
            maps = maps_of_boxes[0][1][0].float()
            bright = (maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12)).sqrt()
            title, caption = (
                _("Maps of points"),
                _("where in the most confident box each point may be, the brighter the likelier"),
            )
            steps.append(Maps(title, caption, list(zip(self.spec.points, bright, strict=True))))
        return steps

    @torch.inference_mode()
    def found(self, data: Loader, conf: float = CONF, iou: float = IOU) -> Sequence[Found]:
        """Return the boxes and keypoints that ``poses`` finds in each case."""
        return [
            poses.joined(box.float().cpu(), point.float().cpu(), self.spec.skeleton)
            for batch in data.once()
            for box, point in self.poses(batch.image, conf, iou)
        ]

    @torch.inference_mode()
    def predict(
        self,
        picture: Picture,
        *,
        conf: Annotated[float, Choice(N_("minimum confidence of a figure"), low=0, high=1)] = 0.25,
        iou: Annotated[float, Choice(N_("merge boxes that overlap by"), low=0, high=1)] = 0.5,
        classes: Annotated[str, Choice(N_("labels to look for, with commas; all of them"), metavar="LABELS")] = "",
    ) -> Poses:
        """Return the figures in an image of any size, in its own pixels."""
        labels = self.numbers_of(classes)
        pixels, frame = self.framed(picture)
        batch = self.batch(Rows(pixels[None].to(self.device), None))
        [(box, point)] = self.poses(batch.image, conf, iou)
        box, point = box.double().cpu(), point.double().cpu()
        if labels:
            rows = torch.isin(box[:, 0], torch.tensor(labels).double())
            box, point = box[rows], point[rows]
        size = np.array(picture.size * 2)
        edges = frame.back(box[:, 1:5].numpy()).clip(0, size)
        at = frame.back(point[..., :2].repeat(1, 1, 2).reshape(-1, 4).numpy()).clip(0, size)
        names = [self.spec.labels[int(label)] for label in box[:, 0].tolist()]
        return Poses(
            picture,
            edges,
            names,
            at[:, :2],
            self.spec.points,
            box[:, 5].clamp(0, 1).tolist(),
            point[..., 2].clamp(0, 1).numpy(),
            self.spec.skeleton.lines,
            self.spec.labels,
        )


@dataclass(frozen=True)
class Options:
    conf: Annotated[
        float | None, Choice(N_("minimum confidence of a figure that is tested (default 0.001)"), low=0, high=1)
    ] = None
    iou: Annotated[
        float | None, Choice(N_("merge boxes that overlap by this much (default: the system's own)"), low=0, high=1)
    ] = None


class PoseEstimation(Detection, Task):
    """The keypoints of each figure in every test image, evaluated as in COCO."""

    title = N_("pose estimation")
    takes = Picture
    gives = Poses
    metrics = (
        Metric(N_("OKS AP"), unit="share", headline=True, kind="share"),
        Metric(N_("OKS AP50"), unit="share", headline=True, kind="share"),
        Metric(N_("OKS AP75"), unit="share", kind="share"),
        Metric(N_("box AP"), unit="share", kind="share"),
        Metric(N_("box AP50"), unit="share", kind="share"),
    )
    watches = "OKS AP"
    default_data = "people"
    target = "poses"
    formats = ("yolo_pose", "coco_keypoints")
    augments = True

    def check(self, data: Dataset, options: Any) -> None:
        figures = list(data.target) if isinstance(data.target, ListColumn) else []
        fits = figures and all(isinstance(figure, Figures) for figure in figures)
        if not fits or not any((figure.point[..., 2] > 0).any() for figure in figures):
            raise UserError(
                "no poses",
                _("{data} has no figures with points").format(data=data.name),
                expected=_("images with a box and named points for each figure: COCO or YOLO"),
                fix="data=people",
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        skeleton = train.target[0].skeleton
        lines = tuple(end for line in skeleton.lines for end in line)
        return Spec(train.channels, train.side, tuple(train.classes), skeleton.names, lines)

    def published_spec(self, about: About) -> Spec:
        return Spec(3, about.side, published.labels(about), *body())

    def example(self, system: type[System], size: str) -> Spec:
        small = size in ("tiny", "small", "lite")
        channels, side, _labels = SHOWN if small else PUBLISHED
        points = POINTS if small else PUBLISHED_POINTS
        return Spec(channels, side, ("0",), tuple(map(str, range(points))))

    def batch(self, rows: Rows, spec: detect.Spec) -> Any:
        """Scale images (B, C, H, W) from 0..255 to 0..1.

        Crowd regions, whose label is below 0, are excluded from training.
        """
        targets = [figure.of(figure.box[:, 0] >= 0) for figure in rows.target or ()]
        return Batch(rows.input.float() / 255, boxes_of(targets), [target.point for target in targets])

    def moved(self, objects: Figures, move: Tensor, side: int) -> Figures:
        box, keep = moved(objects.box, move, side)
        point = objects.point[keep].clone()
        point[..., :2] += move
        outside = ((point[..., :2] < 0) | (point[..., :2] > side)).any(-1)
        point[..., 2] = point[..., 2].masked_fill(outside, 0)
        return Figures(box, point, objects.area[keep], objects.skeleton)

    def mirrored(self, objects: Figures, side: int) -> Figures:
        point = objects.point[:, objects.skeleton.mirror].clone()
        point[..., 0] = side - point[..., 0]
        return objects._replace(box=mirrored(objects.box, side), point=point)

    def renumbered(self, target: Any, number: Tensor) -> ListColumn:
        return ListColumn([figures._replace(box=renumbered(figures.box, number)) for figures in target])

    def setup(self, data: Dataset, split: Split, options: Any) -> Iterator[Step]:
        constant = poses.mean_pose(list(data.target.index_select(0, split.train)))
        yield Step(1.0, result=DetectionSetup(options, data.only(split.test), constant=constant))

    def judged(
        self, predictions: Sequence[Found], cases: Dataset, sizes: bool = True
    ) -> dict[str, NDArray[np.float64]]:
        """Return pseudo-values (cases,) of each metric; in training, of keypoint metrics only."""
        return self.beside_boxes("OKS", predictions, cases, sizes)

    def _found(self, system: Finder, cases: Dataset, setup: DetectionSetup) -> Sequence[Found]:
        assert isinstance(system, Poser)
        names = cases.target[0].skeleton.names if cases.target is not None and len(cases) else ()
        if names and names != system.spec.points:
            raise UserError(
                "points",
                _("the model does not know the points {names}").format(names=", ".join(names)),
                expected=", ".join(system.spec.points),
                exit=3,
            )
        return super()._found(system, cases, setup)

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "figure", "label", "score", "point", "x", "y", "point score"
        for file, figures in zip(test.file, detection.shown(answers, test), strict=True):
            assert isinstance(figures, Figures)
            for number, (box, point) in enumerate(zip(figures.box, figures.point, strict=True), 1):
                label, score = test.classes[int(box[0])], round(float(box[5]), 4)
                for name, (x, y, sure) in zip(figures.skeleton.names, point.tolist(), strict=True):
                    yield (file, number, label, score, name, round(x, 2), round(y, 2), round(sure, 4))


__all__ = ["Batch", "Explained", "Options", "PoseEstimation", "Poser", "Spec"]
