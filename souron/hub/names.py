"""Resolve a name: a run, a system, a published model or a file of weights.

``resolve`` is used by every command, the studio, the server and the Python interface, once for a
name: what it returns is passed on. It inspects names and the first bytes of files, and never uses
the network.

>>> resolve("resnet50").name
'resnet50'
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from souron import registry
from souron.hub import packages, weights, zoo
from souron.utils.messages import N_, UserError, _

RUN = "args.yaml"  # in the folder of a run
WEIGHTS = (".pth", ".safetensors")  # files of weights alone
GGUF = ".gguf"
STABLE_DIFFUSION = "model.diffusion_model."  # prefix of its UNet's tensors
KARLO = ("prior", "decoder", "super_res_first", "super_res_last", "text_proj")  # folders of its parts
MOST_CONFIG = 10_000_000  # bytes
MOST_HEAD = 64 << 20  # bytes of a file's table of tensors


@dataclass(frozen=True)
class Meaning:
    """A named thing that can be loaded, see ``runs.loading``."""

    what: ClassVar[str]
    name: str  # as given by the user


@dataclass(frozen=True)
class Run(Meaning):
    """The folder of a run."""

    what = N_("the folder of a run")
    folder: Path


@dataclass(frozen=True)
class Ready(Run):
    """A ready-trained system: its run in ``souron_zoo``."""

    what = N_("a ready-trained system")


@dataclass(frozen=True)
class System(Meaning):
    """A system by its name, without a trained run."""

    what = N_("a system")
    published: bool = False  # its published weights are on this computer


@dataclass(frozen=True)
class OpenModel(Meaning):
    """A published language model: its name, a .gguf file, or the folder of its files."""

    what = N_("a published language model")


@dataclass(frozen=True)
class DiffusionModel(Meaning):
    """Stable Diffusion 1.5 or Karlo as published: a folder, or a single .safetensors file of the former.

    Loading reports a ``path`` where nothing is.
    """

    what = N_("a published diffusion model")
    path: Path
    lora: Path | None = None  # weights to add, see ``hub.adapters``


@dataclass(frozen=True)
class PublishedFolder(Meaning):
    """A folder of published weights with their ``config.json``, of a system here: ``whisper``."""

    what = N_("a folder of published weights")
    path: Path
    system: str


@dataclass(frozen=True)
class WeightsFile(Meaning):
    """A file of weights alone; its system is determined on loading."""

    what = N_("a file of weights")
    path: Path


def resolve(name: str | Path) -> Meaning:
    """Return the meaning of a name.

    Raises UserError for an unknown name, and for an ambiguous one: a local folder with the name of
    a system.
    """
    return known(name) or missing(name)


def missing(name: str | Path) -> Run:
    """Return the run of a path that means nothing here, whose loading reports what is missing.

    Raises UserError for an unknown name, with the nearest ones.
    """
    text, path = str(name), _path(name)
    if len(path.parts) > 1 or path.exists():
        return Run(text, path)
    registry.find(text)  # says which names are near
    raise AssertionError(text)


def known(name: str | Path) -> Meaning | None:
    """Return the meaning of a name, or None for an unknown one and for the path of an input file.

    Raises UserError for an ambiguous name.
    """
    text = str(name)
    here, named = _by_path(text, _path(name)), by_name(text)
    if here is not None and named is not None:
        raise UserError(
            "several meanings",
            _("{name} has two meanings: {what}, by its path, and {other}, by its name").format(
                name=text, what=_(here.what), other=_(named.what)
            ),
            expected=_("./{name} for the folder, or its whole path").format(name=text),
            fix=f"./{text}",
        )
    return here or named


def _path(name: str | Path) -> Path:
    """Expand ``~``; a text that only begins with it stays as it is."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # no such user
        return Path(name)


def offered(tasks: Sequence[str], project: Path = Path("runs")) -> list[tuple[str, str]]:
    """Return (name, explanation) of what these tasks have on this computer.

    Runs come first, newest first, then published language models, then ready-trained systems.
    """
    from souron.hub import fetch

    found = [(str(folder), registry.task_name(folder.parent.name)) for folder in runs(tasks, project)]
    if any(map(registry.talks, tasks)):
        models = packages.MODELS.items()
        found += [(name, registry.about(one)) for name, one in models if fetch.where(name)]
    ready = [one.name for one in registry.entries().values() if one.task in tasks]
    ready += [name for name, system in zoo.variants().items() if registry.find(system)[0].task in tasks]
    return [*found, *((name, _("ready trained")) for name in ready if zoo.where(name))]


def runs(tasks: Iterable[str], project: Path = Path("runs")) -> list[Path]:
    """Return the runs of these tasks that have weights, the newest first."""
    found = [
        file.parent
        for task in tasks
        for file in project.glob(f"{task}/*/{RUN}")
        if (file.parent / "weights" / "best.safetensors").is_file()
    ]
    return sorted(found, key=lambda folder: -(folder / RUN).stat().st_mtime)


def is_run(folder: str | Path) -> bool:
    """Return whether a folder is the folder of a run."""
    return (Path(folder) / RUN).is_file()


def by_name(name: str) -> Meaning | None:
    """Return a published model or a system by its name alone; None for other texts."""
    if name in packages.MODELS:
        return OpenModel(name)
    if name in packages.DIFFUSION:
        base = packages.LORAS.get(name, name)
        return DiffusionModel(name, _diffusion_file(base), _diffusion_file(name) if base != name else None)
    if not registry.is_system(name) and name not in zoo.variants():
        return None
    if (folder := zoo.where(name)) is not None:
        return Ready(name, folder)
    entry, size = registry.find(name)
    source = entry.weights.get(size, "")
    return System(name, bool(source) and weights.find(source) is not None)


def _diffusion_file(name: str) -> Path:
    """Return the file of a model in ``packages.DIFFUSION``, or the folder of one in several, where it is
    or where it is to be.
    """
    model = packages.DIFFUSION[name]
    place = weights.find(model.package.source) or Path(model.file)
    return place if "/" in model.package.archive else place / model.package.archive


def _by_path(name: str, path: Path) -> Meaning | None:
    """Return the meaning of a path; None where nothing can be loaded from it."""
    try:
        return next((make(name, path) for test, make in PLACES if test(path)), None)
    except (OSError, ValueError):  # too long or invalid as a path
        return None


def _is_open_model(path: Path) -> bool:
    if path.suffix.lower() == GGUF or (path / "config.json").is_file():
        return True
    return path.is_dir() and len(list(path.glob(f"*{GGUF}"))) == 1


def _is_diffusion(path: Path) -> bool:
    if path.is_dir():
        return (path / "unet").is_dir() or is_karlo(path)
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return False
    try:
        return any(tensor.startswith(STABLE_DIFFUSION) for tensor in head(path))
    except (OSError, ValueError):  # loading the weights will report the error
        return False


def is_karlo(path: Path) -> bool:
    """Return whether a folder holds at least two parts of Karlo."""
    return sum((path / part).is_dir() for part in KARLO) > 1


def _published_system(path: Path) -> str:
    """Return the system whose published weights a folder holds, by its ``config.json``; or ""."""
    file = path / "config.json"
    if not file.is_file() or file.stat().st_size > MOST_CONFIG:
        return ""
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # loading it will report the error
        return ""
    kind = about.get("model_type") if isinstance(about, dict) else None
    if kind is None and (path / "model.bin").is_file() and "suppress_ids" in about:
        kind = "whisper"  # as CTranslate2 writes it
    entry = registry.entries().get(kind) if isinstance(kind, str) else None
    return entry.name if entry and registry.load_task(entry.task).published_files else ""


PLACES: tuple[tuple[Callable[[Path], bool], Callable[[str, Path], Meaning]], ...] = (
    (is_run, Run),
    (_is_diffusion, DiffusionModel),
    (lambda path: path.suffix.lower() in WEIGHTS, WeightsFile),
    (
        lambda path: bool(_published_system(path)),
        lambda name, path: PublishedFolder(name, path, _published_system(path)),
    ),
    (_is_open_model, lambda name, _path: OpenModel(name)),
)


def head(file: Path) -> dict[str, Any]:
    """Read the table of tensors of a .safetensors file. Raises ValueError where it is damaged."""
    about = file.stat()
    return _head(file, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=8)
def _head(file: Path, changed: int, bytes: int) -> dict[str, Any]:
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > min(MOST_HEAD, bytes - 8):
            raise ValueError("its head is longer than the file")
        found = json.loads(stream.read(size))
    if not isinstance(found, dict):
        raise ValueError("its head is no table")
    return found
