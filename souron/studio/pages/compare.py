"""Compare several systems at an equal budget: a live table, then a verdict."""

from typing import Any

from markupsafe import Markup

from souron import registry
from souron.cli import train
from souron.studio import forms
from souron.studio.job_view import Forecast, Watch
from souron.studio.jobs import Job
from souron.studio.shared import Studio, command, same_thing, table, words
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Compare")
DEFAULT: dict[str, Any] = {"systems": ["mlp", "cnn"], "data": "digits", "budget": "10s", "seeds": 3}
BUDGETS = ("5s", "10s", "30s", "1min", "5min", "20min", "1ep", "5ep")
HERE = ("systems", "data", "budget", "epochs", "time", "seeds")  # said in widgets of their own


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Compare systems fairly"),
            _("The same split, the same budget, several seeds each. The verdict counts what chance "
              "does; where it cannot tell, it says how many more cases it would take."),
        )
    )  # fmt: skip
    known = forms.fields(train.compare)
    further = {name: field for name, field in known.items() if name not in HERE}
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            systems = gr.Dropdown(
                choices(), value=DEFAULT["systems"], multiselect=True, label=_("systems"),
                info=_("systems of one task; name:frozen and name:scratch say how one starts"),
                allow_custom_value=True,
            )  # fmt: skip
            data = known["data"].widget(DEFAULT["data"], label=_("data"))
            with gr.Row():
                budget = gr.Dropdown(
                    list(BUDGETS), value=DEFAULT["budget"], allow_custom_value=True,
                    label=_("budget of each"), min_width=120,
                )  # fmt: skip
                seeds = gr.Number(
                    DEFAULT["seeds"], minimum=1, maximum=100, precision=0, label=_("seeds"),
                    min_width=120,
                )  # fmt: skip
            with gr.Accordion(_("More options"), open=False):
                more = [field.widget() for field in further.values()]
            form = [systems, data, budget, seeds, *more]
            forecast = Forecast(studio, _("Start comparing"))
        with gr.Column(scale=3, min_width=320):
            watch = Watch(studio, outcome, ("compare", "tour"))
    same = gr.HTML()

    def read(*values: Any) -> list[str]:
        names, asked = wish(values, list(further))
        studio.roots.data(asked["data"])
        if not names:
            raise UserError(
                "systems",
                _("no system is chosen"),
                expected=_("two or more systems' names"),
                fix="mlp cnn",
            )
        return words("compare", names, asked)

    def changed(*values: Any) -> str:
        names, asked = wish(values, list(further))
        python = forms.python("compare", repr(names), asked, {"imgsz": "side"})
        return same_thing(command(words("compare", names, asked)), python)

    says = studio.says
    for widget in form:
        widget.change(says(changed), form, same, show_progress="hidden")
    forecast.connect(read, form, watch.job)
    studio.opened(
        lambda query: [
            beside(query["systems"]) if query.get("systems") else gr.skip(),
            query.get("data") or gr.skip(),
            *forms.told(query, list(further)),
            watch.latest(query),
        ],
        [systems, data, *more, watch.job],
    ).then(says(changed), form, same, show_progress="hidden").then(
        says(forecast.asking(read)), [forecast.job, *form], forecast.job, show_progress="hidden"
    )


def choices() -> list[str]:
    """Every size of every system that can be compared."""
    return [
        registry.full_name(entry, size)
        for entry in registry.entries().values()
        for size in entry.sizes
    ]


def beside(asked: str) -> list[str]:
    """The systems asked for; a single one gets another of its task to be compared with."""
    names = [name for name in asked.split(",") if name]
    task = registry.find(names[0].partition(":")[0])[0].task
    others = [entry.name for entry in registry.entries().values() if entry.task == task]
    return names if len(names) > 1 else [*names, *[n for n in others if n != names[0]][:1]]


def wish(values: tuple[Any, ...], further: list[str]) -> tuple[list[str], dict[str, Any]]:
    """The systems and the options that a form holds."""
    systems, data, budget, seeds, *more = values
    asked = {"data": data, "budget": budget, "seeds": int(seeds or 0)}
    return list(systems or []), asked | forms.chosen(further, more)


def outcome(studio: Studio, job: Job) -> str:
    """The verdict, the table, and the report."""
    result = job.result or {}
    rows = [
        (
            place,
            row["system"],
            registry.metric(row["measure"]).text(row["value"]),
            registry.metric(row["measure"]).interval(row["low"], row["high"]),
            units.seconds(row["train_seconds"]),
            units.count(row["parameters"]),
        )
        for place, row in enumerate(result.get("rows", []), 1)
        if row["value"] is not None
    ]
    measure = registry.metric((rows and result["rows"][0]["measure"]) or "").title
    heads = ("", _("system"), measure, _("95 % interval"), _("trained"), _("parameters"))
    folder = result.get("report", "").rpartition("/")[0]
    return Markup(
        '<h2>{}</h2><p class="verdict"><strong>{}</strong></p>{}'
        '<p class="actions"><a class="first" href="{}">{}</a></p>'
    ).format(
        _("Verdict"),
        result.get("sentence", ""),
        table(heads, rows, _("{cases} test cases, {seeds} seeds").format(
            cases=units.whole(result.get("cases", 0)), seeds=result.get("seeds", ""))),
        studio.url("runs", run=folder),
        _("Read the report"),
    )  # fmt: skip
