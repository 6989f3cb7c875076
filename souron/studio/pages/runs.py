"""Results: everything made here, to find, use, compare, resume, rename, export or delete.

What is searched, filtered, sorted, chosen or compared is part of the address: ``?q=...&task=...&sort=...``,
``?run=task/name``, ``?compare=task/one&compare=task/other``. The page's script is ``static/runs.js``.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi.responses import Response
from markupsafe import Markup

from souron import registry
from souron.studio import naming
from souron.studio.jobs import job_view
from souron.studio.jobs.job_queue import ALIVE, Job, state_name
from souron.studio.runs import export, results, run_list, trash, verdict_view
from souron.studio.runs.run_list import Run
from souron.studio.runs.run_view import facts, moment, report, the_same, verb
from souron.studio.security.paths import folder_size
from souron.studio.shared import Studio, status
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Results")
PLACE = "results"
MOST_JOBS = 100  # shown
MOST_DELETED = 200  # at once
DOCUMENTS = {  # what a result is exported as
    "csv": (N_("Table (CSV)"), "text/csv"),
    "docx": (N_("Document (Word)"), "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    "pdf": (N_("Figure (PDF)"), "application/pdf"),
    "png": (N_("Figure (PNG)"), "image/png"),
}
ATTACHED = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    compared = several(query, "compare")
    if compared:
        inside = comparison(studio, compared)
    elif query.get("run"):
        inside = one(studio, query["run"])
    else:
        inside = everything(studio, query)
    return Markup(
        '<div id="results" class="results" data-module="/static/runs.js" data-page="{}/runs" data-words="{}">{}</div>'
    ).format(studio.language, json.dumps({name: str(text) for name, text in words().items()}), inside)


def several(query: Mapping[str, str], name: str) -> list[str]:
    """Return all values of a name in an address."""
    found = query.getlist(name) if hasattr(query, "getlist") else query.get(name, "")
    values = [found] if isinstance(found, str) else [str(value) for value in found]
    return [value for value in values if value]


def everything(studio: Studio, query: Mapping[str, str]) -> Markup:
    """Return the list with its search, its filters and what can be done with a selection; and the jobs."""
    every = results.items(studio)
    return Markup(
        '<h1>{title}</h1><p>{about}</p>{controls}<div class="picked" hidden><span role="status"></span>'
        '<button type="button" data-do="compare" class="first">{compare}</button>'
        '<button type="button" data-do="delete">{delete}</button>'
        '<button type="button" data-do="none">{none}</button></div>{question}'
        '<div class="told" role="status"></div><div class="list">{listing}</div>{jobs}'
    ).format(
        title=_("Results"),
        about=_(
            "Everything made here. Select two runs to learn which is better. What is deleted goes to this "
            "computer's bin."
        ),
        controls=results.controls(every, query),
        compare=_("Compare"),
        delete=_("Delete …"),
        none=_("Select none"),
        question=question(),
        listing=results.listing(studio, query, every),
        jobs=jobs(studio),
    )


def question() -> Markup:
    """Return the question before something is deleted, which the script fills in and shows."""
    return Markup(
        '<div class="question" role="alert" hidden><p></p><p class="actions"><button type="button" data-do="yes">{}'
        '</button><button type="button" data-do="no">{}</button></p></div>'
    ).format(_("Into the bin"), _("Leave it as it is"))


def one(studio: Studio, named: str) -> Markup:
    """Return a run with its facts, its report and what can be done with it."""
    back = Markup('<p><a href="{}">{}</a></p>').format(studio.url("runs"), _("← All results"))
    try:
        run = run_list.read(run_list.find(studio.project, named))
    except UserError as error:
        return Markup('<h1>{}</h1><p role="status">{}</p>{}').format(_("Results"), error.found, back)
    busy = trash.user_of(studio.jobs, run.folder)
    resume = Markup('<button type="button" data-do="resume" class="first">{}</button>').format(_("Resume"))
    leaves = run.state == "finished" and not run.compares
    return Markup(
        '<h1 class="unseen">{title}</h1><div class="one" data-run="{run}">{facts}<div class="doing">{resume}'
        '<label>{another}<input name="name" value="{name}" maxlength="200"></label>'
        '<button type="button" data-do="rename">{rename}</button>'
        '<button type="button" data-do="delete">{delete}</button>{elsewhere}</div>{question}'
        '<div class="told" role="status"></div>{documents}{report}{same}</div>'
    ).format(
        title=run.name,
        run=f"{run.task}/{run.name}",
        facts=facts(studio, run, busy),
        resume=resume if run.state == "unfinished" and busy is None else "",
        another=_("another name"),
        name=run.name,
        rename=_("Rename"),
        delete=_("Delete …"),
        elsewhere=elsewhere() if leaves and registry.export_formats() else "",
        question=question(),
        documents=documents(studio, run=f"{run.task}/{run.name}") if exportable(run) else "",
        report=report(studio, run),
        same=the_same(studio, str(run.folder)),
    )


def elsewhere() -> Markup:
    """Return the choice of a format and the button that exports the run for use without souron."""
    options = Markup("").join(Markup("<option>{}</option>").format(name) for name in registry.export_formats())
    return Markup(
        '<label>{}<select name="format">{}</select></label><button type="button" data-do="elsewhere">{}</button>'
    ).format(_("format"), options, _("Export for use without souron"))


def exportable(run: Run) -> bool:
    return run.state == "finished" and run.result is not None and run.result.value == run.result.value


def documents(studio: Studio, **query: Any) -> Markup:
    """Return links to the documents of a run, or of a verdict on runs."""
    address = studio.url("runs", **query).partition("?")[2]
    links = Markup("").join(
        Markup('<a href="/show/{}/runs/document?{}&amp;kind={}" download>{}</a>').format(
            studio.language, address, kind, _(title)
        )
        for kind, (title, _mime) in DOCUMENTS.items()
    )
    return Markup('<p class="actions documents">{}</p>').format(links)


def comparison(studio: Studio, named: list[str]) -> Markup:
    """Return the page of a verdict on runs, which its script asks for: it may take seconds."""
    names = [name.rpartition("/")[2] for name in named[: verdict_view.KEPT]]
    return Markup(
        '<p><a href="{}">{}</a></p><h1>{}</h1><p>{}</p><div class="compared" data-runs="{}" role="status">{}</div>'
    ).format(
        studio.url("runs"),
        _("← All results"),
        _("Which is better?"),
        _(", ").join(names),
        json.dumps(named[: verdict_view.KEPT]),
        _("computing …"),
    )


def words() -> dict[str, str]:
    """Return the texts of the script."""
    return {
        "selected": _("{count} selected"),
        "compare": _("Select finished runs of one task to compare them."),
        "computing": _("computing …"),
    }


# what the script asks for


def listed(studio: Studio, asked: Mapping[str, Any]) -> dict[str, str]:
    """Return the list for the query of an address."""
    return {"html": results.listing(studio, texts(asked))}


def texts(asked: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in asked.items() if isinstance(value, str)}


def working(studio: Studio, _asked: Mapping[str, Any]) -> dict[str, str]:
    """Return the list of jobs."""
    return {"html": jobs(studio)}


def named_runs(asked: Mapping[str, Any]) -> list[str]:
    """Return the names of the runs that a script asks about; others are left out."""
    found = asked.get("runs")
    return [name for name in found if isinstance(name, str)][:MOST_DELETED] if isinstance(found, list) else []


def compare(studio: Studio, asked: Mapping[str, Any]) -> dict[str, str]:
    """Return the verdict on two or more runs. Raises UserError."""
    named = named_runs(asked)
    pair = verdict_view.verdict(studio, named)
    return {"html": verdict_view.shown(studio, pair, documents(studio, compare=named))}


def resume(studio: Studio, asked: Mapping[str, Any]) -> dict[str, str]:
    """Resume an interrupted run. Raises UserError."""
    found = run_list.read(run_list.find(studio.project, str(asked.get("run"))))
    if found.state != "unfinished":
        raise UserError(
            "resume",
            _("{name} has nothing to resume").format(name=found.name),
            expected=_("a run that was interrupted"),
            exit=5,
        )
    with studio.jobs.changing():
        trash.refuse_used(studio.jobs, found.folder)
        job = studio.jobs.start([verb(found), f"resume={found.folder}"], studio.language)
    link = Markup('<a href="{}">{}</a>').format(studio.url(verb(found), job=job.id), _("Watch it"))
    return {"html": status(_("{name} was resumed.").format(name=found.name), link)}


def export_elsewhere(studio: Studio, asked: Mapping[str, Any]) -> dict[str, str]:
    """Export a run for use without souron, as a job. Raises UserError."""
    found = run_list.read(run_list.find(studio.project, str(asked.get("run"))))
    format = str(asked.get("format"))
    if found.state != "finished" or found.compares or format not in registry.export_formats():
        raise UserError(
            "export",
            _("{name} cannot be exported as {format}").format(name=found.name, format=format[:40]),
            expected=_("a finished run, and one of {names}").format(names=", ".join(registry.export_formats())),
            exit=5,
        )
    studio.jobs.start(["export", str(found.folder), f"format={format}"], studio.language)
    link = Markup('<a href="{}">{}</a>').format(studio.url("queue"), _("Watch it"))
    return {"html": status(_("{name} is being exported; its zip will be on this page.").format(name=found.name), link)}


def rename(studio: Studio, asked: Mapping[str, Any]) -> dict[str, str]:
    """Give a run another name. Raises UserError."""
    before = run_list.find(studio.project, str(asked.get("run")))
    now = trash.rename(studio.jobs, before, str(asked.get("name") or ""))
    text = _("{before} is called {now} now.").format(before=before.name, now=now.name)
    return {"go": studio.url("runs", run=f"{now.parent.name}/{now.name}"), "html": status(text)}


def ask_to_delete(studio: Studio, asked: Mapping[str, Any]) -> dict[str, str]:
    """Return the question before runs go to the bin. Raises UserError where a job uses one of them."""
    folders = [run_list.find(studio.project, name) for name in named_runs(asked)]
    for folder in folders:
        trash.refuse_used(studio.jobs, folder)
    size = units.size(sum(map(folder_size, folders)))
    if len(folders) == 1:
        text = _("Move {name} ({size}) to this computer's bin?").format(name=folders[0].name, size=size)
    else:
        text = _("Move {count} results ({size}) to this computer's bin: {names}?").format(
            count=len(folders), size=size, names=_(", ").join(folder.name for folder in folders)
        )
    return {"question": text}


def delete(studio: Studio, asked: Mapping[str, Any]) -> dict[str, str]:
    """Move runs to the bin; the first that cannot go there ends it. Raises UserError."""
    folders = [run_list.find(studio.project, name) for name in named_runs(asked)]
    for folder in folders:
        trash.to_bin(studio.jobs, folder)
    text = _("{name} is in this computer's bin.").format(name=_(", ").join(folder.name for folder in folders))
    return {"go": studio.url("runs"), "html": status(text)}


def stop(studio: Studio, asked: Mapping[str, Any]) -> dict[str, str]:
    """Stop a job: a running one saves its work, a waiting one does not start. Raises UserError."""
    job = studio.jobs.get(str(asked.get("job")))
    if job.state not in ALIVE:
        return {"html": status(_("That job is over."))}
    job.stop()
    return {"html": status(state_name(job, job.state) if job.begun is None else _("stopping after this step …"))}


ACTIONS = {
    "list": listed,
    "jobs": working,
    "compare": compare,
    "resume": resume,
    "elsewhere": export_elsewhere,
    "rename": rename,
    "question": ask_to_delete,
    "delete": delete,
    "stop": stop,
}


def document(studio: Studio, query: Mapping[str, str]) -> Response:
    """Return a run, a comparison or a verdict as a file. Raises UserError."""
    from souron.studio.files import drawing

    kind = query.get("kind", "")
    if kind not in DOCUMENTS:
        raise UserError(
            "option", _("there is no document of the kind {kind}").format(kind=kind[:40]), expected=", ".join(DOCUMENTS)
        )
    if compared := several(query, "compare"):
        sheet = export.of_pair(verdict_view.verdict(studio, compared))
    else:
        sheet = export.of_folder(run_list.find(studio.project, query.get("run", "")))
    with drawing:
        made = {
            "csv": lambda: export.as_csv(sheet),
            "docx": lambda: export.as_docx(sheet),
            "pdf": lambda: export.as_figure(sheet, "pdf"),
            "png": lambda: export.as_figure(sheet, "png"),
        }[kind]()
    name = quote(f"{sheet.name}.{kind}".encode("utf-8", "replace"))
    headers = {**ATTACHED, "Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return Response(made, media_type=DOCUMENTS[kind][1], headers=headers)


VIEWS = {"document": document}


# jobs


def jobs(studio: Studio) -> Markup:
    """Return what waits and runs, and a link to the queue, which has all jobs."""
    shown = [(job, job.state) for job in studio.jobs.all() if not job.estimates and job.state in ALIVE]
    link = Markup('<p><a href="{}">{}</a></p>').format(studio.url("queue"), _("All jobs"))
    mark = " ".join(f"{job.id}:{state}" for job, state in shown)
    rows = Markup("").join(job_row(studio, job, state) for job, state in shown[:MOST_JOBS])
    nothing = Markup("<p>{}</p>").format(_("There are no jobs."))
    work = Markup('<ul class="jobs">{}</ul>').format(rows) if shown else nothing
    return Markup('<section id="jobs" data-mark="{}"{}><h2>{}</h2>{}{}</section>').format(
        mark, Markup(" data-alive") if shown else "", _("Jobs"), work, link
    )


def job_row(studio: Studio, job: Job, state: str) -> Markup:
    return Markup(
        "<li><span><strong>{state}</strong> {name} <small>{when}</small></span> {link}"
        '<button type="button" data-do="stop" data-job="{id}" aria-label="{text}: {name}">{text}</button></li>'
    ).format(
        state=state_name(job, state),
        name=called(job),
        when=moment(job.made),
        link=job_link(studio, job),
        id=job.id,
        text=_("Stop, keep the work"),
    )


def job_link(studio: Studio, job: Job) -> Markup | str:
    address = job_view.address(studio, job)
    if not address:
        return ""
    return Markup('<a href="{}" aria-label="{}: {}">{}</a>').format(address, _("Look"), called(job), _("Look"))


def called(job: Job) -> str:
    return naming.job(job.words, job.meant)
