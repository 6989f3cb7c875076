"""The lecture: its chapters and rows in order, then every system as a card to try and train."""

from itertools import groupby

from markupsafe import Markup

from souron import registry
from souron.hub import fetch, zoo
from souron.lecture import rows
from souron.studio.shared import Studio
from souron.utils.messages import N_, _

TITLE = N_("Lecture")


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Every system of the lecture, on this computer"),
            _(
                "Read how each works, press its layers, train it for ten seconds, compare several "
                "fairly. Nothing leaves this computer."
            ),
        )
    )
    gr.HTML(contents(studio))
    shown = gr.HTML(cards(studio))
    studio.opened(lambda _query: cards(studio), [shown])  # weights may have been fetched meanwhile


def contents(studio: Studio) -> Markup:
    """Return the first steps, and the rows of each chapter in the lecture's order."""
    home = f"/lecture/{studio.language}"
    chapters = Markup("").join(
        Markup(
            '<section class="chapter" id="{0}" aria-labelledby="chapter-{0}">'
            '<h2 id="chapter-{0}">{1}</h2><ol class="rows">{2}</ol></section>'
        ).format(
            chapter.name,
            _(chapter.title),
            Markup("").join(
                Markup('<li><a href="{}/{}"><span>{}</span> {}</a></li>').format(home, row.id, row.id, row.text.title)
                for row in chapter.rows
            ),
        )
        for chapter in rows.chapters()
    )
    return Markup(
        '<p class="actions"><a class="first" href="{0}/start">{1}</a><a href="{0}/course">{2}</a>'
        '</p><div class="chapters">{3}</div><h2>{4}</h2>'
    ).format(
        home, _("Start here: three steps in five minutes"), _("Make a course of your own"), chapters, _("All systems")
    )


def cards(studio: Studio) -> Markup:
    """Return a section of cards for each task, ordered by year."""
    sections = []
    for task, entries in groupby(registry.entries().values(), lambda entry: entry.task):
        shown = Markup("").join(card(studio, entry) for entry in entries)
        sections.append(
            Markup('<section aria-labelledby="{0}"><h3 id="{0}">{1}</h3><ul class="cards">{2}</ul></section>').format(
                f"task-{task}", registry.task_name(task), shown
            )
        )
    return Markup("").join(sections)


def card(studio: Studio, entry: registry.Entry) -> Markup:
    """Return the card of a system, with a link to its row of the lecture."""
    row = rows.of_system(entry.name)
    told = (_("How it works"), f"/lecture/{studio.language}/{row.id}", "") if row else None
    links = Markup("").join(
        Markup('<a class="{}" href="{}" aria-label="{}: {}">{}</a>').format(kind, address, entry.name, text, text)
        for text, address, kind in [*actions(studio, entry), *([told] if told else [])]
    )
    return Markup('<li class="card">{}<p class="actions">{}</p></li>').format(about(entry), links)


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
