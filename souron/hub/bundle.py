"""Copy downloaded data and weights with checksums to a folder, for a computer without a network.

    DIR/data/NAME/...     data sets
    DIR/weights/FILE      published weights
    DIR/README.md         contents and usage, in English and in Japanese
    DIR/SHA256SUMS        in the format of ``sha256sum --check``

The other computer uses the folder in place, with ``SOURON_CACHE=DIR``. It is built in a temporary
folder and moved in one step, so that a folder of that name is always complete.
"""

import errno
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pooch

from souron.data import load
from souron.hub import fetch, packages
from souron.hub.fetch import Item, Progress, no_progress
from souron.utils.messages import UserError, _

SUMS, README = "SHA256SUMS", "README.md"
MOST_BYTES = 50_000_000  # of SHA256SUMS
LINE = r"([0-9a-f]{64}) [ *](.+)(?:\n|$)"

# in both languages, whatever the user's language
ABOUT = """\
# souron: data and weights for a computer without a network

Copy this folder to the other computer, and name it there:

    export SOURON_CACHE=/path/to/this/folder          (Windows: set SOURON_CACHE=D:\\folder)
    souron fetch --verify /path/to/this/folder
    souron fetch --where

Or copy the folders `data` and `weights` into souron's cache (Linux: ~/.cache/souron).
Each thing has its own licence, which its source tells in full; keep to it when you pass it on.

# souron: ネットワークのないコンピューターのためのデータと重み

このフォルダーを使う先のコンピューターにコピーし、場所を指定します。

    export SOURON_CACHE=/このフォルダーの場所          （Windows: set SOURON_CACHE=D:\\フォルダー）
    souron fetch --verify /このフォルダーの場所
    souron fetch --where

または、`data` と `weights` を souron のキャッシュ（Linux では ~/.cache/souron）にコピーします。
ライセンスはそれぞれ異なり、全文は提供元にあります。他の人に渡すときもそれに従ってください。

| name 名前 | MB | licence ライセンス | source 提供元 |
|---|---:|---|---|
"""


@dataclass(frozen=True)
class Bundle:
    folder: Path
    names: tuple[str, ...]
    files: int
    bytes: int


@dataclass(frozen=True)
class Difference:
    file: str
    code: Literal["missing", "changed", "added", "outside"]


def bundle(folder: Path, names: Sequence[str] = (), progress: Progress = no_progress) -> Bundle:
    """Copy the named data sets and weights, or all that are on this computer, into a new folder.

    Raises UserError where the folder is not empty, a named item was not fetched, there is nothing
    to copy, or the disk is full or not writable.
    """
    refuse(folder)
    items = _items(names)
    files = {name: _files(item) for name, item in items.items()}
    size = {name: sum(f.stat().st_size for f in files[name].values()) for name in items}
    parent, total, done = folder.absolute().parent, sum(size.values()), 0

    def copy(source: Path, target: Path) -> str:
        """Copy a file and return the SHA-256 of the bytes read, so that write errors are
        detected.
        """
        nonlocal done
        digest = hashlib.sha256()
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as content, target.open("xb") as out:
            while chunk := content.read(fetch.CHUNK):
                digest.update(chunk)
                done += out.write(chunk)
                progress(done, total)
        return digest.hexdigest()

    with fetch.work_folder(parent) as work:
        fetch.check_room(parent, total)
        made = work / "bundle"
        try:
            made.mkdir()
            sums = {
                target: copy(source, made / target) for sources in files.values() for target, source in sources.items()
            }
            rows = [
                f"| {name} | {size[name] / 1e6:,.1f} | {item.licence or '-'} | {item.origin} |\n"
                for name, item in items.items()
            ]
            (made / README).write_text(ABOUT + "".join(rows), encoding="utf-8", newline="\n")
            sums[README] = pooch.file_hash(made / README)
            lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
            (made / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")
            if folder.exists():
                folder.rmdir()  # empty, see ``refuse``
            made.replace(folder)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise fetch.full_disk(parent, total) from error
            raise UserError(
                "unwritable",
                _("{folder} cannot be written: {why}").format(folder=folder, why=error.strerror or error),
                expected=_("a new folder"),
                exit=4,
            ) from error
    return Bundle(folder, tuple(items), len(sums), total)


def refuse(folder: Path) -> None:
    """Raise UserError unless the folder is new or empty."""
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            "exists",
            _("{path} is there already").format(path=folder),
            expected=_("a new folder"),
            fix="souron fetch --bundle OTHER",
            exit=5,
        )


def _items(names: Sequence[str]) -> dict[str, Item]:
    """Return the items to copy; data sets included in a package are on the other computer, too."""
    if names:
        shipped = {entry.name for entry in load.names().values() if entry.ships_with}
        items = {name: fetch.item(name) for name in names if name not in shipped}
    else:
        items = {n: i for n, i in fetch.fetchable().items() if fetch.where(n) is not None}
    away = [name for name in items if fetch.where(name) is None]
    if away or not items:
        raise UserError(
            "fetch",
            _("not on this computer: {names}").format(names=", ".join(away))
            if away
            else _("there is nothing to carry: no data set or weights that were fetched"),
            expected="souron fetch --where",
            fix=" ".join(["souron fetch", *(away or ["fashion"])]),
            exit=4,
        )
    return items


def _files(item: Item) -> dict[str, Path]:
    """Map paths in the bundle to files on this computer."""
    here = fetch.where(item.name)
    assert here is not None, item.name
    if item.sort == "weights":
        if (joined := packages.JOINED.get(item.source)) is not None:
            names = (joined.file, *joined.beside)
            return {f"weights/{joined.folder}/{name}": here.parent / name for name in names}
        maker, _colon, name = item.source.partition(":")
        # the file name that souron expects; other programs' caches differ
        own = f"{name}.safetensors" if maker == "timm" else here.name
        return {f"weights/{own}": here}
    if item.name in packages.LISTS:
        return {f"data/{item.name}/{file.name}": file for file in here.iterdir() if file.is_file()}
    entry = load.names()[item.name]
    files = {
        name: here / name
        for name in _below(here)
        if any(name.removesuffix(".gz") == need or name.startswith(f"{need}/") for need in entry.needs)
        and name.endswith(entry.keeps)
    }
    for package in entry.packages or ("",):
        own = "copyright" if len(entry.packages) < 2 else f"copyright-{package}"
        terms = load.INSTALLED / "usr/share/doc" / package / "copyright"
        for file in (terms, here / own):
            if file.is_file():
                files[own] = file
    return {f"data/{item.name}/{name}": file for name, file in files.items()}


def _below(folder: Path) -> list[str]:
    """List all files below a folder by relative path, as in SHA256SUMS."""
    files = (Path(here, name) for here, _folders, names in os.walk(folder) for name in names)
    return [file.relative_to(folder).as_posix() for file in files]


def verify(folder: Path, progress: Progress = no_progress) -> tuple[int, list[Difference]]:
    """Return the number of files in the list of checksums, and the differences, sorted by name.

    Raises UserError where the list of checksums is missing or damaged.
    """
    sums = _sums(folder)
    root = Path(os.path.realpath(folder))
    differences = [Difference(name, "added") for name in {*_below(folder)} - {*sums, SUMS}]
    for i, (name, digest) in enumerate(sums.items()):
        progress(i, len(sums))
        file = Path(os.path.realpath(root / name))
        if Path(name).is_absolute() or not file.is_relative_to(root):
            differences.append(Difference(name, "outside"))
        elif not file.is_file():
            differences.append(Difference(name, "missing"))
        elif pooch.file_hash(file) != digest:
            differences.append(Difference(name, "changed"))
    return len(sums), sorted(differences, key=lambda difference: difference.file)


def _sums(folder: Path) -> dict[str, str]:
    """Read the list of checksums: file -> SHA-256. Raises UserError."""
    try:
        if (folder / SUMS).stat().st_size > MOST_BYTES:
            raise ValueError(_("{name} is too long").format(name=SUMS))
        text = (folder / SUMS).read_text(encoding="utf-8")
        if not re.fullmatch(f"(?:{LINE})+", text):
            raise ValueError(_("{name} is damaged").format(name=SUMS))
    except (OSError, ValueError) as error:
        why = f"{SUMS}: {error.strerror}" if isinstance(error, OSError) else error
        raise UserError(
            "bundle",
            _("{folder} is no bundle: {why}").format(folder=folder, why=why),
            expected=_("a folder that souron fetch --bundle has made"),
            exit=3,
        ) from error
    return {name: digest for digest, name in re.findall(LINE, text)}
