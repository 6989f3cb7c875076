"""Train one system: a forecast, then live losses and samples; stopping keeps the work."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.hub import fetch
from souron.studio import naming
from souron.studio.forms import command_form, controls, own_data
from souron.studio.forms.command_form import Field
from souron.studio.jobs import panel
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.panel import Panel
from souron.studio.pages import lecture
from souron.studio.runs import run_list
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, command, remarks, same_thing, table, words
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Train")
PLACE = "data"
DEFAULT = {"system": "cnn", "data": "digits", "budget": "20s"}
BUDGETS = ("10s", "20s", "1min", "5min", "20min", "1h", "1ep", "5ep", "20ep")
STARTS: dict[str, dict[str, bool]] = {
    "scratch": {},
    "transfer": {"pretrained": True, "freeze": True},
    "fine-tune": {"pretrained": True},
}
PYTHON = {"imgsz": "side", "lr0": "rate"}
HERE = ("system", "data", "budget", "epochs", "time", "pretrained", "freeze")  # with own widgets


def start_name(start: str) -> str:
    return {
        "scratch": _("from scratch"),
        "transfer": _("transfer: published weights, only the last layer is trained"),
        "fine-tune": _("fine-tuning: published weights, every layer is trained"),
    }[start]


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    job = PANEL.latest(studio, query)
    values = held(studio, query, job)
    left = Markup("{}{}{}").format(
        fields(studio, values), panel.estimate_place(studio, "train"), controls.follows(studio, "train", "same", "same")
    )
    return controls.page_head(_("Train a system")) + controls.columns(
        left, Markup('<div id="idea">{}</div>{}').format(described(values["system"]), PANEL.html(studio, job))
    )


def further() -> dict[str, Field]:
    """Return the options without a field of their own."""
    return {name: field for name, field in command_form.options_of("train").items() if name not in HERE}


def held(studio: Studio, query: Mapping[str, str], id: str) -> dict[str, Any]:
    """Return the form's initial values, from the address or else from the job shown. Raises UserError."""
    job = studio.find(id) if not query or "job" in query else None
    verb, names, options = naming.taken(job.meant if job is not None else [])
    if verb != "train" or not names:
        entry, size = registry.find(query.get("system") or DEFAULT["system"])
        passed = {name: query[name] for name in ("data", *command_form.READING) if query.get(name)}
        return {**DEFAULT, "system": entry.name, "size": size, "start": "scratch", "config": "", **passed}
    entry, size = registry.find(names[0])
    says = {"pretrained": options.get("pretrained") == "true", "freeze": "freeze" in options}
    start = max((name for name, said in STARTS.items() if says | said == says), key=lambda name: len(STARTS[name]))
    own = {*further(), *HERE}
    config = " ".join(f"{name}={value}" for name, value in options.items() if name not in own)
    return {**DEFAULT, **options, "system": entry.name, "size": size, "start": start, "config": config}


def fields(studio: Studio, values: Mapping[str, Any]) -> Markup:
    """Return the form with these values; another system or size draws it anew."""
    system, size = values["system"], values["size"]
    redraw = {"hx_post": controls.part(studio, "train", "form"), "hx_include": "#form", "hx_target": "#form"}
    redraw |= {"hx_swap": "outerMorph"}
    known, more = command_form.options_of("train"), further()
    own = taken(system, more)
    systems = [(name, name) for name in registry.entries()]
    sizes = [(name, name) for name in sizes_of(system)]
    options = Markup("").join(field.html(values.get(name, "")) for name, field in more.items() if name in own)
    config = controls.text("config", values["config"], placeholder="rate=0.01 width=32")
    content = [
        controls.labelled(_("system"), controls.chooser("system", systems, system, **redraw)),
        controls.labelled(
            _("size"),
            controls.chooser("size", sizes, size, **redraw),
            _("tiny to try, small for a laptop, the others as published"),
        ),
        own_data.field(studio, values["data"], known["data"].help),
        controls.labelled(
            _("budget"),
            controls.either("budget", naming.budgets(BUDGETS), values["budget"], _("another, such as 90s")),
            _("or one of your own, such as 90s, 3min or 10ep"),
        ),
        controls.radios(
            "start", _("where it starts"), starts(system, size), startable(system, size, values), whence(system, size)
        ),
        controls.folded(
            controls.more_options(),
            options + controls.labelled(_("fields of the system's Config"), config),
            opened=any(values.get(name) for name in (*own, "config")),
        ),
        controls.press(_("Start training"), first=True),
    ]
    return controls.form(studio, "train", "start", Markup("").join(content))


def redrawn(studio: Studio, form: Posted) -> Markup:
    """Return the form and the description for the system that was chosen, with the other values kept."""
    entry, _size = registry.find(form["system"])
    size = form["size"] if form["size"] in entry.sizes else "small"
    names = ("start", "config", *further())
    values = {name: form[name] for name in names} | {name: controls.chosen(form, name) for name in ("data", "budget")}
    idea = Markup('<div id="idea" hx-swap-oob="true">{}</div>').format(described(entry.name))
    return fields(studio, {**values, "system": entry.name, "size": size}) + idea


def starts(name: str, size: str) -> list[tuple[str, str]]:
    """Return (shown, value) of the possible initial weights on this computer."""
    entry, _size = registry.find(name)
    there = size in entry.weights and fetch.where(registry.full_name(entry, size)) is not None
    return [(start_name(start), start) for start in STARTS if there or start == "scratch"]


def startable(name: str, size: str, values: Mapping[str, Any]) -> str:
    """Return the initial weights that are chosen, if they are possible."""
    possible = [value for _shown, value in starts(name, size)]
    return values["start"] if values["start"] in possible else "scratch"


def whence(name: str, size: str) -> str:
    """Explain why training can only start from scratch; "" where there is a choice."""
    entry, _size = registry.find(name)
    if len(starts(name, size)) > 1:
        return ""
    if size in entry.weights:
        return _("it can start from its published weights once they were fetched: page Machine")
    return _("nobody has published weights for it at this size")


def sizes_of(name: str) -> list[str]:
    return list(registry.find(name)[0].sizes)


def taken(name: str, further: Mapping[str, Field]) -> set[str]:
    """Return the options that a system's task accepts, common and its own."""
    task = registry.find(name)[0].task
    owners = {field.name: field.tasks for field in registry.task_options()}
    return {option for option in further if task in owners.get(option, (task,))}


def described(name: str) -> Markup:
    return Markup('<div class="card">{}</div>').format(lecture.about(registry.find(name)[0], "h2"))


def asked(form: Posted) -> tuple[str, dict[str, Any], list[str]]:
    """Return the system, the options and the config's fields of the form. Raises UserError."""
    entry, _size = registry.find(form["system"])
    options: dict[str, Any] = {name: controls.chosen(form, name) for name in ("data", "budget")}
    more = further()
    own = taken(entry.name, more)
    options |= STARTS.get(form["start"], {})
    options |= command_form.values([field for name, field in more.items() if name in own], form)
    return registry.full_name(entry, form["size"] or "small"), options, form["config"].split()


def line(studio: Studio, form: Posted) -> list[str]:
    """Return the words of the command.

    Raises UserError for data outside of the roots, and for weights that are not on this computer.
    """
    system, options, config = asked(form)
    studio.roots.data(options["data"])
    if options.get("pretrained") and fetch.where(system) is None:
        raise UserError(
            "weights",
            _("the published weights of {system} are not on this computer").format(system=system),
            expected=_("to start from scratch, or to fetch them first"),
            fix=f"souron fetch {system}",
        )
    return [*words("train", [system], options), *config]


def same(studio: Studio, form: Posted) -> Markup:
    """Return the equivalent command line and Python code; empty where the form is incomplete."""
    try:
        system, options, config = asked(form)
    except UserError:  # the button reports errors
        return Markup()
    if config:
        fields = dict(field.partition("=")[::2] for field in config)
        python = command_form.python("train", repr(system), {**options, "config": fields}, PYTHON)
    else:
        python = command_form.python("train", repr(system), options, PYTHON)
    return same_thing(command([*words("train", [system], options), *config]), python)


def outcome(studio: Studio, job: Job) -> str:
    """Return the result of a finished training, with next steps."""
    result = job.result or {}
    run = result.get("run", "")
    made = run_list.finished(studio.project, run)
    rows = [
        (
            registry.metric(name).title,
            registry.metric(name).text(found["value"]),
            registry.metric(name).interval(found["low"], found["high"]),
            units.whole(found["n"]),
        )
        for name, found in result.get("measures", {}).items()
        if found["value"] is not None
    ]
    heads = (_("measure"), _("value"), _("95 % interval"), _("test cases"))
    links = Markup('<p class="actions"><a class="first" href="{}">{}</a><a href="{}">{}</a></p>')
    spent, foretold = result.get("outcome", {}), result.get("forecast", {})
    return Markup("<h2>{}</h2>{}{}<p>{}</p>{}").format(
        _("What came out"),
        remarks(made.notes if made else result.get("notes") or ()),
        table(heads, rows, _("on unseen cases")) if rows else "",
        _("{time} of training (estimated {foretold}), {memory} of memory (estimated {thought})").format(
            time=units.seconds(spent.get("seconds", 0)),
            foretold=units.seconds(foretold.get("seconds", 0)),
            memory=units.size(spent.get("bytes", 0)),
            thought=units.size(foretold.get("bytes", 0)),
        ),
        links.format(
            studio.report(run) or studio.url("runs", run=run),
            _("Read the report"),
            studio.url("use", run=run),
            _("Use it"),
        ),
    )


PANEL = Panel("train", lambda: ["train"], outcome)
PARTS = {
    "form": redrawn,
    "start": lambda studio, form: PANEL.start(studio, line(studio, form)),
    "same": same,
    "estimate": lambda studio, form: panel.estimate(studio, lambda: line(studio, form)),
    **PANEL.parts(),
}
