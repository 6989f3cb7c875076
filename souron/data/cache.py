"""Cache decoded images on disk when memory is too small for them; rows are read from the file.

    0       "souron pictures", then JSON: version, key, rows, shape, type, end, digest of the end
    4096    the images, (C, H, W) uint8 or float32 each, one after the other
    end     16 bytes for each row, the digest of its pixels; then JSON: the file of each image,
            header values, files that could not be used

``key`` is a digest of the files' names, sizes and times and of every setting that changes pixels. A
file is written under a temporary name and renamed when all of it is on the disk; one that is
truncated, of another version or with another key is decoded again.

Rows are read, not memory-mapped: the pages of a mapped file count as this process's memory, and if
the file is truncated meanwhile, a mapping kills the process while a read reports the reason.
"""

import hashlib
import json
import os
import re
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from souron.data.dataset import Skipped
from souron.data.lazy_column import LazyColumn, Sketch
from souron.data.readers import decoding, workers
from souron.data.readers.workers import Decoded, Recipe, Wanted
from souron.kinds.codecs.limits import readable
from souron.utils import hardware
from souron.utils.files import cache_folder
from souron.utils.messages import UserError, _

SHARE_OF_MEMORY = 1 / 3  # of free memory that images may fill; the parts are copied out of it
MAGIC, VERSION, START = b"souron pictures\n", 1, 4096
DIGEST = 16  # bytes
LOOKED_AT = 16  # rows whose pixels are checked against their digest before a file is used
SPARE = 200 * 2**20  # bytes of the disk to leave free
ABOUT_EACH = 200  # bytes of metadata for each image, an estimate
PROBE_SECONDS, MOST_PROBED = 1.0, 256  # to estimate how long decoding takes
STARTING = 3.0  # seconds until the decoding processes are ready
TYPES = {"uint8": torch.uint8, "float32": torch.float32}


class Listing(NamedTuple):
    """A file that should become one or more images."""

    path: Path
    file: str
    frame: int
    frames: int


@dataclass(frozen=True)
class Job:
    """The files to decode, and the decoding settings."""

    source: Path  # the folder or table
    root: Path  # no file may lie outside it
    files: tuple[Listing, ...]
    side: int
    channels: int
    window: str | None
    deep: bool

    @property
    def count(self) -> int:
        """The number of rows: the most images that the files can give."""
        return sum(listing.frames for listing in self.files)

    @property
    def row(self) -> int:
        """Bytes of one image."""
        return self.channels * self.side**2 * (4 if self.deep else 1)

    @property
    def bytes(self) -> int:
        """Bytes of the cache file."""
        return START + self.count * (self.row + DIGEST + ABOUT_EACH)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.side, self.side

    def key(self) -> str:
        """Return a digest that changes with the files and with the settings of decoding."""
        digest = hashlib.blake2b(digest_size=DIGEST)
        made_by = [metadata.version(name) for name in ("pillow", "pydicom")]
        about = (VERSION, made_by, self.shape, self.window)
        digest.update(repr(about).encode("utf-8", "surrogateescape"))
        above = os.fspath(self.root)  # a folder may be known by several paths
        for path, file, frame, frames in self.files:
            size, changed = -1, -1
            with suppress(OSError):
                stat = path.stat()
                size, changed = stat.st_size, stat.st_mtime_ns
            below = os.fspath(path).removeprefix(above)
            told = f"\0{below}\0{file}\0{frame}\0{frames}\0{size}\0{changed}"
            digest.update(told.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    @property
    def place(self) -> Path:
        """The path of the cache file. It depends on the source and the settings only, not on the
        current files, so that new images replace the old ones."""
        about = repr((os.path.realpath(self.source), self.shape, self.window))
        digest = hashlib.blake2b(about.encode("utf-8", "surrogateescape"), digest_size=8)
        name = re.sub(r"[^\w\-]+", "-", readable(self.source.absolute().name))[:40].strip("-")
        return folder() / f"{name or 'data'}-{self.side}-{digest.hexdigest()}.pictures"


class Outcome(NamedTuple):
    """The decoded images, from which ``folder.gather`` builds a ``Dataset``."""

    image: LazyColumn
    kept: list[Decoded]  # for each image in ``image``
    skipped: list[Skipped]


def folder() -> Path:
    return cache_folder() / "decoded"


def needed(count: int, channels: int, side: int, deep: bool) -> bool:
    """Return whether the images would take too much of the free memory."""
    _total, free = hardware.memory()
    return count * channels * side**2 * (4 if deep else 1) > free * SHARE_OF_MEMORY


class OnDisk(LazyColumn):
    """Images in a cache file."""

    def __init__(self, path: Path, about: dict[str, Any], marks: bytes, rows: Tensor) -> None:
        super().__init__(rows, about["shape"], TYPES[about["type"]])
        self.marks, self.file = marks, File(path)
        self.bytes = int(np.prod(self.of_each)) * self.dtype.itemsize  # of an image

    def read(self, rows: Tensor) -> Tensor:
        image = torch.empty(len(rows), *self.of_each, dtype=self.dtype)
        into = image.numpy().reshape(-1).data.cast("B") if len(rows) else memoryview(b"")
        places = rows.numpy()
        ends = [*(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
        begin = 0
        for end in ends:  # adjacent rows are read at once
            if end > begin:
                piece = into[begin * self.bytes : end * self.bytes]
                self.file.read(piece, START + int(places[begin]) * self.bytes)
            begin = end
        return image

    def soon(self, rows: Tensor) -> None:
        """Ask the operating system to prefetch these rows. Reading random batches from a cold disk
        became up to twice as fast."""
        if hasattr(os, "posix_fadvise"):
            for row in self.rows[rows].tolist():
                place = START + row * self.bytes
                os.posix_fadvise(self.file.number, place, self.bytes, os.POSIX_FADV_WILLNEED)

    def digests(self) -> list[bytes]:
        assert self.channels == self.of_each[0], "of what is stored"
        return [self.marks[i * DIGEST : (i + 1) * DIGEST] for i in self.rows.tolist()]


class File:
    """An open file; closed when nothing refers to it any more."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.Lock()
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self.number)

    def read(self, into: memoryview, place: int) -> None:
        """Fill ``into`` from the offset ``place`` on. Raises UserError if the file ends before."""
        while len(into):
            count = self._some(into, place)
            if count == 0:
                raise UserError(
                    "cut short",
                    _("{path} was cut short while it was read").format(path=self.path),
                    expected=_("a cache file that nobody changes"),
                    fix=_("the same again: the images are then decoded again"),
                    exit=3,
                )
            into, place = into[count:], place + count

    def _some(self, into: memoryview, place: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self.number, [into], place)
        with self.lock:  # on Windows
            os.lseek(self.number, place, os.SEEK_SET)
            data = os.read(self.number, min(len(into), 2**26))
        into[: len(data)] = data
        return len(data)


def opened(job: Job) -> Outcome | None:
    """Return the images from an existing cache file; None if there is none that matches the job."""
    try:
        with job.place.open("rb") as stream:
            about = _header(stream.read(START))
            if about is None or about["key"] != job.key():
                return None
            stream.seek(about["end"])
            end = stream.read()
    except OSError:
        return None
    if hashlib.blake2b(end, digest_size=DIGEST).hexdigest() != about["digest"]:
        return None
    marks, told = end[: about["rows"] * DIGEST], json.loads(end[about["rows"] * DIGEST :])
    kept = [Decoded(*each) for each in told["kept"]]
    rows = torch.tensor([each.row for each in kept], dtype=torch.long)
    image = OnDisk(job.place, about, marks, rows)
    some = image.only(torch.linspace(0, len(image) - 1, min(LOOKED_AT, len(image))).long())
    seen = [_digest(pixels.numpy()) for pixels in some[:]]
    if seen != some.digests():  # the disk lost data that had been written
        return None
    with suppress(OSError):
        os.utime(job.place)  # mark as recently used
    return Outcome(image, kept, [Skipped(*each) for each in told["skipped"]])


def _header(raw: bytes) -> dict[str, Any] | None:
    if len(raw) < START or not raw.startswith(MAGIC):
        return None
    try:
        about = json.loads(raw[len(MAGIC) :].rstrip(b"\0"))
    except ValueError:
        return None
    return about if about.get("version") == VERSION else None


def _digest(pixels: np.ndarray) -> bytes:
    return hashlib.blake2b(pixels.data, digest_size=DIGEST).digest()


def sketch(job: Job) -> Outcome:
    """Return the cached images if they exist, as ``decoded`` does. Otherwise return a few images
    that represent all, with an estimate of the decoding time; nothing is written."""
    if (before := opened(job)) is not None:
        return before
    read_file = decoding.reader(job.root, job.side, job.channels, job.window)
    step = -(-len(job.files) // MOST_PROBED)
    few: list[Tensor] = []
    begun, tried = time.perf_counter(), 0
    for path, file, frame, _frames in job.files[::step]:
        item = decoding.Listed(path, file, "", frame=frame)
        few += [read.pixels for read in read_file((item, 1)) if isinstance(read.pixels, Tensor)]
        tried += 1
        if time.perf_counter() - begun > PROBE_SECONDS:
            break
    each = (time.perf_counter() - begun) / max(1, tried)
    image = torch.stack([one.float() for one in few]) if few else torch.zeros(1, *job.shape)
    deep = job.deep or any(one.is_floating_point() for one in few)
    job = replace(job, deep=deep)
    seconds = STARTING + each * job.count / min(hardware.cores(), workers.MOST)
    kept = [
        Decoded(i, -1, f"{each.file}#{n}" if each.frames > 1 else each.file, n or each.frame, [])
        for i, each in enumerate(job.files)
        for n in (range(1, each.frames + 1) if each.frames > 1 else (0,))
    ]
    few_as_stored = image if deep else image.to(torch.uint8)
    return Outcome(Sketch(few_as_stored, len(kept), job.bytes, seconds), kept, [])


def decoded(job: Job, progress: Callable[[int, int], None] | None = None) -> Outcome:
    """Return all images from the cache file, which is created if it does not exist. ``progress`` is
    called with the number of files done and the total. Raises UserError if the disk has no room."""
    told = progress or (lambda done, total: None)
    with _alone(job.place, lambda: told(0, len(job.files))):
        if (before := opened(job)) is not None:  # perhaps created by the process that held the lock
            return before
        for old in job.place.parent.glob(f".{job.place.name}.*.part"):
            old.unlink(missing_ok=True)  # left by a process that was killed
        key = job.key()  # before the first file is read: a file changed meanwhile gives another key
        try:
            _make(job, key, told)
        except workers.Finer:
            job = replace(job, deep=True)
            _make(job, key, told)
        made = opened(job)
    if made is None:
        raise UserError(
            "changed",
            _("images in {folder} changed while they were decoded").format(folder=readable(job.source)),
            expected=_("images that stay as they are"),
            fix=_("the same again"),
            exit=3,
        )
    return made


@contextmanager
def _alone(place: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold an exclusive lock between processes; the operating system releases that of a
    killed one."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.with_suffix(".lock"))
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0.5)
            except Timeout:
                waiting()
    except OSError as error:
        raise cannot_write(place, error) from error
    try:
        yield
    finally:
        lock.release()


def _make(job: Job, key: str, progress: Callable[[int, int], None]) -> None:
    """Decode into a temporary file beside ``job.place``, then rename it."""
    _make_room(job)
    beside = job.place.with_name(f".{job.place.name}.{os.getpid()}.part")
    try:
        # readable by this user only: the images may be of patients
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        kept, skipped = [], []
        for some in _decoding(job, beside, progress):
            kept += [each for each in some if each.row >= 0]
            skipped += [Skipped(each.file, *each.told) for each in some if each.row < 0]
        _finish(job, key, beside, kept, skipped)
        beside.replace(job.place)
        _sync_folder(job.place.parent)
    except OSError as error:
        raise cannot_write(job.place, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _decoding(job: Job, beside: Path, progress: Callable[[int, int], None]) -> Iterator[list[Decoded]]:
    firsts = np.cumsum([0, *(listing.frames for listing in job.files)]).tolist()
    wanted = [
        Wanted(i, first, os.fspath(path), file, frame, frames)
        for i, (first, (path, file, frame, frames)) in enumerate(zip(firsts[:-1], job.files, strict=True))
    ]
    recipe = Recipe(os.fspath(job.root), job.side, job.channels, job.window, job.deep, os.fspath(beside), START)
    done, chunks = 0, workers.decoding(recipe, wanted)
    try:
        for some in chunks:
            yield some
            done = min(done + workers.CHUNK, len(wanted))
            progress(done, len(wanted))
    finally:
        chunks.close()  # type: ignore[attr-defined]  # ends the processes, also on Ctrl-C


def _finish(job: Job, key: str, beside: Path, kept: Sequence[Decoded], skipped: Sequence[Skipped]) -> None:
    """Write the end, then the header; all of it is synced to disk before the file gets its name."""
    marks = bytearray(job.count * DIGEST)
    for each in kept:
        marks[each.row * DIGEST : (each.row + 1) * DIGEST] = bytes.fromhex(each.digest)
    told = {
        "kept": [each._replace(digest="") for each in kept],
        "skipped": [(each.file, each.code, each.reason) for each in skipped],
    }
    end = bytes(marks) + json.dumps(told).encode()
    after = START + job.count * job.row
    about = {
        "version": VERSION,
        "key": key,
        "rows": job.count,
        "shape": job.shape,
        "type": "float32" if job.deep else "uint8",
        "end": after,
        "digest": hashlib.blake2b(end, digest_size=DIGEST).hexdigest(),
    }
    with beside.open("r+b") as stream:
        stream.seek(after)
        stream.write(end)
        stream.flush()
        os.fsync(stream.fileno())
        stream.seek(0)
        stream.write((MAGIC + json.dumps(about).encode()).ljust(START, b"\0"))
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(place: Path) -> None:
    with suppress(OSError):  # Windows opens no folders
        file = os.open(place, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _make_room(job: Job) -> None:
    """Delete cached images of other data, the least recently used first, until there is room.
    Raises UserError if the disk has too little room even without them."""
    place = job.place
    others = [file for file in place.parent.glob("*.pictures") if file != place]
    others.sort(key=lambda file: file.stat().st_mtime)
    free = shutil.disk_usage(place.parent).free
    if free + sum(map(_taken, [place, *others])) < job.bytes + SPARE:
        raise UserError(
            "disk",
            _(
                "{count} images of {side} x {side} pixels take {need} MB once they are decoded, "
                "{free} MB are free in {folder}"
            ).format(count=job.count, side=job.side, need=job.bytes // 10**6, free=free // 10**6, folder=place.parent),
            expected=_("a disk with room for them, or fewer pixels a side"),
            fix=_("SOURON_CACHE=FOLDER on another disk, or imgsz={side}").format(
                side=max(1, int(job.side * (free / (job.bytes + SPARE)) ** 0.5))
            ),
            exit=4,
        )
    # a file under our own name holds other images, or it would not be made again
    for old in [place, *others]:
        if shutil.disk_usage(place.parent).free >= job.bytes + SPARE:
            return
        with suppress(OSError):  # in use, on Windows
            old.unlink(missing_ok=True)


def _taken(file: Path) -> int:
    with suppress(OSError):
        return file.stat().st_size
    return 0


def cannot_write(path: Path, error: OSError) -> UserError:
    place = next(above for above in path.absolute().parents if above.exists())
    free = shutil.disk_usage(place).free
    return UserError(
        "disk",
        _("cannot write {path}: {why} ({free} MB free)").format(
            path=path, why=error.strerror or error, free=free // 2**20
        ),
        expected=_("a disk with room for them, or fewer pixels a side"),
        fix=_("SOURON_CACHE=FOLDER on another disk"),
        exit=4,
    )
