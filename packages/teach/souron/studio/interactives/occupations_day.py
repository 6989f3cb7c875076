"""An occupation's day: guess which tasks are exposed to language models, then see labels.

Tasks of O*NET with labels by people and by GPT-4 (Eloundou, Manning, Mishkin, Rock: GPTs are GPTs,
2023, https://arxiv.org/abs/2303.10130), read and weighted as in ``souron work``.
"""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import button, choice, controls
from souron.utils.messages import N_, _, language

TITLE = N_("An occupation's day")
ABOUT = N_(
    "An occupation is a list of tasks. For each task people judged whether a language model could "
    "halve its time at equal quality: not at all (E0), by itself (E1), or with software built on "
    "one (E2). GPT-4 was asked the same. Choose an occupation, press the tasks that you think are "
    "exposed, then compare."
)
QUESTION = N_("Beta counts E1 as 1 and E2 as one half. What is it for general dentists, judged by people?")
CHOICES = (N_("Below 10 %"), N_("Between 10 and 35 %"), N_("Above 50 %"))
RIGHT = 1
ANSWER = N_(
    "Between 10 and 35 %: hands in a mouth are out of a language model's reach, but plans, records "
    "and talks with patients are not. People and GPT-4 disagree on about a third of all tasks, so "
    "every such figure depends on the judge."
)
WORDS = {
    "shown": N_("{title}: {count} tasks. Press those that you think are exposed."),
    "people": N_("people: {label}"),
    "gpt4": N_("GPT-4: {label}"),
    "half": N_("not a core task: counts half"),
    "you": N_("you: exposed"),
    "figures": N_("{judge}: alpha {alpha} %, beta {beta} %, zeta {zeta} %"),
    "by people": N_("people"),
    "by gpt4": N_("GPT-4"),
    "agree": N_("On exposed or not you agree with people in {people} of {count} tasks, GPT-4 does in {gpt4}."),
}
TOUR = (
    ("occupation", N_("Choose an occupation of the O*NET data base (United States).")),
    ("tasks", N_("Press the tasks that a language model could do in half the time at equal quality, in your opinion.")),
    (
        "tasks",
        N_("Before you look: which tasks of general dentists did people call exposed?"),
        (N_("Those with the hands"), N_("Those with words and records"), N_("All of them")),
        1,
    ),
    ("reveal", N_("Show how people and GPT-4 labelled the same tasks.")),
    ("people", N_("Alpha counts E1 alone, beta also half of E2, zeta all of E2. The three differ widely.")),
    (
        "gpt4",
        N_("On which share of all tasks do people and GPT-4 disagree?"),
        (N_("About a tenth"), N_("About a third"), N_("About two thirds")),
        1,
    ),
    (
        "agree",
        N_("Your agreement with people beside that of GPT-4. Neither label is a measurement of what a model can do."),
    ),
    ("shown", N_("Exposure says that a task might take half the time. It does not say that a job disappears.")),
)
FIRST = (
    "Dentists, General",
    "Registered Nurses",
    "Physical Therapists",
    "Web Developers",
    "Carpenters",
    "Firefighters",
    "Chefs and Head Cooks",
)


def stage() -> Markup:
    from souron.actions.work import exposure, tables

    table = tables.usual()
    lines = [*exposure.cautions(table), exposure.attribution()]
    cautions = Markup("").join(Markup('<p class="remark">{}</p>').format(line) for line in lines)
    original = _("The tasks are in O*NET's own words, which are English.")
    return (
        controls(
            choice("occupation", _("occupation"), named(table)), button("reveal", _("Show the judgements"), first=True)
        )
        + interactive.part("shown")
        + Markup('<p class="faint">{}</p><ul class="tasks" data-part="tasks" lang="en"></ul>').format(original)
        + Markup("").join(interactive.part(name) for name in ("people", "gpt4", "agree"))
        + cautions
    )


def named(table: Any) -> list[tuple[str, str]]:
    """Return (title, name in the reader's language) of the occupations, those of FIRST first."""
    from souron.actions.work.titles import japanese_name

    titles = [one.title for one in table.occupations]
    ordered = [*(title for title in FIRST if title in titles), *sorted(title for title in titles if title not in FIRST)]
    if language() != "ja":
        return [(title, title) for title in ordered]
    own = [(title, japanese_name(title)) for title in ordered]
    return [(title, f"{name} ({title})" if name else title) for title, name in own]


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tasks of an occupation; with ``guess`` also everybody's labels.

    ``guess`` holds the numbers of the tasks that the reader takes for exposed. Raises UserError.
    """
    from souron.actions.work import exposure, tables

    table = tables.usual()
    titles = [one.title for one in table.occupations]
    title = interactive.among(asked, "occupation", [title for title, _name in named(table)])
    tasks = table.occupations[titles.index(title)].tasks
    found: dict[str, Any] = {"title": title, "tasks": [{"task": task.text, "core": task.core} for task in tasks]}
    if "guess" in asked:
        rows = interactive.table(asked, "guess", len(tasks), 1, len(tasks))
        guessed = {int(row[0]) for row in rows}
        for i, task in enumerate(tasks):
            found["tasks"][i] |= {"people": task.people, "gpt4": task.gpt4}
        exposed = [task.people != "E0" for task in tasks]
        found["agree"] = {
            "count": len(tasks),
            "people": sum((i in guessed) == is_so for i, is_so in enumerate(exposed)),
            "gpt4": sum((task.gpt4 != "E0") == is_so for task, is_so in zip(tasks, exposed, strict=True)),
        }
        judges: tuple[exposure.Who, ...] = ("people", "gpt4") if table.by_gpt4 else ("people",)
        found["figures"] = {
            who: {name: round(100 * value, 1) for name, value in exposure.exposure(tasks, who)._asdict().items()}
            for who in judges
        }
    return found
