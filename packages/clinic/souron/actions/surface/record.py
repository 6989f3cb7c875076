"""The surface of a volume: its measures, its files, and its page with slices beside it."""

import secrets
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from souron.action import Fact, Live, Record, Section, Table, sections
from souron.kinds.codecs import nifti
from souron.kinds.mesh import Mesh, ply
from souron.kinds.volume import Volume
from souron.report import page, viewer
from souron.utils import units
from souron.utils.messages import N_, _, again


@dataclass
class Views:
    """The parts of a surface that its page shows."""

    volume: Volume
    mask: np.ndarray  # (slices, rows, columns) bool
    mesh: Mesh  # with triangles enough to turn
    sides: bytes  # a PNG from six sides


@dataclass
class SurfaceRecord(Record):
    """The surface of a volume and its measures."""

    eyebrow = N_("surface")
    json_file = "surface.json"
    page_file = "surface.html"
    template = "surface.html"

    name: str
    volume: dict[str, Any]  # from ``Volume.as_json``
    level: float
    part: str
    parts: int
    whole: float  # ml of all parts
    lost: float  # share outside of the largest part
    triangles_before: int
    before: float  # ml of the selected part
    triangles: int
    millilitres: float
    moved: float  # largest displacement in mm by the reduction of triangles
    open_edges: int
    remarks: tuple[str, ...]  # of the volume, in the language of the run
    views: Views
    folder: Path = Path()
    meshes: list[Path] = field(default_factory=list)  # the files beside the page
    seconds: float = 0.0
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))  # of the page's scripts

    @property
    def files(self) -> list[Path]:
        return [*self.meshes, *filter(None, [self.report])]

    def as_json(self) -> dict[str, Any]:
        return {
            "volume": self.volume,
            "level": self.level,
            "part": self.part,
            "parts": self.parts,
            "millilitres": {"whole": self.whole, "before": self.before, "after": self.millilitres},
            "lost": self.lost,
            "triangles": {"before": self.triangles_before, "after": self.triangles},
            "moved": self.moved,
            "open_edges": self.open_edges,
            "notes": list(self.remarks),
            "seconds": self.seconds,
            "files": self.files,
        }

    def page_title(self) -> str:
        return _("Surface of {name}").format(name=self.name)

    def sentences(self) -> list[str]:
        if self.part == "all":
            text = _("{count} parts, {volume} ml in total, at {level:g}.")
        else:
            text = _(
                "The largest of {count} parts at {level:g}: {volume} ml. The others are {lost} of "
                "the whole and were left out."
            )
        fields = {
            "count": units.whole(self.parts),
            "level": self.level,
            "volume": _ml(self.millilitres),
            "lost": units.percent(self.lost),
        }
        return [text.format(**fields)]

    def facts(self) -> list[Fact]:
        closed = _("closed") if not self.open_edges else ""
        wrong = "" if closed else _("{count} edges are open").format(count=self.open_edges)
        spacing, size = self.volume["spacing"], self.volume["size"]
        return [
            Fact(_("volume"), _("{amount} ml").format(amount=_ml(self.millilitres))),
            Fact(_("triangles"), units.whole(self.triangles), closed, wrong),
            Fact(_("parts"), units.whole(self.parts)),
            Fact(_("spacing"), " × ".join(f"{one:.4g}" for one in spacing) + " mm"),
            Fact(_("size"), " × ".join(map(str, size)), self.volume["orientation"]),
        ]

    def notes(self) -> list[str]:
        notes, step = [again(note) for note in self.remarks], self._small[2]
        if step > 1:
            text = _("The page shows one voxel in {n} along each axis; the surface was made of all.")
            notes.append(text.format(n=step))
        turned = len(self.views.mesh.faces)
        if turned < self.triangles:
            text = _("The page turns {few} of the {many} triangles; the files have all.")
            notes.append(text.format(few=units.whole(turned), many=units.whole(self.triangles)))
        return notes

    def shown(self) -> list[Any]:
        rows = [
            *self.rows(),
            *((_("note"), again(note)) for note in self.remarks),
            (_("seconds"), units.seconds(self.seconds)),
            *((_("file"), str(file)) for file in self.files),
        ]
        return [*self.sentences(), "", Table((), rows)]

    def sections(self) -> list[Section]:
        sizes = [(file.name, units.size(file.stat().st_size)) for file in self.meshes]
        image = page.plot(self.views.sides, _("The surface from six sides"))
        axes = _(
            "Vertices are millimetres towards the patient's left, back and head, as in DICOM. The GLB stands upright, "
            "in metres."
        )
        device = _(
            "This is an image of one examination and no medical device: nothing here is fit for a diagnosis or for "
            "planning an operation."
        )
        return sections(
            ("slices", _("Slices and surface"), [Live(page.part("viewer.html", **self._slices()))]),
            ("sides", _("From six sides"), [image]),
            ("files", _("Files"), [axes, Table([], sizes)] if sizes else []),
            ("how", _("How it was made"), [Table([], self.rows()), device]),
        )

    def further(self) -> dict[str, Any]:
        scripts = {"niivue": viewer.script("niivue.js"), "viewer": viewer.script("surface.js")}
        return {"nonce": self.nonce, **scripts}

    @cached_property
    def _small(self) -> tuple[Volume, np.ndarray, int]:
        return viewer.shown(self.views.volume, self.views.mask)

    @cached_property
    def _encoded(self) -> dict[str, Any]:
        """The volume, the mask and the triangles, as the page holds them."""
        small, inside, _step = self._small
        mesh = self.views.mesh
        mask = nifti.written(inside.astype(np.uint8), small.affine, True)
        return {
            "volume": viewer.encoded(nifti.written(small.values, small.affine, True)),
            "mask": viewer.encoded(mask),
            "meshes": [viewer.encoded(ply(viewer.turned(mesh.vertices), mesh.faces))],
        }

    def _slices(self) -> dict[str, Any]:
        return {
            **self._encoded,
            "windows": viewer.windows(_first_window(self.level)),
            "about": viewer.told([(236, 226, 204)]),
            "labels": [],
            "nonce": self.nonce,
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return how the surface was made, for the page and the terminal."""
        spacing, size = self.volume["spacing"], self.volume["size"]
        largest = _("{amount} ml, {lost} less").format(
            amount=_ml(self.whole * (1 - self.lost)), lost=units.percent(self.lost)
        )
        told = [
            (_("series"), self.volume["series"]),
            (_("size"), " x ".join(map(str, size)) + f", {self.volume['orientation']}"),
            (_("spacing"), " x ".join(f"{one:.4g}" for one in spacing) + " mm"),
            (_("level"), f"{self.level:g}"),
            (_("parts"), units.whole(self.parts)),
            (_("whole"), _("{amount} ml").format(amount=_ml(self.whole))),
            (_("largest part"), largest),
            (_("marching cubes"), _amount(self.before, self.triangles_before)),
        ]
        if self.moved:
            change = _("moved by {distance:.2g} mm at most, the volume by {change:+.2f} %").format(
                distance=self.moved, change=100 * (self.millilitres / self.before - 1)
            )
            amount = _amount(self.millilitres, self.triangles)
            told.append((_("fewer triangles"), f"{amount}, {change}"))
        closed = _("yes: every edge has two triangles")
        if self.open_edges:
            closed = _("no: {count} edges are open").format(count=self.open_edges)
        return [(name, text) for name, text in [*told, (_("closed"), closed)] if text]


def _first_window(level: float) -> str:
    """Return the window selected at first, by the surface's level: bone for a level of bone."""
    return "bone" if level >= 150 else "lung" if level < -300 else "soft tissue"


def _ml(amount: float) -> str:
    return f"{amount:,.1f}" if amount >= 10 else f"{amount:.3g}"


def _amount(millilitres: float, triangles: int) -> str:
    return _("{amount} ml, {count} triangles").format(amount=_ml(millilitres), count=units.whole(triangles))
