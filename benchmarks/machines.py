"""Measure the cost and the gain of several processes or machines.

    .venv/bin/python benchmarks/machines.py
    .venv/bin/python benchmarks/machines.py rounds --turns 5
    .venv/bin/python benchmarks/machines.py paper

On this computer: a scheduler of Dask and workers of one thread each. Rounds of a comparison by
examples are timed here, on one worker and on two; a folder of pictures on one and on two processes;
training of one network on one process of two threads and on two processes of one. Each in turns.

``paper`` instead: what a thousand workers and ten million files would need, extrapolated in a
straight line from 10,000 and 100,000 empty files in one folder and from the parts that a scheduler
of Dask and two workers play. Seconds are the processor's, so that others on this computer do not
count. Files lie on a local disk, in its cache: a network drive is slower.
"""

import argparse
import multiprocessing
import operator
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import psutil
import torch
from printing import HERE, spread, table, watched, where

sys.path.insert(0, str(HERE.parent / "tests"))

from test_engines import cluster_of_dask, environment

from souron.engines import engine
from souron.hub import zoo
from souron.pipelines import shards
from souron.runs.compare import compare
from souron.utils import files

SYSTEMS = ["mlp_tiny", "cnn_tiny"]
FILES = 4_000  # pictures of the folder
WORKERS, MANY = 1_000, 10_000_000  # workers and files, on paper
SIZES = (10_000, 100_000)  # files of the folders that are measured
PARTS = (300, 1_500)  # parts of the work that are handed out
CASES = 10_000  # test cases of a comparison, on paper
ROUND = 120.0  # seconds of a round, on paper: two systems with budget=60s


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


def examples(pictures: Path, count: int) -> list[str]:
    """Write so many pictures into a new folder and return their names."""
    example = sorted((zoo.root() / "examples" / "fashion").glob("*.png"))
    pictures.mkdir()
    names = [f"{number:05}.png" for number in range(count)]
    for number, name in enumerate(names):
        (pictures / name).write_bytes(example[number % len(example)].read_bytes())
    return names


def answered(pictures: Path, out: Path, on: str) -> None:
    for _event in shards.answering("resnet", pictures, out, on, {}):
        pass


def folder(turns: int) -> list[list[str]]:
    """Seconds of a folder of pictures on one process and on two."""
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        pictures = Path(name) / "pictures"
        examples(pictures, FILES)
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
                words = ["train", "resnet", "data=digits", "imgsz=32", "budget=30s"]
                words += ["--no-forecast", "--json", "--quiet"] + [f"processes={count}"] * (count > 1)
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


def extrapolated(sizes: tuple[int, int], values: tuple[float, float], size: int) -> float:
    """Value at another size, on the straight line through two measured ones."""
    slope = (values[1] - values[0]) / (sizes[1] - sizes[0])
    return values[1] + slope * (size - sizes[1])


def of_a_round() -> float:
    """Bytes of a round's file, for each test case and system."""
    with tempfile.TemporaryDirectory() as name:
        found = compare(SYSTEMS, "digits", budget="1ep", seeds=1, project=name)
        kept = found.folder / "rounds" / "0.safetensors"
        return kept.stat().st_size / (found.cases * len(SYSTEMS))


def of_a_shard() -> tuple[float, float]:
    """Bytes of answers and seconds of one core, for each file of a shard."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        pictures = Path(name) / "pictures"
        names = examples(pictures, shards.SIZE)
        shards.answer("resnet", str(pictures), names[:10], {})  # reads the weights
        took = []
        for _turn in range(5):
            begun = time.process_time()
            lines = shards.answer("resnet", str(pictures), names, {})
            took.append(time.process_time() - begun)
        return len(lines.encode()) / len(names), median(took) / len(names)


def of_a_folder(pictures: str, out: str) -> tuple[float, float, float]:
    """Seconds to list a folder, seconds of a command that finds every answer there, and bytes of memory to list it."""
    begun = time.process_time()
    count = sum(1 for _file in shards.walk(Path(pictures)))
    listed = time.process_time() - begun
    tracemalloc.start()
    assert sum(len(shard.names) for shard in shards.shards(Path(pictures))) == count
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    begun = time.process_time()
    *_events, last = shards.answering("resnet", Path(pictures), Path(out), "processes:1", {})
    assert last.record.count == count and last.record.earlier == last.record.shards
    return listed, time.process_time() - begun, memory


def folders(bytes_of_a_file: float) -> list[tuple[float, float, float]]:
    """``of_a_folder`` of each of ``SIZES``, in a process of its own."""
    answer = files.as_json({"file": "x"})
    answer = f"{answer[:-1]}{' ' * max(0, round(bytes_of_a_file) - len(answer) - 1)}}}\n"
    found = []
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            pictures, out = Path(name) / "pictures", Path(name) / "out"
            pictures.mkdir()
            (out / "shards").mkdir(parents=True)
            for number in range(size):
                (pictures / f"{number:08}.png").touch()
            for shard in shards.shards(pictures):
                (out / "shards" / shard.file).write_text(answer * len(shard.names))
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
                found.append(alone.submit(of_a_folder, str(pictures), str(out)).result())
    return found


def of_a_part(size: int) -> tuple[float, float]:
    """Seconds of the caller and of Dask's scheduler for a part whose result has ``size`` bytes."""
    took = []
    with tempfile.TemporaryDirectory() as name, cluster_of_dask(Path(name)) as (address, processes):
        for count in (PARTS[0], *PARTS):  # the first time everything is imported
            scheduler = psutil.Process(processes[0].pid)
            before = time.process_time(), sum(scheduler.cpu_times()[:2])
            parts = ((number, (b"x", size)) for number in range(count))
            for number, result in engine.gather(f"dask://{address}", operator.mul, parts):
                files.write_bytes(Path(name) / str(number), result)
            after = time.process_time(), sum(scheduler.cpu_times()[:2])
            took.append([end - begin for begin, end in zip(before, after, strict=True)])
    return tuple((more - less) / (PARTS[1] - PARTS[0]) for less, more in zip(*took[1:], strict=True))


def most_workers(seconds: float, caller: float, scheduler: float) -> dict[str, float]:
    """Return the number of workers that each bottleneck keeps busy, least first, where a part takes ``seconds``."""
    found = {
        f"parts handed out at a time (IN_FLIGHT = {engine.IN_FLIGHT})": float(engine.IN_FLIGHT),
        "the caller's core": seconds / caller,
        "the scheduler's core": seconds / scheduler,
    }
    return dict(sorted(found.items(), key=lambda one: one[1]))


def paper() -> None:
    """Print the tables of ``paper``."""
    a_case, (a_file, a_file_takes) = of_a_round(), of_a_shard()
    found = folders(a_file)
    round_caller, round_scheduler = of_a_part(round(a_case * CASES * 2))
    shard_caller, shard_scheduler = of_a_part(round(a_file * shards.SIZE))
    far = [extrapolated(SIZES, pair, MANY) for pair in zip(*found, strict=True)]
    a_shard_is_listed = extrapolated(SIZES, tuple(one[0] for one in found), MANY) / MANY * shards.SIZE
    rows = [
        ["seconds to list them", *[f"{one[0]:.2f}" for one in found], f"{far[0]:.0f}"],
        ["MB of memory to list one folder of them", *[f"{one[2] / 1e6:.1f}" for one in found], f"{far[2] / 1e6:.0f}"],
        ["seconds to list, check and join, answers there", *[f"{one[1]:.2f}" for one in found], f"{far[1]:.0f}"],
        ["MB of answers", *[f"{a_file * size / 1e6:.1f}" for size in (*SIZES, MANY)]],
    ]
    print(table(["files", *[f"{size:,}" for size in SIZES], f"{MANY:,}, extrapolated"], rows), "\n")
    rows = [
        [f"round of two systems, {CASES:,} test cases", "bytes for each case and system", f"{a_case:.0f}"],
        ["the same", "ms of the caller to take one home", f"{1000 * round_caller:.1f}"],
        ["the same", "ms of the scheduler", f"{1000 * round_scheduler:.1f}"],
        [f"shard of {shards.SIZE} files, `resnet`", "bytes of answers for each file", f"{a_file:.0f}"],
        ["the same", "seconds of a worker's core", f"{a_file_takes * shards.SIZE:.1f}"],
        ["the same", "ms of the caller to list it", f"{1000 * a_shard_is_listed:.1f}"],
        ["the same", "ms of the caller to take its answers home", f"{1000 * shard_caller:.1f}"],
        ["the same", "ms of the scheduler", f"{1000 * shard_scheduler:.1f}"],
    ]
    print(table(["part", "costs", ""], rows), "\n")
    of_rounds = most_workers(ROUND, round_caller, round_scheduler)
    of_shards = most_workers(a_file_takes * shards.SIZE, shard_caller + a_shard_is_listed, shard_scheduler)
    rows = [[name, f"{of_rounds[name]:,.0f}", f"{of_shards[name]:,.0f}"] for name in of_rounds]
    print(table(["workers kept busy, at most", f"rounds of {ROUND:.0f} s", "shards"], rows), "\n")
    for name, limits in (("rounds", of_rounds), ("shards", of_shards)):
        first, most = next(iter(limits.items()))
        print(f"First bottleneck of {WORKERS:,} workers with {name}: {first}, which keeps {most:,.0f} busy.")
    memory = a_case * CASES * 2 * WORKERS / 1e9
    busy = min(WORKERS, next(iter(of_shards.values())))
    print(f"Answers of {WORKERS:,} such rounds: {memory:.1f} GB in the caller's memory.")
    minutes = [far[0] / 60, MANY * a_file_takes / busy / 60, (far[1] - 2 * far[0]) / 60]
    print(f"{MANY:,} files with {busy:.0f} workers busy: {minutes[0]:.1f} minutes to list them before the first")
    print(f"shard, {minutes[1]:.1f} to answer, {minutes[2]:.1f} to list and join them after.\n")


def main() -> None:
    parts = {"rounds": rounds, "folder": folder, "training": training}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=[*parts, "paper"], help="all but paper, if none is named")
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    with watched():
        time.sleep(10)  # what others take, while this does nothing
    if chosen.part == "paper":
        paper()
    else:
        for name in [chosen.part] if chosen.part else parts:
            print(table(["on this computer", "figure", "goal"], parts[name](chosen.turns)), flush=True)
    print(where(1))


if __name__ == "__main__":
    main()
