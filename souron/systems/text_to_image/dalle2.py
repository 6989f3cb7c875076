"""A text becomes a point of CLIP's space, a small picture shows the point, and is enlarged.

Ramesh, Dhariwal, Nichol, Chu, Chen: Hierarchical Text-Conditional Image Generation with CLIP
Latents (2022). https://arxiv.org/abs/2204.06125

    CLIP      image -> z_i, text -> z_t: embeddings in one space
    prior     noise, text -> z_i      diffusion of points, a Transformer that looks back only
    decoder   noise, z_i, text -> a small image        diffusion, GLIDE's UNet
    enlarger  noise, the small image -> the image      diffusion, convolutions alone

The four are trained one after the other and share the budget. An embedding keeps the content of an
image, not its details: with ``image=`` the decoder generates a variation from the embedding of a
given image, without words, and ``strength`` turns it towards the embedding of the prompt.

``prior=none`` tests the prior's use: the decoder is trained on the texts' embeddings instead. Size
``karlo`` is Karlo, an open DALL-E 2, whose published weights load by name; it is not trained here.

Differs from the paper: one cycle of the rate for each network, with AdamW. CLIP is trained on the
same images. The image networks predict a noise - s image, and fold two by two pixels into one.
Reduced: one enlarger, where the paper has two; words are encoded by CLIP alone; fixed variances.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.averaging import follower, lead
from souron.blocks.clip import CLIP, MEAN, PAD, STD, contrast, equal
from souron.blocks.glide import Condition, GlideUNet, PointDecoder, blurred, in_patches, resized
from souron.blocks.karlo import Karlo, Sizes, refuse_training, tokenized
from souron.blocks.prior import PriorTransformer, Text, between, drawn_points
from souron.blocks.samplers import cosine
from souron.blocks.velocity import drawn, mixed
from souron.kinds.signature import Choice
from souron.tasks.text_to_image import Batch, Noise, PromptedGenerator, Spec
from souron.training import stages
from souron.utils.messages import N_, UserError, _

SHARES = {N_("CLIP"): 0.25, N_("prior"): 0.1, N_("decoder"): 0.5, N_("enlarger"): 0.15}
GUIDE, PRIOR, DECODER, ENLARGER = SHARES
HIDDEN_POINT, HIDDEN_WORDS = 0.1, 0.5  # dropped in training: the decoder's embeddings and texts
HIDDEN_TEXT = 0.1  # share of the prior's texts that are dropped
CANDIDATES = 2  # embeddings drawn by the prior; the nearer to the text is used
ENLARGER_STEPS = 8
AT_ONCE = 32  # images per update, except for CLIP
COUNTED = 50  # batches that estimate the distribution of embeddings
PATCH = 2  # side of the pixel blocks folded into channels
MOST_SCALE = 100.0  # largest factor of cosines
LENGTH = 32  # texts are padded to a multiple of it, in tokens
TEXT_LAYERS, PRIOR_LAYERS, HEADS = 2, 4, 4
SHOWN_STOPS = 20  # intermediate images shown, about


@dataclass(frozen=True)
class Config:
    low: int = 32  # side of the decoder's images, in pixels; half the data's at most
    widths: tuple[int, ...] = (64, 96, 128)  # channels of the decoder's levels
    finer: tuple[int, ...] = (48, 64)  # of the enlarger
    depths: tuple[int, ...] = (1, 1, 1, 1)  # blocks of the stages of CLIP's ResNet
    dims: int = 128  # dimensions of CLIP's space and of tokens
    prior: str = "diffusion"  # or "none"
    rate: float = 2e-3


class DALLE2(PromptedGenerator):
    year = 2022
    ja = "文をCLIPの空間の点に移し、その点を小さな画像に描いてから拡大する"
    status = "reduced"
    clip = 1.0
    grows = True
    used = 0.5  # before training: the decoder needs the most memory
    in_stages: Mapping[str, float] = SHARES
    sees = True
    SIZES = {"tiny": Config(16, (16, 24), (16,), (1, 1), 32, "diffusion", 5e-3), "small": Config(), "karlo": Sizes()}
    counts: Tensor  # (stages,) updates of each generating network
    mean: Tensor  # (C, 1, 1), of images in 0..1, as CLIP sees them
    std: Tensor

    def __init__(self, config: Config | Sizes, spec: Spec) -> None:
        super().__init__(config, spec)
        if isinstance(config, Sizes) and spec.words:
            raise refuse_training()
        self.karlo = Karlo(config) if isinstance(config, Sizes) else None
        if isinstance(config, Sizes):
            return
        if config.prior not in ("diffusion", "none"):
            message = _("{name}={value} is not understood").format(name="prior", value=config.prior)
            raise UserError("value", message, expected="diffusion, none")
        dims, pixels = config.dims, spec.channels * PATCH**2
        self.alpha_bars = cosine().tolist()  # a_t^2
        self.low = max(1, min(config.low, spec.side // 2))
        text, width = (TEXT_LAYERS, dims, HEADS), max(8, dims * 3 // 16)
        self.network = CLIP(spec.channels, spec.side, config.depths, width, 0, spec.vocabulary, text, dims)
        self.prior: PriorTransformer | None = None
        if config.prior == "diffusion":
            context = len(self.network.positional_embedding)
            self.prior = PriorTransformer(dims, dims, context, dims, HEADS, PRIOR_LAYERS)
        self.decoder = PointDecoder(pixels, config.widths, dims)
        self.enlarger = GlideUNet(2 * pixels, pixels, config.finer)
        self.in_stages = {name: share for name, share in SHARES.items() if name != PRIOR or self.prior}
        self.averages = nn.ModuleDict(
            {name: follower(self.get_submodule(name)) for name in self.in_stages if name != GUIDE}
        )
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
        grey = spec.channels == 1
        self.register_buffer("mean", mean.mean(0, True) if grey else mean, persistent=False)
        self.register_buffer("std", std.mean(0, True) if grey else std, persistent=False)
        self.register_buffer("counts", torch.zeros(len(SHARES), dtype=torch.long))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return AdamW; gains, biases, the temperature and the generating networks do not decay."""
        if self.karlo is not None:
            return {}
        guide, rate, adam = [*self.network.parameters()], self.config.rate, partial(torch.optim.AdamW, fused=True)
        groups = [
            {"params": [weight for weight in guide if weight.ndim > 1], "weight_decay": 0.1},
            {"params": [weight for weight in guide if weight.ndim < 2], "weight_decay": 0.0},
        ]
        optimizers: dict[str, torch.optim.Optimizer] = {GUIDE: adam(groups, 1.5 * rate, betas=(0.9, 0.98), eps=1e-6)}
        for name in self.averages:
            weights = self.get_submodule(name).parameters()
            optimizers[name] = adam(weights, rate, weight_decay=0.0)
        return optimizers

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        stage, _part = stages.at(self.in_stages, self.used)
        self.network.train(stage == GUIDE)
        chance = torch.rand(len(batch.captions)).tolist()
        pairs = zip(batch.captions, chance, strict=True)
        tokens = self.tokens([captions[int(share * len(captions))].text for captions, share in pairs])
        if stage == GUIDE:
            text, image_embedding = self.read(tokens), self.see(batch.image)
            point = F.normalize(text.point, dim=1)
            yield stage, contrast(image_embedding, point, self.scale, equal(tokens))
            return
        stage_number, network = [*SHARES].index(stage), self.get_submodule(stage)
        # many small updates train faster than one large one
        for rows in torch.arange(len(tokens), device=self.device).split(AT_ONCE):
            yield stage, self.of_stage(stage, batch.image[rows], tokens[rows])
            lead(self.averages[stage], network, 0.9999, int(self.counts[stage_number]))
            self.counts[stage_number] += 1

    def of_stage(self, stage: str, image: Tensor, tokens: Tensor) -> Tensor:
        """Return the loss of prior, decoder or enlarger."""
        if stage == ENLARGER:
            return self.enlarging(image)
        with torch.no_grad():
            text, point = self.read(tokens), self.see(image)
        return self.foretelling(point, text) if stage == PRIOR else self.decoding(image, point, text)

    # CLIP

    @property
    def scale(self) -> Tensor:
        """Return the factor applied to cosines before the softmax."""
        return self.network.logit_scale.clamp(max=math.log(MOST_SCALE)).exp()

    def see(self, image: Tensor) -> Tensor:
        """Embed (B, C, side, side) in -1..1 as unit vectors (B, dims)."""
        features = self.network.image(((image + 1) / 2 - self.mean) / self.std)
        return F.normalize(features.float(), dim=-1)

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Tokenise to (B, T), padded to a multiple of ``LENGTH`` whatever the batch holds."""
        tokens = super().tokens([text.lower() for text in texts])
        return F.pad(tokens, (0, -tokens.shape[1] % LENGTH), value=PAD)

    def read(self, tokens: Tensor) -> Text:
        words, mask = self.network.features(tokens), tokens != PAD
        end = words[torch.arange(len(tokens), device=words.device), mask.sum(1) - 1]
        point = F.normalize((end @ self.network.text_projection).float(), dim=-1)
        return Text(point * self.config.dims**0.5, words, mask)

    # training

    def foretelling(self, image_embedding: Tensor, text: Text) -> Tensor:
        """Return the prior's loss, the squared error of the predicted clean embedding."""
        prior: Any
        assert self.prior is not None
        count = int(self.counts[1])
        if count < COUNTED:
            for prior in (self.prior, self.averages[PRIOR]):
                prior.learn(image_embedding, 1 / (1 + count))
        clean = self.prior.normal(image_embedding)
        step, noisy, _target = mixed(clean, self.alpha_bars)
        keep_text = torch.rand(len(image_embedding), 1, device=image_embedding.device) >= HIDDEN_TEXT
        text = Text(text.point * keep_text, text.words, text.known & keep_text)
        return F.mse_loss(self.prior(noisy, step, text).float(), clean)

    def decoding(self, image: Tensor, image_embedding: Tensor, text: Text) -> Tensor:
        """Return the decoder's loss."""
        point = text.point if self.prior is None else self.prior.normal(image_embedding)
        point_draw, text_draw = torch.rand(2, len(image_embedding), device=image_embedding.device)
        mask = text.known & (text_draw >= HIDDEN_WORDS)[:, None]
        step, noisy, target = mixed(resized(image, self.low), self.alpha_bars)
        condition = Condition(point, point_draw >= HIDDEN_POINT, text.words, mask)
        noise_pred = in_patches(PATCH, self.decoder, noisy, step, condition)
        return F.mse_loss(noise_pred.float(), target)

    def enlarging(self, image: Tensor) -> Tensor:
        """Return the enlarger's loss on a crop of half the height and width."""
        coarse = resized(blurred(resized(image, self.low)), self.spec.side)
        side = math.ceil(self.spec.side / 2)
        y0, x0 = torch.randint(self.spec.side - side + 1, (2,)).tolist()
        part = ..., slice(y0, y0 + side), slice(x0, x0 + side)
        step, noisy, target = mixed(image[part], self.alpha_bars)
        inputs = torch.cat([noisy, coarse[part]], 1)
        noise_pred = in_patches(PATCH, self.enlarger, inputs, step)
        return F.mse_loss(noise_pred.float(), target)

    # generation

    def given(self, start: Tensor, texts: Sequence[str], guidance: float) -> Condition:
        """Return the decoder's condition for texts; ``start`` (B, candidates, dims) is noise."""
        text = self.read(self.tokens(texts))
        point = text.point
        if self.prior:
            prior: Any = self.averages[PRIOR]
            point = drawn_points(prior, self.alpha_bars, start, text, guidance)
        return Condition(point, torch.ones_like(text.known[:, 0]), text.words, text.known)

    def varied(self, text: Condition, image: Tensor, strength: float) -> Condition:
        """Condition on an image's embedding, turned towards ``text``'s. Raises UserError."""
        if self.prior is None:
            message = _("without its prior the decoder knows the points of texts alone")
            raise UserError("image", message, expected="dalle2:prior=diffusion")
        image_embedding = self.see(image.to(self.device).expand(len(text.point), -1, -1, -1))
        point = between(image_embedding, self.prior.point(text.point), strength)
        return text._replace(point=self.prior.normal(point), known=text.known & False)

    @torch.no_grad()
    def drawing(
        self,
        noise: Noise,
        condition: Sequence[str],
        *,
        negative: Annotated[str, Choice(N_("what should not be in the image"))] = "",
        sampler: Annotated[str, Choice(N_("the way from noise to image"), among=("dpm", "ddim", "ddpm"))] = "dpm",
        steps: Annotated[int, Choice(N_("how often the network is evaluated"), 1, 1000)] = 20,
        guidance: Annotated[
            float, Choice(N_("how closely to follow the prompt; 1 as trained (classes: 0)"), 1, 20)
        ] = 4.0,
        image: Annotated[Tensor | None, Choice(N_("the image to start from"))] = None,
        strength: Annotated[float, Choice(N_("how far to go from the image to the prompt"), 0, 1)] = 0.5,
    ) -> Iterator[Tensor]:
        if self.karlo is not None:
            if image is not None:
                raise refuse_training()
            tokens = tokenized(self.tokenizer, [*[negative] * len(condition), *condition]).to(self.device)
            yield from self.karlo.drawing(tokens, noise.normal, steps=steps, guidance=guidance, sampler=sampler)
            return
        start = noise.normal(CANDIDATES, self.config.dims)
        conditional = self.given(start, condition, guidance)
        if image is not None:
            conditional = self.varied(conditional, image, strength)
        unconditional = self.given(start, [negative] * len(condition), guidance) if negative else conditional.hidden()
        decoder = partial(in_patches, PATCH, self.averages[DECODER])

        def find(noisy: Tensor, step: Tensor) -> Tensor:
            without = decoder(noisy, step, unconditional).float()
            return without + guidance * (decoder(noisy, step, conditional).float() - without)

        def normal(side: int) -> Tensor:
            return noise.normal(self.spec.channels, side, side)

        every = max(1, round(steps / SHOWN_STOPS))
        way = drawn(find, self.alpha_bars, sampler, steps, partial(normal, self.low))
        for stop, small in enumerate(way):
            if stop % every == 0:
                yield resized(small, self.spec.side)
        coarse = resized(small, self.spec.side)
        enlarger = partial(in_patches, PATCH, self.averages[ENLARGER])

        def finer(noisy: Tensor, step: Tensor) -> Tensor:
            return enlarger(torch.cat([noisy, coarse], 1), step)

        way = drawn(finer, self.alpha_bars, "dpm", ENLARGER_STEPS, partial(normal, self.spec.side))
        yield from deque(way, maxlen=1)

    def example(self) -> None:
        if self.karlo is not None:
            deque((network(*inputs) for _times, network, inputs in self.karlo.calls()), maxlen=0)
            return
        zeros = partial(torch.zeros, device=self.device)
        text, step = self.read(zeros(1, LENGTH, dtype=torch.long)), zeros(1, dtype=torch.long)
        shape = (1, self.spec.channels, self.spec.side, self.spec.side)
        point = self.see(zeros(shape))
        if self.prior:
            self.prior(point, step, text)
        condition = Condition(point, zeros(1, dtype=torch.bool), text.words, text.known)
        small = resized(zeros(shape), self.low)
        in_patches(PATCH, self.decoder, small, step, condition)
        in_patches(PATCH, self.enlarger, zeros(1, 2 * shape[1], *shape[2:]), step)
