"""Image restoration metrics: how near an image comes to the true one, one value per image.

Images are (N, C, H, W) uint8 arrays, colours in sRGB, one channel grey. An ``area`` (N, H, W) bool
selects the pixels that count; an image without such a pixel has the value nan.

Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural
Similarity (2004). https://doi.org/10.1109/TIP.2003.819861

Sharma, Wu, Dalal: The CIEDE2000 Color-Difference Formula (2005). https://doi.org/10.1002/col.20070
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
PEAK = 255.0
ROUNDING = 1 / 12  # mean squared error of rounding to integers, assigned to equal images
LUMA = (65.481, 128.553, 24.966)  # weights of R, G, B in 0..1; Y begins at 16 (ITU-R BT.601)
FLAT = 1.0  # a slope of luma that counts as none
WINDOW = 11  # pixels a side of the window of SSIM


def luma(images: Array) -> NDArray[np.float64]:
    """Return the luma of images, (N, H, W) in 16..235.

    Super-resolution is measured on this channel.

    >>> import numpy as np
    >>> luma(np.full((1, 3, 1, 1), 255)).round(6).tolist()  # white
    [[[235.0]]]
    """
    if images.shape[1] == 1:
        return 16 + images[:, 0] * (219 / PEAK)
    return 16 + np.einsum("nchw,c->nhw", images / PEAK, np.array(LUMA))


def psnr(found: Array, truth: Array, area: Array | None = None) -> NDArray[np.float64]:
    """Return the peak signal-to-noise ratio in decibels, (N,).

    It is 10 log10(255^2 / mean squared error). Equal images get that of rounding alone, 58.9 dB, so
    that means stay finite.

    >>> import numpy as np
    >>> black = np.zeros((1, 3, 4, 4), np.uint8)
    >>> psnr(black, black).round(1).tolist(), psnr(black + np.uint8(255), black).tolist()
    ([58.9], [0.0])
    """
    error = (found.astype(np.float64) - truth) ** 2
    if area is not None and error.ndim == 4:
        area = np.broadcast_to(area[:, None], error.shape)
    return 10 * np.log10(PEAK**2 / np.maximum(_mean(error, area), ROUNDING))


def ssim(found: Array, truth: Array) -> NDArray[np.float64]:
    """Return the structural similarity of luma, 1 for equal images, (N,).

    Gaussian windows of 11 pixels, as published; for smaller images a square window as large as
    fits, and nan below 3 pixels a side.

    >>> import numpy as np
    >>> image = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16), dtype=np.uint8)
    >>> ssim(image, image).round(6).tolist(), (ssim(image, 255 - image) < 0).tolist()
    ([1.0], [True])
    """
    from skimage.metrics import structural_similarity

    short = min(found.shape[2:])
    how: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    if short < WINDOW:
        how = {"win_size": max(3, short - 1 + short % 2)}
    if short < 3:
        return np.full(len(found), np.nan)
    return np.array(
        [
            structural_similarity(image, target, data_range=PEAK, **how)
            for image, target in zip(luma(found), luma(truth), strict=True)
        ]
    )


def colour_difference(found: Array, truth: Array, area: Array | None = None) -> Array:
    """Return the mean CIEDE2000 colour difference, (N,).

    1 is just noticeable, 5 plain, 20 another colour.

    >>> import numpy as np
    >>> black = np.zeros((1, 3, 2, 2), np.uint8)
    >>> [colour_difference(black, image).round().tolist() for image in (black, 255 - black)]
    [[0.0], [100.0]]
    """
    return _mean(differences(found, truth), area)


def differences(found: Array, truth: Array) -> NDArray[np.float64]:
    """Return the CIEDE2000 colour difference of every pixel, (N, H, W).

    >>> import numpy as np
    >>> red, blue = np.zeros((2, 1, 3, 1, 1), np.uint8)
    >>> red[:, 0], blue[:, 2] = 255, 255
    >>> differences(red, blue).round(1).tolist()
    [[[52.9]]]
    """
    from skimage.color import deltaE_ciede2000, rgb2lab

    if found.shape[1] == 1:
        found, truth = (np.repeat(part, 3, 1) for part in (found, truth))
    return np.stack(
        [
            deltaE_ciede2000(rgb2lab(image.transpose(1, 2, 0)), rgb2lab(target.transpose(1, 2, 0)))
            for image, target in zip(found, truth, strict=True)
        ]
    )


def by_area(values: Array, area: Array | None, name: str) -> dict[str, Array]:
    """Average pixel values (N, H, W) over the image, and over object and ground.

    The last two where the ``area`` of the object is known. Returns name -> (N,); the names are made
    from ``name``.

    >>> import numpy as np
    >>> values, area = np.array([[[1.0, 3.0]]]), np.array([[[True, False]]])
    >>> {name: mean.tolist() for name, mean in by_area(values, area, "error").items()}
    {'error': [2.0], 'object error': [1.0], 'ground error': [3.0]}
    """
    means = {name: _mean(values, None)}
    if area is not None:
        means |= {f"object {name}": _mean(values, area), f"ground {name}": _mean(values, ~area)}
    return means


def chroma(found: Array, truth: Array) -> NDArray[np.float64]:
    """Return the mean chroma relative to that of the truth, (N,): 0 is grey, 1 as colourful.

    >>> import numpy as np
    >>> red = np.zeros((1, 3, 2, 2), np.uint8)
    >>> red[:, 0] = 255
    >>> chroma(red, red).tolist(), (chroma(red * 0 + np.uint8(99), red) < 0.01).tolist()
    ([1.0], [True])
    """
    pred_chroma, true_chroma = (_chroma(images) for images in (found, truth))
    return pred_chroma / np.maximum(true_chroma, 1.0)


def _chroma(images: Array) -> NDArray[np.float64]:
    """Return the mean CIELAB chroma of each image, (N,); 0 for grey images."""
    from skimage.color import rgb2lab

    if images.shape[1] == 1:
        return np.zeros(len(images))
    every = (rgb2lab(image.transpose(1, 2, 0)) for image in images)
    return np.array([np.hypot(lab[..., 1], lab[..., 2]).mean() for lab in every])


def sharpness(found: Array, truth: Array) -> NDArray[np.float64]:
    """Return the mean gradient of luma relative to that of the truth, (N,).

    1 is as sharp, less is blurred, more is grainy.

    >>> import numpy as np
    >>> edge = np.zeros((1, 1, 2, 2), np.uint8)
    >>> edge[..., 1] = 200
    >>> sharpness(edge, edge).tolist(), sharpness(edge // 2, edge).tolist()
    ([1.0], [0.5])
    """
    return _slope(luma(found)) / np.maximum(_slope(luma(truth)), FLAT)


def _slope(grey: Array) -> NDArray[np.float64]:
    """Return the mean gradient magnitude of (N, H, W), shape (N,)."""
    down, across = np.diff(grey, axis=1)[:, :, :-1], np.diff(grey, axis=2)[:, :-1]
    return np.hypot(down, across).mean((1, 2))


def _mean(values: Array, area: Array | None) -> NDArray[np.float64]:
    """Average over all but the first axis, within the ``area``."""
    over = tuple(range(1, values.ndim))
    if area is None:
        return values.mean(over)
    count = area.sum(over)
    total = np.where(area, values, 0.0).sum(over)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
