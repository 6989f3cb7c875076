"""Surfaces of volumes: closed, outside out, in millimetres, with the volume of the shape."""

import itertools
import json
import math
import struct

import numpy as np
import pytest
from scanning import AIR, CENTRE, RADII, TISSUE, ellipsoid

from souron.kinds import mesh
from souron.kinds.graphics import isosurface, rendering
from souron.kinds.graphics.isosurface import Shape
from souron.kinds.mesh import Mesh
from souron.kinds.volume import Volume
from souron.utils.messages import UserError

WHOLE = 4 / 3 * math.pi * RADII.prod() / 1000  # ml
HALF = (AIR + TISSUE) / 2


def upright(steps=(2.0, 0.9, 0.7), signs=(1, 1, 1)):
    """An affine whose volume has the ellipsoid in its middle, with axes turned by ``signs``."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag(np.multiply(steps, signs))[::-1]
    return affine


def drawn(affine, shape=(24, 36, 60), values=ellipsoid, **kind):
    affine = affine.copy()
    affine[:3, 3] = CENTRE - affine[:3, :3] @ (np.array(shape) - 1) / 2
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return Volume(np.round(values(index @ affine[:3, :3].T + affine[:3, 3])), affine, **kind)


OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = np.array([[0.36, 0.48, 0.8], [-0.8, 0.6, 0.0], [-0.48, -0.64, 0.6]]) * [1.5, 1, 1]


@pytest.mark.parametrize("affine", [*(upright(signs=s) for s in itertools.product((1, -1), repeat=3)), OBLIQUE])
def test_it_is_closed_outside_out_and_as_large_as_the_shape(affine):
    volume = drawn(affine, (30, 40, 60))
    made, parts = isosurface.surface(volume, HALF)
    assert made.open_edges == 0 and len(parts.millilitres) == 1 and parts.lost == 0
    assert made.millilitres == pytest.approx(WHOLE, rel=0.01)
    far = np.linalg.norm((made.vertices - CENTRE) / RADII, axis=1)
    assert np.abs(far - 1).max() < 0.05  # each vertex lies on the ellipsoid
    a, b, c = np.moveaxis(made.vertices[made.faces], 1, 0)
    outwards = (np.cross(b - a, c - a) * (a - CENTRE)).sum(1)
    assert (outwards > -1e-9).mean() > 0.999 and outwards.sum() > 0


@pytest.mark.parametrize("slices", [1.0, 3.0, 5.0])
def test_grey_values_keep_the_volume_where_slices_are_thick(slices):
    affine = upright((slices, 0.7, 0.7))
    made, _parts = isosurface.surface(drawn(affine, (int(40 / slices), 44, 60)), HALF)
    assert made.millilitres == pytest.approx(WHOLE, rel=0.05)


def test_a_level_that_voxels_have_moves_between_the_steps():
    chance = np.random.default_rng(0)
    values = chance.integers(200, 260, (12, 12, 12)).astype(np.int16)
    assert (values == 226).any()
    volume = Volume(values, np.eye(4))
    at, _parts = isosurface.surface(volume, 226)
    assert at.open_edges == 0
    below, _parts = isosurface.surface(volume, 225.5)
    assert np.array_equal(at.vertices, below.vertices)
    from skimage.measure import marching_cubes

    vertices, faces, *_rest = marching_cubes(np.pad(values.astype(np.float32), 1), 226)
    assert Shape(vertices, faces).open_edges > 0  # why it moves


def test_levels_of_fractions_move_too():
    values = np.random.default_rng(0).integers(0, 40, (12, 12, 12)) / np.float32(8)
    made, _parts = isosurface.surface(Volume(values, np.eye(4)), 2.125)
    assert made.open_edges == 0
    assert isosurface.between(values, 2.125) == pytest.approx(2.0625)
    assert isosurface.between(values, 2.1) == 2.1


def test_what_reaches_the_rim_is_closed_there():
    made, _parts = isosurface.surface(drawn(upright(), (6, 36, 60)), HALF)
    assert made.open_edges == 0
    assert Shape(made.vertices, made.faces[:-1]).open_edges == 3


def boxes(*spans):
    values = np.full((20, 20, 20), -1000, np.int16)
    for low, high, value in spans:
        values[low:high, low:high, low:high] = value
    return Volume(values, np.diag([1.0, 1, 1, 1])[[2, 1, 0, 3]])


def test_parts_are_solids_and_a_cavity_belongs_to_what_is_around_it():
    volume = boxes((1, 13, 1000), (4, 10, -1000), (6, 8, 1000), (15, 18, 1000))
    made, parts = isosurface.surface(volume, 0)
    assert len(parts.millilitres) == 3
    hollow, small, inner = parts.millilitres
    whole = [((n * 1.0) ** 3) / 1000 for n in (12, 6, 3, 2)]
    assert hollow == pytest.approx(whole[0] - whole[1], rel=0.02)
    assert (small, inner) == pytest.approx((whole[2], whole[3]), abs=0.005)
    assert parts.lost == pytest.approx((small + inner) / (hollow + small + inner))
    largest = isosurface.chosen(made, parts, "largest")
    assert largest.open_edges == 0 and largest.millilitres == pytest.approx(hollow)
    assert isosurface.chosen(made, parts, "all") is made
    assert parts.voxels("largest").sum() == 12**3 - 6**3
    assert np.array_equal(parts.voxels("all"), volume.values > 0)


def test_a_mask_is_meshed_on_the_grey_values_inside():
    whole = drawn(upright((1, 1, 1)), (30, 30, 40))
    index = np.arange(40)[None, None] < 20
    mask = np.broadcast_to(index, whole.values.shape)
    made, _parts = isosurface.surface(whole, HALF, mask)
    assert made.open_edges == 0
    assert made.millilitres == pytest.approx(WHOLE / 2, rel=0.02)
    assert made.vertices[:, 0].max() == pytest.approx(CENTRE[0], abs=0.02)  # between two columns
    low, _parts = isosurface.surface(whole, -100, mask)
    assert low.vertices[:, 0].max() == pytest.approx(CENTRE[0], abs=0.02)
    with pytest.raises(UserError):
        isosurface.surface(whole, HALF, mask[:-1])


@pytest.mark.parametrize("level", [5000, -1000.5, math.nan])
def test_a_surface_of_nothing_is_an_error(level):
    with pytest.raises(UserError) as caught:
        isosurface.surface(drawn(upright()), level)
    assert caught.value.code == "no surface" and "-1000" in caught.value.found


def test_fewer_triangles_stay_closed_and_keep_the_volume():
    volume = drawn(upright((1.0, 0.7, 0.7)), (40, 44, 60))
    made, _parts = isosurface.surface(volume, HALF)
    less, moved = isosurface.fewer(made, 2000, volume.spacing)
    assert len(less.faces) <= 2000 < len(made.faces)
    assert less.open_edges == 0 and 0 < moved <= 1.0
    assert less.millilitres == pytest.approx(made.millilitres, rel=0.02)
    far = np.linalg.norm((less.vertices - CENTRE) / RADII, axis=1)
    assert np.abs(far - 1).max() < 0.1 + moved / RADII.min()
    assert isosurface.fewer(made, 10**6, volume.spacing) == (made, 0.0)


def test_too_few_triangles_do_not_destroy_it():
    volume = drawn(upright((1.0, 0.7, 0.7)), (40, 44, 60))
    made, _parts = isosurface.surface(volume, HALF)
    less, moved = isosurface.fewer(made, 4, volume.spacing)
    assert len(less.faces) > 100 and moved <= 1.0
    assert less.millilitres == pytest.approx(made.millilitres, rel=0.06)


def test_an_open_surface_is_not_made_smaller():
    made, _parts = isosurface.surface(drawn(upright()), HALF)
    with pytest.raises(UserError) as caught:
        isosurface.fewer(Shape(made.vertices, made.faces[5:]), 100, [0.7, 0.9, 2])
    assert caught.value.code == "open surface"


def test_too_many_triangles_ask_for_fewer(monkeypatch):
    made, _parts = isosurface.surface(drawn(upright()), HALF)
    assert len(made.mesh("a").faces) == len(made.faces)
    monkeypatch.setattr(isosurface, "MOST", 1000)
    with pytest.raises(UserError) as caught:
        made.mesh()
    assert caught.value.code == "too large" and caught.value.fix.startswith("faces=")


# files

ANY = Mesh([[0, 0, 0], [10, 0, 0], [0, 20, 0], [0, 0, 30]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def test_a_glb_holds_metres_that_stand_upright(tmp_path):
    ANY.save(tmp_path / "a.glb")
    raw = (tmp_path / "a.glb").read_bytes()
    magic, version, length = struct.unpack("<4sII", raw[:12])
    assert (magic, version, length) == (b"glTF", 2, len(raw))
    size, kind = struct.unpack("<I4s", raw[12:20])
    told = json.loads(raw[20 : 20 + size])
    assert kind == b"JSON" and size % 4 == 0
    room, kind = struct.unpack("<I4s", raw[20 + size : 28 + size])
    body = raw[28 + size :]
    assert kind == b"BIN\0" and room == len(body) == told["buffers"][0]["byteLength"]
    places, corners = (
        np.frombuffer(body, kind, count, view["byteOffset"]).reshape(-1, 3)
        for view, kind, count in zip(told["bufferViews"], ("<f4", "<u4"), (12, 12), strict=True)
    )
    assert np.array_equal(places, ANY.vertices) and np.array_equal(corners, ANY.faces)
    assert told["accessors"][0]["max"] == [10, 20, 30]
    matrix = np.array(told["nodes"][0]["matrix"]).reshape(4, 4).T  # by columns
    assert matrix @ [0, 0, 30, 1] == pytest.approx([0, 0.03, 0, 1])  # the head is above
    assert matrix @ [0, 20, 0, 1] == pytest.approx([0, 0, -0.02, 1])  # the back is behind
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1e-9)  # left stays left


def test_a_glb_of_nothing_is_a_scene_of_nothing(tmp_path):
    Mesh([], []).save(tmp_path / "a.glb")
    assert b'"scenes":[{}]' in (tmp_path / "a.glb").read_bytes()


@pytest.mark.parametrize("order, sign", [("little", "<"), ("big", ">")])
def test_binary_ply_is_read(tmp_path, order, sign):
    head = f"""ply
format binary_{order}_endian 1.0
element vertex 4
property double x
property double y
property double z
property uchar red
element face 4
property list uchar uint vertex_indices
end_header
"""
    body = b"".join(struct.pack(f"{sign}3dB", *place, 9) for place in ANY.vertices.tolist())
    body += b"".join(struct.pack(f"{sign}B3I", 3, *face) for face in ANY.faces.tolist())
    (tmp_path / "a.ply").write_bytes(head.encode() + body)
    read = Mesh.read(tmp_path / "a.ply")
    assert np.array_equal(read.vertices, ANY.vertices) and np.array_equal(read.faces, ANY.faces)
    (tmp_path / "a.ply").write_bytes(head.encode() + body[:-1])
    with pytest.raises(UserError) as caught:
        Mesh.read(tmp_path / "a.ply")
    assert caught.value.code == "truncated"
    four = body[:-13] + b"\4" + body[-12:]
    (tmp_path / "a.ply").write_bytes(head.encode() + four)
    with pytest.raises(UserError) as caught:
        Mesh.read(tmp_path / "a.ply")
    assert caught.value.code == "unreadable"


def test_a_ply_of_too_many_is_refused_before_it_is_read(tmp_path):
    text = f"ply\nformat binary_little_endian 1.0\nelement vertex {mesh.MOST + 1}\n"
    (tmp_path / "a.ply").write_text(text + "property float x\nend_header\n")
    with pytest.raises(UserError) as caught:
        Mesh.read(tmp_path / "a.ply")
    assert caught.value.code == "too large"


# pictures


def test_the_nearest_triangle_is_seen():
    """Two squares, the smaller one in front as seen from the patient's front."""
    square = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], float)
    vertices = np.concatenate([square * 10, square * 4 - [0, 5, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    view = rendering.VIEWS["front"]
    places = np.stack([100 + 5 * vertices[:, 0], 100 - 5 * vertices[:, 2]], 1)
    seen = rendering._nearest(places, -vertices[:, 1], faces, 200).reshape(200, 200) // 2
    assert (seen[85:115, 85:115] == 1).all() and (seen[55:75, 55:145] == 0).all()
    assert (seen[:45] == -0.5 // 1).all()
    behind = rendering._nearest(places, vertices[:, 1], faces, 200)
    assert set(np.unique(behind)) == {-1, 0, 1}
    image = rendering.render(vertices, faces, view, 100)
    assert image.shape == (100, 100, 3) and (image[0] == 255).all() and image[50, 50, 0] < 255


@pytest.mark.parametrize(
    "name, place, corner",
    [
        ("front", (1, 0, 1), "top right"),
        ("back", (1, 0, 1), "top left"),
        ("left", (0, -1, 1), "top left"),
        ("right", (0, -1, 1), "top right"),
        ("above", (1, -1, 0), "top left"),
        ("below", (1, -1, 0), "top right"),
    ],
)
def test_each_side_is_seen_from_there(name, place, corner):
    """A ball at (left, back, head) beside a larger one in the middle."""
    small = [[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 4]]
    away = np.array(small) + np.multiply(place, 30)
    anchor = np.array(small) - np.multiply(place, 30)
    vertices = np.concatenate([away, anchor]).astype(float)
    faces = np.concatenate([ANY.faces, ANY.faces[:0]])
    image = rendering.render(vertices, faces, rendering.VIEWS[name], 60)
    rows, columns = np.nonzero((image < 255).any(2))
    assert len(rows)
    assert ("top" if rows.mean() < 30 else "bottom") == corner.split()[0]
    assert ("left" if columns.mean() < 30 else "right") == corner.split()[1]


def test_every_triangle_of_any_size_covers_its_pixels():
    """A square cut into few or many triangles has no holes."""
    for parts in (1, 5, 40, 150, 400):
        steps = np.linspace(10, 190, parts + 1)
        x, z = np.meshgrid(steps, steps)
        places = np.stack([x.ravel(), z.ravel()], 1)
        first = (np.arange(parts)[:, None] * (parts + 1) + np.arange(parts)).ravel()
        beside = np.stack([first, first + 1, first + parts + 1], 1)
        opposite = np.stack([first + 1, first + parts + 2, first + parts + 1], 1)
        faces = np.concatenate([beside, opposite])
        seen = rendering._nearest(places, np.zeros(len(places)), faces, 200).reshape(200, 200)
        assert (seen[10:190, 10:190] >= 0).all() and (seen[:9] < 0).all()
