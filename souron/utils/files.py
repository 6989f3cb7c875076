"""Atomic writing of files, JSON without NaN, tensors, and file patterns."""

import glob
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import souron
from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from torch import Tensor


def cache_folder() -> Path:
    """Return the cache folder: SOURON_CACHE, else the operating system's."""
    own = os.environ.get("SOURON_CACHE")
    if own:
        return Path(own).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("souron")


def package_folders(part: str) -> list[Path]:
    """List the folders that hold files of a part such as ``"systems"`` or ``"data"``."""
    return [Path(root) / part for root in souron.__path__]


def names_in(package: ModuleType) -> list[str]:
    """List the names of the files of a package, without those that begin with ``_``."""
    files = [file for folder in package.__path__ for file in Path(folder).glob("*.py")]
    return sorted(file.stem for file in files if not file.name.startswith("_"))


def as_json(thing: Any, indent: int | None = None) -> str:
    """Return ``thing`` as JSON; non-finite numbers become null."""
    return json.dumps(_finite(thing), ensure_ascii=False, default=str, indent=indent)


def _finite(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {str(key): _finite(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_finite(value) for value in thing]
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing


def there(name: str) -> bool:
    """Return whether a file or folder of that name exists; False for invalid names."""
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # too long for a file name
        return False


def find_files(files: Sequence[str | Path], folders: bool = False) -> Iterator[Path]:
    """Yield files as given, all files of a folder, and matches of a glob, sorted within each.

    With ``folders``, a folder is yielded itself.
    """
    for name in files:
        path = Path(name)
        if path.is_dir() and not folders:
            yield from sorted(p for p in path.rglob("*") if p.is_file() and p.name[0] != ".")
        elif path.exists() or not glob.has_magic(str(name)):
            yield path
        else:
            # unlike Path.glob, glob.glob accepts absolute patterns
            yield from sorted(map(Path, glob.glob(str(name), recursive=True)))  # noqa: PTH207


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces ``path`` at the end.

    Raises UserError where the disk is full or the folder is not writable; ``path`` is then
    unchanged.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # without the folder there is nothing to remove
            beside.unlink(missing_ok=True)


@contextmanager
def locked(place: Path, busy: UserError) -> Iterator[None]:
    """Hold a lock file, which the operating system releases when the process is killed.

    Raises ``busy`` where another process holds it, and UserError where the file cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise busy from error
    except OSError as error:
        raise cannot_write(place, error) from error
    try:
        yield
    finally:
        lock.release()


def cannot_write(path: Path, error: OSError, fix: str = "project=FOLDER") -> UserError:
    place = next((folder for folder in path.parents if folder.exists()), Path())
    free = shutil.disk_usage(place).free
    return UserError(
        "disk",
        _("cannot write {path}: {why} ({free} MB free)").format(
            path=path, why=error.strerror or error, free=free // 2**20
        ),
        expected=_("a folder that can be written, with room for the run"),
        fix=fix,
        exit=4,
    )


def write_text(path: Path, text: str) -> None:
    with atomically(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    with atomically(path) as beside:
        beside.write_bytes(content)


def write_json(path: Path, thing: Any) -> None:
    write_text(path, as_json(thing, indent=1) + "\n")


def parse_yaml(text: str) -> Any:
    """Parse a YAML text into plain values. Raises yaml.YAMLError.

    libyaml is used where available: it is ten times as fast, and a run's arguments may contain a
    vocabulary.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        return loader.get_single_data()
    except RecursionError as error:  # libyaml has a limit of its own
        raise yaml.YAMLError(_("nested too deeply")) from error
    finally:
        loader.dispose()


def write_tensors(path: Path, tensors: "dict[str, Tensor]", about: dict[str, Any]) -> None:
    """Write tensors and a JSON-serialisable dict to one safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomically(path) as beside:
        try:
            save_file(whole, beside, {"souron": json.dumps(about, ensure_ascii=False)})
        except SafetensorError as error:  # raised instead of OSError on a full disk
            raise OSError(str(error)) from error


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Read the tensors and the metadata of a safetensors file. Raises UserError."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        if path.exists() and not path.is_file():  # reading a pipe would block
            raise OSError(_("not a regular file"))
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("souron", "{}"))
        return load_file(path), about
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            "weights file",
            _("{path} cannot be read: {why}").format(path=path, why=error),
            expected=_("a safetensors file that souron wrote"),
            exit=3,
        ) from error


def free(folder: Path, name: str, suffix: str) -> Path:
    """Return ``folder/name.suffix``, or ``name-2.suffix``, ... where that exists."""
    for number in range(1, 100_000):
        path = folder / (name + (f"-{number}" if number > 1 else "") + suffix)
        if not path.exists():
            return path
    raise AssertionError("no free name for an answer")


def new_folder(project: Path, name: str) -> Path:
    """Create ``project/name``, or ``name-2``, ``name-3``, ... where that exists."""
    name = re.sub(r"[^\w.\-]+", "-", name).strip("-.") or "run"
    for number in range(1, 100_000):
        folder = project / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise cannot_write(folder, error) from error
    raise AssertionError("no free name for a run")
