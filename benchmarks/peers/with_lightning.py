"""Lightning: a LightningModule, a DataLoader, a Trainer without its logger and progress bar.

Own recipe: Lightning's image classifier example (examples/pytorch/basics), which is PyTorch's MNIST
example in its form: batch 64, Adadelta, the rate times 0.7 each epoch.
"""

import logging
import warnings

import lightning
import networks
import protocol
import torch
from torch.nn import functional as F

warnings.filterwarnings("ignore", module="lightning")
for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)

chosen = protocol.options()
torch.set_num_threads(chosen.threads)
torch.manual_seed(chosen.seed)
data = protocol.fashion(chosen.split)
loader = networks.loader(data, chosen.batch if chosen.table == "same" else 64, chosen.workers)


class Model(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = networks.small() if chosen.table == "same" else networks.example()

    def training_step(self, batch, i: int) -> torch.Tensor:
        image, label = batch
        return F.cross_entropy(self.network(image), label)

    def configure_optimizers(self):
        if chosen.table == "own":
            optimizer = torch.optim.Adadelta(self.parameters(), lr=1.0)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.7)]
        optimizer = torch.optim.Adam(self.parameters(), lr=chosen.rate)
        steps = len(loader) * chosen.epochs
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: protocol.one_cycle(step / steps))
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def on_train_batch_end(self, outputs, batch, i: int) -> None:
        clock.tick()


model = Model()
clock = protocol.Clock(chosen, len(loader), lambda: networks.accuracy(model.network, data))
trainer = lightning.Trainer(
    accelerator="cpu",
    max_epochs=chosen.epochs,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
protocol.train(clock, lambda: trainer.fit(model, loader))
