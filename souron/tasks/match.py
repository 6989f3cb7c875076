"""Image-text matching: an image and sentences in, the sentences ranked by their fit out.

Hugging Face calls it zero-shot-image-classification. Images and sentences are embedded in the same
space, so that images can also be retrieved by a sentence.
"""

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron import registry
from souron.blocks.portable import Input, Pixels, Portable
from souron.data.dataset import Dataset, Loader, Rows
from souron.data.language.tokenizer import Tokenizer
from souron.data.targets.captions import Caption
from souron.evaluation.answers import Setup, dense, stacked
from souron.evaluation.vision import matching
from souron.evaluation.vision.matching import MatchResult, OfSubset
from souron.kinds.picture import Picture
from souron.kinds.ranking import Ranking
from souron.kinds.signature import Choice
from souron.metrics import match
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Scores, Step, Task, Trainings
from souron.utils.messages import N_, UserError, _

PAD = -1  # pads shorter texts
SIZE = 1024  # most tokens of the vocabulary
LONGEST = 64  # tokens of a sentence; the rest is cut off
MOST_TEXTS = 1000
MOST_LETTERS = 1000  # characters of one text
BETWEEN = "|"  # separates texts on a command line


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a system needs before it is built."""

    channels: int
    side: int  # pixels
    tokenizer: str = ""  # a ``Tokenizer``, packed
    vocabulary: int = 0  # number of tokens


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in -1..1
    captions: list[tuple[Caption, ...]]  # one tuple per image


class Matcher(System):
    """An image-text model: ``see`` and ``read`` embed images and tokens as unit vectors.

    Their similarity is the cosine.
    """

    task = "match"
    spec: Spec
    PUBLISHED: ClassVar[dict[str, tuple[int, int]]] = {}  # size -> side in pixels, tokens

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.unpacked(self.spec.tokenizer)

    @abstractmethod
    def see(self, image: Tensor) -> Tensor:
        """Embed images (B, C, H, W) in -1..1 as unit vectors (B, D)."""

    @abstractmethod
    def read(self, tokens: Tensor) -> Tensor:
        """Embed tokens (B, T), padded with ``PAD``, as unit vectors (B, D)."""

    @property
    @abstractmethod
    def scale(self) -> Tensor:
        """Return the factor (), applied to cosines before the softmax."""

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Tokenise texts: (B, T) int64, padded with ``PAD``, truncated if too long."""
        return padded(self.tokenizer, texts).to(self.device)

    def example(self) -> None:
        side = self.spec.side
        self.see(torch.zeros(1, self.spec.channels, side, side, device=self.device))
        self.read(torch.zeros(1, 8, dtype=torch.long, device=self.device))

    def read_texts(self, texts: list[str]) -> Tensor:
        """Embed sentences as (B, D) on the CPU."""
        return self.read(self.tokens(texts)).float().cpu()

    @torch.inference_mode()
    def predict(
        self,
        picture: Picture,
        *,
        texts: Annotated[str, Choice(N_("sentences with | between, or a .txt file with one a line"))] = "",
    ) -> Ranking:
        """Rank the sentences by their cosine with the image, the best first.

        Raises UserError if there is no sentence, or one is too long.
        """
        self.eval()
        sentences = texts_of(texts)
        pixels = self.pixels(picture)[None].to(self.device)
        scores = self.read_texts(sentences) @ self.see(pixels).float().cpu()[0]
        return Ranking.of(sentences, scores.tolist(), picture)

    def portable(self) -> Portable:
        side, channels = self.spec.side, self.spec.channels
        return Portable(
            Pixels(self.see, lambda vector: (vector.float(),), 127.5, 127.5),
            (Input("image", (channels, side, side)),),
            ("vector",),
            "square",
            "vector",
            about={"side": side, "channels": channels},
            of_rows=lambda rows: (rows,),
            of_kind=lambda picture: (picture.square(side, channels)[None],),
        )

    def pixels(self, picture: Picture) -> Tensor:
        """Return the pixels (C, H, W) in -1..1, the input of ``see``."""
        return picture.square(self.spec.side, self.spec.channels).float() / 127.5 - 1


def padded(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Tokenise texts, with an end token and truncated: (B, T) int64, padded with ``PAD``."""
    end = (*tokenizer.end, 0)[0]
    token_ids = [[*ids[: LONGEST - 1], end] for ids in tokenizer.encode_many(list(texts))]
    longest = max(map(len, token_ids))
    return torch.tensor([ids + [PAD] * (longest - len(ids)) for ids in token_ids])


def texts_of(option: str) -> list[str]:
    """Split an option into sentences, or read them from a .txt file. Raises UserError."""
    if option.lower().endswith(".txt") and BETWEEN not in option:
        lines = _lines(Path(option))
    else:
        lines = option.replace("\n", BETWEEN).split(BETWEEN)
    texts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    wrong = not 1 <= len(texts) <= MOST_TEXTS or max(map(len, texts)) > MOST_LETTERS
    if wrong:
        problem = _("{count} sentences").format(count=len(texts))
        if 1 <= len(texts) <= MOST_TEXTS:
            problem = _("a sentence of {count} characters").format(count=max(map(len, texts)))
        raise UserError(
            "texts",
            problem,
            expected=_("1 to {most} sentences of at most {letters} characters").format(
                most=MOST_TEXTS, letters=MOST_LETTERS
            ),
            fix='texts="a red bird|a blue fish"',
        )
    return texts


def _lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return [line[: MOST_LETTERS + 1] for line in itertools.islice(file, MOST_TEXTS + 1)]
    except OSError as error:
        raise UserError(
            "no files",
            _("nothing was found at {files}").format(files=path),
            expected=_("a text file with a sentence a line"),
            exit=3,
        ) from error


class Matching(Task):
    """Retrieval of the caption of an image among those of 500, and of the image of a caption."""

    title = N_("matching images and sentences")
    takes = Picture
    gives = Ranking
    metrics = (
        Metric(N_("recall@1"), unit="share", headline=True),
        Metric(N_("recall@5"), unit="share", headline=True),
        Metric(N_("recall@1 of pictures"), unit="share"),
        Metric(N_("swaps told apart"), unit="share", headline=True),
        Metric(N_("zero-shot accuracy"), unit="share"),
    )
    watches = "recall@1"
    default_data = "captioned_scenes"
    published_files = True
    target = "captions"
    formats = ("captions",)
    fewest_classes = 0
    inherits = ("tokenizer", "vocabulary")

    def published(self, name: str, source: bool | str, config: Any = None, spec: Any = None) -> System:
        from souron.hub import clip_weights

        side = clip_weights.SIDE
        if spec is not None and (spec.channels, spec.side) != (3, side):
            raise UserError(
                "imgsz",
                _("published weights need colour images of {side} pixels a side").format(side=side),
                expected=f"imgsz={side}",
                fix=f"imgsz={side}",
            )
        return clip_weights.system(name, source, config)

    def comes_published(self, name: str) -> bool:
        entry, size = registry.find(name)
        return size in entry.weights

    def check(self, data: Dataset, options: Any) -> None:
        check_captions(data)

    def spec(self, train: Dataset) -> Spec:
        texts = (caption.text for captions in train.target for caption in captions)
        tokenizer = Tokenizer.learn(texts, SIZE, by_script=True)
        return Spec(train.channels, train.side, tokenizer.packed(), len(tokenizer))

    def example(self, system: type[System], size: str) -> Spec:
        assert issubclass(system, Matcher)
        side, vocabulary = system.PUBLISHED.get(size, (64, SIZE))
        return Spec(3, side, "", vocabulary)

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        """Scale images (B, C, H, W) from 0..255 to -1..1."""
        return Batch(rows.input.float() / 127.5 - 1, list(rows.target or ()))

    def renumbered(self, target: Any, number: Tensor) -> Any:
        return target

    @torch.inference_mode()
    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        """Return the recall among the first of these images."""
        assert isinstance(system, Matcher)
        few = replace(data, cases=data.cases.only(range(min(len(data), matching.GALLERY))))
        image = seen(system, few)
        texts = [matching.usual(captions) for captions in few.cases.target]
        features = matching.in_batches(system.read_texts, texts)
        rank = match.ranks(image @ features.T, matching.equal(texts))
        return {name: match.found(rank, most) for most, name in match.RECALL.items()}

    @torch.inference_mode()
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, Matcher)
        system.eval()
        image = seen(system, system.loader(test))
        answers: Any = None
        scale = float(system.scale)
        for share, answers in matching.asked(image, test, test.classes, system.read_texts, scale):
            if answers is None:
                yield Step(0.3 + 0.69 * share, _("asking"))
        yield Step(1.0, result=answers)

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        ranks = torch.from_numpy(stacked(seeds, "rank"))
        tables: Scores = {name: match.where(match.found(ranks, most)) for most, name in match.RECALL.items()}
        back = torch.from_numpy(stacked(seeds, "back"))
        tables[match.OF_IMAGES] = match.where(match.found(back, 1))
        for name, answer in ((match.SWAPS, "swap"), (match.ZERO_SHOT, "zero")):
            values = stacked(seeds, answer)
            if np.isfinite(values).any():
                tables[name] = match.where(values)
        return tables

    def result(self, trainings: Trainings, setup: Setup) -> MatchResult:
        test = trainings.test
        names, parts = matching.subsets(test), []
        for number, language in enumerate(matching.languages(test)):
            for subset in dict.fromkeys(names):
                rows = [row for row, name in enumerate(names) if name == subset]
                seeds: list[Answers] = [
                    {name: dense(answers, name)[rows, number : number + 1] for name in ("rank", "back", "swap", "zero")}
                    for answers in trainings.answers
                ]
                if not any(bool((dense(answers, "rank") > 0).any()) for answers in seeds):
                    continue
                part = replace(setup, test=test.only(rows))
                of = trainings.training_of_rows(rows)
                measures = self.measures(seeds, part, of)
                swaps = stacked(seeds, "swap")
                for column, name in enumerate(matching.ATTRIBUTES):
                    table = match.where(swaps[..., column])
                    if np.isfinite(table).all():
                        measures[name] = self.metric(match.SWAPS).measure(table, part.test.units, of)
                parts.append(OfSubset(subset, language, len(rows), measures))
        return MatchResult(tuple(parts))

    def called(self, metric: str, setup: Setup) -> str:
        """Return the metric's name with the number of captions, on which recall depends."""
        name = super().called(metric, setup)
        if "recall" not in metric:
            return name
        most = max(map(len, matching.galleries(setup.test)))
        return _("{name} of {count}").format(name=name, count=most)

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "language", "rank", "picture_rank", "caption", "preferred"
        rank, back, nearest_caption = (dense(answers, name) for name in ("rank", "back", "preferred"))
        for number, language in enumerate(matching.languages(test)):
            for row, file in enumerate(test.file):
                if rank[row, number] > 0:
                    other = int(nearest_caption[row, number])
                    own, nearest = (matching.spoken(test, case, language) for case in (row, other))
                    places = int(rank[row, number]), int(back[row, number])
                    yield file, language, *places, own, nearest

    def next_command(self, run: str) -> str:
        return f'souron predict {run} PICTURE texts="...|..."'


def seen(system: Matcher, data: Loader) -> Tensor:
    """Embed all images as (N, D) on the CPU."""
    return torch.cat([system.see(batch.image).float().cpu() for batch in data.once()])


def check_captions(data: Dataset) -> None:
    """Raise UserError for images without captions, and where all captions are equal."""
    if not data.has("captions") or not data.images:
        raise UserError(
            "no captions",
            _("{data} has no images with captions").format(data=data.name),
            expected=_("images with a metadata.jsonl, or a .txt beside each"),
            fix="data=captioned_scenes",
            exit=3,
        )
    if len(data) > 1 and len(set(data.target)) == 1:
        raise UserError(
            "one caption",
            _("all {count} images of {data} have the same caption").format(count=len(data), data=data.name),
            expected=_("captions that say how the images differ"),
            exit=3,
        )


__all__ = ["PAD", "Batch", "Matcher", "Matching", "Spec", "check_captions", "seen"]
