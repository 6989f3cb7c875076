"""Out-of-distribution check: compare a case with the training data.

The inputs of up to five layers, evenly spaced, are used. The features of a layer are the mean and
standard deviation of each input channel. They are standardised over training cases with equal
weight for every layer, and one Gaussian is fitted, of low rank plus an isotropic remainder:

    x = W z + m + e,  e ~ N(0, v I)         distance^2 = (x - m)' (W W' + v I)^-1 (x - m) / features

Tipping, Bishop: Probabilistic Principal Component Analysis (1999).
https://doi.org/10.1111/1467-9868.00196

Lee, Lee, Lee, Shin: A Simple Unified Framework for Detecting Out-of-Distribution Samples and
Adversarial Attacks (2018). https://arxiv.org/abs/1807.03888 (one Gaussian for all classes here, so
that cases without a class, such as scenes with several objects, can be checked)

The threshold is set on validation cases, so that one in twenty exceeds it.
``benchmarks/familiarity.py`` compares this with the energy score.
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
ALARMS = 0.05  # fraction of validation cases beyond the threshold
FEWEST = 20  # validation cases; with fewer no threshold has this false alarm rate
MOST = 600  # training cases
MOST_VALIDATION = 500
MOST_VOLUMES = 40  # of training or validation
LAYERS = 5
RANK = 32
WIDTH = 256  # most means, and most deviations, of a layer; neighbours are averaged
BATCH = 50  # cases at a time
MOST_BYTES = 4_000_000  # of the file
PARTS = ("mean", "scale", "basis", "variance")  # of the file
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)

FARTHEST = 1e9  # distance
LEAST = 1e-4  # least standard deviation relative to the largest value
TINY = 1e-12  # variance

Heard = dict[str, list[Tensor]]  # layer -> (cases, features) of each call


@dataclass(frozen=True, eq=False)
class Gauge:
    """A Gaussian fitted to features of training cases, with a distance threshold."""

    layers: dict[str, int]  # name -> features
    mean: Tensor  # (D,)
    scale: Tensor  # (D,) factor of each feature; 0 where it is constant over training cases
    basis: Tensor  # (D, R) half precision
    variance: Tensor  # (R,) along the basis
    rest: float  # variance in each other direction
    threshold: float = math.inf
    cases: int = 0  # validation cases that set the threshold

    def distance(self, features: Tensor) -> Tensor:
        """Compute the Mahalanobis distance, (cases, D) -> (cases,), about 1 for training cases."""
        z = (features.float() - self.mean) * self.scale
        along = z @ self.basis.float()
        beyond = (z.square().sum(1) - along.square().sum(1)).clamp(min=0)
        total = (along.square() / self.variance).sum(1) + beyond / self.rest
        return (total / (self.scale > 0).sum()).sqrt()

    def means(self) -> dict[str, Tensor]:
        """Return the mean features of each layer."""
        return dict(zip(self.layers, self.mean.split([*self.layers.values()]), strict=True))

    def write(self, path: Path) -> None:
        tensors = {name: getattr(self, name) for name in PARTS}
        about = {name: getattr(self, name) for name in ("layers", "rest", "threshold", "cases")}
        write_tensors(path, tensors, about)

    @classmethod
    def read(cls, path: Path) -> "Gauge":
        """Read the check from a run's file, which is untrusted. Raises UserError."""
        if path.stat().st_size > MOST_BYTES:
            raise _foreign(path)
        tensors, about = read_tensors(path)
        try:
            layers = {str(name): int(width) for name, width in about["layers"].items()}
            rest, threshold, cases = (about[name] for name in ("rest", "threshold", "cases"))
            mean, scale, basis, variance = (tensors[name] for name in PARTS)
            gauge = cls(layers, mean, scale, basis, variance, float(rest), float(threshold), int(cases))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _foreign(path) from error
        if not gauge.sound:
            raise _foreign(path)
        return gauge

    @property
    def sound(self) -> bool:
        """Return whether sizes and values are valid."""
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
    """Forward hooks that record the inputs of layers, separately for each thread."""

    def __init__(self, network: nn.Module, names: Sequence[str] | None = None) -> None:
        """Register hooks on the layers ``names``, by default on all layers with weights."""
        self.heard = threading.local()
        layers = dict(network.named_modules())
        layer_names = names or [name for name, layer in layers.items() if isinstance(layer, (*CONVOLUTIONS, nn.Linear))]
        self.hooks = [layers[name].register_forward_pre_hook(_listener(self.heard, name)) for name in layer_names]

    @contextmanager
    def listening(self) -> Iterator[Heard]:
        """Record the features of each layer called in this context, in order of the calls."""
        features: Heard = {}
        self.heard.features = features
        try:
            yield features
        finally:
            self.heard.features = None

    def take(self, features: Iterable[tuple[str, Tensor]]) -> None:
        """Record features that were computed elsewhere, where this thread is listening."""
        record = getattr(self.heard, "features", None)
        if record is not None:
            for name, row in features:
                record.setdefault(name, []).append(row)

    def remove(self) -> None:
        for hook in self.hooks:
            hook.remove()


def _listener(recorder: threading.local, name: str) -> Callable[[nn.Module, tuple], None]:
    def listen(layer: nn.Module, inputs: tuple) -> None:
        features = getattr(recorder, "features", None)
        if features is not None and inputs and isinstance(inputs[0], Tensor) and inputs[0].ndim > 1:
            features.setdefault(name, []).append(pooled(inputs[0].detach(), isinstance(layer, CONVOLUTIONS)))

    return listen


def pooled(inputs: Tensor, channels_first: bool) -> Tensor:
    """Pool the input of a layer, (B, C, ...) or (B, ..., C), to features (B, F).

    They are mean and standard deviation of each channel, or the values themselves for (B, C).
    """
    inputs = inputs.float()
    if inputs.ndim == 2:
        return narrow(inputs).cpu()
    inputs = inputs.flatten(2).transpose(1, 2) if channels_first else inputs.flatten(1, -2)
    variance, mean = torch.var_mean(inputs, 1, correction=0)
    return torch.cat([narrow(mean), narrow(variance.sqrt())], 1).cpu()


def narrow(features: Tensor) -> Tensor:
    """Average neighbouring features: (B, C) -> (B, at most ``WIDTH``)."""
    return features if features.shape[1] <= WIDTH else F.adaptive_avg_pool1d(features, WIDTH)


def joined(record: Heard, cases: int) -> dict[str, Tensor]:
    """Concatenate the recorded calls: layer -> (cases, features).

    Only layers called once per case are kept; for a single case all calls are averaged, as for the
    patches of a volume.
    """
    even = {name: calls for name, calls in record.items() if len({len(call[0]) for call in calls}) == 1}
    rows = {name: torch.cat(calls) for name, calls in even.items()}
    if cases == 1:
        return {name: values.mean(0, keepdim=True) for name, values in rows.items()}
    return {name: values for name, values in rows.items() if len(values) == cases}


class Check:
    """A gauge attached to a network: ``with check.listening() as heard: ...;
    check.judge(heard)``.
    """

    def __init__(self, gauge: Gauge, network: nn.Module) -> None:
        """Attach a gauge. Raises UserError where it belongs to another network."""
        missing = gauge.layers.keys() - dict(network.named_modules()).keys()
        if missing:
            raise _of_another(missing)
        self.gauge, self.network = gauge, network
        self.sensor = Sensor(network, list(gauge.layers))
        self.listening = self.sensor.listening

    def judge(self, record: Heard, cases: int = 1) -> list[Familiarity]:
        """Return the familiarity of each case predicted while listening. Raises UserError."""
        rows, means = joined(record, cases), self.gauge.means()
        for name, row in rows.items():
            if row.shape[1] != self.gauge.layers[name]:
                raise _of_another([name])
        usual = {name: mean.expand(cases, -1) for name, mean in means.items()}
        features = usual | rows  # layers not called count as average
        distance = self.gauge.distance(torch.cat([*features.values()], 1))
        finite = distance.nan_to_num(FARTHEST).clamp(max=FARTHEST)
        return [Familiarity(score, self.gauge.threshold) for score in finite.tolist()]


def _of_another(layers: Iterable[str]) -> UserError:
    return UserError(
        "weights file",
        _("the familiarity check belongs to another network: {layers}").format(layers=", ".join(sorted(layers))),
        expected=_("the file that souron train wrote beside the weights"),
        fix=_("delete it: the run answers without the check"),
        exit=3,
    )


def fit(system: Any, train: Dataset, validation: Dataset, most: int = MOST) -> Gauge | None:
    """Fit the check of a trained network to at most ``most`` training cases.

    None where there are too few validation cases for a threshold, for a system without predictions,
    and for a network without layers that every case passes.
    """
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
    """Return the largest number of cases used for fitting the check and its false alarm rate."""
    return min(MOST, len(split.train)) + sum(min(MOST_VALIDATION, len(part)) for part in (split.val, split.test))


def distances(gauge: Gauge, system: Any, cases: Dataset) -> Tensor:
    """Compute the distance of every case of a data set, (cases,)."""
    rows = features(system, cases, list(gauge.layers))
    return gauge.distance(torch.cat([*rows.values()], 1))


def share(gauge: Gauge, system: Any, cases: Dataset) -> float | None:
    """Return the share of cases beyond the threshold; None where there are no cases."""
    if not len(cases):
        return None
    far = distances(gauge, system, sampled(cases, MOST_VALIDATION)) > gauge.threshold
    return float(far.double().mean())


def threshold(distance: Tensor) -> float:
    """Return the distance that a new case exceeds with a probability of at most ``ALARMS``.

    Of n validation distances in ascending order, it is the one at rank ⌈(n + 1) (1 - ``ALARMS``)⌉.
    """
    rank = math.ceil((len(distance) + 1) * (1 - ALARMS) - 1e-9)
    return float(distance.sort().values[rank - 1])


def gaussian(rows: dict[str, Tensor]) -> Gauge:
    """Fit the Gaussian to features (cases, features) of several layers."""
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
        {name: part.shape[1] for name, part in rows.items()},
        mean,
        scale,
        right[:rank].T.half().contiguous(),
        variance[:rank].clamp(min=TINY).float(),
        max(rest, TINY),
    )


@torch.inference_mode()
def features(system: Any, cases: Dataset, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Compute layer -> (cases, features), in the order in which the network calls the layers."""
    system.eval()
    answer, sensor = _answer(system), Sensor(system, names)
    assert answer is not None
    size = 1 if cases.volumes else BATCH
    parts = []
    try:
        for rows in torch.arange(len(cases)).split(size):
            with sensor.listening() as record:
                answer(cases.only(rows))
            parts.append(joined(record, len(rows)))
    finally:
        sensor.remove()
    return {name: torch.cat([part[name] for part in parts]) for name in names or parts[0]}


def _layers(system: Any, cases: Dataset) -> list[str]:
    """Choose evenly spaced layers; the last one is always among them."""
    first = cases.only(range(min(BATCH, len(cases))))
    blank = replace(first.only([0]), input=torch.zeros_like(first.input[0])[None])  # an empty image: all zeros
    always = features(system, blank)
    layers = [name for name in features(system, first) if name in always]
    count = min(LAYERS, len(layers))
    return [layers[(number + 1) * len(layers) // count - 1] for number in range(count)]


def sampled(cases: Dataset, most: int) -> Dataset:
    """Select at most ``most`` cases, fewer for volumes, always the same ones."""
    most = min(most, MOST_VOLUMES) if cases.volumes else most
    order = torch.randperm(len(cases), generator=torch.Generator().manual_seed(0))
    return cases.only(order[:most].sort().values)


def _answer(system: Any) -> Callable[[Dataset], Any] | None:
    """Return the function that predicts for cases; None for a system without predictions."""
    answer = getattr(system, "found", None) or getattr(system, "probabilities", None)
    if answer is None:
        return None

    def answer_all(cases: Dataset) -> Any:
        if cases.volumes:  # resample each, as for a file
            return [system.predict(volume) for volume in volumes(cases)]
        return answer(system.loader(cases))

    return answer_all


def volumes(cases: Dataset) -> Iterator[Volume]:
    """Yield each case as read from a file: slices towards the head, rows to the back."""
    for values, (slices, rows, columns) in zip(cases.input, cases.spacing, strict=True):
        yield Volume(values[0].numpy(), grid.upright((columns, rows, slices)))


def _shown(cases: Dataset) -> bool:
    return cases.images or cases.volumes
