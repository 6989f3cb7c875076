"""Interactive experiments: predict the outcome, then see it."""

from collections.abc import Mapping

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.shared import Studio
from souron.utils.messages import N_, _

TITLE = N_("Interactives")
PLACE = "learn"


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    return asked(studio, query.get("name", ""))


def asked(studio: Studio, name: str) -> Markup:
    """Return the interactive in the address, or an overview without one. Raises UserError."""
    if not name:
        return overview(studio)
    interactive.find(name)
    others = [each for each in interactive.names() if each != name]
    before = Markup('<p class="actions"><a href="{}">{}</a></p>').format(
        studio.url("interactives"), _("all interactives")
    )
    links = Markup("").join(
        Markup('<li><a href="{}">{}</a></li>').format(
            studio.url("interactives", name=each), _(interactive.find(each).TITLE)
        )
        for each in others
    )
    return Markup("{}{}<h2>{}</h2><ul>{}</ul>").format(before, interactive.html(name, "h1"), _("Continue with"), links)


def overview(studio: Studio) -> Markup:
    cards = Markup("").join(
        Markup(
            '<li class="card"><h2>{}</h2><p>{}</p><p class="actions">'
            '<a class="first" href="{}" aria-label="{}">{}</a></p></li>'
        ).format(
            _(module.TITLE),
            _(module.QUESTION),
            studio.url("interactives", name=name),
            _("{title}: guess, then try").format(title=_(module.TITLE)),
            _("Guess, then try"),
        )
        for name, module in ((name, interactive.find(name)) for name in interactive.names())
    )
    return Markup('<h1>{}</h1><p>{}</p><ul class="cards">{}</ul>').format(
        _("Guess what will happen, then see it"),
        _(
            "Each asks a question first. What you see is computed on this computer, by the systems "
            "that all other pages use."
        ),
        cards,
    )
