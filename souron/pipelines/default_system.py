"""Choice of a system for a file where the user names none.

The extension of a file's name determines the kind of its content; for each kind one system is the
default: for an image the one that was trained on photographs, where its weights are here, else its
small ready-trained version. A film is for a detector, whose boxes are joined to tracks, if one is
here that was trained on such images; else some of its frames are classified. The user's own runs in
``runs/``, and what ``souron fetch starters`` brought, are listed as alternatives.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from souron import model as models_api
from souron import registry
from souron.hub import names, networks, weights, zoo
from souron.kinds.codecs import limits, moving
from souron.kinds.finding import unlike
from souron.kinds.kind import Kind
from souron.kinds.picture import Picture
from souron.kinds.score import Score
from souron.kinds.signature import read_options, signature
from souron.kinds.sound import Sound
from souron.kinds.table import Table
from souron.kinds.text import Text
from souron.kinds.volume import Volume
from souron.runs import folder as run_folder
from souron.utils.files import find_files, there
from souron.utils.messages import UserError, _

FIRST = {  # kind -> default system
    "Picture": "efficientnet_lite",
    "Volume": "unet_3d",
    "Text": "gpt",
    "Score": "music_transformer",
    "Sound": "whisper_base",  # where it was fetched
}
OF_FILMS = "yolo"  # the ready-trained detector, for films that are like its training data
OF_FILMED_SCENES = ("nanodet", "ssd_oid")  # detectors trained on photographs, the faster one first
KINDS = (Picture, Volume, Text, Score, Table, Sound)
SERIES = "CT"  # the DICOM modality that a ready-trained system was trained on
SAMPLED = 5  # frames of a video, evenly spaced
MOST_SECONDS = 600  # read of a video of unknown length
MOST_RUNS = 5  # of the user's that are listed


@dataclass(frozen=True)
class Choice:
    """A system for some files, and the alternatives."""

    system: str
    others: tuple[str, ...] = ()  # ready-trained systems and the user's runs


def kind_of(path: Path) -> type[Kind] | None:
    """Return the kind for a file name's extension; None for an unknown one."""
    name = path.name.lower()
    return next((kind for kind in KINDS if name.endswith(tuple(kind.formats))), None)


def choose(word: str, project: Path = Path("runs")) -> Choice:
    """Choose the best available system for a file, a folder, a glob or a text.

    Raises UserError where no available system was trained on such files.
    """
    if not there(word) and models_api.is_typed(word):
        return _choice("Text", project)
    path = _first(word)
    if path.suffix.lower() in limits.DICOM:
        modality = _modality(path)
        if modality == SERIES and Path(word).is_dir():
            return _choice("Volume", project)
        raise _nothing(path, _("DICOM images of modality {modality}").format(modality=modality or "?"), project)
    if moving.is_video(path):
        return _for_film(path, _choice("Picture", project))
    kind = kind_of(path)
    if kind is None or kind.__name__ not in FIRST:
        raise _nothing(path, _("files such as {name}").format(name=path.name), project)
    return _choice(kind.__name__, project)


def predict(model: models_api.Model, files: list[str], **options: str) -> Iterator[tuple[Path, Kind | UserError]]:
    """Predict like ``model.predict``; for a video, some of its frames, named ``clip.mp4#12.0s``."""
    for name in files:
        path = Path(name)
        if there(name) and path.is_file() and moving.is_video(path):
            yield from _frames(model, path, read_options(model.asked.options, options))
        else:
            yield from models_api.predict(model, [name], **options)


def _frames(model: models_api.Model, path: Path, options: Mapping[str, Any]) -> Iterator[tuple[Path, Kind | UserError]]:
    length = moving.length(path)
    step = (length or 0.0) / SAMPLED
    wanted = 0.0
    try:
        for frame in islice(moving.frames(path), moving.MOST):
            if frame.at > MOST_SECONDS:
                return
            if frame.at >= wanted:
                named = f"{path}#{frame.at:.1f}s"
                yield Path(named), model.answer(Picture(Image.fromarray(frame.pixels), named), **options)
                wanted = frame.at + max(step, 1.0)
    except UserError as trouble:
        yield path, trouble


def _first(word: str) -> Path:
    """Return the first file that a word matches. Raises UserError where there is none."""
    path = next(iter(find_files([word])), None)
    if path is None or not there(str(path)):
        raise UserError(
            "no files",
            _("nothing was found at {files}").format(files=word),
            expected=_("images, folders with images, or globs that match some"),
            exit=3,
        )
    return path


def _modality(path: Path) -> str:
    """Return the modality of a DICOM file, such as ``CT``. Raises UserError."""
    from souron.kinds.codecs import dicom

    return str(getattr(dicom.read(path, pixels=False), "Modality", ""))


def _choice(kind: str, project: Path) -> Choice:
    system = FIRST[kind]
    ready = zoo.root()
    photographs = [name for name in starters() if registry.takes(_task(name)) == kind]
    others = [
        file.stem
        for file in registry.system_files()
        if ready is not None
        and file.stem != system
        and registry.takes(file.parent.name) == kind
        and (ready / file.stem / "args.yaml").is_file()
    ]
    return Choice(system, (*_own_runs(kind, project), *photographs, *others))


def pictures(project: Path = Path("runs")) -> Choice:
    """Return the default system for an image, and the alternatives."""
    return _choice("Picture", project)


def available(choice: Choice) -> str:
    """Return the first system of a choice that can answer on this computer; the default if none can."""
    return next((name for name in (choice.system, *choice.others) if "/" in name or _is_here(name)), choice.system)


def _is_here(name: str) -> bool:
    """Return whether a system can answer: ready trained, or with its published weights."""
    if zoo.where(name) is not None:
        return True
    entry, size = registry.find(name)
    return size in entry.weights and weights.find(entry.weights[size]) is not None


def _for_film(path: Path, choice: Choice) -> Choice:
    """Put a detector first whose training data is like the film, or that was trained on photographs."""
    fetched = next((name for name in OF_FILMED_SCENES if name in choice.others), "")
    detector = OF_FILMS if OF_FILMS in choice.others and _is_familiar(OF_FILMS, path) else fetched
    if not detector:
        return choice
    return Choice(detector, (choice.system, *(name for name in choice.others if name != detector)))


def _is_familiar(name: str, path: Path) -> bool:
    """Return whether a film's first frame is like the training data of a system, by its check."""
    model = models_api.load(name)
    try:
        frame = next(moving.frames(path), None)
        if frame is None or model.check is None:
            return False
        return not unlike(model.answer(Picture(Image.fromarray(frame.pixels), str(path))))
    except UserError:  # predicting reports it
        return False


def _task(name: str) -> str:
    return registry.find(name)[0].task


def starters() -> list[str]:
    """List the systems whose weights from ``souron fetch starters`` are on this computer."""
    return [name for name, network in networks.networks().items() if weights.find(network.source) is not None]


def learnt_from(name: str) -> str:
    """Return the training data of a run or a system by its name; "" where it is unknown."""
    if names.is_run(name):
        return str(run_folder.read_args(Path(name)).get("data", ""))
    folder = zoo.where(name)
    if folder is not None:
        data = zoo.receipt(folder).get("data")
        return str(data.get("name", "")) if isinstance(data, dict) else ""
    if not registry.is_system(name):
        return ""
    entry, size = registry.find(name)
    return registry.published_from(name) if size in entry.weights else ""


def _own_runs(kind: str, project: Path) -> list[str]:
    """Return the user's runs that answer for such a kind, the newest first."""
    tasks = [task for task in registry.tasks() if registry.takes(task) == kind]
    runs = (str(run) for run in names.runs(tasks, project) if _takes(run, kind))
    return list(islice(runs, MOST_RUNS))


def _takes(run: Path, kind: str) -> bool:
    """Return whether a run's system predicts for one such file; a clustering, for example, does not."""
    try:
        asked = signature(registry.load_system(str(run_folder.read_args(run)["system"]))[0])
    except UserError:  # loading it says what is wrong
        return False
    return asked is not None and asked.given.__name__ == kind


def _nothing(path: Path, things: str, project: Path) -> UserError:
    kind = kind_of(path)
    own = _own_runs(kind.__name__, project) if kind else []
    train = f"mlp data={path}" if kind is Table else "efficientnet_lite data=FOLDER"
    able = _("a photograph, a NIfTI volume, a folder with a CT series, a video, a text or a score")
    return UserError(
        "nothing learnt",
        _("no ready-trained system here was trained on {things}").format(things=things),
        expected=_("a run of your own: {runs}").format(runs=", ".join(own)) if own else able,
        fix=f"souron predict {own[0]} {path}" if own else f"souron train {train}",
        exit=5,
    )
