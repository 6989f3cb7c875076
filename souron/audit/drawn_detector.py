"""A detector of drawn pictures: frequencies and neighbouring pixels, read by logistic regression.

Two sorts of features, of which neither looks at what a picture shows:

- the logarithm of the discrete cosine transform, the mean over blocks of up to 32 pixels: layers
  that enlarge leave traces in it (Frank and others: Leveraging Frequency Analysis for Deep Fake
  Image Recognition, 2020, https://arxiv.org/abs/2003.08685; Durall and others: Watch your
  Up-Convolution, 2020, https://arxiv.org/abs/2003.01826);
- how often neighbouring pixels differ by so much, and how often a pixel is black or white:
  histograms of residuals, after steganalysis (Fridrich, Kodovsky: Rich Models for Steganalysis of
  Digital Images, 2012, https://doi.org/10.1109/TIFS.2012.2190402).

``benchmarks/generated.py features`` compares them, each alone and together, with the frozen
EfficientNet-Lite0, on generators that the detector never saw.

Before any of that, all pictures pass one pipeline (``Pipeline``). Otherwise a detector learns that
photographs are JPEG files and drawn pictures PNG files, which is worthless: Grommelt and others:
Fake or JPEG? Revealing Common Biases in Generated Image Detection Datasets (2024),
https://arxiv.org/abs/2403.17608.
"""

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from souron.kinds.codecs.image import picture, square

Floats = NDArray[np.float32]

QUALITY = 95  # of the JPEG that every picture passes at the end of the pipeline
UNKNOWN = 75  # quality that is assumed of a lossy file that does not say it
SMALLEST, LARGEST = 8, 256  # pixels a side
BLOCK = 32  # pixels a side, at most, of which the frequencies are taken
PENALTY = 0.01  # C of the logistic regression
AT_ONCE = 256  # pictures
STEPS = np.array(
    (-np.inf, -64, -32, -16, -8, -4, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 4, 8, 16, 32, 64, np.inf)
)  # between which differences of neighbouring pixels are counted, levels
ENDS = (0, 1, 2, 3, 255)  # levels that are counted by themselves
CHANGES = ("as it is", "jpeg 75", "halved")


@dataclass(frozen=True)
class Pipeline:
    """What every picture passes, real or drawn, before anything is learnt from it."""

    side: int  # pixels
    channels: int  # 1 or 3
    quality: int | None = None  # the lowest JPEG quality among all files; None: no file was lossy

    def of(self, image: Image.Image) -> Tensor:
        """(channels, side, side) uint8.

        Where a file was JPEG, every picture is first compressed at that file's quality, at its own
        size: one that was compressed so already hardly changes, and the others become like it.
        """
        image = image.convert("L" if self.channels == 1 else "RGB")
        if self.quality is not None:
            image = compressed(image, self.quality)
        pixels = picture(square(image, self.side, self.channels))
        return as_tensor(compressed(pixels, QUALITY), self.channels)

    def many(self, pictures: Sequence[Image.Image] | Tensor) -> Tensor:
        """(N, channels, side, side) uint8 of pictures, or of (N, C, H, W) in 0..255."""
        made = [self.of(picture(one) if isinstance(one, Tensor) else one) for one in pictures]
        return torch.stack(made) if made else torch.empty(
            0, self.channels, self.side, self.side, dtype=torch.uint8)  # fmt: skip


def compressed(image: Image.Image, quality: int) -> Image.Image:
    """The picture as JPEG of that quality leaves it."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def as_tensor(image: Image.Image, channels: int) -> Tensor:
    pixels = np.asarray(image).reshape(image.height, image.width, channels)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def jpeg_quality(image: Image.Image) -> int | None:
    """About the quality, 1..100, of a JPEG file that is opened, from its table for brightness;
    ``UNKNOWN`` of lossy WebP; None where nothing was lost."""
    if image.format == "WEBP":
        return UNKNOWN
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    # the standard's table at quality 50 sums to 3688; above 50 it shrinks evenly, below it grows
    scale = 100 * sum(tables[min(tables)]) / 3688
    found = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return int(min(max(round(found), 1), 100))


def changed(image: Tensor, change: str) -> Tensor:
    """Pictures (N, C, S, S) uint8 as they are after one of ``CHANGES``, of the same size."""
    if change == "jpeg 75":
        channels = image.shape[1]
        made = [as_tensor(compressed(picture(one), 75), channels) for one in image]
        return torch.stack(made) if made else image
    if change == "halved":
        side = image.shape[-1]
        half = (max(1, side // 2),) * 2
        small = F.interpolate(image.float(), half, mode="bilinear", antialias=True).round()
        large = F.interpolate(small, (side, side), mode="bilinear")
        return large.round().clamp(0, 255).byte()
    return image


def features(image: Tensor) -> Floats:
    """(N, D) of pictures (N, C, S, S) in 0..255."""
    some = [np.concatenate([frequencies(part), residuals(part)], 1)
            for part in image.split(AT_ONCE)]  # fmt: skip
    return np.concatenate(some).astype(np.float32)


def frequencies(image: Tensor) -> Floats:
    """(N, block²): the mean over blocks of log(|DCT| + 1) of the brightness."""
    grey = image.float().mean(1)  # (N, S, S)
    side = grey.shape[-1]
    block = min(side, BLOCK)
    across = side // block
    start = (side - across * block) // 2
    middle = grey[:, start : start + across * block, start : start + across * block]
    blocks = middle.unfold(1, block, block).unfold(2, block, block)  # (N, a, a, block, block)
    found = np.log(np.abs(scipy.fft.dctn(blocks.numpy(), axes=(3, 4), norm="ortho")) + 1)
    return found.mean((1, 2)).reshape(len(grey), block * block)


def residuals(image: Tensor) -> Floats:
    """(N, channels x 56): square roots of the shares of differences between neighbours (to the
    right, below, and all four together) that lie between two ``STEPS``, and of the ``ENDS``."""
    found = []
    for grey in image.float().numpy().transpose(1, 0, 2, 3):  # (N, S, S)
        right, below = np.diff(grey, axis=2), np.diff(grey, axis=1)
        inner = grey[:, 1:-1, 1:-1]
        around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
        for values in (right, below, 4 * inner - around):
            flat = values.reshape(len(grey), -1)
            found += [((flat >= low) & (flat < high)).mean(1)
                      for low, high in itertools.pairwise(STEPS)]  # fmt: skip
        found += [(grey == level).mean((1, 2)) for level in ENDS]
    return np.sqrt(np.stack(found, 1)).astype(np.float32)


@dataclass(frozen=True)
class Detector:
    """Of a picture how likely it is drawn, half of all pictures being so."""

    mean: Floats  # (D,) of the features that it learnt from
    spread: Floats  # (D,)
    weight: Floats  # (D,)
    bias: float

    def scores(self, image: Tensor) -> NDArray[np.float64]:
        """(N,) in 0..1 of pictures (N, C, S, S) uint8 as the pipeline makes them."""
        return self.of_features(features(image))

    def of_features(self, found: Floats) -> NDArray[np.float64]:
        logit = ((found - self.mean) / self.spread) @ self.weight + self.bias
        return 1 / (1 + np.exp(-np.clip(logit.astype(np.float64), -500, 500)))


def learn(real: Floats, drawn: Sequence[Floats]) -> Detector:
    """From features (N, D) of real pictures, and of the pictures of each generator, which weigh
    the same, and all of them together what the real ones do. Raises ValueError without pictures."""
    from sklearn.linear_model import LogisticRegression

    if not len(real) or not drawn or not all(map(len, drawn)):
        raise ValueError("a detector learns from real and from drawn pictures")
    both: Any = np.concatenate([real, *drawn])
    label = np.repeat([0, 1], [len(real), len(both) - len(real)])
    each = [np.full(len(some), len(real) / len(drawn) / len(some)) for some in drawn]
    weight = np.concatenate([np.ones(len(real)), *each])
    mean, spread = both.mean(0), both.std(0) + 1e-6
    fitted = LogisticRegression(C=PENALTY, max_iter=300)
    fitted.fit((both - mean) / spread, label, sample_weight=weight)
    return Detector(mean, spread, fitted.coef_[0].astype(np.float32), float(fitted.intercept_[0]))


def learn_from_pictures(real: Tensor, drawn: Sequence[Tensor]) -> Detector:
    """``learn``, from pictures (N, C, S, S) uint8 as the pipeline makes them."""
    return learn(features(real), [features(some) for some in drawn])
