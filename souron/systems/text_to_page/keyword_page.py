"""A word that nearly always goes with a part gives that part, and takes what is nearest.

Weizenbaum: ELIZA - A Computer Program for the Study of Natural Language Communication between Man
and Machine (1966). https://doi.org/10.1145/365153.365168

    w is a keyword of c   where   P(page has c | request has w) >= certain
    c is a part, a colour or a number
    page = the parts whose keywords occur in the request, by their first position

Colours, numbers and quoted texts are assigned to the nearest keyword of a part that takes them. No
sentence is understood: this is the baseline for systems that read one.

Differs from the paper: keywords are counted in training pairs in place of being written by hand;
keywords are not ranked.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from souron.blocks.portable import NO_NETWORK
from souron.tasks.text_to_page import PageSystem, Part, Spec, Written, grammar, pages, requests_of, tallies
from souron.training.loop import Progress, Run

SHARES = (1 / 16, 1 / 4, 1.0)  # of the training pairs, in successive steps
TRIED = 64  # training requests on which the loss is measured
CLASSES = (*pages.KINDS, *pages.COLOURS, *map(str, range(1, pages.MOST + 1)))
QUOTED = re.compile(r"「([^」]+)」|『([^』]+)』|“([^”]+)”|\"([^\"]+)\"|(?<!\w)'([^']+)'")
MANY = ("menu", "list", "table", "form", "cards")


@dataclass(frozen=True)
class Config:
    certain: float = 0.95  # minimum precision of a keyword
    fewest: int = 5  # minimum number of requests with a keyword


class KeywordPage(PageSystem):
    blocked = NO_NETWORK
    year = 1966
    ja = "部品をほぼ必ず伴う語を手掛かりに部品を並べる。ページ作りのものさし"
    full_batch = True
    SIZES = {"tiny": Config(), "small": Config()}

    together: Tensor  # (words, classes): requests with the word whose page has the class
    met: Tensor  # (words,): requests with the word

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.most_steps = len(SHARES)
        words = max(1, len(spec.vocabulary.split()))
        self.register_buffer("together", torch.zeros(words, len(CLASSES)))
        self.register_buffer("met", torch.zeros(words))

    @cached_property
    def number(self) -> dict[str, int]:
        return {word: k for k, word in enumerate(self.spec.vocabulary.split())}

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""

    def fit(self, data: Any, run: Run) -> Iterator[Progress]:
        """Count on 1/16, 1/4 and all of the pairs; the loss is the share of parts not found."""
        requests, targets = requests_of(data.cases), list(data.cases.target)
        for step, share in enumerate(SHARES):
            count = max(1, round(share * len(requests)))
            self.count(requests[:count], targets[:count])
            tally = torch.tensor(list(tallies(self, requests[-TRIED:], targets[-TRIED:]))).sum(0)
            if step >= run.start:
                yield Progress(step, {"parts not found": 1 - tally[1] / tally[3]})

    def count(self, requests: Sequence[str], targets: Sequence[Sequence[Part]]) -> None:
        """Count the words of requests by the classes of their pages."""
        self.together.zero_()
        self.met.zero_()
        for request, parts in zip(requests, targets, strict=True):
            names = {name for part in parts for name in _told(part)}
            has = torch.tensor([name in names for name in CLASSES], dtype=torch.float32)
            rows = {self.number.get(piece.text, -1) for piece in grammar.pieces(request)} - {-1}
            classes = torch.tensor(sorted(rows), dtype=torch.long)
            self.together[classes] += has.to(self.together.device)
            self.met[classes] += 1
        self.__dict__.pop("keywords", None)

    def load_state_dict(self, *args: Any, **how: Any) -> Any:
        self.__dict__.pop("keywords", None)
        return super().load_state_dict(*args, **how)

    @cached_property
    def keywords(self) -> dict[str, str]:
        """Return word -> its class; the one with the highest precision."""
        share = self.together / self.met.clamp(min=1)[:, None]
        best, which = share.max(1)
        sure = (best >= self.config.certain) & (self.met >= self.config.fewest)
        words = self.spec.vocabulary.split()
        return {words[k]: CLASSES[which[k]] for k in sure.nonzero().flatten().tolist()}

    def write(self, requests: Sequence[str]) -> list[Written]:
        return [self.page(request) for request in requests]

    def page(self, request: str) -> Written:
        pieces = grammar.pieces(request)
        labels = [
            (quote.start(), quote.end(), next(filter(None, quote.groups()))) for quote in QUOTED.finditer(request)
        ]
        literal = [any(a <= p.start and p.end <= b for a, b, _text in labels) for p in pieces]
        places: dict[str, int] = {}
        others: list[tuple[int, str]] = []
        for piece, used in zip(pieces, literal, strict=True):
            name = "" if used else self.keywords.get(piece.text, "")
            if name in pages.KINDS:
                places.setdefault(name, piece.start)
            elif name:
                others.append((piece.start, name))
        properties: dict[str, dict[str, list[str]]] = {kind: {} for kind in places}
        for position, name in others:
            what = grammar.COLOUR if name in pages.COLOURS else grammar.NUMBER
            self.give(properties, places, position, what, name)
        for start, _end, text in labels:
            self.give(properties, places, start, grammar.WORD, text)
        order = sorted(places, key=places.__getitem__)
        return Written(tuple(_part(kind, properties[kind]) for kind in order), literal)

    def give(
        self, properties: dict[str, dict[str, list[str]]], places: dict[str, int], position: int, what: str, name: str
    ) -> None:
        """Assign a class to the nearest part that can take it."""
        takers = [kind for kind in places if what in dict(grammar.SLOTS[kind])]
        if takers:
            nearest = min(takers, key=lambda kind: abs(places[kind] - position))
            properties[nearest].setdefault(what, []).append(name)


def _told(part: Part) -> Iterator[str]:
    """Yield the classes of a part."""
    yield part.kind
    yield part.colour
    yield str(len(part.words) or part.many)
    yield str(part.many)
    yield str(part.across)


def _part(kind: str, properties: dict[str, list[str]]) -> Part:
    colour = (*properties.get(grammar.COLOUR, ()), "")[0]
    numbers = [int(name) for name in properties.get(grammar.NUMBER, ())]
    words = tuple(text[: pages.LONGEST] for text in properties.get(grammar.WORD, ()))
    words = words[: pages.MOST if kind in MANY else 1]
    count = numbers[0] if numbers else 1
    across = (len(words) or (numbers[1] if len(numbers) > 1 else 1)) if kind == "table" else 0
    if words and kind != "table":
        count = len(words)
    return Part(kind, colour, count, across, words)
