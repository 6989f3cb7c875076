"""The page of the first steps: try a network, train one, compare two."""

from markupsafe import Markup

from souron.studio import layout
from souron.studio.lecture import lesson
from souron.studio.lecture.lesson import address
from souron.studio.shared import Studio
from souron.utils.messages import _


def page(studio: Studio) -> str:
    """Return the page of three steps in five minutes: try a network, train one, compare two."""
    steps = (
        (
            _("Try a trained network"),
            _(
                "EfficientNet-Lite knows a thousand things from ImageNet's photographs. Ask it "
                "about the picture on the page, then about one of your own. It says how confident "
                "it is; watch how confident it is when it is wrong."
            ),
            address(studio.language, "V8"),
            _("Ask it"),
            _("1 minute"),
        ),
        (
            _("Train one for ten seconds"),
            _(
                "A small convolutional network is trained on handwritten digits for ten seconds, "
                "then tested on digits that it never saw. The figure comes with an interval: "
                "chance alone could shift it this much."
            ),
            "",
            "",
            _("2 minutes"),
        ),
        (
            _("Compare two"),
            _(
                "Is the convolutional network better than one without convolutions? Both are "
                "trained on the same digits for the same time, several times over. You get one "
                "sentence: which is better, by how much, or that nobody can say yet."
            ),
            studio.url("compare", systems="mlp,cnn", data="digits", budget="10s"),
            _("Compare them"),
            _("2 minutes"),
        ),
    )
    each = Markup('<section class="part"><h2>{}. {} <small>{}</small></h2><p>{}</p>{}</section>')
    items = Markup("").join(
        each.format(
            number,
            title,
            time,
            text,
            Markup('<p class="actions"><a class="first" href="{}">{}</a></p>').format(where, does)
            if where
            else lesson.train_button(studio, "first", lesson.FIRST),
        )
        for number, (title, text, where, does, time) in enumerate(steps, 1)
    )
    body = Markup(
        '{trail}<h1>{title}</h1><p>{about}</p>{items}<p class="actions"><a href="{home}">{go}</a></p>'
    ).format(
        trail=layout.trail((studio.url("lecture"), _("Lecture"))),
        home=studio.url("lecture"),
        title=_("Start here"),
        about=_(
            "Three steps in five minutes: try, train, compare. Each opens on this computer; "
            "come back here with the browser's back button."
        ),
        items=items,
        go=_("Continue with the lecture"),
    )
    return lesson.whole(studio, _("Start here"), body, "start")
