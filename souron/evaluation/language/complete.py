"""Evaluate language models: bits per byte, a compressor as the baseline, sample continuations."""

import hashlib
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset, digest
from souron.data.language.tokenizer import Tokenizer
from souron.data.texts import Preference
from souron.evaluation.answers import Setup, Sparse, Trainings, stacked
from souron.evaluation.language import manners
from souron.evaluation.language.manners import MannersResult
from souron.evaluation.language.text_generation import Sampling, Writer
from souron.kinds.chat import Turn
from souron.metrics.complete import BITS
from souron.stats.records import Measure
from souron.utils import files

LEARNT_FROM = 6_000_000  # characters of training text for a tokenizer, evenly sampled
SHOWN = 4  # test texts whose continuations are shown
BEGINNING, WRITTEN = 48, 64  # tokens
MARKED = 300  # tokens whose bits are shown
MOST_PACKED = 4_000_000  # bytes


@dataclass(frozen=True)
class CompleteResult:
    """The results of one run for its report."""

    by_language: dict[str, dict[str, Measure]]  # language -> metric -> measure
    packed: dict[str, float]  # language ("" all) -> bits per byte of xz
    samples: list[tuple[int, list[int]]]  # row of a test case, the generated tokens
    marked: tuple[int, list[float]] | None  # row, the bits of its first tokens
    manners: MannersResult | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "by_language": {
                name: {metric: measure.value for metric, measure in measures.items()}
                for name, measures in self.by_language.items()
            },
            "xz": self.packed,
            **({"manners": self.manners.as_json()} if self.manners else {}),
        }


def lesson_of(cases: Dataset) -> str:
    """Return the training stage that cases belong to: "text", "messages" or "preferences"."""
    first = next(iter(cases.input), "")
    if isinstance(first, str):
        return "text"
    return "preferences" if isinstance(first, Preference) else "messages"


def words_of(entry: Any) -> str:
    """Return the whole text of a case."""
    if isinstance(entry, str):
        return entry
    if isinstance(entry, Preference):
        return "\n".join([*(turn.text for turn in entry.prompt), entry.chosen, entry.rejected])
    return "\n".join(turn.text for turn in entry)


def tokenizer_for(train: Dataset) -> Tokenizer:
    """Train a tokenizer on the training cases, or read it from the cache."""
    hasher = hashlib.blake2b(digest_size=16)
    digest(train.input, hasher)
    path = files.cache_folder() / "tokenizers" / f"{hasher.hexdigest()}.txt"
    if path.exists():
        return Tokenizer.unpacked(path.read_text(encoding="ascii"))
    texts = [words_of(entry) for entry in train.input]
    step = max(1, -(-sum(map(len, texts)) // LEARNT_FROM))
    tokenizer = Tokenizer.learn(islice(texts, 0, None, step))
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, tokenizer.packed())
    return tokenizer


def shown_rows(test: Dataset) -> list[int]:
    """Choose test cases to show, evenly over the languages."""
    count = min(SHOWN, len(test))
    language = test.columns.get("language") or [""] * len(test)
    order = sorted(range(len(test)), key=lambda row: language[row])
    return [order[int((k + 0.5) * len(order) / count)] for k in range(count)]


def beginning(tokenizer: Tokenizer, entry: Any) -> list[int]:
    """Return the prompt tokens that a model is given of a case."""
    if isinstance(entry, str):
        return [tokenizer.start, *tokenizer.encode(entry)[:BEGINNING]]
    return tokenizer.conversation(asked_in(entry), answer=True)[0]


def asked_in(entry: Any) -> tuple[Turn, ...]:
    """Return the turns before the assistant's last one."""
    if isinstance(entry, Preference):
        return entry.prompt
    last = max((i for i, turn in enumerate(entry) if turn.role == "assistant"), default=len(entry))
    return tuple(entry[:last])


def sample(system: Any, entry: Any) -> Tensor:
    """Generate tokens (n,) that continue the beginning of a case."""
    tokens = beginning(system.tokenizer, entry)
    stop = not isinstance(entry, str)
    pieces = Writer(system).write(tokens, WRITTEN, Sampling(), stop=stop)
    return torch.tensor([piece.token for piece in pieces], dtype=torch.long)


def in_one(samples: Sequence[Tensor]) -> Tensor:
    """Stack samples into (samples, WRITTEN), padded with -1."""
    table = torch.full((len(samples), WRITTEN), -1)
    for row, tokens in enumerate(samples):
        table[row, : len(tokens)] = tokens
    return table


@torch.inference_mode()
def marked(system: Any, test: Dataset, row: int) -> dict[str, Sparse]:
    """Compute the bits of the first tokens of a test text."""
    tokenizer, entry = system.tokenizer, test.input[row]
    if not isinstance(entry, str):
        return {}
    tokens = torch.tensor([tokenizer.start, *tokenizer.encode(entry)[:MARKED]])
    bits = token_bits(system, tokens)
    return {"bits of tokens": Sparse(torch.tensor([row]), bits[None])}


@torch.inference_mode()
def token_bits(system: Any, tokens: Tensor) -> Tensor:
    """Compute the bits of each token but the first, (n,) -> (n - 1,).

    Each token is predicted from at least half the model's context, where the text has as much
    before it.
    """
    half = max(1, system.context // 2)
    bits: list[Tensor] = []
    for start in range(0, len(tokens) - 1, half):
        begin = max(0, start - half)
        window = tokens[begin : start + half + 1]
        nats = -system.log_likelihoods(window[None].to(system.device))[0]
        bits.append(nats[start - begin :])
    return torch.cat(bits).cpu() / torch.log(torch.tensor(2.0))


def result(trainings: Trainings, setup: Setup) -> CompleteResult:
    answers, test = trainings.answers, setup.test
    names = [name for name in (BITS, "preference accuracy") if name in answers[0]]
    language = test.columns.get("language") or [""] * len(test)
    tables = {name: stacked(answers, name) for name in names}
    groups = {name: [i for i, code in enumerate(language) if code == name] for name in sorted(set(language) - {""})}
    units = test.units
    by_language = {
        name: {
            metric: registry.metric(metric).measure(
                table[:, rows], [units[i] for i in rows] if units else None, trainings.training_of_rows(rows)
            )
            for metric, table in tables.items()
        }
        for name, rows in groups.items()
    }
    samples, bits = answers[0].get("sample"), answers[0].get("bits of tokens")
    continuations = []
    if isinstance(samples, Sparse):
        for row, tokens in zip(samples.rows.tolist(), samples.values.tolist(), strict=True):
            continuations.append((row, [token for token in tokens if token >= 0]))
    first = None
    if isinstance(bits, Sparse):
        first = (int(bits.rows[0]), bits.values[0].tolist())
    result = manners.result(answers[0], test) if manners.may_judge(test) else None
    return CompleteResult(by_language, packed(test, groups), continuations, first, result)


def packed(test: Dataset, groups: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Compute the bits per byte of xz on all test texts of a language together, as a baseline.

    The key is "" where languages are unknown.
    """
    if lesson_of(test) != "text":
        return {}
    bits_of_language = {}
    for name, rows in (groups or {"": range(len(test))}).items():
        text = "\n".join(test.input[row] for row in rows).encode()[:MOST_PACKED]
        if text:
            bits_of_language[name] = 8 * len(lzma.compress(text, preset=6)) / len(text)
    return bits_of_language
