"""The queue: what waits, what runs, how long it takes; its order, a pause, and what ended lately.

The script (``static/queue.js``) asks for the rows every 1.5 seconds and changes only what is new. Where
several people share the studio, each sees that others' jobs wait, not what they are about, and
changes only their own; whoever started the studio may change all of them.
"""

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

from souron.studio.jobs import job_view
from souron.studio.jobs.job_queue import ALIVE, ID, Job, state_name
from souron.studio.shared import Studio, missing
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Queue")
PLACE = "results"
MOST_OVER = 10  # finished jobs that are listed
MOST_ASKED = 50  # jobs of a browser whose end is asked for at once
LANES = {True: N_("Short jobs (seconds)"), False: N_("Long jobs (minutes)")}


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    empty = missing(
        _("Nothing waits or runs. A training, a comparison or a check that you start stands here until it is over."),
        (studio.url("train"), _("Train a system")),
        (studio.url("compare"), _("Compare systems")),
        (studio.url("lecture"), _("The lecture")),
    )
    return Markup(
        '<h1>{title}</h1><p>{about}</p><p class="faint">{lanes}</p>{shared}<div id="queue" class="queue" '
        'data-module="/static/queue.js" data-page="{language}/queue" data-words="{words}" data-now="{now}">'
        '<p class="actions"><button type="button" data-do="pause"{hidden}>{pause}</button> '
        '<span class="remark" data-paused hidden>{paused}</span></p><p role="status" class="faint"></p>'
        '<div data-empty hidden>{empty}</div><section data-lane="short" hidden><h2>{short}</h2><ol></ol></section>'
        '<section data-lane="long" hidden><h2>{long}</h2><ol></ol></section>'
        '<section data-lane="over" hidden><h2>{over}</h2><ol></ol></section></div>'
    ).format(
        title=_(TITLE),
        about=_("What waits and what runs on this computer. Jobs go on when this page is closed."),
        lanes=_(
            "Short ones first: a job of seconds does not wait behind one of minutes. One of each kind runs at a time, "
            "and each kind has its own order."
        ),
        shared=Markup('<p class="faint">{}</p>').format(fairness(studio)) if shared(studio) else "",
        language=studio.language,
        words=json.dumps(words()),
        now=json.dumps(rows(studio, {})),
        hidden="" if may_pause(studio) else Markup(" hidden"),
        pause=_("Pause the queue"),
        paused=_("The queue is paused: what runs goes on, and nothing else starts."),
        empty=empty,
        short=_(LANES[True]),
        long=_(LANES[False]),
        over=_("Finished lately"),
    )


def words() -> dict[str, str]:
    """Return the texts of the script."""
    return {
        "pause": _("Pause the queue"),
        "on": _("Let the queue go on"),
        "up": _("up"),
        "down": _("down"),
        "open": _("Open the result"),
    }


def shared(studio: Studio) -> bool:
    """Return whether several people use the studio."""
    return bool(studio.jobs.person) or len(studio.jobs.schedule.members) > 1


def fairness(studio: Studio) -> str:
    every = _("Several people share this computer: the next job is one of the person whose jobs have run least lately.")
    own = _("You change the order of your own jobs.") if studio.jobs.person else _("You may change everybody's jobs.")
    return f"{every} {own}"


def may_pause(studio: Studio) -> bool:
    """Return whether this person may pause the queue: whoever started the studio."""
    return not studio.jobs.person


def rows(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows: the waiting and running jobs of both kinds, and those that ended."""
    schedule = studio.jobs.schedule
    with schedule.lock:
        visible = studio.jobs.all()[::-1] if studio.jobs.person else schedule.all()
        over = [job for job in visible if job.state not in ALIVE and not job.estimates]
        over.sort(key=lambda job: job.ended or job.made)
        return {
            "paused": schedule.paused,
            "short": lane(studio, True),
            "long": lane(studio, False),
            "over": [past(studio, job) for job in over[::-1][:MOST_OVER]],
        }


def unqueued(studio: Studio, brief: bool) -> list[Job]:
    """Return the running jobs that did not have to wait; forecasts are left out."""
    jobs = studio.jobs.schedule.all()
    return [j for j in jobs if not j.queued and not j.estimates and j.brief == brief and j.state == "running"]


def lane(studio: Studio, brief: bool) -> list[dict[str, Any]]:
    """Return the rows of the jobs that are brief, or not, in the order in which they run."""
    schedule = studio.jobs.schedule
    queued, waiting = schedule.running(brief), schedule.waiting(brief)
    lines = {person: [job for job in waiting if job.jobs is jobs] for person, jobs in schedule.members.items()}
    found = [row(studio, job, left(job)) for job in [*unqueued(studio, brief), *queued]]
    starts = summed(job.seconds_left for job in queued)
    for place, job in enumerate(waiting):
        line = lines[job.jobs.person]
        mine, at = may_change(studio, job), line.index(job)
        more = times(job, starts, len(queued) + place)
        moves = {"up": mine and at > 0, "down": mine and at < len(line) - 1, "moves": mine and len(line) > 1}
        found.append(row(studio, job, more) | moves)
        starts = summed([starts, job.expected])
    return found


def summed(seconds: Iterable[float | None]) -> float | None:
    """Return a sum; None where a part is unknown.

    >>> summed([1.0, 2.0]), summed([1.0, None]), summed([])
    (3.0, None, 0)
    """
    known = list(seconds)
    return None if None in known else sum(each for each in known if each is not None)


def row(studio: Studio, job: Job, more: list[str]) -> dict[str, Any]:
    """Return the row of a job that waits or runs; ``more`` are remarks on its times."""
    state, last = job.state, job.last
    return {
        "id": job.id,
        "name": job_view.called(job, studio.jobs),
        "state": state,
        "doing": state_name(job, state) if state == "waiting" else job_view.phase_name(last.get("phase", "")),
        "more": " · ".join(filter(None, more)),
        "percent": round(100 * float(last.get("fraction") or 0)) if state == "running" else None,
        "up": False,
        "down": False,
        "moves": False,
        "stop": _(job_view.STOPS[state == "running"]) if may_change(studio, job) else "",
        "link": job_view.address(studio, job) if job.jobs is studio.jobs else "",
    }


def left(job: Job) -> list[str]:
    """Say how long a running job still takes, where that is known."""
    time = job_view.time_left(job)
    return [_("about {time} left").format(time=time)] if time else []


def times(job: Job, starts: float | None, ahead: int) -> list[str]:
    """Say how long a waiting job takes, and when it starts: in ``starts`` seconds, after ``ahead`` others."""
    takes = job.expected
    if job.jobs.paused:
        begins = _("starts when the queue goes on")
    elif ahead == 0 or (starts is None and ahead == 1):
        begins = _("starts next")
    elif starts is None:
        begins = _("starts after {count} others").format(count=ahead)
    else:
        begins = _("starts in about {time}").format(time=units.seconds(starts))
    return [_("takes about {time}").format(time=units.seconds(takes)) if takes else _("its time is not known"), begins]


def past(studio: Studio, job: Job) -> dict[str, Any]:
    """Return the row of a job that is over."""
    state, took = job.state, job.took
    when = time.strftime("%H:%M", time.localtime(job.ended or job.made))
    return {
        "id": job.id,
        "name": job_view.called(job, studio.jobs),
        "state": state,
        "doing": state_name(job, state),
        "more": " · ".join(filter(None, (when, "" if took is None else units.seconds(took)))),
        "link": job_view.result_address(studio, job) if job.jobs is studio.jobs else "",
    }


def may_change(studio: Studio, job: Job) -> bool:
    return job.jobs is studio.jobs or not studio.jobs.person


def changeable(studio: Studio, asked: Mapping[str, Any]) -> Job:
    """Return the job that is asked for. Raises UserError where there is none, or it is somebody else's."""
    id = asked.get("id")
    id = id if isinstance(id, str) else ""
    found = next((job for job in studio.jobs.schedule.all() if job.id == id and may_change(studio, job)), None)
    return found or studio.jobs.get(id)


def move(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Let a waiting job start one place earlier or later. Raises UserError."""
    job, by = changeable(studio, asked), -1 if asked.get("by") == -1 else 1
    place = job.jobs.move(job, by)
    told = _("{name}: place {place} now").format(name=job_view.called(job, studio.jobs), place=place + 1)
    return {**rows(studio, {}), "told": told}


def stop(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Stop a running job, which keeps its work, or let a waiting one not start. Raises UserError."""
    job = changeable(studio, asked)
    waited = job.state == "waiting"
    job.stop()
    told = state_name(job, job.state) if waited else _("stopping after this step …")
    return {**rows(studio, {}), "told": f"{job_view.called(job, studio.jobs)}: {told}"}


def pause(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Pause the queue, or let it go on. Raises UserError for people who did not start the studio."""
    if not may_pause(studio):
        raise UserError(
            "pause",
            _("only whoever started the studio may pause the queue for everybody"),
            expected=_("to stop your own jobs"),
        )
    paused = asked.get("paused") is True
    studio.jobs.pause() if paused else studio.jobs.go_on()
    return {**rows(studio, {}), "told": _("The queue is paused.") if paused else _("The queue goes on.")}


def ended(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return which jobs of a browser are over, for the notice on any page (``static/studio.js``).

    ``asked["ids"]``: ids of jobs. Those that are not here any more are left out of the answer.
    """
    given = asked.get("ids")
    ids = (
        [id for id in given[:MOST_ASKED] if isinstance(id, str) and ID.fullmatch(id)] if isinstance(given, list) else []
    )
    jobs = [job for id in ids if (job := studio.find(id)) is not None]
    return {
        "alive": [job.id for job in jobs if job.state in ALIVE],
        "over": [
            {
                "id": job.id,
                "text": f"{job_view.called(job, studio.jobs)}: {state_name(job, state)}",
                "link": job_view.result_address(studio, job),
            }
            for job in jobs
            if (state := job.state) not in ALIVE
        ],
        "open": _("Open the result"),
        "close": _("close"),
        "paused": _("The queue is paused.") if studio.jobs.paused else "",
        "queue": _("To the queue"),
    }


ACTIONS = {"rows": rows, "move": move, "stop": stop, "pause": pause, "ended": ended}
