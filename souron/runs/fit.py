"""Run one training with checkpoints, and collect the answers of the trained system."""

import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from souron.data.dataset import Dataset
from souron.data.lazy_column import Sketch
from souron.data.splits import Split
from souron.evaluation import familiarity
from souron.evaluation.answers import Answers, Step
from souron.kinds.finding import Finding
from souron.runs import prepare
from souron.runs.events import Event, Interrupted, left
from souron.task import Task
from souron.training.frozen import Features
from souron.training.trainer import Trainer
from souron.utils import files
from souron.utils.messages import UserError, _

SLICE = 0.25  # seconds between two events
FEWEST_SEEN = 200  # least training cases for the familiarity check
KEEP_EVERY = 20.0  # least seconds between two checkpoints


def answer(
    task: Task,
    system: Any,
    test: Dataset,
    decision: dict[str, float],
    setup: Any,
    seed: int,
    trainings: int = 1,
    details: bool = True,
) -> Generator[Event, None, Answers]:
    """Return a trained system's answers for its test cases, including those only for the report."""
    answers = yield from follow("test", task.answer(system, test, decision, setup, seed))
    if details:
        further = task.details(system.whole, answers, setup, trainings)
        answers = answers | (yield from follow("test", further))
    return answers


def follow(phase: str, steps: Iterator[Step]) -> Generator[Event, None, Any]:
    """Yield steps as events with the time left, and return the last result."""
    begun, result = time.monotonic(), None
    for step in steps:
        result = step.result
        if step.text:
            yield Event(phase, step.done, left(begun, step.done), step.text)
    return result


def check(
    folder: Path, task: Task, system: Any, data: Dataset, split: Split, seen: float
) -> Generator[Event, None, float | None]:
    """Fit and store the run's familiarity check, from training and validation cases.

    Returns the share of test cases beyond its threshold; None without a check. It uses a tenth of
    the ``seen`` training examples, at least ``FEWEST_SEEN``.
    """
    if not issubclass(task.gives, Finding):
        return None
    if len(split.val) < familiarity.FEWEST:
        text = _("no check of unfamiliar cases: it needs {least} validation cases, and there are {count}")
        yield Event("check", text=text.format(least=familiarity.FEWEST, count=len(split.val)))
        return None
    yield Event("check", text=_("measuring the distance of cases from the training data"))
    most = min(familiarity.MOST, max(FEWEST_SEEN, int(seen) // 10))
    gauge = familiarity.fit(system, data.only(split.train), data.only(split.val), most)
    if gauge is None:
        return None
    gauge.write(folder / familiarity.FILE)
    return familiarity.share(gauge, system, data.only(split.test))


def features(
    args: dict[str, Any], data: Dataset, model: Any, exact: bool = False
) -> Generator[Event, None, Features | None]:
    """Run ``System.prepare`` and ``prepare.features`` as events; returns the features or None."""
    computed = None
    for done in () if isinstance(data.input, Sketch) else model.prepare(data):
        yield Event("features", done, text=_("what is computed of every image once"))
    for done, computed in prepare.features(args, data, model, exact):  # noqa: B007
        yield Event("features", done, text=_("the features of the frozen layers"))
    return computed


def learn(
    fit: Trainer, place: Path, folder: Path, trainings: int = 1, number: int = 0, film: Any = None
) -> Iterator[Event]:
    """Train to the end of the budget, with checkpoints in ``place``, also on Ctrl-C.

    ``number`` of ``trainings`` in the run's ``folder`` are finished. Validations before an
    interruption are reported again.
    """
    keeper, looks = Keeper({place / "weights": fit}), len(fit.curve)
    text = "" if trainings == 1 else numbered(number, trainings)

    def keep() -> None:
        keeper.keep()
        if film:
            film.keep()

    def event(values: dict[str, float], left: float | None = None, frame: Any = None) -> Event:
        told = ", ".join(filter(None, (text, fit.stage)))
        return Event("train", (number + fit.fraction) / trainings, left, told, values, frame)

    yield from map(event, fit.curve)
    while not fit.done:
        with gentle_interrupt() as interrupt:
            try:
                fit.go(SLICE, interrupt.is_set)
            except UserError as trouble:
                raise keeper.saved(trouble) from trouble
            frame = film.shoot(fit.system, fit.fraction, fit.seconds) if film else None
            fresh = fit.curve[looks:]
            if fit.done or keeper.due():
                keep()
        if interrupt.is_set():
            keep()
            raise Interrupted(folder)
        if fresh:
            write_results(place / "results.csv", fit.curve)
            looks = len(fit.curve)
        left = fit.seconds_left
        if left is not None:
            left += (trainings - number - 1) * (fit.seconds + left)
        try:
            for row in fresh[:-1]:
                yield event(row, left)
            yield event(fit.curve[-1] if fit.curve else {}, left, frame)
        except KeyboardInterrupt as interrupted:
            keep()
            raise Interrupted(folder) from interrupted


def numbered(number: int, trainings: int) -> str:
    """Return ``3 of 21`` for ``number`` 2."""
    return _("{number} of {count}").format(number=number + 1, count=trainings)


@dataclass
class Keeper:
    """Writes checkpoints at intervals."""

    fits: dict[Path, Trainer]  # by the folder of their weights
    last: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        return time.monotonic() - self.last > KEEP_EVERY

    def keep(self) -> None:
        begun = time.monotonic()
        for weights, fit in self.fits.items():
            _keep(fit, weights)
        # writing takes at most a tenth of the time
        self.last = time.monotonic() + 9 * (time.monotonic() - begun)

    def saved(self, trouble: UserError) -> UserError:
        """Save the last good weights and return an error that names their folder."""
        for weights, fit in self.fits.items():
            if fit.best is not None:
                files.write_tensors(weights / "best.safetensors", fit.best, {})
                kept = _("{why}; the weights of the last validation are kept in {folder}")
                told = kept.format(why=trouble.found, folder=weights)
                return UserError(trouble.code, told, expected=trouble.expected, fix=trouble.fix, exit=1)
        return trouble


def _keep(fit: Trainer, weights: Path) -> None:
    if fit.best is not None:
        files.write_tensors(weights / "best.safetensors", fit.best, {})
    if fit.done:
        current = fit.system.state_dict()
        files.write_tensors(weights / "last.safetensors", current, {})
        if fit.best is None:
            files.write_tensors(weights / "best.safetensors", current, {})
    fit.keep(weights / "resume.safetensors")


@contextmanager
def gentle_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a request to stop between steps; a second stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def write_results(path: Path, curve: list[dict[str, float]]) -> None:
    import csv

    columns = list(dict.fromkeys(column for row in curve for column in row))
    with files.atomically(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(curve)
