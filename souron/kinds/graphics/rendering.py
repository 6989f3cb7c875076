"""Rendering of a surface: each pixel shows the triangle nearest to the viewer (z-buffer).

Catmull: A Subdivision Algorithm for Computer Display of Curved Surfaces (1974), the z-buffer.

Lambert: Photometria (1760), the shading: brightness = normal · direction of the light
"""

from typing import NamedTuple

import numpy as np

COLOUR = np.array([236.0, 226.0, 204.0])
AMBIENT = 0.25
EDGE = 1e-5  # tolerance outside a triangle, so that neighbours leave no gap
AT_ONCE = 1_000_000  # pixels of the triangles' bounding boxes processed together


class View(NamedTuple):
    """Image axes as directions in the patient: (left, back, head)."""

    right: tuple[float, float, float]  # direction of the image's x axis
    up: tuple[float, float, float]

    @property
    def axes(self) -> np.ndarray:
        """Rows of a (3, 3) matrix: to the right, up, and towards the viewer."""
        right, up = np.array(self.right, float), np.array(self.up, float)
        return np.stack([right, up, np.cross(right, up)])


VIEWS = {
    "front": View((1, 0, 0), (0, 0, 1)),
    "back": View((-1, 0, 0), (0, 0, 1)),
    "right": View((0, -1, 0), (0, 0, 1)),
    "left": View((0, 1, 0), (0, 0, 1)),
    "above": View((-1, 0, 0), (0, -1, 0)),
    "below": View((1, 0, 0), (0, -1, 0)),
}


def render(
    vertices: np.ndarray, faces: np.ndarray, view: View, side: int = 400, colour: np.ndarray = COLOUR
) -> np.ndarray:
    """Render a surface on white, (side, side, 3) uint8: parallel light and rays, all in view.

    ``vertices`` (V, 3) in mm towards left, back and head; ``faces`` (F, 3); ``colour`` (3,), or (F,
    3) for a colour of each triangle, 0..255.

    >>> import numpy as np
    >>> triangle = np.array([[0.0, 0, 0], [9, 0, 0], [0, 0, 9]])
    >>> image = render(triangle, np.array([[0, 1, 2]]), VIEWS["front"], side=8)
    >>> image.shape, image[0, 7].tolist(), bool(image.min() < 255)
    ((8, 8, 3), [255, 255, 255], True)
    """
    fine = 2 * side
    middle = (vertices.min(0) + vertices.max(0)) / 2
    reach = float(np.linalg.norm(np.ptp(vertices, axis=0))) or 1.0
    seen = (vertices - middle) @ view.axes.T  # right, up, nearer
    scale = 0.94 * fine / max(float(np.ptp(seen[:, :2], axis=0).max()), 0.4 * reach)
    places = np.stack([fine / 2 + seen[:, 0] * scale, fine / 2 - seen[:, 1] * scale], 1)
    nearest = _nearest(places.astype(np.float32), seen[:, 2].astype(np.float32), faces, fine)
    shown = np.full((fine * fine, 3), 255.0, np.float32)
    hit = nearest >= 0
    number = nearest[hit]
    shown[hit] = _shades(seen, faces)[number, None] * (colour[number] if colour.ndim > 1 else colour)
    made = shown.reshape(side, 2, side, 2, 3).mean((1, 3))
    return made.round().astype(np.uint8)


def _shades(seen: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the brightness of each triangle, (F,), from normals averaged at shared vertices."""
    a, b, c = np.moveaxis(seen[faces], 1, 0)
    normal = np.cross(b - a, c - a)
    shared = np.stack(
        [sum(np.bincount(faces[:, k], normal[:, axis], len(seen)) for k in range(3)) for axis in range(3)], axis=1
    )[faces].sum(1)
    shared /= np.maximum(np.linalg.norm(shared, axis=1, keepdims=True), 1e-12)
    light = np.array([-0.3, 0.4, 1.0])
    bright = np.clip(shared @ (light / np.linalg.norm(light)), 0, 1)
    return AMBIENT + (1 - AMBIENT) * bright


def _nearest(places: np.ndarray, depth: np.ndarray, faces: np.ndarray, side: int) -> np.ndarray:
    """Return the number of the triangle seen by each pixel, (side * side,); -1 for none."""
    corner = places[faces]  # (F, 3, 2)
    low = np.floor(corner.min(1)).astype(np.int32).clip(0, side - 1)
    wide, tall = (np.floor(corner.max(1)).astype(np.int32).clip(0, side - 1) - low + 1).T
    ends = np.cumsum(wide * tall, dtype=np.int64)
    found = []
    start = 0
    while start < len(faces):
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + AT_ONCE, side="right")))
        size = ends[start:end] - np.concatenate([[before], ends[start : end - 1]])
        number = np.repeat(np.arange(start, end), size)
        place = np.arange(before, int(ends[end - 1])) - np.repeat(ends[start:end] - size, size)
        down, right = np.divmod(place, wide[number])
        pixel = low[number] + np.stack([right, down], 1)
        found.append(_hits(pixel, number, corner, depth, faces, side))
        start = end
    nearest = np.full(side * side, -1)
    if found:
        pixels, depths, numbers = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.argsort(depths, kind="stable")  # the last one written wins
        nearest[pixels[order]] = numbers[order]
    return nearest


def _hits(
    pixel: np.ndarray, number: np.ndarray, corner: np.ndarray, depth: np.ndarray, faces: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pixels whose centre is in the triangle, with depth and triangle number."""
    frame = corner[number]
    a, b, c = frame[:, 0], frame[:, 1], frame[:, 2]
    point = pixel.astype(np.float32) + np.float32(0.5)
    whole = _cross(b - a, c - a)
    whole[whole == 0] = np.inf  # seen from its edge: invisible
    second, third = _cross(point - a, c - a) / whole, _cross(b - a, point - a) / whole
    first = 1 - second - third
    inside = (first >= -EDGE) & (second >= -EDGE) & (third >= -EDGE) & np.isfinite(whole)
    pixel, number = pixel[inside], number[inside]
    deep = depth[faces[number]]
    near = first[inside] * deep[:, 0] + second[inside] * deep[:, 1] + third[inside] * deep[:, 2]
    return pixel[:, 1] * side + pixel[:, 0], near, number


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cross product of plane vectors, (N,)."""
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
