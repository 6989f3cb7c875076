"""Plain PyTorch without a DataLoader: all pictures normalised once, batches by indexing.

Nobody's tutorial, but the strictest peer: what is left is PyTorch itself.
"""

import networks
import protocol
import torch
from torch.nn import functional as F

chosen = protocol.options()
torch.set_num_threads(chosen.threads)
torch.manual_seed(chosen.seed)
data = protocol.fashion(chosen.split)
network = networks.small()
images, labels = networks.normalised(data.train), torch.from_numpy(data.train_label).long()
an_epoch = len(images) // chosen.batch
optimizer = torch.optim.Adam(network.parameters(), lr=chosen.rate)
scheduler = torch.optim.lr_scheduler.LambdaLR(
    optimizer, lambda step: protocol.one_cycle(step / (an_epoch * chosen.epochs))
)
clock = protocol.Clock(chosen, an_epoch, lambda: networks.accuracy(network, data))


def run() -> None:
    network.train()
    for _epoch in range(chosen.epochs):
        for rows in torch.randperm(len(images)).split(chosen.batch)[:an_epoch]:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images.index_select(0, rows)), labels[rows])
            loss.backward()
            optimizer.step()
            scheduler.step()
            clock.tick()


protocol.train(clock, run)
