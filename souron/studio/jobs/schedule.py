"""The order in which waiting jobs start, and whether any of them does.

It is kept in ``queue.json``, so that it survives the server: the order that somebody gave their own
waiting jobs, the pause, and how long each person's jobs have lately run. A file that cannot be read
counts as none: the jobs then start in the order of their creation.

Several people may share the computer, each with their own ``Jobs``; one schedule is for all. Of their
waiting jobs, the next is one of the person whose jobs have run least lately; among their own jobs
each person decides. A job counts with its wall time, half of which is forgotten every ``HALF`` seconds.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from souron.utils import files
from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from souron.studio.jobs.job_queue import Job, Jobs

HALF = 1800.0  # seconds after which a past second counts half
TYPICAL = {True: 5.0, False: 60.0}  # seconds of a brief and of a long job whose time is unknown
MOST_BYTES = 10**6  # of queue.json


class Schedule:
    """The order of all waiting jobs of a computer.

    ``place`` is the folder of ``queue.json``. ``members``: person -> their jobs; "" is whoever
    started the studio.
    """

    def __init__(self, place: Path) -> None:
        self.path = place / "queue.json"
        self.lock = threading.RLock()  # held while jobs of anybody are changed
        self.wake = threading.Event()  # set when a job may be ready to start
        self.members: dict[str, Jobs] = {}
        note = _read(self.path)
        self.paused = note.get("paused") is True
        self._order = _lists(note.get("order"))  # person -> ids, first to start first
        self._used = _pairs(note.get("used"))  # person -> (seconds, up to when they are counted)

    def join(self, person: str, jobs: "Jobs") -> None:
        """Add the jobs of a person."""
        with self.lock:
            self.members = {**self.members, person: jobs}  # others may go through the earlier one

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Lock out other threads from changing jobs. Raises UserError if writing fails."""
        with self.lock:
            try:
                yield
            except OSError as error:
                raise files.cannot_write(self.path.parent, error) from error

    def all(self) -> "list[Job]":
        """Return everybody's jobs in the order of their creation."""
        return sorted((job for jobs in self.members.values() for job in jobs.all()), key=lambda job: job.made)

    def own(self, jobs: "Jobs", brief: bool) -> "list[Job]":
        """Return the waiting jobs of one person that are brief, or not, first to start first."""
        order = {id: place for place, id in enumerate(self._order.get(jobs.person, ()))}
        waiting = [job for job in jobs.all()[::-1] if job.queued and job.state == "waiting" and job.brief == brief]
        return sorted(waiting, key=lambda job: order.get(job.id, len(order)))

    def waiting(self, brief: bool) -> "list[Job]":
        """Return everybody's waiting jobs that are brief, or not, in the order in which they will start."""
        lines = {person: self.own(jobs, brief) for person, jobs in self.members.items()}
        used = {person: self.used(person) for person in lines}
        order = []
        while any(lines.values()):
            person = min(filter(lines.get, lines), key=lambda name: (used[name], lines[name][0].made))
            job = lines[person].pop(0)
            order.append(job)
            used[person] += job.expected or TYPICAL[brief]
        return order

    def running(self, brief: bool) -> "list[Job]":
        """Return the queued jobs that run and are brief, or not."""
        return [job for job in self.all() if job.queued and job.state == "running" and job.brief == brief]

    def ahead(self, job: "Job") -> "list[Job]":
        """Return the jobs that ``job`` waits for, the running one first."""
        waiting = self.waiting(job.brief)
        before = waiting[: waiting.index(job)] if job in waiting else []
        return [other for other in (*self.running(job.brief), *before) if other is not job]

    def move(self, job: "Job", by: int) -> int:
        """Let a waiting job start ``by`` places later, or earlier, among its owner's own jobs.

        Returns its new place among them, from 0. Raises UserError for a job that does not wait.
        """
        with self.changing():
            line = self.own(job.jobs, job.brief)
            if job not in line:
                raise UserError(
                    "order", _("this job does not wait any more"), expected=_("a job that waits for its turn"), exit=5
                )
            place = line.index(job)
            target = min(len(line) - 1, max(0, place + by))
            line.insert(target, line.pop(place))
            ids = [each.id for each in (*line, *self.own(job.jobs, not job.brief))]
            self._keep(order={**self._order, job.jobs.person: ids})
            return target

    def pause(self, paused: bool = True) -> None:
        """Let no further queued job start, or go on; running jobs continue. Raises UserError."""
        with self.changing():
            self._keep(paused=paused)
        self.wake.set()

    def used(self, person: str) -> float:
        """Return the seconds that a person's jobs have lately run, with the whole of the running ones."""
        seconds, counted = self._used.get(person, (0.0, 0.0))
        running = [job for job in self.members[person].all() if job.queued and job.state == "running"]
        now = [time.time() - (job.begun or job.made) + (job.seconds_left or 0.0) for job in running]
        return _faded(seconds, counted) + sum(now)

    def count(self, person: str, seconds: float) -> None:
        """Note that a person's job has run for so long."""
        with self.lock:
            before = _faded(*self._used.get(person, (0.0, 0.0)))
            self._used[person] = (before + max(0.0, seconds), time.time())
            with suppress(UserError, OSError):  # it is counted here in any case
                self._keep()

    def advance(self) -> bool:
        """Start the queued jobs whose turn it is; return whether anything will change by itself."""
        with self.changing():
            going = [job for jobs in self.members.values() for job in jobs.unsettled()]
            queued = [job for job in going if job.queued]
            if not self.paused:
                for brief in (True, False):
                    waiting = self.waiting(brief)
                    if waiting and not any(job.process() for job in queued if job.brief == brief):
                        waiting[0].launch()
            return any(not (self.paused and job.queued and job.state == "waiting") for job in going)

    def _keep(self, *, paused: bool | None = None, order: Mapping[str, list[str]] | None = None) -> None:
        """Write the file, and then take over what it says. Raises UserError, OSError."""
        paused = self.paused if paused is None else paused
        order = self._order if order is None else order
        alive = {job.id for job in self.all() if job.state == "waiting"}
        order = {person: kept for person, ids in order.items() if (kept := [id for id in ids if id in alive])}
        used = {person: list(pair) for person, pair in self._used.items() if _faded(*pair) >= 1}
        with files.atomically(self.path) as beside:
            beside.write_text(json.dumps({"paused": paused, "order": order, "used": used}), encoding="utf-8")
        self.paused, self._order = paused, dict(order)


def _faded(seconds: float, counted: float) -> float:
    """Return what is left of seconds that were counted at a time."""
    return seconds * 0.5 ** (max(0.0, time.time() - counted) / HALF)


def _read(path: Path) -> dict[str, Any]:
    """Read ``queue.json``; {} if it is missing, damaged or too large."""
    with suppress(OSError, ValueError, RecursionError):
        if path.stat().st_size <= MOST_BYTES:
            note = json.loads(path.read_bytes())
            return note if isinstance(note, dict) else {}
    return {}


def _lists(value: Any) -> dict[str, list[str]]:
    if not isinstance(value, dict):
        return {}
    return {person: [id for id in ids if isinstance(id, str)] for person, ids in value.items() if isinstance(ids, list)}


def _pairs(value: Any) -> dict[str, tuple[float, float]]:
    if not isinstance(value, dict):
        return {}
    pairs = {}
    for person, pair in value.items():
        with suppress(TypeError, ValueError, OverflowError):
            seconds, counted = map(float, pair)
            if 0 <= seconds < 1e9 and 0 <= counted <= time.time() + HALF:
                pairs[person] = (seconds, counted)
    return pairs
