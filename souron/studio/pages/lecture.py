"""Learn: the question of a first visit, then the lecture's rows, all systems and tools, searched by words."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Response
from markupsafe import Markup

import souron
from souron import registry
from souron.hub import fetch, zoo
from souron.lecture import rows
from souron.studio import interactive
from souron.studio.lecture import doors
from souron.studio.runs.run_view import plain
from souron.studio.shared import PAGES, Studio
from souron.utils.messages import LANGUAGES, N_, _, use_language

TITLE = N_("Lecture")
PLACE = "learn"
TILE = 96  # pixels of a thumbnail
MOST_LETTERS = 100  # of a search
SPACE = re.compile(r"\s+(?=[^\x00-\x7f])|(?<=[^\x00-\x7f])\s+")  # beside Japanese


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    return Markup(
        '<h1>{title}</h1><p>{about}</p>{doors}{first}<section class="search"><label>{search}'
        '<input type="search" data-search="/do/{language}/lecture/search" maxlength="{most}" autocomplete="off" '
        'placeholder="{example}"></label><p class="faint" role="status" data-none="{none}"></p>'
        '<div id="found">{rows}{systems}{tools}</div></section>'
    ).format(
        title=_("Every system of the lecture, on this computer"),
        about=_(
            "Each row opens at work: its network answers, its layers light up, and it is trained in ten seconds. "
            "Nothing leaves this computer."
        ),
        doors=doors.doors(studio),
        first=first_visit(studio),
        language=studio.language,
        most=MOST_LETTERS,
        search=_("Search rows, systems and tools"),
        example=_("cat, U-Net, translation, 2015 …"),
        none=_("Nothing is called that. Try another word, or a year."),
        rows=contents(studio),
        systems=systems(studio),
        tools=tools(studio),
    )


def search(_studio: Studio, asked: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the keys of the entries that hold all words, each from its beginning."""
    words = plain(str(asked.get("words") or "")[:MOST_LETTERS]).split()
    begins = [re.compile((r"(?<![a-z0-9])" if word[0].isascii() else "") + re.escape(word)) for word in words]
    return {"found": [key for key, text in texts() if all(begin.search(text) for begin in begins)]}


def texts() -> Iterator[tuple[str, str]]:
    """Yield the key of each entry and what it is found by: all its texts in both languages."""
    for row in rows.rows().values():
        said = [part for text in (row.en, row.ja) for part in (*vars(text).values(), *text.mechanism)]
        yield f"row-{row.id}", searched(row.id, row.year, row.answer, *row.systems, *said)
    for name in interactive.names():
        module = interactive.find(name)
        yield f"interactive-{name}", searched(name, *both(module.TITLE, module.ABOUT))
    for entry in registry.entries().values():
        idea = (entry.idea, entry.ja, *both(registry.tasks()[entry.task].title))
        yield f"system-{entry.name}", searched(entry.name, entry.year, entry.paper, *idea)
    for study in registry.actions().values():
        yield f"tool-{study.name}", searched(study.name, *both(study.title, study.given.help))


def both(*texts: str) -> Iterator[str]:
    """Yield texts in every language."""
    for language in LANGUAGES:
        with use_language(language):
            yield from map(_, texts)


def searched(*parts: Any) -> str:
    """Return texts as one to search in; Japanese has no spaces that matter."""
    return SPACE.sub("", plain(" ".join(map(str, parts))))


def stored_image(row: rows.Row) -> Path | None:
    """Return the stored image of what a system of a row answers; None without one, and where there is no clone."""
    places = (
        souron.CLONE / "docs/_static" / place.format(name)
        for name in row.systems
        for place in ("found/{}.jpg", "generated/{}.png")
    )
    return next((place for place in places if place.is_file()), None)


def thumbnail(_studio: Studio, query: Mapping[str, str]) -> Response:
    """Return the first tile of a row's stored image. Raises UserError for an unknown row, HTTPException 404."""
    from PIL import Image

    path = stored_image(rows.find(query.get("row", "")))
    if path is None:
        raise HTTPException(404)
    with Image.open(path) as image:
        tile = image.convert("RGB").crop((0, 0, min(image.size), min(image.size)))
    stream = io.BytesIO()
    tile.resize((TILE, TILE)).save(stream, "JPEG")
    return Response(stream.getvalue(), media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})


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
    shown = ways if "courses" in PAGES else (ways[0], ways[2])
    links = Markup("").join(
        Markup('<li><a href="{2}"><strong>{0}</strong><span>{1}</span></a></li>').format(*way) for way in shown
    )
    return Markup('<nav class="ways" aria-label="{}"><ul>{}</ul></nav>').format(_("Where to begin"), links)


def contents(studio: Studio) -> Markup:
    """Return the rows of each chapter in the lecture's order, and the interactives."""
    home = f"/lecture/{studio.language}"
    parts = [
        chapter(
            each.name,
            _(each.title),
            [(f"row-{row.id}", f"{home}/{row.id}", row.id, labelled(studio, row)) for row in each.rows],
        )
        for each in rows.chapters()
    ]
    experiments = [
        (f"interactive-{name}", studio.url("interactives", name=name), "", _(interactive.find(name).TITLE))
        for name in interactive.names()
    ]
    if experiments:
        parts.append(chapter("interactives", _("Interactives"), experiments))
    return Markup('<div class="chapters">{}</div>').format(Markup("").join(parts))


def labelled(studio: Studio, row: rows.Row) -> Markup:
    """Return a row's title, with a thumbnail of its stored image where there is one."""
    if stored_image(row) is None:
        return Markup("{}").format(row.text.title)
    source = f"/show/{studio.language}/lecture/thumbnail?row={row.id}"
    return Markup('{} <img loading="lazy" src="{}" alt="">').format(row.text.title, source)


def chapter(name: str, title: str, entries: Sequence[tuple[str, str, str, str]]) -> Markup:
    """Return a titled list of links; an entry is its key, its address, a number and its name."""
    items = Markup("").join(
        Markup('<li data-key="{}"><a href="{}"><span>{}</span> {}</a></li>').format(*entry) for entry in entries
    )
    return Markup(
        '<section class="chapter" id="{0}" aria-labelledby="chapter-{0}">'
        '<h2 id="chapter-{0}">{1}</h2><ol class="rows">{2}</ol></section>'
    ).format(name, title, items)


def systems(studio: Studio) -> Markup:
    """Return every system by name, with what can be done with it."""
    items = Markup("").join(system(studio, entry) for entry in registry.entries().values())
    return every(_("All systems"), len(registry.entries()), items)


def tools(studio: Studio) -> Markup:
    """Return every tool by name, with what it does."""
    items = Markup("").join(
        Markup('<li data-key="tool-{0}"><p><a href="{1}"><strong>{0}</strong></a> {2}</p></li>').format(
            entry.name, studio.url(entry.page or entry.name), _(entry.title)
        )
        for entry in registry.actions().values()
    )
    return every(_("All tools"), len(registry.actions()), items)


def every(title: str, count: int, items: Markup) -> Markup:
    """Return a folded list."""
    return Markup('<details class="every"><summary>{} ({})</summary><ul class="systems">{}</ul></details>').format(
        title, count, items
    )


def system(studio: Studio, entry: registry.Entry) -> Markup:
    task, idea = registry.task_name(entry.task), registry.about(entry)
    return Markup(
        '<li data-key="system-{0}"><p><strong>{0}</strong> <small>{1} · {2}</small> {3}</p>'
        '<p class="actions">{4}</p></li>'
    ).format(entry.name, entry.year or "", task, idea, links(studio, entry))


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


ACTIONS = {"search": search}
PARTS = doors.PARTS
VIEWS = {"thumbnail": thumbnail}
