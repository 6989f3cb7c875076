"""Every interval of a result counts patients, where cases belong to some."""

import math
from dataclasses import replace

import pytest
import torch
from counting import intervals
from shapes import cases_for

from souron import registry
from souron.data.splits import Split
from souron.evaluation.answers import Trainings

FIRST = {entry.task: entry.name for entry in reversed(registry.entries().values())}  # the first system of each task


def last(steps):
    *_others, end = steps
    return end.result


SLOW = {"dalle2", "vae"}  # whose pictures are judged by networks


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in (*FIRST.values(), "transformer")]
)
def test_every_interval_counts_patients(name, digits):
    """An untrained system's, after one training and after two."""
    task = registry.load_task(registry.entries()[name].task)
    cases = cases_for(task.name, digits, 24)
    cases = replace(cases, group=[f"patient {row // 2}" for row in range(24)])
    kind = registry.load_system(f"{name}_tiny")[0]
    torch.manual_seed(0)
    system = kind(kind.SIZES["tiny"], kind.spec_for(cases)).eval()
    rows = torch.arange(24)
    setup = last(task.setup(cases, Split(rows, rows, rows), task.Options()))
    decision = task.decide(system, cases, setup)
    answers = last(task.answer(system, cases, decision, setup))
    answers |= last(task.details(system, answers, setup)) or {}
    result = task.result(Trainings.of_one(cases, answers, decision), setup)
    found = dict(intervals([task.measures([answers], setup), task.measures([answers] * 2, setup), result]))
    wide = {place: measure for place, measure in found.items() if math.isfinite(measure.high - measure.low)}
    assert wide and not [place for place, measure in wide.items() if measure.groups is None]
