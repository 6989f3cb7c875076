"""Figures of generated pages by held-out subset and by language."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.answers import Answers, Setup, Trainings, dense
from souron.evaluation.language import generated_texts
from souron.stats.records import Measure

BY = ("subset", "language")  # columns of the data


@dataclass(frozen=True)
class PageResult:
    """The results of one run for its report."""

    apart: dict[str, dict[str, Measure]]  # "new pairs", "new pairs, ja" -> metric -> measure
    shown: list[tuple[int, str]]  # row of a test case, the generated parts

    def as_json(self) -> dict[str, Any]:
        return {
            "apart": {
                name: {metric: [m.value, m.low, m.high] for metric, m in measures.items()}
                for name, measures in self.apart.items()
            }
        }


def compared_by(trainings: Trainings, test: Dataset, scores: Callable[[Sequence[Answers], Setup], Any]) -> PageResult:
    """Compute each metric with its interval, by subset and by language within it."""
    subset, languages = (list(test.columns.get(name) or [""] * len(test)) for name in BY)
    names: dict[str, list[int]] = {}
    for row in range(len(test)):
        if subset[row]:
            names.setdefault(subset[row], []).append(row)
        if languages[row]:
            both = ", ".join(filter(None, (subset[row], languages[row])))
            names.setdefault(both, []).append(row)
    apart: dict[str, dict[str, Measure]] = {}
    for name, rows in sorted(names.items()):
        cases = test.only(rows)
        of = trainings.training_of
        training = None if of is None else of[:, rows]
        part = replace(
            Trainings.empty(cases, {}, len(trainings.answers)),
            answers=[{"tally": dense(answers, "tally")[rows]} for answers in trainings.answers],
        )
        tables = scores(part.answers, Setup(None, cases))
        apart[name] = {
            metric: registry.metric(metric).measure(table, cases.units, training) for metric, table in tables.items()
        }
    texts = generated_texts.texts(trainings.answers[0], "said")
    return PageResult(apart, [(row, texts[row]) for row in sorted(texts)])
