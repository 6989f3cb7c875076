"""The two tokens that stand together most often become one token, again and again.

Sennrich, Haddow, Birch: Neural Machine Translation of Rare Words with Subword Units (2016).
https://arxiv.org/abs/1508.07909

    merge the pair with the highest count;  count anew;  until there are enough tokens

It starts from the 256 bytes, so that no text is unknown (Radford and others: Language Models are
Unsupervised Multitask Learners, 2019), and no token crosses words. After a merge only neighbouring
pairs are recounted. A text is encoded by the same merges in the same order. Differs from the paper:
bytes instead of characters, and no end-of-word symbol, since a word begins with the space before
it.
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

STEPS = 100  # progress reports of a training
NONE = -1


@dataclass(frozen=True)
class Config:
    size: int = 4096  # tokens
    least: int = 2  # minimum count of a merged pair


class BPE(Cutter):
    year = 2016
    ja = "いちばん多く隣り合う二つのトークンを一つにまとめることを繰り返す"
    SIZES = {"tiny": Config(320), "small": Config(), "gpt2": Config(50_256)}

    merges: Tensor  # (size, 2) int32: the merged tokens, in the order of merging

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.register_buffer("merges", torch.full((config.size, 2), NONE, dtype=torch.int32))
        self.a_step = max(1, (config.size - BYTES) // STEPS)
        self.most_steps = -(-max(1, config.size - BYTES) // self.a_step)

    def sketch(self) -> list[tuple[str, str, tuple[int, ...]]]:
        return [
            ("bytes", "other", (BYTES,)),
            ("merges", "kept", tuple(self.merges.shape)),
            ("tokens", "embedding", (self.config.size,)),
        ]

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
            merges = 0
            # merge the most frequent pair, as often as a step has merges
            while merges < self.a_step and len(tokens.raws) < self.config.size:
                row = len(tokens.merges)
                if row == len(self.merges):
                    return
                pair = before[row] if row < len(before) else corpus.most_frequent(self.config.least)
                if pair is None:
                    return
                corpus.join(pair, tokens.join(pair))
                self.merges[row] = torch.tensor(pair, dtype=torch.int32)
                merges += 1
            if not merges:
                return
            self.forget()
            if step >= run.start:
                yield Progress(step, {"tokens a byte": torch.tensor(corpus.length / corpus.bytes)})

    def vocabulary(self) -> list[bytes]:
        tokens = Vocabulary()
        self.results = {pair: (rank, tokens.join(pair)) for rank, pair in enumerate(self.learnt())}
        return tokens.raws

    def encode_word(self, word: str) -> list[int]:
        """Apply the merges to a word, the earliest first.

        A heap holds the candidate pairs; outdated ones are skipped.
        """
        results = self.results if self.raws else {}
        symbols = [PLACE[byte] for byte in word.encode()]
        count = len(symbols)
        after, before = list(range(1, count + 1)), list(range(-1, count - 1))
        heap = [(results[pair][0], at) for at, pair in enumerate(pairwise(symbols)) if pair in results]
        heapq.heapify(heap)
        while heap:
            rank, at = heapq.heappop(heap)
            following = after[at]
            # outdated: one of both symbols is merged already
            if symbols[at] == NONE or following >= count:
                continue
            pair_merge = results.get((symbols[at], symbols[following]))
            if pair_merge is None or pair_merge[0] != rank:
                continue
            # merge, and link the neighbours
            symbols[at], symbols[following] = pair_merge[1], NONE
            after[at] = after[following]
            if after[at] < count:
                before[after[at]] = at
            # the pairs that the merge creates
            for first in (before[at], at):
                if first >= 0 and after[first] < count:
                    merge = results.get((symbols[first], symbols[after[first]]))
                    if merge is not None:
                        heapq.heappush(heap, (merge[0], first))
        return [symbol for symbol in symbols if symbol != NONE]


PLACE = [single_bytes().index(byte) for byte in range(BYTES)]  # byte -> token


class Vocabulary:
    """The bytes of each token, as pairs are merged."""

    def __init__(self) -> None:
        self.raws = [bytes([byte]) for byte in single_bytes()]
        self.merges: list[tuple[int, int]] = []
        self._token = {raw: token for token, raw in enumerate(self.raws)}

    def join(self, pair: tuple[int, int]) -> int:
        """Return the token of a pair: a new one, unless its bytes already have one."""
        raw = self.raws[pair[0]] + self.raws[pair[1]]
        token = self._token.setdefault(raw, len(self.raws))
        if token == len(self.raws):
            self.raws.append(raw)
        self.merges.append(pair)
        return token


class Corpus:
    """The distinct words as linked lists of tokens, with the counts of words and of token pairs.

    Pairs are recounted only where a merge happened.
    """

    def __init__(self, words: Counter[str]) -> None:
        self.symbol: list[int] = []  # of each position; ``NONE`` if merged into the previous one
        self.weight: list[int] = []  # of each position: the count of its word
        self.after: list[int] = []  # the next position in the word, ``NONE`` at its end
        self.before: list[int] = []
        self.count: dict[tuple[int, int], int] = defaultdict(int)
        self.places: dict[tuple[int, int], list[int]] = defaultdict(list)  # of pairs' first tokens
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
        """Return the most frequent pair, ties by the older tokens; None if none is frequent enough.

        A count in the heap may be too high, never too low.
        """
        while self.heap:
            often, pair = heapq.heappop(self.heap)
            now = self.count[pair]
            if now == -often:
                return pair if now >= least else None
            if now >= least:
                heapq.heappush(self.heap, (-now, pair))
        return None

    def join(self, pair: tuple[int, int], token: int) -> None:
        """Replace the pair by ``token`` at every position, from left to right."""
        symbol, after, before, weight = self.symbol, self.after, self.before, self.weight
        count, places = self.count, self.places
        first, second = pair
        risen = set()
        for at in sorted(places.pop(pair)):
            following = after[at]
            if symbol[at] != first or following == NONE or symbol[following] != second:
                continue  # already merged with another
            # the pair becomes one symbol
            often = weight[at]
            symbol[at], symbol[following] = token, NONE
            beyond = after[at] = after[following]
            self.length -= often
            # the pair to the right changes its count, and so does the one to the left
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
                before_pair = symbol[ahead], token
                count[before_pair] += often
                places[before_pair].append(ahead)
                risen.add(before_pair)
        del count[pair]
        for changed_pair in risen:
            heapq.heappush(self.heap, (-count[changed_pair], changed_pair))
