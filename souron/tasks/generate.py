"""Image generation: noise in, images out."""

import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from souron.blocks.portable import Answer, Input, Portable
from souron.data.dataset import Dataset, Loader, Rows, check_classes
from souron.data.lazy_column import Sketch
from souron.data.splits import Parts, Split
from souron.evaluation import summary
from souron.evaluation.answers import stacked
from souron.evaluation.generators import generation
from souron.evaluation.generators.generation import GenerationResult, ReferenceSet
from souron.evaluation.generators.sampling import Counted, Film, Noise, Replayed, Sample
from souron.kinds.gallery import Gallery
from souron.kinds.signature import Choice
from souron.metrics.generation import over_trainings, table
from souron.metrics.metric import Metric
from souron.stats.records import Measure
from souron.system import System
from souron.task import Answers, Scores, Setup, Step, Task, Trainings
from souron.training.trainer import LOOKS, Trainer
from souron.utils.messages import N_, UserError, _

EXAMPLES = 32  # images of a batch without numbers; some systems train on parts of it
FEWEST_DRAWN_FROM = 20  # images; fewer cannot be split for comparison


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a generator needs before it is built."""

    channels: int
    side: int  # pixels
    labels: tuple[str, ...] = ("",)  # the classes' names
    shares: tuple[float, ...] = (1.0,)  # of each class among the training images


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in -1..1
    label: Tensor  # (B,)


class Generator(System):
    """An image generator: ``drawing`` makes images in -1..1 from noise.

    Samples, measures and interpolations follow from it. Where a system has a likelihood,
    ``likelihood`` says whether it is exact or a bound, and ``bits`` computes it.
    """

    task = "generate"
    default_data = "digits"
    prompted: ClassVar[bool] = False  # takes a prompt
    moves: ClassVar[bool] = False  # generates videos, each a strip of frames
    conditional: ClassVar[bool] = False  # generates an image of a requested class
    completes: ClassVar[bool] = False  # ``drawing`` takes ``given``, an image to complete
    likelihood: ClassVar[Literal["", "exact", "bound"]] = ""
    estimates: ClassVar[tuple[str, ...]] = ()  # modules needed by ``bits`` but not for generation
    SHOWN: ClassVar[dict[str, tuple[int, int, int]]] = {}  # size -> channels, side, labels of the
    # paper's images, for the table of a size's layers
    seen: Spec

    @abstractmethod
    def drawing(self, noise: Noise, label: Tensor) -> Iterator[Tensor]:
        """Yield images (B, C, H, W) in -1..1 on their way from ``noise``; the last are final.

        ``label`` (B,) is the requested class; systems that are not ``conditional`` ignore it.
        Options are keywords with a default, annotated with a ``signature.Choice``. All random
        numbers come from ``noise``.
        """

    def conditions(self, noise: Noise) -> Tensor:
        """Sample classes (B,) with the frequencies of the training images."""
        return noise.choose(torch.tensor(self.spec.shares).expand(len(noise), -1).to(noise.device))

    def draw(self, noise: Noise, label: Tensor | None = None, **options: Any) -> Tensor:
        """Generate images (B, C, H, W) in -1..1 of classes ``label`` (B,), else as in the data."""
        own = self.conditions(noise)  # asked for or not, so that the rest of the noise stays the same
        label = own if label is None else label.to(self.device)
        [images] = deque(self.drawing(noise, label, **options), maxlen=1)
        return images.clamp(-1, 1)

    def example(self) -> None:
        """Run one generation, for the table of layer shapes and operations."""
        label = torch.zeros(1, dtype=torch.long, device=self.device)
        deque(self.drawing(Noise(0, [0], self.device), label), maxlen=0)

    def portable(self) -> Portable:
        counter, label = Counted(), torch.zeros(1, dtype=torch.long)
        with torch.no_grad():
            deque(self.drawing(counter, label), maxlen=0)
        inputs = [Input("noise", (counter.taken,), torch.float32)]
        if self.conditional:
            inputs.append(Input("label", (), torch.int64, below=len(self.spec.labels)))

        def answer(noise: Tensor, *label: Tensor) -> tuple[Tensor]:
            classes = label[0] if label else torch.zeros_like(noise[:, 0], dtype=torch.long)
            [images] = deque(self.drawing(Replayed(noise), classes), maxlen=1)
            return ((images.float().clamp(-1, 1) + 1) / 2,)

        return Portable(
            Answer(self, answer),
            tuple(inputs),
            ("image",),
            "noise",
            "image",
            self.spec.labels if self.conditional else (),
            about={"numbers": counter.taken, "takes": len(inputs)},
        )

    def bits(self, batch: Batch) -> Tensor:
        """Return bits per dimension (B,): the bits of an image divided by its C * H * W values."""
        raise NotImplementedError(f"{type(self).__name__} does not know how likely a picture is")


@dataclass(frozen=True)
class Options:
    samples: Annotated[int | None, Choice(N_("images that a generator is evaluated on (default 500)"), low=3)] = None


class Generation(Task):
    """As many generated images as there are real test images."""

    title = N_("generation")
    takes = None
    gives = Gallery
    metrics = (
        Metric(N_("Fréchet distance"), higher_is_better=False, headline=True, kind="amount"),
        Metric(N_("kernel distance"), higher_is_better=False),
        Metric(N_("precision"), unit="share"),
        Metric(N_("recall"), unit="share", headline=True),
        Metric(N_("density"), kind="amount"),
        Metric(N_("coverage"), unit="share"),
        Metric(N_("distance of class shares"), higher_is_better=False, unit="share"),
        Metric(N_("certainty"), unit="share"),
        Metric(N_("share surely recognised"), unit="share"),
        Metric(N_("bits per dimension"), higher_is_better=False, headline=True, kind="amount"),
    )
    watches = "kernel distance"
    needs_training_data = True

    def check(self, data: Dataset, options: Options) -> None:
        check_classes(data)
        if len(data) < FEWEST_DRAWN_FROM:
            raise UserError(
                "few pictures",
                _("{count} images in {data}").format(count=len(data), data=data.name),
                expected=_("{count} or more, to learn what they have in common").format(count=FEWEST_DRAWN_FROM),
                fix=_("more images, or data=fashion"),
                exit=3,
            )

    def strata(self, data: Dataset) -> Tensor:
        return data.target

    def spec(self, train: Dataset) -> Spec:
        count = torch.bincount(train.target, minlength=len(train.classes)).double()
        shares = (count / count.sum()).tolist()
        return Spec(train.channels, train.side, tuple(train.classes), tuple(shares))

    def example(self, system: type[System], size: str) -> Spec:
        assert issubclass(system, Generator)
        channels, side, labels = system.SHOWN.get(size, summary.GENERATED)
        return Spec(channels, side, tuple(map(str, range(labels))), (1 / labels,) * labels)

    def example_rows(self, spec: Spec) -> Rows:
        image = torch.zeros(EXAMPLES, spec.channels, spec.side, spec.side, device="meta")
        return Rows(image, torch.zeros(EXAMPLES, dtype=torch.long, device="meta"))

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        """Scale images (B, C, H, W) from 0..255 to -1..1."""
        return Batch(rows.input.float() / 127.5 - 1, rows.target)

    def setup(self, data: Dataset, split: Split, options: Options) -> Iterator[Step]:
        count = options.samples or generation.SAMPLE
        if isinstance(data.input, Sketch):  # no reference: enough to estimate time
            yield Step(1.0, result=Setup(options, data.only(split.test[:count])))
            return
        for share, reference in generation.reference_set(data, split, count, options):
            yield Step(share, _("the feature extractor"), reference)

    def against(self, cases: Dataset, setup: ReferenceSet) -> ReferenceSet:
        none = cases.only([])
        count = setup.options.samples or generation.SAMPLE
        parts = Parts(none, none, cases)
        return ReferenceSet.of(setup.extractor, parts, count, setup.options)

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        """Return bits per dimension, if the system has a likelihood and the weights to estimate it.

        A system that was packed for generation only may lack those weights.
        """
        assert isinstance(system, Generator)
        if not system.likelihood or set(system.left_out) & set(system.estimates):
            return {}
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # bounds are Monte Carlo estimates: fixed seed
            bits = [system.bits(batch).float().cpu() for batch in data.once()]
        return {"bits per dimension": torch.cat(bits)}

    def watch(self, trainer: Trainer, setup: ReferenceSet, last: bool = False) -> dict[str, float]:
        """Add the kernel distance of a few images, while validation is within its time."""
        figures = super().watch(trainer, setup, last)
        if not last and trainer.look_seconds > generation.LOOKING * trainer.seconds:
            return figures
        start, learning = time.perf_counter(), trainer.system.training
        *_before, sample = Sample.growing(trainer.system, generation.AT_A_LOOK, seed=0)
        trainer.system.train(learning)
        figures["kernel distance"] = setup.kernel_distance(sample.image)
        trainer.look_seconds += time.perf_counter() - start
        return figures

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: ReferenceSet, seed: int = 0
    ) -> Iterator[Step]:
        count = len(setup.test)
        text = _("generating {n} images").format(n=count)
        for sample in Sample.growing(system, count, seed):
            yield Step(0.9 * len(sample.image) / count, text)
        answers = generation.answers_of(sample, setup)
        yield Step(1.0, text, answers | self.validate(system, system.loader(setup.test)))

    def scores(self, seeds: Sequence[Answers], setup: ReferenceSet) -> Scores:
        trainings = [setup.resemblance(answers) for answers in seeds]
        tables: Scores = {name: table(trainings, name) for name in trainings[0].measures}
        if "bits per dimension" in seeds[0]:
            tables["bits per dimension"] = stacked(seeds, "bits per dimension")
        return tables

    def measures(self, seeds: Sequence[Answers], setup: ReferenceSet, training: Any = None) -> dict[str, Measure]:
        trainings = [setup.resemblance(answers) for answers in seeds]
        units = setup.test.units
        results = dict(trainings[0].measures if len(seeds) == 1 else over_trainings(trainings, units))
        if "bits per dimension" in seeds[0]:
            bits = self.scores(seeds, setup)["bits per dimension"]
            results["bits per dimension"] = self.metric("bits per dimension").measure(bits, units)
        return results

    def result(self, trainings: Trainings, setup: ReferenceSet) -> GenerationResult:
        [answers] = trainings.answers
        image, seconds = answers["image"], answers["seconds"]
        assert isinstance(image, Tensor) and isinstance(seconds, Tensor)
        resemblance, measures = setup.resemblance(answers), self.measures([answers], setup)
        return GenerationResult(setup, resemblance, image, float(seconds[0]), measures)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: ReferenceSet) -> generation.Gallery:
        return generation.gallery(answers, setup)

    def called(self, metric: str, setup: ReferenceSet) -> str:
        """Return the metric's name with the number of images, on which a distance depends."""
        count = len(setup.test)
        return _("{name}, {n} pictures").format(name=super().called(metric, setup), n=f"{count:,}")

    def rehearse(self, system: System, setup: ReferenceSet) -> None:
        next(Sample.growing(system, len(setup.test), seed=0))

    def seconds(self, trainer: Trainer, setup: ReferenceSet, training: float) -> float:
        [few] = Sample.growing(trainer.system, 8, seed=0)
        looks = min(few.seconds * LOOKS * generation.AT_A_LOOK, generation.LOOKING * training)
        return looks + few.seconds * len(setup.test)

    def film(self, path: Path) -> Film:
        return Film(path)

    def next_command(self, run: str) -> str:
        return f"souron generate {run} n=64"
