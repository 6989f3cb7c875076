"""``souron models``: open language models, their licences, and whether they fit into memory."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument

from souron.cli import console
from souron.cli.app import command
from souron.cli.console import print_json, screen, show
from souron.utils import units
from souron.utils.messages import N_, _
from souron.utils.terminal import printable


@command(
    "models",
    N_("List open language models: licence, safety, memory, speed."),
    "souron models\nsouron models smollm2\nsouron models model.gguf\nsouron models --json",
    group="language",
)
def models(
    model: Annotated[
        str | None, Argument(metavar="[MODEL|FILE]", help=N_("one model whole, with its template"))
    ] = None,
) -> None:
    with screen.err.status(_("measuring this computer's memory for a second")):
        from souron.hub import model_table

        one = None if model is None else model_table.find(model)
        found, broken = ([], []) if one else model_table.local(Path())
        speed, free = model_table.here()
    for path, error in broken:
        console.warn(f"{path}: {error.found}")
    if one is not None:
        whole(one, speed, free)
        return
    rows = [*found, *model_table.published()]
    if screen.json:
        print_json([row.as_json(speed, free) for row in rows])
        return
    for title, some in ((_("on this computer"), found), (_("published"), model_table.published())):
        if some:
            show(listed(some, speed, free, title), "", whole=True)
    show(
        model_table.remark(speed, free),
        _("one of them, with its sources: {command}").format(command="souron models smollm2"),
    )


def listed(rows: Any, speed: float, free: float, title: str) -> Any:
    names = heads()
    table = console.table(*names, title=title, right=[names[i] for i in (2, 6, 8, 9)])
    for row in rows:
        table.add_row(*cells(row, speed, free), style=None if row.memory <= free else "dim")
    return table


def heads() -> list[str]:
    """Return the headings of the columns that ``cells`` fills."""
    return [
        _("name"),
        _("year"),
        _("parameters"),
        _("licence"),
        _("commercial"),
        _("safety-tuned"),
        _("context"),
        _("languages"),
        _("memory"),
        _("tokens/s"),
    ]


def cells(row: Any, speed: float, free: float) -> list[str]:
    """Return one model's row of the table as strings."""
    from souron.hub import model_table

    known = row.parameters > 0
    return [
        row.name,
        str(row.year or "–"),
        units.count(round(row.parameters * 1e9)) if known else "–",
        row.licence or model_table.word(model_table.UNKNOWN),
        model_table.word(row.commercial),
        model_table.word(row.safety),
        f"{row.context:,}" if row.context else "–",
        model_table.languages(row),
        f"{row.memory / 1e9:.1f} GB" if known else "–",
        (model_table.rate(row, speed) if row.memory <= free else _("does not fit")) if known else "–",
    ]


def whole(row: Any, speed: float, free: float) -> None:
    """Print everything known about one model, each cell with its source."""
    from souron.hub import model_table, open_models

    told = model_table.says(row.licence)
    if screen.json:
        more = {"template": row.template, "quantised": row.quantised, "runs": row.runs, "licence_says": told}
        print_json({**row.as_json(speed, free), **more})
        return
    show(console.pairs([(name, value) for name, value in about(row)]))
    show("", model_table.forecast(row, speed, free))
    if row.context > open_models.MOST_CONTEXT:
        show(_("souron itself keeps at most {most} tokens of its context.").format(most=open_models.MOST_CONTEXT))
    if told:
        show(_("Its licence: {text}").format(text=told))
    if row.runs is False:
        show(_("souron has no decoder of its structure; it runs by that of transformers."))
    if row.template:
        show("", _("Its template for conversations:"), printable(row.template))


def about(row: Any) -> list[tuple[str, str]]:
    """Return names and values, each with its source."""
    from souron.hub import model_table

    def sourced(value: str, cell: str) -> str:
        source = row.source(cell)
        where = _("its own file") if source == model_table.IN_FILE else source
        known = value not in ("–", model_table.word(model_table.UNKNOWN))
        return f"{value}  ({where})" if where and known else value

    texts = cells(row, 1.0, 0.0)
    rows = [
        (_("name"), row.name),
        (_("file"), row.path),
        (_("bytes"), units.size(row.bytes) if row.bytes else ""),
        (_("numbers"), row.quantised),
        (_("year"), sourced(texts[1], "year")),
        (_("parameters"), sourced(texts[2], "parameters")),
        (_("used per token"), units.count(round(row.active * 1e9)) if row.active else ""),
        (_("licence"), sourced(texts[3], "licence")),
        (_("commercial use"), sourced(texts[4], "commercial")),
        (_("safety-tuned"), sourced(texts[5], "safety")),
        (_("context"), sourced(texts[6], "context")),
        (_("languages"), sourced(texts[7], "languages")),
    ]
    return [(name, value) for name, value in rows if value]
