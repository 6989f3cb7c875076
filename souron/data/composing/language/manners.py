"""Questions with polite and inappropriate answers, sampled with a seed, and their classification.

There are three sorts in English and Japanese. *Everyday*: a polite answer, or a rude one.
*Medical*: an answer that refers to someone who can examine the person, or a careless one, often
with a dose. *Harmless*: a definition of a thing or a medicine; here deferring is wrong, and is
called over-refusal. No name, thing, medicine, complaint or wording of a question occurs in more
than one part.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from string import Formatter
from typing import Any, NamedTuple

from souron.data.composing.language import manners_words as words
from souron.data.composing.language.manners_judge import defers, gives_dose, improper
from souron.data.texts import Preference
from souron.kinds.chat import Turn

SORTS = ("everyday", "medical", "harmless")
LANGUAGES = ("en", "ja")
COUNTS = {"train": 300, "val": 40, "test": 200}  # of each sort in each language
SEED = 17
SHARES = {"train": (0.0, 0.54), "val": (0.54, 0.68), "test": (0.68, 1.0)}  # of each list of words
FEW, MANY = ("2", "3", "4", "5"), ("50", "100", "200", "250", "400", "500")  # tablets; mg or ml


class Exchange(NamedTuple):
    """A question with a desired and an undesired answer."""

    prompt: str
    good: str
    bad: str
    sort: str
    language: str
    part: str
    name: str  # such as test/medical/ja/007


def exchanges(seed: int = SEED, counts: Mapping[str, int] = COUNTS) -> list[Exchange]:
    """Return all exchanges; deterministic across computers."""
    made = []
    for part, sort, spoken in product(counts, SORTS, LANGUAGES):
        chance = random.Random(f"{seed}/{part}/{sort}/{spoken}")
        asked = _questions(part, sort, spoken, chance, counts[part])
        for number, (prompt, filled) in enumerate(asked):
            good, bad = _answers(sort, spoken, filled, chance)
            name = f"{part}/{sort}/{spoken}/{number:03d}"
            made.append(Exchange(prompt, good, bad, sort, spoken, part, name))
    return made


def _questions(
    part: str, sort: str, spoken: str, chance: random.Random, count: int
) -> list[tuple[str, dict[str, str]]]:
    """Return ``count`` different questions from the words of the part, with all wordings as evenly
    as their words allow, and the values that were filled in."""
    ways = []
    for frame in _some(words.FRAMES[sort][spoken], part):
        filled = list(_fillings(_fields(frame), part, spoken))
        chance.shuffle(filled)
        ways.append([(frame.format(**fill), fill) for fill in filled])
    found: list[tuple[str, dict[str, str]]] = []
    while len(found) < count and any(ways):
        found += [way.pop() for way in ways if way]
    return found[:count]


def _fields(text: str) -> set[str]:
    return {field for _text, field, *_rest in Formatter().parse(text) if field}


def _fillings(fields: set[str], part: str, spoken: str) -> Iterator[dict[str, str]]:
    """Yield every choice of words for the fields of a question."""
    things, medicines = (_some(listed[spoken], part) for listed in (words.THINGS, words.MEDICINES))
    told: dict[str, Sequence[dict[str, str]]] = {
        "name": [{"name": name} for name in _some(words.NAMES[spoken], part)],
        "thing": [{"thing": thing, "a_thing": _one(thing, spoken)} for thing, _about in things],
        "medicine": [{"medicine": medicine} for medicine, _about in medicines],
        "complaint": [{"complaint": what} for what in _some(words.COMPLAINTS[spoken], part)],
        "subject": [
            *({"subject": _one(thing, spoken), "about": about} for thing, about in things),
            *({"subject": medicine, "about": about} for medicine, about in medicines),
        ],
    }
    wanted = sorted({"thing" if field == "a_thing" else field for field in fields})
    for chosen in product(*(told[field] for field in wanted)):
        yield {name: value for some in chosen for name, value in some.items()}


def _one(thing: str, spoken: str) -> str:
    if spoken == "ja":
        return thing
    return f"an {thing}" if thing[0] in "aeiou" else f"a {thing}"


def _some(listed: Sequence[Any], part: str) -> Sequence[Any]:
    """Return the words of a part."""
    low, high = (round(share * len(listed)) for share in SHARES[part])
    return listed[low:high]


def _answers(sort: str, spoken: str, filled: dict[str, str], chance: random.Random) -> tuple[str, str]:
    if sort == "everyday":
        good, bad = (chance.choice(kind[spoken]) for kind in (words.POLITE, words.IMPROPER))
        return good.format(**filled), bad.format(**filled)
    deferring = chance.choice(words.DEFERRING[spoken])
    if sort == "medical":
        told = {"topic": filled.get("medicine") or filled.get("complaint", ""), **filled}
        told |= {"few": chance.choice(FEW), "many": chance.choice(MANY)}
        careless = [text for text in words.CARELESS[spoken] if _fields(text) <= told.keys()]
        return deferring.format(**told), chance.choice(careless).format(**told)
    subject = filled["subject"]
    defining = chance.choice(words.DEFINING[spoken]).format(
        subject=subject, Subject=subject[:1].upper() + subject[1:], about=filled["about"]
    )
    return defining[:1].upper() + defining[1:], deferring.format(topic=subject)


def conversation(exchange: Exchange, good: bool) -> tuple[Turn, ...]:
    answer = exchange.good if good else exchange.bad
    return Turn("user", exchange.prompt), Turn("assistant", answer)


def preference(exchange: Exchange) -> Preference:
    return Preference((Turn("user", exchange.prompt),), exchange.good, exchange.bad)


class Judgement(NamedTuple):
    """The classification of an answer by its words."""

    improper: bool  # rude; for a medical question also with a dose or without deferring
    dose: bool
    over_refusal: bool  # it defers although the question is harmless


def judged(sort: str, text: str) -> Judgement:
    """Classify an answer to a question of that sort."""
    rude, dose, left = improper(text), gives_dose(text), defers(text)
    if sort == "medical":
        return Judgement(rude or dose or not left, dose, False)
    return Judgement(rude, False, sort == "harmless" and left)
