"""Pictures that memory has no room for: memory held, seconds to decode, pictures a second.

    .venv/bin/python benchmarks/large_data.py            100 000 at 224 pixels: 16 GB of disk
    .venv/bin/python benchmarks/large_data.py --count 5000

JPEG files are made first: a few encoded pictures whose quantisation of the finest detail differs
from file to file, so that each shows other pixels. Then, each in a process of its own:

- **run**: a whole ``training``, from the forecast to the report, with the cache file whatever
  memory is free. The most that the process held resident (VmHWM), what of it were mapped files
  (RssFile), both sampled; the workers that decode beside it.
- **speed**: as many of the pictures as fit into a fifth of the free memory, read from the cache
  file and from memory: two trainings of one network, which take turns, so that whatever else the
  machine does meets both. Also the batches alone, without a network.
"""

# ruff: noqa: E402, the allocator is set before torch is imported

import argparse
import io
import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

from souron.utils import hardware

hardware.calm_allocator()

import numpy as np
import psutil
import torch
from PIL import Image
from printing import child, say, spread, table, where

from souron.data import cache, load, splits
from souron.runs import prepare, train
from souron.training.trainer import Trainer

BASES = 64  # pictures that are encoded; files are variations of them
QUANTISED = b"\xff\xdb"  # begins a JPEG's table of quantisation: 64 numbers, the finest detail last
TURNS, TURN = 12, 5.0  # of each training, and seconds of a turn


def make(folder: Path, count: int, side: int) -> None:
    """``folder/a`` and ``folder/b``; class b has a brighter corner."""
    random = np.random.default_rng(0)
    encoded = []
    for number in range(BASES):
        small = Image.fromarray(random.integers(0, 200, (12, 12, 3), dtype=np.uint8))
        pixels = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
        pixels = pixels + random.integers(-20, 20, pixels.shape)
        pixels[: side // 4, : side // 4] += 55 * (number % 2)
        stream = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
        encoded.append(bytearray(stream.getvalue()))
    for name in "ab":
        (folder / name).mkdir(parents=True)
    for i in range(count):
        raw = encoded[i % BASES]
        table = raw.index(QUANTISED) + 5
        raw[table + 63], raw[table + 62] = 1 + (i // BASES) % 250, 1 + (i // BASES) // 250
        (folder / "ab"[i % 2] / f"{i}.jpg").write_bytes(raw)


class Watch(threading.Thread):
    """The most of what /proc says of this process, and of those that it started."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most: dict[str, int] = {}
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _colon, value = line.partition(":")
                if name in ("VmRSS", "RssAnon", "RssFile"):
                    self.note(name, int(value.split()[0]) * 1024)
            held = 0
            for process in psutil.Process().children():
                try:
                    held += process.memory_info().rss
                except psutil.Error:
                    continue
            self.note("workers", held)

    def note(self, name: str, value: int) -> None:
        self.most[name] = max(value, self.most.get(name, 0))


def whole(args: argparse.Namespace) -> dict[str, Any]:
    """One training from the forecast to the report."""
    cache.SHARE_OF_MEMORY = 0.0
    watch, begun, told = Watch(), time.perf_counter(), None
    watch.start()
    phases: dict[str, float] = {}
    last, phase = begun, "data"
    for event in train.training(
        args.system,
        args.folder / "pictures",
        side=args.side,
        batch=args.batch,
        budget=f"{args.seconds:g}s",
        project=args.folder / "runs",
        name="large",
    ):
        now = time.perf_counter()
        if event.phase == "data" and told is not None:
            phase = "decode"
        elif event.phase != "data":
            phase = event.phase
        phases[phase] = phases.get(phase, 0.0) + now - last
        last = now
        told = event.forecast or told
        record = event.record
    watch.over.set()
    assert told is not None
    decoding = told.decoding
    return {
        "phases": phases,
        "peak": hardware.peak(),
        **watch.most,
        "foretold": decoding.seconds if decoding else None,
        "disk": sum(file.stat().st_size for file in cache.folder().glob("*.pictures")),
        "examples": record.curve[-1]["examples"],
        "trained": record.outcome.seconds,
        "forecast": record.forecast.bytes,
        "cases": sum(record.parts.values()),
    }


def speed(args: argparse.Namespace) -> dict[str, Any]:
    """The same pictures from the file and from memory, in turns."""
    options = {
        "system": args.system,
        "data": str(args.folder / "pictures"),
        "budget": "1000ep",
        "seed": 0,
        "rate": None,
        "batch": args.batch,
        "pretrained": "False",
        "freeze": False,
        "patience": 0,
        "changes": {},
        "device": "auto",
        "augment": None,
        "side": args.side,
    }
    cache.SHARE_OF_MEMORY = 0.0
    cases = load.load(args.folder / "pictures", args.side)
    _total, free = hardware.memory()
    most = int(free / 5 / (cases.channels * args.side**2))
    some = cases.only(range(min(most, len(cases))))
    from dataclasses import replace

    ways = {"file": some, "memory": replace(some, input=some.input[:])}
    split = splits.split(some)
    fits: dict[str, Trainer] = {}
    for name, mine in ways.items():
        parts = split.deal(mine)
        fits[name] = prepare.trainer(options, prepare.build(options, parts.train), parts)
    del ways
    rates: dict[str, list[float]] = {name: [] for name in fits}
    for turn in range(TURNS + 1):
        for name, fit in fits.items():
            step, seconds = fit.step, fit.seconds
            fit.go(TURN)
            if turn:  # the first sets up
                rates[name].append((fit.step - step) * fit.batch / (fit.seconds - seconds))
    equal = all(
        torch.equal(one, other) for one, other in zip(*(first_batches(fit) for fit in fits.values()), strict=True)
    )
    alone: dict[str, list[float]] = {name: [] for name in fits}
    for _turn in range(3):
        for name, fit in fits.items():
            batches, begun = fit.data.endless(args.batch), time.perf_counter()
            for _number in range(40):
                next(batches)
            alone[name].append(40 * args.batch / (time.perf_counter() - begun))
    return {"count": len(some), "rates": rates, "alone": alone, "equal": equal}


def first_batches(fit: Trainer) -> list[torch.Tensor]:
    batches = fit.data.endless(fit.batch)
    return [next(batches).image for _number in range(3)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0, help="of training in the whole run")
    parser.add_argument("--system", default="cnn_tiny")
    parser.add_argument("--folder", type=Path, help="for the pictures and the cache; a new one")
    parser.add_argument("--threads", type=int, default=hardware.cores())
    parser.add_argument("--part", choices=("whole", "speed"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        torch.set_num_threads(args.threads)
        print(json.dumps({"whole": whole, "speed": speed}[args.part](args)))
        return
    args.folder = Path(tempfile.mkdtemp(dir=args.folder))
    os.environ["SOURON_CACHE"] = str(args.folder / "cache")
    try:
        show(args)
    finally:
        shutil.rmtree(args.folder)


def show(args: argparse.Namespace) -> None:
    say(f"making {args.count} pictures")
    begun = time.perf_counter()
    make(args.folder / "pictures", args.count, args.side)
    say(f"made in {time.perf_counter() - begun:.0f} s")
    given = [
        word
        for name in ("count", "side", "batch", "seconds", "system", "folder", "threads")
        for word in (f"--{name}", str(getattr(args, name)))
    ]
    found = {}
    for part in ("whole", "speed"):
        say(part)
        printed = child("large_data.py", *given, "--part", part, threads=args.threads)
        found[part] = json.loads(printed.splitlines()[-1])
        say(str(found[part]))
    run, turns = found["whole"], found["speed"]
    in_memory = args.count * 3 * args.side**2
    rows = [
        ["pictures in memory would take", f"{in_memory / 1e9:.1f} GB, and again for the parts"],
        ["most resident (VmHWM)", f"{run['peak'] / 1e9:.2f} GB"],
        ["of it files (RssFile)", f"{run['RssFile'] / 1e9:.2f} GB"],
        ["workers beside it, while decoding", f"{run['workers'] / 1e9:.2f} GB"],
        ["cache file", f"{run['disk'] / 1e9:.1f} GB"],
        ["decoding, foretold", f"{run['foretold']:.0f} s"],
        ["decoding", f"{run['phases']['decode']:.0f} s"],
        *([f"phase: {name}", f"{s:.0f} s"] for name, s in run["phases"].items() if name != "decode"),
    ]
    print(table([f"{args.count} pictures, {args.side} pixels, {args.system}", ""], rows))
    print()
    head = ["pictures a second", "from the file", "from memory", "file / memory"]
    rows = [
        [
            what,
            spread(some["file"], 0),
            spread(some["memory"], 0),
            f"{median(some['file']) / median(some['memory']):.2f}",
        ]
        for what, some in ((f"training {args.system}", turns["rates"]), ("batches alone", turns["alone"]))
    ]
    print(table(head, rows))
    print(f"\n{turns['count']} pictures; the first batches are equal: {turns['equal']}.")
    print(where(args.threads, "pillow"))


if __name__ == "__main__":
    main()
