"""Estimate the time and memory of a training from a few steps of a copy."""

import copy
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import mean, median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from souron.data.dataset import Loader
from souron.training.budget import MOST_WAITING, Budget
from souron.training.loop import Progress
from souron.training.trainer import Trainer
from souron.utils import hardware
from souron.utils.messages import UserError, _

PROBE_SECONDS = 1.5  # at most, and at most a quarter of the run's steps
LONGEST, SHARE = 30.0, 0.2  # limit of a probe in seconds, and as a fraction of a time budget
SHORT, SHORTEST = 20.0, 2.0  # seconds of training from which a speed is computed, at most and at least
FEW_CASES, SOME_CASES = 16, 256  # validation cases timed; more if the few were fast
LONGEST_STEP = 0.25  # of a brief training, as a fraction of its budget
TWO, MORE = 2, 8  # cases of the steps that tell its batch size
BUSY = 1.25  # wall time of steps, as a multiple of the processor's, from which it counts: a machine with other work
GROWING = (0.1, 0.3, 0.5, 0.7, 0.9)  # fractions of the budget at which a growing system is timed


@dataclass(frozen=True)
class Probe:
    """Measurements from a few steps of a copy."""

    step: float  # seconds per training step
    look: float  # seconds per case of validation
    held: int  # bytes it occupies while another system trains
    whole: float = math.inf  # seconds until the system is done, whatever the budget
    waiting: float = 1.0  # wall time, as a multiple of the processor's, which a budget of seconds counts

    def seconds(self, fit: Trainer, cases: int | None = None) -> float:
        """Estimate the total training time in seconds, for ``cases`` training cases if given."""
        if fit.budget.unit == "seconds":
            least = fit.seconds + self.step * fit.least_steps if fit.least_steps else 0.0
            return max(min(fit.budget.amount * self.waiting, self.whole), least)
        cases = len(fit.data) if cases is None else cases
        batch = min(fit.batch, cases)
        steps = fit.budget.steps(batch, cases)
        return fit.seconds + min(self.whole, self.step * batch / fit.batch * steps)


def probe(fit: Trainer) -> Probe:
    """Time a few training steps of a copy.

    Raises UserError where the run will not fit into memory.
    """
    few = _cases(fit, FEW_CASES)
    refuse_what_does_not_fit(fit, few)
    by_time = fit.budget.unit == "seconds"  # time is known; a few steps suffice for the memory
    most_seconds = min(LONGEST, SHARE * fit.budget.amount) if by_time else LONGEST
    with torch.random.fork_rng():
        # a few steps of a copy, at each stage that is larger than the last
        trial = Trainer(copy.deepcopy(fit.system), fit.data, None, fit.budget, fit.batch)
        # a full-batch system may finish before its budget
        few_steps = 4 if by_time and not fit.system.full_batch else fit.steps // 4
        steps = trial.system.fit(trial.data, trial._run())
        places = GROWING if fit.system.grows else (0.0,)
        attempts = [_tried(trial, steps, stage, few_steps, len(places), most_seconds) for stage in places]
        trial.task = fit.task
        seconds_a_case = _look_seconds(trial, few)
        if seconds_a_case * SOME_CASES < most_seconds:
            seconds_a_case = _look_seconds(trial, _cases(fit, SOME_CASES))
        bytes_held = held(trial.system, trial.optimizers.values())
    timings = [took for took in attempts if took is not None]
    step = mean(took.step for took in timings)
    most, whole = fit.system.most_steps, math.inf
    if attempts[0] is None or attempts[0].done:
        whole = sum(took.all for took in timings)
    elif most is not None:
        whole = attempts[0].first + step * (most - 1)
    return Probe(step, seconds_a_case, bytes_held, whole, _waiting(timings) if fit.data.device.type == "cpu" else 1.0)


def batch_within(fit: Trainer) -> int:
    """Return the batch size, at most that of ``fit``, of which no step takes longer than ``LONGEST_STEP``.

    Steps with few cases are timed.
    """
    if fit.budget.unit != "seconds" or fit.system.full_batch or fit.batch <= MORE:
        return fit.batch
    with torch.random.fork_rng():
        few, more = (_second_step(fit, batch) for batch in (TWO, MORE))
    a_case = max(0.0, more - few) / (MORE - TWO)
    remaining = LONGEST_STEP * fit.budget.amount - few
    return fit.batch if remaining >= a_case * (fit.batch - TWO) else TWO + max(0, int(remaining / a_case))


def _second_step(fit: Trainer, batch: int) -> float:
    """Return the seconds of a copy's second step, in the last stage of systems that have some; 0 without one.

    The first one may be the set-up.
    """
    trial = Trainer(copy.deepcopy(fit.system), fit.data, None, fit.budget, batch)
    steps = trial.system.fit(trial.data, trial._run())
    trial._used = GROWING[-1]
    next(steps, None)
    start = time.perf_counter()
    return time.perf_counter() - start if next(steps, None) is not None else 0.0


def _waiting(timings: "list[Took]") -> float:
    """Return how many times as long as the processor worked the steps took."""
    ratio = sum(took.all for took in timings) / max(sum(took.worked for took in timings), 1e-9)
    return min(ratio, MOST_WAITING) if ratio > BUSY else 1.0


def examples_within(fit: Trainer) -> int:
    """Return how many training examples fit into the budget of seconds of ``fit`` on this machine.

    A short training, of a tenth of the budget within ``SHORTEST`` and ``SHORT`` seconds, passes through all
    stages of the system, which it changes. Its first step is not timed: most of it may be the set-up.
    """
    available = max(0.0, fit.budget.amount - fit.charged)
    steps = 0
    if available:
        duration = min(available, SHORT, max(SHORTEST, available / 10))
        short = Trainer(fit.system, fit.data, None, Budget(math.inf, "seconds"), fit.batch)
        short.go(1e-9)
        first, short.charged, short.budget = short.step, 0.0, Budget(duration, "seconds")
        if not short.done:
            short.go(math.inf)
            steps = int(available * (short.step - first) / short.charged)
    if fit.system.most_steps is not None:
        steps = min(steps, fit.system.most_steps)
    return max(1, steps, fit.least_steps) * fit.batch


def _cases(fit: Trainer, count: int) -> Loader:
    cases = fit.data.cases.only(range(min(count, len(fit.data))))
    return replace(fit.data, cases=cases, augment=None)


def _look_seconds(fit: Trainer, cases: Loader) -> float:
    """Return the seconds per case of validation on these cases."""
    start = time.perf_counter()
    if fit.task is not None:
        fit.means(cases)
    return (time.perf_counter() - start) / len(cases)


class Took(NamedTuple):
    first: float  # seconds of the first step, including the set-up
    step: float  # seconds of a later step
    all: float
    done: bool  # no step is left
    worked: float = 0.0  # seconds of the processor, of all


def _tried(
    fit: Trainer, steps: Iterator[Progress], stage: float, most: int, share: int, most_seconds: float = LONGEST
) -> Took | None:
    """Time steps at the fraction ``stage`` of the budget, 0..1; None where no step is left.

    It stops after its share of ``most_seconds``, but not after a first step of less than
    ``PROBE_SECONDS``, most of which may be the set-up.
    """
    fit._used, times, complete, cpu_start = stage, [time.perf_counter()], True, time.thread_time()
    for progress in steps:
        times.append(time.perf_counter())
        fit.step, fit.optimizers = progress.step + 1, progress.optimizers
        duration = times[-1] - times[0]
        enough = len(times) > most / share or duration > PROBE_SECONDS / share
        late = duration > (most_seconds / share if len(times) > 2 else max(most_seconds / share, PROBE_SECONDS))
        if (len(times) > 4 and enough) or late:
            complete = False
            break
    took = [after - before for before, after in pairwise(times)]
    # use the second half: the first steps include one-time set-up
    if not took:
        return None
    return Took(took[0], median(took[len(took) // 2 :]), times[-1] - times[0], complete, time.thread_time() - cpu_start)


def refuse_what_does_not_fit(fit: Trainer, few: Loader) -> None:
    """Raise UserError where a step exceeds the free memory, with a batch size that would fit."""
    if fit.system.full_batch:
        return
    _total, free = hardware.memory()
    two = of_a_step(fit.system, next(few.once(2)), 2)
    four = of_a_step(fit.system, next(few.once(4)), 4)
    a_case = max(1, (four - two) // 2)
    needs = two + a_case * (fit.batch - 2)
    if needs <= free:
        return
    fits = 2 + (free - two) // a_case
    raise UserError(
        "memory",
        _("a step of {batch} cases needs {needed:.1f} GB, {free:.1f} GB are free").format(
            batch=fit.batch, needed=needs / 1e9, free=free / 1e9
        ),
        expected=_("a run that fits into memory"),
        fix=f"batch={fits // 2}" if fits >= 4 else _("a smaller size of the system, or imgsz"),
        exit=4,
    )


def held(system: Any, optimizers: Iterable[Optimizer]) -> int:
    """Return the bytes kept between steps: weights twice (current and best), gradients, moments."""
    weights = list(system.state_dict().values())
    gradients = [weight.grad for weight in system.parameters() if weight.grad is not None]
    moments = [
        value
        for optimizer in optimizers
        for state in optimizer.state.values()
        for value in state.values()
        if torch.is_tensor(value)
    ]
    return sum(tensor.nbytes for tensor in [*weights, *weights, *gradients, *moments])


def of_a_step(system: Any, batch: Any, cases: int) -> int:
    """Return the bytes that a training step on ``cases`` cases needs in addition to the weights.

    The activations saved for the backward pass of the small batch ``batch`` are counted and scaled
    up; each trainable weight adds its gradient and two moments.
    """
    trial = copy.deepcopy(system).train()
    weights = {weight.data_ptr() for weight in trial.parameters()}
    sizes: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    most = 0
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        for _name, loss in trial.updates(batch, 0):
            most = max(most, sum(sizes.values()))
            del loss
            sizes.clear()
    learning = sum(4 * weight.numel() for weight in trial.parameters() if weight.requires_grad)
    return 3 * learning + most * cases // len(batch[0])
