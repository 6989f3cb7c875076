"""Training budgets in seconds, epochs or examples, and the learning-rate schedule over them."""

import re
from dataclasses import dataclass
from typing import Literal

from torch.optim import Optimizer

from souron.utils.messages import UserError, _

UNITS = {
    "s": ("seconds", 1.0),
    "sec": ("seconds", 1.0),
    "min": ("seconds", 60.0),
    "h": ("seconds", 3600.0),
    "ep": ("epochs", 1.0),
    "epochs": ("epochs", 1.0),
    "ex": ("examples", 1.0),
    "examples": ("examples", 1.0),
}
HERE = "here"  # in ``10min@here``: the machine that compares
MOST_WAITING = 3.0  # limit of wall time, as a multiple of the budget, on a busy processor


@dataclass(frozen=True)
class Budget:
    amount: float
    unit: Literal["seconds", "epochs", "examples"]

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Parse ``"60s"``, ``"5min"``, ``"1h"``, ``"5ep"``, ``"20000ex"``. Raises UserError."""
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text.lower())
        if match is None or match[2] not in UNITS or float(match[1]) <= 0:
            raise UserError(
                "budget",
                _("not a budget: {text!r}").format(text=text),
                expected="60s, 5min, 1h, 5ep, 20000ex",
                fix="budget=60s",
            )
        unit, factor = UNITS[match[2]]
        return cls(float(match[1]) * factor, unit)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.amount:.15g}" + {"seconds": "s", "epochs": "ep", "examples": "ex"}[self.unit]

    def share(self, trainings: int) -> "Budget":
        """Return the budget of each of several trainings.

        Seconds are divided equally; epochs and examples are the same for each.
        """
        amount = self.amount / trainings if self.unit == "seconds" else self.amount
        return Budget(amount, self.unit)

    def fraction(self, step: int, seconds: float, steps: int) -> float:
        """Return the fraction used, 0..1, after ``step`` of ``steps`` steps and ``seconds``."""
        return min(1.0, seconds / self.amount if self.unit == "seconds" else step / steps)

    def steps(self, batch: int, cases: int) -> int:
        """Return the number of steps; practically unlimited for a budget of seconds."""
        if self.unit == "seconds":
            return 10**12
        if self.unit == "examples":
            return max(1, round(self.amount / batch))
        return max(1, round(self.amount * max(1, cases // batch)))


def one_budget(budget: str, epochs: int | None, time: str, default: str) -> str:
    """Return the budget that is given in one of three ways. Raises UserError where there are two.

    >>> one_budget("60s", 5, "", default="60s"), one_budget("60s", None, "90", default="60s")
    ('5ep', '90s')
    """
    if re.fullmatch(r"[\d.]+", time):
        time += "s"
    given = [text for text in (budget if budget != default else "", f"{epochs}ep" if epochs else "", time) if text]
    if len(given) > 1:
        raise UserError(
            "option",
            _("{given} cannot go together").format(given=", ".join(given)),
            expected=_("one of budget, epochs and time"),
            fix=f"budget={given[0]}",
        )
    return given[0] if given else default


def split_host(text: str) -> tuple[Budget, str]:
    """Parse ``"10min@desk"`` into its budget and the machine on which the budget becomes examples.

    The machine is "" without ``@``, and ``HERE`` for the one that compares. Raises UserError.

    Example:
        >>> split_host("10min@desk")
        (Budget(amount=600.0, unit='seconds'), 'desk')
    """
    amount, at, host = text.partition("@")
    if not at:
        return Budget.parse(text), ""
    if not re.fullmatch(r"[\w.-]+", host):
        raise UserError(
            "budget",
            _("not a budget: {text!r}").format(text=text),
            expected="10min@here, 10min@HOST",
            fix=f"budget={amount or '10min'}@here",
        )
    budget = Budget.parse(amount)
    if budget.unit != "seconds":
        raise UserError(
            "budget",
            _("{text}: epochs and examples are the same on every machine").format(text=text),
            expected=_("seconds, minutes or hours before the @"),
            fix=f"budget={budget}",
        )
    return budget, host


WARM = 0.15  # of the budget


def one_cycle(fraction: float) -> float:
    """Return the factor of the learning rate: a linear warm-up, then a linear decay to zero.

    Smith, Topin: Super-Convergence (2018). https://arxiv.org/abs/1708.07120
    """
    return min((fraction + 1e-3) / WARM, (1 - fraction) / (1 - WARM), 1.0)


def set_rate(optimizer: Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
