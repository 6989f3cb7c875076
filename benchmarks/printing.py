"""What the benchmarks share: tables in markdown, medians with ranges, the machine in words."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil

from souron.utils import hardware

HERE = Path(__file__).parent
BUSY = 0.05  # of the cores: what other processes may take before figures are doubted

_others: list[float] = []  # share of the cores that other processes took, watch by watch


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    return "\n".join(map(line, [head, ["---", *["---:"] * (len(head) - 1)], *rows]))


def line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """``median (least to most)``"""
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


@contextmanager
def watched() -> Iterator[None]:
    """Note what other processes take of the cores meanwhile: they slow what is measured."""

    def all_of_them() -> float:
        times = psutil.cpu_times()
        return sum(times) - times.idle - getattr(times, "iowait", 0.0)

    def ours() -> float:
        who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        used = [resource.getrusage(one) for one in who]
        return sum(one.ru_utime + one.ru_stime for one in used)

    begun, before = time.perf_counter(), all_of_them() - ours()
    yield
    seconds = (time.perf_counter() - begun) * (os.cpu_count() or 1)
    _others.append(max(0.0, all_of_them() - ours() - before) / seconds)


def where(threads: int, *packages: str) -> str:
    """The machine, the versions, and how busy others kept it meanwhile."""
    facts = hardware.facts()
    versions = ", ".join(f"{name} {hardware.installed(name)}" for name in ("torch", *packages))
    taken = "bfloat16" if hardware.bf16() else "float32"
    lines = [
        f"{facts['processor']}, {facts['cores']} cores ({threads} threads used), "
        f"{facts['memory'] / 1e9:.0f} GB, {taken} in training; {facts['platform']}; "
        f"Python {facts['python']}, {versions}.",
        f"Other processes took {median(_others):.0%} of the cores in the median, {max(_others):.0%} at most.",
    ]
    if max(_others) > BUSY:
        lines.append("**The machine was not quiet: do not publish these figures.**")
    return "\n".join(lines)


def child(script: str | Path, *options: object, threads: int) -> str:
    """What a Python process of its own prints; its errors go to the terminal."""
    environment = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    asked = [sys.executable, str(HERE / script), *map(str, options)]
    with watched():
        done = subprocess.run(asked, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def say(text: str) -> None:
    """Progress, beside the table on stdout."""
    print(text, file=sys.stderr, flush=True)
