"""Large images, tile by tile."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from souron.action import Hint, Note, Record
from souron.kinds.boxes import counted
from souron.kinds.finding import unchecked
from souron.kinds.signature import read_options
from souron.runs import tiles
from souron.runs.events import Event, changed
from souron.utils.files import find_files, new_folder
from souron.utils.messages import N_, _


class Settings(NamedTuple):
    """Size of the tiles; of a slide also its resolution, and whether tiles without tissue are looked at."""

    tile: int
    overlap: float | None = None
    microns: float = 0.0
    glass: bool = False


@dataclass
class Tiled(Record):
    """The detections in the tiles of one image, in a folder that is written already."""

    eyebrow = N_("answer")

    file: Path
    tiled: Any
    settings: Settings
    folder: Path | None = None

    def page_title(self) -> str:
        return self.file.name

    def as_json(self) -> dict[str, Any]:
        return {"file": str(self.file), **self.tiled.as_json()}

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        made = self.tiled
        text = _("{file}: {width} x {height} pixels, {count} tiles")
        lines = [text.format(file=self.file, width=made.size[0], height=made.size[1], count=made.tiles)]
        if made.glass:
            lines.append(_("{count} further tiles show no tissue and were left out (--glass)").format(count=made.glass))
        areas = ", ".join(f"{area['label']} {area['share']:.1%}" for area in made.areas)
        return [*lines, areas or counted([box["label"] for box in made.boxes])]

    def notes(self) -> list[str]:
        text = _("{microns:g} µm per pixel; a network that was trained at another resolution needs microns=")
        unsure = self.tiled.microns and not self.settings.microns
        return [
            *([text.format(microns=self.tiled.microns)] if unsure else []),
            *([self.tiled.broken] if self.tiled.broken else []),
        ]

    def shown(self) -> list[Any]:
        saved = _("saved: {path}").format(path=self.tiled.folder)
        return [Hint(unchecked()), *map(Note, self.notes()), *self.sentences(), saved]


def run(model: Any, names: Sequence[str], base: Path, settings: Settings, chosen: Mapping[str, str]) -> Iterator[Event]:
    """Detect in each file tile by tile, and write to a folder of its own below ``base``; see ``tiles.tiling``."""
    told = read_options(model.asked.options, dict(chosen), "souron predict --help")
    share = tiles.OVERLAP if settings.overlap is None else settings.overlap
    tiles.check(settings.tile, share)
    iou = {"iou": told["iou"]} if "iou" in told else {}
    for path in find_files(names, False):

        def record(event: Event, path: Path = path) -> Event:
            made = event.record
            return event if made is None else Event("", record=Tiled(path, made, settings))

        events = tiles.tiling(
            lambda picture: model.answer(picture, **told),
            path,
            new_folder(base, path.stem or "picture"),
            tile=settings.tile,
            overlap=share,
            microns=settings.microns,
            glass=settings.glass,
            **iou,
        )
        yield from changed(events, record)
