"""Marks what was marked before: the longest known span wins. The yardstick for networks.

Tjong Kim Sang, De Meulder: Introduction to the CoNLL-2003 Shared Task (2003), its baseline.
https://aclanthology.org/W03-0419

    a text is known if it is labelled in half of its occurrences, with its most frequent label

Differs from the paper: parts that were marked with several labels keep the usual one, and parts
that stand unmarked more often than marked are left out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from souron.blocks.portable import NO_NETWORK
from souron.tasks.tag import Spec, Tagger, units
from souron.training.loop import Data, Progress, Run

LONGEST = 60  # characters of a stored span


@dataclass(frozen=True)
class Config:
    share: float = 0.5  # minimum share of its occurrences in which a text is labelled


class Lexicon(Tagger):
    blocked = NO_NETWORK
    year = 2003
    ja = "学習データで印のついた語句を覚え、最も長く一致するものに印をつける、比較の基準となる方法"
    full_batch = True
    SIZES = {"tiny": Config(), "small": Config()}
    sized_by_data = ("letters", "lengths", "labels", "shares")

    letters: Tensor  # code points of all known spans, concatenated
    lengths: Tensor  # (spans,) characters of each
    labels: Tensor  # (spans,)
    shares: Tensor  # (spans,) share of its occurrences that are labelled

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        for name in ("letters", "lengths", "labels"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.long))
        self.register_buffer("shares", torch.zeros(0))
        self.known: dict[str, tuple[int, float]] | None = None

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Collect the labelled spans of all training sentences and count their occurrences."""
        sentences = list(data.cases.input)  # type: ignore[attr-defined]
        yield Progress(0, {"model": torch.tensor(1.0)})
        label_counts: dict[str, Counter[int]] = defaultdict(Counter)
        for text, spans in sentences:
            for label, start, end in spans.tolist():
                if end - start <= LONGEST:
                    label_counts[text[start:end]][label] += 1
        every = Counter(
            text[start:end]
            for text, _spans in sentences
            for start, end in candidates(text)
            if text[start:end] in label_counts
        )
        lexicon = {
            part: (labels.most_common(1)[0][0], min(1.0, labels.total() / max(1, every[part])))
            for part, labels in sorted(label_counts.items())
        }
        self.remember({p: entry for p, entry in lexicon.items() if entry[1] >= self.config.share})
        predicted = sum(len(spans) for spans in self.found([text for text, _spans in sentences]))
        true = sum(len(spans) for _text, spans in sentences)
        yield Progress(1, {"model": torch.tensor(abs(true - predicted) / max(1, true + predicted))})

    def remember(self, lexicon: dict[str, tuple[int, float]]) -> None:
        device = self.shares.device
        self.known = lexicon
        codes = [ord(letter) for part in lexicon for letter in part]
        self.letters = torch.tensor(codes, dtype=torch.long, device=device)
        self.lengths = torch.tensor(list(map(len, lexicon)), dtype=torch.long, device=device)
        entries: Sequence[Any] = list(lexicon.values())
        self.labels = torch.tensor([label for label, _share in entries], dtype=torch.long).to(device)
        self.shares = torch.tensor([share for _label, share in entries]).to(device)

    def lookup(self) -> dict[str, tuple[int, float]]:
        """Return span -> label and share, from the buffers."""
        if self.known is None:
            parts = self.letters.split(self.lengths.tolist())
            entries = zip(self.labels.tolist(), self.shares.tolist(), strict=True)
            texts = ("".join(map(chr, part.tolist())) for part in parts)
            self.known = dict(zip(texts, entries, strict=True))
        return self.known

    def found(self, texts: Sequence[str]) -> list[list[list[float]]]:
        lexicon, every = self.lookup(), []
        for text in texts:
            spans: list[list[float]] = []
            end = 0
            for first, last in candidates(text):  # from left to right, the longest first
                entry = lexicon.get(text[first:last]) if first >= end else None
                if entry is not None:
                    spans.append([entry[0], first, last, entry[1]])
                    end = last
            every.append(spans)
        return every


def candidates(text: str) -> Iterator[tuple[int, int]]:
    """Yield the starts and ends of all parts that are whole words or characters."""
    places = units(text)
    for i, (start, _end) in enumerate(places):
        ends = [end for _start, end in places[i : i + LONGEST] if end - start <= LONGEST]
        yield from ((start, end) for end in reversed(ends))
