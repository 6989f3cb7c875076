"""A network made to learn in seconds: whitened patches, narrow layers, orthogonal updates.

Jordan: 94% on CIFAR-10 in 3.29 Seconds on a Single GPU (2024). https://arxiv.org/abs/2404.00498

    image -> patches, decorrelated -> [3x3 - pool - 3x3] x n -> maximum -> one score a label

The first layer is not trained but computed: its filters are the principal components of the
training images' patches, scaled to unit variance, each with both signs. The other filters are
trained by Muon (Jordan and others 2024, https://kellerjordan.github.io/posts/muon/): the update is
the orthogonal matrix nearest to the momentum, so that all directions have equal step sizes.

    M = U S V'  ->  O = U V'      by x <- a x + (b x x' + c (x x')^2) x, three times

The size `paper` has the widths of the published airbench94, for 32 pixels a side.

Differs from the paper: Muon, which came later, in place of stochastic gradient descent, with one
cycle of the rate. All sizes but `paper` are narrower, have a shortcut around the second
convolution, as the paper's larger networks do, and use ReLU, which trains as well here and is
faster; `quick` and `small` take patches of 4x4 at every second pixel, which leaves a quarter of the
positions of `fine`. A stage of `quick` is one strided convolution, and the biases of its first
layer are fixed too, so that it needs no gradient. Reduced: no average of past weights, no test-time
augmentation by mirroring.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.classify import Batch, Classifier, Spec
from souron.training.loop import Data, Progress, Run


@dataclass(frozen=True)
class Config:
    widths: tuple[int, ...] = (64, 256, 256)  # the last three stages halve the side
    patch: int = 2  # pixels a side
    stride: int = 1  # pixels between patches
    residual: bool = False
    relu: bool = False  # otherwise GELU, as in the paper
    strided: bool = False  # each stage is one strided convolution, and the first layer is fixed
    rate: float = 0.12  # Muon's, relative to the filters' norm, which is kept


class Muon(torch.optim.Optimizer):
    """Muon: SGD with Nesterov momentum, orthogonalised for groups that request it."""

    def __init__(self, groups: Iterable[dict[str, Any]]):
        super().__init__(groups, {"lr": 0.0, "momentum": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None, "the loop computes the gradients"
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["velocity"] = torch.zeros_like(weight)
                velocity = state["velocity"].mul_(group["momentum"]).add_(weight.grad)
                move = weight.grad + group["momentum"] * velocity
                if group["orthogonal"]:
                    move = orthogonal(move.flatten(1)).view_as(weight)
                    weight.mul_(len(weight) ** 0.5 / weight.norm())
                weight.add_(move, alpha=-group["lr"])


def orthogonal(matrix: Tensor, steps: int = 3) -> Tensor:
    """Approximate U V' for the matrix (rows, columns) = U S V'; small singular values stay below 1.

    Newton-Schulz iteration: the polynomial a s + b s^3 + c s^5 moves every singular value s
    towards 1 and leaves U and V unchanged. Each step multiplies x from the left by a polynomial
    of x x', so that x itself, which is wide, is needed only at the beginning and at the end.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() + 1e-7)  # all singular values at most 1
    square, product = x @ x.T, torch.eye(len(x), device=x.device)
    for _step in range(steps):
        factor = torch.addmm(square, square, square, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor @ product
        square = factor @ square @ factor
    x = product @ x
    return x if wide is matrix else x.T


class Stage(nn.Module):
    """Two convolutions with max pooling between them, which halves the side."""

    def __init__(self, inward: int, width: int, halve: bool, config: Config):
        super().__init__()
        self.halve, self.residual = halve, config.residual
        self.bend = F.relu if config.relu else F.gelu
        self.conv1, self.conv2 = convolution(inward, width), convolution(width, width)
        self.norm1, self.norm2 = norm(width), norm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        if self.halve and x.shape[-1] > 1:
            x = F.max_pool2d(x, 2)
        x = self.bend(self.norm1(x))
        y = self.norm2(self.conv2(x))
        return self.bend(x + y if self.residual else y)


def convolution(inward: int, width: int, step: int = 1) -> nn.Conv2d:
    """3x3 convolution, initialised as the identity."""
    layer = nn.Conv2d(inward, width, 3, step, padding=1, bias=False)
    nn.init.dirac_(layer.weight.data[:inward])
    return layer


def norm(width: int) -> nn.BatchNorm2d:
    """Batch norm with a trainable shift but a fixed scale."""
    layer = nn.BatchNorm2d(width)
    layer.weight.requires_grad_(False)
    return layer


class Airbench(Classifier):
    year = 2024
    ja = "画像の小片を白色化し、更新を直交化して、数秒で学ぶように作った網"
    status = "reduced"
    channels_last = True
    head = "fc"
    smoothing: ClassVar[float] = 0.2  # label smoothing
    SIZES = {
        "tiny": Config((16, 32), 2, residual=True, relu=True),
        "quick": Config((32, 64, 64), 4, 2, relu=True, strided=True, rate=0.16),
        "small": Config((16, 32, 64, 128), 4, 2, residual=True, relu=True),
        "fine": Config((16, 32, 64, 128), 2, residual=True, relu=True),
        "paper": Config(),
    }

    whitened: Tensor  # whether the first layer has been computed
    frozen = False

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        channels = 2 * spec.channels * config.patch**2
        self.whiten = nn.Conv2d(spec.channels, channels, config.patch, config.stride)
        for name, weight in self.whiten.named_parameters():
            weight.requires_grad_(name == "bias" and not config.strided)
        self.register_buffer("whitened", torch.tensor(False))
        self.stages = nn.Sequential()
        for i, width in enumerate(config.widths):
            halve = i >= len(config.widths) - 3
            if config.strided:
                layers = convolution(channels, width, 2 if halve else 1), norm(width), nn.ReLU()
                self.stages.append(nn.Sequential(*layers))
            else:
                self.stages.append(Stage(channels, width, halve, config))
            channels = width
        self.fc = nn.Linear(channels, len(spec.labels), bias=False)

    def forward(self, image: Tensor) -> Tensor:
        bend = F.relu if self.config.relu else F.gelu
        x = self.stages(bend(self.whiten(image)))  # (B, width, H, W)
        return self.fc(x.amax((2, 3))) / 9  # (B, labels); scaled down to avoid early overconfidence

    def loss(self, batch: Batch) -> Tensor:
        return F.cross_entropy(self(batch.image), batch.label, label_smoothing=self.smoothing)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        rate = self.config.rate
        filters = [weight for weight in self.stages.parameters() if weight.ndim == 4]
        biases = [self.whiten.bias, *(w for n, w in self.stages.named_parameters() if "bias" in n)]
        groups = [
            {"params": filters, "lr": rate, "momentum": 0.6, "orthogonal": True},
            {"params": biases, "lr": rate * 0.4, "momentum": 0.85},
            {"params": [self.fc.weight], "lr": rate * 4, "momentum": 0.85},
        ]
        return {"model": Muon(groups)}

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Whiten the first layer before training, unless it is already computed or frozen."""
        if not self.whitened and not self.frozen:
            self.whiten_for(next(data.endless(2000)).image)
        yield from super().fit(data, run)

    @torch.no_grad()
    def whiten_for(self, image: Tensor) -> None:
        """Compute filters that whiten the patches of these images (B, C, H, W)."""
        patch, stride = self.config.patch, self.config.stride
        patches = F.unfold(image, patch, stride=stride).transpose(1, 2).flatten(0, 1)
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        # the small constant keeps the weakest directions from amplifying noise
        filters = (directions / (variances + 5e-4).sqrt()).T.flip(0)  # strongest first
        both = torch.cat([filters, -filters])
        layer = {"weight": both.view_as(self.whiten.weight), "bias": torch.zeros(len(both))}
        self.whiten.load_state_dict(layer)
        self.whitened.fill_(True)
