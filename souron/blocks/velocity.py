"""The v-parameterisation of diffusion: predict v = a noise - s image.

Salimans, Ho: Progressive Distillation for Fast Sampling of Diffusion Models (2022), appendix D.
https://arxiv.org/abs/2202.00512

    x = a image + s noise      a^2 + s^2 = 1      image = a x - s v      noise = s x + a v
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from souron.blocks.samplers import SAMPLERS


def mixed(clean: Tensor, kept: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
    """Return random steps (B,), ``clean`` with that much noise, and v; ``kept`` are the a^2."""
    step = torch.randint(len(kept), clean.shape[:1], device=clean.device)
    square = torch.tensor(kept, device=clean.device)[step].view(-1, *[1] * (clean.ndim - 1))
    a, s, noise = square.sqrt(), (1 - square).sqrt(), torch.randn_like(clean)
    return step, a * clean + s * noise, a * noise - s * clean


def drawn(
    find: Callable[[Tensor, Tensor], Tensor],
    kept: Sequence[float],
    sampler: str,
    steps: int,
    normal: Callable[[], Tensor],
) -> Iterator[Tensor]:
    """Generate images (B, ...) in -1..1 from noise; ``find`` predicts v of noisy images
    at steps (B,).
    """

    def clean(noisy: Tensor, t: int) -> Tensor:
        found = find(noisy, torch.full((len(noisy),), t, device=noisy.device)).float()
        return (math.sqrt(kept[t]) * noisy - math.sqrt(1 - kept[t]) * found).clamp(-1, 1)

    return SAMPLERS[sampler](clean, kept, steps, normal(), normal)
