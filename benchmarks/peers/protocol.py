"""What every contestant of ``fashion.py`` keeps to: options, data, clock, what it prints.

A contestant prints one JSON object a line: ``{"train_seconds", "accuracy", "step"}`` each time it
was tested and, last, ``{"done": true, "train_seconds", "accuracy", "peak_bytes"}``, or ``{"capped":
true, ...}`` where the time was up. Training seconds start with the first call that trains, so that
tracing and compiling count; imports, reading the data, building the network and testing do not.
"""

import argparse
import gzip
import json
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PLACES = (  # of Fashion-MNIST: Debian's package, or what `souron fetch fashion` left
    Path("/usr/share/datasets/fashion-mnist"),
    Path.home() / ".cache/souron/data/fashion",
)
MEAN, STD = 0.2860, 0.3530  # of the 60 000 training pictures, in 0..1
WARM = 0.15  # of the steps; then the rate falls in a straight line


@dataclass(frozen=True)
class Options:
    table: str  # "same" or "own"
    split: str  # "val": train on the first 50 000, test on the last 10 000 of train; or "test"
    seed: int
    epochs: int
    batch: int
    rate: float
    cap: float  # training seconds
    threads: int
    workers: int  # of a DataLoader
    looks: int  # tests an epoch
    system: str  # souron's, in the table "own"
    augment: str  # what souron does to the training pictures there


def options() -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", choices=["same", "own"], default="same")
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--cap", type=float, default=600.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--looks", type=int, default=1)
    parser.add_argument("--system", default="airbench")
    parser.add_argument("--augment", default="mirror")
    return Options(**vars(parser.parse_args()))


@dataclass(frozen=True)
class Fashion:
    train: np.ndarray  # (N, 28, 28) uint8
    train_label: np.ndarray  # (N,) uint8
    test: np.ndarray
    test_label: np.ndarray


def fashion(split: str) -> Fashion:
    """Fashion-MNIST: 60 000 and 10 000, or for tuning 50 000 and 10 000, all from the 60 000."""
    train, label = _idx("train-images-idx3-ubyte", 16), _idx("train-labels-idx1-ubyte", 8)
    train = train.reshape(-1, 28, 28)
    if split == "val":
        return Fashion(train[:-10_000], label[:-10_000], train[-10_000:], label[-10_000:])
    test = _idx("t10k-images-idx3-ubyte", 16).reshape(-1, 28, 28)
    return Fashion(train, label, test, _idx("t10k-labels-idx1-ubyte", 8))


def _idx(name: str, header: int) -> np.ndarray:
    for folder in PLACES:
        if (folder / f"{name}.gz").exists():
            whole = gzip.decompress((folder / f"{name}.gz").read_bytes())
            return np.frombuffer(whole, np.uint8, offset=header).copy()
    raise SystemExit("no Fashion-MNIST here: souron fetch fashion")


def one_cycle(fraction: float) -> float:
    """The rate's factor, for everybody the same: up in a straight line, then down to nothing."""
    return min((fraction + 1e-3) / WARM, (1 - fraction) / (1 - WARM), 1.0)


class TimeUp(Exception):
    """The cap on training seconds is reached."""


class Clock:
    """Counts training seconds and tests when it is time to.

    ``start`` before training, ``tick`` after every step, ``done`` at the end. ``test`` returns the
    accuracy and leaves the network as it was.
    """

    def __init__(self, chosen: Options, steps_an_epoch: int, test) -> None:
        self.cap, self.test, self.last = chosen.cap, test, steps_an_epoch * chosen.epochs
        self.marks = {
            round(steps_an_epoch * (epoch + look / chosen.looks))
            for epoch in range(chosen.epochs)
            for look in range(1, chosen.looks + 1)
        }
        self.seconds, self.step, self.accuracy = 0.0, 0, 0.0

    def start(self) -> None:
        self.begun = time.perf_counter()

    def tick(self) -> None:
        self.step += 1
        if self.step in self.marks:
            self._stop()
            self.accuracy = float(self.test())
            self._print()
            self.start()
        if self.seconds + time.perf_counter() - self.begun > self.cap:
            self._stop()
            raise TimeUp(f"{self.cap} s")

    def done(self) -> None:
        """What happens after the last step counts too."""
        self._stop()
        self._print(done=True, peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)

    def capped(self) -> None:
        self._print(capped=True)

    def _stop(self) -> None:
        self.seconds += time.perf_counter() - self.begun

    def _print(self, **more) -> None:
        figures = {"train_seconds": self.seconds, "accuracy": self.accuracy, "step": self.step}
        print(json.dumps(figures | more), flush=True)


def train(clock: Clock, run) -> None:
    """``run`` trains and ticks the clock; a time that is up ends it quietly."""
    clock.start()
    try:
        run()
    except TimeUp:
        clock.capped()
    else:
        clock.done()
