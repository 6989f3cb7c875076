"""The picture of the head's bone: ``python docs/surface.py``, once ``souron fetch head_ct`` has run
(half a minute)."""

import io
from pathlib import Path

from PIL import Image

from souron.actions.surface import BONE
from souron.data.sets import head_ct
from souron.kinds.graphics import isosurface
from souron.report import viewer
from souron.utils import files

IMAGE = Path(__file__).parent / "_static" / "head-ct.png"


def main() -> None:
    shape, parts = isosurface.surface(head_ct.volume(), BONE)
    drawn = viewer.sides(isosurface.chosen(shape, parts, "largest"))
    with Image.open(io.BytesIO(drawn)) as image, files.atomically(IMAGE) as beside:
        image.convert("RGB").quantize(64).save(beside, "PNG", optimize=True)


if __name__ == "__main__":
    main()
