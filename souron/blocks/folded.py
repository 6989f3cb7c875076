"""Networks published with their batch normalisation folded into the convolutions.

Files for phones and browsers hold a convolution together with the normalisation that followed it:

    g (w * x - mean) / s + beta  =  (w g / s) * x + (beta - mean g / s),    s = sqrt(var + eps)

The statistics cannot be recovered from the right side. A ``Norm`` that is loaded from it stays what
it was folded to, a shift and a scale per channel, also while the network is trained further.
"""

from typing import Any

from torch import Tensor, nn

FOLDED = -1  # in place of the number of batches


class Norm(nn.BatchNorm2d):
    """Batch normalisation, or the shift and scale that remain of a folded one."""

    folded = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.folded:
            return super().forward(x)
        return x * self.weight[:, None, None] + self.bias[:, None, None]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        batches = state_dict.get(f"{prefix}num_batches_tracked")
        if batches is not None:
            self.folded = int(batches) == FOLDED
