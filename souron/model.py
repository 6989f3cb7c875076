"""The Python interface to one system: load a run or published weights and apply it to files."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from souron import registry
from souron.blocks.fusing import fused
from souron.data import load as load_data
from souron.evaluation import familiarity, photographs
from souron.evaluation.familiarity import Check, Gauge
from souron.evaluation.language.conversation import LENGTH, Conversation, Reply, Voice
from souron.evaluation.photographs import OutlierDetector
from souron.evaluation.record import DrawnRecord, RunRecord
from souron.hub import names, zoo
from souron.inference.engine import Engine, Plan
from souron.inference.modes import EAGER, chosen_mode
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
from souron.stats.records import Measure
from souron.training.trainer import autocast
from souron.utils.files import find_files, free
from souron.utils.messages import UserError, _

NAMED = 40  # characters of a text that name its answer
ENDING = re.compile(r"\.\w{1,5}$", re.ASCII)  # suffix of a file name


def load(
    name: str | Path | names.Meaning,
    pretrained: bool | str = False,
    context: int | None = None,
    engine: str | None = None,
) -> "Model":
    """Load a system by the folder of a run or by its name.

    A name gives the ready-trained system where there is one, else an untrained one. ``pretrained``
    loads the published weights (for CLIP also those of a given file or folder); CLIP at a published
    size always has them. ``name`` may also be a published language model (``smollm2``, a .gguf file
    or a folder in the published layout), read with a context of ``context`` tokens (``engine`` of
    "llama" runs a .gguf file with llama.cpp), or Stable
    Diffusion 1.5 as a folder or .safetensors file (see ``diffusion_weights``), or what
    ``names.resolve`` returned. Warns where a weights file is not the one that the run ended with.
    Raises UserError.

    Example:

        >>> model = load("mlp")
        >>> model.learnt_from, model.asked.given.__name__, model.asked.gives.__name__
        ('fashion', 'Picture', 'Labels')
    """
    meaning = name if isinstance(name, names.Meaning) else names.resolve(name)
    system = loading.load(meaning, pretrained, context, engine)
    published = bool(pretrained) and isinstance(meaning, names.Ready)
    folder = meaning.folder if isinstance(meaning, names.Run) and not published else None
    return Model(meaning.name, system, folder)


@dataclass
class Model:
    """A system with the folder it was loaded from: ``model("cat.jpg").top5``,
    ``model.train(data=...)``.
    """

    name: str
    system: Any = field(default=None, repr=False)  # None: not trained yet
    folder: Path | None = None
    spoken: Voice | None = field(default=None, repr=False)  # see ``voice``
    checked: Check | None = field(default=None, repr=False)  # see ``check``
    engine: Engine | None = field(default=None, repr=False)  # see ``hasten``

    def __call__(self, *given: str | Path | Kind, **options: Any) -> Any:
        """Predict for files or for objects in memory.

        Returns one answer (of a classifier, ``Labels``) for one input, else a list, with one entry
        per file or frame. ``options`` are those of the system. Raises UserError.
        """
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
        """The name of the training data, e.g. ``fashion`` or ``ImageNet-1k``; "" where it is
        unknown.
        """
        if self.folder is not None:
            receipt = zoo.receipt(self.folder).get("data")
            named = receipt.get("name") if isinstance(receipt, dict) else ""
            return str(named or run_folder.read_args(self.folder)["data"])
        if self.system is None:
            return ""
        return str(registry.load_task(self.system.task).published_data(self.name))

    @cached_property
    def japanese(self) -> Mapping[str, str]:
        """The Japanese names of the labels; {} where it has not learnt from a data set of souron's."""
        data = "" if self.folder is None else str(run_folder.read_args(self.folder)["data"])
        entry = load_data.names().get(data)
        return entry.labels_ja if entry else {}

    @property
    def asked(self) -> signature.Signature:
        """The input kind, output kind and options of the system. Raises UserError where it predicts
        nothing.
        """
        if self.system is None:
            raise run_folder.not_trained(self.name)
        asked = signature.signature(type(self.system))
        if asked is None:
            raise UserError(
                "task",
                _("{name} answers nothing: it makes no predictions for single cases").format(name=self.name),
                expected=_("a run of a system that does, such as a classifier's"),
                fix="souron list",
            )
        return asked

    @property
    def reading(self) -> dict[str, Any]:
        """Keyword arguments for the ``read`` method of the input kind."""
        window = run_folder.read_args(self.folder).get("window") if self.folder else None
        return self.system.reading() | ({"window": window} if window else {})

    @torch.no_grad()
    def answer(self, given: Kind, **options: Any) -> Kind:
        """Return the prediction for one input. Raises UserError where ``given`` is of the wrong
        kind.
        """
        takes = self.asked.given
        if not isinstance(given, takes):
            raise UserError(
                "kind",
                _("{name} was given a {kind}").format(name=self.name, kind=type(given).__name__.lower()),
                expected=takes.__name__.lower(),
            )
        said = self._said(self.system.eval(), given, options).named(self.japanese)
        if isinstance(said, Score | BeforeAfter):
            of = {"given": Path(given.file)} if given.file else {}
            return replace(said, mark=self._mark(of | options))
        return said

    def _said(self, system: Any, given: Kind, options: Mapping[str, Any]) -> Kind:
        """Predict, and attach how familiar the case is compared with the training data."""
        check = self.check
        answering = self.engine.answering() if self.engine is not None else nullcontext()
        if check is None:
            with answering:
                said: Kind = system.predict(given, **options)
            if isinstance(said, Finding) and isinstance(given, Picture) and self.outlier_detector is not None:
                said.judged(self.outlier_detector.judge(given))
            return said
        with check.listening() as heard, answering:
            said = system.predict(given, **options)
        [familiar] = check.judge(heard)
        if isinstance(given, Picture) and given.uniform:
            familiar = replace(familiar, blank=True)
        elif familiar.unlike and isinstance(given, Picture) and given.size[0] != given.size[1]:
            with check.listening() as heard:  # its bars, which no image of training had, may be what is unlike
                system.predict(given.central_square(), **options)
            familiar = min(familiar, *check.judge(heard), key=lambda one: one.score)
        return said.judged(familiar) if isinstance(said, Finding) else said

    def hasten(
        self,
        mode: str | None = None,
        inputs: int | None = None,
        wait: bool = False,
        notice: Callable[[str], None] = lambda text: None,
    ) -> "Model":
        """Let an engine give the answers from the second one on, where it agrees; return this model.

        ``mode`` is "auto", "off", "f32", "bf16" or "int8". ``inputs`` is the number of answers that
        are expected, None where it is unknown; nothing is built for few. ``wait``: answers wait for
        the build, which is otherwise made in the background. ``notice`` is called with a line when
        the engine starts, or why it does not. Raises UserError for another mode.
        """
        if self.engine is not None:
            self.engine.close()
        mode, check = chosen_mode(mode), None
        if self.system is None:
            return self
        with suppress(UserError):  # the first answer says what is wrong with it
            check = self.check
        self.engine = Engine(
            self.source,
            self.system,
            mode=mode,
            folder=self.folder,
            sensor=check.sensor if check else None,
            layers=[*check.gauge.layers] if check else (),
            plan=Plan(inputs, wait),
            notice=notice,
        )
        return self

    @property
    def answered_by(self) -> str:
        """Name what gave this thread's latest answer: "eager" (PyTorch) or, for example, "openvino bf16"."""
        return EAGER if self.engine is None else self.engine.name

    @property
    def source(self) -> Any:
        """The system whose weights answer; a model for many has a fused copy of it."""
        return self.system

    @property
    def check(self) -> Check | None:
        """The familiarity check of the run, which compares a case with the training data.

        None where the run has none. Raises UserError where its file is damaged.
        """
        if self.folder is None or self.system is None:
            return None
        if self.checked is None or self.checked.network is not self.system:
            file = self.folder / familiarity.FILE
            if not file.is_file():
                return None
            self.checked = Check(Gauge.read(file), self.system)
        return self.checked

    @property
    def outlier_detector(self) -> OutlierDetector | None:
        """The check of a system with published weights that was trained on photographs; None for others."""
        return (
            None if self.folder is not None or self.system is None else photographs.detector_for(self.system, self.name)
        )

    def _mark(self, options: Mapping[str, Any]) -> provenance.Mark | None:
        """Return the provenance mark of an output made with ``options``; None for an untrained
        system.
        """
        if not self.system.needs_fit:
            return None
        seed = int(options.get("seed", 0))
        asked = {name: Path(value.file) if isinstance(value, Kind) else value for name, value in options.items()}
        if self.folder is None:
            return provenance.of_published(self.name, seed, asked)
        return provenance.mark(self.folder, run_folder.read_args(self.folder), seed, asked)

    def for_many(self) -> "Model":
        """Return a faster model for many predictions in a row, e.g. for the frames of a video.

        For image systems, batch normalisation is fused into the convolutions and lower precision is
        used where the hardware has it, so the last digits of the results may differ. Other systems
        are returned unchanged.
        """
        system, asked = self.system.eval(), self.asked.given
        spec = system.spec
        if asked is not Picture or not hasattr(spec, "side"):
            return self
        blank = Picture.of(torch.zeros(spec.channels, spec.side, spec.side, dtype=torch.uint8))
        quick = fused(system, lambda copy: copy.predict(blank))
        if system.channels_last:
            quick = quick.to(memory_format=torch.channels_last)
        return _Many(self.name, quick, self.folder, original=system)

    @property
    def voice(self) -> Voice:
        """The model prepared for conversation. Raises UserError where it is no language model."""
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
        """Answer the last question with a language model; return the reply with its statistics.

        ``temperature`` defaults to the model's own, or 0.8. Raises UserError.
        """
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
        """Start a conversation with memory: ``model.chat().say("Good morning")``.

        Raises UserError.
        """
        talk = Conversation(self.voice, None, length, self.voice.sampling(temperature, top, seed))
        talk.system(system)
        return talk

    def train(self, data: str | Path | None = None, **options: Any) -> RunRecord:
        """Train this system with ``souron.train`` and keep the trained network.

        Returns the record of the run.
        """
        from souron.runs import train as run_train

        record = run_train.train(self.name, data, **options)
        self.system, self.folder, self.engine = record.model, record.folder, None
        vars(self).pop("japanese", None)
        return record

    def val(self, data: str | Path | None = None) -> dict[str, Measure]:
        """Evaluate this run, or a system with its published weights, with ``souron.evaluate``.

        Raises UserError where it is untrained.
        """
        from souron.runs import evaluate as run_evaluate

        if self.folder is None and isinstance(names.known(self.name), names.System):
            return run_evaluate.evaluate(self.name, data)
        return run_evaluate.evaluate(self._trained(), data)

    def generate(self, n: int = 64, seed: int = 0, **options: Any) -> DrawnRecord:
        """Generate samples with ``souron.generate``. Raises UserError where it is untrained."""
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


@dataclass
class _Many(Model):
    """A model for prediction only: its network stays in evaluation mode."""

    original: Any = field(default=None, repr=False)  # the system before it was fused

    @property
    def source(self) -> Any:
        return self.original

    @torch.no_grad()
    def answer(self, given: Kind, **options: Any) -> Kind:
        with autocast(self.system.device)():
            return self._said(self.system, given, options)


def predict(model: Model, files: Sequence[str | Path], **options: Any) -> Iterator[tuple[Path, Kind | UserError]]:
    """Yield the prediction of ``model`` for each file, or a UserError where a file cannot be read.

    An unreadable file does not stop the others. Each frame of a multi-frame DICOM file gets an
    answer of its own, named ``scan.dcm#3``. Without files, a system whose input may be blank is run
    once, under the name ``new``.

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
    """Return whether a word of the command line is a text rather than a file name.

    It is a text if it contains spaces or non-ASCII characters, no file of that name exists, and it
    does not end in a file suffix.
    """
    several = " " in word.strip()
    if word.lower().endswith(Text.formats) or (word.isascii() and not several):
        return False
    if ENDING.search(word) and not several:
        return False
    try:
        return not Path(word).exists() and not any(find_files([word]) if "*" in word else ())
    except (OSError, ValueError):  # too long for a file name
        return True


def keep(answer: Kind, file: Path, folder: Path, suffix: str = "", by: "Model | None" = None) -> Path:
    """Save an answer under the name of its input file and return the new path.

    The format is that of the answer's kind, or the one of ``suffix``. Existing files are not
    overwritten. A page carries the provenance mark of the run ``by`` that wrote it.
    """
    name = Path(file.name.removesuffix(".gz")).stem  # ct.nii.gz -> ct
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
