"""What a picture costs as it grows: training and drawing at 16, 32 and 64 pixels a side.

    python benchmarks/growth.py

Every generator at its size ``small`` on random pictures in colour, a batch of 32; medians of a few
steps after the first; of a system that grows while it learns, the mean over five places of its
budget, drawing as at the last. Drawing is in batches of 16, as ``souron generate`` does it by
default.
"""

# ruff: noqa: E402, the allocator is set before torch is imported

import argparse
import time
from itertools import pairwise
from statistics import fmean, median

from souron.utils import hardware

hardware.calm_allocator()

import torch
from printing import say, table, watched, where

from souron import registry
from souron.data.dataset import Dataset, Loader
from souron.evaluation.generators import sampling
from souron.evaluation.generators.sampling import Noise
from souron.system import System
from souron.training import forecast, trainer
from souron.training.loop import Run

SIDES = (16, 32, 64)
BATCH, DRAWN = 32, 16


def main() -> None:
    generators = [e.name for e in registry.entries().values() if e.task == "generate"]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--systems", type=lambda text: text.split(","), default=generators)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each cell, about")
    asked = parser.parse_args()
    rows = []
    for name in asked.systems:
        cells: list[str] = []
        for side in SIDES:
            say(f"{name}, {side} pixels")
            with watched():
                step, drawn = cost(name, side, asked.seconds)
            cells += [f"{1000 * step:.3g}", f"{1000 * drawn:.3g}"]
        rows.append((name, *cells))
    head = ["system", *(f"{what}, {side} px" for side in SIDES for what in ("learning", "drawing"))]
    print("Milliseconds a picture.\n")
    print(table(head, rows))
    print(f"\n{where(torch.get_num_threads())}")


def cost(name: str, side: int, seconds: float) -> tuple[float, float]:
    """Seconds of a step and of drawing, a picture each."""
    generator = torch.Generator().manual_seed(0)
    cases = Dataset(
        "random",
        torch.randint(0, 256, (8 * BATCH, 3, side, side), dtype=torch.uint8, generator=generator),
        torch.arange(8 * BATCH) % 10,
        tuple("0123456789"),
        [str(i) for i in range(8 * BATCH)],
    )
    kind, config = registry.load_system(name)
    torch.manual_seed(0)
    model = kind(config, kind.spec_for(cases))
    if model.channels_last:
        model.to(memory_format=torch.channels_last)
    feed = model.loader(cases)
    places = forecast.GROWING if model.grows else (0.0,)
    steps = [a_step(model, feed, place, seconds / 2 / len(places)) for place in places]
    begun, rounds = time.perf_counter(), 0
    while rounds == 0 or time.perf_counter() - begun < seconds / 2:
        sampling.done(sampling.draw(model, Noise(rounds, range(DRAWN))))
        rounds += 1
    return fmean(steps) / BATCH, (time.perf_counter() - begun) / rounds / DRAWN


def a_step(model: System, feed: Loader, place: float, seconds: float) -> float:
    """Seconds of a step where so much of the budget, 0..1, is used."""
    times = [time.perf_counter()]
    autocast = trainer.autocast(model.device)
    for _progress in model.fit(feed, Run(10**6, BATCH, autocast=autocast, used=lambda step: place)):
        times.append(time.perf_counter())
        if len(times) > 4 and times[-1] - times[0] > seconds:
            break
    return median(after - before for before, after in pairwise(times[1:]))


if __name__ == "__main__":
    main()
