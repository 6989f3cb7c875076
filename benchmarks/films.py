"""Films from sentences: what can be read off them, and whether they go on as the truth does.

    python benchmarks/films.py run video_diffusion [--data moving_scenes] [--budget 20min]
    python benchmarks/films.py run RUN                  of a run that there is
    python benchmarks/films.py next RUN [n=64]          frames after a given first one, beside that
                                                        frame copied
    python benchmarks/films.py verdict [--seeds 3]      video_diffusion beside still_picture

``run`` prints each attribute beside real films (ceiling) and the captions of others (floor).
Folders go to --project.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import souron
from souron.data import load
from souron.evaluation.generators import sampling
from souron.evaluation.generators.film_reader import FilmResult, frames_of
from souron.runs import evaluate
from souron.runs import folder as run_folder
from souron.stats import intervals
from souron.stats.records import Measure

RIVALS = ["video_diffusion", "still_picture"]


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("what", choices=sorted(COMMANDS))
    parser.add_argument("system", nargs="?", default=RIVALS[0], metavar="SYSTEM|RUN")
    parser.add_argument("--budget", default="20min")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--films", type=int, default=64)
    parser.add_argument("--data", default="moving_scenes")
    parser.add_argument("--project", default="runs/benchmark")
    told = parser.parse_args()
    COMMANDS[told.what](told)


def text(measure: Measure) -> str:
    return f"{measure.value:.1%} [{measure.low:.1%}, {measure.high:.1%}]"


def run(told: argparse.Namespace) -> None:
    begun = time.perf_counter()
    if Path(told.system).is_dir():
        record = evaluate.examine(told.system)
    else:
        print(f"{torch.get_num_threads()} threads, budget {told.budget}")
        record = souron.train(told.system, data=told.data, budget=told.budget, project=told.project)
    found = record.details
    assert isinstance(found, FilmResult)
    print(f"{record.system} on {record.data}, {time.perf_counter() - begun:.0f} s in all, {found.seconds:.2f} s a film")
    for part in found.parts:
        print(f"\n{part.subset or part.language or 'all'}, {part.cases} films")
        for name, measure in part.measures.items():
            if name in part.ceiling:
                print(
                    f"  {name:18} {text(measure)}   real films {part.ceiling[name]:.1%}   "
                    f"captions of others {part.floor[name]:.1%}"
                )
            else:
                print(f"  {name:18} {measure.value:.2f} [{measure.low:.2f}, {measure.high:.2f}]")


def following(told: argparse.Namespace) -> None:
    """Films that begin with a test film's first frame: how far later frames are from the true ones,
    beside that frame copied."""
    system, data = run_folder.load(Path(told.system)), load.load(told.data)
    rows = [row for row, part in enumerate(data.part) if part == "test"][: told.films]
    cases = data.only(rows)
    true = frames_of(cases.input.float())  # (N, C, T, H, W)
    prompts = [next(c.text for c in captions if c.language == "en") for captions in cases.target]
    strips = sampling.done(
        sampling.draw(system, sampling.Noise(0, range(len(rows))), prompts, image=true[:, :, 0] / 127.5 - 1)
    )
    drawn = frames_of(strips.float())
    errors = [
        (film[:, :, 1:] - true[:, :, 1:]).square().mean((1, 2, 3, 4)).sqrt().numpy()
        for film in (drawn, true[:, :, :1].expand_as(true))
    ]
    for name, values in zip(("drawn", "first frame copied"), errors, strict=True):
        found = intervals.interval(values[None])
        print(f"{name:20} RMSE {found.value:.2f} [{found.low:.2f}, {found.high:.2f}] grey levels")
    apart = intervals.interval((errors[1] - errors[0])[None])
    print(
        f"nearer by {apart.value:.2f} [{apart.low:.2f}, {apart.high:.2f}] in {len(rows)} films, "
        f"in {np.mean(errors[0] < errors[1]):.0%} of them"
    )


def verdict(told: argparse.Namespace) -> None:
    record = souron.compare(RIVALS, data=told.data, budget=told.budget, seeds=told.seeds, project=told.project)
    for row in record.rows:
        print(f"{row.system:32} {row.value:.4f} [{row.low:.4f}, {row.high:.4f}]")
    for one in record.verdicts:
        print(one)


COMMANDS = {"run": run, "next": following, "verdict": verdict}

if __name__ == "__main__":
    main()
