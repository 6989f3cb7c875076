"""Open language models: a table with their licences and memory requirements."""

from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from souron.hub import model_table, packages, zoo
from souron.studio.forms import controls
from souron.studio.shared import Studio, fetching, missing, remarks, same_thing, table
from souron.utils.messages import N_, _

TITLE = N_("Models")
PLACE = "tool"
SMALL = "gpt"  # a ready-trained model


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    names = [row.path or row.name for row in rows()]
    asks = {"hx_get": controls.part(studio, "models", "one"), "hx_target": "#one", "hx_swap": "innerHTML"}
    chooser = controls.chooser("model", [(name, name) for name in names], names[0], **asks)
    about = _(
        "What their publishers say of them, and what this computer can do with them. Nothing "
        "is downloaded; larger ones are files that you bring."
    )
    return Markup('{}{}<div id="models">{}</div>{}<div id="one">{}</div>{}').format(
        controls.page_head(_("Open language models"), about),
        lacking(studio),
        shown(),
        controls.labelled(_("one of them, with its sources"), chooser),
        whole(names[0]),
        same_thing("souron models", "from souron.hub import model_table\nmodel_table.published()"),
    )


def lacking(studio: Studio) -> Markup | str:
    """Explain how to get a model where none is on this computer."""
    found, broken = model_table.local(Path())
    if found or broken:
        return ""
    text = _("None of them is on this computer yet. Fetch {name}, or bring a .gguf file and put it into {folder}.")
    name = next(iter(packages.MODELS))
    ways = [fetching(studio, name)]
    if zoo.where(SMALL):
        text += " " + _("The small {name} that comes ready trained can be tried at once.").format(name=SMALL)
        ways.append((studio.url("chat", model=SMALL), _("Try {name}").format(name=SMALL)))
    return missing(text.format(name=name, folder=Path("models").absolute()), *ways)


def rows() -> list[model_table.Row]:
    return [*model_table.local(Path())[0], *model_table.published()]


def shown() -> Markup:
    """Return the table, models on this computer first."""
    from souron.actions import models

    found, broken = model_table.local(Path())
    speed, free = model_table.here()
    told = remarks(f"{path}: {error.found}" for path, error in broken)
    parts = []
    for title, some in ((_("on this computer"), found), (_("published"), model_table.published())):
        if some:
            lines = [_linked(row, models.cells(row, speed, free)) for row in some]
            parts.append(table(models.heads(), lines, title))
    note = Markup("<p>{}</p>").format(model_table.remark(speed, free))
    return told + Markup("").join(parts) + note


def _linked(row: model_table.Row, cells: list[str]) -> list[str]:
    """Link the model's name to the page that its facts come from."""
    if not row.page:
        return cells
    link = Markup('<a href="{}" target="_blank" rel="noopener">{}</a>').format(row.page, cells[0])
    return [link, *cells[1:]]


def whole(name: str) -> Markup:
    """Return everything known about one model, each cell with its source. Raises UserError."""
    from souron.actions import models

    row = model_table.find(name)
    speed, free = model_table.here()
    lines = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(title, value) for title, value in models.about(row))
    texts = [model_table.forecast(row, speed, free), *models.remarks(row)]
    said = Markup("").join(Markup("<p>{}</p>").format(text) for text in texts)
    template = (
        Markup('<details><summary>{}</summary><pre class="log">{}</pre></details>').format(
            _("Its template for conversations:"), row.template
        )
        if row.template
        else ""
    )
    return Markup('<div role="status"><dl class="facts">{}</dl>{}{}</div>').format(lines, said, template)


PARTS = {"one": lambda _studio, form: whole(form["model"])}
