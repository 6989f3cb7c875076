"""Use a trained system: give an input and get a prediction, or generate.

``predict_form``, which imports torch, makes the form of the system that is chosen; this module does
not import torch.
"""

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.data import display_names
from souron.hub import fetch, zoo
from souron.studio.forms import controls, devices
from souron.studio.forms.generate_form import PANEL
from souron.studio.runs import run_list
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, missing
from souron.utils.files import as_json
from souron.utils.messages import N_, UserError, _

TITLE = N_("Use")


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    head = controls.page_head(
        _("Use what was trained"),
        _("Ask a run, or a system that comes ready trained, about something of your own. It stays on this computer."),
    )
    offered = choices(studio)
    name = wanted(studio, query) or (first(studio, offered) if offered else "")
    if not name:
        return head + nothing(studio)
    redraw = {"hx_post": controls.part(studio, "use", "system"), "hx_target": "#system", "hx_swap": "outerHTML"}
    chooser = controls.chooser("name", offered, name, hx_include="this", **redraw)
    return Markup('{}<div class="use">{}{}</div>').format(
        head, controls.labelled(_("run or system"), chooser), chosen(studio, name)
    )


def chosen(studio: Studio, name: str) -> Markup:
    """Return the form of a system, and what comes of it."""
    from souron.studio.forms import predict_form

    return Markup('<div id="system" data-module="/static/given.js" data-words="{}">{}</div>').format(
        as_json(devices.words()), predict_form.chosen(studio, name)
    )


def system(studio: Studio, form: Posted) -> Markup:
    """Return the form of another system."""
    return chosen(studio, form["name"])


def wanted(studio: Studio, query: Mapping[str, str]) -> str:
    """Return the run or the system that an address names; "" where it names none."""
    job = studio.find(query.get("job", ""))
    if job is not None and job.words[:1] == ["generate"]:
        return job.words[1]
    if "run" not in query:
        return query.get("system", "")
    try:
        return str(run_list.find(studio.project, query["run"]))
    except UserError:
        return query["run"]  # its form says what is wrong


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


def nothing(studio: Studio) -> Markup:
    return missing(_("Nothing was trained here yet."), (studio.url("train"), _("Train a system")))


def generate(studio: Studio, form: Posted) -> Markup:
    """Start the job of a generator, and return the panel that shows it. Raises UserError."""
    from souron.studio.forms import predict_form

    return PANEL.start(studio, predict_form.generate(studio, form), queued=False)


def of_form(name: str) -> Callable[[Studio, Any], Any]:
    """Return a function of ``predict_form``, imported when it is called."""

    def call(studio: Studio, asked: Any) -> Any:
        from souron.studio.forms import predict_form

        return getattr(predict_form, name)(studio, asked)

    return call


PARTS = {
    "system": system,
    "generate": generate,
    **{name: of_form(name) for name in ("ready", "predict", "shown", "files", "same")},
    **PANEL.parts(),
}
VIEWS = {"file": of_form("file")}
