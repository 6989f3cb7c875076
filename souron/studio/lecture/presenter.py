"""Presentation mode: its buttons, the help on its keys, and the speaker notes of a page.

``static/presenter.js`` shows one part of the page at a time, ``static/pen.js`` draws over it.
"""

import json

from markupsafe import Markup

from souron.lecture import course as courses
from souron.lecture.course import Part
from souron.lecture.rows import Row
from souron.studio import interactive
from souron.utils.messages import N_, _

BUTTONS = (
    ("back", N_("part before"), "←"),
    ("on", N_("next part"), "→"),
    ("question", N_("Next question"), ""),
    ("answer", N_("The answer"), ""),
    ("pen", N_("Pen"), ""),
    ("notes", N_("Speaker notes"), ""),
    ("full", N_("Full screen"), ""),
    ("keys", N_("Keys"), "?"),
    ("leave", N_("End"), ""),
)  # what a button does, its name, its sign
COLOURS = (("red", N_("red")), ("blue", N_("blue")), ("green", N_("green")), ("yellow", N_("yellow")))  # of the pen
KEYS = (
    ("→ · Page Down", N_("the next part, then the next page")),
    ("← · Page Up", N_("the part before")),
    ("q", N_("the next question; its answer stays hidden")),
    ("a", N_("the answer to this question")),
    ("d", N_("the pen, on and off; it is wiped off with the next part")),
    ("1 2 3 4", N_("its colours")),
    ("e", N_("the eraser")),
    ("w", N_("wipe everything off")),
    ("n", N_("the speaker notes, in a window of their own")),
    ("p", N_("pause the timer, and go on")),
    ("r", N_("set the timer to 0")),
    ("f", N_("full screen")),
    ("b · .", N_("a black screen")),
    ("?", N_("these keys")),
    ("Esc", N_("close what is open, then end")),
)
WORDS = {
    "late": N_("{time} late"),
    "ahead": N_("{time} ahead"),
    "step": N_("{time} of {plan}"),
    "pause": N_("Pause"),
    "resume": N_("Go on"),
    "none": N_("no further question on this page"),
    "blocked": N_("the browser blocked the window of the notes"),
}  # of the script


def bar(course: str, minutes: float, begin: float) -> Markup:
    """Return the buttons, the pen and the timer of presentation mode.

    ``course`` is the name of the course that is presented, "" for a row by itself; ``minutes`` the
    plan of this page and ``begin`` the minute at which it begins.
    """
    words = {name: _(text) for name, text in WORDS.items()}
    return Markup(
        '<div class="beaming" role="toolbar" aria-label="{name}" data-course="{course}" data-minutes="{minutes}" '
        'data-begin="{begin}" data-words="{words}" hidden>{buttons}{inks}<span class="told" role="status"></span>'
        '<span class="place"></span><span class="clock"><span class="timer" role="timer"></span>'
        '<button type="button" data-do="pause">{pause}</button><button type="button" data-do="reset">{reset}</button>'
        "</span></div>{keys}"
    ).format(
        name=_("presentation"),
        course=course,
        minutes=minutes,
        begin=begin,
        words=json.dumps(words, ensure_ascii=False),
        buttons=Markup("").join(_button(*each) for each in BUTTONS),
        inks=inks(),
        pause=words["pause"],
        reset=_("Reset"),
        keys=keys(),
    )


def _button(does: str, name: str, sign: str) -> Markup:
    if not sign:
        return Markup('<button type="button" data-do="{}">{}</button>').format(does, _(name))
    return Markup('<button type="button" data-do="{}" aria-label="{name}" title="{name}">{}</button>').format(
        does, sign, name=_(name)
    )


def inks() -> Markup:
    """Return the colours of the pen, the eraser and the button that wipes everything off."""
    colours = Markup("").join(
        Markup(
            '<button type="button" class="ink" data-ink="{colour}" aria-label="{name}" title="{name}"></button>'
        ).format(colour=colour, name=_(name))
        for colour, name in COLOURS
    )
    return Markup(
        '<span class="inks" role="group" aria-label="{}" hidden>{}<button type="button" data-ink="eraser">{}</button>'
        '<button type="button" data-do="wipe">{}</button></span>'
    ).format(_("pen"), colours, _("Eraser"), _("Wipe off"))


def keys() -> Markup:
    rows = Markup("").join(Markup("<dt><kbd>{}</kbd></dt><dd>{}</dd>").format(key, _(does)) for key, does in KEYS)
    return Markup(
        '<dialog class="keys" aria-labelledby="keys"><h2 id="keys">{}</h2><dl>{}</dl>'
        '<form method="dialog"><button class="first">{}</button></form></dialog>'
    ).format(_("Keys of presentation mode"), rows, _("Close"))


def notes(part: Part, row: Row | None) -> Markup:
    """Return the speaker notes of a page, folded: what to say, what to ask, what to show.

    Without notes of the course these are the row's text to read aloud, or an interactive's question
    and its answer. Raises UserError.
    """
    plain = Markup("<p>{}</p>")
    say = Markup(courses.markdown(part.say)) if part.say else plain.format(row.text.spoken) if row is not None else ""
    ask, see = Markup(courses.markdown(part.ask)), Markup(courses.markdown(part.see))
    if part.interactive:
        module = interactive.find(part.interactive)
        ask = ask or plain.format(_(module.QUESTION))
        right = _("Right: {answer}").format(answer=_(module.CHOICES[module.RIGHT]))
        see += Markup("<p><strong>{}</strong></p><p>{}</p>").format(right, _(module.ANSWER))
    texts = ((_("Say"), say), (_("Ask"), ask), (_("Show"), see))
    if row is not None and not (part.ask or part.see):
        return _folded(_("Text to read aloud"), say)
    inside = Markup("").join(Markup("<h3>{}</h3>{}").format(name, text) for name, text in texts if text)
    return _folded(_("Speaker notes"), inside) if inside else inside


def _folded(name: str, inside: Markup | str) -> Markup:
    return Markup('<details class="spoken"><summary>{}</summary>{}</details>').format(name, inside)
