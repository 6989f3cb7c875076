"""The job of a plain page: its progress, curves, samples and result; stop and resume.

The panel asks for itself anew while the job is alive, more often at first. The job is a process of
its own, so that closing the page changes nothing, and opening it again finds the job.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from souron.studio.forms import controls
from souron.studio.jobs import job_view
from souron.studio.jobs.job_queue import ALIVE, Job
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, here, trouble
from souron.utils import units
from souron.utils.messages import UserError, _

OFTEN, SELDOM = "300ms", "1s"  # polling intervals
YOUNG = 10.0  # seconds after its start in which a job is polled often
LOOK = 0.1  # seconds between two looks at a forecast


@dataclass(frozen=True)
class Panel:
    """Panel of a page that shows the jobs of some commands."""

    page: str
    verbs: Callable[[], Iterable[str]]  # the commands whose jobs are shown
    outcome: Callable[[Studio, Job], str]  # the HTML of a finished job

    def parts(self) -> dict[str, Callable[[Studio, Posted], Markup]]:
        """Return the parts of the page that the panel asks for, see ``page_routes``."""
        return {"job": self._look, "stop": self._stop, "resume": self._resume}

    def latest(self, studio: Studio, query: Mapping[str, str]) -> str:
        """Return the id of the job to show: the one in the address, or the running one, or the newest.

        An address that asks for something else shows a running job only.
        """
        mine = [job for job in studio.jobs.all() if self.belongs(job)]
        alive = [job for job in mine if job.state in ALIVE][-1:]
        return query.get("job") or next((job.id for job in alive or mine if alive or not query), "")

    def belongs(self, job: Job) -> bool:
        return job.words[:1] in [[verb] for verb in self.verbs()] and not job.estimates

    def start(self, studio: Studio, words: Sequence[str], **how: Any) -> Markup:
        """Start a job, and return the panel that shows it. Raises UserError."""
        return self.html(studio, studio.jobs.start(list(words), studio.language, **how).id)

    def html(self, studio: Studio, id: str) -> Markup:
        """Return the panel of a job; an empty one where there is none."""
        job = studio.find(id)
        if job is None:
            return Markup('<div id="job"></div>')
        state = job.state
        polls: dict[str, Any] = {}
        if state in ALIVE:
            young = time.time() - (job.begun or job.made) < YOUNG
            every = f"every {OFTEN if young else SELDOM}"
            polls = {"hx_get": self._address(studio, "job", id), "hx_trigger": every, "hx_swap": "outerMorph"}
            polls["hx_sync"] = "this:abort"  # a button's answer takes the place of one that was asked for before
        return Markup('<div id="job"{}>{}{}{}{}{}</div>').format(
            controls.attributes(polls),
            here(self._shown_at(studio, job)),
            job_view.progress(job, state),
            job_view.seen(job),
            self._buttons(studio, job, state),
            self.result(studio, job, state),
        )

    def result(self, studio: Studio, job: Job, state: str) -> str:
        """Return what came of a job, or why it failed."""
        return self.outcome(studio, job) if state == "done" else job_view.failure(job, state)

    def _shown_at(self, studio: Studio, job: Job) -> str:
        return job_view.address(studio, job) or studio.url(self.page, job=job.id)

    def _address(self, studio: Studio, name: str, id: str) -> str:
        return f"{controls.part(studio, self.page, name)}?job={id}"

    def _buttons(self, studio: Studio, job: Job, state: str) -> Markup:
        target: dict[str, Any] = {"hx_target": "#job", "hx_swap": "outerMorph", "hx_sync": "#job:drop"}
        if state in ALIVE:
            name = _(job_view.STOPS[state == "running"])
            return controls.press(name, hx_post=self._address(studio, "stop", job.id), **target)
        if state in ("stopped", "killed"):
            return controls.press(_("Resume"), hx_post=self._address(studio, "resume", job.id), **target)
        return Markup()

    def _look(self, studio: Studio, form: Posted) -> Markup:
        return self.html(studio, form["job"])

    def _stop(self, studio: Studio, form: Posted) -> Markup:
        job = studio.find(form["job"])
        if job is not None:
            job.stop()
        stopping = job is not None and job.begun is not None
        told = Markup('<p role="status">{}</p>').format(_("stopping after this step …")) if stopping else ""
        return Markup("{}{}").format(self.html(studio, form["job"]), told)

    def _resume(self, studio: Studio, form: Posted) -> Markup:
        job = studio.find(form["job"])
        return self.html(studio, job.resume().id if job is not None else "")


def estimate_place(studio: Studio, page: str) -> Markup:
    """Return the place of a forecast, which the part ``estimate`` of the page fills while the form changes."""
    waiting = Markup('<p role="status" class="faint htmx-indicator" id="estimating">{}</p>').format(_("estimating …"))
    return Markup('<div class="estimate">{}{}</div>').format(
        controls.follows(studio, page, "estimate", "estimate", delay="500ms", hx_indicator="#estimating"), waiting
    )


def estimate(studio: Studio, read: Callable[[], list[str]]) -> Markup:
    """Return the forecast of the command that ``read`` returns; empty while the form is incomplete.

    Earlier forecasts of this person are dropped, as their form has changed. Another job would slow
    down both, and the forecast would be wrong.
    """
    for job in studio.jobs.all():
        if job.estimates:
            job.drop()
    every = studio.jobs.schedule.all()
    others = (job for job in every if job.queued or (job.estimates and job.jobs is not studio.jobs))
    if any(job.state in ALIVE for job in others):
        return Markup()
    try:
        job = studio.jobs.start([*read(), "--forecast"], studio.language, queued=False)
    except UserError:  # the button reports errors
        return Markup()
    while studio.find(job.id) is not None and job.state in ALIVE and not studio.jobs.closing:
        time.sleep(LOOK)
    if studio.find(job.id) is None:
        return Markup()
    text = _forecast(job)
    job.drop()
    return text


def _forecast(job: Job) -> Markup:
    """Return the text of a forecast, or its error."""
    forecast = (job.result or {}).get("forecast")
    if forecast is None:
        error = job.trouble or {"code": job.state, "found": job.log[-500:]}
        return trouble(error["code"], error["found"], error.get("expected", ""), error.get("try", ""))
    text = _("It will take about {time} and {memory} of memory.").format(
        time=units.seconds(forecast["seconds"]), memory=units.size(forecast["bytes"])
    )
    return Markup('<p role="status"><strong>{}</strong></p>').format(text)
