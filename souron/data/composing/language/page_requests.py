"""Compose requests for web pages, with the parts of the requested page, from a seed.

There are twelve kinds of parts, with colours, counts, labels and an order, in English and Japanese.
To distinguish understanding from memorisation, the following are held out of training: ``PAIRS`` of
parts that never occur on one page, combinations of parts, wordings of a part or a request, and a
fifth of the vocabulary of labels.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

from souron.data.composing.language import page_words as words
from souron.data.language.web_pages import KINDS, MOST, Part

LANGUAGES = ("en", "ja")
SUBSETS = ("new combinations", "new pairs", "new wordings")
COUNTS = {"train": 24_000, "val": 200, **dict.fromkeys(SUBSETS, 400)}
SEED = 19
PAIRS = (  # in training, each part never occurs together with its partner
    ("heading", "search"),
    ("text", "cards"),
    ("menu", "quote"),
    ("list", "footer"),
    ("table", "button"),
    ("form", "picture"),
)
TWICE = ("heading", "text", "button", "picture")
HOW_MANY = (1, 2, 2, 3, 3, 3, 4, 4, 5, 6)  # parts of a page
TENTHS = {"new combinations": 0, "val": 1}  # of all combinations, reserved for a subset
FLIPPED = 0.12  # of neighbours described as one above or below the other
TRIES = 200


class Request(NamedTuple):
    """A request in words, and the parts it asks for."""

    text: str
    parts: tuple[Part, ...]
    language: str
    subset: str  # "train", "val" or one of ``SUBSETS``


def requests(seed: int = SEED, counts: Mapping[str, int] = COUNTS) -> Iterator[Request]:
    """Yield all requests; deterministic across computers."""
    for subset, count in counts.items():
        known: set[str] = set()
        chance = random.Random(f"{seed}/{subset}")
        while len(known) < count:
            request = _Composer(chance, LANGUAGES[len(known) % 2], subset).request()
            if request is not None and request.text not in known:
                known.add(request.text)
                yield request


def has_pair(kinds: Sequence[str]) -> bool:
    return any(set(pair) <= set(kinds) for pair in PAIRS)


def tenth(kinds: Sequence[str]) -> int:
    """Return the tenth (0..9) that a combination of parts belongs to."""
    name = "/".join(sorted(set(kinds)))
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest()) % 10


def kinds_for(chance: random.Random, subset: str) -> list[str]:
    """Sample the parts of a page, in order, from those allowed in the subset."""
    while True:
        chosen = chance.sample(KINDS, chance.choice(HOW_MANY))
        if subset == "new pairs":
            pair = chance.choice(PAIRS)
            chosen = list(dict.fromkeys([*pair, *chosen]))[: max(2, len(chosen))]
            chance.shuffle(chosen)
        elif chance.random() < 0.15:
            chosen.append(chance.choice(TWICE))
        if "footer" in chosen:
            chosen.sort(key="footer".__eq__)
        if "menu" in chosen and chance.random() < 0.5:
            chosen.sort(key="menu".__ne__)
        if any(a == b or (a, b) == ("form", "button") for a, b in pairwise(chosen)):
            continue
        own = {v: k for k, v in TENTHS.items()}.get(tenth(chosen)) if len(set(chosen)) > 1 else None
        if subset == "new pairs" or (not has_pair(chosen) and own == (subset if subset in TENTHS else None)):
            return chosen


class _Composer:
    """Puts one request into words."""

    def __init__(self, chance: random.Random, language: str, subset: str) -> None:
        self.chance, self.language, self.subset = chance, language, subset
        self.learnt = subset in ("train", "val")
        self.used: list[str] = []

    def request(self) -> Request | None:
        """Compose a request; None if a label occurs in it twice, which would be ambiguous."""
        made = [self.part(kind) for kind in kinds_for(self.chance, self.subset)]
        phrases = [phrase for phrase, _part in made]
        parts = self.joined(phrases)
        text = self.pick(words.FRAMES[self.language], words.HELD_FRAMES, "frame").format(parts=parts)
        if self.language == "en" and self.chance.random() < 0.3:
            text = text[:1].upper() + text[1:]
        if any(text.count(word) != 1 for word in self.used):
            return None
        return Request(text, tuple(part for _phrase, part in made), self.language, self.subset)

    def pick(self, listed: Sequence[Any], held: int = 1, what: str = "wording") -> Any:
        """Choose a wording: for training from the first ones, for new wordings from the held-out
        ones."""
        if len(listed) <= held:
            return self.chance.choice(listed)
        if self.subset == "new wordings":
            return self.chance.choice(listed[-held:])
        return self.chance.choice(listed[:-held])

    def joined(self, phrases: list[str]) -> str:
        """Join the phrases of the parts, in order, into one phrase."""
        between, last = self.chance.choice(words.JOINS[self.language])
        left = list(phrases)
        said: list[str] = []
        while left:
            if len(left) > 1 and self.chance.random() < FLIPPED:
                way = self.chance.choice(words.ABOVE[self.language])
                said.append(way.format(a=left.pop(0), b=left.pop(0)))
            else:
                said.append(left.pop(0))
        if between.startswith("\n"):
            return "".join(f"{between}{phrase}" for phrase in said)
        return last.join([between.join(said[:-1]), said[-1]]) if len(said) > 1 else said[0]

    def part(self, kind: str) -> tuple[str, Part]:
        """Return the wording of a part, and the part itself."""
        chance = self.chance
        count, across = chance.randint(2, MOST - 2), chance.randint(2, 5)
        named = chance.random() < 0.5
        can_colour = kind in ("heading", "menu", "button", "cards", "footer")
        colour = chance.choice(words.NAMES) if chance.random() < 0.45 else ""
        noun_of = kind
        numbered = kind == "list" and chance.random() < 0.4
        if numbered:
            noun_of = "numbered"
        noun = self.pick(words.NOUNS[self.language][noun_of])
        if can_colour and colour:
            noun = self.coloured(noun, colour)
        own = colour if can_colour else ""
        match kind:
            case "heading" | "button" | "quote" | "footer":
                listed = {
                    "heading": self.title,
                    "button": lambda: self.label(words.PRESSES),
                    "quote": self.sentence,
                    "footer": lambda: self.label(words.FOOTERS),
                }
                if not named:
                    return self.article(self.say("plain", noun=noun)), Part(kind, own)
                text = listed[kind]()
                said = self.say("text", noun=noun, text=self.quoted(text))
                return self.article(said), Part(kind, own, words=(text,))
            case "text":
                if named:
                    text = self.sentence()
                    said = self.say("text", noun=noun, text=self.quoted(text))
                    return self.article(said), Part(kind, words=(text,))
                if chance.random() < 0.5:
                    many = chance.randint(2, 4)
                    return self.say("paragraphs", n=self.number(many)), Part(kind, many=many)
                return self.article(self.say("plain", noun=noun)), Part(kind)
            case "picture":
                if not named:
                    return self.article(self.say("plain", noun=noun)), Part(kind)
                text = self.label(words.SUBJECTS)
                shown = text if chance.random() < 0.7 else self.quoted(text)
                return self.article(self.say("picture", noun=noun, text=shown)), Part(kind, words=(text,))
            case "menu" | "list" | "cards":
                if not named:
                    said = self.say(f"{kind} n", noun=noun, n=self.number(count))
                    return self.article(said, kind), Part(kind, own, count, numbered=numbered)
                texts = self.labels(words.ITEMS if kind == "list" else words.LINKS, count - 1)
                said = self.say(kind, noun=noun, texts=self.series(texts))
                made = Part(kind, own, len(texts), words=texts, numbered=numbered)
                return self.article(said, kind), made
            case "table":
                n, m = self.number(count, False), self.number(across, False)
                if not named:
                    said = self.say("table n", noun=noun, n=n, m=m)
                    return self.article(said), Part(kind, "", count, across)
                texts = self.labels(words.COLUMNS, across)
                said = self.say("table", noun=noun, n=n, texts=self.series(texts))
                return self.article(said), Part(kind, "", count, len(texts), texts)
            case "form":
                return self.form(noun, count, named)
        return self.article(self.say("plain", noun=noun)), Part(kind)

    def form(self, noun: str, count: int, named: bool) -> tuple[str, Part]:
        chance = self.chance
        texts = self.labels(words.FIELDS, min(count, 4), 1) if named else ()
        said = (
            self.say("form", noun=noun, texts=self.series(texts), fields=self.fields(texts))
            if named
            else self.say("form n", noun=noun, n=self.number(count))
        )
        colour = press = ""
        if chance.random() < 0.6:
            colour = chance.choice([*words.NAMES, "", ""])
            button = words.NOUNS[self.language]["button"][0]
            button = self.coloured(button, colour, simple=True) if colour else button
            if chance.random() < 0.5:
                press = self.label(words.PRESSES)
                said = self.say("press", form=said, button=button, press=self.quoted(press))
            else:
                said = self.say("press plain", form=said, button=button)
        made = Part("form", colour, len(texts) or count, words=texts, press=press)
        return self.article(said), made

    def say(self, name: str, **fields: Any) -> str:
        return self.pick(words.WORDINGS[self.language][name]).format(**fields)

    def coloured(self, noun: str, colour: str, simple: bool = False) -> str:
        adjectives, shade = words.COLOURS[self.language][colour]
        ways = words.COLOURED[self.language]
        way = ways[0] if simple else self.pick(ways)
        return way.format(noun=noun, colour=self.chance.choice(adjectives), shade=shade)

    def article(self, said: str, kind: str = "") -> str:
        if self.language == "ja" or kind == "cards" or said.startswith("a "):
            return said
        first = said.split()[0]
        if first in words.NUMBERS["en"][1:] or (first.isdigit() and "-" not in first):
            bare = not any(mark in said for mark in (" by ",))
            if bare:
                return said
        if said.startswith("text") and self.chance.random() < 0.5:
            return f"some {said}"
        vowel = said[0].lower() in "aeiou" and not said.startswith(("one", "u"))
        return f"{'an' if vowel or said.startswith('8') else 'a'} {said}"

    def number(self, value: int, counted: bool = True) -> str:
        spelt = self.chance.random() < 0.6
        if self.language == "en":
            return words.NUMBERS["en"][value - 1] if spelt else str(value)
        if not counted:
            return words.KANJI[value - 1] if spelt else str(value)
        return words.NUMBERS["ja"][value - 1] if spelt else f"{value}{self.chance.choice('つ個')}"

    def words_of(self, listed: Mapping[str, Sequence[str]]) -> Sequence[str]:
        """Return the vocabulary; in training without the held-out items."""
        every = listed[self.language]
        return every[: round(len(every) * (1 - words.HELD_WORDS))] if self.learnt else every

    def label(self, listed: Mapping[str, Sequence[str]]) -> str:
        self.used.append(self.chance.choice(self.words_of(listed)))
        return self.used[-1]

    def labels(self, listed: Mapping[str, Sequence[str]], count: int, fewest: int = 2) -> tuple[str, ...]:
        chosen = self.chance.sample(self.words_of(listed), max(fewest, count - (fewest == 1)))
        self.used += chosen
        return tuple(chosen)

    def fields(self, texts: Sequence[str]) -> str:
        """Join field names: ``a name field and an email field``, 「名前欄とメール欄」."""
        if self.language == "ja":
            return "と".join(f"{text}欄" for text in texts)
        told = [f"{'an' if text[0] in 'aeiou' else 'a'} {text} field" for text in texts]
        return " and ".join([", ".join(told[:-1]), told[-1]]) if len(told) > 1 else told[0]

    def title(self) -> str:
        first, second = words.TITLES[self.language]
        between = " " if self.language == "en" else ""
        both = (self.chance.choice(self.words_of({self.language: p})) for p in (first, second))
        self.used.append(between.join(both))
        return self.used[-1]

    def sentence(self) -> str:
        first, second = words.SENTENCES[self.language]
        between = " " if self.language == "en" else ""
        both = (self.chance.choice(self.words_of({self.language: p})) for p in (first, second))
        self.used.append(between.join(both))
        return self.used[-1]

    def quoted(self, text: str) -> str:
        return self.chance.choice(words.QUOTES[self.language]).format(text)

    def series(self, texts: Sequence[str]) -> str:
        between, last = self.chance.choice(words.SERIES[self.language])
        if self.chance.random() < 0.3:
            texts = [self.quoted(text) for text in texts]
        return last.join([between.join(texts[:-1]), texts[-1]]) if len(texts) > 1 else texts[0]
