"""Generated images and films on a page of the lecture."""

import base64
from typing import Any

from markupsafe import Markup

from souron.utils.messages import _

SIDE = 128  # pixels of a shown image, at least


def side_by_side(system: Any, samples: Any) -> Markup:
    """Return generated images, or films, side by side; ``samples`` as ``sampling.done`` returns them."""
    from souron.kinds.codecs import animation, image

    if system.moves:
        from PIL import Image

        from souron.tasks.text_to_video import video

        shown = []
        for strip in samples:
            frames = [Image.fromarray(frame) for frame in video(strip).frames]
            encoded = base64.b64encode(animation.film([_enlarged(frame) for frame in frames])).decode()
            shown.append(f"data:image/webp;base64,{encoded}")
    else:
        shown = [image.data_uri(_enlarged(image.as_image(one))) for one in samples]
    return Markup('<div class="drawn">{}</div>').format(
        Markup("").join(
            Markup('<img class="pixelated" src="{}" alt="{}">').format(one, _("generated image")) for one in shown
        )
    )


def _enlarged(image: Any) -> Any:
    factor = max(1, round(SIDE / max(image.size)))
    return image.resize((image.width * factor, image.height * factor), 0)
