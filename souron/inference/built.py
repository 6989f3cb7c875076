"""Builds kept on disk: compiled once, checked again each time they are read.

They lie in the user's own cache, ``<cache>/fast/<key>/``, and never beside a run: the folder of a
run may come from somebody else, and a graph from elsewhere must not be run in a network's name. The
key is a hash of all that a build depends on, so that a changed weight, another version or another
processor finds none.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import souron
from souron.evaluation.familiarity import Sensor
from souron.inference.building import Build, probed
from souron.inference.graph import Flat, Graph, Layout, Signature, core
from souron.inference.outer_calls import Calls, part_of
from souron.inference.refusal import Refused, last_line
from souron.utils import files, hardware, silent
from souron.utils.messages import UserError, _

FORMAT = 1
MOST_BYTES = 2 * 10**9  # of all builds
RECORD = "record.json"
PART = ".part"  # prefix of a folder that is being written
ABANDONED = 24 * 3600  # seconds after which such a folder is removed
FORGET = 7 * 24 * 3600  # seconds after which a refused build is tried again
WAIT = 600  # seconds for another process that builds the same
FACTOR, LEAST = 2.0, 1e-5  # times the probe's difference at the build, which a later one may reach


def home() -> Path:
    """Return the folder of all builds."""
    return files.cache_folder() / "fast"


def key(system: Any, calls: Calls, precision: str, layers: Sequence[str]) -> str:
    """Return the hash of all that a build depends on: weights, settings, arguments, versions, processor."""
    openvino = silent.imported("openvino")
    hasher = hashlib.sha256()
    about = {
        "format": FORMAT,
        "class": f"{type(system).__module__}.{type(system).__qualname__}",
        "config": repr(system.config),
        "spec": repr(system.spec),
        "calls": {
            name: sorted({str(read and read[0].plain) for read in (Signature.of(c.args, c.kwargs) for c in those)})
            for name, those in calls.by_name.items()
        },
        "layers": list(layers),
        "precision": precision,
        "versions": [souron.__version__, torch.__version__, openvino.__version__],
        "processor": processor(openvino),
    }
    hasher.update(json.dumps(about, sort_keys=True).encode())
    for name, tensor in tensors(system):
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hasher.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()[:40]


def tensors(system: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the name and the values of every parameter and buffer."""
    yield from system.named_parameters()
    yield from system.named_buffers()


def processor(openvino: Any) -> list[str]:
    """Return what of this computer changes a compiled graph's outputs."""
    able = core(openvino).get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return [hardware.processor(), " ".join(sorted(able)), os.environ.get("ONEDNN_MAX_CPU_ISA", "")]


def write(place: Path, build: Build) -> None:
    """Keep a build: all of it or nothing. Raises OSError, for instance on a full disk."""
    openvino = silent.imported("openvino")
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=PART, dir=place.parent))
    try:
        parts: list[dict[str, Any]] = []
        for name, graphs in build.graphs.items():
            for row, graph in enumerate(graphs):
                file = f"{len(parts)}.xml"
                try:
                    openvino.save_model(graph.model, beside / file, compress_to_fp16=False)
                except RuntimeError as error:  # raised instead of OSError on a full disk
                    raise OSError(last_line(error)) from error
                parts.append(
                    {
                        "module": name,
                        "file": file,
                        "signature": graph.signature.plain,
                        "batch": graph.signature.batch,
                        "any_batch": graph.signature.any_batch,
                        "layers": list(graph.layout.layers),
                        "like": build.like[name][row],
                        "probe": build.probes[name][row],
                    }
                )
        record = build.record | {
            "key": place.name,
            "parts": parts,
            "files": {file.name: digest(file) for file in sorted(beside.iterdir())},
        }
        (beside / RECORD).write_text(files.as_json(record, indent=1), encoding="utf-8")
        for each in beside.iterdir():
            with each.open("rb") as handle:
                os.fsync(handle.fileno())
        remove(place)  # an earlier refusal
        with suppress(OSError):  # another process was faster
            beside.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    tidy(place)


def write_refusal(place: Path, reason: str) -> None:
    """Keep why a build was refused, so that each command does not try again."""
    with suppress(UserError):
        files.write_json(place / RECORD, {"key": place.name, "refused": reason})


def refusal(place: Path) -> str | None:
    """Return why an earlier build was refused; None where it was not, or some days ago."""
    try:
        record = json.loads((place / RECORD).read_text(encoding="utf-8"))
        lately = time.time() - (place / RECORD).stat().st_mtime < FORGET
        return str(record["refused"]) if lately and record["key"] == place.name else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read(place: Path, system: Any, precision: str) -> Build:
    """Read a build, and compare it with the network for noise of a stored seed.

    ``system`` is a copy that nothing else uses. Raises Refused where it is damaged, of something
    else, or no longer answers as it did; it is then removed.
    """
    try:
        record = json.loads((place / RECORD).read_text(encoding="utf-8"))
        if record["key"] != place.name or record["precision"] != precision:
            raise Refused(_("it belongs to something else"))
        if any(digest(place / Path(name).name) != known for name, known in record["files"].items()):
            raise Refused(_("its files have changed"))
        build = _restored(place, record, system)
    except (Refused, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        remove(place)
        why = str(error) if isinstance(error, Refused) else _("its files are damaged")
        raise Refused(_("the stored build was removed: {why}").format(why=why)) from error
    with suppress(OSError):
        os.utime(place / RECORD)  # used now
    return build


def _restored(place: Path, record: dict[str, Any], system: Any) -> Build:
    openvino = silent.imported("openvino")
    build = Build({}, {}, {}, record)
    for about in record["parts"]:
        signature = _signature(about)
        model = core(openvino).read_model(place / Path(about["file"]).name)
        layers = tuple(map(str, about["layers"]))
        graph = Graph(signature, Layout(None, (), layers), model, str(record["precision"])).compile()
        sensor = Sensor(system, list(dict.fromkeys(layers))) if layers else None
        try:
            module = part_of(system, about["module"])
            flat = Flat(module, signature, sensor.listening) if sensor else Flat(module, signature)
            now = probed(graph, flat, about["like"])
        finally:
            if sensor is not None:
                sensor.remove()
        before = max(float(about["probe"]), LEAST)
        if not now <= FACTOR * before or flat.last is None or flat.last.layers != layers:
            raise Refused(_("it no longer answers as the network does"))
        graph.layout = flat.last
        build.graphs.setdefault(about["module"], []).append(graph)
    if not build.graphs:
        raise Refused(_("it belongs to something else"))
    return build


def _signature(about: dict[str, Any]) -> Signature:
    plain, batch = about["signature"], int(about["batch"])
    return Signature(
        pytree.treespec_loads(plain["spec"]),
        tuple(None if leaf is None else (leaf[1],) for leaf in plain["leaves"]),
        tuple(tuple(batch if size == "cases" else int(size) for size in shape) for shape in plain["shapes"]),
        tuple(getattr(torch, name) for name in plain["dtypes"]),
        batch,
        bool(about["any_batch"]),
    )


def digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)


def tidy(kept: Path) -> None:
    """Remove the builds that were used longest ago where all are too large, and abandoned folders."""
    sizes = {}
    for folder in home().iterdir():
        with suppress(OSError):
            if folder.name.startswith(PART) and time.time() - folder.stat().st_mtime > ABANDONED:
                remove(folder)
            elif (folder / RECORD).is_file():
                size = sum(file.stat().st_size for file in folder.iterdir())
                sizes[folder] = ((folder / RECORD).stat().st_mtime, size)
    total = sum(size for _used, size in sizes.values())
    for folder, (_used, size) in sorted(sizes.items(), key=lambda pair: pair[1]):
        if total > MOST_BYTES and folder != kept:
            remove(folder)
            total -= size


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Let one process at a time look for a build and make it; the others wait, then find it.

    Where no lock can be written, as in a folder without rights, it goes on without one.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(place.with_name(f".{place.name}.lock"))
    held = False
    try:
        with suppress(OSError, Timeout, UserError):
            place.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=WAIT)
            held = True
        yield
    finally:
        if held:
            lock.release()
            with suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)
