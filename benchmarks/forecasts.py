"""Time and memory as foretold before a run, beside what it took: eight different runs.

    .venv/bin/python benchmarks/forecasts.py

Each is a fresh process, ``souron train ... --json``. Seconds are of training, bytes the most that
the process held in memory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from printing import say, table, watched, where

from souron.utils import hardware

RUNS = [
    "mlp data=digits batch=32 epochs=30",
    "cnn data=digits batch=128 epochs=40",
    "cnn data=fashion batch=64 epochs=1",
    "airbench data=fashion batch=128 epochs=1",
    "resnet data=fashion batch=256 budget=10000ex",
    "vit data=fashion batch=64 budget=10000ex",
    "mlp_mixer data=digits batch=256 epochs=10",
    "dcgan data=digits batch=64 epochs=2",
]


def train(run: str, folder: str, threads: int) -> dict[str, Any]:
    """The object that the run prints."""
    command = [str(Path(sys.executable).with_name("souron")), "train", *run.split()]
    asked = [*command, f"project={folder}", f"workers={threads}", "--json", "--quiet"]
    with watched():
        done = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def error(forecast: float, outcome: float) -> float:
    """Percent by which the forecast was above what came."""
    return 100 * (forecast / outcome - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=hardware.cores())
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--first", type=int, default=len(RUNS), help="only so many of the runs")
    chosen = parser.parse_args()

    rows, errors = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _repeat in range(chosen.repeats):
            for run in RUNS[: chosen.first]:
                said = train(run, folder, chosen.threads)
                before, after = said["forecast"], said["outcome"]
                both = [error(before[what], after[what]) for what in ("seconds", "bytes")]
                say(f"{run}: time {both[0]:+.0f} %, memory {both[1]:+.0f} %")
                errors.append(both)
                rows.append(
                    [
                        f"`{run}`",
                        f"{before['seconds']:.1f}",
                        f"{after['seconds']:.1f}",
                        f"{both[0]:+.0f} %",
                        f"{before['bytes'] / 1e6:.0f}",
                        f"{after['bytes'] / 1e6:.0f}",
                        f"{both[1]:+.0f} %",
                    ]
                )
    head = ["run", "seconds foretold", "taken", "off by", "MB foretold", "taken", "off by"]
    print(table(head, rows))
    for name, limit, column in (("time", 20, 0), ("memory", 15, 1)):
        off = [abs(both[column]) for both in errors]
        within = sum(value <= limit for value in off)
        print(f"\n{name}: within {limit} % in {within} of {len(off)} runs, off by", end=" ")
        print(f"{median(off):.0f} % in the median, {max(off):.0f} % at most", end="")
    print("\n\n" + where(chosen.threads, "souron"))


if __name__ == "__main__":
    main()
