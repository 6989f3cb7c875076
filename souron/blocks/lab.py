"""CIELAB colours: lightness L, opponent axes a (green to red) and b (blue to yellow).

CIE: Colorimetry (2004), publication 15:2004, https://cie.co.at/publications/colorimetry-4th-edition

IEC 61966-2-1: sRGB (1999), https://webstore.iec.ch/en/publication/6169

    linear R, G, B -> X, Y, Z relative to white (D65) -> f
    L = 116 f(Y) - 16        a = 500 (f(X) - f(Y))        b = 200 (f(Y) - f(Z))
"""

from functools import cache

import torch
from torch import Tensor

XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)
DARK = 0.008856  # below, f is linear


def lab(image: Tensor) -> Tensor:
    """Convert sRGB (B, 3, H, W) in 0..1 to L in 0..100, a and b."""
    image = image.float()
    linear = torch.where(image > 0.04045, ((image.clamp(min=0) + 0.055) / 1.055) ** 2.4, image / 12.92)
    xyz = torch.einsum("bchw,kc->bkhw", linear, _over_white(image))
    f = torch.where(xyz > DARK, xyz.clamp(min=DARK) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def srgb(colours: Tensor) -> Tensor:
    """Convert L, a, b to sRGB, clipped to 0..1 outside the gamut."""
    light, a, b = colours.float().unbind(1)
    y = (light + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], 1)
    xyz = torch.where(f > DARK ** (1 / 3), f**3, (f - 16 / 116) / 7.787).clamp(min=0)
    linear = torch.einsum("bkhw,ck->bchw", xyz, _over_white(colours).inverse())
    image = torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)
    return image.clamp(0, 1)


@cache
def bins(width: float, count: int) -> Tensor:
    """Return the centres (count, 2) of the bins of a and b nearest to the sRGB gamut."""
    with torch.device("cpu"):  # also inside a meta-device context
        steps = torch.linspace(0, 1, 33)
        cube = torch.cartesian_prod(steps, steps, steps).T[None, :, None]
        colours = lab(cube)[0, 1:, 0].T * (4 / width)
        colours = colours.round().unique(dim=0) * (width / 4)
        reach = torch.arange(-12, 13) * width
        centres = torch.cartesian_prod(reach, reach)
        far = torch.cdist(centres, colours).amin(1)
        return centres[far.argsort(stable=True)[:count].sort().values]


def _over_white(like: Tensor) -> Tensor:
    rows = torch.tensor(XYZ, device=like.device)
    return rows / torch.tensor(WHITE, device=like.device)[:, None]
