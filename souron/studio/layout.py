"""Header and footer of each page: navigation, language, light or dark mode."""

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from urllib.parse import quote

from markupsafe import Markup

import souron
from souron.studio.shared import PAGES, Studio, unanswered
from souron.utils.messages import LANGUAGE_NAMES, LANGUAGES, N_, _

HTMX = json.dumps(
    {
        "noSwap": [204, 304, "4xx", "5xx"],  # studio.js shows what went wrong
        "morphIgnore": ["data-htmx-powered", "open"],  # what a reader has unfolded stays so
        "defaultTimeout": 0,
        "history": False,
        "prefix": "",
    }
)
SHORT_NAMES = {"en": "EN", "ja": "日本語"}  # of the languages, in the header


@dataclass(frozen=True)
class Place:
    """One of the five places of the studio, with its pages in their order."""

    name: str
    title: str  # English, the key of its translation
    pages: tuple[str, ...]


PLACES = (("learn", N_("Learn")), ("teach", N_("Teach")), ("data", N_("My data")), ("use", N_("Use")),
          ("results", N_("Results")))  # fmt: skip
TOOL = "tool"  # the place of pages that the page of all studies links to


def module(name: str) -> ModuleType:
    return importlib.import_module(f"souron.studio.pages.{name}")


@cache
def places() -> tuple[Place, ...]:
    """Return the places that have pages; a page says in ``PLACE`` where it belongs, by default to Use."""
    of = {name: getattr(module(name), "PLACE", "use") for name in PAGES}
    made = (Place(name, title, tuple(page for page in PAGES if of[page] == name)) for name, title in PLACES)
    return tuple(place for place in made if place.pages)


def place_of(page: str) -> Place | None:
    """Return the place of a page; of a tool's that of all tools; None for the machine's."""
    page = "study" if getattr(module(page), "PLACE", "") == TOOL else page
    return next((place for place in places() if page in place.pages), None)


def head(studio: Studio, here: str, elsewhere: Callable[[str], str] | None = None) -> Markup:
    """Return the header of a page: the five places, and the pages of its own one.

    ``elsewhere``: a language -> the address of the same page, for pages that are not in PAGES.
    """
    address = elsewhere or (lambda language: f"/{language}/{'' if here == PAGES[0] else here}")
    own = place_of(here)
    links = Markup("").join(
        Markup('<li><a href="{}"{}>{}</a></li>').format(
            studio.url(place.pages[0]), Markup(' aria-current="true"') if place is own else "", _(place.title)
        )
        for place in places()
    )
    others = Markup("").join(
        Markup('<a href="{1}" lang="{0}" hreflang="{0}" data-language="{0}" title="{2}">{3}</a>').format(
            language, address(language), LANGUAGE_NAMES[language], SHORT_NAMES[language]
        )
        for language in LANGUAGES
        if language != studio.language
    )
    return Markup(
        '<a class="skip" href="#page">{skip}</a><header><a class="name" href="{home}">souron '
        '<span lang="ja">総論</span></a><nav aria-label="{pages}"><ul>{links}</ul></nav>'
        '<div class="side">{person}{others}<button type="button" data-dark aria-label="{dark}" '
        'title="{dark}">◐</button><a class="gear" href="{machine}" aria-label="{computer}" title="{computer}"{at}>⚙</a>'
        "</div></header>{within}"
    ).format(
        skip=_("to the content"),
        home=studio.url(PAGES[0]),
        pages=_("pages"),
        links=links,
        person=_person(studio),
        others=others,
        dark=_("light or dark"),
        machine=studio.url("machine"),
        computer=title("machine"),
        at=Markup(' aria-current="page"') if here == "machine" else "",
        within=_within(studio, own, here),
    )


def _person(studio: Studio) -> Markup:
    """Return who is logged in, where several people share the studio, with the way out."""
    if not studio.jobs.person:
        return Markup()
    return Markup('<a href="/{}/enter" title="{}">{}</a>').format(
        studio.language, _("who is logged in; leave"), studio.jobs.person
    )


def _within(studio: Studio, own: Place | None, here: str) -> Markup:
    """Return the links to the pages of a place, if there are several."""
    if own is None or len(own.pages) < 2:
        return Markup()
    links = Markup("").join(
        Markup('<li><a href="{}"{}>{}</a></li>').format(
            studio.url(name), Markup(' aria-current="page"') if name == here else "", title(name)
        )
        for name in own.pages
    )
    return Markup('<nav class="within" aria-label="{}"><ul>{}</ul></nav>').format(_("further pages"), links)


def whole(
    studio: Studio, name: str, body: Markup, here: str, elsewhere: Callable[[str], str] | None = None, kind: str = ""
) -> str:
    """Return a complete page of plain HTML, called ``name``; ``kind`` is the class of its content."""
    return Markup(
        '<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>{name} – souron</title>"
        '<script src="/static/studio.js" data-language="{language}"></script>'
        '<meta name="htmx-config" content="{htmx}"><script src="/static/htmx.js" defer></script>'
        '<script type="module" src="/static/lecture.js"></script>'
        '<link rel="stylesheet" href="/static/studio.css">'
        '<link rel="stylesheet" href="/static/lecture.css"></head><body class="alone">'
        '<div id="head">{head}</div><main id="page" class="{kind}">{body}</main>'
        '<div id="foot">{foot}</div></body></html>'
    ).format(
        language=studio.language,
        name=name,
        htmx=HTMX,
        head=head(studio, here, elsewhere),
        kind=kind,
        body=body,
        foot=foot(studio),
    )


def trail(*links: tuple[str, str], after: str = "") -> Markup:
    """Return the links (address, name) that lead down to a page, and what stands beside them."""
    way = Markup(" › ").join(Markup('<a href="{}">{}</a>').format(*link) for link in links)
    return Markup('<nav class="way" aria-label="{}">{}{}</nav>').format(_("where this page is"), way, after)


def title(name: str) -> str:
    """Return the title of a page; of a study its name."""
    if name not in PAGES:
        return name
    return _(module(name).TITLE)


def foot(studio: Studio) -> Markup:
    said = _("souron {version} · everything stays on this computer · runs are in {folder}")
    return Markup(
        '<footer><p>{said}</p></footer><aside id="wrong" role="alert" data-unanswered="{unanswered}" hidden>'
        '<strong>{wrong}</strong><button type="button" data-close aria-label="{close}">×</button>'
        "<div></div></aside>"
    ).format(
        said=said.format(version=souron.__version__, folder=studio.project),
        wrong=_("This did not work"),
        unanswered=unanswered(),
        close=_("close"),
    )


def report(studio: Studio, task: str, name: str, address: str, written: str) -> str:
    """Return a page around a run's report: ``address`` of the report, ``written`` its language."""
    told = _("Report of {name}").format(name=name)
    foreign = (
        ""
        if written in ("", studio.language)
        else _(
            "It was written in {language}; what is done from this page is reported in the page's own language."
        ).format(language=LANGUAGE_NAMES.get(written, written))
    )
    return Markup(
        '<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>{told} – souron</title>"
        '<script src="/static/studio.js" data-language="{language}"></script>'
        '<link rel="stylesheet" href="/static/studio.css"></head><body class="alone">'
        '<div id="head">{head}</div><main id="page"><p class="actions">{use}<a href="{run}">{back}</a>'
        '<a href="{address}" download="{name}.html">{save}</a></p>{foreign}'
        '<iframe class="frame whole" sandbox="allow-popups" src="{address}" title="{told}">'
        "</iframe></main></body></html>"
    ).format(
        language=studio.language,
        told=told,
        head=head(studio, "runs", lambda language: f"/report/{language}/{quote(f'{task}/{name}')}"),
        use=Markup('<a class="first" href="{}">{}</a>').format(studio.url("use", run=f"{task}/{name}"), _("Use it"))
        if studio.address(studio.project / task / name / "weights" / "best.safetensors")
        else "",
        run=studio.url("runs", run=f"{task}/{name}"),
        back=_("What can be done with this run"),
        save=_("Save the report as a file"),
        address=address,
        name=name,
        foreign=Markup('<p class="remark">{}</p>').format(foreign) if foreign else "",
    )
