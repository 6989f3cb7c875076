"""The studio's jobs: command lines that run in processes of their own, one after another.

A job is a folder. Its process writes there what happens (``--events``), what came out (``--json``)
and what it said. It leads a session of its own, so that it outlives the page and the server; all
that a server knows of a job it reads from the folder and asks of the operating system, so that the
next server finds the job again. What is damaged in a folder counts as missing.
"""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import psutil
from filelock import FileLock, Timeout

from souron.cli import arguments
from souron.utils.files import as_json
from souron.utils.messages import LANGUAGES, UserError, _, near, unknown_option

COMMAND = (sys.executable, "-P", "-X", "utf8", "-m", "souron")  # -P: no module from this folder
VERBS = ("train", "compare", "generate", "audit", "val", "data", "predict", "fetch", "tour")
ALIVE = ("waiting", "running")
OVER = ("done", "failed", "stopped", "killed")
LONGEST = 100_000  # characters of a command line

GRACE = 10.0  # seconds that a process has to keep its work before a second stop ends it
PAUSE = 0.5  # seconds between two looks at the queue
PATIENCE = 10.0  # seconds to wait for another server to let go of the queue

MOST_ABOUT = 2**20  # bytes of job.json
MOST_RESULT = 2**26  # bytes of result.json
MOST_LOG = 2**16  # bytes of log.txt, the last ones
MOST_EVENTS = 2**26  # bytes of events.jsonl at once, the last ones
MOST_LINE = 2**18  # bytes of an event
RECENT = 500  # events at hand, the last ones
MOST_LOOKS = 10_000  # rows of a curve

TEXTS = ("phase", "text", "folder", "picture")  # what an event may hold
NUMBERS = ("time", "fraction", "seconds_left")
ERROR = ("code", "found", "expected", "try")

_children: dict[int, subprocess.Popen] = {}  # of this server, by their number: to be waited for


def state_name(state: str) -> str:
    return {
        "waiting": _("waiting for its turn"),
        "running": _("running"),
        "done": _("done"),
        "failed": _("failed"),
        "stopped": _("stopped; the work is kept"),
        "killed": _("ended from outside; what was kept can be resumed"),
    }[state]


class Jobs:
    """The jobs of a project. ``run`` starts those that wait, one at a time, in the order of their
    making. Several servers may do so on one project: each job is started once."""

    def __init__(self, project: Path) -> None:
        self.folder = project.absolute() / ".studio" / "jobs"
        self._lock = FileLock(self.folder / "lock")  # who holds it may change jobs
        self._known: dict[str, Job] = {}
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def start(self, words: Sequence[str], language: str, *, queued: bool = True) -> "Job":
        """A new job that does what ``souron`` does with these words, such as ``["train", "cnn"]``:
        when its turn comes, or at once. Raises UserError for words that no page may run, and where
        the disk is full."""
        check(words, language)
        return self.add(list(words), language, queued, Path.cwd())

    def add(self, words: list[str], language: str, queued: bool, place: Path) -> "Job":
        """A new job whose words are known to be good, to be run in the folder ``place``."""
        about = {"words": words, "language": language, "queued": queued, "made": time.time(),
                 "place": str(place)}  # fmt: skip
        with self.changing():
            job = self._new(about)
            if not queued:
                job.launch()
        self._wake.set()
        return job

    def _new(self, about: dict[str, Any]) -> "Job":
        number = max((place_of(id)[0] for id in self._ids()), default=0) + 1
        id = f"{number:06}-{secrets.token_hex(4)}"
        unfinished = self.folder / f".{id}"
        unfinished.mkdir()
        write(unfinished / "job.json", about)
        unfinished.rename(self.folder / id)
        return self._job(id)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Within the block no other thread and no other server changes jobs. Raises UserError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock.acquire(PATIENCE):
                yield
        except Timeout as error:
            raise UserError(
                "busy",
                _("another studio holds the jobs in {folder}").format(folder=self.folder),
                expected=_("an answer within {seconds:.0f} seconds").format(seconds=PATIENCE),
                exit=4,
            ) from error
        except OSError as error:
            why = error.strerror or error
            raise UserError(
                "disk",
                _("{path} cannot be written: {why}").format(path=self.folder, why=why),
                expected=_("a folder that can be written, with room for the run"),
                exit=4,
            ) from error

    def all(self) -> list["Job"]:
        """Newest first."""
        return [self._job(id) for id in reversed(self._ids())]

    def get(self, id: str) -> "Job":
        """Raises UserError where there is no such job."""
        if not is_id(id) or not is_folder(self.folder / id):
            raise UserError(
                "job",
                _("there is no such job: {id!r}").format(id=str(id)[:40]),
                expected=_("one of the {count} jobs here").format(count=len(self._ids())),
                exit=3,
            )
        return self._job(id)

    def _job(self, id: str) -> "Job":
        return self._known.get(id) or self._known.setdefault(id, Job(self, id))

    def _ids(self) -> list[str]:
        """Oldest first."""
        try:
            there = [path.name for path in self.folder.iterdir() if is_id(path.name)]
        except OSError:
            return []
        return sorted((id for id in there if is_folder(self.folder / id)), key=place_of)

    def forgotten(self, id: str) -> None:
        self._known.pop(id, None)

    def run(self) -> None:
        """From here on a thread starts what waits."""
        if self._thread is None:
            self._closing = False
            self._thread = threading.Thread(target=self._serve, name="jobs", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Start no more; what runs goes on."""
        if self._thread is not None:
            self._closing = True
            self._wake.set()
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        while not self._closing:
            with suppress(
                UserError, OSError
            ):  # of the lock or the disk: the next look may do better
                self.advance()
            self._wake.wait(PAUSE)
            self._wake.clear()

    def advance(self) -> None:
        """Start the queued job whose turn it is, unless another one runs."""
        if not self.folder.is_dir():
            return
        with self._lock.acquire(timeout=0):
            going = [job for job in map(self._job, self._ids()) if not job.settle()]
            queued = [job for job in going if job.queued]
            waiting = [job for job in queued if job.state == "waiting"]
            if waiting and not any(job.process() for job in queued):
                waiting[0].launch()


class Job:
    """A view of its folder: every property says what is on the disk now."""

    def __init__(self, jobs: Jobs, id: str) -> None:
        self.jobs, self.id = jobs, id
        self.place = jobs.folder / id
        self._told = Told(self.place / "events.jsonl")
        self._settled = False

    @property
    def _about(self) -> dict[str, Any]:
        found = values(self.place / "job.json", MOST_ABOUT)
        return found[0] if found and isinstance(found[0], dict) else {}

    def _note(self, **more: Any) -> None:
        """Raises OSError, also where what was noted before cannot be read just now."""
        about = self._about
        if not about:
            raise OSError(f"{self.place / 'job.json'} cannot be read")
        write(self.place / "job.json", {**about, **more})

    @property
    def words(self) -> list[str]:
        words = self._about.get("words")
        return [str(word) for word in words] if isinstance(words, list) else []

    @property
    def language(self) -> str:
        language = self._about.get("language")
        return language if language in LANGUAGES else LANGUAGES[0]

    @property
    def queued(self) -> bool:
        return self._about.get("queued") is True

    @property
    def made(self) -> float:
        """In seconds since 1970."""
        return number(self._about.get("made")) or 0.0

    @property
    def begun(self) -> float | None:
        """When its process was started, in seconds since 1970."""
        return number(self._about.get("begun"))

    @property
    def _cwd(self) -> Path:
        """The folder that its words speak from."""
        return Path(str(self._about.get("place") or "."))

    @property
    def state(self) -> str:
        """One of ``ALIVE`` and ``OVER``."""
        about = self._about
        if about.get("over") in OVER:
            return about["over"]
        if not about or "trouble" in about:
            return "failed"
        if "lost" in about:
            return "killed"
        if "pid" not in about:
            return "stopped" if "stopped" in about else "waiting"
        lives = self.process() is not None  # asked first: it says how it ended, and then ends
        ended = self._told.read().ended
        if ended is not None:
            return {0: "done", 130: "stopped"}.get(ended, "failed")
        if lives:
            return "running"
        return "stopped" if "stopped" in about and "killed" not in about else "killed"

    def process(self) -> psutil.Process | None:
        """Its process while it lives. Another one that got its number later is none of ours."""
        wait_for_children()
        about = self._about
        pid, created = about.get("pid"), number(about.get("created")) or 0.0
        if not isinstance(pid, int) or pid <= 0:
            return None
        try:
            found = psutil.Process(pid)
            if found.status() == psutil.STATUS_ZOMBIE:
                return None
            # setting the clock shifts the time of creation, but not the command line
            ours = abs(found.create_time() - created) < 1 or any(
                str(self.place) in word for word in found.cmdline()
            )
        except (psutil.Error, OSError, ValueError, OverflowError):
            return None
        return found if ours else None

    @property
    def last(self) -> dict[str, Any]:
        """The last event; {} before the first."""
        return dict(self._told.read().last)

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """Those whose "number" is ``after`` or higher, of the last ``RECENT``."""
        return self._told.read().since(after)

    @property
    def curve(self) -> list[dict[str, float]]:
        """The distinct values of its train events, in order."""
        return list(self._told.read().curve)

    @property
    def picture(self) -> Path | None:
        """What it drew last."""
        path = self.place / "events.jsonl.png"
        return path if path.is_file() else None

    @property
    def folder(self) -> Path | None:
        """The run's or comparison's, once it is known."""
        text = self._told.read().folder
        if not text:
            return None
        return Path(text) if self._cwd == Path.cwd() else self._cwd / text

    @property
    def result(self) -> dict[str, Any] | None:
        """The object that the command printed; {"lines": [...]} where it was not one object."""
        lines = [
            line
            for line in values(self.place / "result.json", MOST_RESULT)
            if not (isinstance(line, dict) and line.keys() == {"error"})
        ]
        if len(lines) == 1 and isinstance(lines[0], dict):
            return lines[0]
        return {"lines": lines} if lines else None

    @property
    def trouble(self) -> dict[str, str] | None:
        """What went wrong: "code", "found", "expected", "try"."""
        about = self._about
        error = about.get("trouble") or self._told.read().error
        if isinstance(error, dict):
            return {name: str(error.get(name) or "") for name in ERROR}
        if not about:
            path = self.place / "job.json"
            return trouble("damaged", _("{path} cannot be read").format(path=path))
        if self.state == "killed":
            return trouble("killed", _("its process ended before the work was done"))
        return None

    @property
    def log(self) -> str:
        """The end of what it said on stderr."""
        return content(self.place / "log.txt", MOST_LOG).decode("utf-8", "replace")

    def launch(self) -> None:
        """Start the process, within ``Jobs.changing``."""
        words, language = self.words, self.language
        self._note(begun=time.time())  # without a number afterwards, the server died meanwhile
        try:
            check(words, language)
            child = self._spawn(words, language)
        except UserError as error:
            self._note(trouble=trouble(error.code, error.found, error.expected, error.fix))
            return
        except (OSError, ValueError) as error:
            self._note(trouble=trouble("start", str(error)))
            return
        _children[child.pid] = child
        try:
            self._note(pid=child.pid, created=psutil.Process(child.pid).create_time())
        except (OSError, psutil.Error):
            child.kill()  # nobody would find it again
            raise

    def _spawn(self, words: list[str], language: str) -> subprocess.Popen:
        events = self.place / "events.jsonl"
        with (
            (self.place / "result.json").open("wb") as result,
            (self.place / "log.txt").open("wb") as log,
        ):
            return subprocess.Popen(
                [*COMMAND, words[0], "--json", f"--events={events}", *words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=result,
                stderr=log,
                cwd=self._cwd,
                env={**os.environ, "SOURON_LANG": language},
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )

    def settle(self) -> bool:
        """Note what became of it once it is over, so that this is not asked again; whether it is.
        Within ``Jobs.changing``."""
        about = self._about
        if self._settled or not about:
            return True
        if about.keys().isdisjoint(("pid", "trouble", "lost", "over")) and "begun" in about:
            self._note(lost=True)
        state = self.state
        if state in OVER and self.process() is None:
            if "over" not in about:
                self._note(over=state)
            self._settled = True
        return self._settled

    def stop(self) -> None:
        """Ask its process to keep the work and end; asked again after ``GRACE``, end it. A waiting
        job will not start. Raises UserError."""
        with self.jobs.changing():
            if self.state == "waiting":
                self._note(stopped=time.time())
            elif self.state == "running":
                with suppress(psutil.NoSuchProcess):
                    self._ask_to_end()

    def _ask_to_end(self) -> None:
        process, asked = self.process(), number(self._about.get("stopped"))
        if process is not None and asked is None:
            process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
            self._note(stopped=time.time())
        elif process is not None and time.time() - (asked or 0) >= GRACE:
            process.kill()
            self._note(killed=time.time())

    def resume(self) -> "Job":
        """A new job that goes on with what this one kept, or begins again where it kept nothing.
        Raises UserError unless it was stopped, killed or failed."""
        with self.jobs.changing():
            next_one = self._about.get("resumed")
            if is_id(next_one) and is_folder(self.jobs.folder / str(next_one)):
                going = self.jobs.get(str(next_one))
                if going.state in ALIVE:  # asked twice
                    return going
            if self.state not in ("stopped", "killed", "failed"):
                raise UserError(
                    "resume",
                    _("this job has nothing to go on with: {state}").format(
                        state=state_name(self.state)
                    ),
                    expected=_("a job that was stopped, or that ended too early"),
                    exit=5,
                )
            words = self._words_to_go_on()
            check(words, self.language)
            job = self.jobs.add(words, self.language, self.queued, self._cwd)
            self._note(resumed=job.id)
        return job

    def _words_to_go_on(self) -> list[str]:
        words, folder = self.words, self._told.read().folder
        if words[:1] not in (["train"], ["compare"]) or not folder:
            return words
        if not (self._cwd / folder / "args.yaml").is_file():
            return words
        cores = [word for word in words if word.startswith(("workers=", "--workers="))]
        return [words[0], f"resume={folder}", *cores]  # the folder knows all the other options

    def forget(self) -> None:
        """Remove the job's folder; never the run's. Raises UserError while it runs."""
        with self.jobs.changing():
            if self.process() is not None:
                raise UserError(
                    "running",
                    _("this job is running"),
                    expected=_("a job that is over; stop it first"),
                    exit=5,
                )
            gone = self.jobs.folder / f".{self.id}"
            self.place.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            self.jobs.forgotten(self.id)


class Told:
    """What a process wrote of its events. Each look reads on from where the last one ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._offset = self._count = 0
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self.last: dict[str, Any] = {}
        self.curve: list[dict[str, float]] = []
        self.folder = ""
        self.ended: int | None = None  # the exit code
        self.error: dict[str, Any] | None = None

    def read(self) -> "Told":
        """Itself, with all that is there by now."""
        with self._lock, suppress(OSError):
            if self.path.is_file():
                with self.path.open("rb") as file:
                    self._read_on(file)
        return self

    def _read_on(self, file: BinaryIO) -> None:
        size = file.seek(0, os.SEEK_END)
        if size < self._offset:
            self._begin()
        self._offset = max(self._offset, size - MOST_EVENTS)
        file.seek(self._offset)
        while self._offset < size:
            line = file.readline(MOST_LINE)
            if not line.endswith(b"\n") and len(line) < MOST_LINE:
                return  # the rest is yet to be written
            self._offset += len(line)
            self._take(value(line))

    def _take(self, line: Any) -> None:
        if not isinstance(line, dict):
            return
        if isinstance(line.get("ended"), int):
            self.ended = line["ended"]
            self.error = line["error"] if isinstance(line.get("error"), dict) else None
            return
        event = event_of(line)
        if "phase" not in event:
            return
        self.last = {**event, "number": self._count}
        self._count += 1
        self._recent.append(self.last)
        self.folder = event.get("folder") or self.folder
        row = event.get("values", {}) if event["phase"] == "train" else {}
        if row and self.curve[-1:] != [row] and len(self.curve) < MOST_LOOKS:
            self.curve.append(row)

    def since(self, after: int) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(event) for event in self._recent if event["number"] >= after]


def event_of(line: dict[str, Any]) -> dict[str, Any]:
    """What an event may hold, each of its own type."""
    event: dict[str, Any] = {
        name: line[name]
        for name in TEXTS
        if isinstance(line.get(name), str) and "\0" not in line[name]
    }
    event |= {name: line[name] for name in NUMBERS if number(line.get(name)) is not None}
    if isinstance(line.get("values"), dict):
        event["values"] = {n: v for n, v in line["values"].items() if number(v) is not None}
    if isinstance(line.get("rows"), list):
        event["rows"] = [row for row in line["rows"] if isinstance(row, dict)]
    return event


def check(words: Sequence[str], language: str) -> None:
    """Raises UserError for words that no page may run."""
    verb = words[0] if words else ""
    if verb not in VERBS:
        raise UserError(
            "command",
            _("no command is named {name!r}").format(name=verb),
            expected=near(verb, VERBS),
            fix="souron --help",
        )
    if language not in LANGUAGES:
        raise UserError(
            "language",
            _("no such language: {wish}").format(wish=language),
            expected=", ".join(LANGUAGES),
        )
    if sum(map(len, words)) > LONGEST or any("\0" in word for word in words):
        raise UserError(
            "value",
            _("these words are no command line"),
            expected=_("{count} characters at most, none of them zero").format(count=LONGEST),
        )
    for word in words[: words.index("--") if "--" in words else None]:
        if arguments.of_every_command(word):  # a job says these by itself
            raise unknown_option(word, (), f"souron {verb} --help")


def trouble(code: str, found: str, expected: str = "", fix: str = "") -> dict[str, str]:
    return dict(zip(ERROR, (code, found, expected, fix), strict=True))


def is_id(name: Any) -> bool:
    return isinstance(name, str) and re.fullmatch(r"[0-9]{6,9}-[0-9a-f]{8}", name) is not None


def place_of(id: str) -> tuple[int, str]:
    """In the order of making."""
    return int(id.partition("-")[0]), id


def is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def number(value: Any) -> float | None:
    """It, where it is a finite number."""
    return value if isinstance(value, int | float) and abs(value) < 1e300 else None


def content(path: Path, most: int) -> bytes:
    """The last ``most`` bytes of a file; none where it cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most))
            return file.read(most)
    except OSError:
        return b""


def values(path: Path, most: int) -> list[Any]:
    """The JSON values of a file, one a line; lines that hold none are left out."""
    found = (value(line) for line in content(path, most).splitlines())
    return [each for each in found if each is not None]


def value(line: bytes) -> Any:
    """The JSON value; None where there is none."""
    try:
        return json.loads(line, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return None


def write(path: Path, thing: Any) -> None:
    """JSON on one line, in one step. Raises OSError."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(as_json(thing).encode("utf-8", "surrogatepass"))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def wait_for_children() -> None:
    """Take note of those that ended: until then the system counts them among its processes."""
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            _children.pop(pid, None)
