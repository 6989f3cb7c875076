"""Painted grounds that are easy to distinguish: grass, sand, water, snow, sky and night."""

import numpy as np
from PIL import Image

COLOURS = {  # dark and light
    "grass": ((45, 105, 35), (110, 175, 75)),
    "sand": ((196, 164, 108), (236, 212, 160)),
    "water": ((16, 66, 112), (52, 128, 168)),
    "snow": ((212, 222, 236), (252, 253, 255)),
    "sky": ((92, 164, 232), (176, 216, 250)),
    "night": ((8, 10, 30), (34, 36, 78)),
}
STARS = 0.006  # of the night's pixels


def ground(name: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """Paint a ground (side, side, 3) float32 in 0..255 from random numbers of ``rng``."""
    low, high = (np.array(colour, np.float32) for colour in COLOURS[name])
    light = np.float32(rng.uniform(0.92, 1.06))
    if name == "grass":  # blades
        height = 0.4 * clouds(side, (5, 5), rng) + 0.6 * clouds(side, (side // 2, side // 6), rng)
    elif name == "sand":  # ripples and grains
        height = 0.5 * waves(side, 7, 0.5, rng) + 0.3 * clouds(side, (4, 4), rng)
        height += 0.2 * rng.random((side, side), np.float32)
    elif name == "water":
        height = 0.6 * waves(side, 11, 0.9, rng) + 0.4 * clouds(side, (4, 9), rng)
    elif name == "snow":
        height = 0.8 * clouds(side, (3, 3), rng) + 0.2 * clouds(side, (12, 12), rng)
    elif name == "sky":
        return _sky(side, low, high, rng) * light
    else:
        height = 0.7 * np.linspace(0, 1, side, dtype=np.float32)[:, None] * np.ones((1, side))
        height = height + 0.3 * clouds(side, (3, 3), rng)
        stars = rng.random((side, side)) < STARS
        canvas = low + height[..., None] * (high - low)
        canvas[stars] = rng.uniform(170, 255, (int(stars.sum()), 1))
        return canvas.astype(np.float32) * light
    return (low + height[..., None] * (high - low)).astype(np.float32) * light


def _sky(side: int, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paint a sky with clouds, lighter towards the bottom."""
    down = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    canvas = low + down * (high - low) * np.ones((1, side, 1), np.float32)
    cover = (clouds(side, (6, 3), rng) + 0.5 * clouds(side, (14, 7), rng)) / 1.5
    cover = ((cover - 0.5) / 0.3).clip(0, 0.75)[..., None]
    return (canvas + cover * (np.float32(250) - canvas)).astype(np.float32)


def clouds(side: int, cells: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise (side, side) in 0..1 with that many cells vertically and horizontally."""
    down, across = (max(2, count + 1) for count in cells)
    layer = Image.fromarray(rng.random((down, across), np.float32))
    return np.asarray(layer.resize((side, side), Image.Resampling.BICUBIC)).clip(0, 1)


def waves(side: int, count: int, rough: float, rng: np.random.Generator) -> np.ndarray:
    """Return ``count`` distorted horizontal waves, (side, side) in 0..1."""
    line = np.linspace(0, 1, side, dtype=np.float32)
    bent = rough * clouds(side, (3, 4), rng)
    phase = np.float32(rng.uniform(0, 2 * np.pi))
    tilt = np.float32(rng.uniform(-0.25, 0.25))
    return 0.5 + 0.5 * np.sin(2 * np.pi * (count * (line[:, None] + tilt * line[None, :]) + 2 * bent) + phase)
