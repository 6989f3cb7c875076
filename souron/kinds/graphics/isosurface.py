"""Isosurfaces of volumes: closed triangle meshes in millimetres where grey values cross a level.

Lorensen, Cline: Marching Cubes: A High Resolution 3D Surface Construction Algorithm (1987).
https://doi.org/10.1145/37402.37422

Lewiner, Lopes, Vieira, Tavares: Efficient Implementation of Marching Cubes' Cases with Topological
Guarantees (2003). https://doi.org/10.1080/10867651.2003.10487582

    volume of a closed surface = 1/6 sum over its triangles of a · (b x c)

The grey values are meshed, not a mask, whose steps and smoothing would change the volume. A level
that equals a voxel's value leaves holes, so that it is moved halfway to the next lower value: 226
becomes 225.5 where values are integers. Objects that reach the volume's rim are closed there.
Triangles are anticlockwise seen from outside, whatever the handedness of the volume.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy

from souron.kinds.mesh import MOST, Mesh
from souron.kinds.volume import Volume
from souron.utils import units
from souron.utils.messages import UserError, _

FINEST, COARSEST = 0.02, 1.0  # allowed displacement, in smallest and in largest spacings


class Shape(NamedTuple):
    """A triangle mesh that may be too large for a ``Mesh``."""

    vertices: np.ndarray  # (V, 3) float64, mm towards left, back and head
    faces: np.ndarray  # (F, 3)

    @property
    def millilitres(self) -> float:
        """Enclosed volume in millilitres."""
        return float(six_volumes(self).sum()) / 6000

    @property
    def open_edges(self) -> int:
        """Number of edges that have not exactly two triangles: 0 for a closed surface."""
        ends = np.sort(self.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1).astype(np.int64)
        keys = ends[:, 0] * (len(self.vertices) + 1) + ends[:, 1]
        _edges, count = np.unique(keys, return_counts=True)
        return int((count != 2).sum())

    def mesh(self, file: str = "") -> Mesh:
        """Convert to a ``Mesh``. Raises UserError where there are too many triangles."""
        if max(len(self.vertices), len(self.faces)) > MOST:
            raise UserError(
                "too large",
                _("the surface has {count} triangles").format(count=units.whole(len(self.faces))),
                expected=_("at most {count}").format(count=units.whole(MOST)),
                fix="faces=500000",
                exit=3,
            )
        return Mesh(self.vertices, self.faces, file)


@dataclass(frozen=True)
class Parts:
    """Connected solids, the largest first; a cavity belongs to the solid around it."""

    part: np.ndarray  # (F,) part of each triangle
    millilitres: np.ndarray  # (parts,)
    solid: np.ndarray  # (slices, rows, columns) voxels above the level that touch by faces; 0 below
    of_solid: np.ndarray  # part of each solid, by its number; -1 for 0

    def voxels(self, part: Literal["largest", "all"]) -> np.ndarray:
        """Return the voxels above the level, of the largest part or of all, as a mask.

        Shape (slices, rows, columns), bool.
        """
        return self.of_solid[self.solid] == 0 if part == "largest" else self.solid > 0

    @property
    def lost(self) -> float:
        """Share of the whole volume outside the largest part."""
        return 1 - float(self.millilitres[0] / self.millilitres.sum())


def surface(volume: Volume, level: float, mask: Any = None) -> tuple[Shape, Parts]:
    """Extract the surface where the values of ``volume`` cross ``level``, and its parts.

    ``mask`` (slices, rows, columns): only inside. Values outside that exceed the level are mirrored
    below it, so that the surface passes between inside and outside. Raises UserError.

    >>> import numpy as np
    >>> values = np.zeros((3, 3, 3), np.float32)
    >>> values[1, 1, 1] = 2
    >>> shape, parts = surface(Volume(values, np.eye(4)), level=1)
    >>> len(shape.faces), shape.open_edges, round(shape.millilitres * 1000, 3)  # mm³
    (8, 0, 0.167)
    """
    from skimage.measure import marching_cubes

    values, level = volume.values, between(volume.values, level)
    if mask is not None:
        inside = np.asarray(mask, bool)
        if inside.shape != values.shape:
            raise UserError(
                "numbers",
                _("a mask in the shape {shape}").format(shape=inside.shape),
                expected=str(values.shape),
                exit=3,
            )
        values = np.where(~inside & (values > level), 2 * level - values, values)
    low, high = float(values.min()), float(values.max())
    if not low < level < high:
        raise UserError(
            "no surface",
            _("no surface at {level:g}: the values run from {low:g} to {high:g}").format(
                level=level, low=low, high=high
            ),
            expected=_("a level between them") if low < high else _("values that differ"),
            fix=f"level={(low + high) / 2:g}" if low < high else "",
            exit=3,
        )
    around = np.pad(values.astype(np.float32), 1, constant_values=np.float32(low))
    vertices, faces, _normals, _values = marching_cubes(around, level)
    solid, _count = scipy.ndimage.label(around > level)
    owner = _owners(solid, vertices)
    made = Shape(volume.placed(vertices.astype(np.float64) - 1), faces.astype(np.int64))
    if made.millilitres < 0:
        made = Shape(made.vertices, made.faces[:, ::-1])
    return made, _parts(made, owner, solid[1:-1, 1:-1, 1:-1])


def between(values: np.ndarray, level: float) -> float:
    """Return a level that equals no voxel's value: halfway to the next lower value if necessary.

    >>> import numpy as np
    >>> between(np.array([0, 225, 226]), 226), between(np.array([0, 225, 226]), 100)
    (225.5, 100)
    """
    if not (values == level).any():
        return level
    lower = values[values < level]
    return (level + float(lower.max())) / 2 if lower.size else level


def six_volumes(shape: Shape) -> np.ndarray:
    """Return six times the signed volume in mm³ between each triangle and the centroid, (F,).

    >>> import numpy as np
    >>> faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    >>> tetrahedron = Shape(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), faces)
    >>> round(six_volumes(tetrahedron).sum().item(), 6)  # 6 times 1/6 mm³
    1.0
    """
    a, b, c = np.moveaxis((shape.vertices - shape.vertices.mean(0))[shape.faces], 1, 0)
    return np.einsum("ij,ij->i", a, np.cross(b, c))


def _owners(solid: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Return the number of the solid that each vertex lies on, (V,); 0 where it is unknown."""
    below, above = np.floor(vertices).astype(int), np.ceil(vertices).astype(int)
    first, second = solid[tuple(below.T)], solid[tuple(above.T)]
    on_an_edge = (below != above).sum(1) <= 1
    return np.where(on_an_edge, np.maximum(first, second), 0)


def _parts(shape: Shape, owner: np.ndarray, solid: np.ndarray) -> Parts:
    """Group triangles that share vertices or voxels.

    Cavities share voxels with the solid around them.
    """
    count, corners = len(shape.vertices), shape.faces
    known = np.flatnonzero(owner)
    start = np.concatenate([corners[:, 0], corners[:, 1], known])
    end = np.concatenate([corners[:, 1], corners[:, 2], count + owner[known]])
    nodes = count + int(solid.max()) + 1
    graph = scipy.sparse.coo_matrix((np.ones(len(start), np.int8), (start, end)), (nodes, nodes))
    _number, label = scipy.sparse.csgraph.connected_components(graph, directed=False)
    names, part = np.unique(label[corners[:, 0]], return_inverse=True)
    amount = np.bincount(part, six_volumes(shape), len(names)) / 6000
    order = np.argsort(-amount, kind="stable")
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    named = np.searchsorted(names, label[count:]).clip(0, len(names) - 1)
    of_solid = np.where(names[named] == label[count:], place[named], -1)
    return Parts(place[part], amount[order], solid, of_solid)


def chosen(shape: Shape, parts: Parts, part: Literal["largest", "all"]) -> Shape:
    """Return the whole shape, or the largest part with its cavities.

    >>> import numpy as np
    >>> values = np.zeros((3, 3, 9), np.float32)
    >>> values[1, 1, [1, 7]] = 2, 1.5  # two separate voxels
    >>> shape, parts = surface(Volume(values, np.eye(4)), level=1)
    >>> len(shape.faces), len(chosen(shape, parts, "largest").faces)
    (16, 8)
    """
    if part == "all":
        return shape
    faces = shape.faces[parts.part == 0]
    kept, numbers = np.unique(faces, return_inverse=True)
    return Shape(shape.vertices[kept], numbers.reshape(-1, 3))


def fewer(shape: Shape, faces: int, spacing: list[float]) -> tuple[Shape, float]:
    """Simplify to at most ``faces`` triangles, moving nothing by more than the largest spacing.

    Returns the shape and the largest possible displacement in mm. A closed surface stays closed.
    Raises UserError.

    >>> import numpy as np
    >>> ball = np.linalg.norm(np.indices((16, 16, 16)) - 7.5, axis=0).astype(np.float32)
    >>> shape, _parts = surface(Volume(-ball, np.eye(4)), level=-6)
    >>> small, moved = fewer(shape, 800, [1, 1, 1])
    >>> len(shape.faces), len(small.faces) <= 800, small.open_edges, 0 < moved < 1
    (1340, True, 0, True)
    """
    import manifold3d

    if len(shape.faces) <= faces:
        return shape, 0.0
    middle = shape.vertices.mean(0)
    given = manifold3d.Mesh((shape.vertices - middle).astype(np.float32), shape.faces.astype(np.uint32))
    solid = manifold3d.Manifold(given)
    if solid.status() != manifold3d.Error.NoError:
        raise UserError(
            "open surface",
            _("a surface with holes is not made smaller: {why}").format(why=solid.status().name),
            expected=_("a closed surface"),
            exit=3,
        )
    step, moved = FINEST * min(spacing), 0.0
    while solid.num_tri() > faces and moved + step <= COARSEST * max(spacing):
        solid, moved, step = solid.simplify(step), moved + step, 1.5 * step
    made = solid.to_mesh()
    return Shape(
        np.asarray(made.vert_properties[:, :3], np.float64) + middle, np.asarray(made.tri_verts, np.int64)
    ), moved
