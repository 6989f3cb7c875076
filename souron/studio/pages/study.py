"""The studies: choose one, fill in what its command takes, and read its report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.cli import studies
from souron.registry import StudyEntry
from souron.studio import forms, run_view
from souron.studio.job_view import Watch
from souron.studio.jobs import Job
from souron.studio.shared import (
    QUIET,
    Studio,
    command,
    framed,
    project_of,
    same_thing,
    words,
)
from souron.utils.messages import N_, UserError, _

TITLE = N_("Tools")
SET_HERE = ("open", "project")  # options that the page sets itself


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Measure, examine and audit"),
            _("Each tool takes what its command takes, and writes a report in both languages."),
        )
    )
    entries = registry.studies()
    first = next(iter(entries))
    choices = [(f"{name} – {_(entry.title)}", name) for name, entry in entries.items()]
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            chosen = gr.Dropdown(choices, value=first, label=_("tool"))
            all_forms = {name: Form(entry, name == first) for name, entry in entries.items()}
        with gr.Column(scale=3, min_width=320):
            watch = Watch(studio, outcome, tuple(entries))
    for form in all_forms.values():
        form.connect(studio, watch)
    columns = [form.column for form in all_forms.values()]

    def shown(name: str) -> list[Any]:
        return [gr.update(visible=name == other) for other in entries]

    def opened(query: dict[str, str]) -> list[Any]:
        id = watch.latest(query)
        job = studio.find(id)
        asked = query.get("study") or (job.words[0] if job is not None else first)
        name = asked if asked in entries else first
        values = [value for form in all_forms.values() for value in form.held(job)]
        return [name, *shown(name), *values, id]

    chosen.change(studio.says(shown), chosen, columns, **QUIET)
    widgets = [widget for form in all_forms.values() for widget in form.widgets]
    watch.follow(studio.opened(opened, [chosen, *columns, *widgets, watch.job]))


class Form:
    """The form of one study, made from its command."""

    def __init__(self, entry: StudyEntry, visible: bool) -> None:
        import gradio as gr

        self.entry = entry
        self.fields = forms.fields(studies.command_of(entry), SET_HERE)
        with gr.Column(visible=visible) as self.column:
            self.widgets = [field.widget() for field in self.fields.values()]
            self.go = gr.Button(_("Start"), variant="primary")
            self.same = gr.HTML(self.same_as(*[""] * len(self.widgets)))

    def connect(self, studio: Studio, watch: Watch) -> None:
        def start(*values: Any) -> str:
            words = self.words(values)
            studies.check_given(self.entry, self.read(values)[0])
            studio.roots.command(words[1:])
            words += self.place(studio)
            return studio.jobs.start(words, studio.language).id

        studio.on_change(self.widgets, self.same_as, self.widgets, self.same)
        watch.follow(self.go.click(studio.says(start), self.widgets, watch.job, **QUIET))

    def read(self, values: Sequence[Any]) -> tuple[list[str], dict[str, Any]]:
        """Return the positional arguments and the options. Raises UserError."""
        options = forms.chosen(self.fields.values(), values)
        given = options.pop(next(iter(self.fields)), [])
        return [given] if isinstance(given, str) else given, options

    def words(self, values: Sequence[Any]) -> list[str]:
        """The words of the command. Raises UserError."""
        return words(self.entry.name, *self.read(values))

    def place(self, studio: Studio) -> list[str]:
        """Return the option for the folder of the record, unless it is the default."""
        folder = {"project": str(studio.project)} if self.entry.lookup else {}
        return [f"{name}={value}" for name, value in (project_of(studio) or folder).items()]

    def held(self, job: Job | None) -> list[Any]:
        """Return the values of the widgets after ``job``, which may be of another study."""
        import gradio as gr

        if job is None or job.words[0] != self.entry.name:
            return [gr.skip()] * len(self.widgets)
        words, first = job.meant[1:], next(iter(self.fields))
        dashes = words.index("--") if "--" in words else len(words)
        said: dict[str, list[str]] = {first: words[dashes + 1 :]}
        for word in words[:dashes]:
            name, equals, value = word.partition("=")
            said.setdefault(name if equals else first, []).append(value if equals else word)
        return forms.held(self.fields, {name: "\n".join(texts) for name, texts in said.items()})

    def same_as(self, *values: Any) -> Any:
        """Return the form as a command line and as Python code."""
        import gradio as gr

        try:
            given, options = self.read(values)
        except UserError:  # somebody is still typing; Start says what is wrong
            return gr.skip()
        if not given and not options:
            line, python = self.entry.examples[0], self.python(["..."], {})
        else:
            line, python = command(self.words(values)), self.python(given, options)
        return same_thing(line, python)

    def python(self, given: Sequence[str], options: Mapping[str, Any]) -> str:
        name, kind = self.entry.name, self.entry.kind
        said = [repr(one) for one in given] + [f"{key}={one!r}" for key, one in options.items()]
        return f"from souron.studies.{name} import {kind}\n{kind}().result({', '.join(said)})"


def outcome(studio: Studio, job: Job) -> Markup:
    """The result in a sentence, where that was written in the page's language, and its report."""
    result = job.result or {}
    sentence = result.get("sentence", "") if job.language == studio.language else ""
    html = Markup('<p class="verdict" role="status"><strong>{}</strong></p>').format(sentence)
    page = Path(str(result.get("page") or ""))
    address = studio.address(run_view.in_own_language(studio, page)) if page.name else ""
    if not address:
        return html
    name = _("Report of {name}").format(name=page.parent.name)
    alone = studio.report(page.parent) if page.name == "report.html" else ""
    return html + framed(address, name, _("The page alone"), alone)
