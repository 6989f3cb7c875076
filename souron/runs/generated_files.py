"""Files of generated images and films, each marked as generated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from souron.evaluation.record import DrawnRecord
from souron.kinds.codecs import provenance
from souron.kinds.codecs.animation import moving
from souron.kinds.codecs.moving import decodes
from souron.kinds.video import Video
from souron.utils import files
from souron.utils.messages import UserError, _

A_FOLDER = 1000  # images per folder, if there are more
FRAME = 80  # milliseconds
LONG_SIDE = 256  # pixels, to which small images are enlarged


def file_of(place: Path, number: int, every: range) -> Path:
    """Return ``00007.png``, in a folder of its thousand if there are very many."""
    name = f"{number:05}.png"
    return place / f"{number // A_FOLDER:04}" / name if len(every) > A_FOLDER else place / name


def write(path: Path, image: Image.Image, mark: Any, record: DrawnRecord, **options: Any) -> None:
    """Write a marked image. Raises UserError if the file exists."""
    if path.exists():
        raise UserError(
            "exists",
            _("{path} is there already").format(path=path),
            expected=_("a folder without images of these numbers"),
            fix="out=FOLDER",
            exit=5,
        )
    with files.atomically(path) as beside:
        provenance.save(image, beside, mark, format=path.suffix[1:].upper(), **options)
    record.files.append(path)


def write_moving(path: Path, frames: Sequence[Image.Image], mark: Any, record: DrawnRecord) -> None:
    """Write a marked animation."""
    first, options = moving([enlarged(frame) for frame in frames], FRAME)
    write(path, first, mark, record, **options)


def write_film(path: Path, strip: Tensor, mark: Any, record: DrawnRecord) -> None:
    """Write a generated strip of frames as marked WebP, and as MP4 if ``av`` is installed."""
    from souron.tasks.text_to_video import video

    film = video(strip)
    frames = [enlarged(Image.fromarray(frame)) for frame in film.frames]
    options = {
        "save_all": True,
        "append_images": frames[1:],
        "loop": 0,
        "lossless": True,
        "duration": round(1000 / film.rate),
    }
    write(path.with_suffix(".webp"), frames[0], mark, record, **options)
    if decodes():
        large = Video(np.stack([np.asarray(frame) for frame in frames]), film.rate)
        large.save(path.with_suffix(".mp4"))
        provenance.add(path.with_suffix(".mp4"), mark)
        record.files.append(path.with_suffix(".mp4"))


def enlarged(image: Image.Image) -> Image.Image:
    """Enlarge an image by a whole factor, so that pixels stay square."""
    factor = max(1, LONG_SIDE * (1 + (image.width > LONG_SIDE)) // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
