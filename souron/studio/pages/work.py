"""Work: tasks of an occupation, or the user's own, and their exposure to language models."""

import threading
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron.actions.work import own_tasks, tables, titles
from souron.studio.forms import controls
from souron.studio.shared import Studio, command, here, record_html, same_thing
from souron.utils.messages import N_, UserError, _, language

TITLE = N_("Work")
PLACE = "tool"
USUAL = "Registered Nurses"
MOST_LETTERS = 40_000  # characters of typed tasks
MOST_TASKS = 200  # most tasks that a page rates
SHOWN: dict[str, Any] = {"hx_target": "#work", "hx_swap": "innerHTML"}  # where an answer is shown
_one_at_a_time = threading.Lock()


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    about = _(
        "Each tile is a task of an occupation; its colour and sign say whether a language "
        "model, alone or with software built on it, might halve the time that it takes."
    )
    return Markup('{}{}{}<div id="work">{}</div>').format(
        controls.page_head(_("How much of your work can language models do?"), about),
        chosen(studio, query.get("occupation", "")),
        own(studio),
        one(studio, wanted(query)),
    )


def wanted(query: Mapping[str, str]) -> str:
    """Return the title of the occupation in the address, or else a usual one."""
    try:
        return titles.find(query.get("occupation") or USUAL).occupation.title
    except UserError:
        return tables.usual().occupations[0].title


def chosen(studio: Studio, name: str) -> Markup:
    """Return the field for an occupation, and the button for all of them."""
    field = controls.labelled(
        _("occupation"),
        controls.combo("occupation", occupations(), name, placeholder=USUAL),
        _("choose, or type a name, such as: dentist, 看護師"),
    )
    every = {"hx_post": controls.part(studio, "work", "whole"), "hx_sync": "#form:replace", **SHOWN}
    button = controls.press(_("All occupations together"), **every)
    return controls.form(studio, "work", "one", field + button, hx_trigger="change, submit", **SHOWN)


def own(studio: Studio) -> Markup:
    """Return the folded form for the user's own tasks."""
    example = "Take impressions of teeth.\n治療計画を患者に説明する。"
    field = controls.labelled(
        _("tasks, a line each, in English or Japanese"),
        controls.area("tasks", rows=5, maxlength=MOST_LETTERS, placeholder=example),
    )
    button = controls.press(_("Rate these tasks"), first=True)
    form = controls.form(studio, "work", "rated", field + button, id="own", **SHOWN)
    return controls.folded(_("Your own tasks"), form)


def occupations() -> list[tuple[str, str]]:
    """Return (shown, title) of the occupations, by title, with Japanese names where known."""
    names = [one.title for one in tables.usual().occupations]
    own = {title: titles.japanese_name(title) for title in names}
    if language() == "ja":
        shown = [(f"{own[name]}  {name}".strip(), name) for name in names]
        return sorted(shown, key=lambda pair: (not own[pair[1]], pair[1]))
    return sorted((name, name) for name in names)


def one(studio: Studio, name: str) -> Markup:
    """Return an occupation's tasks as tiles, and its figures. Raises UserError."""
    from souron.actions.work import answers
    from souron.actions.work.record import OccupationRecord

    if not name.strip():
        raise UserError("nothing given", _("nothing was given yet"), expected=_("an occupation"))
    table = tables.usual()
    record = OccupationRecord(answers.occupation(name, table), table)
    title = record.page_title()
    return record_html(record) + here(studio.url("work", occupation=title)) + _same(title)


def whole() -> Markup:
    """Return the shares of workers and of tasks, and the curve."""
    from souron.actions.work import answers, exposure
    from souron.actions.work.record import WholeRecord

    table = tables.usual()
    return record_html(WholeRecord(answers.WholeAnswer(exposure.whole(table)), table)) + _same("")


def rated(text: str) -> Markup:
    """Rate the user's own tasks. Raises UserError."""
    from souron.actions.work.record import OwnTasksRecord

    text = text[:MOST_LETTERS]
    typed = own_tasks.lines(text, _("the field"))
    if len(typed) > MOST_TASKS:
        raise UserError(
            "too many",
            _("{name}: {count} lines").format(name=_("the field"), count=len(typed)),
            expected=_("at most {count}; the command line rates more").format(count=MOST_TASKS),
        )
    with _one_at_a_time:
        found = own_tasks.rate(text, "tasks.txt")
    return record_html(OwnTasksRecord(found)) + _same("tasks.txt")


def _same(what: str) -> Markup:
    words = ["work", *([what] if what else [])]
    given = repr(what) if what else ""
    python = f"from souron.actions.work import Work\nWork().result({given})"
    return same_thing(command(words), python)


PARTS = {
    "one": lambda studio, form: one(studio, form["occupation"]),
    "whole": lambda _studio, _form: whole(),
    "rated": lambda _studio, form: rated(form["tasks"]),
}
