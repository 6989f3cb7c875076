"""Noise becomes a short film: every frame looks around itself and at the other frames.

Ho, Salimans, Gritsenko, Chan, Norouzi, Fleet: Video Diffusion Models (2022).
https://arxiv.org/abs/2204.03458

    block: convolutions on each frame of its own, scaled and shifted by the condition, then each pixel
           attends to itself in all frames, with a learnt bias for how many frames lie between
    condition of frame i    MLP(linear(t, text) (1 + linear(embedding of i)))
    minimise min(1 / s^2, 5) |film - network(film_t, t, text)|^2,    film_t = a film + s noise
    draw     film_T = noise, then film_t -> network(film_t, t, text) -> film_(t-1) -> ... film

The network predicts the video itself rather than its noise: a video has few degrees of freedom,
noise has all of them, and a patch of it would not pass through a narrow network (Li, He 2025,
https://arxiv.org/abs/2511.13720). Errors are weighted as those of v = a noise - s film, with at
most five times the weight of pure noise (Hang and others 2023, https://arxiv.org/abs/2303.09556).

A text must say where a thing is in which frame, which a sum of text and frame cannot: their product does.
Sines of x and y enter with the pixels, as convolutions do not know where they are. The frames of a video
are nearly equal, so that noise averages out over them: the signal-to-noise ratio is four times lower than
that of the cosine schedule for images (Hoogeboom, Heek, Salimans 2023, https://arxiv.org/abs/2301.11093).

Training begins with pure noise, where a video can be read from its text alone, and widens to all noise
levels over half of the budget: with all of them from the start, most videos show through their noise, and
the text is hardly read.

One caption in ten is dropped, so that generation can be guided away from videos of no caption, or
of another, ``negative`` (Ho, Salimans 2022, https://arxiv.org/abs/2207.12598). From a first frame,
``image``, it generates those that follow.

Differs from the paper: in one video of five the first frame stays clean during training, and the
rest is predicted from it, where the paper guides generation towards given frames; ``patch`` squared
pixels enter as one; the index of a frame and the places of pixels are inputs; AdamW, one cycle of the rate;
an average of the weights generates. Reduced: a text is the mean of its tokens, trained on the
captions, without BERT; no second network enlarges the video.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.averaging import follower, lead
from souron.blocks.samplers import SAMPLERS, cosine
from souron.blocks.unet import OCTAVES, Attention, Double, Halve, ScaledResidual, nothing_at_first, places, waves
from souron.kinds.signature import Choice
from souron.tasks.text_to_video import PAD, Batch, FilmGenerator, Noise, Spec
from souron.utils.messages import N_

HIDDEN = 0.1  # share of captions dropped in training
GIVEN = 0.2  # share of videos whose first frame is given
HEAVIEST = 5.0  # largest weight of an error
AT_ONCE = 16  # videos per update
WIDENED = 0.5  # share of the budget after which all noise levels are trained
NOISIER = 4.0  # times the noise-to-signal ratio of images


@dataclass(frozen=True)
class Config:
    widths: tuple[int, ...] = (64, 128)  # channels of the UNet's levels, inwards
    patch: int = 4  # side of the pixel blocks folded into channels
    text: int = 128  # features of a text
    heads: int = 4  # of the attention over time
    rate: float = 2e-3


class Condition(nn.Module):
    """The condition of each frame: noise level and text, multiplied by a function of the frame's index."""

    def __init__(self, whole: int, frame: int, width: int):
        super().__init__()
        self.whole, self.frame, self.out = nn.Linear(whole, width), nn.Linear(frame, width), nn.Linear(width, width)

    def forward(self, whole: Tensor, frame: Tensor) -> Tensor:
        """Compute (B, whole), (T, frame) -> (B T, width)."""
        product = self.whole(whole)[:, None] * (1 + self.frame(frame))
        return F.silu(self.out(F.silu(product))).flatten(0, 1)


class OverTime(nn.Module):
    """Temporal attention: each position attends to the same position in all frames."""

    def __init__(self, width: int, heads: int, frames: int, groups: int):
        super().__init__()
        self.frames, self.heads = frames, heads
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.apart = nn.Parameter(torch.zeros(heads, 2 * frames - 1))
        self.to_out = nothing_at_first(nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B T, C, H, W), keeping the shape."""
        frames, (high, wide) = self.frames, x.shape[-2:]
        tokens = self.norm(x).unflatten(0, (-1, frames)).permute(0, 3, 4, 1, 2)  # (B, H, W, T, C)
        q, k, v = (
            self.to_qkv(tokens.flatten(0, 2)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # (B H W, heads, T, C / heads) each
        position = torch.arange(frames, device=x.device)
        bias = self.apart[:, position[:, None] - position + frames - 1]  # (heads, T, T)
        weight = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]) + bias).softmax(3)
        context = self.to_out((weight.to(v.dtype) @ v).transpose(1, 2).flatten(2))
        context = context.unflatten(0, (-1, high, wide)).permute(0, 3, 4, 1, 2)  # (B, T, C, H, W)
        return x + context.flatten(0, 1)


class Block(nn.Module):
    """A block on each frame, followed by temporal attention."""

    def __init__(self, narrow: int, wide: int, condition: int, heads: int, frames: int, groups: int):
        super().__init__()
        self.space = ScaledResidual(narrow, wide, condition, groups)
        self.time = OverTime(wide, heads, frames, groups)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.time(self.space(x, condition))


class FilmUNet(nn.Module):
    """Videos (B, T, C, H, W), steps (B,) and texts (B, text) -> (B, T, out, H, W)."""

    def __init__(self, channels: int, out: int, frames: int, config: Config):
        super().__init__()
        first, last = config.widths[0], config.widths[-1]
        groups, features = max(1, first // 8), 4 * first
        self.width = first
        self.frame = nn.Embedding(frames, config.text)
        self.condition = Condition(first + config.text, config.text, features)
        common = (features, config.heads, frames, groups)
        self.enter = nn.Conv2d(channels, first, 3, padding=1)
        self.place = nn.Conv2d(4 * OCTAVES, first, 1)
        self.emphasis = nn.Linear(features, first)  # how much each feature of a place counts
        self.down = nn.ModuleList(
            Block(narrow, wide, *common) for narrow, wide in zip((first, *config.widths), config.widths, strict=False)
        )
        self.reduce = nn.ModuleList(Halve(wide) for wide in config.widths[:-1])
        self.middle = Block(last, last, *common)
        self.around = Attention(last, groups)
        self.again = Block(last, last, *common)
        self.up = nn.ModuleList(
            Block(2 * wide, narrow, *common)
            for narrow, wide in zip((first, *config.widths), config.widths, strict=False)
        )
        self.enlarge = nn.ModuleList(Double(wide) for wide in config.widths[:-1])
        self.norm = nn.GroupNorm(groups, first, eps=1e-6)
        self.leave = nothing_at_first(nn.Conv2d(first, out, 3, padding=1))

    def forward(self, film: Tensor, step: Tensor, text: Tensor) -> Tensor:
        count = len(film)
        condition = self.condition(torch.cat([waves(step, self.width), text], 1), self.frame.weight)  # (B T, features)
        x = self.enter(film.flatten(0, 1))
        x = x + self.place(places(x.shape[2], x.shape[3], x.device)) * (1 + self.emphasis(condition)[..., None, None])
        skips = []
        for depth, block in enumerate(self.down):
            x = block(x, condition)
            skips.append(x)
            if depth < len(self.reduce):
                x = self.reduce[depth](x)
        x = self.again(self.around(self.middle(x, condition)), condition)
        for depth in reversed(range(len(self.up))):
            x = self.up[depth](torch.cat([x, skips[depth]], 1), condition)
            if depth:
                x = self.enlarge[depth - 1](x, skips[depth - 1].shape[-2:])
        return self.leave(F.silu(self.norm(x))).unflatten(0, (count, -1))


class VideoDiffusion(FilmGenerator):
    year = 2022
    ja = "各フレームの中と、フレームどうしを交互に見ながら、文に合う短い動画を雑音から取り出す"
    status = "reduced"
    clip = 1.0
    SIZES = {"tiny": Config((16, 16), 2, 32, 2, 5e-3), "small": Config()}
    drawn: Tensor  # (), updates of the moving average

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        inner = spec.channels * config.patch**2
        self.words = nn.Embedding(spec.vocabulary + 1, config.text)  # the last: no text
        self.norm = nn.LayerNorm(config.text)
        self.unet = FilmUNet(inner + 1, inner, spec.frames, config)
        self.average = follower(self.unet)
        odds = cosine() / (1 - cosine()) / NOISIER
        self.alpha_bars = (odds / (1 + odds)).tolist()  # a_t^2
        self.register_buffer("drawn", torch.tensor(0, device="cpu"))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        return {"model": torch.optim.AdamW(weights, self.config.rate, weight_decay=0.01, fused=True)}

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        # many small updates train faster than one large one
        for begin in range(0, len(batch.captions), AT_ONCE):
            captions = batch.captions[begin : begin + AT_ONCE]
            yield "model", self.loss(Batch(batch.film[begin : begin + AT_ONCE], captions))
            self.drawn += 1
            lead(self.average, self.unet, 0.995, int(self.drawn))

    def loss(self, batch: Batch) -> Tensor:
        film = self.folded(batch.film)
        count = len(film)
        choice, hidden = torch.rand(2, count).tolist()
        texts = [
            "" if hide < HIDDEN else captions[int(chance * len(captions))].text
            for captions, chance, hide in zip(batch.captions, choice, hidden, strict=True)
        ]
        levels = len(self.alpha_bars)
        lowest = round((levels - 1) * max(0.0, 1 - self.used / WIDENED))
        step = torch.randint(lowest, levels, (count,), device=film.device)
        # the schedule in float32: bfloat16 cannot resolve the first steps
        alpha_bar = film.new_tensor(self.alpha_bars)[step, None, None, None, None]
        noise = torch.randn_like(film)
        noisy = alpha_bar.sqrt() * film + (1 - alpha_bar).sqrt() * noise
        weight = (1 / (1 - alpha_bar)).clamp(max=HEAVIEST)
        mask = (torch.rand(count) < GIVEN).to(film.device)
        pred = self.unet(self.with_first(noisy, film[:, 0], mask), step, self.read(texts)).float()
        errors = (weight * (pred - film).square()).mean((2, 3, 4))  # (B, T)
        counts = torch.ones_like(errors)
        counts[:, 0] = (~mask).float()
        return (errors * counts).sum() / counts.sum()

    def folded(self, film: Tensor) -> Tensor:
        """Fold (B, C, T, H, W) to (B, T, C patch^2, H / patch, W / patch), with repeated edges."""
        high, wide = (-side % self.config.patch for side in film.shape[-2:])
        frames = F.pad(film.transpose(1, 2).flatten(0, 1), (0, wide, 0, high), mode="replicate")
        return F.pixel_unshuffle(frames, self.config.patch).unflatten(0, (-1, film.shape[2]))

    def strips(self, film: Tensor) -> Tensor:
        """Unfold the output of ``folded`` to strips (B, C, T side, side)."""
        side = self.spec.side
        frames = F.pixel_shuffle(film.flatten(0, 1), self.config.patch)[..., :side, :side]
        return frames.unflatten(0, film.shape[:2]).transpose(1, 2).flatten(2, 3)

    @staticmethod
    def with_first(film: Tensor, first: Tensor, where: Tensor) -> Tensor:
        """Insert the first frame (B, C, H, W) into (B, T, C, H, W) where ``where`` (B,).

        An additional channel marks the given frames.
        """
        mask = torch.zeros_like(film[:, :, :1])
        mask[:, 0] = where[:, None, None, None].to(film.dtype)
        return torch.cat([torch.where(mask > 0, first[:, None], film), mask], 2)

    def read(self, texts: Sequence[str]) -> Tensor:
        """Embed texts as the mean of their tokens, (B, text); an empty text has its own token."""
        tokens = self.tokens([text.lower() for text in texts])
        none = torch.tensor([not text.strip() for text in texts], device=tokens.device)
        tokens[none] = PAD
        tokens[none, 0] = self.spec.vocabulary
        there = (tokens != PAD)[..., None]
        embeddings = self.words(tokens.clamp(min=0)) * there
        return self.norm(embeddings.sum(1) / there.sum(1))

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
        sampler: Annotated[str, Choice(N_("the way from noise to image"), among=("dpm", "ddim", "ddpm"))] = "dpm",
        image: Annotated[Tensor | None, Choice(N_("the first frame"))] = None,
    ) -> Iterator[Tensor]:
        side = -(-self.spec.side // self.config.patch)
        shape = (self.spec.frames, self.spec.channels * self.config.patch**2, side, side)
        words = self.read([*condition, *[negative] * len(condition)])
        count = len(condition)
        mask = torch.full((2 * count,), image is not None, device=self.device)
        first = torch.zeros(count, *shape[1:], device=self.device)
        if image is not None:
            first = self.folded(image[:, :, None])[:, 0]
        x = noise.normal(*shape)

        def denoise(noisy: Tensor, t: int) -> Tensor:
            both = self.with_first(noisy.repeat(2, 1, 1, 1, 1), first.repeat(2, 1, 1, 1), mask)
            step = torch.full((2 * count,), t, device=noisy.device)
            conditional, unconditional = self.average(both, step, words).float().chunk(2)
            clean = (unconditional + guidance * (conditional - unconditional)).clamp(-1, 1)
            if image is not None:
                clean[:, 0] = first
            return clean

        way = SAMPLERS[sampler](denoise, self.alpha_bars, steps, x, lambda: noise.normal(*shape))
        every = max(1, steps // 10)
        for stop, film in enumerate(way):
            if stop % every == 0 or stop == steps:
                yield self.strips(film)

    def example(self) -> None:
        frames, side = self.spec.frames, self.spec.side
        film = torch.zeros(1, self.spec.channels, frames, side, side, device=self.device)
        inner: Any = self.folded(film)
        none = torch.zeros(1, dtype=torch.bool, device=self.device)
        text = self.norm(self.words(torch.zeros(1, dtype=torch.long, device=self.device)))
        self.unet(self.with_first(inner, inner[:, 0], none), none.long(), text)
