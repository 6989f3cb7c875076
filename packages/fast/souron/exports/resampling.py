"""Antialiased interpolation as two products with matrices, which every format can hold.

PyTorch's own operators have no rule in OpenVINO, and become another interpolation in ONNX, whose
bicubic kernel has a = -3/4 where that of antialiased interpolation has a = -1/2.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

CUBIC = -0.5  # the kernel's a


def weights(inward: int, outward: int, scale: float | None, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the matrix (outward, inward) that resamples one axis; each row sums to 1.

    ``scale`` is how many times as long the axis becomes, None where it follows from the lengths.

    Example:
        >>> weights(2, 4, None, triangle)[:2]
        tensor([[1.0000, 0.0000],
                [0.7500, 0.2500]])
    """
    step = inward / outward if scale is None else 1 / scale
    centre = step * (torch.arange(outward) + 0.5)
    distance = (torch.arange(inward) + 0.5 - centre[:, None]).abs() / max(step, 1.0)
    rows = kernel(distance)
    return rows / rows.sum(1, keepdim=True)


def triangle(distance: Tensor) -> Tensor:
    """Return the kernel of bilinear interpolation."""
    return (1 - distance).clamp(min=0)


def cubic(distance: Tensor) -> Tensor:
    """Return the kernel of bicubic interpolation.

    Keys: Cubic Convolution Interpolation for Digital Image Processing (1981).
    https://doi.org/10.1109/TASSP.1981.1163711
    """
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance.square() + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * CUBIC
    return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))


def resampling(kernel: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Return a function that takes the place of an antialiased operator of PyTorch."""

    def resampled(
        image: Tensor, size: Sequence[int] | None, _align_corners: bool, scales: Sequence[float] | None
    ) -> Tensor:
        lengths = size or [longer(*pair) for pair in zip(image.shape[-2:], scales or (), strict=True)]
        down, across = scales or (None, None)
        rows = weights(image.shape[-2], lengths[0], down, kernel)
        columns = weights(image.shape[-1], lengths[1], across, kernel)
        return rows @ (image @ columns.T)

    return resampled


def longer(length: int, scale: float) -> int:
    """Return a scaled length; a traced one stays a formula."""
    return length * int(scale) if scale == int(scale) else int(length * scale)


def decompositions() -> dict[Any, Callable[..., Tensor]]:
    """Return what replaces the antialiased operators in a traced program."""
    aten = torch.ops.aten
    return {aten._upsample_bilinear2d_aa.vec: resampling(triangle), aten._upsample_bicubic2d_aa.vec: resampling(cubic)}
