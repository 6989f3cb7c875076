"""Train one system: a forecast first, then live losses and samples; stop keeps the work."""

from typing import Any

from markupsafe import Markup

from souron import registry
from souron.cli import train
from souron.studio import forms
from souron.studio.job_view import Forecast, Watch
from souron.studio.jobs import Job
from souron.studio.pages import lecture
from souron.studio.shared import Studio, command, same_thing, table, words
from souron.utils import units
from souron.utils.messages import N_, _

TITLE = N_("Train")
DEFAULT = {"system": "cnn", "data": "digits", "budget": "20s"}
BUDGETS = ("10s", "20s", "1min", "5min", "20min", "1h", "1ep", "5ep", "20ep")
STARTS: dict[str, dict[str, bool]] = {
    "scratch": {},
    "transfer": {"pretrained": True, "freeze": True},
    "fine-tune": {"pretrained": True},
}
PYTHON = {"imgsz": "side", "lr0": "rate"}
HERE = ("system", "data", "budget", "epochs", "time", "pretrained", "freeze")  # said in own widgets


def start_name(start: str) -> str:
    return {
        "scratch": _("from scratch"),
        "transfer": _("transfer: published weights, only the last layer learns"),
        "fine-tune": _("fine-tuning: published weights, every layer learns"),
    }[start]


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(Markup("<h1>{}</h1>").format(_("Train a system")))
    known = forms.fields(train.train)
    further = {name: field for name, field in known.items() if name not in HERE}
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            system = gr.Dropdown(
                list(registry.entries()), value=DEFAULT["system"], label=_("system")
            )
            size = gr.Dropdown(
                sizes_of(DEFAULT["system"]), value="small", label=_("size"),
                info=_("tiny to try, small for a laptop, the others as published"),
            )  # fmt: skip
            data = known["data"].widget(DEFAULT["data"], label=_("data"))
            budget = gr.Dropdown(
                list(BUDGETS), value=DEFAULT["budget"], allow_custom_value=True, label=_("budget"),
                info=known["budget"].help,
            )  # fmt: skip
            start = gr.Radio(
                [(start_name(name), name) for name in STARTS], value="scratch",
                label=_("where it starts"),
            )  # fmt: skip
            with gr.Accordion(_("More options"), open=False):
                more = [field.widget() for field in further.values()]
                config = gr.Textbox(
                    "", label=_("fields of the system's Config"), placeholder="rate=0.01 width=32"
                )
            form = [system, size, data, budget, start, config, *more]
            forecast = Forecast(studio, _("Start training"))
        with gr.Column(scale=3, min_width=320):
            idea = gr.HTML(described(DEFAULT["system"]))
            watch = Watch(studio, outcome, ("train",))
    same = gr.HTML()

    def read(*values: Any) -> list[str]:
        return line(studio, values, list(further))

    def changed(*values: Any) -> str:
        return shown(values, list(further))

    says = studio.says
    for widget in form:
        widget.change(says(changed), form, same, show_progress="hidden")
    system.input(says(sized), [system, size], size, show_progress="hidden")
    system.change(says(described), system, idea, show_progress="hidden")
    forecast.connect(read, form, watch.job)
    studio.opened(
        lambda query: [
            *named(query.get("system", "")),
            query.get("data") or gr.skip(),
            *forms.told(query, list(further)),
            watch.latest(query),
        ],
        [system, size, data, *more, watch.job],
    ).then(says(changed), form, same, show_progress="hidden").then(
        says(forecast.asking(read)), [forecast.job, *form], forecast.job, show_progress="hidden"
    )


def named(wish: str) -> list[Any]:
    """System and size of a name such as ``resnet18``, for their widgets. Raises UserError."""
    import gradio as gr

    if not wish:
        return [gr.skip(), gr.skip()]
    entry, size = registry.find(wish)
    return [entry.name, gr.update(choices=list(entry.sizes), value=size)]


def sizes_of(name: str) -> list[str]:
    return list(registry.find(name)[0].sizes)


def sized(name: str, size: str) -> Any:
    """The sizes of a system, for their widget: the one that is chosen where there is such."""
    import gradio as gr

    sizes = sizes_of(name)
    return gr.update(choices=sizes, value=size if size in sizes else "small")


def described(name: str) -> Markup:
    return Markup('<div class="card">{}</div>').format(lecture.about(registry.find(name)[0], "h2"))


def asked(values: tuple[Any, ...], further: list[str]) -> tuple[str, dict[str, Any], list[str]]:
    """The system, the options and the config's fields that a form holds."""
    system, size, data, budget, start, config, *more = values
    entry, _size = registry.find(system)
    options = {"data": data, "budget": budget, **STARTS[start], **forms.chosen(further, more)}
    return registry.full_name(entry, size or "small"), options, (config or "").split()


def line(studio: Studio, values: tuple[Any, ...], further: list[str]) -> list[str]:
    """The words of the command. Raises UserError for data outside the roots."""
    system, options, config = asked(values, further)
    studio.roots.data(options["data"])
    return [*words("train", [system], options), *config]


def shown(values: tuple[Any, ...], further: list[str]) -> str:
    """The same as a command line and as Python."""
    system, options, config = asked(values, further)
    if config:
        fields = dict(field.partition("=")[::2] for field in config)
        python = forms.python("train", repr(system), {**options, "config": fields}, PYTHON)
    else:
        python = forms.python("train", repr(system), options, PYTHON)
    return same_thing(command([*words("train", [system], options), *config]), python)


def outcome(studio: Studio, job: Job) -> str:
    """What a finished training came to, and what to do with it."""
    result = job.result or {}
    run = result.get("run", "")
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
    return Markup("<h2>{}</h2>{}<p>{}</p>{}").format(
        _("What came out"),
        table(heads, rows, _("on cases it never saw")) if rows else "",
        _(
            "{time} of training ({foretold} foretold), {memory} of memory ({thought} foretold)"
        ).format(
            time=units.seconds(spent.get("seconds", 0)),
            foretold=units.seconds(foretold.get("seconds", 0)),
            memory=units.size(spent.get("bytes", 0)),
            thought=units.size(foretold.get("bytes", 0)),
        ),
        links.format(
            studio.url("runs", run=run),
            _("Read the report"),
            studio.url("use", run=run),
            _("Use it"),
        ),
    )
