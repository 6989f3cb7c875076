"""The studio's jobs: command lines that run in separate processes, one after another.

There are two queues, so that jobs of seconds, such as a prediction, do not wait behind jobs of
minutes, such as a training (``Job.brief``). Their order and a pause are kept by a ``Schedule``, which
several ``Jobs`` share where several people work on one computer.

A job is a folder. Its process writes its events (``--events``), its result (``--json``) and its log
there; the server writes ``job.json`` and reads it when it starts. The process is a session leader,
so that it outlives the page and the server, and the next server finds the job. With a ``worker``,
the process is forked from it and starts at once. Only one server at a time works on a project
(``only_server``).
"""

import json
import os
import re
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import psutil

from souron import registry
from souron.cli.parsing import arguments
from souron.studio.jobs.schedule import Schedule
from souron.studio.jobs.worker import Worker
from souron.studio.security.paths import is_folder
from souron.utils import files
from souron.utils.messages import LANGUAGES, UserError, _, language, near, unknown_option

COMMAND = (sys.executable, "-P", "-X", "utf8", "-m", "souron")  # -P: no module from this folder
VERBS = ("train", "compare", "generate", "audit", "val", "data", "predict", "export", "fetch", "tour")
LONG = ("train", "compare", "audit", "fetch", "tour")  # may take minutes, as most studies do; the
# others take seconds
BRIEF = 30.0  # a training with a budget of at most so many seconds is brief
ALIVE = ("waiting", "running")
OVER = ("done", "failed", "stopped", "killed")
LONGEST = 100_000  # characters of a command line

GRACE = 10.0  # seconds for a process to save its work, before a second stop kills it
LONGEST_ESTIMATE = 600.0  # seconds after which a forecast is dropped
PAUSE = 0.5  # polling interval of the queue, seconds
REST = 60.0  # the same when idle

KEPT = ("workers=", "on=")  # options that no folder of a run holds
MOST_LOG = 2**16  # bytes of log.txt, the last ones
MOST_EVENTS = 2**26  # bytes of events.jsonl at once, the last ones
MOST_ROWS = 10_000  # of a curve

ID = re.compile(r"[0-9]{6,9}-[0-9a-f]{8}")
MOST_PAST = 20  # earlier jobs from which the time of one is estimated
STARTED: ContextVar[list[str] | None] = ContextVar("STARTED", default=None)  # ids, in this request
ERROR = ("code", "found", "expected", "try")


def state_name(job: "Job", state: str) -> str:
    """Describe a job's ``state`` in the reader's language."""
    if state == "stopped" and job.begun is None:
        return _("stopped before it began")
    return {
        "waiting": _("waiting for its turn"),
        "running": _("running"),
        "done": _("done"),
        "failed": _("failed"),
        "stopped": _("stopped; the work is kept"),
        "killed": _("ended from outside; what was kept can be resumed"),
    }[state]


def only_server(project: Path) -> AbstractContextManager[None]:
    """Hold the lock of a project, so that no other server works on it.

    Raises UserError where another server holds it.
    """
    busy = UserError(
        "busy",
        _("another studio is open for {folder}").format(folder=project),
        expected=_("one studio for the runs of a folder"),
        fix=_("use that one, or souron studio project=FOLDER"),
        exit=4,
    )
    return files.locked(project.absolute() / ".studio" / "server.lock", busy)


class Jobs:
    """The jobs of a project.

    ``run`` starts waiting jobs in order, at most one brief and one long job at a time. Jobs of further
    people share the ``schedule`` and the ``worker`` of those that run; ``place`` is the folder in which
    their commands run, by default the current one, and ``allowed`` checks their words and raises
    UserError.
    """

    def __init__(
        self,
        project: Path,
        *,
        person: str = "",
        schedule: Schedule | None = None,
        worker: Worker | None = None,
        place: Path | None = None,
        allowed: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self.folder = project.absolute() / ".studio" / "jobs"
        self.person, self.allowed, self._place = person, allowed, place
        self.worker = worker or Worker()  # not used until it is started
        self.schedule = schedule or Schedule(project.absolute() / ".studio")
        self.closing = False
        self._thread: threading.Thread | None = None
        ids = [path.name for path in self.folder.glob("*-*") if ID.fullmatch(path.name)]
        self._jobs = {  # by their ids, oldest first
            id: Job(self, id, read_note(self.folder / id / "job.json"))
            for id in sorted(ids, key=place_of)
            if is_folder(self.folder / id)
        }
        self.schedule.join(person, self)

    def check(self, words: Sequence[str], language: str) -> None:
        """Check that a page may run these words, and this person. Raises UserError."""
        check(words, language)
        if self.allowed is not None:
            self.allowed(words)

    def start(self, words: Sequence[str], language: str, *, queued: bool = True) -> "Job":
        """Create a job for a ``souron`` command such as ``["train", "cnn"]``.

        It starts when its turn comes, or at once if not ``queued``; where several people share the
        computer only forecasts start at once. Raises UserError for words that no page may run, and
        where the disk is full.
        """
        self.check(words, language)
        queued = queued or (bool(self.person) and "--forecast" not in words)
        return self.add(list(words), language, queued, self._place or Path.cwd())

    def add(self, words: list[str], language: str, queued: bool, place: Path, **more: Any) -> "Job":
        """Create a job from words that have been checked, to run in the folder ``place``."""
        note = {
            "words": words,
            "language": language,
            "queued": queued,
            "made": time.time(),
            "place": str(place),
            **more,
        }
        with self.changing():
            number = max((place_of(id)[0] for id in self._jobs), default=0) + 1
            id = f"{number:06}-{secrets.token_hex(4)}"
            write(self.folder / f".{id}" / "job.json", note)
            (self.folder / f".{id}").rename(self.folder / id)
            job = self._jobs[id] = Job(self, id, note)
            if not queued:
                job.launch()
        started = STARTED.get()
        if started is not None and not job.estimates:
            started.append(id)
        self.schedule.wake.set()
        return job

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Lock out other threads from changing jobs. Raises UserError if writing fails."""
        with self.schedule.lock:
            try:
                yield
            except OSError as error:
                raise files.cannot_write(self.folder, error) from error

    def all(self) -> list["Job"]:
        """Return the jobs, newest first."""
        return list(self._jobs.values())[::-1]

    def get(self, id: str) -> "Job":
        """Return a job by its id. Raises UserError where there is none."""
        if id not in self._jobs:
            raise UserError(
                "job",
                _("there is no such job: {id!r}").format(id=str(id)[:40]),
                expected=_("one of the {count} jobs here").format(count=len(self._jobs)),
                exit=3,
            )
        return self._jobs[id]

    def remove(self, job: "Job") -> None:
        """Remove a job's folder. Call within ``changing``."""
        self._jobs.pop(job.id, None)
        shutil.rmtree(job.place, ignore_errors=True)

    def run(self) -> None:
        """Start the thread that starts waiting jobs."""
        if self._thread is None:
            self.closing = False
            self._thread = threading.Thread(target=self._serve, name="jobs", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop starting jobs; running jobs continue."""
        if self._thread is not None:
            self.closing = True
            self.schedule.wake.set()
            self._thread.join()
            self._thread = None
        self.worker.close()

    def _serve(self) -> None:
        while not self.closing:
            pause = PAUSE
            with suppress(UserError, psutil.Error):  # retried at the next poll
                pause = PAUSE if self.advance() else REST
            self.schedule.wake.wait(pause)
            self.schedule.wake.clear()

    def advance(self) -> bool:
        """Start the queued jobs whose turn it is; return whether anything will change by itself.

        A job waits while another one of its queue runs, and all wait during a pause.
        """
        return self.schedule.advance()

    def unsettled(self) -> list["Job"]:
        """Return the jobs that wait or run. Old forecasts that nobody fetched are dropped.

        Call within ``changing``.
        """
        going = [job for job in self._jobs.values() if not job.settle()]
        for job in list(self._jobs.values()):
            if job.estimates and job.made < time.time() - LONGEST_ESTIMATE:
                job.drop()
        return going

    def ahead(self, job: "Job") -> list["Job"]:
        """Return the jobs that ``job`` waits for, the running one first."""
        return self.schedule.ahead(job)

    def move(self, job: "Job", by: int) -> int:
        """Let a waiting job start ``by`` places later, or earlier where it is negative.

        Returns its new place among those of its queue, from 0. Raises UserError.
        """
        return self.schedule.move(job, by)

    @property
    def paused(self) -> bool:
        """Return whether waiting jobs wait until somebody lets the queue go on."""
        return self.schedule.paused

    def pause(self) -> None:
        """Let no further queued job start; running jobs continue. Raises UserError."""
        self.schedule.pause()

    def go_on(self) -> None:
        """End the pause. Raises UserError."""
        self.schedule.pause(False)

    def usual(self, words: Sequence[str]) -> float | None:
        """Return the median time in seconds of earlier jobs that did the same; None without any."""
        past = [job.took for job in self.all() if job.words[:2] == list(words[:2]) and job.note.get("over") == "done"]
        known = [seconds for seconds in past[:MOST_PAST] if seconds is not None]
        return statistics.median(known) if known else None


class Job:
    """One job; its progress is read from its files."""

    def __init__(self, jobs: Jobs, id: str, note: dict[str, Any]) -> None:
        self.jobs, self.id, self.place = jobs, id, jobs.folder / id
        self.note = note  # contents of job.json; {} if it is damaged
        self._events = Events(self.place / "events.jsonl")
        self._child: subprocess.Popen | None = None  # if this server started it

    def _note(self, **more: Any) -> None:
        self.note.update(more)
        write(self.place / "job.json", self.note)

    @property
    def words(self) -> list[str]:
        return list(self.note.get("words", ()))

    @property
    def meant(self) -> list[str]:
        """The words of the job that this one resumes, or else its own."""
        meant = self.note.get("meant")
        fine = isinstance(meant, list) and meant and all(isinstance(word, str) for word in meant)
        return [*meant] if meant and fine else self.words

    @property
    def language(self) -> str:
        return self.note.get("language", LANGUAGES[0])

    @property
    def queued(self) -> bool:
        return self.note.get("queued") is True

    @property
    def estimates(self) -> bool:
        """Return whether the job is only a forecast."""
        return "--forecast" in self.words

    @property
    def brief(self) -> bool:
        """Return whether the job takes seconds; for a training, by its budget."""
        verb = self.words[0] if self.words else ""
        if verb not in LONG:
            return verb not in registry.action_files() or _is_brief(verb)
        budget = self.budget
        return verb == "train" and budget is not None and budget <= BRIEF

    @property
    def budget(self) -> float | None:
        """The seconds that its words give to each training; None where they do not say so."""
        from souron.training.budget import Budget

        try:
            budget = Budget.parse(self._option("budget"))
        except UserError:
            return None
        return budget.amount if budget.unit == "seconds" else None

    def _option(self, name: str) -> str:
        pairs = [word.partition("=") for word in self.meant]
        values = [value for key, _sign, value in pairs if key.lstrip("-") == name]
        return values[-1] if values else ""

    @property
    def expected(self) -> float | None:
        """The seconds that it will take: by its budget, or else as long as earlier jobs of its kind."""
        budget, verb = self.budget, self.meant[0] if self.meant else ""
        if verb == "train" and budget is not None:
            return budget
        seeds = self._option("seeds")
        if verb == "compare" and budget is not None and seeds.isdecimal():
            systems = [word for word in self.meant[1:] if "=" not in word and not word.startswith("-")]
            return budget * len(systems) * int(seeds)
        return self.jobs.usual(self.words)

    @property
    def seconds_left(self) -> float | None:
        """The seconds until a running job ends, by its own estimate or else by ``expected``; None if unknown."""
        left = self.last.get("seconds_left")
        if isinstance(left, int | float) and left >= 0:
            return float(left)
        expected = self.expected
        return None if expected is None else max(0.0, expected - (time.time() - (self.begun or time.time())))

    @property
    def ended(self) -> float | None:
        """End time in seconds since 1970; None before."""
        ended = self.note.get("ended")
        return float(ended) if isinstance(ended, int | float) else None

    @property
    def took(self) -> float | None:
        """The seconds that it ran; None before its end, and for one that never began."""
        return None if self.begun is None or self.ended is None else self.ended - self.begun

    @property
    def made(self) -> float:
        """Time of creation, in seconds since 1970."""
        return self.note.get("made", 0.0)

    @property
    def begun(self) -> float | None:
        """Start time of its process, in seconds since 1970; None before."""
        return self.note.get("begun")

    @property
    def _cwd(self) -> Path:
        """The folder in which its command runs."""
        return Path(self.note.get("place", "."))

    @property
    def state(self) -> str:
        """The state of the job, one of ``ALIVE`` and ``OVER``."""
        note = self.note
        if "over" in note:
            return note["over"]
        if not note or "trouble" in note:
            return "failed"
        if "pid" not in note:
            return "stopped" if "stopped" in note else "waiting"
        lives = self.process() is not None  # first: a process writes its exit code, then ends
        events = self._events.read()
        if events.ended is not None:
            # findings of a command are no failure, although its exit code reports them
            answered = events.error is None and self.result is not None
            wrong = "done" if events.ended > 0 and answered else "failed"
            return {0: "done", 130: "stopped"}.get(events.ended, wrong)
        if lives:
            return "running"
        return "stopped" if "stopped" in note and "killed" not in note else "killed"

    def process(self) -> psutil.Process | None:
        """Return the job's process while it runs; None afterwards, even if its pid is reused."""
        if "pid" not in self.note:
            return None
        try:
            process = psutil.Process(self.note["pid"])
            if self._child is not None:
                return process if self._child.poll() is None else None
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            # the creation time changes with the system clock, the log file does not
            ours = abs(process.create_time() - self.note["created"]) < 1 or any(
                Path(file.path).parent == self.place.resolve() for file in process.open_files()
            )
        except (psutil.Error, OSError, ValueError, TypeError, KeyError, OverflowError):
            return None
        return process if ours else None

    @property
    def last(self) -> dict[str, Any]:
        """The last event, in the reader's language; {} before the first."""
        return spoken(self._events.read().last)

    @property
    def curve(self) -> list[dict[str, float]]:
        """The distinct values of its training events, in order."""
        return list(self._events.read().curve)

    @property
    def image(self) -> Path | None:
        """The latest image that the job generated; None before the first."""
        path = self.place / "events.jsonl.png"
        return path if path.is_file() else None

    @property
    def folder(self) -> Path | None:
        """The folder of the run or comparison; None until it is known."""
        text = self._events.read().folder
        if not text:
            return None
        return Path(text) if self._cwd == Path.cwd() else self._cwd / text

    @property
    def result(self) -> dict[str, Any] | None:
        """The object that the command printed; None before it or for an error."""
        result = read_json(self.place / "result.json")
        return result if isinstance(result, dict) and result.keys() != {"error"} else None

    @property
    def trouble(self) -> dict[str, str] | None:
        """The error as "code", "found", "expected" and "try"; None if there is none."""
        error = self.note.get("trouble") or self._events.read().error
        if error:
            error = spoken(error)
            return {name: str(error.get(name) or "") for name in ERROR}
        if not self.note:
            path = self.place / "job.json"
            return trouble("damaged", _("{path} cannot be read").format(path=path))
        if self.state == "killed":
            return trouble("killed", _("its process ended before the work was done"))
        return None

    @property
    def log(self) -> str:
        """The end of its stderr."""
        try:
            with (self.place / "log.txt").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - MOST_LOG))
                return file.read(MOST_LOG).decode("utf-8", "replace")
        except OSError:
            return ""

    def launch(self) -> None:
        """Start the process. Call within ``Jobs.changing``."""
        self._note(begun=time.time())  # if no pid follows in the file, the server died meanwhile
        try:
            self.jobs.check(self.words, self.language)
            pid = self._spawn()
        except UserError as error:
            self._note(trouble=trouble(error.code, error.found, error.expected, error.fix))
            return
        except (OSError, ValueError) as error:
            self._note(trouble=trouble("start", str(error)))
            return
        try:
            self._note(pid=pid, created=psutil.Process(pid).create_time())
        except (UserError, OSError, psutil.Error):
            self.jobs.worker.answer(go=False)
            if self._child is not None:
                self._child.kill()  # the next server would not find it
                self._child.wait()
            self.note["over"] = "killed"
            raise
        self.jobs.worker.answer(go=True)

    def _spawn(self) -> int:
        """Start a process and return its pid.

        A child of the worker waits until the pid is noted; without a worker, a child of this server
        starts at once.
        """
        verb, *rest = self.words
        words = [verb, "--json", f"--events={self.place / 'events.jsonl'}", *rest]
        environment = {**os.environ, "SOURON_LANG": self.language}
        paths = self.place / "result.json", self.place / "log.txt"
        with paths[0].open("wb") as result, paths[1].open("wb") as log:
            pid = self.jobs.worker.fork(words, self._cwd, environment, *paths)
            if pid is not None:
                return pid
            self._child = subprocess.Popen(
                [*COMMAND, *words],
                stdin=subprocess.DEVNULL,
                stdout=result,
                stderr=log,
                cwd=self._cwd,
                env=environment,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        return self._child.pid

    def settle(self) -> bool:
        """Return whether the job is over, and note it in ``job.json`` for the next server."""
        if "over" not in self.note and self.note:
            state = self.state
            if state not in OVER or self.process() is not None:
                return False
            ended = self._events.changed() if self.begun is not None else self.note.get("stopped", time.time())
            self._note(over=state, ended=ended)
            if self.begun is not None and not self.estimates:
                self.jobs.schedule.count(self.jobs.person, ended - self.begun)
        return True

    def stop(self) -> None:
        """Ask the process to save its work and end; a second call after ``GRACE`` kills it.

        A waiting job will not start. Raises UserError.
        """
        with self.jobs.changing():
            if self.state == "waiting":
                self._note(stopped=time.time())
                self.jobs.schedule.wake.set()
            elif self.state == "running":
                with suppress(psutil.NoSuchProcess):
                    self._ask_to_end()

    def _ask_to_end(self) -> None:
        process, stopped = self.process(), self.note.get("stopped")
        if process is not None and stopped is None:
            process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
            self._note(stopped=time.time())
        elif process is not None and time.time() - self.note["stopped"] >= GRACE:
            process.kill()
            self._note(killed=time.time())

    def resume(self) -> "Job":
        """Create a job that resumes this one, or starts again where nothing was saved.

        Raises UserError unless this job was stopped, killed or failed.
        """
        with self.jobs.changing():
            with suppress(UserError):
                resumed = self.jobs.get(self.note.get("resumed", ""))
                if resumed.state in ALIVE:  # the button was pressed twice
                    return resumed
            if self.state not in ("stopped", "killed", "failed"):
                raise UserError(
                    "resume",
                    _("this job has nothing to resume: {state}").format(state=state_name(self, self.state)),
                    expected=_("a job that was stopped, or that ended too early"),
                    exit=5,
                )
            words = self._words_to_go_on()
            self.jobs.check(words, self.language)
            job = self.jobs.add(words, self.language, self.queued, self._cwd, meant=self.meant)
            self._note(resumed=job.id)
        return job

    def _words_to_go_on(self) -> list[str]:
        words, folder = self.words, self._events.read().folder
        if not folder or not words:
            return words
        of_run = words[0] in ("train", "compare")
        if not ((self._cwd / folder / "args.yaml").is_file() if of_run else _has_resume(words[0])):
            return words
        kept = [word for word in words if word.removeprefix("--").startswith(KEPT)]
        return [words[0], f"resume={folder}", *kept]  # the folder holds all other options

    def drop(self) -> None:
        """Kill the process and remove the folder of a job whose result is no longer needed."""
        with self.jobs.changing():
            process = self.process()
            if process is not None:
                with suppress(psutil.Error):
                    process.kill()
                    process.wait(GRACE)
                if self._child is not None:
                    self._child.wait()
            self.jobs.remove(self)

    def forget(self) -> None:
        """Remove the job's folder, never the run's. Raises UserError while it runs."""
        with self.jobs.changing():
            if self.process() is not None:
                raise UserError(
                    "running", _("this job is running"), expected=_("a job that is over; stop it first"), exit=5
                )
            self.jobs.remove(self)


class Events:
    """Events of a process; each read continues where the last one ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._offset = 0
        self.last: dict[str, Any] = {}
        self.curve: list[dict[str, float]] = []
        self.folder = ""
        self.ended: int | None = None  # the exit code
        self.error: dict[str, Any] | None = None

    def read(self) -> "Events":
        """Read the new events, and return itself."""
        with self._lock, suppress(OSError), self.path.open("rb") as file:
            self._offset = max(self._offset, file.seek(0, os.SEEK_END) - MOST_EVENTS)
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):  # the rest is yet to be written
                    break
                self._offset += len(line)
                self._take(line)
        return self

    def changed(self) -> float:
        """Return the time of the last event in seconds since 1970, at most now; now without a file."""
        try:
            return min(time.time(), self.path.stat().st_mtime)
        except OSError:
            return time.time()

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:  # the disk was full
            return
        if not isinstance(event, dict):
            return
        if "ended" in event:
            self.ended, error = event["ended"], event.get("error")
            self.error = error and {**error, "translated": event.get("translated")}
            return
        self.last = event
        self.folder = event.get("folder") or self.folder
        values = event.get("values", {}) if event.get("phase") == "train" else {}
        row = {name: value for name, value in values.items() if value is not None}
        if row and self.curve[-1:] != [row] and len(self.curve) < MOST_ROWS:
            self.curve.append(row)


def check(words: Sequence[str], language: str) -> None:
    """Check that a page may run these words. Raises UserError otherwise."""
    verb = words[0] if words else ""
    verbs = (*VERBS, *registry.action_files())
    if verb not in verbs:
        raise UserError(
            "command",
            _("no command is named {name!r}").format(name=verb),
            expected=near(verb, verbs),
            fix="souron --help",
        )
    if language not in LANGUAGES:
        raise UserError("language", _("no such language: {wish}").format(wish=language), expected=", ".join(LANGUAGES))
    if sum(map(len, words)) > LONGEST or any("\0" in word for word in words):
        raise UserError(
            "value",
            _("these words are no command line"),
            expected=_("{count} characters at most, none of them zero").format(count=LONGEST),
        )
    for word in words[: words.index("--") if "--" in words else None]:
        if arguments.of_every_command(word):  # the job sets these itself
            raise unknown_option(word, (), f"souron {verb} --help")


def _is_brief(study: str) -> bool:
    """Return whether a study takes seconds, by its file, which somebody may be writing."""
    try:
        entry = registry.action(study)
        return entry.brief or entry.texts or entry.lookup
    except UserError:
        return False


def _has_resume(study: str) -> bool:
    """Return whether a study goes on in its folder, by its file, which somebody may be writing."""
    try:
        return study in registry.action_files() and any(one.name == "resume" for one in registry.action(study).options)
    except UserError:
        return False


def trouble(code: str, found: str, expected: str = "", fix: str = "") -> dict[str, str]:
    return dict(zip(ERROR, (code, found, expected, fix), strict=True))


def spoken(said: dict[str, Any]) -> dict[str, Any]:
    """Return a process's output in the reader's language, where it holds a translation."""
    others = said.get("translated")
    own = others.get(language()) if isinstance(others, dict) else None
    return {**said, **own} if isinstance(own, dict) else said


def place_of(id: str) -> tuple[int, str]:
    """Return a sort key in the order of creation."""
    return int(id.partition("-")[0]), id


def read_note(path: Path) -> dict[str, Any]:
    """Read ``job.json``; {} if it is damaged."""
    note = read_json(path)
    try:
        whole = isinstance(note["words"], list) and all(isinstance(w, str) for w in note["words"])
        whole &= note["language"] in LANGUAGES and isinstance(note["place"], str)
        whole &= isinstance(note["made"], float) and note.get("over", "done") in OVER
    except (KeyError, TypeError, AttributeError):
        return {}
    if not whole:
        return {}
    if "begun" in note and note.keys().isdisjoint(("pid", "trouble", "over")):
        note["over"] = "killed"  # the server died while it started it
    return note


def read_json(path: Path) -> Any:
    """Read a JSON file; None if it is missing or invalid."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def write(path: Path, thing: Any) -> None:
    """Write JSON atomically. Raises UserError."""
    with files.atomically(path) as beside:
        beside.write_text(json.dumps(thing), encoding="utf-8")
