"""Compose many images in parallel, in one process per core, and keep them in the cache. Threads
would give no speed-up because of Python's global interpreter lock.

A worker is a module run as a program: its ``main`` calls ``work``. It reads its task as one line of
JSON, writes the result to the given file, and ends.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from souron.utils import hardware
from souron.utils.files import cannot_write, read_tensors, write_tensors
from souron.utils.messages import UserError, _

FEWEST = 300  # images; fewer are composed before a process has started
MOST = 16  # processes

Pieces = tuple[dict[str, Tensor], dict[str, Any]]  # the arguments of ``write_tensors``
Made = TypeVar("Made")


def kept(place: Path, make: Callable[[], Pieces], unpack: Callable[..., Made]) -> Made:
    """Return ``unpack`` of the file at ``place``, which is created if it is missing or damaged.
    Raises UserError."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock")):  # one process composes them, others wait
            if place.exists():
                with suppress(UserError, KeyError, ValueError):
                    return unpack(*read_tensors(place))
            for left in place.parent.glob(f".{place.stem}-*"):  # left by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            tensors, about = make()
            write_tensors(place, tensors, about)
            return unpack(tensors, about)
    except OSError as error:
        raise cannot_write(place, error) from error


def shared(
    module: str,
    told: Mapping[str, Any],
    count: int,
    alone: Callable[[], Pieces],
    place: Path,
    fewest: int | None = None,
) -> Pieces:
    """Compose rows 0 to ``count`` with several workers that run ``module``, and join the parts in
    order. ``alone`` composes them in this process if there are fewer than ``fewest``, or only one
    core. Raises UserError."""
    cores = min(hardware.cores(), MOST)
    if count < (FEWEST if fewest is None else fewest) or cores < 2:
        return alone()
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.stem}-") as work_folder:
        workers = []
        try:
            for number, some in enumerate(np.array_split(np.arange(count), cores)):
                file = Path(work_folder) / f"{number}.safetensors"
                rows = [int(some[0]), int(some[-1]) + 1]
                line = {**told, "rows": rows, "file": str(file)}
                workers.append((_worker(module, line, file.with_suffix(".txt")), file))
            pieces = [_answer(worker, file) for worker, file in workers]
        finally:
            for worker, _file in workers:
                worker.kill()
                worker.wait()
    tensors = {name: torch.cat([piece[0][name] for piece in pieces]) for name in pieces[0][0]}
    about = {name: [each for piece in pieces for each in piece[1][name]] for name in pieces[0][1]}
    return tensors, about


def work(make: Callable[[dict[str, Any], int, int], Pieces]) -> None:
    """Run a worker: call ``make`` with the task, the first row and the end (exclusive)."""
    told = json.loads(sys.stdin.readline())
    torch.set_num_threads(1)
    write_tensors(Path(told["file"]), *make(told, *told["rows"]))


def _worker(module: str, told: dict[str, Any], complaints: Path) -> subprocess.Popen[str]:
    house = str(Path(__file__).parents[3])
    before = os.environ.get("PYTHONPATH")
    paths = os.pathsep.join([house, before] if before else [house])
    # -P: a file named like a module in the current folder is not run
    with complaints.open("w", encoding="utf-8") as errors:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": paths},
        )
    assert worker.stdin is not None
    with suppress(OSError):  # it has ended already: ``_answer`` reports it
        worker.stdin.write(json.dumps(told) + "\n")
        worker.stdin.close()
    return worker


def _answer(worker: subprocess.Popen[str], file: Path) -> Pieces:
    if code := worker.wait():
        complaint = file.with_suffix(".txt").read_text("utf-8", "replace")
        lines = complaint.strip().splitlines() or [str(code)]
        raise UserError(
            "scenes",
            _("making scenes broke off: {why}").format(why=lines[-1]),
            expected=_("enough memory, and room on the disk of the cache"),
            fix=_("the same again"),
            exit=4,
        )
    return read_tensors(file)
