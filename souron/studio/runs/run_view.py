"""A run in the studio: a row of the list, its report, and next steps."""

import time
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from souron import registry
from souron.data import display_names
from souron.studio import naming
from souron.studio.jobs.job_queue import Job, state_name
from souron.studio.runs import run_list
from souron.studio.runs.run_list import Run
from souron.studio.shared import Studio, command, framed, machine_table, remarks, same_thing, table
from souron.utils import units
from souron.utils.messages import N_, UserError, _

MOST_IMAGES = 12  # of a run
MOST_CARD = 10**5  # characters
EXPORTED = "export-"  # how the folders of ``souron export`` begin
KINDS = {  # of pages, by their folder or file; what a study makes has else the study's title
    "ask": N_("a question to long texts"),
    "audit": N_("audit of a generator"),
    "check": N_("an answer checked"),
    "explained": N_("a network step by step"),
    "improper": N_("audit of harmful output"),
    "ledger": N_("training data of a run"),
    "provenance": N_("origin of files"),
    "ready": N_("ready-trained systems"),
    "references": N_("references checked"),
    "tour": N_("the tour"),
    "work": N_("occupations and AI"),
}


def facts(studio: Studio, run: Run, busy: Job | None) -> Markup:
    """Return the facts of a run, and links to next steps."""
    links = Markup("").join(
        Markup('<a class="{}" href="{}"{}>{}</a>').format(
            "" if place else "first", address, Markup(" download") if "/export/" in address else "", text
        )
        for place, (text, address) in enumerate(ways(studio, run))
    )
    lines = [run.why and _("It is damaged: {why}").format(why=run.why), run.sentence]
    if busy is not None:
        told = naming.job(busy.words, busy.meant)
        lines.append(_("A job works with it: {words}").format(words=told))
    return Markup('<h2>{} <small>{}</small></h2>{}{}{}<p class="actions">{}</p>').format(
        run.name,
        run_list.task_name(run.task),
        Markup("").join(Markup("<p>{}</p>").format(line) for line in lines if line),
        remarks([*run_list.changed(run), *run.notes]),
        table(heads()[1:], [row(studio, run, busy if run.state == "unfinished" else None)[1:]], _("this run")),
        links,
    )


def ways(studio: Studio, run: Run) -> list[tuple[str, str]]:
    """Return text and address of the actions on other pages."""
    found = []
    if run.state == "finished" and not run.compares:
        found.append((_("Use it"), studio.url("use", run=run.folder)))
    if run.state != "damaged" and (run.compares or run.task in registry.tasks()):
        again = studio.url("compare", systems=",".join(run.systems), data=run.data)
        found.append((_("Compare again"), again))
    if (run.folder / "args.yaml").is_file():
        address = f"/export/{quote(run.task, safe='')}/{quote(run.name, safe='')}.zip"
        found.append((_("Export as zip"), address))
        base = address.removesuffix(".zip")
        for part in some(run.folder, f"{EXPORTED}*/model.json", MOST_IMAGES):
            name = part.partition("/")[0]
            text = _("For use without souron: {format}").format(format=name.removeprefix(EXPORTED))
            found.append((text, f"{base}/{quote(name, safe='')}.zip"))
    return [*found, (_("All results"), studio.url("runs"))]


def report(studio: Studio, run: Run) -> Markup:
    """Return the run's report, its generated images and its model card."""
    parts = []
    if address := studio.address(studio.report_file(run.folder)):
        title = _("Report of {name}").format(name=run.name)
        alone = _("The report on a page of its own")
        parts.append(framed(address, title, alone, studio.report(run.folder)))
    elif run.state == "finished":
        parts.append(Markup("<p>{}</p>").format(_("It has no report.")))
    elif run.compares:
        parts.append(machine_table(run.folder))
    parts.append(further_pages(studio, run))
    drawn = ["timelapse.webp", *reversed(some(run.folder, "pictures/*/grid.png", MOST_IMAGES))]
    for name in drawn:
        if address := studio.address(run.folder / name):
            about = _("how it learnt to generate") if name == "timelapse.webp" else _("what it generated")
            parts.append(
                Markup(
                    '<figure><img class="pixels" loading="lazy" src="{}" alt="{}"><figcaption>{}</figcaption></figure>'
                ).format(address, about, name)
            )
    if card := text_of(run.folder / "card.md"):
        parts.append(
            Markup('<details><summary>{}</summary><pre class="log" tabindex="0">{}</pre></details>').format(
                _("Its card"), card
            )
        )
    return Markup("").join(parts)


def further_pages(studio: Studio, run: Run) -> Markup:
    """Return links to later pages about a run, such as an audit."""
    links = [
        Markup('<a href="{}" target="_blank" rel="noopener">{}</a>').format(address, name)
        for name in some(run.folder, "*.html", 2 * MOST_IMAGES)
        if name != "report.html" and not run_list.is_translation(run.folder / name)
        if (address := studio.address(in_own_language(studio, run.folder / name)))
    ]
    return Markup('<p class="actions">{}</p>').format(Markup("").join(links)) if links else Markup()


def some(folder: Path, pattern: str, most: int) -> list[str]:
    """Return the last ``most`` names of files in a folder that match a pattern."""
    try:
        return sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern))[-most:]
    except OSError:
        return []


def text_of(path: Path) -> str:
    """Return the beginning of a text file; "" where there is none."""
    try:
        if path.is_symlink() or not path.is_file():
            return ""
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MOST_CARD)
    except OSError:
        return ""


def the_same(studio: Studio, named: str) -> Markup:
    """Return the equivalent command line and Python code."""
    project = str(studio.project)
    try:
        run = run_list.read(run_list.find(studio.project, named)) if named else None
    except UserError:
        run = None
    if run is None or run.state == "damaged":
        listed = f'sorted(Path({project!r}).glob("*/*/receipt.json"))'
        return same_thing(f"ls {project}/*", f"from pathlib import Path\n{listed}")
    folder = str(run.folder)
    if run.state == "unfinished":
        python = f"souron.{verb(run)}(resume={folder!r})"
        return same_thing(command([verb(run), f"resume={folder}"]), f"import souron\n{python}")
    if run.compares:
        words = ["compare", *run.systems, f"data={run.data}"]
        python = f"souron.compare({list(run.systems)!r}, data={run.data!r})"
        return same_thing(command(words), f"import souron\n{python}")
    python = f"import souron\nmodel = souron.load({folder!r})\nmodel.val()"
    return same_thing(command(["val", folder]), python)


def verb(run: Run) -> str:
    """Return the command that creates such a run."""
    return "compare" if run.compares else "train"


def heads() -> tuple[str, ...]:
    return (_("name"), _("system"), _("data"), _("measure"), _("when"), _("trained"), _("size"), _("state"))


def row(studio: Studio, run: Run, busy: Job | None = None) -> tuple[Any, ...]:
    link = Markup('<a href="{}">{}</a><br><small>{}</small>').format(
        studio.url("runs", run=f"{run.task}/{run.name}"), run.name, run_list.task_name(run.task)
    )
    return (
        link,
        ", ".join(run.systems),
        display_names.called(run.data),
        str(run.result or ""),
        moment(run.made),
        units.seconds(run.seconds) if run.seconds is not None else "",
        units.size(run_list.weight(run)),
        state_name(busy, busy.state) if busy is not None else run_state(run),
    )


def moment(seconds: float) -> Markup:
    text = time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    return Markup("<time>{}</time>").format(text)


def run_state(run: Run) -> str:
    return {"finished": _("finished"), "unfinished": _("not finished"), "damaged": _("damaged")}[run.state]


def in_own_language(studio: Studio, file: Path) -> Path:
    """Return the page's translation, or the page itself where there is none."""
    own = file.with_suffix(f".{studio.language}.html")
    return own if studio.address(own) else file


def kind_of(page: run_list.Page) -> str:
    """Describe a page by its kind; that of a study by what the study does."""
    if page.kind in KINDS:
        return _(KINDS[page.kind])
    with suppress(UserError):  # its file is not complete
        if page.kind in registry.action_files():
            return _(registry.action(page.kind).title).rstrip(".。")
    return page.kind


def plain(text: str) -> str:
    """Normalise a text for search: full width, half width and case do not matter."""
    return unicodedata.normalize("NFKC", text).casefold()
