"""What ``souron data`` came to, as the page of data shows it: looked at, checked, anonymised.

Names of classes and files are text of whoever made the data; nothing of it is taken for HTML.
"""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from markupsafe import Markup

from souron.data import deidentify
from souron.studio import forms
from souron.studio.jobs import Job
from souron.studio.shared import Studio, framed, table
from souron.utils import units
from souron.utils.messages import _

MOST_NAMED = 50  # classes, or files of a finding, in one list
SEVERITIES = ("error", "warning", "hint")


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
    return Path(subject(job)).name or subject(job)


def looked(studio: Studio, job: Job, result: Mapping[str, Any]) -> str:
    """Counts, classes, how it would be split, what identifies; the command's page."""
    side, count = result.get("side"), result.get("cases", 0)
    parts, groups = counts(result.get("parts")), result.get("groups")
    facts = [
        (_("cases"), units.whole(count)),
        (_("pictures"), f"{result.get('channels')} × {side} × {side}"),
        (_("parts of its own"), listed_counts(parts) if set(parts) - {"-"} else ""),
        (_("groups, kept together"), units.whole(groups) if groups else ""),
        (_("how it would be split"), split(result.get("split"))),
        (_("licence"), result.get("licence")),
        (_("source"), result.get("source")),
    ]
    classes = counts(result.get("labels"))
    return Markup("<h2>{}</h2>{}{}{}{}{}{}").format(
        _("What is in {data}").format(data=title(job)),
        onward(studio, job),
        table((_("what"), _("value")), [row for row in facts if row[1]], _("this data")),
        identifying(counts(result.get("identifying"))),
        class_table(classes, count),
        files_left_out(result.get("skipped")),
        written_page(studio, job, _("Data page of {data}").format(data=title(job))),
    )


def counts(found: Any) -> dict[str, int]:
    """Names and numbers; nothing of what is neither."""
    pairs = found.items() if isinstance(found, dict) else ()
    return {str(name): n for name, n in pairs if isinstance(n, int)}


def listed_counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {units.whole(count)}" for name, count in found.items())


def split(found: Any) -> str:
    """How many cases a training learns from, is chosen by, and is tested on."""
    if not isinstance(found, dict):
        return ""
    if found.get("refused"):
        return str(found["refused"])
    parts = counts({name: found.get(name) for name in ("train", "val", "test")})
    told = listed_counts(parts)
    if found.get("folds", 1) != 1:
        told = _(
            "few cases: each is tested once in every of {repeats} repeats of a cross-validation "
            "in {folds} folds"
        ).format(repeats=found.get("repeats"), folds=found.get("folds"))
    grouped = found.get("grouped")
    how = _("grouped by: {what}").format(what=grouped) if grouped else _("each case by itself")
    return f"{told}; {how}"


def class_table(classes: Mapping[str, int], count: int) -> Markup:
    largest = sorted(classes.items(), key=lambda item: -item[1])[:MOST_NAMED]
    rows = [
        (name, units.whole(n), units.percent(n / count) if count else "") for name, n in largest
    ]
    told = _("{count} classes").format(count=units.whole(len(classes)))
    if len(largest) < len(classes):
        told = _("the {some} largest of {count} classes").format(
            some=len(largest), count=units.whole(len(classes))
        )
    return table((_("class"), _("cases"), _("share")), rows, told)


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


def files_left_out(found: Any) -> Markup:
    """Which files cannot be used, and why."""
    skipped = [each for each in found or [] if isinstance(each, dict)]
    if not skipped:
        return Markup()
    rows = [
        (each.get("file", ""), each.get("code", ""), each.get("reason", ""))
        for each in skipped[:MOST_NAMED]
    ]
    told = _("Files that could not be used: {count}").format(count=units.whole(len(skipped)))
    return Markup("<details><summary>{}</summary>{}</details>").format(
        told, table((_("file"), _("code"), _("why")), rows, told)
    )


def onward(studio: Studio, job: Job) -> Markup:
    """Train and compare on what was looked at, read in the same way."""
    said = [word.split("=", 1) for word in job.words if "=" in word]
    reading = {name: value for name, value in said if name in forms.READING}
    wishes = [("train", _("Train on it"), "first"), ("compare", _("Compare on it"), "")]
    links = [
        Markup('<a class="{}" href="{}">{}</a>').format(
            kind, studio.url(page, data=subject(job), **reading), text
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
    """The doctor's findings, the gravest first, with what to do."""
    from souron.report import data_check  # with all that draws; the studio starts without it

    found = [each for each in result.get("findings") or [] if isinstance(each, dict)]
    found.sort(key=lambda each: rank(each.get("severity")))
    rows = [
        (
            severity_name(each.get("severity")),
            Markup("{} <small>[{}]</small>{}").format(
                each.get("message", ""), each.get("code", ""), file_list(each.get("files"))
            ),
            each.get("fix", ""),
        )
        for each in found
    ]
    told = _("{files} files, {readable} readable").format(
        files=units.whole(result.get("files", 0)), readable=units.whole(result.get("readable", 0))
    )
    findings = table((_("severity"), _("found"), _("what to do")), rows, told)
    return Markup("<h2>{}</h2><p><strong>{}</strong></p>{}{}{}{}").format(
        _("Doctor of data: {name}").format(name=title(job)),
        data_check.headline(str(each.get("severity")) for each in found),
        cleaned(studio, job),
        findings if rows else Markup("<p>{}</p>").format(told),
        onward(studio, job),
        written_page(studio, job, _("The doctor's page of {data}").format(data=title(job))),
    )


def rank(severity: Any) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def severity_name(severity: Any) -> Markup:
    known = severity if severity in SEVERITIES else ""
    return Markup('<strong class="{}">{}</strong>').format(known, units.severity(severity))


def file_list(files: Any) -> Markup:
    names = [str(name) for name in files or []]
    if not names:
        return Markup()
    lines = Markup("").join(Markup("<li>{}</li>").format(name) for name in names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    rest = Markup("<li>… (+{})</li>").format(more) if more > 0 else ""
    return Markup("<details><summary>{}</summary><ul>{}{}</ul></details>").format(
        _("{count} files").format(count=units.whole(len(names))), lines, rest
    )


def cleaned(studio: Studio, job: Job) -> Markup:
    """The table that the doctor wrote, where it was asked for one."""
    path = next((word[4:] for word in job.words if word.startswith("fix=")), "")
    if not path or not Path(path).is_file():
        return Markup()
    return Markup('<p>{} <a href="{}">{}</a></p>').format(
        _("{path} lists what is left.").format(path=path),
        studio.url("data", data=path),
        _("Use this table"),
    )


def anonymised(studio: Studio, job: Job, result: Mapping[str, Any]) -> str:
    """What was copied, what was taken out, and what may still tell."""
    removed = counts(result.get("removed"))
    burned = counts(result.get("burned_in"))
    out = str(result.get("out") or "")
    facts = [
        (_("written"), _("{count} files in {out}").format(
            count=units.whole(result.get("files", 0)), out=out)),
        (_("removed"), deidentify.counted(removed)),
        (_("left out"), _("{count} files that are not DICOM").format(
            count=units.whole(result["left_out"])) if result.get("left_out") else ""),
        (_("folders"), ", ".join(map(str, result.get("folders") or []))),
    ]  # fmt: skip
    warnings = deidentify.warnings(
        SimpleNamespace(
            said_burned_in=burned.get("said", 0),
            likely_burned_in=burned.get("likely", 0),
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
        files_left_out(result.get("skipped")),
    )
