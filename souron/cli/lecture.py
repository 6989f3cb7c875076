"""``souron lecture``: list the rows, show one as text, show a course, copy the notebooks, export the interactives."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from souron import registry
from souron.cli import console
from souron.cli.app import command
from souron.cli.console import print_json, screen, show
from souron.cli.parsing import arguments
from souron.hub import zoo
from souron.lecture import course as courses
from souron.lecture import rows
from souron.lecture.rows import Row
from souron.utils import distributions
from souron.utils.messages import N_, UserError, _, language


def complete_row(incomplete: str) -> list[tuple[str, str]]:
    return [(row.id, row.text.title) for row in rows.rows().values() if row.id.startswith(incomplete.upper())]


@command(
    "lecture",
    N_("Read the lecture row by row: ideas, mechanisms, failures."),
    "souron lecture\nsouron lecture V1\nsouron lecture V1 --json\nsouron lecture course=my.toml\n"
    "souron lecture export pages/\nsouron lecture export pages/ kmeans_by_hand trust_map\n"
    "souron lecture notebooks\nsouron lecture notebooks lessons/\nsouron lecture notebooks lessons/ 11_boxes",
    group="teach",
)
def lecture(
    row: Annotated[
        str | None,
        Argument(
            metavar="ROW",
            help=N_("such as V1; or: export OUT [NAMES], notebooks OUT [NAMES]"),
            autocompletion=complete_row,
        ),
    ] = None,
    out: Annotated[
        str | None, Argument(metavar="[OUT]", help=N_("a new folder for the interactives or the notebooks"))
    ] = None,
    names: Annotated[
        list[str] | None,
        Argument(metavar="[NAMES]", help=N_("the interactives or notebooks to write; without any: all")),
    ] = None,
    course: Annotated[
        str | None,
        Option(metavar="FILE", help=N_("a course's file, or the name of one that is here: its steps in order")),
    ] = None,
) -> None:
    if row in ("export", "notebooks"):
        (export if row == "export" else copy_notebooks)(out, names or [])
        return
    if out is not None:
        raise UserError(
            "option",
            _("one thing too many: {name}").format(name=out),
            expected=_("a row, or: export OUT [NAMES], or: notebooks OUT [NAMES]"),
            fix=f"souron lecture {row}",
        )
    if course is not None:
        tell_course(courses.load(Path(course)))
    elif row is not None:
        tell_row(rows.find(row))
    elif screen.json:
        print_json([summary(each) for each in rows.rows().values()])
    else:
        tell_all()


def export(out: str | None, names: list[str]) -> None:
    """Write interactives as HTML files that need no studio. Raises UserError."""
    if out is None:
        raise arguments.missing("OUT", "souron lecture export pages/")
    exporting = distributions.load("studio/interactive_export")
    with screen.err.status(_("computing the answers")) as status:
        files = []
        for file in exporting.write(Path(out), names):
            files.append(file)
            status.update(file.title)
    if screen.json:
        print_json({"index": Path(out) / "index.html", "files": [file.as_json() for file in files]})
        return
    made = console.table(_("interactive"), _("file"), _("size"), right=[_("size")])
    for file in files:
        made.add_row(
            file.title, str(file.path or _("needs souron studio")), f"{file.size / 1e6:.1f} MB" if file.path else "–"
        )
    show(made, _("page: {path}").format(path=Path(out) / "index.html"))


def copy_notebooks(out: str | None, names: list[str]) -> None:
    """Copy notebooks in the language of the messages into a new folder; without one, list them.

    Raises UserError.
    """
    notebooks = distributions.load("lecture/notebooks")
    if out is None:
        made = [notebooks.find(name, language()) for name in notebooks.names()]
        then = _("copy them: {command}").format(command="souron lecture notebooks lessons/")
    else:
        made = notebooks.copy(Path(out), language(), names)
        then = _("open them: {command}").format(command=f"jupyter lab {out}")
    if screen.json:
        print_json([{"path": file, "functions": notebooks.functions(file.stem)} for file in made])
        return
    listed = console.table(_("notebook"), _("title"), _("functions to write"))
    for file in made:
        functions = ", ".join(notebooks.functions(file.stem)) or "–"
        listed.add_row(file.stem, notebooks.title(file.stem, language()), functions)
    show(listed, then, whole=True)


def tell_all() -> None:
    """Print every row with its systems and with what is available for it."""
    for chapter in rows.chapters():
        made = console.table("", _("row"), _("year"), _("systems"), _("here"), title=_(chapter.title))
        for row in chapter.rows:
            made.add_row(row.id, row.text.title, str(row.year), " ".join(row.systems), ", ".join(works(row)))
        show(made, "")
    show(
        _("read one: {command}").format(command="souron lecture V1"),
        _("in the browser: {command}").format(command="souron studio"),
    )


def works(row: Row) -> list[str]:
    """Return what is available for a row on this computer: trained weights, a short training."""
    found = []
    if any(zoo.where(name) for name in row.systems):
        found.append(_("ready trained"))
    if row.data:
        found.append(_("trained in ten seconds"))
    return found


def tell_row(row: Row) -> None:
    if screen.json:
        print_json({**summary(row), **as_json(row)})
        return
    text = row.text
    steps = "\n".join(f"{at}. {step}" for at, step in enumerate(text.mechanism, 1))
    told = [
        (_("What it is"), text.what),
        (_("Who and when"), text.who),
        (_("How it works"), steps),
        (_("Where it is used"), text.used),
        (_("Where it fails"), text.fails),
        (_("Text to read aloud"), text.spoken),
        (_("See it answer"), f"souron try {row.id}"),
        (_("Commands"), "\n".join(row.commands)),
        (_("Source"), row.source),
    ]
    show(f"{row.id}  {text.title} ({row.year})", "")
    for name, value in told:
        if value:
            show(f"{name}:", value, "")


def tell_course(course: courses.Course) -> None:
    if screen.json:
        print_json(course.as_json())
        return
    show(course.title, "")
    for number, part in enumerate(course.parts, 1):
        shown = part.row or part.interactive
        plan = _("{minutes} min").format(minutes=f"{part.minutes:g}") if part.minutes else ""
        show("  ".join(filter(None, (f"{number}. {part.title}", f"({shown})" if shown else "", plan))))
        notes = ((_("Say"), part.say), (_("Ask"), part.ask), (_("Show"), part.see))
        for text in (part.before, part.after, *(f"{name}: {note}" for name, note in notes if note)):
            if text:
                show(text)
    show("", _("in the browser: {command}").format(command="souron studio course=FILE"))
    if there := courses.shipped():
        show(_("courses that come with souron: {names}").format(names=", ".join(there)))


def summary(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "chapter": row.chapter,
        "title": {"en": row.en.title, "ja": row.ja.title},
        "year": row.year,
        "systems": list(row.systems),
        "data": row.data,
        "ready": [name for name in row.systems if zoo.where(name)],
        "source": row.source,
    }


def as_json(row: Row) -> dict[str, Any]:
    fields = ("what", "who", "mechanism", "used", "fails", "spoken")
    both = (("en", row.en), ("ja", row.ja))
    return {
        **{name: {language: getattr(text, name) for language, text in both} for name in fields},
        "tasks": [registry.find(name)[0].task for name in row.systems],
        "answer": row.answer,
        "fetched": list(row.fetched),
        "commands": list(row.commands),
        "interactive": list(row.interactive),
        "docs": row.docs,
    }
