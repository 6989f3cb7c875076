"""Measure the cost and the gain of several processes or machines.

    .venv/bin/python benchmarks/machines.py
    .venv/bin/python benchmarks/machines.py --only rounds --turns 5

On this computer: a scheduler of Dask and workers of one thread each. Rounds of a comparison by
examples are timed here, on one worker and on two; a folder of pictures on one and on two processes;
training of one network on one process of two threads and on two processes of one. Each in turns.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from printing import HERE, spread, table, watched, where

sys.path.insert(0, str(HERE.parent / "tests"))

from test_engines import cluster_of_dask, environment

from souron.hub import zoo
from souron.pipelines import shards
from souron.runs.compare import compare

SYSTEMS = ["mlp_tiny", "cnn_tiny"]
FILES = 4_000  # pictures of the folder


def seconds(work) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def rounds(turns: int) -> list[list[str]]:
    """Seconds of four rounds: here, on one worker of Dask, and on two."""
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {"here": [], "one": [], "two": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = {"budget": "20ep", "seeds": 4, "project": str(folder / "runs")}
        near = partial(compare, SYSTEMS, "digits", **options)
        for count, key in ((1, "one"), (2, "two")):
            place = folder / key
            place.mkdir()
            with cluster_of_dask(place, workers=count) as (address, _processes):
                far = partial(compare, SYSTEMS, "digits", on=f"dask://{address}", **options)
                for turn in range(turns + 1):  # the first one reads the data and imports
                    took, here = seconds(far), seconds(near)
                    if turn:
                        found[key].append(took)
                        found["here"].append(here)
    one = [took / here for took, here in zip(found["one"], found["here"], strict=False)]
    two = [here / took for took, here in zip(found["two"], found["here"][turns:], strict=True)]
    return [
        ["a comparison on one worker, times that here", spread(one, 2), "under 1.02"],
        ["speed-up of a comparison on two workers", spread(two, 2), "1.8"],
    ]


def answered(pictures: Path, out: Path, on: str) -> None:
    for _event in shards.answering("resnet", pictures, out, on, {}):
        pass


def folder(turns: int) -> list[list[str]]:
    """Seconds of a folder of pictures on one process and on two."""
    example = sorted((zoo.root() / "examples" / "fashion").glob("*.png"))
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        pictures = Path(name) / "pictures"
        pictures.mkdir()
        for number in range(FILES):
            (pictures / f"{number:05}.png").write_bytes(example[number % len(example)].read_bytes())
        for turn in range(turns):
            took = {}
            for count in (1, 2):
                out = Path(name) / f"{turn}-{count}"
                took[count] = seconds(partial(answered, pictures, out, f"processes:{count}"))
            ratios.append(took[1] / took[2])
    return [[f"speed-up of {FILES:,} pictures on two processes", spread(ratios, 2), ""]]


def training(turns: int) -> list[list[str]]:
    """Training cases in thirty seconds, on two processes of one thread beside one of two."""
    ratios = []
    for _turn in range(turns):
        examples = {}
        for count in (1, 2):
            with tempfile.TemporaryDirectory() as name:
                words = ["train", "resnet", "data=fashion", "budget=30s", "--no-forecast", "--json", "--quiet"]
                words += [f"processes={count}"] if count > 1 else []
                told = subprocess.run(
                    [sys.executable, "-m", "souron", *words],
                    cwd=name,
                    env={**environment(), "OMP_NUM_THREADS": "2"} | dict(keys(os.environ)),
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
                [results] = Path(name).glob("runs/classify/*/results.csv")
                last = results.read_text().splitlines()[-1].split(",")
                examples[count] = int(last[3])
                assert told
        ratios.append(examples[2] / examples[1])
    return [["training cases in 30 s, two processes beside two threads", spread(ratios, 2), ""]]


def keys(environ):
    """Return the variables that name the folders of data on this computer."""
    return [(name, environ[name]) for name in ("SOURON_CACHE", "SOURON_DATA") if name in environ]


def main() -> None:
    parts = {"rounds": rounds, "folder": folder, "training": training}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(parts))
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    with watched():
        time.sleep(10)  # what others take, while this does nothing
    rows = [row for name, part in parts.items() if chosen.only in (None, name) for row in part(chosen.turns)]
    print(table(["on this computer", "figure", "goal"], rows))
    print(where(1))


if __name__ == "__main__":
    main()
