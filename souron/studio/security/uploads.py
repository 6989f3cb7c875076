"""Unpack uploaded files, or one zip of a folder, into a folder of their own.

A zip is not trusted: names may lead elsewhere, a few kilobytes may unpack to terabytes, and an
image may be a program. A malicious zip is refused as a whole. Harmless files that are not data, by
their first bytes, are left out and counted. A folder appears complete or not at all.

Names from Japanese Windows (cp932) and from macOS (decomposed Unicode, ``__MACOSX``) are decoded
correctly.

An image that a page's script sends is decoded by ``image``, with bounds of its own.
"""

import base64
import binascii
import io
import os
import re
import shutil
import stat
import tempfile
import time
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile, ZipInfo

from souron.utils.messages import N_, UserError, _

MOST_FILES = 100_000
LARGEST = 2 * 10**9  # bytes of a file
MOST_BYTES = 10 * 10**9  # of all files of a zip, once they are unpacked
MOST_PACKED = 200  # compression ratio allowed beyond the first ``FREE`` bytes
FREE = 50 * 10**6
DEEPEST = 16  # folders within each other
LONGEST_NAME, LONGEST = 255, 1000  # bytes of a name and of all names of a path
SPARE = 500 * 10**6  # bytes that stay free on the disk
STALE = 24 * 3600  # seconds after which an incomplete folder is considered abandoned
OF_AN_ENTRY = 400  # bytes of an entry in a zip's central directory, with a long name
HEADER = 512  # bytes of a file that identify its type
ENCRYPTED, UTF8 = 1, 0x800  # flags of a zip's entry
PARTIAL = ".coming-"  # name prefix of an incomplete folder

ZIP = (b"PK\x03\x04", b"PK\x05\x06")
PACKED = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".cab"}
TEXTS = {".csv", ".tsv", ".txt", ".yaml", ".yml", ".json", ".jsonl", ".md"}
JUNK = {"__macosx", "thumbs.db", "desktop.ini", "icon\r"}
IMAGES = re.compile(  # PNG, JPEG, GIF, BMP, TIFF, WebP, PNM; DICOM, also without its preamble
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8|BM|II\*\0|MM\0\*|.{8}WEBP|P[1-6]\s"
    rb"|.{128}DICM|[\x02\x08]\0.\0",
    re.DOTALL,
)
PHOTOGRAPHS = ("JPEG", "PNG", "WEBP")  # formats of an image that a page's script sends
LARGEST_IMAGE, LONGEST_SIDE, SHORTEST_SIDE = 4_000_000, 2000, 8  # bytes and pixels of such an image
LEFT_OUT = {"unknown": N_("neither images nor tables"), "junk": N_("hidden files")}
WINDOWS = re.compile(r'[<>:"|?*\\]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


@dataclass
class Unpacked:
    """The new folder, its number of files, and what was left out: reason -> names."""

    folder: Path
    files: int = 0
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        """Summarise the upload in one line."""
        text = _("{count} files").format(count=self.files)
        left = [f"{_(LEFT_OUT[why])}: {len(names)}" for why, names in self.skipped.items()]
        return text + ("; " + _("left out: {what}").format(what=", ".join(left)) if left else "")


class Entry(NamedTuple):
    """A file of an upload."""

    name: str  # relative, with slashes
    size: int  # bytes
    open: Callable[[], Any]  # opens its bytes for reading


def unpack(files: Sequence[Path], place: Path) -> Unpacked:
    """Unpack a zip or files into a new folder below ``place``.

    The folder is named after the zip or the top folder. Raises UserError, and leaves nothing
    behind, where a name leads elsewhere, a limit is exceeded, no data remains, or the disk is full.
    """
    place.mkdir(parents=True, exist_ok=True)
    if len(files) == 1 and files[0].is_file() and not files[0].is_symlink():
        [path] = files
        if _header(path).startswith(ZIP):
            return _unzip(path, place)
        if path.suffix.lower() in PACKED:
            raise _unreadable(path.name)
    entries = []
    for path in files:
        if path.is_symlink() or not path.is_file():
            raise _refused("link", _("{file} is a link or a device").format(file=path.name))
        entries.append(Entry(_composed(path.name), path.stat().st_size, partial(path.open, "rb")))
    return _take(entries, place, files[0].stem if len(files) == 1 else "upload")


def _unzip(path: Path, place: Path) -> Unpacked:
    try:
        _check_directory(path)
        with ZipFile(path) as archive:
            return _take(_entries(archive, path), place, path.stem)
    except UserError:
        raise
    except (BadZipFile, zlib.error, EOFError, ValueError) as error:
        found = _("{file} is damaged: {why}").format(file=path.name, why=error)
        raise _refused("damaged", found, fix=_("pack it once more")) from error
    except (NotImplementedError, RuntimeError) as error:
        raise _unreadable(path.name) from error


def is_data(content: bytes, name: str) -> bool:
    """Return whether content begins like an image, or is text with a known extension."""
    if IMAGES.match(content):
        return True
    is_text = content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" not in content
    return bool(content) and is_text and Path(name).suffix.lower() in TEXTS


def image(content: bytes) -> Any:
    """Decode an image that a page's script has reduced and sent, upright, as a PIL image in RGB.

    Raises UserError unless it is a JPEG, PNG or WebP of ``LARGEST_IMAGE`` bytes at most, with sides
    from ``SHORTEST_SIDE`` to ``LONGEST_SIDE`` pixels.
    """
    from PIL import Image, ImageOps

    try:
        if len(content) > LARGEST_IMAGE or not IMAGES.match(content):
            raise ValueError
        with Image.open(io.BytesIO(content), formats=PHOTOGRAPHS) as opened:
            if max(opened.size) > LONGEST_SIDE or min(opened.size) < SHORTEST_SIDE:  # before it is decoded
                raise ValueError
            return ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        expected = _("a photograph: JPEG, PNG or WebP")
        raise UserError("picture", _("this is no picture that can be used"), expected=expected, exit=3) from error


def encoded_image(text: str) -> Any:
    """Decode an image like ``image``, in base64 as part of a JSON request. Raises UserError."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        content = b""  # no image
    return image(content)


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEADER)


def _check_directory(path: Path) -> None:
    """Check that a zip's central directory fits into memory. Raises UserError otherwise."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 17)))
        end = file.read()
    places = [(match.end() + 8, 4) for match in re.finditer(rb"PK\x05\x06", end)]
    places += [(match.end() + 36, 8) for match in re.finditer(rb"PK\x06\x06", end)]
    sizes = [int.from_bytes(end[at : at + width], "little") for at, width in places]
    if any(MOST_FILES * OF_AN_ENTRY < size != 0xFFFFFFFF for size in sizes):
        raise _too_many(max(sizes) // OF_AN_ENTRY)


def _entries(archive: ZipFile, path: Path) -> list[Entry]:
    """Return the files of a zip after checking that it is harmless. Raises UserError."""
    infos = archive.infolist()
    if len(infos) > MOST_FILES:
        raise _too_many(len(infos))
    unpacked, packed = sum(i.file_size for i in infos), sum(i.compress_size for i in infos)
    if packed > path.stat().st_size or unpacked > FREE + MOST_PACKED * packed:
        raise _refused(
            "bomb",
            _("{file} would unpack to {size} MB").format(file=path.name, size=unpacked // 10**6),
            expected=_("a zip that was made of a folder"),
        )
    entries = []
    for info, name in zip(infos, _names(infos), strict=True):
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused("link", _("{file} is a link or a device").format(file=name))
        if info.flag_bits & ENCRYPTED:
            raise _refused(
                "encrypted", _("{file} needs a password").format(file=path.name), expected=_("a zip without a password")
            )
        if not name.endswith("/"):
            name = re.sub(r"^(\./)+", "", name)
            entries.append(Entry(name, info.file_size, partial(archive.open, info)))
    return entries


def _names(infos: Sequence[ZipInfo]) -> list[str]:
    """Decode the names: UTF-8 where the zip says so, all others in one common encoding."""
    marked = [bool(info.flag_bits & UTF8) for info in infos]
    raw = [
        info.orig_filename.encode("utf-8" if utf else "cp437", "surrogateescape")
        for info, utf in zip(infos, marked, strict=True)
    ]
    for encoding in ("utf-8", "cp932", "cp437"):
        try:
            return [
                _composed(name.decode("utf-8" if utf else encoding)).replace("\\", "/")
                for name, utf in zip(raw, marked, strict=True)
            ]
        except UnicodeDecodeError:
            continue
    raise AssertionError("every byte is a character in cp437")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _take(entries: Sequence[Entry], place: Path, title: str) -> Unpacked:
    """Copy the files that are data; every name is checked before the first file is written."""
    taken: list[Entry] = []
    done = Unpacked(place)
    for entry in entries:
        _check_name(entry.name)
        if any(part[0] == "." or part.lower() in JUNK for part in entry.name.split("/")):
            done.skipped.setdefault("junk", []).append(entry.name)
        else:
            taken.append(entry)
    _check_amount(taken, place)
    top = _top(taken)
    if top:
        taken = [entry._replace(name=entry.name.removeprefix(f"{top}/")) for entry in taken]
    _check_duplicates(taken)
    _remove_stale(place)
    partial_folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=place))
    try:
        for entry in taken:
            _copy(entry, partial_folder, done)
        if not done.files:
            raise _refused("nothing", _("nothing that can be used: {what}").format(what=done))
        done.folder = _publish(partial_folder, place, safe(top or title))
    except OSError as error:
        free = shutil.disk_usage(place).free // 10**6
        raise UserError(
            "disk",
            _("cannot write {path}: {why} ({free} MB free)").format(path=place, why=error.strerror or error, free=free),
            exit=4,
        ) from error
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
    return done


def _check_name(name: str) -> None:
    """Check a name. Raises UserError where it could leave the folder, or cannot be written."""
    parts = name.split("/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or any(p in ("..", "") for p in parts):
        raise _refused("name", _("{file} would lie outside of its folder").format(file=name[:200]))
    strange = any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
    if strange or "." in parts or (os.name == "nt" and any(map(WINDOWS.search, parts))):
        found = _("{file!r} is a name that cannot be kept").format(file=name[:200])
        raise _refused("name", found)
    size = [len(part.encode("utf-8", "surrogateescape")) for part in parts]
    if len(parts) > DEEPEST + 1 or max(size) > LONGEST_NAME or sum(size) > LONGEST:
        raise _refused("name", _("{file} is too long or lies too deep").format(file=name[:200]))


def _check_amount(entries: Sequence[Entry], place: Path) -> None:
    if len(entries) > MOST_FILES:
        raise _too_many(len(entries))
    largest = max(entries, key=lambda entry: entry.size, default=None)
    total = sum(entry.size for entry in entries)
    if largest and largest.size > LARGEST:
        raise _too_large(largest.name, largest.size, LARGEST)
    if total > MOST_BYTES:
        raise _too_large(_("the upload"), total, MOST_BYTES)
    free, need = shutil.disk_usage(place).free, total + SPARE
    if free < need:
        found = _("the disk is full: {free} MB are free").format(free=free // 10**6)
        expected = _("{need} MB, with what souron itself needs").format(need=need // 10**6)
        raise UserError("disk", found, expected=expected, exit=4)


def _check_duplicates(entries: Sequence[Entry]) -> None:
    """Check for names that coincide on Windows or macOS, and files that are also folders.

    Raises UserError.
    """
    names: dict[str, str] = {}
    folders = {
        "/".join(parts[:count]).casefold()
        for entry in entries
        for parts in [entry.name.split("/")]
        for count in range(1, len(parts))
    }
    for entry in entries:
        name = entry.name.casefold()
        if name in names or name in folders:
            same = names.get(name, entry.name)
            found = _("{one} and {other} are the same name").format(one=same, other=entry.name)
            raise _refused("duplicate", found)
        names[name] = entry.name


def _top(entries: Sequence[Entry]) -> str:
    """Return the common top folder of all files, or ""."""
    tops = {entry.name.partition("/")[0] for entry in entries}
    return tops.pop() if len(tops) == 1 and all("/" in e.name for e in entries) else ""


def _copy(entry: Entry, folder: Path, done: Unpacked) -> None:
    """Copy one file if it is data; a zip entry yields no more bytes than were declared."""
    with entry.open() as source:
        content = source.read(HEADER)
        if not is_data(content, entry.name):
            done.skipped.setdefault("unknown", []).append(entry.name)
            return
        path = folder / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as target:
            target.write(content)
            shutil.copyfileobj(source, target, 1 << 20)
    done.files += 1


def _publish(whole: Path, place: Path, name: str) -> Path:
    """Rename to ``place/name``, or ``name-2``, ... where that exists."""
    for number in range(1, 100_000):
        folder = place / (name if number == 1 else f"{name}-{number}")
        if folder.exists():
            continue
        try:
            return whole.rename(folder)
        except OSError:  # another upload was faster
            if not folder.exists():
                raise
    raise AssertionError("no free name for an upload")


def _remove_stale(place: Path) -> None:
    """Remove incomplete folders of a killed server."""
    for old in place.glob(f"{PARTIAL}*"):
        with suppress(FileNotFoundError):  # another upload removes it, too
            if old.stat().st_mtime < time.time() - STALE:
                shutil.rmtree(old, ignore_errors=True)


def safe(title: str) -> str:
    """Return a readable and typeable folder name: letters of any script, digits, ``-``, ``_``."""
    name = re.sub(r"[^\w\-]+", "-", _composed(title)).strip("-_")[:60].rstrip("-_")
    return f"data-{name}" if not name or WINDOWS.search(name) else name


def _refused(code: str, found: str, *, expected: str = "", fix: str = "") -> UserError:
    expected = expected or _("a zip of a folder, or images and tables")
    return UserError(code, found, expected=expected, fix=fix, exit=3)


def _unreadable(name: str) -> UserError:
    found = _("{file} is packed in a way that the studio does not read").format(file=name)
    return _refused("archive", found, fix=_("pack the folder as a zip"))


def _too_many(count: int) -> UserError:
    found = _("{count} files are too many at once").format(count=count)
    return _refused("too many files", found, expected=_("at most {most}").format(most=MOST_FILES))


def _too_large(name: str, size: int, most: int) -> UserError:
    found = _("{file} has {size} MB").format(file=name, size=size // 10**6)
    expected = _("at most {most} MB").format(most=most // 10**6)
    fix = _("write the path of the folder instead of uploading it")
    return _refused("too large", found, expected=expected, fix=fix)
