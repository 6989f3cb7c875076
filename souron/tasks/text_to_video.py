"""Text to video: a sentence in, a short video of its content out.

Hugging Face has it in diffusers. A video is stored as a strip, its frames one below the other.
Whether it shows the requested content is judged by networks trained without generated videos, see
``evaluation/film_reader``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from souron.data.dataset import Dataset, Rows
from souron.data.splits import Split
from souron.data.targets.captions import Caption, words
from souron.evaluation.answers import Setup, dense, stacked
from souron.evaluation.generators import prompt_adherence
from souron.evaluation.generators.film_reader import (
    ATTRIBUTES,
    FilmResult,
    FilmSet,
    OfPart,
    film_reader,
    frames_of,
    readable,
)
from souron.evaluation.generators.prompt_adherence import PromptedGallery
from souron.evaluation.generators.sampling import Noise, Sample, done, draw
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.kinds.video import Video
from souron.metrics import match
from souron.metrics import text_to_video as metrics
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Scores, Step, Task, Trainings
from souron.tasks import match as matching
from souron.tasks import text_to_image as drawing
from souron.tasks.text_to_image import PAD, PromptedGenerator
from souron.training.trainer import Trainer
from souron.utils.messages import N_, UserError, _

RATE = 6.0  # frames per second
MOST_FRAMES = 64


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a generator needs before it is built."""

    channels: int
    side: int  # pixels
    frames: int
    tokenizer: str = ""  # a ``Tokenizer``, packed
    vocabulary: int = 0  # number of tokens
    prompts: tuple[str, ...] = ("",)  # some of the training captions
    words: tuple[str, ...] = ()  # of the training captions, most frequent first


class Batch(NamedTuple):
    film: Tensor  # (B, C, T, H, W) in -1..1
    captions: list[tuple[Caption, ...]]  # one tuple per video


class FilmGenerator(PromptedGenerator):
    """A video generator: ``drawing`` makes a strip (B, C, T * side, side) in -1..1 per prompt."""

    task = "text_to_video"
    moves = True
    spec: Any  # Spec

    @torch.inference_mode()
    def predict(  # type: ignore[override]
        self,
        text: Text,
        *,
        negative: Annotated[str, Choice(N_("what should not be in the image"))] = "",
        steps: Annotated[int, Choice(N_("how often the network is evaluated"), 1, 1000)] = 20,
        guidance: Annotated[
            float, Choice(N_("how closely to follow the prompt; 1 as trained (classes: 0)"), 1, 20)
        ] = 2.0,
        seed: Annotated[int, Choice(N_("random seed (default 0)"), low=0)] = 0,
    ) -> Video:
        """Generate a video for the text. Raises UserError for a text that is empty or too long."""
        prompt = drawing.checked(text.text)
        strips = draw(self, Noise(seed, [0], self.device), [prompt], negative=negative, steps=steps, guidance=guidance)
        return video(done(strips)[0])


def video(strip: Tensor) -> Video:
    """Convert a strip (C, T * side, side) in 0..255 to a video."""
    film = frames_of(strip[None])[0]  # (C, T, H, W)
    return Video(film.expand(3, *film.shape[1:]).permute(1, 2, 3, 0).contiguous().numpy(), RATE)


@dataclass(frozen=True)
class Options:
    samples: Annotated[int | None, Choice(N_("films that a generator is evaluated on (default: all)"), low=8)] = None


class TextToVideo(Task):
    """Videos for the captions of test videos, judged by networks trained on real videos only."""

    title = N_("text to video")
    takes = Text
    gives = Video
    metrics = (
        Metric(N_("motion accuracy"), unit="share", headline=True),
        Metric(N_("object accuracy"), unit="share", headline=True),
        Metric(N_("colour accuracy"), unit="share", headline=True),
        Metric(N_("ground accuracy"), unit="share"),
        Metric(N_("flicker"), higher_is_better=False, headline=True, kind="amount"),
    )
    default_data = "moving_scenes"
    target = "film_captions"
    formats = ()
    fewest_classes = 0
    inherits = ("tokenizer", "vocabulary", "words")
    needs_training_data = True

    def check(self, data: Dataset, options: Options) -> None:
        matching.check_captions(data)
        frames, odd = divmod(data.input.shape[2], data.side)
        if odd or not 2 <= frames <= MOST_FRAMES or not readable(data):
            raise UserError(
                "no films",
                _("{data} has no films whose motion is known").format(data=data.name),
                expected=_("films of 2 to {count} frames with captions").format(count=MOST_FRAMES),
                fix="data=moving_scenes",
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        fields = asdict(drawing.TextToImage().spec(train))
        return Spec(frames=train.input.shape[2] // train.side, **fields)

    def example(self, system: type[System], size: str) -> Spec:
        return Spec(3, 32, 8, "", matching.SIZE)

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        """Convert strips (B, C, T * side, side) in 0..255 to videos in -1..1."""
        return Batch(frames_of(rows.input.float() / 127.5 - 1), list(rows.target or ()))

    def renumbered(self, target: Any, number: Tensor) -> Any:
        return target

    def setup(self, data: Dataset, split: Split, options: Options) -> Iterator[Step]:
        test = torch.as_tensor(split.test)
        if options.samples and options.samples < len(test):  # evenly, so that no subset is left out
            test = test[torch.linspace(0, len(test) - 1, options.samples).round().long()]
        cases = data.only(test.tolist())
        if not isinstance(data.input, Tensor):  # a sketch: enough to estimate the time
            yield Step(1.0, result=Setup(options, cases))
            return
        reader = None
        for share, reader in film_reader(data.only(split.train)):  # noqa: B007
            yield Step(0.98 * share, _("the networks that read films"))
        assert reader is not None
        yield Step(1.0, result=_set(options, cases, reader))

    def against(self, cases: Dataset, setup: FilmSet) -> FilmSet:
        return _set(setup.options, cases, setup.reader)

    @torch.no_grad()
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: FilmSet, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, FilmGenerator)
        text = _("generating {n} films").format(n=len(setup.prompts))
        for share, sample in drawing.drawn_for(system, setup.prompts, seed):  # noqa: B007
            yield Step(0.95 * share, text)
        seconds = torch.full((len(sample.image),), sample.seconds)
        answers = {"strip": sample.image, "seconds": seconds}
        yield Step(1.0, text, answers | setup.judged(sample.image))

    def scores(self, seeds: Sequence[Answers], setup: FilmSet) -> Scores:
        right = stacked(seeds, "right")
        tables: Scores = {
            name: match.where(right[..., column]) for column, name in enumerate(metrics.ATTRIBUTES.values())
        }
        return tables | {metrics.FLICKER: stacked(seeds, "flicker")}

    def result(self, trainings: Trainings, setup: FilmSet) -> FilmResult:
        answers = trainings.answers[0]
        return FilmResult(
            tuple(parts(trainings.answers, setup)),
            tuple(setup.prompts),
            dense(answers, "strip"),
            float(dense(answers, "seconds")[0]),
        )

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: FilmSet) -> Any:
        """Return the videos that each system generates for the same prompts."""
        strips = {name: dense(seeds[0], "strip") for name, seeds in answers.items()}
        return PromptedGallery(setup.prompts, strips)

    def rehearse(self, system: System, setup: Any) -> None:
        assert isinstance(system, FilmGenerator)
        next(Sample.growing(system, len(setup.test), seed=0))

    def seconds(self, trainer: Trainer, setup: Any, training: float) -> float:
        [few] = Sample.growing(trainer.system, 2, seed=0)
        return few.seconds * len(setup.test)

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        """Yield the judgement of each attribute and the flicker, one row per prompt."""
        yield ("number", *ATTRIBUTES, "flicker")
        rows = zip(dense(answers, "right").tolist(), dense(answers, "flicker").tolist(), strict=True)
        for number, (row, level) in enumerate(rows):
            yield number, *("" if value != value else int(value) for value in row), f"{level:.3f}"

    def next_command(self, run: str) -> str:
        return f'souron generate {run} prompt="..."'


def _set(options: Options, cases: Dataset, reader: Any) -> FilmSet:
    film_set = FilmSet(options, cases, prompts=prompt_adherence.prompts(cases), reader=reader)
    film_set.ceiling = film_set.judged(cases.input[:])
    return film_set


def parts(seeds: Sequence[Answers], setup: FilmSet) -> Iterator[OfPart]:
    """Yield results for all prompts, for each subset, and for each language."""
    subsets, languages = (prompt_adherence.matching.subsets(setup.test), prompt_adherence.languages(setup.test))
    groups = [("", "", list(range(len(setup.test))))]
    for names, which in ((subsets, 0), (languages, 1)):
        for name in dict.fromkeys(names) if len(set(names)) > 1 else ():
            rows = [row for row in groups[0][2] if names[row] == name]
            groups.append(("" if which else name, name if which else "", rows))
    for subset, language, rows in groups:
        group_setup = replace(setup, test=setup.test.only(rows))
        answers: list[Answers] = [
            {name: dense(answers_of_seed, name)[rows] for name in answers_of_seed} for answers_of_seed in seeds
        ]
        measures = {
            name.removesuffix(" accuracy"): measure
            for name, measure in TextToVideo().measures(answers, group_setup).items()
            if measure.value == measure.value
        }
        floor = {name: _mean(dense(answers[0], "shuffled")[:, column]) for column, name in enumerate(ATTRIBUTES)}
        real = {name: dense(setup.ceiling, name)[rows] for name in ("right", "flicker")}
        ceiling = {name: _mean(real["right"][:, column]) for column, name in enumerate(ATTRIBUTES)}
        ceiling[metrics.FLICKER] = _mean(real["flicker"])
        yield OfPart(subset, language, len(rows), measures, floor, ceiling)


def _mean(values: Tensor) -> float:
    return float(values.nanmean())


__all__ = ["PAD", "Batch", "FilmGenerator", "Noise", "Spec", "TextToVideo", "video", "words"]
