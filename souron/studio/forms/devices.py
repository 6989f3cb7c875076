"""The camera and the microphone in a form; scripts make a file of what they take."""

from typing import Any

from markupsafe import Markup

from souron.studio.shared import unanswered
from souron.utils.messages import N_, _

DEVICES = {"picture": ("camera", N_("Camera")), "sound": ("microphone", N_("Microphone"))}  # by widget of a kind


def button(widget: str) -> Markup:
    """Return the button of the device that takes such a kind, see ``static/given.js``."""
    if widget not in DEVICES:
        return Markup()
    do, name = DEVICES[widget]
    return Markup(
        '<div class="device"><button type="button" data-do="{}">{}</button><video hidden playsinline muted></video>'
        "{}</div>"
    ).format(do, _(name), recording())


def recording() -> Markup:
    """Return the level and the time of a recording, hidden at first."""
    return Markup(
        '<div class="recording" hidden><meter min="0" max="1" high="0.95" aria-label="{}"></meter><output></output>'
        "</div>"
    ).format(_("level of the microphone"))


def words() -> dict[str, Any]:
    """Return the texts of the scripts."""
    return {
        "shoot": _("Take the picture"),
        "camera": _("Camera"),
        "microphone": _("Microphone"),
        "enough": _("Stop recording"),
        "seconds": _("{seconds} s of at most {most} s"),
        "short": _("Nothing was recorded: speak for a second or longer, then press “Stop recording”."),
        "silent": _("The recording is silent. Is the microphone switched on, and the right one chosen?"),
        "camera_trouble": {
            "denied": _("The camera may not be used: allow it in the browser, beside the page's address."),
            "absent": _("There is no camera."),
            "failed": unanswered(),
        },
        "microphone_trouble": {
            "denied": _("The microphone may not be used: allow it in the browser, beside the page's address."),
            "absent": _("There is no microphone."),
            "failed": unanswered(),
        },
    }
