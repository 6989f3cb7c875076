"""Texts generated for test cases, stored with a run, and figures by language."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.answers import Answers, Sparse, Trainings, stacked
from souron.stats.records import Measure

SHOWN = 12  # test cases whose texts are stored
BYTES = 1_200  # of such a text
LETTERS = 1_200  # characters of the test text shown beside it


@dataclass(frozen=True)
class WrittenResult:
    """The results of one run for its report."""

    by_language: dict[str, dict[str, Measure]]  # language -> metric -> measure
    shown: list[tuple[int, list[str]]]  # row of a test case, the texts generated for it
    further: dict[str, Measure]  # metrics that only some systems have

    def as_json(self) -> dict[str, Any]:
        return {
            "by_language": {
                language: {name: measure.value for name, measure in measures.items()}
                for language, measures in self.by_language.items()
            },
            **{name: measure.value for name, measure in self.further.items()},
        }


def shown_rows(test: Dataset) -> list[int]:
    """Choose test cases to show, evenly over the languages."""
    count = min(SHOWN, len(test))
    language = test.columns.get("language") or [""] * len(test)
    order = sorted(range(len(test)), key=lambda row: language[row])
    return [order[int((k + 0.5) * len(order) / count)] for k in range(count)]


def shortened(text: str) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= LETTERS else text[:LETTERS] + "…"


def kept(rows: Sequence[int], texts: Sequence[str]) -> Sparse:
    """Store texts as bytes in a tensor (n, BYTES), padded with 0."""
    values = torch.zeros(len(rows), BYTES, dtype=torch.uint8)
    for row, text in enumerate(texts):
        raw = text.replace("\0", "").encode("utf-8", "replace")
        if len(raw) > BYTES:
            raw = raw[: BYTES - 3].decode("utf-8", "ignore").encode() + "…".encode()
        values[row, : len(raw)] = torch.from_numpy(np.frombuffer(raw, np.uint8).copy())
    return Sparse(torch.tensor(list(rows), dtype=torch.long), values)


def read(values: Tensor) -> str:
    """Decode a row of ``kept``."""
    return bytes(values.tolist()).rstrip(b"\0").decode("utf-8", "replace")


def texts(answers: Answers, name: str) -> dict[int, str]:
    """Return the row of each test case with the text generated for it."""
    table = answers.get(name)
    if not isinstance(table, Sparse):
        return {}
    pairs = zip(table.rows.tolist(), table.values, strict=True)
    return {row: read(values) for row, values in pairs}


def result(
    trainings: Trainings, test: Dataset, metrics: Sequence[str], columns: Sequence[str], further: Sequence[str] = ()
) -> WrittenResult:
    languages = list(test.columns.get("language") or [""] * len(test))
    names, answers = sorted(set(languages)), trainings.answers
    by_language: dict[str, dict[str, Measure]] = {}
    for language in names if len(names) > 1 else ():
        rows = [row for row, own in enumerate(languages) if own == language]
        cases, training = test.only(rows), trainings.training_of_rows(rows)
        by_language[language] = {
            name: registry.metric(name).measure(stacked(answers, name)[:, rows], cases.units, training)
            for name in metrics
        }
    outputs = [texts(answers[0], name) for name in columns]
    rows_of_texts = [(row, [text_of.get(row, "") for text_of in outputs]) for row in sorted(outputs[0])]
    others = {
        name: registry.metric(name).measure(stacked(answers, name), test.units, trainings.training_of)
        for name in further
        if name in answers[0]
    }
    return WrittenResult(by_language, rows_of_texts, others)
