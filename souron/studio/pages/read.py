"""Read: ask a question of a long text; get the sentences that answer it, and a model's words."""

import os
from hashlib import blake2b
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from souron import registry
from souron.evaluation import support
from souron.hub import fetch, packages
from souron.kinds import files
from souron.kinds.passages import Passage, Passages
from souron.kinds.text import Text
from souron.studio import run_list, sent
from souron.studio.job_view import Watch
from souron.studio.jobs import Job
from souron.studio.shared import QUIET, Studio, remarks, same_thing
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Read")
PASSAGES = 5
NOBODY = ""


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Ask a long text"),
            _("The sentences that answer come first, word for word and with their positions; the "
              "answer of a language model comes second. The text stays on this computer."),
        )
    )  # fmt: skip
    with gr.Row():
        typed = gr.Textbox(label=_("text"), lines=8, max_lines=16)
        sent_file = sent.received(
            gr.File(label=_("or a file ({ends})").format(ends=", ".join(Text.formats)),
                    file_types=list(Text.formats))
        )  # fmt: skip
    question = gr.Textbox(label=_("your question"), lines=1, max_lines=4)
    speaker = gr.Dropdown([], value=None, label=_("who answers in a sentence"))
    go = gr.Button(_("Ask"), variant="primary")
    watch = Watch(studio, outcome, ("ask",))
    gr.HTML(same_thing('souron ask guide.txt "..." passages=5',
                       'import souron\nsouron.ask("guide.txt", "...", passages=5)'))  # fmt: skip

    def ask(text: str, file: str | None, asked: str, model: str | None) -> str:
        words = asking(text, file, asked, model or NOBODY)
        return studio.jobs.start(words, studio.language, queued=False).id

    form = [typed, sent_file, question, speaker]
    for event in (go.click, question.submit):
        watch.follow(event(studio.says(ask), form, watch.job, **QUIET))
    studio.opened(lambda _query: gr.update(choices=speakers(studio), value=NOBODY), [speaker])


def speakers(studio: Studio) -> list[tuple[str, str]]:
    """Return (shown, name) of none, open models on this computer, and runs of language models."""
    here = [(name, name) for name in packages.MODELS if fetch.where(name)]
    runs = [
        (run.name, str(run.folder))
        for run in run_list.runs(studio.project)
        if registry.talks(run.task)
        if (run.folder / "weights" / "best.safetensors").is_file()
    ]
    return [(_("nobody: the sentences alone"), NOBODY), *here, *runs]


def asking(text: str, file: str | None, question: str, model: str) -> list[str]:
    """Return the words of the command, with a typed text saved as a file of this session.

    Raises UserError where the text or the question is missing.
    """
    if not text.strip() and not file:
        raise UserError("nothing given", _("nothing was given yet"), expected=_("text"))
    if not question.strip():
        raise UserError("nothing given", _("no question was asked yet"), expected=_("a question"))
    path = Path(file) if file else kept(text)
    return ["ask", f"passages={PASSAGES}", *([f"model={model}"] if model else []), "--",
            str(path), question.strip()]  # fmt: skip


def kept(text: str) -> Path:
    """Return the file that holds a typed text, written if it is new."""
    written = Text(text).text.encode("utf-8", "replace")
    name = blake2b(written, digest_size=12).hexdigest()
    path = Path(os.environ["GRADIO_TEMP_DIR"]) / "typed" / name / "text.txt"
    if not path.exists():
        files.write(path, written)
    return path


def outcome(studio: Studio, job: Job) -> Markup:
    """Return the result of ``souron ask``."""
    told: dict[str, Any] = job.result or {}
    if "quotes" not in told:
        return Markup("")
    path, question = job.words[-2:]
    try:
        whole = files.words(Path(path))
    except UserError:  # the file no longer exists: the quotes remain
        whole = ""
    quotes = [Passage(q["text"], q["start"], q["end"], q["score"]) for q in told["quotes"]]
    found = Passages(question, quotes, bool(told["found"]), whole, "", told.get("missing", ()))
    html = Markup('<section class="read" role="status"><h2>{}</h2>{}</section>').format(
        question, Markup(found._repr_html_())
    )
    if told.get("answer"):
        answer = str(told["answer"])
        wanted = [*(quote.text for quote in quotes), question]
        spans = support.unsupported(answer, wanted)
        html += Markup("<p><strong>{}</strong> {}</p>").format(told["model"], marked(answer, spans))
        html += remarks([told_of(bool(spans))])
    seen = told.get("seen") or {}
    share = _("The sentences that were compared are {share} of the text.").format(
        share=units.percent(seen.get("encoder", 0), 0)
    )
    if told.get("model"):
        text = _("The language model saw {share}.")
        share += " " + text.format(share=units.percent(seen.get("model", 0), 2))
    took = units.seconds(float(told.get("seconds") or 0))
    line = Markup('<p class="faint">{} {}</p>').format(share, took)
    return html + line


def told_of(unsupported: bool) -> str:
    if unsupported:
        return _("Marked words occur in none of the passages.")
    return _("Every word of it occurs in the passages; read them to see whether it is right.")


def marked(answer: str, spans: list[tuple[int, int]]) -> Markup:
    """Return the answer, with words that occur in no passage marked."""
    parts, at = [], 0
    for first, last in spans:
        parts += [escape(answer[at:first]), Markup("<mark>{}</mark>").format(answer[first:last])]
        at = last
    return Markup("").join([*parts, escape(answer[at:])])
