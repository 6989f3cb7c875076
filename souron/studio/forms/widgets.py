"""Widgets to enter and to display each kind of data.

A kind is shown by the widget that it names. Without one it is given as a file, and shown as in a
notebook with its file. No system is known here: a page needs only ``signature.signature``.

    form = widgets.form(asked)           # inputs and options
    view = widgets.shown(asked.gives)    # output
    button.click(answer, form.inputs, view.outputs)

    def answer(*values):
        given, options = form.read(values, **model.reading)
        return view.update(model.answer(given, **options))

The value of a view is kept in a ``gr.State`` of the browser session, so that its own switches
(which classes, from which score on) redraw it without running the system again.
"""

import functools
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

from souron.kinds import files
from souron.kinds.chat import Chat
from souron.kinds.gallery import Gallery
from souron.kinds.kind import Kind
from souron.kinds.question import Question
from souron.kinds.signature import Option, Signature
from souron.kinds.text import MOST_LETTERS, Text
from souron.studio.forms.option_names import OPTION_NAMES
from souron.studio.security import upload_names
from souron.utils import units
from souron.utils.messages import UserError, _, language, use_language

KEPT = 3600  # seconds that a browser's last result is kept in memory
STEPS = 100  # of a slider, approximately
MOST_ROWS = 1000  # of a table that is shown
TINY, LEAST_SIDE = 128, 256  # pixels: images below TINY are enlarged to about LEAST_SIDE
MOST_LABELS = 20  # that are shown
LINES = 4  # of a text box
CONTENT = "<div style='margin-top: 1.6em'>${value}</div>"  # below the label
TABLES = """
table { width: 100%; border-collapse: collapse }
table, tr, th, td { border: 0 }
caption { text-align: left; padding: 4px 8px }
th, td { padding: 4px 8px; text-align: left; overflow-wrap: anywhere }
tr { border-bottom: 1px solid var(--border-color-primary) }
"""
BARS = """
.bars th { font-weight: normal }
.bars td:last-child { text-align: right; white-space: nowrap }
.bars td:nth-child(2) { width: 50% }
.bars .bar { background: #0072b2; height: 0.9em; min-width: 1px }
"""
CHAT = """
[role=log] { overflow-wrap: anywhere }
.turns { list-style: none; margin: 0; padding: 0 }
.turns li { margin: 0 0 0.7em; padding: 0.5em 0.8em; max-width: 85%; border-radius: 0.6em;
            border: 1px solid var(--border-color-primary) }
.turns .user { margin-left: auto; background: var(--background-fill-secondary) }
.turns div { white-space: pre-wrap }
"""


QUOTES = """
blockquote { margin: 0; overflow-wrap: anywhere }
ol { padding-left: 1.6em } li { margin: 0 0 0.8em }
"""


def given(kind: type[Kind], label: str = "") -> Any:
    """Return the component to enter such a kind. Call within a ``gr.Blocks``."""
    return GIVEN.get(kind.widget, _given_file)(kind, label or called(kind))


def called(kind: type[Kind]) -> str:
    """Return the kind's name in the reader's language."""
    return _(kind.noun)


def _given_image(kind: type[Kind], label: str) -> Any:
    return _picture(label)


def _picture(label: str) -> Any:
    import gradio as gr

    sources: Any = ["upload", "webcam", "clipboard"]
    made = gr.Image(label=label, type="filepath", image_mode=None, sources=sources, buttons=["fullscreen"])
    return upload_names.received(made)


def _given_images(kind: type[Kind], label: str) -> Any:
    import gradio as gr

    return gr.Gallery(
        label=label, type="filepath", interactive=True, columns=4, object_fit="contain", sources=["upload", "clipboard"]
    )


def _given_file(kind: type[Kind], label: str) -> Any:
    return _file(label, kind.formats)


def _file(label: str, ends: Sequence[str]) -> Any:
    import gradio as gr

    made = gr.File(label=f"{label} ({', '.join(ends)})", file_types=list(ends))
    return upload_names.received(made)


def _given_sound(kind: type[Kind], label: str) -> Any:
    import gradio as gr

    return gr.Audio(label=label, type="filepath", sources=["upload", "microphone"])


def _given_text(kind: type[Kind], label: str) -> Any:
    import gradio as gr

    return gr.Textbox(label=label, lines=LINES, max_length=MOST_LETTERS)


def _given_question(kind: type[Kind], label: str) -> Any:
    import gradio as gr

    example = _("Which of these is a bone?\nA) femur\nB) liver\nC) heart\nD) kidney")
    return gr.Textbox(label=label, lines=LINES + 2, placeholder=example, info=_("the question, then an option a line"))


def _given_mesh(kind: type[Kind], label: str) -> Any:
    import gradio as gr

    return gr.Model3D(label=label)


GIVEN: dict[str, Callable[[type[Kind], str], Any]] = {
    "picture": _given_image,
    "gallery": _given_images,
    "sound": _given_sound,
    "text": _given_text,
    "chat": _given_text,
    "question": _given_question,
    "mesh": _given_mesh,
    "volume": _given_file,
    "table": _given_file,
    "video": _given_file,
    "score": _given_file,
    "ranking": _given_file,
}


def taken(kind: type[Kind], value: Any, before: Kind | None = None, **reading: Any) -> Kind:
    """Convert the value of such a component to the kind.

    ``before`` is the chat so far, to which a message is added; ``reading`` holds the arguments of
    the kind's ``read``. Raises UserError, also where there is no value yet.
    """
    if kind.blank and value is None:
        return kind()  # a blank input
    if value is None or (isinstance(value, str) and not value.strip()) or value == []:
        raise UserError("nothing given", _("nothing was given yet"), expected=called(kind), exit=2)
    if kind.widget == "text":
        return Text(str(value))
    if kind.widget == "question":
        return Question.of_text(str(value))
    if kind.widget == "chat":
        chat = before if isinstance(before, Chat) else Chat(())
        return chat.said("user", str(value))
    if kind.widget == "gallery":
        return Gallery.of([Path(path) for path, _caption in value], **reading)
    read = kind.read(Path(value), **reading)
    return replace(read, file=Path(value).name)  # type: ignore[type-var]


def option(option: Option) -> Any:
    """Return the component for one option. Call within a ``gr.Blocks``."""
    import gradio as gr

    name = _(OPTION_NAMES[option.name]) if option.name in OPTION_NAMES else option.name
    about: dict[str, Any] = {"label": name, "info": _(option.help)}
    low, high, value = option.low, option.high, option.default
    if value is None:
        return _picture(f"{name}: {about['info']}")
    if option.among:
        return gr.Dropdown(list(option.among), value=value, **about)
    if isinstance(value, bool):
        return gr.Checkbox(value, **about)
    if isinstance(value, int | float):
        whole = isinstance(value, int)
        if low is not None and high is not None:
            step = 1 if whole else _step(high - low)
            return gr.Slider(low, high, value, step=step, **about)
        return gr.Number(value, minimum=low, maximum=high, precision=0 if whole else None, **about)
    if isinstance(value, tuple):
        return gr.Textbox(",".join(map(str, value)), **about)
    return gr.Textbox(str(value), **about)


def _step(reach: float) -> float:
    """Return a power of ten that fits into ``reach`` at least a hundred times."""
    return 10.0 ** math.floor(math.log10(reach / STEPS) + 1e-9) if reach > 0 else 1.0


@dataclass
class Form:
    """Inputs of a system: a component for the data and one for each option."""

    asked: Signature
    given: Any
    options: dict[str, Any]  # by name

    @property
    def inputs(self) -> list[Any]:
        return [self.given, *self.options.values()]

    def read(self, values: Sequence[Any], before: Kind | None = None, **reading: Any) -> tuple[Kind, dict[str, Any]]:
        """Read the components as arguments of ``predict``. Raises UserError."""
        value, *chosen = values
        options = {name: self.asked.options[name].read(value) for name, value in zip(self.options, chosen, strict=True)}
        return taken(self.asked.given, value, before, **reading), options


def form(asked: Signature, label: str = "") -> Form:
    """Build the form of a system. Call within a ``gr.Blocks``."""
    first = given(asked.given, label)
    return Form(asked, first, {name: option(each) for name, each in asked.options.items()})


@dataclass
class View:
    """The components that show a kind, and their updates for a value."""

    kept: Any  # gr.State: the value shown in this browser session
    parts: list[Any]
    fill: Callable[[Any], list[Any]]  # a value -> an update for each part
    empty: list[Any] = field(default_factory=list)  # an update for each part, for no value

    @property
    def outputs(self) -> list[Any]:
        return [self.kept, *self.parts]

    def update(self, value: Kind | None) -> list[Any]:
        """Return updates for ``outputs`` that show this value; None clears them."""
        return [value, *(self.fill(value) if value is not None else self.empty)]


def shown(kind: type[Kind], label: str = "") -> View:
    """Build the view of a kind. Call within a ``gr.Blocks``."""
    import gradio as gr

    kept = gr.State(time_to_live=KEPT)
    parts, fill = SHOWN.get(kind.widget, _shown_page)(kept, label or called(kind))
    wish = language()
    empty = [gr.update(value="" if isinstance(p, gr.HTML) else None) for p in parts]
    return View(kept, parts, functools.partial(_spoken, wish, fill), empty)


def _spoken(wish: str, function: Callable, *given: Any) -> Any:
    with use_language(wish):
        return function(*given)


def _heard(function: Callable) -> Callable:
    """Wrap a view's handler to run in the language in which the view was built."""
    wish = language()

    @functools.wraps(function)
    def speaking(*given: Any) -> Any:
        return _spoken(wish, function, *given)

    return speaking


Built = tuple[list[Any], Callable[[Any], list[Any]]]  # components, and the function that fills them


def _html(label: str, css: str, **more: Any) -> Any:
    import gradio as gr

    return gr.HTML("", label=label, show_label=True, container=True, html_template=CONTENT, css_template=css, **more)


def _shown_labels(kept: Any, label: str) -> Built:

    def bars(value: Any) -> list[Any]:
        pairs = zip(value.labels, map(float, value.probabilities), strict=True)
        best = sorted(pairs, key=lambda pair: -pair[1])[:MOST_LABELS]
        rows = "".join(
            f"<tr><th scope='row'>{escape(value.called(str(name)))}</th>"
            f"<td aria-hidden='true'><div class='bar' style='width:{share:.1%}'></div></td>"
            f"<td>{units.percent(share)}</td></tr>"
            for name, share in best
        )
        return [f"<table class='bars'><caption>{escape(value.file)}</caption>{rows}</table>"]

    return [_html(label, TABLES + BARS)], bars


def _shown_image(kept: Any, label: str) -> Built:
    import gradio as gr

    image = gr.Image(label=label, interactive=False, format="png", buttons=["download", "fullscreen"])
    return [image], lambda value: [_image(value.image, str(value))]


def _image(shown: Any, words: str) -> Any:
    import gradio as gr

    return gr.update(value=_seen(shown), alt_text=words)


def _seen(shown: Any) -> Any:
    """Enlarge a tiny image by a whole factor, so that each pixel stays a square."""
    from souron.kinds.codecs.image import rounded

    times = _times(max(shown.size))
    return rounded(shown).resize((shown.width * times, shown.height * times), 0)


def _times(side: int) -> int:
    return LEAST_SIDE // side if side < TINY else 1


def _shown_marked(kept: Any, label: str) -> Built:
    """Show boxes, areas and points, with a choice of which to draw."""
    import gradio as gr

    image = gr.Image(label=label, interactive=False, format="png", buttons=["download", "fullscreen"])
    least = gr.Slider(
        0, 1, 0, step=0.01, label=_("minimum score"), visible=False, info=_("what has a lower score is not shown")
    )
    names = gr.CheckboxGroup([], label=_("show"), visible=False)
    listed = _html(_("what was found"), TABLES)

    @_heard
    def drawn(value: Any, low: float, chosen: list[str]) -> list[Any]:
        if value is None:  # the stored result has expired
            return [gr.skip(), gr.skip()]
        rows = value.rows(float(low or 0), chosen)
        told = _("{count} of {all} are shown").format(count=len(rows), all=len(value.found.names))
        image = _image(value.drawn(float(low or 0), chosen), f"{label}: {value}; {told}")
        return [image, files.html_table(value.columns, rows, told)]

    def fill(value: Any) -> list[Any]:
        counts = value.found.counts
        image, table = drawn(value, 0.0, list(counts))
        choices = [(f"{value.called(name)} ({count})", name) for name, count in counts.items()]
        return [
            image,
            gr.update(value=0.0, visible=bool(value.found.scores)),
            gr.update(choices=choices, value=list(counts), visible=len(counts) > 1),
            table,
        ]

    for switch in (least, names):
        switch.input(
            drawn,
            [kept, least, names],
            [image, listed],
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        )
    return [image, least, names, listed], fill


def _shown_gallery(kept: Any, label: str) -> Built:
    import gradio as gr

    gallery = gr.Gallery(
        label=label,
        interactive=False,
        format="png",
        columns=4,
        object_fit="contain",
        buttons=["download", "fullscreen"],
    )

    def fill(value: Any) -> list[Any]:
        captions = value.captions or [str(number + 1) for number in range(len(value.pictures))]
        pairs = zip(value.pictures, captions, strict=True)
        return [[(_seen(picture.image), caption) for picture, caption in pairs]]

    return [gallery], fill


def _shown_video(kept: Any, label: str) -> Built:
    """Show a video, or one chosen frame."""
    import gradio as gr

    image = gr.Image(label=label, interactive=False, format="png", buttons=["download", "fullscreen"])
    plays = gr.Checkbox(True, label=_("play"), visible=False)
    frame = gr.Slider(1, 2, 1, step=1, label=_("frame"), visible=False)

    @_heard
    def playing(value: Any, on: bool, number: float) -> Any:
        if value is None:
            return gr.skip()
        if not on:
            return chosen(value, number)[0]
        times = _times(max(value.frames.shape[1:3]))
        large = value.frames.repeat(times, 1).repeat(times, 2)
        return gr.update(value=str(_written(image, replace(value, frames=large))), alt_text=str(value))

    @_heard
    def chosen(value: Any, number: float) -> list[Any]:
        if value is None:
            return [gr.skip(), gr.skip()]
        place = min(max(1, int(number)), len(value.frames))
        words = _("{video}; frame {number}").format(video=value, number=place)
        return [_image(value.picture(place - 1).image, words), False]

    def fill(value: Any) -> list[Any]:
        count = len(value.frames)
        return [
            playing(value, True, 1),
            gr.update(value=True, visible=count > 1),
            gr.update(value=1, maximum=max(2, count), visible=count > 1),
        ]

    how: Any = {"show_progress": "hidden", "api_visibility": "private"}
    plays.input(playing, [kept, plays, frame], image, **how)
    frame.input(chosen, [kept, frame], [image, plays], trigger_mode="always_last", **how)
    return [image, plays, frame], fill


def _written(component: Any, value: Kind, suffix: str = "") -> Path:
    """Write the value to a file with a random name that the page may fetch.

    Gradio removes it with its other temporary files of the page.
    """
    path = Path(component.GRADIO_CACHE) / secrets.token_hex(16) / f"souron{suffix or value.suffix}"
    value.save(path)
    return path


def _shown_file(make: Callable[[str], Any], suffix: str) -> Callable[[Any, str], Built]:
    """Return a builder of views for components that show a file with this suffix."""

    def build(kept: Any, label: str) -> Built:
        component, words = make(label), _html_line()
        return [component, words], lambda value: [
            str(_written(component, value, suffix)),
            f"<p>{escape(str(value))}</p>",
        ]

    return build


def _html_line() -> Any:
    import gradio as gr

    return gr.HTML()


def _audio(label: str) -> Any:
    import gradio as gr

    return gr.Audio(label=label, interactive=False, buttons=["download"])


def _model(label: str) -> Any:
    import gradio as gr

    return gr.Model3D(label=label, interactive=False)


def _shown_text(kept: Any, label: str) -> Built:
    import gradio as gr

    # no copy button: the label would name the button instead of the text
    box = gr.Textbox(label=label, interactive=False, lines=LINES, max_lines=20)
    return [box], lambda value: [value.text]


def _shown_transcript(kept: Any, label: str) -> Built:
    """Show the phrases with their times, and the transcript as files."""
    import gradio as gr

    view = _html(label, TABLES)
    saved = gr.File(label=_("files"), file_count="multiple", interactive=False)

    def fill(value: Any) -> list[Any]:
        ends = (".txt", ".srt", ".vtt", ".json")
        return [value._repr_html_(), [str(_written(saved, value, end)) for end in ends]]

    return [view, saved], fill


def _shown_question(kept: Any, label: str) -> Built:
    boxes, _fill = _shown_text(kept, label)
    return boxes, lambda value: [str(value)]


def _shown_tokens(kept: Any, label: str) -> Built:
    """Show the text in colours by token; below it, ids and bytes as a table for touch screens."""

    def fill(value: Any) -> list[Any]:
        name = escape(_("The tokens one by one"))
        return [
            f"{value._repr_html_()}<details><summary>{name}</summary>"
            f"<div style='overflow:auto;max-height:24em' tabindex='0'>{value.table()}</div>"
            "</details>"
        ]

    return [_html(label, TABLES)], fill


def _shown_chat(kept: Any, label: str) -> Built:
    """Show a chat as plain text: output of a model is never interpreted as HTML."""

    names = {"user": _("you"), "assistant": _("answer")}

    def fill(value: Any) -> list[Any]:
        turns = "".join(
            f"<li class='{turn.role}'><b>{escape(names[turn.role])}</b><div>{escape(turn.text)}</div></li>"
            for turn in value.turns
            if turn.role in names  # the system prompt is not shown
        )
        name = escape(label)
        return [f"<div role='log' aria-label='{name}'><ol class='turns'>{turns}</ol></div>"]

    return [_html(label, CHAT, autoscroll=True, max_height=600)], fill


def _shown_spans(kept: Any, label: str) -> Built:
    """Show a text with its marked spans."""
    return [_html(label, TABLES)], lambda value: [value._repr_html_()]


def _shown_table(kept: Any, label: str) -> Built:
    import gradio as gr

    table = gr.Dataframe(label=label, interactive=False, datatype="str", wrap=True, type="array")

    def fill(value: Any) -> list[Any]:
        rows = [[str(cell) for cell in row] for row in value.rows[:MOST_ROWS]]
        told = label
        if len(value.rows) > MOST_ROWS:
            told += " – " + _("the first {shown} of {all} rows").format(
                shown=units.whole(MOST_ROWS), all=units.whole(len(value.rows))
            )
        held = {"headers": list(map(str, value.columns)), "data": rows}
        return [gr.update(value=held, label=told)]

    return [table], fill


def _shown_plot(kept: Any, label: str) -> Built:
    """Show a plot, with its numbers as a table for accessibility."""

    def fill(value: Any) -> list[Any]:
        rows = value.rows()[:MOST_ROWS]
        numbers = files.html_table(value.columns, rows, str(value))
        return [
            f"{value._repr_html_()}<details><summary>{escape(_('The numbers'))}</summary>"
            f"<div style='overflow:auto;max-height:20em'>{numbers}</div></details>"
        ]

    return [_html(label, TABLES)], fill


def _shown_passages(kept: Any, label: str) -> Built:
    """Show the quotes, and each in its context."""
    return [_html(label, QUOTES)], lambda value: [value._repr_html_()]


def _shown_ranking(kept: Any, label: str) -> Built:
    """Show the image that was asked about, and a bar for each text."""
    return [_html(label, TABLES)], lambda value: [value._repr_html_()]


def _shown_before_after(kept: Any, label: str) -> Built:
    """Show a slider between both images, and both as files."""
    import gradio as gr

    view = _html(label, "")
    saved = gr.File(label=_("files"), file_count="multiple", interactive=False)

    def fill(value: Any) -> list[Any]:
        path = _written(saved, value)
        return [value.slider(), [str(path), *value.also]]

    return [view, saved], fill


def _shown_page(kept: Any, label: str) -> Built:
    """Show what a notebook shows, a page in a sandboxed frame, and the file of it."""
    import gradio as gr

    view = _html(label, TABLES)
    saved = gr.File(label=_("files"), interactive=False)
    return [view, saved], lambda value: [value._repr_html_(), str(_written(saved, value))]


def _shown_volume(kept: Any, label: str) -> Built:
    """Show the middle slice."""
    return [_html(label, TABLES)], lambda value: [value._repr_html_()]


def _shown_score(kept: Any, label: str) -> Built:
    """Show the piano roll, a player, and the piece as files."""
    import gradio as gr

    view = _html(label, TABLES)
    saved = gr.File(label=_("files"), file_count="multiple", interactive=False)

    def fill(value: Any) -> list[Any]:
        ends = (".mid", ".musicxml", ".wav", ".png") if value.tones else (".mid",)
        return [value._repr_html_(), [str(_written(saved, value, end)) for end in ends]]

    return [view, saved], fill


def _shown_labelled_volume(kept: Any, label: str) -> Built:
    """Show slices in three planes linked with surfaces; planes, millilitres and files below."""
    import gradio as gr

    from souron.report import labelled
    from souron.studio import volume_pages

    view = _html(label, TABLES)
    saved = gr.File(label=_("files"), file_count="multiple", interactive=False)

    def fill(value: Any) -> list[Any]:
        path = _written(saved, value)
        labelled.write_beside(value, path)
        shown = str(volume_pages.frame(value)) + value._repr_html_()
        return [shown, [str(path), *value.also]]

    return [view, saved], fill


SHOWN: dict[str, Callable[[Any, str], Built]] = {
    "picture": _shown_image,
    "labels": _shown_labels,
    "boxes": _shown_marked,
    "mask": _shown_marked,
    "segments": _shown_marked,
    "points": _shown_marked,
    "poses": _shown_marked,
    "gallery": _shown_gallery,
    "video": _shown_video,
    "sound": _shown_file(_audio, ".wav"),
    "text": _shown_text,
    "transcript": _shown_transcript,
    "tokens": _shown_tokens,
    "chat": _shown_chat,
    "question": _shown_question,
    "mesh": _shown_file(_model, ".stl"),
    "volume": _shown_volume,
    "labelled_volume": _shown_labelled_volume,
    "table": _shown_table,
    "plot": _shown_plot,
    "passages": _shown_passages,
    "page": _shown_page,
    "spans": _shown_spans,
    "score": _shown_score,
    "ranking": _shown_ranking,
    "before_after": _shown_before_after,
}
