"""Worker process that imports the commands' modules once and forks a child for each job.

``python -m souron`` imports for seconds before it does anything. The worker does so once, and then
waits for lines. It computes nothing and starts no Python threads, so that a forked child lacks
nothing: no pool of OpenMP threads, no CUDA context. A child is a session leader and runs ``python
-m souron`` with the given words, folder and environment. It outlives the page, the server and the
worker.

Server and worker communicate over two pipes that no other process holds. A child starts once the
server has noted its pid; without that signal it ends. Linux only: Windows has no fork, and the
libraries of macOS do not support it.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import souron
from souron.utils import hardware

COMMAND = (sys.executable, "-P", "-X", "utf8", "-m", "souron.studio.jobs.worker")  # as jobs.COMMAND
MODULES = (  # modules that import slowly
    "souron.cli.main",
    "souron.model",
    "souron.runs.ready",
    "souron.runs.generate",
    "souron.runs.compare",
    "souron.runs.evaluate",
    "souron.data.check",
    "souron.action",
    "souron.report.run",
    "torch._dynamo",  # of every optimizer
    "matplotlib.backends.backend_agg",
    "scipy.special",
    "scipy.stats",  # of reports
    "sklearn.model_selection",  # of groups that a split keeps together
    "pydantic.type_adapter",  # of typer
)
READY, GO = b"ready\n", b"go\n"
MOST_STARTS = 5  # restarts of workers that died
PATIENCE = 5.0  # timeout in seconds for an answer, which takes milliseconds


class Worker:
    """The server's side of the worker.

    While no worker is ready, ``fork`` returns None; a later job may find one.
    """

    def __init__(self) -> None:
        self._guard = threading.RLock()
        self._process: Any = None
        self._source: Any = None  # source files that it has imported
        self._ready = self._asked = False  # a child waits for an answer
        self._starts = 0

    def start(self) -> None:
        """Start importing, in a process beside the server."""
        with self._guard:
            if sys.platform == "linux" and self._process is None:
                self._start()

    @property
    def ready(self) -> bool:
        """Return whether the worker has finished importing. Raises OSError where it has died."""
        with self._guard:
            if self._process is not None and not self._ready:
                self._ready = self._hear(0) == READY
            return self._ready

    def fork(self, words: Sequence[str], folder: Path, environment: dict[str, str], *streams: Path) -> int | None:
        """Fork a child for a ``souron`` command, and return its pid; it waits for ``answer``.

        ``streams`` are the files of its stdout and stderr. Returns None where no worker is ready.
        """
        with self._guard:
            if self._process is None or not folder.is_dir():
                return None
            changed = True
            with suppress(OSError, ValueError):
                changed = self._source != source()
                if not changed and not self.ready:
                    return None
                if not changed:
                    asked = [list(words), str(folder), environment, *map(str, streams)]
                    self._tell(json.dumps(asked).encode() + b"\n")
                    pid = int(self._hear(PATIENCE))
                    self._asked = True
                    return pid
            self._starts -= changed
            self._start()
            return None

    def answer(self, go: bool) -> None:
        """Let the waiting child start, or end it; without one, do nothing."""
        with self._guard, suppress(OSError):
            if self._asked:
                self._asked = False
                self._tell(GO if go else b"end\n")

    def close(self) -> None:
        """End the worker; its children continue."""
        with self._guard:
            if self._process is not None:
                self._process.kill()
                with self._process:  # closes the pipes, and waits
                    self._process, self._ready, self._asked = None, False, False

    def _start(self) -> None:
        self.close()
        if self._starts >= MOST_STARTS:
            return
        self._starts += 1
        with suppress(OSError):
            self._source = source()
            self._process = subprocess.Popen(
                COMMAND,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _tell(self, data: bytes) -> None:
        while data:
            data = data[self._process.stdin.write(data) :]

    def _hear(self, seconds: float) -> bytes:
        """Read a line; b"" on a timeout. Raises OSError at the end of the pipe."""
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return b""
        line = self._process.stdout.readline()
        if not line:
            raise BrokenPipeError
        return line


def source() -> list[tuple[str, int]]:
    """Return paths and modification times of souron's source. Raises OSError."""
    files = (path for root in souron.__path__ for path in Path(root).rglob("*.py"))
    return sorted((str(path), path.stat().st_mtime_ns) for path in files)


def serve() -> list[str]:
    """Fork a child for each line of stdin; returns in the child with its words.

    Ends with the server. The kernel reaps the children.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.write(1, READY)
    while line := sys.stdin.buffer.readline():
        begin, told = os.pipe()
        if not os.fork():
            os.close(told)
            return become(begin, *json.loads(line))
        os.close(begin)
        if sys.stdin.buffer.readline() == GO:
            with suppress(BrokenPipeError):
                os.write(told, GO)
        os.close(told)
    sys.exit()


def become(begin: int, words: list[str], folder: str, environment: dict[str, str], *streams: str) -> list[str]:
    """Turn a forked process into a job's: wait for the signal to start, and return its words."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    files = [os.open(os.devnull, os.O_RDONLY), *(os.open(name, os.O_WRONLY) for name in streams)]
    os.write(1, b"%d\n" % os.getpid())
    for number, file in enumerate(files):  # this closes the worker's pipes
        os.dup2(file, number)
        os.close(file)
    if not os.read(begin, 1):
        os._exit(1)
    os.close(begin)
    return words


def main() -> None:
    hardware.calm_allocator()
    for name in MODULES:
        with suppress(ImportError):
            importlib.import_module(name)
    if threading.active_count() > 1:
        sys.exit("a thread would be missing in every child")
    gc.collect()
    gc.freeze()  # otherwise a child's first collection would copy all memory
    sys.argv[1:] = serve()
    sys.modules["numpy"].random.seed()  # reseed as in a new process; random does so itself
    runpy.run_module("souron", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
