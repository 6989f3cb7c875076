"""Plain PyTorch, as its tutorials write it: a data set, a DataLoader, a loop.

Own recipe: https://github.com/pytorch/examples/blob/main/mnist/main.py, its network, batch 64,
Adadelta, the rate times 0.7 each epoch.
"""

import networks
import protocol
import torch
from torch.nn import functional as F

chosen = protocol.options()
torch.set_num_threads(chosen.threads)
torch.manual_seed(chosen.seed)
data = protocol.fashion(chosen.split)
if chosen.table == "same":
    network, batch = networks.small(), chosen.batch
else:
    network, batch = networks.example(), 64
loader = networks.loader(data, batch, chosen.workers)
steps = len(loader) * chosen.epochs
if chosen.table == "same":
    optimizer: torch.optim.Optimizer = torch.optim.Adam(network.parameters(), lr=chosen.rate)
    scheduler: torch.optim.lr_scheduler.LRScheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: protocol.one_cycle(step / steps)
    )
else:
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=len(loader), gamma=0.7)
clock = protocol.Clock(chosen, len(loader), lambda: networks.accuracy(network, data))


def run() -> None:
    network.train()
    for _epoch in range(chosen.epochs):
        for image, label in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(image), label)
            loss.backward()
            optimizer.step()
            scheduler.step()
            clock.tick()


protocol.train(clock, run)
