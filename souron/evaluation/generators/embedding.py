"""A fixed feature extractor ("eye") for comparing generated with real images.

Distances between features of a trained network reflect visual similarity better than distances
between pixels. The extractor is never trained on generated images and is the same for every
generator on the same data:

- Small greyscale images with classes (``fashion``, ``digits``): a classifier of souron, trained on
  the training part alone, always with the same seed and number of examples, and cached. Its
  features are the input of its last layer, divided by one number so that their mean square over
  the training images is 1.

- All others: the ImageNet backbone included in souron, at 112 pixels a side, greyscale images
  repeated in three channels. Its 1280 features are reduced to 128 by a fixed random projection,
  which roughly preserves distances (Johnson and Lindenstrauss, 1984): the Fréchet distance of a few
  hundred images then detects changes that it misses among 1280. With classes, a linear layer over
  the 1280 features is trained on the training part, as in ``frozen``.

The extractor always runs on the CPU in float32, so that its figures do not depend on the training
device.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from souron import registry
from souron.data.dataset import Dataset, Rows
from souron.hub import fetch, weights
from souron.stats import intervals
from souron.stats.records import Measure
from souron.training import checkpoint, frozen
from souron.training.budget import Budget
from souron.training.trainer import Trainer
from souron.utils import files, hardware
from souron.utils.messages import UserError, _

SMALL = "airbench_fine"
SMALL_SIDE = 32  # largest side in pixels
ENOUGH = 500  # training images needed for a classifier of its own
EXAMPLES, EPOCHS, BATCH, SEED = 60_000, 15, 128, 0

LARGE = "efficientnet_lite"
SIDE = 112  # pixels
FEATURES = 128
LEARNT_FROM = 5000  # most training images of the linear layer
PENALTY = 20.0  # L2 penalty of the layer on standardised features

LOOKED_AT = 5000  # most held-out images
SCALED_BY = 2000  # most training images
KEPT = 20  # files in the cache; the oldest are deleted


@dataclass(frozen=True)
class Layer:
    """A linear layer over the backbone's 1280 features."""

    weight: Tensor  # (labels, 1280)
    bias: Tensor  # (labels,)


@dataclass(frozen=True)
class FeatureExtractor:
    network: Any
    data: str  # its training data: "fashion"; "" for ImageNet
    count: int  # number of images of the data used in training, 0 for none
    labels: tuple[str, ...]  # columns of ``probabilities``; () for none
    accuracy: Measure | None = None  # on held-out images, where it predicts classes
    projection: Tensor | None = None  # (1280, FEATURES), of the backbone
    layer: Layer | None = None
    scale: float = 1.0  # divisor of the features

    @property
    def dimensions(self) -> int:
        """The number of features of an image."""
        if self.projection is not None:
            return self.projection.shape[1]
        return int(self.network.get_submodule(self.network.head).in_features)

    @property
    def name(self) -> str:
        """The network and its training data, in the reader's language."""
        if self.projection is None:
            return _("{system}, trained on {n} images of {data}; {features} features").format(
                system=SMALL, n=f"{self.count:,}", data=self.data, features=self.dimensions
            )
        return _("{system}, trained on ImageNet; {features} features").format(system=LARGE, features=self.dimensions)

    def see(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute features (N, D) and probabilities (N, labels) or None of images (N, C, H, W) in
        0..255.

        ``image`` is uint8 or float. Each result is independent of the other images in the batch.
        """
        if not len(image):
            none = torch.empty(0, len(self.labels)) if self.labels else None
            return torch.empty(0, self.dimensions), none
        size = 256 if self.projection is None else frozen.BATCH
        features, probability = [], []
        for images in image.split(size):
            # constant batch size: rounding depends on it
            whole = torch.cat([images, images[-1:].expand(size - len(images), -1, -1, -1)])
            batch_features, logits = self._look(whole)
            features.append(batch_features[: len(images)])
            if logits is not None:
                probability.append(logits[: len(images)].softmax(1))
        return torch.cat(features), torch.cat(probability) if probability else None

    def features(self, image: Tensor) -> Tensor:
        """Compute features (N, D) float32 of images (N, C, H, W) in 0..255."""
        return self.see(image)[0]

    def probabilities(self, image: Tensor) -> Tensor | None:
        """Compute probabilities (N, labels) of images (N, C, H, W) in 0..255; None
        without classes.
        """
        return self.see(image)[1]

    def _look(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        features, logits = _seen(self.network, image)
        if self.projection is None:
            return features / self.scale, logits
        if self.layer is not None:
            return features @ self.projection, F.linear(features, self.layer.weight, self.layer.bias)
        return features @ self.projection, None


@dataclass(frozen=True)
class Kept:
    """The cached state of an extractor."""

    tensors: dict[str, Tensor]
    accuracy: Measure | None
    scale: float = 1.0


def feature_extractor(
    cases: Dataset, train_rows: Sequence[int] | Tensor
) -> Iterator[tuple[float, FeatureExtractor | None]]:
    """Yield (fraction done 0..1, None), and at the end the feature extractor for these cases.

    It is trained on ``train_rows`` alone, or read from the cache; a damaged file is rebuilt. Raises
    UserError where the backbone's weights are not on this computer.
    """
    rows = torch.as_tensor(train_rows, dtype=torch.long)
    train, held_out = cases.only(rows), cases.only(_others(len(cases), rows))
    classes = len(torch.unique(train.target)) > 1
    small = cases.channels == 1 and cases.side <= SMALL_SIDE
    if classes and small and len(train) >= ENOUGH:
        yield from _small(train, held_out)
    else:
        yield from _large(train, held_out, classes)


def _small(train: Dataset, held_out: Dataset) -> Iterator[tuple[float, FeatureExtractor | None]]:
    system_class, config = registry.load_system(SMALL)
    examples = min(EXAMPLES, EPOCHS * len(train))
    file = _file(train, system_class.__name__, config, examples, BATCH, SEED, hardware.bf16())
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = system_class(config, system_class.spec_for(train))
        network.smoothing = 0.0  # label smoothing would lower its confidence
        network.to(memory_format=torch.channels_last)
        change = registry.load_task("classify").augmentation(train.augment)
        feed = network.loader(train, change, SEED)
        fit = Trainer(network, feed, None, Budget(examples, "examples"), BATCH)
    extractor = FeatureExtractor(network.eval(), train.name, len(train), train.classes)
    cache = _kept(file, network.state_dict())
    if cache is not None:
        network.load_state_dict(cache.tensors)
        yield 1.0, replace(extractor, accuracy=cache.accuracy, scale=cache.scale)
        return
    while not fit.done:
        with _one_thread():
            fit.go(1.0)
        yield min(0.97, fit.fraction), None
    few = _evenly(train, SCALED_BY).input
    with _one_thread():
        scale = float(extractor.features(few).double().square().mean().sqrt()) or 1.0
    cache = Kept(network.state_dict(), _accuracy(extractor, held_out), scale)
    _keep(file, cache)
    yield 1.0, replace(extractor, accuracy=cache.accuracy, scale=scale)


def _large(train: Dataset, held_out: Dataset, classes: bool) -> Iterator[tuple[float, FeatureExtractor | None]]:
    network = _backbone()
    wide = network.fc.in_features
    gaussian = np.random.default_rng(SEED).standard_normal((wide, FEATURES))
    # orthogonal columns, scaled to preserve distances on average
    projection = np.linalg.qr(gaussian)[0] * math.sqrt(wide / FEATURES)
    extractor = FeatureExtractor(network, "", 0, (), projection=torch.tensor(projection, dtype=torch.float32))
    if not classes:
        yield 1.0, extractor
        return
    few = _evenly(train, LEARNT_FROM)
    extractor = replace(extractor, data=train.name, count=len(few), labels=train.classes)
    shapes = {"weight": torch.empty(len(train.classes), wide), "bias": torch.empty(len(train.classes))}
    path = fetch.where(LARGE)
    file = _file(few, LARGE, SIDE, PENALTY, path.name if path else "")
    cache = _kept(file, shapes)
    if cache is not None:
        yield 1.0, replace(extractor, layer=Layer(**cache.tensors), accuracy=cache.accuracy)
        return
    features = []
    for image in few.input.split(frozen.BATCH):
        features.append(_seen(network, image)[0])
        yield 0.7 * len(features) * frozen.BATCH / (len(few) + frozen.BATCH), None
    layer = _learnt(torch.cat(features), few.target, len(train.classes))
    extractor = replace(extractor, layer=layer)
    accuracy = _accuracy(extractor, held_out)
    _keep(file, Kept({"weight": layer.weight, "bias": layer.bias}, accuracy))
    yield 1.0, replace(extractor, accuracy=accuracy)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: sums over several threads round differently, and training amplifies it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _backbone() -> Any:
    system_class, config = registry.load_system(LARGE)
    source = system_class.published("small", config)
    tensors = weights.weights(LARGE, source)
    mean, std = weights.normalisation(source)
    with torch.random.fork_rng(devices=[]):
        network = system_class(config, registry.load_task("classify").Spec(3, SIDE, ("",), mean, std))
    checkpoint.fill(network, tensors, Path(LARGE), but=(network.head,))
    return network.eval().to(memory_format=torch.channels_last)


@torch.no_grad()
def _seen(network: Any, image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last layer's input (B, D) and output for images (B, C, H, W) in 0..255."""
    spec = network.spec
    if image.shape[1] == 1 and spec.channels == 3:
        image = image.expand(-1, 3, -1, -1)
    if image.shape[1] != spec.channels:
        raise ValueError(f"pictures of {image.shape[1]} channels, not {spec.channels}")
    image = image.float()
    if image.shape[2:] != (spec.side, spec.side):
        size = (spec.side, spec.side)
        image = F.interpolate(image, size=size, mode="bilinear", antialias=True)
    batch = network.batch(Rows(image, None))
    return frozen.seen_by_the_head(network, batch.image, exact=True)


def _learnt(features: Tensor, label: Tensor, labels: int) -> Layer:
    """Fit a logistic regression to features (N, 1280); absent labels are never predicted."""
    from sklearn.linear_model import LogisticRegression

    x = features.double().numpy()
    mean, std = x.mean(0), x.std(0) + 1e-6
    regression = LogisticRegression(C=1 / PENALTY, max_iter=500)
    regression.fit((x - mean) / std, label.numpy())
    theirs, bias = regression.coef_ / std, regression.intercept_
    bias = bias - theirs @ mean
    if len(regression.classes_) == 2:
        theirs, bias = np.concatenate([0 * theirs, theirs]), np.concatenate([0 * bias, bias])
    weight, shift = torch.zeros(labels, x.shape[1]), torch.full((labels,), -1e4)
    weight[regression.classes_] = torch.tensor(theirs, dtype=torch.float32)
    shift[regression.classes_] = torch.tensor(bias, dtype=torch.float32)
    return Layer(weight, shift)


def _accuracy(extractor: FeatureExtractor, held_out: Dataset) -> Measure | None:
    few = _evenly(held_out, LOOKED_AT)
    if not len(few):
        return None
    probability = extractor.probabilities(few.input)
    assert probability is not None, "an eye with labels names them"
    return intervals.proportion_interval(int((probability.argmax(1) == few.target).sum()), len(few))


def _evenly(cases: Dataset, most: int) -> Dataset:
    if len(cases) <= most:
        return cases
    return cases.only(torch.linspace(0, len(cases) - 1, most).long())


def _others(count: int, rows: Tensor) -> Tensor:
    free = torch.ones(count, dtype=torch.bool)
    free[rows] = False
    return free.nonzero()[:, 0]


def _file(cases: Dataset, *about: Any) -> Path:
    """Return the cache file of an extractor, a hash of images, labels and settings."""
    digest = hashlib.blake2b(digest_size=16)
    shape = tuple(cases.input.shape), cases.input.dtype, len(cases.classes), cases.augment
    digest.update(repr((about, shape, torch.__version__)).encode())
    for images in cases.input.split(1024):
        digest.update(images.contiguous().numpy().data)
    digest.update(cases.target.numpy().data)
    return files.cache_folder() / "eyes" / f"{digest.hexdigest()}.safetensors"


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _keep(file: Path, cache: Kept) -> None:
    accuracy = cache.accuracy
    about = {
        "checksum": _checksum(cache.tensors),
        "right": 0 if accuracy is None else round(accuracy.value * accuracy.n),
        "held_out": 0 if accuracy is None else accuracy.n,
        "scale": cache.scale,
    }
    files.write_tensors(file, cache.tensors, about)
    for old in sorted(file.parent.glob("*.safetensors"), key=lambda f: -f.stat().st_mtime)[KEPT:]:
        old.unlink(missing_ok=True)


def _kept(file: Path, expected: dict[str, Tensor]) -> Kept | None:
    """Read what ``_keep`` wrote; None where it is missing or damaged."""
    if not file.exists():
        return None
    try:
        tensors, about = files.read_tensors(file)
    except UserError:
        return None
    alike = tensors.keys() == expected.keys() and all(
        tensors[name].shape == expected[name].shape and tensors[name].dtype == expected[name].dtype for name in expected
    )
    complete = about.keys() >= {"checksum", "right", "held_out", "scale"}
    if not alike or not complete or about["checksum"] != _checksum(tensors):
        return None
    file.touch()  # mark as recently used
    n = about["held_out"]
    accuracy = intervals.proportion_interval(about["right"], n) if n else None
    return Kept(tensors, accuracy, about["scale"])
