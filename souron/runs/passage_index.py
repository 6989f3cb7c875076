"""A cache of text indexes for retrieval, so that the next question is fast.

One file per text: ``<SHA-256 of the system and the text>.safetensors`` with the sentence vectors as
float16. It cannot run code; a file that does not match the text's sentences is rebuilt. At most
``MOST_BYTES`` are kept, and the least recently used are deleted first. Vectors reveal the topic of
a text: ``keep=false`` stores none.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from souron.utils import files
from souron.utils.messages import UserError

VERSION = "2"  # of the sentence splitting
MOST_BYTES = 500_000_000
NAME = "vectors"


def indexed(system: Any, text: str, sentences: Sequence[str], keep: bool = True) -> Iterator[tuple[float, Any]]:
    """Yield progress 0..1 and, at the end, the index, from the cache if possible."""
    if not (keep and system.slow_index and sentences):
        yield from system.index(sentences)
        return
    file = _place(system, text)
    index = _read(file, len(sentences))
    if index is not None:
        yield 1.0, index
        return
    made: Any = None
    for done, made in system.index(sentences):
        yield min(done, 0.999), made
    with suppress(UserError, OSError):  # a full disk must not stop the question
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_tensors(file, {NAME: made}, {})
        _make_room(file)
    yield 1.0, made


def folder() -> Path:
    return files.cache_folder() / "reading"


def _place(system: Any, text: str) -> Path:
    about = f"{VERSION} {type(system).__name__} {system.config}\n"
    hashed = hashlib.sha256(about.encode() + text.encode("utf-8", "surrogatepass"))
    return folder() / f"{hashed.hexdigest()}.safetensors"


def _read(file: Path, sentences: int) -> Tensor | None:
    """Read an index; None if it is missing or does not match."""
    try:
        if file.stat().st_size > MOST_BYTES:
            return None
        index = files.read_tensors(file)[0].get(NAME)
        os.utime(file)
    except (UserError, OSError):
        return None
    if index is None or index.ndim != 2 or len(index) != sentences:
        return None
    return index if index.dtype == torch.float16 and bool(index.isfinite().all()) else None


def _make_room(newest: Path) -> None:
    """Delete the least recently used files, except the newest one."""
    others = [(file.stat(), file) for file in folder().glob("*.safetensors") if file != newest]
    left = MOST_BYTES - newest.stat().st_size
    for about, file in sorted(others, key=lambda each: -each[0].st_mtime):
        left -= about.st_size
        if left < 0:
            file.unlink(missing_ok=True)
