"""Pages of labelled volumes that were just predicted: slices linked with surfaces, as the offline
page of ``report.labelled`` has them, in a frame of their own.

They are made when the browser asks for them, kept in memory under a name that cannot be guessed,
and forgotten when others follow. A page runs the scripts that it carries, without the studio's
origin: it reaches neither the studio nor anything else.
"""

import secrets
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from markupsafe import Markup

from souron.utils.messages import LANGUAGES, _, language, use_language

if TYPE_CHECKING:
    from souron.kinds.labelled_volume import LabelledVolume

MOST = 4  # that are kept
POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; connect-src data: blob:; "
    "frame-ancestors 'self'"
)  # the page's own policy allows its own scripts alone

_kept: "OrderedDict[str, LabelledVolume]" = OrderedDict()
_texts: dict[tuple[str, str], str] = {}
_lock = threading.Lock()


def keep(labelled: "LabelledVolume") -> str:
    """The name of its page."""
    name = secrets.token_urlsafe(16)
    with _lock:
        _kept[name] = labelled
        while len(_kept) > MOST:
            old, _labelled = _kept.popitem(last=False)
            for wish in LANGUAGES:
                _texts.pop((old, wish), None)
    return name


def text(name: str, wish: str) -> str:
    """The page, in that language; "" where there is none any more. Raises UserError."""
    from souron.report import labelled

    with _lock:
        found = _kept.get(name)
        if found is None or wish not in LANGUAGES:
            return ""
        if (name, wish) not in _texts:
            with use_language(wish):
                _texts[name, wish] = labelled.text(found)
        return _texts[name, wish]


def frame(labelled: "LabelledVolume") -> Markup:
    """HTML: the page in a frame, and a link to it alone."""
    address = f"/volume/{language()}/{keep(labelled)}"
    return Markup(
        '<iframe class="volume" src="{0}" title="{1}" sandbox="allow-scripts allow-downloads" '
        'style="width:100%;height:min(62rem,88vh);border:0"></iframe>'
        '<p><a class="whole" href="{0}" target="_blank" rel="noopener">{2}</a></p>'
    ).format(address, _("slices in three planes and surfaces"), _("on a page of its own"))
