"""Pages of courses, and the page that edits one."""

import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.lecture import course as courses
from souron.lecture import rows
from souron.lecture.course import Course
from souron.studio import interactive, layout
from souron.studio.lecture import lesson
from souron.studio.lecture.lesson import address
from souron.studio.shared import Studio
from souron.utils.messages import UserError, _


def folder(studio: Studio) -> Path:
    """Return the folder of a project's courses."""
    return studio.project / ".studio" / "courses"


def find(studio: Studio, name: str) -> Course:
    """Load the course of that name, saved here or shipped. Raises UserError."""
    path = courses.place(folder(studio), name)
    if path is not None:
        return courses.load(path)
    shipped = courses.shipped()
    if name not in shipped:
        there = ", ".join([*courses.saved(folder(studio)), *shipped])
        raise UserError(
            "course",
            _("there is no course {name!r}").format(name=name[:40]),
            expected=there or _("a course that was made or opened here"),
            exit=3,
        )
    return shipped[name]


def overview(studio: Studio, name: str) -> str:
    """Return the page that lists a course's steps. Raises UserError."""
    course = find(studio, name)
    items = Markup("").join(
        Markup('<li><a href="{}">{}</a> <small>{}</small></li>').format(
            address(studio.language, "course", name, number),
            lesson.title(part) or number,
            " · ".join(filter(None, (part.row, span(course, number)))),
        )
        for number, part in enumerate(course.parts, 1)
    )
    body = Markup(
        '{trail}<section class="part"><h1>{title}</h1>{plan}<ol class="course">{items}</ol></section>'
        '<p class="actions"><a class="first" rel="next" href="{first}">{begin}</a>'
        '<a href="{first}#beamer">{present}</a>'
        '<a href="{edit}">{change}</a><a href="{file}" download>{save}</a></p>'
    ).format(
        trail=layout.trail((studio.url("courses"), _("Courses"))),
        title=course.title,
        plan=Markup("<p>{}</p>").format(length(course)),
        items=items,
        present=_("Present it"),
        first=address(studio.language, "course", name, 1),
        begin=_("Begin"),
        edit=address(studio.language, "course", name, "edit"),
        change=_("Change it"),
        file=address(studio.language, "course", f"{name}.toml"),
        save=_("Save it as a file"),
    )
    return lesson.whole(studio, course.title, body, "course", name, here="courses")


def length(course: Course) -> str:
    """Return the number of steps, and the minutes of the plan where there is one."""
    steps = _("{count} steps").format(count=len(course.parts))
    return f"{steps} · " + _("{minutes} minutes").format(minutes=f"{course.minutes:g}") if course.minutes else steps


def span(course: Course, number: int) -> str:
    """Return the minutes of the plan for a step, such as ``5–12 min``; "" without a plan."""
    begin, end = course.begin(number), course.begin(number + 1)
    return _("{minutes} min").format(minutes=f"{begin:g}–{end:g}") if end > begin else ""


def step(studio: Studio, name: str, number: int) -> str:
    """Return the page of one step, numbered from 1, with links to its neighbours. Raises UserError for none."""
    course = find(studio, name)
    if not 1 <= number <= len(course.parts):
        raise UserError(
            "course",
            _("this course has no step {number}").format(number=number),
            expected=f"1..{len(course.parts)}",
            exit=3,
        )
    places = [
        (address(studio.language, "course", name, at), lesson.title(part) or str(at))
        for at, part in enumerate(course.parts, 1)
    ]
    way = [(studio.url("lecture"), _("Lecture")), (address(studio.language, "course", name), course.title)]
    part = course.parts[number - 1]
    body = lesson.lesson(
        studio,
        part,
        way,
        places[number - 2] if number > 1 else None,
        places[number] if number < len(places) else None,
        lesson.Plan(name, part.minutes, course.begin(number)),
    )
    return lesson.whole(studio, lesson.title(part) or course.title, body, "course", name, number)


def saved(studio: Studio, asked: Any) -> dict[str, Any]:
    """Save the course that a page sent, and return its address.

    ``asked`` is ``{"toml": "..."}`` from a file, or ``{"name", "title", "parts"}``, where ``name``
    is the course to change. Raises UserError.
    """
    if not isinstance(asked, dict):
        raise UserError("course", repr(asked)[:80], expected="title, parts", exit=3)
    if "toml" in asked:
        course, name = courses.read(str(asked["toml"])), ""
    else:
        course = courses.checked({key: asked.get(key) for key in ("title", "parts")})
        name = str(asked.get("name") or "")
    kept = courses.save(course, folder(studio), name)
    return {"address": address(studio.language, "course", kept)}


def choices() -> Markup:
    """Return the rows of each chapter and the interactives as buttons that add a step."""
    button = Markup('<button type="button" data-do="add" data-{}="{}" data-title="{}">{}</button>')
    groups = {
        _(chapter.title): [
            button.format("row", row.id, row.text.title, f"{row.id} {row.text.title}") for row in chapter.rows
        ]
        for chapter in rows.chapters()
    }
    titles = {name: _(interactive.find(name).TITLE) for name in interactive.names()}
    groups[_("Interactives")] = [button.format("interactive", name, title, title) for name, title in titles.items()]
    return Markup("").join(
        Markup('<details><summary>{}</summary><ul class="choose">{}</ul></details>').format(
            name, Markup("").join(Markup("<li>{}</li>").format(each) for each in buttons)
        )
        for name, buttons in groups.items()
    )


def maker(studio: Studio, name: str = "") -> str:
    """Return the page that creates a course, or edits the one of that name."""
    course = find(studio, name) if name else None
    said = {
        "up": _("up"),
        "down": _("down"),
        "remove": _("remove"),
        "heading": _("own heading"),
        "before": _("text before it"),
        "after": _("text after it"),
        "minutes": _("minutes"),
        "say": _("what to say"),
        "ask": _("what to ask"),
        "see": _("what to show"),
        "text": _("own text"),
        "texts": _("heading and texts"),
        "moved": _("{title} is now step {number}"),
        "added": _("{title} was added"),
        "removed": _("{title} was removed"),
    }
    body = Markup(
        "{trail}<h1>{title}</h1><p>{about}</p>"
        '<div class="making" data-course="{course}" data-words="{words}" data-name="{name}" '
        'data-to="{to}"><label>{called}<input name="title" maxlength="{longest}" required></label>'
        '<div class="sides"><section aria-labelledby="there"><h2 id="there">{choose}</h2>'
        '<p><button type="button" data-do="add" data-row="" data-title="{own}">{add}</button></p>'
        '{choices}</section><section aria-labelledby="chosen"><h2 id="chosen">{steps}</h2>'
        '<ol class="chosen"></ol><p class="faint" role="status"></p></section></div>'
        '<p class="actions"><button type="button" class="first" data-do="save">{save}</button>'
        "</p></div>"
        '<h2>{bring}</h2><p><label>{file} <input type="file" accept=".toml" data-do="open" '
        'data-to="{to}"></label></p>'
    ).format(
        trail=layout.trail((studio.url("courses"), _("Courses"))),
        title=_("Change a course") if course else _("Make a course"),
        about=_(
            "Choose rows of the lecture and interactives, put them in order, and add texts of your own. "
            "Texts are Markdown: **bold**, *emphasis*, lists, links. What to say, to ask and to show "
            "are speaker notes, and minutes are the plan."
        ),
        course=json.dumps(course.as_json() if course else None, ensure_ascii=False),
        words=json.dumps(said, ensure_ascii=False),
        name=name,
        to=address(studio.language, "course"),
        called=_("title of the course"),
        longest=courses.LONGEST_TITLE,
        choose=_("Rows of the lecture"),
        own=_("own text"),
        add=_("Add a text of your own"),
        choices=choices(),
        steps=_("Steps of the course"),
        save=_("Save the course"),
        bring=_("Open a course"),
        file=_("a course's file"),
    )
    where = ("course", name, "edit") if course else ("course",)
    return lesson.whole(studio, _("Make a course"), body, *where, here="courses")
