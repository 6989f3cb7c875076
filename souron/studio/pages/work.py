"""Work: tasks of an occupation, or the user's own, and their exposure to language models."""

import threading
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron.society.work import own_tasks, tables, titles
from souron.studio.shared import QUIET, Studio, command, here, remarks, same_thing, table
from souron.utils.messages import N_, UserError, _, language

TITLE = N_("Work")
USUAL = "Registered Nurses"
MOST_LETTERS = 40_000  # characters of typed tasks
MOST_TASKS = 200  # most tasks that a page rates
_one_at_a_time = threading.Lock()


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("How much of your work can language models do?"),
            _("Each tile is a task of an occupation; its colour and sign say whether a language "
              "model, alone or with software built on it, might halve the time that it takes."),
        )
    )  # fmt: skip
    with gr.Row():
        chosen = gr.Dropdown(
            occupations(), value=USUAL, label=_("occupation"), allow_custom_value=True,
            info=_("choose, or type a name, such as: dentist, 看護師"), filterable=True,
        )  # fmt: skip
        everything = gr.Button(_("All occupations together"))
    with gr.Accordion(_("Your own tasks"), open=False):
        own = gr.Textbox(
            label=_("tasks, a line each, in English or Japanese"), lines=5, max_lines=15,
            max_length=MOST_LETTERS,
            placeholder="Take impressions of teeth.\n治療計画を患者に説明する。",
        )  # fmt: skip
        rate = gr.Button(_("Rate these tasks"), variant="primary")
    shown = gr.HTML()
    same = gr.HTML()

    says = studio.says
    chosen.change(says(lambda name: one(studio, name)), chosen, [shown, same], **QUIET)
    everything.click(says(lambda: whole()), None, [shown, same], show_progress="minimal")
    rate.click(says(rated), own, [shown, same], show_progress="minimal")
    studio.opened(lambda query: opened(studio, query), [chosen, shown, same])


def opened(studio: Studio, query: Mapping[str, str]) -> list[Any]:
    """Return the occupation in the address."""
    import gradio as gr

    wanted = query.get("occupation") or USUAL
    try:
        title = titles.find(wanted).occupation.title
    except UserError:
        title = tables.usual().occupations[0].title
    return [gr.update(value=title), *one(studio, title)]


def occupations() -> list[tuple[str, str]]:
    """Return (shown, title) of the occupations, by title, with Japanese names where known."""
    names = [one.title for one in tables.usual().occupations]
    own = {title: titles.japanese_name(title) for title in names}
    if language() == "ja":
        shown = [(f"{own[name]}  {name}".strip(), name) for name in names]
        return sorted(shown, key=lambda pair: (not own[pair[1]], pair[1]))
    return sorted((name, name) for name in names)


def one(studio: Studio, name: str | None) -> list[Markup]:
    """Return an occupation's tasks as tiles, and its figures. Raises UserError."""
    from souron.society.work import answers, exposure, tiles
    from souron.society.work import page as work_page

    if not name or not str(name).strip():
        raise UserError("nothing given", _("nothing was given yet"), expected=_("an occupation"))
    found = answers.occupation(str(name), tables.usual())
    title = found.found.occupation.title
    figures = work_page.figures_of(found)
    html = Markup(
        '<section><h2>{}</h2><p class="lead" role="status">{}</p>{}{}{}</section>'
    ).format(
        title,
        work_page.headline(found),
        remarks(exposure.cautions(found.table)) + tiles.legend(),
        tiles.of_labels(found.found.occupation.tasks),
        table(figures["heads"], figures["rows"], figures["text"]),
    )
    near = [_("It would also fit: {names}").format(names="; ".join(found.found.near))]
    if found.found.near and not found.found.exact:
        html = remarks(near) + html
    html += _source() + here(studio.url("work", occupation=title))
    return [html, _same(title)]


def whole() -> list[Markup]:
    """Return the shares of workers and of tasks, and the curve."""
    from souron.society.work import exposure
    from souron.society.work import page as work_page

    found = exposure.whole(tables.usual())
    workers, means = work_page.workers_table(found), work_page.means_table(found)
    drawn = work_page.curve_plot(found)
    html = Markup(
        '<section><h2>{}</h2><p class="lead" role="status">{}</p>{}'
        '<img class="curve" src="{}" alt="{}" width="{}">{}{}</section>'
    ).format(
        _("Workers against exposed share"),
        work_page.headline_of_all(found),
        remarks(exposure.cautions(found.table)),
        drawn.uri,
        drawn.alt,
        drawn.width,
        table(workers["heads"], workers["rows"], workers["text"]),
        table(means["heads"], means["rows"], means["text"]),
    )
    return [html + _source(), _same("")]


def rated(text: str | None) -> list[Markup]:
    """Rate the user's own tasks. Raises UserError."""
    from souron.society.work import exposure, tiles
    from souron.society.work import page as work_page

    text = (text or "")[:MOST_LETTERS]
    typed = own_tasks.lines(text, _("the field"))
    if len(typed) > MOST_TASKS:
        raise UserError(
            "too many",
            _("{name}: {count} lines").format(name=_("the field"), count=len(typed)),
            expected=_("at most {count}; the command line rates more").format(count=MOST_TASKS),
        )
    with _one_at_a_time:
        found = own_tasks.rate(text, _("the field"))
    heads = [_("figure"), _("what it counts"), _("expected value"), _("95 % interval")]
    rows = [
        (name, work_page.meaning(name), f"{each.value:.2f}", work_page.span(each))
        for name, each in found.figures.items()
    ]
    html = Markup(
        '<section><h2>{}</h2><p class="lead" role="status">{}</p>{}{}{}{}</section>'
    ).format(
        _("Your own tasks"),
        work_page.headline(found),
        remarks([*found.remarks(), *exposure.cautions(None)]),
        tiles.legend(),
        tiles.of_own(found.tasks),
        table(heads, rows),
    )
    return [html + _source(), _same("tasks.txt")]


def _source() -> Markup:
    from souron.society.work import exposure

    return Markup('<p class="faint">{}</p>').format(exposure.attribution())


def _same(what: str) -> Markup:
    words = ["work", *([what] if what else [])]
    given = repr(what) if what else ""
    python = f"from souron.society.work import answers\nanswers.answer({given})"
    return same_thing(command(words), python)
