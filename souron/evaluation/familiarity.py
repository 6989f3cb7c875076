"""A check of every answer: is the case like those that the network has learnt from?

Up to five layers between the first and the last are looked at. Of what goes into each, the mean and
the standard deviation of every channel are its features. They are standardised over training cases,
all layers count alike, and one Gaussian is fitted, of low rank and with the same variance in every
other direction:

    x = W z + m + e,  e ~ N(0, v I)         distance^2 = (x - m)' (W W' + v I)^-1 (x - m) / features

Tipping, Bishop: Probabilistic Principal Component Analysis (1999).
https://doi.org/10.1111/1467-9868.00196
Lee, Lee, Lee, Shin: A Simple Unified Framework for Detecting Out-of-Distribution Samples and
Adversarial Attacks (2018). https://arxiv.org/abs/1807.03888 (one Gaussian of all classes here, so
that what has no class, such as a scene with several things, is judged as well)

The threshold is set on validation cases: one in twenty lies beyond it.
``benchmarks/familiarity.py`` compares this with the energy of the answers.
"""

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.data.dataset import Dataset
from souron.data.splits import Split
from souron.kinds.codecs import grid
from souron.kinds.finding import Familiarity
from souron.kinds.volume import Volume
from souron.utils.files import read_tensors, write_tensors
from souron.utils.messages import UserError, _

FILE = "weights/familiar.safetensors"
ALARMS = 0.05  # of validation cases
FEWEST = 20  # validation cases: with fewer no threshold has so few false alarms
MOST = 600  # training cases
MOST_VALIDATION = 500
MOST_VOLUMES = 40  # of either
LAYERS = 5
RANK = 32
WIDTH = 256  # features of a layer's means, and of its deviations; neighbours are averaged
BATCH = 50  # cases at a time
MOST_BYTES = 4_000_000  # of the file
PARTS = ("mean", "scale", "basis", "variance")  # of the file
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)

FARTHEST = 1e9  # distance
LEAST = 1e-4  # of a feature's largest value that it must vary by
TINY = 1e-12  # variance

Heard = dict[str, list[Tensor]]  # layer -> (cases, features) each time that it is passed


@dataclass(frozen=True, eq=False)
class Gauge:
    """A Gaussian over the features of training cases, and the distance that few cases exceed."""

    layers: dict[str, int]  # name -> features
    mean: Tensor  # (D,)
    scale: Tensor  # (D,) what features are multiplied with; 0 where training cases never differ
    basis: Tensor  # (D, R) half precision
    variance: Tensor  # (R,) along the basis
    rest: float  # variance in each other direction
    threshold: float = math.inf
    cases: int = 0  # validation cases that set the threshold

    def distance(self, features: Tensor) -> Tensor:
        """(cases, D) -> (cases,), about 1 for training cases."""
        z = (features.float() - self.mean) * self.scale
        along = z @ self.basis.float()
        beyond = (z.square().sum(1) - along.square().sum(1)).clamp(min=0)
        total = (along.square() / self.variance).sum(1) + beyond / self.rest
        return (total / (self.scale > 0).sum()).sqrt()

    def means(self) -> dict[str, Tensor]:
        """The mean features of each layer."""
        return dict(zip(self.layers, self.mean.split([*self.layers.values()]), strict=True))

    def write(self, path: Path) -> None:
        tensors = {name: getattr(self, name) for name in PARTS}
        about = {name: getattr(self, name) for name in ("layers", "rest", "threshold", "cases")}
        write_tensors(path, tensors, about)

    @classmethod
    def read(cls, path: Path) -> "Gauge":
        """The check in a run's file, which may come from anybody. Raises UserError."""
        if path.stat().st_size > MOST_BYTES:
            raise _foreign(path)
        tensors, about = read_tensors(path)
        try:
            layers = {str(name): int(width) for name, width in about["layers"].items()}
            rest, threshold, cases = (about[name] for name in ("rest", "threshold", "cases"))
            mean, scale, basis, variance = (tensors[name] for name in PARTS)
            gauge = cls(
                layers, mean, scale, basis, variance, float(rest), float(threshold), int(cases)
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _foreign(path) from error
        if not gauge.sound:
            raise _foreign(path)
        return gauge

    @property
    def sound(self) -> bool:
        """Do sizes and values make sense?"""
        total, rank = sum(self.layers.values()), self.variance.numel()
        shapes = [(total,), (total,), (total, rank), (rank,)]
        tensors = [self.mean, self.scale, self.basis, self.variance]
        return (
            all(0 < width <= 2 * WIDTH for width in self.layers.values())
            and [tuple(tensor.shape) for tensor in tensors] == shapes
            and all(tensor.is_floating_point() for tensor in tensors)
            and all(bool(tensor.isfinite().all()) for tensor in tensors)
            and bool((self.variance > 0).all() and (self.scale >= 0).all() and self.scale.any())
            and all(math.isfinite(value) and value > 0 for value in (self.rest, self.threshold))
        )


def _foreign(path: Path) -> UserError:
    return UserError(
        "weights file",
        _("{path} is no familiarity check").format(path=path),
        expected=_("the file that souron train wrote beside the weights"),
        fix=_("delete it: the run answers without the check"),
        exit=3,
    )


class Sensor:
    """Listens to layers of a network while it answers, each thread for itself."""

    def __init__(self, network: nn.Module, names: Sequence[str] | None = None) -> None:
        """``names``: of the layers, all with weights by default."""
        self.heard = threading.local()
        known = dict(network.named_modules())
        wanted = names or [
            name for name, layer in known.items() if isinstance(layer, (*CONVOLUTIONS, nn.Linear))
        ]
        self.hooks = [
            known[name].register_forward_pre_hook(_listener(self.heard, name)) for name in wanted
        ]

    @contextmanager
    def listening(self) -> Iterator[Heard]:
        """The features of each layer that is passed meanwhile, in the order of passing."""
        features: Heard = {}
        self.heard.features = features
        try:
            yield features
        finally:
            self.heard.features = None

    def remove(self) -> None:
        for hook in self.hooks:
            hook.remove()


def _listener(heard: threading.local, name: str) -> Callable[[nn.Module, tuple], None]:
    def listen(layer: nn.Module, given: tuple) -> None:
        features = getattr(heard, "features", None)
        if features is not None and given and isinstance(given[0], Tensor) and given[0].ndim > 1:
            features.setdefault(name, []).append(
                pooled(given[0].detach(), isinstance(layer, CONVOLUTIONS))
            )

    return listen


def pooled(given: Tensor, channels_first: bool) -> Tensor:
    """Pool the input of a layer (B, C, ...), or (B, ..., C), -> (B, features): the mean and the
    standard deviation of each channel, the mean alone where each case has one value."""
    given = given.float()
    if given.ndim == 2:
        return narrow(given).cpu()
    given = given.flatten(2).transpose(1, 2) if channels_first else given.flatten(1, -2)
    variance, mean = torch.var_mean(given, 1, correction=0)
    return torch.cat([narrow(mean), narrow(variance.sqrt())], 1).cpu()


def narrow(features: Tensor) -> Tensor:
    """(B, C) -> (B, at most ``WIDTH``), neighbours averaged."""
    return features if features.shape[1] <= WIDTH else F.adaptive_avg_pool1d(features, WIDTH)


def joined(heard: Heard, cases: int) -> dict[str, Tensor]:
    """Layer -> (cases, features) of those that are passed once a case; of one case all passes
    together, as of the parts of a volume."""
    even = {name: each for name, each in heard.items() if len({len(one[0]) for one in each}) == 1}
    rows = {name: torch.cat(each) for name, each in even.items()}
    if cases == 1:
        return {name: each.mean(0, keepdim=True) for name, each in rows.items()}
    return {name: each for name, each in rows.items() if len(each) == cases}


class Check:
    """A gauge at a network: ``with check.listening() as heard: ...; check.judge(heard)``."""

    def __init__(self, gauge: Gauge, network: nn.Module) -> None:
        """Raises UserError where the gauge is of another network."""
        missing = gauge.layers.keys() - dict(network.named_modules()).keys()
        if missing:
            raise _of_another(missing)
        self.gauge, self.network = gauge, network
        self.listening = Sensor(network, list(gauge.layers)).listening

    def judge(self, heard: Heard, cases: int = 1) -> list[Familiarity]:
        """One for each case that was answered meanwhile. Raises UserError."""
        rows, means = joined(heard, cases), self.gauge.means()
        for name, row in rows.items():
            if row.shape[1] != self.gauge.layers[name]:
                raise _of_another([name])
        usual = {name: mean.expand(cases, -1) for name, mean in means.items()}
        features = usual | rows  # a layer that an answer does without is as usual
        distance = self.gauge.distance(torch.cat([*features.values()], 1))
        finite = distance.nan_to_num(FARTHEST).clamp(max=FARTHEST)
        return [Familiarity(score, self.gauge.threshold) for score in finite.tolist()]


def _of_another(layers: Iterable[str]) -> UserError:
    return UserError(
        "weights file",
        _("the familiarity check belongs to another network: {layers}").format(
            layers=", ".join(sorted(layers))
        ),
        expected=_("the file that souron train wrote beside the weights"),
        fix=_("delete it: the run answers without the check"),
        exit=3,
    )


def fit(system: Any, train: Dataset, validation: Dataset, most: int = MOST) -> Gauge | None:
    """The check of a trained network, from at most so many training cases; None where too few
    validation cases can set a threshold, and of a system that finds nothing, or without layers."""
    if _answer(system) is None or not _shown(train) or len(validation) < FEWEST:
        return None
    names = _layers(system, train)
    if not names:
        return None
    gauge = gaussian(features(system, sampled(train, most), names))
    far = distances(gauge, system, sampled(validation, MOST_VALIDATION))
    gauge = replace(gauge, threshold=threshold(far), cases=len(far))
    return gauge if gauge.sound else None


def cases(split: Split) -> int:
    """Return the most cases that fitting the check and measuring its alarms look at."""
    return min(MOST, len(split.train)) + sum(
        min(MOST_VALIDATION, len(part)) for part in (split.val, split.test)
    )


def distances(gauge: Gauge, system: Any, cases: Dataset) -> Tensor:
    """(cases,) of all cases of a data set."""
    rows = features(system, cases, list(gauge.layers))
    return gauge.distance(torch.cat([*rows.values()], 1))


def share(gauge: Gauge, system: Any, cases: Dataset) -> float | None:
    """Return the share of cases beyond the threshold; None where there are no cases."""
    if not len(cases):
        return None
    far = distances(gauge, system, sampled(cases, MOST_VALIDATION)) > gauge.threshold
    return float(far.double().mean())


def threshold(distance: Tensor) -> float:
    """The distance that another case exceeds with a probability of ``ALARMS`` at most: of n
    validation cases the one at place (n + 1) (1 - ``ALARMS``)."""
    place = math.ceil((len(distance) + 1) * (1 - ALARMS) - 1e-9)
    return float(distance.sort().values[place - 1])


def gaussian(rows: dict[str, Tensor]) -> Gauge:
    """Fit features (cases, features) of several layers."""
    values = torch.cat([*rows.values()], 1)
    deviation, mean = torch.std_mean(values, 0)
    width = torch.cat([torch.full((part.shape[1],), part.shape[1]) for part in rows.values()])
    differs = deviation > LEAST * values.abs().amax(0).clamp(min=LEAST)
    scale = torch.where(differs, 1 / (deviation * width.sqrt()), 0.0)
    z = ((values - mean) * scale).double()
    directions = min(z.shape[0] - 1, int(differs.sum()))
    rank = min(RANK, max(1, directions // 3))
    _left, spread, right = torch.linalg.svd(z, full_matrices=False)
    variance = spread.square() / (len(z) - 1)
    rest = float(variance[rank:].sum() / max(1, int(differs.sum()) - rank))
    return Gauge(
        {name: part.shape[1] for name, part in rows.items()}, mean, scale,
        right[:rank].T.half().contiguous(), variance[:rank].clamp(min=TINY).float(),
        max(rest, TINY),
    )  # fmt: skip


@torch.inference_mode()
def features(system: Any, cases: Dataset, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Layer -> (cases, features), in the order in which the network passes them."""
    system.eval()
    answer, sensor = _answer(system), Sensor(system, names)
    assert answer is not None
    size = 1 if cases.volumes else BATCH
    parts = []
    try:
        for rows in torch.arange(len(cases)).split(size):
            with sensor.listening() as heard:
                answer(cases.only(rows))
            parts.append(joined(heard, len(rows)))
    finally:
        sensor.remove()
    return {name: torch.cat([part[name] for part in parts]) for name in names or parts[0]}


def _layers(system: Any, cases: Dataset) -> list[str]:
    """The layers to look at: evenly from the first to the last, and the last."""
    first = cases.only(range(min(BATCH, len(cases))))
    blank = replace(
        first.only([0]), input=torch.zeros_like(first.input[0])[None]
    )  # nothing is there
    always = features(system, blank)
    passed = [name for name in features(system, first) if name in always]
    count = min(LAYERS, len(passed))
    return [passed[(number + 1) * len(passed) // count - 1] for number in range(count)]


def sampled(cases: Dataset, most: int) -> Dataset:
    """At most so many of the cases, the same ones each time; fewer volumes."""
    most = min(most, MOST_VOLUMES) if cases.volumes else most
    order = torch.randperm(len(cases), generator=torch.Generator().manual_seed(0))
    return cases.only(order[:most].sort().values)


def _answer(system: Any) -> Callable[[Dataset], Any] | None:
    """Return the function that answers about cases; None for a system that finds nothing."""
    answer = getattr(system, "found", None) or getattr(system, "probabilities", None)
    if answer is None:
        return None

    def answer_all(cases: Dataset) -> Any:
        if cases.volumes:  # each resampled, as a file is
            return [system.predict(one) for one in volumes(cases)]
        return answer(system.loader(cases))

    return answer_all


def volumes(cases: Dataset) -> Iterator[Volume]:
    """Each case as its file would be read: slices towards the head, rows to the back."""
    for values, (slices, rows, columns) in zip(cases.input, cases.spacing, strict=True):
        yield Volume(values[0].numpy(), grid.upright((columns, rows, slices)))


def _shown(cases: Dataset) -> bool:
    return cases.pictures or cases.volumes
