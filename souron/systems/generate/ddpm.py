"""A network learns to find the noise in a picture; where it is taken away, a picture stays.

Ho, Jain, Abbeel: Denoising Diffusion Probabilistic Models (2020). https://arxiv.org/abs/2006.11239

    x_t = a_t x_0 + s_t noise      a_t^2 = prod (1 - beta_i) for i up to t      s_t^2 = 1 - a_t^2
    minimise  E |noise - network(x_t, t, label)|^2
    draw: x_T = noise, then  x_t -> clean = (x_t - s_t network(x_t, t)) / a_t -> x_(t-1) -> ... x_0

The betas grow from 0.0001 to 0.02 in 1000 steps. The network is a UNet (`souron/blocks/unet.py`); a
moving average of its weights is used for generation, by the paper's sampler or by faster ones
(`souron/blocks/samplers.py`). One label in ten is dropped in training, so that the network also
models images of no class, and generation can be guided away from those (classifier-free guidance;
Ho, Salimans 2022, https://arxiv.org/abs/2207.12598). Their ``guidance`` w counts from 0, no
guidance: (1 + w) network(label) - w network(none); systems of prompts count from 1, w + 1.

Size `paper` is the published one for CIFAR-10, 35.7 million weights with diffusers' names.

Differs from the paper: labels, where the data has several; the average moves faster in the first
steps; one cycle of the rate; other sizes have betas from a cosine (Nichol, Dhariwal 2021,
https://arxiv.org/abs/2102.09672), and `small` folds two by two pixels into one with four channels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.blocks.averaging import follower, lead
from souron.blocks.samplers import SAMPLERS, cosine, linear
from souron.blocks.unet import UNet
from souron.kinds.signature import Choice
from souron.tasks.generate import Batch, Generator, Noise, Spec
from souron.utils.messages import N_

HIDDEN = 0.1  # share of labels dropped in training
SHOWN_STOPS = 20  # intermediate images shown, about
STRATA = 15  # strata from which the bound's steps are sampled, besides the first step


@dataclass(frozen=True)
class Config:
    width: int = 128  # channels of the first level
    multiples: tuple[int, ...] = (1, 2, 2, 2)  # of the width, per level; attention in the second
    layers: int = 2  # residual blocks in each level
    patch: int = 1  # side of the pixel blocks folded into channels
    schedule: str = "linear"  # of the betas, or "cosine"
    dropout: float = 0.1
    rate: float = 2e-4


class DDPM(Generator):
    year = 2020
    ja = "画像に混ざった雑音を見分けることを学び、雑音を少しずつ取り除いて画像を描く"
    conditional = True
    likelihood = "bound"
    measures = {"bits per dimension": "lower"}
    clip = 1.0
    SIZES = {
        "tiny": Config(8, (1, 2), 1, 1, "cosine", 0.0, 5e-3),
        "small": Config(64, (1, 1), 1, 2, "cosine", 0.0, 2e-3),
        "paper": Config(),
    }
    SHOWN = {"paper": (3, 32, 1)}

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        self.classes = len(spec.labels) if len(spec.labels) > 1 else 0
        self.alpha_bars = (linear() if config.schedule == "linear" else cosine()).tolist()  # a_t^2
        channels = spec.channels * config.patch**2
        widths = [config.width * multiple for multiple in config.multiples]
        self.network = UNet(channels, channels, widths, config.layers, (1,), self.classes, config.dropout)
        self.average = follower(self.network)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"model": torch.optim.Adam(self.network.parameters(), self.config.rate)}

    def loss(self, batch: Batch) -> Tensor:
        clean, label = batch.image, batch.label
        # a random t for each image: x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise
        step = torch.randint(len(self.alpha_bars), label.shape, device=clean.device)
        # the schedule in float32: bfloat16 cannot resolve the first steps
        alpha_bar = torch.tensor(self.alpha_bars, device=clean.device)[step].view(-1, 1, 1, 1)
        noise = torch.randn_like(clean)
        noisy = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise
        hidden = torch.rand(label.shape, device=label.device) < HIDDEN
        guess = self.find(self.network, noisy, step, label.masked_fill(hidden, self.classes))
        return F.mse_loss(guess.float(), noise)

    def after_update(self, step: int) -> None:
        lead(self.average, self.network, 0.9999, step)

    def find(self, network: UNet, noisy: Tensor, step: Tensor, label: Tensor) -> Tensor:
        """Predict the noise in (B, C, H, W) at steps (B,); label ``self.classes`` means none."""
        side, patch = noisy.shape[-1], self.config.patch
        border = -side % patch
        patches = F.pixel_unshuffle(F.pad(noisy, (0, border, 0, border)), patch)
        return F.pixel_shuffle(network(patches, step, label), patch)[..., :side, :side]

    def clean(self, noisy: Tensor, t: int, label: Tensor, guidance: float = 0.0) -> Tensor:
        """Predict the clean image from the noisy one (B, C, H, W) with the averaged network."""
        step = torch.full_like(label, t)
        if guidance and self.classes:
            none = torch.full_like(label, self.classes)
            both = self.find(self.average, noisy.repeat(2, 1, 1, 1), step.repeat(2), torch.cat([label, none]))
            conditional, unconditional = both.float().chunk(2)
            noise = conditional + guidance * (conditional - unconditional)
        else:
            noise = self.find(self.average, noisy, step, label).float()
        alpha_bar = self.alpha_bars[t]
        return ((noisy - math.sqrt(1 - alpha_bar) * noise) / math.sqrt(alpha_bar)).clamp(-1, 1)

    @torch.no_grad()
    def drawing(
        self,
        noise: Noise,
        label: Tensor,
        *,
        sampler: Annotated[str, Choice(N_("the way from noise to image"), among=("dpm", "ddim", "ddpm"))] = "dpm",
        steps: Annotated[int, Choice(N_("how often the network is evaluated"), 1, 1000)] = 20,
        guidance: Annotated[
            float, Choice(N_("how closely to follow the class; 0 as trained (prompts: 1)"), 0, 20)
        ] = 3.0,
    ) -> Iterator[Tensor]:
        shape = (self.spec.channels, self.spec.side, self.spec.side)
        way = SAMPLERS[sampler](
            lambda noisy, t: self.clean(noisy, t, label, guidance),
            self.alpha_bars,
            steps,
            noise.normal(*shape),
            lambda: noise.normal(*shape),
        )
        every = max(1, round(steps / SHOWN_STOPS))
        for stop, x in enumerate(way):
            if stop % every == 0 or stop == steps:
                yield x

    def example(self) -> None:
        shape = (1, self.spec.channels, self.spec.side, self.spec.side)
        noisy = torch.zeros(shape, device=self.device)
        first = torch.zeros(1, dtype=torch.long, device=self.device)
        self.find(self.average, noisy, first, first)

    def bits(self, batch: Batch) -> Tensor:
        """Return the variational bound, equations 5 and 13, with sigma_t^2 = beta_t.

        The steps between the first and the noise are estimated from one step in each of ``STRATA``
        strata, drawn with a probability of about 1/t, as the first weigh most. The label's own bits
        are added, so that the bound is that of the image alone.
        """
        x, label = batch.image, batch.label
        last = self.alpha_bars[-1]
        # KL(q(x_T | x_0) || N(0, 1))
        nats = (last * x.square() - last - math.log(1 - last)).flatten(1).sum(1) / 2
        nats = nats + self.decoding(x, self.noisy(x, 0), label)
        total = len(self.alpha_bars)
        weight = 1 / torch.arange(1, total, dtype=torch.float64)  # of t = 1 ... T - 1
        reach = weight.cumsum(0) / weight.sum()
        for stratum in range(STRATA):
            position = (stratum + torch.rand((), dtype=torch.float64)) / STRATA
            t = 1 + min(int((reach < position).sum()), total - 2)
            chance = weight[t - 1] / weight.sum()
            nats = nats + self.leap(x, t, label) / (STRATA * float(chance))
        share = torch.tensor(self.spec.shares, device=x.device).clamp(min=1e-6)
        nats = nats - share[label].log()
        return nats / (math.log(2) * x[0].numel())

    def noisy(self, x: Tensor, t: int) -> Tensor:
        alpha_bar = self.alpha_bars[t]
        return math.sqrt(alpha_bar) * x + math.sqrt(1 - alpha_bar) * torch.randn_like(x)

    def leap(self, x: Tensor, t: int, label: Tensor) -> Tensor:
        """Return the nats (B,) of KL(q(x_(t-1) | x_t, x_0) || p(x_(t-1) | x_t)), for t from 1."""
        now, after = self.alpha_bars[t], self.alpha_bars[t - 1]
        beta = 1 - now / after
        least = (1 - after) / (1 - now) * beta  # the variance of q
        squared_error = (x - self.clean(self.noisy(x, t), t, label)).square().flatten(1).sum(1)
        spread = (math.log(beta / least) - 1 + least / beta) / 2
        return x[0].numel() * spread + after * beta / (1 - now) ** 2 * squared_error / 2

    def decoding(self, x: Tensor, noisy: Tensor, label: Tensor) -> Tensor:
        """Return the nats (B,) of the 8-bit image itself, under a Gaussian cut into 256 bins."""
        off = (x - self.clean(noisy, 0, label)).abs().double()  # the two tails are symmetric
        deviation = math.sqrt(1 - self.alpha_bars[0])
        piece = 1 / 255  # half of a bin
        upper = torch.special.ndtr((piece - off) / deviation)
        lower = torch.special.ndtr((-piece - off) / deviation)
        # the outermost bins extend to infinity
        outermost = x.abs() > 1 - piece
        chance = torch.where(outermost, upper, upper - lower)
        return -chance.clamp(min=1e-300).log().flatten(1).sum(1).float()
