"""Noise becomes a small map of numbers that fits a text; a decoder makes it a picture.

Rombach, Blattmann, Lorenz, Esser, Ommer: High-Resolution Image Synthesis with Latent Diffusion
Models (2022). https://arxiv.org/abs/2112.10752

    text encoder    text -> tokens c (the text half of CLIP)
    autoencoder     image -> z, a small feature map with uncertainty -> image
    denoiser        z_t = a_t z + s_t noise;  minimise |v - network(z_t, t, c)|^2,
                    v = a_t noise - s_t z (Salimans, Ho 2022, https://arxiv.org/abs/2202.00512)
    draw            z_T = noise, then z_t -> (a_t z_t - s_t v) -> z_(t-1) -> ... z -> image

The three are trained one after another, out of one budget. The denoiser is a UNet or, where
``widths`` is one number, a DiT (``blocks.dit``). One caption in ten is replaced by a learnt token,
so that generation can be guided away from images of no caption, or of another, ``negative``
(classifier-free guidance; Ho, Salimans 2022, https://arxiv.org/abs/2207.12598). From ``image`` it
starts with that image's z and some noise, ``strength``; outside of ``mask`` the image stays.

Size ``sd15`` is Stable Diffusion 1.5: published weights load by name, and find the noise, not v.

Differs from the paper: the text encoder is CLIP's, as in Stable Diffusion; it is first trained on
the same captions. The autoencoder is trained on crops; the denoiser predicts v, over a cosine's
betas; AdamW, one cycle of the rate for each of the three. Its average generates; positions are an
input. ``patch`` squared pixels enter as one. Reduced: no critic and no perceptual loss.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.blocks.autoencoder import Autoencoder, divergence
from souron.blocks.averaging import follower, lead
from souron.blocks.clip import CLIP, CONTEXT, TextTransformer, contrast, equal
from souron.blocks.dit import text_network
from souron.blocks.samplers import SAMPLERS, cosine, scaled_linear
from souron.kinds.signature import Choice
from souron.tasks.text_to_image import PAD, Batch, Noise, PromptedGenerator, Spec
from souron.training import stages
from souron.utils.messages import N_

HIDDEN = 0.1  # share of captions dropped in training
LATENT = 4  # channels of the latent
LENGTH = 32  # texts are padded to a multiple of it, in tokens: a prompt's image ignores the batch
AT_ONCE = 32  # images per update of the autoencoder and the denoiser
PIECE = 32  # side of the autoencoder's training crops, in pixels
READ_AT = 32  # side of CLIP's images, in pixels
NARROW = 1e-3  # weight of the KL divergence of z from the standard normal
SETTLES = 0.02  # update rate of the running mean and spread of z
SHOWN_STOPS = 20  # intermediate images shown, about
SMALL = 128  # largest side, in pixels, for which intermediate steps are decoded
PUBLISHED = 49_408  # tokens of Stable Diffusion
SD_SCALE = 0.18215  # scale of its latents
SHARES = {N_("text encoder"): 0.2, N_("autoencoder"): 0.2, N_("denoiser"): 0.6}
TEXT, CODER, DENOISER = SHARES
RATES = {TEXT: 3.0, CODER: 2.0, DENOISER: 1.0}  # times the config's


@dataclass(frozen=True)
class Config:
    widths: tuple[int, ...] = (320, 640, 1280, 1280)  # channels, inwards; one: a DiT's width
    attended: tuple[int, ...] = (0, 1, 2)  # levels with cross-attention, besides the innermost
    layers: int = 2  # residual blocks per level; a DiT's layers, whose autoencoder has 1 a level
    coder: tuple[int, ...] = (128, 256, 512, 512)  # channels of the autoencoder's levels
    patch: int = 1  # side of the pixel blocks folded into channels
    text: tuple[int, int, int] = (12, 768, 12)  # layers, width and heads of the text encoder
    rate: float = 1e-4


class LatentDiffusion(PromptedGenerator):
    year = 2022
    ja = "画像を小さな数の地図に縮め、文の言葉を見ながらその地図を雑音から取り出し、画像に戻す"
    status = "reduced"
    clip = 1.0
    grows = True
    used = 1.0  # before training, so that memory is measured at the last stage
    in_stages = SHARES
    SIZES = {
        "tiny": Config((16, 16), (1,), 1, (8, 8), 2, (1, 32, 2), 5e-3),
        "small": Config((64, 128), (1,), 1, (32, 64), 2, (2, 128, 4), 1e-3),
        "small_dit": Config((192,), (), 5, (32, 64), 2, (2, 128, 4), 1e-3),
        "sd15": Config(),
    }
    shift: Tensor  # (1, LATENT, 1, 1), mean of z, and
    spread: Tensor  # its standard deviation
    drawn: Tensor  # (), updates of the denoiser's moving average

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        width, coder = config.text[1], config.coder
        self.of_sd = spec.vocabulary == PUBLISHED
        self.network: TextTransformer
        if self.of_sd:
            self.network = TextTransformer(spec.vocabulary, *config.text)
        else:
            self.network = CLIP(
                spec.channels,
                min(spec.side, READ_AT),
                (1, 1, 1, 1),
                3 * width // 16,
                0,
                spec.vocabulary,
                config.text,
                width,
            )
            self.empty = torch.nn.Parameter(torch.randn(width))
        layers, inputs = config.layers if config.widths[1:] else 1, spec.channels * config.patch**2
        self.coder = Autoencoder(inputs, coder, layers, LATENT, min(32, coder[0] // 4))
        self.unet = text_network(LATENT, config.widths, config.layers, config.attended, width, not self.of_sd)
        if not self.of_sd:
            self.average = follower(self.unet)
        self.alpha_bars = (scaled_linear() if self.of_sd else cosine()).tolist()  # a_t^2
        self.finest = config.patch * 2 ** (len(coder) - 1)  # pixels a side of a cell of z
        ones = torch.ones(1, LATENT, 1, 1, device="cpu")
        self.register_buffer("shift", torch.zeros_like(ones))
        self.register_buffer("spread", ones / SD_SCALE if self.of_sd else ones)
        self.register_buffer("drawn", torch.tensor(0, device="cpu"))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        learning = {
            TEXT: [*self.network.parameters()],
            CODER: [*self.coder.parameters()],
            DENOISER: [*self.unet.parameters(), *([] if self.of_sd else [self.empty])],
        }
        return {
            name: torch.optim.AdamW(weights, RATES[name] * self.config.rate, weight_decay=0.01, fused=True)
            for name, weights in learning.items()
        }

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        stage, _part = stages.at(self.in_stages, self.used)
        chances = torch.rand(len(batch.captions)).tolist()
        pairs = zip(batch.captions, chances, strict=True)
        texts = [captions[int(chance * len(captions))].text for captions, chance in pairs]
        if stage == TEXT:
            yield TEXT, self.contrast(batch.image, texts)
            return
        # many small updates train faster than one large one
        for begin in range(0, len(texts), AT_ONCE):
            image = batch.image[begin : begin + AT_ONCE]
            if stage == CODER:
                yield CODER, self.coder_loss(self.piece(image))
                continue
            yield DENOISER, self.unet_loss(image, texts[begin : begin + AT_ONCE])
            self.drawn += 1
            lead(self.average, self.unet, 0.999, int(self.drawn))

    def contrast(self, image: Tensor, texts: Sequence[str]) -> Tensor:
        """Return CLIP's loss, see ``match/clip``."""
        assert isinstance(self.network, CLIP)
        side, tokens = min(self.spec.side, READ_AT), self.tokens(texts)
        features = self.network.image(F.interpolate(image, (side, side), mode="area"))
        points = F.normalize(features.float(), dim=1), F.normalize(self.network(tokens).float(), dim=1)
        scale = self.network.logit_scale.clamp(max=math.log(100)).exp()
        return contrast(*points, scale, equal(tokens))

    def piece(self, image: Tensor) -> Tensor:
        """Crop larger images at random: many small ones train better."""
        side = PIECE // self.finest * self.finest
        if image.shape[-1] <= side:
            return image
        y0, x0 = torch.randint(image.shape[-1] - side + 1, (2,)).tolist()
        return image[..., y0 : y0 + side, x0 : x0 + side]

    def coder_loss(self, image: Tensor) -> Tensor:
        mean, log_variance = self.encode(image)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        with torch.no_grad():
            every = (0, 2, 3)
            variance = mean.var(every, correction=0) + log_variance.exp().mean(every)
            self.shift.lerp_(mean.mean(every).view_as(self.shift), SETTLES)
            self.spread.lerp_(variance.sqrt().view_as(self.spread), SETTLES)
        error = (self.decode(z, image.shape[-1]) - image).abs().mean()
        return error + NARROW * divergence(mean, log_variance).mean() / mean[0].numel()

    def unet_loss(self, image: Tensor, texts: Sequence[str]) -> Tensor:
        with torch.no_grad():
            mean, log_variance = self.encode(image)
            z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
            z = (z - self.shift) / self.spread
        hidden = (torch.rand(len(texts)) < HIDDEN).tolist()
        words = self.read(["" if hide else text for text, hide in zip(texts, hidden, strict=True)])
        step = torch.randint(len(self.alpha_bars), (len(z),), device=z.device)
        # the schedule in float32: bfloat16 cannot resolve the first steps
        alpha_bar = torch.tensor(self.alpha_bars, device=z.device, dtype=z.dtype)[step].view(-1, 1, 1, 1)
        noise = torch.randn_like(z)
        noisy = alpha_bar.sqrt() * z + (1 - alpha_bar).sqrt() * noise
        target = noise if self.of_sd else alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * z
        return F.mse_loss(self.unet(noisy, step, *words).float(), target)

    @property
    def kind(self) -> torch.dtype:
        """Return the dtype of the weights: bfloat16 for published ones."""
        return next(self.unet.parameters()).dtype

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode (B, C, H, W) in -1..1 as mean and log variance of z, (B, LATENT, h, w) each."""
        high, wide = (-side % self.finest for side in image.shape[2:])
        whole = F.pad(image, (0, wide, 0, high), mode="replicate")
        patches = F.pixel_unshuffle(whole, self.config.patch).to(self.kind)
        mean, log_variance = self.coder.encode(patches)
        return mean.float(), log_variance.float()

    def decode(self, z: Tensor, side: int) -> Tensor:
        """Decode (B, LATENT, h, w) to (B, C, side, side), approximately in -1..1."""
        image = F.pixel_shuffle(self.coder.decode(z.to(self.kind)).float(), self.config.patch)
        return image[..., :side, :side]

    def tokens(self, texts: Sequence[str]) -> Tensor:
        if not self.of_sd:
            return super().tokens([text.lower() for text in texts])
        tokenizer = self.tokenizer
        sequences = [[tokenizer.start, *ids[: CONTEXT - 2]] for ids in tokenizer.encode_many(list(texts))]
        rows = [ids + [tokenizer.end[0]] * (CONTEXT - len(ids)) for ids in sequences]
        return torch.tensor(rows, device=self.device)

    def read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """Return text features (B, T, width) and their attention mask (B, 1, 1, T); an empty text
        is the learnt token alone."""
        tokens = self.tokens(texts)
        if self.of_sd:
            with torch.no_grad():
                return self.network.features(tokens), None
        tokens = F.pad(tokens, (0, -tokens.shape[1] % LENGTH), value=PAD)
        with torch.no_grad():
            features = self.network.features(tokens).float()
        none = torch.tensor([not text.strip() for text in texts], device=tokens.device)
        there = tokens != PAD
        there[none] = torch.arange(tokens.shape[1], device=tokens.device) == 0
        features = torch.where(none[:, None, None], self.empty, features)
        mask = torch.zeros(there.shape, device=tokens.device).masked_fill(~there, -torch.inf)
        return features, mask[:, None, None]

    def clean(self, noisy: Tensor, t: int, words: tuple, guidance: float) -> Tensor:
        """Predict the clean z with the averaged network; ``words`` are the features of the prompts,
        then, with guidance, of the negative ones."""
        times = len(words[0]) // len(noisy)  # 1 without guidance
        step = torch.full((times * len(noisy),), t, device=noisy.device)
        network = self.unet if self.of_sd else self.average
        cond, *uncond = network(noisy.repeat(times, 1, 1, 1).to(self.kind), step, *words).float().chunk(times)
        pred, alpha_bar = uncond[0] + guidance * (cond - uncond[0]) if uncond else cond, self.alpha_bars[t]
        a, s = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        return (noisy - s * pred) / a if self.of_sd else a * noisy - s * pred

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
        ] = 4.0,
        sampler: Annotated[
            str, Choice(N_("the way from noise to image"), among=("dpm", "ddim", "ddpm", "lcm"))
        ] = "dpm",
        image: Annotated[Tensor | None, Choice(N_("the image to start from"))] = None,
        strength: Annotated[
            float, Choice(N_("how much of that image is generated anew: 0 nothing, 1 all"), 0, 1)
        ] = 0.7,
        mask: Annotated[Tensor | None, Choice(N_("where it is generated anew"))] = None,
    ) -> Iterator[Tensor]:
        side, places = self.spec.side, -(-self.spec.side // self.finest)
        words = self.read([*condition, *([negative] * len(condition) if guidance != 1 else [])])
        shape = (LATENT, places, places)
        x, alpha_bars, start = noise.normal(*shape), self.alpha_bars, None
        if image is not None and strength == 0:
            yield image
            return
        if image is not None:
            start = (self.encode(image)[0] - self.shift) / self.spread
            alpha_bars = alpha_bars[: max(1, round(len(alpha_bars) * strength))]
            steps = min(max(1, round(steps * strength)), len(alpha_bars))
            x = math.sqrt(alpha_bars[-1]) * start + math.sqrt(1 - alpha_bars[-1]) * x
        anew = None if mask is None else F.adaptive_max_pool2d(mask.float(), places)

        def denoise(noisy: Tensor, t: int) -> Tensor:
            clean = self.clean(noisy, t, words, guidance)
            return clean if anew is None or start is None else torch.where(anew > 0, clean, start)

        way = SAMPLERS[sampler](denoise, alpha_bars, steps, x, lambda: noise.normal(*shape))
        every = max(1, round(steps / SHOWN_STOPS)) if side <= SMALL else steps
        for stop, z in enumerate(way):
            if stop % every == 0 or stop == steps:
                picture = self.decode(z * self.spread + self.shift, side)
                if mask is not None and image is not None:
                    picture = torch.where(mask > 0.5, picture, image)
                yield picture

    def example(self) -> None:
        side, device = self.spec.side, self.device
        z, _log_variance = self.encode(torch.zeros(1, self.spec.channels, side, side, device=device))
        text = self.network.features(torch.zeros(1, 8, dtype=torch.long, device=device))
        self.unet(z, torch.zeros(1, dtype=torch.long, device=device), text)
        self.decode(z, side)
