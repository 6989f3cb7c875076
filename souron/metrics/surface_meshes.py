"""Surface distances between two masks, on meshes of their surfaces instead of centres of voxels.

Podobnik, Vrtovec: MeshMetrics: A Precise Implementation for Distance-Based Image Segmentation Metrics (2025).
https://arxiv.org/abs/2509.05670

The surface of a mask is the mesh at 0.5 by marching cubes, at the true spacing, its triangles divided until no edge is
longer than the shortest side of a voxel. Each triangle counts with its area, its distance is that of its centre to the
nearest vertex or centre of a triangle of the other surface. Thick slices distort distances between centres of voxels
(``metrics.volumes``); on meshes they do so less.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from souron.metrics.volumes import diagonal

Points = NDArray[np.float64]
MOST_TRIANGLES = 5_000_000  # of a surface; a finer division ends there


class SurfaceAgreement(NamedTuple):
    """Distances between two surfaces, weighted by area."""

    hd95: float  # mm, the 95th percentile over both surfaces
    assd: float  # mm, the mean over both surfaces
    surface_dice: float  # share of both surfaces within the tolerance of the other one


def surface_agreement(found: Any, truth: Any, spacing: Sequence[float], tolerance: float = 1.0) -> SurfaceAgreement:
    """Compare two masks (slices, rows, columns); ``spacing`` in mm in the same order, ``tolerance`` in mm.

    Where both masks are empty they agree; where one is, the distances are the diagonal of the volume, as in
    ``metrics.volumes``. Raises ValueError where the shapes differ or have no three axes.

    >>> truth, found = np.zeros((2, 12, 12, 12), bool)
    >>> truth[2:8, 2:8, 2:8], found[2:8, 2:8, 3:9] = True, True
    >>> round(surface_agreement(found, truth, (1, 1, 1)).assd, 2)  # shifted by 1 mm: two of six sides are 1 mm apart
    0.37
    """
    a, b = np.asarray(found, bool), np.asarray(truth, bool)
    if a.shape != b.shape or a.ndim != 3 or len(spacing) != 3:
        raise ValueError(f"{a.shape}, {b.shape}, {len(spacing)}")
    if not a.any() or not b.any():
        empty = not a.any() and not b.any()
        far = 0.0 if empty else diagonal(a.shape, spacing)
        return SurfaceAgreement(far, far, float(empty))
    pred_mesh, true_mesh = (_mesh(mask, spacing) for mask in (a, b))
    distance = np.concatenate([_nearest(pred_mesh, true_mesh), _nearest(true_mesh, pred_mesh)])
    area = np.concatenate([_areas(pred_mesh), _areas(true_mesh)])
    return SurfaceAgreement(
        _quantile(distance, area, 0.95),
        float(np.average(distance, weights=area)),
        float(area[distance <= tolerance].sum() / area.sum()),
    )


def _mesh(mask: NDArray[np.bool_], spacing: Sequence[float]) -> Points:
    """Return the triangles (N, 3, 3) of a surface in mm, none with an edge longer than a voxel's shortest side."""
    from skimage.measure import marching_cubes

    corners, faces, _normals, _values = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=tuple(spacing))
    waiting, fine = corners[faces].astype(np.float64), []
    count = len(waiting)
    while len(waiting):
        edges = np.linalg.norm(waiting - np.roll(waiting, 1, 1), axis=2)
        long = (edges.max(1) > min(spacing)) & (count < MOST_TRIANGLES)
        fine.append(waiting[~long])
        waiting = _divided(waiting[long])
        count += len(waiting)
    return np.concatenate(fine)


def _divided(triangles: Points) -> Points:
    """Divide each triangle (N, 3, 3) into four by the middles of its edges."""
    a, b, c = triangles.transpose(1, 0, 2)
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    return np.concatenate([np.stack(corners, 1) for corners in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])


def _nearest(triangles: Points, surface_triangles: Points) -> Points:
    """Return the distance of each triangle's centre to the other surface, (N,) in mm."""
    surface = np.concatenate([np.unique(surface_triangles.reshape(-1, 3), axis=0), surface_triangles.mean(1)])
    return KDTree(surface).query(triangles.mean(1))[0]


def _areas(triangles: Points) -> Points:
    a, b, c = triangles.transpose(1, 0, 2)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def _quantile(values: Points, weights: Points, share: float) -> float:
    """Return the weighted quantile, interpolated between the middles of the weights."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(share, cumulative / weights.sum(), values[order]))
