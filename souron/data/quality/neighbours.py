"""The distance below which two images are nearer than chance among the images around them.

Films of one view, slices of one scanner and frames of one camera resemble each other as much as a
photograph resembles its copy: no fixed similarity tells a copy from a neighbour. But near an image,
the number of others within a distance d grows like d to the power of D, the intrinsic dimension of
the folder there. Had the nearest other come there like the rest, it would be nearer than d with
probability (d / d') ** D, where d' is the distance of the one after it. A copy is so much nearer
that this probability is below ``CHANCE``.

D is estimated by maximum likelihood from the distances of the neighbours beyond the supposed copies.
Levina and Bickel: Maximum likelihood estimation of intrinsic dimension (2004).
https://papers.nips.cc/paper/2577-maximum-likelihood-estimation-of-intrinsic-dimension

D is at most ``MOST``: of neighbours that are all equally far it says nothing of what lies nearer. Where
even the next neighbours are ``FAR``, nothing resembles the image, and half that distance is near enough.

Up to ``COPIES`` images that are copies of one another are all nearer than the rest; more of them may
be another view. But for one: the copy itself may lie further off, as long as its brightness is not fitted.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

NEIGHBOURS = 48  # of each image
CHANCE = 1e-5  # probability that an image that is no copy lies as near
DIMENSION, WEIGHT = 8.0, 4.0  # supposed before any distance is known, and how many distances that is worth
MOST = 8.0
FAR = 0.8  # distance, of a correlation of 0.68
COPIES = 4  # an image and three copies
LEAST = 1e-3  # distance of images that differ by rounding alone
FEWEST = 3  # images; among fewer there are no neighbours to compare with
BLOCK = 2048  # rows of a product


def distance(correlation: Tensor) -> Tensor:
    """Return the distance of vectors of length 1 from their dot product."""
    return (2 - 2 * correlation).clamp(min=0).sqrt()


def highest(
    score: Callable[[int, int], Tensor], known: int, image: int, count: int, within: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the ``count`` highest scores of each image and the known images that have them, (image, count) each.

    ``score(start, below)`` is the block of known images from ``start`` on and images from ``below`` on. ``within``
    one set scores are symmetric, and an image is not compared with itself.
    """
    best = torch.full((image, count), -torch.inf), torch.zeros(image, count, dtype=torch.long)
    for start in range(0, known, BLOCK):
        for below in range(start if within else 0, image, BLOCK):
            block = score(start, below)
            if within and start == below:
                block.fill_diagonal_(-torch.inf)
            _update(best, below, block.T, start)
            if within and below > start:
                _update(best, start, block, below)
    return best


def _update(best: tuple[Tensor, Tensor], row: int, score: Tensor, column: int) -> None:
    """Keep the highest scores of a block of rows and columns beside those so far."""
    known, place = (part[row : row + len(score)] for part in best)
    top, chosen = score.topk(min(known.shape[1], score.shape[1]))
    every, order = torch.cat([known, top], 1).topk(known.shape[1])
    place[:] = torch.cat([place, chosen + column], 1).gather(1, order)
    known[:] = every


def limits(known: tuple[Tensor, Tensor], image: tuple[Tensor, Tensor]) -> Tensor:
    """Return for each image the distance below which a known one is a copy rather than a neighbour, (N,).

    Both are vectors of length 1, (N, values): few values, by which neighbours are found, and many, by which their
    distances are measured. No two of the known are equal; the image itself may be among them.
    """
    count = min(NEIGHBOURS, len(known[0]))
    if count < FEWEST:
        return torch.full((len(image[0]),), torch.inf)
    _score, near = highest(
        lambda start, below: known[0][start : start + BLOCK] @ image[0][below : below + BLOCK].T,
        len(known[0]),
        len(image[0]),
        count,
    )
    apart = [
        (known[1][places].float() - fine[:, None].float()).norm(dim=2)
        for fine, places in zip(image[1].split(64), near.split(64), strict=True)
    ]
    return _limits(torch.cat(apart).sort(1).values)


def _limits(apart: Tensor) -> Tensor:
    """Return the limits from the distances of each image's neighbours (N, count), ascending."""
    nearest = apart.clamp(min=LEAST)
    found = torch.zeros(len(apart))
    for copies in range(
        min(COPIES, (apart.shape[1] + 1) // 2) + 1
    ):  # the first so many are copies, if they are near enough
        beyond = nearest[:, copies:].log()
        spread = (beyond[:, -1:] - beyond[:, :-1]).sum(1)
        dimension = (beyond.shape[1] - 1 + WEIGHT) / (spread + WEIGHT / DIMENSION)
        limit = (beyond[:, 0] + math.log(CHANCE) / dimension.clamp(max=MOST)).exp()
        limit = torch.where(nearest[:, copies] > FAR, limit.clamp(min=FAR / 2), limit)
        others = apart[:, max(copies - 2, 0)] if copies > 1 else torch.zeros(len(apart))
        found = torch.where(others <= limit, torch.maximum(found, limit), found)
    return found
