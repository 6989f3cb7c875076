"""Names of metrics of generated videos, and flicker.

Huang, He, Yu and others: VBench: Comprehensive Benchmark Suite for Video Generative Models (2024).
https://arxiv.org/abs/2311.17982 (there published networks read the videos)
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
    """Return the flicker of videos (N, C, T, H, W) in 0..255, (N,) grey levels.

    It is the median over time of a pixel's change from frame to frame, averaged over the pixels: a
    moving object passes most of them only once, so that it does not count; flicker counts in every
    frame.

    >>> import torch
    >>> still = torch.zeros(1, 3, 8, 4, 4)
    >>> still[:, :, ::2] = 10  # every second frame is brighter
    >>> flicker(still)
    tensor([10.])
    """
    steps = film.float().diff(dim=2).abs().mean(1)  # (N, T - 1, H, W)
    return steps.median(1).values.mean((1, 2))
