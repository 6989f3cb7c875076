"""Tokens: two texts as cut by any available tokenizer, side by side."""

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.data import called
from souron.hub import fetch, zoo
from souron.studio import run_list
from souron.studio.shared import QUIET, Studio, command, fetching, missing, same_thing
from souron.utils.messages import N_, UserError, _

TITLE = N_("Tokens")
TASKS = ("tokenize", "complete")
USUAL = "smollm2"
MOST_LETTERS = 20_000  # most characters that a page shows well
FIRST, SECOND = "The patient has had a toothache since Monday.", "患者は月曜日から歯が痛いです。"
_one_at_a_time = threading.Lock()


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("How a text is split into tokens"),
            _("A language model reads numbers. Each colour is a token, one number; point at it, or "
              "open the table, for its number and its bytes. Where the model predicts texts, the "
              "shade says how surprising each token is to it, in bits."),
        )
    )  # fmt: skip
    chosen = gr.Dropdown([], value=None, label=_("whose tokens"))
    empty = gr.HTML()
    with gr.Row():
        first = gr.Textbox(FIRST, label=_("a text"), lines=3, max_length=MOST_LETTERS)
        second = gr.Textbox(SECOND, label=_("a second one, beside it"), lines=3,
                            max_length=MOST_LETTERS)  # fmt: skip
    go = gr.Button(_("Split"), variant="primary")
    shown = []
    with gr.Row():
        for _text in (first, second):
            with gr.Column(min_width=320):  # stacked on narrow screens
                shown.append(gr.HTML())
    same = gr.HTML()
    go.click(studio.says(cut), [chosen, first, second], [*shown, same], show_progress="minimal")
    studio.opened(
        lambda query: offer(studio, query.get("run") or query.get("model") or ""), [chosen, empty]
    )
    chosen.change(studio.says(lambda _name: ["", "", ""]), chosen, [*shown, same], **QUIET)


def choices(studio: Studio) -> list[tuple[str, str]]:
    """Return (shown, name) of tokenizers: runs, newest first, then fetched and ready-trained."""
    runs = [
        (f"{run.name} – {', '.join(filter(None, (*run.systems, called.called(run.data))))}",
         str(run.folder))
        for run in run_list.runs(studio.project)
        if run.folder.parent.name in TASKS and run.state != "damaged"
        if (run.folder / "weights" / "best.safetensors").is_file()
    ]  # fmt: skip
    fetched = [(f"{USUAL} – {_('published weights')}", USUAL)] if fetch.where(USUAL) else []
    ready = [
        (f"{entry.name} – {_('ready trained')}", entry.name)
        for entry in registry.entries().values()
        if entry.task in TASKS and zoo.where(entry.name)
    ]
    return [*runs, *fetched, *ready]


def offer(studio: Studio, wanted: str) -> list[Any]:
    """Return the available tokenizers, and a note where there is none."""
    import gradio as gr

    offered = choices(studio)
    names = [name for _shown, name in offered]
    if not names:
        told = missing(
            _("Nothing here splits texts yet: train a tokenizer, or fetch {name}.").format(
                name=USUAL
            ),
            (studio.url("train", system="bpe"), _("Train a system")),
            fetching(studio, USUAL),
        )
        return [gr.update(choices=[], value=None), told]
    if wanted:
        wanted = next((name for name in names if name.endswith(wanted)), "")
    return [gr.update(choices=offered, value=wanted or names[0]), ""]


def cut(name: str | None, *texts: str) -> list[Markup]:
    """Tokenize each text with a model; return also the equivalent command. Raises UserError."""
    given = [text or "" for text in texts]
    if not name or not any(given):
        raise UserError(
            "nothing given",
            _("nothing was given yet"),
            expected=_("a text, and whose tokens"),
            exit=2,
        )
    from souron.pipelines import tokens as pipeline

    with _one_at_a_time:
        cutter = _cutter(name, _changed(name))
        found = [pipeline.tokens(text[:MOST_LETTERS], cutter) if text else None for text in given]
    views = [
        Markup('<section class="cut">{}<details><summary>{}</summary>'
               '<div class="scroll" tabindex="0">{}</div></details></section>').format(
            Markup(each._repr_html_()), _("The tokens one by one"), Markup(each.table())
        ) if each else Markup("")
        for each in found
    ]  # fmt: skip
    words = [text for text in given if text]
    python = "\n".join(f"souron.tokens({text!r}, {name!r})" for text in words)
    return [*views, same_thing(command(["tokens", *words, name]), f"import souron\n{python}")]


def _changed(name: str) -> float:
    weights = Path(name) / "weights" / "best.safetensors"
    return weights.stat().st_mtime if weights.is_file() else 0.0


@lru_cache(maxsize=2)
def _cutter(name: str, _changed: float) -> Any:
    from souron.pipelines import tokens as pipeline

    return pipeline.cutter(name)
