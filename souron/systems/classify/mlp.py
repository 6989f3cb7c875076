"""Layers of simple units, each a weighted sum and a bend, learn from their errors.

Rumelhart, Hinton, Williams: Learning Representations by Back-Propagating Errors (1986).
https://doi.org/10.1038/323533a0

    h = relu(W1 x + b1)      y = W2 h + b2      every W, b moves against the slope of the loss

A layer of weighted sums is Rosenblatt's perceptron (1958, https://doi.org/10.1037/h0042519); what
was new in 1986 is that the chain rule carries the error back through hidden layers.

Differs from the paper: it learns with AdamW and one cycle of the rate, as all classifiers here. The
paper's own networks had a few dozen units: the size `paper` is the one with 300 and 100 hidden
units that LeCun and others measured on digits (1998, https://doi.org/10.1109/5.726791). Reduced:
ReLU in place of the logistic function; the loss is cross-entropy in place of squared error.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from souron.tasks.classify import Classifier, Spec


@dataclass(frozen=True)
class Config:
    widths: tuple[int, ...] = (300, 100)  # of the hidden layers
    rate: float = 1e-3


class MLP(Classifier):
    year = 1986
    ja = "重みつき和と折れ線の層を重ね、誤差を後ろへ伝えて学ぶ"
    status = "reduced"
    head = "fc"
    SIZES = {"tiny": Config((32,), 5e-3), "small": Config((512, 256)), "paper": Config()}

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        widths = [spec.channels * spec.side**2, *config.widths]
        self.hidden = nn.Sequential()
        for inward, outward in pairwise(widths):
            self.hidden.extend([nn.Linear(inward, outward), nn.ReLU()])
        self.fc = nn.Linear(widths[-1], len(spec.labels))

    def forward(self, image: Tensor) -> Tensor:
        pixels = image.flatten(1)  # (B, channels * side * side)
        return self.fc(self.hidden(pixels))  # (B, labels)
