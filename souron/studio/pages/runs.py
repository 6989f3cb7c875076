"""Runs and comparisons with their reports, to use, resume, rename, export or delete; and the jobs.

The choice is part of the page's address, so that two tabs are independent.
"""

from typing import Any

from markupsafe import Markup

from souron.studio import naming
from souron.studio.forms.confirm import NARROW, Confirm
from souron.studio.jobs import job_view
from souron.studio.jobs.job_queue import ALIVE, Job, state_name
from souron.studio.runs import run_list, trash
from souron.studio.runs.run_view import MOST_ROWS, facts, listing, moment, report, the_same, verb
from souron.studio.security.paths import folder_size
from souron.studio.shared import QUIET, Studio, here, status, table
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Runs")
PLACE = "results"
OFTEN, SELDOM = 5.0, 20.0  # polling intervals, seconds: while a job is running; otherwise


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Runs"), _("What was trained and compared here. What is deleted goes to this computer's bin.")
        )
    )
    outcome = gr.HTML()
    shown = Shown(studio, outcome)
    gr.HTML(Markup("<h2>{}</h2>").format(_("All runs")))
    wanted = gr.Textbox(label=_("filter"), info=_("words of the name, system, data or state"))
    listed = gr.HTML()
    work = Work(studio, outcome)
    same = gr.HTML()

    says = studio.says
    wanted.input(says(lambda text: listing(studio, text)), wanted, listed, **QUIET)
    everything = [*shown.parts, listed, same]

    def draw(run: str, text: str) -> list[Any]:
        return [*shown.draw(run), listing(studio, text), the_same(studio, run)]

    def draw_after(event: Any) -> None:
        event.then(says(draw), [shown.run, wanted], everything, **QUIET)

    opened = studio.opened(lambda query: query.get("run") or "", [shown.run])
    for event in (opened, *shown.changes):
        draw_after(event)
    work.drawn.change(says(lambda text: listing(studio, text)), wanted, listed, **QUIET)


class Shown:
    """The chosen run, and its actions."""

    def __init__(self, studio: Studio, outcome: Any) -> None:
        import gradio as gr

        self.studio = studio
        self.run = gr.State("")  # its name on the command line
        with gr.Column(visible=False) as self.column:
            self.facts = gr.HTML()
            self.go_on = gr.Button(_("Resume"), variant="primary", visible=False, **NARROW)
            with gr.Row():
                self.name = gr.Textbox(label=_("another name"), scale=3, max_length=200)
                self.rename = gr.Button(_("Rename"), **NARROW)
            self.delete = Confirm(_("Delete …"), _("Into the bin"))
            self.report = gr.HTML()
        self.parts = [self.column, self.facts, self.go_on, self.delete.column, self.name, self.report]

        says = studio.says
        self.changes = [
            self.go_on.click(says(self.start), self.run, outcome, **QUIET),
            self.rename.click(says(self.give_name), [self.run, self.name], [outcome, self.run], **QUIET),
            self.name.submit(says(self.give_name), [self.run, self.name], [outcome, self.run], **QUIET),
            self.delete.connect(says, self.ask_to_delete, self.to_bin, [self.run], [outcome, self.run]),
        ]

    def draw(self, run: str) -> list[Any]:
        """Return values for ``parts``."""
        import gradio as gr

        hidden = gr.update(visible=False)
        if not run:
            return [hidden, "", hidden, hidden, "", ""]
        try:
            found = run_list.read(run_list.find(self.studio.project, run))
        except UserError as error:
            told = Markup('<p role="status">{}</p>').format(error.found)
            return [gr.update(visible=True), told, hidden, hidden, "", ""]
        busy = trash.user_of(self.studio.jobs, found.folder)
        return [
            gr.update(visible=True),
            facts(self.studio, found, busy),
            gr.update(visible=found.state == "unfinished" and busy is None),
            hidden,
            found.name,
            report(self.studio, found),
        ]

    def start(self, run: str) -> str:
        """Resume an interrupted run."""
        found = run_list.read(run_list.find(self.studio.project, run))
        if found.state != "unfinished":
            raise UserError(
                "resume",
                _("{name} has nothing to resume").format(name=found.name),
                expected=_("a run that was interrupted"),
                exit=5,
            )
        with self.studio.jobs.changing():
            trash.refuse_used(self.studio.jobs, found.folder)
            words = [verb(found), f"resume={found.folder}"]
            job = self.studio.jobs.start(words, self.studio.language)
        link = Markup('<a href="{}">{}</a>').format(self.studio.url(verb(found), job=job.id), _("Watch it"))
        return status(_("{name} was resumed.").format(name=found.name), link)

    def give_name(self, run: str, name: str) -> list[Any]:
        before = run_list.find(self.studio.project, run)
        now = trash.rename(self.studio.jobs, before, name)
        told = _("{before} is called {now} now.").format(before=before.name, now=now.name)
        return [status(told, here(self.studio.url("runs", run=now))), str(now)]

    def ask_to_delete(self, run: str) -> str:
        folder = run_list.find(self.studio.project, run)
        trash.refuse_used(self.studio.jobs, folder)
        return _("Move {name} ({size}) to this computer's bin?").format(
            name=folder.name, size=units.size(folder_size(folder))
        )

    def to_bin(self, run: str) -> list[Any]:
        folder = run_list.find(self.studio.project, run)
        trash.to_bin(self.studio.jobs, folder)
        text = _("{name} is in this computer's bin.").format(name=folder.name)
        return [status(text, here(self.studio.url("runs"))), ""]


class Work:
    """The list of jobs: waiting, running, finished."""

    def __init__(self, studio: Studio, outcome: Any) -> None:
        import gradio as gr

        self.studio = studio
        gr.HTML(
            Markup('<h2 id="jobs">{}</h2><p><a href="{}">{}</a></p>').format(
                _("Jobs"), studio.url("queue"), _("What waits and runs, its order and a pause: on the page Queue")
            )
        )
        self.drawn = gr.State(None)  # the state shown on the page
        self.listed = gr.HTML()
        with gr.Row(visible=False) as self.row:
            self.job = gr.Dropdown([], allow_custom_value=True, label=_("job"), scale=3)
            stop = gr.Button(_("Stop, keep the work"), **NARROW)
            clear = gr.Button(_("Take out of the list"), **NARROW)
            clear_all = gr.Button(_("Clear what is over"), **NARROW)
        clock = gr.Timer(OFTEN)
        self.parts = [self.listed, self.row, self.job, self.drawn, clock]

        says = studio.says
        look = says(self.draw), [self.drawn, self.job], self.parts
        clock.tick(*look, **QUIET)
        for act in (
            stop.click(says(self.stop), self.job, outcome, **QUIET),
            clear.click(says(self.clear), self.job, outcome, **QUIET),
            clear_all.click(says(self.clear_all), None, outcome, **QUIET),
        ):
            act.then(*look, **QUIET)
        studio.opened(lambda _query: self.draw(None, None), self.parts)

    def draw(self, drawn: Any, chosen: str | None) -> list[Any]:
        """Return new values for ``parts`` where something changed; the selection stays."""
        import gradio as gr

        jobs = [(job, job.state) for job in self.studio.jobs.all() if not job.estimates]
        now = [(job.id, state) for job, state in jobs]
        if drawn is not None and [tuple(each) for each in drawn] == now:
            return [gr.skip()] * len(self.parts)
        choices = [(f"{state_name(job, state)}: {called(job)}", job.id) for job, state in jobs]
        ids = [id for _text, id in choices]
        first = ids[0] if ids else None
        return [
            self.table(jobs),
            gr.update(visible=bool(jobs)),
            gr.update(choices=choices, value=chosen if chosen in ids else first),
            now,
            gr.Timer(OFTEN if any(state in ALIVE for _job, state in jobs) else SELDOM),
        ]

    def table(self, jobs: list[tuple[Job, str]]) -> Markup:
        if not jobs:
            return Markup("<p>{}</p>").format(_("There are no jobs."))
        rows = [
            (state_name(job, state), called(job), moment(job.made), self.link(job)) for job, state in jobs[:MOST_ROWS]
        ]
        return table((_("state"), _("work"), _("when"), _("page")), rows, _("newest first"))

    def link(self, job: Job) -> Markup | str:
        address = job_view.address(self.studio, job)
        if not address:
            return ""
        return Markup('<a href="{}" aria-label="{}: {}">{}</a>').format(address, _("Look"), called(job), _("Look"))

    def stop(self, id: str | None) -> str:
        """Stop a job: a running one saves its work, a waiting one does not start."""
        job = self.studio.jobs.get(id or "")
        if job.state not in ALIVE:
            return status(_("That job is over."))
        job.stop()
        if job.begun is None:
            return status(state_name(job, job.state))
        return status(_("stopping after this step …"))

    def clear(self, id: str | None) -> str:
        """Remove a job from the queue or the list; its results stay."""
        job = self.studio.jobs.get(id or "")
        job.forget()
        return status(_("Not in the list any more: {name}").format(name=called(job)))

    def clear_all(self) -> str:
        jobs = self.studio.jobs.all()
        over = [job for job in jobs if job.state not in ALIVE and not job.estimates]
        for job in over:
            job.forget()
        return status(_("{count} jobs are out of the list; what they made stays.").format(count=len(over)))


def called(job: Job) -> str:
    return naming.job(job.words, job.meant)
