"""Samplers of diffusion models, with noise schedules.

    x_t = a_t x_0 + s_t noise      a_t^2 = prod (1 - beta_i) for i up to t      s_t^2 = 1 - a_t^2

A denoiser is any callable (x_t (B, ...), t) -> estimate of x_0, (B, ...); t counts from 0. ``kept``
are the a_t^2 of all t. Each sampler yields x at every step, the initial noise first; ``steps`` is
the number of denoiser calls, at most the number of t. Random numbers come from ``normal``.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, int], Tensor]

DISTILLED = 20  # steps between two t of the teacher's sampler, in distillation
LEAST = -5.06  # smallest log(a / s): that of the linear schedule


def linear(steps: int = 1000) -> Tensor:
    """Return a_t^2 (steps,) in float64: beta from 0.0001 to 0.02 (Ho, Jain, Abbeel 2020)."""
    betas = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64, device="cpu")
    return (1 - betas).cumprod(0)


def scaled_linear(steps: int = 1000) -> Tensor:
    """Return a_t^2 (steps,) in float64: sqrt(beta) linear, beta from 0.00085 to 0.012.

    This is Stable Diffusion's schedule (Rombach and others 2022).
    """
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64, device="cpu")
    return (1 - roots.square()).cumprod(0)


def cosine(steps: int = 1000) -> Tensor:
    """Return a_t^2 (steps,) in float64, proportional to cos^2 (Nichol, Dhariwal 2021).

    https://arxiv.org/abs/2102.09672
    """
    time = torch.arange(steps + 1, dtype=torch.float64, device="cpu") / steps
    square = ((time + 0.008) / 1.008 * math.pi / 2).cos().square()
    return (square[1:] / square[:-1]).clamp(min=1 - 0.999).cumprod(0)


def evenly(alpha_bar: Sequence[float], steps: int) -> list[int]:
    """Return ``steps`` distinct t in descending order, evenly spaced from the last."""
    return [round(len(alpha_bar) * (1 - i / steps)) - 1 for i in range(steps)]


def end_to_end(alpha_bar: Sequence[float], steps: int) -> list[int]:
    """Return ``steps`` distinct t in descending order, evenly spaced from the last to the first."""
    apart = (len(alpha_bar) - 1) / max(1, steps - 1)
    return [round((steps - 1 - i) * apart) for i in range(steps)] if steps > 1 else [len(alpha_bar) - 1]


def evenly_in_noise(alpha_bar: Sequence[float], steps: int) -> list[int]:
    """Return ``steps`` distinct t in descending order, evenly spaced in l = log(a_t / s_t).

    They start where almost nothing of the image is left (Lu and others 2022: best for small
    images).
    """
    l = [math.log(now / (1 - now)) / 2 for now in alpha_bar]
    first = max(l[-1], LEAST)
    at: list[int] = []
    for i in range(steps):
        target = first + (l[0] - first) * i / max(1, steps - 1)
        nearest = min(range(len(l)), key=lambda t: abs(l[t] - target))
        highest = at[-1] - 1 if at else len(l) - 1
        at.append(max(steps - 1 - i, min(nearest, highest)))
    return at


def way(alpha_bar: Sequence[float], at: Sequence[int]) -> Iterator[tuple[int, float, float]]:
    """Yield each t, its a_t^2, and the a^2 of the next t: 1 at the end."""
    for t, after in zip(at, [*at[1:], None], strict=True):
        yield t, alpha_bar[t], 1.0 if after is None else alpha_bar[after]


def ddpm(
    denoise: Denoiser, alpha_bar: Sequence[float], steps: int, x: Tensor, normal: Callable[[], Tensor]
) -> Iterator[Tensor]:
    """Sample each x from the posterior given x_t and the estimate of x_0 (Ho and others 2020, eq.
    7).

    Where steps are skipped, beta is that of the whole interval.
    """
    yield from ancestral(lambda x, t: (denoise(x, t), 0.0), alpha_bar, evenly(alpha_bar, steps), x, normal)


def ancestral(
    denoise: Callable[[Tensor, int], tuple[Tensor, Tensor | float]],
    alpha_bar: Sequence[float],
    at: Sequence[int],
    x: Tensor,
    normal: Callable[[], Tensor],
) -> Iterator[Tensor]:
    """Sample as ``ddpm`` at the steps ``at``, where the denoiser also predicts the variance.

    Beside x_0 it returns the position of the log variance between that of the posterior, 0, and
    beta, 1 (Nichol, Dhariwal: Improved Denoising Diffusion Probabilistic Models, 2021, equation 15,
    https://arxiv.org/abs/2102.09672).
    """
    yield x
    for t, now, after in way(alpha_bar, at):
        clean, share = denoise(x, t)
        beta = 1 - now / after
        of_clean = math.sqrt(after) * beta / (1 - now)
        of_noisy = math.sqrt(now / after) * (1 - after) / (1 - now)
        x = of_clean * clean + of_noisy * x
        if after < 1:
            deviation_factor = ((1 - now) / (1 - after)) ** (share / 2)  # beta over the posterior's variance
            x = x + math.sqrt((1 - after) / (1 - now) * beta) * deviation_factor * normal()
        yield x


def ddim(
    denoise: Denoiser, alpha_bar: Sequence[float], steps: int, x: Tensor, normal: Callable[[], Tensor]
) -> Iterator[Tensor]:
    """Deterministic DDIM sampling (eta = 0).

    Song, Meng, Ermon: Denoising Diffusion Implicit Models (2020), equation 12.
    https://arxiv.org/abs/2010.02502
    """
    yield x
    for t, now, after in way(alpha_bar, evenly(alpha_bar, steps)):
        clean = denoise(x, t)
        noise = (x - math.sqrt(now) * clean) / math.sqrt(1 - now)
        x = math.sqrt(after) * clean + math.sqrt(1 - after) * noise
        yield x


def dpm(
    denoise: Denoiser, alpha_bar: Sequence[float], steps: int, x: Tensor, normal: Callable[[], Tensor]
) -> Iterator[Tensor]:
    """DPM-Solver++ (2M), deterministic and of second order.

    The estimate of x_0 is extrapolated linearly in l = log(a / s) from the last two, and the
    differential equation is solved exactly for it.

    Lu and others: DPM-Solver++ (2022), algorithm 2. https://arxiv.org/abs/2211.01095
    """
    yield x
    before: tuple[Tensor, float] | None = None  # previous estimate of x_0, step in l since then
    for t, now, after in way(alpha_bar, evenly_in_noise(alpha_bar, steps)):
        clean = denoise(x, t)
        if after == 1:  # l is infinite without noise: the estimate is the image
            x = clean
        else:
            leap = (math.log(after / (1 - after)) - math.log(now / (1 - now))) / 2
            ahead = clean
            if before is not None:
                ahead = clean + (clean - before[0]) * leap / (2 * before[1])
            # exp(-leap) = s_after a_now / (a_after s_now)
            x = math.sqrt((1 - after) / (1 - now)) * x - (math.sqrt(after) * math.expm1(-leap) * ahead)
            before = clean, leap
        yield x


def lcm(
    denoise: Denoiser, alpha_bar: Sequence[float], steps: int, x: Tensor, normal: Callable[[], Tensor]
) -> Iterator[Tensor]:
    """Sample in a few steps from a network distilled for it: each estimate of x_0 is noised again.

    The first t leave x almost as it is: f(x, t) = c x + d x_0 with c(0) = 1.

    Luo and others: Latent Consistency Models (2023), algorithm 4. https://arxiv.org/abs/2310.04378
    """
    yield x
    apart = max(1, min(DISTILLED, len(alpha_bar) // steps))  # between the t that the network was distilled at
    there = list(range(apart - 1, len(alpha_bar), apart))[::-1]
    for t, _now, after in way(alpha_bar, [there[i * len(there) // steps] for i in range(steps)]):
        far = 10 * t
        c, d = 0.25 / (far**2 + 0.25), far / math.sqrt(far**2 + 0.25)
        x = d * denoise(x, t) + c * x
        if after < 1:
            x = math.sqrt(after) * x + math.sqrt(1 - after) * normal()
        yield x


SAMPLERS = {"dpm": dpm, "ddim": ddim, "ddpm": ddpm, "lcm": lcm}
