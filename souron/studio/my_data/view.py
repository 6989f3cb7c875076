"""HTML of one data set on the page "My data", section by section."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from souron import registry
from souron.data.corrections import Correction
from souron.data.quality import warnings as data_warnings
from souron.studio.jobs import job_view
from souron.studio.jobs.job_queue import ALIVE, Job
from souron.studio.my_data.data_set import COPIES, LABELS, LEAKS, Finding, OwnDataSet
from souron.studio.runs.run_list import Run
from souron.studio.shared import PAGES, command, remarks, same_thing, table
from souron.utils import units
from souron.utils.messages import N_, _

MOST_FILES = 20  # named of a finding without images
MOST_FAMILIES = 12  # of a finding, shown at once
MOST_TOGETHER = 6  # images of a family
MOST_RUNS = 20
MOST_CORRECTIONS = 50
PICTURES = 16  # of the data, at the top
SHARES = ("accuracy", "balanced accuracy")  # measures that are shares of cases
KINDS = {
    "leave out": N_("left out: {files}"),
    "label": N_("now {value}: {files}"),
    "group": N_("now of {value}: {files}"),
    "split": N_("the parts train, val and test are drawn anew"),
    "different": N_("no copies of each other: {files}"),
}


def sections(own: OwnDataSet) -> dict[str, Markup]:
    """Return the HTML of each section by its id, in the page's order."""
    return {
        "next": next_step(own),
        "files": overview(own),
        "doctor": doctor(own),
        "first": first_training(own),
        "outcome": outcome(own),
    }


def busy(own: OwnDataSet) -> bool:
    """Return whether something is being computed for this data."""
    return bool(own.jobs) or (own.checking is not None and own.checking.state in ALIVE)


def button(act: str, text: str, first: bool = False, **asked: Any) -> Markup:
    """Return a button that calls an action of the page with ``asked``."""
    return Markup('<button type="button" class="{}" data-act="{}" data-asked="{}">{}</button>').format(
        "first" if first else "", act, json.dumps(asked), text
    )


def next_step(own: OwnDataSet) -> Markup:
    """Return the one thing to do next, with its button."""
    text, way = _next(own)
    return Markup('<div class="step"><p><strong>{}</strong> {}</p><p class="actions">{}</p></div>').format(
        _("Next:"), text, way
    )


def _next(own: OwnDataSet) -> tuple[str, Markup]:
    job = own.checking
    if job is None:
        return _("Let the files be checked."), button("check", _("Check the files"), first=True)
    if job.state in ALIVE:
        return _("The files are being checked."), Markup()
    if not own.result:
        return _("The check did not end well."), button("check", _("Check again"), first=True)
    if own.jobs:
        return _("A training is running. You may leave this page; it goes on."), Markup()
    errors = [one for one in own.findings if one.severity == "error" and one.open]
    if errors:
        text = _("Mend what would distort your result: {count}.").format(count=len(errors))
        return text, Markup('<a class="first" href="#doctor">{}</a>').format(_("What the check found"))
    if own.failed is not None:
        return _("The last training failed: see why."), Markup('<a class="first" href="#first">{}</a>').format(
            _("3. Train and compare")
        )
    if own.advice is None:
        return _("These files need another page."), Markup('<a class="first" href="{}">{}</a>').format(
            own.studio.url("data", data=own.data), _("Look at the files")
        )
    finished = [run for run in own.runs if run.state == "finished"]
    if not finished:
        return _("Train a first system."), button("train", _("Train"), first=True)
    if not any(run.compares for run in finished) and own.advice.comparison(own.used):
        return _("Find out whether it is really better than a simple one."), button("compare", _("Compare"), first=True)
    best = next((run for run in finished if not run.compares), None)
    if best is None:
        return _("Train the better one, to use it."), button("train", _("Train"), first=True)
    if warned := [one for one in own.findings if one.severity != "hint" and not one.mended and not one.answer]:
        text = _("Mend or answer the warnings, which stand beside every result: {count}.").format(count=len(warned))
        return text, Markup('<a class="first" href="#doctor">{}</a>').format(_("What the check found"))
    return _("Use it on new files."), Markup('<a class="first" href="{}">{}</a>').format(
        own.studio.url("use", run=f"{best.task}/{best.name}"), _("Use it")
    )


def overview(own: OwnDataSet) -> Markup:
    """Return the number of cases, classes and patients, and some of the images."""
    result = own.result
    links = [(own.studio.url("data", data=own.data), _("Look at all files"))]
    if "annotate" in PAGES:
        links.append((own.studio.url("annotate", data=own.data), _("Draw boxes and outlines")))
    ways = Markup("").join(Markup('<a href="{}">{}</a>').format(*link) for link in links)
    if not result:
        return Markup('<h2>{}</h2><p>{}</p><p class="actions">{}</p>').format(_("1. The files"), own.folder, ways)
    counts = [_("{count} files, {readable} readable").format(count=result["files"], readable=result["readable"])]
    labels = result.get("labels") or {}
    if labels:
        counts.append(", ".join(f"{name} {units.whole(count)}" for name, count in labels.items()))
    groups = int(result.get("groups") or 0)
    counts.append(
        _("{count} patients or groups").format(count=units.whole(groups))
        if groups
        else _("nothing says which files are of one patient")
    )
    step = max(1, len(own.cases) // PICTURES)
    shown = Markup("").join(thumbnail(own, row["filename"], row["label"]) for row in own.cases[::step][:PICTURES])
    return Markup(
        '<h2>{}</h2><p>{}</p><ul class="thumbnails">{}</ul><p class="actions">{}</p><p class="faint">{}</p>'
    ).format(_("1. The files"), " · ".join(counts), shown, ways, own.folder)


def thumbnail(own: OwnDataSet, file: str, text: str = "") -> Markup:
    address = f"/show/{own.studio.language}/my_data/image?{urlencode({'data': own.data, 'file': file})}"
    return Markup('<li><img loading="lazy" src="{}" alt="{}" title="{}"><small>{}</small></li>').format(
        address, file, file, text
    )


def doctor(own: OwnDataSet) -> Markup:
    """Return the findings of the check with what mends each, and the corrections that were made."""
    job = own.checking
    title = Markup("<h2>{}</h2>").format(_("2. Data check"))
    if job is None:
        return title + Markup("<p>{}</p>").format(
            _("Looks for copies, wrong labels, patients in two parts, and properties that give the class away.")
        )
    if job.state in ALIVE:
        return title + job_view.progress(job, job.state)
    if not own.result:
        return title + job_view.failure(job, "failed")
    listed = Markup("").join(finding(own, one) for one in own.findings)
    healthy = _("No problem was found that would distort a result.")
    return Markup('{}{}{}<p class="actions">{}</p>').format(
        title,
        Markup('<ul class="findings">{}</ul>').format(listed) if listed else Markup("<p>{}</p>").format(healthy),
        corrections(own),
        button("check", _("Check again")),
    )


def finding(own: OwnDataSet, one: Finding) -> Markup:
    """Return a finding: what was found, what to do, its files, and buttons that mend it."""
    state = _("mended") if one.mended else _("answered") if one.answer else units.severity(one.severity)
    body = Markup("<p>{}</p>{}").format(one.fix, _answer(one))
    if not one.families and one.files:
        more = " …" if len(one.files) > MOST_FILES else ""
        body += Markup('<p class="faint">{}{}</p>').format(", ".join(one.files[:MOST_FILES]), more)
    if own.cases and not one.mended:
        body += _whole(one)
        body += Markup('<ul class="families">{}</ul>').format(
            Markup("").join(_family(own, one, place) for place in one.open[:MOST_FAMILIES])
        )
        if len(one.open) > MOST_FAMILIES:
            body += Markup('<p class="faint">{}</p>').format(
                _("and {count} more, when these are answered").format(count=len(one.open) - MOST_FAMILIES)
            )
    return Markup(
        '<li class="{}"><details data-key="finding-{}{}"{}><summary><strong class="{}">{}</strong> {}</summary>{}'
        "</details></li>"
    ).format(
        "mended" if one.mended or one.answer else "",
        one.number,
        "-mended" if one.mended else "",
        Markup(" open") if one.severity == "error" and one.open else "",
        one.severity if not (one.mended or one.answer) else "",
        state,
        one.message,
        body,
    )


def _answer(one: Finding) -> Markup:
    """Return the answer to a warning, or the place to write one; nothing for a hint, and where it is mended."""
    if one.severity == "hint" or one.mended:
        return Markup()
    if one.answer:
        return Markup('<p>{}</p><p class="actions">{}</p>').format(
            data_warnings.answered(one.answer), button("answer", _("Take it back"), finding=one.number)
        )
    return Markup(
        '<form data-act="answer" data-asked="{}"><label>{}<input name="value" required maxlength="{}" '
        'autocomplete="off"></label><button>{}</button></form>'
    ).format(
        json.dumps({"finding": one.number}),
        _("why it does not spoil the results; the answer stands beside them"),
        data_warnings.LONGEST,
        _("Answer"),
    )


def _whole(one: Finding) -> Markup:
    """Return the button that answers a whole finding at once."""
    if one.code in COPIES:
        found = button("correct", _("Keep one of each"), first=not one.question, finding=one.number, way="one")
    elif one.code in LEAKS:
        found = button("correct", _("Draw the parts anew"), first=True, finding=one.number, way="split")
    elif one.families and one.code not in ("near conflict", "patient in classes", "patient spellings", *LABELS):
        found = button("correct", _("Leave all of them out"), finding=one.number, way="out")
    else:
        return Markup()
    return Markup('<p class="actions">{}</p>').format(found)


def _family(own: OwnDataSet, one: Finding, place: int) -> Markup:
    """Return files that belong together, and what may be decided about them."""
    files = one.families[place]
    known = {row["filename"]: row for row in own.cases}
    shown = Markup("").join(
        thumbnail(own, file, f"{known.get(file, {}).get('label', '')} {known.get(file, {}).get('group', '')}")
        for file in files[:MOST_TOGETHER]
    )
    ways = []
    asked: dict[str, Any] = {"finding": one.number, "family": place}
    if one.code in LABELS:
        labels = list(dict.fromkeys([*one.suggested[place : place + 1], *own.labels]))
        if one.code == "label conflict":
            labels = list(dict.fromkeys(known[file]["label"] for file in files if file in known))
        ways += [button("correct", label, **asked, way="label", value=label) for label in labels[:MOST_FAMILIES]]
        ways.append(button("correct", _("Leave out"), **asked, way="out"))
        if one.code == "wrong label":
            ways.insert(0, button("correct", _("It is right"), **asked, way="right"))
    elif one.code == "patient spellings":
        ways.append(button("correct", _("These are one patient"), **asked, way="patient"))
    elif one.question:
        ways.append(button("correct", _("Different"), **asked, way="different"))
        ways.append(button("correct", _("A copy: keep the first"), **asked, way="one"))
    elif one.code not in (*LEAKS, "near conflict", "patient in classes"):
        ways.append(button("correct", _("Leave out"), **asked, way="out"))
    return Markup('<li><ul class="thumbnails">{}</ul><p class="actions">{}</p></li>').format(
        shown, Markup("").join(ways)
    )


def corrections(own: OwnDataSet) -> Markup:
    """Return what was corrected, newest first, each with a button that takes it back."""
    every = list(enumerate(own.corrections))[::-1]
    if not every:
        return Markup()
    items = Markup("").join(
        Markup("<li>{} {}</li>").format(_described(own, one), button("undo", _("Undo"), number=number))
        for number, one in every[:MOST_CORRECTIONS]
    )
    place = own.corrected
    told = _("Your files are unchanged. Training reads the table {name} beside them, which holds these corrections.")
    return Markup('<h3>{}</h3><p>{}</p><ul class="corrections">{}</ul>').format(
        _("Corrected: {count}").format(count=len(every)), told.format(name=place.name if place else "-"), items
    )


def _described(own: OwnDataSet, one: Correction) -> str:
    files = ", ".join(one.files[:3]) + (" …" if len(one.files) > 3 else "")
    labels = {row["filename"]: row["label"] for row in own.cases} if one.kind == "label" else {}
    if labels and all(labels.get(file) == one.value for file in one.files):
        return _("right as it is: {files}").format(files=files)
    return _(KINDS[one.kind]).format(files=files, value=one.value)


def first_training(own: OwnDataSet) -> Markup:
    """Return the advice in a sentence, what runs, and the buttons that start it."""
    title = Markup("<h2>{}</h2>").format(_("3. Train and compare"))
    best = own.advice
    running = Markup("").join(_running(job) for job in own.jobs) + _failed(own.failed)
    if best is None:
        text = _("The advice comes after the check.") if not own.result else _("No system learns from such files yet.")
        return title + Markup("<p>{}</p>").format(text) + running
    lines = [command(best.command(own.used))]
    ways = [button("train", _("Train"), first=not own.runs)]
    if best.comparison(own.used):
        lines.append(command(best.comparison(own.used)))
        ways.append(button("compare", _("Compare {systems}").format(systems=_(", ").join(best.compared))))
    further = Markup('<a href="{}">{}</a>').format(
        own.studio.url("train", data=own.used, system=best.system), _("All options")
    )
    return Markup('{}<p>{}</p><p class="actions">{}{}</p>{}{}').format(
        title,
        best.reason,
        Markup("").join(ways) if not own.jobs else "",
        further,
        running,
        same_thing("\n".join(lines), _python(best.command(own.used))),
    )


def _python(line: Sequence[str]) -> str:
    _verb, system, *options = line
    pairs = (word.split("=", 1) for word in options)
    given = ", ".join(f"{name}={value.capitalize() if value == 'true' else repr(value)}" for name, value in pairs)
    return f"import souron\nrun = souron.train({system!r}, {given})"


def _running(job: Job) -> Markup:
    return Markup('{}{}<p class="actions">{}</p>').format(
        job_view.progress(job, job.state), job_view.seen(job), button("stop", _("Stop, keep the work"), job=job.id)
    )


def _failed(job: Job | None) -> Markup:
    """Return why a training failed and what mends it; nothing for None."""
    return Markup() if job is None else Markup(job_view.progress(job, job.state) + job_view.failure(job, job.state))


def outcome(own: OwnDataSet) -> Markup:
    """Return the verdict as a sentence that can be quoted, and the runs as a table."""
    title = Markup("<h2>{}</h2>").format(_("4. The result"))
    if not own.runs:
        return title + Markup('<p class="faint">{}</p>').format(_("Nothing was trained on these files yet."))
    rows = [row(own, run) for run in own.runs[:MOST_RUNS]]
    heads = (_("name"), _("system"), _("result on unseen cases"), _("training"), "")
    return Markup("{}{}{}").format(title, verdict(own), table(heads, rows, _("newest first")))


def row(own: OwnDataSet, run: Run) -> tuple[Any, ...]:
    place = f"{run.task}/{run.name}"
    report = own.studio.report(run.folder)
    ways = [(own.studio.url("runs", run=place), _("All about it"))]
    if report:
        ways.insert(0, (report, _("Report")))
    if run.state == "finished" and not run.compares:
        ways.append((own.studio.url("use", run=place), _("Use it")))
    links = Markup(" · ").join(Markup('<a href="{}">{}</a>').format(*way) for way in ways)
    told = {"finished": str(run.result or ""), "unfinished": _("unfinished"), "damaged": run.why}[run.state]
    seconds = units.seconds(run.seconds) if run.seconds is not None else ""
    return run.name, _(", ").join(run.systems), told, seconds, links


def verdict(own: OwnDataSet) -> Markup:
    """Return the sentence of the newest comparison, how many of 100 new cases would be right, and the warnings."""
    finished = [run for run in own.runs if run.state == "finished"]
    texts = [run.sentence for run in finished if run.compares][:1]
    texts += [of_hundred(run) for run in finished if not run.compares][:1]
    lines = Markup("").join(Markup("<p>{}</p>").format(text) for text in texts if text)
    warned = dict.fromkeys(text for run in finished for text in run.warnings)
    return Markup('<blockquote class="verdict">{}</blockquote>{}').format(lines, remarks(warned)) if lines else Markup()


def of_hundred(run: Run) -> str:
    """Say a share of cases as a number of 100; "" for other measures.

    The interval is part of the sentence, because a share on few cases is not one number.
    """
    found = run.result
    if found is None or found.measure not in SHARES:
        return ""
    return _(
        "{system}: of 100 new cases like these, about {value} would be named correctly; with what is known, it may "
        "be {low} to {high} ({measure}, 95 % interval)."
    ).format(
        system=_(", ").join(run.systems),
        value=round(100 * found.value),
        low=round(100 * found.low),
        high=round(100 * found.high),
        measure=registry.metric(found.measure).title,
    )


def card(own: OwnDataSet, size: str) -> Markup:
    """Return a data set as one item of the list of all."""
    latest = next((str(run.result or "") for run in own.runs if run.state == "finished"), "")
    count = len(own.runs)
    told = [size, _("{count} runs").format(count=count) if count else _("nothing trained yet"), latest]
    return Markup('<li><a href="{}"><strong>{}</strong><span>{}</span></a></li>').format(
        own.studio.url("my_data", data=own.data), own.name, " · ".join(filter(None, told))
    )


def as_json(own: OwnDataSet) -> Mapping[str, Any]:
    """Return what the page's script draws: the sections, and whether to ask again soon."""
    return {"sections": {name: str(html) for name, html in sections(own).items()}, "busy": busy(own)}
