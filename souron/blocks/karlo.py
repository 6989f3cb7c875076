"""Karlo, an unCLIP with published weights: text encoder, prior, decoder and two enlargers.

Lee, Kim, Choi, Kim, Byeon, Baek, Kim: Karlo-v1.0.alpha on COYO-100M and CC15M (2022).
https://github.com/kakaobrain/karlo

    text encoder    text -> CLIP's embedding and one feature vector per token
    prior           noise, text -> CLIP's embedding of an image          25 steps
    decoder         noise, embedding, text -> an image of 64 x 64        25 steps, learnt variance
    enlarger        noise, that image -> 256 x 256     6 steps, and one with a second network

Modules are named as in diffusers' ``UnCLIPPipeline``, so that its files load by name.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.clip import CONTEXT, PAD, TextTransformer, attended
from souron.blocks.glide import resized
from souron.blocks.latent import FEW, Level, Middle, Residual, Words, waves
from souron.blocks.prior import MASKED, PriorTransformer, Text
from souron.blocks.samplers import SAMPLERS, ancestral, cosine, end_to_end
from souron.blocks.unet import nothing_at_first
from souron.data.language.tokenizer import Tokenizer
from souron.utils.messages import UserError, _

TOKENS = 49_408  # of CLIP's tokenizer
EXTRA = 4  # tokens that the image embedding becomes
HEAD, GROUPS, EPSILON = 64, 32, 1e-5  # width of an attention head, of the normalisation
SCALE = 4  # side of an image over that of the decoder's
PRIOR_GUIDANCE = 4.0  # of the prior; that of the decoder is an option
MOST_POINT = 5.0  # largest absolute value of a standardised embedding
ENLARGING = 7  # steps of the enlargers; the second network takes the last one
SHOWN_STOPS = 20  # intermediate images shown, about


@dataclass(frozen=True)
class Sizes:
    """Sizes of Karlo's networks; the default is the published one."""

    text: tuple[int, int, int] = (12, 768, 12)  # layers, width and heads of the text encoder
    prior: tuple[int, int, int] = (20, 2048, 32)  # the same of the prior
    widths: tuple[int, ...] = (320, 640, 960, 1280)  # channels of the UNets' levels, inwards
    layers: int = 3  # residual blocks per level
    tokens: int = 1536  # width of the tokens that the decoder attends to
    low: int = 64  # side of the decoder's images, in pixels

    @property
    def side(self) -> int:
        """Side of the finished images, in pixels."""
        return SCALE * self.low


class AddedAttention(nn.Module):
    """Attention of positions (B, width, H, W) to each other and to tokens (B, T, text)."""

    def __init__(self, width: int, text: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD)
        self.group_norm = nn.GroupNorm(GROUPS, width, eps=EPSILON)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _each in range(3))
        self.add_k_proj, self.add_v_proj = (nn.Linear(text, width) for _each in range(2))
        self.to_out = nn.ModuleList([nothing_at_first(nn.Linear(width, width))])

    def forward(self, x: Tensor, words: Words) -> Tensor:
        own = self.group_norm(x).flatten(2).transpose(1, 2)  # (B, H W, width)
        keys = torch.cat([self.add_k_proj(words.tokens), self.to_k(own)], 1)
        values = torch.cat([self.add_v_proj(words.tokens), self.to_v(own)], 1)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.to_q(own), keys, values))
        mask = None if words.mask is None else F.pad(words.mask, (0, own.shape[1])).to(q.dtype)
        few = q.shape[2] * k.shape[2] <= FEW
        output = attended(q, k, v, mask) if few else F.scaled_dot_product_attention(q, k, v, mask)
        output = self.to_out[0](output.transpose(1, 2).flatten(2))
        return x + output.transpose(1, 2).reshape(x.shape)


class Down(Level):
    downsamplers: nn.ModuleList

    def forward(self, x: Tensor, time: Tensor, words: Words, skips: list[Tensor]) -> Tensor:
        """Append the skip connections to ``skips``."""
        for i in range(len(self.resnets)):
            x = self.block(i, x, time, words)
            skips.append(x)
        for halve in self.downsamplers:
            x = halve(x, time)
            skips.append(x)
        return x


class Up(Level):
    upsamplers: nn.ModuleList

    def forward(self, x: Tensor, time: Tensor, words: Words, skips: list[Tensor]) -> Tensor:
        """Take the skip connections from ``skips``."""
        for i in range(len(self.resnets)):
            x = self.block(i, torch.cat([x, skips.pop()], 1), time, words)
        for double in self.upsamplers:
            x = double(x, time)
        return x


class ResizingUNet(nn.Module):
    """(B, channels, H, W), steps (B,) -> (B, out, H, W): residual blocks halve and double the sides.

    With ``text``, their width, it takes tokens, to which all levels but the first attend, and a
    vector (B, 4 widths[0]) that is added to the embedding of the step.
    """

    def __init__(self, channels: int, out: int, widths: Sequence[int], layers: int, text: int = 0) -> None:
        super().__init__()
        first, last = widths[0], widths[-1]
        self.width, time = first, 4 * first
        self.conv_in = nn.Conv2d(channels, first, 3, padding=1)
        self.time_embedding = nn.ModuleDict({"linear_1": nn.Linear(first, time), "linear_2": nn.Linear(time, time)})
        residual = partial(Residual, time=time, groups=GROUPS, epsilon=EPSILON, scales=bool(text))

        def attentions(wide: int, count: int) -> list[AddedAttention]:
            return [AddedAttention(wide, text) for _each in range(count if text else 0)]

        self.down_blocks, skips, now = nn.ModuleList(), [first], first
        for i, wide in enumerate(widths):
            inputs = [now] + [wide] * (layers - 1)
            down = Down([residual(width_in, wide) for width_in in inputs], attentions(wide, layers if i else 0))
            deepest = i == len(widths) - 1
            down.downsamplers = nn.ModuleList([] if deepest else [residual(wide, wide, resize=0.5)])
            skips += [wide] * (layers if deepest else layers + 1)
            self.down_blocks.append(down)
            now = wide
        self.mid_block = Middle([residual(last, last) for _each in range(2)], attentions(last, 1))
        self.up_blocks = nn.ModuleList()
        for i, wide in reversed(list(enumerate(widths))):
            inputs = [skips.pop() + (wide if j else now) for j in range(layers + 1)]
            up = Up([residual(width_in, wide) for width_in in inputs], attentions(wide, layers + 1 if i else 0))
            up.upsamplers = nn.ModuleList([residual(wide, wide, resize=2)] if i else [])
            self.up_blocks.append(up)
            now = wide
        self.conv_norm_out = nn.GroupNorm(GROUPS, first, eps=EPSILON)
        self.conv_out = nothing_at_first(nn.Conv2d(first, out, 3, padding=1))

    def forward(self, x: Tensor, step: Tensor, vector: Tensor | None = None, words: Words | None = None) -> Tensor:
        time = waves(step, self.width).to(x.dtype)  # (B, width)
        time = self.time_embedding["linear_2"](F.silu(self.time_embedding["linear_1"](time)))
        time = F.silu(time if vector is None else time + vector)  # (B, 4 width)
        x = self.conv_in(x)
        words, skips = words or Words(x), [x]  # no words: no level has attention
        for level in self.down_blocks:
            x = level(x, time, words, skips)
        x = self.mid_block(x, time, words)
        for level in self.up_blocks:
            x = level(x, time, words, skips)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Condition(nn.Module):
    """Texts and image embeddings (B, dims) -> the vector (B, time) and the tokens of the decoder."""

    def __init__(self, dims: int, tokens: int, time: int) -> None:
        super().__init__()
        self.learned_classifier_free_guidance_embeddings = nn.Parameter(torch.zeros(dims))  # of no image
        self.embedding_proj = nn.Linear(dims, time)
        self.clip_image_embeddings_project_to_time_embeddings = nn.Linear(dims, time)
        self.clip_extra_context_tokens_proj = nn.Linear(dims, EXTRA * tokens)
        self.encoder_hidden_states_proj = nn.Linear(dims, tokens)
        self.text_encoder_hidden_states_norm = nn.LayerNorm(tokens)

    def forward(self, text: Text, point: Tensor) -> tuple[Tensor, Words]:
        point = point.to(text.point.dtype)
        vector = self.embedding_proj(text.point) + self.clip_image_embeddings_project_to_time_embeddings(point)
        extra = self.clip_extra_context_tokens_proj(point).unflatten(1, (-1, EXTRA)).transpose(1, 2)
        own = self.text_encoder_hidden_states_norm(self.encoder_hidden_states_proj(text.words))
        mask = F.pad(~text.known, (EXTRA, 0))[:, None, None, :] * MASKED  # (B, 1, 1, EXTRA + T)
        return vector, Words(torch.cat([extra, own], 1), mask)


class Karlo(nn.Module):
    """Texts -> images (B, 3, side, side) in -1..1."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes, self.alpha_bars = sizes, cosine().tolist()  # a_t^2
        (_layers, dims, _heads), (depth, width, heads), widths = sizes.text, sizes.prior, sizes.widths
        self.text_encoder = TextTransformer(TOKENS, *sizes.text, dims)
        self.prior = PriorTransformer(dims, dims, CONTEXT, width, heads, depth)
        self.text_proj = Condition(dims, sizes.tokens, 4 * widths[0])
        self.decoder = ResizingUNet(3, 2 * 3, widths, sizes.layers, sizes.tokens)
        self.super_res_first, self.super_res_last = (ResizingUNet(2 * 3, 3, widths, sizes.layers) for _each in range(2))

    @property
    def kind(self) -> torch.dtype:
        """Return the dtype of the weights."""
        return self.text_proj.embedding_proj.weight.dtype

    def read(self, tokens: Tensor) -> Text:
        """Encode tokens (B, T), padded with ``PAD``."""
        mask = tokens != PAD
        words = self.text_encoder.features(tokens)
        end = words[torch.arange(len(tokens), device=tokens.device), mask.sum(1) - 1]
        return Text(end @ self.text_encoder.text_projection, words, mask)

    def clean(self, noisy: Tensor, noise: Tensor, t: int) -> Tensor:
        """Return the clean image from the noise that a network predicts."""
        return ((noisy - math.sqrt(1 - self.alpha_bars[t]) * noise) / math.sqrt(self.alpha_bars[t])).clamp(-1, 1)

    def way(self, sampler: str, find: Callable, steps: int, normal: Callable[[], Tensor]) -> Iterator[Tensor]:
        """Generate with ``find``: x_t, t -> x_0, position of the variance. ``ddpm`` is Karlo's own."""
        if sampler == "ddpm":
            return ancestral(find, self.alpha_bars, end_to_end(self.alpha_bars, steps), normal(), normal)
        return SAMPLERS[sampler](lambda x, t: find(x, t)[0], self.alpha_bars, steps, normal(), normal)

    def points(self, text: Text, sampler: str, steps: int, normal: Callable[..., Tensor]) -> Tensor:
        """Generate image embeddings (B, dims); ``text`` are B negative prompts, then the prompts."""

        def find(noisy: Tensor, t: int) -> tuple[Tensor, float]:
            step = torch.full((2 * len(noisy),), t, device=noisy.device)
            unconditional, conditional = (
                self.prior(noisy.repeat(2, 1).to(self.kind), step, text).to(noisy.dtype).chunk(2)
            )
            return (unconditional + PRIOR_GUIDANCE * (conditional - unconditional)).clamp(-MOST_POINT, MOST_POINT), 0.0

        *_steps, normed = self.way(sampler, find, steps, partial(normal, text.point.shape[1]))
        return self.prior.point(normed)

    def drawing(
        self,
        tokens: Tensor,
        normal: Callable[..., Tensor],
        *,
        steps: int = 25,
        guidance: float = 8.0,
        sampler: str = "ddpm",
    ) -> Iterator[Tensor]:
        """Yield intermediate images, then the finished ones.

        Args:
            tokens: (2 B, T), of the negative prompts, then of the prompts.
            normal: draws standard normal numbers (B, *shape).
            steps: of the prior and of the decoder each.
            guidance: of the decoder; 1: none.
        """
        text, side = self.read(tokens), self.sizes.side
        point = self.points(text, sampler, steps, normal)
        times = 1 if guidance == 1 else 2
        none = self.text_proj.learned_classifier_free_guidance_embeddings.expand_as(point)
        text = text.of(torch.arange(len(tokens), device=tokens.device)[-times * len(point) :])
        vector, words = self.text_proj(text, torch.cat([none, point][-times:]))

        def find(noisy: Tensor, t: int) -> tuple[Tensor, Tensor]:
            step = torch.full((times * len(noisy),), t, device=noisy.device)
            output = self.decoder(noisy.repeat(times, 1, 1, 1).to(self.kind), step, vector, words).to(noisy.dtype)
            noise, share = output[-len(noisy) :].chunk(2, 1)
            if times == 2:
                free = output[: len(noisy), :3]
                noise = free + guidance * (noise - free)
            return self.clean(noisy, noise, t), (share + 1) / 2

        every = max(1, round(steps / SHOWN_STOPS))
        low = self.sizes.low
        for stop, small in enumerate(self.way(sampler, find, steps, partial(normal, 3, low, low))):
            if stop % every == 0:
                yield resized(small, side)
        coarse = F.interpolate(small.clamp(-1, 1), (side, side), mode="bicubic", antialias=True)

        def finer(noisy: Tensor, t: int) -> tuple[Tensor, float]:
            network = self.super_res_first if t else self.super_res_last
            step = torch.full((len(noisy),), t, device=noisy.device)
            output = network(torch.cat([noisy, coarse], 1).to(self.kind), step).to(noisy.dtype)
            return self.clean(noisy, output, t), 0.0

        *_steps, image = self.way("ddpm", finer, ENLARGING, partial(normal, 3, side, side))
        yield image

    def calls(self, steps: int = 25, guided: bool = True) -> Iterator[tuple[int, nn.Module, tuple]]:
        """Yield how often each network is evaluated for an image, the network, and example inputs."""
        device, kind, (_layers, dims, _heads) = self.prior.proj_in.weight.device, self.kind, self.sizes.text
        zeros = partial(torch.zeros, device=device, dtype=kind)
        step = torch.zeros(1, dtype=torch.long, device=device)
        mask = torch.ones(1, CONTEXT, dtype=torch.bool, device=device)
        text, point = Text(zeros(1, dims), zeros(1, CONTEXT, dims), mask), zeros(1, dims)
        yield 2, self.text_encoder, (torch.zeros(1, CONTEXT, dtype=torch.long, device=device),)
        yield 2 * steps, self.prior, (point, step, text)
        yield 1 + guided, self.text_proj, (text, point)
        vector, words = self.text_proj(text, point)
        low, side = self.sizes.low, self.sizes.side
        yield (1 + guided) * steps, self.decoder, (zeros(1, 3, low, low), step, vector, words)
        for times, network in ((ENLARGING - 1, self.super_res_first), (1, self.super_res_last)):
            yield times, network, (zeros(1, 2 * 3, side, side), step)


def tokenized(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Tokenise texts as CLIP's authors do: (B, CONTEXT), padded with ``PAD``, truncated if too long."""
    sequences = [[tokenizer.start, *ids[: CONTEXT - 2], tokenizer.end[0]] for ids in tokenizer.encode_many(list(texts))]
    return torch.tensor([ids + [PAD] * (CONTEXT - len(ids)) for ids in sequences])


def refuse_training() -> UserError:
    """Return the error where Karlo is to be trained or shown an image."""
    return UserError(
        "karlo",
        _("Karlo is used as published: it generates from a text alone, and is not trained"),
        expected="souron generate karlo prompt=TEXT",
        fix="souron train dalle2 data=captioned_scenes",
    )
