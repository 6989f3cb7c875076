"""Change the colours of an image and keep its lightness."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from souron.blocks.lab import lab, srgb

STRIP = 256  # rows computed at once
VIVID = 12.0  # difference of channels from which a pixel counts as coloured


def coloured(light: Tensor, ab: Tensor) -> Tensor:
    """Convert L (B, 1, H, W) in 0..1 and ab (B, 2, H, W) to sRGB."""
    return srgb(torch.cat([100 * light.float(), ab.float()], 1))


def smaller(image: Image.Image, size: tuple[int, int]) -> Tensor:
    """Resize an image of any mode to ``size``, (1, 3, H, W) in 0..1."""
    return _pixels(image.resize(size, Image.Resampling.BOX))


def recoloured(image: Image.Image, ab: Tensor) -> tuple[Image.Image, float]:
    """Apply colours (1, 2, h, w) to an image; also return the fraction of its coloured pixels."""
    wide, high = image.size
    planes = [Image.fromarray(plane.numpy()).resize(image.size, Image.Resampling.BILINEAR) for plane in ab[0]]
    canvas = np.empty((high, wide, 3), np.uint8)
    vivid = 0
    for top in range(0, high, STRIP):
        box = (0, top, wide, min(top + STRIP, high))
        pixels = _pixels(image.crop(box))
        part = torch.stack([torch.from_numpy(np.array(p.crop(box))) for p in planes])[None]
        rows = (coloured(lab(pixels)[:, :1] / 100, part)[0] * 255).round().byte()
        canvas[top : box[3]] = rows.permute(1, 2, 0).numpy()
        vivid += int((pixels.amax(1) - pixels.amin(1) > VIVID / 255).sum())
    return Image.fromarray(canvas), vivid / (high * wide)


def _pixels(image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(image)).float() / 255
    pixels = pixels[None].expand(3, -1, -1) if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    return pixels[None].clamp(0, 1)
