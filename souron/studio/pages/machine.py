"""This machine: hardware, fetched data and weights, and privacy."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron.hub import doctor
from souron.hub import fetch as hub_fetch
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.job_view import Watch
from souron.studio.shared import Studio, same_thing, table
from souron.utils import units
from souron.utils.messages import N_, _

TITLE = N_("Machine")
PLACE = ""  # the gear in the header


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(Markup("<h1>{}</h1>").format(_("This computer")))
    checked = gr.HTML()
    gr.HTML(
        Markup("<h2>{}</h2><p>{}</p>").format(
            _("What can be fetched"),
            _("Only this uses the network, and only when the button is pressed. Everything else works without one."),
        )
    )
    listed = gr.HTML(fetchable())
    with gr.Row():
        name = gr.Dropdown(away(), value=None, label=_("what to fetch"))
        go = gr.Button(_("Fetch"), variant="primary")
    watch = Watch(studio, lambda studio, job: fetched(job), ("fetch",))
    gr.HTML(same_thing("souron doctor\nsouron fetch --list", "import souron.hub.doctor\nsouron.hub.doctor.diagnose()"))

    studio.opened(
        lambda query: [found(studio), fetchable(), wanted_first(query.get("name", ""))], [checked, listed, name]
    )

    def fetch(wanted: str | None) -> str:
        return studio.jobs.start(["fetch", wanted or ""], studio.language, queued=False).id

    watch.follow(go.click(studio.says(fetch), name, watch.job, show_progress="hidden"))
    watch.result.change(
        studio.says(lambda: [fetchable(), gr.update(choices=away())]), None, [listed, name], show_progress="hidden"
    )


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


def wanted_first(name: str) -> Any:
    """Return the list of downloads, with the one in the address selected."""
    import gradio as gr

    return gr.update(choices=away(), value=name if name in away() else None)


def fetched(job: Job) -> Markup:
    there: Mapping[str, Any] = (job.result or {}).get("fetched", {})
    lines = Markup("").join(Markup("<li>{}: <code>{}</code></li>").format(name, path) for name, path in there.items())
    return Markup("<ul>{}</ul>").format(lines)
