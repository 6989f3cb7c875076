"""souron: its loop, its batches, its precision, and the allocator as its command line sets it.

Own recipe: what ``souron train airbench data=fashion`` does.
"""

# ruff: noqa: E402, the allocator is set before torch is imported

from souron import machine

machine.calm_allocator()

import protocol
import torch
from networks import small
from torch import Tensor

from souron import finding, fitting
from souron.budget import one_cycle, set_rate
from souron.data import augmenting
from souron.data.cases import Cases, Feed
from souron.tasks.classify import Classifier, Seen
from souron.training import Run


class Small(Classifier):
    """The network that every framework trains in the first table."""

    channels_last = True

    def __init__(self, config: None, seen: Seen) -> None:
        super().__init__(config, seen)
        self.network = small()

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"model": torch.optim.Adam(self.parameters(), lr=chosen.rate)}


def cases(pixels, labels) -> Cases:
    image, label = torch.from_numpy(pixels)[:, None], torch.from_numpy(labels).long()
    return Cases("fashion", image, label, tuple("0123456789"), file=())


chosen = protocol.options()
torch.set_num_threads(chosen.threads)
torch.manual_seed(chosen.seed)
data = protocol.fashion(chosen.split)
train, test = cases(data.train, data.train_label), cases(data.test, data.test_label)
if chosen.table == "same":
    kind, config, change = Small, None, None
else:
    kind, config = finding.system(chosen.system)
    change = augmenting.augmentation([] if chosen.augment == "none" else chosen.augment.split(","))
system = kind(config, kind.see(train))
if system.channels_last:
    system.to(memory_format=torch.channels_last)
feed = Feed(train, system.prepare, change, chosen.seed)
unseen = Feed(test, system.prepare)
an_epoch = len(train) // chosen.batch
steps = an_epoch * chosen.epochs
clock = protocol.Clock(chosen, an_epoch, lambda: fitting.look(system, unseen)["accuracy"])


def run() -> None:
    plan = Run(
        steps,
        chosen.batch,
        autocast=fitting.autocast(feed.device),
        schedule=lambda optimizer, step: set_rate(optimizer, one_cycle(step / steps)),
    )
    for _progress in system.fit(feed, plan):
        clock.tick()


protocol.train(clock, run)
