"""Image to image: a picture in, a picture out: larger, coloured, or of another domain.

What a system is asked follows from what it sees of a picture. One that sees it smaller, or without
its colours, is to give it back; one that sees it whole translates it from the domain (class) of its
data to another. So one data set of photographs teaches to enlarge and to colour, and a folder
with two classes, or ``trainA`` and ``trainB``, to translate.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.data import transforms
from souron.data.dataset import Dataset, Loader, Rows, check_classes
from souron.evaluation import image_to_image as evaluation
from souron.evaluation import perceptual
from souron.evaluation.image_to_image import CYCLE, ImageResult, as_bytes
from souron.kinds.picture import Picture
from souron.metrics.metric import Metric
from souron.stats.records import Measure
from souron.system import System
from souron.task import Answers, Augment, Scores, Setup, Step, Task, Trainings, numbers, untrained
from souron.utils.messages import N_, UserError, _

SHOWN = (3, 96)  # channels and pixels a side that ``souron show`` builds with
SMALLEST = 8  # pixels a side
FEWEST = 8  # pictures


@dataclass(frozen=True)
class Spec:
    """What a system must know of its data before it is built."""

    channels: int
    side: int  # pixels, of training pictures; others may have any
    labels: tuple[str, ...] = ("",)  # the domains' names


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in 0..1
    label: Tensor  # (B,) int64, the domain


class ImageTranslator(System):
    """``translated`` makes a picture of what ``given`` lets it see; ``forward`` is its network.

    A system that ``translates`` sees the whole picture and makes one of another domain.
    """

    task = "image_to_image"
    spec: Spec
    translates: ClassVar[bool] = False
    measures: ClassVar[tuple[str, ...]] = ("PSNR", "SSIM", "feature distance", "sharpness")

    def given(self, image: Tensor) -> Tensor:
        """What it sees of pictures (B, C, H, W) in 0..1."""
        return image

    def visible(self, given: Tensor) -> Tensor:
        """That as pictures."""
        return given

    def truth(self, image: Tensor) -> Tensor:
        """What it should give back of pictures (B, C, H, W)."""
        return image

    def translated(self, given: Tensor, label: Tensor) -> Tensor:
        """(B, C, H', W') in 0..1, of what it sees of pictures of the domains ``label`` (B,)."""
        return self(given)

    def rivals(self, given: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Trivial answers to the same, by name, see ``evaluation.said_of``."""
        return {}

    def further(self, batch: Batch, given: Tensor, output: Tensor) -> dict[str, Tensor]:
        """Figures that only it has, metric or ``rival:metric`` -> (B,)."""
        return {}


def lowered(image: Tensor, scale: int) -> Tensor:
    """Pictures (B, C, H, W) in 0..1 that are smaller by a whole factor, bicubic, in 256 steps, as a
    small file would hold them."""
    small = F.interpolate(
        whole(image, scale).float(), scale_factor=1 / scale, mode="bicubic", antialias=True
    )
    return (small.clamp(0, 1) * 255).round() / 255


def enlarged(image: Tensor, scale: int) -> Tensor:
    """The way back by bicubic interpolation (a = -1/2): what a network should do better.

    Keys: Cubic Convolution Interpolation for Digital Image Processing (1981).
    https://doi.org/10.1109/TASSP.1981.1163711
    """
    return F.interpolate(image.float(), scale_factor=scale, mode="bicubic", antialias=True)


def whole(image: Tensor, scale: int) -> Tensor:
    """Without the last rows and columns that ``scale`` does not divide."""
    high, wide = (length // scale * scale for length in image.shape[2:])
    return image[:, :, :high, :wide]


features = perceptual.features


class ImageToImage(Task):
    """What should come out stands beside what comes out, and beside trivial answers."""

    title = N_("picture to picture")
    takes = Picture
    gives = Picture
    metrics = (
        Metric(N_("PSNR"), unit="dB", headline=True),
        Metric(N_("PSNR of luma"), unit="dB", headline=True),
        Metric(N_("SSIM")),
        Metric(N_("feature distance"), higher_is_better=False, headline=True),
        Metric(N_("sharpness"), unit="share"),
        Metric(N_("colour difference"), higher_is_better=False),
        Metric(N_("object colour difference"), higher_is_better=False),
        Metric(N_("ground colour difference"), higher_is_better=False),
        Metric(N_("bits per pixel of colour"), higher_is_better=False, unit="bits"),
        Metric(N_("object PSNR"), unit="dB"),
        Metric(N_("ground PSNR"), unit="dB"),
        Metric(N_("cycle PSNR"), unit="dB"),
    )
    default_data = "photos"
    target = "pictures"
    formats = ("folder",)
    augments = True

    def check(self, data: Dataset, options: Any) -> None:
        check_classes(data)
        if not data.pictures:
            raise UserError(
                "no pictures",
                _("{data} holds no pictures of one size").format(data=data.name),
                expected=_("a folder of pictures"),
                fix="data=photos",
                exit=3,
            )
        if data.side < SMALLEST or len(data) < FEWEST:
            raise UserError(
                "few pictures",
                _("{count} pictures of {side} pixels a side in {data}").format(
                    count=len(data), side=data.side, data=data.name
                ),
                expected=_("{count} or more pictures of {side} pixels a side or more").format(
                    count=FEWEST, side=SMALLEST
                ),
                fix="data=photos",
                exit=3,
            )

    def strata(self, data: Dataset) -> Tensor:
        return data.target

    def spec(self, train: Dataset) -> Spec:
        return Spec(train.channels, train.side, tuple(train.classes))

    def example(self, system: type[System], size: str) -> Spec:
        return Spec(*SHOWN, ("A", "B"))

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        """Pictures (B, C, H, W) in 0..255 -> 0..1."""
        image = rows.input.float() / 255
        label = rows.target
        if label is None:
            label = torch.zeros(len(image), dtype=torch.long, device=image.device)
        return Batch(image, label)

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        change = transforms.augmentation(names)
        if change is None:
            return None
        return lambda rows, generator: Rows(change(rows.input, generator), rows.target)

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, ImageTranslator)
        quick = ("PSNR", "PSNR of luma", CYCLE)
        found = evaluation.answers_of(system, data.cases, quick, beside=False)
        return {
            name: values.float()
            for name, values in found.items()
            if name in quick and isinstance(values, Tensor)
        }

    def answer(
        self,
        system: System,
        test: Dataset,
        decision: Mapping[str, float],
        setup: Setup,
        seed: int = 0,
    ) -> Iterator[Step]:
        with numbers(system, setup):
            yield Step(1.0, result=evaluation.answers_of(system, test))

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        return evaluation.tables(seeds, [metric.name for metric in self.metrics])

    def measures(
        self, seeds: Sequence[Answers], setup: Setup, training: Any = None
    ) -> dict[str, Measure]:
        return evaluation.measures(self.scores(seeds, setup), setup.test.units, training)

    def details(
        self, system: System, answers: Answers, setup: Setup, trainings: int = 1
    ) -> Iterator[Step]:
        """The same network untrained, beside it."""
        assert isinstance(system, ImageTranslator)
        found = evaluation.answers_of(untrained(system), setup.test, beside=False)
        yield Step(1.0, _("the same network untrained"), {
            f"untrained:{name}": values for name, values in found.items() if name != "output"
        })  # fmt: skip

    def details_seconds(self, trainer: Any, setup: Any, training: float, look: float) -> float:
        return look * len(setup.test)

    def ranks(self, setup: Setup) -> str:
        known = len(setup.test.classes) == 1 or evaluation.twins(setup.test) is not None
        return self.metrics[0].name if known else CYCLE

    def result(self, trainings: Trainings, setup: Setup) -> ImageResult:
        names = [metric.name for metric in self.metrics]
        higher = {metric.name: metric.higher_is_better for metric in self.metrics}
        return evaluation.result(trainings, setup, names, higher.__getitem__)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: Setup) -> dict[str, Tensor]:
        """System -> what its first seed made of each test picture."""
        return {name: evaluation.dense(seeds[0], "output") for name, seeds in answers.items()}

    def next_command(self, run: str) -> str:
        return f"souron predict {run} photo.jpg"


__all__ = ["Batch", "ImageToImage", "ImageTranslator", "Spec", "as_bytes", "enlarged", "features",
           "lowered", "whole"]  # fmt: skip
