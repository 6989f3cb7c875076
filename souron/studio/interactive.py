"""Interactives: small experiments on a page, each one file in ``interactives/``, found by its name.

Such a file has ``TITLE``, ``ABOUT`` (a paragraph), ``QUESTION`` with ``CHOICES`` to guess from and
``RIGHT`` (the index of the correct one), ``ANSWER`` (what the experiment shows), and

- ``stage()``: the controls and images as HTML, in the current language;
- ``answer(asked)``: response to a request of the page, dict to dict, within a second or two. Raises
  UserError;
- ``WORDS``: the texts of its script, ``static/interactives/<name>.js``, whose ``start(root,
  tools)`` animates the images. It is called anew for a state that the back button restores;
- ``build(studio)``: adds the interactive to the page that is being built;
- ``TOUR``: eight steps through it. A step ``(part, text)`` points at a field, a canvas, a plot, an element
  (``data-part``) or a button of the stage; ``(part, question, choices, right)`` asks for a guess,
  which the reader's browser keeps;
- ``record()``, where the interactive also works without the studio: yields the requests whose
  answers an exported file carries, exactly as the script sends them; ``SETTINGS`` then names the
  values of fields that are recorded, where they are not all.

All named fields of the stage stand in the link. What else a script's state needs it keeps there by
``tools.keep({key: value})`` and reads from ``tools.kept``. It draws in ``tools.colour(name)`` ("ink",
"paper", "muted", "accent", "positive", "negative", "class0" to "class9") and names the function that
draws to ``tools.repaint``, for when light turns to dark. Axes, lines and points come from
``static/interactives/plot.js``, on an SVG that ``plot()`` puts into the stage.

The reader guesses first: students who predict the outcome of a demonstration learn more from it
(Crouch, Fagen, Callan, Mazur: Classroom demonstrations: Learning tools or entertainment? 2004,
https://doi.org/10.1119/1.1707018).
"""

import base64
import importlib
import json
import math
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from markupsafe import Markup

from souron.utils import distributions
from souron.utils.messages import N_, UserError, _

ORDER = (
    "playground",
    "backpropagation",
    "inside_cnn",
    "inside_gpt",
    "kmeans_by_hand",
    "noise_slider",
    "gan_slow_motion",
    "draw_distribution",
    "clip_contrast",
    "convolution_attention",
    "which_luck",
    "luck_of_a_split",
    "prevalence",
    "boxes_by_hand",
    "trust_map",
    "real_or_drawn",
    "occupations_day",
    "alignment",
)
COMMON = {
    "busy": N_("computing …"),
    "right": N_("You guessed: {guess}. That is right."),
    "wrong": N_("You guessed: {guess}. It turns out otherwise."),
    "play": N_("Play"),
    "step_axis": N_("step"),
    "pause": N_("Pause"),
    "failed": N_("This did not work"),
    "next": N_("Next"),
    "finish": N_("Finish"),
    "step_of": N_("{step} of {steps}"),
    "score": N_("Guessed right in the tour: {right} of {count}."),
    "copied": N_("The link was copied."),
    "unrecorded": N_("This file holds no answer for this setting. souron studio computes every setting."),
}
one_at_a_time = threading.Lock()  # an answer may use all cores for a second


@lru_cache
def names() -> list[str]:
    """Return the names of all interactives, in the order of the lesson; others follow by name."""
    there = distributions.names("studio/interactives")
    return [*(name for name in ORDER if name in there), *(n for n in there if n not in ORDER)]


def find(name: str) -> ModuleType:
    """Import an interactive. Raises UserError where there is none of that name."""
    if name not in names():
        raise UserError("missing", _("there is no interactive {name}").format(name=name), expected=", ".join(names()))
    return importlib.import_module(f"souron.studio.interactives.{name}")


def answer(name: str, asked: Any) -> dict[str, Any]:
    """Answer a request of an interactive's script. Raises UserError."""
    module = find(name)
    if not isinstance(asked, dict):
        raise UserError("json", _("the request cannot be read: {why}").format(why="no object"))
    with one_at_a_time:
        return module.answer(asked)


def html(name: str, heading: str = "h2") -> Markup:
    """Return an interactive as HTML in the current language; ``studio.js`` starts it."""
    module = find(name)
    words = {key: _(text) for key, text in {**COMMON, **getattr(module, "WORDS", {})}.items()}
    tour = steps(module)
    choices = Markup("").join(
        Markup('<label><input type="radio" name="guess-{}" value="{}"> {}</label>').format(name, place, _(text))
        for place, text in enumerate(module.CHOICES)
    )
    return Markup(
        '<article class="interactive" data-interactive="{name}" data-right="{right}" '
        'data-module="/static/interactives/common.js" data-words="{words}" data-tour="{tour}" '
        'aria-labelledby="title-{name}">'
        '<{heading} id="title-{name}">{title}</{heading}><p>{about}</p>'
        '<fieldset class="guess"><legend>{question}</legend>{choices}'
        '<button type="button" data-do="skip">{skip}</button></fieldset>'
        '<p class="bar" hidden>{opener}<button type="button" data-link>{link}</button></p>'
        '<div class="stage" hidden><div class="play">{stage}</div><p class="said" role="status"></p>'
        '<details class="answer"><summary>{reveal}</summary><p class="guessed"></p><p>{answer}</p>'
        "</details></div>{box}</article>"
    ).format(
        name=name,
        words=json.dumps(words, ensure_ascii=False),
        tour=json.dumps(tour, ensure_ascii=False),
        opener=Markup('<button type="button" data-tour-do="open">{}</button> ').format(_("Tour")) if tour else "",
        box=tour_box(name) if tour else "",
        link=_("Copy link"),
        right=module.RIGHT,
        heading=heading,
        title=_(module.TITLE),
        about=_(module.ABOUT),
        question=_(module.QUESTION),
        choices=choices,
        skip=_("Show it without a guess"),
        stage=module.stage(),
        reveal=_("The answer"),
        answer=_(module.ANSWER),
    )


def steps(module: ModuleType) -> list[dict[str, Any]]:
    """Return the steps of an interactive's tour in the current language; [] where it has none."""
    made = []
    for part, text, *question in getattr(module, "TOUR", ()):
        step = {"part": part, "text": _(text)}
        if question:
            choices, right = question
            step |= {"choices": [_(choice) for choice in choices], "right": right}
        made.append(step)
    return made


def tour_box(name: str) -> Markup:
    return Markup(
        '<section class="tour" hidden tabindex="-1" aria-labelledby="tour-{name}-place tour-{name}-text">'
        '<p class="place" id="tour-{name}-place"></p><p class="text" id="tour-{name}-text"></p>'
        '<fieldset hidden aria-labelledby="tour-{name}-text"></fieldset><p class="judged" role="status"></p>'
        '<p class="turns"><button type="button" data-tour-do="back">{back}</button> '
        '<button type="button" class="first" data-tour-do="next"></button> '
        '<button type="button" data-tour-do="close">{close}</button></p></section>'
    ).format(name=name, back=_("Back"), close=_("Close"))


def slider(name: str, label: str, low: float, high: float, value: float, step: float = 1) -> Markup:
    return Markup(
        '<label class="slide">{} <output></output><input type="range" name="{}" min="{}" max="{}" '
        'step="{}" value="{}"></label>'
    ).format(label, name, low, high, step, value)


def choice(name: str, label: str, among: Sequence[tuple[str, str]]) -> Markup:
    """Return a drop-down list of (value, text)."""
    options = Markup("").join(Markup('<option value="{}">{}</option>').format(value, text) for value, text in among)
    return Markup('<label>{} <select name="{}">{}</select></label>').format(label, name, options)


def tick(name: str, label: str) -> Markup:
    return Markup('<label><input type="checkbox" name="{}"> {}</label>').format(name, label)


def button(does: str, text: str, first: bool = False) -> Markup:
    """Return a button; ``does`` is the name of its action in the script."""
    kind = Markup(' class="first"') if first else ""
    return Markup('<button type="button" data-do="{}"{}>{}</button>').format(does, kind, text)


def canvas(name: str, label: str, width: int, height: int, caption: str = "", keys: bool = False) -> Markup:
    """Return a canvas that the script draws on; ``keys`` makes it focusable by keyboard."""
    focus = Markup(' tabindex="0"') if keys else ""
    return Markup(
        '<figure><canvas data-canvas="{}" width="{}" height="{}" role="{}" aria-label="{}"{}>'
        "</canvas><figcaption>{}</figcaption></figure>"
    ).format(name, width, height, "application" if keys else "img", label, focus, caption)


def plot(name: str, label: str, width: int, height: int, caption: str = "") -> Markup:
    """Return an SVG that the script draws axes and lines on; narrower where the screen is."""
    return Markup(
        '<figure><svg data-plot="{}" width="{}" height="{}" viewBox="0 0 {} {}" role="img" aria-label="{}"></svg>'
        "<figcaption>{}</figcaption></figure>"
    ).format(name, width, height, width, height, label, caption)


def controls(*parts: Markup) -> Markup:
    return Markup('<div class="controls">{}</div>').format(Markup("").join(parts))


def images(*parts: Markup, kind: str = "") -> Markup:
    """Return pictures in rows. ``kind``: "pairs" (two a row), "abreast" (one row if it fits), "panels" (small)."""
    return Markup('<div class="{}">{}</div>').format(f"pictures {kind}".strip(), Markup("").join(parts))


def beside(settings: Markup, pictures: Markup, texts: str = "") -> Markup:
    """Place settings and texts beside the pictures that they change; in one column where the page is narrow."""
    return Markup(
        '<div class="beside"><div class="side"><div class="settings">{}</div><div class="values">{}</div></div>'
        '<div class="views">{}</div></div>'
    ).format(settings, texts, pictures)


def parts(*names: str) -> Markup:
    """Return empty elements that the script fills with text."""
    return Markup("").join(part(name) for name in names)


def player(label: str) -> Markup:
    """Return play, pause and a slider over the frames of a recording."""
    return Markup(
        '<div class="player" role="group" aria-label="{}"><button type="button" data-do="play">{}'
        '</button><button type="button" data-do="earlier" aria-label="{}">−1</button>'
        '<button type="button" data-do="later" aria-label="{}">+1</button>'
        '<input type="range" name="frame" min="0" max="0" value="0" aria-label="{}"></div>'
    ).format(label, _("Play"), _("one step back"), _("one step on"), label)


def part(name: str) -> Markup:
    """Return an empty element that the script fills with text."""
    return Markup('<div data-part="{}"></div>').format(name)


def number(asked: Mapping[str, Any], name: str, low: float, high: float, default: float) -> float:
    """Read a number from a page's request. Raises UserError if it is invalid or out of bounds."""
    value = asked.get(name, default)
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not math.isfinite(value) or not low <= value <= high:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name=name, value=str(value)[:40]),
            expected=_("a number from {low} to {high}").format(low=low, high=high),
        )
    return value


def whole(asked: Mapping[str, Any], name: str, low: int, high: int, default: int) -> int:
    """Read a number like ``number``, rounded down."""
    return int(number(asked, name, low, high, default))


def among(asked: Mapping[str, Any], name: str, choices: Sequence[str]) -> str:
    """Read one of several words; the first if none was sent. Raises UserError."""
    value = asked.get(name, choices[0])
    if value not in choices:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name=name, value=str(value)[:40]),
            expected=", ".join(choices),
        )
    return str(value)


def table(asked: Mapping[str, Any], name: str, most: int, columns: int, reach: float) -> list[Any]:
    """Read at most ``most`` rows of ``columns`` numbers in -reach..reach. Raises UserError."""
    rows = asked.get(name)
    good = (
        isinstance(rows, list)
        and len(rows) <= most
        and all(
            isinstance(row, list)
            and len(row) == columns
            and all(
                isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= reach for value in row
            )
            for row in rows
        )
    )
    if not good:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name=name, value=str(rows)[:40]),
            expected=_("{count} rows of {columns} numbers at most").format(count=most, columns=columns),
        )
    return list(rows or [])


def packed(values: Any) -> str:
    """Encode an array of uint8 as base64 text."""
    import numpy as np

    whole_numbers = np.asarray(values)
    assert whole_numbers.dtype == np.uint8, whole_numbers.dtype
    return base64.b64encode(np.ascontiguousarray(whole_numbers).tobytes()).decode()


def as_bytes(values: Any, low: float, high: float) -> Any:
    """Map numbers from ``low``..``high`` to 0..255; values outside are clipped."""
    import numpy as np

    share = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    return (share.clip(0, 1) * 255).round().astype(np.uint8)


def examples(system: str) -> list[Path]:
    """Return test images for a ready-trained system; [] where it is not installed."""
    from souron.hub import zoo

    folder = zoo.where(system)
    return [] if folder is None else zoo.examples(folder)


def example(system: str, asked: Mapping[str, Any]) -> Any:
    """Return the test image ``asked["picture"]``, (1, 1, H, W) uint8. Raises UserError."""
    import numpy as np
    import torch

    from souron.kinds.picture import Picture

    files = examples(system)
    if not files:
        raise UserError("zoo", _("The ready-trained systems are not installed."))
    picture = Picture.read(files[whole(asked, "picture", 0, len(files) - 1, 0)])
    return torch.from_numpy(np.array(picture.image.convert("L")))[None, None]
