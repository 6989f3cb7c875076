"""``souron predict`` on input in pieces: a video, a camera, a large image in tiles."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from souron.cli import console
from souron.cli.actions import print_record
from souron.cli.console import note, print_json, screen, show
from souron.kinds.boxes import Boxes, counted
from souron.kinds.codecs import moving
from souron.kinds.finding import unchecked
from souron.kinds.signature import read_options
from souron.utils.messages import _


def video_of(model: Any, files: Sequence[str], source: str | None) -> Path | int | None:
    """Return the video's path or the camera's number; None where the files are images.

    Raises UserError for a system that detects no boxes.
    """
    if source is None:
        one = Path(files[0]) if len(files) == 1 else None
        return one if one and moving.is_video(one) and model.asked.gives is Boxes else None
    from souron.actions import watch as study

    study.check_detector(model)
    return int(source) if study.is_camera(source) else Path(source)


def watch(
    model: Any, source: Path | int, folder: Path, live: bool, mm: float | None, chosen: Mapping[str, str]
) -> None:
    """Process a video, and print what each frame and the whole held."""
    from souron.actions import watch as study

    record = _record(study.of_model(model, source, folder, chosen, live=live, mm=mm))
    if screen.json:
        print_json(record.as_json())
    else:
        print_record(record)


def look_in_tiles(
    model: Any,
    names: Sequence[str],
    base: Path,
    tile: int,
    overlap: float | None,
    chosen: Mapping[str, str],
    microns: float | None = None,
    glass: bool = False,
) -> None:
    """Detect in each file tile by tile, and write to a folder of its own below ``base``; see
    ``tiles.tiling``.
    """
    from souron.runs import tiles
    from souron.utils.files import find_files, new_folder

    told = read_options(model.asked.options, dict(chosen), "souron predict --help")
    share = tiles.OVERLAP if overlap is None else overlap
    tiles.check(tile, share)
    iou = {"iou": told["iou"]} if "iou" in told else {}
    for path in find_files(names, False):
        events = tiles.tiling(
            lambda picture: model.answer(picture, **told),
            path,
            new_folder(base, path.stem or "picture"),
            tile=tile,
            overlap=share,
            microns=microns or 0.0,
            glass=glass,
            **iou,
        )
        record = _record(events)
        if screen.json:
            print_json({"file": str(path), **record.as_json()})
            continue
        note(unchecked())
        text = _("{file}: {width} x {height} pixels, {count} tiles")
        show(text.format(file=path, width=record.size[0], height=record.size[1], count=record.tiles))
        if record.glass:
            show(_("{count} further tiles show no tissue and were left out (--glass)").format(count=record.glass))
        if record.microns and not microns:
            text = _("{microns:g} µm per pixel; a network that was trained at another resolution needs microns=")
            console.warn(text.format(microns=record.microns))
        if record.broken:
            console.warn(record.broken)
        show(
            ", ".join(f"{area['label']} {area['share']:.1%}" for area in record.areas)
            or counted([box["label"] for box in record.boxes])
        )
        show(_("saved: {path}").format(path=record.folder))


def _record(events: Any) -> Any:
    """Report each piece and return the record; Ctrl-C ends it normally, as for a camera."""
    with console.watcher() as tell:
        while True:
            try:
                event = next(events)
                if event.record is not None:
                    return event.record
                if screen.json and "frame" in event.values:
                    print_json(_frame(event))
                tell(event)
            except KeyboardInterrupt as stop:
                return events.throw(stop).record


def _frame(event: Any) -> dict[str, Any]:
    return {"frame": int(event.values["frame"]), "seconds": round(event.values["seconds"], 3), "boxes": event.rows}
