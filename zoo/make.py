"""Train what souron-zoo holds, and pack it: weights in half precision, the figures of these weights.

    python zoo/make.py                     every system of recipes.toml that is not there yet
    python zoo/make.py ddpm resnet         these again
    python zoo/make.py --pack runs/ ddpm   of a run that is there: runs/generate/ddpm-zoo
    python zoo/make.py --table             the table of zoo/README.md
"""

import argparse
import json
import re
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from souron import registry
from souron.audit import datasheet
from souron.data import load
from souron.evaluation.answers import Trainings
from souron.evaluation.sampling import Noise, draw
from souron.hub import zoo
from souron.kinds.picture import Picture
from souron.runs import evaluate, train
from souron.runs import folder as run_folder
from souron.utils import files, units

HERE = Path(__file__).parent
DATA = "fashion"
MOST_BYTES = 2 * 2**20  # of a system's weights
KEPT = ("system", "data", "parameters", "flops", "stopped", "parts", "train_seconds", "options")
RECIPES: dict[str, dict[str, Any]] = tomllib.loads(
    (HERE / "recipes.toml").read_text(encoding="utf-8")
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *RECIPES], metavar="NAME")
    parser.add_argument("--pack", type=Path, metavar="PROJECT")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    package = zoo.root()
    assert package is not None, "pip install --editable zoo"
    if asked.table:
        print(table(package))
        return
    write_examples(package / "examples")
    for name in asked.names or [name for name in RECIPES if zoo.where(name) is None]:
        with tempfile.TemporaryDirectory() as project:
            run = trained(name, asked.pack or Path(project))
            print(row(packed(name, run, package / name)))


def write_examples(place: Path) -> None:
    """The first test picture of each class."""
    cases = load.load(DATA)
    for number, label in enumerate(cases.classes):
        of_class = (cases.target == number) & torch.tensor([part == "test" for part in cases.part])
        row = int(of_class.nonzero()[0])
        place.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "-", label.lower())
        Picture.of(cases.input[row]).save(place / f"{name}.png")


def trained(name: str, project: Path) -> Path:
    """The folder of a run as the recipe says, found there or trained now."""
    recipe = dict(RECIPES[name])
    system = recipe.pop("system")
    task = registry.find(system)[0].task
    folder = project / task / f"{system}-zoo"
    if not (folder / "receipt.json").exists():
        train.train(system, DATA, workers=1, project=project, name=folder.name, **recipe)
    return folder


def packed(name: str, run: Path, place: Path) -> Path:
    """Write the run's folder of the package, and measure what was written."""
    system = run_folder.load(run)
    needless = needless_parts(system)
    weights = {
        key: halved(value)
        for key, value in system.state_dict().items()
        if key.partition(".")[0] not in needless
    }
    shutil.rmtree(place, ignore_errors=True)
    files.write_tensors(
        place / "weights" / "best.safetensors", weights, {"left_out": sorted(needless)}
    )
    size = (place / "weights" / "best.safetensors").stat().st_size
    assert size <= MOST_BYTES, f"{name}: {units.size(size)}; a smaller one, please"
    shutil.copy(run / "args.yaml", place)
    decision = Trainings.read(run / "answers.safetensors", load.load(DATA).only([])).decision
    Trainings.empty(load.load(DATA).only([]), decision).write(place / "answers.safetensors")

    told = json.loads((run / "receipt.json").read_text(encoding="utf-8"))
    receipt = {key: told[key] for key in KEPT} | {
        "data": told["data"],
        "machine": {key: told["machine"][key] for key in ("processor", "cores", "packages")},
        "command": f"python zoo/make.py {name}",
        **run_folder.ending(place),
    }
    files.write_json(place / "receipt.json", receipt)
    record = evaluate.examine(place)  # with what was packed
    measures = {key: vars(measure) for key, measure in record.measures.items()}
    files.write_json(place / "receipt.json", receipt | {"measures": measures})
    parts = [vars(part) | {"files": ()} for part in datasheet.read(run).parts]
    files.write_json(place / "datasheet.json", datasheet.read(run).as_json() | {
        "run": name, "parts": parts,
    })  # fmt: skip
    return place


def halved(weight: Tensor) -> Tensor:
    """In half precision where that holds it."""
    half = weight.half()
    return half if weight.is_floating_point() and half.isfinite().all() else weight


@torch.no_grad()
def needless_parts(system: Any) -> set[str]:
    """The parts at the top of the network without which its answers stay the same, bit by bit."""
    before = answer(system)
    needless = set()
    for name, part in system.named_children():
        learnt = {key: value.clone() for key, value in part.state_dict().items()}
        if not learnt:
            continue
        for value in part.state_dict().values():
            if value.is_floating_point():
                value.fill_(torch.nan)
        if torch.equal(answer(system), before):
            needless.add(name)
        part.load_state_dict(learnt)
    return needless


def answer(system: Any) -> Tensor:
    """What it says of four pictures, or what it draws first."""
    if system.task == "generate":
        *_before, drawn = draw(system, Noise(0, range(4)))
        return drawn
    system.eval()
    shape = (4, system.spec.channels, system.spec.side, system.spec.side)
    picture = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return system(picture)


def row(place: Path) -> str:
    """A line of the table."""
    receipt = json.loads((place / "receipt.json").read_text(encoding="utf-8"))
    task = registry.find(receipt["system"])[0].task
    name = registry.tasks()[task].metrics[0].name
    measure, metric = receipt["measures"][name], registry.metric(name)
    return "| " + " | ".join((
        receipt["system"],
        " ".join(f"{key}={value}" for key, value in receipt["options"]["changes"].items()),
        units.size((place / "weights" / "best.safetensors").stat().st_size),
        units.seconds(receipt["train_seconds"]),
        f"{metric.title} {metric.text(measure['value'])}",
        metric.interval(measure["low"], measure["high"]),
    )) + " |"  # fmt: skip


def table(package: Path) -> str:
    heads = ("system", "options", "weights", "trained for", "on the test pictures", "95 % interval")
    lines = ["| " + " | ".join(heads) + " |", "|---|---|---:|---:|---|---|"]
    folders = sorted(file.parent for file in package.glob("*/receipt.json"))
    return "\n".join([*lines, *map(row, folders)])


if __name__ == "__main__":
    main()
