"""GAN or diffusion? Every generator on the same pictures at the same budget.

    python benchmarks/generators.py --budget 10min --samples 1000

Trains each at its size ``small`` on Fashion-MNIST through ``souron compare``, in turns, and prints
the table: distances, recall, bits per dimension, what the fixed network takes the pictures for, and
the time of a picture. Beside them what nobody should be near: an untrained copy of each, and the
mean of the training pictures; and what nobody needs to beat: real pictures (the floor).

``--also ddpm:guidance=2 biggan:truncation=0.5`` lets the trained networks draw once more with such
options. ``--resume FOLDER`` goes on with an interrupted comparison (``--also`` speaks of what this
call has trained to the end). ``--pictures FOLDER`` writes a strip of each system's first pictures,
as its page in the documentation shows them.
"""

# ruff: noqa: E402, the allocator is set before torch is imported

import argparse
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from souron.utils import hardware

hardware.calm_allocator()

import torch
from printing import line, say, table, watched, where
from torch import Tensor

from souron import registry, task
from souron.data.splits import Parts
from souron.evaluation.generators.sampling import Sample
from souron.evaluation.record import ComparisonRecord
from souron.metrics.generation import Resemblance
from souron.report import plots
from souron.runs import compare as run_compare
from souron.runs import prepare
from souron.training.trainer import Trainer

MEASURES = ("Fréchet distance", "kernel distance", "precision", "recall", "coverage")
HEAD = ("system", *MEASURES, "bits per dimension", "classes drawn", "surely recognised", "a picture takes, ms")
SHOWN = 24  # pictures of a strip


def main() -> None:
    asked = arguments()
    contest = run_compare.Comparison(options(asked))
    task.EXAMS["generate"] = Keeping
    with watched():
        record = compare(asked)
    say(record.sentence)
    everything = {name: shown(record, name) for name in (row.system for row in record.rows)}
    if asked.pictures:
        for name in everything:
            strip(record.gallery.drawn[name][0], asked.pictures / f"{name}.png")
    print(table(HEAD, [(name, *cells) for name, cells in everything.items()]), flush=True)
    for row in beside(contest, record, asked):
        print(line(row), flush=True)
    print(f"\n{record.sentence}\n\nThe network that looks: {record.gallery.eye}.")
    print(f"Report: {record.report}\n{where(torch.get_num_threads(), 'numpy', 'scipy')}")


def beside(
    contest: run_compare.Comparison, record: ComparisonRecord, asked: argparse.Namespace
) -> Iterator[tuple[str, ...]]:
    """Further rows: other options, real pictures, and what nobody should be near."""
    for _done in contest.exam.begin():
        pass
    scale = contest.exam.scale
    train = contest.everything.only(contest.plan.kept.train)
    for name, chosen in asked.also:
        if name not in Keeping.trained:
            say(f"{name} was not trained by this call: left out")
            continue
        drawn = sample(Keeping.trained[name], asked.samples, **chosen)
        told = ", ".join(f"{option}={value:g}" for option, value in chosen.items())
        yield f"{name}, {told}", *figures(scale.hold(drawn))
    floor = record.gallery.floor
    yield "floor: real pictures", *(f"{floor[m].value:.3g}" for m in MEASURES), "", "", "", ""
    mean = train.input.float().mean(0).round().byte()
    yield "mean picture", *figures(scale.hold(mean.expand(asked.samples, -1, -1, -1)))
    for name in asked.systems:
        model = prepare.build(contest.of(name, 1000), train).eval()
        yield f"{name}, untrained", *figures(scale.hold(sample(model, asked.samples)))


class Keeping(task.Generation):
    """Keeps the networks at hand that it has examined, the last seed's."""

    trained: ClassVar[dict[str, Any]] = {}

    def sit(self, fit: Trainer, parts: Parts, seed: int) -> Iterator[dict[str, Tensor]]:
        yield from super().sit(fit, parts, seed)
        self.trained[type(fit.system).__module__.rpartition(".")[2]] = fit.system


def also(text: str) -> tuple[str, dict[str, float]]:
    """``ddpm:guidance=2,steps=40``"""
    name, _colon, options = text.partition(":")
    pairs = (option.partition("=") for option in options.split(","))
    return name, {option: float(value) for option, _equals, value in pairs}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    generators = [e.name for e in registry.entries().values() if e.task == "generate"]
    parser.add_argument("--systems", type=lambda text: text.split(","), default=generators)
    parser.add_argument("--data", default="fashion")
    parser.add_argument("--budget", default="10min")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--project", type=Path, default=Path("runs"))
    parser.add_argument("--also", nargs="*", type=also, default=())
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--pictures", type=Path)
    return parser.parse_args()


def options(asked: argparse.Namespace) -> dict[str, object]:
    """Those of the comparison, as it notes them itself."""
    return {
        "systems": asked.systems,
        "data": asked.data,
        "budget": asked.budget,
        "side": None,
        "seeds": asked.seeds,
        "batch": 128,
        "pretrained": "False",
        "freeze": False,
        "augment": None,
        "device": "auto",
        "group": None,
        "allow_leak": False,
        "folds": None,
        "window": None,
        "samples": asked.samples,
    }


def compare(asked: argparse.Namespace) -> ComparisonRecord:
    record = None
    events = (
        run_compare.comparing(resume=asked.resume)
        if asked.resume
        else run_compare.comparing(
            asked.systems,
            asked.data,
            budget=asked.budget,
            seeds=asked.seeds,
            samples=asked.samples,
            project=asked.project,
            name=f"generators-{asked.budget}",
        )
    )
    told = -1
    for event in events:
        record = event.record
        if event.phase == "train" and int(20 * event.fraction) > told:
            told = int(20 * event.fraction)
            say(f"{event.fraction:.0%}, {event.seconds_left or 0:.0f} s left")
    assert record is not None
    return record


def shown(record: ComparisonRecord, system: str) -> list[str]:
    """A trained system's cells."""
    found = []
    rankings = {record.measure: record.rows}
    rankings |= {name: ranking.rows for name, ranking in record.further.items()}
    for measure in (*MEASURES, "bits per dimension"):
        row = next((row for row in rankings.get(measure, ()) if row.system == system), None)
        found.append(f"{row.value:.3g} ({row.low:.3g} to {row.high:.3g})" if row else "-")
    classes = record.gallery.classes[system]
    surely = next(row for row in rankings["share surely recognised"] if row.system == system).value
    drawn = len(classes.labels) - len(classes.missing)
    seconds = record.gallery.seconds[system]
    return [*found, f"{drawn} of {len(classes.labels)}", f"{surely:.0%}", f"{1000 * sum(seconds) / len(seconds):.2g}"]


def figures(found: Resemblance) -> list[str]:
    """The cells of what was not trained."""
    cells = [f"{found.measures[measure].value:.3g}" for measure in MEASURES]
    labels = found.classes.labels
    surely = found.measures["share surely recognised"].value
    return [*cells, "", f"{len(labels) - len(found.classes.missing)} of {len(labels)}", f"{surely:.0%}", ""]


def sample(model: Any, count: int, **options: float) -> Tensor:
    *_before, drawn = Sample.growing(model, count, seed=0, **options)
    return drawn.image


def strip(image: Tensor, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(io.BytesIO(plots.samples(image[:SHOWN], 12, width=720))) as drawn:
        file.write_bytes(drawn.getvalue())


if __name__ == "__main__":
    main()
