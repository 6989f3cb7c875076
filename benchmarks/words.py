"""Words and pictures: whether each finds the other, and whether drawn pictures show what was asked.

    python benchmarks/words.py clip [--budget 20min] [--seeds 1] [--data captioned_scenes]
    python benchmarks/words.py encoders          ResNet beside ViT: a verdict
    python benchmarks/words.py draw              latent_diffusion, attribute by attribute
    python benchmarks/words.py networks          UNet beside DiT: a verdict
    python benchmarks/words.py prior             dalle2 with its prior and without: a verdict
    python benchmarks/words.py guidance RUN      obedience and recall at guidance 1, 3, 5, 8

Without ``--data`` the scenes are made of stamps (``souron fetch stamps``). Folders go to --project.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import torch

import souron
from souron.data import load
from souron.evaluation.generators import generation
from souron.evaluation.generators.prompt_adherence import PromptedResult
from souron.evaluation.vision.matching import MatchResult
from souron.metrics import text_to_image as metrics
from souron.runs import folder as run_folder
from souron.runs import prepare
from souron.stats.records import Measure
from souron.tasks.text_to_image import Options, PromptedGenerator, TextToImage, drawn_for

GUIDANCE = (1.0, 3.0, 5.0, 8.0)


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("what", choices=sorted(COMMANDS))
    parser.add_argument("run", nargs="?")
    parser.add_argument("--budget", default="20min")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--data", default="captioned_scenes")
    parser.add_argument("--project", default="runs/benchmark")
    told = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, budget {told.budget}, data {told.data}")
    COMMANDS[told.what](told)


def text(measure: Measure) -> str:
    return f"{measure.value:6.1%} [{measure.low:.1%}, {measure.high:.1%}]"


def clip(told: argparse.Namespace) -> None:
    """Recall, swaps and zero-shot of each subset and language."""
    record = souron.train("clip", data=told.data, budget=told.budget, project=told.project)
    found = record.details
    assert isinstance(found, MatchResult)
    for part in found.parts:
        print(f"\n{part.subset or 'all'}, {part.language}, {part.cases} pictures")
        for name, measure in part.measures.items():
            print(f"  {name:24} {text(measure)}")


def draw(told: argparse.Namespace) -> None:
    """Each attribute between shuffled captions and real pictures."""
    begun = time.perf_counter()
    record = souron.train("latent_diffusion", data=told.data, budget=told.budget, project=told.project)
    print(f"{time.perf_counter() - begun:.0f} s in all")
    table(record.details)


def table(found: Any) -> None:
    assert isinstance(found, PromptedResult)
    print(f"seconds a picture: {found.generation.seconds:.2f}")
    for part in found.parts:
        print(f"\n{part.subset or part.language or 'all'}, {part.cases} prompts")
        for name, measure in part.measures.items():
            way = metrics.share_of_the_way(measure.value, part.floor[name], part.ceiling[name])
            share = "-" if math.isnan(way) else f"{way:.2f}"
            print(
                f"  {name:8} {text(measure)}  floor {part.floor[name]:.1%}  "
                f"ceiling {part.ceiling[name]:.1%}  share of the way {share}"
            )


def compared(told: argparse.Namespace, *names: str) -> None:
    record = souron.compare(list(names), data=told.data, budget=told.budget, seeds=told.seeds, project=told.project)
    for row in record.rows:
        print(f"{row.system:32} {row.value:.4f} [{row.low:.4f}, {row.high:.4f}]")
    for verdict in record.verdicts:
        print(verdict)


def guidance(told: argparse.Namespace) -> None:
    """What insisting on the prompt costs in variety: a row for each strength."""
    folder = Path(told.run)
    args = run_folder.read_args(folder)
    system = run_folder.load(folder)
    assert isinstance(system, PromptedGenerator)
    setup = setup_of(folder, args)
    task = TextToImage()
    print("guidance  " + "  ".join(f"{name:>18}" for name in SHOWN))
    for strength in GUIDANCE:
        *_before, (_done, sample) = drawn_for(system, setup.prompts, 0, guidance=strength)
        answers = generation.answers_of(sample, setup.reference)
        answers.pop("probability", None)
        found = task.measures([answers | setup.judged(sample.image)], setup)
        figures = (found[name].value if name in found else math.nan for name in SHOWN)
        print(f"{strength:8.1f}  " + "  ".join(f"{value:18.3f}" for value in figures), flush=True)


SHOWN = (metrics.ACCURACY, *metrics.ATTRIBUTES.values(), "Fréchet distance", "precision", "recall")


def setup_of(folder: Path, args: dict[str, Any]) -> Any:
    """The prompts of a run's own test cases, and who reads them."""
    task = TextToImage()
    data = load.load(args["data"], args["seen"]["side"], task.formats, target=task.target)
    split = prepare.read_split(folder, data, task)
    *_before, last = task.setup(data, split, Options())
    return last.result


COMMANDS = {
    "clip": clip,
    "encoders": lambda told: compared(told, "clip", "clip_small_vit"),
    "draw": draw,
    "networks": lambda told: compared(told, "latent_diffusion", "latent_diffusion_small_dit"),
    "prior": lambda told: compared(told, "dalle2", "dalle2:prior=none"),
    "guidance": guidance,
}


if __name__ == "__main__":
    main()
