"""Use a trained system: give an input and get a prediction, or generate.

``predict_form``, which imports torch, builds the form when a system is chosen; this page does not
import torch.
"""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.data import display_names
from souron.hub import fetch, zoo
from souron.studio.forms import generate_form
from souron.studio.jobs.job_view import Watch
from souron.studio.runs import run_list
from souron.studio.shared import DIRECT, QUIET, Studio, missing
from souron.utils.messages import N_, UserError, _

TITLE = N_("Use")


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Use what was trained"),
            _(
                "Ask a run, or a system that comes ready trained, about something of your own. It "
                "stays on this computer."
            ),
        )
    )
    chosen = gr.Dropdown([], value=None, label=_("run or system"))

    empty = gr.HTML()

    says = studio.says
    build = gr.render(chosen, triggers=[chosen.change], **QUIET, **DIRECT)
    build(says(lambda name: use(studio, name, watch, same)))
    watch = Watch(studio, generate_form.outcome, ("generate",))
    same = gr.HTML()
    latest = says(lambda name: generate_form.latest(studio, name))
    watch.follow(chosen.change(latest, chosen, watch.job, **QUIET))
    studio.opened(lambda query: offer(studio, query), [chosen, empty])


def offer(studio: Studio, query: Mapping[str, str]) -> list[Any]:
    """Return the systems to choose from, and a note where there is none.

    Selected is the one in the address, or the newest run that predicts or generates.
    """
    import gradio as gr

    offered = choices(studio)
    wanted = query.get("run") or query.get("system") or ""
    if "run" in query:
        try:
            wanted = str(run_list.find(studio.project, query["run"]))
        except UserError:
            wanted = query["run"]  # choosing it reports the error
    if wanted and wanted not in [name for _shown, name in offered]:
        offered.append((wanted, wanted))
    if not offered:
        return [gr.update(choices=[], value=None), nothing(studio)]
    return [gr.update(choices=offered, value=wanted or first(studio, offered)), ""]


def first(studio: Studio, offered: list[tuple[str, str]]) -> str:
    """Return the first name that predicts or generates, or else the first."""
    from souron.studio.forms import predict_form

    names = [name for _shown, name in offered]
    return next((name for name in names if predict_form.works(studio.project, name)), names[0])


def choices(studio: Studio) -> list[tuple[str, str]]:
    """Return (shown, name) of trained runs, then of systems that need no training.

    Runs are ordered newest first, with stopped ones after the others.
    """
    found = sorted(run_list.runs(studio.project), key=lambda run: run.state != "finished")
    runs = [
        (f"{run.name} – {', '.join(filter(None, facts))}", str(run.folder))
        for run in found
        if not run.compares and run.state != "damaged"
        if (run.folder / "weights" / "best.safetensors").is_file()
        if (facts := (*run.systems, display_names.called(run.data), str(run.result or "")))
    ]
    return [*runs, *ready()]


def ready() -> list[tuple[str, str]]:
    """Return systems that are usable without training.

    These have published weights on this computer, come ready trained, or learn nothing.
    """
    found = []
    for entry in registry.entries().values():
        names = [registry.full_name(entry, size) for size in entry.weights]
        found += [(f"{name} – {_('published weights')}", name) for name in names if fetch.where(name)]
        if zoo.where(entry.name):
            found.append((f"{entry.name} – {_('ready trained')}", entry.name))
        if not entry.needs_fit:
            found.append((f"{entry.name} – {registry.about(entry)}", entry.name))
    return [*found, *((f"{name} – {_('ready trained')}", name) for name in zoo.variants())]


def use(studio: Studio, name: str | None, watch: Watch, same: Any) -> None:
    """Build the form of a system, see ``predict_form.build``."""
    if name:
        from souron.studio.forms import predict_form

        predict_form.build(studio, name, watch, same)


def nothing(studio: Studio) -> Markup:
    return missing(_("Nothing was trained here yet."), (studio.url("train"), _("Train a system")))
