"""Web pages as sequences of tokens, with a grammar of the tokens that may follow.

    page   = part* end                  part = kind, then the entries of ``SLOTS``, in this order
    label  = position position          of its first and its last piece in the request

A token below ``TOKENS`` is a word of the grammar; ``TOKENS + i`` is a pointer to piece ``i`` of the
request. Labels are copied from the request piece by piece, so that no word is out of vocabulary.

Yin, Neubig: A Syntactic Neural Model for General-Purpose Code Generation (2017),
https://arxiv.org/abs/1704.01696.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from souron.data.language.web_pages import COLOURS, KINDS, LONGEST, MOST, MOST_PARTS, Part

WORD, COLOUR, NUMBER, MARK, PRESS = "label", "colour", "number", "numbered", "submit"
SLOTS: dict[str, tuple[tuple[str, int], ...]] = {  # a part's entries and their maximum counts
    "heading": ((COLOUR, 1), (WORD, 1)),
    "text": ((NUMBER, 1), (WORD, 1)),
    "menu": ((COLOUR, 1), (NUMBER, 1), (WORD, MOST)),
    "list": ((MARK, 1), (NUMBER, 1), (WORD, MOST)),
    "table": ((NUMBER, 2), (WORD, MOST)),  # rows, columns or their labels
    "form": ((NUMBER, 1), (WORD, MOST), (PRESS, 1), (COLOUR, 1), (WORD, 1)),
    "button": ((COLOUR, 1), (WORD, 1)),
    "picture": ((WORD, 1),),
    "cards": ((COLOUR, 1), (NUMBER, 1), (WORD, MOST)),
    "quote": ((WORD, 1),),
    "search": (),
    "footer": ((COLOUR, 1), (WORD, 1)),
}
END = "end"
NAMES = (END, *KINDS, MARK, PRESS, *COLOURS, *map(str, range(1, MOST + 1)))
TOKENS = len(NAMES)
NUMBER_OF = {name: number for number, name in enumerate(NAMES)}
OF = {
    COLOUR: [NUMBER_OF[name] for name in COLOURS],
    NUMBER: [NUMBER_OF[str(n)] for n in range(1, MOST + 1)],
    MARK: [NUMBER_OF[MARK]],
    PRESS: [NUMBER_OF[PRESS]],
    "kind": [NUMBER_OF[name] for name in KINDS],
    END: [NUMBER_OF[END]],
}
PIECE = re.compile(r"[A-Za-zÀ-ɏ]+|[0-9]|[ァ-ヴー]+|\S")
MOST_PIECES = 400  # of a request
MOST_COPIED = 24  # pieces of a label


class Piece(NamedTuple):
    """A word in a language with spaces, a run of katakana, a digit, or another single character."""

    text: str  # in lower case
    start: int
    end: int


def pieces(request: str) -> list[Piece]:
    """Split the request into pieces that are looked up and copied."""
    return [Piece(found.group().lower(), found.start(), found.end()) for found in PIECE.finditer(request)]


class State:
    """The state of the grammar while a page is generated, which determines the tokens that may
    follow."""

    def __init__(self, length: int) -> None:
        self.length = length  # pieces of the request
        self.parts = 0
        self.slots: tuple[tuple[str, int], ...] = ()  # of the current part
        self.slot = self.count = 0  # the slot filled last, and how often
        self.first: int | None = None  # of a label whose last piece is still missing
        self.ended = False

    def allowed(self) -> list[int]:
        """Return all tokens that may follow; at least one until the page has ended."""
        if self.ended:
            return []
        if self.first is not None:
            last = min(self.first + MOST_COPIED, self.length)
            return list(range(TOKENS + self.first, TOKENS + last))
        found: list[int] = []
        for place in range(self.slot, len(self.slots)):
            what, most = self.slots[place]
            if place > self.slot or self.count < most:
                places = range(TOKENS, TOKENS + self.length) if what == WORD else OF[what]
                found += places
        if self.parts < MOST_PARTS:
            found += OF["kind"]
        return found + OF[END] if self.parts else found

    def follow(self, token: int) -> bool:
        """Advance by a token; return False, without a change, if the grammar does not allow it."""
        if token not in self.allowed():
            return False
        if self.first is not None:
            self.first = None
        elif token == NUMBER_OF[END]:
            self.ended = True
        elif token in OF["kind"]:
            self.parts += 1
            self.slots, self.slot, self.count = SLOTS[NAMES[token]], 0, 0
        else:
            self._fill(token)
        return True

    def _fill(self, token: int) -> None:
        for place in range(self.slot, len(self.slots)):
            what, most = self.slots[place]
            filled = self.count if place == self.slot else 0
            fits = token >= TOKENS if what == WORD else token in OF[what]
            if fits and filled < most:
                self.slot, self.count = place, filled + 1
                break
        if token >= TOKENS:
            self.first = token - TOKENS


def is_valid(tokens: Sequence[int], length: int) -> bool:
    """Return whether the tokens are a complete page for a request of ``length`` pieces."""
    state = State(length)
    return all(state.follow(token) for token in tokens) and state.ended


def written(parts: Sequence[Part], request: str) -> list[int] | None:
    """Return the tokens of parts; None if a label does not occur in the request."""
    found = pieces(request)
    tokens: list[int] = []
    free = [True] * len(found)
    for part in parts:
        tokens.append(NUMBER_OF[part.kind])
        for name in _told(part):
            if isinstance(name, int):
                tokens.append(name)
                continue
            span = _span(name[0], request, found, free)
            if span is None:
                return None
            free[span[0] : span[1] + 1] = [False] * (span[1] + 1 - span[0])
            tokens += [TOKENS + span[0], TOKENS + span[1]]
    return [*tokens, NUMBER_OF[END]]


def _told(part: Part) -> list[int | tuple[str]]:
    """Return the tokens of a part, with each label as a tuple of one."""
    colour: list[int | tuple[str]] = [NUMBER_OF[part.colour]] if part.colour in COLOURS else []
    counted = part.kind in ("menu", "list", "form", "cards") or (part.kind == "text" and part.many > 1)
    number = [NUMBER_OF[str(min(max(1, part.many), MOST))]] if counted and not part.words else []
    if part.kind == "table":
        number = [NUMBER_OF[str(min(max(1, part.many), MOST))]]
        number += [] if part.words else [NUMBER_OF[str(min(max(1, part.across), MOST))]]
    labels: list[int | tuple[str]] = [(word,) for word in part.words]
    mark = [NUMBER_OF[MARK]] if part.numbered else []
    if part.kind == "form":
        button = bool(colour or part.press)
        pressed: list[int | tuple[str]] = [NUMBER_OF[PRESS]] if button else []
        return [*number, *labels, *pressed, *colour, *([(part.press,)] if part.press else [])]
    if part.kind in ("text", "picture", "quote", "search", "list", "table"):
        colour = []
    return [*mark, *colour, *number, *labels]


def _span(label: str, request: str, found: Sequence[Piece], free: Sequence[bool]) -> tuple[int, int] | None:
    """Return the first and last piece of the first occurrence of a label that no other
    label uses."""
    starts = {piece.start: number for number, piece in enumerate(found)}
    ends = {piece.end: number for number, piece in enumerate(found)}
    place = request.find(label)
    while label and place >= 0:
        first, last = starts.get(place), ends.get(place + len(label))
        if first is not None and last is not None and all(free[first : last + 1]):
            return first, last
        place = request.find(label, place + 1)
    return None


def read(tokens: Sequence[int], request: str) -> tuple[tuple[Part, ...], list[bool]]:
    """Return the parts that the tokens represent, and a flag for each piece of the request that was
    copied."""
    found = pieces(request)
    copied = [False] * len(found)
    parts: list[Part] = []
    said: list[int] = []
    for token in [*tokens, NUMBER_OF[END]]:
        if token in OF["kind"] or token == NUMBER_OF[END]:
            if said:
                parts.append(_part(said, request, found, copied))
            said = [token]
            if token == NUMBER_OF[END]:
                break
        else:
            said.append(token)
    return tuple(parts), copied


def _part(said: Sequence[int], request: str, found: Sequence[Piece], copied: list[bool]) -> Part:
    kind = NAMES[said[0]]
    colour, press = "", ""
    numbers: list[int] = []
    words: list[str] = []
    numbered = pressed = False
    rest = iter(said[1:])
    for token in rest:
        if token >= TOKENS:
            first, last = token - TOKENS, next(rest, token) - TOKENS
            label = request[found[first].start : found[last].end][:LONGEST]
            copied[first : last + 1] = [True] * (last + 1 - first)
            if pressed:
                press = label
            else:
                words.append(label)
        elif token in OF[COLOUR]:
            colour = NAMES[token]
        elif token in OF[NUMBER]:
            numbers.append(int(NAMES[token]))
        numbered |= token == NUMBER_OF[MARK]
        pressed |= token == NUMBER_OF[PRESS]
    count = numbers[0] if numbers else 1
    across = 0
    if kind == "table":
        across = len(words) or (numbers[1] if len(numbers) > 1 else 1)
    elif words:
        count = len(words)
    return Part(kind, colour, count, across, tuple(words), numbered, press)
