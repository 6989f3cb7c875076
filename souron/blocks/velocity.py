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


def mixed(clean: Tensor, alpha_bar: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
    """Return random steps (B,), ``clean`` with that much noise, and v; ``alpha_bar`` are the a^2."""
    step = torch.randint(len(alpha_bar), clean.shape[:1], device=clean.device)
    square = torch.tensor(alpha_bar, device=clean.device)[step].view(-1, *[1] * (clean.ndim - 1))
    a, s, noise = square.sqrt(), (1 - square).sqrt(), torch.randn_like(clean)
    return step, a * clean + s * noise, a * noise - s * clean


def drawn(
    find: Callable[[Tensor, Tensor], Tensor],
    alpha_bar: Sequence[float],
    sampler: str,
    steps: int,
    normal: Callable[[], Tensor],
) -> Iterator[Tensor]:
    """Generate images (B, ...) in -1..1 from noise; ``find`` predicts v of noisy images
    at steps (B,).
    """

    def clean(noisy: Tensor, t: int) -> Tensor:
        velocity = find(noisy, torch.full((len(noisy),), t, device=noisy.device)).float()
        return (math.sqrt(alpha_bar[t]) * noisy - math.sqrt(1 - alpha_bar[t]) * velocity).clamp(-1, 1)

    return SAMPLERS[sampler](clean, alpha_bar, steps, normal(), normal)
