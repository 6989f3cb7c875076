"""Cut-outs: what is in front of an image, on a transparent background."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from souron.kinds import files
from souron.kinds.codecs import image as image_codec
from souron.kinds.mask import Mask
from souron.utils.messages import _


@dataclass(frozen=True, eq=False)
class Cutout(Mask):
    """A mask with the opacity of each pixel: saved as the image without its background."""

    opacity: Any = field(default=None, kw_only=True)  # (H, W) in 0..1

    def __post_init__(self) -> None:
        super().__post_init__()
        opacity = np.asarray(self.opacity, np.float32)
        if opacity.shape != self.area.shape[-2:] or not np.isfinite(opacity).all():
            raise files.wrong(
                _("a mask in the shape {shape}").format(shape=opacity.shape),
                _("{height} rows of {width}, as the image").format(
                    height=self.area.shape[-2], width=self.area.shape[-1]
                ),
            )
        object.__setattr__(self, "opacity", opacity.clip(0, 1))

    def cut(self) -> Image.Image:
        """Return the image in its own colours with this opacity, ``RGBA``."""
        opacity = self.opacity
        if self.picture.alpha is not None:
            opacity = opacity * (np.asarray(self.picture.alpha, np.float32) / 255)
        image = image_codec.rounded(self.picture.image).convert("RGB")
        image.putalpha(Image.fromarray((opacity * 255).round().astype(np.uint8)))
        return image

    def save(self, path: Path) -> None:
        """Save the cut-out as PNG, or the mask in one of its other formats. Raises UserError."""
        if path.suffix.lower() != ".png":
            super().save(path)
            return
        stream = io.BytesIO()
        self.cut().save(stream, "PNG")
        files.write(path, stream.getvalue())
