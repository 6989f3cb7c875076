"""``data.yaml`` of YOLO tools, which names a data set's parts and classes, read for classification:
each part is a folder with a sub-folder for each class.

    path: .                    relative to this file; nothing outside of its folder is read
    train: train               a folder, or a list of folders; val and test likewise
    val: valid
    names: {0: cat, 1: dog}    or a list: the classes in order; a sub-folder has the name or the
                               number of its class

The format: https://docs.ultralytics.com/datasets/
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import yaml

from souron.data.dataset import Dataset, Skipped
from souron.data.formats.folder import NAMED, PARTS, gather, missing, natural, walk
from souron.data.readers.decoding import Listed
from souron.data.readers.settings import Reading
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

NAME = "data.yaml"
DEFAULT = Reading()
MOST_BYTES = 1_000_000
DEEPEST = 20  # levels
MOST_WORDS = 200_000
LONGEST_WORD = 4096
LONGEST = 200  # characters of a name
OPEN = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
CLOSE = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
BESIDE = {*PARTS, "images", "labels"}  # folders that are not classes if they are beside a data.yaml


def describes(path: Path) -> bool:
    """Return whether a path is a ``.yaml`` file, or a folder to be read through its ``data.yaml``:
    one whose file names parts of it, with fewer than two other folders that could be classes."""
    if path.is_file():
        return path.suffix.lower() in (".yaml", ".yml")
    file = path / NAME
    if not file.is_file():
        return False
    try:
        named = {place.parts[0] for place in folders_of(read_yaml(file), file) if place.parts}
    except UserError:
        return False
    inside = {entry.name for entry in os.scandir(path) if entry.is_dir()}
    others = {n for n in inside - named if n.lower() not in BESIDE and not n.startswith(".")}
    return len(others) < 2


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images of the parts named in the file, or in that of a folder.

    Raises UserError if the file cannot be read, if a folder is missing, belongs to two parts or is
    outside of the file's own folder, and if fewer than two classes remain.
    """
    path = path / NAME if path.is_dir() else path
    about = read_yaml(path)
    folders, names = folders_of(about, path), classes_of(about, path)
    listed: list[Listed] = []
    skipped: list[Skipped] = []
    for place, file in sorted(_below(path, folders, skipped), key=lambda found: natural(found[1])):
        part, inside = part_of(PurePosixPath(file), folders)
        if len(inside) > 1:
            label = inside[0]
            label = label if label in names.values() else names.get(label, label)
            listed.append(Listed(place, file, label=label, part=part))
        elif PurePosixPath(file).suffix.lower() in NAMED:
            skipped.append(Skipped(file, "no label", _("not in a class folder")))
        else:
            skipped.append(Skipped(file, "not an image", _("not an image")))
    if not listed:
        why = _("its parts have no class folders with images")
        raise trouble(path, "no label", why, "train/CLASS/1.jpg")
    cases = gather(path, path.parent, listed, skipped, reading)
    return _in_order(replace(cases, name=readable(path.absolute().parent.name)), names)


def read_yaml(path: Path) -> dict[Any, Any]:
    """Parse the file's top level. Its tokens are checked before anything is constructed: aliases
    could expand without bound, deep nesting could exhaust the stack, and a number of a million
    digits takes minutes."""
    if not path.is_file():
        raise missing(path)
    if path.stat().st_size > MOST_BYTES:
        raise trouble(path, "too large", _("over {count} MB").format(count=MOST_BYTES // 10**6))
    try:
        text, depth = path.read_text(encoding="utf-8-sig"), 0
        for count, token in enumerate(yaml.scan(text)):
            depth += isinstance(token, OPEN) - isinstance(token, CLOSE)
            long = isinstance(token, yaml.ScalarToken) and len(token.value) > LONGEST_WORD
            odd = isinstance(token, yaml.AliasToken | yaml.TagToken)
            if odd or long or depth > DEEPEST or count > MOST_WORDS:
                raise trouble(path, "unreadable", _("more than a list of folders and names"))
        about = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # UserError is a ValueError too
        if isinstance(error, UserError):
            raise
        why = " ".join(str(error).split())[:LONGEST]
        raise trouble(path, "unreadable", _("not YAML: {why}").format(why=why)) from error
    if not isinstance(about, dict) or not about.get("train"):
        raise trouble(path, "unreadable", _("it names no folder for train"), "train: FOLDER")
    return about


def folders_of(about: dict[Any, Any], path: Path) -> dict[PurePosixPath, str]:
    """Map each folder, relative to the file's own and with links resolved, to its part."""
    root = Path(os.path.realpath(path.parent))
    base = _text(about.get("path") or ".", path)
    found: dict[PurePosixPath, str] = {}
    for part in ("train", "val", "test"):
        told = about.get(part) or []
        for name in told if isinstance(told, list) else [told]:
            wanted = root / base / _text(name, path)
            place = Path(os.path.realpath(wanted))
            if not place.is_relative_to(root):
                raise trouble(
                    path,
                    "outside",
                    _("{part}: {folder} leads out of the folder").format(part=part, folder=readable(_text(name, path))),
                    readable(root),
                )
            if not place.exists():
                raise missing(wanted)
            if not place.is_dir():
                raise _no_folder(path, _text(name, path))
            inside = PurePosixPath(readable(place.relative_to(root).as_posix()))
            if found.setdefault(inside, part) != part:
                raise trouble(
                    path,
                    "leak",
                    _("{folder} is named for {one} and for {other}").format(
                        folder=readable(inside), one=found[inside], other=part
                    ),
                )
    return found


def _text(value: Any, path: Path) -> str:
    if not isinstance(value, str) or "\0" in value or len(value) > LONGEST_WORD:
        raise _no_folder(path, str(type(value).__name__))
    return value.replace("\\", "/")


def classes_of(about: dict[Any, Any], path: Path) -> dict[str, str]:
    """Map the class's number, as text, to its name, in order."""
    told = about.get("names") or {}
    told = dict(enumerate(told)) if isinstance(told, list) else told
    if not isinstance(told, dict) or not all(
        isinstance(key, int | str) and isinstance(name, str | int) for key, name in told.items()
    ):
        raise trouble(path, "unreadable", _("names is no list of names"), "names: [cat, dog]")
    named = {readable(str(key)): readable(str(name))[:LONGEST] for key, name in told.items()}
    if len(set(named.values())) < len(named):
        raise trouble(path, "unreadable", _("two classes have one name"), "names: [cat, dog]")
    return named


def _below(path: Path, folders: dict[PurePosixPath, str], skipped: list[Skipped]) -> Iterator[tuple[Path, str]]:
    """Yield the files within the parts' folders, with their names relative to the file's own
    folder."""
    lost: list[Skipped] = []
    for place, file in walk(path.parent, lost):
        if part_of(PurePosixPath(file), folders)[0]:
            yield place, file
    skipped += [some for some in lost if part_of(PurePosixPath(some.file), folders)[0]]


def part_of(file: PurePosixPath, folders: dict[PurePosixPath, str]) -> tuple[str, tuple[str, ...]]:
    """Return the part of a file and its path within that part's folder; "" if it is in none."""
    for folder in file.parents:  # the innermost first
        if folder in folders:
            return folders[folder], file.relative_to(folder).parts
    return "", ()


def _in_order(cases: Dataset, names: dict[str, str]) -> Dataset:
    """Reorder the classes as in ``names``; those missing there come last."""
    known = [name for name in names.values() if name in cases.classes]
    labels = (*known, *(label for label in cases.classes if label not in known))
    number = torch.tensor([labels.index(label) for label in cases.classes])
    return replace(cases, classes=labels, target=number[cases.target])


def _no_folder(path: Path, what: str) -> UserError:
    why = _("{what} is not a folder").format(what=readable(what[:LONGEST]))
    return trouble(path, "unreadable", why, "train: FOLDER")


def trouble(path: Path, code: str, why: str, expected: str = "") -> UserError:
    return UserError(code, f"{readable(path)}: {why}", expected=expected, exit=3)
