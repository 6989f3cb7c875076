"""Pages of the lecture's rows: idea, layers, mechanism, a trial, a training, a text to read aloud.

The pages are plain HTML, so that they load at once and print well. Their script
(``static/lecture.js``) handles the layers' buttons, starts the training, and presents the page part
by part in large type.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from souron import registry
from souron.hub import zoo
from souron.lecture import course as courses
from souron.lecture import rows
from souron.lecture.course import Part
from souron.lecture.rows import Row
from souron.runs.options import MOST_BRIEF
from souron.studio import interactive, layout
from souron.studio.forms import command_form
from souron.studio.jobs.job_queue import ALIVE, Job
from souron.studio.lecture import at_work, layer_pages, presenter
from souron.studio.pages import lecture, train
from souron.studio.shared import PAGES, Studio, same_thing, words
from souron.utils import distributions
from souron.utils.messages import _

BUDGET = "10s"  # of a training on a page
FIRST = ["train", "cnn", "data=digits", f"budget={BUDGET}", "brief=true"]  # of the first steps


def address(language: str, *path: str | int) -> str:
    """Return an address such as ``/lecture/en/V1``."""
    return "/lecture/" + "/".join(quote(str(part), safe="") for part in (language, *path))


def whole(studio: Studio, title: str, body: Markup, *path: str | int, here: str = "lecture") -> str:
    """Return a complete HTML page; ``path`` is its address below the language."""
    return layout.whole(studio, title, body, here, lambda language: address(language, *path), "lesson")


def page(studio: Studio, row: Row) -> str:
    """Return the page of a row, with links to its neighbours in the lecture."""
    order = list(rows.rows())
    place = order.index(row.id)
    before = rows.find(order[place - 1]) if place else None
    after = rows.find(order[place + 1]) if place + 1 < len(order) else None
    chapter = next(each for each in rows.chapters() if each.name == row.chapter)
    way = [(studio.url("lecture"), _("Lecture")), (studio.url("lecture") + f"#{chapter.name}", _(chapter.title))]
    places = [
        (address(studio.language, each.id), f"{each.id} {each.text.title}") if each else None
        for each in (before, after)
    ]
    body = lesson(studio, Part(row.id), way, places[0], places[1])
    return whole(studio, f"{row.id} {row.text.title}", body, row.id)


def layers_page(studio: Studio, name: str) -> str:
    """Return the page of a system's layers. Raises UserError."""
    title, body = layer_pages.page(studio, name)
    return whole(studio, title, body, "layers", name)


def title(part: Part) -> str:
    """Return the title of a course's step; "" for a text without a heading. Raises UserError."""
    return part.heading or (_(interactive.find(part.interactive).TITLE) if part.interactive else part.title)


Place = tuple[str, str] | None  # address and name of a neighbour


@dataclass(frozen=True)
class Plan:
    """The place of a page in the plan of a course, for the timer."""

    course: str = ""  # its name; "" for a row by itself
    minutes: float = 0  # of this page; 0 without a plan
    begin: float = 0  # minute at which this page begins


def lesson(
    studio: Studio, part: Part, way: Sequence[tuple[str, str]], before: Place, after: Place, plan: Plan = Plan()
) -> Markup:
    """Return the parts of a page, each of which fills the screen in presentation mode."""
    row = rows.find(part.row) if part.row else None
    if part.interactive:
        sections = trial(part)
    else:
        sections = [opening(part, row, way[-1][1])]
        if part.before and row is not None:
            sections.append(own_text(part.before, "before"))
    if row is not None:
        sections += content(studio, row, part.show)
    if part.after:
        sections.append(own_text(part.after, "after"))
    beamer = Markup('<button type="button" data-do="beamer">{}</button>').format(_("Presentation mode"))
    steps = Markup("").join(
        Markup('<a class="{0}" rel="{0}" href="{1}">{2}</a>').format(rel, *place)
        if place
        else Markup('<span class="{}"></span>').format(rel)
        for rel, place in (("prev", before), ("next", after))
    )
    return Markup('{trail}{sections}{notes}<nav class="steps" aria-label="{around}">{steps}</nav>{bar}').format(
        trail=layout.trail(*way, after=beamer),
        sections=Markup("").join(sections),
        notes=presenter.notes(part, row),
        around=_("before and after"),
        steps=steps,
        bar=presenter.bar(plan.course, plan.minutes, plan.begin),
    )


def trial(part: Part) -> list[Markup]:
    """Return the parts of a step that is an interactive. Raises UserError where there is none of that name."""
    sections = [own_text(part.before, "before")] if part.before else []
    above = Markup('<p class="row">{}</p>').format(part.heading) if part.heading else ""
    inside = Markup('<section class="part" data-part="interactive">{}{}</section>')
    return [*sections, inside.format(above, interactive.html(part.interactive, "h1"))]


def section(name: str, title: str, inside: Markup) -> Markup:
    return Markup(
        '<section class="part" data-part="{0}" aria-labelledby="part-{0}"><h2 id="part-{0}">{1}</h2>{2}</section>'
    ).format(name, title, inside)


def opening(part: Part, row: Row | None, course: str) -> Markup:
    """Return the title (the course's for a part without one) and the opening text."""
    title = part.title or course
    if row is None:
        return Markup('<section class="part" data-part="what"><h1>{}</h1>{}</section>').format(
            title, Markup(courses.markdown(part.before))
        )
    said = Markup('<p class="what">{}</p><p class="who">{}</p>').format(row.text.what, row.text.who)
    return Markup('<section class="part" data-part="what"><p class="row">{} · {}</p><h1>{}</h1>{}</section>').format(
        row.id, row.year, title, said
    )


def own_text(text: str, name: str) -> Markup:
    """Render a teacher's own text."""
    return Markup('<section class="part own" data-part="{}">{}</section>').format(name, Markup(courses.markdown(text)))


def content(studio: Studio, row: Row, show: Sequence[str] = ()) -> list[Markup]:
    """Return the parts of a row after its opening; ``show`` names those of a course's step, () for all."""
    text = Markup("<p>{}</p>")
    trained = row.systems and row.data
    made: dict[str, Callable[[], list[Markup]]] = {
        "work": lambda: [section("work", _("At work"), at_work.panel(studio, row))],
        "interactive": lambda: interactives(row),
        "picture": lambda: (
            [section("picture", _("Its layers"), layer_pages.of_row(studio, row))] if row.systems else []
        ),
        "mechanism": lambda: [section("mechanism", _("How it works"), listed(row.text.mechanism))],
        "try": lambda: [section("try", _("Try it"), trying(studio, row))] if row.systems else [],
        "train": lambda: [section("train", _("Train it for ten seconds"), training(studio, row))] if trained else [],
        "marked": lambda: exercises(studio, row),
        "used": lambda: [section("used", _("Where it is used"), text.format(row.text.used))],
        "fails": lambda: [section("fails", _("Where it fails"), text.format(row.text.fails))],
        "more": lambda: [section("more", _("Where to continue"), more(studio, row))],
    }
    first = ["work", "picture", "mechanism"]
    first.insert(3 if at_work.stage(row).here else 0, "interactive")
    return [each for name in show or (*first, *courses.SECTIONS[4:]) for each in made[name]()]


def exercises(studio: Studio, row: Row) -> list[Markup]:
    """Return the row's exercises, which mark themselves; [] where the distribution that marks them is missing."""
    marking = "studio/lecture/marking"
    if not (row.exercise and distributions.is_offered(marking)):
        return []
    return [section("marked", _("Be marked"), distributions.load(marking).panel(studio, row))]


def listed(texts: Sequence[str]) -> Markup:
    items = Markup("").join(Markup("<li>{}</li>").format(text) for text in texts)
    return Markup('<ol class="mechanism">{}</ol>').format(items)


def trying(studio: Studio, row: Row) -> Markup:
    """Return links to try, train and compare each of the row's systems."""
    items = []
    for name in row.systems:
        entry, _size = registry.find(name)
        links = Markup("").join(
            Markup('<a class="{}" href="{}" aria-label="{}: {}">{}</a>').format(kind, where, name, text, text)
            for text, where, kind in lecture.actions(studio, entry)
        )
        items.append(
            Markup(
                '<li><p><strong>{}</strong> <small>{}</small> – {}</p><p class="faint">{}</p>'
                '<p class="actions">{}</p></li>'
            ).format(name, entry.year or "", registry.about(entry), zoo.about(name) if zoo.where(name) else "", links)
        )
    return Markup('<ul class="systems">{}</ul>').format(Markup("").join(items))


def training(studio: Studio, row: Row) -> Markup:
    """Return the button that trains the row's first system; its result appears below."""
    line = training_words(row)
    said = _(
        "{system} is trained on {data} and tested on at most {count} unseen cases, {budget} in all by the "
        "clock. You see its loss and first figures as it goes. Reading the data before, and writing the "
        "report afterwards, take further seconds."
    )
    return Markup("<p>{}</p>{}{}").format(
        said.format(system=line[1], data=row.data, budget=_("ten seconds"), count=MOST_BRIEF),
        train_button(studio, row.id, line),
        same_thing(
            "souron " + " ".join(line), command_form.python("train", repr(line[1]), training_options(row), train.PYTHON)
        ),
    )


def train_button(studio: Studio, name: str, line: Sequence[str]) -> Markup:
    """Return the button that trains with the words of ``line``, and the place where that is watched.

    A training that runs already is watched at once. ``name`` is a row's, or "first".
    """
    job = running(studio, line)
    return Markup(
        '<p class="actions"><button type="button" class="first" data-do="train" data-to="{}"{}>{}'
        '</button></p><div class="live" data-watched="{}"></div>'
    ).format(
        address(studio.language, name, "train"),
        Markup(' data-running="{}"').format(job.id) if job else "",
        _("Train it now"),
        address(studio.language, "job"),
    )


def running(studio: Studio, line: Sequence[str]) -> Job | None:
    """Return the waiting or running job with these words; None for none."""
    return next((job for job in studio.jobs.all() if job.words == list(line) and job.state in ALIVE), None)


def training_words(row: Row) -> list[str]:
    """Return the command of the training button."""
    return words("train", [row.trained or row.systems[0]], training_options(row))


def training_options(row: Row) -> dict[str, Any]:
    """Return the options of that command."""
    return {"data": row.data, **row.training, "budget": BUDGET, "brief": True}


def interactives(row: Row) -> list[Markup]:
    """Return the row's interactives that exist."""
    return [
        Markup('<section class="part" data-part="interactive">{}</section>').format(interactive.html(name))
        for name in row.interactive
        if name in interactive.names()
    ]


def more(studio: Studio, row: Row) -> Markup:
    """Return links to pages, commands, documentation and the paper."""
    there = {*PAGES, *registry.action_files()}
    links = [(studio.url(name), layout.title(name)) for name in row.pages if name in there]
    pages = Markup("").join(Markup('<a href="{}">{}</a>').format(*each) for each in links)
    typed = Markup("").join(Markup("<li><code>{}</code></li>").format(c) for c in row.commands)
    facts = []
    if row.docs:
        facts.append((_("documentation"), Markup("<code>docs/{}.md</code>").format(row.docs)))
    if row.source:
        facts.append(
            (_("source"), Markup('<a href="{0}" rel="noopener noreferrer" target="_blank">{0}</a>').format(row.source))
        )
    rows_ = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(*each) for each in facts)
    return Markup('<p class="actions">{}</p><ul class="typed">{}</ul><dl>{}</dl>').format(pages, typed, rows_)
