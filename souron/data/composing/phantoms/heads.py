"""A random head in lateral view, in millimetres: nineteen landmarks, and the outlines around them.

The origin is the centre of the sella, x points to the face, y down, and the Frankfort plane (porion
to orbitale) is about horizontal. Mean lengths and angles are those of adults in textbooks of
cephalometry; each patient has individual sizes, angles, jaw class, teeth, nose and lips. Nothing
was measured on a patient: it is a drawing with known measures.
"""

# ruff: noqa: RUF005, points are arrays: a tuple after "+" is added, not appended

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LANDMARKS = (
    "sella", "nasion", "orbitale", "porion", "A point", "B point", "pogonion", "menton", "gnathion",
    "gonion", "lower incisor tip", "upper incisor tip", "upper lip", "lower lip", "subnasale",
    "soft tissue pogonion", "posterior nasal spine", "anterior nasal spine", "articulare",
)  # fmt: skip
CLASSES = ("I", "II", "III")  # skeletal classes: the lower jaw in normal position, behind, in front
OFTEN = (0.5, 0.3, 0.2)
FORWARD = {"I": 0.0, "II": -4.5, "III": 4.5}  # millimetres by which the lower jaw is displaced
AGES = (8, 45)  # years
GROWN = 18
FINE = 24  # steps between two points of an outline, in the search for a landmark


@dataclass(frozen=True)
class Head:
    """The anatomy of one patient. Curves are (n, 2), x and y in millimetres."""

    points: dict[str, Array]  # of ``LANDMARKS``, (2,) each
    curves: dict[str, Array]  # outlines by name, open or closed
    vault: tuple[Array, Array, Array]  # centre (2,), half axes (2,), harmonics of the radius (3,)
    jaw: str  # one of ``CLASSES``
    age: int


def head(random: np.random.Generator) -> Head:
    """Sample a new patient."""
    jaw = str(random.choice(CLASSES, p=OFTEN))
    age = int(random.integers(AGES[0], AGES[1] + 1))
    points, further = _bones(random, jaw)
    curves = _skull(points, further, random) | _jaws(points, further)
    vault = _vault(points, random)
    curves |= _teeth(points, further) | _neck(points, random)
    curves["skin"] = _profile(points, further, vault, random)
    points |= _defined(curves)
    size = float(random.normal(1, 0.035)) * (1 - 0.012 * max(0, GROWN - age))
    middle, axes, waves = vault
    return Head(
        {name: size * points[name] for name in LANDMARKS},
        {name: size * curve for name, curve in curves.items()},
        (size * middle, size * axes, waves),
        jaw,
        age,
    )


def smooth(curve: Array, closed: bool = False, steps: int = 8) -> Array:
    """Interpolate a curve through all of these points (n, 2) with a Catmull-Rom spline.

    Catmull, Rom: A Class of Local Interpolating Splines (1974).
    https://doi.org/10.1016/B978-0-12-079050-0.50020-5
    """
    ends = (curve[-1:], curve[:2]) if closed else (curve[:1], curve[-1:])
    points = np.concatenate([ends[0], curve, ends[1]])
    a, b, c, d = points[:-3], points[1:-2], points[2:-1], points[3:]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    path = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    path = path.transpose(1, 0, 2).reshape(-1, 2)
    return path if closed else np.concatenate([path, curve[-1:]])


def _at(*rows: tuple[float, float]) -> Array:
    return np.array(rows, dtype=np.float64)


def _turned(vector: Array, degrees: float) -> Array:
    """Rotate a vector; positive angles are clockwise, as y points down."""
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    return vector @ np.array([[cos, sin], [-sin, cos]])


def _bones(random: np.random.Generator, jaw: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Sample the landmarks of bones, teeth and skin, and further points on the outlines."""

    def about(x: float, y: float, far: float = 1.0) -> Array:
        return np.array([x, y]) + random.normal(0, far, 2)

    p: dict[str, Array] = {"sella": np.zeros(2)}
    tilt = random.normal(-7, 2.5)
    p["nasion"] = _turned(np.array([random.normal(70, 2.6), 0.0]), tilt)
    basion = _turned(np.array([random.normal(46, 2.2), 0.0]), tilt + random.normal(130, 4.5))
    ahead = np.array([p["nasion"][0] - 69.5, 0.0])
    p["orbitale"] = about(57, 24, 1.6) + 0.8 * ahead
    p["porion"] = about(-23, 22, 1.6)
    p["articulare"] = basion + _turned(about(9.5, -5.5, 0.9), random.normal(0, 4))

    lift, palate = about(0, 0, 2.0) + ahead, random.normal(0, 3)
    hinge = np.array([18.0, 47.0]) + lift
    p["posterior nasal spine"] = hinge + random.normal(0, 0.8, 2)
    p["anterior nasal spine"] = hinge + _turned(about(53, 0.5, 1.4), palate)
    p["A point"] = p["anterior nasal spine"] + about(-4.0, 6.5, 0.7)

    steep = random.normal(27, 5)  # of the lower border
    along = _turned(np.array([1.0, 0.0]), steep)
    up = _turned(np.array([0.0, -1.0]), 0.55 * steep)  # of the chin
    ramus = _turned(np.array([0.0, 1.0]), random.normal(-8, 3.5))
    move = np.array([FORWARD[jaw] + random.normal(0, 1.3), 0.0])
    p["articulare"] = p["articulare"] + 0.3 * move
    p["gonion"] = p["articulare"] + ramus * random.normal(45, 3.2)
    menton = p["gonion"] + along * random.normal(67, 3.0) + 0.9 * move
    chin = random.normal(1, 0.16)
    p["menton"] = menton
    p["gnathion"] = menton + along * 5.2 * chin + up * 2.8
    p["pogonion"] = menton + along * 8.8 * chin + up * random.normal(9.5, 0.9)
    p["B point"] = menton + along * random.normal(5.9, 0.6) + up * random.normal(20.5, 1.2)
    edge = menton + along * random.normal(9.5, 0.8) + up * random.normal(31, 1.5)  # of the alveolus

    # the bite: the height of the lower face fits the teeth
    bite = 0.5 * (p["A point"][1] + 23.5 + edge[1] - 8.5) + random.normal(0, 0.5)
    over = random.normal(2.5, 1.0)
    x = p["A point"][0] + random.normal(4.5, 1.6)
    p["upper incisor tip"] = np.array([x, bite + over / 2])
    gap = random.normal({"I": 2.5, "II": 5.5, "III": -1.0}[jaw], 0.9)
    near = 0.5 * (x - gap) + 0.5 * (edge[0] + 2.0)  # teeth incline to compensate for the jaws
    p["lower incisor tip"] = np.array([near, bite - over / 2])

    lips = max(p["upper incisor tip"][0], p["lower incisor tip"][0])
    p["subnasale"] = p["anterior nasal spine"] + about(9.5, 7.5, 1.0)
    p["upper lip"] = np.array([p["upper incisor tip"][0] + random.normal(13.0, 1.2), bite - random.normal(7.0, 1.0)])
    front = 0.7 * p["lower incisor tip"][0] + 0.3 * lips
    p["lower lip"] = np.array([front + random.normal(12.5, 1.2), bite + random.normal(6.5, 1.0)])
    p["soft tissue pogonion"] = p["pogonion"] + about(11.0, 0.0, 1.1)
    further = {
        "basion": basion,
        "along": along,
        "up": up,
        "ramus": ramus,
        "edge": edge,
        "bite": np.array([lips, bite]),
        "prosthion": np.array([p["A point"][0] + 0.55 * (x - p["A point"][0]) - 0.4, bite - 10]),
    }
    return p, further


def _skull(p: dict[str, Array], further: dict[str, Array], random: np.random.Generator) -> dict[str, Array]:
    """Return the outlines of cranial base, sella, orbit, sinuses, nasal bone and ear."""
    n, orbit, ear, basion = p["nasion"], p["orbitale"], p["porion"], further["basion"]
    wide, deep = random.normal(5.2, 0.5), random.normal(5.4, 0.6)  # of the sella
    fossa = _at((1.25, -1.05), (1.05, -0.3), (0.75, 0.6), (0, 1), (-0.8, 0.6), (-1.02, -0.3), (-0.85, -1.15))
    sella = fossa * np.array([wide, deep])
    front, back = sella[0], sella[-1]
    clivus = np.stack([back, back + (-2.2, 0.8), 0.5 * (back + basion) + (-1.5, 1.0), basion])
    base = np.stack([front, front + (9, -1.5), 0.5 * (front + n) + (2, -1), n + (-9, 4), n + (-3, 1)])
    air = random.normal(1, 0.2)
    ramus_line = np.stack([basion, p["articulare"], p["articulare"] + (12, -6), (8.0, 17.0)])
    return {
        "sella": sella,
        "clivus": clivus,
        "base": base,
        "under": ramus_line,
        "roof": np.stack([front + (4, -3), front + (26, -15), n + (-14, -12), n + (-4, -5)]),
        "wing": np.stack([front + (20, -2), front + (16, 14), (2, 21), (-14, 13), (-24, 2)]),
        "sphenoid": _at((5, 4), (13, 0), (23, 4), (24, 14), (14, 18), (5, 14)) * air,
        "orbit": np.stack(
            [n + (-6, 3), n + (-15, 8), orbit + (-10, -12), orbit + (-6, -3), orbit, orbit + (5, -2), orbit + (9, -7)]
        ),
        "zygoma": np.stack([orbit + (-9, 0), orbit + (3, 3), orbit + (-4, 14), orbit + (-10, 22), orbit + (-13, 16)]),
        "ridge": np.stack([orbit + (-12, -2), orbit + (-12, 10), orbit + (-9, 21), orbit + (-3, 16), orbit + (1, 6)]),
        "arch": np.stack([orbit + (-10, 6), orbit + (-38, 4), ear + (16, 5)]),
        "nasal": np.stack([n + (-3, 0), n, n + (4.5, 10), n + (10.5, 22), n + (7, 18), n + (1, 8)]),
        "frontal sinus": np.stack(
            [n + (-3, -3), n + (-9, -8), n + (-8, -18 * air), n + (-2.5, -22 * air), n + (0.5, -11)]
        ),
        "petrous": np.stack(
            [
                ear + (18, -9),
                ear + (4, -13),
                ear + (-16, -9),
                ear + (-24, 4),
                ear + (-17, 23),
                ear + (-10, 25),
                ear + (-4, 10),
                ear + (14, 6),
            ]
        ),
        "mastoid": np.stack([ear + (-8, 2), ear + (-22, 2), ear + (-16, 24), ear + (-9, 24)]),
        "meatus": ear + (0, 4) + 4 * np.stack([np.sin(CIRCLE), -np.cos(CIRCLE)], 1),
    }


CIRCLE = np.linspace(0, 2 * np.pi, 24, endpoint=False)


def _jaws(p: dict[str, Array], further: dict[str, Array]) -> dict[str, Array]:
    ans, pns, a = p["anterior nasal spine"], p["posterior nasal spine"], p["A point"]
    joint, angle, chin = p["articulare"], p["gonion"], p["menton"]
    along, up, ramus = further["along"], further["up"], further["ramus"]
    bite, crest, edge = further["bite"], further["prosthion"], further["edge"]
    orbit = p["orbitale"]
    back = 0.5 * (joint + angle) + (3.0, 2)
    mandible = np.stack([
        joint + (0.5, -6.5), joint + (4.5, -10.5), joint + (9, -7), joint + (11, 0),
        joint + (18, 7), joint + (25, 1), joint + (29, -5), joint + (31, 3),
        angle + along * 27 + up * 36, angle + along * 34 + up * 27, angle + along * 50 + up * 29,
        edge - along * 6 + up * 1.5, edge, p["B point"], p["pogonion"] + up * 5 - along * 1.0,
        p["pogonion"], p["gnathion"], chin, chin - along * 14 + up * 0.4,
        angle + along * 20 + up * 2.0, angle + along * 8 + up * 0.2, angle,
        angle - ramus * 9 + along * 0.3, back, joint,
    ])  # fmt: skip
    inner = np.stack(
        [
            edge - along * 7,
            edge - along * 8 - up * 12,
            p["B point"] - along * 10 - up * 8,
            chin - along * 4 + up * 6,
            chin + up * 4 + along * 2,
            p["pogonion"] - along * 3.5,
            p["B point"] - along * 3,
            edge - along * 3,
        ]
    )
    canal = np.stack(
        [joint + (17, 22), angle + along * 18 + up * 18, angle + along * 34 + up * 11, angle + along * 52 + up * 12]
    )
    rear = np.array([pns[0] + 8, bite[1] - 12])
    return {
        "mandible": mandible,
        "symphysis": inner,
        "canal": canal,
        "maxilla": np.stack([ans, ans + (-3.4, 2.6), a, crest + (0.6, -4), crest, crest + (-8, 2),
                             rear, pns + (2, 6), pns, 0.5 * (ans + pns) + (0, -1.2),
                             ans + (-8, -1)]),
        "palate": np.stack([pns, 0.7 * pns + 0.3 * ans + (0, -0.6), 0.3 * pns + 0.7 * ans, ans]),
        "roof of the mouth": np.stack([pns + (2, 1), 0.6 * pns + 0.4 * ans + (0, 4.5),
                                       ans + (-14, 6), crest + (-8, 0)]),
        "labial": np.stack([ans, ans + (-3.4, 2.6), a, crest + (0.6, -4), crest]),
        "front": np.stack([ans, ans + (-7, -9), orbit + (3, 5)]),
        "antrum": np.stack([orbit + (-4, 3), orbit + (-30, 2), pns + (10, -14), pns + (9, -2),
                            0.5 * (ans + pns) + (0, 4), ans + (-16, 0), ans + (-15, -12)]),
        "fissure": np.stack([pns + (1.5, -2), pns + (-2.5, -15), pns + (0, -24), pns + (5, -24),
                             pns + (5, -14)]),
        "airway": np.stack([pns + (-3, -16), pns + (-14, -12), pns + (-17, 10), pns + (-15, 40),
                            pns + (-10, 75), pns + (2, 100), pns + (10, 100), pns + (0, 66),
                            pns + (-5, 30), pns + (-2, 4)]),
        "tongue": np.stack([pns + (0, 10), 0.6 * pns + 0.4 * ans + (0, 10), crest + (-10, 8),
                            edge - along * 9, chin - along * 10 + up * 8, angle + along * 22]),
        "hyoid": np.stack([angle + along * 26 - up * 13, angle + along * 38 - up * 16]),
    }  # fmt: skip


def _defined(curves: dict[str, Array]) -> dict[str, Array]:
    """Return the landmarks that cephalometry defines as the most prominent, deepest or lowest point
    of a stretch of an outline. The numbers are indices of the outlines' points."""
    jaw, skin = (smooth(curves[name], True, FINE) for name in ("mandible", "skin"))
    labial = smooth(curves["labial"], False, FINE)
    chin = _stretch(jaw, 12, 17)
    pogonion = int(_forward(chin).argmax())
    below = _stretch(jaw, 15, 18)
    menton = int(below[:, 1].argmax())
    between = 12 * FINE + pogonion, 15 * FINE + menton
    lips = [_stretch(skin, *ends) for ends in ((8, 12), (13, 15), (16, 20), (6, 10))]
    return {
        "A point": _outermost(_stretch(labial, 0, 4), -1),
        "pogonion": chin[pogonion],
        "B point": _outermost(chin[: pogonion + 1], -1),
        "menton": below[menton],
        "gnathion": jaw[sum(between) // 2],
        "upper lip": _outermost(lips[0], 1),
        "lower lip": _outermost(lips[1], 1),
        "soft tissue pogonion": _outermost(lips[2], 1),
        "subnasale": _outermost(lips[3], -1),
    }


def _stretch(path: Array, first: int, last: int) -> Array:
    return path[first * FINE : last * FINE + 1]


def _outermost(path: Array, sign: int) -> Array:
    """Return the point farthest in front of (1) or behind (-1) the line from end to end; the middle
    of the path if the outline is straight."""
    far = sign * _forward(path)
    place = int(far.argmax()) if far.max() > 0.1 else len(path) // 2
    return np.asarray(path[place])


def _forward(path: Array) -> Array:
    """Return the signed distance of each point in front of the line from the first to the last."""
    along = path[-1] - path[0]
    normal = np.array([-along[1], along[0]]) / np.hypot(*along)
    return np.asarray((path - path[0]) @ (normal if normal[0] > 0 else -normal))


def _teeth(p: dict[str, Array], further: dict[str, Array]) -> dict[str, Array]:
    upper, lower = p["upper incisor tip"], p["lower incisor tip"]
    a, chin = p["A point"], p["menton"]
    teeth = {
        "upper incisor": _tooth(upper, a + (-4.5, 0) - upper, 23, 3.4),
        "lower incisor": _tooth(lower, chin + further["up"] * 17 + further["along"] * 1.5 - lower, 21, 2.9),
    }
    far = np.array([-1.0, -0.11])  # along the bite, backward
    place = np.array([min(upper[0], lower[0]) - 7.5, further["bite"][1]])
    for number, wide in enumerate((7.0, 6.6, 6.8, 10.0, 9.6)):
        middle = place + far * wide / 2
        for name, side in (("upper", -1.0), ("lower", 1.0)):
            lean = np.array([0.12 * side, side])
            half, crown, root = wide / 2 - 0.25, 6.8, 18.5
            teeth[f"{name} {number}"] = np.stack(
                [
                    middle + (half * 0.9, 0.4 * side),
                    middle + (half, 0) + lean * 3,
                    middle + (half * 0.8, 0) + lean * crown,
                    middle + (half * 0.35, 0) + lean * root,
                    middle + (-half * 0.35, 0) + lean * root,
                    middle + (-half * 0.8, 0) + lean * crown,
                    middle + (-half, 0) + lean * 3,
                    middle + (-half * 0.9, 0.4 * side),
                ]
            )
        place = place + far * wide
    return teeth


def _tooth(tip: Array, way: Array, long: float, half: float) -> Array:
    """Return the outline of an incisor from its edge along ``way``, at most ``2 * half``
    mm thick."""
    way = way / np.hypot(*way)
    beside = np.array([-way[1], way[0]])
    profile = ((0, 0.12), (0.14, 0.62), (0.32, 1.0), (0.45, 0.95), (0.75, 0.62), (1.0, 0.12))
    there = [tip + way * long * at + beside * half * thick for at, thick in profile]
    back = [tip + way * long * at - beside * half * thick for at, thick in profile[::-1]]
    return np.stack([*there, *back])


def _neck(p: dict[str, Array], random: np.random.Generator) -> dict[str, Array]:
    """Return the outlines of the vertebrae, from top to bottom."""
    bones: dict[str, Array] = {}
    middle = p["articulare"] + (-9, 14)
    lean = random.normal(0.06, 0.08)
    for number in range(5):
        middle = middle + np.array([-17 * lean - 0.5 * number, 17.0 if number else 8.0])
        wide, high = 8.0, 7.0 if number else 4.0
        box = _at((1, -0.8), (0.92, 0), (1.05, 1), (-1, 0.95), (-0.92, 0), (-1, -1.05))
        bones[f"vertebra {number}"] = middle + box * np.array([wide, high])
        spine = _at((-10, -3), (-22, -3), (-38, 3), (-39, 7), (-24, 5), (-10, 4))
        bones[f"spine {number}"] = middle + spine * (1.0, 0.9)
    return bones


def _vault(p: dict[str, Array], random: np.random.Generator) -> tuple[Array, Array, Array]:
    """Sample the vault of the skull; its outer surface passes just in front of the nasion."""
    axes = np.array([random.normal(92, 3.2), random.normal(71, 3.0)])
    x, y = p["nasion"] + (0.8, -1.0)
    down = random.normal(-33, 2.5)
    away = np.sqrt(max(0.05, 1 - ((y - down) / axes[1]) ** 2))
    middle = np.array([x - away * axes[0], down])
    return middle, axes, random.normal(0, (0.008, 0.008, 0.005))


def radius(angle: Array, waves: Array) -> Array:
    """Return the radius of the vault relative to its ellipse, 1 at the face."""
    first, second, third = waves
    shape = first * np.sin(2 * angle) + second * (np.cos(3 * angle) - 1)
    return np.asarray(1 + shape + third * np.sin(4 * angle))


def _profile(
    p: dict[str, Array], further: dict[str, Array], vault: tuple[Array, Array, Array], random: np.random.Generator
) -> Array:
    """Return the outline of the skin, from the forehead down the face to the neck and round the
    back of the head."""
    n, ans, b = p["nasion"], p["anterior nasal spine"], p["B point"]
    upper, lower, chin = p["upper lip"], p["lower lip"], p["soft tissue pogonion"]
    along, up = further["along"], further["up"]
    bite = further["bite"]
    nose = ans + (random.normal(25, 2.2), random.normal(-5, 2.0))
    middle, axes, waves = vault
    angle = np.radians(np.concatenate([np.arange(150, 271, 12), np.arange(282, 341, 12)]))
    thick = random.normal(6, 0.8)
    scalp = middle + (axes * radius(angle, waves)[:, None] + thick) * np.stack([np.cos(angle), np.sin(angle)], 1)
    face = np.stack([
        n + (6.5, -14), n + (6.8, -1), n + (11, 9), 0.5 * (n + nose) + (6.5, 2),
        nose + (-1.5, -5), nose, nose + (-3, 5.5), p["subnasale"] + (2.0, -1.6),
        p["subnasale"], 0.45 * p["subnasale"] + 0.55 * upper + (-1.6, 0), upper,
        np.array([upper[0] - 1.6, bite[1] - 2.6]),
        np.array([0.5 * (upper[0] + lower[0]) - 5.0, bite[1]]),
        np.array([lower[0] - 1.4, bite[1] + 2.2]), lower,
        b + (9.0, -4), b + (9.5, 3), chin + (-0.8, -6), chin, chin + (-2.2, 6.5),
        p["gnathion"] - up * 8 + along * 4, p["menton"] - up * 9 - along * 2,
        p["gonion"] + along * 40 - up * 14, p["gonion"] + along * 31 - up * 30,
    ])  # fmt: skip
    throat = p["gonion"] + (30, 95)
    nape = np.stack(
        [throat, throat + (-115, 0), p["gonion"] + (-62, 40), p["gonion"] + (-68, -5), p["gonion"] + (-82, -38)]
    )
    return np.concatenate([face, nape, scalp])
