"""The page "Annotate": what its script asks for, and the suggestions of systems."""

import io
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi.responses import Response
from PIL import Image

from souron import registry
from souron.hub import zoo
from souron.studio.runs import run_list
from souron.studio.shared import Studio, command, words
from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from souron.data.hand_annotations import Folder

LISTED = 60  # images of one page of the list
SHOWN = 1600  # pixels of the longer side of an image on the page
THUMBNAIL = 160  # pixels
MOST_SHOWN = 2000  # annotations of an image on the page
MOST_SUGGESTED = 100  # of an image
PHOTOGRAPHS = ("nanodet", "ssd_oid")  # detectors of photographs, the better one first
TRAINED = ("yolo", "yolo_seg")  # by the next step, with boxes and with outlines


def folder_of(studio: Studio, asked: Mapping[str, Any]) -> "Folder":
    """Return the annotations of the folder that a request names. Raises UserError, also outside of the roots."""

    from souron.data import hand_annotations

    text = asked.get("data")
    if not isinstance(text, str) or not text:
        raise UserError("missing", _("no folder is named"), expected=_("a folder with images"))
    folder = hand_annotations.opened(studio.roots.check(text))
    studio.roots.check(folder.root)  # a file describes the folder above it
    return folder


def file_of(asked: Mapping[str, Any]) -> str:
    return str(asked.get("file") or "")


def listed(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return one page of the images with their states, and what is known of the whole folder."""
    folder = folder_of(studio, asked)
    with folder.lock:
        states = folder.states()
        classes, notes = folder.classes(), folder.notes()
        training = studio.roots.spell(folder.path_for_training())
    files = [file for file, count in states.items() if count < 0] if asked.get("only") == "new" else list(states)
    last = max(0, -(-len(files) // LISTED) - 1)
    place = files.index(file_of(asked)) // LISTED if file_of(asked) in files else asked.get("page")
    page = min(max(place, 0), last) if isinstance(place, int) else 0
    counts = list(states.values())
    return {
        "files": [[file, states[file]] for file in files[page * LISTED : (page + 1) * LISTED]],
        "page": page,
        "pages": last + 1,
        "total": len(counts),
        "drawn": sum(count > 0 for count in counts),
        "empty": counts.count(0),
        "classes": classes,
        "notes": [str(note) for note in notes],
        "train": {system: studio.url("train", system=system, data=training) for system in TRAINED},
        "commands": [command(words("train", [system], {"data": training})) for system in TRAINED],
    }


def image(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return an image's annotations, and the names of the images around it."""
    folder = folder_of(studio, asked)
    with folder.lock:
        states = folder.states()
        names = list(states)
        file = file_of(asked) or next((name for name, count in states.items() if count < 0), "")
        file = file or (names[0] if names else "")
        found = around(states, file)
        try:
            return found | folder.image(file, MOST_SHOWN)
        except UserError as error:
            if file not in states:
                raise
            # the page can still go to the next one
            return found | {"file": file, "broken": error.found, "marks": [], "classes": folder.classes()}


def around(states: Mapping[str, int], file: str) -> dict[str, Any]:
    """Return the images before and after one, and the next that nobody has looked at."""
    names = list(states)
    place = names.index(file) if file in states else 0
    later = [*names[place + 1 :], *names[:place]]
    return {
        "place": place,
        "total": len(names),
        "previous": names[place - 1] if place else "",
        "next": names[place + 1] if place + 1 < len(names) else "",
        "todo": next((name for name in later if states[name] < 0), ""),
    }


def saved(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Save the changes of an image; return its version, or why it was not saved."""
    folder, file = folder_of(studio, asked), file_of(asked)
    changed, deleted, added = (a_list(asked.get(name)) for name in ("changed", "deleted", "added"))
    if not all(isinstance(mark, dict) for mark in (*changed, *added)):
        raise UserError("numbers", _("an annotation that is none"), expected=_("a class, and a box or outlines"))
    looked = asked.get("looked") is not False
    try:
        return {"version": folder.save(file, str(asked.get("version")), changed, deleted, added, looked)}
    except UserError as error:
        if error.code != "changed":
            raise
        return {"changed": error.found}


def a_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def classes(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Add, rename or remove a class; return all classes."""
    folder = folder_of(studio, asked)
    name, new = str(asked.get("name") or ""), str(asked.get("new") or "")
    match asked.get("do"):
        case "add":
            folder.add_class(name)
        case "rename":
            folder.rename_class(name, new)
        case "remove":
            folder.remove_class(name)
    return {"classes": folder.classes()}


def systems(studio: Studio, folder: "Folder") -> dict[str, str]:
    """Map each system that can suggest to what it was trained on, the best for this folder first.

    Runs that were trained on the folder come first, then detectors of photographs that are here, other runs, and
    systems trained on generated scenes.
    """

    from souron.pipelines import default_system

    tasks = {registry.find(name)[0].task for name in TRAINED}
    own: list[str] = []
    other: list[str] = []
    for run in run_list.runs(studio.project):
        if run.task in tasks and run.state == "finished":
            (own if trained_on(run.data, folder.root) else other).append(str(run.folder))
    here = default_system.starters()
    photographs = [name for name in PHOTOGRAPHS if name in here]
    ready = [] if zoo.root() is None else [
        file.stem
        for file in registry.system_files()
        if file.parent.name in tasks and zoo.where(file.stem) is not None and file.stem not in photographs
    ]  # fmt: skip
    ready.sort(key=lambda name: (name not in TRAINED, name))
    return {name: default_system.learnt_from(name) for name in (*own, *photographs, *other, *ready)}


def trained_on(data: str, root: Path) -> bool:
    """Return whether a run's data is this folder, or a file in it."""
    try:
        path = Path(data).resolve()
    except (OSError, ValueError):
        return False
    return bool(data) and (path == root or (path.parent == root and path.suffix == ".json"))


def able(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the systems that can suggest: name, title, training data."""
    found = systems(studio, folder_of(studio, asked))
    return {"systems": [[name, Path(name).name, data] for name, data in found.items()]}


def suggested(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a system detects in an image as marks, of which nothing is stored. Raises UserError."""

    from souron.data import hand_annotations
    from souron.studio.model_cache import models

    folder, system = folder_of(studio, asked), str(asked.get("system") or "")
    known = list(systems(studio, folder))
    if system not in known:
        raise UserError(
            "system",
            _("{system} does not suggest boxes or outlines").format(system=system[:200]),
            expected=", ".join(known[:10]),
        )
    with folder.lock:
        folder.files()
        path = folder.path(file_of(asked))
        hand_annotations.size_of(path, folder.root)  # refuses links that leave the folder
    with models.answering(system) as model:
        answers = [model.answer(given) for given in islice(model.asked.given.each(path, **model.reading), 1)]
    return {"marks": [mark for answer in answers for mark in marks_of(answer, folder.classes())]}


def marks_of(answer: Any, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the boxes or outlines of an answer, the most confident first, with the folder's names of classes."""

    from souron.data import hand_annotations

    own = {name.casefold(): name for name in reversed(classes)}
    found = answer.found
    scores = found.scores or [1.0] * len(found.names)
    order = sorted(range(len(found.names)), key=lambda i: -scores[i])[:MOST_SUGGESTED]
    marks = []
    for i in order:
        mark: dict[str, Any] = {"class": own.get(found.names[i].casefold(), found.names[i]), "score": float(scores[i])}
        if hasattr(answer, "inside"):
            mark["outlines"] = hand_annotations.outlines_of(answer.inside(i))
        elif hasattr(answer, "box"):
            left, top, right, bottom = map(float, answer.box[i])
            mark["box"] = [left, top, right - left, bottom - top]
        try:
            shape = hand_annotations.as_shape(mark, answer.picture.size)
        except UserError:  # nothing of it lies inside of the image
            continue
        if shape:
            marks.append(mark)
    return marks


def shown(studio: Studio, query: Mapping[str, str]) -> Response:
    """Return an image of the folder as PNG, upright, of at most ``SHOWN`` pixels a side. Raises UserError."""
    return _png(studio, query, SHOWN)


def thumbnail(studio: Studio, query: Mapping[str, str]) -> Response:
    """Return a small image; a dot for one that cannot be read, which is explained where it is opened."""
    try:
        return _png(studio, query, THUMBNAIL)
    except UserError:
        return _answer(Image.new("L", (1, 1), 128))


def _png(studio: Studio, query: Mapping[str, str], side: int) -> Response:
    from souron.kinds.codecs import image as image_codec

    folder = folder_of(studio, query)
    with folder.lock:
        folder.files()
        path = folder.path(file_of(query))
    read = image_codec.rounded(image_codec.read(path, folder.root, about=side))
    read.thumbnail((side, side))
    return _answer(read)


def _answer(image: Image.Image) -> Response:
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return Response(stream.getvalue(), media_type="image/png", headers={"Cache-Control": "private, max-age=60"})
