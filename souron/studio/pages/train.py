"""Train one system: a forecast, then live losses and samples; stopping keeps the work."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.cli import train
from souron.hub import fetch
from souron.runs import options as run_options
from souron.runs.options import TrainOptions
from souron.studio import naming
from souron.studio.forms import command_form, own_data
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.job_view import Estimate, Watch
from souron.studio.pages import lecture
from souron.studio.runs import run_list
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


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(Markup("<h1>{}</h1>").format(_("Train a system")))
    known = command_form.fields(train.train)
    further = {name: field for name, field in known.items() if name not in HERE}
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            system = gr.Dropdown(list(registry.entries()), value=DEFAULT["system"], label=_("system"))
            size = gr.Dropdown(
                sizes_of(DEFAULT["system"]),
                value="small",
                label=_("size"),
                info=_("tiny to try, small for a laptop, the others as published"),
            )
            data = gr.Dropdown(
                [], value=DEFAULT["data"], allow_custom_value=True, label=_("data"), info=known["data"].help
            )
            budget = gr.Dropdown(
                naming.budgets(BUDGETS),
                value=DEFAULT["budget"],
                allow_custom_value=True,
                label=_("budget"),
                info=_("or one of your own, such as 90s, 3min or 10ep"),
            )
            start = gr.Radio(
                starts(DEFAULT["system"], "small"),
                value="scratch",
                label=_("where it starts"),
                info=whence(DEFAULT["system"], "small"),
            )
            with gr.Accordion(_("More options"), open=False):
                own = taken(DEFAULT["system"], further)
                more = [field.widget(visible=name in own) for name, field in further.items()]
                config = gr.Textbox("", label=_("fields of the system's Config"), placeholder="rate=0.01 width=32")
            form = [system, size, data, budget, start, config, *more]
            estimate = Estimate(studio, _("Start training"))
        with gr.Column(scale=3, min_width=320):
            idea = gr.HTML(described(DEFAULT["system"]))
            watch = Watch(studio, outcome, ("train",))
    same = gr.HTML()

    def read(*values: Any) -> list[str]:
        return line(studio, values, further)

    def changed(*values: Any) -> Any:
        return shown(values, further)

    says = studio.says
    studio.on_change(form, changed, form, same)
    system.input(says(sized), [system, size], size, show_progress="hidden")
    system.change(says(described), system, idea, show_progress="hidden")
    system.change(says(lambda name: relevant(name, further)), system, more, show_progress="hidden")
    for widget in (system, size):
        widget.change(says(startable), [system, size, start], start, show_progress="hidden")
    estimate.connect(read, form, watch)

    def opened(query: dict[str, str]) -> list[Any]:
        job = watch.latest(query)
        return [*filled(studio, query, job, further), job]

    filling = studio.opened(opened, [*form, watch.job])
    estimate.ready(filling)
    watch.follow(filling).then(says(changed), form, same, show_progress="hidden").then(
        estimate.begin, None, estimate.clock, show_progress="hidden"
    )


def filled(studio: Studio, query: Mapping[str, str], id: str, further: Mapping[str, command_form.Field]) -> list[Any]:
    """Return the form's initial values, from the address or else from the job shown."""
    import gradio as gr

    offered = own_data.choices(studio)
    job = studio.find(id) if not query or "job" in query else None
    verb, names, options = naming.taken(job.meant if job is not None else [])
    if verb != "train" or not names:
        data: dict[str, Any] = {"value": query["data"]} if query.get("data") else {}
        return [
            *named(query.get("system", "")),
            gr.update(choices=offered, **data),
            gr.skip(),
            gr.skip(),
            gr.skip(),
            *command_form.told(query, list(further)),
        ]
    entry, size = registry.find(names[0])
    says = {"pretrained": options.get("pretrained") == "true", "freeze": "freeze" in options}
    start = max((name for name, said in STARTS.items() if says | said == says), key=lambda name: len(STARTS[name]))
    own = {*further, *HERE}
    return [
        *named(names[0]),
        gr.update(choices=offered, value=options.get("data", DEFAULT["data"])),
        options.get("budget", DEFAULT["budget"]),
        gr.update(choices=starts(entry.name, size), value=start),
        " ".join(f"{name}={value}" for name, value in options.items() if name not in own),
        *command_form.held(further, options),
    ]


def starts(name: str, size: str) -> list[tuple[str, str]]:
    """Return (shown, value) of the possible initial weights on this computer."""
    entry, _size = registry.find(name)
    there = size in entry.weights and fetch.where(registry.full_name(entry, size)) is not None
    return [(start_name(start), start) for start in STARTS if there or start == "scratch"]


def whence(name: str, size: str) -> str:
    """Explain why training can only start from scratch; "" where there is a choice."""
    entry, _size = registry.find(name)
    if len(starts(name, size)) > 1:
        return ""
    if size in entry.weights:
        return _("it can start from its published weights once they were fetched: page Machine")
    return _("nobody has published weights for it at this size")


def startable(name: str, size: str, start: str) -> Any:
    """Return the possible initial weights for their widget, keeping the selection if possible."""
    import gradio as gr

    offered = starts(name, size or "small")
    value = start if start in dict(offered).values() else "scratch"
    return gr.update(choices=offered, value=value, info=whence(name, size or "small"))


def named(wish: str) -> list[Any]:
    """Return updates for a system such as ``resnet18`` and its size. Raises UserError."""
    import gradio as gr

    if not wish:
        return [gr.skip(), gr.skip()]
    entry, size = registry.find(wish)
    return [entry.name, gr.update(choices=list(entry.sizes), value=size)]


def sizes_of(name: str) -> list[str]:
    return list(registry.find(name)[0].sizes)


def sized(name: str, size: str) -> Any:
    """Return the sizes of a system for their widget, keeping the selection if possible."""
    import gradio as gr

    sizes = sizes_of(name)
    return gr.update(choices=sizes, value=size if size in sizes else "small")


def taken(name: str, further: Mapping[str, command_form.Field]) -> set[str]:
    """Return the options that a system's task accepts, common and its own."""
    task = registry.find(name)[0].task
    owners = {field.name: field.tasks for field in run_options.task_fields(TrainOptions)}
    return {option for option in further if task in owners.get(option, (task,))}


def relevant(name: str, further: Mapping[str, command_form.Field]) -> list[Any]:
    """Return an update for each option's widget; those that the task refuses are hidden."""
    import gradio as gr

    own = taken(name, further)
    empty = {name: False if field.kind is bool else "" for name, field in further.items()}
    return [
        gr.update(visible=True) if option in own else gr.update(visible=False, value=empty[option])
        for option in further
    ]


def described(name: str) -> Markup:
    return Markup('<div class="card">{}</div>').format(lecture.about(registry.find(name)[0], "h2"))


def asked(values: tuple[Any, ...], further: Mapping[str, command_form.Field]) -> tuple[str, dict[str, Any], list[str]]:
    """Return the system, the options and the config's fields of the form. Raises UserError."""
    system, size, data, budget, start, config, *more = values
    entry, _size = registry.find(system)
    own = command_form.chosen(further.values(), more)
    options = {"data": data, "budget": budget, **STARTS[start], **own}
    return registry.full_name(entry, size or "small"), options, (config or "").split()


def line(studio: Studio, values: tuple[Any, ...], further: Mapping[str, command_form.Field]) -> list[str]:
    """Return the words of the command.

    Raises UserError for data outside of the roots, and for weights that are not on this computer.
    """
    system, options, config = asked(values, further)
    studio.roots.data(options["data"])
    if options.get("pretrained") and fetch.where(system) is None:
        raise UserError(
            "weights",
            _("the published weights of {system} are not on this computer").format(system=system),
            expected=_("to start from scratch, or to fetch them first"),
            fix=f"souron fetch {system}",
        )
    return [*words("train", [system], options), *config]


def shown(values: tuple[Any, ...], further: Mapping[str, command_form.Field]) -> Any:
    """Return the equivalent command line and Python code."""
    import gradio as gr

    try:
        system, options, config = asked(values, further)
    except UserError:  # incomplete input; the button reports errors
        return gr.skip()
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
