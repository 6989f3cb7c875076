"""Text generation token by token, shared by all language models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from souron.data.language.tokenizer import Tokenizer
from souron.utils.messages import UserError, _

TOGETHER = 32  # texts generated in a batch
CHUNK = 64  # tokens read at once; the cache is reused in whole chunks
LIKELIEST = 256  # tokens that are sorted first; sorting a whole vocabulary takes milliseconds


class Reader(Protocol):
    """The interface of a language model for generation."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def context(self) -> int:
        """The context length in tokens."""
        ...

    def memory(self, rows: int = 1) -> Any:
        """Return an empty cache for the tokens that will be read, with ``length`` and ``back_to``,
        which may discard more than asked.
        """
        ...

    def read(self, tokens: Tensor, memory: Any) -> Tensor:
        """Read tokens (T,) after those in the cache; return logits (vocabulary,) of the
        next token.
        """
        ...

    def read_many(self, tokens: Tensor, memory: Any) -> Tensor:
        """Read several texts, (rows, T) -> logits (rows, vocabulary)."""
        ...


@dataclass(frozen=True)
class Sampling:
    """Options for sampling the next token.

    Args:
        temperature: 0 takes the most probable token; 1 samples from the model's distribution.
        top: nucleus sampling from the most probable tokens of this total probability. Holtzman and
            others: The Curious Case of Neural Text Degeneration (2019),
            https://arxiv.org/abs/1904.09751
        seed: the same seed, model and machine generate the same text.
    """

    temperature: float = 0.8
    top: float = 0.95
    seed: int = 0

    def draws(self) -> "Draws":
        return Draws(self, torch.Generator().manual_seed(self.seed))


@dataclass
class Draws:
    how: Sampling
    generator: torch.Generator

    def pick(self, logits: Tensor) -> int:
        """Sample the next token. Raises UserError where the logits are not finite."""
        logits = logits.float().cpu()
        if logits.isnan().any() or logits.amax() == torch.inf:
            raise UserError(
                "not finite",
                _("the model's answer is not a number"),
                expected=_("weights of a training that did not fail"),
                exit=1,
            )
        if self.how.temperature == 0:
            return int(logits.argmax())
        chances = (logits / self.how.temperature).softmax(0)
        likeliest, order = chances.topk(min(LIKELIEST, len(chances)))
        if likeliest.sum() <= self.how.top:  # more of them may be sampled
            likeliest, order = chances.sort(descending=True)
        likeliest[likeliest.cumsum(0) - likeliest > self.how.top] = 0
        # as many as without the shortcut, so that a seed gives the same text
        drawn = functional.pad(likeliest, (0, len(chances) - len(likeliest)))
        return int(order[torch.multinomial(drawn, 1, generator=self.generator)])


class Written(NamedTuple):
    """One generated token."""

    token: int
    text: str  # the whole characters that it adds to the text
    bits: float  # its surprisal, -log2 p


@torch.inference_mode()
def answers(
    reader: Reader, prompts: Sequence[Sequence[int]], length: int, sampling: Sampling
) -> Iterator[tuple[int, list[int]]]:
    """Yield the index of a prompt and the tokens of its answer, without the end token.

    Prompts of equal length are answered in one batch.
    """
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    for _size, numbers in groupby(order, key=lambda number: len(prompts[number])):
        alike = list(numbers)
        for start in range(0, len(alike), TOGETHER):
            some = alike[start : start + TOGETHER]
            yield from zip(some, _together(reader, prompts, some, length, sampling), strict=True)


def _together(
    reader: Reader, prompts: Sequence[Sequence[int]], some: Sequence[int], length: int, sampling: Sampling
) -> list[list[int]]:
    draws = [replace(sampling, seed=sampling.seed * 1_000_003 + number).draws() for number in some]
    memory = reader.memory(len(some))
    tokens = torch.tensor([list(prompts[number]) for number in some])
    room = reader.context - tokens.shape[1]
    found: list[list[int]] = [[] for _row in some]
    going = set(range(len(some)))
    for _step in range(min(length, room)):
        logits = reader.read_many(tokens, memory)
        tokens = torch.zeros(len(some), 1, dtype=torch.long)
        for row in sorted(going):
            tokens[row] = token = draws[row].pick(logits[row])
            if token in reader.tokenizer.end:
                going.discard(row)
            else:
                found[row].append(token)
        if not going:
            break
    return found


@dataclass
class Writer:
    """A model with its cache.

    A common prefix with the previous text is not read again; the result is identical, to the bit,
    as reading proceeds in steps of ``CHUNK``.
    """

    reader: Reader
    _memory: Any = field(default=None, repr=False)
    _known: list[int] = field(default_factory=list, repr=False)  # tokens in the cache, in whole
    # chunks

    @torch.inference_mode()
    def write(self, tokens: Sequence[int], length: int, sampling: Sampling, stop: bool = True) -> Iterator[Written]:
        """Continue ``tokens`` by at most ``length`` tokens.

        With ``stop``, generation ends at the end token. Beyond the context length, the model sees
        the last half of its context.
        """
        tokenizer, draws = self.reader.tokenizer, sampling.draws()
        seen = list(tokens) or [tokenizer.start]
        logits = self._read(seen[-self.reader.context :])
        answer: list[int] = []
        told = ""
        for _number in range(length):
            token = draws.pick(logits)
            if stop and token in tokenizer.end:
                return
            answer.append(token)
            whole = tokenizer.generated_text(answer)
            more = whole[len(told) :] if len(whole) > len(told) else ""
            told = max(told, whole, key=len)
            surprise = -logits.float().log_softmax(0)[token].item() / 0.6931471805599453
            yield Written(token, more, surprise)
            seen.append(token)
            if self._memory.length >= self.reader.context:
                logits = self._read(seen[-(self.reader.context // 2) :])
            else:
                logits = self.reader.read(torch.tensor([token]), self._memory)

    def _read(self, tokens: list[int]) -> Tensor:
        """Return the logits after the tokens, and leave them in the cache."""
        for _chunk in self.reading(tokens):
            pass
        return self.reader.read(torch.tensor(tokens[_whole(tokens) :]), self._memory)

    @torch.inference_mode()
    def reading(self, tokens: list[int]) -> Iterator[None]:
        """Read the whole chunks before the last token into the cache, one a step."""
        alike = 0
        for one, other in zip(self._known, tokens[:-1], strict=False):
            if one != other:
                break
            alike += 1
        begin = alike - alike % CHUNK
        if self._memory is None:
            self._memory = self.reader.memory()
        self._memory.back_to(begin)
        begin = self._memory.length
        self._known = tokens[:begin]
        for start in range(begin, _whole(tokens), CHUNK):
            self.reader.read(torch.tensor(tokens[start : start + CHUNK]), self._memory)
            self._known = tokens[: start + CHUNK]  # the cache stays valid if interrupted here
            yield


def _whole(tokens: Sequence[int]) -> int:
    """Return the number of tokens in the whole chunks before the last token."""
    return (len(tokens) - 1) // CHUNK * CHUNK
