"""Landmark detection: an image in, the position of each landmark out."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from souron.blocks.portable import Input, Pixels, Portable
from souron.data import transforms
from souron.data.dataset import Dataset, Loader, Rows
from souron.data.splits import Split
from souron.evaluation.answers import Sparse, dense
from souron.evaluation.steps import Maps
from souron.evaluation.vision import keypoints
from souron.evaluation.vision.keypoints import KeypointResult, KeypointSetup
from souron.kinds.picture import Picture
from souron.kinds.points import Points
from souron.kinds.signature import Choice
from souron.metrics.keypoints import MEAN, PIXELS, errors, known
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Augment, Jackknifed, Step, Task, Trainings, numbers, one_by_one
from souron.utils.messages import N_, UserError, _

SHOWN = (1, 128, 19)  # channels, pixels a side, landmarks that ``souron show`` builds with


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a system needs before it is built."""

    channels: int
    side: int  # pixels
    labels: tuple[str, ...]  # the landmarks' names


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in 0..1
    target: Tensor | None  # (B, K, 2): x and y in pixels; NaN for missing landmarks


class Landmarker(System):
    """A landmark detector.

    ``forward`` maps images (B, C, H, W) to positions (B, K, 2), x and y in pixels, and confidences
    (B, K) in 0..1. A system with a heat map for each landmark returns them from ``maps``.
    """

    task = "keypoints"
    spec: Spec

    def maps(self, image: Tensor) -> Tensor | None:
        """Return heat maps (B, K, h, w), each with sum 1, or None."""
        return None

    def explain(self, image: Tensor, truth: Tensor | None) -> list[Maps]:
        """Return the heat maps of an image (1, C, H, W) in 0..1; empty if the system has none."""
        maps = self.maps(image)
        if maps is None:
            return []
        landmark_maps = maps[0].float()
        bright = (landmark_maps / landmark_maps.amax((1, 2), keepdim=True).clamp(min=1e-12)).sqrt()
        title, caption = _("Heat maps"), _("where each landmark may be, the brighter the likelier")
        return [Maps(title, caption, list(zip(self.spec.labels, bright, strict=True)), "heat")]

    def unknown(self, image: Tensor) -> None:
        """Return no ``truth`` for ``explain``, for an image without annotations."""

    @torch.inference_mode()
    def found(self, data: Loader) -> tuple[Tensor, Tensor]:
        """Return the positions (N, K, 2) and scores (N, K) of all cases."""
        outputs = [[part.float().cpu() for part in self(batch.image)] for batch in data.once()]
        places, scores = zip(*outputs, strict=True)
        return torch.cat(places), torch.cat(scores)

    def portable(self) -> Portable:
        side, channels = self.spec.side, self.spec.channels
        return Portable(
            Pixels(self, lambda answer: tuple(part.float() for part in answer)),
            (Input("image", (channels, side, side)),),
            ("point", "probability"),
            "letterbox",
            "points",
            self.spec.labels,
            about={"side": side, "channels": channels, "step": 0, "least": 0},
            of_rows=lambda rows: (rows,),
            of_kind=lambda picture: (picture.letterbox(side, channels)[0][None],),
        )

    @torch.inference_mode()
    def predict(
        self,
        picture: Picture,
        *,
        spacing: Annotated[
            float, Choice(N_("millimetres per pixel of the image; 0: as a DICOM file states"), low=0, high=10)
        ] = 0.0,
    ) -> Points:
        """Return the landmarks of an image of any size, in its own pixels.

        Distances are in millimetres where the spacing is given or the file states it (of a
        radiograph, at the detector).
        """
        spacing = spacing or picture.spacing
        pixels, frame = picture.letterbox(self.spec.side, self.spec.channels)
        batch = self.batch(Rows(pixels[None].to(self.device), None))
        points, scores = (part[0].double().cpu() for part in self(batch.image))
        there = frame.back(points.numpy().repeat(2, 0).reshape(-1, 4))[:, :2]
        there = there.clip(0, np.array(picture.size))
        names = self.spec.labels
        return Points(picture, there, names, scores.clamp(0, 1).tolist(), spacing=spacing)


class Keypoints(Jackknifed, Task):
    """The landmarks of every test image and their errors."""

    title = N_("landmark detection")
    takes = Picture
    gives = Points
    metrics = (
        Metric(N_("mean radial error"), higher_is_better=False, unit="mm", headline=True, kind="error"),
        Metric(N_("within 2 mm"), unit="share", headline=True),
        Metric(N_("within 2.5 mm"), unit="share"),
        Metric(N_("within 3 mm"), unit="share"),
        Metric(N_("within 4 mm"), unit="share", headline=True),
        Metric(N_("mean radial error in pixels"), higher_is_better=False, unit="px", kind="error"),
        Metric(N_("within 1/50 of the side"), unit="share"),
        Metric(N_("OKS"), unit="share", kind="overlap"),
    )
    watches = "mean radial error in pixels"
    default_data = "cephalo"
    target = "points"
    formats = ("landmarks",)
    augments = True

    def check(self, data: Dataset, options: Any) -> None:
        if not data.has("points"):
            raise UserError(
                "no points",
                _("{data} has no landmarks").format(data=data.name),
                expected=_("a folder of images with a landmarks.csv"),
                fix="data=cephalo",
                exit=3,
            )

    def ranks(self, setup: KeypointSetup) -> str:
        """Return the headline metric: in millimetres if the spacing is known, else in pixels."""
        return MEAN if known(setup.test.spacing) else PIXELS

    def spec(self, train: Dataset) -> Spec:
        return Spec(train.channels, train.side, tuple(train.classes))

    def example(self, system: type[System], size: str) -> Spec:
        channels, side, labels = SHOWN
        return Spec(channels, side, tuple(map(str, range(labels))))

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        """Scale images (B, C, H, W) from 0..255 to 0..1."""
        return Batch(rows.input.float() / 255, rows.target)

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        if "mirror" in names:
            raise UserError(
                "augment",
                _("a mirrored image has its landmarks on the other side"),
                expected="shift, rotate, brightness, erase",
                fix="augment=shift,brightness",
            )
        return one_by_one(names, _changed)

    def renumbered(self, target: Tensor, number: Tensor) -> Tensor:
        """Renumber landmarks; those unknown here are NaN."""
        there = target.new_full((len(target), int(number.max()) + 1, 2), math.nan)
        there[:, number] = target
        return there

    def setup(self, data: Dataset, split: Split, options: Any) -> Iterator[Step]:
        constant = keypoints.mean_places(data.target.index_select(0, split.train))
        yield Step(1.0, result=KeypointSetup(options, data.only(split.test), constant=constant))

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, Landmarker)
        points, _score = system.found(data)
        scores = keypoints.scores_of(points, data.cases)
        return {name: torch.from_numpy(values) for name, values in scores.items()}

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: KeypointSetup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, Landmarker)
        points, score = _asked(system, test, setup)
        yield Step(1.0, result={"found": points, "score": score})

    def judge(self, answers: Answers, setup: KeypointSetup) -> dict[str, Any]:
        return keypoints.scores_of(dense(answers, "found"), setup.test)

    def ask_untrained(self, system: System, setup: KeypointSetup) -> Answers:
        assert isinstance(system, Landmarker)
        return {"untrained": _asked(system, setup.test, setup)[0]}

    def details(self, system: System, answers: Answers, setup: KeypointSetup, trainings: int = 1) -> Iterator[Step]:
        """Evaluate the untrained network, and keep some heat maps."""
        assert isinstance(system, Landmarker)
        maps = _maps_of(system, dense(answers, "found"), setup)
        for step in super().details(system, answers, setup, trainings):
            yield replace(step, result={**step.result, **maps})

    def result(self, trainings: Trainings, setup: KeypointSetup) -> KeypointResult:
        return keypoints.result(trainings, setup)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: KeypointSetup) -> dict[str, Any]:
        """Return system -> the landmarks that its first seed finds, (cases, K, 2)."""
        return {name: dense(seeds[0], "found").numpy() for name, seeds in answers.items()}

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "landmark", "x", "y", "score", "error_px", "error_mm"
        points, score = dense(answers, "found"), dense(answers, "score")
        error = errors(points, test.target)
        for row, file in enumerate(test.file):
            spacing = test.spacing[row] if test.spacing else 0
            for k, name in enumerate(test.classes):
                far = float(error[row, k])
                yield (
                    file,
                    name,
                    *(round(at, 2) for at in points[row, k].tolist()),
                    round(float(score[row, k]), 4),
                    "" if math.isnan(far) else round(far, 3),
                    round(far * spacing, 3) if spacing and far == far else "",
                )


def _asked(system: Landmarker, cases: Dataset, setup: KeypointSetup) -> tuple[Tensor, Tensor]:
    with numbers(system, setup):
        return system.found(system.loader(cases))


@torch.inference_mode()
def _maps_of(system: Landmarker, points: Tensor, setup: KeypointSetup) -> Answers:
    """Return heat maps of one test image, of the landmarks found best and worst."""
    [batch] = system.loader(setup.test.only([0])).once()
    maps = system.maps(batch.image)
    landmarks = keypoints.chosen(points, setup.test)
    if maps is None or not landmarks:
        return {}
    row = torch.zeros(1, dtype=torch.long)
    return {"maps": Sparse(row, maps[:, landmarks].float().cpu()), "mapped": Sparse(row, torch.tensor([landmarks]))}


def _changed(rows: Rows, name: str, generator: Generator) -> Rows:
    """Apply one augmentation to images and to their landmarks."""
    image, points = rows.input, rows.target
    side = image.shape[-1]
    if name == "shift":
        image, moves = transforms.shifted(image, generator)
        points = points + moves[:, None].to(points.dtype)
    elif name == "rotate":
        image, _grid, angle = transforms.rotated(image, generator)
        points = _turned(points - side / 2, angle) + side / 2
    else:
        return Rows(transforms.CHANGES[name](image, generator), points)
    outside = ((points < 0) | (points > side)).any(2, keepdim=True)
    return Rows(image, points.masked_fill(outside, math.nan))


def _turned(points: Tensor, angle: Tensor) -> Tensor:
    """Rotate (B, K, 2) about the origin by each image's angle (B,) in radians, anticlockwise."""
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    x, y = points.unbind(2)
    return torch.stack([cos * x + sin * y, cos * y - sin * x], 2)
