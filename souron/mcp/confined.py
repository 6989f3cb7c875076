"""Confine this process to folders: other files are not read, and no connection leaves the computer.

Audit hooks (PEP 578, https://peps.python.org/pep-0578/) see each file that Python opens or lists and each
connection, also those that a table names in a column or that a run remembers. Libraries in C that open
files themselves are not seen; ``inside`` therefore checks what is named beforehand.
"""

import atexit
import errno
import os
import shutil
import site
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import souron
from souron.hub import zoo
from souron.utils import files
from souron.utils.messages import UserError, _

READS = {"open", "os.listdir", "os.scandir", "os.chdir"}
WRITES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}
CONNECTS = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.exec", "os.posix_spawn"}
CONNECTS |= {"os.system", "os.fork", "os.forkpty"}
SYSTEM = ("/usr", "/lib", "/lib64", "/proc", "/sys", "/dev", "/etc/mime.types", "/etc/localtime", "/etc/os-release")
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def inside(value: str, folders: Sequence[Path]) -> None:
    """Raise UserError where a value names a file or folder outside ``folders``; names of systems and data pass."""
    path = Path(value).expanduser()
    if not (path.is_absolute() or ".." in path.parts or files.there(value)):
        return
    if not _within(path, folders):
        raise UserError(
            "outside",
            _("{path} is outside of the folders that souron mcp may read").format(path=value),
            expected=", ".join(map(str, folders)),
            fix="souron mcp --folder FOLDER",
            exit=5,
        )


def _within(path: Path, folders: Sequence[Path]) -> bool:
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(folder) for folder in folders)


def confine(folders: Sequence[Path]) -> None:
    """Let this process read ``folders``, what is installed and its caches, and write to ``runs`` in the first.

    It works in the first folder. It cannot be undone. Temporary files get a folder of their own.
    """
    os.chdir(folders[0])
    tempfile.tempdir = os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="souron-mcp-")
    atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)
    own: list[str | Path] = [tempfile.tempdir, files.cache_folder()]
    packages: list[str | Path] = [*sysconfig.get_paths().values(), *site.getsitepackages(), sys.prefix, sys.base_prefix]
    packages += [*souron.__path__, *filter(None, [zoo.root()]), *sys.path[1:]]
    read = [Path(os.path.realpath(path)) for path in (*folders, *own, *packages, *SYSTEM) if path]
    write = [Path(os.path.realpath(path)) for path in (folders[0] / "runs", *own, os.devnull)]

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event in CONNECTS:
            raise PermissionError(errno.EACCES, _("souron mcp connects to nothing, and starts no program"))
        if event not in READS and event not in WRITES:
            return
        changes = event in WRITES or (event == "open" and _changes(*given[1:]))
        for path in given[:2] if changes and event != "open" else given[:1]:  # both ends of a move
            if not isinstance(path, str | bytes | os.PathLike):  # a descriptor, or the current folder
                continue
            name = os.fsdecode(path)
            if not _within(Path(name), write if changes else read):
                raise PermissionError(errno.EACCES, _("outside of the folders that souron mcp may use"), name)

    sys.addaudithook(hook)


def _changes(mode: Any, flags: Any) -> bool:
    """Return whether a file is opened to be written, by ``open``'s mode or ``os.open``'s flags."""
    return bool(set("wax+") & set(mode)) if isinstance(mode, str) else bool(int(flags or 0) & CHANGES)
