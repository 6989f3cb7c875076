"""``souron predict`` on input in pieces: a video, a camera, a large image in tiles."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from souron.cli import console
from souron.cli.console import print_json, screen, show
from souron.kinds.boxes import Boxes, counted
from souron.kinds.codecs import moving
from souron.kinds.finding import unlike
from souron.kinds.picture import Picture
from souron.kinds.signature import read_options
from souron.utils.messages import UserError, _

MOST = 20  # tracks in the table


def video_of(model: Any, files: Sequence[str], source: str | None) -> Path | int | None:
    """Return the video's path or the camera's number; None where the files are images.

    Raises UserError for a system that detects no boxes.
    """
    if source is None:
        one = Path(files[0]) if len(files) == 1 else None
        return one if one and moving.is_video(one) and model.asked.gives is Boxes else None
    if model.asked.gives is not Boxes:
        raise UserError(
            "option",
            _("{name} finds no boxes that could be tracked").format(name=model.name),
            expected=_("a detector"),
            fix="souron list",
        )
    if source.isdecimal() and len(source) <= 3:
        return int(source)
    return Path(source)


def watch(
    model: Any,
    source: Path | int,
    folder: Path,
    live: bool,
    mm: float | None,
    chosen: Mapping[str, str],
) -> None:
    from souron.runs import watch as runs_watch

    told = read_options(model.asked.options, dict(chosen), "souron predict --help")
    conf = told.pop("conf", model.asked.options["conf"].default)

    strange: list[bool] = []

    def look(picture: Picture, least: float) -> Boxes:
        boxes = model.answer(picture, conf=least, **told)
        strange.append(bool(unlike(boxes)))
        return boxes

    events = runs_watch.watching(
        look, source, folder, classes=model.system.spec.labels, conf=conf, live=live, mm=mm
    )
    record = _record(events)
    if screen.json:
        checked = {"unlike": sum(strange)} if model.check else {}
        print_json({**record.as_json(), **checked})
        return
    text = _("{frames} frames, {fps:.1f} a second (the video has {rate:.3g}), {dropped} dropped")
    show(text.format(frames=record.frames, fps=record.fps, rate=record.rate,
                     dropped=record.dropped))  # fmt: skip
    if any(strange):
        text = _("{count} of {total} frames are unlike its training data")
        console.warn(text.format(count=sum(strange), total=len(strange)))
    if record.broken:
        console.warn(record.broken)
    if record.tracks:
        show(_table(record))
    if len(record.tracks) > MOST:
        show(_("{count} more in motion.csv").format(count=len(record.tracks) - MOST))
    show(_("saved: {path}").format(path=record.folder))


def look_in_tiles(
    model: Any,
    names: Sequence[str],
    base: Path,
    tile: int,
    overlap: float | None,
    chosen: Mapping[str, str],
) -> None:
    """Detect in each file tile by tile, and write to a folder of its own below ``base``."""
    from souron.runs import tiles
    from souron.utils.files import find_files, new_folder

    told = read_options(model.asked.options, dict(chosen), "souron predict --help")
    share = tiles.OVERLAP if overlap is None else overlap
    tiles.check(tile, share)
    iou = {"iou": told["iou"]} if "iou" in told else {}
    for path in find_files(names, False):
        events = tiles.tiling(
            lambda picture: model.answer(picture, **told),
            path, new_folder(base, path.stem or "picture"), tile=tile, overlap=share, **iou,
        )  # fmt: skip
        record = _record(events)
        if screen.json:
            print_json({"file": str(path), **record.as_json()})
            continue
        text = _("{file}: {width} x {height} pixels, {count} tiles")
        show(text.format(file=path, width=record.size[0], height=record.size[1],
                         count=record.tiles))  # fmt: skip
        if record.microns:
            text = _(
                "{microns:g} µm per pixel: a network that was trained at another magnification "
                "errs without a warning"
            )
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
    return {"frame": int(event.values["frame"]), "seconds": round(event.values["seconds"], 3),
            "boxes": event.rows}  # fmt: skip


def _table(record: Any) -> Any:
    """Return a table of the longest tracks."""
    unit = record.unit
    right = [
        _("frames"), _("path ({unit})").format(unit=unit), _("speed ({unit}/s)").format(unit=unit),
        _("economy"), _("idle (s)"), _("jerk (log)"),
    ]  # fmt: skip
    made = console.table(_("track"), _("label"), *right, right=right)
    for one in sorted(record.tracks, key=lambda one: -one.frames)[:MOST]:
        figures = ["", "", "", "", ""]
        if one.motion is not None:
            m = one.motion
            figures = [f"{m.path:.0f}", f"{m.mean_speed:.1f}", f"{m.economy:.2f}",
                       f"{m.idle:.1f}", f"{m.jerk:.1f}"]  # fmt: skip
        made.add_row(str(one.number), one.label, str(one.frames), *figures)
    return made
