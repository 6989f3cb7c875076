"""Decode files in parallel processes, one per core. Threads would not decode small images faster,
because of Python's global interpreter lock.

A worker is this file run as a program. It receives its tasks as lines of JSON, writes pixels
directly to their position in the cache file, and answers with metadata as lines of JSON. It ends
when its input is closed, so that none is left behind, however souron ends. It ignores Ctrl-C, which
the parent process handles.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, NamedTuple

import torch

from souron.data.dataset import Skipped
from souron.data.readers import decoding as one_file
from souron.utils import hardware
from souron.utils.messages import UserError, _, language, use_language

MOST = 16  # processes; more would wait for the disk
FEWEST = 500  # files; fewer are decoded before a process has started, which takes two seconds
CHUNK = 32  # files given to a worker at once


@dataclass(frozen=True)
class Recipe:
    """The settings common to all files."""

    root: str  # the folder outside which no file may lie
    side: int  # pixels
    channels: int
    window: str | None  # see ``dicom.Window``
    deep: bool  # float32, else uint8
    place: str  # the file that pixels are written to
    start: int  # offset of its first row, bytes

    @property
    def row(self) -> int:
        """Bytes of an image."""
        return self.channels * self.side**2 * (4 if self.deep else 1)


class Wanted(NamedTuple):
    """A file to be decoded; see ``decoding.Listed``."""

    number: int  # index among all files
    row: int  # of the cache file, for its first image
    path: str
    file: str
    frame: int
    frames: int  # at most


class Decoded(NamedTuple):
    """An image in the cache file, or the reason why it is not there."""

    number: int
    row: int  # -1 if it could not be decoded
    file: str
    frame: int
    told: list[Any]  # header values, see ``dicom.Known``; or the error's code and reason
    digest: str = ""  # of its pixels


class Finer(Exception):
    """An image has levels finer than 8 bits, but rows of bytes were begun."""


def decode(recipe: Recipe, wanted: Sequence[Wanted], stream: BinaryIO) -> list[Decoded]:
    """Write these files' images to their rows. Raises Finer, and OSError if writing fails."""
    root, found = Path(recipe.root), []
    read_file = one_file.reader(root, recipe.side, recipe.channels, recipe.window)
    for number, first, path, file, frame, frames in wanted:
        item = one_file.Listed(Path(path), file, "", frame=frame)
        for row, read in enumerate(read_file((item, frames)), first):
            pixels, one = read.pixels, read.item
            if isinstance(pixels, Skipped):
                why = [pixels.code, pixels.reason]
                found.append(Decoded(number, -1, one.file, one.frame, why))
                continue
            if pixels.is_floating_point() and not recipe.deep:
                raise Finer
            values = pixels.to(torch.float32 if recipe.deep else torch.uint8).contiguous().numpy()
            _write(stream, recipe.start + row * recipe.row, values.data.cast("B"))
            digest = hashlib.blake2b(values.data, digest_size=16).hexdigest()
            told = list(read.known) if read.known != one_file.NOTHING_KNOWN else []
            found.append(Decoded(number, row, one.file, one.frame, told, digest))
    return found


def _write(stream: BinaryIO, place: int, data: memoryview) -> None:
    """Write all of the data: on a nearly full disk, one write takes a part, and the next
    one fails."""
    stream.seek(place)
    while len(data):
        data = data[stream.write(data) :]


def decoding(recipe: Recipe, wanted: Sequence[Wanted], most: int | None = None) -> Iterator[list[Decoded]]:
    """Decode all files and yield the results of each ``CHUNK`` in order. Few files, or a single
    core, are handled without other processes. ``most``: processes. Raises as ``decode``."""
    chunks = [wanted[i : i + CHUNK] for i in range(0, len(wanted), CHUNK)]
    count = min(most or min(hardware.cores(), MOST), len(chunks))
    if count < 2 or len(wanted) < FEWEST:
        with Path(recipe.place).open("r+b", buffering=0) as stream:
            for chunk in chunks:
                yield decode(recipe, chunk, stream)
        return
    workers: list[Worker] = []
    idle: SimpleQueue[Worker] = SimpleQueue()

    def ask(chunk: Sequence[Wanted]) -> list[Decoded]:
        worker = idle.get()
        try:
            return worker.decode(chunk)
        finally:
            idle.put(worker)

    pool = ThreadPoolExecutor(count)  # threads that wait for the workers' answers
    try:
        for _number in range(count):
            workers.append(Worker(recipe))
            idle.put(workers[-1])
        yield from pool.map(ask, chunks)
    finally:
        for worker in workers:
            worker.process.kill()
        pool.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()


class Worker:
    def __init__(self, recipe: Recipe) -> None:
        house = str(Path(__file__).parents[3])
        before = os.environ.get("PYTHONPATH")
        paths = os.pathsep.join([house, before] if before else [house])
        # -P: a file named like a module in the current folder is not run
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "souron.data.readers.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="ascii",
            env={**os.environ, "PYTHONPATH": paths},
        )
        with suppress(OSError):  # it has ended already: ``decode`` reports it
            self._tell({**asdict(recipe), "language": language()})

    def decode(self, chunk: Sequence[Wanted]) -> list[Decoded]:
        try:
            self._tell(chunk)
            assert self.process.stdout is not None
            answer = json.loads(self.process.stdout.readline() or "null")
        except OSError:
            answer = None
        if answer is None:  # a decoder in C has crashed it, or memory ran out
            raise UserError(
                "decoding",
                _("decoding broke off at one of {count} files, from {first} to {last}").format(
                    count=len(chunk), first=chunk[0].file, last=chunk[-1].file
                ),
                expected=_("images that can be decoded"),
                fix=_("take the damaged file out; souron data check FOLDER looks at each"),
                exit=3,
            )
        if isinstance(answer, dict):
            raise _unpacked(answer)
        return [Decoded(*each) for each in answer]

    def _tell(self, thing: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(thing) + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):  # the last message has not reached it
                    stream.close()


def _packed(error: Exception) -> dict[str, Any]:
    if isinstance(error, Finer):
        return {"finer": True}
    if isinstance(error, OSError):
        return {"number": error.errno, "why": error.strerror}
    return {"why": f"{type(error).__name__}: {error}"}


def _unpacked(answer: dict[str, Any]) -> Exception:
    if "finer" in answer:
        return Finer()
    if "number" in answer:
        return OSError(answer["number"], answer["why"])
    return RuntimeError(answer["why"])


def serve() -> None:
    """Run the worker's loop: settings in the first line, a chunk in each following line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hardware.calm_allocator()
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # output printed by libraries is not an answer
    told = json.loads(sys.stdin.readline())
    tongue = told.pop("language")
    recipe = Recipe(**told)
    with use_language(tongue), Path(recipe.place).open("r+b", buffering=0) as stream:
        for line in sys.stdin:
            answer: Any
            try:
                answer = decode(recipe, [Wanted(*each) for each in json.loads(line)], stream)
            except Exception as error:  # reported to the parent, which raises it
                answer = _packed(error)
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    serve()
