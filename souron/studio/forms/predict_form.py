"""Form of the chosen system, built from the signature of its ``predict`` or ``drawing``.

A new system needs no code here (``signature``).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.data import display_names, load
from souron.hub import fetch, names, weights, zoo
from souron.kinds import signature
from souron.kinds.boxes import Boxes
from souron.kinds.codecs import moving
from souron.kinds.kind import in_both
from souron.kinds.picture import Picture
from souron.runs import folder as run_folder
from souron.studio import answers, tables
from souron.studio.answers import Answer, told
from souron.studio.forms import samples, widgets
from souron.studio.forms.generate_form import Drawing, awake, spelt
from souron.studio.jobs.job_view import Watch
from souron.studio.model_cache import models
from souron.studio.runs import run_list
from souron.studio.security import upload_names
from souron.studio.shared import DIRECT, QUIET, Studio, command, here, remarks, same_thing, words
from souron.tasks.classify import Classifier
from souron.utils.files import new_folder
from souron.utils.messages import UserError, _

MOST_SECONDS = 60.0  # of a video that are processed; the command line has no limit
MOST_ANSWERS = 64  # on the page at once
MOST_NAMED = 3  # files in the equivalent command
MOST_BARS, BARS = 20, 5  # labels of a prediction
IN_BROWSERS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")


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


def build(studio: Studio, name: str, watch: Watch, same: Any) -> None:
    """Build the form of a system.

    ``watch`` shows the job that generates; ``same`` shows the equivalent command line and Python.
    """
    import gradio as gr

    try:
        source = find(studio.project, name)
        asked = signature.signature(source.system)
    except UserError as error:
        gr.HTML(told(error))
        studio.blocks.load(lambda: "", None, same, **QUIET, **DIRECT)
        return
    gr.HTML(about(studio, source))
    if hasattr(source.system, "drawing"):
        labels = [(in_both(label, source.japanese), label) for label in source.labels]
        Drawing(studio, source.name, source.system, labels, watch, same)
    elif asked is not None:
        Predicting(studio, source, asked, same)
    else:
        gr.HTML(silent(studio))
        studio.blocks.load(lambda: "", None, same, **QUIET, **DIRECT)


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
    """Form for one input, several files or a folder, and the predictions."""

    def __init__(self, studio: Studio, source: Source, asked: signature.Signature, same: Any) -> None:
        import gradio as gr

        self.studio, self.source, self.asked, self.same = studio, source, asked, same
        self.labels = asked.gives.widget == "labels"
        with gr.Row():
            with gr.Column(scale=2, min_width=320, elem_classes="given"):
                self._build_question()
            with gr.Column(scale=3, min_width=320, elem_classes="result"):
                self._build_answer()
        self._connect()

    def _build_question(self) -> None:
        import gradio as gr

        kind = self.asked.given
        folder = self.source.folder
        asked = zoo.asked(folder) if folder is not None and zoo.holds(folder) else {}
        options = {
            name: replace(each, default=asked.get(name, each.default)) for name, each in self.asked.options.items()
        }
        own = {name: widgets.option(each) for name, each in options.items()}
        with gr.Tabs(selected="one") as self.tabs:
            with gr.Tab(widgets.called(kind), id="one"):
                self.form = widgets.Form(self.asked, widgets.given(kind), own)
                self.ask_one = gr.Button(_("Predict"), variant="primary", interactive=False)
            with gr.Tab(_("files"), id="files"):
                self.files = gr.File(label=", ".join(kind.formats), file_count="multiple")
                upload_names.received(self.files, upload_names.places)
                self.ask_files = gr.Button(_("Predict each"), variant="primary")
            with gr.Tab(_("a folder"), id="folder"):
                self.folder = gr.Textbox(
                    label=_("a folder on this computer"),
                    placeholder="photos/",
                    info=_("or a pattern such as photos/*.png"),
                )
                self.ask_folder = gr.Button(_("Predict each"), variant="primary")

    def _build_answer(self) -> None:
        import gradio as gr

        explained = self.labels and issubclass(self.source.system, Classifier)
        self.answers = gr.State([], time_to_live=widgets.KEPT)
        with gr.Row(visible=self.labels):
            with gr.Column(min_width=220):
                most = max(2, min(MOST_BARS, len(self.source.labels) or MOST_BARS))
                self.top = gr.Slider(
                    1, most, min(BARS, most), step=1, label=_("labels"), info=_("this many of the likeliest")
                )
            with gr.Column(min_width=220):
                self.look = gr.Checkbox(
                    label=_("show what it looked at"),
                    visible=explained,
                    info=_("where evidence was found, not whether it was the right evidence"),
                )
        self.cards = gr.HTML()
        self.view = None if self.labels else widgets.shown(self.asked.gives)

    def _connect(self) -> None:
        says = self.studio.says
        own = awake(list(self.form.options.values()))
        awake([self.form.given, self.files, self.folder, self.top, self.look])
        awake(self.view.parts if self.view else [])
        told, shown = [*own, self.top, self.look], [self.answers, self.top, self.look]
        before = self.view.kept if self.view else self.answers
        outputs = [self.answers, self.cards, self.same, *(self.view.outputs if self.view else [])]
        sampled = [self.ask_one, self.tabs, self.form.given, self.files]
        for handler, parts in (
            (lambda: self.the_same({}), self.same),
            (self.sampled, sampled),
            (self.loaded, self.cards),
        ):
            self.studio.blocks.load(says(handler), None, parts, **QUIET, **DIRECT)
        self.ask_one.click(says(self.one), [before, self.form.given, *told], outputs, **DIRECT)
        self.ask_files.click(says(self.several), [self.files, *told], outputs, **DIRECT)
        self.ask_folder.click(says(self.all_of), [self.folder, *told], outputs, **DIRECT)
        self.top.input(says(answers.cards), shown, self.cards, trigger_mode="always_last", **QUIET, **DIRECT)
        self.look.input(says(self.look_again), shown, [self.answers, self.cards], **DIRECT)
        self.studio.on_change(own, self.told_again, own, self.same, **DIRECT)

    def sampled(self) -> list[Any]:
        """Fill in a sample input, and enable the button."""
        import gradio as gr

        source, kind, armed = self.source, self.asked.given, gr.update(interactive=True)
        if kind.widget == "text" and source.folder is not None and zoo.holds(source.folder):
            texts = [file.read_text(encoding="utf-8").strip() for file in zoo.examples(source.folder)[:1]]
            return [armed, gr.skip(), *(texts or [gr.skip()]), gr.skip()]
        found = samples.sample(kind, source.folder, source.args, self.studio.roots)
        if found is None:
            return [armed, gr.skip(), gr.skip(), gr.skip()]
        if kind.widget == "picture" and found.suffix.lower() not in IN_BROWSERS:
            return [armed, gr.update(selected="files"), gr.skip(), [str(found)]]
        return [armed, gr.skip(), str(found), gr.skip()]

    def loaded(self) -> Any:
        """Load the model in advance, for a fast first prediction; return its error, if any."""
        import gradio as gr

        try:
            with models.answering(self.source.name):
                return gr.skip()
        except UserError as error:
            return told(error)

    def one(self, before: Any, value: Any, *values: Any) -> list[Any]:
        """Predict for the form's input; ``before`` is the prediction shown so far."""
        *own, top, look = values
        try:
            if Path(str(value)).suffix.lower() in moving.BY_AV and self.asked.gives is Boxes:
                return self.watched(Path(str(value)), own)
            with models.answering(self.source.name) as model:
                known = before if isinstance(before, self.asked.given) else None
                given, chosen = self.form.read([value, *own], known, **model.reading)
                said = model.answer(given, **chosen)
            if self.view:
                notice = answers.unchecked([Answer("", said)]) + answers.doubt(said, model.learnt_from)
                return [[], notice, self.the_same(self.changed(own)), *self.view.update(said)]
            found = answers.beside(given, said, model.learnt_from)
            if isinstance(given, Picture):  # only its path is known; it may be read again
                found = replace(found, file=str(value))
            return self.shown([found], own, top, look)
        except UserError as error:
            return self.refused(error, str(value))

    def several(self, files: Sequence[str] | None, *values: Any) -> list[Any]:
        """Predict for each uploaded file."""
        return self.each([Path(file) for file in files or []], "", *values)

    def all_of(self, text: str, *values: Any) -> list[Any]:
        """Predict for each file of a folder."""
        roots, whole = self.studio.roots, self.asked.given.folders
        try:
            found = [roots.check(text)] if whole else roots.files([text])
        except UserError as error:
            return self.refused(error)
        return self.each(found, text, *values)

    def each(self, files: list[Path], text: str, *values: Any) -> list[Any]:
        """Predict for each file; ``text`` is the folder as typed. A table leads to the page for it."""
        import gradio as gr

        *own, top, look = values
        try:
            if not files:
                raise UserError(
                    "nothing given", _("nothing was given yet"), expected=", ".join(self.asked.given.formats)
                )
            if len(files) == 1 and self.is_foreign_table(files[0]):
                return [[], tables.way(self.studio, files[0])[1], gr.skip(), *self._cleared()]
            if len(files) == 1 and self.asked.gives is Boxes and moving.is_video(files[0]):
                return self.watched(files[0], own)
            chosen = self.chosen(own)
            with models.answering(self.source.name) as model:
                found = list(islice(answers.answered(model, files, chosen), MOST_ANSWERS))
            return self.shown(found, own, top, look, text, len(files))
        except UserError as error:
            return self.refused(error)

    def watched(self, video: Path, own: Sequence[Any]) -> list[Any]:
        """Return every output for a video: its frames with boxes and tracks. Raises UserError."""
        from souron.studies import watch
        from souron.studies.watch.video import within

        folder = new_folder(self.studio.project / "watch", video.stem)
        with models.answering(self.source.name) as model:
            record = within(MOST_SECONDS, watch.of_model(model, video, folder, self.chosen(own)))
        same = self.the_same(self.changed(own), [video.name])
        return [[], film(self.studio, record), same, *self._cleared()]

    def is_foreign_table(self, file: Path) -> bool:
        """Return whether a file is a table, and the system does not take tables."""
        return tables.is_table(file) and not file.name.lower().endswith(tuple(self.asked.given.formats))

    def shown(
        self, found: list[Answer], own: Sequence[Any], top: float, look: bool, text: str = "", count: int = 1
    ) -> list[Any]:
        """Return every output for predictions on cards. Raises UserError."""
        found = self.looked_at(found) if look else found
        more = Markup("<p>{}</p>").format(
            _("These are the first {shown}. How to ask about all stands below.").format(shown=len(found))
        )
        cards = answers.cards(found, top, look) + (more if len(found) < count else "")
        named = [text] if text else [Path(each.file).name for each in found[:MOST_NAMED]]
        return [found, cards, self.the_same(self.changed(own), named), *self._cleared()]

    def refused(self, error: UserError, file: str = "") -> list[Any]:
        """Return every output where there is no prediction."""
        import gradio as gr

        return [[], told(error, file), gr.skip(), *self._cleared()]

    def _cleared(self) -> list[Any]:
        return self.view.update(None) if self.view else []

    def look_again(self, found: list[Answer], top: float, look: bool) -> list[Any]:
        """Show the same predictions with Grad-CAM heat maps."""
        found = self.looked_at(found) if look else found
        return [found, answers.cards(found, top, look)]

    def looked_at(self, found: list[Answer]) -> list[Answer]:
        if all(each.looked for each in found):
            return found
        with models.answering(self.source.name) as model:
            return [each if each.looked else replace(each, looked=answers.looked(model, each)) for each in found]

    def chosen(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return the values of the option widgets, as ``predict`` takes them. Raises UserError."""
        pairs = zip(self.asked.options.values(), values, strict=True)
        return {option.name: option.read(value) for option, value in pairs}

    def changed(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return the options that differ from their defaults. Raises UserError."""
        chosen = self.chosen(values)
        known = self.asked.options
        return {name: value for name, value in chosen.items() if value != known[name].default}

    def told_again(self, *values: Any) -> Markup:
        return self.the_same(self.changed(values))

    def the_same(self, changed: Mapping[str, Any], files: Sequence[str] = ()) -> Markup:
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
