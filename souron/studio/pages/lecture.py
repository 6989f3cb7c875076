"""Learn: the question of a first visit, then the lecture's rows and all systems, searched by a word."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from souron import registry
from souron.hub import fetch, zoo
from souron.lecture import rows
from souron.studio import interactive
from souron.studio.shared import Studio
from souron.utils.messages import N_, _

TITLE = N_("Lecture")
PLACE = "learn"


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    return Markup(
        '<h1>{title}</h1><p>{about}</p>{first}<section class="search"><label>{search}'
        '<input type="search" data-search="#found" autocomplete="off" placeholder="{example}"></label>'
        '<p class="faint" role="status" data-none="{none}"></p><div id="found">{rows}{systems}</div></section>'
    ).format(
        title=_("Every system of the lecture, on this computer"),
        about=_(
            "Each row opens at work: its network answers, its layers light up, and it is trained in ten seconds. "
            "Nothing leaves this computer."
        ),
        first=first_visit(studio),
        search=_("Search rows and systems"),
        example=_("cat, U-Net, translation, 2015 …"),
        none=_("Nothing is called that. Try another word, or a year."),
        rows=contents(studio),
        systems=systems(studio),
    )


def first_visit(studio: Studio) -> Markup:
    """Return the question what somebody came for, with the first page of each way."""
    ways = (
        (
            _("I want to learn"),
            _("Three steps in five minutes: try, train, compare."),
            f"/lecture/{studio.language}/start",
        ),
        (_("I want to teach"), _("Courses, presentation mode, and training with the class."), studio.url("courses")),
        (
            _("I want to try my data"),
            _("A folder of images or a table: check it, train on it, get a verdict."),
            studio.url("my_data"),
        ),
    )
    links = Markup("").join(
        Markup('<li><a href="{2}"><strong>{0}</strong><span>{1}</span></a></li>').format(*way) for way in ways
    )
    return Markup('<nav class="ways" aria-label="{}"><ul>{}</ul></nav>').format(_("Where to begin"), links)


def contents(studio: Studio) -> Markup:
    """Return the rows of each chapter in the lecture's order, and the interactives."""
    home = f"/lecture/{studio.language}"
    parts = [
        chapter(
            each.name, _(each.title), [(words(row), f"{home}/{row.id}", row.id, row.text.title) for row in each.rows]
        )
        for each in rows.chapters()
    ]
    experiments = [
        (f"{name} {_(module.TITLE)} {module.TITLE}".lower(), studio.url("interactives", name=name), "", _(module.TITLE))
        for name, module in ((name, interactive.find(name)) for name in interactive.names())
    ]
    parts.append(chapter("interactives", _("Interactives"), experiments))
    return Markup('<div class="chapters">{}</div>').format(Markup("").join(parts))


def chapter(name: str, title: str, entries: Sequence[tuple[str, str, str, str]]) -> Markup:
    """Return a titled list of links; an entry is what it is found by, its address, a number and its name."""
    items = Markup("").join(
        Markup('<li data-words="{}"><a href="{}"><span>{}</span> {}</a></li>').format(*entry) for entry in entries
    )
    return Markup(
        '<section class="chapter" id="{0}" aria-labelledby="chapter-{0}">'
        '<h2 id="chapter-{0}">{1}</h2><ol class="rows">{2}</ol></section>'
    ).format(name, title, items)


def words(row: rows.Row) -> str:
    """Return what a row is found by: its texts' titles and descriptions in both languages, systems, year."""
    return " ".join([row.id, str(row.year), *row.systems, row.en.title, row.en.what, row.ja.title, row.ja.what]).lower()


def systems(studio: Studio) -> Markup:
    """Return every system by name, with what can be done with it."""
    items = Markup("").join(system(studio, entry) for entry in registry.entries().values())
    return Markup('<details class="every"><summary>{} ({})</summary><ul class="systems">{}</ul></details>').format(
        _("All systems"), len(registry.entries()), items
    )


def system(studio: Studio, entry: registry.Entry) -> Markup:
    task, idea = registry.task_name(entry.task), registry.about(entry)
    return Markup(
        '<li data-words="{}"><p><strong>{}</strong> <small>{} · {}</small> {}</p><p class="actions">{}</p></li>'
    ).format(
        f"{entry.name} {entry.year} {entry.paper} {idea} {task}".lower(),
        entry.name,
        entry.year or "",
        task,
        idea,
        links(studio, entry),
    )


def links(studio: Studio, entry: registry.Entry) -> Markup:
    """Return what can be done with a system, and its row of the lecture."""
    row = rows.of_system(entry.name)
    told = [(_("How it works"), f"/lecture/{studio.language}/{row.id}", "")] if row else []
    told.append((_("Layers"), f"/lecture/{studio.language}/layers/{entry.name}", ""))
    return Markup("").join(
        Markup('<a class="{}" href="{}" aria-label="{}: {}">{}</a>').format(kind, address, entry.name, text, text)
        for text, address, kind in [*actions(studio, entry), *told]
    )


def about(entry: registry.Entry, heading: str = "h4") -> Markup:
    """Return a system's diagram, idea and paper."""
    return Markup(
        '<img loading="lazy" width="420" height="120" src="/picture/{name}.svg" alt="{alt}">'
        "<{heading}>{name} <small>{year}</small></{heading}><p>{idea}</p>"
        '<p class="paper">{paper} <span class="status">{status}</span></p>'
    ).format(
        heading=heading,
        name=entry.name,
        alt=_("the layers of {name}").format(name=entry.name),
        year=entry.year or "",
        idea=registry.about(entry),
        paper=entry.paper,
        status=registry.status(entry),
    )


def actions(studio: Studio, entry: registry.Entry) -> list[tuple[str, str, str]]:
    """Return text, address and class of each action on a system."""
    there: list[tuple[str, str, str]] = []
    usable = [registry.full_name(entry, size) for size in entry.weights]
    ready = next((name for name in usable if fetch.where(name)), "")
    ready = ready or (entry.name if zoo.where(entry.name) else "")
    if ready:
        there.append((_("Try"), studio.url("use", system=ready), "first"))
    there.append((_("Train"), studio.url("train", system=entry.name), "" if there else "first"))
    there.append((_("Compare"), studio.url("compare", systems=entry.name), ""))
    return there
