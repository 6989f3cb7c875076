"""An image of the reader's own, which the browser has decoded and sends as pixels."""

import base64
from collections.abc import Mapping
from typing import Any

from souron.studio import interactive
from souron.utils.messages import UserError, _

MOST_PIXELS = 320 * 320


def read(sent: Mapping[str, Any]) -> Any:
    """Return the ``Picture`` of ``width``, ``height`` and ``rgb``, packed (height, width, 3). Raises UserError."""
    from PIL import Image

    from souron.kinds.picture import Picture

    width, height = (interactive.whole(sent, side, 1, MOST_PIXELS, 0) for side in ("width", "height"))
    text = sent.get("rgb")
    try:
        pixels = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        pixels = b""
    if width * height > MOST_PIXELS or len(pixels) != 3 * width * height:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="rgb", value=str(text)[:40]),
            expected=_("the pixels of an image, {most} at most").format(most=MOST_PIXELS),
        )
    return Picture(Image.frombytes("RGB", (width, height), pixels))
