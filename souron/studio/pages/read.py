"""Read: ask a question of a long text; get the sentences that answer it, and a model's words."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.hub import fetch, packages
from souron.kinds import files
from souron.kinds.text import Text
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.job_view import Watch
from souron.studio.runs import run_list
from souron.studio.security import upload_names
from souron.studio.shared import QUIET, Studio, remarks, same_thing
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Read")
PLACE = "tool"
PASSAGES = 5
NOBODY = ""
TEXT = N_(
    "The ward is open to visitors every day from two to six in the afternoon. Please bring no flowers: some patients "
    "are allergic to them. There is a kitchen at the end of the corridor, where you can make tea. Whoever has a cold "
    "should call instead of coming."
)
QUESTION = N_("When may I visit?")


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Ask a long text"),
            _(
                "The sentences that answer come first, word for word and with their positions; the "
                "answer of a language model comes second. The text stays on this computer."
            ),
        )
    )
    with gr.Row():
        typed = gr.Textbox(_(TEXT), label=_("text"), lines=8, max_lines=16)
        sent_file = upload_names.received(
            gr.File(label=_("or a file ({ends})").format(ends=", ".join(Text.formats)), file_types=list(Text.formats))
        )
    question = gr.Textbox(_(QUESTION), label=_("your question"), lines=1, max_lines=4)
    speaker = gr.Dropdown([], value=None, label=_("who answers in a sentence"))
    go = gr.Button(_("Ask"), variant="primary")
    watch = Watch(studio, outcome, ("ask",))
    gr.HTML(
        same_thing('souron ask guide.txt "..." passages=5', 'import souron\nsouron.ask("guide.txt", "...", passages=5)')
    )

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
    path = Path(file) if file else upload_names.typed(text)
    return ["ask", f"passages={PASSAGES}", *([f"model={model}"] if model else []), "--", str(path), question.strip()]


def outcome(studio: Studio, job: Job) -> Markup:
    """Return the result of ``souron ask``."""
    from souron.studies.ask.reading import Reading

    found: dict[str, Any] = job.result or {}
    if "quotes" not in found:
        return Markup("")
    path, question = job.words[-2:]
    try:
        whole = files.words(Path(path))
    except UserError:  # the file no longer exists: the quotes remain
        whole = ""
    reading = Reading.from_json({**found, "question": question}, whole)
    html = Markup('<section class="read" role="status"><h2>{}</h2>{}</section>').format(
        question, Markup("").join(section.html for section in reading.sections())
    )
    remark = _("Marked words occur in none of the passages.")
    notes = [remark] if reading.unsupported else reading.notes()
    line = Markup('<p class="faint">{} {}</p>').format(reading.share(), units.seconds(reading.seconds))
    return html + remarks(notes) + line
