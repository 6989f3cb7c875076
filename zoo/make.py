"""Train what souron-zoo holds, and pack it: weights in half precision, and their figures.

    python zoo/make.py                     every system that is not there yet
    python zoo/make.py ddpm resnet         these again
    python zoo/make.py --on processes:4    trained on an engine (docs/machines.md), packed here
    python zoo/make.py --pack runs/ ddpm   of a run that is there: runs/generate/ddpm-zoo
    python zoo/make.py --familiar resnet   how answers are checked, of the weights that are there
    python zoo/make.py --table             the table of zoo/README.md

Beside the runs stand cases of the data's test parts: ``examples/``, of Fashion-MNIST one of each
class, and ``sample.safetensors``, ``SAMPLE`` of its pictures, so that figures can be found again
where the data is not. Texts come from ``examples.toml`` instead: they are of nobody's letters or manuals.
"""

import argparse
import gzip
import inspect
import json
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from souron import registry
from souron.data import load, voices
from souron.data.composing.phantoms import torsos
from souron.data.dataset import Dataset, Rows
from souron.data.log_mel import RATE
from souron.data.recordings import Recording
from souron.data.voices import Voices
from souron.evaluation import familiarity
from souron.evaluation.answers import Trainings
from souron.evaluation.generators.sampling import Noise, draw
from souron.hub import zoo
from souron.hub.backbones import Backbone
from souron.kinds import signature
from souron.kinds.before_after import BeforeAfter
from souron.kinds.finding import Finding
from souron.kinds.picture import Picture
from souron.kinds.score import Score
from souron.kinds.sound import Sound
from souron.kinds.text import Text
from souron.kinds.volume import Volume
from souron.runs import datasheet, evaluate, prepare, train
from souron.runs import folder as run_folder
from souron.runs.elsewhere import workers
from souron.runs.events import left
from souron.utils import files, units
from souron.utils.messages import UserError

HERE = Path(__file__).parent
SAMPLE = 500  # test pictures
BEGINNING = 16  # words of a text
EXAMPLES = {  # test cases
    "drawn_scenes": 6,
    "people": 4,
    "cephalo": 2,
    "phantoms": 1,
    "speeches": 4,
    "office_help": 4,
    "chorales": 1,
    "synthetic_digits": 3,
    "drawn_captioned_scenes": 4,
    "drawn_scene_questions": 4,
    "drawn_photo_scenes": 3,
    "photo_patches": 3,
    "coats": 3,
}
TEXTS: dict[str, list[str]] = tomllib.loads((HERE / "examples.toml").read_text(encoding="utf-8"))
QUESTION = "What is shown?"
SHARED = "network"  # the layer that ``clip=`` takes over as it is
LENT = 1e-3  # of a lent weight: the largest mean difference from the system's own
MOST_BYTES = 8_000_000  # of a system's weights
KEPT = ("system", "data", "parameters", "flops", "stopped", "parts", "train_seconds", "options")
TASKS = {  # whose systems come ready trained: on what, and for how long
    "classify": ("fashion", "3min"),
    "generate": ("fashion", "10min"),
    "detect": ("drawn_scenes", "6min"),
    "segment": ("drawn_scenes", "6min"),
    "segment_instances": ("drawn_scenes", "6min"),
    "segment_panoptic": ("drawn_scenes", "6min"),
    "pose": ("people", "6min"),
    "keypoints": ("cephalo", "6min"),
    "segment_volume": ("phantoms", "6min"),
    "complete": ("speeches", "8min"),
    "text_to_image": ("drawn_captioned_scenes", "20min"),
    "compose": ("chorales", "16min"),
    "transcribe": ("synthetic_digits", "3min"),
    "match": ("drawn_captioned_scenes", "7min"),
    "answer": ("drawn_scene_questions", "12min"),
    "image_to_image": ("photo_patches", "4min"),
    "text_to_page": ("page_requests", "5min"),
    "text_to_video": ("drawn_moving_scenes", "8min"),
    "translate": ("manual_pairs", "9min"),
    "classify_text": ("mails", "3min"),
    "fill_mask": ("speeches", "11min"),
    "tag": ("entities", "6min"),
}
FURTHER, FURTHER_SEED = 40, 1  # phantoms, for the threshold of the check of answers
BESIDE = (  # counts and rules, and what stands on others' weights
    *("ngram", "ngram_voices", "still_picture", "keyword_page", "question_only"),
    *("tfidf", "translation_memory", "neighbours", "threshold"),
    *("lexicon", "open_model", "nanodet", "movenet", "deeplab_v3", "lraspp", "u2net", "style"),
)
OPTIONS = {
    "system",
    "data",
    "budget",
    "batch",
    "side",
    "clip",
    "freeze",
}  # of a recipe; the others are the system's own
PACKING = {"borrows", "base", "eight_bits"}  # how a recipe's weights are packed
RECIPES: dict[str, dict[str, Any]] = tomllib.loads((HERE / "recipes.toml").read_text(encoding="utf-8"))  # what differs
NAMES = [entry.name for entry in registry.entries().values() if entry.task in TASKS and entry.name not in BESIDE]
NAMES += [name for name in RECIPES if name not in registry.entries()]  # which go on from another one


def main() -> None:
    as_written = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], metavar="NAME")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--pack", type=Path, metavar="PROJECT")
    where.add_argument("--on", metavar="ENGINE")
    parser.add_argument("--familiar", action="store_true")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    package = zoo.root()
    assert package is not None, "pip install --editable zoo"
    torch.set_num_threads(1)
    if asked.table:
        print(table(package))
        return
    if asked.familiar:
        for name in asked.names or sorted(NAMES):
            if (package / name).exists() and write_check(package / name):
                print(name, flush=True)
        return
    write_examples(package)
    wanted = asked.names or [name for name in NAMES if not (package / name).exists()]
    sys.exit(1 if make(wanted, package, asked.pack, asked.on) else 0)


def make(wanted: Sequence[str], package: Path, project: Path | None = None, on: str | None = None) -> list[str]:
    """Train and pack systems, print a row of each, and return the names of those that failed."""
    failed, begun = [], time.monotonic()
    found = elsewhere(wanted, on) if on else ((name, None) for name in wanted)
    for done, (name, content) in enumerate(found, 1):
        with tempfile.TemporaryDirectory() as temporary:
            try:
                run = unpacked(content, Path(temporary)) if on else trained(stages(name), project or Path(temporary))
                print(row(packed(name, run, package / name)), flush=True)
            except Exception as error:  # the others go on
                failed.append(name)
                print(f"{name}: {error}", file=sys.stderr)
        seconds = left(begun, done / len(wanted)) or 0
        print(f"{done} of {len(wanted)}, {units.seconds(seconds)} left", file=sys.stderr)
    return failed


def elsewhere(wanted: Sequence[str], on: str) -> Iterator[tuple[str, Any]]:
    """Train systems on an engine; yield their names with the files of their runs as they arrive."""
    return workers.gather(on, files_of_run, ((name, (stages(name),)) for name in wanted))


def files_of_run(stages: Sequence[Mapping[str, Any]]) -> dict[str, bytes] | Exception:
    """Train on this machine; return the run's files by their names, or what went wrong."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as project:
        try:
            folder = trained(stages, Path(project))
        except Exception as error:  # the others go on
            return error if isinstance(error, UserError) else RuntimeError(f"{type(error).__name__}: {error}")
        return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def unpacked(content: dict[str, bytes] | Exception, folder: Path) -> Path:
    """Write the files of a run that was trained elsewhere. Raises the error of one that failed there."""
    if isinstance(content, Exception):
        raise content
    for name, content_of_file in content.items():
        files.write_bytes(folder / name, content_of_file)
    return folder


def write_examples(place: Path) -> None:
    fashion = tested("fashion")
    folder = place / "examples" / "fashion"
    folder.mkdir(parents=True, exist_ok=True)
    for number, label in enumerate(fashion.classes):
        row = int((fashion.target == number).nonzero()[0])
        Picture.of(fashion.input[row]).save(folder / f"{zoo.file_name(label)}.png")
    sample = {"input": fashion.input[:SAMPLE], "target": fashion.target[:SAMPLE].to(torch.uint8)}
    files.write_tensors(place / "sample.safetensors", sample, {"data": "fashion"})
    for shown, texts in TEXTS.items():
        (place / "examples" / shown).mkdir(exist_ok=True)
        for number, text in enumerate(texts, 1):
            Text(text).save(place / "examples" / shown / f"{number}.txt")
    for data in EXAMPLES:
        test = tested(data)
        (place / "examples" / data).mkdir(exist_ok=True)
        for number, row in enumerate(rows(test, data), 1):
            write_case(test, row, place / "examples" / data / f"{number}")


def tested(data: str) -> Dataset:
    cases = load.load(data)
    return cases.only([row for row, part in enumerate(cases.part) if part == "test"])


def rows(cases: Dataset, data: str) -> range:
    """The examples among the test cases of a data set: evenly apart."""
    count = EXAMPLES[data]
    return range(0, len(cases), len(cases) // count)[:count]


def write_case(cases: Dataset, row: int, place: Path) -> None:
    if isinstance(cases.input[row], str):
        words = cases.input[row].split()[:BEGINNING]
        Text(" ".join(words)).save(place.with_suffix(".txt"))
        return
    if isinstance(cases.input[row], Recording):
        Sound(cases.input[row].samples.numpy(), RATE).save(place.with_suffix(".wav"))
        return
    if isinstance(cases.input[row], Voices):  # its melody
        whole = Score.of(voices.notation(cases.input[row]))
        tones = [note for note in whole.tones if note.part == 0]
        replace(whole, tones=tones, parts=whole.parts[:1]).save(place.with_suffix(".mid"))
        return
    if cases.images:
        Picture.of(cases.input[row]).save(place.with_suffix(".png"))
        return
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]], affine[3, 3] = cases.spacing[row], 1
    volume = Volume(cases.input[row, 0].numpy(), affine)
    volume.save(place.with_suffix(".nii.gz"))
    small = gzip.compress(gzip.decompress(place.with_suffix(".nii.gz").read_bytes()), 9, mtime=0)
    place.with_suffix(".nii.gz").write_bytes(small)


def stages(name: str) -> list[dict[str, Any]]:
    """Return the trainings of a recipe as arguments of ``train.train``; one that another goes on from is first.

    ``pretrained`` is the name of another recipe, or a training that is not packed.
    """
    data, budget = TASKS[task_of(name)]
    recipe = {"system": name, "data": data, "budget": budget} | RECIPES.get(name, {})
    before = recipe.pop("pretrained", [])
    called = recipe["system"] if name in registry.entries() else name
    earlier = stages(before) if isinstance(before, str) else [stage(before, f"{name}-before")] if before else []
    return [*earlier, stage(recipe, called)]


def stage(recipe: Mapping[str, Any], called: str) -> dict[str, Any]:
    """Return one training as arguments of ``train.train``."""
    own = {key: value for key, value in recipe.items() if key in OPTIONS}
    config = {key: value for key, value in recipe.items() if key not in OPTIONS | PACKING}
    return {**own, "config": config, "name": f"{called}-zoo"}


def trained(stages: Sequence[Mapping[str, Any]], project: Path) -> Path:
    """Return the folder of the last run, each found in the project or trained now."""
    folder = None
    for stage in stages:
        before = {} if folder is None else {"pretrained": str(folder)}
        folder = project / registry.find(stage["system"])[0].task / stage["name"]
        if not (folder / "receipt.json").exists():
            train.train(**stage, **before, project=project)
    assert folder is not None
    return folder


def task_of(name: str) -> str:
    return registry.find(RECIPES.get(name, {}).get("system", name))[0].task


def data_of(name: str) -> str:
    """The data set that a system learns from."""
    return RECIPES.get(name, {}).get("data", TASKS[task_of(name)][0])


def licence(name: str, own: str) -> str:
    """The licences of all data that a system learnt from, also before it went on."""
    recipe = RECIPES.get(name, {})
    before = recipe.get("pretrained", recipe.get("model"))
    data = before["data"] if isinstance(before, dict) else data_of(before) if before else ""
    others = load.names()[data].licence if data else ""
    if isinstance(before, str):
        others = licence(before, others)
    return ", ".join(dict.fromkeys(filter(None, [*own.split(", "), *others.split(", ")])))


@cache
def asked(task: str) -> dict[str, str]:
    """The options with which a system is shown at work: of images the captions of all, or a question."""
    if task == "match":
        cases = tested("drawn_captioned_scenes")
        shown = [cases.target[row] for row in rows(cases, "drawn_captioned_scenes")]
        return {"texts": "|".join(next(one.text for one in each if one.language == "en") for each in shown)}
    return {"question": QUESTION} if task == "answer" else {}


def lenders(name: str) -> dict[str, str]:
    """The layers that another ready-trained system holds for this one, and its name."""
    recipe = RECIPES.get(name, {})
    return ({SHARED: recipe["clip"]} if "clip" in recipe else {}) | recipe.get("borrows", {})


def frozen_backbones(system: Any) -> dict[str, str]:
    """The layers of a detector that are a published classifier's as they were, and its name."""
    parts = ((layer, part) for layer, part in system.named_modules() if isinstance(part, Backbone))
    return {layer: part.name for layer, part in parts if same(part.state_dict(), zoo.backbone(part.name))}


def same(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(value, theirs[key]) for key, value in own.items())


def packed(name: str, run: Path, place: Path) -> Path:
    """Write the run's folder of the package, and measure what was written."""
    system = run_folder.load(run)
    needless = needless_parts(system, name)
    weights = {
        key: halved(value)
        for key, value in system.state_dict().items()
        if not key.startswith(tuple(f"{part}." for part in needless))
    }
    about: dict[str, Any] = {"left_out": sorted(needless)}
    if lent := lenders(name):
        about["borrowed"] = lent
    for layer, lender in lent.items():
        theirs = zoo.tensors_of(lender)
        for key in [key for key in weights if key.startswith(f"{layer}.")]:
            own, its = weights.pop(key).float(), theirs[key].float()
            assert (own - its).abs().mean() <= LENT * its.abs().mean(), f"{name}: {key} is not {lender}'s"
    if published := frozen_backbones(system):
        about["published"] = published
        weights = {
            key: value for key, value in weights.items() if not key.startswith(tuple(f"{part}." for part in published))
        }
    if base := RECIPES.get(name, {}).get("base"):
        about["base"] = base
        weights = as_difference(weights, zoo.tensors_of(base))
    elif RECIPES.get(name, {}).get("eight_bits"):
        weights = as_difference(weights, {key: torch.zeros(weight.shape) for key, weight in weights.items()})
    shutil.rmtree(place, ignore_errors=True)
    files.write_tensors(place / "weights" / "best.safetensors", weights, about)
    size = (place / "weights" / "best.safetensors").stat().st_size
    assert size <= MOST_BYTES, f"{name}: {units.size(size)}; a smaller one, please"
    files.write_text(place / "args.yaml", without_folder((run / "args.yaml").read_text(encoding="utf-8"), run))
    cases = load.load(data_of(name), target=registry.load_task(system.task).target).only([])
    decision = Trainings.read(run / "answers.safetensors", cases).decision
    Trainings.empty(cases, decision).write(place / "answers.safetensors")
    write_check(place)

    told = json.loads(without_folder((run / "receipt.json").read_text(encoding="utf-8"), run))
    receipt = {key: told[key] for key in KEPT} | {
        "data": told["data"] | {"licence": licence(name, told["data"]["licence"])},
        "machine": {key: told["machine"][key] for key in ("processor", "cores", "packages")},
        "command": f"python zoo/make.py {name}",
        **run_folder.ending(place),
    }
    files.write_json(place / "receipt.json", receipt)
    record = evaluate.examine(place)  # with what was packed
    measures = {key: vars(measure) for key, measure in record.measures.items()}
    receipt |= {"measures": measures}
    if system.task == "classify":
        image, label = zoo.sample()
        right = int((scores(run_folder.load(place), image).argmax(1) == label).sum())
        receipt |= {"sample": {"cases": len(image), "right": right}}
    elif not hasattr(system, "drawing"):
        receipt |= {
            "examples": [str(one) for one in answers(run_folder.load(place), name)],
            "asked": asked(system.task),
        }
    files.write_json(place / "receipt.json", receipt)
    parts = [vars(part) | {"files": ()} for part in datasheet.read(run).parts]
    sheet = json.dumps(datasheet.read(run).as_json() | {"run": name, "parts": parts})
    files.write_json(place / "datasheet.json", json.loads(without_folder(sheet, run)))
    return place


def without_folder(text: str, run: Path) -> str:
    """Return a text about a run in which the project, two folders above it, is ``runs``, wherever it lay."""
    return text.replace(f"{run.parent.parent}/", "runs/")


def write_check(place: Path) -> bool:
    """How its answers are checked to be about cases like those of training, see
    ``evaluation.familiarity``; False for what finds nothing."""
    system = run_folder.load(place)
    task = registry.load_task(system.task)
    if task.takes in (None, Text) or not issubclass(task.gives, Finding):
        return False
    data = data_of(place.name)
    side = getattr(system.spec, "side", None)
    cases = load.load(data, side, formats=task.formats, target=task.target)
    cases = prepare.coloured(cases, getattr(system.spec, "channels", 0))
    split = prepare.read_split(place, cases, task)
    gauge = familiarity.fit(system, cases.only(split.train), validation(cases.only(split.val)))
    assert gauge is not None, place
    gauge.write(place / familiarity.FILE)
    receipt = zoo.receipt(place)
    if receipt:
        files.write_json(place / "receipt.json", receipt | {"files": run_folder.hashes(place)})
    return True


def validation(cases: Dataset) -> Dataset:
    """The validation cases; of phantoms, which are too few for a threshold, further patients."""
    if not cases.volumes:
        return cases
    made = torsos.torsos(torsos.Recipe(FURTHER_SEED, {"val": FURTHER}))
    names = [str(number) for number in range(FURTHER)]
    return replace(cases, input=made.volumes, target=made.organs, spacing=made.spacing, file=names, part=(), columns={})


def as_difference(weights: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The matrices of a fine-tuned system as differences from the one that it was fine-tuned from."""
    packed = dict(weights)
    for key, weight in weights.items():
        if key in base and weight.ndim == 2 and weight.shape == base[key].shape:
            packed[key], packed[key + zoo.STEP] = zoo.difference(weight, base[key])
    return packed


def halved(weight: Tensor) -> Tensor:
    """In half precision where that holds it."""
    half = weight.half()
    return half if weight.is_floating_point() and half.isfinite().all() else weight


@torch.no_grad()
def needless_parts(system: Any, ready: str) -> set[str]:
    """The parts of the network that are never called for an answer, and without which answers stay
    the same, bit by bit: of the whole, and of what is left of it the parts' own parts.

    A part that is called but changes none of these few answers, such as the coarse maps of a
    detector where all objects are small, is needed for others.
    """
    called: set[str] = set()
    hooks = [
        part.register_forward_pre_hook(lambda _part, _given, name=name: called.add(name))
        for name, part in system.named_modules()
    ]
    before = answer(system, ready)
    for hook in hooks:
        hook.remove()
    needless: set[str] = set()
    for name, part in system.named_modules():
        inside = tuple(f"{outer}." for outer in needless)
        if not name or name.count(".") > 1 or name.startswith(inside):
            continue
        if any(f"{each}.".startswith(f"{name}.") for each in called):
            continue
        learnt = {key: value.clone() for key, value in part.state_dict().items()}
        if not learnt:
            continue
        for value in part.state_dict().values():
            if value.is_floating_point():
                value.fill_(torch.nan)
        with suppress(ValueError, IndexError, UserError, RuntimeError):  # not a number where one was wanted
            if answer(system, ready) == before:
                needless.add(name)
        part.load_state_dict(learnt)
    return needless


def answer(system: Any, name: str) -> Any:
    """What it says of four pictures or of the examples, or what it draws first and how likely it
    takes pictures to be."""
    if hasattr(system, "drawing"):
        *_before, drawn = draw(system, Noise(0, range(4)))
        varied = variations(system).tolist() if "image" in inspect.signature(system.drawing).parameters else []
        return drawn.tolist(), varied, bits(system, zoo.sample()[0][:4]) if getattr(system, "likelihood", False) else []
    if system.task == "classify":
        return scores(system, zoo.sample()[0][:4]).tolist()
    labels = getattr(system.spec, "labels", ())
    ways = [{"to": label} for label in labels] if system.task == "image_to_image" and labels[1:] else [{}]
    return [told(one) for way in ways for one in answers(system, name, **way)]


def variations(system: Any) -> Tensor:
    """Draw from an image, with a generator that can start from one."""
    side, channels = system.spec.side, system.spec.channels
    given = torch.linspace(-1, 1, channels * side * side).view(1, channels, side, side)
    *_before, drawn = draw(system, Noise(0, range(1)), image=given)
    return drawn


def told(one: Any) -> Any:
    """An answer to compare with another, without the time that it took: of an image its pixels."""
    return one.after.image.tobytes() if isinstance(one, BeforeAfter) else one.as_json()


def bits(system: Any, image: Tensor) -> list[float]:
    """Bits per dimension of pictures (B, C, H, W) uint8; bounds are estimated with one noise."""
    side = system.spec.side
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        none = torch.zeros(len(image), dtype=torch.long)
        return system.bits(system.batch(Rows(image[..., :side, :side], none))).tolist()


def answers(system: Any, name: str, **options: str) -> list[Any]:
    """What it finds in each example."""
    given = signature.signature(type(system))
    package = zoo.root()
    assert given is not None and package is not None
    own = package / "examples" / name
    cases = sorted((own if own.is_dir() else package / "examples" / data_of(name)).glob("*"))
    read = [replace(given.given.read(case, **system.reading()), file=case.name) for case in cases]
    return [system.predict(one, **asked(system.task), **options) for one in read]


@torch.no_grad()
def scores(system: Any, image: Tensor) -> Tensor:
    """(B, classes) of pictures (B, C, H, W) uint8."""
    return system(system.batch(Rows(image, None)).image)


def row(place: Path) -> str:
    """A line of the table."""
    receipt = json.loads((place / "receipt.json").read_text(encoding="utf-8"))
    task = registry.find(receipt["system"])[0].task
    name = registry.tasks()[task].metrics[0].name
    measure, metric = receipt["measures"][name], registry.metric(name)
    options = {key: receipt["options"][key] for key in ("clip", "freeze") if receipt["options"].get(key)}
    options |= receipt["options"]["changes"]
    options |= {"imgsz": side} if (side := receipt["options"]["side"]) else {}
    options |= {"batch": batch} if (batch := receipt["options"]["batch"]) != 128 else {}
    return (
        "| "
        + " | ".join(
            (
                receipt["system"] if place.name in registry.entries() else place.name,
                " ".join(f"{key}={value}" for key, value in options.items()),
                units.size((place / "weights" / "best.safetensors").stat().st_size),
                units.seconds(receipt["train_seconds"]),
                f"{metric.title} {metric.text(measure['value'])}",
                metric.interval(measure["low"], measure["high"]),
                f"{receipt['parts']['test']} of {receipt['data']['name']}, {receipt['data']['hash'][:4]}",
            )
        )
        + " |"
    )


def table(package: Path) -> str:
    heads = ("system", "options", "weights", "trained for", "on the test cases", "95 % interval", "test cases")
    lines = ["| " + " | ".join(heads) + " |", "|---|---|---:|---:|---|---|---|"]
    folders = sorted(file.parent for file in package.glob("*/receipt.json"))
    return "\n".join([*lines, *map(row, folders)])


if __name__ == "__main__":
    main()
