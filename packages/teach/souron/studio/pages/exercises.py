"""Results of a class: students' files of answers are dropped here and summed up, exercise by exercise.

The script (``static/exercises.js``) sends the files to the studio on this computer, which keeps none of them.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from souron.actions.exercises import MOST_FILES, MOST_LETTERS, SUFFIX, Exercises
from souron.actions.exercises.record import ExercisesRecord, name, shares, wrong_answer
from souron.actions.exercises.results import Item
from souron.kinds import files
from souron.kinds.text import Text
from souron.studio.shared import Studio, same_thing
from souron.utils.messages import N_, UserError, _

TITLE = N_("Results of a class")
PLACE = "teach"
MOST_BYTES = 4 * MOST_LETTERS  # of a request: at most four bytes a character


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    return Markup(
        '<h1>{title}</h1><p>{about}</p><ol><li>{save}</li><li>{collect}</li><li>{drop}</li></ol>'
        '<div class="own class-results" data-module="/static/exercises.js" data-page="{language}/exercises" '
        'data-words="{words}" data-most="{most}"><div class="zone" tabindex="-1"><p class="actions">'
        '<label class="pick">{choose}<input type="file" accept="{suffix}" multiple></label>'
        '<span class="faint">{or_drop}</span></p><label><input type="checkbox" data-names> {names}</label>'
        '<p role="status" class="faint"></p></div><p class="actions" hidden><button type="button" data-save>{csv}'
        '</button></p><div class="judged"></div></div>{same}'
    ).format(
        title=_(TITLE),
        about=_(
            "How many students were right at the first try, exercise by exercise, the most difficult first. The files "
            "are read on this computer and not kept."
        ),
        save=_("Each student presses '{button}' below an exercise of the lecture.").format(
            button=_("Save my answers as a file")
        ),
        collect=_("You collect the files, in any way that your school allows. They hold answers and times, no names."),
        drop=_("You drop all of them here at once."),
        language=studio.language,
        words=json.dumps(words()),
        most=MOST_FILES,
        choose=_("Choose files"),
        suffix=SUFFIX,
        or_drop=_("or drop them here"),
        names=_("also show the names of the files, with each one's own result"),
        csv=_("Save the table as CSV"),
        same=same_thing("souron exercises class/", "from souron.actions.exercises import Exercises\n"
                        'Exercises().result("class/")'),
    )  # fmt: skip


def words() -> dict[str, str]:
    """Return the texts of the script."""
    return {
        "reading": _("reading {count} files …"),
        "many": _("More than {most} files: use souron exercises for one class at a time."),
        "unreadable": _("{file} cannot be read; drop files, not folders"),
        "csv": "results-of-a-class.csv",
    }


def judged(studio: Studio, file: Path, query: Mapping[str, str]) -> dict[str, str]:
    """Return the results as HTML and as CSV; ``file`` holds {"files": [{"name", "text"}]}. Raises UserError."""
    try:
        sent = json.loads(files.content(file, MOST_BYTES))
        texts = [Text(str(one["text"]), str(one["name"])[:200]) for one in sent["files"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError("value", _("the files were not sent as this page sends them"), expected=SUFFIX) from error
    record = Exercises(writes=False).result(*texts, names=query.get("names") == "1")
    assert isinstance(record, ExercisesRecord)
    return {"html": html(studio, record), "csv": record.as_csv()}


def html(studio: Studio, record: ExercisesRecord) -> Markup:
    """Return the sentences, the exercises with their shares, and the notes."""
    sentences = Markup("").join(Markup("<p>{}</p>").format(text) for text in record.sentences())
    notes = Markup("").join(Markup("<li>{}</li>").format(text) for text in record.notes())
    items = Markup("").join(_item(studio, item) for item in record.results.items)
    tables = record.tables()[bool(record.results.items) :]
    return Markup('<div class="verdict" role="status">{}</div>{}<h2>{}</h2><ol class="exercises">{}</ol>{}').format(
        sentences,
        Markup('<ul class="remarks">{}</ul>').format(notes) if notes else "",
        _("Exercises, the most difficult first"),
        items,
        Markup("").join(
            Markup('<h2>{}</h2><div class="scroll" tabindex="0">{}</div>').format(
                table.title, Markup(files.html_table(table.columns, table.rows, ""))
            )
            for table in tables
        ),
    )


def _item(studio: Studio, item: Item) -> Markup:
    share, interval = shares(item)
    facts = [
        _("{right} of {tries} right at the first try: {share} ({interval})").format(
            right=item.right, tries=item.tries, share=share, interval=interval
        )
        if item.tries
        else _("nobody tried before seeing the solution")
    ]
    if item.wrong:
        facts.append(_("most frequent wrong answer: {answer}").format(answer=wrong_answer(item)))
    if item.improved:
        facts.append(_("right later, after the hint: {count}").format(count=item.improved))
    if item.looked:
        facts.append(_("saw the solution first: {count}").format(count=item.looked))
    found = item.share
    bar = Markup(
        '<div class="share" aria-hidden="true"><i style="left:{low:.1f}%;width:{width:.1f}%"></i>'
        '<b style="left:{value:.1f}%"></b></div>'
    ).format(low=100 * found.low, width=100 * (found.high - found.low), value=100 * found.value)
    return Markup('<li><h3><a href="/lecture/{}/{}">{}</a></h3><p>{}</p>{}<ul>{}</ul></li>').format(
        studio.language,
        item.exercise.row,
        name(item),
        item.exercise.words.question,
        bar if item.tries else "",
        Markup("").join(Markup("<li>{}</li>").format(fact) for fact in facts),
    )


UPLOADS = {"answers": judged}
