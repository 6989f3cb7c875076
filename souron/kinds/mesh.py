"""Meshes: triangulated surfaces.

OBJ, STL and PLY files are read and written; of binary PLY those of triangles. GLB is written, in
millimetres with the third axis up. Colours and textures are left out.
"""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

from souron.kinds import files
from souron.kinds.codecs import image, limits
from souron.kinds.kind import Kind
from souron.utils import units
from souron.utils.messages import N_, UserError, _

MOST = 3_000_000  # vertices, and triangles
MOST_BYTES = 200_000_000
SUFFIXES = (".obj", ".stl", ".ply")
STL = np.dtype([("normal", "<f4", 3), ("corner", "<f4", (3, 3)), ("more", "<u2")])
HEAD = 84  # bytes of a binary STL before its triangles
PLY = {
    b"char": "i1",
    b"uchar": "u1",
    b"short": "i2",
    b"ushort": "u2",
    b"int": "i4",
    b"uint": "u4",
    b"float": "f4",
    b"double": "f8",
    b"int8": "i1",
    b"uint8": "u1",
    b"int16": "i2",
    b"uint16": "u2",
    b"int32": "i4",
    b"uint32": "u4",
    b"float32": "f4",
    b"float64": "f8",
}
UPRIGHT = [0.001, 0, 0, 0, 0, 0, -0.001, 0, 0, 0.001, 0, 0, 0, 0, 0, 1]  # mm, z up -> m, y up
IVORY = [0.89, 0.85, 0.76, 1.0]


@dataclass(frozen=True, eq=False)
class Mesh(Kind):
    """Vertices and the triangles between them."""

    widget = "mesh"
    noun = N_("surface")
    suffix = ".obj"
    formats = SUFFIXES
    kept = True

    vertices: Any  # (V, 3): x, y, z
    faces: Any  # (F, 3): numbers of vertices from 0, anticlockwise as seen from outside
    file: str = ""

    def __post_init__(self) -> None:
        vertices = files.rows_of(self.vertices, 3)
        faces = np.asarray(self.faces) if np.size(self.faces) else np.zeros((0, 3), int)
        if faces.dtype.kind not in "iu" or faces.shape[1:] != (3,):
            raise files.wrong(
                _("triangles in the shape {shape}").format(shape=faces.shape), _("whole numbers, three in a row")
            )
        if max(len(vertices), len(faces)) > MOST:
            raise _too_many(max(len(vertices), len(faces)))
        if faces.size and not 0 <= faces.min() <= faces.max() < len(vertices):
            raise files.wrong(_("triangles between vertices that are not there"), f"0..{len(vertices) - 1}")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces.astype(np.int64))

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """Read an OBJ, STL or PLY file, recognised by content. Raises UserError."""
        raw = files.content(path, MOST_BYTES)
        try:
            vertices, faces = _reader(path, raw)(raw)
            return cls(vertices, faces, str(path))
        except UserError as trouble:
            raise limits.trouble(path, trouble.code, trouble.found, trouble.expected) from trouble
        except image.DAMAGE as error:
            raise limits.trouble(path, "unreadable", _("cannot be decoded: {why}").format(why=error)) from error

    def save(self, path: Path) -> None:
        write = WRITERS[files.ending(path, WRITERS)]
        files.write(path, write(self.vertices, self.faces))

    @property
    def extent(self) -> list[float]:
        """Extent along x, y and z, in the mesh's own unit."""
        return np.ptp(self.vertices, axis=0).tolist() if len(self.vertices) else [0.0] * 3

    def as_json(self) -> dict[str, Any]:
        return {"vertices": len(self.vertices), "faces": len(self.faces), "extent": self.extent}

    def __str__(self) -> str:
        return _("surface of {faces} triangles, {vertices} vertices, {extent}").format(
            faces=units.whole(len(self.faces)),
            vertices=units.whole(len(self.vertices)),
            extent=" x ".join(f"{reach:.4g}" for reach in self.extent),
        )

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>"


Parts = tuple[np.ndarray, np.ndarray]  # vertices and faces


def _too_many(count: int) -> UserError:
    return UserError(
        "too large",
        _("the surface has {count} parts").format(count=units.whole(count)),
        expected=_("at most {count}").format(count=units.whole(MOST)),
        exit=3,
    )


def _reader(path: Path, raw: bytes) -> Callable[[bytes], Parts]:
    """Return the reader for the content; the name decides only where a text could be either."""
    if raw.startswith(b"ply"):
        return _from_ply
    count = struct.unpack("<I", raw[80:84])[0] if len(raw) >= HEAD else -1
    if HEAD + count * STL.itemsize == len(raw):
        return _from_stl
    if raw.lstrip()[:5].lower() == b"solid" and b"facet" in raw[:10_000]:
        return _from_text_stl
    if b"\0" not in raw[:10_000] and any(words[:1] == [b"v"] for words in _lines(raw[:200_000])):
        return _from_obj
    if path.suffix.lower() == ".stl" and count > 0:
        raise UserError("truncated", _("the file is cut short"), exit=3)
    raise UserError("not a mesh", _("not a surface that is read here"), expected="OBJ, STL, PLY")


def _lines(raw: bytes) -> Iterator[list[bytes]]:
    """Yield the words of each line."""
    return (line.split() for line in raw.splitlines())


def _from_obj(raw: bytes) -> Parts:
    vertices: list[list[bytes]] = []
    faces: list[tuple[int, int, int]] = []
    for words in _lines(raw):
        if words[:1] == [b"v"]:
            vertices.append(words[1:4])
        elif words[:1] == [b"f"]:
            corners = [int(word.partition(b"/")[0]) for word in words[1:]]
            if 0 in corners:
                raise ValueError("f 0")
            faces += _fan([c - 1 if c > 0 else len(vertices) + c for c in corners])
        if max(len(vertices), len(faces)) > MOST:
            raise _too_many(max(len(vertices), len(faces)))
    return np.array(vertices, np.float32), np.array(faces, np.int64)


def _fan(corners: Sequence[int]) -> list[tuple[int, int, int]]:
    """Split a polygon into triangles."""
    if len(corners) < 3:
        raise ValueError(_("a face of {count} corners").format(count=len(corners)))
    first = corners[0]
    return [(first, b, c) for b, c in pairwise(corners[1:])]


def _from_stl(raw: bytes) -> Parts:
    triangles = np.frombuffer(raw, STL, offset=HEAD)
    return _joined(triangles["corner"].reshape(-1, 3))


def _from_text_stl(raw: bytes) -> Parts:
    corners: list[list[bytes]] = []
    for words in _lines(raw):
        if words[:1] == [b"vertex"]:
            corners.append(words[1:4])
            if len(corners) > 3 * MOST:
                raise _too_many(len(corners) // 3)
    if not raw.rstrip().splitlines()[-1].lstrip().lower().startswith(b"endsolid"):
        raise UserError("truncated", _("the file is cut short"), exit=3)
    return _joined(np.array(corners, np.float32).reshape(-1, 3))


def _joined(corners: np.ndarray) -> Parts:
    """Merge equal vertices of triangles given as three corners each."""
    if len(corners) > 3 * MOST:
        raise _too_many(len(corners) // 3)
    vertices, faces = np.unique(corners, axis=0, return_inverse=True)
    return vertices, faces.reshape(-1, 3)


def _from_ply(raw: bytes) -> Parts:
    head, end, body = raw.partition(b"end_header")
    if not end:
        raise UserError("truncated", _("the file is cut short"), exit=3)
    heading = list(_lines(head))
    for order in (b"little", b"big"):
        if [b"format", b"binary_" + order + b"_endian", b"1.0"] in heading:
            return _from_binary_ply(heading, body, "<" if order == b"little" else ">")
    if [b"format", b"ascii", b"1.0"] not in heading:
        raise UserError("unreadable", _("a PLY file of an unknown format"), expected="ascii 1.0")
    rows = (words for words in _lines(body) if words)
    vertices, faces = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)
    for name, count, properties in _elements(heading):
        if count > MOST:
            raise _too_many(count)
        lines = [words for _number, words in zip(range(count), rows, strict=False)]
        if len(lines) < count:
            raise UserError("truncated", _("the file is cut short"), exit=3)
        if name == b"vertex":
            places = [properties.index(axis) for axis in (b"x", b"y", b"z")]
            vertices = np.array([[words[p] for p in places] for words in lines], np.float32)
        elif name == b"face":
            faces = np.array(
                [triangle for words in lines for triangle in _fan(list(map(int, words[1 : int(words[0]) + 1])))],
                np.int64,
            )
    return vertices, faces


def _from_binary_ply(heading: list[list[bytes]], body: bytes, order: str) -> Parts:
    place = body.index(b"\n") + 1
    vertices, faces = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)
    for name, count, properties in _elements(heading):
        if count > MOST:
            raise _too_many(count)
        kind = _row(heading, name, order)
        if place + count * kind.itemsize > len(body):
            raise UserError("truncated", _("the file is cut short"), exit=3)
        rows = np.frombuffer(body, kind, count, place)
        place += count * kind.itemsize
        if name == b"vertex":
            axes = [str(properties.index(axis)) for axis in (b"x", b"y", b"z")]
            vertices = np.stack([rows[axis] for axis in axes], 1).astype(np.float32)
        elif name == b"face":
            if count and (rows["count"] != 3).any():
                raise ValueError(_("faces that are no triangles"))
            faces = rows["0"].astype(np.int64).reshape(-1, 3)
    return vertices, faces


def _row(heading: list[list[bytes]], element: bytes, order: str) -> np.dtype:
    """Return the dtype of an element's rows in a binary file; lists must have three numbers."""
    fields: list[tuple[Any, ...]] = []
    inside = False
    for words in heading:
        if words[:1] == [b"element"]:
            inside = words[1] == element
        elif inside and words[:2] == [b"property", b"list"]:
            if fields:
                raise ValueError(_("faces with more than their corners"))
            fields += [("count", order + PLY[words[2]]), ("0", order + PLY[words[3]], 3)]
        elif inside and words[:1] == [b"property"]:
            fields.append((str(len(fields)), order + PLY[words[1]]))
    return np.dtype(fields)


def _elements(heading: list[list[bytes]]) -> Iterator[tuple[bytes, int, list[bytes]]]:
    """Yield name, count and property names of each element in a PLY file's header."""
    places = [i for i, words in enumerate(heading) if words[:1] == [b"element"]]
    for start, end in zip(places, [*places[1:], len(heading)], strict=True):
        properties = [words[-1] for words in heading[start + 1 : end] if words[:1] == [b"property"]]
        yield heading[start][1], int(heading[start][2]), properties


def _as_obj(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in vertices.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (faces + 1).tolist()]
    return "\n".join([*lines, ""]).encode()


def _as_stl(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    triangles = np.zeros(len(faces), STL)
    corner = vertices[faces]  # (F, 3, 3)
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    triangles["corner"] = corner
    triangles["normal"] = normal / np.where(length > 0, length, 1)
    return b"souron".ljust(80) + struct.pack("<I", len(faces)) + triangles.tobytes()


def ply(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    """Encode a mesh as binary little-endian PLY.

    >>> import numpy as np
    >>> coded = ply(np.eye(3), np.array([[0, 1, 2]]))
    >>> coded[:3], b"element face 1" in coded
    (b'ply', True)
    """
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    rows = np.empty(len(faces), [("count", "u1"), ("corner", "<i4", 3)])
    rows["count"], rows["corner"] = 3, faces
    return "\n".join([*lines, ""]).encode() + vertices.astype("<f4").tobytes() + rows.tobytes()


def _as_glb(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    """Encode a mesh as glTF 2.0 in one file.

    https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html
    """
    places, corners = vertices.astype("<f4").tobytes(), faces.astype("<u4").tobytes()
    told: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "souron"},
        "scene": 0,
        "scenes": [{"nodes": [0]} if len(faces) else {}],
    }
    if len(faces):
        reach = {"min": vertices.min(0).tolist(), "max": vertices.max(0).tolist()}
        look = {"baseColorFactor": IVORY, "metallicFactor": 0, "roughnessFactor": 0.7}
        part = {"attributes": {"POSITION": 0}, "indices": 1, "material": 0, "mode": 4}
        told |= {
            "nodes": [{"mesh": 0, "matrix": UPRIGHT}],
            "meshes": [{"primitives": [part]}],
            "materials": [{"pbrMetallicRoughness": look}],
            "buffers": [{"byteLength": len(places) + len(corners)}],
            "bufferViews": [
                {"buffer": 0, "byteOffset": 0, "byteLength": len(places), "target": 34962},
                {"buffer": 0, "byteOffset": len(places), "byteLength": len(corners), "target": 34963},
            ],
            "accessors": [
                {"bufferView": 0, "componentType": 5126, "count": len(vertices), "type": "VEC3", **reach},
                {"bufferView": 1, "componentType": 5125, "count": faces.size, "type": "SCALAR"},
            ],
        }
    head = json.dumps(told, separators=(",", ":")).encode()
    chunks = [(b"JSON", head + b" " * (-len(head) % 4))]
    if len(faces):
        chunks.append((b"BIN\0", places + corners))
    body = b"".join(struct.pack("<I", len(data)) + kind + data for kind, data in chunks)
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


WRITERS = {".obj": _as_obj, ".stl": _as_stl, ".ply": ply, ".glb": _as_glb}
