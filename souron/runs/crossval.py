"""Repeated cross-validation: every case is answered by a training without it."""

import shutil
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from souron.data.splits import Plan
from souron.evaluation.answers import Answers, Trainings, flatten, unflatten
from souron.runs import fit as run_fit
from souron.runs import prepare
from souron.runs.events import Event
from souron.training.forecast import Probe
from souron.training.frozen import Features
from souron.training.trainer import Trainer
from souron.utils import files, units
from souron.utils.messages import Message, _, sentences

TIMES = 5  # limit of an automatic cross-validation, in trainings of the final network
LEAST = 120.0  # seconds that it may take in any case
MOST = 1800.0


def affordable(plan: Plan, fit: Trainer, tried: Probe, options: Any) -> dict[str, Any] | None:
    """Return options that limit the time of a cross-validation; None if all of it may run.

    Beside the training of the final network it may take ``TIMES`` as long, at least ``LEAST`` and
    at
    most ``MOST`` seconds. Parts that were not requested are dropped in this order: the learning
    curve,
    the second repeat, all of it.
    """
    if not plan.repeats:
        return None
    allowed = min(MOST, max(LEAST, TIMES * tried.seconds(fit)))
    ways: list[tuple[dict[str, Any], Plan]] = [({}, plan)]
    if options.learning_curve is None:
        ways.append(({"learning_curve": 0}, plan._replace(fewer={})))
    if options.repeats is None and len(plan.repeats) > 1:
        change, without = ways[-1]
        ways.append(({**change, "repeats": 1}, without._replace(repeats=without.repeats[:1])))
    if not (options.folds or options.repeats or options.learning_curve):
        ways.append(({"folds": 1}, Plan(plan.kept, [])))
    fitting = (change for change, less in ways if sum(seconds(less, fit, tried)) <= allowed)
    change = next(fitting, ways[-1][0])
    if not change:
        return None
    return {"folds": len(plan.repeats[0]), **change}


def seconds(plan: Plan, fit: Trainer, tried: Probe) -> list[float]:
    """Return the seconds of each training of the cross-validation."""
    return [tried.seconds(fit, len(fold.train)) for *_name, fold in plan.rounds()]


def described(plan: Plan, training: Sequence[float], less: dict[str, Any] | None) -> str:
    """Describe the time of each ``training``, and what was left out to save time."""
    if not plan.repeats and not less:
        return ""
    if not plan.repeats:
        return _(
            "Not cross-validated, since that would take too long: one test part of few cases "
            "says little. folds=5 requests it."
        )
    text = _(
        "{own} for the final network, {time} for {folds}-fold cross-validation ({count} trainings, repeats: {repeats})."
    ).format(
        own=units.seconds(training[0]),
        time=units.seconds(sum(training[1:])),
        count=len(training) - 1,
        folds=len(plan.repeats[0]),
        repeats=len(plan.repeats),
    )
    if not less:
        return text
    wishes = []
    if less.get("repeats") == 1:
        wishes.append("repeats=2")
    if less.get("learning_curve") == 0:
        wishes.append("learning-curve=2")
    more = _("Shortened to save time; {options} runs the full analysis.").format(options=" ".join(wishes))
    return sentences([text, more])


def rounds(
    folder: Path, trainings: Trainings, args: dict[str, Any], plan: Plan, computed: Features | None, setup: Any
) -> Generator[Event, None, list[float]]:
    """Train and test each fold of each repeat, and the first repeat also on fewer cases.

    Fills in ``trainings``. Finished folds are kept in ``folder/folds`` and reused when resuming.
    Returns the seconds of each training.
    """
    spent = []
    for number, (name, repeat, share, split) in enumerate(plan.rounds(), 1):
        place = folder / "folds" / name
        kept = place.with_suffix(".safetensors")
        if not kept.exists():
            yield from _train(kept, name, split, number, folder, trainings, args, plan, computed, setup)
        tensors, about = files.read_tensors(kept)
        trainings.add(unflatten(tensors), split.test, repeat, share, len(split.train))
        spent.append(about["seconds"])
    return spent


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
    """Run one training and write its answers to a file."""
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
    answering = run_fit.answer(
        task,
        fit.system,
        parts.test,
        decision,
        own,
        mine["seed"],
        trainings=len(plan.repeats[0]),
        details=name.startswith("1-"),
    )
    text = run_fit.numbered(number, plan.trainings)
    answers = yield from _within(answering, (number + 1) / plan.trainings, text)
    files.write_tensors(kept, flatten(answers), {"seconds": fit.seconds})
    shutil.rmtree(place)


def _within(events: Generator[Event, None, Answers], fraction: float, text: str) -> Generator[Event, None, Answers]:
    """Report testing as part of one training, so that the progress bar never runs backward."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        yield Event("train", fraction, text=Message("{}, {}").format(text, event.text))
