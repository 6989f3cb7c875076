"""The machines that played the rounds of a comparison, as its folder holds them: ``rounds/N.machine.json``.

Reading them imports no torch, so that a page can do it once a second.
"""

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUFFIX = ".machine.json"
MOST_BYTES = 10_000  # of a file


@dataclass(frozen=True)
class Machine:
    """A computer that played a round."""

    name: str
    threads: int
    speed: float  # training cases per second
    seconds: float  # of the whole round
    load: float = 0.0  # processes that computed or waited to, for each core, at its end


def machines(folder: Path) -> list[dict[str, Any]]:
    """Return the machines of a comparison: ``name``, ``rounds``, ``speed``, ``load`` and ``threads``; [] without any.

    Files that are damaged are left out.
    """
    played: dict[tuple[str, int], list[tuple[int, float, float]]] = {}
    for file in (folder / "rounds").glob(f"*{SUFFIX}"):
        with suppress(OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            number = int(file.name.removesuffix(SUFFIX))
            if not file.is_file() or file.stat().st_size > MOST_BYTES:
                continue
            content = json.loads(file.read_bytes())
            name, threads, speed = str(content["name"]), int(content["threads"]), float(content["speed"])
            load = float(content.get("load", 0.0))
            if math.isfinite(speed + load):
                played.setdefault((name, threads), []).append((number, speed, load))
    return [
        {
            "name": name,
            "rounds": sorted(number for number, _speed, _load in rounds),
            "speed": sum(speed for _number, speed, _load in rounds) / len(rounds),
            "load": sum(load for _number, _speed, load in rounds) / len(rounds),
            "threads": threads,
        }
        for (name, threads), rounds in sorted(played.items())
    ]
