"""From picture to picture: figures beside trivial answers, tiles, and memory of a large photo.

    python benchmarks/pictures.py run srgan [--data photo_patches] [--budget 20min]
    python benchmarks/pictures.py run RUN [--data photo_patches]      of a run that there is
    python benchmarks/pictures.py tiles RUN          tiled beside whole, in steps of 1/255
    python benchmarks/pictures.py large RUN          24 megapixels: seconds and memory held
    python benchmarks/pictures.py verdict SYSTEM SYSTEM [--seeds 3]

``run`` prints each figure with its 95 % interval, those of the trivial answers to the same test
pictures, and in how many photographs (or blocks) the system is better. Folders go to --project.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import souron
from souron import registry
from souron.evaluation.record import RunRecord
from souron.evaluation.vision.image_to_image import ImageResult, said_of
from souron.runs import evaluate
from souron.stats.records import Measure

LARGE = (6000, 4000)  # pixels
TILE = 256  # pixels a side, as it comes


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("what", choices=sorted(COMMANDS))
    parser.add_argument("systems", nargs="+", metavar="SYSTEM|RUN")
    parser.add_argument("--budget", default="20min")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data")
    parser.add_argument("--project", default="runs/benchmark")
    told = parser.parse_args()
    COMMANDS[told.what](told)


def record_of(told: argparse.Namespace) -> RunRecord:
    name, given = told.systems[0], {"data": told.data} if told.data else {}
    if Path(name).is_dir():
        return evaluate.examine(name, **given)
    print(f"{torch.get_num_threads()} threads, budget {told.budget}")
    return souron.train(name, budget=told.budget, project=told.project, **given)


def text(name: str, measure: Measure) -> str:
    metric = registry.metric(name)
    return f"{metric.text(measure.value)} [{metric.text(measure.low)}, {metric.text(measure.high)}]"


def run(told: argparse.Namespace) -> None:
    begun = time.perf_counter()
    record = record_of(told)
    found = record.details
    assert isinstance(found, ImageResult) and record.test is not None
    print(
        f"{record.system} on {record.data}, {len(record.test)} test pictures, "
        f"{time.perf_counter() - begun:.0f} s in all"
    )
    for name, measure in record.measures.items():
        print(f"\n{name:26} {text(name, measure)}")
        for rival, one in found.rivals.items():
            if name not in one.measures:
                continue
            line = f"  {said_of(rival):24} {text(name, one.measures[name])}"
            if name in one.better:
                line += "   better in {} of {}".format(*one.better[name])
            print(line)


def photograph(width: int, height: int) -> Image.Image:
    """Part of a photograph that comes with scikit-learn, as large as is asked."""
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image("china.jpg")).resize((width, height))


def tiles(told: argparse.Namespace) -> None:
    """One photograph by tiles and as a whole."""
    model = souron.load(told.systems[0])
    with tempfile.TemporaryDirectory() as folder:
        photograph(640, 427).save(given := Path(folder) / "photo.png")
        whole, parts = (np.asarray(model(given, tile=tile).after.image, float) for tile in (1024, TILE))
    apart = np.abs(whole - parts)
    print(
        f"640 x 427 pixels, tiles of {TILE}: at most {apart.max():.0f} / 255, "
        f"{(apart > 0).mean():.2%} of the values differ"
    )


def large(told: argparse.Namespace) -> None:
    """In a process of its own, whose memory is measured."""
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "large.jpg"
        photograph(*LARGE).save(given, quality=90)
        code = [sys.executable, "-m", "souron", "predict", told.systems[0], str(given)]
        begun = time.perf_counter()
        subprocess.run([*code, f"out={folder}/made", "--json"], check=True, stdout=subprocess.PIPE)
        seconds = time.perf_counter() - begun
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"{LARGE[0]} x {LARGE[1]} pixels: {seconds:.0f} s, {most:.2f} GB held at most")


def verdict(told: argparse.Namespace) -> None:
    given = {"data": told.data} if told.data else {}
    record = souron.compare(told.systems, budget=told.budget, seeds=told.seeds, project=told.project, **given)
    for row in record.rows:
        print(f"{row.system:32} {row.value:.4f} [{row.low:.4f}, {row.high:.4f}]")
    for one in record.verdicts:
        print(one)


COMMANDS = {"run": run, "tiles": tiles, "large": large, "verdict": verdict}

if __name__ == "__main__":
    main()
