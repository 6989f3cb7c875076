"""Image-to-image translation: an image in, an enlarged, coloured or translated image out.

The input that a system accepts determines its objective. A system that sees a reduced image
restores it; one that sees the whole image translates it from its domain (class) to the other. So
any images train an enlarger, and a folder with two classes, or ``trainA`` and ``trainB``, trains
a translator.
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

from souron import registry
from souron.blocks import tiling
from souron.blocks.portable import Free, Input, Pixels, Portable
from souron.data import transforms
from souron.data.dataset import Dataset, Loader, Rows, check_classes, digests
from souron.evaluation.vision import image_to_image as evaluation
from souron.evaluation.vision import perceptual
from souron.evaluation.vision.image_to_image import CYCLE, ImageResult, as_bytes
from souron.hub import weights
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
FEWEST = 8  # images
MOST_COMPARED = 20_000  # images searched for any that are in both domains
EXPORTED, MOST_SIDE = 64, 4096  # pixels a side of the cases that exports compare, and at most
TILE = 256  # pixels a side of one tile of the network's input
MOST_MADE = 200_000_000  # pixels of an answer


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a system needs before it is built."""

    channels: int
    side: int  # pixels, of training images; other images may have any size
    labels: tuple[str, ...] = ("",)  # the domains' names


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in 0..1
    label: Tensor  # (B,) int64, the domain


@dataclass(frozen=True, eq=False)
class Large(Picture):
    """A generated image, which may have more pixels than an image that is read."""

    most = MOST_MADE


@dataclass(frozen=True, eq=False)
class Made(BeforeAfter):
    """An image before and after, with the time taken and, once ``judged``, its error."""

    tiles: int = 1
    seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    note: str = ""  # remark for the reader

    def judged(self, reference: Picture) -> None:
        """Compare with a reference image. Raises UserError if its size differs."""
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
        output, other = (
            np.asarray(evaluation.in_bytes(picture.image))[None].transpose(0, 3, 1, 2)
            for picture in (self.after, reference)
        )
        self.figures.update(
            psnr=round(float(figures.psnr(figures.luma(output), figures.luma(other))[0]), 3),
            ssim=round(float(figures.ssim(output, other)[0]), 4),
            delta_e=round(float(figures.colour_difference(output, other)[0]), 3),
        )

    def as_json(self) -> dict[str, Any]:
        run_time = {"tiles": self.tiles, "seconds": round(self.seconds, 3)}
        note = {"note": self.note} if self.note else {}
        return super().as_json() | run_time | self.figures | note

    def __str__(self) -> str:
        text = super().__str__()
        if self.figures:
            text = _("{made}; PSNR of luma {psnr} dB, SSIM {ssim}, colour difference {delta_e}").format(
                made=text, **self.figures
            )
        return f"{text}; {self.note}" if self.note else text


class ImageTranslator(System):
    """An image-to-image system: ``translated`` maps the input from ``given`` to images.

    ``forward`` is its network. With ``any_class`` it restores the part of an image that it does not
    see, as an enlarger does; otherwise it sees the whole image and translates it to the other
    domain, the domains being the classes.
    """

    task = "image_to_image"
    spec: Spec
    any_class = True
    measures: ClassVar[tuple[str, ...]] = ("PSNR", "SSIM", "feature distance", "sharpness")

    def given(self, image: Tensor) -> Tensor:
        """Return the system's input for images (B, C, H, W) in 0..1."""
        return image

    def visible(self, image: Tensor) -> Tensor:
        """Return the input as images."""
        return image

    def truth(self, image: Tensor) -> Tensor:
        """Return the target for images (B, C, H, W)."""
        return image

    def translated(self, image: Tensor, label: Tensor) -> Tensor:
        """Return images (B, C, H', W') in 0..1 for inputs from domains ``label`` (B,)."""
        return self(image)

    def rivals(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return trivial baselines by name, see ``evaluation.said_of``."""
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
        """Apply a network (1, C, h, w) -> (1, C', scale h, scale w) in tiles, to any image.

        Grey images stay grey, at their full bit depth, unless ``coloured``. Raises UserError if the
        result would be too large.
        """
        start = time.perf_counter()
        width, height = (scale * length for length in picture.size)
        if width * height > MOST_MADE:
            raise UserError(
                "too large",
                _("{width} x {height} pixels would be made").format(width=width, height=height),
                expected=_("at most {count} million pixels").format(count=MOST_MADE // 1_000_000),
                fix=_("a smaller scale, or a part of the image"),
                exit=3,
            )
        grey, deep = picture.image.mode != "RGB", picture.image.mode == "F"
        pixels = torch.from_numpy(np.array(picture.image))
        pixels = pixels[None] if grey else pixels.permute(2, 0, 1)
        colours = 3 if coloured or not grey else 1
        output = np.empty((height, width, colours), np.float32 if deep and not coloured else np.uint8)
        tile_side = min(tile, max(picture.size))
        strip, top = round(overlap * tile_side), 0
        for rows in tiling.rows(self._seeing(network, colours), pixels, tile_side, strip, scale):
            values = (rows.clamp(0, 1) * 255).permute(1, 2, 0).numpy()
            if output.dtype == np.uint8:
                values = values.round()
            output[top : top + len(values)] = values
            top += len(values)
        image = Image.fromarray(output if colours == 3 else output[..., 0])
        count = tiling.count(picture.size, tile_side, strip)
        return Made(picture, Large(image), count, time.perf_counter() - start)

    def _seeing(self, network: Callable[[Tensor], Tensor], colours: int) -> Callable:
        """Return the network for one tile (C, h, w) with any number of channels."""
        channels = self.spec.channels

        def see(tile: Tensor) -> Tensor:
            inputs = tile[None].to(self.device)
            if len(tile) == channels:
                output = network(inputs)
            elif channels == 3:
                output = network(inputs.expand(-1, 3, -1, -1))
            else:  # a grey network processes each colour channel separately
                output = torch.cat([network(part) for part in inputs.split(1, 1)], 1)
            output = output[0].float().cpu()
            return output.mean(0, keepdim=True) if len(output) > colours else output

        return see

    def carried(
        self, network: Callable[[Tensor], Tensor], least: int = SMALLEST, step: int = 1, **about: Any
    ) -> Portable:
        """Return what others run: images of any size in; images (B, C', H', W') in 0..1 out.

        Images whose sides are below ``least``, or no multiples of ``step``, are padded first.
        """
        channels, free = self.spec.channels, Free(least, MOST_SIDE, step)
        side = max(least, min(self.spec.side, EXPORTED) // step * step)

        def of_rows(rows: Tensor) -> tuple[Tensor]:
            images = self.visible(self.given(rows.float() / 255))
            return (255 * images[:, :channels, :side, :side],)

        return Portable(
            Pixels(network, lambda image: (image.float().clamp(0, 1),)),
            (Input("image", (channels, side, side), free={1: free, 2: free}),),
            ("result",),
            "whole",
            "image",
            about={"channels": channels, "least": least, "step": step, **about},
            of_rows=of_rows,
            cases=4,
        )

    def further(self, batch: Batch, image: Tensor, output: Tensor) -> dict[str, Tensor]:
        """Return system-specific figures, metric or ``rival:metric`` -> (B,) or (B, H, W).

        Figures per pixel are averaged over the image, its object and its background.
        """
        return {}


def lowered(image: Tensor, scale: int) -> Tensor:
    """Downscale images (B, C, H, W) in 0..1 by a whole factor (bicubic), quantised to 8 bits."""
    small = F.interpolate(whole(image, scale).float(), scale_factor=1 / scale, mode="bicubic", antialias=True)
    return (small.clamp(0, 1) * 255).round() / 255


def enlarged(image: Tensor, scale: int) -> Tensor:
    """Upscale by bicubic interpolation (a = -1/2), the baseline for a network.

    Keys: Cubic Convolution Interpolation for Digital Image Processing (1981).
    https://doi.org/10.1109/TASSP.1981.1163711
    """
    return F.interpolate(image.float(), scale_factor=scale, mode="bicubic", antialias=True)


def whole(image: Tensor, scale: int) -> Tensor:
    """Crop the last rows and columns so that ``scale`` divides height and width."""
    high, wide = (length // scale * scale for length in image.shape[2:])
    return image[:, :, :high, :wide]


def cropped(image: Tensor, side: int) -> Tensor:
    """Crop the same random square from all images (B, C, H, W), where they are larger."""
    high, wide = (max(length - side, 0) for length in image.shape[2:])
    top, offset = (int(torch.randint(room + 1, ())) for room in (high, wide))
    return image[:, :, top : top + side, offset : offset + side]


def check_domains(train: Dataset) -> None:
    """Raise UserError unless there are two domains without a common image."""
    labels = train.target.tolist()
    counts = [labels.count(domain) for domain in range(len(train.classes))]
    if len(counts) != 2 or not all(counts):
        raise UserError(
            "domains",
            _("{data} has {count} domains with images").format(data=train.name, count=sum(map(bool, counts))),
            expected=_("two: a folder with two sub-folders of images"),
            fix="data=coats",
            exit=3,
        )
    if not isinstance(train.input, Tensor) or len(train) > MOST_COMPARED:
        return
    images: list[set[bytes]] = [set(), set()]
    for label, digest in zip(labels, digests(train.input), strict=True):
        images[label].add(digest)
    both = len(images[0] & images[1])
    if both:
        raise UserError(
            "same pictures",
            _("{count} images are in both domains of {data}").format(count=both, data=train.name),
            expected=_("images that are of one domain each"),
            exit=3,
        )


def passes(scale: int, own: int) -> int:
    """Return how many times to apply a network that enlarges by ``own`` to reach ``scale``.

    ``scale`` 0 means one pass. Raises UserError if no number of passes gives it.
    """
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
    """The output beside its target and beside trivial baselines."""

    title = N_("image to image")
    takes = Picture
    gives = BeforeAfter
    metrics = (
        Metric(N_("PSNR"), unit="dB", headline=True),
        Metric(N_("PSNR of luma"), unit="dB", headline=True),
        Metric(N_("SSIM"), kind="signed"),
        Metric(N_("feature distance"), higher_is_better=False, headline=True, kind="amount"),
        Metric(N_("sharpness"), unit="share", kind="amount"),
        Metric(N_("object PSNR"), unit="dB"),
        Metric(N_("ground PSNR"), unit="dB"),
        Metric(N_("cycle PSNR"), unit="dB"),
        Metric(N_("colour difference"), higher_is_better=False, headline=True, kind="amount"),
        Metric(N_("object colour difference"), higher_is_better=False, kind="amount"),
        Metric(N_("ground colour difference"), higher_is_better=False, kind="amount"),
        Metric(N_("colour bits"), unit="bits", higher_is_better=False, headline=True, kind="amount"),
        Metric(N_("object colour bits"), unit="bits", higher_is_better=False, kind="amount"),
        Metric(N_("ground colour bits"), unit="bits", higher_is_better=False, kind="amount"),
        Metric(N_("chroma"), unit="share", kind="amount"),
    )
    default_data = "photo_patches"
    target = "pictures"
    formats = ("unpaired", "folder")
    augments = True

    def check(self, data: Dataset, options: Any) -> None:
        check_classes(data)
        if not data.images:
            raise UserError(
                "no pictures",
                _("{data} holds no images of one size").format(data=data.name),
                expected=_("a folder of images"),
                fix="data=photo_patches",
                exit=3,
            )
        if data.side < SMALLEST or len(data) < FEWEST:
            raise UserError(
                "few pictures",
                _("{count} images of {side} pixels a side in {data}").format(
                    count=len(data), side=data.side, data=data.name
                ),
                expected=_("{count} or more images of {side} pixels a side or more").format(
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

    def published(self, name: str, source: bool | str, config: Any = None, spec: Any = None) -> System:
        """Load published weights; with a ``spec`` for training on, of a GAN those of the generator.

        Raises UserError where they are missing or damaged, belong to another system or size, or
        where images with ``spec`` have other channels.
        """
        system_class, default_config = registry.load_system(name)
        size = registry.find(name)[1]
        if system_class.published_spec(size) is not None:
            return super().published(name, source, config, spec)
        origin = system_class.published(size, config or default_config)
        tensors = weights.weights(name, origin)
        published_model = system_class.of_published(tensors)
        if published_model is None or published_model.config != default_config:
            raise UserError(
                "other system",
                _("the weights of {name} have other names or sizes than {size}").format(
                    name=origin, size=default_config
                ),
                expected=_("a file of weights as it was published"),
                fix=_("delete it, then fetch it again (souron fetch)"),
                exit=3,
            )
        if spec is None:
            return published_model
        if spec.channels != published_model.spec.channels:
            raise UserError(
                "channels",
                _("published weights need images of 3 channels, these have {channels}").format(channels=spec.channels),
                expected=_("colour images"),
                exit=3,
            )
        model = system_class(config or default_config, spec)
        destination, source_network = (
            (network.generator if hasattr(network, "generator") else network) for network in (model, published_model)
        )
        destination.load_state_dict(source_network.state_dict())
        return model

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        """Scale images (B, C, H, W) from 0..255 to 0..1."""
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
        scores = evaluation.answers_of(system, data.cases, quick, beside=False)
        return {name: values.float() for name, values in scores.items() if name in quick and isinstance(values, Tensor)}

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        with numbers(system, setup):
            yield Step(1.0, result=evaluation.answers_of(system, test))

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        return evaluation.tables(seeds, [metric.name for metric in self.metrics])

    def measures(self, seeds: Sequence[Answers], setup: Setup, training: Any = None) -> dict[str, Measure]:
        return evaluation.measures(self.scores(seeds, setup), setup.test.units, training)

    def details(self, system: System, answers: Answers, setup: Setup, trainings: int = 1) -> Iterator[Step]:
        """Evaluate the untrained network as a baseline."""
        assert isinstance(system, ImageTranslator)
        baseline = evaluation.answers_of(untrained(system), setup.test, beside=False)
        yield Step(
            1.0,
            _("the same network untrained"),
            {f"untrained:{name}": values for name, values in baseline.items() if name != "output"},
        )

    def details_seconds(self, trainer: Any, setup: Any, training: float, look: float) -> float:
        return look * len(setup.test)

    def ranks(self, setup: Setup) -> str:
        has_truth = len(setup.test.classes) == 1 or evaluation.twins(setup.test) is not None
        return self.metrics[0].name if has_truth else CYCLE

    def result(self, trainings: Trainings, setup: Setup) -> ImageResult:
        names = [metric.name for metric in self.metrics]
        higher = {metric.name: metric.higher_is_better for metric in self.metrics}
        return evaluation.result(trainings, setup, names, higher.__getitem__)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: Setup) -> dict[str, Tensor]:
        """Return system -> the output of its first seed for each test image."""
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
