"""Networks published with their batch normalisation folded into the convolutions.

Files for phones and browsers hold a convolution together with the normalisation that followed it:

    g (w * x - mean) / s + beta  =  (w g / s) * x + (beta - mean g / s),    s = sqrt(var + eps)

The statistics cannot be recovered from the right side. A ``Norm`` that is loaded from it stays what
it was folded to, a shift and a scale per channel, also while the network is trained further.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
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


def named(network: nn.Module, layers: Iterable[tuple[str, str]], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a file to those of a network.

    ``layers`` are pairs of a layer of the network, a convolution or a module with ``conv`` and
    ``bn``, and its name in the file; ``tensors`` has ``NAME.weight`` and ``NAME.bias``. Raises
    KeyError for a name that the file lacks.
    """
    state = {}
    for layer, name in layers:
        part = network.get_submodule(layer)
        norm = getattr(part, "bn", None)
        if isinstance(norm, Norm):
            state[f"{layer}.conv.weight"] = tensors[f"{name}.weight"]
            norm_state = _folded(norm, tensors[f"{name}.bias"])
            state |= {f"{layer}.bn.{key}": value for key, value in norm_state.items()}
            continue
        state[f"{layer}.weight"] = tensors[f"{name}.weight"]
        if getattr(part, "bias", None) is not None:
            state[f"{layer}.bias"] = tensors[f"{name}.bias"]
    return state


def _folded(norm: Norm, bias: Tensor) -> dict[str, Tensor]:
    """Return the state of a normalisation that adds ``bias``."""
    return {
        "weight": torch.ones_like(bias),
        "bias": bias,
        "running_mean": torch.zeros_like(bias),
        "running_var": torch.full_like(bias, 1 - norm.eps),
        "num_batches_tracked": torch.tensor(FOLDED),
    }
