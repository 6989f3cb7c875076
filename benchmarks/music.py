"""Composed pieces beside Bach's, beside the n-gram's, and beside voices put together.

    python benchmarks/music.py run music_transformer [--budget 20min]
    python benchmarks/music.py run RUN                      of a run that there is
    python benchmarks/music.py temperatures RUN             the same pieces at five temperatures
    python benchmarks/music.py verdict [--budget 20min] [--seeds 3]
                                           music_transformer beside ngram_voices

``run`` prints bits a token on unseen tunes and what the pieces are like. Folders go to --project.
Needs ``souron fetch chorales``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import souron
from souron import registry
from souron.data import load
from souron.evaluation.generators.compose import WRITTEN, ComposeResult, words
from souron.evaluation.generators.compose import told as composed_of
from souron.metrics import compose as counted
from souron.runs import evaluate
from souron.runs import folder as run_folder
from souron.stats import intervals
from souron.stats.records import Measure
from souron.tasks.compose import Composer

RIVALS = ["music_transformer", "ngram_voices"]


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("what", choices=sorted(COMMANDS))
    parser.add_argument("system", nargs="?", default=RIVALS[0], metavar="SYSTEM|RUN")
    parser.add_argument("--budget", default="20min")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", default="chorales")
    parser.add_argument("--project", default="runs/benchmark")
    told = parser.parse_args()
    COMMANDS[told.what](told)


def text(name: str, measure: Measure) -> str:
    metric = registry.metric(name)
    return f"{metric.text(measure.value)} [{metric.text(measure.low)}, {metric.text(measure.high)}]"


def run(told: argparse.Namespace) -> None:
    begun = time.perf_counter()
    if Path(told.system).is_dir():
        record = evaluate.examine(told.system)
    else:
        print(f"{torch.get_num_threads()} threads, budget {told.budget}")
        record = souron.train(told.system, data=told.data, budget=told.budget, project=told.project)
    found = record.details
    assert isinstance(found, ComposeResult) and record.test is not None
    print(
        f"{record.system} on {record.data}, {len(record.test)} test pieces, {time.perf_counter() - begun:.0f} s in all"
    )
    for name, measure in record.measures.items():
        print(f"\n{name:32} {text(name, measure)}")
        for who, each in found.beside.items():
            if name in each:
                print(f"  {who:30} {text(name, each[name])}")


def temperatures(told: argparse.Namespace) -> None:
    """Pieces from nothing, as long as the test pieces: how figures change with temperature."""
    record = evaluate.examine(told.system)
    found, test = record.details, record.test
    assert isinstance(found, ComposeResult) and test is not None
    system = run_folder.load(Path(told.system))
    assert isinstance(system, Composer)
    rows = [*load.load(told.data).part]
    train = load.load(told.data).only([k for k, part in enumerate(rows) if part == "train"])
    runs = counted.Runs(words(piece) for piece in train.input)
    wanted = [one._replace(grid=torch.zeros_like(one.grid[:WRITTEN])) for one in test.input]
    nothing = [torch.zeros_like(one.grid, dtype=torch.bool) for one in wanted]
    for temperature in (1.0, 0.9, 0.8, 0.7, 0.6):
        grids = system.write(wanted, nothing, temperature, [(0, k) for k in range(len(wanted))])
        pieces = [old._replace(grid=grid) for old, grid in zip(wanted, grids, strict=True)]
        print(f"temperature {temperature}")
        for name, values in composed_of(pieces, runs).items():
            measure = intervals.interval(np.asarray([values]), test.units)
            print(f"  {name:46} {text(name, measure)}")


def verdict(told: argparse.Namespace) -> None:
    record = souron.compare(RIVALS, data=told.data, budget=told.budget, seeds=told.seeds, project=told.project)
    for row in record.rows:
        print(f"{row.system:32} {row.value:.4f} [{row.low:.4f}, {row.high:.4f}]")
    for one in record.verdicts:
        print(one)


COMMANDS = {"run": run, "temperatures": temperatures, "verdict": verdict}

if __name__ == "__main__":
    main()
