"""One network writes a picture as a few uncertain numbers, another draws it from them.

Kingma, Welling: Auto-Encoding Variational Bayes (2013).
https://arxiv.org/abs/1312.6114

    log p(x) >= E[log p(x | z)] - KL(q(z | x) || p(z)),    z = mean + spread * noise,   p(z) normal
    encoder, q(z | x):  image -> hidden (tanh) -> mean and spread of the latent numbers z
    decoder, p(x | z):  z -> hidden (tanh) -> location and scale of every pixel

The noise is independent of the parameters, so that the gradient passes through z into the encoder
(reparameterisation). Training maximises the bound, which ``bits`` reports from one z per image. The
mean over several z within the logarithm is tighter: Burda, Grosse, Salakhutdinov: Importance
Weighted Autoencoders (2015), https://arxiv.org/abs/1509.00519; ``bits(batch, samples=100)`` gives
it.

Differs from the paper: Adam in place of Adagrad, with one cycle of the rate. Size `paper` has the
paper's 500 hidden units; `small` has three such layers on each side. Reduced: a pixel is one of 256
grey values, not Bernoulli (the paper's digits) or a real number (its faces), so that bits per
dimension compare with those of any other system: p(x | z) is the logistic distribution's share of
each grey value's bin, the outer bins extending to infinity (Salimans et al.: PixelCNN++, 2017,
https://arxiv.org/abs/1701.05517).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.kinds.signature import Choice
from souron.tasks.generate import Batch, Generator, Noise, Spec
from souron.utils.messages import N_

NARROWEST = -7.0  # least log scale of a pixel: nearly all within one grey value


@dataclass(frozen=True)
class Config:
    hidden: int = 500
    layers: int = 1  # hidden layers of the encoder and of the decoder
    latent: int = 20
    rate: float = 1e-3


class VAE(Generator):
    year = 2013
    ja = "画像を少数の不確かな数に縮める網と、その数から描き戻す網を、尤度の下界を上げて学ぶ"
    status = "reduced"
    likelihood = "bound"
    estimates = ("encoder",)
    measures = {"bits per dimension": "lower"}
    SIZES = {"tiny": Config(32, 1, 4, 1e-2), "small": Config(500, 3, 10, 2e-3), "paper": Config()}
    SHOWN = {"paper": (1, 28, 10)}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.values = spec.channels * spec.side**2  # per image
        widths = [config.hidden] * config.layers
        self.encoder = connected([self.values, *widths], 2 * config.latent)
        self.decoder = connected([config.latent, *widths], 2 * self.values)

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode (B, C, H, W) in -1..1 as mean and standard deviation, (B, latent) each."""
        mean, log_variance = self.encoder(image.flatten(1)).chunk(2, 1)
        return mean, (log_variance / 2).exp()

    def decode(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Decode (..., latent) to location and log scale of every pixel, (..., C * H * W) each."""
        location, log_scale = self.decoder(latent).chunk(2, -1)
        return location, log_scale.clamp(min=NARROWEST)

    def loss(self, batch: Batch) -> Tensor:
        return self.bits(batch).mean()

    def bits(self, batch: Batch, samples: int = 1) -> Tensor:
        """Return a stochastic upper bound (B,) of the bits per dimension.

        One z per image gives the paper's bound, more the importance-weighted one.
        """
        image = batch.image
        # a grey value's bin is 1/128 wide, which bfloat16 would round away
        with torch.autocast(image.device.type, enabled=False):
            mean, spread = self.encode(image)
            noise = torch.randn(samples, *mean.shape, device=mean.device)
            latent = mean + spread * noise  # (samples, B, latent)
            reconstruction = log_likelihood(image.flatten(1), *self.decode(latent)).sum(2)  # (samples, B)
            if samples == 1:
                log_weight = reconstruction - divergence(mean, spread)
            else:
                prior, posterior = latent.square() / 2, noise.square() / 2 + spread.log()
                log_weight = reconstruction - prior.sum(2) + posterior.sum(2)
            nats = math.log(samples) - log_weight.logsumexp(0)
        return nats / (self.values * math.log(2))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"model": torch.optim.Adam(self.parameters(), self.config.rate)}

    def drawing(
        self,
        noise: Noise,
        label: Tensor,
        *,
        temperature: Annotated[
            float, Choice(N_("how far from the usual image: spread of the latent numbers"), 0, 2)
        ] = 1.0,
        grain: Annotated[float, Choice(N_("each pixel's own chance: 0 none, 1 all that the model has"), 0, 1)] = 0.0,
    ) -> Iterator[Tensor]:
        location, log_scale = self.decode(temperature * noise.normal(self.config.latent))
        share = noise.uniform(self.values).clamp(1e-6, 1 - 1e-6)
        value = location + grain * log_scale.exp() * share.logit()
        yield value.view(-1, self.spec.channels, self.spec.side, self.spec.side)


def connected(widths: list[int], out: int) -> nn.Sequential:
    """Linear layers with tanh between them, but not after the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], out))


def divergence(mean: Tensor, spread: Tensor) -> Tensor:
    """Return KL(q || p) in nats (B,), q normal (B, latent), p standard normal (appendix B)."""
    return (mean.square() + spread.square() - 1 - 2 * spread.log()).sum(1) / 2


def log_likelihood(image: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
    """Return log-likelihoods in nats of the grey values, one of -1, -1 + 2/255, ..., 1 per pixel.

    The probability of the bin is sigmoid(upper) - sigmoid(lower)
    = sigmoid(upper) sigmoid(-lower) (1 - exp(lower - upper)), whose logarithm is accurate even for
    tiny values. The bins of black and white extend to infinity.
    """
    upper = (image + 1 / 255 - location) * (-log_scale).exp()
    lower = (image - 1 / 255 - location) * (-log_scale).exp()
    width = (2 / 255) * (-log_scale).exp()
    black, white = image < -1 + 1 / 255, image > 1 - 1 / 255
    above, below = F.logsigmoid(upper), F.logsigmoid(-lower)
    inner = above + below + (-(-width).expm1()).log()
    return torch.where(black, above, torch.where(white, below, inner))
