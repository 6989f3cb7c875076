"""What the benchmarks share: tables in markdown, medians with ranges, the machine in words."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from souron import machine

HERE = Path(__file__).parent


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """``median (least to most)``"""
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def where(threads: int, *packages: str) -> str:
    """The machine, the versions, and how busy it was: a busy machine's figures are no figures."""
    facts = machine.facts()
    versions = ", ".join(f"{name} {machine.installed(name)}" for name in ("torch", *packages))
    bf16 = "with" if machine.bf16() else "without"
    return (
        f"{facts['processor']}, {facts['cores']} cores ({threads} threads used), "
        f"{facts['memory'] / 1e9:.0f} GB, {bf16} bfloat16 instructions; {facts['platform']}; "
        f"Python {facts['python']}, {versions}; load average {os.getloadavg()[0]:.1f} at the end "
        f"({threads} is this benchmark alone)"
    )


def child(script: str | Path, *options: object, threads: int) -> str:
    """What a Python process of its own prints; its errors go to the terminal."""
    environment = os.environ | {
        name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }
    asked = [sys.executable, str(HERE / script), *map(str, options)]
    done = subprocess.run(asked, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def say(text: str) -> None:
    """Progress, beside the table on stdout."""
    print(text, file=sys.stderr, flush=True)
