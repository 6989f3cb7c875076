"""fastai: a Learner, fit_one_cycle.

Own recipe: chapter 13 of its book (https://github.com/fastai/fastbook/blob/master/13_convolutions.ipynb):
the small CNN with batch norm, batch 512, one cycle. Pictures lie in memory as tensors, which spares
fastai the reading of files.
"""

from functools import partial
from itertools import pairwise

import networks
import numpy as np
import protocol
import torch
from fastai.callback.core import Callback
from fastai.callback.schedule import ParamScheduler, fit_one_cycle  # noqa: F401, patches Learner
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
from torch import Tensor, nn
from torch.nn import functional as F

chosen = protocol.options()
torch.set_num_threads(chosen.threads)
torch.manual_seed(chosen.seed)
data = protocol.fashion(chosen.split)
batch = chosen.batch if chosen.table == "same" else 512


class Images:
    """(1, 28, 28) float32 and a label"""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = networks.normalised(pixels), torch.from_numpy(labels).long()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.images[i], self.labels[i]


def simple_cnn() -> nn.Sequential:
    """Five convolutions of stride 2, as in the book."""
    widths = (1, 8, 16, 32, 64)
    layers: list[nn.Module] = []
    for i, (inward, outward) in enumerate(pairwise(widths)):
        kernel = 5 if i == 0 else 3
        convolution = nn.Conv2d(inward, outward, kernel, stride=2, padding=kernel // 2)
        layers += [convolution, nn.BatchNorm2d(outward), nn.ReLU()]
    last = nn.Conv2d(widths[-1], 10, 3, stride=2, padding=1)
    return nn.Sequential(*layers, last, nn.BatchNorm2d(10), nn.Flatten())


class Ticks(Callback):
    def after_batch(self) -> None:
        if self.training:
            clock.tick()


network = networks.small() if chosen.table == "same" else simple_cnn()
dls = DataLoaders.from_dsets(
    Images(data.train, data.train_label),
    Images(data.test[:batch], data.test_label[:batch]),
    bs=batch,
    num_workers=chosen.workers,
    device="cpu",
)
learner = Learner(dls, network, loss_func=F.cross_entropy)
clock = protocol.Clock(chosen, len(dls.train), lambda: networks.accuracy(network, data))


def run() -> None:
    with learner.no_bar(), learner.no_logging():
        if chosen.table == "own":
            learner.fit_one_cycle(chosen.epochs, lr_max=0.1, cbs=Ticks())
            return
        learner.opt_func = partial(OptimWrapper, opt=torch.optim.Adam)
        schedule = ParamScheduler({"lr": lambda f: chosen.rate * protocol.one_cycle(f)})
        learner.fit(chosen.epochs, lr=chosen.rate, cbs=[schedule, Ticks()])


protocol.train(clock, run)
