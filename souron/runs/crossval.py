"""Repeated cross-validation: every case is answered by a training that never saw it."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from souron.data.splits import Plan
from souron.evaluation.answers import Trainings, flatten, unflatten
from souron.runs import fit as run_fit
from souron.runs import prepare
from souron.runs.events import Event
from souron.training.frozen import Features
from souron.utils import files


def rounds(
    folder: Path,
    trainings: Trainings,
    args: dict[str, Any],
    plan: Plan,
    computed: Features | None,
    setup: Any,
) -> Iterator[Event]:
    """Train and test each fold of each repeat, and the first repeat's with fewer cases to learn
    from; fill in ``trainings``. What is done is kept in ``folder/folds``, so that going on takes it
    up. An event with the value ``spent`` says the seconds that a training took."""
    for number, (name, repeat, share, split) in enumerate(plan.rounds(), 1):
        place = folder / "folds" / name
        kept = place.with_suffix(".safetensors")
        if not kept.exists():
            yield from _train(
                kept, name, split, number, folder, trainings, args, plan, computed, setup
            )
        tensors, about = files.read_tensors(kept)
        trainings.add(unflatten(tensors), split.test, repeat, share, len(split.train))
        yield Event("test", values={"spent": about["seconds"]})


def _train(
    kept: Path,
    name: str,
    split: Any,
    number: int,
    folder: Path,
    trainings: Trainings,
    args: dict[str, Any],
    plan: Plan,
    computed: Features | None,
    setup: Any,
) -> Iterator[Event]:
    """One training, and its answers as a file."""
    everything, place = trainings.test, kept.with_suffix("")
    mine = {**args, "seed": args["seed"] + number}
    model = prepare.build(mine, everything.only(split.train))
    entrant = prepare.enter(mine, model, everything, split, computed, plan.trainings)
    fit, parts = entrant.trainer, entrant.parts
    fit.setup = setup
    if (place / "weights" / "resume.safetensors").exists():
        fit.go_on(place / "weights/resume.safetensors", place / "weights/best.safetensors")
    yield from run_fit.learn(fit, place, folder, plan.trainings, number)
    fit.use_best()
    task = prepare.task_of(args)
    own = replace(setup, test=everything.only(split.test))
    decision = task.decide(fit.system, parts.val, own)
    answers = yield from run_fit.answer(
        task, fit.system, parts.test, decision, own, mine["seed"],
        trainings=len(plan.repeats[0]), details=name.startswith("1-"),
    )  # fmt: skip
    files.write_tensors(kept, flatten(answers), {"seconds": fit.seconds})
    shutil.rmtree(place)
