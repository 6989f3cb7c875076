"""List open language models: licence, safety training, and what this computer can do with them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from souron.action import Action, Given, NoOptions, Plain, Record, Table
from souron.hub import model_table
from souron.report.blocks import Cell
from souron.runs.events import Event
from souron.utils import units
from souron.utils.messages import N_, _
from souron.utils.terminal import printable


@dataclass
class ModelsRecord(Record):
    """The table of models, those on this computer first; or one of them, each cell with its source."""

    eyebrow = N_("language models")

    local: Sequence[model_table.Row]
    published: Sequence[model_table.Row]
    speed: float  # bytes per second from memory
    free: float  # bytes of memory
    folder: Path | None
    one: model_table.Row | None = None

    def page_title(self) -> str:
        return self.one.name if self.one else _("Open language models")

    def as_json(self) -> dict[str, Any]:
        if self.one is None:
            return {"models": [row.as_json(self.speed, self.free) for row in (*self.local, *self.published)]}
        row = self.one
        more = {"template": row.template, "quantised": row.quantised, "runs": row.runs}
        return {**row.as_json(self.speed, self.free), **more, "licence_says": model_table.says(row.licence)}

    def printed(self, page: Path | None) -> Any:
        told = self.as_json()
        return told["models"] if self.one is None else told

    def sentences(self) -> list[str]:
        if self.one is not None:
            return [model_table.forecast(self.one, self.speed, self.free)]
        which = _("one of them, with its sources: {command}").format(command="souron models smollm2")
        return [model_table.remark(self.speed, self.free), which]

    def notes(self) -> list[str]:
        return remarks(self.one) if self.one else []

    def tables(self) -> Sequence[Table]:
        if self.one is not None:
            return [Table(["", ""], [list(pair) for pair in about(self.one)])]
        names = heads()
        right, wide = ([names[place] for place in places] for places in ((2, 6, 8, 9), (1, 6, 7)))
        return [
            Table(names, [linked(row, self.speed, self.free) for row in rows], title, right, wide=wide)
            for title, rows in ((_("on this computer"), self.local), (_("published"), self.published))
            if rows
        ]

    def shown(self) -> list[Any]:
        template = self.one.template if self.one else ""
        title = _("Its template for conversations:")
        return [*super().shown(), *([title, Plain(printable(template) + "\n")] if template else [])]


class Models(Action):
    """Read what publishers say of open language models, and the files of models on this computer."""

    title = N_("List open language models: licence, safety, memory, speed.")
    examples = ("souron models", "souron models smollm2", "souron models model.gguf", "souron models --json")
    group = "language"
    given = Given("[MODEL|FILE]", N_("one model whole, with its template"), 0, 1)
    lookup = True
    brief = True
    page = "models"
    reads_only = True

    def run(self, given: Sequence[str], options: NoOptions) -> Iterator[Event]:
        yield Event("data", text=_("measuring this computer's memory for a second"))
        one = model_table.find(given[0]) if given else None
        local, broken = ([], []) if one else model_table.local(Path())
        for path, error in broken:
            yield Event("data", note=f"{path}: {error.found}")
        published = () if one else model_table.published()
        folder = self.new_folder(one.name if one else "models")
        yield Event("done", 1.0, record=ModelsRecord(local, published, *model_table.here(), folder, one))


def remarks(row: model_table.Row) -> list[str]:
    """Return what limits the use of a model: its context, its licence, its structure."""
    from souron.hub import open_models

    remarks = []
    if row.context > open_models.MOST_CONTEXT:
        text = _("souron itself keeps at most {most} tokens of its context.")
        remarks.append(text.format(most=open_models.MOST_CONTEXT))
    if licence := model_table.says(row.licence):
        remarks.append(_("Its licence: {text}").format(text=licence))
    if row.runs is False:
        remarks.append(_("souron has no decoder of its structure; as a .gguf file it runs with llama.cpp."))
    return remarks


def linked(row: model_table.Row, speed: float, free: float) -> list[str]:
    """Return one model's row of the table; its name links to the page that its facts come from."""
    name, *others = cells(row, speed, free)
    return [Cell(name, link=row.page), *others]


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


def about(row: Any) -> list[tuple[str, str]]:
    """Return names and values, each with its source."""

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
