"""Exercises on a row's page: forms and their marks, functions to write in a notebook, the file of all answers."""

import hashlib
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from souron.kinds import files
from souron.lecture import exercises, notebooks
from souron.lecture.exercises import Exercise
from souron.lecture.rows import Row
from souron.studio.shared import Studio
from souron.utils.messages import UserError, _, language

BESIDE = "notebooks"  # folder beside exported pages


def panel(studio: Studio, row: Row) -> Markup:
    """Return a form for each exercise of a row, its functions to write, and a link to the file of all answers."""
    solved = exercises.solved(studio.project)
    forms = Markup("").join(
        Markup(
            '<form class="exercise" data-mark="/lecture/{language}/{row}/mark" data-exercise="{number}">'
            '<fieldset><legend>{question}</legend>{fields}</fieldset><p class="actions">'
            '<button type="submit" class="first">{mark}</button>'
            '<button type="button" data-do="show">{show}</button></p>'
            '<div role="status"{kind}>{before}</div></form>'
        ).format(
            language=studio.language,
            row=row.id,
            number=one.number,
            question=one.words.question,
            fields=fields(one),
            mark=_("Mark my answer"),
            show=_("Show the answer"),
            kind=Markup(' class="right"') if (row.id, one.number) in solved else "",
            before=_("Solved before.") if (row.id, one.number) in solved else "",
        )
        for one in exercises.of_row(row)
    )
    save = Markup(
        '<p class="actions answers"{hidden}><a href="/lecture/{language}/answers.jsonl" download>{save}</a> '
        '<span class="faint">{about}</span></p>'
    ).format(
        hidden="" if (studio.project / exercises.KEPT).exists() else Markup(" hidden"),
        language=studio.language,
        save=_("Save my answers as a file"),
        about=_("for your teacher; it holds no name"),
    )
    return forms + to_write([row], f"/lecture/{studio.language}/notebooks") + save


def to_write(some: Sequence[Row], folder: str = "") -> Markup:
    """Return the functions of these rows that a notebook leaves to its reader, with a link to each notebook.

    ``folder`` is the address of the studio's notebooks in the current language; without it the notebooks lie beside
    the page, in ``BESIDE``.
    """
    functions: dict[str, list[str]] = {}
    for row in some:
        for function, notebook in notebooks.by_row().get(row.id, ()):
            functions.setdefault(notebook, []).append(function)
    return Markup("").join(
        Markup(
            '<div class="write"><h3>{write} {functions}</h3><p>{about}</p>'
            '<p class="actions"><a href="{address}"{download}>{save}</a></p>'
            "<p>{how}</p><pre><code>{command}</code></pre></div>"
        ).format(
            write=_("Write a function:"),
            functions=Markup(", ").join(Markup("<code>{}</code>").format(name) for name in names),
            about=_(
                "The notebook “{title}” leaves it to you, and compares yours with souron's own on inputs that you do "
                "not see."
            ).format(title=notebooks.title(notebook, language())),
            address=f"{folder or BESIDE}/{notebook}.ipynb",
            download=Markup(" download") if folder else "",
            save=_("Save the notebook") if folder else f"{notebook}.ipynb",
            how=_("Or copy all notebooks into a new folder, and open this one:")
            if folder
            else _("The notebook lies beside this page. Open it in JupyterLab:"),
            command=f"souron lecture notebooks lessons/\njupyter lab lessons/{notebook}.ipynb"
            if folder
            else f"jupyter lab {BESIDE}/{notebook}.ipynb",
        )
        for notebook, names in functions.items()
    )


def saved(studio: Studio) -> tuple[str, bytes]:
    """Return the file of all answers of this project, with a name that differs from other students'.

    Raises UserError where nothing was answered yet.
    """
    content = b""
    if (studio.project / exercises.KEPT).exists():
        content = files.content(studio.project / exercises.KEPT, 2 * exercises.MOST_BYTES)
    if not content:
        raise UserError("missing", _("no exercise was answered yet"), expected=_("an answer"), exit=3)
    return f"answers-{hashlib.sha256(content).hexdigest()[:8]}.jsonl", content


def fields(one: Exercise) -> Markup:
    if one.kind == "number":
        return Markup('<label>{} <input type="number" step="any"></label>').format(_("a number"))
    return Markup("").join(
        Markup('<label><input type="radio" name="{}-{}" value="{}"> {}</label>').format(
            one.row, one.number, place, text
        )
        for place, text in enumerate(one.words.choices)
    )


def answer(studio: Studio, row: Row, asked: Any) -> dict[str, Any]:
    """Mark ``answer`` to the exercise numbered ``exercise`` and keep it; ``show`` true asks for the solution.

    That the solution was shown before a right answer is kept, too. Raises UserError.
    """
    every = exercises.of_row(row)
    number = asked.get("exercise") if isinstance(asked, dict) else None
    if type(number) is not int or number not in range(len(every)):
        raise UserError(
            "exercise",
            _("{row} has no exercise {number}").format(row=row.id, number=str(number)[:20]),
            expected=_("one of {count}").format(count=len(every)),
        )
    one = every[number]
    if asked.get("show") is True:
        if (row.id, one.number) not in exercises.solved(studio.project):
            exercises.keep(studio.project, one, None, False)
        text = one.explanation
        if one.kind == "predict":
            text = f"{one.words.choices[int(one.answer)]}. {text}"
        return {"right": False, "html": Markup("<p>{}</p>").format(text)}
    is_right = exercises.right(one, asked.get("answer"))
    exercises.keep(studio.project, one, asked["answer"], is_right)
    said, text = (_("Right."), one.explanation) if is_right else (_("Not right yet."), one.words.hint)
    return {"right": is_right, "html": Markup("<p><strong>{}</strong> {}</p>").format(said, text)}
