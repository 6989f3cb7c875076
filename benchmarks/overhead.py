"""What souron's loop costs beside the barest one, on a network so small that it shows.

    .venv/bin/python benchmarks/overhead.py

Blocks of steps take turns within one process: ABAB, then BABA. Both sides own a twin of the network
and its optimizer. The first row compares the loops alone, on batches that lie ready; the second
the loop with the batches that it is fed, beside indexing the same bytes by hand; the third what the
command line runs (budget, rate, and whether to look) beside that same loop by hand.
"""

# ruff: noqa: E402, the allocator is set before torch is imported

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from statistics import median
from typing import Any

from souron.utils import hardware

hardware.calm_allocator()

import torch
from printing import say, table, watched, where
from torch.nn import functional as F

from souron import registry
from souron.data.dataset import Dataset, Loader
from souron.data.load import load
from souron.training.budget import Budget, one_cycle, set_rate
from souron.training.loop import Run, descend
from souron.training.trainer import Trainer, autocast

FOREVER = 10**9  # steps


class Ready:
    """Data whose batches lie ready."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def endless(self, size: int, start: int = 0) -> Iterator[Any]:
        return cycle(self.batches)


def bare(system: Any, batches: Iterator[tuple[Any, Any]], scheduled: bool) -> Callable[[int], None]:
    """The loop that one writes by hand, in the same precision."""
    optimizer, cast = system.optimizers()["model"], autocast(torch.device("cpu"))
    system.train()
    done = 0

    def steps(count: int) -> None:
        nonlocal done
        for image, label in islice(batches, count):
            with cast():
                loss = F.cross_entropy(system(image), label)
            optimizer.zero_grad()
            loss.backward()
            if scheduled:
                set_rate(optimizer, one_cycle(done / FOREVER))
            optimizer.step()
            done += 1

    return steps


def by_hand(cases: Dataset, system: Any, size: int) -> Iterator[tuple[Any, Any]]:
    """Shuffled batches of the same bytes, normalised, in the fewest and fastest calls."""
    shift, scale = (255 * torch.tensor(of).view(1, -1, 1, 1) for of in (system.spec.mean, system.spec.std))
    while True:
        for rows in torch.randperm(len(cases)).split(size)[: len(cases) // size]:
            image = cases.input.index_select(0, rows).float().sub_(shift).div_(scale)
            yield image, cases.target.index_select(0, rows)


def looped(system: Any, data: Any, size: int) -> Callable[[int], None]:
    progress = descend(system, data, Run(FOREVER, size, autocast=autocast(torch.device("cpu"))))

    def steps(count: int) -> None:
        for _progress in islice(progress, count):
            pass

    return steps


def commanded(system: Any, feed: Loader, size: int) -> Callable[[int], None]:
    """As ``souron train`` does it, a slice of time after the other."""
    fit = Trainer(system, feed, None, Budget(FOREVER * size, "examples"), size)

    def steps(count: int) -> None:
        last = fit.step + count
        fit.go(1e9, lambda: fit.step >= last)

    return steps


def compare(
    souron: Callable[[int], None], plain: Callable[[int], None], blocks: int, steps: int
) -> tuple[float, float, float, float]:
    """Microseconds a step of both, the median of their ratios, and its 95 % interval."""
    for warm in (souron, plain):
        warm(steps)
    times: dict[Any, list[float]] = {souron: [], plain: []}
    for block in range(blocks):
        for side in (souron, plain) if block % 2 else (plain, souron):
            begun = time.perf_counter()
            side(steps)
            times[side].append((time.perf_counter() - begun) / steps)
    ratios = torch.tensor([a / b for a, b in zip(times[souron], times[plain], strict=True)])
    again = torch.randint(blocks, (2000, blocks), generator=torch.Generator().manual_seed(0))
    medians = ratios[again].median(1).values
    low, high = medians.quantile(torch.tensor([0.025, 0.975])).tolist()
    say(f"{median(times[souron]) * 1e6:.0f} beside {median(times[plain]) * 1e6:.0f} microseconds")
    return median(times[plain]) * 1e6, median(ratios.tolist()), low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", default="mlp_tiny")
    parser.add_argument("--data", default="fashion")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=60)
    parser.add_argument("--steps", type=int, default=100, help="in a block")
    parser.add_argument("--threads", type=int, default=hardware.cores())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)

    cases = load(chosen.data)
    kind, config = registry.load_system(chosen.system)

    def twin() -> Any:
        torch.manual_seed(0)
        return kind(config, kind.spec_for(cases))

    size, feed = chosen.batch, twin().loader(cases)
    batches = list(islice(feed.endless(size), 200))
    pairs = {
        "the loop, batches ready": (looped(twin(), Ready(batches), size), bare(twin(), cycle(batches), False)),
        "the loop and its batches": (looped(twin(), feed, size), bare(twin(), by_hand(cases, twin(), size), False)),
        "as `souron train` runs it": (commanded(twin(), feed, size), bare(twin(), by_hand(cases, twin(), size), True)),
    }
    rows = []
    for name, (souron, plain) in pairs.items():
        with watched():
            micro, ratio, low, high = compare(souron, plain, chosen.blocks, chosen.steps)
        interval = f"{100 * (low - 1):+.1f} to {100 * (high - 1):+.1f}"
        rows.append([name, f"{micro:.0f}", f"{100 * (ratio - 1):+.1f}", interval])
    head = ["what", "barest loop, microseconds a step", "souron's takes more, %", "95 % interval"]
    print(table(head, rows))
    print(f"\n{chosen.system} on {chosen.data}, batch {size}; {chosen.blocks} pairs of blocks of")
    print(f"{chosen.steps} steps, the median of their ratios.")
    print(where(chosen.threads, "souron"))


if __name__ == "__main__":
    main()
