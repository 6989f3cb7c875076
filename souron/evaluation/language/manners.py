"""Behaviour after preference tuning: harmful answers, over-refusal and drift from the start.

A model answers questions of known sorts before and after training. Bai and others: Training a
Helpful and Harmless Assistant (2022), https://arxiv.org/abs/2204.05862: harmfulness and
over-refusal must be reported together. Answers are judged by keywords (see
``composing.language.manners``), which makes errors; the answers are shown, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron import registry
from souron.data.composing.language import manners
from souron.data.dataset import Dataset
from souron.data.texts import Preference
from souron.evaluation.answers import Answers, Step, dense, stacked
from souron.evaluation.language.text_generation import Sampling, answers
from souron.kinds.chat import Turn
from souron.stats.records import Measure
from souron.utils.messages import N_, _

IMPROPER, DOSES, REFUSED = "improper answers", "doses given", "over-refusal"
SHARES = {IMPROPER: ("everyday", "medical"), DOSES: ("medical",), REFUSED: ("harmless",)}
LENGTH = 48  # tokens of an answer
NONE = -1  # padding
SAMPLING = Sampling(temperature=0.7, top=1.0)
LENGTHS = (N_("tokens of an answer"), N_("repeated words"))
FACTS = (  # title in the report, metric, sorts of questions
    (N_("improper answers to everyday questions"), IMPROPER, ("everyday",)),
    (N_("improper answers to medical questions"), IMPROPER, ("medical",)),
    (DOSES, DOSES, SHARES[DOSES]),
    (REFUSED, REFUSED, SHARES[REFUSED]),
    *((name, name, manners.SORTS) for name in LENGTHS),
)


@dataclass(frozen=True)
class Row:
    """A figure before and after training for one language; "" for all."""

    name: str
    metric: str
    language: str
    before: Measure | None
    after: Measure


@dataclass(frozen=True)
class Read:
    """An answer for the reader to inspect."""

    sort: str
    language: str
    prompt: str
    before: list[int]  # tokens; [] where unknown
    after: list[int]


@dataclass(frozen=True)
class MannersResult:
    rows: tuple[Row, ...]
    moved: dict[str, float]  # language -> KL divergence from the initial model, nats per token
    read: tuple[Read, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "figures": [
                {
                    "name": row.name,
                    "language": row.language,
                    "after": row.after.value,
                    "before": row.before.value if row.before else None,
                }
                for row in self.rows
            ],
            "kl": self.moved,
        }


def may_judge(cases: Dataset) -> bool:
    """Return whether the sort of every question is known."""
    return "sort" in cases.columns and set(cases.columns["sort"]) <= set(manners.SORTS)


def asked(entry: Any) -> tuple[Turn, ...]:
    return entry.prompt if isinstance(entry, Preference) else tuple(entry[:-1])


def answered(system: Any, cases: Dataset, seed: int = 0) -> Iterator[Step]:
    """Yield steps of answering each question by a seed; the last carries the answers and their judgements."""
    tokenizer = system.tokenizer
    prompts = [tokenizer.conversation(asked(entry), answer=True)[0] for entry in cases.input]
    tokens = torch.full((len(prompts), LENGTH), NONE)
    sampling = replace(SAMPLING, seed=seed)
    for count, (row, answer) in enumerate(answers(system, prompts, LENGTH, sampling), 1):
        tokens[row, : len(answer)] = torch.tensor(answer, dtype=torch.long)
        if count % 16 == 0:
            yield Step(count / len(prompts), _("answering test questions"))
    yield Step(1.0, result={"answer": tokens, **_judged(tokenizer, tokens, cases)})


def _judged(tokenizer: Any, tokens: Tensor, cases: Dataset) -> dict[str, Tensor]:
    texts = [tokenizer.decode([t for t in row if t != NONE]) for row in tokens.tolist()]
    judgements = [manners.judged(*pair) for pair in zip(cases.columns["sort"], texts, strict=True)]
    return {
        IMPROPER: torch.tensor([float(judgement.improper) for judgement in judgements]),
        DOSES: torch.tensor([float(judgement.dose) for judgement in judgements]),
        REFUSED: torch.tensor([float(judgement.over_refusal) for judgement in judgements]),
        "tokens of an answer": (tokens != NONE).sum(1).float(),
        "repeated words": torch.tensor([repeated(text) for text in texts]),
    }


def repeated(text: str) -> float:
    """Return the fraction of trigrams of words that occurred before (of characters
    without spaces).
    """
    parts = text.split() if " " in text.strip() else list(text)
    rows = [tuple(parts[i : i + 3]) for i in range(len(parts) - 2)]
    return 1 - len(set(rows)) / len(rows) if rows else 0.0


def scores(seeds: Sequence[Answers], cases: Dataset) -> dict[str, NDArray[np.float64]]:
    """Return metric -> (seeds, cases), whose mean is the proportion among questions of
    its sorts.
    """
    sort = np.array(list(cases.columns["sort"]))
    tables = {}
    for name, sorts in SHARES.items():
        of = np.isin(sort, sorts)
        if of.any():
            tables[name] = stacked(seeds, name) * of * (len(of) / of.sum())
    return tables


def share(name: str, table: Any, cases: Dataset, training: Any = None) -> Measure:
    """Return the proportion among the questions of the metric's sorts, with its interval."""
    of = np.isin(np.array(list(cases.columns["sort"])), SHARES[name])
    units, factor = cases.units, len(of) / of.sum()
    return registry.metric(name).measure(
        np.asarray(table)[:, of] / factor,
        [unit for unit, mine in zip(units, of, strict=True) if mine] if units else None,
        None if training is None else np.asarray(training)[:, of],
    )


def before(earlier: Any, system: Any, cases: Dataset, after: Answers) -> Iterator[Step]:
    """Yield steps of answering with the model before training, and of measuring the drift.

    ``moved`` is the mean log-probability ratio per token of each new answer.
    """
    earlier_answers: dict[str, Any] = {}
    for step in answered(earlier, cases):
        yield Step(step.done * 0.8, _("answering as it did before"))
        earlier_answers = step.result or earlier_answers
    drift = torch.zeros(len(cases))
    with torch.inference_mode():
        for row, entry in enumerate(cases.input):
            prompt = system.tokenizer.conversation(asked(entry), answer=True)[0]
            answer = [t for t in dense(after, "answer")[row].tolist() if t != NONE]
            if not answer:
                continue
            tokens = torch.tensor([[*prompt, *answer]])[:, -system.context - 1 :]
            now, then = (model.log_likelihoods(tokens)[0, -len(answer) :] for model in (system, earlier))
            drift[row] = (now - then).mean()
            if row % 32 == 0:
                yield Step(0.8 + 0.2 * row / len(cases), _("how far it has moved"))
    yield Step(1.0, result={**{f"before: {name}": values for name, values in earlier_answers.items()}, "moved": drift})


def result(answers: Answers, cases: Dataset) -> MannersResult:
    language = np.array(list(cases.columns.get("language", [""] * len(cases))))
    rows = []
    sort = np.array(list(cases.columns["sort"]))
    for name, metric, sorts in FACTS:
        for name_of_language in sorted(set(language.tolist())):
            of = (language == name_of_language) & np.isin(sort, sorts)
            if of.any():
                rows.append(
                    Row(
                        name,
                        metric,
                        name_of_language,
                        _of(answers, f"before: {metric}", of, cases),
                        _of(answers, metric, of, cases) or Measure(0, 0, 0, 0),
                    )
                )
    drift = {}
    if "moved" in answers:
        values = dense(answers, "moved").numpy()
        drift = {s: float(values[language == s].mean()) for s in sorted(set(language.tolist()))}
    return MannersResult(tuple(rows), drift, tuple(_read(answers, cases)))


def _of(answers: Answers, name: str, of: Any, cases: Dataset) -> Measure | None:
    if name not in answers:
        return None
    units = [cases.units[row] for row in of.nonzero()[0]] if cases.units else None
    table = dense(answers, name).double().numpy()[None, of]
    return registry.metric(name.removeprefix("before: ")).measure(table, units)


def _read(answers: Answers, cases: Dataset, most: int = 3) -> Iterator[Read]:
    """Yield the first answers of each sort and language, whatever they say."""
    language = list(cases.columns.get("language", [""] * len(cases)))
    counts: dict[Any, int] = {}
    for row, sort in enumerate(cases.columns["sort"]):
        key = (language[row], sort)
        if counts.setdefault(key, 0) >= most:
            continue
        counts[key] += 1

        def tokens(name: str, row: int = row) -> list[int]:
            row_tokens = dense(answers, name)[row].tolist() if name in answers else []
            return [token for token in row_tokens if token != NONE]

        prompt = asked(cases.input[row])[-1].text
        yield Read(sort, language[row], prompt, tokens("before: answer"), tokens("answer"))
