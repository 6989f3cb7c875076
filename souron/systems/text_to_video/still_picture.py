"""The first frame of the training film whose caption fits best, without any motion.

Manning, Raghavan, Schütze: Introduction to Information Retrieval (2008), chapter 6.
https://nlp.stanford.edu/IR-book/

    film -> its first frame and the words of its captions
    prompt -> the film whose captions share most of its words, rare words weighing more (idf)

The baseline for video: object, colour and background are as right as can be, since they are real;
the motion is wrong, except where nothing moves. A video system that moves no better than this one
has learnt images only.

Differs from the paper: a video is the document; words count once; ties are broken at random.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from souron.blocks.portable import NO_NETWORK
from souron.kinds.signature import Choice
from souron.tasks.text_to_video import Batch, FilmGenerator, Noise, Spec, words
from souron.training.loop import Data, Progress, Run
from souron.utils.messages import N_

MOST_WORDS = 500  # of the training captions, the most frequent


@dataclass(frozen=True)
class Config:
    films: int = 2_048  # most videos stored


class StillPicture(FilmGenerator):
    blocked = NO_NETWORK
    year = 2008
    ja = "説明文の言葉がいちばん合う学習用の動画の最初のフレームを、動かさずに見せる"
    full_batch = True
    SIZES = {"tiny": Config(256), "small": Config()}
    sized_by_data = ("frames", "told")

    frames: Tensor  # (videos, C, side, side) uint8
    told: Tensor  # (videos, words) uint8, 1 where a caption has the word

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.known = {word: index for index, word in enumerate(spec.words[:MOST_WORDS])}
        shape = (0, spec.channels, spec.side, spec.side)
        self.register_buffer("frames", torch.zeros(shape, dtype=torch.uint8))
        self.register_buffer("told", torch.zeros(0, len(self.known), dtype=torch.uint8))

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Store videos in one pass; the loss is the dissimilarity to those stored before."""
        if run.start:
            return
        for step, batch in enumerate(data.once(64)):  # type: ignore[attr-defined]
            word_counts = self.words_of([[caption.text for caption in captions] for captions in batch.captions])
            loss = 1 - self.likeness(word_counts.float()).amax(1).mean() if step else torch.ones(())
            self.remember(batch, word_counts)
            yield Progress(step, {"unlike": loss})
            if len(self.frames) >= self.config.films or step + 1 >= run.steps:
                return

    def remember(self, batch: Batch, word_counts: Tensor) -> None:
        first = ((batch.film[:, :, 0] + 1) * 127.5).round().to(torch.uint8)
        room = self.config.films - len(self.frames)
        self.frames = torch.cat([self.frames, first[:room]])
        self.told = torch.cat([self.told, word_counts[:room]])

    def words_of(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Return (B, words) uint8, 1 where one of a video's texts has the word."""
        presence = torch.zeros(len(texts), len(self.known), dtype=torch.uint8)
        for row, captions in enumerate(texts):
            for word in {word for text in captions for word in words(text)} & self.known.keys():
                presence[row, self.known[word]] = 1
        return presence.to(self.frames.device)

    def likeness(self, query: Tensor) -> Tensor:
        """Return the weighted share of the words (B, words) in each video, (B, videos) in 0..1."""
        there = self.told.float()
        weight = ((1 + len(there)) / (1 + there.sum(0))).log() + 1e-3
        whole = (query * weight).sum(1, keepdim=True).clamp(min=1e-6)
        return (query * weight) @ there.T / whole

    @torch.no_grad()
    def drawing(
        self,
        noise: Noise,
        condition: Sequence[str],
        *,
        negative: Annotated[str, Choice(N_("what should not be in the image"))] = "",
        steps: Annotated[int, Choice(N_("how often the network is evaluated"), 1, 1000)] = 20,
        guidance: Annotated[
            float, Choice(N_("how closely to follow the prompt; 1 as trained (classes: 0)"), 1, 20)
        ] = 2.0,
    ) -> Iterator[Tensor]:
        side = self.spec.side
        if not len(self.frames):  # nothing is stored yet
            yield torch.zeros(len(condition), self.spec.channels, self.spec.frames * side, side)
            return
        query = self.words_of([[prompt] for prompt in condition]).float()
        near = self.likeness(query)
        if negative:
            near = near - self.likeness(self.words_of([[negative]]).float())
        best = near >= near.amax(1, keepdim=True) - 1e-6
        first = self.frames[noise.choose(best.float())]
        yield first.repeat(1, 1, self.spec.frames, 1).float() / 127.5 - 1

    def example(self) -> None:
        self.likeness(torch.zeros(1, len(self.known), device=self.frames.device))
