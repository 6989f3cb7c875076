"""Read: ask a question of a long text; get the sentences that answer it, and a model's words."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.hub import fetch, packages
from souron.kinds import files
from souron.kinds.text import Text
from souron.studio.forms import controls
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.panel import Panel
from souron.studio.runs import run_list
from souron.studio.security import upload_names
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, remarks, same_thing
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("Read")
PLACE = "tool"
PASSAGES = 5
NOBODY = ""
OPTION = re.compile(r"[a-z]+=")
TEXT = N_(
    "The ward is open to visitors every day from two to six in the afternoon. Please bring no flowers: some patients "
    "are allergic to them. There is a kitchen at the end of the corridor, where you can make tea. Whoever has a cold "
    "should call instead of coming."
)
QUESTION = N_("When may I visit?")


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    id = PANEL.latest(studio, query)
    job = studio.find(id)
    path, question, speaker = asked(job) if job is not None else ("", _(QUESTION), NOBODY)
    ends = ", ".join(Text.formats)
    fields = [
        controls.labelled(_("text"), controls.area("text", upload_names.typed_in(path) if path else _(TEXT), rows=10)),
        controls.labelled(_("or a file ({ends})").format(ends=ends), controls.files("file", Text.formats)),
        controls.labelled(_("your question"), controls.text("question", question)),
        controls.labelled(_("who answers in a sentence"), controls.chooser("model", speakers(studio), speaker)),
        controls.press(_("Ask"), first=True),
    ]
    form = controls.form(studio, "read", "ask", Markup("").join(fields))
    return Markup("{}{}{}").format(
        controls.page_head(
            _("Ask a long text"),
            _(
                "The sentences that answer come first, word for word and with their positions; the "
                "answer of a language model comes second. The text stays on this computer."
            ),
        ),
        controls.columns(form, PANEL.html(studio, id)),
        same_thing(
            'souron ask guide.txt "..." passages=5', 'import souron\nsouron.ask("guide.txt", "...", passages=5)'
        ),
    )


def ask(studio: Studio, form: Posted) -> Markup:
    """Start the command, and return the panel of its job. Raises UserError."""
    sent = form.paths("file")
    words = asking(form["text"], sent[0] if sent else None, form["question"], form["model"])
    return PANEL.start(studio, words, queued=False)


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


def asked(job: Job) -> tuple[str, str, str]:
    """Return the file, the question and the model that a job was started with, on this page or that of all tools."""
    words = job.words[1:]
    cut = words.index("--") if "--" in words else len(words)
    options = dict(word.split("=", 1) for word in words[:cut] if OPTION.match(word))
    given = words[cut + 1 :] or [word for word in words if not OPTION.match(word)]
    path, question = ["", "", *given][-2:]
    return path, question, options.get("model", NOBODY)


def outcome(studio: Studio, job: Job) -> Markup:
    """Return the result of ``souron ask``."""
    from souron.actions.ask.reading import Reading

    found: dict[str, Any] = job.result or {}
    if "quotes" not in found:
        return Markup("")
    path, question, _speaker = asked(job)
    try:
        whole = files.words(Path(path))
    except UserError:  # the file no longer exists: the quotes remain
        whole = ""
    from souron.report import page

    reading = Reading.from_json({**found, "question": question}, whole)
    html = Markup('<section class="read" role="status"><h2>{}</h2>{}</section>').format(
        question, Markup("").join(page.html(section.drawn()) for section in reading.sections())
    )
    remark = _("Marked words occur in none of the passages.")
    notes = [remark] if reading.unsupported else reading.notes()
    line = Markup('<p class="faint">{} {}</p>').format(reading.share(), units.seconds(reading.seconds))
    return html + remarks(notes) + line


PANEL = Panel("read", lambda: ("ask",), outcome)
PARTS = {"ask": ask, **PANEL.parts()}
