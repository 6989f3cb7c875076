"""Exposure of occupations to language models: alpha, beta, zeta, and workers.

Eloundou, Manning, Mishkin, Rock: GPTs are GPTs (2023). https://arxiv.org/abs/2303.10130

    alpha = E1,    beta = E1 + E2 / 2,    zeta = E1 + E2

of an occupation are means over its tasks, core tasks with weight 1 and others with 1/2. Exposure
means that half of the time might be saved, not that a job is lost.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from souron.actions.work import tables, titles
from souron.actions.work.tables import Occupation, Table, Task
from souron.stats.agreement import Agreement
from souron.stats.agreement import agreement as agree
from souron.stats.intervals import interval, share_interval
from souron.stats.records import Measure
from souron.utils.messages import _

Who = Literal["people", "gpt4"]
Rule = Literal["list", "title", "soc"]
RULES: tuple[Rule, ...] = ("list", "title", "soc")
FIGURES = ("alpha", "beta", "zeta")
VALUES = {  # of a label in each figure
    "alpha": {"E0": 0.0, "E1": 1.0, "E2": 0.0},
    "beta": {"E0": 0.0, "E1": 1.0, "E2": 0.5},
    "zeta": {"E0": 0.0, "E1": 1.0, "E2": 1.0},
}
THRESHOLDS = (0.1, 0.5)
EXACT = 1e-9  # tolerance of sums: 5 of 10 tasks are half of them
STEPS = 100  # of the curve


class Exposure(NamedTuple):
    """Shares of tasks, 0 to 1."""

    alpha: float
    beta: float
    zeta: float


@dataclass(frozen=True)
class Nearness:
    """The agreement of two sets of figures over occupations."""

    correlation: float
    error: float  # mean absolute
    bias: float
    n: int


@dataclass(frozen=True)
class Whole:
    """The figures of all occupations of a table."""

    table: Table
    means: dict[Who, dict[str, Measure]]  # over tasks, with equal weights
    shares: dict[Who, dict[Rule, dict[float, Measure]]]  # of workers with at least that beta
    matched: dict[Rule, tuple[int, float]]  # occupations with employment data, and their workers
    agreement: Agreement | None
    nearness: Nearness | None  # of GPT-4's beta to people's


def exposure(tasks: Sequence[Task], who: Who = "people") -> Exposure:
    """Return the exposure of some tasks; core tasks count twice as much as others."""
    weights = np.array([task.weight for task in tasks])
    labels = [getattr(task, who) for task in tasks]
    return Exposure(
        *(float(np.average([VALUES[name][label] for label in labels], weights=weights)) for name in FIGURES)
    )


def tasks_of(name: str, table: Table | None = None) -> list[dict[str, Any]]:
    """Return the tasks of an occupation by its English or Japanese name, or its code.

    Each is ``{"task", "core", "weight", "people", "gpt4"}``. Raises UserError.
    """
    return [as_json(task) for task in titles.find(name, table).occupation.tasks]


def as_json(task: Task) -> dict[str, Any]:
    return {
        "task": task.text,
        "core": task.core,
        "weight": task.weight,
        "people": task.people,
        "gpt4": task.gpt4 or None,
    }


def whole(table: Table) -> Whole:
    """Return the figures of all occupations; intervals treat them as a sample, grouped by SOC."""
    judges: tuple[Who, ...] = ("people", "gpt4") if table.by_gpt4 else ("people",)
    shares: dict[Who, dict[Rule, dict[float, Measure]]] = {}
    for who in judges:
        shares[who] = {rule: {t: share_of_workers(table, who, rule, t) for t in THRESHOLDS} for rule in RULES}
    matched = {}
    for rule in RULES:
        there = workers(table, rule)
        matched[rule] = int((there > 0).sum()), float(there.sum())
    both = table.by_gpt4
    return Whole(
        table,
        {who: means(table, who) for who in judges},
        shares,
        matched,
        agreement(table.tasks) if both else None,
        nearness(betas(table, "gpt4"), betas(table)) if both else None,
    )


def means(table: Table, who: Who) -> dict[str, Measure]:
    """Return alpha, beta and zeta over all tasks, with equal weights."""
    groups = [one.soc for one in table.occupations for _task in one.tasks]
    return {name: interval([VALUES[name][getattr(task, who)] for task in table.tasks], groups) for name in FIGURES}


def agreement(tasks: Sequence[Task]) -> Agreement:
    """Return the agreement of people and GPT-4 over tasks."""
    return agree([task.people for task in tasks], [task.gpt4 for task in tasks])


def nearness(one: NDArray[np.float64], other: NDArray[np.float64]) -> Nearness:
    """Return correlation, mean absolute error and bias of ``one`` to ``other``, (N,) each."""
    difference = one - other
    varies = len(one) > 1 and one.std() > 0 and other.std() > 0
    return Nearness(
        float(np.corrcoef(one, other)[0, 1]) if varies else float("nan"),
        float(np.abs(difference).mean()),
        float(difference.mean()),
        len(one),
    )


def betas(table: Table, who: Who = "people", name: str = "beta") -> NDArray[np.float64]:
    """Return beta, or alpha or zeta, of each occupation, (N,)."""
    return np.array([getattr(exposure(one.tasks, who), name) for one in table.occupations])


def workers(table: Table, rule: Rule) -> NDArray[np.float64]:
    """Return the employees of each occupation, (N,), May 2021; 0 without a match.

    ``list``: by the authors' list, which gives each occupation a title of the Bureau of Labor
    Statistics; several may have the same, and each then counts all of its workers. ``title``:
    by equal titles. ``soc``: by the six digits; several occupations share the workers evenly.
    """
    employed = tables.employment()
    if rule == "soc":
        by_code = {one.code: one.workers for one in employed}
        several = Counter(one.soc for one in table.occupations)
        return np.array([by_code.get(o.soc, 0) / several[o.soc] for o in table.occupations])
    by_title = {one.title: one.workers for one in employed}
    called = {one.title: one.counted_as for one in titles.titles()}
    return np.array(
        [float(by_title.get(called.get(o.title, "") if rule == "list" else o.title, 0)) for o in table.occupations]
    )


def share_of_workers(table: Table, who: Who, rule: Rule, threshold: float) -> Measure:
    """Return the share of workers in occupations with at least that beta."""
    there, found = workers(table, rule), betas(table, who) >= threshold - EXACT
    chosen = there > 0
    if not chosen.any():
        return Measure(float("nan"), 0.0, 1.0, 0)
    weight = there[chosen] / there[chosen].mean()
    share = float(np.average(found[chosen], weights=weight))
    # a ratio's pseudo-values: their mean is the share, their spread that of the ratio
    scores = share + weight * (found[chosen] - share)
    groups = [o.soc for o, yes in zip(table.occupations, chosen, strict=True) if yes]
    return share_interval(scores, groups)


def curve(table: Table, who: Who, rule: Rule, name: str = "beta") -> NDArray[np.float64]:
    """Return the share of workers, (101,), with a beta of at least 0, 0.01, ... 1."""
    there, found = workers(table, rule), betas(table, who, name)
    steps = np.linspace(0, 1, STEPS + 1)[:, None]
    return (there * (found >= steps - EXACT)).sum(1) / max(there.sum(), 1.0)


def rule_name(rule: Rule) -> str:
    """Return the name of a matching rule for the reader."""
    return {
        "list": _("by the authors' list of titles"),
        "title": _("by equal titles"),
        "soc": _("by the six digits of the SOC code, workers shared evenly"),
    }[rule]


def cautions(table: Table | None) -> list[str]:
    """Return the caveats of every page and output; ``None`` stands for one's own tasks."""
    texts = [
        _(
            "Exposure says that a language model might halve the time of a task at equal quality. "
            "It does not say that a job is lost, nor that anybody uses it so."
        ),
        _(
            "These are occupations of the United States, as they were counted in 2021; the labels "
            "are judgements of what language models could do in 2023."
        ),
    ]
    if table is None:
        texts.append(
            _(
                "The figures of your own tasks are expected values of a model that was trained on "
                "the labels of people; the interval is that of occupations that were not in "
                "training."
            )
        )
    return texts


def attribution() -> str:
    return _(
        "Tasks: O*NET, U.S. Department of Labor (USDOL/ETA), CC BY 4.0; USDOL/ETA has not approved "
        "or tested this. Labels: Eloundou and others, GPTs are GPTs (2023), MIT. Employment: U.S. "
        "Bureau of Labor Statistics, May 2021."
    )


__all__ = ["Exposure", "Occupation", "Whole", "exposure", "tasks_of", "whole"]
