"""Preview each augmentation on one image at a chosen strength, without randomness.

Strengths -1 to 1 span the range that ``transforms`` samples from: ``shift`` moves left and right,
``rotate`` turns clockwise and counter-clockwise, ``brightness`` darkens and brightens. ``mirror``
and ``erase`` take strengths 0 (unchanged) to 1.
"""

import math

import torch
from torch import Tensor

from souron.data import transforms
from souron.utils.messages import UserError, _

ONE_WAY = ("mirror", "erase")  # strengths start at 0


def lowest(name: str) -> float:
    """Return the lowest strength of an augmentation: -1 if it works in both directions, else 0."""
    return 0.0 if name in ONE_WAY else -1.0


def at_strength(image: Tensor, name: str, strength: float) -> Tensor:
    """Apply one augmentation to an image (C, H, W) at that strength; 0 leaves it unchanged. Raises
    UserError for an unknown augmentation, or a strength outside the range used in training."""
    transforms.augmentation([name])  # raises UserError for unknown names
    if not lowest(name) <= strength <= 1:  # also rejects NaN
        raise UserError(
            "strength",
            _("{name} with strength {strength:g}").format(name=name, strength=strength),
            expected=_("{low:g} to 1, the range used in training").format(low=lowest(name)),
        )
    one = image[None].contiguous()
    if strength == 0 or (name == "mirror" and strength < 0.5):
        return one[0].clone()
    if name == "mirror":
        return one.flip(3)[0]
    if name == "shift":
        far = transforms.farthest(one)
        return transforms.moved(one, torch.tensor([[round(strength * far), 0]]), far)[0]
    if name == "rotate":
        angle = torch.tensor([strength * math.radians(transforms.FARTHEST_TURN)])
        return transforms.turned_by(one, angle)[0][0]
    if name == "brightness":
        factor = torch.tensor(1 + 0.25 * strength).view(1, 1, 1, 1)
        return transforms.lit(one, factor, torch.ones_like(factor))[0]
    height, width = image.shape[1:]
    half = strength * 0.25 * min(height, width)  # the square is up to half a side wide
    y, x = height / 2, width / 2
    edges = torch.tensor([[y - half], [y + half], [x - half], [x + half]])
    return transforms.covered(one, edges)[0][0]


def strengths(image: Tensor, name: str, count: int = 5) -> list[tuple[float, Tensor]]:
    """Return the image at ``count`` evenly spaced strengths, from the lowest to 1."""
    steps = torch.linspace(lowest(name), 1, count).tolist()
    return [(step, at_strength(image, name, step)) for step in steps]
