"""Teach it yourself: name classes, add images, train in seconds, and test the network.

The page's script (``static/teach.js``) calls ``routes.teach``; images are scaled down in the
browser before they are sent to the studio on this computer.
"""

import json
from collections.abc import Mapping

from markupsafe import Markup

from souron.studio.lecture.teaching import FEW, LONGEST, MOST_CLASSES, MOST_IMAGES
from souron.studio.shared import Studio, unanswered
from souron.utils.messages import N_, _

TITLE = N_("Teach it yourself")
PLACE = "teach"


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    return Markup(
        '<link rel="stylesheet" href="/static/teach.css"><h1>{title}</h1><p>{about}</p>'
        '<div id="teach" data-module="/static/teach.js" data-language="{language}" '
        'data-words="{words}" data-most="{most}" data-longest="{longest}" '
        'data-pictures="{pictures}">{parts}</div>'
    ).format(
        title=_("Teach it yourself"),
        about=_(
            "Show the computer two things or more, and it learns to tell them apart. The "
            "pictures do not leave this computer, and are deleted when you leave this page, "
            "unless you keep them."
        ),
        language=studio.language,
        words=json.dumps({name: str(text) for name, text in said().items()}),
        most=MOST_CLASSES,
        longest=LONGEST,
        pictures=MOST_IMAGES,
        parts=parts(),
    )


def parts() -> Markup:
    """Return the page without its classes, which the script adds."""
    return Markup(
        '<section aria-labelledby="teach-1"><h2 id="teach-1">{one}</h2><p>{how}</p>'
        '<div class="classes"></div><p class="buttons"><button type="button" data-do="class">'
        "{more}</button></p></section>"
        '<section aria-labelledby="teach-2"><h2 id="teach-2">{two}</h2>'
        '<div class="remarks" role="status"></div><p class="buttons"><button type="button" '
        'class="first" data-do="train" disabled>{train}</button></p>'
        '<div class="progress" hidden><p role="status"></p><div role="progressbar" '
        'aria-label="{learning}" aria-valuemin="0" aria-valuemax="100"><i></i></div></div>'
        '<p class="wrong" role="alert" hidden></p></section>'
        '<section aria-labelledby="teach-3" class="trying" hidden><h2 id="teach-3" tabindex="-1">'
        '{three}</h2><p class="figure"></p><div class="sides"><div class="given"><video muted '
        'playsinline hidden aria-label="{camera}"></video><img hidden alt=""><p class="buttons">'
        '<button type="button" data-do="live" aria-pressed="false">{film}</button>'
        '<label class="button">{choose}<input type="file" accept="image/*" multiple data-try>'
        '</label></p><p class="faint">{drop}</p></div><ul class="bars" aria-live="off"></ul></div>'
        '<ol class="tried"></ol></section>'
        '<section aria-labelledby="teach-4" class="keeping" hidden><h2 id="teach-4">{four}</h2>'
        '<p>{why}</p><p class="buttons"><label>{name}<input type="text" maxlength="40" data-name>'
        '</label><button type="button" data-do="keep">{keep}</button></p><p class="kept" '
        'role="status"></p></section>'
    ).format(
        one=_("1. What should it recognise?"),
        how=_("Give each class a name and about twenty pictures, from files or from the camera."),
        more=_("One more class"),
        two=_("2. Let it learn"),
        train=_("Train"),
        learning=_("how far it is"),
        three=_("3. Try it"),
        camera=_("the camera's picture"),
        film=_("Camera on"),
        choose=_("Choose pictures"),
        drop=_("or drop pictures here"),
        four=_("4. Keep it"),
        why=_(
            "It becomes a run like any other: with a report, to be used, compared and exported. "
            "Its pictures are kept with it."
        ),
        name=_("name"),
        keep=_("Keep it"),
    )


def said() -> dict[str, str]:
    """Return the texts of the script."""
    return {
        "class": _("class {number}"),
        "called": _("name of the class"),
        "whose": _("Several people or patients?"),
        "person": _("who is on the pictures that you bring next"),
        "why": _(
            "Pictures of one person or patient then never lie on both sides: it is tested "
            "on others than those it was trained on. Change it before you bring the next "
            "person's pictures."
        ),
        "choose": _("Choose pictures"),
        "drop": _("or drop them here"),
        "film": _("Film"),
        "stop": _("Stop filming"),
        "count": _("{count} images"),
        "of": _("of {person}"),
        "remove": _("remove picture {number} of {label}"),
        "drop_class": _("Remove the class {label}"),
        "removed": _("removed"),
        "no_picture": _("{file} is no picture that this browser can show"),
        "no_camera": _("There is no camera, or it may not be used: allow it in the browser."),
        "names": _("Give each class a name of its own."),
        "need": _("Bring at least two pictures of each class."),
        "few": _("It can learn now. With {few} pictures or more of each class it learns better.").format(few=2 * FEW),
        "ready": _("It can learn now."),
        "learning": _("It is learning … ({seconds} s)"),
        "learnt": _("It has learnt. Show it something new."),
        "figure": _("{figure} of {n} new images right (95 % interval {interval})."),
        "live": _("Camera on"),
        "off": _("Camera off"),
        "likely": _("{label}: {percent} %"),
        "keeping": _("keeping …"),
        "kept": _("Kept as {name}."),
        "use": _("Use it"),
        "report": _("Read the report"),
        "failed": unanswered(),
    }
