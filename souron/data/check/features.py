"""Features of each case that are independent of its content, and so should not predict its
class."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
from torch import Tensor

from souron.data.check.headers import File
from souron.data.dataset import Dataset
from souron.utils.messages import _

DATE = re.compile(r"(\d{4})[-/.:年](\d\d?)[-/.:月](\d\d?)(?!\d)")


def features(cases: Dataset, about: Sequence[File | None]) -> dict[str, np.ndarray | Sequence[str]]:
    """Return properties of each case that are independent of its content, of length (cases,) each:
    arrays of numbers, or texts that name categories."""
    brightness, contrast, border = map(np.concatenate, zip(*map(_brightness, cases.input.split(1024)), strict=True))

    def number(value: Callable[[File], float]) -> np.ndarray:
        return np.array([value(file) if file else 0.0 for file in about])

    def text(value: Callable[[File], str]) -> list[str]:
        return [value(file) if file else "" for file in about]

    return {
        _("width"): number(lambda file: file.width),
        _("height"): number(lambda file: file.height),
        _("bytes"): number(lambda file: file.bytes),
        _("colour or grey"): number(lambda file: file.colours),
        _("day of the file"): number(lambda file: round(file.day)),
        _("kind of file"): text(lambda file: file.kind),
        _("camera (EXIF)"): text(lambda file: file.camera),
        _("date (EXIF)"): text(lambda file: file.taken),
        _("brightness"): brightness,
        _("contrast"): contrast,
        _("brightness of the border"): border,
        **({_("colour cast (red, blue)"): _cast(cases)} if cases.channels == 3 else {}),
        **{_("the column {name}").format(name=n): v for n, v in cases.columns.items()},
    }


def _brightness(image: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and standard deviation of images (N, C, H, W), and the mean of their border, (N,)
    each."""
    pixels = image.float().mean(1).numpy()  # (N, H, W)
    edge = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], 1)
    return pixels.mean((1, 2)), pixels.std((1, 2)), edge.mean(1)


def _cast(cases: Dataset) -> np.ndarray:
    """Return how much more red, and blue, than green the images have on average, in
    levels, (N, 2)."""
    means = [some.float().mean((2, 3)).numpy() for some in cases.input.split(1024)]
    red, green, blue = np.concatenate(means).T
    return np.stack([red - green, blue - green], 1)


def typical(name: str, values: np.ndarray | Sequence[str], chosen: np.ndarray) -> str:
    """Return the median value of the chosen cases; of categories the most frequent one."""
    if not isinstance(values, np.ndarray):
        rows, numbers = np.flatnonzero(chosen).tolist(), ranks(values)
        if numbers is not None:
            return values[sorted(rows, key=lambda row: numbers[row])[len(rows) // 2]] or "-"
        return Counter(values[row] for row in rows).most_common(1)[0][0] or "-"
    middle = np.atleast_1d(np.median(values[chosen], 0))
    if name == _("day of the file"):
        return date.fromtimestamp(86400 * middle[0]).isoformat()
    return ", ".join(f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}" for value in middle)


def ranks(values: Sequence[str]) -> np.ndarray | None:
    """Convert numbers or dates to ranks (N,), missing values lowest; None if some are neither."""
    found = list(map(_number, values))
    if None in found:
        return None
    return np.unique(np.array(found, dtype=float), return_inverse=True)[1]


def _number(text: str) -> float | None:
    if not text:
        return -np.inf
    if date := DATE.match(text):
        year, month, day = map(int, date.groups())
        return (year * 12 + month) * 31 + day
    try:
        return float(text)
    except ValueError:
        return None
