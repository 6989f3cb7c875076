"""The studies: choose one, fill in what its command takes, and read its report."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.cli import console, studies
from souron.hub import names
from souron.kinds.text import Text
from souron.registry import StudyEntry
from souron.studio import layout
from souron.studio.forms import command_form
from souron.studio.forms.command_form import Field
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.job_view import Watch
from souron.studio.runs import run_view
from souron.studio.security import upload_names
from souron.studio.shared import PAGES, QUIET, Studio, command, framed, same_thing, words
from souron.utils.files import there
from souron.utils.messages import N_, UserError, _, language

TITLE = N_("Tools")
HIDDEN = ("open", "project", "page", "resume")  # where results go, which the studio decides
LONGEST = 20_000  # characters of a text that is typed


def page(studio: Studio) -> None:
    import gradio as gr

    gr.HTML(
        Markup("<h1>{}</h1><p>{}</p>").format(
            _("Measure, examine and audit"),
            _("Each tool takes what its command takes, and writes a report in both languages."),
        )
        + by_hand(studio)
    )
    groups = list(console.GROUPS)
    entries = dict(sorted(registry.studies().items(), key=lambda one: groups.index(one[1].group)))
    first = next(iter(registry.studies()))  # its form starts with nothing filled in
    choices = [(f"{name} – {_(entry.title)}", name) for name, entry in entries.items()]
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            chosen = gr.Dropdown(choices, value=first, label=_("tool"))
            hidden = (*HIDDEN, *studio.refused_options)
            all_forms = {name: Form(entry, name == first, hidden) for name, entry in entries.items()}
        with gr.Column(scale=3, min_width=320):
            watch = Watch(studio, outcome, tuple(entries))
    for form in all_forms.values():
        form.connect(studio, watch)
    columns = [form.column for form in all_forms.values()]

    def shown(name: str) -> list[Any]:
        return [gr.update(visible=name == other) for other in entries]

    def opened(query: dict[str, str]) -> list[Any]:
        tool = query.get("study", "")
        filled = tool in all_forms and any(name in query for name in all_forms[tool].fields)
        id = watch.latest(query) or ("" if filled else newest(studio, tool))
        job = studio.find(id)
        asked = tool or (job.words[0] if job is not None else first)
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


def by_hand(studio: Studio) -> Markup:
    """Return links to the pages of single tools."""
    names_ = [name for name in PAGES if getattr(layout.module(name), "PLACE", "") == layout.TOOL]
    links = Markup("").join(
        Markup('<a href="{}">{}</a>').format(studio.url(name), layout.title(name)) for name in names_
    )
    return Markup('<p class="actions">{}</p>').format(links)


def newest(studio: Studio, tool: str) -> str:
    """Return the id of the newest job of a study, "" for none."""
    return next((job.id for job in studio.jobs.all() if job.words[:1] == [tool]), "")


class Form:
    """The form of one study, made from its command. A field has one component or several: a text
    that may be pasted has a text area and a place for files, as have arguments that are files
    (``Given.sent``), and of arguments that are texts themselves (``Given.typed``) each has a text
    area."""

    def __init__(self, entry: StudyEntry, visible: bool, hidden: Sequence[str] = HIDDEN) -> None:
        import gradio as gr

        self.entry = entry
        self.fields = command_form.fields(studies.command_of(entry), hidden)
        self.first = next(iter(self.fields))
        self.texts = {option.name for option in entry.options if option.text}
        if entry.texts:
            self.texts.add(self.first)
        self.offers = {option.name: option.of for option in entry.options if option.of}
        with gr.Column(visible=visible) as self.column:
            if entry.page:
                gr.HTML(link(entry.page))
            self.slots = {name: self._components(field) for name, field in self.fields.items()}
            self.widgets = [widget for slot in self.slots.values() for widget in slot]
            self.go = gr.Button(_("Start"), variant="primary")
            typed = [*entry.given.typed]
            self.same = gr.HTML(self.same_as(*typed, *[""] * (len(self.widgets) - len(typed))))

    def _components(self, field: Field) -> list[Any]:
        """Build the components of a field."""
        import gradio as gr

        if self._is_typed(field):
            label, info = field.says
            return [
                gr.Textbox(text, label=label, info=info or None, lines=3, max_length=LONGEST)
                for text in self.entry.given.typed
            ]
        if field.name in self.texts:
            return [gr.Textbox(label=field.says[0], lines=8, max_lines=16), sent(field, Text.formats)]
        if field.name == self.first and self.entry.given.sent:
            return [field.widget(), sent(field, self.entry.given.sent)]
        return [field.widget()]

    def _is_typed(self, field: Field) -> bool:
        return field.name == self.first and bool(self.entry.given.typed)

    def _parts(self, values: Sequence[Any]) -> Iterator[tuple[Field, list[Any]]]:
        """Yield each field with the values of its components."""
        rest = iter(values)
        for name, field in self.fields.items():
            yield field, list(islice(rest, len(self.slots[name])))

    def connect(self, studio: Studio, watch: Watch) -> None:
        def start(*values: Any) -> str:
            self.entry.given.check(self.read(values)[0], self.entry.examples[0])
            given, options = self.read(values, keep=True)
            options |= self.place(studio)
            studio.roots.command(self.paths(given, options))
            return studio.jobs.start(self.line(given, options), studio.language).id

        studio.on_change(self.widgets, self.same_as, self.widgets, self.same)
        watch.follow(self.go.click(studio.says(start), self.widgets, watch.job, **QUIET))

    def read(self, values: Sequence[Any], keep: bool = False) -> tuple[list[str], dict[str, Any]]:
        """Return the positional arguments and the options. Raises UserError.

        A pasted text becomes a file of this session; without ``keep`` it is only named.
        """
        options: dict[str, Any] = {}
        for field, part in self._parts(values):
            if self._is_typed(field):
                options[field.name] = [text for text in part if text and text.strip()]
            elif field.name in self.texts:
                name = self.entry.given.metavar if field.name == self.first else field.name
                paths = _text_files(part[0], part[1], name.lower(), keep)
                options[field.name] = paths[0] if len(paths) == 1 and not field.many else paths
            elif len(part) == 2 and part[1]:  # files that were sent, beside paths
                typed, paths = field.read(part[0]) or [], _paths(part[1])
                options[field.name] = [*([typed] if isinstance(typed, str) else typed), *paths]
            else:
                options[field.name] = field.read(part[0])
        options = {name: value for name, value in options.items() if value not in (None, [])}
        given = options.pop(self.first, [])
        return [given] if isinstance(given, str) else given, options

    def place(self, studio: Studio) -> dict[str, str]:
        """Return the option for the folder of the record, unless it is the default."""
        return studio.project_option(self.entry.lookup)

    def paths(self, given: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        """Return the words that may name files; a text does where there is such a file."""
        named = [one for one in given if not self.entry.given.typed or there(one)]
        return words(self.entry.name, named, options)[1:]

    def line(self, given: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        """Return the words of the command; texts stand behind "--", whatever they begin with."""
        if not self.entry.given.typed:
            return words(self.entry.name, given, options)
        return [*words(self.entry.name, [], options), "--", *given]

    def words(self, values: Sequence[Any]) -> list[str]:
        """Return the words of the command, pasted texts in files. Raises UserError."""
        return self.line(*self.read(values, keep=True))

    def opened(self, studio: Studio, job: Job | None, query: Mapping[str, str]) -> list[Any]:
        """Return the values of the widgets when the page is opened: those of the job, or else of
        the address. What is offered is looked up anew."""
        values: list[Any] = []
        own = job is not None and job.words[0] == self.entry.name
        for field, part in self._parts(self.held(job)):
            name = field.name
            if not own and name != self.first and name in query and len(part) == 1:
                part = [query[name]]
            elif not own and name == self.first and len(part) == 2 and self._is_sent(query.get(name, "")):
                part = [part[0], [query[name]] if field.many else query[name]]
            if name in self.offers:
                part = [self.offered(studio, name, part[0])]
            values += part
        return values

    def _is_sent(self, word: str) -> bool:
        """Return whether a word names a file that came by the form's place for files."""
        return bool(self.entry.given.sent) and upload_names.is_sent(word)

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
        said: dict[str, list[str]] = {self.first: told[cut + 1 :]}
        for word in told[:cut]:
            name, equals, value = word.partition("=")
            if equals and name in self.fields:
                said.setdefault(name, []).append(value)
            elif not (equals and name in HIDDEN) and not self._is_sent(word):
                said.setdefault(self.first, []).append(word)
        lines = {
            name: "\n".join(map(upload_names.typed_in, texts) if name in self.texts else texts)
            for name, texts in said.items()
        }
        values: list[Any] = []
        for field, text in zip(self.fields.values(), command_form.held(self.fields, lines), strict=True):
            count = len(self.slots[field.name])
            if self._is_typed(field):
                values += [*said[self.first], *[""] * count][:count]
            else:
                values += [text, gr.skip()][:count]
        return values

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


def _text_files(pasted: str | None, files: Any, name: str, keep: bool) -> list[str]:
    """Return the files of a text that was pasted or sent. Raises UserError."""
    received = _paths(files)
    if not pasted or not pasted.strip():
        return received
    return [str(upload_names.typed(pasted, name)) if keep else f"{name}.txt", *received]


def _paths(files: Any) -> list[str]:
    return [files] if isinstance(files, str) and files else list(files or [])


def sent(field: Field, ends: Sequence[str]) -> Any:
    """Return a place for files of an argument."""
    import gradio as gr

    place = gr.File(
        label=_("or files ({ends})").format(ends=", ".join(ends)),
        file_count="multiple" if field.many else "single",
        file_types=list(ends),
        height=120,
    )
    return upload_names.received(place, upload_names.places if field.many else upload_names.place)


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
    page = Path(str(result.get("page") or (job.folder or Path()) / "report.html"))
    address = studio.address(run_view.in_own_language(studio, page))
    if not address:
        return html
    name = _("Report of {name}").format(name=page.parent.name)
    alone = studio.report(page.parent) if page.name == "report.html" else ""
    return html + framed(address, name, _("The page alone"), alone)
