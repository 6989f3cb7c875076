"""Named-entity spans: conversion between tags and spans, and evaluation."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.data.texts import plain
from souron.evaluation.answers import Answers, Setup, Sparse, Trainings
from souron.kinds.spans import Span
from souron.metrics import tag as metrics
from souron.stats.records import Measure

UNIT = re.compile(r"[A-Za-z\u00c0-\u024f\u0370-\u058f]+|\S")  # a word, or a character
READ = 12  # test sentences to read


class Sentence(NamedTuple):
    """A text with its labelled spans."""

    text: str
    spans: Tensor  # (n, 3) int64: label, start, end in characters


@dataclass(frozen=True)
class TagResult:
    """The results of one run for its report."""

    by_label: dict[str, dict[str, Measure]]  # label -> metric -> measure
    counts: dict[str, int]  # label -> spans of the test
    read: list[tuple[int, NDArray[np.float64]]]  # row, predicted spans: label, start, end, score

    def as_json(self) -> dict[str, Any]:
        return {
            "by_label": {
                label: {name: measure.value for name, measure in measures.items()}
                for label, measures in self.by_label.items()
            }
        }


def labels_of(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of BIO tags: ``("O", "B-LOC", "I-LOC")`` -> ``("LOC",)``."""
    return tuple(name[2:] for name in classes[1::2])


def sentences(data: Dataset) -> list[Sentence]:
    """Convert words and tags to texts and spans."""
    targets = data.target if data.target is not None else [None] * len(data)
    return [sentence(words, tags) for words, tags in zip(data.input, targets, strict=True)]


def sentence(words: Sequence[str], tags: Tensor | None = None) -> Sentence:
    """Convert words and tags (words,) to a text and spans.

    Tags: 0 outside, 1 + 2 l begins label l, 2 + 2 l continues it.
    """
    text, ends, at = plain(tuple(words)), [], 0
    for word in words:
        start = text.index(word, at)
        at = start + len(word)
        ends.append((start, at))
    spans: list[list[int]] = []
    for (start, end), tag in zip(ends, [] if tags is None else tags.tolist(), strict=False):
        label, continues = (tag - 1) // 2, tag % 2 == 0
        if tag and not continues:
            spans.append([label, start, end])
        elif tag and spans:
            spans[-1][2] = end
    return Sentence(text, torch.tensor(spans, dtype=torch.long).reshape(-1, 3))


def units(text: str) -> list[tuple[int, int]]:
    """Return start and end of each unit of tagging: an alphabetic word, or any other character.

    Japanese has no spaces between words.
    """
    return [match.span() for match in UNIT.finditer(text)]


def tags_of(places: Sequence[tuple[int, int]], spans: Tensor) -> Tensor:
    """Compute the tag of each unit, (units,) int64."""
    tags = torch.zeros(len(places), dtype=torch.long)
    for label, start, end in spans[:, :3].tolist():
        inside = [i for i, (first, last) in enumerate(places) if first < end and last > start]
        for i in inside:
            tags[i] = 1 + 2 * label + (i > inside[0])
    return tags


def spans_of(places: Sequence[tuple[int, int]], tags: Sequence[int], chance: Sequence[float]) -> list[list[float]]:
    """Convert tags of units to spans: label, start, end, score.

    The score is the mean of the units' probabilities ``chance``.
    """
    spans: list[list[float]] = []
    for (start, end), tag, share in zip(places, tags, chance, strict=True):
        if tag and tag % 2:
            spans.append([(tag - 1) // 2, start, end, share, 1])
        elif tag and spans:
            span = spans[-1]
            span[2], span[3], span[4] = end, span[3] + share, span[4] + 1
    return [[label, start, end, total / count] for label, start, end, total, count in spans]


def packed(spans_of_cases: Sequence[Sequence[Sequence[float]]]) -> Answers:
    """Convert the spans of each case to ``Answers``."""
    rows = [row for row, spans in enumerate(spans_of_cases) for _span in spans]
    values = [list(span) for spans in spans_of_cases for span in spans]
    table = torch.tensor(values, dtype=torch.float64).reshape(-1, 4)
    return {"spans": Sparse(torch.tensor(rows, dtype=torch.long), table)}


def unpacked(answers: Answers, cases: int) -> list[NDArray[np.float64]]:
    """Return the spans (n, 4) of each case: label, start, end, score."""
    spans = answers["spans"]
    assert isinstance(spans, Sparse)
    order = spans.rows.argsort(stable=True)
    counts = spans.rows.bincount(minlength=cases).tolist()
    return [part.numpy() for part in spans.values[order].split(counts)]


def named(text: str, spans: Any, labels: Sequence[str], least: float = 0.0) -> list[Span]:
    """Convert rows of label, start, end and optionally score to ``Span``."""
    spans_of_text = []
    for row in spans:
        label, start, end = map(int, row[:3])
        score = float(row[3]) if len(row) > 3 else 1.0
        if score >= least:
            spans_of_text.append(Span(text[start:end], labels[label], start, end, score))
    return spans_of_text


def result(trainings: Trainings, setup: Setup) -> TagResult:
    test, labels = setup.test, labels_of(setup.test.classes)
    true = [case.spans.numpy() for case in sentences(test)]
    every = [unpacked(answers, len(test)) for answers in trainings.answers]
    by_label, number = {}, {}
    for label, name in enumerate(labels):
        there = [spans[spans[:, 0] == label] for spans in true]
        if not sum(map(len, there)):
            continue
        scores_of_seeds = [
            metrics.scores(metrics.counts([s[s[:, 0] == label] for s in predicted], there), test.units)
            for predicted in every
        ]
        number[name] = sum(map(len, there))
        by_label[name] = {
            metric: registry.metric(metric).measure(
                np.stack([scores[metric] for scores in scores_of_seeds]), test.units, trainings.training_of
            )
            for metric in scores_of_seeds[0]
        }
    first = every[0]
    counts = metrics.counts(first, true)
    wrong = (counts[:, 1] + counts[:, 2] - 2 * counts[:, 0]) > 0
    order = sorted(range(len(test)), key=lambda row: not wrong[row])
    return TagResult(by_label, number, [(row, first[row]) for row in order[:READ]])


def differing(answers: dict[str, Answers], test: Dataset) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield rows where systems predicted different spans, with the spans of each."""
    spans_of_systems = {name: unpacked(answers_of_system, len(test)) for name, answers_of_system in answers.items()}
    for row in range(len(test)):
        spans_of_row = {name: spans[row] for name, spans in spans_of_systems.items()}
        if len({tuple(map(tuple, spans[:, :3])) for spans in spans_of_row.values()}) > 1:
            yield row, spans_of_row
