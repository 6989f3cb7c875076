"""Training of one system within a budget, used by runs and comparisons.

``Trainer`` runs the loop in slices, so that several trainers can take turns.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from souron.data.dataset import Loader
from souron.training import checkpoint, stages
from souron.training.budget import MOST_WAITING, Budget, one_cycle, set_rate
from souron.training.loop import Progress, Run
from souron.utils import files, hardware
from souron.utils.messages import UserError, _

KEPT = ("step", "seconds", "worked", "charged", "curve", "stopped")  # attributes needed to resume
LOOKS = 10  # maximum number of validations


def autocast(device: torch.device) -> Callable[[], AbstractContextManager]:
    """Return a context of bfloat16 over float32 weights where it is fast, see docs: performance."""
    if device.type == "cuda" or (device.type == "cpu" and hardware.bf16()):
        context = torch.autocast(device.type, torch.bfloat16)  # shared: creating it takes longer
        return lambda: context
    return nullcontext


@dataclass
class Trainer:
    """Train in slices: ``go(seconds)`` trains that long; ``done`` is true once the budget is used
    up.

    On a CPU, a budget of seconds counts the CPU time of the training, so that a busy machine trains
    as many steps as an idle one, but takes longer: up to ``MOST_WAITING`` times. ``by_clock`` it counts
    the seconds of the clock, those of validation too, and leaves those that the test will take.
    """

    system: Any
    data: Loader
    val: Loader | None
    budget: Budget
    batch: int
    patience: int = 0  # validations without improvement before it stops; 0: never
    task: Any = None  # computes the validation metrics and names the one that selects the
    # checkpoint; None keeps the last weights
    setup: Any = None  # the task's own
    team: Any = None  # the other processes that train with this one, see ``training.team``
    least_steps: int = 0  # minimum, even if a time budget is used up earlier
    look_seconds: float = 0.0  # spent on validation, where ``Task.watch`` counts it
    by_clock: bool = False

    step: int = 0  # steps done
    seconds: float = 0.0  # of training, without validation
    worked: float = 0.0  # CPU time of these: less on a busy machine
    charged: float = 0.0  # seconds counted against the budget
    curve: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None  # the weights of the best validation, or of the last
    # one where no metric selects
    stopped: str = ""  # "", "budget", "patience"

    def __post_init__(self) -> None:
        self.batch = min(self.batch, len(self.data))
        if self.system.full_batch:
            self.batch = len(self.data)
        self.epoch_steps = max(1, len(self.data) // self.batch)
        self.steps = self.budget.steps(self.batch, len(self.data))  # at most
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self._used = 0.0  # ``fraction`` after the last step, cached
        self._looked = 0.0  # seconds of all validations, by the clock
        self._progress: Iterator[Progress] | None = None
        self._resumed: dict[str, dict[str, Any]] | None = None
        self._losses: dict[str, Tensor] = {}
        self._random = torch.get_rng_state()

    def join(self) -> Any:
        """Share this training with the other processes of its team. Raises UserError."""
        from souron.training.team import Team

        self.team = Team(self.system, self.batch)
        self.data.part = self.team.part
        return self.team

    def help(self) -> None:
        """Take the steps of another process's training until that ends it. Raises UserError."""
        from souron.training.team import helped

        helped(self)

    @property
    def fraction(self) -> float:
        """The fraction of the budget used, 0..1."""
        if self.stopped:
            return 1.0
        used = self.budget.fraction(self.step, self.charged, self.steps)
        if self.budget.unit == "seconds" and self.step < self.least_steps:
            used = min(used, self.step / self.least_steps)
        most = self.system.most_steps
        return used if most is None else min(1.0, max(used, self.step / max(1, most)))

    @property
    def done(self) -> bool:
        return bool(self.stopped)

    @property
    def stage(self) -> str:
        """The name of the current stage, for a system trained in stages; else ""."""
        name, _part = stages.at(self.system.in_stages, self.fraction)
        return _(name) if name and not self.done else ""

    @property
    def seconds_left(self) -> float | None:
        fraction = self.fraction
        return self.seconds * (1 - fraction) / fraction if fraction > 0.01 else None

    def go(self, seconds: float, asked_to_stop: Callable[[], bool] = lambda: False) -> None:
        """Train for about ``seconds``, with validations when they are due."""
        if self.done:
            return
        outer = torch.get_rng_state()
        torch.set_rng_state(self._random)
        try:
            self._go(self.charged + seconds, asked_to_stop)
        finally:
            self._random = torch.get_rng_state()
            torch.set_rng_state(outer)

    def _go(self, until: float, asked_to_stop: Callable[[], bool]) -> None:
        if self._progress is None:
            self._progress = self.system.fit(self.data, self._run())
        at_once = self.data.device.type == "cpu"  # elsewhere, reading a loss waits
        while self.charged < until and not asked_to_stop():
            # one training step, charged to the budget
            start, cpu_start = time.perf_counter(), time.thread_time()
            progress = next(self._progress, None)
            self._count(time.perf_counter() - start, time.thread_time() - cpu_start)
            if progress is not None:
                self.step = progress.step + 1
                self._losses, self.optimizers = progress.losses, progress.optimizers
                if at_once:
                    self._check()
            self._used = self.fraction
            used_up = progress is None or self._used >= 1
            # validation, and a checkpoint where it is the best so far
            if used_up or self._due():
                self._look(last=used_up)
                used_up = used_up or (not self.stopped and self.fraction >= 1)  # by the clock, looks count
            if used_up:
                self.stopped = "budget"
            if self.stopped:
                self._progress = None
                if self.team is not None:
                    self.team.end()
                self.system.eval()
                return

    def _count(self, seconds: float, cpu_seconds: float) -> None:
        """Add wall time ``seconds`` and CPU time ``cpu_seconds`` of a step."""
        self.seconds += seconds
        self.worked += cpu_seconds
        on_processor = self.data.device.type == "cpu" and not self.by_clock
        self.charged += max(cpu_seconds, seconds / MOST_WAITING) if on_processor else seconds

    def _run(self) -> Run:
        self._used = self.fraction
        return Run(
            steps=self.steps,
            batch=self.batch,
            start=self.step,
            resumed=self._resumed,
            autocast=autocast(self.data.device),
            schedule=self._set_rate,
            used=lambda step: self._used if self.team is None else self.team.tell(self._used),
            team=self.team,
        )

    def _set_rate(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set the learning rate: one cycle over the budget, or over each stage."""
        _name, part = stages.at(self.system.in_stages, self._used)
        set_rate(optimizer, one_cycle(part))

    def _due(self) -> bool:
        """Return whether validation is due.

        It is at the end of every epoch for a budget of few epochs, else at every tenth of the
        budget; by the clock only while it takes no longer than the training.
        """
        if self.by_clock and self._looked > self.seconds:
            return False
        if self.budget.unit == "epochs" and self.budget.amount <= LOOKS:
            return self.step % self.epoch_steps == 0
        return self._used * LOOKS >= len(self.curve) + 1

    def _look(self, last: bool) -> None:
        row: dict[str, float] = {
            "step": self.step,
            "epoch": round(self.step / self.epoch_steps, 4),
            "seconds": round(self.seconds, 4),
            "examples": self.step * self.batch,
        }
        row |= {f"loss {name}": loss.item() for name, loss in self._losses.items()}
        self._check()
        start = time.perf_counter()
        figures = self.task.watch(self, self.setup, last) if self.task else {}
        if self.by_clock:
            self._charge_look(time.perf_counter() - start)
        row |= {f"val {name}": value for name, value in figures.items()}
        self._keep_best(figures)
        self.curve.append(row)

    def _charge_look(self, seconds: float) -> None:
        """Count a validation of ``seconds``; the first one leaves the time of the test, at most half of the budget."""
        self._looked += seconds
        self.charged += seconds
        if self.curve or self.budget.unit != "seconds" or not self.val:
            return
        test = seconds * len(self.setup.test) / len(self.val)
        self.budget = replace(self.budget, amount=self.budget.amount - min(test, self.budget.amount / 2))

    def _check(self) -> None:
        """Raise UserError where a loss is infinite or NaN."""
        for name, loss in self._losses.items():
            if not math.isfinite(loss.item()):
                raise UserError(
                    "not finite",
                    _("the loss {name} is not finite at step {step}").format(name=name, step=self.step),
                    expected=_("a finite loss"),
                    fix=_("a smaller learning rate: lr0={rate:g}").format(
                        rate=getattr(self.system.config, "rate", 1e-3) / 10
                    ),
                    exit=1,
                )

    def _weights(self) -> dict[str, Tensor]:
        return {n: t.detach().clone() for n, t in self.system.state_dict().items()}

    def _keep_best(self, figures: dict[str, float]) -> None:
        """Keep the weights if the watched metric improved, or if it was never measured."""
        metric = self.task.metric(self.task.watches) if self.task and self.task.watches else None
        column = f"val {metric.name}" if metric else ""
        sign = 1 if metric and metric.higher_is_better else -1
        earlier = [sign * row[column] for row in self.curve if column in row]
        if metric is None or metric.name not in figures:
            if not earlier and self.step:
                self.best = self._weights()
            return
        if not earlier or sign * figures[metric.name] > max(earlier):
            self.best = self._weights()
        elif self.step < self.least_steps:
            return
        elif self.patience and len(earlier) - earlier.index(max(earlier)) >= self.patience:
            self.stopped = "patience"

    def means(self, data: Loader) -> dict[str, float]:
        """Return the mean of each metric of ``Task.validate`` over the cases, in training
        precision.

        The mode of the system, training or evaluation, is restored.
        """
        learning = self.system.training
        self.system.eval()
        with torch.inference_mode(), autocast(data.device)():
            scores = self.task.validate(self.system, data).items()
            values = {name: score.mean().item() for name, score in scores}
        self.system.train(learning)
        return values

    def keep(self, path: Path) -> None:
        """Write a checkpoint for resuming.

        After resuming, nothing is written before the first step: the optimizers do not exist yet.
        """
        if self._resumed and not self.optimizers:
            return
        random = torch.get_rng_state()
        torch.set_rng_state(self._random)
        state = {name: getattr(self, name) for name in KEPT}
        checkpoint.write_checkpoint(path, self.system, self.optimizers, state)
        torch.set_rng_state(random)

    def go_on(self, path: Path, best: Path) -> None:
        """Resume from a checkpoint of ``keep``; ``best`` holds the weights of the best
        validation.
        """
        self._resumed, state, self._random = checkpoint.read_checkpoint(path, self.system)
        for name, value in state.items():
            setattr(self, name, value)
        self.charged = state.get("charged", self.seconds)
        if best.exists():
            self.best = files.read_tensors(best)[0]

    def use_best(self) -> None:
        if self.best is not None:
            self.system.load_state_dict(self.best)
        self.system.eval()
