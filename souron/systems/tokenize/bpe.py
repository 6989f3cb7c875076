"""The two tokens that stand together most often become one token, again and again.

Sennrich, Haddow, Birch: Neural Machine Translation of Rare Words with Subword Units (2016).
https://arxiv.org/abs/1508.07909

    merge the pair with the highest count;  count anew;  until there are enough tokens

It begins with the 256 bytes, so that no text is unknown (Radford and others: Language Models are
Unsupervised Multitask Learners, 2019), and no token reaches across words. After a merge only the
pairs beside it are counted anew. A text is cut by the same merges in the same order.
Differs from the paper: bytes instead of letters, and no sign for the end of a word, since a word
begins with the blank before it.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from souron.tasks.tokenize import BYTES, Cutter, Spec, single_bytes, word_counts
from souron.training.loop import Data, Progress, Run

STEPS = 100  # a learning is divided into
NONE = -1


@dataclass(frozen=True)
class Config:
    size: int = 4096  # tokens
    least: int = 2  # times that a pair must occur


class BPE(Cutter):
    year = 2016
    ja = "いちばん多く隣り合う二つのトークンを一つにまとめることを繰り返す"
    SIZES = {"tiny": Config(320), "small": Config(), "gpt2": Config(50_256)}

    merges: Tensor  # (size, 2) int32: the tokens that were joined, first those joined first

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.register_buffer("merges", torch.full((config.size, 2), NONE, dtype=torch.int32))
        self.a_step = max(1, (config.size - BYTES) // STEPS)
        self.most_steps = -(-max(1, config.size - BYTES) // self.a_step)

    def sketch(self) -> list[tuple[str, str, tuple[int, ...]]]:
        return [("bytes", "other", (BYTES,)), ("merges", "kept", tuple(self.merges.shape)),
                ("tokens", "embedding", (self.config.size,))]  # fmt: skip

    def forget(self) -> None:
        super().forget()
        self.results: dict[tuple[int, int], tuple[int, int]] = {}

    def learnt(self) -> list[tuple[int, int]]:
        return [(a, b) for a, b in self.merges.tolist() if a != NONE]

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        corpus = Corpus(word_counts(data))
        before = self.learnt()[: run.start * self.a_step]
        self.merges.fill_(NONE)
        tokens = Vocabulary()
        for step in range(run.steps):
            joined = 0
            while joined < self.a_step and len(tokens.raws) < self.config.size:
                row = len(tokens.merges)
                if row == len(self.merges):
                    return
                pair = before[row] if row < len(before) else corpus.most_frequent(self.config.least)
                if pair is None:
                    return
                corpus.join(pair, tokens.join(pair))
                self.merges[row] = torch.tensor(pair, dtype=torch.int32)
                joined += 1
            if not joined:
                return
            self.forget()
            if step >= run.start:
                yield Progress(step, {"tokens a byte": torch.tensor(corpus.length / corpus.bytes)})

    def vocabulary(self) -> list[bytes]:
        tokens = Vocabulary()
        self.results = {
            pair: (rank, tokens.join(pair)) for rank, pair in enumerate(self.learnt())
        }  # fmt: skip
        return tokens.raws

    def encode_word(self, word: str) -> list[int]:
        """Of all pairs in the word that were ever joined, the one that was joined first, and so
        on; a heap holds them, a pair that is no longer there is passed over."""
        results = self.results if self.raws else {}
        symbols = [PLACE[byte] for byte in word.encode()]
        count = len(symbols)
        after, before = list(range(1, count + 1)), list(range(-1, count - 1))
        heap = [
            (results[pair][0], at) for at, pair in enumerate(pairwise(symbols)) if pair in results
        ]
        heapq.heapify(heap)
        while heap:
            rank, at = heapq.heappop(heap)
            following = after[at]
            if symbols[at] == NONE or following >= count:
                continue
            known = results.get((symbols[at], symbols[following]))
            if known is None or known[0] != rank:
                continue
            symbols[at], symbols[following] = known[1], NONE
            after[at] = after[following]
            if after[at] < count:
                before[after[at]] = at
            for left in (before[at], at):
                if left >= 0 and after[left] < count:
                    found = results.get((symbols[left], symbols[after[left]]))
                    if found is not None:
                        heapq.heappush(heap, (found[0], left))
        return [symbol for symbol in symbols if symbol != NONE]


PLACE = [single_bytes().index(byte) for byte in range(BYTES)]  # byte -> token


class Vocabulary:
    """The bytes that tokens stand for, as pairs are joined."""

    def __init__(self) -> None:
        self.raws = [bytes([byte]) for byte in single_bytes()]
        self.merges: list[tuple[int, int]] = []
        self._token = {raw: token for token, raw in enumerate(self.raws)}

    def join(self, pair: tuple[int, int]) -> int:
        """The token of a pair: a new one, unless its bytes have one already."""
        raw = self.raws[pair[0]] + self.raws[pair[1]]
        token = self._token.setdefault(raw, len(self.raws))
        if token == len(self.raws):
            self.raws.append(raw)
        self.merges.append(pair)
        return token


class Corpus:
    """Every different word once, as a chain of tokens, with how often it occurs; and how often
    each pair of neighbours does, counted anew only where something was joined."""

    def __init__(self, words: Counter[str]) -> None:
        self.symbol: list[int] = []  # of each place; ``NONE`` where it was joined to the one before
        self.weight: list[int] = []  # of each place: how often its word occurs
        self.after: list[int] = []  # the next place of the word, ``NONE`` at its end
        self.before: list[int] = []
        self.count: dict[tuple[int, int], int] = defaultdict(int)
        self.places: dict[tuple[int, int], list[int]] = defaultdict(list)  # of a pair's first token
        for word, often in words.items():
            first = len(self.symbol)
            chain = [PLACE[byte] for byte in word.encode()]
            last = first + len(chain) - 1
            self.symbol += chain
            self.weight += [often] * len(chain)
            self.after += [*range(first + 1, last + 1), NONE]
            self.before += [NONE, *range(first, last)]
            for at, pair in enumerate(pairwise(chain), first):
                self.count[pair] += often
                self.places[pair].append(at)
        self.bytes = self.length = sum(self.weight)  # of the text, in bytes and in tokens
        self.heap = [(-often, pair) for pair, often in self.count.items()]
        heapq.heapify(self.heap)

    def most_frequent(self, least: int) -> tuple[int, int] | None:
        """The pair that occurs most often, of equal ones that of the older tokens; None where none
        occurs so often. A count in the heap may be too high, never too low."""
        while self.heap:
            often, pair = heapq.heappop(self.heap)
            now = self.count[pair]
            if now == -often:
                return pair if now >= least else None
            if now >= least:
                heapq.heappush(self.heap, (-now, pair))
        return None

    def join(self, pair: tuple[int, int], token: int) -> None:
        """Put ``token`` in every place of the pair, from left to right."""
        symbol, after, before, weight = self.symbol, self.after, self.before, self.weight
        count, places = self.count, self.places
        first, second = pair
        risen = set()
        for at in sorted(places.pop(pair)):
            following = after[at]
            if symbol[at] != first or following == NONE or symbol[following] != second:
                continue  # joined with another since
            often = weight[at]
            symbol[at], symbol[following] = token, NONE
            beyond = after[at] = after[following]
            self.length -= often
            if beyond != NONE:
                before[beyond] = at
                count[second, symbol[beyond]] -= often
                right = token, symbol[beyond]
                count[right] += often
                places[right].append(at)
                risen.add(right)
            ahead = before[at]
            if ahead != NONE:
                count[symbol[ahead], first] -= often
                left = symbol[ahead], token
                count[left] += often
                places[left].append(ahead)
                risen.add(left)
        del count[pair]
        for each in risen:
            heapq.heappush(self.heap, (-count[each], each))
