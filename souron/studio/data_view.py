"""What ``souron data`` came to, as the page of data shows it: looked at, checked, anonymised.

The command writes a page of its own, which is shown without the right to run scripts. Names of
classes and files are text of whoever made the data; nothing of it is taken for HTML.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from markupsafe import Markup

from souron.data import called
from souron.studio import forms
from souron.studio.jobs import Job
from souron.studio.shared import Studio, framed, table
from souron.utils import units
from souron.utils.messages import _

MOST_NAMED = 50  # files in one list


def answered(job: Job) -> bool:
    """Did the command say what it found?"""
    return bool({"findings", "cases", "files"} & (job.result or {}).keys())


def outcome(studio: Studio, job: Job) -> str:
    verb = job.words[1] if len(job.words) > 1 else ""
    shows = {"check": checked, "anonymise": anonymised}.get(verb, looked)
    return shows(studio, job, job.result or {})


def subject(job: Job) -> str:
    """The data that a job is about."""
    names = [word for word in job.words[1:] if word not in ("check", "anonymise")]
    return names[0] if names else ""


def title(job: Job) -> str:
    """The data's name without its folder."""
    return called.called(subject(job))


def looked(studio: Studio, job: Job, result: Mapping[str, Any]) -> str:
    """Where to go from here, what identifies, and the page that the command wrote."""
    return Markup("<h2>{}</h2>{}{}{}").format(
        _("What is in {data}").format(data=title(job)),
        onward(studio, job),
        identifying(result.get("identifying") or {}),
        written_page(studio, job, _("Data page of {data}").format(data=title(job))),
    )


def identifying(held: Mapping[str, int]) -> Markup:
    """Which attributes of DICOM files say who somebody is; never what they say."""
    if not held:
        return Markup()
    rows = [(keyword, units.whole(files)) for keyword, files in held.items()]
    return Markup('<section class="trouble"><h3>{}</h3><p>{}</p>{}</section>').format(
        _("These files say who somebody is"),
        _("Anonymise a copy, and use that."),
        table((_("attribute"), _("files")), rows, _("attributes of DICOM that identify")),
    )


def files_left_out(skipped: Sequence[Mapping[str, Any]]) -> Markup:
    """Which files cannot be used, and why."""
    if not skipped:
        return Markup()
    rows = [(each["file"], each["code"], each["reason"]) for each in skipped[:MOST_NAMED]]
    text = _("Files that could not be used: {count}").format(count=units.whole(len(skipped)))
    return Markup("<details><summary>{}</summary>{}</details>").format(
        text, table((_("file"), _("code"), _("why")), rows, text)
    )


def onward(studio: Studio, job: Job) -> Markup:
    """Train and compare on what was looked at, or on what is left of it, read in the same way."""
    data = written(job) or subject(job)
    options = [word.split("=", 1) for word in job.words if "=" in word]
    reading = {name: value for name, value in options if name in forms.READING}
    wishes = [("train", _("Train on it"), "first"), ("compare", _("Compare on it"), "")]
    links = [
        Markup('<a class="{}" href="{}">{}</a>').format(
            kind, studio.url(page, data=data, **reading), text
        )
        for page, text, kind in wishes
    ]
    return Markup('<p class="actions">{}</p>').format(Markup("").join(links))


def written_page(studio: Studio, job: Job, title: str) -> Markup:
    """The page that the command wrote, anew for each job."""
    address = studio.address(Path(str((job.result or {}).get("page") or "")))
    if not address:
        return Markup()
    return framed(f"{address}?job={job.id}", title, _("The page alone"))


def checked(studio: Studio, job: Job, result: Mapping[str, Any]) -> str:
    """The doctor's headline, the cleaned table, and the page with the findings."""
    from souron.report import data_check  # with all that draws; the studio starts without it

    severities = [str(finding["severity"]) for finding in result.get("findings", ())]
    return Markup("<h2>{}</h2><p><strong>{}</strong></p>{}{}{}").format(
        _("Doctor of data: {name}").format(name=title(job)),
        data_check.headline(severities),
        cleaned(studio, job),
        onward(studio, job),
        written_page(studio, job, _("The doctor's page of {data}").format(data=title(job))),
    )


def written(job: Job) -> str:
    """The table that the doctor wrote, where it was asked for one."""
    path = next((word[4:] for word in job.words if word.startswith("fix=")), "")
    return path if path and Path(path).is_file() else ""


def cleaned(studio: Studio, job: Job) -> Markup:
    path = written(job)
    if not path:
        return Markup()
    return Markup('<p>{} <a href="{}">{}</a></p>').format(
        _("What is left is called {name}.").format(name=called.called(path)),
        studio.url("data", data=path),
        _("Look at it"),
    )


def anonymised(studio: Studio, job: Job, result: Mapping[str, Any]) -> str:
    """What was copied, what was taken out, and what may still tell."""
    from souron.data import deidentify  # which needs torch

    out, burned_in = str(result.get("out") or ""), result.get("burned_in") or {}
    facts = [
        (_("written"), _("{count} files, called {name}").format(
            count=units.whole(result.get("files", 0)), name=called.called(out))),
        (_("removed"), deidentify.counted(result.get("removed") or {})),
        (_("left out"), _("{count} files that are not DICOM").format(
            count=units.whole(result["left_out"])) if result.get("left_out") else ""),
        (_("folders"), ", ".join(map(str, result.get("folders") or []))),
    ]  # fmt: skip
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
