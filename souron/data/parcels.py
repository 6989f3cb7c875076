"""A data set with its splits as one safetensors file, for computers that do not have the data.

Tensors and texts are packed, with their classes and what is known of their pixels. Names of files,
of patients and of folders stay at home: cases and patients are numbered, and the splits travel as
row numbers.
"""

import re
import tempfile
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from torch import Tensor

from souron.data.dataset import Dataset, ListColumn
from souron.data.splits import Plan, Split
from souron.utils import files
from souron.utils.messages import UserError, _

MOST = 512 * 2**20  # bytes of a parcel
PARTS = ("train", "val", "test")
KEPT = 8  # parcels in the cache; the oldest are deleted


def pack(data: Dataset, plan: Plan) -> bytes:
    """Return the bytes of a file that ``read`` understands.

    Columns of metadata are left out where cases have patients. Raises UserError for columns that are
    neither tensors nor texts, and for more than ``MOST`` bytes.
    """
    tensors: dict[str, Tensor] = {}
    about = {
        "name": data.name,
        "classes": list(data.classes),
        "augment": list(data.augment),
        "input": _pack_column(data.stored, "input", tensors),
        "channels": data.channels if data.images else 0,
        "target": _pack_column(data.target, "target", tensors),
        "group": numbered(data.group),
        "columns": {} if data.units else {name: list(values) for name, values in data.columns.items()},
        "spacing": [list(each) if isinstance(each, Sequence) else each for each in data.spacing],
        "folds": [len(folds) for folds in plan.repeats],
    }
    for i, split in enumerate((plan.kept, *(split for folds in plan.repeats for split in folds))):
        tensors |= {f"split {i} {part}": getattr(split, part).clone() for part in PARTS}
    held = sum(tensor.nbytes for tensor in tensors.values()) + len(repr(about))
    if held > MOST:
        raise UserError(
            "send",
            _("{name} has {size} MB").format(name=data.name, size=held // 2**20),
            expected=_("at most {most} MB to send").format(most=MOST // 2**20),
            fix=_("copy the folder to the same path on each computer"),
            exit=4,
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "parcel.safetensors"
        files.write_tensors(path, tensors, about)
        return path.read_bytes()


def numbered(names: Sequence[str]) -> list[str]:
    """Return numbers in place of names, equal for equal names; "" stays.

    >>> numbered(["Ann", "", "Bob", "Ann"])
    ['1', '', '2', '1']
    """
    numbers = {name: str(i) for i, name in enumerate(dict.fromkeys(filter(None, names)), 1)}
    return [numbers.get(name, "") for name in names]


def _pack_column(column: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Add a column's tensors and return the rest of it: its texts, or how many tensors it has."""
    if column is None:
        return None
    if isinstance(column, Tensor):
        tensors[name] = column
        return "tensor"
    entries = list(column) if isinstance(column, ListColumn) else []
    if entries and all(type(entry) is str for entry in entries):
        return entries
    if entries and all(isinstance(entry, Tensor) for entry in entries):
        tensors |= {f"{name} {i}": entry for i, entry in enumerate(entries)}
        return len(entries)
    raise UserError(
        "send",
        _("cases of this kind cannot be sent: {kind}").format(kind=type(entries[0] if entries else column).__name__),
        expected=_("images in memory, numbers, or texts"),
        fix=_("copy the folder to the same path on each computer"),
        exit=3,
    )


def _read_column(kept: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if kept == "tensor":
        return tensors[name]
    if isinstance(kept, int):
        return ListColumn([tensors[f"{name} {i}"] for i in range(kept)])
    return None if kept is None else ListColumn(kept)


def key_of(content: bytes) -> str:
    """Return the hash by which a parcel is kept."""
    return blake2b(content, digest_size=16).hexdigest()


def file_of(key: str) -> Path:
    assert re.fullmatch(r"[0-9a-f]{32}", key), "a hash, which is no path"
    return files.cache_folder() / "received" / f"{key}.safetensors"


def lacks(key: str) -> bool:
    """Return whether this computer does not have a parcel."""
    return not file_of(key).exists()


def keep(key: str, content: bytes) -> None:
    """Write a parcel to the cache. Raises UserError where it is not the one of that hash."""
    _check(key, content)
    file = file_of(key)
    files.write_bytes(file, content)
    for old in sorted(file.parent.glob("*.safetensors"), key=lambda f: -f.stat().st_mtime)[KEPT:]:
        old.unlink(missing_ok=True)


def _check(key: str, content: bytes) -> None:
    if key_of(content) != key:
        raise UserError(
            "send", _("the data that came is not what was sent"), expected=key, fix="--resume FOLDER send=true", exit=5
        )


def read(key: str) -> tuple[Dataset, Plan]:
    """Return a parcel's data set and plan. Raises UserError where it is not here, or was changed."""
    file = file_of(key)
    if not file.exists():
        raise UserError(
            "send",
            _("the data was not sent to this computer, or was deleted from {folder}").format(folder=file.parent),
            fix="--resume FOLDER send=true",
            exit=5,
        )
    _check(key, file.read_bytes())
    tensors, about = files.read_tensors(file)
    stored = _read_column(about["input"], "input", tensors)
    channels = about["channels"]
    if channels and stored.shape[1] != channels:
        stored = stored.expand(-1, channels, *stored.shape[2:])
    data = Dataset(
        name=about["name"],
        input=stored,
        target=_read_column(about["target"], "target", tensors),
        classes=tuple(about["classes"]),
        file=[str(i) for i in range(stored.shape[0])],
        group=about["group"],
        augment=tuple(about["augment"]),
        columns=about["columns"],
        spacing=[tuple(each) if isinstance(each, list) else each for each in about["spacing"]],
    )
    count = 1 + sum(about["folds"])
    parts = [[tensors[f"split {i} {part}"] for part in PARTS] for i in range(count)]
    kept, *rest = [Split(train, val, test) for train, val, test in parts]
    repeats = []
    for folds in about["folds"]:
        repeats.append(rest[:folds])
        rest = rest[folds:]
    return data, Plan(kept, repeats)
