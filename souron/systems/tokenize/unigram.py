"""Many pieces compete to explain the text; those that are missed least go.

Kudo: Subword Regularization: Improving Neural Network Translation Models with Multiple Subword
Candidates (2018). https://arxiv.org/abs/1804.10959

    p(word) = sum over its cuts of the product of p(piece)

Expectation: the expected uses of each piece over all segmentations of each word, weighted by their
probability (forward and backward sums). Maximisation: p(piece) proportional to that. Then the
quarter of the pieces whose loss costs least likelihood is removed. A text is encoded by its most
probable segmentation (Viterbi). Having probabilities, it is a simple language model. Differs from
the paper: candidates are the strings that occur twice, found length by length instead of by a
suffix array; digamma in place of the logarithm, as in its author's SentencePiece; no piece crosses
words; characters too rare for a token of their own are written as their bytes.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.tasks.tokenize import BYTES, Cutter, Spec, single_bytes, word_counts
from souron.training.loop import Data, Progress, Run

COVERED = 0.9995  # share of the text's characters that have tokens; the rarest are left out
CHUNK = 64  # most characters of a word processed together in training
SELDOM = 0.5  # expected uses below which a piece is removed
ROUNDS = 2  # EM iterations between two removals
KEPT = 0.75  # share of the pieces, each time
NONE = -1


@dataclass(frozen=True)
class Config:
    size: int = 4096  # tokens
    longest: int = 12  # characters of a token
    candidates: int = 40_000  # most initial pieces


class Unigram(Cutter):
    year = 2018
    ja = "多くの候補の確率を学び、なくても困らない候補から捨てて、最も確からしい切り方を選ぶ"
    SIZES = {"tiny": Config(320, 6, 400), "small": Config()}

    letters: Tensor  # (size - 256, longest) int32: code points of each token
    score: Tensor  # (size,) log p, bytes first

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        room = max(0, config.size - BYTES)
        letters = torch.full((room, config.longest), NONE, dtype=torch.int32)
        self.register_buffer("letters", letters)
        self.register_buffer("score", torch.zeros(BYTES + room))
        prunings = math.log(max(1.0, config.candidates / max(1, room))) / -math.log(KEPT)
        self.most_steps = ROUNDS * (math.ceil(prunings) + 1)

    def forget(self) -> None:
        super().forget()
        self.tokens: dict[str, tuple[int, float]] = {}

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        words = word_counts(data)
        if not words:
            return
        alphabet = frequent_letters(words, len(self.letters) // 2)
        lattice = Lattice(words, alphabet, self.config.longest, self.config.candidates)
        score = lattice.count.double().log() - lattice.count.sum().log()
        step = 0
        while True:
            # EM: expected counts of the pieces, then their scores
            for _round in range(ROUNDS):
                expected, likelihood = lattice.expect(score)
                score = torch.digamma(expected.clamp(min=SELDOM)) - torch.digamma(expected.sum())
                self.keep(lattice, score, expected)
                if run.start <= step < run.steps:
                    bits = (lattice.spelling - likelihood / math.log(2)) / lattice.bytes
                    yield Progress(step, {"bits a byte, with the tokens": bits})
                step += 1
                if step >= run.steps:
                    return
            # characters with a byte token need none of their own
            room = len(self.letters) + int(lattice.plain.sum())
            if len(score) <= room:
                return
            # prune the pieces whose loss costs the likelihood least
            loss = expected * (score - lattice.otherwise(score))
            loss[expected < SELDOM] = NONE
            loss[: len(alphabet)] = math.inf
            target_size = max(room, int(KEPT * len(score)))
            best = loss.topk(target_size).indices.sort().values
            score = lattice.only(best, score)

    def keep(self, lattice: "Lattice", score: Tensor, expected: Tensor) -> None:
        """Store as many pieces as there is room for, the most used first."""
        worth = expected.clone()
        worth[: len(lattice.alphabet)] = math.inf
        lowest = float(score.min())
        self.score.fill_(lowest)
        self.letters.fill_(NONE)
        index = 0
        for number in worth.argsort(descending=True, stable=True).tolist():
            piece = lattice.piece(number)
            if len(piece) == 1 and ord(piece) < 0x80:
                self.score[single_bytes().index(ord(piece))] = score[number]
            elif index < len(self.letters):
                codes = torch.tensor([ord(letter) for letter in piece], dtype=torch.int32)
                self.letters[index, : len(codes)] = codes
                self.score[BYTES + index] = score[number]
                index += 1
        self.forget()

    def vocabulary(self) -> list[bytes]:
        pieces = ["".join(chr(code) for code in row if code != NONE) for row in self.letters.tolist() if row[0] != NONE]
        score = self.score.tolist()
        plain = [(chr(byte), index) for index, byte in enumerate(single_bytes()) if byte < 0x80]
        entries = [*plain, *((piece, index) for index, piece in enumerate(pieces, BYTES))]
        self.tokens = {piece: (index, score[index]) for piece, index in entries}
        return [bytes([byte]) for byte in single_bytes()] + [piece.encode() for piece in pieces]

    def encode_word(self, word: str) -> list[int]:
        """Return the most probable segmentation of a word (Viterbi)."""
        tokens = self.tokens if self.raws else {}
        score = self.lowest
        best: list[tuple[float, int, tuple[int, ...]]] = [(0.0, 0, ())]
        for end in range(1, len(word) + 1):
            best_end: tuple[float, int, tuple[int, ...]] = (-math.inf, 0, ())
            for start in range(max(0, end - self.config.longest), end):
                entry = tokens.get(word[start:end])
                if entry is not None and (total := best[start][0] + entry[1]) > best_end[0]:
                    best_end = (total, start, (entry[0],))
            if word[end - 1] not in tokens:
                raw = tuple(map(single_bytes().index, word[end - 1].encode()))
                if (total := best[end - 1][0] + len(raw) * score) > best_end[0]:
                    best_end = (total, end - 1, raw)
            best.append(best_end)
        # backtrack
        backwards, end = [], len(word)
        while end:
            _total, end_of_rest, ids = best[end]
            backwards.append(ids)
            end = end_of_rest
        return [id for ids in reversed(backwards) for id in ids]

    @property
    def lowest(self) -> float:
        """Return the score of a byte that is no character."""
        return float(self.score[single_bytes().index(0xFF)])

    def bits(self, ids: Sequence[int]) -> list[float]:
        """Return -log2 p of each token."""
        score = self.score.tolist()
        return [-score[id] / math.log(2) for id in ids]


def frequent_letters(words: Counter[str], most: int) -> list[str]:
    """Return the characters that make up nearly all of the text, the most frequent first."""
    counts: Counter[str] = Counter()
    for word, often in words.items():
        for letter in word:
            counts[letter] += often
    remaining, alphabet = COVERED * sum(counts.values()), []
    for letter, often in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]:
        if remaining <= 0:
            break
        alphabet.append(letter)
        remaining -= often
    return alphabet


class Lattice:
    """All segmentations of all distinct words into known pieces.

    Words are concatenated, the longest first, each with one position more than characters.
    ``piece_at[n - 1, place]`` is the piece of n characters that begins there, or the last number,
    ``len(count)``, which no segmentation uses.
    """

    def __init__(self, words: Counter[str], alphabet: list[str], longest: int, most: int) -> None:
        self.alphabet = alphabet
        self.bytes = sum(len(word.encode()) * often for word, often in words.items())
        number = {letter: index for index, letter in enumerate(alphabet)}
        chunks = sorted(_chunks(words, number).items(), key=lambda item: (-len(item[0]), item[0]))
        length = torch.tensor([len(chunk) for chunk, _often in chunks])
        self.first = (length + 1).cumsum(0) - length - 1  # (W,) of each word
        self.length, self.last = length, self.first + length
        self.weight = torch.tensor([often for _chunk, often in chunks], dtype=torch.double)
        self.text = "".join(f"{chunk}\n" for chunk, _often in chunks)
        codes = torch.full((len(self.text),), NONE)
        for index, letter in enumerate(self.text):
            codes[index] = number.get(letter, NONE)
        codes[self.last] = NONE
        self.word = torch.arange(len(chunks)).repeat_interleave(length + 1)
        self._find(codes, longest, most)

    def _find(self, codes: Tensor, longest: int, most: int) -> None:
        """Find strings that occur twice, extending shorter ones that do."""
        weight = self.weight[self.word]
        here, counts, begins, spans = codes, [], [], []  # here: string number per position
        rows, total = [], 0
        for span in range(1, longest + 1):
            if span == 1:
                kinds, positions = len(self.alphabet), (here >= 0).nonzero().flatten()
                which = here[positions]
            else:
                following = torch.cat([here[1:], here.new_full((1,), NONE)])
                positions = ((here >= 0) & (following >= 0)).nonzero().flatten()
                both = here[positions] * (len(self.text) + 1) + following[positions]
                unique, which = both.unique(return_inverse=True)
                kinds = len(unique)
            count = torch.zeros(kinds, dtype=torch.double).index_add_(0, which, weight[positions])
            enough = count >= (2 if span > 1 else 0)
            new_number = torch.where(enough, enough.cumsum(0) - 1, NONE)
            here = torch.full_like(codes, NONE)
            here[positions] = new_number[which]
            begin = torch.zeros(kinds, dtype=torch.long).scatter_(0, which, positions)
            counts.append(count[enough])
            begins.append(begin[enough])
            spans.append(torch.full((int(enough.sum()),), span))
            rows.append(torch.where(here >= 0, here + total, NONE))
            total += len(counts[-1])
        self.count, self.begin, self.span = map(torch.cat, (counts, begins, spans))
        self.piece_at = torch.stack(rows)
        self.piece_at[self.piece_at == NONE] = total
        worth = self.count * self.span
        worth[: len(self.alphabet)] = math.inf
        best = worth.topk(min(len(worth), max(most, len(self.alphabet)))).indices.sort().values
        self.only(best, worth)

    def only(self, selection: Tensor, score: Tensor) -> Tensor:
        """Keep only the chosen pieces and return their scores."""
        number = torch.full((len(self.count) + 1,), len(selection))
        number[selection] = torch.arange(len(selection))
        self.piece_at = number[self.piece_at]
        self.count, self.begin, self.span = (part[selection] for part in (self.count, self.begin, self.span))
        self.plain = torch.tensor([ord(letter) < 0x80 for letter in self.alphabet])
        raws = [self.piece(index).encode() for index in range(len(selection))]
        self.spelling = 8 * sum(map(len, raws))  # bits to write down the pieces
        return score[selection]

    def piece(self, number: int) -> str:
        begin = int(self.begin[number])
        return self.text[begin : begin + int(self.span[number])]

    def expect(self, score: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expected uses of each piece, (pieces,), and the text's log p."""
        score = torch.cat([score, score.new_full((1,), -math.inf)])
        forward = score.new_full((len(self.text) + len(self.piece_at),), -math.inf)
        backward = forward.clone()  # with spare room past the end
        forward[self.first], backward[self.last] = 0.0, 0.0
        spans = torch.arange(1, len(self.piece_at) + 1)[:, None]
        most = int(self.length[0])
        for step in range(1, most + 1):
            active = int((self.length >= step).sum())
            ends, reach = self.first[:active] + step, spans[:step]
            starts = ends - reach  # (spans, words)
            paths = forward[starts] + score[self.piece_at[reach - 1, starts]]
            forward[ends] = paths.logsumexp(0)
            starts = self.last[:active] - step
            paths = backward[starts + reach] + score[self.piece_at[reach - 1, starts]]
            backward[starts] = paths.logsumexp(0)
        whole = forward[self.last]
        used = torch.zeros(len(score), dtype=score.dtype)
        for span, row in enumerate(self.piece_at, 1):
            at = (row < len(self.count)).nonzero().flatten()
            word, piece = self.word[at], row[at]
            chance = (forward[at] + score[piece] + backward[at + span] - whole[word]).exp()
            used.index_add_(0, piece, chance * self.weight[word])
        return used[:-1], (whole * self.weight).sum()

    def otherwise(self, score: Tensor) -> Tensor:
        """Return log p of the best segmentation of each piece into other pieces, (pieces,)."""
        score = torch.cat([score, score.new_full((1,), -math.inf)])
        best = score.new_full((len(self.count), len(self.piece_at) + 1), -math.inf)
        best[:, 0] = 0.0
        for end in range(1, best.shape[1]):
            for start in range(end):
                at = (self.begin + start).clamp(max=len(self.text) - 1)
                total = best[:, start] + score[self.piece_at[end - start - 1, at]]
                itself = (self.span == end) & (start == 0)
                best[:, end] = best[:, end].maximum(total.masked_fill(itself, -math.inf))
        return best.gather(1, self.span[:, None])[:, 0]


def _chunks(words: Counter[str], alphabet: dict[str, int]) -> Counter[str]:
    """Split words at rare characters, and into parts of limited length."""
    chunks: Counter[str] = Counter()
    for word, often in words.items():
        rare = {letter for letter in word if letter not in alphabet}
        for letter in rare:
            word = word.replace(letter, "\n\n")  # doubled: a newline word has a single one
        for part in word.split("\n\n") if rare else [word]:
            for start in range(0, len(part), CHUNK):
                chunks[part[start : start + CHUNK]] += often
    return chunks
