"""Files that somebody uploaded -> a folder of their own: a zip, or files with relative names.

Nothing in a zip is believed. Names may lead elsewhere, a few kilobytes may unpack to terabytes,
and a picture may be a program; a zip that was made to harm is refused as a whole. What is harmless
but no data, by its first bytes, is left out and counted. A folder stands there whole or not at all.

Names from Japanese Windows (cp932) and from macOS (decomposed Unicode, ``__MACOSX``) come out as
they were meant.
"""

import os
import re
import shutil
import stat
import tempfile
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile, ZipInfo

from souron.utils.messages import N_, UserError, _

MOST_FILES = 100_000
LARGEST = 2 * 10**9  # bytes of a file
MOST_BYTES = 20 * 10**9  # of all files
MOST_PACKED = 200  # bytes that a byte of a zip may become, beyond the first ``FREE``
FREE = 50 * 10**6
DEEPEST = 16  # folders within each other
LONGEST_NAME, LONGEST = 255, 1000  # bytes of a name and of all names of a path
SPARE = 500 * 10**6  # bytes that stay free on the disk
STALE = 24 * 3600  # seconds after which what was never finished is nobody's
OF_AN_ENTRY = 400  # bytes in a zip's table of contents, with a long name
LOOKED_AT = 512  # bytes of a file, to tell what it is
ENCRYPTED, LINK = 1, stat.S_IFLNK  # bits of a zip's entry
COMING = ".coming-"  # begins the name of a folder that is not whole yet

ZIP = (b"PK\x03\x04", b"PK\x05\x06")
TEXTS = {".csv", ".tsv", ".txt", ".yaml", ".yml", ".json", ".jsonl", ".md"}
JUNK = {"__macosx", "thumbs.db", "desktop.ini", "icon\r"}
SIGNATURES = (  # where, which bytes, what it is
    (0, b"\xff\xd8\xff", "data"), (0, b"\x89PNG\r\n\x1a\n", "data"), (0, b"GIF8", "data"),
    (0, b"BM", "data"), (8, b"WEBP", "data"), (0, b"II*\0", "data"), (0, b"MM\0*", "data"),
    (128, b"DICM", "data"),
    *((0, signature, "archive") for signature in ZIP), (0, b"Rar!", "archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "archive"), (0, b"\x1f\x8b", "archive"), (0, b"BZh", "archive"),
    (0, b"\xfd7zXZ\0", "archive"), (0, b"\x28\xb5\x2f\xfd", "archive"), (257, b"ustar", "archive"),
    (0, b"MSCF", "archive"),
    (0, b"\x7fELF", "program"), (0, b"#!", "program"),
    (0, b"\xca\xfe\xba\xbe", "program"), (0, b"\xcf\xfa\xed\xfe", "program"),
    (0, b"\xce\xfa\xed\xfe", "program"), (0, b"\0asm", "program"),
)  # fmt: skip
GREY_OR_COLOUR = re.compile(rb"P[1-6]\s")  # PBM, PGM, PPM
WITHOUT_PREAMBLE = re.compile(rb"[\x02\x08]\0.\0", re.DOTALL)  # DICOM that begins with its groups
WHY = {
    "program": N_("programs"),
    "archive": N_("archives within it"),
    "unknown": N_("neither pictures nor tables"),
    "empty": N_("empty files"),
    "junk": N_("hidden files"),
}
WINDOWS = re.compile(r'[<>:"|?*\\]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


@dataclass
class Unpacked:
    """The new folder, how many files it holds, and what was left out: reason -> names."""

    folder: Path
    files: int = 0
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line for people."""
        told = _("{count} files").format(count=self.files)
        left = [f"{_(WHY[why])}: {len(names)}" for why, names in self.skipped.items()]
        return told + ("; " + _("left out: {what}").format(what=", ".join(left)) if left else "")


class Entry(NamedTuple):
    """A file that comes in."""

    name: str  # relative, with slashes
    size: int  # bytes
    open: Callable[[], Any]  # what to read its bytes from


def unpack(files: Sequence[Path] | Mapping[str, Path], place: Path) -> Unpacked:
    """A zip, or files, as a new folder below ``place``, named after the zip or the top folder.

    ``files`` maps relative names (``cat/1.png``) to where the files lie; a sequence takes the
    files' own names. Raises UserError, and leaves nothing behind, where a name leads elsewhere,
    where there is too much of something, where nothing is left, and where the disk is full.
    """
    named = files if isinstance(files, Mapping) else {path.name: path for path in files}
    if len(named) < len(files):
        raise _refused("duplicate", _("two of the files have the same name"))
    _tidy(place)
    if len(named) != 1:
        return _take(list(_listed(named)), place, "upload")
    [(name, path)] = named.items()
    content = _first(path)
    if content.startswith(ZIP):
        return _unzip(path, name, place)
    if Path(name).suffix.lower() == ".zip":
        raise _refused("not a zip", _("{file} is not a zip file").format(file=name))
    if kind(content, name) == "archive":
        raise _other_packing(name)
    return _take(list(_listed(named)), place, Path(name).stem)


def _unzip(path: Path, name: str, place: Path) -> Unpacked:
    try:
        _check_directory(path)
        with ZipFile(path) as archive:
            return _take(_entries(archive, path, name), place, Path(name).stem)
    except UserError:
        raise
    except (BadZipFile, zlib.error, EOFError, ValueError) as error:
        found = _("{file} is damaged: {why}").format(file=name, why=error)
        raise _refused("damaged", found, fix=_("pack it once more")) from error
    except (NotImplementedError, RuntimeError) as error:
        raise _other_packing(name) from error


def forget(folder: Path, place: Path) -> None:
    """Remove what ``unpack`` made. Raises UserError for anything that is no folder in ``place``."""
    folder = Path(folder)
    if folder.is_symlink() or not folder.is_dir() or folder.resolve().parent != place.resolve():
        raise UserError(
            "outside",
            _("{folder} is not an uploaded folder").format(folder=folder),
            expected=_("a folder in {place}").format(place=place),
            exit=3,
        )
    gone = Path(tempfile.mkdtemp(prefix=COMING, dir=place))
    folder.replace(gone / "gone")
    shutil.rmtree(gone)


def kind(content: bytes, name: str) -> str:
    """What a file is by its first bytes: "data", "program", "archive", "empty" or "unknown". A text
    counts as data under a name that says which, ``labels.csv``."""
    if not content:
        return "empty"
    if content.startswith(b"MZ") and b"\0" in content:  # of Windows; a table may begin so, too
        return "program"
    for start, signature, what in SIGNATURES:
        if content.startswith(signature, start):
            return what
    if GREY_OR_COLOUR.match(content) or WITHOUT_PREAMBLE.match(content):
        return "data"
    return "data" if Path(name).suffix.lower() in TEXTS and _is_text(content) else "unknown"


def _is_text(content: bytes) -> bool:
    return content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" not in content


def _first(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LOOKED_AT)


def _listed(named: Mapping[str, Path]) -> Iterator[Entry]:
    for name, path in named.items():
        if path.is_symlink() or not path.is_file():
            raise _refused("link", _("{file} is a link or a device").format(file=name))
        yield Entry(_composed(name), path.stat().st_size, partial(path.open, "rb"))


def _check_directory(path: Path) -> None:
    """Raises UserError where a zip's table of contents alone would fill the memory."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 17)))
        end = file.read()
    told = [(found.end() + 8, 4) for found in re.finditer(rb"PK\x05\x06", end)]
    told += [(found.end() + 36, 8) for found in re.finditer(rb"PK\x06\x06", end)]
    sizes = [int.from_bytes(end[at : at + width], "little") for at, width in told]
    if any(MOST_FILES * OF_AN_ENTRY < size != 0xFFFFFFFF for size in sizes):
        raise _too_many(max(sizes) // OF_AN_ENTRY)


def _entries(archive: ZipFile, path: Path, name: str) -> list[Entry]:
    """The files of a zip, once it is known to be harmless. Raises UserError."""
    infos = archive.infolist()
    if len(infos) > MOST_FILES:
        raise _too_many(len(infos))
    unpacked, packed = sum(i.file_size for i in infos), sum(i.compress_size for i in infos)
    if packed > path.stat().st_size or unpacked > FREE + MOST_PACKED * packed:
        raise _refused(
            "bomb",
            _("{file} would unpack to {size} MB").format(file=name, size=unpacked // 10**6),
            expected=_("a zip that was made of a folder"),
        )
    entries = []
    for info, inner in zip(infos, _names(infos), strict=True):
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused("link", _("{file} is a link or a device").format(file=inner))
        if info.flag_bits & ENCRYPTED:
            raise _refused(
                "encrypted",
                _("{file} needs a password").format(file=name),
                expected=_("a zip without a password"),
            )
        if not inner.endswith("/"):
            inner = re.sub(r"^(\./)+", "", inner)
            entries.append(Entry(inner, info.file_size, partial(archive.open, info)))
    return entries


def _names(infos: Sequence[ZipInfo]) -> list[str]:
    """Names as they were meant: UTF-8 where the zip says so, or else all in one encoding."""
    marked = [bool(info.flag_bits & 0x800) for info in infos]
    raw = [info.orig_filename.encode("utf-8" if utf else "cp437", "surrogateescape")
           for info, utf in zip(infos, marked, strict=True)]  # fmt: skip
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
    """Copy what is data. Every name is checked before the first file is written."""
    taken: list[Entry] = []
    hidden: list[Entry] = []
    for entry in entries:
        _check_name(entry.name)
        parts = entry.name.split("/")
        junk = any(part[0] == "." or part.lower() in JUNK for part in parts)
        (hidden if junk else taken).append(entry)
    _check_amount(taken, place)
    top = _top(taken)
    if top:
        taken = [entry._replace(name=entry.name.removeprefix(f"{top}/")) for entry in taken]
    _check_duplicates(taken)
    done = Unpacked(place)
    if hidden:
        done.skipped["junk"] = [entry.name for entry in hidden]
    with _new_folder(place, safe(top or title)) as (coming, publish):
        for entry in taken:
            _copy(entry, coming, done)
        if not done.files:
            raise _refused("nothing", _("nothing that can be used: {what}").format(what=done))
        done.folder = publish()
    return done


def _check_name(name: str) -> None:
    """Raises UserError where a name could lead out of the folder, or cannot be written."""
    parts = name.split("/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or any(p in ("..", "") for p in parts):
        raise _refused("name", _("{file} would lie outside of its folder").format(file=name[:200]))
    strange = any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
    if strange or "." in parts or (os.name == "nt" and any(map(_reserved, parts))):
        found = _("{file!r} is a name that cannot be kept").format(file=name[:200])
        raise _refused("name", found)
    size = [len(part.encode("utf-8", "surrogateescape")) for part in parts]
    if len(parts) > DEEPEST + 1 or max(size) > LONGEST_NAME or sum(size) > LONGEST:
        raise _refused("name", _("{file} is too long or lies too deep").format(file=name[:200]))


def _reserved(part: str) -> bool:
    return WINDOWS.search(part) is not None


def _check_amount(entries: Sequence[Entry], place: Path) -> None:
    if len(entries) > MOST_FILES:
        raise _too_many(len(entries))
    largest = max(entries, key=lambda entry: entry.size, default=None)
    total = sum(entry.size for entry in entries)
    if largest and largest.size > LARGEST:
        raise _too_much(largest.name, largest.size, LARGEST)
    if total > MOST_BYTES:
        raise _too_much(_("the upload"), total, MOST_BYTES)
    free = shutil.disk_usage(place).free
    if total + SPARE > free:
        raise _full(free, total + SPARE)


def _check_duplicates(entries: Sequence[Entry]) -> None:
    """Raises UserError where two names are one on Windows or macOS, or a file is a folder too."""
    seen: dict[str, str] = {}
    folders = {
        "/".join(parts[:count]).casefold()
        for entry in entries
        for parts in [entry.name.split("/")]
        for count in range(1, len(parts))
    }
    for entry in entries:
        same = seen.setdefault(entry.name.casefold(), entry.name)
        if same is not entry.name or entry.name.casefold() in folders:
            found = _("{one} and {other} are the same name").format(one=same, other=entry.name)
            raise _refused("duplicate", found)


def _top(entries: Sequence[Entry]) -> str:
    """The folder that all files lie in, or ""."""
    tops = {entry.name.partition("/")[0] for entry in entries}
    return tops.pop() if len(tops) == 1 and all("/" in e.name for e in entries) else ""


def _copy(entry: Entry, folder: Path, done: Unpacked) -> None:
    """One file, if it is data. Of a zip it gives no more bytes than were declared, and checked."""
    with entry.open() as source:
        content = source.read(LOOKED_AT)
        what = kind(content, entry.name)
        if what != "data":
            done.skipped.setdefault(what, []).append(entry.name)
            return
        path = folder / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as target:
            target.write(content)
            shutil.copyfileobj(source, target, 1 << 20)
    done.files += 1


@contextmanager
def _new_folder(place: Path, name: str) -> Iterator[tuple[Path, Callable[[], Path]]]:
    """A folder to fill, and what makes it ``place/name``, or ``name-2``, ...; else it goes away."""
    coming = Path(tempfile.mkdtemp(prefix=COMING, dir=place))
    whole = coming / "whole"

    def publish() -> Path:
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

    try:
        whole.mkdir(mode=0o700)
        yield whole, publish
    except OSError as error:
        free = shutil.disk_usage(place).free // 10**6
        raise UserError(
            "disk",
            _("cannot write {path}: {why} ({free} MB free)").format(
                path=place, why=error.strerror or error, free=free
            ),
            exit=4,
        ) from error
    finally:
        shutil.rmtree(coming, ignore_errors=True)


def safe(title: str) -> str:
    """A folder's name that can be read and typed: letters of any script, digits, ``-``, ``_``."""
    name = re.sub(r"[^\w\-]+", "-", _composed(title)).strip("-_")[:60].rstrip("-_")
    return f"data-{name}" if not name or _reserved(name) else name


def _tidy(place: Path) -> None:
    """Make ``place``; remove what was left in it when a server was killed."""
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob(f"{COMING}*"):
        with suppress(FileNotFoundError):  # another upload tidies, too
            if old.lstat().st_mtime < time.time() - STALE:
                shutil.rmtree(old, ignore_errors=True)


def _refused(code: str, found: str, *, expected: str = "", fix: str = "") -> UserError:
    expected = expected or _("a zip of a folder, or pictures and tables")
    return UserError(code, found, expected=expected, fix=fix, exit=3)


def _other_packing(name: str) -> UserError:
    found = _("{file} is packed in a way that the studio does not read").format(file=name)
    return _refused("archive", found, fix=_("pack the folder as a zip"))


def _too_many(count: int) -> UserError:
    found = _("{count} files are too many at once").format(count=count)
    return _refused("too many files", found, expected=_("at most {most}").format(most=MOST_FILES))


def _too_much(name: str, size: int, most: int) -> UserError:
    found = _("{file} has {size} MB").format(file=name, size=size // 10**6)
    expected = _("at most {most} MB").format(most=most // 10**6)
    return _refused("too large", found, expected=expected)


def _full(free: int, need: int) -> UserError:
    found = _("the disk is full: {free} MB are free").format(free=free // 10**6)
    expected = _("{need} MB, with what souron itself needs").format(need=need // 10**6)
    return UserError("disk", found, expected=expected, exit=4)
