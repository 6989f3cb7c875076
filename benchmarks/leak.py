"""What a patient leak makes of an accuracy, and that souron's split does not: simulated patients.

    python benchmarks/leak.py --seeds 5

Each patient has several pictures, one label, and a look of their own: a smooth random texture that
is in all of their pictures, moved a little, under a view of the day and noise. The true sign of
disease is a faint spot. A network can learn the sign, or learn patients by heart; the second helps
only where test pictures show patients that it has learnt from.

The pictures are written as PNG files with a CSV (filename,label,patient), and souron trains and
measures on them: once with ``group="none"``, which divides picture by picture, once as it does by
itself, patient by patient. The truth is what the same network does on many new patients. Each
seed draws new patients. souron keeps copies of one picture together; a patient's pictures here are
no copies, else souron would have kept the patient together without being told: this is checked.
"""

import argparse
import contextlib
import csv
import io
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from printing import say, table, watched, where

from souron.data import load
from souron.data.quality import duplicates
from souron.kinds.codecs.image import as_image
from souron.runs import evaluate, train
from souron.stats import intervals
from souron.stats.records import Measure

SIDE = 32
LOOK, DAY, NOISE, SIGN = 30.0, 10.0, 8.0, 24.0  # levels of 256
WIDTH = 2.0  # pixels over which a texture is alike
SHIFT = 1  # pixels that a patient's look moves from picture to picture, at most
IMAGES = 6  # of each patient
CORRELATION = 0.95  # from here on pictures count as near copies

Array = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    patients: int
    first: int  # number of the first patient, so that no two sets share a name
    seed: int


def smooth(rng: np.random.Generator, side: int, width: float) -> Array:
    """A random field (side, side) without edges, of mean 0 and standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) * np.exp(-2 * (np.pi * width * frequency) ** 2)
    field = np.fft.irfft2(spectrum, s=(side, side))
    field = field - field.mean()
    return field / field.std()


def spot(rng: np.random.Generator) -> Array:
    """A round spot somewhere in the middle half, 1 at its centre."""
    y, x = rng.uniform(SIDE / 4, 3 * SIDE / 4, 2)
    row = np.arange(SIDE)
    return np.exp(-((row[:, None] - y) ** 2 + (row - x) ** 2) / (2 * 3.0**2))


def patient(rng: np.random.Generator, ill: bool) -> NDArray[np.uint8]:
    """One patient's pictures, (PICTURES, SIDE, SIDE)."""
    look = LOOK * smooth(rng, SIDE, WIDTH)
    shown = []
    for _image in range(IMAGES):
        one = np.roll(look, rng.integers(-SHIFT, SHIFT + 1, 2), (0, 1))
        one = one + DAY * smooth(rng, SIDE, WIDTH) + NOISE * rng.standard_normal((SIDE, SIDE))
        one = 128 + one + SIGN * ill * spot(rng)
        shown.append(np.clip(np.rint(one), 0, 255).astype(np.uint8))
    return np.stack(shown)


def write(world: World, folder: Path) -> Path:
    """The pictures of half ill, half healthy patients, and the CSV that lists them."""
    rng = np.random.default_rng((world.seed, world.first))
    folder.mkdir()
    path = folder / "cases.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "label", "patient"])
        number = 0
        for i in range(world.patients):
            ill = i % 2 == 1
            for image in patient(rng, ill):
                name = f"{number:06}.png"
                as_image(torch.from_numpy(image)[None]).save(folder / name)
                writer.writerow([name, "ill" if ill else "healthy", f"P{world.first + i}"])
                number += 1
    return path


def highest_correlation(path: Path) -> tuple[int, float]:
    """Pairs that souron takes for copies, and the highest correlation of two thumbnails."""
    image = load.load(str(path)).input
    small = duplicates.thumbnails(image, duplicates.COARSE)
    alike = (small @ small.T).fill_diagonal_(-1)
    return len(duplicates.near(image)), float(alike.max())


def measured(world: World, folder: Path, system: str, budget: str, group: str | None, new: Path):
    """Accuracy as measured on the test part, and on the patients of another CSV."""
    with contextlib.redirect_stdout(io.StringIO()):
        record = train.train(
            system,
            folder / "cases.csv",
            budget=budget,
            seed=world.seed,
            group=group,
            augment="none",
            project=folder / "runs",
            name=group or "patients",
        )
        truth = evaluate.evaluate(record.folder, new, group="patient")
    return record.measures["accuracy"], truth["accuracy"]


def percent(found: Measure) -> str:
    return f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def points(values: list[float]) -> str:
    """The mean over the seeds with Student's interval."""
    mean = intervals.interval(np.array(values) * 100)
    return f"{mean.value:+.1f} points ({mean.low:+.1f} to {mean.high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--patients", type=int, default=140)
    parser.add_argument("--new", type=int, default=200, help="patients that tell the truth")
    parser.add_argument("--system", default="cnn_tiny")
    parser.add_argument("--budget", default="60ep")
    asked = parser.parse_args()
    begun = time.perf_counter()
    rows = []
    over: dict[str, list[float]] = {"none": [], "patients": []}
    copies, highest = 0, -1.0
    with watched(), tempfile.TemporaryDirectory() as place:
        for seed in range(asked.seeds):
            world = World(asked.patients, 0, seed)
            folder = Path(place) / str(seed)
            path = write(world, folder)
            new = write(World(asked.new, asked.patients, seed), Path(place) / f"{seed} new")
            found, correlation = highest_correlation(path)
            copies, highest = copies + found, max(highest, correlation)
            row = [str(seed)]
            for name in over:
                group = None if name == "patients" else name
                test, truth = measured(world, folder, asked.system, asked.budget, group, new)
                over[name].append(test.value - truth.value)
                row += [percent(test), percent(truth)]
            rows.append(row)
            say(" ".join(row))
    head = ["seed", "group=none: measured", "truth", "souron: measured", "truth"]
    print("Accuracy, % (95 % interval):\n")
    print(table(head, rows))
    print(f"\nPicture by picture (group=none) overstates by {points(over['none'])},")
    print(f"patient by patient by {points(over['patients'])}: mean over {asked.seeds} seeds.\n")
    print(f"{asked.patients} patients with {IMAGES} pictures of {SIDE}x{SIDE}, truth on")
    print(f"{asked.new} new patients; {asked.system}, {asked.budget}.")
    print(f"Highest correlation of two pictures of a set: {highest:.2f} (near copies: above")
    print(f"{CORRELATION}); pairs that souron takes for copies: {copies}.")
    print(f"{time.perf_counter() - begun:.0f} s in all.")
    print(where(torch.get_num_threads(), "souron"))
    if copies:
        raise SystemExit("patients' pictures are copies: this simulation shows nothing")


if __name__ == "__main__":
    main()
