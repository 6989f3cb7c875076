"""Masking of tokens for masked language modelling, and the predictions to show."""

import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.answers import Answers, Setup, Sparse, Trainings, stacked
from souron.evaluation.language.complete import shown_rows
from souron.metrics.fill_mask import BITS, FIRST, FIVE
from souron.stats.records import Measure

SHARE = 0.15  # of tokens selected for prediction, in tests and by default in training
HIDDEN, OTHER = 0.8, 0.1  # of those: replaced by the mask, by a random token; the rest stays
SEED = 0
SHOWN_TOKENS, SHOWN_MASKS, GUESSES = 120, 8, 3
NAMES = (FIRST, FIVE, BITS)


class Masked(NamedTuple):
    """A tokenized text of which some tokens are to be predicted."""

    given: Tensor  # (n,) int64, the system's input
    true: Tensor  # (n,) int64
    asked: Tensor  # (n,) bool: tokens to predict


@dataclass(frozen=True)
class FillResult:
    """The results of one run for its report."""

    by_language: dict[str, dict[str, Measure]]  # language -> metric -> measure
    guessed: list[tuple[int, list["Guess"]]]  # row of a test case, some of its masks

    def as_json(self) -> dict[str, Any]:
        return {
            "by_language": {
                name: {metric: measure.value for metric, measure in measures.items()}
                for name, measures in self.by_language.items()
            }
        }


class Guess(NamedTuple):
    """The prediction for one masked token."""

    place: int  # position in the text
    true: int
    guesses: list[tuple[int, float]]  # the most probable tokens and their probabilities


def places(count: int, generator: Generator, share: float = SHARE) -> Tensor:
    """Select a share of the positions at random, at least one, (count,) bool."""
    mask = torch.zeros(count, dtype=torch.bool)
    mask[torch.randperm(count, generator=generator)[: max(1, round(share * count))]] = True
    return mask


def for_test(ids: Tensor, text: str, mask: int) -> Masked:
    """Mask tokens at positions that depend on the text alone, so all systems get the same task."""
    number = zlib.crc32(text.encode("utf-8", "surrogatepass")) + SEED
    positions = places(len(ids), torch.Generator().manual_seed(number))
    return Masked(ids.masked_fill(positions, mask), ids, positions)


def for_training(ids: Tensor, mask: int, vocabulary: int, generator: Generator, share: float = SHARE) -> Masked:
    """Mask tokens as in BERT: most become the mask, some a random token, some stay unchanged.

    All of them are to be predicted.
    """
    positions = places(len(ids), generator, share)
    chance = torch.rand(len(ids), generator=generator)
    other = torch.randint(vocabulary - 1, (len(ids),), generator=generator)
    tokens = torch.where(positions & (chance < HIDDEN), mask, ids)
    random_positions = positions & (chance >= HIDDEN) & (chance < HIDDEN + OTHER)
    return Masked(torch.where(random_positions, other, tokens), ids, positions)


def guessed(system: Any, test: Dataset) -> Answers:
    """Predict the first masked tokens of some test texts."""
    rows, tables = shown_rows(test), []
    for row in rows:
        case = system.masked(test.input[row])
        window = Masked(*(part[:SHOWN_TOKENS] for part in case))
        logits = system.guesses(window.given[None], window.asked[None])
        at = window.asked.nonzero().flatten()[:SHOWN_MASKS]
        chance, token = logits[:SHOWN_MASKS].softmax(1).cpu().topk(GUESSES)
        table = torch.full((SHOWN_MASKS, 2 + 2 * GUESSES), -1.0, dtype=torch.float64)
        for i, position in enumerate(at.tolist()):
            row_values = [float(position), float(window.true[position]), *token[i].tolist(), *chance[i].tolist()]
            table[i] = torch.tensor(row_values, dtype=torch.float64)
        tables.append(table)
    return {"guessed": Sparse(torch.tensor(rows), torch.stack(tables))}


def _of_table(table: Tensor) -> list[Guess]:
    return [
        Guess(int(row[0]), int(row[1]), list(zip(map(int, row[2 : 2 + GUESSES]), row[2 + GUESSES :], strict=True)))
        for row in table.tolist()
        if row[0] >= 0
    ]


def result(trainings: Trainings, setup: Setup) -> FillResult:
    test = setup.test
    language = test.columns.get("language") or [""] * len(test)
    return FillResult(
        {
            name: _measures(trainings, test, [i for i, code in enumerate(language) if code == name])
            for name in sorted(set(language) - {""})
        },
        samples(trainings.answers[0]),
    )


def samples(answers: Answers) -> list[tuple[int, list[Guess]]]:
    table = answers.get("guessed")
    if not isinstance(table, Sparse):
        return []
    pairs = zip(table.rows.tolist(), table.values, strict=True)
    return [(row, _of_table(table)) for row, table in pairs]


def _measures(trainings: Trainings, test: Dataset, rows: list[int]) -> dict[str, Measure]:
    groups, training = test.only(rows).units, trainings.training_of_rows(rows)
    return {
        name: registry.metric(name).measure(stacked(trainings.answers, name)[:, rows], groups, training)
        for name in NAMES
    }
