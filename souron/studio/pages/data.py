"""Data: upload a folder, view it, check it, and continue to training.

Uploads are unpacked into a folder of their own (``uploads``). Viewing and checking run the command
``souron data`` that the page shows, and the pages it writes are shown here.
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.cli import data as cli_data
from souron.data import display_names, load
from souron.studio import tables
from souron.studio.data_view import MOST_NAMED, answered, outcome, subject
from souron.studio.forms import command_form, own_data
from souron.studio.forms.confirm import Confirm
from souron.studio.forms.own_data import place
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.job_view import Watch
from souron.studio.runs import trash
from souron.studio.security import upload_names
from souron.studio.security import uploads as studio_uploads
from souron.studio.security.paths import folder_size
from souron.studio.shared import QUIET, Studio, command, here, same_thing, status, table, trouble, words
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Data")
PLACE = "data"
DEFAULT = "digits"
PYTHON = {"imgsz": "side"}
READING = ("imgsz", *command_form.READING)


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Data"),
            _(
                "Images in a folder for each class, or listed in a CSV. They are copied to this "
                "computer's own folder of runs, and go nowhere else."
            ),
        )
    )
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            form = Form()
        with gr.Column(scale=3, min_width=320):
            watch = Looking(studio, outcome, ("data",))
    uploads = Uploads(studio)
    same = gr.HTML()
    form.connect(studio, watch, uploads, same)


class Form:
    """The data that is chosen or uploaded, how it is read, and what is done with it."""

    def __init__(self) -> None:
        import gradio as gr

        known = command_form.fields(cli_data.data_)
        self.files = gr.File(file_count="multiple", label=_("a zip of a folder, or images and tables"), height=140)
        upload_names.received(self.files, upload_names.places)
        self.came = gr.HTML()
        self.data = gr.Dropdown(
            [],
            value=DEFAULT,
            allow_custom_value=True,
            label=_("data"),
            info=_("a data set's name, or the path of a folder or CSV on this computer"),
        )
        self.about = gr.HTML()
        with gr.Accordion(_("How it is read"), open=False):
            self.reading = [known[name].widget() for name in READING]
        with gr.Row():
            self.look = gr.Button(_("Look"), variant="primary", interactive=False)
            self.check = gr.Button(_("Check"), interactive=False)
        with gr.Accordion(_("Clean it, or anonymise it"), open=False):
            clean = _("Check, and write a table without broken files and copies")
            self.clean = gr.Button(clean, interactive=False)
            self.out = gr.Textbox(
                label=_("folder for the anonymous copy"),
                placeholder=_("a new one here"),
                info=_("DICOM files without identifying data"),
            )
            self.anonymise = gr.Button(_("Anonymise a copy"), interactive=False)
        # disabled until the page has loaded its query
        self.buttons = [self.look, self.check, self.clean, self.anonymise]

    def connect(self, studio: Studio, watch: "Looking", uploads: "Uploads", same: Any) -> None:
        """Connect the fields and buttons with what they change."""
        import gradio as gr

        says, values = studio.says, [self.data, *self.reading]
        for button, line, given in (
            (self.look, look_words, values),
            (self.check, check_words, values),
            (self.clean, clean_words, values),
            (self.anonymise, anonymise_words, [self.data, self.out]),
        ):
            watch.follow(button.click(says(starting(studio, line)), given, watch.job, **QUIET))

        def chosen(*values: Any) -> list[Any]:
            files = str(values[0] or "").strip() not in load.names()
            usable = [gr.update(interactive=one is self.look or files) for one in self.buttons]
            return [told(studio, values[0]), shown(studio, values), *usable]

        def bring(paths: Sequence[str] | None) -> list[Any]:
            try:
                folder, what = take(studio, paths or [])
                data = gr.update(choices=own_data.choices(studio), value=folder) if folder else gr.skip()
            except UserError as error:
                data, what = gr.skip(), refused(error)
            return [None, data, what, *uploads.draw()]

        studio.on_change(values, chosen, values, [self.about, same, *self.buttons])
        brought = [self.files, self.data, self.came, *uploads.parts]
        self.files.upload(says(bring), self.files, brought, show_progress_on=self.came)
        opened = studio.opened(
            lambda query: [
                # without a query the choice stays: files may have been uploaded meanwhile
                gr.update(choices=own_data.choices(studio), **wished(query)),
                *command_form.told(query, READING),
                query.get("job") or latest(studio, query.get("data") or DEFAULT),
                *uploads.draw(),
            ],
            [self.data, *self.reading, watch.job, *uploads.parts],
        )
        watch.follow(opened).then(says(chosen), values, [self.about, same, *self.buttons], **QUIET)


def starting(studio: Studio, line: Callable[..., list[str]]) -> Callable[..., str]:
    """Return a handler that starts a job with the words of ``line``; it returns the job's id."""

    def start(*values: Any) -> str:
        return studio.jobs.start(line(studio, *values), studio.language, queued=False).id

    return start


def wished(query: dict[str, str]) -> dict[str, Any]:
    return {"value": query["data"]} if query.get("data") else {}


def told(studio: Studio, text: str | None) -> Markup:
    """Describe the chosen data, or say that it is not there."""
    name = (text or "").strip()
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


def said(studio: Studio, text: str | None) -> str:
    """Return the data as a command names it. Raises UserError for a path outside of the roots."""
    found = studio.roots.data((text or "").strip())
    return found if found in load.names() else studio.roots.spell(Path(found))


def path_of(studio: Studio, text: str | None) -> str:
    """Return a folder or table like ``said``. Raises UserError for the name of a data set."""
    name = said(studio, text)
    if name in load.names():
        raise UserError(
            "data",
            _("{name} is a known data set; only folders and tables are checked").format(name=name),
            expected=_("a folder with a sub-folder for each class, or a CSV"),
        )
    return name


def read(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """Return the options for reading the data. Raises UserError."""
    known = command_form.fields(cli_data.data_)
    return command_form.chosen([known[name] for name in names], values)


def look_words(studio: Studio, *values: Any) -> list[str]:
    data, *reading = values
    asked = read(READING, reading)
    return words("data", [said(studio, data)], asked | studio.project_option())


def check_words(studio: Studio, *values: Any, **more: Any) -> list[str]:
    data, _side, *reading = values
    asked = read(command_form.READING, reading)
    return words("data", ["check", path_of(studio, data)], asked | more | studio.project_option())


def clean_words(studio: Studio, *values: Any) -> list[str]:
    """Return the command that writes a cleaned table beside the images that it names."""
    path = Path(path_of(studio, values[0]))
    folder = path if path.is_dir() else path.parent
    return check_words(studio, *values, fix=free(folder, "checked", ".csv"))


def anonymise_words(studio: Studio, data: Any, out: Any) -> list[str]:
    path = Path(path_of(studio, data))
    folder = path if path.is_dir() else path.parent
    if (out or "").strip():
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


def shown(studio: Studio, values: Sequence[Any]) -> Markup:
    """Return the equivalent command lines and Python code."""
    try:
        asked = read(READING, values[1:])
        lines = [command(look_words(studio, *values))]
        name = said(studio, values[0])
        if name not in load.names():
            lines.append(command(check_words(studio, *values)))
    except UserError:
        return Markup()
    reading = [f"{PYTHON.get(option, option)}={value!r}" for option, value in asked.items()]
    python = ["from souron.data import load", f"dataset = load.load({', '.join([repr(name), *reading])})"]
    if name not in load.names():
        python[0] = "from souron.data import check, load"
        doctor = [part for part in reading if not part.startswith("side=")]
        python.append(f"check.check({', '.join([repr(name), *doctor])}).findings")
    return same_thing("\n".join(lines), "\n".join(python))


class Looking(Watch):
    """The job of a data page, whose result is shown even if something went wrong."""

    def failure(self, job: Job, state: str) -> str:
        if state != "failed" or not answered(job):
            return super().failure(job, state)
        return Markup("{}{}").format(super().failure(job, state), self.outcome(self.studio, job))


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


class Uploads:
    """Earlier uploads, to use again or remove."""

    def __init__(self, studio: Studio) -> None:
        import gradio as gr

        self.studio = studio
        gr.HTML(Markup("<h2>{}</h2>").format(_("Brought earlier")))
        told = gr.HTML()
        self.listed = gr.HTML()
        with gr.Column(visible=False) as self.column:
            self.folder = gr.Dropdown([], allow_custom_value=True, label=_("upload"))
            self.remove = Confirm(_("Remove …"), _("Delete for good"))
        self.parts = [self.listed, self.column, self.folder]
        self.remove.connect(studio.says, self.ask, self.delete, [self.folder], [told, *self.parts])

    def draw(self) -> list[Any]:
        """Return values for ``parts``."""
        import gradio as gr

        found = own_data.uploads(self.studio)
        names = [path.name for path in found]
        rows = [
            (
                Markup('<a href="{}">{}</a>').format(
                    self.studio.url("data", data=self.studio.roots.spell(path.absolute())), path.name
                ),
                units.size(folder_size(path)),
            )
            for path in found
        ]
        return [
            table((_("name"), _("size")), rows, _("newest first"))
            if rows
            else Markup("<p>{}</p>").format(_("Nothing was brought yet.")),
            gr.update(visible=bool(found)),
            gr.update(choices=names, value=names[0] if names else None),
        ]

    def named(self, name: str | None) -> Path:
        """Return the folder of an upload. Raises UserError where it was removed meanwhile."""
        for path in own_data.uploads(self.studio):
            if path.name == name:
                return path
        raise UserError(
            "missing",
            _("there is no upload {name}").format(name=str(name)[:200]),
            expected=_("an upload that is still there"),
            exit=3,
        )

    def ask(self, name: str | None) -> str:
        folder = self.named(name)
        return _("Delete the upload {name} ({size}) for good?").format(
            name=folder.name, size=units.size(folder_size(folder))
        )

    def delete(self, name: str | None) -> list[Any]:
        folder = self.named(name)
        with self.studio.jobs.changing():
            trash.refuse_used(self.studio.jobs, folder)
            shutil.rmtree(folder)
        told = status(_("The upload {name} is deleted.").format(name=folder.name))
        return [told, *self.draw()]
