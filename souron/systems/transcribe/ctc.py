"""Writes a character or a blank each 20 ms; all ways to stretch a text count together.

Graves, Fernández, Gomez, Schmidhuber: Connectionist Temporal Classification: Labelling Unsegmented
Sequence Data with Recurrent Neural Networks (2006). https://doi.org/10.1145/1143844.1143891

    log-mel spectrogram -> convolution of stride 2 -> LSTMs in both directions -> softmax at each t
    B("c c _ a a _ t") = "cat"    repeated characters are one, blanks _ vanish
    p(text) = sum over paths with B(path) = text of the product over t of p(path_t at t)
    loss = -log p(text), by dynamic programming over the positions of the text and t

No letter of the training texts needs a time: the sum contains every place that it may have. Beam
search follows prefixes, each with the probability of its paths that end in a blank, and of those
that end in its last character.

Differs from the paper: characters rather than phonemes; log-mel bands rather than cepstral
coefficients; a convolution before the LSTMs; dropout rather than noise on the input; AdamW with one
cycle of the rate.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from souron.blocks.portable import Answer, Free, Input, Portable
from souron.tasks.transcribe import HOP, RATE, LogMel, Piece, Recording, Rows, Spec, Transcriber, plain

BLANK = 0
STRIDE = 0.02  # seconds of one output
PAUSE = 0.6  # seconds without a character that separate two phrases
MOST_BITS = 100.0  # per byte, of a text that cannot be written
LIKELY = 1e-3  # least probability of a character that a beam is extended by


@dataclass(frozen=True)
class Config:
    width: int = 96  # of the convolution, and of an LSTM in each direction
    depth: int = 2  # LSTMs
    mels: int = 40
    drop: float = 0.1
    rate: float = 3e-3


class Batch(NamedTuple):
    mel: Tensor  # (B, mels, T), 0 after the end of a recording
    frames: Tensor  # (B,)
    text: Tensor  # (B, L) int64: numbers of characters, padded with ``BLANK``
    lengths: Tensor  # (B,) of each text
    bytes: Tensor  # (B,)


class BothWays(nn.Module):
    """An LSTM that reads from the beginning, and one from each recording's own end."""

    formula = (
        "i, f, o = σ(W x + U h + b)\n"
        "s = f · s + i · tanh(W_s x + U_s h + b_s)\n"
        "h = o · tanh(s)\n"
        "y = [h of the LSTM forth, h of the LSTM back]"
    )

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.forth, self.back = (nn.LSTM(inputs, width, batch_first=True) for _way in range(2))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Transform (B, T, C) to (B, T, 2 width); what follows a recording changes nothing."""
        position = torch.arange(x.shape[1], device=x.device)
        reversal = (lengths[:, None] - 1 - position).where(position < lengths[:, None], position)[..., None]
        back = self.back(x.gather(1, reversal.expand_as(x)))[0]
        return torch.cat([self.forth(x)[0], back.gather(1, reversal.expand_as(back))], 2)


class CTC(Transcriber):
    year = 2006
    ja = "20ミリ秒ごとに文字か空白を出し、文字列へのあらゆる割り当ての確率を足し合わせて学ぶ"
    SIZES = {"tiny": Config(24, 1, 20, 0.0, 1e-2), "small": Config(), "paper": Config(100, 1)}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        width = config.width
        self.conv = nn.Conv1d(config.mels, width, 5, stride=2, padding=2)
        wide = [width, *[2 * width] * (config.depth - 1)]
        self.lstms = nn.ModuleList(BothWays(inputs, width) for inputs in wide)
        self.out = nn.Linear(2 * width, 1 + len(spec.characters))
        self.drop = nn.Dropout(config.drop)

    def batch(self, rows: Rows) -> Batch:
        """Batch recordings with the numbers of the characters of their normalised texts."""
        number = {character: k for k, character in enumerate(self.spec.characters, 1)}
        texts = [[number[c] for c in plain(text) if c in number] for text in rows.target]
        sizes = [len(text.encode("utf-8", "replace")) for text in rows.target]
        mel, frames = self.spectrograms(rows.input)
        padded = pad_sequence([torch.tensor(text, dtype=torch.long) for text in texts], True)
        lengths = torch.tensor([len(text) for text in texts], device=self.device)
        return Batch(mel, frames, padded.to(self.device), lengths, torch.tensor(sizes).to(mel))

    def forward(self, mel: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (B, T / 2, 1 + characters), and how many are each recording's.

        The first is that of the blank.
        """
        x = F.gelu(self.conv(mel)).transpose(1, 2)
        lengths = (frames + 1) // 2
        for lstm in self.lstms:
            x = lstm(self.drop(x), lengths)
        return self.out(self.drop(x)).float().log_softmax(2), lengths

    def portable(self) -> Portable:
        mel, length = LogMel(self.config.mels), Free(RATE // 10, int(self.window) * RATE, HOP)

        def answer(sound: Tensor) -> tuple[Tensor]:
            bands = mel(sound)
            frames = torch.full_like(sound[:, 0], bands.shape[2], dtype=torch.long)
            return (self(bands, frames)[0],)

        return Portable(
            Answer(nn.ModuleList([self, mel]), answer),
            (Input("sound", (RATE,), torch.float32, {0: length}),),
            ("log_probability",),
            "sound",
            "spelling",
            ("", *self.spec.characters),
            {"log_probability": 2},
            {"rate": RATE, "step": HOP},
            cases=8,
        )

    def nats(self, batch: Batch, training: bool) -> Tensor:
        """Return -log p(text), (B,). A text longer than the outputs has none: in training 0."""
        chance, lengths = self(batch.mel, batch.frames)
        return F.ctc_loss(chance.transpose(0, 1), batch.text, lengths, batch.lengths, BLANK, "none", training)

    def loss(self, batch: Batch) -> Tensor:
        return (self.nats(batch, True) / batch.lengths.clamp(min=1)).mean()

    def surprises(self, batch: Batch) -> Tensor:
        bits = self.nats(batch, False) / math.log(2) / batch.bytes.clamp(min=1)
        return bits.clamp(max=MOST_BITS)

    def example(self) -> None:
        mel = torch.zeros(1, self.config.mels, 200, device=self.device)
        self(mel, torch.tensor([200], device=self.device))

    def pieces(self, waves: Sequence[Tensor], beams: int = 1) -> list[list[Piece]]:
        chance, lengths = self(*self.spectrograms(waves))
        pieces = []
        for log_probs, length in zip(chance.cpu(), lengths.tolist(), strict=True):
            places = greedy(log_probs[:length])
            if beams > 1:
                places = timed(prefix_search(log_probs[:length], beams), places)
            pieces.append(self.phrases(places))
        return pieces

    def phrases(self, places: Sequence[tuple[int, int]]) -> list[Piece]:
        """Return the phrases of characters with the outputs at which they were written."""
        phrases: list[list[tuple[int, int]]] = []
        for frame in places:
            if not phrases or (frame[1] - phrases[-1][-1][1]) * STRIDE > PAUSE:
                phrases.append([])
            phrases[-1].append(frame)
        pieces = []
        for phrase in phrases:
            text = "".join(self.spec.characters[number - 1] for number, _at in phrase).strip()
            if text:
                start, end = phrase[0][1] * STRIDE, (phrase[-1][1] + 1) * STRIDE
                pieces.append(Piece(start, end, text))
        return pieces

    @torch.inference_mode()
    def attention(self, recording: Recording, text: str) -> Tensor:
        """Return the probability of each character of its text at each time, (tokens, time)."""
        chance, _lengths = self(*self.spectrograms([recording]))
        numbers = [number for number, _at in greedy(chance[0].cpu())]
        return chance[0].exp().T[numbers].cpu()


def greedy(chance: Tensor) -> list[tuple[int, int]]:
    """Return the characters of the most probable path, each with the output where it begins.

    >>> greedy(torch.tensor([[0.1, 0.9], [0.1, 0.9], [0.9, 0.1], [0.2, 0.8]]).log())
    [(1, 0), (1, 3)]
    """
    best = chance.argmax(1).tolist()
    before = [BLANK, *best]
    return [(k, t) for t, k in enumerate(best) if k not in (BLANK, before[t])]


def prefix_search(chance: Tensor, beams: int) -> list[int]:
    """Return the characters of the most probable text, following so many prefixes.

    ``chance`` (T, 1 + characters) are log-probabilities. Of each prefix the probabilities of its
    paths are added: of those that end in a blank, and of those that end in its last character.
    """
    beams_by_prefix: dict[tuple[int, ...], list[float]] = {(): [1.0, 0.0]}
    for row in chance.exp().tolist():
        likely = [k for k, p in enumerate(row) if k and p > LIKELY]
        following: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for prefix, (blank, own) in beams_by_prefix.items():
            # a blank, the last character again, or another one
            following[prefix][0] += (blank + own) * row[BLANK]
            if prefix:
                following[prefix][1] += own * row[prefix[-1]]
            for k in likely:
                repeat = prefix and k == prefix[-1]  # only a blank between them makes two
                following[(*prefix, k)][1] += (blank if repeat else blank + own) * row[k]
        # prune to the beam, and normalise
        best = sorted(following.items(), key=lambda item: -sum(item[1]))[:beams]
        total = sum(blank + own for _prefix, (blank, own) in best) or 1.0
        beams_by_prefix = {prefix: [blank / total, own / total] for prefix, (blank, own) in best}
    return list(max(beams_by_prefix.items(), key=lambda item: sum(item[1]))[0])


def timed(numbers: Sequence[int], places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Give characters the times of those of another path, in proportion where they differ."""
    if not places:
        return [(number, 0) for number in numbers]
    last = len(places) - 1
    share = last / max(1, len(numbers) - 1)
    return [(number, places[min(last, round(k * share))][1]) for k, number in enumerate(numbers)]
