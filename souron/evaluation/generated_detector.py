"""A detector of generated images: frequencies and neighbouring pixels, with logistic regression.

Two groups of features, both independent of an image's content:

- the logarithm of the discrete cosine transform, averaged over blocks of up to 32 pixels:
  upsampling layers leave traces in it (Frank and others: Leveraging Frequency Analysis for Deep
  Fake Image Recognition, 2020, https://arxiv.org/abs/2003.08685; Durall and others: Watch your
  Up-Convolution, 2020, https://arxiv.org/abs/2003.01826);
- histograms of differences between neighbouring pixels, and the shares of black and white pixels,
  residuals as in steganalysis (Fridrich, Kodovsky: Rich Models for Steganalysis of
  Digital Images, 2012, https://doi.org/10.1109/TIFS.2012.2190402).

``benchmarks/generated.py features`` compares them, each alone and together, with the frozen
EfficientNet-Lite0, on generators unseen in training.

All images first pass one pipeline (``Pipeline``). Otherwise a detector learns that photographs are
JPEG files and generated images PNG files, which is worthless: Grommelt and others:
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

from souron.kinds.codecs.image import as_image, square

Floats = NDArray[np.float32]

QUALITY = 95  # of the JPEG compression that ends the pipeline
UNKNOWN = 75  # assumed quality of lossy files that do not state it
SMALLEST, LARGEST = 8, 256  # pixels a side
BLOCK = 32  # largest block of the frequency features, pixels a side
PENALTY = 0.01  # C of the logistic regression
AT_ONCE = 256  # images
STEPS = np.array(
    (-np.inf, -64, -32, -16, -8, -4, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 4, 8, 16, 32, 64, np.inf)
)  # bin edges of differences between neighbouring pixels, in levels
ENDS = (0, 1, 2, 3, 255)  # levels counted separately
CHANGES = ("as it is", "jpeg 75", "halved")


@dataclass(frozen=True)
class Pipeline:
    """The preprocessing of every image, real or generated."""

    side: int  # pixels
    channels: int  # 1 or 3
    quality: int | None = None  # the lowest JPEG quality among all files; None if no file was lossy

    def of(self, image: Image.Image) -> Tensor:
        """Preprocess an image to (channels, side, side) uint8.

        If a file was JPEG, every image is first compressed at the lowest quality, at its own size:
        one that was already compressed so hardly changes, and the others become like it.
        """
        image = image.convert("L" if self.channels == 1 else "RGB")
        if self.quality is not None:
            image = compressed(image, self.quality)
        pixels = as_image(square(image, self.side, self.channels))
        return as_tensor(compressed(pixels, QUALITY), self.channels)

    def many(self, images: Sequence[Image.Image] | Tensor) -> Tensor:
        """Preprocess images, or (N, C, H, W) in 0..255: (N, channels, side, side) uint8."""
        tensors = [self.of(as_image(image) if isinstance(image, Tensor) else image) for image in images]
        return (
            torch.stack(tensors) if tensors else torch.empty(0, self.channels, self.side, self.side, dtype=torch.uint8)
        )


def compressed(image: Image.Image, quality: int) -> Image.Image:
    """Return the image after JPEG compression at that quality."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def as_tensor(image: Image.Image, channels: int) -> Tensor:
    pixels = np.asarray(image).reshape(image.height, image.width, channels)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def jpeg_quality(image: Image.Image) -> int | None:
    """Estimate the quality, 1..100, of an opened JPEG file from its luminance table.

    ``UNKNOWN`` for lossy WebP; None for lossless files.
    """
    if image.format == "WEBP":
        return UNKNOWN
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    # the standard's table at quality 50 sums to 3688; above 50 it shrinks evenly, below it grows
    scale = 100 * sum(tables[min(tables)]) / 3688
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return int(min(max(round(quality), 1), 100))


def changed(image: Tensor, change: str) -> Tensor:
    """Apply one of ``CHANGES`` to images (N, C, S, S) uint8, keeping their size."""
    if change == "jpeg 75":
        channels = image.shape[1]
        tensors = [as_tensor(compressed(as_image(picture), 75), channels) for picture in image]
        return torch.stack(tensors) if tensors else image
    if change == "halved":
        side = image.shape[-1]
        half = (max(1, side // 2),) * 2
        small = F.interpolate(image.float(), half, mode="bilinear", antialias=True).round()
        large = F.interpolate(small, (side, side), mode="bilinear")
        return large.round().clamp(0, 255).byte()
    return image


def features(image: Tensor) -> Floats:
    """Return features (N, D) of images (N, C, S, S) in 0..255."""
    parts = [np.concatenate([frequencies(part), residuals(part)], 1) for part in image.split(AT_ONCE)]
    return np.concatenate(parts).astype(np.float32)


def frequencies(image: Tensor) -> Floats:
    """Return (N, block²): log(|DCT| + 1) of the brightness, averaged over blocks."""
    grey = image.float().mean(1)  # (N, S, S)
    side = grey.shape[-1]
    block = min(side, BLOCK)
    across = side // block
    start = (side - across * block) // 2
    middle = grey[:, start : start + across * block, start : start + across * block]
    blocks = middle.unfold(1, block, block).unfold(2, block, block)  # (N, a, a, block, block)
    spectra = np.log(np.abs(scipy.fft.dctn(blocks.numpy(), axes=(3, 4), norm="ortho")) + 1)
    return spectra.mean((1, 2)).reshape(len(grey), block * block)


def residuals(image: Tensor) -> Floats:
    """Return (N, channels x 56): square roots of histograms of pixel differences and ``ENDS``.

    The differences are to the right neighbour, to the one below, and to all four together, with
    bins ``STEPS``.
    """
    histograms = []
    for grey in image.float().numpy().transpose(1, 0, 2, 3):  # (N, S, S)
        right, below = np.diff(grey, axis=2), np.diff(grey, axis=1)
        inner = grey[:, 1:-1, 1:-1]
        around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
        for values in (right, below, 4 * inner - around):
            flat = values.reshape(len(grey), -1)
            histograms += [((flat >= low) & (flat < high)).mean(1) for low, high in itertools.pairwise(STEPS)]
        histograms += [(grey == level).mean((1, 2)) for level in ENDS]
    return np.sqrt(np.stack(histograms, 1)).astype(np.float32)


@dataclass(frozen=True)
class Detector:
    """Probability that an image is generated, at equal priors."""

    mean: Floats  # (D,) of the training features
    spread: Floats  # (D,)
    weight: Floats  # (D,)
    bias: float

    def scores(self, image: Tensor) -> NDArray[np.float64]:
        """Return probabilities (N,) for preprocessed images (N, C, S, S) uint8."""
        return self.of_features(features(image))

    def of_features(self, features_of_images: Floats) -> NDArray[np.float64]:
        logit = ((features_of_images - self.mean) / self.spread) @ self.weight + self.bias
        return 1 / (1 + np.exp(-np.clip(logit.astype(np.float64), -500, 500)))


def fit(real: Floats, generated: Sequence[Floats]) -> Detector:
    """Train on features (N, D) of real images, and of each generator's images.

    Each generator has the same weight, and all together that of the real images. Raises ValueError
    without images.
    """
    from sklearn.linear_model import LogisticRegression

    if not len(real) or not generated or not all(map(len, generated)):
        raise ValueError("a detector is trained on real and on generated images")
    both: Any = np.concatenate([real, *generated])
    label = np.repeat([0, 1], [len(real), len(both) - len(real)])
    weights = [np.full(len(images), len(real) / len(generated) / len(images)) for images in generated]
    weight = np.concatenate([np.ones(len(real)), *weights])
    mean, spread = both.mean(0), both.std(0) + 1e-6
    classifier = LogisticRegression(C=PENALTY, max_iter=300)
    classifier.fit((both - mean) / spread, label, sample_weight=weight)
    coefficients = classifier.coef_[0].astype(np.float32)
    return Detector(mean, spread, coefficients, float(classifier.intercept_[0]))


def fit_images(real: Tensor, generated: Sequence[Tensor]) -> Detector:
    """Train on preprocessed images (N, C, S, S) uint8, see ``fit``."""
    return fit(features(real), [features(images) for images in generated])
