"""Work: tasks of an occupation, or the user's own, and their exposure to language models."""

import threading
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron.studies.work import own_tasks, tables, titles
from souron.studio.shared import QUIET, Studio, command, here, record_html, same_thing
from souron.utils.messages import N_, UserError, _, language

TITLE = N_("Work")
PLACE = "tool"
USUAL = "Registered Nurses"
MOST_LETTERS = 40_000  # characters of typed tasks
MOST_TASKS = 200  # most tasks that a page rates
_one_at_a_time = threading.Lock()


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("How much of your work can language models do?"),
            _(
                "Each tile is a task of an occupation; its colour and sign say whether a language "
                "model, alone or with software built on it, might halve the time that it takes."
            ),
        )
    )
    with gr.Row():
        chosen = gr.Dropdown(
            occupations(),
            value=USUAL,
            label=_("occupation"),
            allow_custom_value=True,
            info=_("choose, or type a name, such as: dentist, 看護師"),
            filterable=True,
        )
        everything = gr.Button(_("All occupations together"))
    with gr.Accordion(_("Your own tasks"), open=False):
        own = gr.Textbox(
            label=_("tasks, a line each, in English or Japanese"),
            lines=5,
            max_lines=15,
            max_length=MOST_LETTERS,
            placeholder="Take impressions of teeth.\n治療計画を患者に説明する。",
        )
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
    from souron.studies.work import answers
    from souron.studies.work.record import OccupationRecord

    if not name or not str(name).strip():
        raise UserError("nothing given", _("nothing was given yet"), expected=_("an occupation"))
    table = tables.usual()
    record = OccupationRecord(answers.occupation(str(name), table), table)
    title = record.page_title()
    return [record_html(record) + here(studio.url("work", occupation=title)), _same(title)]


def whole() -> list[Markup]:
    """Return the shares of workers and of tasks, and the curve."""
    from souron.studies.work import answers, exposure
    from souron.studies.work.record import WholeRecord

    table = tables.usual()
    return [record_html(WholeRecord(answers.WholeAnswer(exposure.whole(table)), table)), _same("")]


def rated(text: str | None) -> list[Markup]:
    """Rate the user's own tasks. Raises UserError."""
    from souron.studies.work.record import OwnTasksRecord

    text = (text or "")[:MOST_LETTERS]
    typed = own_tasks.lines(text, _("the field"))
    if len(typed) > MOST_TASKS:
        raise UserError(
            "too many",
            _("{name}: {count} lines").format(name=_("the field"), count=len(typed)),
            expected=_("at most {count}; the command line rates more").format(count=MOST_TASKS),
        )
    with _one_at_a_time:
        found = own_tasks.rate(text, "tasks.txt")
    return [record_html(OwnTasksRecord(found)), _same("tasks.txt")]


def _same(what: str) -> Markup:
    words = ["work", *([what] if what else [])]
    given = repr(what) if what else ""
    python = f"from souron.studies.work import Work\nWork().result({given})"
    return same_thing(command(words), python)
