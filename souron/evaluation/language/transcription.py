"""Transcripts of test recordings: their errors, some to read and to hear, and confused words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.answers import Answers, Sparse, Trainings, dense, stacked
from souron.evaluation.language import generated_texts
from souron.metrics.transcription import CHARACTER, WORD, aligned, pseudo_values, words_of
from souron.stats.records import Measure

HEARD = 3  # recordings with their spectrograms
LISTENED = (48, 800)  # most tokens and places of such an alignment
MOST_CONFUSED = 12  # pairs of words
LONGEST = 400  # words of a text that is aligned


@dataclass(frozen=True)
class TranscribeResult:
    """The results of one run for its report."""

    by_language: dict[str, dict[str, Measure]]  # language -> metric -> measure
    shown: list[tuple[int, str]]  # row of a test case, its transcript
    confused: list[tuple[str, str, int]]  # what was said, what was heard, how often
    attention: dict[int, Tensor]  # row -> (tokens, time)

    def as_json(self) -> dict[str, Any]:
        return {
            "by_language": {
                language: {name: measure.value for name, measure in measures.items()}
                for language, measures in self.by_language.items()
            },
            "confused": [
                {"said": word, "heard": substitute, "times": times} for word, substitute, times in self.confused
            ],
        }


def shown(system: Any, test: Dataset, texts: Sequence[str]) -> Answers:
    """Return what a report shows: all transcripts, cut, and where the system listened."""
    answers: Answers = {"said": generated_texts.kept(range(len(texts)), texts)}
    rows, maps = [], []
    for row in generated_texts.shown_rows(test)[:HEARD]:
        attention = system.attention(test.input[row], texts[row])
        if attention is None or not attention.numel():
            continue
        tokens, places = (min(size, most) for size, most in zip(attention.shape, LISTENED, strict=True))
        room = torch.full(LISTENED, torch.nan)
        room[:tokens, :places] = attention[:tokens, :places]
        rows.append(row)
        maps.append(room.half())
    if rows:
        answers["attention"] = Sparse(torch.tensor(rows), torch.stack(maps))
    return answers


def pseudo_scores(seeds: Sequence[Answers], name: str) -> NDArray[np.float64] | None:
    """Return pseudo-values (seeds, cases) whose mean is an error rate; None without any length."""
    counts = stacked(seeds, name)
    return pseudo_values(counts[..., 0], counts[..., 1])


def result(trainings: Trainings, test: Dataset) -> TranscribeResult:
    answers, languages = trainings.answers, list(test.columns.get("language") or [""] * len(test))
    names = sorted(set(languages))
    by_language: dict[str, dict[str, Measure]] = {}
    for language in names if len(names) > 1 else ():
        rows = [row for row, own in enumerate(languages) if own == language]
        parts: list[Answers] = [{n: dense(answer, n)[rows] for n in (WORD, CHARACTER)} for answer in answers]
        tables = {name: pseudo_scores(parts, name) for name in (WORD, CHARACTER)}
        by_language[language] = {
            name: registry.metric(name).measure(table, test.only(rows).units, trainings.training_of_rows(rows))
            for name, table in tables.items()
            if table is not None
        }
    transcripts = generated_texts.texts(answers[0], "said")
    rows = [row for row in generated_texts.shown_rows(test) if row in transcripts]
    maps = answers[0].get("attention")
    attention = dict(zip(maps.rows.tolist(), maps.values.float(), strict=True)) if isinstance(maps, Sparse) else {}
    pairs = confused([test.target[row] for row in transcripts], list(transcripts.values()))
    return TranscribeResult(by_language, [(row, transcripts[row]) for row in rows], pairs, attention)


def confused(right: Sequence[str], transcripts: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return the most frequent errors: the word, what was heard instead, how often.

    "" stands for a word that was left out or put in.

    >>> confused(["five two", "five"], ["nine two", "nine"])
    [('five', 'nine', 2)]
    """
    count: Counter[tuple[str, str]] = Counter()
    for truth, other in zip(right, transcripts, strict=True):
        pair = words_of(truth)[:LONGEST], words_of(other)[:LONGEST]
        count.update((edit.right, edit.pred) for edit in aligned(*pair) if edit.right != edit.pred)
    order = sorted(count.items(), key=lambda item: (-item[1], item[0]))
    return [(*pair, times) for pair, times in order[:MOST_CONFUSED]]
