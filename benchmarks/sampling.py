"""Drawing step by step: diffusion's samplers and Image GPT's cache, equality and seconds.

    .venv/bin/python benchmarks/sampling.py

Where diffusers can be imported (``pip install --target FOLDER --no-deps diffusers huggingface_hub
transformers regex requests importlib_metadata``, then ``PYTHONPATH=FOLDER``), each sampler's steps
are compared with those of its schedulers, and a training step with that of its UNet2DModel of the
same size and weights, as its unconditional example trains (float32, AdamW). What is timed takes
turns within one process: ABAB, then BABA. Weights are those of untrained networks: seconds do not
depend on them. How good the pictures are is measured elsewhere.
"""

# ruff: noqa: E402, the allocator is set before torch is imported

import argparse
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from itertools import product
from typing import Any

from souron.utils import hardware

hardware.calm_allocator()

import torch
from printing import say, spread, table, watched, where
from torch import Tensor
from torch.nn import functional as F

from souron import registry
from souron.blocks import samplers
from souron.evaluation.generators.sampling import Noise
from souron.tasks.generate import Batch, Spec
from souron.training.loop import Run, descend
from souron.training.trainer import autocast

GREY, COLOUR = Spec(1, 28, tuple("0123456789"), (0.1,) * 10), Spec(3, 32)
STEPS = (4, 20, 50, 1000)  # that divide 1000: diffusers' DDIM takes others for the nearest


def in_turns(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, round by round."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    with watched():
        for turn in range(rounds):
            for name in list(sides)[:: -1 if turn % 2 else 1]:
                begun = time.perf_counter()
                sides[name]()
                times[name].append(time.perf_counter() - begun)
            say(
                f"round {turn + 1} of {rounds}: "
                + ", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in times.items())
            )
    return times


def rows_of(times: dict[str, list[float]]) -> list[list[str]]:
    """Each side's seconds, and how many times as fast it is as the last one, round by round."""
    last = list(times.values())[-1]
    return [
        [name, spread(seconds, 3), spread([b / a for a, b in zip(seconds, last, strict=True)], 2)]
        for name, seconds in times.items()
    ]


def finish(steps: Iterable[Any]) -> Any:
    [last] = deque(steps, maxlen=1)
    return last


def built(name: str, seen: Spec, **changed: Any) -> Any:
    kind, config = registry.load_system(name)
    torch.manual_seed(0)
    return kind(type(config)(**{**vars(config), **changed}), seen).eval()


def draw(system: Any, count: int, **options: Any) -> Callable[[], Any]:
    label = torch.arange(count) % len(system.spec.labels)

    def go() -> None:
        with torch.no_grad(), autocast(torch.device("cpu"))():
            finish(system.drawing(Noise(1, range(count)), label, **options))

    return go


def cached(system: Any, count: int, cached: bool) -> Callable[[], Any]:
    chance, first = Noise(1, range(count)).uniform(28 * 28), torch.empty(count, 0).long()

    def go() -> Tensor:
        with autocast(torch.device("cpu"))():
            return finish(system.growing(chance, first, cached=cached))

    return go


def differences() -> list[list[str]]:
    """The largest difference of any step from that of diffusers' schedulers, with the same x,
    model output and noise; as they come, with a schedule in float32, and with it in float64."""
    import diffusers
    from diffusers.schedulers import scheduling_ddpm

    kinds = {
        "ddpm": diffusers.DDPMScheduler(timestep_spacing="trailing"),
        "ddim": diffusers.DDIMScheduler(timestep_spacing="trailing"),
        "dpm": diffusers.DPMSolverMultistepScheduler(timestep_spacing="trailing"),
    }
    kept = samplers.linear().tolist()
    start = torch.randn(16, 1, 8, 8, dtype=torch.float64)

    def clean(x: Tensor, t: int) -> Tensor:
        return 0.8 * (2 * x + t / 400).sin()

    def noise_of(source: torch.Generator) -> Tensor:
        return torch.randn(start.shape, generator=source, dtype=start.dtype)

    rows, own, stops = [], scheduling_ddpm.randn_tensor, (samplers.evenly, samplers.evenly_in_noise)
    rounded = {name: scheduler.alphas_cumprod for name, scheduler in kinds.items()}
    for (name, scheduler), exact in product(kinds.items(), (False, True)):
        scheduler.alphas_cumprod = samplers.linear().double() if exact else rounded[name]
        row = [f"{name}, {'float64' if exact else 'float32'}"]
        for steps in STEPS:
            scheduler.set_timesteps(steps)
            at = scheduler.timesteps.tolist()
            samplers.evenly = samplers.evenly_in_noise = lambda kept, steps, at=at: at
            theirs, ours = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
            scheduling_ddpm.randn_tensor = lambda *_, source=theirs, **__: noise_of(source)
            way = samplers.SAMPLERS[name](clean, kept, steps, start, lambda source=ours: noise_of(source))
            x, worst = next(way), 0.0
            for t, mine in zip(at, way, strict=True):
                found = (x - math.sqrt(kept[t]) * clean(x, t)) / math.sqrt(1 - kept[t])
                x = scheduler.step(found, t, x).prev_sample
                worst = max(worst, (x - mine).abs().max().item())
                x = mine  # so that each step is compared from the same x
            row.append(f"{worst:.1e}")
        rows.append(row)
    scheduling_ddpm.randn_tensor, (samplers.evenly, samplers.evenly_in_noise) = own, stops
    return rows


def training(batch: int) -> dict[str, Callable[[], Any]]:
    """One step each of 32 x 32 in colour: souron's loop, diffusers' UNet under bfloat16, and as its
    example trains."""
    import diffusers

    system = built("ddpm", COLOUR, multiples=(1, 2, 2), layers=2, patch=1)

    def network() -> Any:
        width = system.config.width
        unet = diffusers.UNet2DModel(
            sample_size=32,
            block_out_channels=(width, 2 * width, 2 * width),
            freq_shift=1,
            flip_sin_to_cos=False,
            downsample_padding=0,
            norm_eps=1e-6,
            attention_head_dim=None,
            norm_num_groups=system.network.conv_norm_out.num_groups,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )
        unet.load_state_dict(system.network.state_dict())
        return unet.train()

    image, label = torch.rand(batch, 3, 32, 32) * 2 - 1, torch.zeros(batch, dtype=torch.long)

    class Ready:
        def endless(self, size: int, start: int = 0) -> Iterable[Any]:
            while True:
                yield Batch(image, label)

    def theirs(half: bool) -> Callable[[], Any]:
        unet, scheduler = network(), diffusers.DDPMScheduler()
        optimizer = torch.optim.AdamW(unet.parameters(), 1e-4)

        def go() -> None:
            noise, step = torch.randn_like(image), torch.randint(1000, (batch,))
            noisy = scheduler.add_noise(image, noise, step)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                found = unet(noisy, step).sample
            loss = F.mse_loss(found.float(), noise)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        return go

    example, half = theirs(False), theirs(True)
    run = Run(10**9, batch, autocast=autocast(torch.device("cpu")))
    ours = descend(system, Ready(), run)  # type: ignore[arg-type]
    return {
        "souron (with the weights' average)": lambda: next(ours),
        "diffusers, bfloat16 autocast": half,
        "diffusers, as its example": example,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=64, help="pictures that the samplers draw")
    parser.add_argument("--grown", type=int, default=8, help="pictures that Image GPT draws")
    parser.add_argument("--batch", type=int, default=32, help="of a training step")
    parser.add_argument("--threads", type=int, default=hardware.cores())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    there = find_spec("diffusers") is not None

    if there:
        with watched():
            found = differences()
        print(table(["largest difference from diffusers", *(f"{n} steps" for n in STEPS)], found))
        print(
            "\nIn float64; named is what diffusers keeps its schedule in, which is float32 as it "
            "comes. The noise levels of its dpm are float32 in both.\n"
        )

    system = built("ddpm", GREY)
    sides = {
        f"{sampler}, {steps} steps": draw(system, chosen.count, sampler=sampler, steps=steps, guidance=0.0)
        for sampler, steps in (("dpm", 15), ("ddim", 50))
    }
    head = ["seconds (median, least to most)", "times as fast as the last"]
    sides["dpm, 15 steps"]()  # warms up
    print(table([f"{chosen.count} pictures of 28 x 28, ddpm", *head], rows_of(in_turns(sides, chosen.rounds))))

    gpt = built("image_gpt", GREY)
    sides = {
        "with keys and values kept": cached(gpt, chosen.grown, True),
        "reading all again": cached(gpt, chosen.grown, False),
    }
    rounds = max(1, chosen.rounds // 3)  # the second takes minutes
    print("\n" + table([f"{chosen.grown} pictures of 28 x 28, image_gpt", *head], rows_of(in_turns(sides, rounds))))

    if there:
        sides = training(chosen.batch)
        for warm in sides.values():
            warm()
        print(
            "\n"
            + table([f"a training step, {chosen.batch} of 32 x 32", *head], rows_of(in_turns(sides, chosen.rounds)))
        )
    else:
        print("\ndiffusers cannot be imported: not compared with it.")
    print("\n" + where(chosen.threads, "souron", *(["diffusers"] if there else [])))


if __name__ == "__main__":
    main()
