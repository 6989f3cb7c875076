"""Motion metrics of a path, from which surgical skill is estimated.

Reiley, Lin, Yuh, Hager: Review of methods for objective surgical skill evaluation (2011).
https://doi.org/10.1007/s00464-010-1190-z

    path = sum |p(t+1) - p(t)|          economy = |p(end) - p(begin)| / path        0..1
    idle = time slower than a tenth of the object's size per second
    jerk = ln( (T^3 / v_max^2) integral |p'''|^2 dt )     without a unit; smooth motion has less

The last is the logarithm of the dimensionless jerk (Hogan, Sternad: Sensitivity of Smoothness
Measures to Movement Duration, Amplitude, and Arrests, 2009, https://doi.org/10.3200/35-09-004-RC).
Positions are smoothed by cubics over half a second (Savitzky, Golay 1964), as a detector's boxes
jitter: the rest of the jitter counts as jerk, so that only videos of one camera, analysed by one
detector, can be compared.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMOOTHED = 0.5  # seconds
FEWEST = 5  # positions that a cubic needs
IDLE = 0.1  # sizes per second
MOST = 100_000  # positions of one path


@dataclass(frozen=True)
class Motion:
    """Metrics of one path; lengths in pixels, or in the unit of the positions."""

    seconds: float
    path: float
    displacement: float
    economy: float  # 0..1; nan where nothing moved
    mean_speed: float  # per second
    peak_speed: float
    idle: float  # seconds
    jerk: float  # nan where there are too few positions, or nothing moved


def motion(place: Any, at: Any, size: float) -> Motion:
    """Compute the metrics of a path.

    ``place`` (T, 2) are positions at the rising seconds ``at`` (T,). ``size`` is the object's own,
    in the unit of the positions. Gaps are filled by linear interpolation.

    >>> there_and_back = motion([[0, 0], [3, 4], [0, 0]], [0.0, 1.0, 2.0], size=1.0)
    >>> there_and_back.path, there_and_back.displacement, there_and_back.economy
    (10.0, 0.0, 0.0)
    """
    _even, path, speed, jerk, step = smooth(place, at)
    seconds = step * (len(path) - 1)
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    away = float(np.linalg.norm(path[-1] - path[0])) if len(path) else 0.0
    moving = length > 1e-9
    peak = float(speed.max(initial=0.0))
    return Motion(
        seconds,
        length,
        away,
        min(away / length, 1.0) if moving else np.nan,
        length / seconds if seconds else 0.0,
        peak,
        float((speed[1:] < IDLE * size).sum() * step),
        float(np.log(seconds**3 / peak**2 * (jerk**2).sum() * step)) if moving and jerk.any() and peak else np.nan,
    )


def smooth(place: Any, at: Any) -> tuple[Array, Array, Array, Array, float]:
    """Resample a path at equal steps and smooth it.

    Returns seconds (n,), smoothed positions (n, 2), speed (n,), jerk (n,), and the step in seconds.
    Fewer than ``FEWEST`` positions are left as they are, without jerk.

    >>> at, path, speed, jerk, step = smooth([[0, 0], [6, 8]], [0.0, 2.0])
    >>> speed.tolist(), step
    ([5.0, 5.0], 2.0)
    """
    place, at = np.asarray(place, dtype=float).reshape(-1, 2), np.asarray(at, dtype=float)
    count = min(len(at), MOST)
    if count < 2 or at[-1] <= at[0]:
        return at[:1], place[:1], np.zeros(min(count, 1)), np.zeros(min(count, 1)), 0.0
    step = (at[-1] - at[0]) / (count - 1)
    even = at[0] + step * np.arange(count)
    path = np.stack([np.interp(even, at, part) for part in place.T], 1)
    if count < FEWEST:
        speed = np.linalg.norm(np.gradient(path, step, axis=0), axis=1)
        return even, path, speed, np.zeros(count), float(step)
    window = max(FEWEST, 2 * round(SMOOTHED / step / 2) + 1)
    window = min(window, count if count % 2 else count - 1)
    derivatives = [scipy.signal.savgol_filter(path, window, 3, deriv=order, delta=step, axis=0) for order in (0, 1, 3)]
    speed, jerk = (np.linalg.norm(part, axis=1) for part in derivatives[1:])
    return even, derivatives[0], speed, jerk, float(step)
