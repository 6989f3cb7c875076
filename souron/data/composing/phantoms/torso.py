"""A synthetic torso for computed tomography: a label map of organs, and Hounsfield units (HU).

Coordinates are in millimetres towards the patient's left, back and head; the origin is the middle
of the body at the level of the diaphragm's base. Organs are geometric solids with random sizes,
positions and rotations; they are drawn at half the voxel spacing and averaged over 2 x 2 x 2
voxels, which blurs edges like the partial volume effect of a scanner.

Beam hardening is simulated: the middle of a body looks darker than it is (cupping), and so do
regions beside bone. Brooks, Di Chiro: Beam hardening in X-ray reconstructive tomography (1976).
https://doi.org/10.1088/0031-9155/21/3/004
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

ORGANS = ("liver", "spleen", "kidneys", "spine", "aorta", "lungs")
SIZE = (48, 80, 96)  # slices, rows, columns
SPACING = ((6.2, 7.4), (3.9, 4.5))  # mm between slices, and between rows and columns: range
LOWEST, AIR = -1024, -1000  # HU
VERTEBRA = 34.0  # mm from one to the next

Grid = NDArray[Any]
Where = NDArray[np.bool_]


class Made(NamedTuple):
    """The volume of one patient with its label map."""

    volume: Tensor  # (slices, rows, columns) int16, HU
    organs: Tensor  # of the same shape, uint8: 0, or the index in ``ORGANS`` plus one
    spacing: tuple[float, float, float]  # mm between slices, rows and columns
    millilitres: dict[str, float]  # of each organ, at the fine resolution


@dataclass
class Canvas:
    """The volume that is being drawn, at half the spacing."""

    x: Grid  # (1, 1, columns), mm towards the left
    y: Grid  # (1, rows, 1), towards the back
    z: Grid  # (slices, 1, 1), towards the head
    values: Grid  # HU
    organ: NDArray[np.uint8]

    def fill(self, where: Where, value: float, organ: str = "") -> None:
        """Fill a region with a value and an organ, over what was drawn before."""
        np.putmask(self.values, where, value)
        np.putmask(self.organ, where, ORGANS.index(organ) + 1 if organ else 0)

    def solid(
        self,
        middle: tuple[float, float, float],
        radii: tuple[float, float, float],
        turn: float = 0.0,
        lean: float = 0.0,
        power: float = 2.0,
    ) -> Where:
        """Return the mask of an ellipsoid, or of a rounded box if ``power`` is above 2, rotated
        about the body's axis by ``turn`` and leaning sideways by ``lean``, both in radians."""
        wide = max(radii[:2]) + abs(np.tan(lean)) * radii[2]
        box = tuple(
            slice(*np.searchsorted(axis.ravel(), (at - far, at + far)))
            for axis, at, far in zip(
                (self.z, self.y, self.x), middle[::-1], (radii[2], max(radii[:2]), wide), strict=True
            )
        )
        z, y, x = self.z[box[0]], self.y[:, box[1]], self.x[..., box[2]]
        x, y, z = x - middle[0] - np.tan(lean) * (z - middle[2]), y - middle[1], z - middle[2]
        across = np.cos(turn) * x + np.sin(turn) * y
        deep = np.cos(turn) * y - np.sin(turn) * x
        parts = (np.abs(across) / radii[0]) ** power + (np.abs(deep) / radii[1]) ** power
        where = np.zeros(self.values.shape, bool)
        where[box] = parts + (np.abs(z) / radii[2]) ** power < 1
        return where

    def tube(self, across: Grid, deep: Grid, radius: float) -> Where:
        """Return the mask of a tube around a line, given as its position (slices, 1, 1) at every
        height."""
        return (self.x - across) ** 2 + (self.y - deep) ** 2 < radius**2


@dataclass(frozen=True)
class Body:
    """The measures of one patient's body, by which the organs are placed."""

    wide: float  # mm, half the width of the body without its fat
    deep: float
    fat: float
    dose: float  # of contrast medium: 1 is normal
    scale: float  # of the organs
    bend: float  # lateral curvature of the spine, mm


def torso(random: Generator) -> Made:
    """Generate a patient; all random numbers come from ``random``."""
    step, side = (float(random.uniform(*ends)) for ends in SPACING)
    spacing = (step, side, side)
    body = Body(
        wide=random.uniform(138, 158),
        deep=random.uniform(92, 108),
        fat=random.uniform(8, 24),
        dose=random.uniform(0.7, 1.25),
        scale=random.uniform(0.92, 1.06),
        bend=random.uniform(-7, 7),
    )
    canvas = blank(spacing, random)
    outside = _wall(canvas, body, random)
    _chest(canvas, body, random)
    _bowel(canvas, body, random)
    _organs(canvas, body, random)
    _middle(canvas, body, random)
    canvas.fill(outside, AIR)
    voxel = float(np.prod(spacing)) / 8000
    count = np.bincount(canvas.organ.ravel(), minlength=len(ORGANS) + 1)[1:]
    found = dict(zip(ORGANS, (count * voxel).tolist(), strict=True))
    values = scanned(eight(canvas.values) / 8, random)
    organs = majority(canvas.organ)
    return Made(torch.from_numpy(values), torch.from_numpy(organs), spacing, found)


def blank(spacing: tuple[float, float, float], random: Generator) -> Canvas:
    """Return a canvas of air; the body's centre is slightly off the grid's."""
    off = (random.uniform(-20, 20), random.uniform(-8, 8), random.uniform(-8, 8))
    z, y, x = (
        ((np.arange(2 * count) + 0.5) * step / 2 - count * step / 2 - away).astype(np.float32)
        for count, step, away in zip(SIZE, spacing, off, strict=True)
    )
    shape = tuple(2 * count for count in SIZE)
    return Canvas(
        x[None, None], y[None, :, None], z[:, None, None], np.full(shape, AIR, np.float32), np.zeros(shape, np.uint8)
    )


def _ring(canvas: Canvas, wide: float, deep: float, power: float = 2.4) -> Where:
    """Return the mask inside of a body's cross-section, with a slightly narrower waist."""
    waist = 1 - 0.06 * np.exp(-(((canvas.z + 90) / 60) ** 2))
    parts = np.abs(canvas.x) / (wide * waist), np.abs(canvas.y) / (deep * waist)
    return parts[0] ** power + parts[1] ** power < 1


def _wall(canvas: Canvas, body: Body, random: Generator) -> Where:
    """Draw skin, fat, muscle and ribs, then the fat between the organs; return the mask of the
    outside."""
    wide, deep, fat = body.wide, body.deep, body.fat
    inside = _ring(canvas, wide + fat + 3, deep + fat + 3)
    canvas.fill(inside, random.uniform(10, 40))
    canvas.fill(_ring(canvas, wide + fat, deep + fat), random.uniform(-115, -95))
    muscle = _ring(canvas, wide, deep)
    canvas.fill(muscle, random.uniform(50, 68))
    thick = random.uniform(9, 14)
    cavity = _ring(canvas, wide - thick, deep - thick)
    slope = 0.3 * canvas.y + canvas.z  # ribs descend towards the front
    rib = muscle & ~cavity & (np.sin(2 * np.pi * slope / 29) > 0.45)
    rib &= (np.abs(canvas.x) > 50) & (canvas.z > -70)
    canvas.fill(rib & ~_ring(canvas, wide - thick - 2, deep - thick - 2), random.uniform(250, 450))
    canvas.fill(cavity, random.uniform(-105, -85))
    return ~inside


def _chest(canvas: Canvas, body: Body, random: Generator) -> None:
    """Draw the lungs above the two domes of the diaphragm, and the heart between them."""
    cavity = _ring(canvas, body.wide - 12, body.deep - 12)
    height = random.uniform(38, 52)
    for side, dome in ((-1, height), (1, height - random.uniform(8, 18))):
        lateral = (canvas.x - side * 0.5 * body.wide) / (0.55 * body.wide)
        floor = dome - 85 * (lateral**2 + (0.75 * canvas.y / body.deep) ** 2)
        part = cavity & (canvas.z > np.maximum(floor, -45)) & (side * canvas.x > 0)
        between = (np.abs(canvas.x) < 32 + 0.12 * np.maximum(0, canvas.y)) | (
            (canvas.x**2 + (canvas.y - 62) ** 2) < 40**2
        )
        canvas.fill(part & ~between, random.uniform(-870, -790), "lungs")
        for _vessel in range(24):
            place = (side * random.uniform(40, 110), random.uniform(-50, 50), random.uniform(40, 150))
            drop = canvas.solid(place, (*random.uniform(2, 5, 2), random.uniform(4, 14)))
            np.putmask(canvas.values, drop & (canvas.organ == ORGANS.index("lungs") + 1), 20)
    blood = 40 + 95 * body.dose
    heart = (random.uniform(15, 28), random.uniform(-35, -22), height + random.uniform(32, 42))
    radii = (random.uniform(42, 52), random.uniform(36, 44), random.uniform(38, 48))
    canvas.fill(canvas.solid(heart, radii, -0.5), 45 + 45 * body.dose)
    inner = (0.7 * radii[0], 0.7 * radii[1], 0.7 * radii[2])
    canvas.fill(canvas.solid(heart, inner, -0.5), blood)


def _bowel(canvas: Canvas, body: Body, random: Generator) -> None:
    """Draw loops of bowel with their content, some of it gas, and the stomach with its gas
    bubble."""
    inside = _ring(canvas, body.wide - 18, body.deep - 18) & (canvas.z < 0)
    for _loop in range(int(random.integers(34, 52))):
        middle = (
            random.uniform(-0.8, 0.8) * body.wide,
            random.uniform(-0.8, 0.3) * body.deep,
            random.uniform(-175, -50),
        )
        radii = tuple(random.uniform((12, 10, 10), (32, 20, 20)))
        turn = random.uniform(-1.5, 1.5)
        canvas.fill(canvas.solid(middle, radii, turn) & inside, random.uniform(30, 75))
        content = random.choice([-850.0, 15.0, 25.0, 40.0, 180.0], p=[0.2, 0.3, 0.2, 0.2, 0.1])
        inner = (radii[0] - 4, radii[1] - 4, radii[2] - 4)
        canvas.fill(canvas.solid(middle, inner, turn) & inside, content)
    middle = (random.uniform(42, 60), random.uniform(-45, -28), random.uniform(-30, -8))
    radii = (random.uniform(34, 46), random.uniform(26, 34), random.uniform(36, 48))
    canvas.fill(canvas.solid(middle, radii, 0.4), random.uniform(45, 70))
    inner = (radii[0] - 5, radii[1] - 5, radii[2] - 5)
    stomach = canvas.solid(middle, inner, 0.4)
    canvas.fill(stomach, random.uniform(0, 35))
    canvas.fill(stomach & (canvas.y < middle[1] - 0.3 * radii[1]), -900)


def _organs(canvas: Canvas, body: Body, random: Generator) -> None:
    """Draw spleen, kidneys and liver."""
    cavity = _ring(canvas, body.wide - 13, body.deep - 13)

    def size(*radii: float) -> tuple[float, float, float]:
        a, b, c = np.array(radii) * body.scale * random.uniform(0.9, 1.1, 3)
        return float(a), float(b), float(c)

    spleen = size(29, 42, 50)
    place = (body.wide - 20 - spleen[0], random.uniform(22, 34), random.uniform(-40, -18))
    kept = canvas.solid(place, spleen, random.uniform(-0.5, -0.1), random.uniform(-0.2, 0.1))
    hollow = canvas.solid((place[0] - 34, place[1] - 26, place[2]), (22, 26, 30))
    canvas.fill(kept & ~hollow & cavity, 52 + 68 * body.dose + random.normal(0, 6), "spleen")

    cortex = 35 + random.uniform(120, 155) * body.dose
    for side in (-1, 1):
        kidney = size(27, 25, 53)
        place = (
            side * random.uniform(60, 70) + body.bend / 2,
            random.uniform(40, 52),
            random.uniform(-112, -92) + 9 * side,
        )
        lean = -side * random.uniform(0.1, 0.3)
        whole = canvas.solid(place, kidney, side * 0.5, lean)
        hilum = canvas.solid((place[0] - side * 24, place[1] - 10, place[2]), (19, 14, 20))
        canvas.fill(whole & ~hilum, cortex, "kidneys")
        inner = (0.6 * kidney[0], 0.6 * kidney[1], 0.75 * kidney[2])
        pith = canvas.solid(place, inner, side * 0.5, lean) & ~hilum
        np.putmask(canvas.values, pith, cortex - random.uniform(20, 45))

    tall = size(98, 78, 72)
    place = (-body.wide + 8 + tall[0], random.uniform(-14, -2), random.uniform(-34, -18))
    whole = canvas.solid(place, tall, random.uniform(-0.15, 0.15), power=2.3)
    cut = 0.55 * (canvas.x + random.uniform(52, 64)) - random.uniform(42, 50)
    thin = canvas.z - place[2] > np.minimum(cut, 70)  # the left lobe tapers
    liver = whole & cavity & thin & (canvas.organ != ORGANS.index("kidneys") + 1)
    liver &= canvas.organ != ORGANS.index("spleen") + 1
    liver &= canvas.x**2 + (canvas.y - 62) ** 2 > 46**2
    value = 55 + 52 * body.dose + random.normal(0, 6)
    canvas.fill(liver, value, "liver")
    for _vein in range(9):
        drop = canvas.solid(
            (
                place[0] + random.uniform(-60, 45),
                place[1] + random.uniform(-45, 45),
                place[2] + random.uniform(-30, 45),
            ),
            (random.uniform(14, 32), random.uniform(3, 5), random.uniform(3, 5)),
            random.uniform(-1.5, 1.5),
        )
        np.putmask(canvas.values, drop & (canvas.organ == 1), value + random.uniform(10, 35))
    gall = canvas.solid((place[0] + 18, place[1] - 42, place[2] - 42), size(13, 17, 22))
    canvas.fill(gall & (canvas.organ != 1), random.uniform(0, 18))


def _middle(canvas: Canvas, body: Body, random: Generator) -> None:
    """Draw the muscles beside the spine, its vertebrae and discs, and the great vessels."""
    z = canvas.z
    side_way = body.bend * np.sin(z / 90)
    back = 64 + 7 * np.cos((z + 110) / 80)  # mm, the spine's curve
    muscle = random.uniform(50, 68)
    for side in (-1, 1):
        psoas = canvas.tube(side_way + side * (36 - 0.05 * (z + 100)), back - 2, 17)
        canvas.fill(psoas & (z < -70) & (canvas.organ == 0), muscle)
        long = canvas.tube(side_way + side * 30, back + 38, 22) & _ring(canvas, body.wide, body.deep)
        canvas.fill(long & (canvas.organ == 0), muscle)
    radius = random.uniform(20, 24)
    height = np.mod(z + random.uniform(0, VERTEBRA), VERTEBRA)
    disc = height < 8
    column = canvas.tube(side_way, back, radius)
    canvas.fill(column, random.uniform(150, 240), "spine")
    rim = column & ~canvas.tube(side_way, back, radius - 3)
    np.putmask(canvas.values, rim, random.uniform(350, 520))
    np.putmask(canvas.values, column & disc, random.uniform(75, 105))
    arch = canvas.tube(side_way, back + radius + 9, 14) & ~disc
    canvas.fill(arch, random.uniform(320, 480), "spine")
    process = (np.abs(canvas.x - side_way) < 5) & (np.abs(canvas.y - back - radius - 24) < 13)
    canvas.fill(process & (height > 14), random.uniform(280, 420), "spine")
    canal = canvas.tube(side_way, back + radius + 8, 8.5)
    canvas.fill(canal, 25)
    blood = 45 + random.uniform(100, 125) * body.dose
    wide = random.uniform(11, 14)
    place = side_way + random.uniform(6, 13) + 4 * np.sin((z + 20) / 70)
    aorta = canvas.tube(place, back - radius - wide - 1, wide)
    canvas.fill(aorta, blood, "aorta")
    cava = canvas.tube(side_way - random.uniform(20, 26), back - radius - 9, random.uniform(10, 13))
    free = (canvas.organ == 0) | (canvas.organ == 1)
    canvas.fill(cava & free & (z < 35), blood - random.uniform(10, 35))


def eight(fine: NDArray[Any]) -> NDArray[Any]:
    """Sum each block of 2 x 2 x 2 voxels: (2a, 2b, 2c) -> (a, b, c)."""
    fine = fine[::2] + fine[1::2]
    fine = fine[:, ::2] + fine[:, 1::2]
    return fine[..., ::2] + fine[..., 1::2]


def majority(organ: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take the majority label of each block of eight voxels: (2a, 2b, 2c) -> (a, b, c). If half of
    a block is background, every second voxel becomes background, so that masks are neither too
    large nor too small on average."""
    counts = np.stack([eight((organ == n).view(np.uint8)) for n in range(len(ORGANS) + 1)])
    counts *= 2
    counts[0] += np.indices(counts.shape[1:]).sum(0).astype(np.uint8) % 2
    counts[1:] += 1 - counts[0] % 2
    return counts.argmax(0).astype(np.uint8)


def scanned(values: Grid, random: Generator) -> NDArray[np.int16]:
    """Simulate a scanner on HU values: beam hardening, the blur of its kernel and noise."""
    body = (values > -500).astype(np.float32)
    depth = scipy.ndimage.gaussian_filter(body, (0, 9, 9))
    bone = scipy.ndimage.gaussian_filter(np.clip(values - 250, 0, 400), (0, 3, 3))
    shown = values - body * (random.uniform(4, 14) * depth + random.uniform(0.05, 0.2) * bone)
    shown = scipy.ndimage.gaussian_filter(shown, (0, 0.45, 0.45))
    noise = scipy.ndimage.gaussian_filter(random.standard_normal(values.shape), (0, 0.6, 0.6))
    shown = shown + noise / noise.std() * random.uniform(11, 22)
    return shown.clip(LOWEST, 3071).round().astype(np.int16)
