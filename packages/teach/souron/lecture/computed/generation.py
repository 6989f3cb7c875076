"""Generation: losses, noise, styles, densities and distances of generative models."""

from collections.abc import Sequence


def divergence_from_normal(mean: float, deviation: float) -> float:
    """Return the Kullback-Leibler divergence of N(mean, deviation²) from N(0, 1), in nats.

    >>> divergence_from_normal(1, 1)
    0.5
    """
    from torch.distributions import Normal, kl_divergence

    return float(kl_divergence(Normal(float(mean), float(deviation)), Normal(0.0, 1.0)))


def discriminator_loss(real: float, generated: float) -> float:
    """Return the loss of a discriminator that gives real and generated images these probabilities of being real.

    >>> round(discriminator_loss(0.5, 0.5), 3)
    1.386
    """
    import torch
    from torch.nn import functional as F

    y_pred = torch.tensor([real, generated], dtype=torch.float64)
    return float(F.binary_cross_entropy(y_pred, torch.tensor([1.0, 0.0], dtype=torch.float64), reduction="sum"))


def transposed_side(side: int, layers: int, kernel: int, stride: int, padding: int) -> int:
    """Return the side of a feature map after equal transposed convolutions.

    >>> transposed_side(4, 3, 4, 2, 1)
    32
    """
    import torch
    from torch import nn

    layer = nn.ConvTranspose2d(1, 1, kernel, stride, padding, device="meta")
    x = torch.empty(1, 1, side, side, device="meta")
    for _layer in range(layers):
        x = layer(x)
    return int(x.shape[-1])


def faded(old: float, new: float, alpha: float) -> float:
    """Return a pixel while a new layer is faded in: ``alpha`` of the new value, the rest of the enlarged old one.

    >>> round(faded(0.2, 0.8, 0.25), 3)
    0.35
    """
    import torch

    return float(torch.lerp(torch.tensor(old), torch.tensor(new), alpha))


def outside_normal(most: float) -> float:
    """Return the percentage of normal numbers that lie beyond -most..most.

    >>> round(outside_normal(1.96), 1)
    5.0
    """
    from torch import tensor
    from torch.distributions import Normal

    return 200 * float(Normal(0.0, 1.0).cdf(tensor(-float(most))))


def styled(feature: Sequence[float], scale: float, shift: float, at: int) -> float:
    """Return a value of a feature after adaptive instance normalisation.

    >>> round(styled([1, 3], 4, 10, 1), 3)
    14.0
    """
    import torch
    from torch.nn import functional as F

    x = torch.tensor(feature, dtype=torch.float64)[None, None]
    return float(F.instance_norm(x, eps=1e-12)[0, 0, at]) * scale + shift


def bits_per_token(probabilities: Sequence[float]) -> float:
    """Return the negative log-likelihood of a sequence in bits, per token.

    >>> bits_per_token([0.5, 0.25])
    1.5
    """
    import torch

    return float(-torch.tensor(probabilities, dtype=torch.float64).log2().mean())


def flow_density(x: float, factor: float) -> float:
    """Return the density at x by the flow z = factor x, where z is standard normal.

    >>> round(flow_density(0.5, 2), 3)
    0.484
    """
    from torch import tensor
    from torch.distributions import AffineTransform, Normal, TransformedDistribution

    flow = TransformedDistribution(Normal(0.0, 1.0), AffineTransform(0.0, 1 / factor))
    return float(flow.log_prob(tensor(float(x))).exp())


def noisy_value(clean: float, noise: float, kept: float) -> float:
    """Return a pixel after diffusion's forward process; ``kept`` is the share of the variance that is signal.

    >>> round(noisy_value(1, 0.5, 0.25), 3)
    0.933
    """
    return kept**0.5 * clean + (1 - kept) ** 0.5 * noise


def guided(without: float, prompted: float, guidance: float) -> float:
    """Return the noise that a diffusion model subtracts, from its predictions without and with the prompt.

    >>> round(guided(0.2, 0.5, 3), 3)
    1.1
    """
    import torch

    return float(torch.lerp(torch.tensor(without), torch.tensor(prompted), guidance))


def frechet_distance(real: Sequence[float], generated: Sequence[float]) -> float:
    """Return the Fréchet distance of one normal feature, each side given by its mean and standard deviation.

    >>> round(frechet_distance([0, 1], [1, 0.5]), 3)
    1.25
    """
    import numpy as np

    from souron.metrics.generation import frechet

    sides = [mean + deviation * np.array([[-1.0], [0.0], [1.0]]) for mean, deviation in (real, generated)]
    return frechet(*sides).value


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors.

    >>> round(cosine([1, 1], [1, 0]), 3)
    0.707
    """
    import torch
    from torch.nn import functional as F

    a, b = (torch.tensor(each, dtype=torch.float64) for each in (one, other))
    return float(F.cosine_similarity(a, b, dim=0))


def best_for_squared_error(values: Sequence[float]) -> float:
    """Return the one answer whose squared error to these equally likely values is smallest.

    >>> round(best_for_squared_error([60, 60, 60, -60, -60]), 9)
    12.0
    """
    import torch

    target = torch.tensor(values, dtype=torch.float64)
    return float(torch.linalg.lstsq(torch.ones(len(target), 1, dtype=torch.float64), target[:, None]).solution)


def subpixel_channels(colours: int, factor: int) -> int:
    """Count the channels that a sub-pixel convolution rearranges into an image with ``factor`` times the side.

    >>> subpixel_channels(3, 4)
    48
    """
    import torch
    from torch.nn import functional as F

    image = torch.empty(1, colours, factor, factor, device="meta")
    return F.pixel_unshuffle(image, factor).shape[1]


def time_attention_scores(frames: int, side: int) -> int:
    """Count the scores of attention in time: each position of each frame with the same position of all frames.

    >>> time_attention_scores(8, 16)
    16384
    """
    import torch

    tokens = torch.empty(side * side, frames, 1, device="meta")  # a sequence for each position
    return (tokens @ tokens.transpose(1, 2)).numel()


def bars_in_context(tokens: int, quarters: int) -> float:
    """Return how many bars of four voices fit, with a token for each voice in each sixteenth.

    >>> bars_in_context(512, 4)
    8.0
    """
    from souron.data.voices import VOICES
    from souron.kinds.codecs.notation import STEPS

    return tokens / (len(VOICES) * STEPS * quarters)
