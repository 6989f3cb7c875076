"""Form of the chosen system, built from the signature of its ``predict`` or ``drawing``.

A new system needs no code here (``signature``).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import FileResponse
from markupsafe import Markup

from souron import registry
from souron.data import display_names, load
from souron.hub import fetch, names, weights, zoo
from souron.kinds import signature
from souron.kinds.boxes import Boxes
from souron.kinds.codecs import image, moving
from souron.kinds.gallery import Gallery
from souron.kinds.kind import Kind, in_both
from souron.kinds.picture import Picture
from souron.runs import folder as run_folder
from souron.studio import answers, kept_answers, tables
from souron.studio.answers import Answer, told
from souron.studio.forms import controls, plain_options, samples, widgets
from souron.studio.forms.generate_form import NAME, Drawing, named_in, spelt
from souron.studio.kept_answers import Kept
from souron.studio.model_cache import models
from souron.studio.runs import run_list
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio, command, here, remarks, same_thing, words
from souron.tasks.classify import Classifier
from souron.utils.files import new_folder
from souron.utils.messages import UserError, _

MOST_SECONDS = 60.0  # of a video that are processed; the command line has no limit
MOST_ANSWERS = 64  # on the page at once
MOST_NAMED = 3  # files in the equivalent command
MOST_BARS, BARS = 20, 5  # labels of a prediction
ANSWER, FOLDER, SAMPLE = "answer-id", "given-folder", "given-sample"  # names of fields
TOP, LOOK = "view-top", "view-look"


@dataclass(frozen=True)
class Source:
    """The system in use: a run, a system with published weights, or one that learns nothing."""

    name: str  # its name on the command line
    system: Any  # its class
    entry: registry.Entry
    folder: Path | None = None  # of a run or a ready-trained system
    args: Mapping[str, Any] = field(default_factory=dict)  # of a run

    @property
    def labels(self) -> list[str]:
        """The classes of a run."""
        return [str(label) for label in self.args.get("seen", {}).get("labels", ())]

    @property
    def japanese(self) -> Mapping[str, str]:
        """The Japanese names of the classes, where they are those of a data set of souron's."""
        known = load.names().get(str(self.args.get("data")))
        return known.labels_ja if known else {}

    @property
    def pretrained(self) -> bool:
        return self.folder is None and self.system.needs_fit


def find(project: Path, name: str) -> Source:
    """Resolve a name to its source. Raises UserError."""
    meaning = names.resolve(name)
    if isinstance(meaning, names.System | names.Ready):
        known = zoo.system_of(name)
        entry, size = registry.find(known)
        system = registry.load_system(known)[0]
        if isinstance(meaning, names.Ready):
            args = run_folder.read_args(meaning.folder)
            return Source(name, system, entry, meaning.folder, args)
        if system.needs_fit:
            source = entry.weights.get(size, "")
            if not source or fetch.where(source) is None:
                weights.weights(name, source)  # its error says how to get them
        return Source(name, system, entry)
    folder = run_list.find(project, name)
    args = run_folder.read_args(folder)
    wanted = str(args["system"])
    system, entry = registry.load_system(wanted)[0], registry.find(wanted)[0]
    return Source(str(folder), system, entry, folder, args)


def works(project: Path, name: str) -> bool:
    """Return whether a system predicts or generates."""
    try:
        system = find(project, name).system
    except UserError:
        return False
    return hasattr(system, "predict") or hasattr(system, "drawing")


def chosen(studio: Studio, name: str) -> Markup:
    """Return the form of a system and the place of what comes of it."""
    try:
        source = find(studio.project, name)
        asked = signature.signature(source.system)
    except UserError as error:
        return told(error)
    if hasattr(source.system, "drawing"):
        content = drawing(studio, source).html()
    elif asked is not None:
        content = Predicting(studio, source, asked).html()
    else:
        content = silent(studio)
    return about(studio, source) + content


def drawing(studio: Studio, source: Source) -> Drawing:
    labels = [(in_both(label, source.japanese), label) for label in source.labels]
    return Drawing(studio, source.name, source.system, labels)


def form_of(studio: Studio, form: Posted) -> "Drawing | Predicting":
    """Return the form of the system that a request names. Raises UserError."""
    source = find(studio.project, form[NAME])
    if hasattr(source.system, "drawing"):
        return drawing(studio, source)
    asked = signature.signature(source.system)
    if asked is None:
        found = _("{system} does not answer for such a file").format(system=source.name)
        raise UserError("system", found)
    return Predicting(studio, source, asked)


def about(studio: Studio, source: Source) -> Markup:
    """Return what the system is, its training data and its report."""
    query, learnt, report = {"system": source.name}, _("it learns nothing"), ""
    cautions: list[str] = []
    if source.pretrained:
        learnt = _("with its published weights")
        if told := registry.published_from(source.name):
            learnt += f" ({told})"
    elif source.folder is not None and zoo.holds(source.folder):
        learnt = _("ready trained") + ": " + zoo.about(source.name)
    elif source.folder is not None:
        query, learnt = (
            {"run": source.name},
            _("trained on {data}").format(data=display_names.called(str(source.args["data"]))),
        )
        report = studio.report(source.folder)
        made = run_list.read(source.folder)
        cautions = [*run_list.changed(made), *made.warnings]
    if source.folder is not None and not source.pretrained:
        cautions += zoo.weaknesses(source.folder)
    return Markup("<p><strong>{}</strong> – {} ({}) {}</p>{}{}").format(
        source.args.get("system", source.name),
        registry.about(source.entry),
        learnt,
        Markup('<a class="whole" href="{}">{}</a>').format(report, _("Read the report")) if report else "",
        remarks(cautions),
        here(studio.url("use", **query)),
    )


def silent(studio: Studio) -> Markup:
    """Return the note for a system that neither predicts nor generates."""
    return Markup('<p role="status">{}</p><p class="actions"><a href="{}">{}</a></p>').format(
        _(
            "It makes no predictions for single cases; what it found is in its report. To ask "
            "about something of your own, choose another run, such as a classifier's."
        ),
        studio.url("lecture"),
        _("All systems"),
    )


def film(studio: Studio, record: Any) -> Markup:
    """Return a processed video, with the objects that were tracked."""
    counts = Counter(track.label for track in record.tracks)
    address = studio.address(record.folder / "video.mp4")
    shown = Markup('<video controls src="{}"></video>').format(address) if address else ""
    text = _("{frames} frames; tracked: {tracks}").format(
        frames=record.frames, tracks=", ".join(f"{count} {label}" for label, count in counts.items()) or "–"
    )
    kept = _("tracks and motion: {folder}").format(folder=record.folder)
    said = Markup("").join(map(Markup("<p>{}</p>").format, filter(None, [text, record.broken, kept])))
    return Markup("{}{}{}").format(answers.film_doubt(record.unlike, record.frames), shown, said)


class Predicting:
    """The form of one system that answers, and its answers."""

    def __init__(self, studio: Studio, source: Source, asked: signature.Signature) -> None:
        self.studio, self.source, self.asked = studio, source, asked
        self.labels = asked.gives.widget == "labels"
        self.images = {name: one for name, one in asked.options.items() if one.kind is not None}

    def html(self) -> Markup:
        """Return the form beside the place of the answers, and the equivalent command."""
        fields = Markup("").join(
            [
                named_in(self.source.name),
                widgets.given(self.asked.given, self._text()),
                self._sample(),
                self._options(),
                controls.press(_("Predict"), first=True),
                Markup('<p role="status" class="faint htmx-indicator" id="computing">{}</p>').format(_("computing …")),
                self._folder(),
            ]
        )
        form = controls.form(
            self.studio,
            "use",
            "predict",
            fields,
            "#answer",
            hx_swap="outerHTML",
            hx_include="#answer",
            hx_indicator="#computing",
        )
        same = controls.follows(self.studio, "use", "same", "same", hx_include="#form, #answer")
        return controls.columns(form + same, self._ready() + self.answer())

    def _text(self) -> str:
        """Return the text that stands in the form at first."""
        folder = self.source.folder
        if self.asked.given.widget != "text" or folder is None or not zoo.holds(folder):
            return ""
        return "".join(file.read_text(encoding="utf-8").strip() for file in zoo.examples(folder)[:1])

    def sample(self) -> Path | None:
        """Return a file that is there before one is uploaded."""
        return samples.sample(self.asked.given, self.source.folder, self.source.args, self.studio.roots)

    def _sample(self) -> Markup:
        found = self.sample()
        if found is None:
            return Markup()
        tick = controls.tick(SAMPLE, f"{_('Try it with an example')}: {found.name}", True)
        return Markup('<div class="sample">{}{}</div>').format(self._thumbnail(found), tick)

    def _thumbnail(self, file: Path) -> Markup:
        if not issubclass(self.asked.given, Picture):
            return Markup()
        try:
            small = image.rounded(Picture.read(file).image).copy()
        except UserError:  # the answer says what is wrong with it
            return Markup()
        small.thumbnail((answers.THUMBNAIL, answers.THUMBNAIL))
        kind = "pixelated" if max(small.size) < answers.SMALL else ""
        return Markup('<img src="{}" alt="{}" class="{}">').format(image.data_uri(small), file.name, kind)

    def _options(self) -> Markup:
        folder = self.source.folder
        asked = zoo.asked(folder) if folder is not None and zoo.holds(folder) else {}
        files = Markup("").join(
            controls.labelled(
                plain_options.called(one), controls.files(name, one.kind.formats if one.kind else ()), _(one.help)
            )
            for name, one in self.images.items()
        )
        return plain_options.fields(self.asked.options, asked, whole=True) + files

    def _folder(self) -> Markup:
        field = controls.text(FOLDER, placeholder="photos/")
        about = _("or a pattern such as photos/*.png")
        each = controls.press(_("Predict each"), type="submit", name="given-way", value="folder")
        return controls.folded(_("a folder"), controls.labelled(_("a folder on this computer"), field, about) + each)

    def _ready(self) -> Markup:
        """Return the place of an error that loading the model ends with: it is loaded in advance."""
        address = f"{controls.part(self.studio, 'use', 'ready')}?{urlencode({NAME: self.source.name})}"
        return Markup('<div hx-get="{}" hx-trigger="load" hx-swap="innerHTML"></div>').format(address)

    def ready(self) -> Markup:
        with models.answering(self.source.name):
            return Markup()

    def answer(
        self, kept: Kept | None = None, before: str = "", content: str = "", form: Posted | None = None
    ) -> Markup:
        """Return the place of the answers, with those that are ``kept`` from now on, or other ``content``."""
        form = form or Posted()
        id = kept_answers.answers.add(kept, before) if kept is not None else ""
        one = kept.said if kept is not None else None
        switches = self._switches(form) + (widgets.switches(one) if one is not None else "")
        sends = {"hx_post": controls.part(self.studio, "use", "shown"), "hx_trigger": "input delay:150ms"}
        how = {"hx_target": "#cards", "hx_swap": "innerMorph", "hx_sync": "this:replace", "class": "form"}
        hidden = Markup('<input type="hidden"{}>').format(controls.attributes({"name": ANSWER, "value": id}))
        view = Markup("<form{}>{}{}{}</form>").format(
            controls.attributes({"id": "view", **sends, **how}), named_in(self.source.name), hidden, switches
        )
        if kept is not None:
            content = self.cards(kept, Posted({name: form.all(name) for name in (TOP, LOOK) if name in form}))
        return Markup('<div id="answer" class="result">{}<div id="cards">{}</div>{}</div>').format(
            view, content, self._files(id) if one is not None and not self.labels else ""
        )

    def _switches(self, form: Posted) -> Markup:
        """Return how many labels are shown, and whether with what was looked at."""
        if not self.labels:
            return Markup()
        most = max(2, min(MOST_BARS, len(self.source.labels) or MOST_BARS))
        top = int(min(most, max(1, widgets.number(form, TOP, BARS))))
        switches = widgets.slider(TOP, _("labels"), 1, most, top, _("this many of the likeliest"))
        if issubclass(self.source.system, Classifier):
            about = _("where evidence was found, not whether it was the right evidence")
            switches += controls.tick(LOOK, _("show what it looked at"), LOOK in form, about)
        return switches

    def _files(self, id: str) -> Markup:
        address = f"{controls.part(self.studio, 'use', 'files')}?{urlencode({NAME: self.source.name, ANSWER: id})}"
        return Markup('<div hx-get="{}" hx-trigger="load" hx-swap="innerHTML"></div>').format(address)

    def cards(self, kept: Kept, form: Posted) -> Markup:
        """Return the answers as a reader chose to see them. Raises UserError."""
        look = LOOK in form
        if look and not all(each.looked for each in kept.answers):
            with models.answering(self.source.name) as model:
                kept.answers = [
                    each if each.looked else replace(each, looked=answers.looked(model, each)) for each in kept.answers
                ]
        shown = answers.cards(kept.answers, widgets.number(form, TOP, BARS), look, widgets.seen(form))
        if len(kept.answers) == kept.count:
            return shown
        text = _("These are the first {shown}. How to ask about all stands below.").format(shown=len(kept.answers))
        return shown + Markup("<p>{}</p>").format(text)

    def predict(self, form: Posted) -> Markup:
        """Return the answers for what a form gives: files, a folder, a text or the sample. Raises UserError."""
        before, folder = form[ANSWER], form[FOLDER].strip()
        files = [Path(path) for path in form.paths(widgets.FILES)]
        if form["given-way"] == "folder" or (folder and not files):
            roots, whole = self.studio.roots, self.asked.given.folders
            files = [roots.check(folder)] if whole else roots.files([folder])
        else:
            folder = ""
        text = "" if files else form[widgets.TEXT].replace("\r\n", "\n")
        if not files and not text.strip() and SAMPLE in form:
            files = list(filter(None, [self.sample()]))
        if len(files) == 1 and self._is_foreign_table(files[0]):
            return self.answer(content=tables.way(self.studio, files[0])[1], form=form)
        chosen = self.chosen(form)
        if len(files) == 1 and self.asked.gives is Boxes and moving.is_video(files[0]):
            return self.answer(content=self._watched(files[0], chosen), form=form)
        with models.answering(self.source.name) as model:
            found = list(islice(self._answered(model, files, text, before, chosen), MOST_ANSWERS))
        named = [folder] if folder else [file.name for file in files[:MOST_NAMED]]
        return self.answer(Kept(self.source.name, found, max(len(files), len(found)), named), before, form=form)

    def _answered(
        self, model: Any, files: Sequence[Path], text: str, before: str, chosen: Mapping[str, Any]
    ) -> Iterator[Answer]:
        """Yield the answers; without files that for a text, or for a blank input. Raises UserError."""
        kind = self.asked.given
        if files and not issubclass(kind, Gallery):
            yield from answers.answered(model, files, chosen)
            return
        if files:
            given: Kind = Gallery.of(files, **model.reading)
        else:
            kept = kept_answers.answers.get(before)
            known = kept.said if kept is not None and kept.system == self.source.name else None
            given = widgets.typed(kind, text, known)
        yield answers.beside(given, model.answer(given, **chosen), model.learnt_from)

    def _watched(self, video: Path, chosen: Mapping[str, Any]) -> Markup:
        """Return what comes of a video: its frames with boxes and tracks. Raises UserError."""
        from souron.actions import watch
        from souron.actions.watch.video import within

        folder = new_folder(self.studio.project / "watch", video.stem)
        with models.answering(self.source.name) as model:
            record = within(MOST_SECONDS, watch.of_model(model, video, folder, chosen))
        return film(self.studio, record)

    def _is_foreign_table(self, file: Path) -> bool:
        """Return whether a file is a table, and the system does not take tables."""
        return tables.is_table(file) and not file.name.lower().endswith(tuple(self.asked.given.formats))

    def chosen(self, form: Posted) -> dict[str, Any]:
        """Return the options of a form, as ``predict`` takes them. Raises UserError."""
        sent = {name: paths[0] for name in self.images if (paths := form.paths(name))}
        return plain_options.of_form(self.asked.options, form) | signature.read_options(self.images, sent)

    def same(self, form: Posted) -> Markup:
        """Return the equivalent of a form; empty where it is incomplete."""
        try:
            chosen = plain_options.of_form(self.asked.options, form)
        except UserError:  # somebody is still typing; the button says what is wrong
            return Markup()
        kept = kept_answers.answers.get(form[ANSWER])
        changed = {name: value for name, value in chosen.items() if value != self.asked.options[name].default}
        return self._same(changed, kept.named if kept is not None else ())

    def _same(self, changed: Mapping[str, Any], files: Sequence[str] = ()) -> Markup:
        """Return the equivalent command line, Python code and HTTP server."""
        name, published = self.source.name, {"pretrained": self.source.pretrained}
        kind = self.asked.given
        names = files or ["cat.jpg" if kind.widget == "picture" else f"file{kind.formats[0]}"]
        loaded = f"{name!r}, pretrained=True" if self.source.pretrained else repr(name)
        said = [*map(repr, names), *(f"{key}={value!r}" for key, value in changed.items())]
        return same_thing(
            command(words("predict", [name, *names], {**spelt(changed), **published})),
            f"import souron\nmodel = souron.load({loaded})\nprint(model({', '.join(said)}))",
            (_("for other programs, over HTTP"), command(words("serve", [name], published))),
        )


def predict(studio: Studio, form: Posted) -> Markup:
    """Return the answers for what a form gives. Raises UserError."""
    return _predicting(studio, form).predict(form)


def shown(studio: Studio, form: Posted) -> Markup:
    """Return the answers of a page anew, as its switches say. Raises UserError."""
    if not form[ANSWER]:
        return Markup()
    return _predicting(studio, form).cards(kept_answers.answers.find(form[ANSWER]), form)


def ready(studio: Studio, form: Posted) -> Markup:
    """Load the model in advance, for a fast first prediction. Raises UserError."""
    return _predicting(studio, form).ready()


def files(studio: Studio, form: Posted) -> Markup:
    """Return links to the files of an answer, written at the first call. Raises UserError."""
    kept = kept_answers.answers.find(form[ANSWER])
    links = Markup("").join(
        Markup('<a href="/show/{}/use/file?{}" download>{}</a>').format(
            studio.language, urlencode({"id": form[ANSWER], "number": number}), path.name
        )
        for number, path in enumerate(kept.saved())
    )
    return Markup('<p class="actions files">{} {}</p>').format(_("files"), links)


def file(studio: Studio, query: Mapping[str, str]) -> Any:
    """Return one of these files. Raises UserError."""
    saved = kept_answers.answers.find(query.get("id", "")).saved()
    number = query.get("number", "")
    if not number.isdecimal() or int(number) >= len(saved):
        raise UserError("missing", _("this answer is not kept any more"), fix=_("give it once more"))
    return FileResponse(saved[int(number)], filename=saved[int(number)].name)


def same(studio: Studio, form: Posted) -> Markup:
    """Return a form as a command line and as Python code. Raises UserError."""
    return form_of(studio, form).same(form)


def generate(studio: Studio, form: Posted) -> list[str]:
    """Return the words of the command that generates as a form says. Raises UserError."""
    return drawing(studio, find(studio.project, form[NAME])).command(form)


def _predicting(studio: Studio, form: Posted) -> Predicting:
    found = form_of(studio, form)
    assert isinstance(found, Predicting)
    return found
