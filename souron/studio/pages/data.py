"""Data: upload a folder, view it, check it, and continue to training.

Uploads are unpacked into a folder of their own (``uploads``). Viewing and checking run the command
``souron data`` that the page shows, and the pages it writes are shown here.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from souron.data import display_names, load
from souron.studio import tables
from souron.studio.data_view import MOST_NAMED, answered, outcome, subject
from souron.studio.forms import command_form, controls, own_data
from souron.studio.forms.own_data import place
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.panel import Panel
from souron.studio.runs import trash
from souron.studio.security import uploads as studio_uploads
from souron.studio.security.paths import folder_size
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, command, here, same_thing, status, table, trouble, words
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Data")
PLACE = "data"
DEFAULT = "digits"
PYTHON = {"imgsz": "side"}
READING = ("imgsz", *command_form.READING)


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    job = studio.find(query.get("job", ""))
    job = job if job is not None and PANEL.belongs(job) else None
    data = query.get("data") or (subject(job) if job else "") or DEFAULT
    form = Posted({"data": [data], **{name: [query[name]] for name in READING if name in query}})
    about = _(
        "Images in a folder for each class, or listed in a CSV. They are copied to this "
        "computer's own folder of runs, and go nowhere else."
    )
    return Markup("{}{}{}").format(
        controls.page_head(_("Data"), about),
        controls.columns(choosing(studio, form), PANEL.html(studio, job.id if job else latest(studio, data))),
        uploads(studio),
    )


def choosing(studio: Studio, form: Posted, came: Markup | str = "") -> Markup:
    """Return the place for files, the data that is chosen and how it is read, and what is done with it."""
    known = command_form.options_of("data")
    reading = Markup("").join(known[name].html(form[name]) for name in READING)
    sending = {"id": "send", "hx_trigger": "change", "hx_include": "#form", "hx_indicator": "#coming"}
    place = controls.labelled(_("a zip of a folder, or images and tables"), controls.files("files", (), many=True))
    coming = Markup('<p role="status" class="faint htmx-indicator" id="coming">{}</p>').format(_("reading …"))
    content = Markup("{}{}").format(
        own_data.field(
            studio,
            chosen(form),
            _("a data set's name, or the path of a folder or CSV on this computer"),
            id="data",
            hx_post=controls.part(studio, "data", "pick"),
            hx_include="#form",
            hx_target="#choosing",
            hx_swap="outerHTML",
        ),
        controls.folded(_("How it is read"), reading, opened=any(form[name] for name in READING)),
    )
    return Markup('<div id="choosing">{}{}{}{}{}</div>').format(
        controls.form(studio, "data", "bring", place, "#choosing", hx_swap="outerHTML", **sending),
        coming,
        came,
        controls.form(studio, "data", "look", content),
        controls.follows(studio, "data", "doing", "doing", doing(studio, form)),
    )


def doing(studio: Studio, form: Posted) -> Markup:
    """Return what the chosen data is, and the buttons; only folders and tables are checked."""
    files = chosen(form) not in load.names()

    def button(name: str, label: str) -> Markup:
        send: dict[str, Any] = {"hx_post": controls.part(studio, "data", name), "hx_include": "#form, #out"}
        send |= {"hx_target": "#job", "hx_swap": "outerMorph", "hx_sync": "#job:drop"}
        return controls.press(label, disabled=not files, **send)

    out = controls.labelled(
        _("folder for the anonymous copy"),
        controls.text("out", placeholder=_("a new one here"), id="out"),
        _("DICOM files without identifying data"),
    )
    clean = button("clean", _("Check, and write a table without broken files and copies"))
    return Markup('{}<p class="actions">{}{}</p>{}{}').format(
        told(studio, chosen(form)),
        controls.press(_("Look"), first=True, form="form"),
        button("check", _("Check")),
        controls.folded(_("Clean it, or anonymise it"), clean + out + button("anonymise", _("Anonymise a copy"))),
        shown(studio, form),
    )


def chosen(form: Posted) -> str:
    return controls.chosen(form, "data").strip()


def pick(studio: Studio, form: Posted) -> Markup:
    """Return the form for what was chosen from the list, whatever was typed before."""
    return choosing(studio, Posted({**form.values, "data-other": [""]}))


def bring(studio: Studio, form: Posted) -> Markup:
    """Unpack the files of a form, and return the form with them as its data. Raises UserError."""
    data, came = take(studio, form.paths("files"))
    if data:
        form = Posted({**form.values, "data": [data], "data-other": [""]})
    return choosing(studio, form, came) + uploads(studio, hx_swap_oob="true")


def told(studio: Studio, name: str) -> Markup:
    """Describe the chosen data, or say that it is not there."""
    if entry := load.names().get(name):
        lines: list[str] = [_("{count} cases; {licence}").format(count=units.whole(entry.cases), licence=entry.licence)]
        if not entry.where():
            link = Markup('<a href="{}">{}</a>').format(studio.url("machine"), _("fetch it on the page Machine"))
            lines.append(Markup("{} {}").format(_("It is not on this computer yet:"), link))
    else:
        try:
            path = Path(studio.roots.data(name))
        except UserError as error:
            return refused(error)
        there = path.exists()
        brought = path.is_relative_to(place(studio).resolve())
        shown = display_names.called(str(path)) if brought else str(path)
        lines = [shown if there else _("There is no {path}").format(path=path)]
    told = Markup("").join(Markup("<p>{}</p>").format(line) for line in lines)
    return Markup('<div role="status" class="faint">{}{}</div>').format(told, here(studio.url("data", data=name)))


def refused(error: UserError) -> Markup:
    """Return a UserError at its position on the page, announced to screen readers."""
    told = trouble(error.code, error.found, error.expected, error.fix)
    return Markup('<div role="alert">{}</div>').format(told)


def said(studio: Studio, text: str) -> str:
    """Return the data as a command names it. Raises UserError for a path outside of the roots."""
    found = studio.roots.data(text)
    return found if found in load.names() else studio.roots.spell(Path(found))


def path_of(studio: Studio, text: str) -> str:
    """Return a folder or table like ``said``. Raises UserError for the name of a data set."""
    name = said(studio, text)
    if name in load.names():
        raise UserError(
            "data",
            _("{name} is a known data set; only folders and tables are checked").format(name=name),
            expected=_("a folder with a sub-folder for each class, or a CSV"),
        )
    return name


def read(names: Sequence[str], form: Posted) -> dict[str, Any]:
    """Return the options for reading the data. Raises UserError."""
    known = command_form.options_of("data")
    return command_form.values([known[name] for name in names], form)


def look_words(studio: Studio, form: Posted) -> list[str]:
    asked = read(READING, form)
    return words("data", [said(studio, chosen(form))], asked | studio.project_option())


def check_words(studio: Studio, form: Posted, **more: Any) -> list[str]:
    asked = read(command_form.READING, form)
    return words("data", ["check", path_of(studio, chosen(form))], asked | more | studio.project_option())


def clean_words(studio: Studio, form: Posted) -> list[str]:
    """Return the command that writes a cleaned table beside the images that it names."""
    path = Path(path_of(studio, chosen(form)))
    folder = path if path.is_dir() else path.parent
    return check_words(studio, form, fix=free(folder, "checked", ".csv"))


def anonymise_words(studio: Studio, form: Posted) -> list[str]:
    path = Path(path_of(studio, chosen(form)))
    folder = path if path.is_dir() else path.parent
    if out := form["out"].strip():
        target = studio.roots.spell(studio.roots.check(out))
    else:
        name = studio_uploads.safe(f"{folder.absolute().name}-anonymous")
        target = studio.roots.spell(free(place(studio).absolute(), name))
    return ["data", "anonymise", str(folder), target]


def free(folder: Path, name: str, ending: str = "") -> Path:
    """Return an unused path in a folder: ``checked.csv``, ``checked-2.csv``."""
    for number in range(1, 100_000):
        path = folder / (f"{name}{ending}" if number == 1 else f"{name}-{number}{ending}")
        if not path.exists() and not path.is_symlink():
            return path
    raise AssertionError("no free name")


def shown(studio: Studio, form: Posted) -> Markup:
    """Return the equivalent command lines and Python code."""
    try:
        asked = read(READING, form)
        lines = [command(look_words(studio, form))]
        name = said(studio, chosen(form))
        if name not in load.names():
            lines.append(command(check_words(studio, form)))
    except UserError:
        return Markup()
    reading = [f"{PYTHON.get(option, option)}={value!r}" for option, value in asked.items()]
    python = ["from souron.data import load", f"dataset = load.load({', '.join([repr(name), *reading])})"]
    if name not in load.names():
        python[0] = "from souron.data import check, load"
        doctor = [part for part in reading if not part.startswith("side=")]
        python.append(f"check.check({', '.join([repr(name), *doctor])}).findings")
    return same_thing("\n".join(lines), "\n".join(python))


class Looking(Panel):
    """The job of a data page, whose result is shown even if something went wrong."""

    def result(self, studio: Studio, job: Job, state: str) -> Markup:
        came = super().result(studio, job, state)
        found = self.outcome(studio, job) if state == "failed" and answered(job) else ""
        return Markup("{}{}").format(came, found)


def latest(studio: Studio, data: str) -> str:
    """Return the id of the newest job on that data, so that a page opened again finds it."""
    try:
        name = said(studio, data)
    except UserError:
        return ""
    mine = (job for job in studio.jobs.all() if job.words[:1] == ["data"])
    return next((job.id for job in mine if subject(job) == name), "")


def take(studio: Studio, paths: Iterable[str]) -> tuple[str, Markup]:
    """Unpack an upload; return the data as a command names it, and the files left out.

    For a table of predictions these are "" and the way to the verdict. Raises UserError.
    """
    files = [Path(path) for path in paths]
    if len(files) == 1 and tables.is_table(files[0]) and tables.holds_predictions(files[0]):
        return "", tables.way(studio, files[0])[1]
    done = studio_uploads.unpack(files, place(studio))
    data = studio.roots.spell(done.folder.absolute())
    names = [
        Markup("<li>{}: {}</li>").format(_(studio_uploads.LEFT_OUT[why]), ", ".join(some[:MOST_NAMED]))
        for why, some in done.skipped.items()
    ]
    left = Markup("<details><summary>{}</summary><ul>{}</ul></details>").format(
        _("what was left out"), Markup("").join(names)
    )
    return data, Markup("{}{}").format(status(f"{done.folder.name}: {done}"), left if names else "")


def uploads(studio: Studio, happened: Markup | str = "", **more: Any) -> Markup:
    """Return earlier uploads, to use again or remove."""
    rows = [
        (
            Markup('<a href="{}">{}</a>').format(
                studio.url("data", data=studio.roots.spell(path.absolute())), path.name
            ),
            size := units.size(folder_size(path)),
            removing(studio, path.name, size),
        )
        for path in own_data.uploads(studio)
    ]
    heads = (_("name"), _("size"), Markup('<span class="unseen">{}</span>').format(_("Remove …")))
    nothing = Markup("<p>{}</p>").format(_("Nothing was brought yet."))
    return Markup("<section{}><h2>{}</h2>{}{}</section>").format(
        controls.attributes({"id": "uploads", **more}),
        _("Brought earlier"),
        happened,
        table(heads, rows, _("newest first")) if rows else nothing,
    )


def removing(studio: Studio, name: str, size: str) -> Markup:
    """Return the button that removes an upload, after a question."""
    address = f"{controls.part(studio, 'data', 'remove')}?{urlencode({'name': name})}"
    yes = controls.press(_("Delete for good"), hx_post=address, hx_target="#uploads", hx_swap="outerHTML")
    question = _("Delete the upload {name} ({size}) for good?").format(name=name, size=size)
    return controls.confirmed(_("Remove …"), question, yes)


def remove(studio: Studio, form: Posted) -> Markup:
    """Delete an upload, and return what is left. Raises UserError."""
    folder = named(studio, form["name"])
    with studio.jobs.changing():
        trash.refuse_used(studio.jobs, folder)
        shutil.rmtree(folder)
    return uploads(studio, status(_("The upload {name} is deleted.").format(name=folder.name)))


def named(studio: Studio, name: str) -> Path:
    """Return the folder of an upload. Raises UserError where it was removed meanwhile."""
    for path in own_data.uploads(studio):
        if path.name == name:
            return path
    raise UserError(
        "missing",
        _("there is no upload {name}").format(name=name[:200]),
        expected=_("an upload that is still there"),
        exit=3,
    )


def starting(line: Callable[[Studio, Posted], list[str]]) -> Callable[[Studio, Posted], Markup]:
    """Return the part of a page that starts a job with the words of ``line``."""

    def start(studio: Studio, form: Posted) -> Markup:
        return PANEL.start(studio, line(studio, form), queued=False)

    return start


PANEL = Looking("data", lambda: ["data"], outcome)
PARTS = {
    "bring": bring,
    "pick": pick,
    "doing": doing,
    "look": starting(look_words),
    "check": starting(check_words),
    "clean": starting(clean_words),
    "anonymise": starting(anonymise_words),
    "remove": remove,
    **PANEL.parts(),
}
