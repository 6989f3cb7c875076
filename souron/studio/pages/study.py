"""The studies: choose one, fill in what its command takes, and read its report."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.cli import console
from souron.hub import names
from souron.kinds.text import Text
from souron.registry import ActionEntry
from souron.studio import layout
from souron.studio.forms import command_form, controls
from souron.studio.forms.command_form import Field
from souron.studio.jobs import job_view
from souron.studio.jobs.job_queue import Job
from souron.studio.jobs.panel import Panel
from souron.studio.runs import run_view
from souron.studio.security import upload_names
from souron.studio.security.posted import Posted
from souron.studio.shared import PAGES, Studio, command, framed, here, same_thing, words
from souron.utils import distributions
from souron.utils.files import there
from souron.utils.messages import N_, UserError, _, language

TITLE = N_("Tools")
HIDDEN = ("open", "project", "page", "resume")  # where results go, which the studio decides
QUESTIONS = (  # their order; others follow
    "Which is better?",
    "How many patients?",
    "Are the risks right?",
    "Does it travel?",
    "Who should be passed on?",
    "What may I write?",
)
LONGEST = 20_000  # characters of a text that is typed


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    entries = ordered()
    tool = query.get("study", "")
    distributions.check(f"actions/{tool}")
    filled = tool in entries and any(name in query for name in Form(studio, entries[tool]).fields)
    job = studio.find(PANEL.latest(studio, query) or ("" if filled else newest(studio, tool)))
    name = tool or (job.words[0] if job is not None else "")
    return Markup("{}{}{}{}").format(
        controls.page_head(
            _("Measure, examine and audit"),
            _("Each tool takes what its command takes, and writes a report in both languages."),
        ),
        by_question(studio, tool),
        by_hand(studio),
        chosen(studio, entries.get(name), job, query),
    )


def ordered() -> dict[str, ActionEntry]:
    """Return the studies by name, in the order of the groups of ``souron --help``."""
    groups = list(console.GROUPS)
    entries = map(registry.action, tools())
    return {one.name: one for one in sorted(entries, key=lambda one: groups.index(one.group))}


def by_question(studio: Studio, tool: str) -> Markup:
    """Return links to all tools below the questions that they answer; folded where a ``tool`` is chosen."""
    entries = ordered().values()
    questions = dict.fromkeys([*QUESTIONS, *(one.question for one in entries if one.question)])
    groups = [(_(question), [one for one in entries if one.question == question]) for question in questions]
    asked = Markup("").join(
        Markup("<section><h2>{}</h2>{}</section>").format(question, listed(studio, ones))
        for question, ones in groups
        if ones
    )
    more = controls.folded(_("More tools"), listed(studio, [one for one in entries if not one.question]))
    content = Markup('<div class="questions">{}</div>{}').format(asked, more)
    return controls.folded(_("All tools"), content) if tool else content


def listed(studio: Studio, entries: Iterable[ActionEntry]) -> Markup:
    """Return links to tools by what they do, their names small."""
    items = Markup("").join(
        Markup('<li><a href="{}">{}</a> <small>{}</small></li>').format(studio.url(one.name), _(one.title), one.name)
        for one in entries
    )
    return Markup("<ul>{}</ul>").format(items)


def tools() -> list[str]:
    """Return the names of the actions, without those that a page of another place has a form for."""
    pages = {name: job_view.PAGES.get(name, "") for name in registry.action_files()}
    return [
        name for name, page in pages.items() if not page or getattr(layout.module(page), "PLACE", "") == layout.TOOL
    ]


def chosen(studio: Studio, entry: ActionEntry | None, job: Job | None, query: Mapping[str, str]) -> Markup:
    """Return the form of a study beside its job; without one the list of all alone."""
    choices = [(f"{name} – {_(one.title)}", name) for name, one in ordered().items()]
    if entry is None:
        choices.insert(0, ("–", ""))
    redraw = {"hx_post": controls.part(studio, "study", "tool"), "hx_target": "#tool", "hx_swap": "outerHTML"}
    name = entry.name if entry is not None else ""
    tool = controls.labelled(_("tool"), controls.chooser("study", choices, name, hx_include="this", **redraw))
    if entry is None:
        return Markup('<div id="tool">{}</div>').format(tool)
    form = Form(studio, entry)
    left = Markup("{}{}{}{}").format(
        tool,
        link(entry.page) if entry.page else "",
        controls.form(studio, "study", "start", form.html(form.held(job, query))),
        controls.follows(studio, "study", "same", "same"),
    )
    address = here(studio.url(entry.name)) if job is None and not query else ""
    panel = PANEL.html(studio, job.id if job is not None else "")
    return Markup('<div id="tool">{}{}</div>').format(address, controls.columns(left, panel))


def tool(studio: Studio, form: Posted) -> Markup:
    """Return the form of another study, with its newest job."""
    entry = entry_of(form)
    return chosen(studio, entry, studio.find(newest(studio, entry.name)), {})


def entry_of(form: Posted) -> ActionEntry:
    """Return the study that a form names. Raises UserError."""
    entries = ordered()
    if form["study"] not in entries:
        raise UserError(
            "study", _("there is no tool {name}").format(name=form["study"][:100]), expected=", ".join(entries)
        )
    return entries[form["study"]]


def start(studio: Studio, form: Posted) -> Markup:
    """Start the command of a form, and return the panel of its job. Raises UserError."""
    return PANEL.start(studio, Form(studio, entry_of(form)).checked(form))


def same(studio: Studio, form: Posted) -> Markup:
    """Return a form as a command line and as Python code."""
    return Form(studio, entry_of(form)).same_as(form)


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
    """The form of one study, made from its command. A field has one control or several: a text that
    may be pasted has a text area and a place for files, as have arguments that are files
    (``Given.sent``), and of arguments that are texts themselves (``Given.typed``) each has a text
    area."""

    def __init__(self, studio: Studio, entry: ActionEntry) -> None:
        self.studio, self.entry = studio, entry
        self.fields = command_form.fields(entry.name, (*HIDDEN, *studio.refused_options))
        self.first = next(iter(self.fields))
        self.texts = {option.name for option in entry.options if option.text}
        if entry.texts:
            self.texts.add(self.first)
        self.offers = {option.name: option.of for option in entry.options if option.of}

    def html(self, values: Mapping[str, Any]) -> Markup:
        """Return the fields with their ``values``, and the button that starts."""
        fields = {name: self._field(field, values.get(name, "")) for name, field in self.fields.items()}
        content = fields.pop(self.first) if self.entry.given.least else Markup()
        options = Markup("").join(fields.values())
        if content and options:
            filled = any(values.get(name) for name in fields)
            options = controls.folded(controls.more_options(), options, opened=filled)
        hidden = Markup('<input type="hidden"{}>').format(
            controls.attributes({"name": "study", "value": self.entry.name})
        )
        return Markup("{}{}{}{}").format(hidden, content, options, controls.press(_("Start"), first=True))

    def _field(self, field: Field, value: Any) -> Markup:
        label, info = field.says
        if self._is_typed(field):
            texts = [*value, *[""] * len(self.entry.given.typed)] if value else self.entry.given.typed
            pairs = list(zip(texts, self.entry.given.typed, strict=False))
            areas = [
                controls.area(field.name, text, maxlength=LONGEST, id=f"field-{field.name}-{number}")
                for number, (text, _proposed) in enumerate(pairs)
            ]
            return Markup("").join(controls.labelled(label, area, info) for area in areas)
        if field.name in self.texts:
            area = controls.labelled(label, controls.area(field.name, value, rows=8))
            return area + self._files(field, Text.formats)
        if field.name in self.offers:
            return controls.labelled(label, self._offered(field.name, value), info)
        if field.name == self.first and self.entry.given.sent:
            paths = value.splitlines() if isinstance(value, str) else list(value)
            written = [path for path in paths if not self._is_sent(path)]
            return field.html("\n".join(written)) + self._kept(field, paths) + self._files(field, self.entry.given.sent)
        return field.html(value)

    def _files(self, field: Field, ends: Sequence[str]) -> Markup:
        label = _("or files ({ends})").format(ends=", ".join(ends))
        return controls.labelled(label, controls.files(f"{field.name}-files", ends, many=field.many))

    def _kept(self, field: Field, paths: Sequence[str]) -> Markup:
        """Return boxes for files that were sent before; a newly sent file takes their place."""
        boxes = [controls.tick(f"{field.name}-kept", Path(p).name, True, value=p) for p in paths if self._is_sent(p)]
        return Markup("").join(boxes)

    def _offered(self, name: str, value: Any) -> Markup:
        """Return what an option offers; without a ``value`` the first is chosen."""
        found = names.offered(self.offers[name], self.studio.project)
        choices = [(f"{Path(one).name} – {about}", one) for one, about in found]
        return controls.combo(name, choices, value or (found[0][0] if found else ""))

    def _is_typed(self, field: Field) -> bool:
        return field.name == self.first and bool(self.entry.given.typed)

    def _is_sent(self, word: str) -> bool:
        """Return whether a word names a file that came by the form's place for files."""
        return bool(self.entry.given.sent) and upload_names.is_sent(word)

    def checked(self, form: Posted) -> list[str]:
        """Return the words of the command, whose paths lie within the roots. Raises UserError."""
        given, options = self.read(form, keep=True)
        self.entry.given.check(given, self.entry.examples[0])
        options |= self.studio.project_option(self.entry.lookup)
        self.studio.roots.command(self.paths(given, options))
        return self.line(given, options)

    def read(self, form: Posted, keep: bool = False) -> tuple[list[str], dict[str, Any]]:
        """Return the positional arguments and the options. Raises UserError.

        A pasted text becomes a file of this session; without ``keep`` it is only named.
        """
        options = {name: self._value(field, form, keep) for name, field in self.fields.items()}
        options = {name: value for name, value in options.items() if value not in (None, [])}
        given = options.pop(self.first, [])
        return [given] if isinstance(given, str) else given, options

    def _value(self, field: Field, form: Posted, keep: bool) -> Any:
        name = field.name
        received = form.paths(f"{name}-files")
        if self._is_typed(field):
            return [text for text in form.all(name) if text.strip()]
        if name in self.texts:
            called = self.entry.given.metavar if name == self.first else name
            paths = [*_pasted(form[name], called.lower(), keep), *received]
            return paths[0] if len(paths) == 1 and not field.many else paths
        if name == self.first and self.entry.given.sent:
            sent = received or [path for path in form.all(f"{name}-kept") if self._is_sent(path)]
            typed = field.read(form[name]) or []
            return [*([typed] if isinstance(typed, str) else typed), *sent]
        return field.read(form[name])

    def paths(self, given: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        """Return the words that may name files; a text does where there is such a file."""
        named = [one for one in given if not self.entry.given.typed or there(one)]
        return words(self.entry.name, named, options)[1:]

    def line(self, given: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        """Return the words of the command; texts stand behind "--", whatever they begin with."""
        if not self.entry.given.typed:
            return words(self.entry.name, given, options)
        return [*words(self.entry.name, [], options), "--", *given]

    def held(self, job: Job | None, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the values of the fields: those of a job of this study, or else of the address."""
        if job is None or job.words[0] != self.entry.name:
            return {name: query[name] for name in self.fields if name in query}
        told = job.meant[1:]
        cut = told.index("--") if "--" in told else len(told)
        said: dict[str, list[str]] = {self.first: told[cut + 1 :]}
        for word in told[:cut]:
            name, equals, value = word.partition("=")
            if equals and name in self.fields:
                said.setdefault(name, []).append(value)
            elif not (equals and name in HIDDEN) and not self._is_sent(word):
                said.setdefault(self.first, []).append(word)
        return {
            name: texts
            if self._is_typed(self.fields[name])
            else "\n".join(map(upload_names.typed_in, texts) if name in self.texts else texts)
            for name, texts in said.items()
        }

    def same_as(self, form: Posted) -> Markup:
        """Return the form as a command line and as Python code; empty where it is incomplete."""
        try:
            given, options = self.read(form)
        except UserError:  # somebody is still typing; Start says what is wrong
            return Markup()
        if not given and not options:
            return same_thing(self.entry.examples[0], self.python(["..."], {}))
        return same_thing(command(words(self.entry.name, given, options)), self.python(given, options))

    def python(self, given: Sequence[str], options: Mapping[str, Any]) -> str:
        name, kind = self.entry.name, self.entry.kind
        said = [repr(one) for one in given] + [f"{key}={one!r}" for key, one in options.items()]
        return f"from souron.actions.{name} import {kind}\n{kind}().result({', '.join(said)})"


def _pasted(text: str, name: str, keep: bool) -> Iterator[str]:
    """Yield the file of a text that was pasted. Raises UserError."""
    if text.strip():
        yield str(upload_names.typed(text, name)) if keep else f"{name}.txt"


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


PANEL = Panel("study", tools, outcome)
PARTS = {"tool": tool, "start": start, "same": same, **PANEL.parts()}
