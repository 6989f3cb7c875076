"""Right answers of exercises, computed by PyTorch and by souron's own systems and metrics.

``COMPUTED`` names the functions that the file of a row may ask for. Each returns one number.
"""

from collections.abc import Callable, Sequence
from typing import Any


def convolution(inputs: int, outputs: int, kernel: int, stride: int, padding: int, bias: bool) -> Any:
    from torch import nn

    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias, device="meta")


def weights(module: Any) -> int:
    return sum(one.numel() for one in module.parameters())


def convolution_parameters(kernel: int, inputs: int, outputs: int, layers: int = 1, bias: bool = True) -> int:
    """Count the parameters of ``layers`` equal convolutions in a row.

    >>> convolution_parameters(3, 1, 32)
    320
    """
    return layers * weights(convolution(inputs, outputs, kernel, 1, 0, bias))


def convolution_side(side: int, kernel: int, stride: int, padding: int = 0) -> int:
    """Return the side of the feature map of a square image.

    >>> convolution_side(224, 11, 4, 2)
    55
    """
    import torch

    made = convolution(1, 1, kernel, stride, padding, False)(torch.empty(1, 1, side, side, device="meta"))
    return int(made.shape[-1])


def patches(side: int, patch: int) -> int:
    """Count the patches of a square image.

    >>> patches(224, 16)
    196
    """
    return convolution_side(side, patch, patch) ** 2


def dense_parameters(widths: Sequence[int]) -> int:
    """Count the weights and biases of fully connected layers.

    >>> dense_parameters([784, 100, 10])
    79510
    """
    from itertools import pairwise

    from torch import nn

    return sum(weights(nn.Linear(before, after, device="meta")) for before, after in pairwise(widths))


def low_rank_parameters(rank: int, inputs: int, outputs: int) -> int:
    """Count the parameters of LoRA's two matrices beside one weight matrix.

    >>> low_rank_parameters(8, 768, 768)
    12288
    """
    import torch

    up, down = torch.empty(outputs, rank, device="meta"), torch.empty(rank, inputs, device="meta")
    assert (up @ down).shape == (outputs, inputs)
    return up.numel() + down.numel()


def slope_with_skip(slope: float) -> float:
    """Differentiate x + F(x) by x, where F has that slope.

    >>> round(slope_with_skip(0.1), 4)
    1.1
    """
    import torch

    x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(x + slope * x, [x])
    return float(found)


def softmax(logits: Sequence[float], at: int, temperature: float = 1.0) -> float:
    """Return the probability at a place.

    >>> round(softmax([2, 1, 0], 0), 3)
    0.665
    """
    import torch

    return float((torch.tensor(logits, dtype=torch.float64) / temperature).softmax(0)[at])


def discriminator_loss(real: float, generated: float) -> float:
    """Return the loss of a discriminator that gives real and generated images these probabilities of being real.

    >>> round(discriminator_loss(0.5, 0.5), 3)
    1.386
    """
    import torch
    from torch.nn import functional as F

    said = torch.tensor([real, generated], dtype=torch.float64)
    return float(F.binary_cross_entropy(said, torch.tensor([1.0, 0.0], dtype=torch.float64), reduction="sum"))


def divergence_from_normal(mean: float, deviation: float) -> float:
    """Return the Kullback-Leibler divergence of N(mean, deviation²) from N(0, 1), in nats.

    >>> divergence_from_normal(1, 1)
    0.5
    """
    from torch.distributions import Normal, kl_divergence

    return float(kl_divergence(Normal(float(mean), float(deviation)), Normal(0.0, 1.0)))


def noisy_value(clean: float, noise: float, kept: float) -> float:
    """Return a pixel after diffusion's forward process; ``kept`` is the share of the variance that is signal.

    >>> round(noisy_value(1, 0.5, 0.25), 3)
    0.933
    """
    return kept**0.5 * clean + (1 - kept) ** 0.5 * noise


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors.

    >>> round(cosine([1, 1], [1, 0]), 3)
    0.707
    """
    import torch
    from torch.nn import functional as F

    a, b = (torch.tensor(each, dtype=torch.float64) for each in (one, other))
    return float(F.cosine_similarity(a, b, dim=0))


def centre_after_step(points: Sequence[float], centres: Sequence[float], at: int) -> float:
    """Return a centre on a line after one assignment and one move of souron's kmeans.

    >>> round(centre_after_step([0, 1, 4, 5], [0, 1], 1), 2)
    3.33
    """
    import torch

    from souron import registry
    from souron.evaluation.unsupervised import Spec

    kind, config = registry.load_system("kmeans")
    kmeans = kind(type(config)(len(centres)), Spec(1))
    places = torch.tensor(points, dtype=torch.float32)[:, None]
    with torch.no_grad():
        kmeans.centres.copy_(torch.tensor(centres, dtype=torch.float32)[:, None])
        nearest = kmeans(places)
        kmeans.move(places, nearest, (places - kmeans.centres[nearest]).square().sum(1))
    return float(kmeans.centres[at, 0])


def box_overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the IoU of two boxes (left, top, right, bottom).

    >>> round(box_overlap([0, 0, 10, 10], [5, 0, 15, 10]), 3)
    0.333
    """
    import numpy as np

    from souron.metrics.detection import overlaps

    a, b = (np.array([each], dtype=np.float64) for each in (one, other))
    return float(overlaps(a, b)[0, 0])


def mask_overlap(shared: int, true: int, predicted: int) -> float:
    """Return the IoU of two masks with so many pixels, of which so many are shared.

    >>> mask_overlap(60, 100, 80)
    0.5
    """
    import numpy as np

    place = np.arange(true + predicted)
    there, said = place < true, (place >= true - shared) & (place < true - shared + predicted)
    return float((there & said).sum() / (there | said).sum())


def landmark_error(across: float, down: float, spacing: float) -> float:
    """Return a landmark's radial error in mm from its offset in pixels.

    >>> landmark_error(3, 4, 0.5)
    2.5
    """
    from souron.metrics import keypoints

    error = keypoints.errors([[[across, down]]], [[[0.0, 0.0]]])
    return float(keypoints.millimetres(error, [spacing])[0, 0])


def interval_low(right: int, count: int) -> float:
    """Return the lower end of the 95 % interval of a share, in percent.

    >>> round(interval_low(18, 20))
    70
    """
    from souron.stats.intervals import proportion_interval

    return 100 * proportion_interval(right, count).low


def false_alarms(sensitivity: float, specificity: float, prevalence: float, people: int = 1000) -> int:
    """Count the false alarms among so many people.

    >>> false_alarms(0.9, 0.9, 0.01)
    99
    """
    from souron.metrics.net_benefit import frequencies

    return frequencies(sensitivity, specificity, prevalence, people).alarms


def reciprocal_rank(scores: Sequence[float], at: int) -> float:
    """Return 1 / rank of the right item among scores.

    >>> round(reciprocal_rank([0.9, 0.2, 0.5], 1), 3)
    0.333
    """
    from souron.metrics import retrieval

    return float(retrieval.reciprocal(retrieval.rank(scores, [place == at for place in range(len(scores))])))


COMPUTED: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        convolution_parameters,
        convolution_side,
        patches,
        dense_parameters,
        low_rank_parameters,
        slope_with_skip,
        softmax,
        discriminator_loss,
        divergence_from_normal,
        noisy_value,
        cosine,
        centre_after_step,
        box_overlap,
        mask_overlap,
        landmark_error,
        interval_low,
        false_alarms,
        reciprocal_rank,
    )
}
