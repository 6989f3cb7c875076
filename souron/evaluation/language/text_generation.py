"""Text generation token by token, shared by all language models.

Prefill: the prompt is read into the KV cache, in chunks. Decode: the next token is sampled from the logits and read,
and so on to the end token.
"""

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

    def kv_cache(self, rows: int = 1) -> Any:
        """Return an empty KV cache, with its ``length`` in tokens and ``truncate(length)``, which may
        discard more than asked.
        """
        ...

    def read(self, tokens: Tensor, cache: Any) -> Tensor:
        """Append tokens (T,) to the KV cache; return logits (vocabulary,) of the next token."""
        ...

    def read_many(self, tokens: Tensor, cache: Any) -> Tensor:
        """Read a batch, (rows, T) -> next-token logits (rows, vocabulary)."""
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

    def sampler(self) -> "Sampler":
        return Sampler(self, torch.Generator().manual_seed(self.seed))


@dataclass
class Sampler:
    how: Sampling
    generator: torch.Generator

    def sample(self, logits: Tensor) -> int:
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
            return int(logits.argmax())  # greedy decoding
        # nucleus (top-p) sampling: the most probable tokens up to the total probability ``top``
        probabilities = (logits / self.how.temperature).softmax(0)
        likeliest, order = probabilities.topk(min(LIKELIEST, len(probabilities)))
        if likeliest.sum() <= self.how.top:  # more of them may be sampled
            likeliest, order = probabilities.sort(descending=True)
        likeliest[likeliest.cumsum(0) - likeliest > self.how.top] = 0
        # as many as without the shortcut, so that a seed gives the same text
        weights = functional.pad(likeliest, (0, len(probabilities) - len(likeliest)))
        return int(order[torch.multinomial(weights, 1, generator=self.generator)])


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
        equal_lengths = list(numbers)
        for start in range(0, len(equal_lengths), TOGETHER):
            batch = equal_lengths[start : start + TOGETHER]
            yield from zip(batch, _generate_batch(reader, prompts, batch, length, sampling), strict=True)


def _generate_batch(
    reader: Reader, prompts: Sequence[Sequence[int]], batch: Sequence[int], length: int, sampling: Sampling
) -> list[list[int]]:
    samplers = [replace(sampling, seed=sampling.seed * 1_000_003 + number).sampler() for number in batch]
    cache = reader.kv_cache(len(batch))
    tokens = torch.tensor([list(prompts[number]) for number in batch])
    room = reader.context - tokens.shape[1]
    completions: list[list[int]] = [[] for _row in batch]
    unfinished = set(range(len(batch)))
    for _step in range(min(length, room)):
        logits = reader.read_many(tokens, cache)  # the first time the prompts, then one token of each
        tokens = torch.zeros(len(batch), 1, dtype=torch.long)
        for row in sorted(unfinished):
            tokens[row] = token = samplers[row].sample(logits[row])
            if token in reader.tokenizer.end:
                unfinished.discard(row)
            else:
                completions[row].append(token)
        if not unfinished:
            break
    return completions


@dataclass
class Writer:
    """A model with its KV cache.

    A common prefix with the previous text is not read again; the result is identical, to the bit,
    as prefill proceeds in steps of ``CHUNK``.
    """

    reader: Reader
    _cache: Any = field(default=None, repr=False)
    _cache_tokens: list[int] = field(default_factory=list, repr=False)  # those in the cache, in whole chunks

    @torch.inference_mode()
    def write(self, tokens: Sequence[int], length: int, sampling: Sampling, stop: bool = True) -> Iterator[Written]:
        """Continue ``tokens`` by at most ``length`` tokens.

        With ``stop``, generation ends at the end token. Beyond the context length, the model sees
        the last half of its context.
        """
        tokenizer, sampler = self.reader.tokenizer, sampling.sampler()
        sequence = list(tokens) or [tokenizer.start]
        logits = self._read(sequence[-self.reader.context :])  # prefill
        answer: list[int] = []
        text_so_far = ""
        for _number in range(length):
            token = sampler.sample(logits)
            if stop and token in tokenizer.end:
                return
            answer.append(token)
            # only whole characters: a token may end within one
            text = tokenizer.generated_text(answer)
            addition = text[len(text_so_far) :] if len(text) > len(text_so_far) else ""
            text_so_far = max(text_so_far, text, key=len)
            bits = -logits.float().log_softmax(0)[token].item() / 0.6931471805599453
            yield Written(token, addition, bits)
            # the logits of the next token
            sequence.append(token)
            if self._cache.length >= self.reader.context:
                logits = self._read(sequence[-(self.reader.context // 2) :])
            else:
                logits = self.reader.read(torch.tensor([token]), self._cache)

    def _read(self, tokens: list[int]) -> Tensor:
        """Prefill with the tokens and return the logits of the next one."""
        for _chunk in self.prefill(tokens):
            pass
        return self.reader.read(torch.tensor(tokens[_whole(tokens) :]), self._cache)

    @torch.inference_mode()
    def prefill(self, tokens: list[int]) -> Iterator[None]:
        """Read the whole chunks before the last token into the cache, one a step."""
        # the prefix that the cache has in common with the tokens, in whole chunks
        common = 0
        for cached_token, token in zip(self._cache_tokens, tokens[:-1], strict=False):
            if cached_token != token:
                break
            common += 1
        start = common - common % CHUNK
        if self._cache is None:
            self._cache = self.reader.kv_cache()
        self._cache.truncate(start)
        start = self._cache.length  # a cache may discard more
        self._cache_tokens = tokens[:start]
        for chunk_start in range(start, _whole(tokens), CHUNK):
            self.reader.read(torch.tensor(tokens[chunk_start : chunk_start + CHUNK]), self._cache)
            self._cache_tokens = tokens[: chunk_start + CHUNK]  # the cache stays valid if interrupted here
            yield


def _whole(tokens: Sequence[int]) -> int:
    """Return the number of tokens in the whole chunks before the last token."""
    return (len(tokens) - 1) // CHUNK * CHUNK
