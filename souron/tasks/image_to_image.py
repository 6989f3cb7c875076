"""Image to image: a picture in, a picture out: larger, or of another domain.

What a system is asked follows from what it sees of a picture. One that sees it smaller is to give
it back; one that sees it whole translates it from the domain (class) of its data to another. So any
pictures teach to enlarge, and a folder with two classes, or ``trainA`` and ``trainB``, to
translate.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from souron.blocks import tiling
from souron.data import transforms
from souron.data.dataset import Dataset, Loader, Rows, check_classes, digests
from souron.evaluation import image_to_image as evaluation
from souron.evaluation import perceptual
from souron.evaluation.image_to_image import CYCLE, ImageResult, as_bytes
from souron.kinds.before_after import BeforeAfter
from souron.kinds.picture import Picture
from souron.metrics import image_to_image as figures
from souron.metrics.metric import Metric
from souron.stats.records import Measure
from souron.system import System
from souron.task import Answers, Augment, Scores, Setup, Step, Task, Trainings, numbers, untrained
from souron.utils.messages import N_, UserError, _

SHOWN = (3, 96)  # channels and pixels a side that ``souron show`` builds with
SMALLEST = 8  # pixels a side
FEWEST = 8  # pictures
MOST_COMPARED = 20_000  # pictures that are looked through for some in both domains
TILE = 256  # pixels a side of what a network sees at once
MOST_MADE = 200_000_000  # pixels of an answer


@dataclass(frozen=True)
class Spec:
    """What a system must know of its data before it is built."""

    channels: int
    side: int  # pixels, of training pictures; others may have any
    labels: tuple[str, ...] = ("",)  # the domains' names


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in 0..1
    label: Tensor  # (B,) int64, the domain


@dataclass(frozen=True, eq=False)
class Large(Picture):
    """A picture that was made, which may have more pixels than one that is read."""

    most = MOST_MADE


@dataclass(frozen=True, eq=False)
class Made(BeforeAfter):
    """What was given and what was made of it, how long that took, and how near it is to a picture
    that it should be, once it is ``judged``."""

    tiles: int = 1
    seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    note: str = ""  # what a reader should know of it

    def judged(self, reference: Picture) -> None:
        """Compares it with the picture that it should be. Raises UserError where that has another
        size."""
        if reference.size != self.after.size:
            size = "{} x {}".format(*self.after.size)
            raise UserError(
                "size",
                _("the reference has {width} x {height} pixels").format(
                    width=reference.size[0], height=reference.size[1]
                ),
                expected=_("{size} pixels, as what was made").format(size=size),
                exit=3,
            )
        one, other = (
            np.asarray(evaluation.in_bytes(picture.image))[None].transpose(0, 3, 1, 2)
            for picture in (self.after, reference)
        )
        self.figures.update(
            psnr=round(float(figures.psnr(figures.luma(one), figures.luma(other))[0]), 3),
            ssim=round(float(figures.ssim(one, other)[0]), 4),
            delta_e=round(float(figures.colour_difference(one, other)[0]), 3),
        )

    def as_json(self) -> dict[str, Any]:
        told = {"tiles": self.tiles, "seconds": round(self.seconds, 3)}
        note = {"note": self.note} if self.note else {}
        return super().as_json() | told | self.figures | note

    def __str__(self) -> str:
        made = super().__str__()
        if self.figures:
            made = _(
                "{made}; PSNR of luma {psnr} dB, SSIM {ssim}, colour difference {delta_e}"
            ).format(made=made, **self.figures)
        return f"{made}; {self.note}" if self.note else made


class ImageTranslator(System):
    """``translated`` makes a picture of what ``given`` lets it see; ``forward`` is its network.

    One of ``any_class`` gives back what it does not see, as an enlarger does; any other translates:
    it sees the whole picture and makes one of another domain, and the domains are its classes.
    """

    task = "image_to_image"
    spec: Spec
    any_class = True
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

    @torch.no_grad()
    def made(
        self,
        picture: Picture,
        network: Callable[[Tensor], Tensor],
        scale: int = 1,
        tile: int = TILE,
        overlap: float = 0.125,
        coloured: bool = False,
    ) -> Made:
        """What a network (1, C, h, w) -> (1, C', scale h, scale w) makes of a picture of any size,
        tile by tile. Grey stays grey unless it is ``coloured``, and its finer steps stay, too.
        Raises UserError where that is too large."""
        begun = time.perf_counter()
        width, height = (scale * length for length in picture.size)
        if width * height > MOST_MADE:
            raise UserError(
                "too large",
                _("{width} x {height} pixels would be made").format(width=width, height=height),
                expected=_("at most {count} million pixels").format(count=MOST_MADE // 1_000_000),
                fix=_("a smaller scale, or a part of the picture"),
                exit=3,
            )
        grey, deep = picture.image.mode != "RGB", picture.image.mode == "F"
        pixels = torch.from_numpy(np.array(picture.image))
        pixels = pixels[None] if grey else pixels.permute(2, 0, 1)
        colours = 3 if coloured or not grey else 1
        made = np.empty((height, width, colours), np.float32 if deep and not coloured else np.uint8)
        asked = min(tile, max(picture.size))
        strip, top = round(overlap * asked), 0
        for rows in tiling.rows(self._seeing(network, colours), pixels, asked, strip, scale):
            values = (rows.clamp(0, 1) * 255).permute(1, 2, 0).numpy()
            if made.dtype == np.uint8:
                values = values.round()
            made[top : top + len(values)] = values
            top += len(values)
        image = Image.fromarray(made if colours == 3 else made[..., 0])
        count = tiling.count(picture.size, asked, strip)
        return Made(picture, Large(image), count, time.perf_counter() - begun)

    def _seeing(self, network: Callable[[Tensor], Tensor], colours: int) -> Callable:
        """The network of one tile (C, h, w), whatever its channels are."""
        wanted = self.spec.channels

        def see(tile: Tensor) -> Tensor:
            given = tile[None].to(self.device)
            if len(tile) == wanted:
                said = network(given)
            elif wanted == 3:
                said = network(given.expand(-1, 3, -1, -1))
            else:  # a grey network sees each colour as a grey picture
                said = torch.cat([network(part) for part in given.split(1, 1)], 1)
            said = said[0].float().cpu()
            return said.mean(0, keepdim=True) if len(said) > colours else said

        return see

    def further(self, batch: Batch, given: Tensor, output: Tensor) -> dict[str, Tensor]:
        """Figures that only it has, metric or ``rival:metric`` -> (B,); of each pixel (B, H, W),
        which become those of the picture, of its object and of its ground."""
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


def cropped(image: Tensor, side: int) -> Tensor:
    """One square, somewhere by chance, of all pictures (B, C, H, W), where they are larger."""
    high, wide = (max(length - side, 0) for length in image.shape[2:])
    top, left = (int(torch.randint(room + 1, ())) for room in (high, wide))
    return image[:, :, top : top + side, left : left + side]


def check_domains(train: Dataset) -> None:
    """Raises UserError where there are not two domains, or one picture is in both."""
    labels = train.target.tolist()
    counts = [labels.count(domain) for domain in range(len(train.classes))]
    if len(counts) != 2 or not all(counts):
        raise UserError(
            "domains",
            _("{data} has {count} domains with pictures").format(
                data=train.name, count=sum(map(bool, counts))
            ),
            expected=_("two: a folder with two sub-folders of pictures"),
            fix="data=coats",
            exit=3,
        )
    if not isinstance(train.input, Tensor) or len(train) > MOST_COMPARED:
        return
    pictures: list[set[bytes]] = [set(), set()]
    for label, digest in zip(labels, digests(train.input), strict=True):
        pictures[label].add(digest)
    both = len(pictures[0] & pictures[1])
    if both:
        raise UserError(
            "same pictures",
            _("{count} pictures are in both domains of {data}").format(count=both, data=train.name),
            expected=_("pictures that are of one domain each"),
            exit=3,
        )


def passes(scale: int, own: int) -> int:
    """How often a network that enlarges by ``own`` is asked for a ``scale``; 0 is its own. Raises
    UserError where no number of times makes it."""
    able = [own**times for times in range(1, 5) if own > 1 and own**times <= 16] or [own]
    if scale and scale not in able:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="scale", value=scale),
            expected=", ".join(map(str, able)),
            fix=f"scale={able[0]}",
        )
    return able.index(scale) + 1 if scale else 1


features = perceptual.features


class ImageToImage(Task):
    """What should come out stands beside what comes out, and beside trivial answers."""

    title = N_("picture to picture")
    takes = Picture
    gives = BeforeAfter
    metrics = (
        Metric(N_("PSNR"), unit="dB", headline=True),
        Metric(N_("PSNR of luma"), unit="dB", headline=True),
        Metric(N_("SSIM")),
        Metric(N_("feature distance"), higher_is_better=False, headline=True),
        Metric(N_("sharpness"), unit="share"),
        Metric(N_("object PSNR"), unit="dB"),
        Metric(N_("ground PSNR"), unit="dB"),
        Metric(N_("cycle PSNR"), unit="dB"),
        Metric(N_("colour difference"), higher_is_better=False, headline=True),
        Metric(N_("object colour difference"), higher_is_better=False),
        Metric(N_("ground colour difference"), higher_is_better=False),
        Metric(N_("colour bits"), unit="bits", higher_is_better=False, headline=True),
        Metric(N_("object colour bits"), unit="bits", higher_is_better=False),
        Metric(N_("ground colour bits"), unit="bits", higher_is_better=False),
        Metric(N_("chroma"), unit="share"),
    )
    default_data = "photo_patches"
    target = "pictures"
    formats = ("unpaired", "folder")
    augments = True

    def check(self, data: Dataset, options: Any) -> None:
        check_classes(data)
        if not data.pictures:
            raise UserError(
                "no pictures",
                _("{data} holds no pictures of one size").format(data=data.name),
                expected=_("a folder of pictures"),
                fix="data=photo_patches",
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
                fix="data=photo_patches",
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


__all__ = [
    "TILE",
    "Batch",
    "ImageToImage",
    "ImageTranslator",
    "Large",
    "Made",
    "Spec",
    "as_bytes",
    "check_domains",
    "cropped",
    "enlarged",
    "features",
    "lowered",
    "passes",
    "whole",
]
