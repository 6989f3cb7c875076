"""Header and footer of each page: navigation, language, light or dark mode."""

import importlib
from collections.abc import Callable
from urllib.parse import quote

from markupsafe import Markup

import souron
from souron.studio.shared import PAGES, Studio
from souron.utils.messages import LANGUAGE_NAMES, LANGUAGES, _


def head(studio: Studio, here: str, elsewhere: Callable[[str], str] | None = None) -> Markup:
    """Return the header of a page.

    ``elsewhere``: a language -> the address of the same page, for pages that are not in PAGES.
    """
    address = elsewhere or (lambda language: f"/{language}/{'' if here == PAGES[0] else here}")
    links = Markup("").join(
        Markup('<li><a href="{}"{}>{}</a></li>').format(
            studio.url(name), Markup(' aria-current="page"') if name == here else "", title(name)
        )
        for name in PAGES
    )
    others = Markup("").join(
        Markup('<a href="{1}" lang="{0}" hreflang="{0}" data-language="{0}">{2}</a>').format(
            language, address(language), LANGUAGE_NAMES[language]
        )
        for language in LANGUAGES
        if language != studio.language
    )
    return Markup(
        '<a class="skip" href="#page">{skip}</a><header><a class="name" href="{home}">souron '
        '<span lang="ja">総論</span></a><nav aria-label="{pages}"><ul>{links}</ul></nav>'
        '<div class="side">{others}<button type="button" data-dark aria-label="{dark}" '
        'title="{dark}">◐</button></div></header>'
    ).format(
        skip=_("to the content"),
        home=studio.url(PAGES[0]),
        pages=_("pages"),
        links=links,
        others=others,
        dark=_("light or dark"),
    )


def title(name: str) -> str:
    """Return the title of a page; of a study its name."""
    if name not in PAGES:
        return name
    return _(importlib.import_module(f"souron.studio.pages.{name}").TITLE)


def foot(studio: Studio) -> Markup:
    said = _("souron {version} · everything stays on this computer · runs are in {folder}")
    return Markup(
        '<footer><p>{said}</p></footer><aside id="wrong" role="alert" hidden>'
        '<strong>{wrong}</strong><button type="button" data-close aria-label="{close}">×</button>'
        "<div></div></aside>"
    ).format(
        said=said.format(version=souron.__version__, folder=studio.project),
        wrong=_("This did not work"),
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
        '<div id="head">{head}</div><main id="page"><p class="actions"><a href="{run}">{back}</a>'
        '<a href="{address}" download="{name}.html">{save}</a></p>{foreign}'
        '<iframe class="frame whole" sandbox="allow-popups" src="{address}" title="{told}">'
        "</iframe></main></body></html>"
    ).format(
        language=studio.language,
        told=told,
        head=head(studio, "runs", lambda language: f"/report/{language}/{quote(f'{task}/{name}')}"),
        run=studio.url("runs", run=f"{task}/{name}"),
        back=_("What can be done with this run"),
        save=_("Save the report as a file"),
        address=address,
        name=name,
        foreign=Markup('<p class="remark">{}</p>').format(foreign) if foreign else "",
    )
