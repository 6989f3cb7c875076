"""The three doors of the first page: a verdict, an answer and a question that are there without a press.

Each is a part of the page that htmx asks for once the page stands.
"""

import random
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.hub import fetch, zoo
from souron.studio import interactive, tables
from souron.studio.forms import controls
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, fetching, missing
from souron.utils.messages import _

LEAST, FIRST = 20, 100  # patients: the fewest, and those that the page opens with
REACH = 0.3  # the end of the axis of a difference in AUC
WIDTH, ROW = 320, 22  # of a figure and of one of its rows
MOST_SIDE = 640  # pixels
SURE = 0.5  # the least score of a box
DRAWS = 12
LUCK = "luck_of_a_split"  # the interactive whose question is asked
STARTER, SMALL = ("nanodet", "cat.png"), ("yolo", "scene.png")  # a detector and its image


def doors(studio: Studio) -> Markup:
    """Return the doors with places that fill themselves, and the pages they open."""
    ways = (
        ("verdict", _("Is A better than B?"), _("Your own predictions"), studio.url("verdict")),
        ("photograph", _("Try an image, a text, a voice"), _("Any file"), studio.url("anything")),
        ("question", _("Learn"), _("All interactives"), studio.url("interactives")),
    )
    shown = ways if LUCK in interactive.names() else ways[:2]
    return Markup('<div class="doors">{}</div>').format(Markup("").join(door(studio, *way) for way in shown))


def door(studio: Studio, name: str, title: str, further: str, address: str) -> Markup:
    waits = controls.attributes({"hx_get": controls.part(studio, "lecture", name), "hx_trigger": "load"})
    return Markup(
        '<section class="door" aria-labelledby="door-{0}"><h2 id="door-{0}"><a href="{2}">{1}</a></h2>'
        '<div{3}><p class="faint">{4}</p></div><p class="actions"><a href="{2}">{5}</a></p></section>'
    ).format(name, title, address, waits, _("computing …"), further)


def verdict(studio: Studio, _form: Posted) -> Markup:
    """Return the verdict on the tour's table with a slider of patients, and a place for another table."""
    most = len(tumours()["case"])
    slide = Markup('<input type="range" name="patients" id="field-patients" min="{}" max="{}" value="{}">').format(
        LEAST, most, FIRST
    )
    moves = {"hx_post": controls.part(studio, "lecture", "size"), "hx_trigger": "input", "hx_target": "#size"}
    takes = {"hx_post": controls.part(studio, "lecture", "table"), "hx_trigger": "change", "hx_target": "#table"}
    sends = {"hx_encoding": "multipart/form-data", "class": "field"}
    return Markup(
        '<form{}>{}</form><div id="size" aria-live="polite">{}</div><form{}>{}</form><div id="table"></div>'
    ).format(
        controls.attributes({**moves, "hx_sync": "this:replace"}),
        controls.labelled(_("Number of patients"), slide),
        size(studio, Posted()),
        controls.attributes({**takes, **sends}),
        controls.labelled(_("Drop a table of your own here"), controls.files("table", (".csv", ".tsv"))),
    )


def size(_studio: Studio, form: Posted) -> Markup:
    """Return the verdict on the first ``patients`` of the table, its interval drawn. Raises UserError."""
    from souron.actions.verdict import verdict as judge

    columns = tumours()
    count = int(controls.number_of(form["patients"] or str(FIRST), "patients", int, LEAST, len(columns["case"])))
    record = judge({name: column[:count] for name, column in columns.items()})
    [pair] = record.ranking.verdicts
    shown = [(pair.difference, pair.low, pair.high)]
    text = _("{measure}: {a} − {b}, with its 95 % interval").format(
        measure=record.ranking.metric.title, a=pair.a, b=pair.b
    )
    return Markup('<p><output>{}</output></p>{}<p class="verdict">{}</p>').format(
        _("{count} of {all} patients with a tumour of the breast, drawn at random").format(
            count=count, all=len(columns["case"])
        ),
        intervals(shown, -REACH, REACH, 0, text),
        record.sentences()[0],
    )


@lru_cache(1)
def tumours() -> dict[str, list[str]]:
    """Return the tour's table of predictions in an order that is random and always the same."""
    from souron.actions.tour import highlights

    columns = highlights.predictions()
    order = random.Random(0).sample(range(len(columns["case"])), len(columns["case"]))
    return {name: [column[row] for row in order] for name, column in columns.items()}


def intervals(rows: Iterable[tuple[float, float, float]], low: float, high: float, mark: float, caption: str) -> Markup:
    """Return a figure of values with their intervals, one below the other, and a line at ``mark``.

    >>> str(intervals([(0.5, 0.25, 0.75)], 0, 1, 0.5, "AUC")).count("<circle")
    1
    """

    def across(value: float) -> float:
        return round(10 + (WIDTH - 20) * (min(max(value, low), high) - low) / (high - low), 1)

    drawn = [
        Markup(
            '<g style="--row: {0}"><line x1="{1}" x2="{2}" y1="{3}" y2="{3}"/><circle cx="{4}" cy="{3}" r="5"/></g>'
        ).format(place, across(start), across(end), ROW * place + ROW // 2, across(value))
        for place, (value, start, end) in enumerate(rows)
    ]
    ends = [
        Markup('<text x="{}" y="{}" text-anchor="{}">{:g}</text>').format(
            across(value), ROW * len(drawn) + 14, anchor, value
        )
        for value, anchor in ((low, "start"), ((low + high) / 2, "middle"), (high, "end"))
    ]
    return Markup(
        '<figure class="intervals"><svg viewBox="0 0 {0} {1}" role="img" aria-label="{2}">'
        '<line class="mark" x1="{4}" x2="{4}" y1="0" y2="{5}"/>{3}</svg><figcaption>{2}</figcaption></figure>'
    ).format(WIDTH, ROW * len(drawn) + 18, caption, Markup("").join([*drawn, *ends]), across(mark), ROW * len(drawn))


def table(studio: Studio, form: Posted) -> Markup:
    """Return the way to the page that reads a table: for predictions the verdict's form. Raises UserError."""
    paths = form.paths("table")
    return tables.way(studio, Path(paths[0]))[1] if paths else Markup()


def photograph(studio: Studio, _form: Posted) -> Markup:
    """Return an image with the boxes of the best detector that is here, and a way to the page Use."""
    from souron.kinds.boxes import Boxes
    from souron.kinds.codecs import animation
    from souron.lecture import samples
    from souron.studio.model_cache import models

    ready = fetch.where(STARTER[0]) is not None
    if not ready and zoo.root() is None:
        return missing(_("The ready-trained systems are not installed."), fetching(studio, STARTER[0]))
    system, name = STARTER if ready else SMALL
    with tempfile.TemporaryDirectory(prefix="door-") as folder, models.answering(system) as model:
        samples.write(Path(folder), f"souron predict {name}")
        boxes = model.answer(next(iter(model.asked.given.each(Path(folder) / name, **model.reading))), conf=SURE)
    assert isinstance(boxes, Boxes)
    return Markup(
        '<figure><img src="{}" alt="{}"><figcaption>{}: {}</figcaption></figure><p class="faint">{}</p>'
        '<p class="actions"><a class="first" href="{}">{}</a></p>'
    ).format(
        animation.thumbnail(boxes.drawn(), MOST_SIDE),
        boxes,
        system,
        boxes,
        zoo.about(system),
        studio.url("use", system=system),
        _("Your own image"),
    )


def question(studio: Studio, _form: Posted) -> Markup:
    """Return the question of an interactive, with the AUC of one draw of patients after another."""
    luck_of_a_split = interactive.find(LUCK)
    with interactive.one_at_a_time:
        draws = [luck_of_a_split.drawn(40, seed, True).auc[0] for seed in range(DRAWS)]
    rows = [(value, low, high) for value, low, high, _outside in draws]
    choices = [(_(text), str(place)) for place, text in enumerate(luck_of_a_split.CHOICES)]
    asks = {"hx_post": controls.part(studio, "lecture", "guess"), "hx_trigger": "change", "hx_target": "#guess"}
    return Markup('{}<form{}>{}</form><div id="guess" role="status"></div>').format(
        intervals(rows, 0.5, 1, 0.5, _("AUC of the same system with its 95 % interval, one draw after another")),
        controls.attributes(asks),
        controls.radios("guess", _(luck_of_a_split.QUESTION), choices, ""),
    )


def guess(studio: Studio, form: Posted) -> Markup:
    """Return whether a guess is right, and the answer. Raises UserError."""
    luck_of_a_split = interactive.find(LUCK)
    choices = luck_of_a_split.CHOICES
    place = int(controls.number_of(form["guess"], "guess", int, 0, len(choices) - 1))
    judged: Any = interactive.COMMON["right" if place == luck_of_a_split.RIGHT else "wrong"]
    return Markup('<p><strong>{}</strong></p><p>{}</p><p class="actions"><a class="first" href="{}">{}</a></p>').format(
        _(judged).format(guess=_(choices[place])),
        _(luck_of_a_split.ANSWER),
        studio.url("interactives", name=LUCK),
        _(luck_of_a_split.TITLE),
    )


PARTS = {
    "verdict": verdict,
    "size": size,
    "table": table,
    "photograph": photograph,
    "question": question,
    "guess": guess,
}
