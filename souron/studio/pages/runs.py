"""Every run and comparison: its report within the page; use, go on, rename, export, delete, undo;
and the jobs that wait, run, or are over.

What was chosen stands in the page's address, so that two tabs know nothing of each other.
"""

from typing import Any

from markupsafe import Markup

from souron.studio import run_list, trash
from souron.studio.confirm import NARROW, Confirm
from souron.studio.jobs import ALIVE, Job, state_name
from souron.studio.run_view import MOST_ROWS, all_runs, facts, moment, report, the_same, verb
from souron.studio.shared import QUIET, Studio, command, here, status, table
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Runs")
PAGES = {"train": "train", "compare": "compare", "tour": "compare", "data": "data"}  # of jobs


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Runs"),
            _("What was trained and compared here. What is deleted goes into a bin first."),
        )
    )
    outcome = gr.HTML()
    shown = Shown(studio, outcome)
    gr.HTML(Markup("<h2>{}</h2>").format(_("All runs")))
    wanted = gr.Textbox(label=_("filter"), info=_("words of the name, system, data or state"))
    listed = gr.HTML()
    work = Work(studio, outcome)
    bin = Bin(studio, outcome)
    same = gr.HTML()

    says = studio.says
    wanted.input(says(lambda text: all_runs(studio, text)), wanted, listed, **QUIET)
    everything = [*shown.parts, listed, *bin.parts, same]

    def draw(run: str, text: str) -> list[Any]:
        return [
            *shown.draw(run), all_runs(studio, text), *bin.draw(), the_same(studio, run),
        ]  # fmt: skip

    def draw_after(event: Any) -> None:
        event.then(says(draw), [shown.run, wanted], everything, **QUIET)

    opened = studio.opened(lambda query: query.get("run") or "", [shown.run])
    for event in (opened, *shown.changes, *bin.changes):
        draw_after(event)
    work.drawn.change(says(lambda text: all_runs(studio, text)), wanted, listed, **QUIET)


class Shown:
    """The run that was chosen, and what can be done with it."""

    def __init__(self, studio: Studio, outcome: Any) -> None:
        import gradio as gr

        self.studio = studio
        self.run = gr.State("")  # as the command line names it
        self.thrown = gr.State("")  # what was deleted last, for Undo
        with gr.Row():
            self.undo = gr.Button(_("Undo"), visible=False, **NARROW)
        with gr.Column(visible=False) as self.column:
            self.facts = gr.HTML()
            self.go_on = gr.Button(_("Go on"), variant="primary", visible=False, **NARROW)
            with gr.Row():
                self.name = gr.Textbox(label=_("another name"), scale=3, max_length=200)
                self.rename = gr.Button(_("Rename"), **NARROW)
            self.delete = Confirm(_("Delete …"), _("Into the bin"))
            self.report = gr.HTML()
        self.parts = [
            self.column,
            self.facts,
            self.go_on,
            self.delete.asked,
            self.name,
            self.report,
        ]

        says = studio.says
        gone = [outcome, self.run, self.thrown, self.undo]
        self.changes = [
            self.go_on.click(says(self.start), self.run, outcome, **QUIET),
            self.rename.click(
                says(self.give_name), [self.run, self.name], [outcome, self.run], **QUIET
            ),
            self.name.submit(
                says(self.give_name), [self.run, self.name], [outcome, self.run], **QUIET
            ),
            self.delete.connect(says, self.ask_to_throw, self.throw, [self.run], gone),
            self.undo.click(says(self.put_back), self.thrown, gone, **QUIET),
        ]

    def draw(self, run: str) -> list[Any]:
        """Values for ``parts``."""
        import gradio as gr

        hidden = gr.update(visible=False)
        if not run:
            return [hidden, "", hidden, hidden, "", ""]
        try:
            found = run_list.read(trash.find(self.studio.project, run))
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
        """Go on with an interrupted run."""
        found = run_list.read(trash.find(self.studio.project, run))
        if found.state != "unfinished":
            raise UserError(
                "resume",
                _("{name} has nothing to go on with").format(name=found.name),
                expected=_("a run that was interrupted"),
                exit=5,
            )
        with self.studio.jobs.changing():
            trash.refuse_used(self.studio.jobs, found.folder)
            words = [verb(found), f"resume={found.folder}"]
            job = self.studio.jobs.start(words, self.studio.language)
        link = Markup('<a href="{}">{}</a>').format(
            self.studio.url(verb(found), job=job.id), _("Watch it")
        )
        return status(_("{name} goes on.").format(name=found.name), link)

    def give_name(self, run: str, name: str) -> list[Any]:
        before = trash.find(self.studio.project, run)
        now = trash.rename(self.studio.jobs, before, name)
        told = _("{before} is called {now} now.").format(before=before.name, now=now.name)
        return [status(told, here(self.studio.url("runs", run=now))), str(now)]

    def ask_to_throw(self, run: str) -> list[Any]:
        folder = trash.find(self.studio.project, run)
        trash.refuse_used(self.studio.jobs, folder)
        size = units.size(trash.weigh(folder))
        return [_("Delete {name} ({size})? From the bin it can be put back.").format(
            name=folder.name, size=size)]  # fmt: skip

    def throw(self, run: str) -> list[Any]:
        import gradio as gr

        folder = trash.find(self.studio.project, run)
        id = trash.throw(self.studio.jobs, self.studio.project, folder)
        told = _("{name} is in the bin.").format(name=folder.name)
        page = here(self.studio.url("runs"))
        return [status(told, page), "", id, gr.update(visible=True)]

    def put_back(self, id: str) -> list[Any]:
        import gradio as gr

        folder = trash.put_back(self.studio.project, id)
        told = _("{name} is back.").format(name=folder.name)
        page = here(self.studio.url("runs", run=folder))
        return [status(told, page), str(folder), "", gr.update(visible=False)]


class Work:
    """The jobs: what waits, runs, or is over."""

    def __init__(self, studio: Studio, outcome: Any) -> None:
        import gradio as gr

        self.studio = studio
        gr.HTML(Markup('<h2 id="jobs">{}</h2>').format(_("Jobs")))
        self.drawn = gr.State(None)  # what stands on the page
        self.listed = gr.HTML()
        with gr.Row(visible=False) as self.row:
            self.job = gr.Dropdown([], allow_custom_value=True, label=_("job"), scale=3)
            stop = gr.Button(_("Stop, keep the work"), **NARROW)
            clear = gr.Button(_("Take out of the list"), **NARROW)
            clear_all = gr.Button(_("Clear what is over"), **NARROW)
        self.parts = [self.listed, self.row, self.job, self.drawn]

        says = studio.says
        look = says(self.draw), [self.drawn, self.job], self.parts
        gr.Timer(2.0).tick(*look, **QUIET)
        for act in (
            stop.click(says(self.stop), self.job, outcome, **QUIET),
            clear.click(says(self.clear), self.job, outcome, **QUIET),
            clear_all.click(says(self.clear_all), None, outcome, **QUIET),
        ):
            act.then(*look, **QUIET)
        studio.opened(lambda _query: self.draw(None, None), self.parts)

    def draw(self, drawn: Any, chosen: str | None) -> list[Any]:
        """New values for ``parts``, where something changed since; what is chosen stays so."""
        import gradio as gr

        jobs = [(job, job.state) for job in self.studio.jobs.all()]
        now = [(job.id, state) for job, state in jobs]
        if drawn is not None and [tuple(each) for each in drawn] == now:
            return [gr.skip()] * 4
        choices = [(f"{state_name(state)}: {command(job.words)}", job.id) for job, state in jobs]
        ids = [id for _text, id in choices]
        first = ids[0] if ids else None
        return [
            self.table(jobs),
            gr.update(visible=bool(jobs)),
            gr.update(choices=choices, value=chosen if chosen in ids else first),
            now,
        ]

    def table(self, jobs: list[tuple[Job, str]]) -> Markup:
        if not jobs:
            return Markup("<p>{}</p>").format(_("There are no jobs."))
        rows = [
            (
                state_name(state),
                Markup("<code>{}</code>").format(command(job.words)),
                moment(job.made),
                self.link(job),
            )
            for job, state in jobs[:MOST_ROWS]
        ]
        return table((_("state"), _("command"), _("when"), _("page")), rows, _("newest first"))

    def link(self, job: Job) -> Markup | str:
        page = PAGES.get(job.words[0]) if job.words else None
        if page is None:
            return ""
        return Markup('<a href="{}" aria-label="{}: {}">{}</a>').format(
            self.studio.url(page, job=job.id), _("Look"), command(job.words), _("Look")
        )

    def stop(self, id: str | None) -> str:
        """A running job keeps its work, a waiting one does not begin."""
        job = self.studio.jobs.get(id or "")
        if job.state not in ALIVE:
            return status(_("That job is over."))
        job.stop()
        return status(_("stopping after this step …"))

    def clear(self, id: str | None) -> str:
        """Take a job out of the queue or out of the list; what it made stays."""
        job = self.studio.jobs.get(id or "")
        told = command(job.words)
        job.forget()
        return status(_("Not in the list any more: {command}").format(command=told))

    def clear_all(self) -> str:
        over = [job for job in self.studio.jobs.all() if job.state not in ALIVE]
        for job in over:
            job.forget()
        return status(_("{count} jobs are out of the list; what they made stays.").format(
            count=len(over)))  # fmt: skip


class Bin:
    """What was deleted, until the bin is emptied."""

    def __init__(self, studio: Studio, outcome: Any) -> None:
        import gradio as gr

        self.studio = studio
        gr.HTML(Markup('<h2 id="bin">{}</h2>').format(_("Bin")))
        self.listed = gr.HTML()
        with gr.Column(visible=False) as self.column:
            with gr.Row():
                self.run = gr.Dropdown(
                    [], allow_custom_value=True, label=_("run in the bin"), scale=3
                )  # fmt: skip
                back = gr.Button(_("Put back"), **NARROW)
            self.asking = Confirm(_("Empty the bin …"), _("Delete for good"))
        asked = gr.State([])  # what was in it when the question was asked
        self.parts = [self.listed, self.column, self.run, self.asking.asked]
        says = studio.says
        self.changes = [
            back.click(says(self.put_back), self.run, outcome, **QUIET),
            self.asking.connect(says, self.ask, self.empty, [], [outcome], [asked]),
        ]

    def draw(self) -> list[Any]:
        """Values for ``parts``."""
        import gradio as gr

        found = trash.thrown(self.studio.project)
        choices = [(f"{one.name} ({run_list.task_name(one.task)})", one.id) for one in found]
        rows = [
            (one.name, run_list.task_name(one.task), moment(one.when.timestamp()),
             units.size(one.bytes))
            for one in found
        ]  # fmt: skip
        told = (
            table((_("name"), _("task"), _("deleted on"), _("size")), rows, _("in the bin"))
            if found
            else Markup("<p>{}</p>").format(_("The bin is empty."))
        )
        first = choices[0][1] if choices else None
        return [
            told,
            gr.update(visible=bool(found)),
            gr.update(choices=choices, value=first),
            gr.update(visible=False),
        ]

    def put_back(self, id: str | None) -> str:
        folder = trash.put_back(self.studio.project, id or "")
        link = Markup('<a href="{}">{}</a>').format(
            self.studio.url("runs", run=folder), folder.name
        )
        return status(_("{name} is back.").format(name=folder.name), link)

    def ask(self) -> list[Any]:
        found = trash.thrown(self.studio.project)
        size = units.size(sum(one.bytes for one in found))
        text = _("Delete {count} runs ({size}) for good?").format(count=len(found), size=size)
        return [text, [one.id for one in found]]

    def empty(self, ids: list[str]) -> str:
        trash.empty(self.studio.project, ids)
        return status(_("{count} runs are deleted for good.").format(count=len(ids)))
