"""Pictures of ten patterns, drawn by chance."""

import numpy as np
import torch

from souron.kinds.codecs.image import as_image

PATTERNS = {
    "stripes": lambda u, v: np.sin(u),
    "checks": lambda u, v: np.sign(np.sin(u) * np.sin(v)),
    "rings": lambda u, v: np.sin(np.hypot(u, v)),
    "dots": lambda u, v: np.cos(u) + np.cos(v) > 1,
    "rays": lambda u, v: np.sin(8 * np.arctan2(v, u)),
    "spiral": lambda u, v: np.sin(np.hypot(u, v) + 3 * np.arctan2(v, u)),
    "waves": lambda u, v: np.sin(u + 2 * np.sin(v)),
    "bricks": lambda u, v: (
        np.minimum(np.abs(np.sin(v)), np.abs(np.sin(u / 2 + 1.6 * (np.floor(v / np.pi) % 2)))) > 0.25
    ),
    "zigzag": lambda u, v: np.sin(u + 2 * np.abs((v / 3) % 2 - 1)),
    "cross": lambda u, v: np.minimum(np.abs(u), np.abs(v)) < 1.5,
}


def textures(folder, count=40, side=64):
    """Each in its own colours, turned, moved and stretched by chance."""
    chance = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] - side / 2
    for name, pattern in PATTERNS.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            turn, scale = chance.uniform(0, 2 * np.pi), chance.uniform(0.3, 0.7)
            left, up = chance.uniform(-15, 15, 2)
            u = scale * ((x - left) * np.cos(turn) + (y - up) * np.sin(turn))
            v = scale * ((y - up) * np.cos(turn) - (x - left) * np.sin(turn))
            value = np.clip(pattern(u, v) * 0.5 + 0.5, 0, 1)[..., None]
            one, other = chance.uniform(0, 255, (2, 3))
            noise = chance.normal(0, 12, (side, side, 3))
            pixels = np.clip(value * one + (1 - value) * other + noise, 0, 255).astype(np.uint8)
            as_image(torch.from_numpy(pixels).permute(2, 0, 1)).save(folder / name / f"{i}.png")
    return folder
