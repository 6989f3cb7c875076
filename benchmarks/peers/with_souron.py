"""souron: its loop, its batches, its precision, and the allocator as its command line sets it.

Own recipe: what ``souron train airbench data=fashion`` does.
"""

# ruff: noqa: E402, the allocator is set before torch is imported

from souron.utils import hardware

hardware.calm_allocator()

import protocol
import torch
from networks import small
from torch import Tensor

from souron import registry
from souron.data import transforms
from souron.data.dataset import Dataset
from souron.tasks.classify import Classifier, Spec
from souron.training import trainer
from souron.training.budget import one_cycle, set_rate
from souron.training.loop import Run


class Small(Classifier):
    """The network that every framework trains in the first table."""

    channels_last = True

    def __init__(self, config: None, seen: Spec) -> None:
        super().__init__(config, seen)
        self.network = small()

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"model": torch.optim.Adam(self.parameters(), lr=chosen.rate)}


def cases(pixels, labels) -> Dataset:
    image, label = torch.from_numpy(pixels)[:, None], torch.from_numpy(labels).long()
    return Dataset("fashion", image, label, tuple("0123456789"), file=())


chosen = protocol.options()
torch.set_num_threads(chosen.threads)
torch.manual_seed(chosen.seed)
data = protocol.fashion(chosen.split)
train, test = cases(data.train, data.train_label), cases(data.test, data.test_label)
if chosen.table == "same":
    kind, config, change = Small, None, None
else:
    kind, config = registry.load_system(chosen.system)
    change = transforms.augmentation([] if chosen.augment == "none" else chosen.augment.split(","))
system = kind(config, kind.spec_for(train))
if system.channels_last:
    system.to(memory_format=torch.channels_last)
feed = system.loader(train, change, chosen.seed)
unseen = system.loader(test)
an_epoch = len(train) // chosen.batch
steps = an_epoch * chosen.epochs
clock = protocol.Clock(chosen, an_epoch, lambda: trainer.look(system, unseen)["accuracy"])


def run() -> None:
    plan = Run(
        steps,
        chosen.batch,
        autocast=trainer.autocast(feed.device),
        schedule=lambda optimizer, step: set_rate(optimizer, one_cycle(step / steps)),
    )
    for _progress in system.fit(feed, plan):
        clock.tick()


protocol.train(clock, run)
