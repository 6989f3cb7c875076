"""Use a system: any run or published weights, on one's own files."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from souron import registry
from souron.blocks.fusing import fused
from souron.evaluation import familiarity
from souron.evaluation.conversation import LENGTH, Conversation, Reply, Voice
from souron.evaluation.familiarity import Check, Gauge
from souron.hub import names, zoo
from souron.kinds import signature
from souron.kinds.before_after import BeforeAfter
from souron.kinds.chat import Chat, Turn
from souron.kinds.codecs import provenance
from souron.kinds.finding import Finding
from souron.kinds.kind import Kind
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.page import Page
from souron.kinds.picture import Picture
from souron.kinds.score import Score
from souron.kinds.text import Text
from souron.runs import folder as run_folder
from souron.runs import loading
from souron.runs.record import DrawnRecord, RunRecord
from souron.stats.records import Measure
from souron.training.trainer import autocast
from souron.utils.files import find_files, free
from souron.utils.messages import UserError, _

NAMED = 40  # letters of a text that its answer is named by
ENDING = re.compile(r"\.\w{1,5}$", re.ASCII)  # of a file's name


def load(name: str | Path, pretrained: bool | str = False, context: int | None = None) -> "Model":
    """A run's folder, or a system's name: as it comes ready trained, else without having learnt;
    ``pretrained`` brings its published weights, of CLIP also those of a file or a folder; at a
    published size CLIP has them anyway. Or a published language model: ``smollm2``, a
    .gguf file, a folder as models are published in; it sees so many tokens of ``context``. Or
    Stable Diffusion 1.5, a folder or a .safetensors file, see ``diffusion_weights``. Warns where a
    file is not the one that the run ended with. Raises UserError.

    Example:

        >>> model = load("mlp")
        >>> model.learnt_from, model.asked.given.__name__, model.asked.gives.__name__
        ('fashion', 'Picture', 'Labels')
    """
    meaning = names.resolve(name)
    system = loading.load(meaning, pretrained, context)
    learnt = isinstance(meaning, names.Run) and not (
        pretrained and isinstance(meaning, names.Ready)
    )
    folder = meaning.folder if isinstance(meaning, names.Run) and learnt else None
    return Model(str(name), system, folder)


@dataclass
class Model:
    """A system to hold in one's hand: ``model("cat.jpg").top5``, ``model.train(data=...)``."""

    name: str
    system: Any = field(default=None, repr=False)  # None: nothing learnt yet
    folder: Path | None = None
    spoken: Voice | None = field(default=None, repr=False)  # see ``voice``
    checked: Check | None = field(default=None, repr=False)  # see ``check``

    def __call__(self, *given: str | Path | Kind, **options: Any) -> Any:
        """What it says of each file, or of what is in memory: a ``Labels`` of a classifier for one,
        a list for several files or frames. ``options`` are those of the system. Raises
        UserError."""
        answers = []
        for each in given:
            if isinstance(each, Kind):
                told = signature.read_options(self.asked.options, options, "souron predict --help")
                answers.append(self.answer(each, **told))
                continue
            for _file, answer in predict(self, [each], **options):
                if isinstance(answer, UserError):
                    raise answer
                answers.append(answer)
        return answers[0] if len(answers) == 1 else answers

    @property
    def learnt_from(self) -> str:
        """The data that it was trained on, by name: ``fashion``, ``ImageNet-1k``; "" where that is
        not known."""
        if self.folder is not None:
            receipt = zoo.receipt(self.folder).get("data")
            named = receipt.get("name") if isinstance(receipt, dict) else ""
            return str(named or run_folder.read_args(self.folder)["data"])
        return registry.load_task(self.system.task).published_from if self.system else ""

    @property
    def asked(self) -> signature.Signature:
        """What it takes and gives. Raises UserError where it cannot answer."""
        if self.system is None:
            raise run_folder.not_trained(self.name)
        asked = signature.signature(type(self.system))
        if asked is None:
            raise UserError(
                "task",
                _("{name} answers nothing: it looks at no single case").format(name=self.name),
                expected=_("a run of a system that does, such as a classifier's"),
                fix="souron list",
            )
        return asked

    @property
    def reading(self) -> dict[str, Any]:
        """How files are read for it: what the kind's ``read`` takes."""
        window = run_folder.read_args(self.folder).get("window") if self.folder else None
        return self.system.reading() | ({"window": window} if window else {})

    @torch.no_grad()
    def answer(self, given: Kind, **options: Any) -> Kind:
        """What it says of one thing. Raises UserError for another kind than it takes."""
        takes = self.asked.given
        if not isinstance(given, takes):
            raise UserError(
                "kind",
                _("{name} was given a {kind}").format(
                    name=self.name, kind=type(given).__name__.lower()
                ),
                expected=takes.__name__.lower(),
            )
        said = self._said(self.system.eval(), given, options)
        if isinstance(said, Score | BeforeAfter):
            of = {"given": Path(given.file)} if given.file else {}
            return replace(said, mark=self._mark(of | options))
        return said

    def _said(self, system: Any, given: Kind, options: Mapping[str, Any]) -> Kind:
        """The answer, with how far the case lies from those of training."""
        check = self.check
        if check is None:
            said: Kind = system.predict(given, **options)
            return said
        with check.listening() as heard:
            said = system.predict(given, **options)
        [familiar] = check.judge(heard)
        return said.judged(familiar) if isinstance(said, Finding) else said

    @property
    def check(self) -> Check | None:
        """The check that an answer is about a case like those of training; None where the run
        keeps no such check. Raises UserError where its file is damaged."""
        if self.folder is None or self.system is None:
            return None
        if self.checked is None or self.checked.network is not self.system:
            file = self.folder / familiarity.FILE
            if not file.is_file():
                return None
            self.checked = Check(Gauge.read(file), self.system)
        return self.checked

    def _mark(self, options: Mapping[str, Any]) -> provenance.Mark | None:
        """Of what it makes of those options; None where nothing was learnt that makes it."""
        if not self.system.needs_fit:
            return None
        seed = int(options.get("seed", 0))
        asked = {
            name: Path(value.file) if isinstance(value, Kind) else value
            for name, value in options.items()
        }
        if self.folder is None:
            return provenance.of_published(self.name, seed, asked)
        return provenance.mark(self.folder, run_folder.read_args(self.folder), seed, asked)

    def for_many(self) -> "Model":
        """The same for many answers in a row, as of a video's frames: normalisations are taken into
        the convolutions, and the machine's fast numbers are used, so that the last digits differ.
        """
        system, asked = self.system.eval(), self.asked.given
        spec = system.spec
        if asked is not Picture or not hasattr(spec, "side"):
            return self
        blank = Picture.of(torch.zeros(spec.channels, spec.side, spec.side, dtype=torch.uint8))
        quick = fused(system, lambda copy: copy.predict(blank))
        if system.channels_last:
            quick = quick.to(memory_format=torch.channels_last)
        return _Many(self.name, quick, self.folder)

    @property
    def voice(self) -> Voice:
        """It as a conversation needs it. Raises UserError where it is no language model."""
        if self.spoken is None or self.spoken.reader is not self.system:
            if self.asked and not registry.talks(self.system.task):
                raise UserError(
                    "task",
                    _("{name} is no language model").format(name=self.name),
                    expected=_("smollm2, a .gguf file, or a run of a system that completes texts"),
                    fix="souron chat smollm2",
                )
            self.spoken = Voice(self.system.eval())
        return self.spoken

    def reply(
        self,
        chat: Chat | str,
        length: int = LENGTH,
        temperature: float | None = None,
        top: float | None = None,
        seed: int = 0,
    ) -> Reply:
        """Answer the last question with a language model, with its figures. Where no
        temperature is given, the model's own is taken, or 0.8. Raises UserError."""
        turns = (Turn("user", chat),) if isinstance(chat, str) else chat.turns
        answer = self.voice.answer(turns, length, self.voice.sampling(temperature, top, seed))
        for _part in answer:
            pass
        return answer.reply

    def chat(
        self,
        system: str = "",
        length: int = LENGTH,
        temperature: float | None = None,
        top: float | None = None,
        seed: int = 0,
    ) -> Conversation:
        """A conversation that goes on: ``model.chat().say("Good morning")``. Raises UserError."""
        talk = Conversation(self.voice, None, length, self.voice.sampling(temperature, top, seed))
        talk.system(system)
        return talk

    def train(self, data: str | Path | None = None, **options: Any) -> RunRecord:
        """``train.train`` of this system; the model is the trained one afterwards."""
        from souron.runs import train as run_train

        record = run_train.train(self.name, data, **options)
        self.system, self.folder = record.model, record.folder
        return record

    def val(self, data: str | Path | None = None) -> dict[str, Measure]:
        """``evaluate.evaluate`` of this run. Raises UserError before it was trained."""
        from souron.runs import evaluate as run_evaluate

        return run_evaluate.evaluate(self._trained(), data)

    def generate(self, n: int = 64, seed: int = 0, **options: Any) -> DrawnRecord:
        """``generate.generate`` of this run. Raises UserError before it was trained."""
        from souron.runs import generate as run_generate

        return run_generate.generate(self._trained(), n, seed, **options)

    def _trained(self) -> Path:
        if self.folder is None and self.system is None:
            raise run_folder.not_trained(self.name)
        if self.folder is None:
            raise UserError(
                "not trained",
                _("{name} was not trained here, and has no folder of a run").format(name=self.name),
                expected=_("a run's folder"),
            )
        return self.folder

    fit, evaluate = train, val


class _Many(Model):
    """Its system answers only, so that nothing is set before each picture."""

    @torch.no_grad()
    def answer(self, given: Kind, **options: Any) -> Kind:
        with autocast(self.system.device)():
            return self._said(self.system, given, options)


def predict(
    model: Model, files: Sequence[str | Path], **options: Any
) -> Iterator[tuple[Path, Kind | UserError]]:
    """What ``model`` says of each file; an unreadable one gets its UserError and stops nothing.
    Each frame of a DICOM file with several gets an answer of its own, ``scan.dcm#3``. Without a
    file, a system that begins with an empty sheet is asked once, about ``new``.

    >>> model = load("mlp")
    >>> for file, answer in predict(model, zoo.examples(model.folder)[:2]):
    ...     print(file.name, "is called", answer.best[0])
    ankle-boot.png is called ankle boot
    bag.png is called bag
    """
    asked = model.asked
    known = asked.options | asked.reading
    told = signature.read_options(known, options, "souron predict --help")
    own = {name: told.pop(name) for name in [*told] if name in asked.reading}
    reading = model.reading | own
    if not files and asked.given.blank:
        try:
            yield Path("new"), model.answer(asked.given(), **told)
        except UserError as trouble:
            yield Path("new"), trouble
    for name in files:
        if asked.given is Text and is_typed(str(name)):
            typed = Path(re.sub(r"[\s/\\]+", " ", str(name))[:NAMED].strip())
            try:
                yield typed, model.answer(Text(str(name)), **told)
            except UserError as trouble:
                yield typed, trouble
            continue
        for path in find_files([name], asked.given.folders):
            try:
                for given in asked.given.each(path, **reading):
                    yield Path(given.file), model.answer(given, **told)
            except UserError as trouble:
                yield path, trouble


def is_typed(word: str) -> bool:
    """Whether a word of the command line is a text itself, and no file: it has several words, or
    letters beyond ASCII, no file has its name, and it does not end as files do."""
    several = " " in word.strip()
    if word.lower().endswith(Text.formats) or (word.isascii() and not several):
        return False
    if ENDING.search(word) and not several:
        return False
    try:
        return not Path(word).exists() and not any(find_files([word]) if "*" in word else ())
    except (OSError, ValueError):  # longer than a name may be
        return True


def keep(
    answer: Kind, file: Path, folder: Path, suffix: str = "", by: "Model | None" = None
) -> Path:
    """Save an answer under the name of the file that was asked about, in its kind's own form or in
    that of another ``suffix``; nothing is overwritten. A page carries the mark of the run that
    wrote it, ``by``."""
    name = Path(file.name.removesuffix(".gz")).stem  # of ct.nii.gz, too
    stem = re.sub(r"[^\w.#\-]+", "-", name).strip("-.") or "answer"
    path = free(folder, stem, suffix or answer.suffix)
    answer.save(path)
    if isinstance(answer, LabelledVolume):
        from souron.report import labelled

        labelled.write_beside(answer, path)
    if isinstance(answer, Score):
        answer.write_beside(path)
    if isinstance(answer, Page) and by is not None and by.folder is not None:
        args = run_folder.read_args(by.folder)
        provenance.add(path, provenance.mark(by.folder, args, 0, {"prompt": answer.request}))
    return path
