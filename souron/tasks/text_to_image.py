"""Text to image: a sentence in, an image of its content out.

Hugging Face has it in diffusers. Whether an image shows the requested content is judged by a
network trained without generated images, see ``evaluation/obedience``.
"""

import time
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset, Rows
from souron.data.language.tokenizer import Tokenizer
from souron.data.splits import Split
from souron.data.targets.captions import Caption, words
from souron.evaluation.answers import dense, stacked
from souron.evaluation.generators import generation, prompt_adherence
from souron.evaluation.generators.generation import GenerationResult
from souron.evaluation.generators.prompt_adherence import OfPart, PromptedResult, PromptSet
from souron.evaluation.generators.sampling import Film, Noise, Sample, chunks, done, draw
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.metrics import match
from souron.metrics import text_to_image as metrics
from souron.metrics.metric import Metric
from souron.stats.records import Measure
from souron.system import System
from souron.task import Answers, Scores, Setup, Step, Task, Trainings
from souron.tasks import match as matching
from souron.training.trainer import Trainer
from souron.utils.messages import N_, UserError, _

PAD = matching.PAD
MOST_LETTERS = 1000  # characters of a prompt
EXAMPLES = 32  # captions used where no prompt is given
MOST_WORDS = 5000  # most frequent words of the training captions, kept with the run
DISTANCES = ("Fréchet distance", "kernel distance", "precision", "recall")


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a generator needs before it is built."""

    channels: int
    side: int  # pixels
    tokenizer: str = ""  # a ``Tokenizer``, packed
    vocabulary: int = 0  # number of tokens
    prompts: tuple[str, ...] = ("",)  # some of the training captions
    words: tuple[str, ...] = ()  # of the training captions, most frequent first


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in -1..1
    captions: list[tuple[Caption, ...]]  # one tuple per image


class PromptedGenerator(System):
    """A prompted image generator: ``drawing`` makes one image in -1..1 per prompt from noise."""

    task = "text_to_image"
    prompted: ClassVar[bool] = True  # takes a prompt
    moves: ClassVar[bool] = False  # generates videos, each a strip of frames
    sees: ClassVar[bool] = False  # conditioned on CLIP's embeddings of images, not of texts alone
    spec: Spec

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.unpacked(self.spec.tokenizer)

    @abstractmethod
    def drawing(
        self,
        noise: Noise,
        condition: Sequence[str],
        *,
        negative: Annotated[str, Choice(N_("what should not be in the image"))] = "",
        steps: Annotated[int, Choice(N_("how often the network is evaluated"), 1, 1000)] = 20,
        guidance: Annotated[
            float, Choice(N_("how closely to follow the prompt; 1 as trained (classes: 0)"), 1, 20)
        ] = 4.0,
    ) -> Iterator[Tensor]:
        """Yield images (B, C, H, W) in -1..1 on their way from ``noise``; the last are final.

        ``condition`` (B) are the prompts. Further options are keywords with a default, annotated
        with a ``signature.Choice``. Systems that can start from images take ``image`` (B, C, H, W)
        in -1..1 with ``strength`` 0..1, and ``mask`` (B, 1, H, W), 1 where the image is generated
        anew. All random numbers come from ``noise``.
        """

    def conditions(self, noise: Noise) -> list[str]:
        """Sample a prompt for each image from the training captions."""
        prompts = self.spec.prompts
        chance = torch.ones(len(noise), len(prompts), device=noise.device)
        return [prompts[index] for index in noise.choose(chance).tolist()]

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Tokenise texts: (B, T) int64, padded with ``PAD``, truncated if too long."""
        return matching.padded(self.tokenizer, texts).to(self.device)

    @classmethod
    def sized_for(cls, config: Any, other: System) -> Any:
        """Return the configuration with a text encoder of the size of a run of ``match``."""
        return replace(config, text=other.config.text) if hasattr(config, "text") else config

    def begin_with(self, other: System, folder: Path) -> None:
        """Load the text encoder of a run of ``match``, or all of it if ``sees``.

        The first training stage, which would train it, is skipped. Raises UserError if the shapes
        do not fit.
        """
        network, begin = self.get_submodule("network"), "network."
        weights = {name.removeprefix(begin): weight for name, weight in other.state_dict().items()}
        own = {
            name: weight
            for name, weight in network.state_dict().items()
            if self.sees or not name.startswith(("visual.", "logit_scale", "text_projection"))
        }
        fits = all(name in weights and weights[name].shape == own[name].shape for name in own)
        if not fits or getattr(other.config, "quick", False):
            raise UserError(
                "pretrained",
                _("the text encoder of {folder} is another one").format(folder=folder),
                expected=_("a run of {system}").format(system="clip, clip_small_vit"),
                fix="souron train clip data=captioned_scenes",
                exit=3,
            )
        all_that_fit = {
            name: weights[name]
            for name, weight in network.state_dict().items()
            if name in weights and weights[name].shape == weight.shape
        }
        network.load_state_dict(all_that_fit, strict=False)
        _first, *rest = self.in_stages
        self.in_stages = {name: self.in_stages[name] for name in rest}

    def unknown_words(self, prompt: str) -> list[str]:
        """Return the words of a prompt that occur in no training caption."""
        vocabulary = set(self.spec.words)
        return [word for word in dict.fromkeys(words(prompt)) if word not in vocabulary] if vocabulary else []

    def refuse_unknown(self, prompt: str) -> None:
        """Raise UserError if at least half of a prompt's words occur in no training caption.

        The image would be unrelated to such a prompt.
        """
        unknown, prompt_words = self.unknown_words(prompt), dict.fromkeys(words(prompt))
        if unknown and 2 * len(unknown) >= len(prompt_words):
            raise UserError(
                "unknown words",
                _("No training caption contains: {words}. The model cannot know what that means.").format(
                    words=", ".join(unknown)
                ),
                expected=_("words of its captions, such as: {prompts}").format(
                    prompts="; ".join(self.spec.prompts[:3])
                ),
                fix=f'prompt="{self.spec.prompts[0]}"' if self.spec.prompts else "",
            )

    def example(self) -> None:
        """Run one generation step, for the table of layer shapes and operations."""
        deque(self.drawing(Noise(0, [0], self.device), [self.spec.prompts[0]], steps=1), maxlen=0)

    @torch.inference_mode()
    def predict(
        self,
        text: Text,
        *,
        negative: Annotated[str, Choice(N_("what should not be in the image"))] = "",
        steps: Annotated[int, Choice(N_("how often the network is evaluated"), 1, 1000)] = 20,
        guidance: Annotated[
            float, Choice(N_("how closely to follow the prompt; 1 as trained (classes: 0)"), 1, 20)
        ] = 4.0,
        seed: Annotated[int, Choice(N_("random seed (default 0)"), low=0)] = 0,
    ) -> Picture:
        """Generate an image for the text. Raises UserError for a text that is empty or too long."""
        prompt = checked(text.text)
        frames = draw(self, Noise(seed, [0], self.device), [prompt], negative=negative, steps=steps, guidance=guidance)
        return Picture.of(done(frames)[0])


def checked(prompt: str) -> str:
    """Return a prompt with normalised spaces. Raises UserError if it is empty or too long."""
    prompt = " ".join(prompt.split())
    if prompt and len(prompt) <= MOST_LETTERS:
        return prompt
    raise UserError(
        "prompt",
        _("a prompt of {count} characters").format(count=len(prompt)),
        expected=_("1 to {count} characters").format(count=MOST_LETTERS),
        fix='prompt="a blue bird on the left, on grass"',
    )


@dataclass(frozen=True)
class Options:
    samples: Annotated[int | None, Choice(N_("images that a generator is evaluated on (default 300)"), low=8)] = None
    clip: Annotated[str | None, Choice(N_("a run of clip to use in place of its own"), metavar="RUN")] = None


class TextToImage(Task):
    """Images for the captions of test images, judged by a network trained on real images only."""

    title = N_("text to image")
    takes = Text
    gives = Picture
    published_files = True
    metrics = (
        Metric(N_("attribute accuracy"), unit="share", headline=True),
        Metric(N_("object accuracy"), unit="share"),
        Metric(N_("colour accuracy"), unit="share"),
        Metric(N_("count accuracy"), unit="share"),
        Metric(N_("place accuracy"), unit="share"),
        Metric(N_("ground accuracy"), unit="share"),
        Metric(N_("caption found"), unit="share", headline=True),
        Metric(N_("Fréchet distance"), higher_is_better=False, headline=True, kind="amount"),
        Metric(N_("kernel distance"), higher_is_better=False),
        Metric(N_("precision"), unit="share"),
        Metric(N_("recall"), unit="share"),
    )
    default_data = "captioned_scenes"
    target = "captions"
    formats = ("captions",)
    fewest_classes = 0
    inherits = ("tokenizer", "vocabulary", "words")
    begins_with = ("match",)
    needs_training_data = True

    def published(self, name: str, source: bool | str, config: Any = None, spec: Any = None) -> System:
        if source is True:
            return super().published(name, source)
        from souron.hub import diffusion_weights

        return diffusion_weights.system(str(source))

    def check(self, data: Dataset, options: Options) -> None:
        matching.check_captions(data)

    def spec(self, train: Dataset) -> Spec:
        match_spec = matching.Matching().spec(train)
        texts = [caption.text for captions in train.target for caption in captions]
        count = Counter(word for text in texts for word in words(text))
        step = max(1, len(texts) // EXAMPLES)
        common = tuple(word for word, _count in count.most_common(MOST_WORDS))
        return Spec(
            train.channels,
            train.side,
            match_spec.tokenizer,
            match_spec.vocabulary,
            tuple(dict.fromkeys(texts[::step]))[:EXAMPLES],
            common,
        )

    def example(self, system: type[System], size: str) -> Spec:
        return Spec(3, getattr(system.SIZES[size], "side", 64), "", matching.SIZE)

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        """Scale images (B, C, H, W) from 0..255 to -1..1."""
        return Batch(rows.input.float() / 127.5 - 1, list(rows.target or ()))

    def renumbered(self, target: Any, number: Tensor) -> Any:
        return target

    def setup(self, data: Dataset, split: Split, options: Options) -> Iterator[Step]:
        count = options.samples or prompt_adherence.SAMPLE
        if not isinstance(data.input, Tensor):  # a sketch: enough to estimate the time
            yield Step(1.0, result=Setup(options, data.only(split.test[:count])))
            return
        for share, prompt_set in prompt_adherence.prompt_set(data, split, count, options):
            yield Step(share, _("the network that reads images"), prompt_set)

    def against(self, cases: Dataset, setup: PromptSet) -> PromptSet:
        cases = cases.only(prompt_adherence.chosen(cases, range(len(cases)), len(setup.test)))
        plain = prompt_adherence.with_classes(cases)
        none = plain.only([])
        parts = prompt_adherence.Parts(none, none, plain)
        reference = generation.ReferenceSet.of(setup.reference.extractor, parts, len(cases), setup.options)
        cases = cases.only(torch.randperm(len(cases), generator=torch.Generator().manual_seed(0)))
        reader = setup.reader if prompt_adherence.readable(cases) else None
        result = replace(setup, test=cases, prompts=prompt_adherence.prompts(cases), reference=reference, reader=reader)
        result.ceiling = result.judged(cases.input[:])
        return result

    @torch.no_grad()
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: PromptSet, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, PromptedGenerator)
        text = _("generating {n} images").format(n=len(setup.prompts))
        for share, sample in drawn_for(system, setup.prompts, seed):  # noqa: B007
            yield Step(0.9 * share, text)
        answers = generation.answers_of(sample, setup.reference)
        answers.pop("probability", None)
        yield Step(1.0, text, answers | setup.judged(sample.image))

    def scores(self, seeds: Sequence[Answers], setup: PromptSet) -> Scores:
        tables: Scores = {}
        if "right" in seeds[0]:
            right = stacked(seeds, "right")
            tables[metrics.ACCURACY] = match.where(right)
            for column, name in enumerate(metrics.ATTRIBUTES.values()):
                if np.isfinite(right[..., column]).any(1).all():
                    tables[name] = match.where(right[..., column])
        if "caption" in seeds[0]:
            ranks = torch.from_numpy(stacked(seeds, "caption"))
            tables[metrics.CAPTION] = match.where(match.found(ranks, 1))
        near = [setup.reference.resemblance(answers) for answers in seeds]
        for name in DISTANCES:
            if name in near[0].measures:
                tables[name] = generation.generation.table(near, name)
        return tables

    def measures(self, seeds: Sequence[Answers], setup: PromptSet, training: Any = None) -> dict[str, Measure]:
        near = setup.reference.resemblance(seeds[0]).measures
        results = {}
        for name, table in self.scores(seeds, setup).items():
            of_one = name in DISTANCES and len(seeds) == 1
            results[name] = near[name] if of_one else self.metric(name).measure(table, setup.test.units, training)
        return results

    def result(self, trainings: Trainings, setup: PromptSet) -> PromptedResult:
        answers = trainings.answers[0]
        image, seconds = dense(answers, "image"), float(dense(answers, "seconds")[0])
        near = setup.reference.resemblance(answers)
        measures = self.measures(trainings.answers, setup)
        generation_result = GenerationResult(setup.reference, near, image, seconds, measures)
        return PromptedResult(generation_result, tuple(parts(trainings.answers, setup)), tuple(setup.prompts))

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: PromptSet) -> Any:
        """Return the images that each system generates for the same prompts."""
        images = {name: dense(seeds[0], "image") for name, seeds in answers.items()}
        return prompt_adherence.PromptedGallery(setup.prompts, images)

    def ranks(self, setup: Any) -> str:
        reads = getattr(setup, "reader", None) is not None or not hasattr(setup, "reader")
        return metrics.ACCURACY if reads else metrics.CAPTION

    def called(self, metric: str, setup: PromptSet) -> str:
        """Return the metric's name with the number of images or captions on which it depends."""
        name, count = super().called(metric, setup), len(setup.test)
        if metric == metrics.CAPTION:
            among = min(prompt_adherence.AMONG, count)
            return _("{name} among {count}").format(name=name, count=among)
        if metric in DISTANCES:
            return _("{name}, {n} pictures").format(name=name, n=f"{count:,}")
        return name

    def rehearse(self, system: System, setup: Any) -> None:
        assert isinstance(system, PromptedGenerator)
        next(Sample.growing(system, len(setup.test), seed=0))

    def seconds(self, trainer: Trainer, setup: Any, training: float) -> float:
        [few] = Sample.growing(trainer.system, 8, seed=0)
        return few.seconds * len(setup.test)

    def film(self, path: Path) -> Film:
        return Film(path)

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        """Yield the judgement of each attribute, one row per prompt, in the order of generation."""
        if "right" in answers:
            yield ("number", *prompt_adherence.ATTRIBUTES)
            for number, row in enumerate(dense(answers, "right").tolist()):
                yield number, *("" if value != value else int(value) for value in row)

    def next_command(self, run: str) -> str:
        return f'souron generate {run} prompt="..."'


def drawn_for(
    system: PromptedGenerator, prompts: Sequence[str], seed: int, **options: Any
) -> Iterator[tuple[float, Sample]]:
    """Yield progress 0..1 and the images so far, one per prompt."""
    images: list[Tensor] = []
    start = time.perf_counter()
    for numbers in chunks(system, range(len(prompts))):
        batch = [prompts[number] for number in numbers]
        images.append(done(draw(system, Noise(seed, numbers, system.device), batch, **options)))
        so_far = torch.cat(images)
        took = (time.perf_counter() - start) / len(so_far)
        yield len(so_far) / len(prompts), Sample(so_far, took)


def parts(seeds: Sequence[Answers], setup: PromptSet) -> Iterator[OfPart]:
    """Yield results for all prompts, for each subset, and for each language."""
    subsets, languages = (prompt_adherence.matching.subsets(setup.test), prompt_adherence.languages(setup.test))
    everything = list(range(len(setup.test)))
    groups = [("", "", everything)]
    for names, which in ((subsets, 0), (languages, 1)):
        for name in dict.fromkeys(names) if len(set(names)) > 1 else ():
            rows = [row for row in everything if names[row] == name]
            groups.append(("" if which else name, name if which else "", rows))
    for subset, language, rows in groups:
        units = setup.test.only(rows).units
        measures, floor, ceiling = {}, {}, {}
        if "right" in seeds[0]:
            right = stacked(seeds, "right")[:, rows]
            shuffled = stacked(seeds, "shuffled")[:, rows]
            real = dense(setup.ceiling, "right")[rows].double().numpy()
            for column, name in enumerate(prompt_adherence.ATTRIBUTES):
                if np.isfinite(right[..., column]).any(1).all():
                    table = match.where(right[..., column])
                    measures[name] = registry.metric(metrics.ACCURACY).measure(table, units)
                    floor[name] = float(np.nanmean(shuffled[..., column]))
                    ceiling[name] = float(np.nanmean(real[:, column]))
        if "caption" in seeds[0]:
            hit = match.found(torch.from_numpy(stacked(seeds, "caption")[:, rows]), 1)
            measures["caption"] = registry.metric(metrics.CAPTION).measure(match.where(hit), units)
            other = match.found(torch.from_numpy(stacked(seeds, "stranger")[:, rows]), 1)
            floor["caption"] = float(other.double().mean())
            real_rank = dense(setup.ceiling, "caption")[rows]
            ceiling["caption"] = float(match.found(real_rank, 1).mean())
        yield OfPart(subset, language, len(rows), measures, floor, ceiling)


__all__ = ["PAD", "Batch", "Noise", "PromptedGenerator", "Spec", "TextToImage"]
