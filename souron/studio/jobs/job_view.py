"""A job on a page: its progress, curves, samples and result; stop and resume.

The page polls once a second while the job runs, more often at first. The job is a separate process,
so that closing the page changes nothing, and opening it again finds the job.
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.studio import naming
from souron.studio.jobs.job_queue import Job, Jobs, state_name
from souron.studio.runs import run_list
from souron.studio.shared import Studio, machine_table, table, trouble
from souron.utils import units
from souron.utils.messages import N_, UserError, _, language

LINES = 40  # of the command's output
OFTEN, SELDOM = 0.3, 1.0  # polling intervals, seconds
LEAST_LEFT = 1.0  # seconds left that are shown
YOUNG = 10.0  # seconds after its start in which it is polled often
PAGES = {"train": "train", "compare": "compare", "tour": "compare", "data": "data", "ask": "read", "generate": "use",
         "fetch": "machine", "predict": "use"}  # of jobs  # fmt: skip
STOPS = {False: N_("Do not start it"), True: N_("Stop, keep the work")}  # once it runs


def phase_name(phase: str) -> str:
    """Return the name of a job's phase in the reader's language."""
    return {
        "": _("starting"),
        "data": _("reading data"),
        "features": _("looking at the images"),
        "forecast": _("forecasting"),
        "train": _("training"),
        "test": _("testing"),
        "compare": _("comparing"),
        "draw": _("generating"),
        "report": _("writing the report"),
        "read": _("reading"),
        "check": _("checking"),
        "answer": _("answering"),
        "done": _("done"),
    }.get(phase, phase)


def address(studio: Studio, job: Job) -> str:
    """Return the address of the page that shows a job; "" where there is none."""
    verb = job.words[0] if job.words else ""
    if verb == "generate":
        return studio.url("use", run="/".join(Path(job.words[1]).parts[-2:])) if len(job.words) > 1 else ""
    page = "study" if verb in registry.action_files() and verb not in PAGES else PAGES.get(verb, "")
    return studio.url(page, job=job.id) if page else ""


def result_address(studio: Studio, job: Job) -> str:
    """Return the address of what a job made: its run, or else the page that shows the job."""
    if job.folder is not None and job.words[:1] in (["train"], ["compare"]):
        with suppress(UserError):
            folder = run_list.find(studio.project, job.folder)
            return studio.url("runs", run=f"{folder.parent.name}/{folder.name}")
    return address(studio, job)


def kind(job: Job) -> str:
    """Say in a word what a job is, without its data, for people whose job it is not."""
    verb = job.words[0] if job.words else ""
    names = {
        "train": _("a training"),
        "compare": _("a comparison"),
        "generate": _("generating"),
        "data": _("work on data"),
        "fetch": _("fetching"),
    }
    return names.get(verb, _("a study"))


def called(job: Job, reader: Jobs) -> str:
    """Name a job for a reader: the own ones as a whole, of others only their kind and whose they are."""
    if job.jobs is reader:
        return naming.job(job.words, job.meant)
    name = kind(job) if reader.person else naming.job(job.words, job.meant)
    return _("{name} ({person})").format(name=name, person=job.jobs.person or _("whoever started the studio"))


def progress(job: Job, state: str) -> str:
    """Return the progress bar; its text is announced when the state changes."""
    last = job.last
    part = 1.0 if state == "done" else float(last.get("fraction") or 0)
    doing = state_name(job, state) if state != "running" else phase_name(last.get("phase", ""))
    more = [str(last.get("text") or "")] if state == "running" else []
    if state == "waiting" and job.queued and job.jobs.paused:
        more.append(_("the queue is paused"))
    elif state == "waiting":
        more += [behind(other, job.jobs) for other in job.jobs.ahead(job)[:1]]
    if state == "running" and (left := time_left(job)):
        more.append(_("about {time} left").format(time=left))
    if state == "running":
        more.append(_("{time} so far").format(time=units.seconds(time.time() - (job.begun or job.made))))
    return Markup(
        '<section class="job {state}" data-job="{id}"><div role="status"><h2>{name}: {doing}</h2></div>'
        '<div role="progressbar" aria-label="{doing}" aria-valuemin="0" aria-valuemax="100" '
        'aria-valuenow="{percent}"><i style="width:{percent}%"></i></div>'
        "<p>{more}</p></section>"
    ).format(
        name=naming.job(job.words, job.meant),
        id=job.id,
        state=state,
        doing=doing,
        percent=round(100 * part),
        more=" · ".join(filter(None, more)),
    )


def behind(job: Job, reader: Jobs) -> str:
    """Name the job that is waited for and, where known, its remaining time."""
    name, left = called(job, reader), time_left(job)
    if not left:
        return _("behind: {name}").format(name=name)
    return _("behind: {name} (about {time} left)").format(name=name, time=left)


def time_left(job: Job) -> str:
    """Return how long a job still takes; "" where that is not known, or hardly any time."""
    seconds = job.seconds_left
    return "" if seconds is None or seconds < LEAST_LEFT else units.seconds(seconds)


def seen(job: Job) -> str:
    """Return the curve so far, the latest samples, and a comparison's tables."""
    parts = []
    looks, address = len(job.curve), f"/job/{job.id}"
    if job.last.get("rows"):
        parts.append(live_table(job.last["rows"]))
    parts.append(machines_of(job))
    if looks:
        parts.append(
            Markup(
                '<div class="plotted" tabindex="0" role="region" aria-label="{3}"><img '
                'class="plot" src="{0}/curve.png?n={1}&lang={2}" alt="{3}"></div>'
            ).format(address, looks, language(), told(job.curve[-1]))
        )
    if job.image is not None:
        parts.append(
            Markup('<img class="pixels" src="{}/picture.png?n={}" alt="{}">').format(
                address, drawn_at(job), _("what it generates now")
            )
        )
    return Markup("").join(parts)


def failure(job: Job, state: str) -> str:
    if state != "failed":
        return ""
    said = job.trouble or {}
    if said.get("found"):
        return trouble(said.get("code", ""), said["found"], said.get("expected") or "", said.get("try") or "")
    last = "\n".join(job.log.splitlines()[-LINES:])
    return Markup('<pre tabindex="0" class="log">{}</pre>').format(last)


def machines_of(job: Job) -> Markup:
    """Return the table of the machines that a comparison runs on; empty for other jobs."""
    return machine_table(job.folder) if job.words[:1] == ["compare"] else Markup()


def drawn_at(job: Job) -> int:
    """Return the time of the latest samples in nanoseconds; 0 before the first."""
    return job.image.stat().st_mtime_ns if job.image else 0


def told(values: dict[str, float]) -> str:
    """Format losses and validation figures: ``loss model 0.31, val accuracy 0.92``."""
    shown = [f"{name} {value:.3g}" for name, value in values.items() if name[:4] in ("loss", "val ")]
    return ", ".join(shown)


def live_table(rows: list[dict[str, Any]]) -> Markup:
    """Return a running comparison's table: latest validation, and test figures by seed."""
    heads = (_("system"), _("trained"), _("validation"), _("tested, seed by seed"))
    follows, headline = rows[0]["measures"]
    body = [
        (
            row["system"],
            units.seconds(row["seconds"]),
            "" if row["val"] is None else registry.metric(follows).text(row["val"]),
            "  ".join(registry.metric(headline).text(value) for value in row["test"] if value is not None),
        )
        for row in rows
    ]
    return table(heads, body, _("so far"))
