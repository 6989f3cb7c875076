"""Panoptic segmentation: an image in, the class and instance of every pixel out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from souron.data import transforms
from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.data.splits import Split
from souron.data.targets.panoptic import MOST, Panoptic, boxes_of, stuff_of
from souron.evaluation.vision import panoptic
from souron.evaluation.vision.panoptic import PanopticResult, PanopticSetup
from souron.kinds.picture import Picture
from souron.kinds.segments import Segments
from souron.kinds.signature import Choice
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Augment, Jackknifed, Step, Task, Trainings, numbers, one_by_one
from souron.utils.messages import N_, UserError, _

SHOWN = (3, 128, 9)  # channels, pixels a side, labels that ``souron show`` builds with
PUBLISHED = (3, 640, 133)  # of COCO, of which 53 are stuff
CONF = panoptic.SHOWN_FROM  # default minimum score of a thing
TRIED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # candidates; the best one on validation is chosen
TRIED_ON = 128  # validation images


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a panoptic segmenter needs before it is built."""

    channels: int
    side: int  # pixels
    labels: tuple[str, ...]
    stuff: tuple[str, ...]  # labels without countable instances

    @property
    def things(self) -> tuple[str, ...]:
        return tuple(label for label in self.labels if label not in self.stuff)


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in 0..1
    target: list[Panoptic]  # one per image


class Answered(NamedTuple):
    """The segments of an image and their scores (n,) in 0..1."""

    segments: Panoptic
    score: Tensor


@dataclass(frozen=True)
class Shown:
    """One intermediate step of a system, drawn on the image."""

    title: str  # in the reader's language
    caption: str
    segments: Panoptic  # overlapping no more than in an answer


class PanopticSegmenter(System):
    """A panoptic segmenter: ``divide`` partitions images into segments."""

    task = "segment_panoptic"
    spec: Spec

    def divide(self, image: Tensor, conf: float = CONF) -> list[Answered]:
        """Return the segments of images (B, C, H, W); ``conf`` is the minimum score of a thing."""
        return self.merged(self.candidates(image), conf)

    def candidates(self, image: Tensor) -> list[Any]:
        """Return per image the input of ``merged``, independent of the minimum score."""
        raise NotImplementedError(f"{type(self).__name__} needs candidates()")

    def merged(self, candidates: Sequence[Any], conf: float = CONF) -> list[Answered]:
        """Merge candidates into the segments of each image."""
        raise NotImplementedError(f"{type(self).__name__} needs merged()")

    def explain(self, image: Tensor, truth: Panoptic | None, conf: float = CONF) -> list[Shown]:
        """Return the intermediate steps for an image (1, C, H, W) in 0..1, if there are any."""
        return []

    def unknown(self, image: Tensor) -> None:
        """Return no ``truth`` for ``explain``, for an image without annotations."""

    @torch.inference_mode()
    def found(self, data: Loader, conf: float = CONF) -> list[Panoptic]:
        """Return the segments of each case."""
        return self.found_at(data, [conf])[0]

    @torch.inference_mode()
    def found_at(self, data: Loader, confs: Sequence[float]) -> list[list[Panoptic]]:
        """Return the segments of each case for each of several minimum scores."""
        every: list[list[Panoptic]] = [[] for _conf in confs]
        for batch in data.once():
            candidates = self.candidates(batch.image)
            for segments_at, conf in zip(every, confs, strict=True):
                segments_at += [_on_cpu(result.segments) for result in self.merged(candidates, conf)]
        return every

    @torch.inference_mode()
    def predict(
        self,
        picture: Picture,
        *,
        conf: Annotated[float, Choice(N_("minimum confidence of a thing"), low=0, high=1)] = CONF,
    ) -> Segments:
        """Return the segments of an image of any size, in its own pixels."""
        pixels, frame = picture.letterbox(self.spec.side, self.spec.channels)
        batch = self.batch(Rows(pixels[None].to(self.device), None))
        [(segments, score)] = self.divide(batch.image, conf)
        segments, sure = _on_cpu(segments), score.float().clamp(0, 1).tolist()
        wide, high = (round(count * scale) for count, scale in zip(picture.size, frame, strict=False))
        inside = segments.ids[frame.top : frame.top + high, frame.left : frame.left + wide]
        ids = enlarged(inside, *picture.size[::-1])
        names = [self.spec.labels[label] for label in segments.label.tolist()]
        things = segments.thing.tolist()
        return Segments(picture, ids.numpy(), names, things, sure, self.spec.labels)


def _on_cpu(segments: Panoptic) -> Panoptic:
    return Panoptic(*(part.cpu() for part in segments))


def enlarged(ids: Tensor, height: int, width: int) -> Tensor:
    """Resize a map of ids (h, w): each pixel takes the id with the largest bilinear weight."""
    most = torch.full((height, width), -1.0)
    result = torch.zeros(height, width, dtype=torch.uint8)
    for number in ids.unique().tolist():
        own = (ids == number)[None, None].float()
        share = F.interpolate(own, (height, width), mode="bilinear")[0, 0]
        more = share > most
        result[more] = number
        most = torch.where(more, share, most)
    return result


@dataclass(frozen=True)
class Options:
    conf: Annotated[
        float | None,
        Choice(N_("minimum confidence of a thing that is tested (default: best on validation images)"), low=0, high=1),
    ] = None


class PanopticSegmentation(Jackknifed, Task):
    """The segments of every test image, things and stuff together."""

    title = N_("panoptic segmentation")
    takes = Picture
    gives = Segments
    metrics = (
        Metric(N_("PQ"), unit="share", headline=True, kind="share"),
        Metric(N_("PQ of things"), unit="share", headline=True, kind="share"),
        Metric(N_("PQ of stuff"), unit="share", kind="share"),
        Metric(N_("SQ"), unit="share", kind="share"),
        Metric(N_("RQ"), unit="share", kind="share"),
    )
    watches = "PQ"
    default_data = "scenes"
    target = "panoptic"
    formats = ("coco_panoptic",)
    augments = True

    def check(self, data: Dataset, options: Any) -> None:
        fault = panoptic.fault(data)
        if fault:
            raise UserError(
                "no segments",
                fault,
                expected=_("images with a segment for each thing and each stuff"),
                fix="data=scenes",
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        classes = tuple(train.classes)
        stuff = stuff_of(train.target, len(classes))
        return Spec(train.channels, train.side, classes, tuple(classes[n] for n in stuff))

    def example(self, system: type[System], size: str) -> Spec:
        small = size in ("tiny", "small", "lite")
        channels, side, labels = SHOWN if small else PUBLISHED
        names = tuple(map(str, range(labels)))
        return Spec(channels, side, names, names[:1] if small else names[80:])

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        """Scale images (B, C, H, W) from 0..255 to 0..1."""
        return Batch(rows.input.float() / 255, list(rows.target or ()))

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        return one_by_one(names, _changed)

    def renumbered(self, target: Any, number: Tensor) -> ListColumn:
        def again(label: Tensor) -> Tensor:
            there = number[torch.where(label < 0, -1 - label, label)]
            return torch.where(label < 0, -1 - there, there)

        return ListColumn([Panoptic(again(segments.label), segments.thing, segments.ids) for segments in target])

    def setup(self, data: Dataset, split: Split, options: Any) -> Iterator[Step]:
        train = [data.target[row] for row in split.train]
        yield Step(1.0, result=PanopticSetup(options, data.only(split.test), constant=panoptic.most_frequent(train)))

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, PanopticSegmenter)
        scores = panoptic.scores_of(system.found(data), data.cases)
        metrics = ("PQ", "PQ of things")
        return {name: torch.from_numpy(scores[name]) for name in metrics if name in scores}

    def decide(self, system: System, val: Dataset, setup: PanopticSetup) -> dict[str, float]:
        """Choose the minimum score of things that maximises PQ on validation cases."""
        assert isinstance(system, PanopticSegmenter)
        few = val.only(range(min(TRIED_ON, len(val))))
        by_conf = _found(system, few, setup, TRIED)
        quality = [_mean(panoptic.scores_of(predictions, few)) for predictions in by_conf]
        return {"conf": TRIED[int(np.argmax(quality))]}

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: PanopticSetup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, PanopticSegmenter)
        conf = decision.get("conf", CONF) if setup.options.conf is None else setup.options.conf
        [predictions] = _found(system, test, setup, [conf])
        thresholds = torch.full((len(test),), conf).double()
        yield Step(1.0, result={**panoptic.packed(predictions), "conf": thresholds})

    def judge(self, answers: Answers, setup: PanopticSetup) -> dict[str, Any]:
        scores = panoptic.scores_of(panoptic.unpacked(answers), setup.test)
        names = [metric.name for metric in self.metrics if metric.name in scores]
        return {name: scores[name] for name in names}

    def ask_untrained(self, system: System, setup: PanopticSetup) -> Answers:
        assert isinstance(system, PanopticSegmenter)
        [predictions] = _found(system, setup.test, setup, [CONF])
        return panoptic.packed(predictions, "untrained")

    def result(self, trainings: Trainings, setup: PanopticSetup) -> PanopticResult:
        return panoptic.result(trainings, setup)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: PanopticSetup) -> dict[str, list[Panoptic]]:
        """Return system -> the segments that its first seed finds in each test image."""
        return {name: panoptic.unpacked(seeds[0]) for name, seeds in answers.items()}

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "label", "thing", "pixels"
        for file, segments in zip(test.file, panoptic.unpacked(answers), strict=True):
            for label, thing, pixels in zip(
                segments.label.tolist(), segments.thing.tolist(), segments.pixels().tolist(), strict=True
            ):
                yield file, test.classes[label], int(thing), pixels


def _found(
    system: PanopticSegmenter, cases: Dataset, setup: PanopticSetup, confs: Sequence[float]
) -> list[list[Panoptic]]:
    with numbers(system, setup):
        return system.found_at(system.loader(cases), confs)


def _mean(scores: dict[str, Any]) -> float:
    return float(scores["PQ"].mean()) if "PQ" in scores else 0.0


def _changed(rows: Rows, name: str, generator: Generator) -> Rows:
    """Apply one augmentation to images and their segments; the area shifted in is void."""
    ids = torch.stack([target.ids for target in rows.target])
    if name == "shift":
        image, moves = transforms.shifted(rows.input, generator)
        ids = torch.stack(
            [
                F.pad(target_ids, (right, -right, down, -down))
                for target_ids, (right, down) in zip(ids, moves.tolist(), strict=True)
            ]
        )
    elif name == "mirror":
        image, flips = transforms.mirrored(rows.input, generator)
        ids = torch.where(flips[:, None, None], ids.flip(2), ids)
    elif name == "erase":
        image, holes = transforms.erased(rows.input, generator)
        ids = ids.masked_fill(holes, 0)
    elif name == "rotate":
        image, grid, _angle = transforms.rotated(rows.input, generator)
        there = F.grid_sample(ids[:, None].float(), grid, mode="nearest", align_corners=False)
        ids = there[:, 0].to(ids.dtype)
    else:
        image = transforms.CHANGES[name](rows.input, generator)
    segments = [
        Panoptic(target.label, target.thing, there).compact() for target, there in zip(rows.target, ids, strict=True)
    ]
    return Rows(image, ListColumn(segments))


__all__ = [
    "CONF",
    "MOST",
    "Answered",
    "Batch",
    "Options",
    "Panoptic",
    "PanopticSegmentation",
    "PanopticSegmenter",
    "Shown",
    "Spec",
    "boxes_of",
]
