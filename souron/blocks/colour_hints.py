"""Propagate the colours of a few hint points to near pixels of similar lightness.

Levin, Lischinski, Weiss: Colorization using Optimization (2004).
https://doi.org/10.1145/1015706.1015780

Differs from the paper: the weight of a hint falls with distance and difference in lightness; no
linear system is solved.
"""

import torch
from PIL import ImageColor
from torch import Tensor

from souron.blocks.lab import lab
from souron.utils.messages import UserError, _

MOST = 64
REACH, ALIKE = 0.15, 8.0  # as a fraction of the longer side, and in L


def read_hints(text: str, size: tuple[int, int]) -> list[tuple[int, int, Tensor]]:
    """Parse hints into x, y and ab (2,). Raises UserError."""
    hints: list[tuple[int, int, Tensor]] = []
    for hint in filter(None, (part.strip() for part in text.split(";"))):
        try:
            x, y, name = hint.split(",", 2)
            at, colour = (int(x), int(y)), ImageColor.getrgb(name.strip())[:3]
        except ValueError:
            at, colour = (-1, -1), (0, 0, 0)
        if not (0 <= at[0] < size[0] and 0 <= at[1] < size[1]) or len(hints) == MOST:
            raise UserError(
                "value",
                _("{name}={value} is not understood").format(name="hints", value=hint[:80]),
                expected=_("at most {count} points of the image, x,y,#rrggbb").format(count=MOST),
                fix=f'hints="{size[0] // 2},{size[1] // 2},#c03020"',
            )
        ab = lab(torch.tensor(colour).float().view(1, 3, 1, 1) / 255)[0, 1:, 0, 0]
        hints.append((*at, ab))
    return hints


def hinted(ab: Tensor, light: Tensor, hints: list[tuple[int, int, Tensor]]) -> Tensor:
    """Move colours towards those of the hints, more where nearer and more similar in lightness."""
    high, wide = ab.shape[2:]
    y, x = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
    total, shift = torch.zeros(high, wide), torch.zeros(2, high, wide)
    for column, row, colour in hints:
        far = ((x - column) ** 2 + (y - row) ** 2) / (REACH * max(high, wide)) ** 2
        apart = (light[0, 0] - light[0, 0, row, column]) ** 2 / ALIKE**2
        weight = torch.exp(-(far + apart) / 2)
        total += weight
        shift += weight * (colour - ab[0, :, row, column])[:, None, None]
    return ab + shift / total.clamp(min=1)
