"""Find images among thousands that are probably copies: re-encoded, resized or brightened ones.

Two images are compared as small thumbnails, with the mean of each colour subtracted and scaled to
length 1, so that brightness and contrast cancel and the dot product of two is their correlation.
Pairs that correlate at a coarse resolution are compared again at a finer one.

If a copy was brightened so much that highlights are clipped to white, or darkened so much that
shadows are clipped to black, correlation fails. Therefore the coarse comparison also includes each
image after such a change (``CHANGES``), and the fine comparison first fits the change: a straight
line from one image's pixels to the other's, through those that are clipped in neither; the result
is then clipped at black and white like the copy's pixels.

JPEG compression changes pixels by a few levels, independent of the content. In images with little
contrast, or with fine texture such as grass, these levels reduce the correlation at high
resolution. So a pair also counts as copies if the coarse comparison leaves at most ``LEFT`` levels
of difference. This applies to 8-bit images only: images of higher bit depth have no such levels,
and faint radiographs of two patients may differ by as little.

Images of one view resemble each other as copies do. So a pair must also be nearer to each other than
chance among their neighbours (``neighbours``). What is left is a question to a person all the same:
only identical images are certainly copies.

A copy may also have been rotated by multiples of 90 degrees, mirrored, inverted or framed
(``altered``). For these the brightness must correlate first, then all colours, with stricter
thresholds.

For comparisons between two sets, the images of one may no longer be available: ``reduced`` returns
the data to keep of them.

All pairs are compared coarsely, block by block, without an index: twenty thousand images are 200
million pairs, each some products of 768 numbers, seconds on two cores (``benchmarks/duplicates.py``).
The ``PARTNERS`` most similar ones of each image are compared finely.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.data.dataset import digests
from souron.data.quality import neighbours
from souron.data.quality.neighbours import BLOCK

COARSE, FINE, FITTED = 16, 32, 64  # pixels a side
ALIKE_COARSE, ALIKE_FINE = 0.95, 0.97  # correlations
ALIKE_FAINT = 0.9  # enough at the coarse comparison if at most LEFT levels differ
LEFT = 4.0  # levels of 256, root mean square; JPEG of quality 50 leaves less
ALIKE_ALTERED = 0.98  # at the fine comparison, of rotated, mirrored or inverted images
ALIKE_FRAMED = (0.98, 0.95)  # at the coarse and the fine comparison: the edge of a frame is not known exactly
FRAME = 24.0  # levels of 256; a row or column that varies less may belong to a frame
INSIDE = 0.5  # least share of a side within a frame
FLAT = 2.0  # levels of 256; images that vary less are blank, and not compared
CHANGES = ((1.25, 0), (1.4, 0), (1.6, 0), (1.0, -64))  # contrast, levels; close enough to the changes in between
CUT_OFF = 4.0, 251.0  # levels; beyond them a pixel may be clipped
FEWEST = 0.01  # share of pixels that are clipped in neither image, needed to fit a line
CONTRAST = 2.5  # ratio of contrast above which, or below its inverse, an image is not a copy
PARTNERS = 8  # of an image, compared finely
TIMES = 4.0  # by which differences are made visible
AT_ONCE = 256  # pairs of a fine comparison: with their fitted copies they take 100 MB


def near(image: Tensor) -> list[tuple[int, int]]:
    """Return pairs (i, j), i < j, of images (N, C, H, W) in 0..255 that seem to be copies of each other.

    Identical images are among them. Of a group of copies only as many pairs are returned as connect
    them: ten thousand copies of one image are 9999 pairs instead of fifty million.
    """
    left = 0.0 if image.is_floating_point() else LEFT
    scale = _scale(image)
    first = _first(image)
    found = [(i, j) for j, i in enumerate(first) if i != j]
    family = torch.tensor(first)
    rows = family.unique()  # (different images,)
    look = _Look(*(_picked(part, rows) for part in _look(image, left, scale)))
    limit = _limits(reduced(image)[rows])
    for some in _candidates(look, look, within=True).split(AT_ONCE):
        some = some[family[rows[some[:, 0]]] != family[rows[some[:, 1]]]]  # else they are connected already
        if len(some):
            one, other = (_rows(image, rows[places], scale) for places in some.T)
            copies = distances(one, other, left) < limit[some].amin(1)
            for i, j in rows[some[copies]].tolist():
                if family[i] != family[j]:
                    found.append((min(i, j), max(i, j)))
                    family[family == family[j]] = family[i].item()
    for i, j in _grey_copies(image, scale):
        if family[i] != family[j]:
            found.append((min(i, j), max(i, j)))
            family[family == family[j]] = family[i].item()
    return sorted(found)


def _first(image: Tensor) -> list[int]:
    """Return for each image the first one that is identical to it."""
    known: dict[bytes, int] = {}
    return [known.setdefault(digest, i) for i, digest in enumerate(digests(image))]


def _picked(part: list[Tensor] | Tensor, rows: Tensor) -> Any:
    return [some[rows] for some in part] if isinstance(part, list) else part[rows]


def _limits(known: Tensor, image: Tensor | None = None) -> Tensor:
    """Return for each image the distance below which a known one is a copy (``neighbours.limits``), (N,).

    Both are sets from ``reduced``; without ``image``, the known ones among themselves.
    """
    different = known[torch.tensor(_first(known), dtype=torch.long).unique()]
    return neighbours.limits(*(_vectors(some) for some in (different, known if image is None else image)))


def _vectors(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the brightness of few pixels, and all colours of more, (N, values) of length 1 each."""
    if not len(image):
        return torch.zeros(0, 1), torch.zeros(0, 1)
    vectors = [(thumbnails(_grey(some), COARSE), thumbnails(some, FINE).half()) for some in image.split(256)]
    few, many = map(torch.cat, zip(*vectors, strict=True))
    return few, many


def _grey_copies(image: Tensor, scale: Callable[[Tensor], Tensor]) -> Iterator[tuple[int, int]]:
    """Yield pairs of a colour image and a grey copy of it with three equal channels. Their
    brightness is compared, as in ``copies`` if one set is grey."""
    if not len(image) or image.shape[1] != 3 or image.is_floating_point():
        return
    grey = torch.cat([is_grey(some) for some in image.split(256)])
    if grey.all() or not grey.any():
        return
    rows = [which.nonzero().flatten() for which in (~grey, grey)]
    colour, plain = (
        _brightness(torch.cat([_at_most(FINE, scale(image[some])) for some in part.split(256)])) for part in rows
    )
    for i, j in pairs_between(colour, plain, lambda pairs: [True] * len(pairs)):
        yield int(rows[0][i]), int(rows[1][j])


def is_grey(image: Tensor) -> Tensor:
    """Return whether the three channels of each image (N, 3, H, W) in 0..255 are equal up to JPEG
    artefacts, (N,) bool."""
    pixels = image.float()
    return (pixels.amax(1) - pixels.amin(1)).flatten(1).mean(1) < FLAT


def _brightness(image: Tensor) -> Tensor:
    """Return the brightness as (N, 1, H, W) uint8."""
    return _grey(image).round().clamp(0, 255).byte()


def reduced(image: Tensor) -> Tensor:
    """Downscale images (N, C, H, W) in 0..255 for ``copies`` to (N, C, h, w), at most ``FINE``
    pixels a side. Returns uint8, or float16 for images with finer levels."""
    scale, kind = _scale(image), torch.float16 if image.is_floating_point() else torch.uint8
    small = [_at_most(FINE, scale(some)) for some in image.split(256)]
    return torch.cat([some.to(kind) if kind is torch.float16 else some.round().to(kind) for some in small])


def copies(known: Tensor, image: Tensor) -> list[tuple[int, int]]:
    """Return (known, image) for each image that is a copy of a known one; both are sets from
    ``reduced``. Between colour and grey images the brightness is compared."""
    first: dict[int, int] = {}

    def new(pairs: Tensor) -> list[bool]:
        return [j not in first for j in pairs[:, 1].tolist()]

    for i, j in pairs_between(known, image, new):
        first.setdefault(j, i)
    for own, rows in _apart(known, image):
        mine, yours = _brightness(known[own]), _brightness(image[rows])
        for i, j in pairs_between(mine, yours, lambda pairs: [True] * len(pairs)):
            first.setdefault(int(rows[j]), int(own[i]))
    return [(i, j) for j, i in sorted(first.items())]


def _apart(known: Tensor, image: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield rows of colour images in one set of three channels, with the rows of grey images in the
    other."""
    if known.shape[1] != 3 or image.shape[1] != 3 or known.is_floating_point():
        return
    one, other = is_grey(known), is_grey(image)
    for own, rows in ((~one, other), (one, ~other)):
        if own.any() and rows.any():
            yield own.nonzero().flatten(), rows.nonzero().flatten()


def altered(image: Tensor, alike: Sequence[tuple[int, int]] = ()) -> list[tuple[int, int]]:
    """Return pairs (i, j), i < j, of images (N, C, H, W) in 0..255 of which one is a rotated,
    mirrored, inverted or framed copy of the other.

    Rotations are by multiples of 90 degrees. Pairs in ``alike`` are known to be copies; as in
    ``near``, only as many pairs are returned as connect a group.
    """
    family = torch.arange(len(image))
    for i, j in alike:
        family[family == family[j]] = family[i].item()
    small = reduced(image)
    joined: list[tuple[int, int]] = []
    for i, j in altered_between(small, small, unframed(image)):
        if family[i] != family[j]:
            joined.append((min(i, j), max(i, j)))
            family[family == family[j]] = family[i].item()
    return sorted(joined)


def altered_between(known: Tensor, image: Tensor, framed: tuple[Tensor, Tensor]) -> Iterator[tuple[int, int]]:
    """Yield each pair (known, image) of which the image seems to be a rotated, mirrored, inverted or
    framed copy. Both are sets from ``reduced``, ``framed`` is the result of ``unframed`` for the
    images. Within one set each pair occurs at least once, in either order."""
    rows, inside = framed
    own_rows, own_inside = framed if known is image else unframed(known)
    if known.shape[1] != image.shape[1]:
        known, image = _grey(known), _grey(image)
        inside, own_inside = (_grey(some) if len(some) else some for some in (inside, own_inside))
    limit = _limits(known), _limits(known, image)
    if len(rows):
        inner = _limits(known, inside)
        for i, j in _correlated(known, inside, (limit[0], inner), *ALIKE_FRAMED):
            yield i, int(rows[j])
    if len(rows) and len(own_rows):  # a drawing on white, framed in white
        each = own_inside[::2]  # beside one another, not beside those with a frame
        among = _limits(each, own_inside), _limits(each, inside)
        for i, j in _correlated(own_inside, inside, among, *ALIKE_FRAMED):
            if known is not image or own_rows[i] != rows[j]:
                yield int(own_rows[i]), int(rows[j])
    if min(known.shape[-1], image.shape[-1]) < FINE:
        return  # shapes of few pixels resemble each other in some orientation
    for quarters in range(8):
        either = abs if quarters else operator.neg  # without rotation only inverted copies are new
        turned = _turn(known, quarters)
        yield from _correlated(turned, image, limit, ALIKE_COARSE, ALIKE_ALTERED, either)


def _correlated(
    known: Tensor,
    image: Tensor,
    limit: tuple[Tensor, Tensor],
    coarse: float,
    fine: float,
    sign: Callable[[Tensor], Tensor] = lambda correlation: correlation,
) -> Iterator[tuple[int, int]]:
    """Yield each pair (known, image) whose correlation, after ``sign`` was applied, exceeds
    ``coarse`` in brightness and ``fine`` in all colours, and whose distance is below both their
    ``limit``."""
    mine, yours = (thumbnails(_grey(some), COARSE) for some in (known, image))

    def score(start: int, below: int) -> Tensor:
        found = sign(mine[start : start + BLOCK] @ yours[below : below + BLOCK].T)
        return found.masked_fill(found <= coarse, -torch.inf)

    pairs = _chosen(score, len(known), len(image))
    for some in pairs.split(AT_ONCE) if len(pairs) else ():
        found = sign(alike(known[some[:, 0]], image[some[:, 1]], FINE))
        most = torch.minimum(limit[0][some[:, 0]], limit[1][some[:, 1]])
        yield from map(tuple, some[(found > fine) & (neighbours.distance(found) < most)].tolist())


def _chosen(score: Callable[[int, int], Tensor], known: int, image: int, within: bool = False) -> Tensor:
    """Return pairs (known, image) of the most similar known ones of each image, (n, 2)."""
    found, place = neighbours.highest(score, known, image, PARTNERS, within)
    pairs = torch.stack([place, torch.arange(image)[:, None].expand_as(place)], 2)[found > -torch.inf]
    return pairs.sort(1).values.unique(dim=0) if within else pairs


def _turn(image: Tensor, quarters: int) -> Tensor:
    """Rotate images by 0 to 3 quarter turns; for 4 to 7, also mirror them."""
    turned = torch.rot90(image, quarters % 4, (2, 3))
    return turned.flip(3) if quarters >= 4 else turned


def unframed(image: Tensor) -> tuple[Tensor, Tensor]:
    """Find images (N, C, H, W) in 0..255 that have a frame of one colour; return their rows and the
    content of the frame, downscaled as by ``reduced``. Each occurs twice, without half a pixel or a
    whole one next to the frame, since resizing has mixed them."""
    scale = _scale(image)
    found: list[tuple[int, Tensor]] = []
    row = 0
    for some in image.split(256):
        for one in scale(some).float():
            top, bottom, left, right = _inside(one)
            high, wide = one.shape[1:]
            cut = bottom - top < high or right - left < wide
            if cut and bottom - top >= INSIDE * high and right - left >= INSIDE * wide:
                for mixed in (0.5, 1.0):
                    down = (top + mixed * (top > 0), bottom - mixed * (bottom < high))
                    across = (left + mixed * (left > 0), right - mixed * (right < wide))
                    found.append((row, _part(one, down, across, min(FINE, high))))
            row += 1
    if not found:
        return torch.empty(0, dtype=torch.long), torch.empty(0)
    inside = torch.stack([part for _row, part in found])
    kind = torch.float16 if image.is_floating_point() else torch.uint8
    return torch.tensor([row for row, _part in found]), inside.to(kind)


def _part(one: Tensor, down: tuple[float, float], across: tuple[float, float], side: int) -> Tensor:
    """Crop an image (C, H, W) between fractional rows and columns, and resize it to (C, side,
    side)."""
    steps = (torch.arange(side) + 0.5) / side
    y, x = (
        2 * (low + (high - low) * steps) / size - 1
        for (low, high), size in zip((down, across), one.shape[1:], strict=True)
    )
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    return F.grid_sample(one[None], grid[None], align_corners=False)[0]


def _inside(one: Tensor) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of the content of a framed image (C, H, W)."""
    ends = []
    for across in (2, 1):  # rows vary along the width, columns along the height
        plain = (one.amax(across) - one.amin(across)).amax(0) < FRAME
        before, behind = (int(side.long().cumprod(0).sum()) for side in (plain, plain.flip(0)))
        ends += [before, len(plain) - behind]
    return ends[0], ends[1], ends[2], ends[3]


def pairs_between(
    known: Tensor, image: Tensor, wanted: Callable[[Tensor], Sequence[bool]]
) -> Iterator[tuple[int, int]]:
    """Yield each pair (known, image) of copies, of two sets from ``reduced``. ``wanted`` selects
    the candidates (n, 2) for the fine comparison."""
    left = 0.0 if known.is_floating_point() or image.is_floating_point() else LEFT
    if known.shape[1] != image.shape[1]:
        known, image = _grey(known), _grey(image)
    side = min(known.shape[-1], image.shape[-1])
    known, image = _at_most(side, known), _at_most(side, image)
    limit = _limits(known), _limits(known, image)
    for pairs in _candidates(_look(known, left), _look(image, left)).split(AT_ONCE):
        pairs = pairs[torch.tensor(wanted(pairs), dtype=torch.bool)]
        if len(pairs):
            most = torch.minimum(limit[0][pairs[:, 0]], limit[1][pairs[:, 1]])
            found = distances(known[pairs[:, 0]], image[pairs[:, 1]], left) < most
            yield from map(tuple, pairs[found].tolist())


def _grey(image: Tensor) -> Tensor:
    """Return the brightness (N, 1, H, W) with the weights of ITU-R BT.601, as Pillow does."""
    if image.shape[1] == 1:
        return image.float()
    return (image.float() * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)


def _scale(image: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that scales images to 0..255. Floating-point images may be faint, such as a
    CT in its full bit depth, and are stretched."""
    if not image.is_floating_point() or not len(image):
        return lambda some: some
    ends = [torch.stack(some.aminmax()) for some in image.split(256)]
    low, high = torch.stack(ends)[:, 0].min(), torch.stack(ends)[:, 1].max()
    return lambda some: (some - low) * (255 / (high - low).clamp(min=1e-6))


def _rows(image: Tensor, rows: Tensor, scale: Callable[[Tensor], Tensor]) -> Tensor:
    """Read these images at most ``FITTED`` pixels a side; no more than 256 are held at once."""
    return torch.cat([_at_most(FITTED, scale(image[some])) for some in rows.split(256)])


def same(one: Tensor, other: Tensor, left: float = LEFT) -> Tensor:
    """Return whether images are as similar as copies, row by row, (N,) bool (see ``distances``)."""
    return distances(one, other, left).isfinite()


def distances(one: Tensor, other: Tensor, left: float = LEFT) -> Tensor:
    """Return the distances of images (N, C, H, W) float in 0..255 that are as similar as copies, row
    by row, (N,); infinite for others. They are compared unchanged, and with the brightness of
    either fitted to the other's; up to ``left`` levels of difference are tolerated."""
    found = torch.full((len(one),), torch.inf)
    for mine, yours in ((one, other), (fitted(one, other), other), (fitted(other, one), one)):
        fine, rough = (alike(mine, yours, side) for side in (FINE, COARSE))
        rest = contrast(yours) * (1 - rough.square()).clamp(min=0).sqrt()
        enough = (fine > ALIKE_FINE) | ((rough > ALIKE_FAINT) & (rest < left))
        found = torch.where(enough, torch.minimum(found, neighbours.distance(fine)), found)
    return found


def alike(one: Tensor, other: Tensor, side: int) -> Tensor:
    """Return the correlations of images (N, C, H, W), row by row, (N,)."""
    return (thumbnails(one, side) * thumbnails(other, side)).sum(1)


def fitted(one: Tensor, other: Tensor) -> Tensor:
    """Fit the brightness and contrast of ``one`` to ``other``, both (N, C, H, W), clipped at black
    and white. Returns zeros for an image with too few usable pixels, or if contrast differs too
    much."""
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


def difference(one: Tensor, other: Tensor) -> Tensor:
    """Return how much two images (C, H, W) in 0..255 differ in brightness, ``TIMES`` times, (1, H, W) uint8.

    One is first turned, mirrored or inverted as it agrees best with the other, and its brightness fitted.
    """
    mine, yours = (_grey(some[None]) for some in (one, other))
    turned = torch.cat([_turn(mine, quarters) for quarters in range(8)])
    turned = torch.cat([turned, 255 - turned])
    best = turned[alike(turned, yours.expand_as(turned), FINE).argmax()][None]
    made = fitted(best, yours)
    return (TIMES * ((made if made.any() else best) - yours)).abs().clamp(0, 255)[0].byte()


def thumbnails(image: Tensor, side: int) -> Tensor:
    """Return (N, C * side * side): each colour minus its mean, scaled to length 1; zero if flat."""
    pixels = _centred(image, side)
    flat = pixels.std(1, keepdim=True, correction=0) < FLAT
    return F.normalize(pixels).masked_fill(flat, 0.0)


def contrast(image: Tensor) -> Tensor:
    """Return the standard deviation of the coarse pixels, in levels, (N,)."""
    return _centred(image, COARSE).std(1, correction=0)


def _centred(image: Tensor, side: int) -> Tensor:
    """Return (N, C * side * side): each colour minus its mean."""
    pixels = F.interpolate(image.float(), (side, side), mode="bilinear", antialias=True)
    return (pixels - pixels.mean((2, 3), keepdim=True)).flatten(1)


def _at_most(side: int, image: Tensor) -> Tensor:
    """Downscale images to at most ``side`` pixels a side, as floats."""
    if image.shape[-1] <= side:
        return image.float()
    return F.interpolate(image.float(), (side, side), mode="bilinear", antialias=True)


class _Look(NamedTuple):
    """Coarse thumbnails of a set of images."""

    changed: list[Tensor]  # (N, values) of the originals, and after each of ``CHANGES``
    enough: Tensor  # (N,) correlation above which at most ``left`` levels differ


def _look(image: Tensor, left: float, scale: Callable[[Tensor], Tensor] = lambda some: some) -> _Look:
    looks: list[list[Tensor]] = []  # for each 256 images: thumbnails of each change, and contrast
    for some in image.split(256):  # each is read and downscaled once
        small = _at_most(FITTED, scale(some))
        looks.append(
            [
                *(
                    thumbnails((factor * small + levels).clamp(0, 255), COARSE).half()
                    for factor, levels in ((1, 0), *CHANGES)
                ),
                contrast(small),
            ]
        )
    *changed, faint = map(torch.cat, zip(*looks, strict=True))
    enough = (1 - (left / faint).square()).clamp(min=0).sqrt().clamp(ALIKE_FAINT, ALIKE_COARSE)
    return _Look(changed, enough)


def _candidates(one: _Look, other: _Look, within: bool = False) -> Tensor:
    """Return pairs (n, 2) that are similar at the coarse comparison, the most similar ones of each image."""
    return _chosen(lambda start, below: _margin(one, start, other, below), len(one.enough), len(other.enough), within)


def _margin(one: _Look, start: int, other: _Look, below: int) -> Tensor:
    """Return by how much the correlations of two blocks exceed what is enough; -inf where they do not."""
    mine = [look[start : start + BLOCK].float() for look in one.changed]
    yours = [look[below : below + BLOCK].float() for look in other.changed]
    enough = torch.maximum(one.enough[start : start + BLOCK, None], other.enough[below : below + BLOCK])
    margin = mine[0] @ yours[0].T - enough
    for i in range(1, len(mine)):
        margin = torch.maximum(margin, mine[0] @ yours[i].T - ALIKE_COARSE)
        margin = torch.maximum(margin, mine[i] @ yours[0].T - ALIKE_COARSE)
    return margin.masked_fill(margin <= 0, -torch.inf)
