"""One folder to carry to a computer that never sees a network: what was fetched, with checksums.

    DIR/data/NAME/...     data sets
    DIR/weights/FILE      published weights
    DIR/README.md         what it holds and how it is used, in English and in Japanese
    DIR/SHA256SUMS        as ``sha256sum --check`` reads them

The other computer uses it where it lies, with ``SOURON_CACHE=DIR``. It is made beside its place and
moved there in one step, so that what has the folder's name is complete.
"""

import errno
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import pooch

from souron.data import load
from souron.hub import fetch
from souron.hub.fetch import Item, Progress, no_progress
from souron.utils.messages import UserError, _

SUMS, README = "SHA256SUMS", "README.md"
MOST_BYTES = 50_000_000  # of SHA256SUMS
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")

# both languages stand in the folder, whoever reads it
ABOUT = """\
# souron: data and weights for a computer without a network

Copy this folder to the other computer, and name it there:

    export SOURON_CACHE=/path/to/this/folder          (Windows: set SOURON_CACHE=D:\\folder)
    souron fetch --verify /path/to/this/folder
    souron fetch --where

Or copy the folders `data` and `weights` into souron's cache (Linux: ~/.cache/souron).
Each thing has its own licence, which its source tells in full; keep to it when you pass it on.

# souron: ネットワークのないコンピュータのためのデータと重み

このフォルダを使う先のコンピュータにコピーし、場所を指定します。

    export SOURON_CACHE=/このフォルダの場所          （Windows: set SOURON_CACHE=D:\\フォルダ）
    souron fetch --verify /このフォルダの場所
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


def bundle(folder: Path, names: Sequence[str] = (), watch: Progress = no_progress) -> Bundle:
    """Copy the named data sets and weights, or all that are on this computer, into a new folder.

    Raises UserError where the folder holds something, where a named thing was not fetched, where
    there is nothing, and where the disk is full or cannot be written.
    """
    refuse(folder)
    items = _items(names)
    content = {name: _content(item) for name, item in items.items()}
    size = {
        name: sum(file.stat().st_size for file in files.values()) for name, files in content.items()
    }
    total, done = sum(size.values()), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        watch(done, total)

    with fetch.work_folder(folder.absolute().parent) as bench:
        fetch.check_room(bench, total)
        made, sums = bench / "bundle", {}
        try:
            made.mkdir()
            for files in content.values():
                for name, source in files.items():
                    sums[name] = _copy(source, made / name, advance)
            rows = [
                f"| {name} | {size[name] / 1e6:,.1f} | {item.licence or '-'} | {item.source} |\n"
                for name, item in items.items()
            ]
            (made / README).write_text(ABOUT + "".join(rows), encoding="utf-8", newline="\n")
            sums[README] = pooch.file_hash(made / README)
            lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
            (made / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")
            if folder.exists():
                folder.rmdir()  # it is empty
            made.replace(folder)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise fetch.full_disk(folder.absolute().parent, total) from error
            raise UserError(
                "unwritable",
                _("{folder} cannot be written: {why}").format(
                    folder=folder, why=error.strerror or error
                ),
                expected=_("a new folder"),
                exit=4,
            ) from error
    return Bundle(folder, tuple(items), len(sums), total)


def refuse(folder: Path) -> None:
    """Raises UserError where the folder is there and holds something, or is none."""
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            "exists",
            _("{path} is there already").format(path=folder),
            expected=_("a new folder"),
            fix="souron fetch --bundle OTHER",
            exit=5,
        )


def _items(names: Sequence[str]) -> dict[str, Item]:
    """What is to be carried; data sets that come with a package are on the other computer too."""
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


def _content(item: Item) -> dict[str, Path]:
    """Place in the bundle -> file on this computer."""
    here = fetch.where(item.name)
    assert here is not None, item.name
    if item.sort == "weights":
        maker, _colon, name = item.source.partition(":")
        # the name under which weights are looked for; other programs' caches have their own
        own = f"{name}.safetensors" if maker == "timm" else here.name
        return {f"weights/{own}": here}
    entry = load.names()[item.name]
    if any((here / need).is_dir() for need in entry.needs):
        files = [file for file in sorted(here.rglob("*")) if file.name.endswith(entry.keeps)]
    else:
        files = [_plain_or_zipped(here / need) for need in entry.needs]
    found = {file.relative_to(here).as_posix(): file for file in files if file.is_file()}
    package = entry.debian[0] if entry.debian else ""
    for terms in (load.INSTALLED / "usr/share/doc" / package, here):
        if (terms / "copyright").is_file():
            found["copyright"] = terms / "copyright"
    return {f"data/{item.name}/{name}": file for name, file in found.items()}


def _plain_or_zipped(file: Path) -> Path:
    return file if file.exists() else file.with_name(f"{file.name}.gz")


def _copy(source: Path, target: Path, advance: Callable[[int], None]) -> str:
    """Copy a file; its SHA-256."""
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as content, target.open("xb") as out:
        while chunk := content.read(fetch.CHUNK):
            out.write(chunk)
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def verify(folder: Path, watch: Progress = no_progress) -> tuple[int, list[Difference]]:
    """How many files the checksums name, and what differs from them, by name.

    Raises UserError where the folder has no list of checksums, or a damaged one.
    """
    sums = _sums(folder)
    root = Path(os.path.realpath(folder))
    found = []
    for i, (name, digest) in enumerate(sums.items()):
        watch(i, len(sums))
        place = Path(os.path.realpath(root / name))
        if PurePosixPath(name).is_absolute() or not place.is_relative_to(root):
            found.append(Difference(name, "outside"))
        elif not place.is_file():
            found.append(Difference(name, "missing"))
        elif pooch.file_hash(place) != digest:
            found.append(Difference(name, "changed"))
    for here, _folders, files in os.walk(folder):
        for file in files:
            name = Path(here, file).relative_to(folder).as_posix()
            if name not in sums and name != SUMS:
                found.append(Difference(name, "added"))
    return len(sums), sorted(found, key=lambda one: one.file)


def _sums(folder: Path) -> dict[str, str]:
    """File -> its SHA-256, as the folder's list says."""
    file = folder / SUMS
    try:
        if file.stat().st_size > MOST_BYTES:
            raise _no_bundle(folder, _("{name} is too long").format(name=SUMS))
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise _no_bundle(folder, f"{SUMS}: {why or error}") from error
    read = [LINE.fullmatch(line) for line in lines]
    sums = {match[2]: match[1] for match in read if match}
    if not sums or len(sums) < len(lines):
        raise _no_bundle(folder, _("{name} is damaged").format(name=SUMS))
    return sums


def _no_bundle(folder: Path, why: str) -> UserError:
    return UserError(
        "bundle",
        _("{folder} is no bundle: {why}").format(folder=folder, why=why),
        expected=_("a folder that souron fetch --bundle has made"),
        exit=3,
    )
