"""A question to a text, as a case: what a system of ``retrieve`` is asked, and what is right."""

from typing import NamedTuple

import torch
from torch import Tensor


class Search(NamedTuple):
    """The input of a case. Its target is (n, 2) int64: the first character of each right passage
    of the document, and the one behind its last; no rows where the answer is not in it."""

    question: str
    document: str


def places(*spans: tuple[int, int]) -> Tensor:
    """(n, 2) int64"""
    return torch.tensor(spans, dtype=torch.int64).reshape(-1, 2)


class Shelf:
    """One text made of many paragraphs, an empty line between two, and where each lies in it."""

    def __init__(self, paragraphs: list[str]) -> None:
        self.text = "\n\n".join(paragraphs)
        self.spans: list[tuple[int, int]] = []
        start = 0
        for paragraph in paragraphs:
            self.spans.append((start, start + len(paragraph)))
            start += len(paragraph) + 2
