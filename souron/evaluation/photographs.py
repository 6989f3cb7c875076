"""Out-of-distribution check of networks with published weights: is an image like photographs?

Their training data (ImageNet, COCO, Open Images) are not at hand, so that no distance to them can be
measured, as ``familiarity`` does for networks that were trained here. A logistic regression stands in
its place, the same for all of them. It was fitted to photographs, and to images of other kinds: X-ray
films, CT, MR and ultrasound, stained sections, drawings, charts, pages, noise. Its features are the mean
and the standard deviation of each feature map of EfficientNet-Lite0 after its five resolutions:

    p = sigmoid(w' (x - m) / s + b)

Hendrycks, Mazeika, Dietterich: Deep Anomaly Detection with Outlier Exposure (2019).
https://arxiv.org/abs/1812.04606 (known outliers are fitted, so that others are found; there the
network itself learns from them, here a regression beside it)

Three in a hundred photographs exceed the threshold. ``benchmarks/photographs.py`` fits it, and prints how
many images of each source are found by a fit without that source: kinds that were never fitted are
found less often.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from souron import registry
from souron.hub import weights
from souron.hub.backbones import SIDE, Backbone
from souron.kinds.finding import Familiarity
from souron.kinds.picture import Picture
from souron.utils.files import read_tensors, write_tensors

FILE = Path(__file__).with_name("photographs.safetensors")
NETWORK = "efficientnet_lite"
LEVELS = 5
FARTHEST = 8.0  # standard deviations
DATA = ("ImageNet", "COCO", "Open Images", "DUTS")  # published training data that are photographs
PARTS = ("mean", "scale", "weight")


@dataclass(frozen=True, eq=False)
class OutlierDetector:
    """A logistic regression on standardised features (D,), with its threshold."""

    mean: Tensor  # (D,)
    scale: Tensor  # (D,) standard deviations
    weight: Tensor  # (D,)
    bias: float
    threshold: float  # probability

    def probability(self, features: Tensor) -> Tensor:
        """Compute the probability of being no photograph, (cases, D) -> (cases,); 1 where it is not a number."""
        z = ((features - self.mean) / self.scale).clamp(-FARTHEST, FARTHEST)
        return (z @ self.weight + self.bias).sigmoid().nan_to_num(1.0)

    def judge(self, picture: Picture) -> Familiarity:
        """Compare an image with photographs."""
        return Familiarity(float(self.probability(features(picture)[None])[0]), self.threshold)

    def write(self, path: Path) -> None:
        """Write it as .safetensors."""
        write_tensors(
            path, {name: getattr(self, name) for name in PARTS}, {"bias": self.bias, "threshold": self.threshold}
        )

    @classmethod
    def read(cls, path: Path) -> "OutlierDetector":
        """Read it from the file that comes with souron."""
        tensors, about = read_tensors(path)
        mean, scale, weight = (tensors[name] for name in PARTS)
        return cls(mean, scale, weight, float(about["bias"]), float(about["threshold"]))


def detector_for(system: Any, name: str) -> OutlierDetector | None:
    """Return the check for a system with published weights, by its name.

    None for one that answers no images or was trained on other data than photographs, and where the
    weights of EfficientNet-Lite0 are not on this computer.

    >>> from souron import model
    >>> detector_for(model.load("mlp").system, "mlp") is None
    True
    """
    if registry.takes(system.task) != "Picture" or not trained_on_photographs(name):
        return None
    return _fitted() if _here() else None


def trained_on_photographs(name: str) -> bool:
    """Return whether a system of that name has published weights that were trained on photographs.

    >>> [trained_on_photographs(name) for name in ("resnet50", "densenet_xray")]
    [True, False]
    """
    if not registry.is_system(name):  # the folder of a run
        return False
    entry, size = registry.find(name)
    return size in entry.weights and registry.published_from(name).startswith(DATA)


@torch.inference_mode()
def features(picture: Picture) -> Tensor:
    """Compute the features of an image, (D,)."""
    image = picture.square(SIDE, 3).float()[None] / 255
    maps = _network()(image.to(memory_format=torch.channels_last))
    return torch.cat([part for stage in maps for part in _moments(stage[0])])


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean and the standard deviation of each feature map, (C, h, w) -> (C,) twice."""
    variance, mean = torch.var_mean(maps, (1, 2), correction=0)
    return mean, variance.sqrt()


def _here() -> bool:
    entry, size = registry.find(NETWORK)
    return weights.find(entry.weights[size]) is not None


@lru_cache(1)
def _network() -> Backbone:
    with torch.random.fork_rng(devices=[]):  # an answer leaves the numbers of others as they were
        network = Backbone(NETWORK, 3, LEVELS)
        network.load_published()
    for weight in network.parameters():  # a third faster on a CPU
        if weight.dim() == 4:
            weight.data = weight.contiguous(memory_format=torch.channels_last)
    return network.eval()


@lru_cache(1)
def _fitted() -> OutlierDetector:
    return OutlierDetector.read(FILE)
