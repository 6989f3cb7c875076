"""Compare several systems at an equal budget: a live table, then a verdict."""

from collections.abc import Mapping, Sequence
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
from souron.studio.runs import run_list
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, command, remarks, same_thing, table, words
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Compare")
PLACE = "data"
DEFAULT: dict[str, Any] = {"systems": ["mlp", "cnn"], "data": "digits", "budget": "10s", "seeds": 3}
BUDGETS = ("5s", "10s", "30s", "1min", "5min", "20min", "1ep", "5ep")
# options with widgets of their own, and those of job scripts
HERE = ("systems", "data", "budget", "epochs", "time", "seeds", "pretrained", "freeze", "sbatch", "round")


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    job = PANEL.latest(studio, query)
    left = Markup("{}{}{}").format(
        fields(studio, held(studio, query, job)),
        panel.estimate_place(studio, "compare"),
        controls.follows(studio, "compare", "same", "same"),
    )
    about = _(
        "The same split, the same budget, several seeds each. The verdict accounts for "
        "chance; where it cannot tell, it says how many more cases it would take."
    )
    return controls.page_head(_("Compare systems fairly"), about) + controls.columns(left, PANEL.html(studio, job))


def further(studio: Studio) -> dict[str, Field]:
    """Return the options without a field of their own."""
    left_out = (*HERE, *studio.refused_options)
    return {name: field for name, field in command_form.options_of("compare").items() if name not in left_out}


def held(studio: Studio, query: Mapping[str, str], id: str) -> dict[str, Any]:
    """Return the form's initial values, from the address or else from the job shown. Raises UserError."""
    job = studio.find(id) if not query or "job" in query else None
    verb, names, options = naming.taken(job.meant if job is not None else [])
    if verb == "compare" and names:
        return {**DEFAULT, **options, "systems": names}
    passed = {name: query[name] for name in ("data", *command_form.READING) if query.get(name)}
    systems = beside(query["systems"]) if query.get("systems") else DEFAULT["systems"]
    return {**DEFAULT, **passed, "systems": systems}


def fields(studio: Studio, values: Mapping[str, Any]) -> Markup:
    """Return the form with these values; another task draws it anew."""
    known, more = command_form.options_of("compare"), further(studio)
    task = values.get("task") or task_of(values["systems"])
    tasks = dict.fromkeys(entry.task for entry in registry.entries().values())
    redraw = {"hx_post": controls.part(studio, "compare", "form"), "hx_include": "#form", "hx_target": "#form"}
    redraw |= {"hx_swap": "outerMorph"}
    named = [(registry.task_name(name), name) for name in tasks]
    options = Markup("").join(field.html(values.get(name, ""), **about(name)) for name, field in more.items())
    content = [
        controls.labelled(_("task"), controls.chooser("task", named, task, **redraw)),
        systems_of(task, values["systems"]),
        own_data.field(studio, values["data"], known["data"].help),
        controls.labelled(
            _("budget of each"),
            controls.either("budget", naming.budgets(BUDGETS), values["budget"], _("another, such as 90s")),
        ),
        known["seeds"].html(values["seeds"], label=_("seeds")),
        controls.folded(controls.more_options(), options, opened=any(values.get(name) for name in more)),
        controls.press(_("Start comparing"), first=True),
    ]
    return controls.form(studio, "compare", "start", Markup("").join(content))


def systems_of(task: str, ticked: Sequence[str]) -> Markup:
    """Return the systems of a task to tick, other sizes folded below the usual ones."""
    entries = {entry.name for entry in registry.entries().values() if entry.task == task}
    every = [pair for pair in choices() if registry.find(pair[1].partition(":")[0])[0].name in entries]
    usual = [pair for pair in every if pair[1] in entries or pair[1] in ticked]
    others = [pair for pair in every if pair not in usual]
    further = [(name, name) for name in ticked if name not in dict(every).values()]
    group = controls.ticks("systems", _("systems"), [*usual, *further], ticked)
    return group + (controls.folded(_("Further sizes"), controls.ticks("systems", "", others)) if others else "")


def task_of(systems: Sequence[str]) -> str:
    """Return the task of the first system. Raises UserError."""
    return registry.find(systems[0].partition(":")[0])[0].task


def redrawn(studio: Studio, form: Posted) -> Markup:
    """Return the form for the task that was chosen, with the other values kept."""
    values = {name: form[name] for name in ("seeds", *further(studio))}
    values |= {name: controls.chosen(form, name) for name in ("data", "budget")}
    if form["task"] not in registry.tasks():
        raise UserError("task", _("there is no task {name}").format(name=form["task"][:100]))
    first = next(entry.name for entry in registry.entries().values() if entry.task == form["task"])
    data = registry.tasks()[form["task"]].default_data
    return fields(studio, {**values, "task": form["task"], "systems": beside(first), "data": data})


def about(name: str) -> dict[str, Any]:
    """Return what the field of an option says besides its help."""
    if name != "on":
        return {}
    told = _(
        "Empty: this computer. Or processes:2, dask://HOST:PORT, slurm:PARTITION, as the page "
        "docs/machines.md of the documentation explains."
    )
    return {"placeholder": _("this computer"), "about": told}


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


def asked(studio: Studio, form: Posted) -> tuple[list[str], dict[str, Any]]:
    """Return the systems and the options of the form. Raises UserError."""
    seeds = command_form.options_of("compare")["seeds"]
    options = {name: controls.chosen(form, name) for name in ("data", "budget")}
    return form.all("systems"), options | command_form.values([seeds, *further(studio).values()], form)


def line(studio: Studio, form: Posted) -> list[str]:
    """Return the words of the command. Raises UserError."""
    names, options = asked(studio, form)
    studio.roots.data(options["data"])
    if not names:
        raise UserError("systems", _("no system is chosen"), expected=_("two or more systems' names"), fix="mlp cnn")
    return words("compare", names, options)


def same(studio: Studio, form: Posted) -> Markup:
    """Return the equivalent command line and Python code; empty where the form is incomplete."""
    try:
        names, options = asked(studio, form)
    except UserError:  # the button reports errors
        return Markup()
    python = command_form.python("compare", repr(names), options, {"imgsz": "side"})
    return same_thing(command(words("compare", names, options)), python)


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


PANEL = Panel("compare", lambda: ["compare", "tour"], outcome)
PARTS = {
    "form": redrawn,
    "start": lambda studio, form: PANEL.start(studio, line(studio, form)),
    "same": same,
    "estimate": lambda studio, form: panel.estimate(studio, lambda: line(studio, form)),
    **PANEL.parts(),
}
