"""Shapes in a plane for a class to draw: cells of two classes, points from them, and scores of generated points."""

import math
from typing import Any

SIDE = 40  # cells of the drawing, a side; the plane is -1..1
LEAST = 8  # painted cells
SHAPES = ("moons", "ring", "spiral", "islands", "letters", "empty")
DRAWN, JUDGED = 400, 200  # points shown; of each side of the energy distance
A, I = ("01110", "10001", "10001", "11111", "10001", "10001", "10001"), ("111", *["010"] * 5, "111")


def cells_of(shape: str) -> str:
    """Return a ready shape row by row from the top, as ``read_cells`` reads it."""
    import numpy as np

    middle = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    y, x = np.meshgrid(-middle, middle, indexing="ij")
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    kind = np.zeros((SIDE, SIDE), dtype=int)
    if shape == "moons":
        for number, (left, low, turn) in enumerate([(-0.25, -0.2, 1), (0.25, 0.2, -1)], 1):
            arc = (abs(np.hypot(x - left, y - low) - 0.6) < 0.1) & (turn * (y - low) > -0.05)
            kind[arc] = number
    elif shape == "ring":
        kind[abs(radius - 0.75) < 0.09] = 1
        kind[abs(radius - 0.32) < 0.09] = 2
    elif shape == "spiral":
        for number in (1, 2):
            turns = (angle + math.pi * number) % (2 * math.pi) / (2 * math.pi)
            arms = [0.12 + 0.62 * (turns + more) for more in (0, 1)]
            kind[(np.minimum(*(abs(radius - arm) for arm in arms)) < 0.07) & (radius < 0.85)] = number
    elif shape == "islands":
        for number in range(8):
            way = number * math.pi / 4
            kind[np.hypot(x - 0.7 * math.cos(way), y - 0.7 * math.sin(way)) < 0.16] = 1 + number % 2
    elif shape == "letters":
        for number, (letter, left) in enumerate([(A, 3), (I, 25)], 1):
            rows = np.array([[int(cell) for cell in row] for row in letter])
            big = rows.repeat(4, 0).repeat(4, 1)
            kind[6 : 6 + big.shape[0], left : left + big.shape[1]] = number * big
    return "".join(map(str, kind.flatten().tolist()))


def grid_of(cells: str) -> Any:
    """Return the classes of the cells, (SIDE, SIDE) int64, the top row first."""
    import torch

    return torch.tensor([int(cell) for cell in cells]).view(SIDE, SIDE)


def sampled(grid: Any, count: int, source: Any = None) -> tuple[Any, Any]:
    """Sample points (count, 2) in -1..1 evenly from the painted cells, and their classes from 0."""
    import torch

    painted = grid.flatten().nonzero()[:, 0]
    cell = painted[torch.randint(len(painted), (count,), generator=source)]
    row, column = cell // SIDE, cell % SIDE
    within = torch.rand(count, 2, generator=source)
    x = (column + within[:, 0]) / SIDE * 2 - 1
    y = 1 - (row + within[:, 1]) / SIDE * 2
    return torch.stack([x, y], 1), grid.flatten()[cell] - 1


def held_out(grid: Any, seed: int = 0) -> Any:
    """Return points that no training has seen, (DRAWN, 2)."""
    import torch

    return sampled(grid, DRAWN, torch.Generator().manual_seed(10_000 + seed))[0]


def scores(found: Any, grid: Any) -> dict[str, float]:
    """Compare generated points (N, 2) with the shape.

    ``energy`` is the energy distance to held-out points of the shape; ``off`` the share of points more than one cell
    away from it; ``missed`` the share of painted cells that have no point in them or in the eight cells around.
    """
    from scipy import ndimage

    from souron.stats.two_samples import energy_test

    painted = (grid > 0).numpy()
    row, column = cells_at(found)
    near = ndimage.binary_dilation(painted, structure=[[1] * 3] * 3)
    hit = painted * 0
    hit[row, column] = 1
    reached = ndimage.binary_dilation(hit, structure=[[1] * 3] * 3)
    energy = energy_test(held_out(grid)[:JUDGED], found[:JUDGED], permutations=0).distance
    return {
        "energy": round(energy, 4),
        "off": round(float(1 - near[row, column].mean()), 4),
        "missed": round(float(1 - reached[painted].mean()), 4),
    }


def cells_at(points: Any) -> tuple[Any, Any]:
    """Return the row and column of the cell of each point (N, 2)."""
    column = ((points[:, 0] + 1) / 2 * SIDE).long().clamp(0, SIDE - 1).numpy()
    row = ((1 - points[:, 1]) / 2 * SIDE).long().clamp(0, SIDE - 1).numpy()
    return row, column


def nearest_share(found: Any, grid: Any, wanted: int) -> float:
    """Return the share of points (N, 2) whose nearest painted cell has the wanted class."""
    from scipy import ndimage

    _far, index = ndimage.distance_transform_edt((grid == 0).numpy(), return_indices=True)
    row, column = cells_at(found)
    colour = grid.numpy()[index[0][row, column], index[1][row, column]]
    return round(float((colour == wanted + 1).mean()), 4)
