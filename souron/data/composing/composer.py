"""Compose an endless, seeded stream of scenes: cut-outs on a ground, with lighting, rotation and
occlusion.

A scene is determined by the seed, the part and its number. Things are placed from back to front;
one that would hardly stand out against its background, or would hide more than ``HIDDEN`` of
another, is placed elsewhere or left out, so that every visible thing has a label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from souron.data.composing import grounds, related_groups, stock, words
from souron.data.composing.cutouts import CATEGORIES, SOLID, STEP, Cutout
from souron.data.composing.stock import Stock
from souron.utils.messages import UserError, _

SMALLEST, LARGEST = 0.20, 0.65  # of the side: longer edge of a thing's box before occlusion
HIDDEN = 0.60  # the largest share of a thing that others may hide
COUNTS = {1: 0.10, 2: 0.20, 3: 0.25, 4: 0.20, 5: 0.15, 6: 0.10}  # number of things: its probability
AGAIN = 0.3  # probability that a thing is of the same category as the one before
TRIES = 5  # positions tried for a thing
GROUNDS = 8  # grounds tried until a thing stands out
DIFFERENT = 26.0  # levels between a pixel and its background, so that the eye separates them
ROUGH = 0.8  # additional levels required for each level of variation in the background
WHOLE = 0.5  # difference of the mean colours required for each such level
STANDS_OUT = 0.5  # the share of a thing's pixels, and of its outline, that must differ by that
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. ITU-R BT.601
CHROMA = 1.4  # weight of a difference in colour, relative to one in brightness

TURNS = {  # degrees in both directions
    "bird": 12,
    "mammal": 8,
    "flower": 180,
    "fruit": 180,
    "vehicle": 8,
    "coin": 180,
    "sign": 10,
    "building": 4,
    "insect": 180,
    "fish": 30,
    "vegetable": 180,
    "hat": 20,
    "person": 8,
}
NEVER_MIRRORED = ("coin", "sign", "person")  # they carry writing; keypoints tell left from right
STANDING = ("bird", "mammal", "vehicle", "building", "sign", "person")  # their shadow lies on
# the ground, that of other things right behind them


class Sources(NamedTuple):
    """The parts that a scene was composed of."""

    cutouts: tuple[str, ...]  # of each thing
    ground: str  # the photograph; "noise"
    block: int


@dataclass(frozen=True, eq=False)
class Scene:
    """An image with complete annotations; things are ordered from back to front."""

    number: int
    categories: tuple[str, ...]  # the names of the labels
    image: Tensor  # (3, H, W) uint8
    boxes: Tensor  # (n, 4) float32: left, top, right, bottom of the visible pixels; the right and
    # bottom edges are exclusive
    labels: Tensor  # (n,) int64
    masks: Tensor  # (n, H, W) bool, the visible pixels; no two overlap
    captions: dict[str, list[str]]  # "en", "ja"
    points: tuple[Tensor, ...] | None  # for each painted figure (K, 3) float32: x, y, and 1 if it
    # is visible; their names are in ``figures.POINTS``. None for stamps
    whole: Tensor  # (n, 5) float32: the box of each whole thing including hidden pixels; its area
    sources: Sources

    def semantic(self) -> Tensor:
        """Return the semantic map (H, W) int64: 0 for the background, else the label plus one."""
        of_ids = torch.cat([torch.zeros(1, dtype=torch.int64), self.labels + 1])
        return of_ids[self.ids()]

    def ids(self) -> Tensor:
        """Return the instance map (H, W) int64: 0 for the background, else the thing's index plus
        one."""
        count = len(self.masks)
        order = torch.arange(1, count + 1).view(-1, 1, 1)
        return (self.masks * order).sum(0) if count else torch.zeros(self.image.shape[1:]).long()

    def panoptic(self) -> tuple[Tensor, list[dict[str, Any]]]:
        """Return ``ids`` and its segments: the background (stuff) first, then every thing.

        A segment has an ``id``, its ``category`` as in ``semantic``, the flag ``thing``, and its
        ``area`` in pixels.
        """
        ids = self.ids()
        areas = ids.flatten().bincount(minlength=len(self.labels) + 1).tolist()
        kinds = [0, *(self.labels + 1).tolist()]
        return ids, [
            {"id": i, "category": kind, "thing": i > 0, "area": area}
            for i, (kind, area) in enumerate(zip(kinds, areas, strict=True))
        ]


class Laid(NamedTuple):
    """A thing that was placed on the canvas."""

    cutout: Cutout
    mask: np.ndarray  # (H, W) bool, including hidden pixels
    points: np.ndarray  # (K, 2)


class Thing(NamedTuple):
    """A cut-out after scaling, rotation and lighting."""

    cutout: Cutout
    colours: np.ndarray  # (h, w, 3) float32
    alpha: np.ndarray  # (h, w) float32 in 0..1
    points: np.ndarray  # (K, 2)

    @property
    def solid(self) -> np.ndarray:
        return self.alpha >= SOLID / 255


class Composer:
    """Compose the scenes of one part.

    ``scene(number)`` depends on number, side, seed and stock only, not on the scenes made before.
    """

    def __init__(
        self,
        side: int = 128,
        seed: int = 0,
        part: str = "train",
        categories: Sequence[str] = CATEGORIES,
        source: Stock | None = None,
        counts: Sequence[int] | None = None,
        sizes: tuple[float, float] = (SMALLEST, LARGEST),
    ) -> None:
        """``side`` in pixels; ``source``: the stock of cut-outs and photographs, by default stamps
        if installed, else painted figures; ``counts``: the possible numbers of things in a scene;
        ``sizes``: the range of their longer edge, as fractions of the side. Raises UserError."""
        if part not in related_groups.PARTS:
            raise UserError(
                "part",
                _("no part is called {name!r}").format(name=part),
                expected=", ".join(related_groups.PARTS),
                exit=2,
            )
        if not 16 <= side <= 1024:
            raise UserError(
                "side", _("scenes of {side} pixels a side").format(side=side), expected=_("16 to 1024 pixels"), exit=2
            )
        self.source = stock.stocked(categories) if source is None else source
        stock.check(self.source, categories)
        self.side, self.seed, self.part = side, seed, part
        self.categories = tuple(categories)
        self.blocks = self.source.blocks(part, categories)
        self.photographs = self.source.photographs(part, categories)
        self.counts, self.sizes = tuple(counts) if counts else tuple(COUNTS), sizes
        chance = np.array([COUNTS.get(count, 0.1) for count in self.counts])
        self.chance = chance / chance.sum()

    def block(self, number: int) -> int:
        """Return the index of the block that the scene takes its things from; blocks are used in
        turn."""
        return number % len(self.blocks)

    def scene(self, number: int) -> Scene:
        """Compose the scene of that number, counted from 0."""
        rng = np.random.default_rng([self.seed, list(related_groups.PARTS).index(self.part), number])
        ground, canvas, laid = "", np.zeros(0), []
        for _try in range(GROUNDS):
            ground, canvas = self._ground(rng)
            laid = self._lay(canvas, self._plan(self.blocks[self.block(number)], rng), rng)
            if laid:
                break
        return self._scene(number, ground, canvas, laid)

    def _ground(self, rng: np.random.Generator) -> tuple[str, np.ndarray]:
        """Return a ground: its name, and its pixels (H, W, 3) float32."""
        if self.photographs:
            photo = self.photographs[int(rng.integers(len(self.photographs)))]
            name, pixels = photo.name, grounds.patch(photo, self.side, rng)
        else:
            name, pixels = "noise", grounds.noise(self.side, rng)
        light = np.float32(rng.uniform(0.85, 1.12))
        return name, (pixels.astype(np.float32) * light).clip(0, 255)

    def _plan(self, block: Sequence[Cutout], rng: np.random.Generator) -> list[tuple[Cutout, float, float, float]]:
        """Choose the things from back to front: cut-out, size, x and y of the box as fractions of
        the free room."""
        by_category: dict[str, list[Cutout]] = {}
        for cutout in block:
            by_category.setdefault(cutout.category, []).append(cutout)
        names = list(by_category)
        name, planned = "", []
        for _thing in range(int(rng.choice(self.counts, p=self.chance))):
            if not name or rng.random() >= AGAIN:
                name = names[int(rng.integers(len(names)))]
            some = by_category[name]
            size = self.sizes[0] * (self.sizes[1] / self.sizes[0]) ** rng.random()
            planned.append((some[int(rng.integers(len(some)))], size, rng.random(), rng.random()))
        return sorted(planned, key=lambda each: each[3])  # lower things are nearer

    def _lay(
        self, canvas: np.ndarray, plan: Sequence[tuple[Cutout, float, float, float]], rng: np.random.Generator
    ) -> list[Laid]:
        """Paint the planned things on the canvas, as far as a position is found for each."""
        angle = rng.uniform(0, 2 * np.pi)
        light = (float(np.cos(angle)), float(np.sin(angle)), float(rng.uniform(0.05, 0.25)))
        dark = float(rng.uniform(0.15, 0.5))
        tint = canvas.mean((0, 1))
        laid: list[Laid] = []
        for cutout, size, x, y in plan:
            thing = self._thing(cutout, size * self.side, light, tint, rng)
            height, width = thing.alpha.shape
            for number in range(TRIES):
                if number:
                    x, y = rng.random(2)
                left = round(x * (self.side - width))
                top = round(y * (self.side - height))
                window = (slice(top, top + height), slice(left, left + width))
                if _hides(laid, thing.solid, window) or not stands_out(thing.colours, thing.solid, canvas[window]):
                    continue
                _shade(canvas, thing, left, top, light, dark)
                alpha = thing.alpha[..., None]
                canvas[window] += alpha * (thing.colours - canvas[window])
                mask = np.zeros((self.side, self.side), bool)
                mask[window] = thing.solid
                place = np.array([left, top], np.float32)
                laid.append(Laid(cutout, mask, thing.points + place))
                break
        return laid

    def _thing(
        self,
        cutout: Cutout,
        longest: float,
        light: tuple[float, float, float],
        tint: np.ndarray,
        rng: np.random.Generator,
    ) -> Thing:
        """Scale a cut-out so that the longer edge of its box is ``longest`` pixels, then rotate,
        mirror and light it."""
        most = TURNS[cutout.category] // STEP
        turn = STEP * int(rng.integers(-most, most + 1))
        flip = bool(rng.random() < 0.5) and cutout.category not in NEVER_MIRRORED
        longest = min(longest, self.side)
        share = longest / max(_extent(cutout, -turn if flip else turn))
        for _try in range(3):  # parts thinner than a pixel are lost: then scale up
            pixels, points = _drawn(cutout, share, turn, flip)
            found = max(pixels.shape[:2])
            if abs(found - longest) <= 1:
                break
            share *= longest / found
        pixels = pixels[: self.side, : self.side]
        alpha = pixels[..., 3].astype(np.float32) / 255
        colours = _lit(pixels[..., :3].astype(np.float32), alpha, light, tint, rng)
        return Thing(cutout, colours, alpha, points)

    def _scene(self, number: int, ground: str, canvas: np.ndarray, laid: Sequence[Laid]) -> Scene:
        side = self.side
        masks = np.zeros((len(laid), side, side), bool)
        covered = np.zeros((side, side), bool)
        for i in reversed(range(len(laid))):
            masks[i] = laid[i].mask & ~covered
            covered |= laid[i].mask
        names = [each.cutout.category for each in laid]
        boxes = np.array([extent(mask) for mask in masks], np.float32).reshape(-1, 4)
        middles = [((l + r) / 2 / side, (t + b) / 2 / side) for l, t, r, b in boxes.tolist()]
        sizes = [max(r - l, b - t) for l, t, r, b in boxes.tolist()]
        pixels = canvas.round().clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
        points = tuple(torch.from_numpy(_seen(each.points, mask)) for each, mask in zip(laid, masks, strict=True))
        return Scene(
            number=number,
            categories=self.categories,
            image=torch.from_numpy(np.ascontiguousarray(pixels)),
            boxes=torch.from_numpy(boxes),
            labels=torch.tensor([self.categories.index(name) for name in names]).long(),
            masks=torch.from_numpy(masks),
            captions=words.captions(names, middles, sizes),
            points=points if self.source.name == "drawn" else None,
            whole=torch.tensor([[*extent(each.mask), each.mask.sum()] for each in laid]).float(),
            sources=Sources(tuple(each.cutout.name for each in laid), ground, self.block(number)),
        )


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the set pixels; the last two are exclusive."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def stands_out(colours: np.ndarray, solid: np.ndarray, behind: np.ndarray) -> bool:
    """Return whether a thing would stand out; ``colours`` and ``behind`` (h, w, 3), ``solid`` (h,
    w).

    The background is blurred before the comparison, as the eye perceives texture: green leaves on
    grass differ from every blade, but not from the grass. The more the background varies, the more
    a thing must differ.
    """
    if not solid.any():
        return False
    height, width = solid.shape
    blurred = Image.fromarray(behind.clip(0, 255).astype(np.uint8)).filter(
        ImageFilter.BoxBlur(max(2, min(height, width) // 6))
    )
    smooth = np.asarray(blurred, np.float32)
    rough = float(np.sqrt(np.square(_distance(behind, smooth)).mean()))
    means = colours[solid].mean(0), behind[solid].mean(0)
    if float(_distance(*means)) < WHOLE * rough:  # such as a zebra on rocks
        return False
    apart = _distance(colours, smooth) >= DIFFERENT + ROUGH * rough
    inner = np.asarray(Image.fromarray(solid).convert("L").filter(ImageFilter.MinFilter(3))) > 0
    inner[[0, -1]], inner[:, [0, -1]] = False, False
    outline = solid & ~inner
    return bool(apart[solid].mean() >= STANDS_OUT and apart[outline].mean() >= STANDS_OUT)


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the distance between colours (..., 3) by brightness and chroma, (...), in levels."""
    apart = one - other
    luma = apart @ LUMA
    blue, red = 0.564 * (apart[..., 2] - luma), 0.713 * (apart[..., 0] - luma)
    return np.sqrt(luma**2 + CHROMA**2 * (blue**2 + red**2))


def _hides(laid: Sequence[Laid], solid: np.ndarray, window: tuple[slice, slice]) -> bool:
    """Return whether the new thing, in front of all, would leave less than ``1 - HIDDEN`` of
    another visible."""
    front = np.zeros(laid[0].mask.shape, bool) if laid else solid
    if laid:
        front[window] = solid
    for each in reversed(laid):
        if (each.mask & ~front).sum() < (1 - HIDDEN) * each.mask.sum():
            return True
        front = front | each.mask
    return False


def _lit(
    colours: np.ndarray,
    alpha: np.ndarray,
    light: tuple[float, float, float],
    tint: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Apply the scene's light to a thing: brighter on the side of the light, and slightly adapted
    to the ground's brightness and colour."""
    height, width = alpha.shape
    across = np.linspace(-1, 1, width, dtype=np.float32)
    down = np.linspace(-1, 1, height, dtype=np.float32)
    x, y, strength = light
    slope = 1 + strength * (x * across[None, :] + y * down[:, None])
    mean = (colours * alpha[..., None]).sum((0, 1)) / max(1.0, float(alpha.sum()))
    towards = ((tint + 20) / (mean + 20)) ** 0.12
    gain = towards.clip(0.85, 1.18) * rng.uniform(0.88, 1.12)
    return (colours * gain.astype(np.float32) * slope[..., None]).clip(0, 255).astype(np.float32)


def _shade(
    canvas: np.ndarray, thing: Thing, left: int, top: int, light: tuple[float, float, float], dark: float
) -> None:
    """Darken the canvas where the thing's shadow falls."""
    height, width = thing.alpha.shape
    shape = Image.fromarray((thing.alpha * 255).astype(np.uint8))
    margin = max(2, max(height, width) // 8)
    if thing.cutout.category in STANDING:  # projected onto the ground, away from the light
        low = max(2, round(height * 0.3))
        lean = -light[0] * 0.5 * height
        wide = width + round(abs(lean)) + 2 * margin
        begin = margin + max(0.0, -lean)
        # maps shadow to shape coordinates: the foot stays, the head moves aside
        flat = (1, lean / low, -begin - lean, 0, height / low, -margin * height / low)
        shape = shape.transform((wide, low + 2 * margin), Image.Transform.AFFINE, flat, Image.Resampling.BILINEAR)
        x, y = left - round(begin), top + height - low - margin
    else:
        far = max(1.0, 0.06 * max(height, width))
        larger = Image.new("L", (width + 2 * margin, height + 2 * margin))
        larger.paste(shape, (margin, margin))
        shape = larger
        x, y = left - margin - round(light[0] * far), top - margin - round(light[1] * far) + 1
    shadow = np.asarray(shape.filter(ImageFilter.BoxBlur(margin / 2)), np.float32) * (dark / 255)
    side = canvas.shape[0]
    rows = slice(max(0, y), min(side, y + shadow.shape[0]))
    columns = slice(max(0, x), min(side, x + shadow.shape[1]))
    if rows.start < rows.stop and columns.start < columns.stop:
        part = shadow[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        canvas[rows, columns] *= 1 - part[..., None]


def _extent(cutout: Cutout, turn: int) -> tuple[float, float]:
    """Return width and height of the solid pixels after a counter-clockwise rotation by ``turn``
    degrees."""
    widths = cutout.widths
    count = len(widths)
    return widths[turn // STEP % count], widths[(turn // STEP + count // 2) % count]


def _drawn(cutout: Cutout, share: float, turn: int, flip: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scale, mirror and rotate a cut-out; return its solid pixels (h, w, 4) and the keypoints in
    them, (K, 2)."""
    image = Image.fromarray(cutout.pixels)
    points = cutout.points.copy()
    if flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        points[:, 0] = image.width - points[:, 0]
    size = (max(1, round(share * image.width)), max(1, round(share * image.height)))
    points *= np.array(size, np.float32) / np.array(image.size, np.float32)
    image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    if turn:
        turned = image.rotate(turn, Image.Resampling.BICUBIC, expand=True)
        points = _turned(points, turn, image.size, turned.size)
        image = turned
    pixels = np.asarray(image)
    solid = pixels[..., 3] >= SOLID
    left, top, right, bottom = extent(solid) if solid.any() else (0, 0, *image.size)
    return pixels[top:bottom, left:right], points - np.array([left, top], np.float32)


def _turned(points: np.ndarray, turn: float, before: tuple[int, int], after: tuple[int, int]) -> np.ndarray:
    """Return the positions of points after Pillow rotated an image about its centre,
    counter-clockwise."""
    angle = np.radians(turn)
    x, y = (points - np.array(before, np.float32) / 2).T
    moved = [x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)]
    return (np.stack(moved, 1) + np.array(after, np.float32) / 2).astype(np.float32)


def _seen(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return (K, 3): x, y, and 1 if the pixel there, or one near it, belongs to the thing's visible
    part."""
    side = mask.shape[0]
    far = max(1, side // 64)
    seen = np.zeros((len(points), 3), np.float32)
    for i, (x, y) in enumerate(points):
        column, row = int(np.clip(x, 0, side - 1)), int(np.clip(y, 0, side - 1))
        near = mask[max(0, row - far) : row + far + 1, max(0, column - far) : column + far + 1]
        seen[i] = x, y, near.any()
    return seen
