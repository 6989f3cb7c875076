"""Pictures that show the same: re-encoded, resized or brightened copies, found among thousands.

Two pictures are compared as small thumbnails, each colour less its mean and all of length 1, so
that brightness and contrast drop out and the product of two is their correlation. What correlates
at a first, coarse look is compared again with more pixels.

Where a copy was made so bright that its light parts are cut off at white, or so dark that its dark
parts are cut off at black, correlation breaks. So the coarse look also compares each picture with
the others as they would be after such a change (``CHANGES``), and the second look first fits the
change: a straight line from one picture's pixels to the other's, through those that are cut off in
neither; the line is then cut off at black and white as the copy's pixels were.

All pairs are compared, block by block, with no index: twenty thousand pictures are 200 million
pairs, each some products of 768 numbers, seconds on two cores (``benchmarks/duplicates.py``).
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

COARSE, FINE, FITTED = 16, 32, 64  # pixels a side
ALIKE_COARSE, ALIKE_FINE = 0.95, 0.97  # correlations
FLAT = 2.0  # levels of 256; pictures that vary less are not compared: nothing is on them
CHANGES = (1.25, 0), (1.6, 0), (1.0, -64)  # contrast, levels; near enough to those between
CUT_OFF = 4.0, 251.0  # levels; beyond them a pixel may be cut off
FEWEST = 0.01  # of the pixels must be cut off in neither picture, or no line is fitted
CONTRAST = 2.5  # times more, or less, is no copy
BLOCK = 2048


def near(image: Tensor) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of pictures (N, C, H, W) in 0..255 that are copies of one picture.

    Of pictures that are all copies of one another there are as many pairs as join them, not every
    one: ten thousand times the same picture are 9999 pairs and not fifty million.
    """
    if image.is_floating_point() and len(image):  # finer steps may be faint: a CT by all its bits
        low, high = image.aminmax()
        image = (image - low) * (255 / (high - low).clamp(min=1e-6))
    found: list[tuple[int, int]] = []
    family = torch.arange(len(image))
    for pairs in _candidates(image):  # (candidates, 2)
        pairs = pairs[family[pairs[:, 0]] != family[pairs[:, 1]]]
        if len(pairs):
            one, other = (_smaller(image[rows]) for rows in pairs.T)
            for i, j in pairs[alike(one, other) > ALIKE_FINE].tolist():
                if family[i] != family[j]:
                    found.append((i, j))
                    family[family == family[j]] = family[i].item()
    return sorted(found)


def alike(one: Tensor, other: Tensor) -> Tensor:
    """(N,) the correlations of pictures (N, C, H, W) float in 0..255, row by row: as they are, or
    once the brightness of either is fitted to the other's, whichever is highest."""
    mine, yours = thumbnails(one, FINE), thumbnails(other, FINE)
    ways = (
        (mine * yours).sum(1),
        (thumbnails(fitted(one, other), FINE) * yours).sum(1),
        (thumbnails(fitted(other, one), FINE) * mine).sum(1),
    )
    return torch.stack(ways).amax(0)


def fitted(one: Tensor, other: Tensor) -> Tensor:
    """``one`` with the brightness and contrast of ``other``, both (N, C, H, W), cut off at black
    and white; zero where too few pixels say which, or where contrast differs too much."""
    x, y = one.flatten(1), other.flatten(1)
    low, high = CUT_OFF
    inside = ((x > low) & (x < high) & (y > low) & (y < high)).float()
    count = inside.sum(1, keepdim=True)
    share = inside / count.clamp(min=1)
    x_less = x - (x * share).sum(1, keepdim=True)
    y_mean = (y * share).sum(1, keepdim=True)
    spread = (x_less.square() * share).sum(1, keepdim=True)
    contrast = (x_less * (y - y_mean) * share).sum(1, keepdim=True) / spread.clamp(min=1e-6)
    made = (y_mean + contrast * x_less).clamp(0, 255)
    usable = (count > FEWEST * x.shape[1]) & (spread > 1)
    usable &= (contrast > 1 / CONTRAST) & (contrast < CONTRAST)
    return torch.where(usable, made, 0.0).view_as(one)


def thumbnails(image: Tensor, side: int) -> Tensor:
    """(N, C * side * side): each colour less its mean, of length 1; zero where it is flat."""
    pixels = F.interpolate(image.float(), (side, side), mode="bilinear", antialias=True)
    pixels = (pixels - pixels.mean((2, 3), keepdim=True)).flatten(1)
    flat = pixels.std(1, keepdim=True, correction=0) < FLAT
    return F.normalize(pixels).masked_fill(flat, 0.0)


def _smaller(image: Tensor) -> Tensor:
    """At most ``FITTED`` pixels a side."""
    if image.shape[-1] <= FITTED:
        return image.float()
    return F.interpolate(image.float(), (FITTED, FITTED), mode="bilinear", antialias=True)


def _candidates(image: Tensor) -> Iterator[Tensor]:
    """Pairs (n, 2) that correlate at a coarse look, at most ``BLOCK`` at once."""

    def changed(contrast: float, levels: float) -> Tensor:
        return torch.cat([
            thumbnails((contrast * _smaller(some) + levels).clamp(0, 255), COARSE).half()
            for some in image.split(256)
        ])  # fmt: skip

    plain, *others = [changed(*change) for change in ((1, 0), *CHANGES)] if len(image) else [image]
    for start in range(0, len(plain), BLOCK):
        mine = [one[start : start + BLOCK].float() for one in (plain, *others)]
        for below in range(start, len(plain), BLOCK):
            yours = [one[below : below + BLOCK].float() for one in (plain, *others)]
            close = mine[0] @ yours[0].T > ALIKE_COARSE
            for i in range(1, len(mine)):
                close |= mine[0] @ yours[i].T > ALIKE_COARSE
                close |= mine[i] @ yours[0].T > ALIKE_COARSE
            pairs = close.nonzero() + torch.tensor([start, below])
            pairs = pairs[pairs[:, 0] < pairs[:, 1]]
            if len(pairs):
                yield from pairs.split(BLOCK)
