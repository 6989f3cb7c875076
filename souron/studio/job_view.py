"""A job on a page: how far it is, what it learnt and drew so far, what came out; stop and resume.

The page asks once a second. The job is a process of its own, so that closing the page changes
nothing, and opening it again finds the job.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.studio.jobs import ALIVE, Job, state_name
from souron.studio.shared import QUIET, Studio, command, table, trouble
from souron.utils import units
from souron.utils.messages import UserError, _

LINES = 40  # of what the command said


def phase_name(phase: str) -> str:
    """What a job is doing, in words."""
    return {
        "": _("starting"),
        "data": _("reading data"),
        "features": _("looking at the pictures"),
        "forecast": _("forecasting"),
        "train": _("training"),
        "test": _("testing"),
        "draw": _("drawing"),
        "report": _("writing the report"),
        "done": _("done"),
    }.get(phase, phase)


@dataclass
class Watch:
    """The components that show one job. Build it where it is to stand; ``job`` is its id."""

    studio: Studio
    outcome: Callable[[Studio, Job], str]  # what a finished job shows
    verbs: tuple[str, ...]  # the commands whose jobs belong here
    job: Any = field(init=False)  # gr.State: the id

    def __post_init__(self) -> None:
        import gradio as gr

        self.job = gr.State("")
        drawn = gr.State(None)  # what stands on the page: (id, state, number of looks)
        self.live = gr.HTML(elem_classes="live")
        self.pictures = gr.HTML()
        with gr.Row():
            self.stop = gr.Button(_("Stop, keep the work"), variant="stop", visible=False)
            self.resume = gr.Button(_("Go on"), variant="primary", visible=False)
        self.result = gr.HTML()
        self.parts = [self.live, self.pictures, self.stop, self.resume, self.result, drawn]

        says = self.studio.says
        gr.Timer(1.0).tick(says(self.update), [self.job, drawn], self.parts, **QUIET)
        self.job.change(says(self.update), [self.job, drawn], self.parts, show_progress="hidden")
        self.stop.click(says(self.ask_to_stop), self.job, self.live, show_progress="hidden")
        self.resume.click(says(self.go_on), self.job, self.job, show_progress="hidden")

    def latest(self, query: dict[str, str]) -> str:
        """The id of the job that the address names, else of the one at work, else of the newest
        one unless something else is asked for: a page opened again finds it."""
        mine = [job for job in self.studio.jobs.all() if self.belongs(job)]
        alive = [job for job in mine if job.state in ALIVE][-1:]
        return query.get("job") or next((job.id for job in alive or mine if alive or not query), "")

    def belongs(self, job: Job) -> bool:
        return job.words[:1] in [[verb] for verb in self.verbs] and "--forecast" not in job.words

    def ask_to_stop(self, id: str) -> Any:
        job = self.studio.find(id)
        if job is not None:
            job.stop()
        return Markup('<p role="status">{}</p>').format(_("stopping after this step …"))

    def go_on(self, id: str) -> str:
        job = self.studio.find(id)
        return job.resume().id if job is not None else id

    def update(self, id: str, drawn: Any) -> list[Any]:
        """New values for ``parts``; those that stay as they are are left alone."""
        import gradio as gr

        job = self.studio.find(id)
        if job is None:
            if drawn is None:
                return [gr.skip()] * len(self.parts)
            return ["", "", gr.update(visible=False), gr.update(visible=False), "", None]
        state = job.state
        now = (id, state, len(job.curve), drawn_at(job), bool(job.last.get("rows")))
        if drawn == now:
            live = self.progress(job, state) if state in ALIVE else gr.skip()
            rest = [gr.skip()] * 5
            if job.last.get("rows"):
                rest[0] = self.seen(job)
            return [live, *rest]
        return [
            self.progress(job, state),
            self.seen(job),
            gr.update(visible=state in ALIVE),
            gr.update(visible=state in ("stopped", "killed")),
            self.outcome(self.studio, job) if state == "done" else self.failure(job, state),
            now,
        ]

    def progress(self, job: Job, state: str) -> str:
        """The bar; its words are read out when the state changes."""
        last = job.last
        part = 1.0 if state == "done" else float(last.get("fraction") or 0)
        left = last.get("seconds_left")
        doing = state_name(state) if state != "running" else phase_name(last.get("phase", ""))
        more = [str(last.get("text") or "")] if state == "running" else []
        if state == "running" and left is not None:
            more.append(_("about {time} left").format(time=units.seconds(left)))
        if state == "running":
            more.append(
                _("{time} so far").format(time=units.seconds(time.time() - (job.begun or job.made)))
            )
        return Markup(
            '<section class="job {state}"><div role="status"><h2>{doing}</h2></div>'
            '<div role="progressbar" aria-label="{doing}" aria-valuemin="0" aria-valuemax="100" '
            'aria-valuenow="{percent}"><i style="width:{percent}%"></i></div>'
            "<p>{more}</p><p><code>{command}</code></p></section>"
        ).format(
            state=state,
            doing=doing,
            percent=round(100 * part),
            more=" · ".join(filter(None, more)),
            command=command(job.words),
        )

    def seen(self, job: Job) -> str:
        """The curve so far, what was drawn last, a comparison's table."""
        parts = []
        looks, address = len(job.curve), f"/job/{job.id}"
        if job.last.get("rows"):
            parts.append(live_table(job.last["rows"]))
        if looks:
            parts.append(
                Markup('<img class="plot" src="{}/curve.png?n={}&lang={}" alt="{}">').format(
                    address, looks, self.studio.language, told(job.curve[-1])
                )
            )
        if job.picture is not None:
            parts.append(
                Markup('<img class="pixels" src="{}/picture.png?n={}" alt="{}">').format(
                    address, drawn_at(job), _("what it draws now")
                )
            )
        return Markup("").join(parts)

    def failure(self, job: Job, state: str) -> str:
        if state != "failed":
            return ""
        said = job.trouble or {}
        if said.get("found"):
            return trouble(said.get("code", ""), said["found"], said.get("expected") or "",
                           said.get("try") or "")  # fmt: skip
        last = "\n".join(job.log.splitlines()[-LINES:])
        return Markup('<pre tabindex="0" class="log">{}</pre>').format(last)


def drawn_at(job: Job) -> int:
    """When its picture was last drawn anew; 0 before the first."""
    return job.picture.stat().st_mtime_ns if job.picture else 0


def told(values: dict[str, float]) -> str:
    """``loss model 0.31, val accuracy 0.92``"""
    shown = [
        f"{name} {value:.3g}" for name, value in values.items() if name[:4] in ("loss", "val ")
    ]
    return ", ".join(shown)


def live_table(rows: list[dict[str, Any]]) -> Markup:
    """A comparison while it runs: what each validated last, and its test seed by seed."""
    heads = (_("system"), _("trained"), _("validation"), _("tested, seed by seed"))
    follows, headline = rows[0]["measures"]
    body = [
        (
            row["system"],
            units.seconds(row["seconds"]),
            "" if row["val"] is None else registry.metric(follows).text(row["val"]),
            "  ".join(
                registry.metric(headline).text(value) for value in row["test"] if value is not None
            ),
        )
        for row in rows
    ]
    return table(heads, body, _("so far"))


class Forecast:
    """Two buttons: what it would take, and go, which can be pressed once that is known.

    A page fills its form and asks in an order that nothing promises. Hence what stands there is
    made anew, twice a second, of the job that finds out and what the form holds.
    """

    def __init__(self, studio: Studio, go: str) -> None:
        import gradio as gr

        self.studio = studio
        self.job = gr.State("")  # the id of the one that finds out
        self.answer = gr.HTML(elem_classes="forecast")
        with gr.Row():
            self.ask = gr.Button(_("What will it take?"), variant="secondary")
            self.go = gr.Button(go, variant="primary", interactive=False)

    def connect(self, read: Callable[..., list[str]], form: list[Any], job: Any) -> None:
        """``read`` makes the command's words of what ``form`` holds; ``job`` takes the id of what
        was started."""
        import gradio as gr

        says = self.studio.says
        drawn = gr.State(None)  # what stands on the page: (id, state)

        def begin(*values: Any) -> Any:
            return self.studio.jobs.start(read(*values), self.studio.language).id

        def look(id: str, before: Any, *values: Any) -> list[Any]:
            forecast, words = self.studio.find(id), None
            with suppress(UserError):
                words = [*read(*values), "--forecast"]
            fits = forecast is not None and forecast.words == words
            now = (id, forecast.state) if forecast is not None and fits else None
            if now == before:
                return [gr.skip()] * 3
            text, ready = self.look(forecast) if forecast is not None and now else ("", False)
            return [now, text, gr.update(interactive=ready)]

        inputs = [self.job, *form]
        self.ask.click(says(self.asking(read)), inputs, self.job, **QUIET)
        gr.Timer(0.5).tick(says(look), [self.job, drawn, *form],
                           [drawn, self.answer, self.go], **QUIET)  # fmt: skip
        self.go.click(says(begin), form, job, **QUIET).then(lambda: "", None, self.job, **QUIET)

    def asking(self, read: Callable[..., list[str]]) -> Callable[..., str]:
        """Starts a forecast in the place of the one before."""

        def ask(before: str, *values: Any) -> str:
            words = [*read(*values), "--forecast"]
            with suppress(UserError):  # it is still running
                self.studio.jobs.get(before).forget()
            return self.studio.jobs.start(words, self.studio.language, queued=False).id

        return ask

    def look(self, job: Job) -> tuple[str, bool]:
        """What a forecast has found so far, and whether the work may be started."""
        if job.state in ALIVE:
            return Markup('<p role="status">{}</p>').format(_("trying a few steps …")), False
        forecast = (job.result or {}).get("forecast")
        if forecast is None:
            error = job.trouble or {"code": job.state, "found": job.log[-500:]}
            return trouble(error["code"], error["found"], error.get("expected", ""),
                           error.get("try", "")), False  # fmt: skip
        text = _("It will take about {time} and {memory} of memory.").format(
            time=units.seconds(forecast["seconds"]), memory=units.size(forecast["bytes"])
        )
        return Markup('<p role="status"><strong>{}</strong></p>').format(text), True
