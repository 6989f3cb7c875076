"""Work: the tasks of an occupation, or one's own, and how exposed they are to language models."""

import threading
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron.society import work_names, work_own, work_table
from souron.studio.shared import QUIET, Studio, command, here, remarks, same_thing, table
from souron.utils.messages import N_, UserError, _, language

TITLE = N_("Work")
USUAL = "Registered Nurses"
MOST_LETTERS = 40_000  # of tasks that are typed
MOST_TASKS = 200  # that a page rates while somebody waits
_one_at_a_time = threading.Lock()


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("What language models reach of one's work"),
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
    """The occupation that the address names."""
    import gradio as gr

    wanted = query.get("occupation") or USUAL
    try:
        title = work_names.find(wanted).occupation.title
    except UserError:
        title = work_table.usual().occupations[0].title
    return [gr.update(value=title), *one(studio, title)]


def occupations() -> list[tuple[str, str]]:
    """(shown, title), by title; with a Japanese name where there is one."""
    names = [one.title for one in work_table.usual().occupations]
    own = {title: work_names.japanese_name(title) for title in names}
    if language() == "ja":
        shown = [(f"{own[name]}  {name}".strip(), name) for name in names]
        return sorted(shown, key=lambda pair: (not own[pair[1]], pair[1]))
    return sorted((name, name) for name in names)


def one(studio: Studio, name: str | None) -> list[Markup]:
    """An occupation's tasks as tiles, and its figures. Raises UserError."""
    from souron.society import work, work_answers, work_page, work_tiles

    if not name or not str(name).strip():
        raise UserError("nothing given", _("nothing was given yet"), expected=_("an occupation"))
    found = work_answers.occupation(str(name), work_table.usual())
    title = found.found.occupation.title
    figures = work_page.figures_of(found)
    html = Markup(
        '<section><h2>{}</h2><p class="lead" role="status">{}</p>{}{}{}</section>'
    ).format(
        title,
        work_page.headline(found),
        remarks(work.cautions(found.table)) + work_tiles.legend(),
        work_tiles.of_labels(found.found.occupation.tasks),
        table(figures["heads"], figures["rows"], figures["text"]),
    )
    near = [_("It would also fit: {names}").format(names="; ".join(found.found.near))]
    if found.found.near and not found.found.exact:
        html = remarks(near) + html
    html += _source() + here(studio.url("work", occupation=title))
    return [html, _same(title)]


def whole() -> list[Markup]:
    """The shares of workers and of tasks, and the curve."""
    from souron.society import work, work_page

    found = work.whole(work_table.usual())
    workers, means = work_page.workers_table(found), work_page.means_table(found)
    drawn = work_page.curve_plot(found)
    html = Markup(
        '<section><h2>{}</h2><p class="lead" role="status">{}</p>{}'
        '<img class="curve" src="{}" alt="{}" width="{}">{}{}</section>'
    ).format(
        _("Workers against exposed share"),
        work_page.headline_of_all(found),
        remarks(work.cautions(found.table)),
        drawn.uri,
        drawn.alt,
        drawn.width,
        table(workers["heads"], workers["rows"], workers["text"]),
        table(means["heads"], means["rows"], means["text"]),
    )
    return [html + _source(), _same("")]


def rated(text: str | None) -> list[Markup]:
    """One's own tasks. Raises UserError."""
    from souron.society import work, work_page, work_tiles

    text = (text or "")[:MOST_LETTERS]
    typed = work_own.lines(text, _("the field"))
    if len(typed) > MOST_TASKS:
        raise UserError(
            "too many",
            _("{name}: {count} lines").format(name=_("the field"), count=len(typed)),
            expected=_("at most {count}; the command line rates more").format(count=MOST_TASKS),
        )
    with _one_at_a_time:
        found = work_own.rate(text, _("the field"))
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
        remarks([*found.remarks(), *work.cautions(None)]),
        work_tiles.legend(),
        work_tiles.of_own(found.tasks),
        table(heads, rows),
    )
    return [html + _source(), _same("tasks.txt")]


def _source() -> Markup:
    from souron.society import work

    return Markup('<p class="faint">{}</p>').format(work.attribution())


def _same(what: str) -> Markup:
    words = ["work", *([what] if what else [])]
    given = repr(what) if what else ""
    python = f"from souron.society import work_answers\nwork_answers.answer({given})"
    return same_thing(command(words), python)
