"""Muon for matrices and AdamW for other parameters, as one optimizer.

Jordan and others: Muon: An optimizer for hidden layers in neural networks (2024).
https://kellerjordan.github.io/posts/muon/

    m = momentum of a matrix's gradients,    step = the nearest orthogonal matrix to m

All directions of a matrix are updated at equal size, not only the dominant ones.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer


class MuonAdamW(Optimizer):
    """Train ``matrices`` by Muon and ``others`` by AdamW, each with its own learning rate.

    Example:
        >>> layer = torch.nn.Linear(2, 3)
        >>> optimizer = MuonAdamW([layer.weight], [layer.bias], 0.02, 3e-3)
        >>> len(optimizer.param_groups)
        2
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        rate: float,
        other_rate: float,
        decay: float = 0.0,
    ) -> None:
        muon = Muon(list(matrices), lr=rate, weight_decay=decay, momentum=0.95)
        adam = AdamW(list(others), lr=other_rate, weight_decay=0.0, betas=(0.9, 0.95), fused=True)
        self.parts: tuple[Optimizer, ...] = (muon, adam)
        groups = [group for part in self.parts for group in part.param_groups]
        super().__init__(groups, {})
        self._join()

    def _join(self) -> None:
        """Share the groups of both optimizers in one list, so that changes of a rate reach them."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]
        self.state.clear()
        for part in self.parts:
            self.state.update(part.state)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()
            self.state.update(part.state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        groups, first = state_dict["param_groups"], 0
        for part in self.parts:
            own = groups[: len(part.param_groups)]
            groups = groups[len(own) :]
            count = sum(len(group["params"]) for group in own)
            states = {
                number - first: state_dict["state"][number]
                for number in range(first, first + count)
                if number in state_dict["state"]
            }
            param_groups = [{**group, "params": [n - first for n in group["params"]]} for group in own]
            part.load_state_dict({"state": states, "param_groups": param_groups})
            first += count
        self._join()
