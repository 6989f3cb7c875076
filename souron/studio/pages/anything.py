"""Any file in, and the system that answers: what it is, which systems could answer, and the answer.

The page's script (``static/anything.js``) sends each file, the camera's picture or the microphone's
recording, and collects the answers in a table that can be saved.
"""

import json
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron.studio.any_file import answering, live_camera
from souron.studio.forms import devices
from souron.studio.shared import Studio
from souron.utils.messages import N_, _

TITLE = N_("Any file")
PLACE = "use"
ACTIONS = {
    "sample": answering.sampled,
    "film": answering.film,
    "cameras": live_camera.offered,
    "frame": live_camera.answered,
}
UPLOADS = {"file": answering.sent}


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    examples = Markup("").join(
        Markup('<button type="button" data-sample="{}">{}</button>').format(name, _(text))
        for name, text in answering.SAMPLES.items()
    )
    return Markup(
        '<h1>{title}</h1><p>{about}</p><div id="anything" class="anything" data-module="/static/anything.js" '
        'data-page="{language}/anything" data-words="{words}"><p class="examples">{examples} {buttons}</p>'
        '<div class="zone"><p class="actions">'
        '<label class="pick">{choose}<input type="file" multiple></label>'
        '<button type="button" data-do="camera">{camera}</button>'
        '<button type="button" data-do="live" aria-pressed="false">{live}</button>'
        '<button type="button" data-do="microphone" aria-pressed="false">{microphone}</button>'
        '<span class="faint">{drop}</span></p><video hidden playsinline muted></video>{recording}{camera_box}'
        '<label class="typed">{typed}<textarea rows="2" maxlength="20000">'
        '</textarea></label><p class="actions"><button type="button" data-do="text">{ask}</button></p></div>'
        '<p role="status" class="faint" data-count></p>'
        '<ol class="given"></ol><p class="actions"><button type="button" data-do="save" hidden>{save}</button></p>'
        "</div>"
    ).format(
        title=_("Use it on anything"),
        about=_(
            "Give it a photograph, a film, a CT volume, a text, a melody or a sound. The best system that is here "
            "answers, and says what it has learnt from and whether your file is unlike that."
        ),
        language=studio.language,
        words=json.dumps(words(), default=str),
        choose=_("Choose files"),
        camera=_("Camera"),
        live=_("Live camera"),
        microphone=_("Microphone"),
        drop=_("or drop files here, or paste an image"),
        recording=devices.recording(),
        camera_box=_camera(),
        typed=_("or type a text"),
        ask=_("Answer"),
        examples=_("Examples:"),
        buttons=examples,
        save=_("Save the answers as a table (CSV)"),
    )


def _camera() -> Markup:
    """Return the live camera beside its answer, hidden at first."""
    return Markup(
        '<div class="live" hidden><div><video playsinline muted></video><label>{} <select></select></label>'
        '<p role="status" class="faint"></p><p class="faint">{}</p></div><div class="now"></div></div>'
    ).format(_("answered by"), _("The camera's images go to the studio on this computer alone, and are not kept."))


def words() -> dict[str, Any]:
    """Return the texts of the script."""
    return {
        **devices.words(),
        "busy": _("computing …"),
        "live": _("Live camera"),
        "off": _("Camera off"),
        "rate": _("{count} answers a second"),
        "answered": _("{system} answers"),
        "others": _("another system:"),
        "done": _("Answers: {count}"),
        "files": _("{count} files"),
        "wrong": _("no answer"),
        "stop": _("Stop"),
        "play": _("Play"),
        "pause": _("Pause"),
        "fold": _("Options of this answer"),
        "options": _("all options of {system}"),
        "heads": [_("file"), _("answer"), _("system"), _("trained on"), _("unlike its training data")],
    }
