"""A linear probe: the last layer of a frozen network learns from 2 000 pictures of 224x224.

    .venv/bin/python benchmarks/probe.py

The weights are those that come with souron's installation. "cold" computes what the frozen layers
see; "again" finds it in the cache, in the same process but with a network built anew. Seconds are
from pictures in memory to a measured network: features, learning, test. The pictures are scenes of
``pointing.py``, or radiographs of ``tests/radiographs.py`` (the default); both are drawn first,
which is not counted.
"""

# ruff: noqa: E402, the allocator is set before torch is imported

import argparse
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from souron.utils import hardware

hardware.calm_allocator()

import torch
from pointing import scenes, stamps
from printing import HERE, say, table, watched, where

from souron.data import load, splits
from souron.data.dataset import Dataset
from souron.runs import prepare
from souron.stats import intervals

GOALS = {"cold": 60.0, "again": 3.0}  # seconds


def radiographs(count: int, side: int) -> Dataset:
    """Drawn, written, read: grey pictures in three channels, with patients."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    import radiographs as drawn

    with tempfile.TemporaryDirectory() as folder:
        drawn.radiographs(Path(folder) / "all", patients=round(count / 2.4))
        cases = load.load(Path(folder) / "all" / "labels.csv", side)
    return prepare.coloured(cases.only(range(min(count, len(cases)))), 3)


def probe(cases: Dataset, budget: str) -> tuple[float, float, float, Any]:
    """Seconds until the features are there, of learning and of the test; accuracy."""
    args = {
        "system": "efficientnet_lite",
        "budget": budget,
        "seed": 0,
        "batch": 64,
        "rate": None,
        "pretrained": "True",
        "freeze": True,
        "patience": 0,
        "changes": {},
        "device": "cpu",
        "augment": None,
    }
    times = [time.perf_counter()]
    split = splits.split(cases, seed=0)
    model = prepare.build(args, cases.only(split.train))
    *_progress, (_done, found) = prepare.looking(args, cases, model, exact=True)
    fit, parts = prepare.enter(args, model, cases, split, found)
    times.append(time.perf_counter())
    while not fit.done:
        fit.go(60)
    fit.use_best()
    times.append(time.perf_counter())
    with torch.inference_mode():
        right = fit.system.validate(fit.system.loader(parts.test))["accuracy"]
    times.append(time.perf_counter())
    seen, learning, tested = (after - before for before, after in pairwise(times))
    return seen, learning, tested, intervals.interval(right.numpy(), parts.test.units)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=hardware.cores())
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--budget", default="30ep")
    parser.add_argument("--pictures", choices=("radiographs", "scenes"), default="radiographs")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)

    if chosen.pictures == "radiographs":
        cases = radiographs(chosen.count, chosen.side)
    else:
        cases = scenes(*stamps(), chosen.count, chosen.side, 0)[0]
    say(f"{len(cases)} {chosen.pictures} drawn")
    os.environ["SOURON_CACHE"] = tempfile.mkdtemp()
    rows = []
    for name, goal in GOALS.items():
        with watched():
            seen, learning, tested, accuracy = probe(cases, chosen.budget)
        total = seen + learning + tested
        rows.append(
            [
                name,
                f"{seen:.1f}",
                f"{learning:.1f}",
                f"{tested:.1f}",
                f"{total:.1f}",
                f"{100 * accuracy.value:.1f} ({100 * accuracy.low:.1f} to {100 * accuracy.high:.1f})",
                f"{goal:.0f} s: {'met' if total < goal else 'missed'}",
            ]
        )
    head = ["run", "features, s", "learning, s", "test, s", "in all, s", "accuracy, %", "goal"]
    print(table(head, rows))
    print(f"\n{len(cases)} {chosen.pictures}, {chosen.side} pixels a side; {chosen.budget}.")
    print(where(chosen.threads, "souron"))


if __name__ == "__main__":
    main()
