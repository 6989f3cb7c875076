"""A job on a page: its progress, curves, samples and result; stop and resume.

The page polls once a second while the job runs, more often at first. The job is a separate process,
so that closing the page changes nothing, and opening it again finds the job.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.studio import naming
from souron.studio.jobs.job_queue import ALIVE, Job, Jobs, state_name
from souron.studio.runs import run_list
from souron.studio.shared import DIRECT, QUIET, Studio, machine_table, table, trouble
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


@dataclass
class Watch:
    """The components that show one job.

    Build it at its position on the page. ``job`` is the job's id, and every event that changes it
    must go through ``follow``.
    """

    studio: Studio
    outcome: Callable[[Studio, Job], str]  # the HTML of a finished job
    verbs: tuple[str, ...]  # the commands whose jobs are shown here
    job: Any = field(init=False)  # gr.State: the id

    def __post_init__(self) -> None:
        import gradio as gr

        self.job = gr.State("")
        self.drawn = gr.State(None)  # the current state of the page: (id, state, young, ...)
        self.live = gr.HTML(elem_classes="live")
        self.images = gr.HTML()
        with gr.Row():
            self.stop = gr.Button(_(STOPS[True]), variant="stop", visible=False)
            self.resume = gr.Button(_("Resume"), variant="primary", visible=False)
        self.result = gr.HTML()
        clock = gr.Timer(OFTEN, active=False)
        self.parts = [self.live, self.images, self.stop, self.resume, self.result, self.drawn, clock]

        says = self.studio.says
        clock.tick(says(self.update), [self.job, self.drawn], self.parts, **QUIET)
        self.stop.click(says(self.ask_to_stop), self.job, self.live, show_progress="hidden")
        self.follow(self.resume.click(says(self.go_on), self.job, self.job, **QUIET))

    def follow(self, event: Any) -> Any:
        """Update the display after an event; outside of Gradio's queue nothing else triggers it."""
        look = self.studio.says(self.update)
        return event.success(look, [self.job, self.drawn], self.parts, **QUIET, **DIRECT)

    def latest(self, query: dict[str, str]) -> str:
        """Return the id of the job to show, so that a page opened again finds it.

        This is the job in the address, or the running one, or else the newest one, unless the
        address asks for something else.
        """
        mine = [job for job in self.studio.jobs.all() if self.belongs(job)]
        alive = [job for job in mine if job.state in ALIVE][-1:]
        return query.get("job") or next((job.id for job in alive or mine if alive or not query), "")

    def belongs(self, job: Job) -> bool:
        return job.words[:1] in [[verb] for verb in self.verbs] and not job.estimates

    def ask_to_stop(self, id: str) -> Any:
        job = self.studio.find(id)
        if job is not None:
            job.stop()
        if job is not None and job.begun is None:
            return self.progress(job, job.state)
        return Markup('<p role="status">{}</p>').format(_("stopping after this step …"))

    def go_on(self, id: str) -> str:
        job = self.studio.find(id)
        return job.resume().id if job is not None else id

    def update(self, id: str, drawn: Any) -> list[Any]:
        """Return new values for ``parts``; unchanged ones are skipped."""
        import gradio as gr

        job = self.studio.find(id)
        if job is None:
            if drawn is None:
                return [gr.skip()] * len(self.parts)
            hidden, still = gr.update(visible=False), gr.Timer(active=False)
            return ["", "", hidden, hidden, "", None, still]
        state, young = job.state, time.time() - (job.begun or job.made) < YOUNG
        now = (id, state, young, len(job.curve), drawn_at(job), bool(job.last.get("rows")), machines_of(job))
        if drawn == now:
            live = self.progress(job, state) if state in ALIVE else gr.skip()
            rest = [gr.skip()] * (len(self.parts) - 1)
            if job.last.get("rows"):
                rest[0] = self.seen(job)
            return [live, *rest]
        return [
            self.progress(job, state),
            self.seen(job),
            gr.update(visible=state in ALIVE, value=_(STOPS[state == "running"])),
            gr.update(visible=state in ("stopped", "killed")),
            self.outcome(self.studio, job) if state == "done" else self.failure(job, state),
            now,
            gr.Timer(OFTEN if young else SELDOM, active=state in ALIVE),
        ]

    def progress(self, job: Job, state: str) -> str:
        return progress(job, state)

    def seen(self, job: Job) -> str:
        return seen(job)

    def failure(self, job: Job, state: str) -> str:
        return failure(job, state)


def address(studio: Studio, job: Job) -> str:
    """Return the address of the page that shows a job; "" where there is none."""
    verb = job.words[0] if job.words else ""
    if verb == "generate":
        return studio.url("use", run="/".join(Path(job.words[1]).parts[-2:])) if len(job.words) > 1 else ""
    page = "study" if verb in registry.study_files() and verb not in PAGES else PAGES.get(verb, "")
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


class Estimate:
    """Forecast shown while the form is filled in, and the button that starts the job.

    The button does not wait for the forecast; the job makes its own. A page fills its form and
    sends its events in no defined order. The forecast is therefore recomputed from the form's
    current values, twice a second while one is pending. The button is disabled until the page has
    filled its form, since it would start something else.
    """

    def __init__(self, studio: Studio, go: str) -> None:
        import gradio as gr

        self.studio = studio
        self.answer = gr.HTML(elem_classes="estimate")
        self.go = gr.Button(go, variant="primary", interactive=False)
        self.clock = gr.Timer(0.5, active=False)

    def connect(self, read: Callable[..., list[str]], form: list[Any], watch: Watch) -> None:
        """Connect the form, whose values ``read`` makes a command; ``watch`` shows the job."""
        import gradio as gr

        says, asked = self.studio.says, gr.State(None)  # (words, id of the forecast's job)

        def go(*values: Any) -> Any:
            return self.studio.jobs.start(read(*values), self.studio.language).id

        def look(before: Any, *values: Any) -> list[Any]:
            try:
                words = read(*values)
            except UserError:  # the button reports errors
                words = []
            return self.look(before, words)

        for widget in form:
            widget.change(self.begin, None, self.clock, **QUIET)
        self.clock.tick(says(look), [asked, *form], [asked, self.answer, self.clock], **QUIET)
        watch.follow(self.go.click(says(go), form, watch.job, **QUIET)).then(
            says(self.drop), asked, [asked, self.answer, self.clock], **QUIET
        )

    def ready(self, opened: Any) -> None:
        """Enable the button after that event has filled the form, even if it failed."""
        import gradio as gr

        for ending in (opened.success, opened.failure):
            ending(lambda: gr.Button(interactive=True), None, self.go, **QUIET)

    def begin(self) -> Any:
        """Start polling for a forecast."""
        import gradio as gr

        return gr.Timer(active=True)

    def drop(self, asked: Any) -> list[Any]:
        """Stop polling, and drop the forecast."""
        import gradio as gr

        self._end(asked)
        return [None, "", gr.Timer(active=False)]

    def look(self, asked: Any, words: list[str]) -> list[Any]:
        """Return the request, its forecast so far, and whether to poll again.

        A changed form is forecast once it stays the same for half a second.
        """
        import gradio as gr

        before, id = asked or (None, "")
        if not words:
            return self.drop(asked)
        if words != before:
            self._end(asked)
            return [(words, ""), "", gr.skip()]
        if not id:
            every = self.studio.jobs.schedule.all()
            others = (job for job in every if job.queued or (job.estimates and job.jobs is not self.studio.jobs))
            if any(job.state in ALIVE for job in others):
                return self.drop(asked)  # it would slow down both, and the forecast would be wrong
            try:
                job = self.studio.jobs.start([*words, "--forecast"], self.studio.language, queued=False)
            except UserError:  # the button reports errors
                return self.drop(asked)
            told = Markup('<p role="status" class="faint">{}</p>').format(_("estimating …"))
            return [(words, job.id), told, gr.skip()]
        found = self.studio.find(id)
        if found is not None and found.state in ALIVE:
            return [gr.skip()] * 3
        answer = self.said(found) if found is not None else ""
        self._end(asked)
        return [None, answer, gr.Timer(active=False)]

    def _end(self, asked: Any) -> None:
        """Drop the forecast's job, which leaves no trace."""
        job = self.studio.find(asked[1]) if asked else None
        if job is not None:
            job.drop()

    def said(self, job: Job) -> str:
        """Return the text of a forecast, or its error."""
        forecast = (job.result or {}).get("forecast")
        if forecast is None:
            error = job.trouble or {"code": job.state, "found": job.log[-500:]}
            return trouble(error["code"], error["found"], error.get("expected", ""), error.get("try", ""))
        text = _("It will take about {time} and {memory} of memory.").format(
            time=units.seconds(forecast["seconds"]), memory=units.size(forecast["bytes"])
        )
        return Markup('<p role="status"><strong>{}</strong></p>').format(text)
