"""This machine: hardware, fetched data and weights, and privacy."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron.hub import doctor
from souron.hub import fetch as hub_fetch
from souron.studio.forms import controls
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.panel import Panel
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, same_thing, table
from souron.utils import units
from souron.utils.messages import N_, _

TITLE = N_("Machine")
PLACE = ""  # the gear in the header


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    return Markup("{}{}<h2>{}</h2><p>{}</p>{}{}{}").format(
        controls.page_head(_("This computer")),
        found(studio),
        _("What can be fetched"),
        _("Only this uses the network, and only when the button is pressed. Everything else works without one."),
        downloads(studio, query.get("name", "")),
        PANEL.html(studio, PANEL.latest(studio, query)),
        same_thing("souron doctor\nsouron fetch --list", "import souron.hub.doctor\nsouron.hub.doctor.diagnose()"),
    )


def downloads(studio: Studio, wanted: str = "") -> Markup:
    """Return the table of downloads, and the form that fetches one, with the ``wanted`` one chosen."""
    names = away()
    choices = [(name, name) for name in ["", *names]]
    chooser = controls.chooser("name", choices, wanted if wanted in names else "")
    form = controls.labelled(_("what to fetch"), chooser) + controls.press(_("Fetch"), first=True)
    return Markup('<div id="downloads">{}{}</div>').format(fetchable(), controls.form(studio, "machine", "fetch", form))


def fetch(studio: Studio, form: Posted) -> Markup:
    """Start a download, and return the panel of its job. Raises UserError."""
    return PANEL.start(studio, ["fetch", form["name"]], queued=False)


def found(studio: Studio) -> Markup:
    """Return the result of ``souron doctor``, warnings first."""
    checked = doctor.diagnose(studio.project)
    troubles = Markup("").join(Markup("<li>{}</li>").format(text) for text in checked["troubles"])
    rows = doctor.diagnosis(checked)
    return Markup('<ul class="troubles">{}</ul>{}').format(
        troubles, table((_("what"), _("value")), rows, _("this computer"))
    )


def fetchable() -> Markup:
    rows = [
        (
            item.name,
            _("data") if item.sort == "data" else _("weights"),
            units.size(item.megabytes * 1e6) if item.megabytes else "",
            item.licence,
            _("here") if hub_fetch.where(item.name) else _("not here"),
        )
        for item in hub_fetch.fetchable().values()
    ]
    return table((_("name"), _("kind"), _("size"), _("licence"), _("where")), rows)


def away() -> list[str]:
    """Return the names of data and weights that are not fetched yet."""
    return [name for name in hub_fetch.fetchable() if hub_fetch.where(name) is None]


def fetched(studio: Studio, job: Job) -> Markup:
    """Return the fetched files of a job; the table of downloads is drawn anew with them."""
    there: Mapping[str, Any] = (job.result or {}).get("fetched", {})
    lines = Markup("").join(Markup("<li>{}: <code>{}</code></li>").format(name, path) for name, path in there.items())
    redraw = {"hx_get": controls.part(studio, "machine", "downloads"), "hx_trigger": "load", "hx_target": "#downloads"}
    return Markup("<ul{}>{}</ul>").format(controls.attributes({**redraw, "hx_swap": "outerMorph"}), lines)


PANEL = Panel("machine", lambda: ["fetch"], fetched)
PARTS = {"fetch": fetch, "downloads": lambda studio, _form: downloads(studio), **PANEL.parts()}
