"""What each augmentation makes of one picture at a chosen strength, without chance.

Strength -1 to 1 spans what ``transforms`` draws from: ``shift`` goes left and right, ``rotate``
turns with and against the clock, ``brightness`` is darker and brighter. ``mirror`` and ``erase``
know 0 (as it is) to 1.
"""

import math

import torch
from torch import Tensor

from souron.data import transforms
from souron.utils.messages import UserError, _

ONE_WAY = ("mirror", "erase")  # begin at 0


def lowest(name: str) -> float:
    """The least strength of an augmentation: -1 where it goes both ways, else 0."""
    return 0.0 if name in ONE_WAY else -1.0


def at_strength(image: Tensor, name: str, strength: float) -> Tensor:
    """One picture (C, H, W), changed by one augmentation with that strength; 0 leaves it as it is.
    Raises UserError for an unknown augmentation, or a strength beyond what training uses."""
    transforms.augmentation([name])  # refuses unknown names
    if not lowest(name) <= strength <= 1:  # not a number is refused, too
        raise UserError(
            "strength",
            _("{name} with strength {strength:g}").format(name=name, strength=strength),
            expected=_("{low:g} to 1, as far as training goes").format(low=lowest(name)),
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
    half = strength * 0.25 * min(height, width)  # a square of up to half of the side
    y, x = height / 2, width / 2
    edges = torch.tensor([[y - half], [y + half], [x - half], [x + half]])
    return transforms.covered(one, edges)[0][0]


def strengths(image: Tensor, name: str, count: int = 5) -> list[tuple[float, Tensor]]:
    """The picture at so many strengths from the least to the most."""
    steps = torch.linspace(lowest(name), 1, count).tolist()
    return [(step, at_strength(image, name, step)) for step in steps]
