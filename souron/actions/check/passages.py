"""Find passages of the sources that a sentence may come from, by vectors and BM25.

They only retrieve: vectors put a negated sentence nearer to the original than an honest
paraphrase. A passage is one sentence, or two adjacent ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from souron.data.language.sentences import Sentence, sentences
from souron.kinds.text import Text
from souron.runs import documents, passage_index

EACH = 4  # passages that each method proposes
WINDOWS = 2  # of them that are also tried with the sentence before and after
BETWEEN = 4  # most characters between two sentences of one passage
LONGEST = 900  # characters of a passage


class Candidate(NamedTuple):
    text: str
    file: str
    start: int  # characters of the file's text
    end: int
    cosine: float
    shared: float  # BM25 as a share of its maximum
    wide: bool = False  # whether it is two sentences


@dataclass
class Sources:
    """Texts split into sentences and indexed for search."""

    texts: Sequence[Text]
    cut: Sequence[tuple[int, Sentence]]  # (text, sentence)
    vectors: Tensor  # (sentences, 512) float16
    words: Any  # of BM25
    encoder: Any = field(repr=False)
    bm25: Any = field(repr=False)
    small: str = field(default="", repr=False)  # all texts in lower case

    def knows(self, name: str) -> bool:
        return name.lower() in self.small

    def find(self, sentence: str) -> list[Candidate]:
        """Return candidate passages, the most promising first."""
        if not self.cut:
            return []
        with torch.inference_mode():
            cosines = self.encoder.rank(self.vectors, sentence)
            shared = self.bm25.rank(self.words, sentence)
        best = [*_top(cosines), *_top(shared)]
        order = sorted(dict.fromkeys(best), key=lambda k: -float(cosines[k] + shared[k]))
        found = [self._candidate([k], cosines, shared) for k in order]
        for k in order[:WINDOWS]:
            for pair in ((k - 1, k), (k, k + 1)):
                if self._follow(*pair):
                    found.append(self._candidate(pair, cosines, shared))
        return found

    def _candidate(self, rows: Sequence[int], cosines: Tensor, shared: Tensor) -> Candidate:
        number, first = self.cut[rows[0]]
        start, end = first.start, self.cut[rows[-1]][1].end
        text = self.texts[number]
        return Candidate(
            text.text[start:end],
            text.file,
            start,
            end,
            max(float(cosines[k]) for k in rows),
            max(float(shared[k]) for k in rows),
            len(rows) > 1,
        )

    def _follow(self, one: int, other: int) -> bool:
        if one < 0 or other >= len(self.cut):
            return False
        (number, first), (second, last) = self.cut[one], self.cut[other]
        near = 0 <= last.start - first.end <= BETWEEN
        return number == second and near and last.end - first.start <= LONGEST


def _top(score: Tensor) -> list[int]:
    rows = score.topk(min(EACH, len(score)))
    return [int(k) for k, value in zip(rows.indices, rows.values, strict=True) if value > 0]


def prepared(texts: Sequence[Text], keep: bool = True) -> Iterator[tuple[float, Sources | None]]:
    """Yield progress 0..1 and, with the last step, the indexed sources.

    ``keep`` caches the vectors. Raises UserError.
    """
    encoder, bm25 = documents.retriever_of("encoder"), documents.retriever_of("bm25")
    by_text = [sentences(text.text) for text in texts]
    count, before, parts = max(1, sum(map(len, by_text))), 0, []
    for text, cut in zip(texts, by_text, strict=True):
        index: Any = None
        steps = passage_index.indexed(encoder, text.text, [one.text for one in cut], keep)
        for done, index in steps:  # noqa: B007
            yield 0.98 * (before + done * len(cut)) / count, None
        before += len(cut)
        parts.append(index)
    flat = [(number, one) for number, cut in enumerate(by_text) for one in cut]
    words: Any = None
    for _done, words in bm25.index([one.text for _number, one in flat]):  # noqa: B007
        pass
    small = "\n".join(text.text for text in texts).lower()
    yield (1.0, Sources(texts, flat, torch.cat(parts) if parts else torch.zeros(0), words, encoder, bm25, small))


__all__ = ["Candidate", "Sources", "prepared"]
