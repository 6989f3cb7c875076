"""How near a picture comes to the true one: figures of each picture, higher or lower is better.

Pictures are (N, C, H, W) uint8 arrays, colours in sRGB, one channel grey. An ``area`` (N, H, W)
bool is where pixels count; a picture without such a pixel has no figure (nan).

Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural
Similarity (2004). https://doi.org/10.1109/TIP.2003.819861
Sharma, Wu, Dalal: The CIEDE2000 Color-Difference Formula (2005). https://doi.org/10.1002/col.20070
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
PEAK = 255.0
ROUNDING = 1 / 12  # the mean squared error of rounding to whole numbers: what equal pictures have
LUMA = (65.481, 128.553, 24.966)  # of red, green and blue in 0..1; Y begins at 16 (ITU-R BT.601)
FLAT = 1.0  # a slope of luma that counts as none
WINDOW = 11  # pixels a side of the window of SSIM


def luma(pictures: Array) -> NDArray[np.float64]:
    """(N, H, W), 16..235: the brightness that papers on super-resolution measure."""
    if pictures.shape[1] == 1:
        return 16 + pictures[:, 0] * (219 / PEAK)
    return 16 + np.einsum("nchw,c->nhw", pictures / PEAK, np.array(LUMA))


def psnr(found: Array, truth: Array, area: Array | None = None) -> NDArray[np.float64]:
    """(N,) decibels: 10 log10 of 255^2 over the mean squared error. Equal pictures have that of
    rounding alone, 58.9 dB, so that means stay finite."""
    squared = (found.astype(np.float64) - truth) ** 2
    if area is not None and squared.ndim == 4:
        area = np.broadcast_to(area[:, None], squared.shape)
    return 10 * np.log10(PEAK**2 / np.maximum(_mean(squared, area), ROUNDING))


def ssim(found: Array, truth: Array) -> NDArray[np.float64]:
    """(N,) structural similarity of luma, 1 for equal pictures; Gaussian windows of 11 pixels, as
    published. Of pictures that are smaller a square as large as fits."""
    from skimage.metrics import structural_similarity

    short = min(found.shape[2:])
    how: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    if short < WINDOW:
        how = {"win_size": max(3, short - 1 + short % 2)}
    if short < 3:
        return np.full(len(found), np.nan)
    return np.array([
        structural_similarity(one, other, data_range=PEAK, **how)
        for one, other in zip(luma(found), luma(truth), strict=True)
    ])  # fmt: skip


def colour_difference(found: Array, truth: Array, area: Array | None = None) -> Array:
    """(N,) mean CIEDE2000: 1 is just noticed, 5 is plain, 20 is another colour."""
    return _mean(differences(found, truth), area)


def differences(found: Array, truth: Array) -> NDArray[np.float64]:
    """(N, H, W) CIEDE2000 of every pixel."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    if found.shape[1] == 1:
        found, truth = (np.repeat(part, 3, 1) for part in (found, truth))
    return np.stack([
        deltaE_ciede2000(rgb2lab(one.transpose(1, 2, 0)), rgb2lab(other.transpose(1, 2, 0)))
        for one, other in zip(found, truth, strict=True)
    ])  # fmt: skip


def by_area(values: Array, area: Array | None, name: str) -> dict[str, Array]:
    """Means (N,) of the values (N, H, W) of pixels, called ``name``, and where the area of the
    object is known, also of the object and of its ground."""
    made = {name: _mean(values, None)}
    if area is not None:
        made |= {f"object {name}": _mean(values, area), f"ground {name}": _mean(values, ~area)}
    return made


def chroma(found: Array, truth: Array) -> NDArray[np.float64]:
    """(N,) how far colours are from grey, over that of the truth: 0 is grey, 1 as vivid."""
    one, other = (_chroma(pictures) for pictures in (found, truth))
    return one / np.maximum(other, 1.0)


def _chroma(pictures: Array) -> NDArray[np.float64]:
    from skimage.color import rgb2lab

    if pictures.shape[1] == 1:
        return np.zeros(len(pictures))
    every = (rgb2lab(one.transpose(1, 2, 0)) for one in pictures)
    return np.array([np.hypot(each[..., 1], each[..., 2]).mean() for each in every])


def sharpness(found: Array, truth: Array) -> NDArray[np.float64]:
    """(N,) the mean slope of luma from pixel to pixel over that of the truth: 1 is as sharp, less
    is blurred, more is grainy."""
    return _slope(luma(found)) / np.maximum(_slope(luma(truth)), FLAT)


def _slope(grey: Array) -> NDArray[np.float64]:
    down, across = np.diff(grey, axis=1)[:, :, :-1], np.diff(grey, axis=2)[:, :-1]
    return np.hypot(down, across).mean((1, 2))


def _mean(values: Array, area: Array | None) -> NDArray[np.float64]:
    """Over all but the first axis, where the ``area`` is."""
    over = tuple(range(1, values.ndim))
    if area is None:
        return values.mean(over)
    count = area.sum(over)
    total = np.where(area, values, 0.0).sum(over)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
