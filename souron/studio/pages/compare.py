"""Compare several systems at an equal budget: a live table, then a verdict."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.cli import train
from souron.hub import fetch
from souron.studio import naming
from souron.studio.forms import command_form, own_data
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.job_view import Estimate, Watch
from souron.studio.runs import run_list
from souron.studio.shared import Studio, command, remarks, same_thing, table, words
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Compare")
PLACE = "data"
DEFAULT: dict[str, Any] = {"systems": ["mlp", "cnn"], "data": "digits", "budget": "10s", "seeds": 3}
BUDGETS = ("5s", "10s", "30s", "1min", "5min", "20min", "1ep", "5ep")
# options with widgets of their own, and those of job scripts
HERE = ("systems", "data", "budget", "epochs", "time", "seeds", "pretrained", "freeze", "sbatch", "round")


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Compare systems fairly"),
            _(
                "The same split, the same budget, several seeds each. The verdict accounts for "
                "chance; where it cannot tell, it says how many more cases it would take."
            ),
        )
    )
    known = command_form.fields(train.compare)
    further = {name: field for name, field in known.items() if name not in (*HERE, *studio.refused_options)}
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            systems = gr.Dropdown(
                choices(),
                value=DEFAULT["systems"],
                multiselect=True,
                label=_("systems"),
                info=_("two or more of one task"),
                allow_custom_value=True,
            )
            data = gr.Dropdown(
                [], value=DEFAULT["data"], allow_custom_value=True, label=_("data"), info=known["data"].help
            )
            with gr.Row():
                budget = gr.Dropdown(
                    naming.budgets(BUDGETS),
                    value=DEFAULT["budget"],
                    allow_custom_value=True,
                    label=_("budget of each"),
                    min_width=120,
                )
                seeds = known["seeds"].widget(DEFAULT["seeds"], label=_("seeds"), min_width=120)
            with gr.Accordion(_("More options"), open=False):
                more = [field.widget(**about(name)) for name, field in further.items()]
            form = [systems, data, budget, seeds, *more]
            estimate = Estimate(studio, _("Start comparing"))
        with gr.Column(scale=3, min_width=320):
            watch = Watch(studio, outcome, ("compare", "tour"))
    same = gr.HTML()

    def asked(values: tuple[Any, ...]) -> tuple[list[str], dict[str, Any]]:
        return wish(values, known["seeds"], further)

    def read(*values: Any) -> list[str]:
        names, options = asked(values)
        studio.roots.data(options["data"])
        if not names:
            raise UserError(
                "systems", _("no system is chosen"), expected=_("two or more systems' names"), fix="mlp cnn"
            )
        return words("compare", names, options)

    def changed(*values: Any) -> Any:
        try:
            names, options = asked(values)
        except UserError:  # incomplete input; the button reports errors
            return gr.skip()
        python = command_form.python("compare", repr(names), options, {"imgsz": "side"})
        return same_thing(command(words("compare", names, options)), python)

    says = studio.says
    studio.on_change(form, changed, form, same)
    estimate.connect(read, form, watch)

    def opened(query: dict[str, str]) -> list[Any]:
        job = watch.latest(query)
        return [*filled(studio, query, job, further), job]

    filling = studio.opened(opened, [*form, watch.job])
    estimate.ready(filling)
    watch.follow(filling).then(says(changed), form, same, show_progress="hidden").then(
        estimate.begin, None, estimate.clock, show_progress="hidden"
    )


def about(name: str) -> dict[str, Any]:
    """Return what the field of an option says besides its help."""
    if name != "on":
        return {}
    return {
        "placeholder": _("this computer"),
        "info": _(
            "Empty: this computer. Or processes:2, dask://HOST:PORT, slurm:PARTITION, as the page "
            "docs/machines.md of the documentation explains."
        ),
    }


def filled(studio: Studio, query: Mapping[str, str], id: str, further: Mapping[str, command_form.Field]) -> list[Any]:
    """Return the form's initial values, from the address or else from the job shown."""
    import gradio as gr

    offered = own_data.choices(studio)
    job = studio.find(id) if not query or "job" in query else None
    verb, names, options = naming.taken(job.meant if job is not None else [])
    if verb == "compare" and names:
        return [
            names,
            gr.update(choices=offered, value=options.get("data", DEFAULT["data"])),
            options.get("budget", DEFAULT["budget"]),
            options.get("seeds", str(DEFAULT["seeds"])),
            *command_form.held(further, options),
        ]
    data: dict[str, Any] = {"value": query["data"]} if query.get("data") else {}
    return [
        beside(query["systems"]) if query.get("systems") else gr.skip(),
        gr.update(choices=offered, **data),
        gr.skip(),
        gr.skip(),
        *command_form.told(query, list(further)),
    ]


def choices() -> list[tuple[str, str]]:
    """Return (shown, value) of every size of every system that can be compared.

    Sizes whose published weights are here are also offered frozen and for fine-tuning.
    """
    offered = []
    for entry in registry.entries().values():
        for size in entry.sizes:
            name = registry.full_name(entry, size)
            offered.append((name, name))
            if size in entry.weights and fetch.where(name) is not None:
                offered += [
                    (_("{system}, transfer").format(system=name), f"{name}:frozen"),
                    (_("{system}, fine-tuning").format(system=name), f"{name}:pretrained"),
                ]
    return offered


def beside(asked: str) -> list[str]:
    """Return the requested systems; a single one gets another of its task to compare with."""
    names = [name for name in asked.split(",") if name]
    task = registry.find(names[0].partition(":")[0])[0].task
    others = [entry.name for entry in registry.entries().values() if entry.task == task]
    return names if len(names) > 1 else [*names, *[n for n in others if n != names[0]][:1]]


def wish(
    values: tuple[Any, ...], count: command_form.Field, further: Mapping[str, command_form.Field]
) -> tuple[list[str], dict[str, Any]]:
    """Return the systems and the options of the form. Raises UserError."""
    systems, data, budget, seeds, *more = values
    asked = {"data": data, "budget": budget, **command_form.chosen([count], [seeds])}
    return list(systems or []), asked | command_form.chosen(further.values(), more)


def outcome(studio: Studio, job: Job) -> str:
    """Return the verdict, the table and the report."""
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
    made = run_list.finished(studio.project, folder)
    return Markup(
        '<h2>{}</h2>{}<p class="verdict"><strong>{}</strong></p>{}'
        '<p class="actions"><a class="first" href="{}">{}</a></p>'
    ).format(
        _("Verdict"),
        remarks(made.notes if made else result.get("notes") or ()),
        made.sentence if made else result.get("sentence", ""),
        table(
            heads,
            rows,
            _("{cases} test cases, {seeds} seeds").format(
                cases=units.whole(result.get("cases", 0)), seeds=result.get("seeds", "")
            ),
        ),
        studio.report(folder) or studio.url("runs", run=folder),
        _("Read the report"),
    )
