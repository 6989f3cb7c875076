"""Fashion-MNIST from scratch, in five frameworks side by side.

    .venv-bench/bin/python benchmarks/fashion.py same --split test --seeds 5
    .venv-bench/bin/python benchmarks/fashion.py own --split test --seeds 5

``same``: one small CNN, one batch, one optimizer, one schedule in each framework: what the loop,
the precision and the data path give. ``own``: each framework's usual small CNN with the schedule
that its documentation recommends: training seconds to 90, 92 and 93 %.

Whatever was chosen (``RECIPES``, the rate) was chosen with ``--split val``, which trains on the
first 50 000 of the 60 000 and tests on the other 10 000; only then is ``--split test`` run, with
seeds that tuning has not seen.

Every contestant is a process of its own (``peers/``) with its own threads and allocator; they take
turns, seed by seed, so that a slow minute of the machine hits all alike.
"""

import argparse
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from printing import child, say, spread, table, where

NAMES = {
    "souron": "souron",
    "pytorch": "PyTorch, loop and DataLoader",
    "bare": "PyTorch, tensors in memory",
    "keras": "Keras 3 (TensorFlow)",
    "fastai": "fastai",
    "lightning": "Lightning",
}
TARGETS = (0.90, 0.92, 0.93)
FIRST_TEST_SEED = 1000  # tuning uses the seeds below


@dataclass(frozen=True)
class Recipe:
    """How long to train, and what else to say, for one target or several."""

    who: str
    targets: tuple[float, ...]
    epochs: int
    more: tuple[str, ...] = ()


# Where the rate does not depend on the length (Keras) or hardly (PyTorch, Lightning), one run of
# the length in the documentation serves all targets; one-cycle schedules have a length for each.
RECIPES = [
    Recipe("souron", (0.90,), 1, ("--system", "airbench_quick", "--augment", "none", "--batch", "384")),
    Recipe("souron", (0.92,), 1, ("--system", "airbench_fine", "--augment", "none")),
    Recipe("souron", (0.93,), 2, ("--system", "airbench_fine", "--augment", "mirror")),
    Recipe("pytorch", TARGETS, 14),
    Recipe("keras", TARGETS, 15),
    Recipe("fastai", (0.90,), 5),
    Recipe("fastai", (0.92, 0.93), 20),
    Recipe("lightning", TARGETS, 14),
]


@dataclass
class Outcome:
    """What one process printed."""

    looks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return bool(self.looks) and "done" in self.looks[-1]

    @property
    def seconds(self) -> float:
        return self.looks[-1]["train_seconds"]

    @property
    def accuracy(self) -> float:
        return self.looks[-1]["accuracy"]

    def reached(self, target: float) -> float:
        """Training seconds at the first test that was at least so good; infinite if none was."""
        there = (look["train_seconds"] for look in self.looks if look["accuracy"] >= target)
        return next(there, math.inf)


def contest(who: str, seed: int, chosen: argparse.Namespace, epochs: int, *more: str) -> Outcome:
    printed = child(
        f"peers/with_{who}.py",
        *("--table", chosen.table, "--split", chosen.split, "--seed", seed, "--epochs", epochs),
        *("--batch", chosen.batch, "--cap", chosen.cap, "--threads", chosen.threads),
        *("--workers", chosen.workers, "--rate", chosen.rate, *more),
        threads=chosen.threads,
    )
    outcome = Outcome([json.loads(line) for line in printed.splitlines()])
    end = "" if outcome.finished else ", stopped at the cap"
    say(f"{who:10s} seed {seed:4d}  {outcome.seconds:7.1f} s  {outcome.accuracy:.4f}{end}")
    return outcome


def same(chosen: argparse.Namespace, seeds: list[int]) -> tuple[str, dict[str, list[Outcome]]]:
    names = [name for name in NAMES if name in chosen.only]
    outcomes: dict[str, list[Outcome]] = {name: [] for name in names}
    for seed in seeds:
        for name in names:
            outcomes[name].append(contest(name, seed, chosen, chosen.epochs))
    seconds = {name: [o.seconds if o.finished else math.inf for o in of] for name, of in outcomes.items()}
    rows = [
        [
            NAMES[name],
            to_end(outcomes[name], chosen.cap),
            spread([100 * outcome.accuracy for outcome in outcomes[name]], 2),
            times(seconds[name], seconds.get("souron", [])),
        ]
        for name in names
    ]
    head = ["framework", "training seconds", "accuracy, %", "souron is faster by"]
    return table(head, rows), outcomes


def own(chosen: argparse.Namespace, seeds: list[int]) -> tuple[str, dict[str, list[Outcome]]]:
    recipes = [recipe for recipe in RECIPES if recipe.who in chosen.only]
    outcomes: dict[str, list[Outcome]] = {}
    reached: dict[tuple[str, float], list[float]] = {}
    for seed in seeds:
        for recipe in recipes:
            # the peers are tested more often, and the first test that is good enough counts
            more = ("--looks", "1" if recipe.who == "souron" else "4", *recipe.more)
            outcome = contest(recipe.who, seed, chosen, recipe.epochs, *more)
            name = " ".join([recipe.who, str(recipe.epochs), *recipe.more])
            outcomes.setdefault(name, []).append(outcome)
            for target in recipe.targets:
                reached.setdefault((recipe.who, target), []).append(outcome.reached(target))
    rows = []
    for name in dict.fromkeys(recipe.who for recipe in recipes):
        row = [NAMES[name]]
        for target in TARGETS:
            row += [to_target(reached[name, target], outcomes, name, chosen.cap)]
            row += [times(reached[name, target], reached.get(("souron", target), []))]
        rows.append(row)
    head = ["framework"]
    for target in TARGETS:
        head += [f"seconds to {target:.0%}", "souron is faster by"]
    return table(head, rows), outcomes


def to_end(runs: list[Outcome], cap: float) -> str:
    if all(run.finished for run in runs):
        return spread([run.seconds for run in runs])
    stopped = sum(not run.finished for run in runs)
    return f"not finished in {cap:g} s ({stopped} of {len(runs)} seeds)"


def to_target(seconds: list[float], outcomes: dict[str, list[Outcome]], name: str, cap: float) -> str:
    there = [value for value in seconds if math.isfinite(value)]
    if 2 * len(there) <= len(seconds):  # then the median is not a number of seconds
        runs = [run for key, of in outcomes.items() if key.split()[0] == name for run in of]
        tried = max(run.seconds for run in runs)
        return f"not reached in {min(tried, cap):.0f} s ({len(there)} of {len(seconds)} seeds did)"
    if len(there) < len(seconds):
        return f"{median(seconds):.1f} ({len(there)} of {len(seconds)} seeds)"
    return spread(seconds)


def times(peer: list[float], souron: list[float]) -> str:
    """How many times as long the peer takes, by the medians."""
    if not souron or peer is souron or not math.isfinite(median(peer)):
        return "-"
    if not math.isfinite(median(souron)):
        return "-"
    return f"{median(peer) / median(souron):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["same", "own"])
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=1, help="in the table 'same'")
    parser.add_argument("--batch", type=int, default=128, help="where the recipe says none")
    parser.add_argument("--rate", type=float, default=1e-2, help="in the table 'same'")
    parser.add_argument("--cap", type=float, default=300.0, help="training seconds at most")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--workers", type=int, default=0, help="of DataLoaders")
    parser.add_argument("--only", default=",".join(NAMES), type=lambda text: text.split(","))
    parser.add_argument("--raw", type=Path, help="write every figure there, as JSON")
    chosen = parser.parse_args()

    first = FIRST_TEST_SEED if chosen.split == "test" else 0
    seeds = list(range(first, first + chosen.seeds))
    text, outcomes = (same if chosen.table == "same" else own)(chosen, seeds)
    print(text)
    data = "60 000 pictures, tested on the 10 000 of the test set"
    if chosen.split == "val":
        data = "the first 50 000 of 60 000 pictures, tested on the last 10 000 of these"
    what = f"batch {chosen.batch}, Adam, one cycle to {chosen.rate:g}, {chosen.epochs} epochs; "
    print(f"\nFashion-MNIST, {data};")
    print(f"{what if chosen.table == 'same' else ''}{chosen.seeds} seeds,")
    print(f"median (least to most); DataLoaders with {chosen.workers} workers.")
    print("Importing, reading the data and testing are not counted; tracing and compiling are.")
    print("souron sets glibc's allocator as its command line does; the peers run as they come.")
    print(where(chosen.threads, "souron", "keras", "tensorflow-cpu", "fastai", "lightning"))
    if chosen.raw:
        raw = {name: [outcome.looks for outcome in of] for name, of in outcomes.items()}
        chosen.raw.write_text(json.dumps(raw))


if __name__ == "__main__":
    main()
