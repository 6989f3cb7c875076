"""What stands above and below each page: the way to the others, the language, light or dark."""

import importlib

from markupsafe import Markup

import souron
from souron.studio.shared import PAGES, Studio
from souron.utils.messages import LANGUAGES, _

NAMES = {"en": "English", "ja": "日本語"}


def head(studio: Studio, here: str) -> Markup:
    links = Markup("").join(
        Markup('<li><a href="{}"{}>{}</a></li>').format(
            studio.url(name), Markup(' aria-current="page"') if name == here else "", title(name)
        )
        for name in PAGES
    )
    others = Markup("").join(
        Markup('<a href="/{0}/{1}" lang="{0}" hreflang="{0}" data-language="{0}">{2}</a>').format(
            language, "" if here == PAGES[0] else here, NAMES[language]
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
