"""Whether films show what their prompts ask for, and whether what should stand still does.

Huang, He, Yu and others: VBench: Comprehensive Benchmark Suite for Video Generative Models (2024).
https://arxiv.org/abs/2311.17982   (there published networks read the films)
"""

from torch import Tensor

from souron.utils.messages import N_

ATTRIBUTES = {
    "motion": N_("motion accuracy"),
    "object": N_("object accuracy"),
    "colour": N_("colour accuracy"),
    "ground": N_("ground accuracy"),
}
FLICKER = N_("flicker")


def flicker(film: Tensor) -> Tensor:
    """Films (N, C, T, H, W) in 0..255 -> (N,) grey levels by which half of all steps from frame to
    frame change a pixel at most, on average over the pixels: what moves passes most of them only
    once, so that it does not count; what trembles counts everywhere.

    >>> import torch
    >>> flicker(torch.zeros(2, 3, 8, 4, 4)).tolist()
    [0.0, 0.0]
    """
    steps = film.float().diff(dim=2).abs().mean(1)  # (N, T - 1, H, W)
    return steps.median(1).values.mean((1, 2))
