"""Check: an answer beside its sources, each sentence supported, contradicted or not found."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.kinds import files
from souron.kinds.text import Text
from souron.studio import sent
from souron.studio.job_view import Watch
from souron.studio.jobs import Job
from souron.studio.pages.read import kept
from souron.studio.shared import QUIET, Studio, remarks, same_thing
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Check")
SOURCES = "sources="


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Is the answer supported by its sources?"),
            _("Paste an answer of a language model, or your own text, and give the texts that "
              "should support it. Each sentence is looked up there: numbers, units, dates, "
              "sides, negation and names are compared. Nothing leaves this computer."),
        )
    )  # fmt: skip
    ends = ", ".join(Text.formats)
    with gr.Row():
        with gr.Column():
            answer = gr.Textbox(label=_("answer"), lines=8, max_lines=16)
        with gr.Column():
            typed = gr.Textbox(label=_("source"), lines=8, max_lines=16)
            given = sent.received(
                gr.File(label=_("or files ({ends})").format(ends=ends), file_count="multiple",
                        file_types=list(Text.formats)),
                sent.places,
            )  # fmt: skip
    go = gr.Button(_("Check"), variant="primary")
    watch = Watch(studio, outcome, ("check",))
    gr.HTML(same_thing(
        "souron check answer.txt sources=notes/ page=checked.html",
        'from souron.society.claims import faithfulness\n'
        'faithfulness.check("answer.txt", "notes/")',
    ))  # fmt: skip

    def check(said: str, source: str, more: list[str] | None) -> str:
        words = checking(said, source, more or [])
        return studio.jobs.start(words, studio.language, queued=False).id

    watch.follow(go.click(studio.says(check), [answer, typed, given], watch.job, **QUIET))


def checking(answer: str, source: str, more: list[str]) -> list[str]:
    """Return the words of the command, with typed text saved as files of this session.

    Raises UserError where there is no answer or no source.
    """
    if not answer.strip():
        raise UserError("nothing given", _("nothing was given yet"), expected=_("an answer"))
    if not source.strip() and not more:
        raise UserError("nothing given", _("no source was given yet"), expected=_("a text"))
    sources = [*([str(kept(source))] if source.strip() else []), *more]
    return ["check", *(f"{SOURCES}{path}" for path in sources), "--", str(kept(answer))]


def outcome(studio: Studio, job: Job) -> Markup:
    """Return the result of ``souron check``."""
    from souron.report import claims as report
    from souron.society.claims.record import from_json

    told: dict[str, Any] = job.result or {}
    if "counts" not in told:
        return Markup("")
    try:
        answer = files.words(Path(job.words[-1]))
    except UserError:  # the file no longer exists
        answer = ""
    record = from_json(told, answer)
    took = _("{files} files, {sentences} sentences, {time}.").format(
        files=units.whole(record.files), sentences=units.whole(record.sentences),
        time=units.seconds(record.seconds),
    )  # fmt: skip
    html = Markup('<section class="checked" role="status"><h2>{}</h2>{}</section>').format(
        record.headline(), report.answer(record) + report.rows(record)
    )
    return html + remarks(record.remarks()) + Markup('<p class="faint">{}</p>').format(took)
