"""Cephalometric measures: angles and a ratio of a lateral film, their norms, and their error.

Norms are means and standard deviations (SD) of the samples that the sources describe; other
populations and ages have others. Steiner: Cephalometrics for you and me (1953),
https://doi.org/10.1016/0002-9416(53)90082-7; Downs: Variations in facial relationships (1948),
https://doi.org/10.1016/0002-9416(48)90015-3; Tweed: The Frankfort-mandibular incisor angle (1954);
Kim: Overbite depth indicator (1974), https://doi.org/10.1016/0002-9416(74)90255-3; Kim, Vietas:
Anteroposterior dysplasia indicator (1978), https://doi.org/10.1016/0002-9416(78)90175-4; Jarabak,
Fizzell: Technique and treatment with light-wire edgewise appliances (1972).
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from souron.utils.messages import UserError, _

Array = NDArray[np.float64]
Landmarks = Mapping[str, Array]  # name -> (..., 2): x towards the face, y upwards

ALIASES = {
    "S": ("sella", "s"),
    "N": ("nasion", "n", "na"),
    "Or": ("orbitale", "or"),
    "Po": ("porion", "po"),
    "A": ("a point", "a", "point a", "subspinale"),
    "B": ("b point", "b", "point b", "supramentale"),
    "Pog": ("pogonion", "pog", "pg"),
    "Me": ("menton", "me"),
    "Go": ("gonion", "go"),
    "PNS": ("posterior nasal spine", "pns"),
    "ANS": ("anterior nasal spine", "ans"),
}
LIMITS = 1.96  # standard deviations: 95 % of errors lie within, if they are normally distributed
FEWEST = 20  # test cases for an error
MOST_BYTES = 100_000  # of a table of norms


@dataclass(frozen=True)
class Measured:
    """A measure: its landmarks, its unit, and how it is computed."""

    name: str
    unit: str  # "°" or "%"
    needs: tuple[str, ...]
    of: Callable[[Landmarks], Array]


@dataclass(frozen=True)
class Norm:
    """The range of a reference sample."""

    low: float
    high: float
    source: str


@dataclass(frozen=True)
class Error:
    """Agreement between predicted and marked landmarks (Bland, Altman 1986,
    https://doi.org/10.1016/S0140-6736(86)90837-8)."""

    bias: float  # mean of predicted minus marked
    deviation: float  # standard deviation of the differences
    cases: int

    def interval(self, value: float) -> tuple[float, float]:
        """Return the 95 % limits of the true value for a measured one.

        >>> low, high = Error(bias=0.5, deviation=1.0, cases=200).interval(82.5)
        >>> round(low, 2), round(high, 2)
        (80.04, 83.96)
        """
        middle = value - self.bias
        return middle - LIMITS * self.deviation, middle + LIMITS * self.deviation


def direction(start: Array, end: Array) -> Array:
    """Return the angle of a line in degrees: 0 towards the face, 90 upwards."""
    along = end - start
    return np.degrees(np.arctan2(along[..., 1], along[..., 0]))


def turned(angle: Array) -> Array:
    """Bring an angle into -180 to 180 degrees.

    >>> float(turned(np.array(270.0)))
    -90.0
    """
    return (angle + 180) % 360 - 180


def between(first: Array, second: Array) -> Array:
    """Return the angle between two directions, 0 to 180 degrees."""
    return np.abs(turned(first - second))


def _at_nasion(of: Landmarks, point: str) -> Array:
    """Return the angle at nasion between sella and a point."""
    return between(direction(of["N"], of["S"]), direction(of["N"], of[point]))


def _palatal(of: Landmarks) -> Array:
    """Return the angle of the palatal to the Frankfort plane, positive if tilted down in front."""
    return turned(direction(of["Po"], of["Or"]) - direction(of["PNS"], of["ANS"]))


def _facial(of: Landmarks) -> Array:
    return turned(direction(of["N"], of["Pog"]) - direction(of["Or"], of["Po"]))


def _overbite_depth(of: Landmarks) -> Array:
    """Return the angle of A–B to the mandibular plane plus that of the palatal plane."""
    return turned(direction(of["Me"], of["Go"]) - direction(of["B"], of["A"])) + _palatal(of)


def _anteroposterior(of: Landmarks) -> Array:
    """Return the facial angle plus those of A–B to the facial plane and of the palatal plane."""
    jaws = turned(direction(of["A"], of["B"]) - direction(of["N"], of["Pog"]))
    return _facial(of) + jaws + _palatal(of)


def _height_ratio(of: Landmarks) -> Array:
    behind = np.linalg.norm(of["Go"] - of["S"], axis=-1)
    before = np.linalg.norm(of["Me"] - of["N"], axis=-1)
    return 100 * behind / before


MEASURES = (
    Measured("SNA", "°", ("S", "N", "A"), lambda of: _at_nasion(of, "A")),
    Measured("SNB", "°", ("S", "N", "B"), lambda of: _at_nasion(of, "B")),
    Measured("ANB", "°", ("S", "N", "A", "B"), lambda of: _at_nasion(of, "A") - _at_nasion(of, "B")),
    Measured("facial angle", "°", ("Po", "Or", "N", "Pog"), _facial),
    Measured(
        "FMA",
        "°",
        ("Po", "Or", "Go", "Me"),
        lambda of: turned(direction(of["Po"], of["Or"]) - direction(of["Go"], of["Me"])),
    ),
    Measured("ODI", "°", ("A", "B", "Go", "Me", "PNS", "ANS", "Po", "Or"), _overbite_depth),
    Measured("APDI", "°", ("A", "B", "N", "Pog", "PNS", "ANS", "Po", "Or"), _anteroposterior),
    Measured("facial height ratio", "%", ("S", "Go", "N", "Me"), _height_ratio),
)
NORMS = {
    "SNA": Norm(80, 84, "Steiner 1953"),
    "SNB": Norm(78, 82, "Steiner 1953"),
    "ANB": Norm(0, 4, "Steiner 1953"),
    "facial angle": Norm(84.2, 91.4, "Downs 1948"),
    "FMA": Norm(20, 30, "Tweed 1954"),
    "ODI": Norm(68.4, 80.6, "Kim 1974"),
    "APDI": Norm(77.6, 85.2, "Kim, Vietas 1978"),
    "facial height ratio": Norm(59, 63, "Jarabak, Fizzell 1972"),
}


def landmarks(names: Sequence[str], points: Array) -> dict[str, Array]:
    """Return abbreviation -> positions (..., 2) for points (..., K, 2) in pixels of an image.

    Landmarks under other names are left out. The face looks to the right: if nasion lies to the
    left of sella, the image is mirrored; y points upwards.
    """
    known = {name.strip().lower(): number for number, name in enumerate(names)}
    found = {}
    for short, aliases in ALIASES.items():
        number = next((known[alias] for alias in aliases if alias in known), None)
        if number is not None:
            found[short] = np.asarray(points, np.float64)[..., number, :] * np.array([1.0, -1.0])
    if "S" in found and "N" in found:
        right = np.where(found["N"][..., 0] >= found["S"][..., 0], 1.0, -1.0)
        found = {short: each * _beside_one(right) for short, each in found.items()}
    return found


def _beside_one(right: Array) -> Array:
    return np.stack([right, np.ones_like(right)], -1)


def possible(names: Sequence[str]) -> list[Measured]:
    """Return the measures whose landmarks are among ``names``."""
    there = landmarks(names, np.zeros((len(names), 2)))
    return [each for each in MEASURES if all(short in there for short in each.needs)]


def measure(names: Sequence[str], points: Array) -> dict[str, Array]:
    """Return measure -> values (...) of points (..., K, 2) in pixels.

    >>> names = ["sella", "nasion", "A point", "B point"]
    >>> points = np.array([[0.0, 0.0], [70.0, -10.0], [72.0, 48.0], [66.0, 85.0]])
    >>> {name: round(float(value), 1) for name, value in measure(names, points).items()}
    {'SNA': 83.8, 'SNB': 79.5, 'ANB': 4.4}
    """
    there = landmarks(names, points)
    return {each.name: each.of(there) for each in possible(names)}


def errors(names: Sequence[str], predicted: Array, marked: Array) -> dict[str, Error]:
    """Return the error of each measure over cases (N, K, 2) that are marked completely."""
    found, truth = measure(names, predicted), measure(names, marked)
    result = {}
    for name, value in found.items():
        difference = value - truth[name]
        difference = difference[np.isfinite(difference)]
        if len(difference) >= FEWEST:
            spread = float(difference.std(ddof=1))
            result[name] = Error(float(difference.mean()), spread, len(difference))
    return result


def verdict(value: float, norm: Norm, error: Error | None) -> str:
    """Return ``within``, ``below`` or ``above`` the norm, or ``unsure`` if the error leaves it
    open.

    >>> verdict(86.0, NORMS["SNA"], Error(0.0, 0.5, 200)), verdict(84.5, NORMS["SNA"], None)
    ('above', 'unsure')
    """
    if error is None or not np.isfinite(value):
        return "unsure"
    low, high = error.interval(value)
    if low > norm.high:
        return "above"
    if high < norm.low:
        return "below"
    return "within" if norm.low <= low and high <= norm.high else "unsure"


def read_norms(path: Path) -> dict[str, Norm]:
    """Read norms from a CSV with the columns measure, low, high, source. Raises UserError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _wrong(path, _("a file of over 100 kB"), _("a row for each measure"))
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise _wrong(path, str(error), _("a CSV in UTF-8")) from None
    columns = {"measure", "low", "high", "source"}
    rows = csv.DictReader(io.StringIO(text))
    if not columns <= set(rows.fieldnames or ()):
        raise _wrong(path, ", ".join(rows.fieldnames or ()), ", ".join(sorted(columns)))
    known = {each.name for each in MEASURES}
    norms = {}
    for row in rows:
        name = str(row["measure"]).strip()
        try:
            norm = Norm(float(row["low"]), float(row["high"]), str(row["source"])[:200])
        except (TypeError, ValueError):
            raise _wrong(path, name, _("numbers in the columns low and high")) from None
        if name not in known or not norm.low < norm.high:
            raise _wrong(path, name, _("low < high of {names}").format(names=", ".join(known)))
        norms[name] = norm
    return norms


def _wrong(path: Path, found: str, expected: str) -> UserError:
    text = _("{path} is no table of norms: {found}").format(path=path, found=found)
    return UserError("norms", text, expected=expected, exit=3)
