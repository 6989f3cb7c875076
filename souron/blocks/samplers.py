"""From noise to a picture, with what tells the clean picture in a noisy one.

    x_t = a_t x_0 + s_t noise      a_t^2 = prod (1 - beta_i) for i up to t      s_t^2 = 1 - a_t^2

A denoiser is any callable: (x_t (B, ...), t) -> its idea of x_0, (B, ...); t counts from 0.
``kept`` are the a_t^2 of every t. Each sampler yields x at every stop of its way, the noise itself
first; ``steps``, as many as there are t at most, is how often it asks. Random numbers, where it
needs some, come from ``normal``.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, int], Tensor]

LEAST = -5.06  # of log(a / s): the linear schedule's last, and enough


def linear(steps: int = 1000) -> Tensor:
    """a_t^2 (steps,) in float64: beta from 0.0001 to 0.02 (Ho, Jain, Abbeel 2020)."""
    betas = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64, device="cpu")
    return (1 - betas).cumprod(0)


def scaled_linear(steps: int = 1000) -> Tensor:
    """a_t^2 (steps,) in float64: the roots of beta in even steps, from 0.00085 to 0.012, as Stable
    Diffusion has them (Rombach and others 2022)."""
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64, device="cpu")
    return (1 - roots.square()).cumprod(0)


def cosine(steps: int = 1000) -> Tensor:
    """a_t^2 (steps,) in float64, in proportion to cos^2 (Nichol, Dhariwal 2021).

    https://arxiv.org/abs/2102.09672
    """
    time = torch.arange(steps + 1, dtype=torch.float64, device="cpu") / steps
    square = ((time + 0.008) / 1.008 * math.pi / 2).cos().square()
    return (square[1:] / square[:-1]).clamp(min=1 - 0.999).cumprod(0)


def evenly(kept: Sequence[float], steps: int) -> list[int]:
    """So many different t, downwards from the last at even distances."""
    return [round(len(kept) * (1 - i / steps)) - 1 for i in range(steps)]


def evenly_in_noise(kept: Sequence[float], steps: int) -> list[int]:
    """So many different t, downwards at even distances of l = log(a_t / s_t), from where almost
    nothing of the picture is left (Lu and others 2022: best for small pictures)."""
    l = [math.log(now / (1 - now)) / 2 for now in kept]
    first = max(l[-1], LEAST)
    at: list[int] = []
    for i in range(steps):
        wanted = first + (l[0] - first) * i / max(1, steps - 1)
        nearest = min(range(len(l)), key=lambda t: abs(l[t] - wanted))
        highest = at[-1] - 1 if at else len(l) - 1
        at.append(max(steps - 1 - i, min(nearest, highest)))
    return at


def way(kept: Sequence[float], at: Sequence[int]) -> Iterator[tuple[int, float, float]]:
    """Each stop t, a_t^2, and a^2 of the stop after it: 1 at the end."""
    for t, after in zip(at, [*at[1:], None], strict=True):
        yield t, kept[t], 1.0 if after is None else kept[after]


def ddpm(
    denoise: Denoiser, kept: Sequence[float], steps: int, x: Tensor, normal: Callable[[], Tensor]
) -> Iterator[Tensor]:
    """Draw each x from what lies between the last one and the clean picture (Ho and others 2020,
    equation 7); where stops are left out, beta is that of the whole leap."""
    yield x
    for t, now, after in way(kept, evenly(kept, steps)):
        clean = denoise(x, t)
        beta = 1 - now / after
        of_clean = math.sqrt(after) * beta / (1 - now)
        of_noisy = math.sqrt(now / after) * (1 - after) / (1 - now)
        x = of_clean * clean + of_noisy * x
        if after < 1:
            x = x + math.sqrt((1 - after) / (1 - now) * beta) * normal()
        yield x


def ddim(
    denoise: Denoiser, kept: Sequence[float], steps: int, x: Tensor, normal: Callable[[], Tensor]
) -> Iterator[Tensor]:
    """The noise that was found is put back, less of it: no chance (eta = 0).

    Song, Meng, Ermon: Denoising Diffusion Implicit Models (2020), equation 12.
    https://arxiv.org/abs/2010.02502
    """
    yield x
    for t, now, after in way(kept, evenly(kept, steps)):
        clean = denoise(x, t)
        noise = (x - math.sqrt(now) * clean) / math.sqrt(1 - now)
        x = math.sqrt(after) * clean + math.sqrt(1 - after) * noise
        yield x


def dpm(
    denoise: Denoiser, kept: Sequence[float], steps: int, x: Tensor, normal: Callable[[], Tensor]
) -> Iterator[Tensor]:
    """DPM-Solver++ (2M): the clean picture is carried on in a straight line from its last two,
    over l = log(a / s), and the differential equation solved exactly for that; no chance.

    Lu and others: DPM-Solver++ (2022), algorithm 2. https://arxiv.org/abs/2211.01095
    """
    yield x
    before: tuple[Tensor, float] | None = None  # the last clean picture, and the leap of l to here
    for t, now, after in way(kept, evenly_in_noise(kept, steps)):
        clean = denoise(x, t)
        if after == 1:  # l is infinite where no noise is left: what is clean is the picture
            x = clean
        else:
            leap = (math.log(after / (1 - after)) - math.log(now / (1 - now))) / 2
            ahead = clean
            if before is not None:
                ahead = clean + (clean - before[0]) * leap / (2 * before[1])
            # exp(-leap) = s_after a_now / (a_after s_now)
            x = math.sqrt((1 - after) / (1 - now)) * x - (
                math.sqrt(after) * math.expm1(-leap) * ahead
            )
            before = clean, leap
        yield x


SAMPLERS = {"dpm": dpm, "ddim": ddim, "ddpm": ddpm}
