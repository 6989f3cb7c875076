"""Fields and views of each kind in the studio; ``answers`` puts what is shown on cards.

A kind that is not in ``SHOWN`` is shown as in a notebook, and every kind that is read is entered as a
file, some of them as a text, too. No system is known here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from souron.kinds import files
from souron.kinds.chat import Chat
from souron.kinds.graphics.rendering import VIEWS, render
from souron.kinds.kind import Kind
from souron.kinds.picture import html
from souron.kinds.question import Question
from souron.kinds.text import MOST_LETTERS, Text
from souron.studio import volume_pages
from souron.studio.forms import controls, devices
from souron.studio.security.posted import Posted
from souron.utils.messages import N_, UserError, _

TEXT, FILES = "given-text", "given-files"  # names of the fields
TYPED = ("text", "chat", "question")  # widgets of kinds that may be typed
MARKED = ("boxes", "mask", "segments", "points", "poses")  # widgets of kinds with marks to choose from
LINES = 4  # of a text area
MOST_ROWS = 1000  # numbers of a plot
SPEAKERS = {"user": N_("you"), "assistant": N_("answer")}


@dataclass(frozen=True)
class View:
    """Choices of a reader about what to see of an answer."""

    least: float = 0.0  # score of the marks
    names: tuple[str, ...] | None = None  # of the marks; None: all
    frame: int = 0  # of a video, from 1; 0: it plays


def called(kind: type[Kind]) -> str:
    """Return the kind's name in the reader's language."""
    return _(kind.noun)


def given(kind: type[Kind], text: str = "") -> Markup:
    """Return the fields to enter such a kind; ``text`` stands in a text area at first."""
    ends, area, name = ", ".join(kind.formats), Markup(), called(kind)
    if kind.widget in TYPED:
        more: dict[str, Any] = {"rows": LINES, "maxlength": MOST_LETTERS}
        about = ""
        if kind.widget == "question":
            more["placeholder"] = _("Which of these is a bone?\nA) femur\nB) liver\nC) heart\nD) kidney")
            about = _("the question, then an option a line")
        area = controls.labelled(name, controls.area(TEXT, text, **more), about)
        name, ends = _("or files ({ends})").format(ends=ends), ""
    return (
        area
        + controls.labelled(name, controls.files(FILES, kind.formats, many=True), ends)
        + devices.button(kind.widget)
    )


def typed(kind: type[Kind], text: str, before: Kind | None = None) -> Kind:
    """Return what was typed, or a blank input; ``before`` is the chat so far. Raises UserError.

    >>> typed(Chat, "b", Chat([("user", "a")])).turns[1].text
    'b'
    """
    if kind.blank and not text:
        return kind()
    if kind.widget not in TYPED or not text.strip():
        raise UserError("nothing given", _("nothing was given yet"), expected=called(kind), exit=2)
    if kind.widget == "chat":
        return (before if isinstance(before, Chat) else Chat(())).said("user", text)
    return Question.of_text(text) if kind.widget == "question" else Text(text)


def shown(said: Kind, view: View | None = None) -> Markup:
    """Return a kind as HTML. A kind escapes what it shows."""
    show = SHOWN.get(said.widget)
    return show(said, view or View()) if show else Markup(said._repr_html_())


def switches(said: Kind) -> Markup:
    """Return the fields of ``View`` that change something for this answer; ``seen`` reads them."""
    if said.widget == "video" and len(said.frames) > 1:  # type: ignore[attr-defined]
        return slider("view-frame", _("frame"), 0, len(said.frames), 0, _("0: it plays"))  # type: ignore[attr-defined]
    if said.widget not in MARKED:
        return Markup()
    found, parts = said.found, Markup()  # type: ignore[attr-defined]
    if found.scores:
        about = _("what has a lower score is not shown")
        parts += slider("view-least", _("minimum score"), 0, 1, 0, about, step=0.01)
    if len(found.counts) > 1:
        choices = [(f"{said.called(name)} ({count})", name) for name, count in found.counts.items()]
        parts += controls.ticks("view-names", _("show"), choices, list(found.counts))
        parts += Markup('<input type="hidden" name="view-of" value="names">')
    return parts


def seen(form: Posted) -> View:
    """Read the fields of ``switches``."""
    names = tuple(form.all("view-names")) if "view-of" in form else None
    return View(number(form, "view-least"), names, int(number(form, "view-frame")))


def number(form: Posted, name: str, otherwise: float = 0.0) -> float:
    """Return the number in a field; ``otherwise`` where there is none.

    >>> number(Posted({"a": ["0.5"]}), "a"), number(Posted({"a": ["nan"]}), "a")
    (0.5, 0.0)
    """
    try:
        value = float(form[name])
    except ValueError:
        return otherwise
    return value if np.isfinite(value) else otherwise


def slider(name: str, label: str, low: float, high: float, value: float, about: str = "", step: float = 1) -> Markup:
    """Return a labelled slider that shows its value."""
    control = Markup('<input type="range"{}><output>{:g}</output>').format(
        controls.attributes(
            {"id": f"field-{name}", "name": name, "min": low, "max": high, "step": step, "value": value}
        ),
        value,
    )
    return controls.labelled(label, control, about)


def _marked(said: Any, view: View) -> Markup:
    rows = said.rows(view.least, view.names)
    told = _("{count} of {all} are shown").format(count=len(rows), all=len(said.found.names))
    image = html(said.drawn(view.least, view.names), f"{said}; {told}")
    return Markup(image + files.html_table(said.columns, rows, told))


def _video(said: Any, view: View) -> Markup:
    if not view.frame:
        return Markup(said._repr_html_())
    place = min(max(1, view.frame), len(said.frames))
    words = _("{video}; frame {number}").format(video=said, number=place)
    return Markup(html(said.picture(place - 1).image, words))


def _mesh(said: Any, view: View) -> Markup:
    images = [Image.fromarray(render(said.vertices, said.faces, VIEWS[name])) for name in ("front", "left")]
    both = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    for place, image in enumerate(images):
        both.paste(image, (place * image.width, 0))
    return Markup(html(both, str(said)) + said._repr_html_())


def _chat(said: Any, view: View) -> Markup:
    turns = Markup("").join(
        Markup('<li class="{}"><h3>{}</h3><div>{}</div></li>').format(turn.role, _(SPEAKERS[turn.role]), turn.text)
        for turn in said.turns
        if turn.role in SPEAKERS  # the system prompt is not shown
    )
    return Markup('<ol class="talk" role="log" aria-label="{}">{}</ol>').format(called(Chat), turns)


def _tokens(said: Any, view: View) -> Markup:
    return Markup(said._repr_html_()) + _further(_("The tokens one by one"), said.table())


def _plot(said: Any, view: View) -> Markup:
    numbers = files.html_table(said.columns, said.rows()[:MOST_ROWS], str(said))
    return Markup(said._repr_html_()) + _further(_("The numbers"), numbers)


def _further(title: str, table: str) -> Markup:
    return Markup('<details><summary>{}</summary><div class="scroll" tabindex="0">{}</div></details>').format(
        title, Markup(table)
    )


def _labelled_volume(said: Any, view: View) -> Markup:
    """Return slices in three planes linked with surfaces; planes and millilitres below."""
    return volume_pages.frame(said) + Markup(said._repr_html_())


SHOWN: dict[str, Callable[[Any, View], Markup]] = {
    **dict.fromkeys(MARKED, _marked),
    "video": _video,
    "mesh": _mesh,
    "chat": _chat,
    "tokens": _tokens,
    "plot": _plot,
    "labelled_volume": _labelled_volume,
}
