"""Simulate a lateral head film: the X-ray attenuation of each structure, through a film curve.

    film = curve(sum of thickness times attenuation + scatter) + noise

Structures are drawn at four times the film's resolution and added up: soft tissue, the vault as a
shell whose chord is long at its edge, bones with their bright outline, teeth, and air, which is
subtracted. Then the properties of a real film are added: blur, exposure, contrast, scatter, noise,
a rotation of a few degrees, ear rods, a ruler or a letter. See ``heads`` for the anatomy. The films
are SYNTHETIC.
"""

# ruff: noqa: RUF005, points are arrays: a tuple after "+" is added, not appended

from dataclasses import dataclass

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from souron.data.composing.phantoms import heads
from souron.data.composing.phantoms.heads import LANDMARKS, Head, smooth

Array = NDArray[np.float32]

FIELD = 256.0  # millimetres a side
FINE = 2  # fine pixels per pixel of the film, in each direction
MIDDLE = (-6.0, 12.0)  # of the film, in millimetres of the head
INSIDE = 0.82  # the vault's inner surface, in radii perpendicular to the image plane

BONES = {  # attenuation of the area, of its outline, and the outline's width in millimetres
    "maxilla": (0.16, 0.0, 0.0),
    "zygoma": (0.16, 0.10, 1.4),
    "petrous": (0.36, 0.10, 1.5),
    "nasal": (0.20, 0.14, 1.0),
}
LINES = {  # attenuation and width in millimetres
    "sella": (0.42, 1.5),
    "clivus": (0.30, 1.6),
    "base": (0.32, 1.6),
    "under": (0.22, 1.5),
    "roof": (0.24, 1.3),
    "wing": (0.24, 1.3),
    "orbit": (0.34, 1.5),
    "ridge": (0.30, 1.8),
    "arch": (0.16, 2.6),
    "palate": (0.36, 1.7),
    "roof of the mouth": (0.20, 1.3),
    "labial": (0.26, 1.2),
    "front": (0.14, 1.2),
    "canal": (0.10, 1.0),
    "hyoid": (0.22, 4.0),
}
AIR = {"airway": 0.22, "antrum": 0.15, "sphenoid": 0.16, "frontal sinus": 0.14, "fissure": 0.16}


@dataclass(frozen=True)
class Film:
    """A synthetic film with its landmarks."""

    image: Tensor  # (1, side, side) uint8
    points: Tensor  # (19, 2) float32: x and y in pixels; NaN outside of the film
    head: Head


class Sheet:
    """A film that is being drawn, in millimetres of the head."""

    def __init__(self, side: int, turn: float, move: tuple[float, float]) -> None:
        self.side = side
        self.per_mm = side / FIELD  # pixels of the film
        cos, sin = np.cos(turn), np.sin(turn)
        self.turn = np.array([[cos, sin], [-sin, cos]])
        self.place = np.array(MIDDLE) - np.array(move)
        self.size = side * FINE
        self.dose = np.zeros((self.size, self.size), np.float32)

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert millimetres (n, 2) to pixels of the film, from its upper left corner."""
        return (points - self.place) @ self.turn * self.per_mm + self.side / 2

    def millimetres(self) -> tuple[Array, Array]:
        """Return x and y of each fine pixel's centre in millimetres, (size, size) each."""
        middle = (np.arange(self.size) + 0.5) / FINE - self.side / 2
        x, y = np.meshgrid(middle / self.per_mm, middle / self.per_mm)
        back = np.stack([x, y], 2) @ self.turn.T + self.place
        return back[..., 0].astype(np.float32), back[..., 1].astype(np.float32)

    def add(self, dose: float, path: NDArray[np.float64], width: float = 0.0, blur: float = 0.5) -> None:
        """Add the attenuation of a closed outline, or of a line ``width`` millimetres wide."""
        place, mask = self._drawn(path, width, blur)
        self.dose[place] += dose * mask

    def mask(self, path: NDArray[np.float64], width: float = 0.0, blur: float = 0.0) -> Array:
        """Return the coverage of each fine pixel by an outline or a line, (size, size) in 0..1."""
        whole = np.zeros_like(self.dose)
        place, mask = self._drawn(path, width, blur)
        whole[place] = mask
        return whole

    def _drawn(self, path: NDArray[np.float64], width: float, blur: float) -> tuple[tuple[slice, slice], Array]:
        """Return the slices of the sheet that enclose a shape, and the coverage of each pixel
        there."""
        corners = self.pixels(path) * FINE
        beside = (width + 3 * blur) * self.per_mm * FINE + 2
        low = np.floor(corners.min(0) - beside).clip(0, self.size - 1).astype(int)
        high = np.ceil(corners.max(0) + beside).clip(low + 1, self.size).astype(int)
        canvas = Image.new("L", tuple((2 * (high - low)).tolist()))
        draw = ImageDraw.Draw(canvas)
        there = [tuple(at) for at in (2 * (corners - low)).tolist()]
        if width:
            thick = max(1, round(width * self.per_mm * 2 * FINE))
            draw.line(there, fill=255, width=thick, joint="curve")
        else:
            draw.polygon(there, fill=255)
        mask = np.asarray(canvas.reduce(2), dtype=np.float32) / np.float32(255)
        place = slice(low[1], high[1]), slice(low[0], high[0])
        return place, self.blurred(mask, blur) if blur else mask

    def blurred(self, mask: Array, far: float) -> Array:
        """Blur with a Gaussian whose standard deviation is ``far`` millimetres."""
        return np.asarray(scipy.ndimage.gaussian_filter(mask, far * self.per_mm * FINE, mode="nearest", truncate=2.5))


def film(side: int, random: np.random.Generator) -> Film:
    """Generate the film of a new patient with ``side`` pixels a side."""
    head = heads.head(random)
    turn = np.radians(random.normal(0, 2.2))
    sheet = Sheet(side, turn, tuple(random.normal(0, (5.0, 4.5))))
    skin = _soft(sheet, head)
    _vault(sheet, head, random)
    _bones(sheet, head, random)
    _jaw(sheet, head, random)
    _teeth(sheet, head, random)
    metal = _rods(sheet, head, random)
    image = _developed(sheet, skin, metal, random)
    points = sheet.pixels(np.stack([head.points[name] for name in LANDMARKS]))
    outside = ((points < 0) | (points > side)).any(1)
    points[outside] = np.nan
    return Film(torch.from_numpy(image)[None], torch.from_numpy(points.astype(np.float32)), head)


def _soft(sheet: Sheet, head: Head) -> Array:
    """Draw the skin and the soft tissue below it, thinner towards the edge; return the mask."""
    inside = sheet.mask(smooth(head.curves["skin"], True))
    depth = 0.55 * sheet.blurred(inside, 3.0) + 0.45 * sheet.blurred(inside, 11.0)
    depth = (2 * depth - 1).clip(0, 1)
    sheet.dose += 0.42 * inside * (0.38 + 0.62 * np.sqrt(depth))
    sheet.add(0.08, smooth(head.curves["tongue"], True), blur=3.0)
    return inside


def _vault(sheet: Sheet, head: Head, random: np.random.Generator) -> None:
    """Draw the vault as a shell: the chord through it is long at its edge."""
    middle, axes, waves = head.vault
    x, y = sheet.millimetres()
    x, y = (x - middle[0]) / axes[0], (y - middle[1]) / axes[1]
    r = np.hypot(x, y) / heads.radius(np.arctan2(y, x), waves)
    inner = 1 - random.normal(5.6, 0.7) / axes.mean()
    chord = np.sqrt((1 - r**2).clip(0)) - INSIDE * np.sqrt((1 - (r / inner) ** 2).clip(0))
    diploe = np.exp(-(((r - 0.5 * (1 + inner)) / (0.22 * (1 - inner))) ** 2))
    n, basion = head.points["nasion"], head.curves["clivus"][-1]
    below = np.array(
        [
            n + (30, -3),
            n,
            head.curves["base"][2] + (0, 3),
            head.curves["sella"][3],
            basion,
            basion + (-24, 6),
            basion + (-30, 90),
            n + (30, 90),
        ]
    )
    kept = 1 - sheet.mask(below, blur=1.4)
    grain = sheet.blurred(random.normal(0, 1, r.shape).astype(np.float32), 2.4)
    texture = 1 + 0.05 * grain / max(float(grain.std()), 1e-6)
    sheet.dose += kept * (1.15 * chord * texture - 0.10 * diploe * (r < 1))
    for _vessel in range(2):  # grooves of vessels and sutures, dark
        start = middle + axes * random.uniform((-0.5, -0.4), (0.3, 0.2))
        steps = random.normal((-2, -9), 5.0, (6, 2)).cumsum(0)
        sheet.add(-0.04, smooth(start + steps), 1.0)


def _bones(sheet: Sheet, head: Head, random: np.random.Generator) -> None:
    curves = head.curves
    strength = random.normal(1, 0.12)  # of this patient's bone
    for name, (inside, edge, width) in BONES.items():
        outline = smooth(curves[name], True)
        sheet.add(strength * inside, outline, blur=0.8)
        if edge:
            sheet.add(strength * edge, _closed(outline), width)
    other = random.normal(0, 0.9, 2) + (1.4, -0.8)  # the side farther from the film is magnified
    for name, (dose, width) in LINES.items():
        path = smooth(curves[name])
        sheet.add(strength * dose, path, width)
        if name in ("orbit", "ridge", "wing", "roof", "arch"):
            sheet.add(0.55 * strength * dose, path + other, width)
    for name, dose in AIR.items():
        sheet.add(-dose, smooth(curves[name], True), blur=0.9)
    low, high = curves["mastoid"].min(0), curves["mastoid"].max(0)
    for _cell in range(14):
        at = random.uniform(low, high)
        sheet.add(-0.14, at + 0.4 * (curves["meatus"] - curves["meatus"].mean(0)))
    for number in range(5):
        body = smooth(curves[f"vertebra {number}"], True)
        sheet.add(0.20 * strength, body, blur=0.6)
        sheet.add(0.16 * strength, _closed(body), 1.3)
        sheet.add(0.15 * strength, smooth(curves[f"spine {number}"], True), blur=0.9)


def _jaw(sheet: Sheet, head: Head, random: np.random.Generator) -> None:
    """Draw both sides of the lower jaw; they diverge behind the chin."""
    outline = smooth(head.curves["mandible"], True)
    closed = _closed(outline)
    strength = random.normal(1, 0.1)
    sheet.add(0.19 * strength, outline, blur=0.7)
    sheet.add(0.24 * strength, closed, 1.5)
    chin = head.points["menton"]
    behind = np.clip((chin[0] - 8 - closed[:, :1]) / 40, 0, 1)
    other = closed + behind * (random.normal(0, 1.0, 2) + (-0.8, -0.6))
    sheet.add(0.11 * strength, other, 1.3)
    sheet.add(0.16 * strength, _closed(smooth(head.curves["symphysis"], True)), 1.2)


def _teeth(sheet: Sheet, head: Head, random: np.random.Generator) -> None:
    strength = random.normal(1, 0.12)
    lost = random.random() < 0.12
    for name, outline in head.curves.items():
        if not name.startswith(("upper ", "lower ")):
            continue
        number = name.split()[1]
        if lost and number in ("2", "3") and random.random() < 0.5:
            continue
        incisor = number == "incisor"
        sheet.add(0.24 * strength, smooth(outline, True) if incisor else outline)
        crown = outline[[0, 1, 2, -3, -2, -1]]
        sheet.add(0.30 * strength, crown)
        if number in ("3", "4") and random.random() < 0.25:  # a filling
            sheet.add(0.9, 0.5 * crown + 0.5 * crown[[0, -1]].mean(0), blur=0.3)


def _closed(outline: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([outline, outline[:1]])


def _rods(sheet: Sheet, head: Head, random: np.random.Generator) -> Array:
    """Draw objects beside the patient: sometimes ear rods, a ruler, a letter. Returns the mask of
    metal."""
    metal = np.zeros_like(sheet.dose)
    ring = head.curves["meatus"]
    if random.random() < 0.6:
        metal = np.maximum(sheet.mask(_closed(ring), 1.6, 0.3), 0.55 * sheet.mask(ring, 0.0, 0.4))
    else:
        sheet.add(-0.30, ring, blur=0.7)
        sheet.add(0.22, _closed(ring), 1.1)
    if random.random() < 0.4:
        across = sheet.place[0] + random.uniform(106, 116)
        top = sheet.place[1] + random.uniform(-100, -60)
        rows = top + np.arange(0, 101, 10)
        scale = [np.array([[across, rows[0]], [across, rows[-1]]])]
        scale += [np.array([[across, row], [across - 4, row]]) for row in rows]
        for path in scale:
            metal = np.maximum(metal, sheet.mask(path, 0.9, 0.3))
    if random.random() < 0.5:
        text = str(random.choice(("R", "L"))) + str(random.integers(10, 1000))
        size = max(8, round(13 * sheet.per_mm * FINE))
        canvas = Image.new("L", (sheet.size, sheet.size))
        right, low = random.integers(0, 2, 2)
        corner = (0.05 + 0.72 * right) * sheet.size, (0.04 + 0.86 * low) * sheet.size
        font = ImageFont.load_default(size)
        ImageDraw.Draw(canvas).text(corner, text, fill=255, font=font)
        metal = np.maximum(metal, np.asarray(canvas, dtype=np.float32) / 255)
    return metal


def _developed(sheet: Sheet, skin: Array, metal: Array, random: np.random.Generator) -> NDArray[np.uint8]:
    """Convert attenuation to grey levels: dense structures are bright."""
    dose = sheet.dose.clip(0)
    scatter = random.uniform(0.02, 0.12) * sheet.blurred(skin, 30.0)
    exposure, contrast = random.normal(0.72, 0.06), random.uniform(3.2, 4.8)
    grey = 1 / (1 + np.exp(-contrast * (dose + scatter - exposure)))
    grey = random.uniform(0.0, 0.10) + random.uniform(0.84, 0.97) * grey
    x, y = random.normal(0, 0.035, 2)
    slope = np.linspace(-1, 1, sheet.size, dtype=np.float32)
    grey = grey + x * slope[None] + y * slope[:, None]
    grey = grey + metal * (0.98 - grey) * random.uniform(0.75, 1.0)
    grey = sheet.blurred(grey, random.uniform(0.25, 0.8))
    grey = grey.reshape(sheet.side, FINE, sheet.side, FINE).mean((1, 3))
    level = random.uniform(0.008, 0.035)
    coarse = scipy.ndimage.gaussian_filter(random.normal(0, 1, grey.shape), 0.7)
    noise = random.normal(0, 1, grey.shape) + coarse / max(float(coarse.std()), 1e-6)
    grey = grey + level * noise * (0.5 + 0.5 * np.sqrt(grey.clip(0, 1)))
    return (grey.clip(0, 1) * 255).round().astype(np.uint8)
