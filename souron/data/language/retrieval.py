"""Retrieval cases: a question about a text, and the passages that answer it."""

from typing import NamedTuple

import torch
from torch import Tensor


class Search(NamedTuple):
    """The input of a case. Its target is (n, 2) int64: start and end (exclusive) of each correct
    passage, in characters of the document; no rows if the answer is not in it."""

    question: str
    document: str


def places(*spans: tuple[int, int]) -> Tensor:
    """Return spans as an (n, 2) int64 tensor."""
    return torch.tensor(spans, dtype=torch.int64).reshape(-1, 2)


class Shelf:
    """A text of many paragraphs, separated by empty lines, with the span of each."""

    def __init__(self, paragraphs: list[str]) -> None:
        self.text = "\n\n".join(paragraphs)
        self.spans: list[tuple[int, int]] = []
        start = 0
        for paragraph in paragraphs:
            self.spans.append((start, start + len(paragraph)))
            start += len(paragraph) + 2
