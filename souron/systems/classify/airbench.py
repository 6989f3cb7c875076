"""A network made to learn fast: whitened input, orthogonal updates, few narrow layers.

Jordan: 94% on CIFAR-10 in 3.29 Seconds on a Single GPU (2024). https://arxiv.org/abs/2404.00498

    patches of the picture, decorrelated -> [3x3 - pool - 3x3] x 3 -> pool -> one score a label

The first layer is not learned but computed: its filters are the principal components of the
training pictures' patches, scaled to unit variance, each with both signs. The optimizer is Muon
(Jordan and others 2024, https://kellerjordan.github.io/posts/muon/): the step of each filter bank
is the orthogonal matrix nearest to its momentum, so that every direction moves equally far.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.classify import Batch, Classifier, Seen
from souron.training import Data, Progress, Run


@dataclass(frozen=True)
class Config:
    widths: tuple[int, ...] = (64, 256, 256)
    patch: int = 2
    stride: int = 1
    residual: bool = False
    filters: int = 0
    rate: float = 0.24
    smoothing: float = 0.2
    bias_rate: float = 0.05
    head_rate: float = 0.5
    momentum: float = 0.6
    scale: float = 1/9
    mean: bool = True
    bnm: float = 0.4
    third: bool = False
    wd: float = 0.0
    norm: bool=True
    poolfirst: bool=True


class Muon(torch.optim.Optimizer):
    def __init__(self, groups, momentum):
        super().__init__(groups, {"lr": 0.0, "momentum": momentum, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure=None):
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
                    if group.get("norm", True):
                        weight.mul_(len(weight) ** 0.5 / weight.norm())
                        move = orthogonal(move.flatten(1)).view_as(weight)
                    else:
                        move = orthogonal(move.flatten(1)).view_as(weight)*max(1,len(weight)/weight[0].numel())**0.5
                weight.add_(move, alpha=-group["lr"])


def orthogonal(matrix: Tensor, steps: int = 3) -> Tensor:
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Stage(nn.Module):
    def __init__(self, inward, width, cfg, pool=True):
        super().__init__()
        self.conv1 = nn.Conv2d(inward, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width, momentum=cfg.bnm, eps=1e-6)
        self.norm2 = nn.BatchNorm2d(width, momentum=cfg.bnm, eps=1e-6)
        self.residual, self.pool = cfg.residual, pool
        for n in (self.norm1, self.norm2): n.weight.requires_grad_(False)
        for c in (self.conv1, self.conv2):
            nn.init.dirac_(c.weight[: c.weight.shape[1]].data)

    def forward(self, x):
        x = self.conv1(x)
        if self.pool: x = F.max_pool2d(x, 2)
        x = F.gelu(self.norm1(x))
        y = self.norm2(self.conv2(x))
        return F.gelu(x + y if self.residual else y)


class Airbench(Classifier):
    year = 2024
    ja = "白色化した入力と直交化した更新で、数秒のうちに学ぶ小さな網"
    channels_last = True
    head = "fc"
    SIZES = {
        "tiny": Config((16, 32), 2),
        "small": Config((32, 64, 128), 4, 2),
        "paper": Config(),
    }

    def __init__(self, config: Config, seen: Seen):
        super().__init__(config, seen)
        f = config.filters or 2 * seen.channels * config.patch**2
        self.whiten = nn.Conv2d(seen.channels, f, config.patch, config.stride)
        self.whiten.weight.requires_grad_(False)
        self.register_buffer("whitened", torch.tensor(False))
        self.stages = nn.Sequential()
        c = f
        for i, w in enumerate(config.widths):
            self.stages.append(Stage(c, w, config, pool=i > 0 or config.poolfirst))
            c = w
        self.fc = nn.Linear(c * (2 if config.mean else 1), len(seen.labels), bias=False)

    def forward(self, image):
        x = F.gelu(self.whiten(image))
        x = self.stages(x)
        mx = x.amax((2, 3))
        if self.config.mean: mx = torch.cat([mx, x.mean((2, 3))], 1)
        return self.fc(mx) * self.config.scale

    def loss(self, batch):
        return F.cross_entropy(self(batch.image), batch.label, label_smoothing=self.config.smoothing)

    def optimizers(self):
        c = self.config
        filters = [p for n, p in self.stages.named_parameters() if p.ndim == 4]
        biases = [p for n, p in self.named_parameters() if p.ndim == 1 and p.requires_grad]
        return {"model": Muon([
            {"params": filters, "lr": c.rate, "orthogonal": True, "norm": c.norm},
            {"params": biases, "lr": c.bias_rate, "momentum": 0.85},
            {"params": [self.fc.weight], "lr": c.head_rate, "momentum": 0.85}], c.momentum)}

    def fit(self, data, run):
        if not self.whitened:
            self.whiten_with(next(data.endless(2000)).image)
        return super().fit(data, run)

    @torch.no_grad()
    def whiten_with(self, image):
        c = self.config
        patches = F.unfold(image, c.patch, stride=c.stride).transpose(1, 2).flatten(0, 1)
        cov = patches.T @ patches / len(patches)
        values, vectors = torch.linalg.eigh(cov)
        values, vectors = values.flip(0), vectors.flip(1)
        filters = (vectors / (values + 5e-4).sqrt()).T
        filters = filters.view(-1, *self.whiten.weight.shape[1:])[: len(self.whiten.weight) // 2]
        self.whiten.weight.copy_(torch.cat([filters, -filters]))
        self.whiten.bias.zero_()
        self.whitened.fill_(True)
