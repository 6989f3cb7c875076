"""A text becomes a point of CLIP's space, a small picture shows the point, and is enlarged.

Ramesh, Dhariwal, Nichol, Chu, Chen: Hierarchical Text-Conditional Image Generation with CLIP
Latents (2022). https://arxiv.org/abs/2204.06125

    CLIP      picture -> z_i, text -> z_t: points of one space
    prior     noise, text -> z_i      diffusion of points, a Transformer that looks back only
    decoder   noise, z_i, text -> a small picture      diffusion, GLIDE's UNet
    enlarger  noise, the small picture -> the picture      diffusion, convolutions alone

The four learn one after the other and share the budget. A point keeps what a picture shows, not
how: with ``image=`` the decoder draws the point of a given picture anew, without words, and
``strength`` turns it towards the point of the prompt.

``prior=none`` asks what the prior is good for: the decoder learns from texts' points instead.

Differs from the paper: one cycle of the rate for each network, with AdamW. CLIP learns from the
same pictures. The networks of pictures find a noise - s picture in place of the noise, and see two
by two pixels as one. Reduced: one enlarger, where the paper has two; the decoder reads words with
CLIP's encoder, not with one of its own; variances are not learnt.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.averaging import follower, lead
from souron.blocks.clip import CLIP, PAD
from souron.blocks.glide import GlideUNet, PointDecoder, Told, blurred, in_patches, resized
from souron.blocks.prior import PriorTransformer, Text, between, drawn_points
from souron.blocks.samplers import cosine
from souron.blocks.velocity import drawn, mixed
from souron.kinds.signature import Choice
from souron.tasks.text_to_image import Batch, Noise, PromptedGenerator, Spec
from souron.training.budget import one_cycle, set_rate
from souron.training.loop import Data, Progress, Run, descend
from souron.utils.messages import N_, UserError, _

SHARES = {"clip": 0.25, "prior": 0.15, "decoder": 0.45, "enlarger": 0.15}  # of the budget
HIDDEN_POINT, HIDDEN_WORDS = 0.1, 0.5  # in training: of the decoder's points and texts
HIDDEN_TEXT = 0.1  # of the prior's texts
CANDIDATES = 2  # points that the prior draws; the one nearer to the text is taken
ENLARGER_STEPS = 8
COUNTED = 50  # batches whose points say where all of them lie
PATCH = 2  # pixels a side that the networks of pictures take as one
MOST_SCALE = 100.0  # that cosines are multiplied by
TEXT_LAYERS, PRIOR_LAYERS, HEADS = 2, 4, 4
SHOWN_STOPS = 20  # on the way to a picture, about


@dataclass(frozen=True)
class Config:
    low: int = 32  # pixels a side of the decoder's pictures; half the data's at most
    widths: tuple[int, ...] = (64, 96, 128)  # channels of the decoder's levels
    finer: tuple[int, ...] = (48, 64)  # of the enlarger's
    depths: tuple[int, ...] = (1, 1, 1, 1)  # blocks of the stages of CLIP's ResNet
    dims: int = 128  # of CLIP's space, and of a token
    prior: str = "diffusion"  # or "none"
    rate: float = 2e-3


class DALLE2(PromptedGenerator):
    year = 2022
    ja = "文をCLIPの空間の点に移し、その点を小さな画像に描いてから拡大する"
    status = "reduced"
    clip = 1.0
    grows = True
    used = 0.5  # until training begins: the decoder needs the most memory
    SIZES = {
        "tiny": Config(16, (16, 24), (16,), (1, 1), 32, "diffusion", 5e-3),
        "small": Config(),
    }
    counts: Tensor  # (stages,) updates of each network so far

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if config.prior not in ("diffusion", "none"):
            raise UserError(
                "value",
                _("{name}={value} is not understood").format(name="prior", value=config.prior),
                expected="diffusion, none",
            )
        dims, pixels = config.dims, spec.channels * PATCH**2
        self.kept = cosine().tolist()  # a_t^2
        self.low = max(1, min(config.low, spec.side // 2))
        self.guide = CLIP(
            spec.channels, spec.side, config.depths, max(8, dims * 3 // 16), 0, spec.vocabulary,
            (TEXT_LAYERS, dims, HEADS), dims,
        )  # fmt: skip
        self.prior: PriorTransformer | None = None
        if config.prior == "diffusion":
            context = len(self.guide.positional_embedding)
            self.prior = PriorTransformer(dims, dims, context, dims, HEADS, PRIOR_LAYERS)
        self.decoder = PointDecoder(pixels, config.widths, dims)
        self.enlarger = GlideUNet(2 * pixels, pixels, config.finer)
        self.stages = [name for name in SHARES if name != "prior" or self.prior]
        self.averages = nn.ModuleDict({
            name: follower(self.get_submodule(name)) for name in self.stages[1:]
        })  # fmt: skip
        self.register_buffer("counts", torch.zeros(len(self.stages), dtype=torch.long))

    def stage(self) -> tuple[str, float]:
        """Which network learns now, and how much of its own share is used, 0..1."""
        whole, begun = sum(SHARES[name] for name in self.stages), 0.0
        for name in self.stages:
            within = (self.used - begun) * whole / SHARES[name]
            if within < 1:
                break
            begun += SHARES[name] / whole
        return name, min(1.0, within)

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        def schedule(optimizer: torch.optim.Optimizer, step: int) -> None:
            set_rate(optimizer, one_cycle(self.stage()[1]))

        return descend(self, data, replace(run, schedule=schedule))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Gains, biases and the temperature do not decay, nor does what draws."""
        rate, guide = self.config.rate, list(self.guide.parameters())
        groups = [
            {"params": [weight for weight in guide if weight.ndim > 1], "weight_decay": 0.1},
            {"params": [weight for weight in guide if weight.ndim < 2], "weight_decay": 0.0},
        ]
        adam = partial(torch.optim.AdamW, lr=rate, weight_decay=0.0, fused=True)
        made: dict[str, torch.optim.Optimizer]
        made = {"clip": adam(groups, betas=(0.9, 0.98), eps=1e-6)}
        for name in self.stages[1:]:
            made[name] = adam(self.get_submodule(name).parameters())
        return made

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        name, _within = self.stage()
        self.guide.train(name == "clip")
        if name == "enlarger":
            yield name, self.enlarging(batch.image)
            return
        chance = torch.rand(len(batch.captions)).tolist()
        pairs = zip(batch.captions, chance, strict=True)
        told = [captions[int(share * len(captions))].text for captions, share in pairs]
        with torch.set_grad_enabled(name == "clip"):
            text, seen = self.read(told), self.see(batch.image)
        if name == "clip":
            yield name, contrast(seen, F.normalize(text.point, dim=1), self.scale, told)
        elif name == "prior":
            yield name, self.foretelling(seen, text)
        else:
            yield name, self.decoding(batch.image, seen, text)

    def after_update(self, step: int) -> None:
        name, _within = self.stage()
        place = self.stages.index(name)
        if name != "clip":
            network = self.get_submodule(name)
            lead(self.averages[name], network, 0.9999, int(self.counts[place]))
        self.counts[place] += 1

    # CLIP

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by before they become probabilities."""
        return self.guide.logit_scale.clamp(max=math.log(MOST_SCALE)).exp()

    def see(self, image: Tensor) -> Tensor:
        """(B, C, side, side) in -1..1 -> (B, dims), of length 1."""
        return F.normalize(self.guide.image(2 * image).float(), dim=-1)

    def read(self, texts: Sequence[str]) -> Text:
        tokens = self.tokens([text.lower() for text in texts])
        words, known = self.guide.features(tokens), tokens != PAD
        end = words[torch.arange(len(texts), device=words.device), known.sum(1) - 1]
        point = F.normalize((end @ self.guide.text_projection).float(), dim=-1)
        return Text(point * self.config.dims**0.5, words, known)

    # learning

    def foretelling(self, seen: Tensor, text: Text) -> Tensor:
        """The prior's loss: how far it is from the clean point itself."""
        assert self.prior is not None
        count = int(self.counts[self.stages.index("prior")])
        if count < COUNTED:
            self.prior.learn(seen, 1 / (1 + count))
        clean = self.prior.normal(seen)
        step, noisy, _target = mixed(clean, self.kept)
        told = torch.rand(len(seen), 1, device=seen.device) >= HIDDEN_TEXT
        text = Text(text.point * told, text.words, text.known & told)
        return F.mse_loss(self.prior(noisy, step, text).float(), clean)

    def decoding(self, image: Tensor, seen: Tensor, text: Text) -> Tensor:
        """The decoder's loss."""
        point = text.point if self.prior is None else self.prior.normal(seen)
        shown, read = torch.rand(2, len(seen), device=seen.device)
        known = text.known & (read >= HIDDEN_WORDS)[:, None]
        step, noisy, target = mixed(resized(image, self.low), self.kept)
        told = Told(point, shown >= HIDDEN_POINT, text.words, known)
        found = in_patches(PATCH, self.decoder, noisy, step, told)
        return F.mse_loss(found.float(), target)

    def enlarging(self, image: Tensor) -> Tensor:
        """The enlarger's loss, on a part of each picture, half as high and wide."""
        coarse = resized(blurred(resized(image, self.low)), self.spec.side)
        side = math.ceil(self.spec.side / 2)
        top, left = torch.randint(self.spec.side - side + 1, (2,)).tolist()
        part = ..., slice(top, top + side), slice(left, left + side)
        step, noisy, target = mixed(image[part], self.kept)
        given = torch.cat([noisy, coarse[part]], 1)
        found = in_patches(PATCH, self.enlarger, given, step)
        return F.mse_loss(found.float(), target)

    # drawing

    def told(self, start: Tensor, texts: Sequence[str], guidance: float) -> Told:
        """What the decoder is told of texts; ``start`` (B, candidates, dims) is noise."""
        text = self.read(texts)
        point = text.point
        if "prior" in self.averages:
            prior: Any = self.averages["prior"]
            point = drawn_points(prior, self.kept, start, text, guidance)
        return Told(point, torch.ones_like(text.known[:, 0]), text.words, text.known)

    def varied(self, told: Told, image: Tensor, strength: float) -> Told:
        """Pictures' own points, turned towards those of ``told``; no words. Raises UserError."""
        if self.prior is None:
            raise UserError(
                "image",
                _("without its prior the decoder knows the points of texts alone"),
                expected="dalle2:prior=diffusion",
            )
        seen = self.see(image.to(self.device).expand(len(told.point), -1, -1, -1))
        point = between(seen, self.prior.point(told.point), strength)
        return told._replace(point=self.prior.normal(point), known=told.known & False)

    @torch.no_grad()
    def drawing(
        self,
        noise: Noise,
        condition: Sequence[str],
        *,
        negative: Annotated[str, Choice(N_("what is not to be drawn"))] = "",
        sampler: Annotated[
            str, Choice(N_("the way from noise to picture"), among=("dpm", "ddim", "ddpm"))
        ] = "dpm",
        steps: Annotated[int, Choice(N_("how often the network is asked"), 1, 1000)] = 20,
        guidance: Annotated[
            float, Choice(N_("how strongly the prompt is insisted on; 1 is as learnt"), 1, 20)
        ] = 4.0,
        image: Annotated[Tensor | None, Choice(N_("a picture that is to be varied"))] = None,
        strength: Annotated[
            float, Choice(N_("how far to go from the picture to the prompt"), 0, 1)
        ] = 0.5,
    ) -> Iterator[Tensor]:
        start = noise.normal(CANDIDATES, self.config.dims)
        told = self.told(start, condition, guidance)
        if image is not None:
            told = self.varied(told, image, strength)
        free = self.told(start, [negative] * len(condition), guidance) if negative else None
        decoder, free = partial(in_patches, PATCH, self.averages["decoder"]), free or told.hidden()

        def find(noisy: Tensor, step: Tensor) -> Tensor:
            without = decoder(noisy, step, free).float()
            return without + guidance * (decoder(noisy, step, told).float() - without)

        def normal(side: int) -> Tensor:
            return noise.normal(self.spec.channels, side, side)

        every = max(1, round(steps / SHOWN_STOPS))
        way = drawn(find, self.kept, sampler, steps, partial(normal, self.low))
        for stop, small in enumerate(way):
            if stop % every == 0:
                yield resized(small, self.spec.side)
        coarse = resized(small, self.spec.side)
        enlarger = partial(in_patches, PATCH, self.averages["enlarger"])

        def finer(noisy: Tensor, step: Tensor) -> Tensor:
            return enlarger(torch.cat([noisy, coarse], 1), step)

        way = drawn(finer, self.kept, "dpm", ENLARGER_STEPS, partial(normal, self.spec.side))
        yield from deque(way, maxlen=1)


def contrast(image: Tensor, text: Tensor, scale: Tensor, texts: Sequence[str]) -> Tensor:
    """CLIP's loss of points (B, dims) of length 1; equal texts are not each other's rivals."""
    first = torch.tensor([texts.index(each) for each in texts], device=image.device)
    own = torch.arange(len(texts), device=image.device)
    rivals = (first[:, None] == first) & (own[:, None] != own)
    with torch.autocast(image.device.type, enabled=False):
        logits = (scale.float() * image @ text.T).masked_fill(rivals, -torch.inf)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
