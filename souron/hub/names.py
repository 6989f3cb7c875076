"""What a name means: a run, a system, a published model or a file of weights.

``resolve`` decides it for every command, the studio, the server and the Python interface. It looks
at names and at the first bytes of files, and imports no network.

>>> resolve("resnet50").name
'resnet50'
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from souron import registry
from souron.hub import packages, weights, zoo
from souron.utils.messages import UserError, _

RUN = "args.yaml"  # in the folder of a run
WEIGHTS = (".pth", ".safetensors")  # files of weights alone
GGUF = ".gguf"
STABLE_DIFFUSION = "model.diffusion_model."  # begins the names of its UNet's tensors
MOST_HEAD = 64 << 20  # bytes of a file's list of tensors


@dataclass(frozen=True)
class Meaning:
    """Something with a name that can be loaded, see ``runs.loading``."""

    name: str  # as it was given


@dataclass(frozen=True)
class Run(Meaning):
    """A run's folder."""

    folder: Path


@dataclass(frozen=True)
class Ready(Run):
    """A system that comes ready trained: its run in ``souron_zoo``."""


@dataclass(frozen=True)
class System(Meaning):
    """A system by its name; nothing of it here has learnt."""

    published: bool = False  # its published weights are on this computer


@dataclass(frozen=True)
class OpenModel(Meaning):
    """A published language model: by its name, a .gguf file, or the folder of its files."""


@dataclass(frozen=True)
class DiffusionModel(Meaning):
    """Stable Diffusion 1.5 as it is published: a folder, or a single .safetensors file."""

    path: Path


@dataclass(frozen=True)
class WeightsFile(Meaning):
    """A file of weights alone; which system's is seen when it is read."""

    path: Path


def resolve(name: str | Path) -> Meaning:
    """What a name means. A path where nothing lies means a run, whose loading says what is missing.

    Raises UserError for a name that means nothing, and for one that means several things: a folder
    here that is called as a system is.
    """
    text, path = str(name), Path(name).expanduser()
    if (meaning := known(name)) is not None:
        return meaning
    if len(path.parts) > 1 or path.exists():
        return Run(text, path)
    registry.find(text)  # says which names are near
    raise AssertionError(text)


def known(name: str | Path) -> Meaning | None:
    """What a name means; None where it means nothing, or is the path of a file to be answered.

    Raises UserError where it means several things.
    """
    text, path = str(name), Path(name).expanduser()
    meanings = [made for test in (_by_path, _by_name) if (made := test(text, path)) is not None]
    if len(meanings) > 1:
        raise UserError(
            "several meanings",
            _("{name} is a folder here, and a system or a model").format(name=text),
            expected=_("./{name} for the folder, or its whole path").format(name=text),
            fix=f"./{text}",
        )
    return meanings[0] if meanings else None


def is_run(folder: str | Path) -> bool:
    """Whether a folder is a run's."""
    return (Path(folder) / RUN).is_file()


def _by_name(name: str, path: Path) -> Meaning | None:
    """A published language model or a system, by its name alone."""
    if name in packages.MODELS:
        return OpenModel(name)
    if not registry.is_system(name):
        return None
    if (folder := zoo.where(name)) is not None:
        return Ready(name, folder)
    entry, size = registry.find(name)
    source = entry.weights.get(size, "")
    return System(name, bool(source) and weights.find(source) is not None)


def _by_path(name: str, path: Path) -> Meaning | None:
    """What lies at a path; None where nothing does that could be loaded."""
    try:
        return next((make(name, path) for test, make in PLACES if test(path)), None)
    except (OSError, ValueError):  # longer than a name may be, or no text for a path
        return None


def _is_open_model(path: Path) -> bool:
    if path.suffix.lower() == GGUF or (path / "config.json").is_file():
        return True
    return path.is_dir() and len(list(path.glob(f"*{GGUF}"))) == 1


def _is_diffusion(path: Path) -> bool:
    if path.is_dir():
        return (path / "unet").is_dir()
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return False
    try:
        return any(tensor.startswith(STABLE_DIFFUSION) for tensor in head(path))
    except (OSError, ValueError):  # reading its weights says what is wrong
        return False


PLACES: tuple[tuple[Callable[[Path], bool], Callable[[str, Path], Meaning]], ...] = (
    (is_run, Run),
    (_is_diffusion, DiffusionModel),
    (lambda path: path.suffix.lower() in WEIGHTS, WeightsFile),
    (_is_open_model, lambda name, _path: OpenModel(name)),
)


def head(file: Path) -> dict[str, Any]:
    """The list of tensors of a .safetensors file. Raises ValueError where it is damaged."""
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
