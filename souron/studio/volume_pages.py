"""Pages of labelled volumes that were just predicted: slices linked with surfaces.

They are the offline pages of ``report.labelled`` in a frame. Each is made when the browser requests
it and kept in memory under a random name until others replace it. A page runs its own scripts
without the studio's origin, so that it reaches neither the studio nor anything else.
"""

import secrets
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from markupsafe import Markup

from souron.utils.messages import LANGUAGES, _, language, use_language

if TYPE_CHECKING:
    from souron.kinds.labelled_volume import LabelledVolume

MOST = 4  # pages in memory
POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; connect-src data: blob:; "
    "frame-ancestors 'self'"
)  # the page's own policy allows its own scripts alone

_kept: "OrderedDict[str, LabelledVolume]" = OrderedDict()
_texts: dict[tuple[str, str], str] = {}
_lock = threading.Lock()


def keep(labelled: "LabelledVolume") -> str:
    """Store a labelled volume and return the name of its page."""
    name = secrets.token_urlsafe(16)
    with _lock:
        _kept[name] = labelled
        while len(_kept) > MOST:
            old, _labelled = _kept.popitem(last=False)
            for wish in LANGUAGES:
                _texts.pop((old, wish), None)
    return name


def text(name: str, wish: str) -> str:
    """Return the page in a language; "" where it is no longer stored. Raises UserError."""
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
    """Return the page in a frame, with a link to it alone."""
    address = f"/volume/{language()}/{keep(labelled)}"
    return Markup(
        '<iframe class="volume" src="{0}" title="{1}" sandbox="allow-scripts allow-downloads" '
        'style="width:100%;height:min(62rem,88vh);border:0"></iframe>'
        '<p><a class="whole" href="{0}" target="_blank" rel="noopener">{2}</a></p>'
    ).format(address, _("slices in three planes and surfaces"), _("on a page of its own"))
