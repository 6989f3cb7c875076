"""Result of ``souron data`` on the page of data: overview, check or de-identification.

The page that the command writes is shown in a frame without scripts. Names of classes and files
come from the data's author and are never taken for HTML.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from markupsafe import Markup

from souron.data import display_names
from souron.studio.forms import command_form
from souron.studio.jobs.job_queue import Job
from souron.studio.shared import Studio, framed, table
from souron.utils import units
from souron.utils.messages import _

MOST_NAMED = 50  # files in one list


def answered(job: Job) -> bool:
    """Return whether the command printed a result."""
    return bool({"findings", "cases", "files"} & (job.result or {}).keys())


def outcome(studio: Studio, job: Job) -> str:
    verb = job.words[1] if len(job.words) > 1 else ""
    shows = {"check": checked, "anonymise": anonymised}.get(verb, looked)
    return shows(studio, job, job.result or {})


def subject(job: Job) -> str:
    """Return the data of a job as its command names it."""
    names = [word for word in job.words[1:] if word not in ("check", "anonymise")]
    return names[0] if names else ""


def title(job: Job) -> str:
    """Return the data's name without its folder."""
    return display_names.called(subject(job))


def looked(studio: Studio, job: Job, result: Mapping[str, Any]) -> str:
    """Return links to next steps, a warning of identifying attributes, and the command's page."""
    return Markup("<h2>{}</h2>{}{}{}").format(
        _("What is in {data}").format(data=title(job)),
        onward(studio, job),
        identifying(result.get("identifying") or {}),
        written_page(studio, job, _("Data page of {data}").format(data=title(job))),
    )


def identifying(held: Mapping[str, int]) -> Markup:
    """Warn of DICOM attributes that identify a patient; their values are never shown."""
    if not held:
        return Markup()
    rows = [(keyword, units.whole(files)) for keyword, files in held.items()]
    return Markup('<section class="trouble"><h3>{}</h3><p>{}</p>{}</section>').format(
        _("These files contain identifying data"),
        _("Anonymise a copy, and use that."),
        table((_("attribute"), _("files")), rows, _("attributes of DICOM that identify")),
    )


def files_left_out(skipped: Sequence[Mapping[str, Any]]) -> Markup:
    """List the files that cannot be used, with the reasons."""
    if not skipped:
        return Markup()
    rows = [(each["file"], each["code"], each["reason"]) for each in skipped[:MOST_NAMED]]
    text = _("Files that could not be used: {count}").format(count=units.whole(len(skipped)))
    return Markup("<details><summary>{}</summary>{}</details>").format(
        text, table((_("file"), _("code"), _("why")), rows, text)
    )


def onward(studio: Studio, job: Job) -> Markup:
    """Return links to train and compare on the data or its cleaned table."""
    data = written(job) or subject(job)
    options = [word.split("=", 1) for word in job.words if "=" in word]
    reading = {name: value for name, value in options if name in command_form.READING}
    wishes = [("train", _("Train on it"), "first"), ("compare", _("Compare on it"), "")]
    links = [
        Markup('<a class="{}" href="{}">{}</a>').format(kind, studio.url(page, data=data, **reading), text)
        for page, text, kind in wishes
    ]
    return Markup('<p class="actions">{}</p>').format(Markup("").join(links))


def written_page(studio: Studio, job: Job, title: str) -> Markup:
    """Return the page that the command wrote, reloaded for each job."""
    address = studio.address(Path(str((job.result or {}).get("page") or "")))
    if not address:
        return Markup()
    return framed(f"{address}?job={job.id}", title, _("The page alone"))


def checked(studio: Studio, job: Job, result: Mapping[str, Any]) -> str:
    """Return the headline of the data check, the cleaned table, and the page with the findings."""
    from souron.report import data_check  # imports plotting, which the studio starts without

    severities = [str(finding["severity"]) for finding in result.get("findings", ())]
    return Markup("<h2>{}</h2><p><strong>{}</strong></p>{}{}{}").format(
        _("Data check: {name}").format(name=title(job)),
        data_check.headline(severities),
        cleaned(studio, job),
        onward(studio, job),
        written_page(studio, job, _("Data check of {data}").format(data=title(job))),
    )


def written(job: Job) -> str:
    """Return the cleaned table that the data check wrote; "" where none was requested."""
    path = next((word[4:] for word in job.words if word.startswith("fix=")), "")
    return path if path and Path(path).is_file() else ""


def cleaned(studio: Studio, job: Job) -> Markup:
    path = written(job)
    if not path:
        return Markup()
    return Markup('<p>{} <a href="{}">{}</a></p>').format(
        _("What is left is called {name}.").format(name=display_names.called(path)),
        studio.url("data", data=path),
        _("Look at it"),
    )


def anonymised(studio: Studio, job: Job, result: Mapping[str, Any]) -> str:
    """Return the copied files, the removed attributes, and what may still identify a patient."""
    from souron.data import deidentify  # imports torch

    out, burned_in = str(result.get("out") or ""), result.get("burned_in") or {}
    facts = [
        (
            _("written"),
            _("{count} files, called {name}").format(
                count=units.whole(result.get("files", 0)), name=display_names.called(out)
            ),
        ),
        (_("removed"), deidentify.counted(result.get("removed") or {})),
        (
            _("left out"),
            _("{count} files that are not DICOM").format(count=units.whole(result["left_out"]))
            if result.get("left_out")
            else "",
        ),
        (_("folders"), ", ".join(map(str, result.get("folders") or []))),
    ]
    warnings = deidentify.warnings(
        SimpleNamespace(
            said_burned_in=burned_in.get("said", 0),
            likely_burned_in=burned_in.get("likely", 0),
            folders=result.get("folders"),
            files=result.get("files"),
            tables=result.get("tables"),
        )
    )
    link = Markup('<p class="actions"><a class="first" href="{}">{}</a></p>').format(
        studio.url("data", data=out), _("Look at the copy")
    )
    return Markup("<h2>{}</h2>{}{}<ul>{}</ul>{}").format(
        _("The anonymous copy"),
        link if result.get("files") else "",
        table((_("what"), _("value")), [row for row in facts if row[1]], _("this copy")),
        Markup("").join(Markup("<li>{}</li>").format(text) for text in warnings),
        files_left_out(result.get("skipped") or []),
    )
