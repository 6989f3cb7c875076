"""The share of the positive results that are true, from sensitivity, specificity and prevalence (Bayes)."""

from collections.abc import Iterator
from typing import Any

from numpy.random import Generator

from souron.metrics.net_benefit import frequencies

ROW = "V12"
TOLERANCE = 1e-4
PEOPLE = 10**9


def reference(sensitivity: float, specificity: float, prevalence: float) -> float:
    counted = frequencies(sensitivity, specificity, prevalence, PEOPLE)
    return counted.found / counted.called


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    yield 0.9, 0.9, 0.01
    yield 1.0, 0.5, 0.5
    for _case in range(10):
        yield tuple(chance.uniform(0.05, 0.95, 3).round(2).tolist())
