"""The studies: choose one, fill in what its command takes, and read its report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.cli import studies
from souron.kinds.text import Text
from souron.registry import StudyEntry
from souron.studio import forms, run_view, sent
from souron.studio.forms import Field
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
HIDDEN = ("open", "project", "page")  # where results go, which the studio decides


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
        tool = query.get("study", "")
        id = watch.latest(query) or newest(studio, tool)
        job = studio.find(id)
        asked = tool or (job.words[0] if job is not None else first)
        name = asked if asked in entries else first
        values = [value for form in all_forms.values() for value in form.held(job)]
        return [name, *shown(name), *values, id]

    chosen.change(studio.says(shown), chosen, columns, **QUIET)
    widgets = [widget for form in all_forms.values() for widget in form.widgets]
    watch.follow(studio.opened(opened, [chosen, *columns, *widgets, watch.job]))


def newest(studio: Studio, tool: str) -> str:
    """Return the id of the newest job of a study, "" for none."""
    return next((job.id for job in studio.jobs.all() if job.words[:1] == [tool]), "")


class Form:
    """The form of one study, made from its command."""

    def __init__(self, entry: StudyEntry, visible: bool) -> None:
        import gradio as gr

        self.entry = entry
        command = forms.fields(studies.command_of(entry), HIDDEN)
        self.fields = {field.name: field for field in command.values()}
        self.first = next(iter(self.fields))
        self.texts = {option.name for option in entry.options if option.text}
        if entry.texts:
            self.texts.add(self.first)
        with gr.Column(visible=visible) as self.column:
            self.widgets = [widget for one in self.fields.values() for widget in self._place(one)]
            self.go = gr.Button(_("Start"), variant="primary")
            self.same = gr.HTML(self.same_as(*[""] * len(self.widgets)))

    def connect(self, studio: Studio, watch: Watch) -> None:
        def start(*values: Any) -> str:
            studies.check_given(self.entry, self.read(values)[0])
            words = self.words(values)
            studio.roots.command(words[1:])
            words += self.place(studio)
            return studio.jobs.start(words, studio.language).id

        studio.on_change(self.widgets, self.same_as, self.widgets, self.same)
        watch.follow(self.go.click(studio.says(start), self.widgets, watch.job, **QUIET))

    def _place(self, field: Field) -> list[Any]:
        """Build the widgets of a field: of a text a place to paste it, and one for files."""
        if field.name not in self.texts:
            return [field.widget()]
        import gradio as gr

        ends = ", ".join(Text.formats)
        return [
            gr.Textbox(label=field.says[0], lines=8, max_lines=16),
            sent.received(
                gr.File(
                    label=_("or files ({ends})").format(ends=ends),
                    file_count="multiple" if field.many else "single",
                    file_types=list(Text.formats),
                    height=120,
                ),
                sent.places if field.many else sent.place,
            ),
        ]

    def _said(self, values: Sequence[Any]) -> Iterator[tuple[Field, "Said"]]:
        """Yield each field with what its widgets hold."""
        rest = iter(values)
        for field in self.fields.values():
            value = next(rest)
            files = next(rest) if field.name in self.texts else None
            yield field, Said(value, [files] if isinstance(files, str) else files or [])

    def read(self, values: Sequence[Any], keep: bool = False) -> tuple[list[str], dict[str, Any]]:
        """Return the positional arguments and the options. Raises UserError.

        A pasted text becomes a file of this session; without ``keep`` it is only named.
        """
        options: dict[str, Any] = {}
        for field, said in self._said(values):
            if field.name in self.texts:
                name = self.entry.given.metavar if field.name == self.first else field.name
                paths = said.paths(name.lower(), keep)
                options[field.name] = paths[0] if len(paths) == 1 and not field.many else paths
            else:
                options[field.name] = field.read(said.value)
        options = {name: value for name, value in options.items() if value not in (None, [])}
        given = options.pop(self.first, [])
        return [given] if isinstance(given, str) else given, options

    def words(self, values: Sequence[Any]) -> list[str]:
        """Return the words of the command, pasted texts in files. Raises UserError."""
        return words(self.entry.name, *self.read(values, keep=True))

    def place(self, studio: Studio) -> list[str]:
        """Return the option for the folder of the record, unless it is the default."""
        folder = {"project": str(studio.project)} if self.entry.lookup else {}
        return [f"{name}={value}" for name, value in (project_of(studio) or folder).items()]

    def held(self, job: Job | None) -> list[Any]:
        """Return the values of the widgets after ``job``, which may be of another study."""
        import gradio as gr

        if job is None or job.words[0] != self.entry.name:
            return [gr.skip()] * len(self.widgets)
        words = job.meant[1:]
        dashes = words.index("--") if "--" in words else len(words)
        said: dict[str, list[str]] = {self.first: words[dashes + 1 :]}
        for word in words[:dashes]:
            name, equals, value = word.partition("=")
            option = equals and name in self.fields
            said.setdefault(name if option else self.first, []).append(value if option else word)
        typed = {
            name: "\n".join(map(sent.typed_in, texts) if name in self.texts else texts)
            for name, texts in said.items()
        }
        held = zip(self.fields, forms.held(self.fields, typed), strict=True)
        return [
            value
            for name, text in held
            for value in ([text, gr.skip()] if name in self.texts else [text])
        ]

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
            line = command(words(self.entry.name, given, options))
            python = self.python(given, options)
        return same_thing(line, python)

    def python(self, given: Sequence[str], options: Mapping[str, Any]) -> str:
        name, kind = self.entry.name, self.entry.kind
        said = [repr(one) for one in given] + [f"{key}={one!r}" for key, one in options.items()]
        return f"from souron.studies.{name} import {kind}\n{kind}().result({', '.join(said)})"


@dataclass(frozen=True)
class Said:
    """The content of the widgets of one field."""

    value: Any
    files: Sequence[str]  # that were sent

    def paths(self, name: str, keep: bool) -> list[str]:
        """Return the files of a text that was pasted or sent. Raises UserError."""
        if not self.value or not self.value.strip():
            return list(self.files)
        pasted = str(sent.typed(self.value, name)) if keep else f"{name}.txt"
        return [pasted, *self.files]


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
