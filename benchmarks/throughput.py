"""Training pictures a second, 64x64: souron's loop beside a plain fp32 loop and Lightning.

    .venv-bench/bin/python benchmarks/throughput.py

All three train the same network from the same initial weights with the same optimizer on the same
batches in the same order, each in a process of its own; they take turns. Fast and wrong is no
feat: after ``--steps`` steps the loss (mean of the last tenth) has to be the same within what
another seed changes.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import mean, median, stdev
from typing import Any

from printing import child, say, spread, table, where

from souron import machine

CONTESTANTS = {
    "souron": "souron's loop",
    "plain": "plain fp32 loop",
    "lightning": "Lightning, fp32",
}
SYSTEMS = ("resnet18", "vgg16", "vit")
SIDE = 64
CASES = 6400  # of Fashion-MNIST, resized, three channels
WARM = 5  # steps that do not count


def contest(who: str, name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Train here and now: the seconds of each step after the first few, and its loss."""
    if who == "souron":
        machine.calm_allocator()

    import torch

    from souron import finding
    from souron.data.cases import Cases
    from souron.data.loading import load

    torch.set_num_threads(chosen.threads)
    few = load("fashion").only(range(CASES))
    wide = torch.nn.functional.interpolate(few.image.float(), (SIDE, SIDE), mode="bilinear")
    image = wide.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    cases = Cases("fashion 64", image, few.label, few.labels, file=())
    kind, config = finding.system(name)
    torch.manual_seed(chosen.seed)
    system = kind(config, kind.see(cases))
    torch.manual_seed(chosen.seed)
    ends, losses = [time.perf_counter()], []

    def tick(loss: torch.Tensor) -> None:
        losses.append(loss.detach())
        ends.append(time.perf_counter())

    LOOPS[who](system, cases, chosen, tick)
    seconds = (ends[-1] - ends[WARM]) / (len(ends) - 1 - WARM)
    last = losses[-max(1, len(losses) // 10) :]
    return {"rate": chosen.batch / seconds, "loss": torch.stack(last).mean().item()}


def with_souron(system: Any, cases: Any, chosen: argparse.Namespace, tick: Callable) -> None:
    import torch

    from souron.data.cases import Feed
    from souron.fitting import autocast
    from souron.training import Run

    if system.channels_last:
        system.to(memory_format=torch.channels_last)
    feed = Feed(cases, system.prepare, seed=chosen.seed)
    run = Run(chosen.steps, chosen.batch, autocast=autocast(feed.device))
    for progress in system.fit(feed, run):
        tick(progress.losses["model"])


def prepared(system: Any, cases: Any, chosen: argparse.Namespace) -> tuple[Any, Any, list[Any]]:
    """All pictures as (N, 3, 64, 64) float32, the labels, and the rows of each batch as souron's."""
    import torch

    from souron.data.cases import Feed

    feed = Feed(cases, lambda image, label: (image, label))
    image = torch.cat([system.prepare(image, label).image for image, label in feed.once()])
    numbered = torch.arange(len(cases)).view(-1, 1, 1, 1)
    numbers = Cases_like(cases, numbered)
    batches = Feed(numbers, lambda rows, label: rows.flatten(), seed=chosen.seed).endless(
        chosen.batch
    )
    rows = [next(batches) for _step in range(chosen.steps)]
    return image.contiguous(), cases.label, rows


def Cases_like(cases: Any, image: Any) -> Any:
    from dataclasses import replace

    return replace(cases, image=image)


LOOPS: dict[str, Callable] = {"souron": with_souron}
