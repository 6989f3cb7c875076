"""The studies: choose one, fill in what its command takes, and read its report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.cli import studies
from souron.hub import names
from souron.registry import StudyEntry
from souron.studio import forms, layout
from souron.studio.job_view import Watch
from souron.studio.jobs import Job
from souron.studio.shared import QUIET, Studio, command, framed, same_thing, words
from souron.utils.files import there
from souron.utils.messages import N_, UserError, _, language

TITLE = N_("Tools")
OF_THE_STUDIO = ("open", "project")  # options that the page sets
LONGEST = 20_000  # characters of a text


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
        values = [
            value
            for form in all_forms.values()
            for value in form.opened(studio, job, query if form.entry.name == name else {})
        ]
        return [name, *shown(name), *values, id]

    chosen.change(studio.says(shown), chosen, columns, **QUIET)
    widgets = [widget for form in all_forms.values() for widget in form.widgets]
    watch.follow(studio.opened(opened, [chosen, *columns, *widgets, watch.job]))


class Form:
    """The form of one study, made from its command."""

    def __init__(self, entry: StudyEntry, visible: bool) -> None:
        import gradio as gr

        self.entry = entry
        self.fields = forms.fields(studies.command_of(entry), OF_THE_STUDIO)
        self.given, *self.options = self.fields.values()
        self.areas = len(entry.given.texts) or 1  # components of the positional arguments
        self.offers = {option.name: option.of for option in entry.options if option.of}
        with gr.Column(visible=visible) as self.column:
            if entry.page:
                gr.HTML(link(entry.page))
            self.widgets = [*self._given(), *(field.widget() for field in self.options)]
            self.go = gr.Button(_("Start"), variant="primary")
            first = [*(entry.given.texts or ("",)), *[""] * len(self.options)]
            self.same = gr.HTML(self.same_as(*first))

    def _given(self) -> list[Any]:
        """Return the component of the positional arguments; of texts a text area for each."""
        import gradio as gr

        if not self.entry.given.texts:
            return [self.given.widget()]
        label, info = self.given.says
        return [
            gr.Textbox(text, label=label, info=info or None, lines=3, max_length=LONGEST)
            for text in self.entry.given.texts
        ]

    def connect(self, studio: Studio, watch: Watch) -> None:
        def start(*values: Any) -> str:
            given, options = self.read(values)
            studies.check_given(self.entry, given)
            options |= studio.project_option(not self.entry.keeps)
            studio.roots.command(self.paths(given, options))
            return studio.jobs.start(self.line(given, options), studio.language).id

        studio.on_change(self.widgets, self.same_as, self.widgets, self.same)
        watch.follow(self.go.click(studio.says(start), self.widgets, watch.job, **QUIET))

    def read(self, values: Sequence[Any]) -> tuple[list[str], dict[str, Any]]:
        """Return the positional arguments and the options. Raises UserError."""
        options = forms.chosen(self.options, values[self.areas :])
        if self.entry.given.texts:
            return [text for text in values[: self.areas] if text and text.strip()], options
        given = self.given.read(values[0])
        return [] if given is None else [given] if isinstance(given, str) else given, options

    def paths(self, given: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        """Return the words that may name files; a text does where there is such a file."""
        named = [one for one in given if not self.entry.given.texts or there(one)]
        return words(self.entry.name, named, options)[1:]

    def line(self, given: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        """Return the words of the command; texts stand behind "--", whatever they begin with."""
        if not self.entry.given.texts:
            return words(self.entry.name, given, options)
        return [*words(self.entry.name, [], options), "--", *given]

    def words(self, values: Sequence[Any]) -> list[str]:
        """Return the words of the command that a user would type. Raises UserError."""
        return self.line(*self.read(values))

    def opened(self, studio: Studio, job: Job | None, query: Mapping[str, str]) -> list[Any]:
        """Return the values of the widgets when the page is opened: those of the job, or else of
        the address. What is offered is looked up anew."""
        values = self.held(job)
        own = job is not None and job.words[0] == self.entry.name
        for place, field in enumerate(self.options, self.areas):
            if not own and field.name in query:
                values[place] = query[field.name]
            if field.name in self.offers:
                values[place] = self.offered(studio, field.name, values[place])
        return values

    def offered(self, studio: Studio, name: str, value: Any) -> Any:
        """Return an update of what an option offers; without a ``value`` the first is chosen."""
        import gradio as gr

        found = names.offered(self.offers[name], studio.project)
        first = found[0][0] if found else ""
        return gr.update(
            choices=[(f"{Path(one).name} – {about}", one) for one, about in found],
            value=value if isinstance(value, str) and value else first,
        )

    def held(self, job: Job | None) -> list[Any]:
        """Return the values of the widgets after ``job``, which may be of another study."""
        import gradio as gr

        if job is None or job.words[0] != self.entry.name:
            return [gr.skip()] * len(self.widgets)
        told = job.meant[1:]
        cut = told.index("--") if "--" in told else len(told)
        said: dict[str, list[str]] = {self.given.name: told[cut + 1 :]}
        for name, equals, value in (word.partition("=") for word in told[:cut]):
            key, text = (name, value) if equals else (self.given.name, name)
            said.setdefault(key, []).append(text)
        given = said[self.given.name]
        texts = given[: self.areas] if self.entry.given.texts else ["\n".join(given)]
        options = {name: "\n".join(texts) for name, texts in said.items()}
        fields = {field.name: field for field in self.options}
        return [*texts, *[""] * (self.areas - len(texts)), *forms.held(fields, options)]

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


def link(name: str) -> Markup:
    """Return a link to the page where a person does the same by hand."""
    told = _("By hand: the page {page}").format(page=layout.title(name))
    return Markup('<p class="actions"><a href="/{}/{}">{}</a></p>').format(language(), name, told)


def outcome(studio: Studio, job: Job) -> Markup:
    """Return the result in a sentence, where that was written in the page's language, and its
    report."""
    result = job.result or {}
    sentence = result.get("sentence", "") if job.language == studio.language else ""
    html = Markup('<p class="verdict" role="status"><strong>{}</strong></p>').format(sentence)
    page = Path(str(result["page"])) if "page" in result else (job.folder or Path()) / "report.html"
    address = studio.address(studio.report_file(page.parent, page.name))
    if not address:
        return html
    return html + framed(
        address,
        _("Report of {name}").format(name=page.parent.name),
        _("The page alone"),
        studio.report(page.parent),
    )
