"""A data set's name, or a path, -> cases. There is no list of data sets to edit: a file with a
``task`` in ``data/sets/`` is a data set, and a file in ``data/formats/`` is a format.

Such a file says in its docstring's first line what the data is, and in constants what is known of
it without opening it, so that ``souron list --data`` does not wait for torch::

    ja = "..."                 the first line in Japanese
    task, licence, source      "classify", "MIT", "https://..."
    cases = 70_000             about how many
    needs = ("test.bin",)      what must lie in its folder; an IDX file may be gzipped
    inside = ("", "raw")       sub-folders that may hold it
    debian = ("package", "usr/share/there")    the Debian package that has it; or a tuple of several
    keeps = (".png", ".txt")                   of it, where not everything is needed
    only_needed = True                         whether only the folders in ``needs`` are kept of it
    package = ("pypi:NAME==1.2", "name-1.2.tar.gz", "9ea6...", "name/data")    or "npm:NAME@1.2":
                               an archive, its SHA-256, and the folder in it; of it ``keeps``, too
    downloads = "torchvision:MNIST"            or an archive: ("https://...", "md5:...")
    megabytes = 31             to fetch
    ships_with = "sklearn"     the Python package that contains it, where nothing is to be fetched
    targets = ("boxes", "classes_of_pixels")   where it has several kinds of target, the usual first

and has ``load(side: int | None = None) -> Dataset``; ``None`` is the pictures' own side. With
``targets`` it is ``load(side, target)``, one of them.
"""

import ast
import difflib
import importlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from souron.data.reading import Large, Reading
from souron.utils import files
from souron.utils.files import cache_folder
from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from souron.data.dataset import Dataset

FORMATS = ("yolo", "folder", "csv_table")  # data/formats/<name>.py, in the order of asking
# of texts, those that need more of a file first
TEXTS = ("questions", "chats", "text_pairs", "tagged_texts", "classified_texts", "texts")
# where Debian's packages lie once they are installed
INSTALLED = Path(os.environ.get("SOURON_SYSTEM_ROOT", "/"))


@dataclass(frozen=True)
class DataEntry:
    """A data set as its file describes it."""

    name: str
    idea: str  # English
    ja: str  # Japanese
    task: str
    licence: str
    source: str
    cases: int  # about
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
    file: Path

    @property
    def packages(self) -> tuple[str, ...]:
        """Debian's packages that have it."""
        names = self.debian[0] if self.debian else ()
        return (names,) if isinstance(names, str) else names

    def places(self) -> list[Path]:
        """The folders where it is looked for, first the reader's own, then the cache."""
        own = os.environ.get("SOURON_DATA")
        places = [Path(own).expanduser() / self.name] if own else []
        places.append(cache_folder() / "data" / self.name)
        return [*places, INSTALLED / self.debian[1]] if self.debian else places

    def where(self) -> Path | None:
        """The folder that holds it, or None. Looks at names only, opens nothing."""
        if self.ships_with:
            package = importlib.util.find_spec(self.ships_with)
            return Path(package.origin).parent if package and package.origin else None
        folders = (place / part for place in self.places() for part in self.inside)
        return next((folder for folder in folders if self.complete(folder)), None)

    def complete(self, folder: Path) -> bool:
        """Is all that the data set needs in that folder?"""
        return all(
            (folder / need).exists()
            or (need.endswith("-ubyte") and (folder / f"{need}.gz").exists())
            for need in self.needs
        )


@lru_cache
def names() -> dict[str, DataEntry]:
    """Every data set, by name, the smallest first. Imports nothing of them."""
    found = [
        entry
        for folder in files.package_folders("data/sets")
        for file in sorted(folder.glob("*.py"))
        if (entry := describe(file))
    ]
    return {entry.name: entry for entry in sorted(found, key=lambda e: (e.cases, e.name))}


def describe(file: Path) -> DataEntry | None:
    """Read a data set's file without running it; None where the file is not a data set."""
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
        file=file,
    )


def found(name: str) -> Path:
    """The folder of a data set, for its own ``load``; raises UserError where it was not fetched."""
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
    """A data set by name, or what lies at a path: the first of the ``formats`` that knows it
    reads it.

    A data set's name goes before a folder of that name: write ``./digits`` for the folder, or give
    a ``Path``. ``side`` is in pixels; None leaves data sets at their own. ``target`` is the kind of
    target, where there are several (``Task.target``). The other arguments are those of ``Reading``;
    pictures that memory has no room for are decoded once into a file, see ``cache``. Raises
    UserError where the text names neither, where the data set was not fetched, and where files are
    unusable.
    """
    if isinstance(name_or_path, str) and name_or_path in names():
        module = importlib.import_module(f"souron.data.sets.{name_or_path}")
        targets = names()[name_or_path].targets
        if targets:
            return module.load(side, target if target in targets else targets[0])
        return module.load(side)
    path = Path(name_or_path).expanduser()
    reading = Reading(side, group, window, fewest_classes, progress, large, target)
    for name in formats if path.exists() else ():
        module = importlib.import_module(f"souron.data.formats.{name}")
        says_why = getattr(module, "says_why", False) and len(formats) == 1 and path.is_dir()
        if module.describes(path) or says_why:
            return module.load(path, reading)
    raise _no_data(str(name_or_path), path, formats)


def paper(name_or_path: str | Path, seed: int, formats: Sequence[str], target: str) -> "Dataset":
    """As ``load``, for an examination: a data set that has ``paper(seed)`` makes another paper for
    each seed. Raises UserError."""
    if isinstance(name_or_path, str) and name_or_path in names():
        module = importlib.import_module(f"souron.data.sets.{name_or_path}")
        if hasattr(module, "paper"):
            return module.paper(seed)
    return load(name_or_path, formats=formats, target=target)


def _no_data(text: str, path: Path, formats: Sequence[str]) -> UserError:
    expected = _(
        "a data set (souron list --data), a folder with one sub-folder per class, or a CSV"
    )
    if path.is_dir():
        return UserError(
            "data",
            _("{path!r} is a folder that holds nothing in a form that is read here").format(
                path=text
            ),
            expected=", ".join(formats),
            exit=3,
        )
    if path.exists():
        return UserError(
            "data",
            _("{path!r} is a file that souron does not take as data").format(path=text),
            expected=expected,
            fix=_("unpack it, and give the folder"),
            exit=3,
        )
    near = difflib.get_close_matches(text.lower(), names(), 3, 0.5)
    return UserError(
        "data",
        _("{text!r} is neither a data set, nor a folder, nor a CSV").format(text=text),
        expected=_("{what}; near: {near}").format(what=expected, near=", ".join(near))
        if near
        else expected,
        fix=f"souron data {near[0]}" if near else "souron list --data",
        exit=3,
    )
