"""Diagrams of layers on the studio's pages: a press opens a layer's facts and the code that makes it.

One structure serves a row's page and the page of a system, ``/lecture/en/layers/resnet``. The source
files stand once on a page, and a layer names its lines in them.
"""

from collections.abc import Iterable

from markupsafe import Markup

from souron import registry
from souron.lecture import rows
from souron.lecture.rows import Row
from souron.report import layers
from souron.report.layers import buttons, formulas, steps
from souron.report.layers.kinds import COLOURS, meaning
from souron.report.layers.places import HOME, Place
from souron.studio import layout
from souron.studio.lecture import at_work
from souron.studio.pages import lecture
from souron.studio.shared import Studio
from souron.utils import files, units
from souron.utils.messages import _


def address(language: str, system: str) -> str:
    """Return the address of the page of a system's layers."""
    return f"/lecture/{language}/layers/{system}"


def cached(name: str) -> layers.Layers:
    """Return the layers of a system, kept until a source file changes. Raises UserError."""
    entry, _size = registry.find(name)
    folder = files.cache_folder() / "layers"
    with layers.one_at_a_time:
        held = layers.kept(entry) or layers.kept(entry, folder)
        if held is None:
            held = layers.found(entry)
            files.write_json(folder / f"{entry.name}.json", held.as_json())
    return held


def page(studio: Studio, name: str) -> tuple[str, Markup]:
    """Return title and body of the page of a system's layers. Raises UserError."""
    entry, _size = registry.find(name)
    row = rows.of_system(entry.name)
    links = Markup("").join(
        Markup('<a class="{}" href="{}">{}</a>').format(kind, where, text)
        for text, where, kind in [
            *lecture.actions(studio, entry),
            *([(_("How it works"), f"/lecture/{studio.language}/{row.id}", "")] if row else []),
        ]
    )
    title = _("the layers of {name}").format(name=entry.name)
    body = Markup(
        '{trail}<section class="part" data-part="picture"><h1>{name} <small>{year}</small></h1>'
        '<p class="what">{idea}</p><p class="paper">{paper}</p>{diagram}</section><p class="actions">{links}</p>'
    ).format(
        trail=layout.trail((studio.url("lecture"), _("Lecture"))),
        name=entry.name,
        year=entry.year or "",
        idea=registry.about(entry),
        paper=entry.paper,
        diagram=placed(studio, entry.name),
        links=links,
    )
    return title, body


def of_row(studio: Studio, row: Row) -> Markup:
    """Return the diagram of the row's system that answers, and links to those of its others."""
    drawn = at_work.drawn_system(row)
    others = Markup("").join(
        Markup('<a href="{}">{}</a>').format(
            address(studio.language, name), _("the layers of {name}").format(name=name)
        )
        for name in dict.fromkeys(registry.find(each)[0].name for each in row.systems)
        if name != drawn
    )
    below = Markup('<p class="actions">{}</p>').format(others) if others else ""
    return placed(studio, drawn) + below


def placed(studio: Studio, name: str) -> Markup:
    """Return a system's diagram, or a placeholder that requests it where it is not stored."""
    entry, _size = registry.find(name)
    held = layers.kept(entry)
    if held is not None:
        return diagram(held)
    return Markup('<div data-picture="{}/diagram"><p class="faint" role="status">{}</p></div>').format(
        address(studio.language, entry.name), _("finding out its layers …")
    )


def diagram(held: layers.Layers) -> Markup:
    """Return the layers as buttons, with the panel and the code that each one opens."""
    entry = registry.entries()[held.system]
    named = registry.full_name(entry, held.size)
    every = [layer for line in held.lines for layer in line]
    legend = Markup("").join(
        Markup('<li><i style="background:{}"></i>{}</li>').format(COLOURS[kind], meaning(kind))
        for kind in dict.fromkeys(layer.kind for layer in every)
    )
    name = _("the layers of {name}").format(name=named)
    return Markup(
        '<p class="faint">{hint}</p>{equation}<div class="layered"><div class="drawing"><div class="plotted" '
        'tabindex="0" role="region" aria-label="{name}">{svg}</div><ul class="legend">{legend}</ul>'
        '<p class="faint">{counted}</p><div class="layer" role="region" aria-live="polite" aria-label="{layer}"></div>'
        '</div><div class="source" role="region" aria-label="{code}" hidden></div></div>'
        '<template class="panels" data-activation="{activation}">{panels}</template>'
        '<template class="sources">{sources}</template>'
    ).format(
        hint=hint(held, every).format(system=named),
        equation=equation(entry),
        name=name,
        svg=buttons.drawn(held, name),
        legend=legend,
        counted=counted(held),
        layer=_("the selected layer"),
        code=_("source code"),
        activation=_("its activations for the example above"),
        panels=Markup("").join(panel(number, layer) for number, layer in enumerate(every)),
        sources=Markup("").join(map(source, sorted({each.file for layer in every for each in layers.lines_of(layer)}))),
    )


def hint(held: layers.Layers, every: Iterable[layers.Layer]) -> str:
    if any(layer.kind == "step" for layer in every):
        return _("{system} is no network: these are its steps. Press one to see its formula and its lines of code.")
    return _(
        "{system}, from left to right. Press a layer to see its formula, its shape, its parameters, its FLOPs and "
        "the lines that make it."
    )


def counted(held: layers.Layers) -> str:
    """Return the FLOPs of a pass, and how they are counted; "" where there are none."""
    if not held.flops:
        return ""
    return _(
        "One case takes {count} in all layers, shown or not: those of convolutions, matrix products and attention, "
        "as PyTorch counts them. A multiplication and an addition are two."
    ).format(count=units.operations(held.flops))


def equation(entry: registry.Entry) -> Markup:
    """Return the equation of the system's file."""
    text = steps.equation(entry)
    return formula(text) if text else Markup()


def formula(text: str) -> Markup:
    return Markup('<pre class="formula" tabindex="0" aria-label="{}">{}</pre>').format(_("formula"), text)


def panel(number: int, layer: layers.Layer) -> Markup:
    """Return the facts about a layer, with buttons for its places in the source files."""
    title = f"{meaning(layer.kind)} · {layer.name or layer.type} · {layer.type}"
    title = {"input": _("input"), "step": layer.name}.get(layer.kind, title)
    facts = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(*row) for row in facts_of(layer))
    first = _("source code") if layer.kind == "step" else _("made in")
    parts = [(_("named in") if at else first, each) for at, each in enumerate(layer.made)]
    parts += [(_("its class"), layer.own_class)] if layer.own_class else []
    openers = Markup("").join(
        Markup(
            '<button type="button" data-do="lines" data-file="{0}" data-first="{1}" data-last="{2}">'
            "{3} <code>{0}:{4}</code></button>"
        ).format(each.file, each.first, each.last, text, numbers(each))
        for text, each in parts
    )
    return Markup(
        '<section data-layer="{}" data-made="{}"><h3>{}</h3><p>{}</p>{}<dl>{}</dl><p class="lines">{}</p></section>'
    ).format(number, len(layer.made), title, formulas.meaning(layer.base), formula(layer.formula), facts, openers)


def facts_of(layer: layers.Layer) -> list[tuple[str, str]]:
    """Return what is known about a layer, as name and value."""
    if layer.kind == "step":
        return [(_("result"), layer.output)] if layer.output else []
    shape = buttons.shape(layer) or _("a text")
    if layer.kind == "input":
        return [(_("shape"), shape)]
    facts = [(_("output shape"), shape)]
    if layer.base == "stored":
        return [*facts, (_("stored numbers"), units.whole(layer.parameters))]
    facts.append((_("parameters"), units.whole(layer.parameters)))
    if layer.calls:
        facts.append((_("FLOPs"), operations(layer)))
    return facts


def operations(layer: layers.Layer) -> str:
    """Return the FLOPs of a layer's forward pass, with the number of its calls where there are several."""
    text, count = units.operations(layer.flops), layer.calls
    if layer.learning:
        return _("{flops} in a training step (forward pass; calls: {count})").format(flops=text, count=count)
    return _("{flops} in {count} calls").format(flops=text, count=count) if count > 1 else text


def numbers(place: Place) -> str:
    return str(place.first) if place.first == place.last else f"{place.first}–{place.last}"


def source(file: str) -> Markup:
    """Return a source file as lines that a page can mark."""
    lines = (HOME / file).read_text(encoding="utf-8").splitlines()
    code = Markup("").join(Markup("<span>{}</span>").format(line) for line in lines)
    return Markup(
        '<figure data-file="{0}"><figcaption>souron/{0}</figcaption>'
        '<pre tabindex="0" aria-label="{0}"><code>{1}</code></pre></figure>'
    ).format(file, code)
