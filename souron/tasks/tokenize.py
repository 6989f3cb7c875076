"""Tokenization: a text in, its tokens out. Hugging Face calls such a system a tokenizer."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from unicodedata import category

import torch
from torch import Tensor

from souron.blocks.portable import NO_NETWORK
from souron.data.dataset import Dataset, ListColumn, Rows
from souron.data.language.tokenizer import readable
from souron.evaluation.answers import stacked
from souron.kinds.text import Text
from souron.kinds.tokens import Tokens, single_bytes
from souron.metrics import tokens as metric
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Scores, Setup, Step, Task
from souron.utils.messages import N_, UserError, _

BYTES = 256  # the first tokens of every vocabulary, so that any text can be encoded
MOST_KEPT = 200_000  # words whose tokens are cached


@dataclass(frozen=True)
class Spec:
    """Properties of the training texts that a tokenizer needs before it is built."""

    bytes: int
    languages: tuple[str, ...] = ()  # "en", "ja", if known


class Batch(NamedTuple):
    text: list[str]


class Cutter(System):
    """A tokenizer: ``encode`` maps a text to tokens; ``raws`` are the bytes of each token."""

    blocked = NO_NETWORK
    task = "tokenize"
    full_batch = True
    spec: Spec

    def __init__(self, config: Any, spec: Spec) -> None:
        super().__init__(config, spec)
        self.register_load_state_dict_post_hook(lambda module, _keys: module.forget())
        self.forget()

    def forget(self) -> None:
        """Clear what was derived from the buffers, for when they change."""
        self.known: dict[str, list[int]] = {}
        self._raws: list[bytes] = []

    def encode(self, text: str) -> list[int]:
        """Encode a text word by word; the tokens of known words are cached."""
        ids: list[int] = []
        for word in words(text):
            tokens = self.known.get(word)
            if tokens is None:
                tokens = self.encode_word(word)
                if len(self.known) < MOST_KEPT:
                    self.known[word] = tokens
            ids += tokens
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Decode tokens; bytes that form no character become the replacement character."""
        return b"".join(self.raws[id] for id in ids).decode("utf-8", "replace")

    @property
    def raws(self) -> list[bytes]:
        if not self._raws:
            self._raws = self.vocabulary()
        return self._raws

    def encode_word(self, word: str) -> list[int]:
        raise NotImplementedError

    def vocabulary(self) -> list[bytes]:
        """Return the bytes of each token, computed from the buffers."""
        raise NotImplementedError

    def bits(self, ids: Sequence[int]) -> list[float]:
        """Return the information of each token in bits; empty for systems without probabilities."""
        return []

    def predict(self, text: Text) -> Tokens:
        clean = readable(text.text)
        ids = self.encode(clean)
        raws = [self.raws[id] for id in ids]
        return Tokens.of(clean, ids, raws, self.bits(ids), file=text.file)

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""


class Tokenizing(Task):
    """A text as tokens, measured by how many tokens a text needs.

    Which of two tokenizers suits a language model better can only be found by training with
    each.
    """

    title = N_("tokenizing")
    takes = Text
    gives = Tokens
    metrics = (
        Metric(N_("bytes a token"), headline=True, kind="amount"),
        Metric(N_("letters a token"), kind="amount"),
        Metric(N_("parts of letters"), higher_is_better=False, unit="share", headline=True),
    )
    target = "texts"
    default_data = "manuals"
    formats = ("texts",)
    fewest_classes = 0

    def check(self, data: Dataset, options: Any) -> None:
        first = data.input[0] if isinstance(data.input, ListColumn) and len(data) else None
        if not isinstance(first, str):
            raise UserError(
                "no texts",
                _("the cases of {data} are no texts").format(data=data.name),
                expected=_("a text file, a folder of them, or a set of texts"),
                fix="souron list --data",
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        languages = sorted(filter(None, set(train.columns.get("language", ()))))
        return Spec(sum(len(readable(text).encode()) for text in train.input), tuple(languages))

    def example(self, system: type[System], size: str) -> Spec:
        return Spec(1_000_000, ("en", "ja"))

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        return Batch([readable(text) for text in rows.input])

    @torch.inference_mode()
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, Cutter)
        counts = torch.zeros(len(setup.test), len(metric.COUNTS), dtype=torch.float64)
        for row, text in enumerate(setup.test.input):
            clean = readable(text)
            raws = [system.raws[id] for id in system.encode(clean)]
            counts[row] = torch.tensor(metric.counts(clean, raws))
            yield Step(row / len(counts), _("splitting the test texts"))
        yield Step(1.0, result=dict(zip(metric.COUNTS, counts.T.contiguous(), strict=True)))

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        counts = {name: stacked(seeds, name) for name in metric.COUNTS}
        return {
            "bytes a token": metric.ratio(counts["bytes"], counts["tokens"]),
            "letters a token": metric.ratio(counts["letters"], counts["tokens"]),
            "parts of letters": metric.ratio(counts["parts"], counts["tokens"]),
        }

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        language = test.columns.get("language") or [""] * len(test)
        yield ("file", "language", *metric.COUNTS)
        columns = [answers[name] for name in metric.COUNTS]
        assert all(isinstance(column, Tensor) for column in columns)
        for row, file in enumerate(test.file):
            yield (file, language[row], *(int(column[row]) for column in columns))

    def next_command(self, run: str) -> str:
        return f'souron tokens "..." {run}'


def word_counts(data: Any) -> Counter[str]:
    """Count the occurrences of each word in all training texts."""
    counts: Counter[str] = Counter()
    for batch in data.once():
        for text in batch.text:
            counts.update(words(text))
    return counts


class _Classes(dict):
    """Unicode character -> its class in ``WORD``, as one letter."""

    def __missing__(self, letter: int) -> str:
        sort, itself = category(chr(letter))[0], chr(letter)
        if itself in " 'strevmld":
            letter_class = itself
        elif itself in SPACES:
            letter_class = "_"
        else:
            letter_class = {"L": "L", "N": "N"}.get(sort, "O")
        self[letter] = letter_class
        return letter_class


SPACES = "\t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
WORD = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[Lstrevmld]+| ?N+| ?[O']+|[ _]+(?![^ _])|[ _]+")  # of character classes
_classes = _Classes()


def words(text: str) -> list[str]:
    """Split a text into pieces that no token crosses: runs of letters, digits or punctuation.

    Each piece includes the space before it. Japanese, which has no spaces, is split at punctuation
    only. Equivalent to GPT-2's
    ``'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+``.
    """
    return [text[match.start() : match.end()] for match in WORD.finditer(text.translate(_classes))]


__all__ = ["BYTES", "Batch", "Cutter", "Spec", "Tokenizing", "single_bytes", "word_counts", "words"]
