"""Courses: rows of the lecture in an order of one's own, with texts, to present or to hand out."""

from collections.abc import Mapping

from markupsafe import Markup

from souron.lecture import course as courses
from souron.lecture import notebooks
from souron.studio.lecture import course_pages, lesson
from souron.studio.shared import Studio
from souron.utils.messages import N_, _

TITLE = N_("Courses")
PLACE = "teach"


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    made = {**courses.shipped(), **courses.saved(course_pages.folder(studio))}
    items = Markup("").join(
        Markup(
            '<li class="card"><h3>{title}</h3><p>{steps}</p><p class="actions">'
            '<a class="first" href="{page}">{open}</a><a href="{edit}">{change}</a></p></li>'
        ).format(
            title=course.title,
            steps=course_pages.length(course),
            page=lesson.address(studio.language, "course", name),
            open=_("Open"),
            edit=lesson.address(studio.language, "course", name, "edit"),
            change=_("Change it"),
        )
        for name, course in made.items()
    )
    ways = (
        (
            _("Make a course"),
            _(
                "Choose rows of the lecture and interactives, put them in order, and add texts and a plan of your own. "
                "A course is one small file."
            ),
            lesson.address(studio.language, "course"),
        ),
        (
            _("Present a row"),
            _(
                "Each row of the lecture has a presentation mode: one part at a time in large type, with a pen, a "
                "timer, and the speaker notes in a window of their own."
            ),
            lesson.address(studio.language, "V4") + "#beamer",
        ),
        (
            _("Train with the class"),
            _("Name two things, show them to the camera, and train a network in seconds, in front of everybody."),
            studio.url("teach"),
        ),
        (
            _("Results of a class"),
            _("Every row has an exercise that marks itself. Drop your students' files, and see what was difficult."),
            studio.url("exercises"),
        ),
    )
    cards = Markup("").join(
        Markup(
            '<li class="card"><h2>{0}</h2><p>{1}</p><p class="actions"><a class="first" href="{2}">{0}</a></p></li>'
        ).format(*way)
        for way in ways
    )
    return Markup(
        '<h1>{title}</h1><p>{about}</p>{made}<h2>{begin}</h2><ul class="cards">{cards}</ul>'
        '<h2>{exercises}</h2><p>{about_notebooks}</p><ul class="notebooks">{notebooks}</ul>'
        "<p>{copied}</p><pre><code>souron lecture notebooks lessons/\njupyter lab lessons/</code></pre>"
    ).format(
        title=_("Teach with it"),
        about=_("Everything runs on this computer, also in a room without a network."),
        made=Markup('<h2>{}</h2><ul class="cards">{}</ul>').format(_("Courses that are here"), items) if made else "",
        begin=_("Prepare and evaluate"),
        cards=cards,
        exercises=_("Notebooks"),
        about_notebooks=_(
            "Sixteen notebooks run from top to bottom without a network, from a first run to a language model's life, "
            "with functions to write that are checked. Press one to save it."
        ),
        notebooks=Markup("").join(
            Markup('<li><a href="{}" download>{}</a></li>').format(
                lesson.address(studio.language, "notebooks", f"{name}.ipynb"), notebooks.title(name, studio.language)
            )
            for name in notebooks.names()
        ),
        copied=_("Or copy all of them into a new folder. JupyterLab opens them (pip install jupyterlab ipywidgets):"),
    )
