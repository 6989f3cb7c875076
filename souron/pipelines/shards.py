"""The answers of a system for a folder of any size, in shards that run on an engine.

A shard is a few hundred files, in the order of their names; its answers are one file,
``shards/000012-1f0c2a9d.jsonl``, with the answer of a file on each line. The second part of the name
is a hash of the names in it. A shard whose file is there is not computed again, so that a killed
command goes on where it was. At the end all are joined to ``answers.jsonl``.

The folder is walked twice: once to count its files, since the progress is a share of that number,
and once to hand them out. In memory are the names of one folder at a time, those of the shards that
are handed out, and of each shard the name of its file, by which they are joined.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from souron.pipelines.answer_lines import as_json
from souron.runs.elsewhere import workers
from souron.runs.events import Event, Interrupted
from souron.utils import files
from souron.utils.messages import UserError, _

SIZE = 500  # files of a shard
ALL = "answers.jsonl"
ABOUT = "about.json"
LOCK = ".lock"


@dataclass
class Answered:
    """The answers for a folder, counted."""

    folder: Path  # of the answers
    count: int = 0  # of files
    failed: int = 0  # files that could not be read
    shards: int = 0
    earlier: int = 0  # shards that an earlier command had answered

    def as_json(self) -> dict[str, Any]:
        return {
            "answers": str(self.folder / ALL),
            "files": self.count,
            "failed": self.failed,
            "shards": {"count": self.shards, "earlier": self.earlier},
        }


@dataclass(frozen=True)
class Shard:
    number: int
    names: Sequence[str] = field(repr=False)  # below the folder, with slashes

    @property
    def file(self) -> str:
        digest = hashlib.blake2b("\0".join(self.names).encode("utf-8", "surrogateescape"), digest_size=4)
        return f"{self.number:06}-{digest.hexdigest()}.jsonl"


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of those inside, sorted within each; hidden ones are left out.

    Links to folders are not followed.
    """
    with os.scandir(folder) as entries:
        found = sorted(
            (one.name, one.is_dir(follow_symlinks=False), one.is_file()) for one in entries if one.name[0] != "."
        )
    for name, is_folder, is_file in found:
        if is_folder:
            yield from walk(folder / name)
        elif is_file:
            yield folder / name


def shards(folder: Path, size: int | None = None) -> Iterator[Shard]:
    """Yield the shards of a folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for number in range(3):
        ...         Path(name, f"{number}.txt").touch()
        ...     [list(one.names) for one in shards(Path(name), 2)]
        [['0.txt', '1.txt'], ['2.txt']]
    """
    size = size or SIZE
    number, names = 0, list[str]()
    for file in walk(folder):
        names.append(file.relative_to(folder).as_posix())
        if len(names) == size:
            yield Shard(number, names)
            number, names = number + 1, []
    if names:
        yield Shard(number, names)


def answering(
    system: str, folder: Path, out: Path, on: str, options: Mapping[str, str], fast: str = "off"
) -> Iterator[Event]:
    """Answer every file of ``folder`` on an engine; the last event has ``Answered`` as its record.

    ``fast`` as in ``Model.hasten``.

    Raises UserError, also while another command writes to ``out``; Interrupted on Ctrl-C, with
    finished shards kept.
    """
    if not folder.is_dir():
        raise UserError("data", _("{path} is no folder").format(path=folder), exit=3)
    with alone(out):
        agree(out, {"system": system, "folder": str(folder.resolve()), "options": dict(options), "size": SIZE})
        total = sum(1 for _file in walk(folder))
        if not total:
            raise UserError("no files", _("nothing was found at {files}").format(files=folder), exit=3)
        found, parts = Answered(out), list[str]()

        def missing() -> Iterator[tuple[str, tuple[Any, ...]]]:
            for shard in shards(folder):
                parts.append(shard.file)
                if (out / "shards" / shard.file).exists():
                    found.earlier += 1
                    found.count += len(shard.names)
                else:
                    yield (
                        shard.file,
                        (workers.anywhere(system), str(folder.resolve()), shard.names, dict(options), fast),
                    )

        try:
            for name, lines in workers.gather(on, answer, missing(), [workers.anywhere(system)]):
                files.write_text(out / "shards" / name, lines)
                found.count += lines.count("\n")
                yield Event("predict", min(1.0, found.count / total), text=name, folder=out)
        except KeyboardInterrupt as stop:
            raise Interrupted(out, _("the same command goes on")) from stop
        join(parts, found)
        yield Event("done", 1.0, record=found, folder=out)


def alone(out: Path) -> AbstractContextManager[None]:
    """Hold a folder of answers for this command. Raises UserError while another one holds it."""
    busy = UserError(
        "busy",
        _("another command writes its answers to {folder}").format(folder=out),
        expected=_("one command at a time for a folder of answers"),
        fix="out=FOLDER",
        exit=3,
    )
    return files.locked(out / LOCK, busy)


def join(parts: Sequence[str], found: Answered) -> None:
    """Write the answers of all shards to one file, and count them."""
    found.shards, found.count, found.failed = len(parts), 0, 0
    with files.atomically(found.folder / ALL) as beside, beside.open("w", encoding="utf-8") as joined:
        for part in parts:
            with (found.folder / "shards" / part).open(encoding="utf-8") as lines:
                for line in lines:
                    joined.write(line)
                    found.count += 1
                    found.failed += "error" in json.loads(line)


def agree(out: Path, asked: Mapping[str, Any]) -> None:
    """Note what answers in ``out`` are of. Raises UserError where they are of something else."""
    if (out / ABOUT).exists():
        before = json.loads((out / ABOUT).read_text(encoding="utf-8"))
        if before != asked:
            differ = ", ".join(name for name in asked if before.get(name) != asked[name])
            raise UserError(
                "exists",
                _("{folder} holds answers of something else: {names} differ").format(folder=out, names=differ),
                fix="out=FOLDER",
                exit=3,
            )
    else:
        files.write_json(out / ABOUT, asked)


def loaded(system: str) -> Any:
    """Return a system with its weights, for many files."""
    from souron import model

    return model.load(system).for_many()


def answer(system: str, folder: str, names: Sequence[str], options: Mapping[str, str], fast: str = "off") -> str:
    """Answer some files on this machine, as lines of JSON."""
    from souron import model

    lines, one = [], workers.loaded(loaded, system)
    if one.engine is None:
        one.hasten(fast)
    for name in names:
        for _file, found in model.predict(one, [Path(folder, name)], **options):
            lines.append(files.as_json(as_json(name, found)))
    return "".join(f"{line}\n" for line in lines)
