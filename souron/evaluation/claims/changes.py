"""Change true sentences into wrong or equivalent ones, to train the judge of claims.

Kryscinski, McCann, Xiong, Socher: Evaluating the Factual Consistency of Abstractive Text
Summarization (2020). https://arxiv.org/abs/1910.12840

A sentence of a text is true of that text. Changing a number, a unit, a side, a negation or a name
makes it wrong; a paraphrase stays true. So training examples are free.

Differs from the paper: units, dates, sides and other opposites are changed as well; paraphrases
follow rules (synonyms, order of clauses, style of Japanese verbs, notation of units) in place of
back-translation.
"""

import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from souron.evaluation.claims import quantities, words

LISTS: dict[str, list[tuple[str, str]]] = {
    name: [(word, other) for word, other in pairs]
    for name, pairs in json.loads(Path(__file__).with_suffix(".json").read_text("utf-8")).items()
}
OTHER = {word: opposite for pair in LISTS["opposed"] for word, opposite in (pair, pair[::-1])}
UNITS = {unit: other for pair in LISTS["units"] for unit, other in (pair, pair[::-1])}
SYNONYMS = dict(LISTS["same"])
PLAIN = LISTS["plain"]  # polite, plain
POLITE = [pair for pair in PLAIN if pair[1] not in ("ない", "た")]  # unambiguous ones
AFFIRMED = LISTS["affirmed"]
AUXILIARY = re.compile(
    r"\b(is|are|was|were|can|could|will|would|should|may|must|might|has been|have been|do|does|did)"
    r"\b(?! not)"
)
VERB_S = re.compile(
    r"(?<=[a-z] )(allows|provides|contains|uses|makes|needs|shows|includes|returns|"
    r"creates|requires|causes|opens|sets|gives|takes|supports)\b"
)
DENIALS = (
    (r"\bcannot\b", "can"),
    (r"\b(is|are|was|were|can|could|will|should|may|must|do|does|did) not\b", r"\1"),
    (r"\b(is|are|was|were|do|does|did|would|should|could)n't\b", r"\1"),
    (r"\bwithout\b", "with"),
    (r"\bno (?=[a-z])", ""),
    (r"\bnever\b", "always"),
)
WORDS_OF = {value: word for word, value in quantities.ENGLISH.items() if 2 <= value <= 12}
WORDS_OF |= {2: "two", 3: "three"}
KANJI_OF = dict(enumerate("〇一二三四五六七八九"))
Change = Callable[[str, random.Random, Sequence[str]], str]


def wrong(text: str, rng: random.Random, others: Sequence[str]) -> list[tuple[str, str]]:
    """Return (kind, sentence with that error) for every applicable kind.

    ``others`` are sentences of the same text whose names may be substituted.
    """
    results = [(kind, change(text, rng, others)) for kind, change in WRONG.items()]
    return [(kind, result) for kind, result in results if result and result != text]


def harmless(text: str, rng: random.Random) -> list[str]:
    """Return all applicable paraphrases of the sentence."""
    results = [change(text, rng, ()) for change in HARMLESS]
    both = _synonym(results[0] or text, rng, ())
    return [result for result in dict.fromkeys([*results, both]) if result and result != text]


def _number(text: str, rng: random.Random, others: Sequence[str]) -> str:
    there = list(re.finditer(r"(?<![\w.])\d+(?:\.\d+)?(?![.\d])", text))
    there += re.finditer(r"(?<=[\u3040-\u9fff])\d+(?:\.\d+)?(?![.\d])", text)
    if not there:
        return ""
    at = rng.choice(there)
    value = float(at.group())
    other = rng.choice(
        [value * 2, value * 10, value + 1, value + 10, value / 2, max(1, value - 1), rng.randrange(2, 99)]
    )
    figure = f"{other:g}" if other != value else f"{value + 3:g}"
    return text[: at.start()] + figure + text[at.end() :]


def _unit(text: str, rng: random.Random, others: Sequence[str]) -> str:
    there = [(m, UNITS[name]) for name in UNITS for m in re.finditer(rf"(?<=\d)\s?({name})(?![A-Za-z])", text)]
    if not there:
        return ""
    at, other = rng.choice(there)
    return text[: at.start(1)] + other + text[at.end(1) :]


def _date(text: str, rng: random.Random, others: Sequence[str]) -> str:
    normal = quantities.normal(text)
    days = [day for day in quantities.dates(normal.text) if day.year]
    if not days:
        return ""
    year = str(rng.choice(days).year)
    other = str(int(year) + rng.choice([-10, -2, -1, 1, 2, 5]))
    return text.replace(year, other, 1)


def _opposite(text: str, rng: random.Random, others: Sequence[str]) -> str:
    there = []
    for word in OTHER:
        pattern = rf"\b{word}\b" if word.isascii() else word
        there += [(m, OTHER[word]) for m in re.finditer(pattern, text)]
    poles = {(pole.start, pole.end) for pole in words.poles(text)}
    there = [(m, other) for m, other in there if any(s <= m.start() < e for s, e in poles)]
    if not there:
        return ""
    at, other = rng.choice(there)
    return text[: at.start()] + other + text[at.end() :]


def _negate(text: str, rng: random.Random, others: Sequence[str]) -> str:
    if words.japanese(text):
        tail = len(text) - 30
        if re.search(r"(いけ|なり|なら|かまい|かもしれ)(ません|ない).{0,4}$", text):
            return ""
        for old, new in (*AFFIRMED, *((b, a) for a, b in AFFIRMED)):
            start = text.rfind(old)
            if start >= tail and start >= 0 and new not in text[start - 2 :]:
                return text[:start] + new + text[start + len(old) :]
        return ""
    for pattern, replacement in DENIALS:
        if re.search(pattern, text):
            return re.sub(pattern, replacement, text, count=1)
    verb = VERB_S.search(text)
    if verb and rng.random() < 0.5:
        base = verb[1].removesuffix("s")
        return f"{text[: verb.start()]}does not {base}{text[verb.end() :]}"
    there = list(AUXILIARY.finditer(text))
    if not there:
        return ""
    at = rng.choice(there)
    new = at[1].replace("been", "not been") if "been" in at[1] else f"{at[1]} not"
    return text[: at.start()] + new + text[at.end() :]


def _name(text: str, rng: random.Random, others: Sequence[str]) -> str:
    own = words.names(text)
    if not own:
        return ""
    at = rng.choice(own)
    there = [
        name.text
        for other in others
        for name in words.names(other)
        if name.sort == at.sort and name.text.lower() not in text.lower() and at.text.lower() not in name.text.lower()
    ]
    return text[: at.start] + rng.choice(there) + text[at.end :] if there else ""


def _swap(text: str, rng: random.Random, others: Sequence[str]) -> str:
    there = list(re.finditer(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*\d)", text))
    pairs = [
        (first, second)
        for first in there
        for second in there
        if first.end() < second.start() and first.group() != second.group()
    ]
    if not pairs:
        return ""
    first, second = rng.choice(pairs)
    return (
        text[: first.start()]
        + second.group()
        + text[first.end() : second.start()]
        + first.group()
        + text[second.end() :]
    )


def _word(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Replace a word by another of the text."""
    own = [w for w in words.words(text) if len(w.stem) > 1]
    if len(own) < 4 or not others:
        return ""
    at = rng.choice(own)
    there = [
        other[w.start : w.end]
        for other in rng.sample(others, min(8, len(others)))
        for w in words.words(other)
        if abs(len(w.stem) - len(at.stem)) <= 2
        and w.stem not in text.lower()
        and w.stem[0].isascii() == at.stem[0].isascii()
    ]
    return text[: at.start] + rng.choice(there) + text[at.end :] if there else ""


def _style(text: str, rng: random.Random, others: Sequence[str]) -> str:
    for old, other in (*PLAIN, *((plain, polite) for polite, plain in POLITE)):
        start = text.rfind(old)
        if start >= 0 and start >= len(text) - len(old) - 2:
            return text[:start] + other + text[start + len(old) :]
    return ""


def _synonym(text: str, rng: random.Random, others: Sequence[str]) -> str:
    there = [word for word in SYNONYMS if re.search(rf"\b{word}\b" if word.isascii() else word, text)]
    for word in rng.sample(there, min(2, len(there))):
        pattern = rf"\b{word}\b" if word.isascii() else word
        text = re.sub(pattern, SYNONYMS[word], text, count=1)
    return text if there else ""


def _clauses(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Reorder clauses: ``If A, B.`` -> ``B if A.``."""
    match = re.match(r"(If|When|After|Before|In|For|To|On|With|By) ([^,]{4,80}), (.{8,})([.!])$", text)
    if match:
        first, body, rest, end = match.groups()
        return f"{rest[0].upper()}{rest[1:]} {first.lower()} {body}{end}"
    return ""


def _part(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Drop text in brackets, or an introductory adverb."""
    shorter = re.sub(r"\s?[(（][^()（）]{2,60}[)）]", "", text)
    if shorter == text:
        shorter = re.sub(
            r"^(However|Therefore|Also|Then|Thus|In addition|しかし|また|"
            r"そのため|なお|さらに|ただし)[,、]?\s*",
            "",
            text,
        )
    return shorter if len(shorter) > 12 else ""


def _half(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Keep one of two clauses, which is true as well unless it depends on the other."""
    if re.search(r"\b(if|unless|when|not|no|only|or|without)\b|ない|ません|場合|なら|とき|または|れば", text.lower()):
        return ""
    halves = re.split(r", (?:and|but|which) |; |が、|し、|て、|り、", text)
    clauses = [half for half in halves if len(words.words(half)) >= 4]
    return clauses[0] if len(halves) > 1 and clauses else ""


def _digits(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Write a number or its unit differently."""
    ways = [_wide, _spelled, _percent, _scaled]
    rng.shuffle(ways)
    return next((result for result in (way(text) for way in ways) if result and result != text), "")


def _wide(text: str) -> str:
    table = {ord("0") + k: ord("０") + k for k in range(10)}
    return text.translate(table) if words.japanese(text) else ""


def _spelled(text: str) -> str:
    if words.japanese(text):
        return re.sub(
            r"(?<![\d.])([2-9])(?=つ|日|回|本|個|人|週間|か月|年)", lambda m: KANJI_OF[int(m[1])], text, count=1
        )
    return re.sub(r"(?<![\w.,:/-])([2-9]|1[0-2])(?= [a-z]{3,})", lambda m: WORDS_OF[int(m[1])], text, count=1)


def _percent(text: str) -> str:
    return re.sub(r"(?<=\d) ?%", "パーセント" if words.japanese(text) else " percent", text, count=1)


def _scaled(text: str) -> str:
    """Convert units: ``500 mg`` to ``0.5 g``, ``2 hours`` to ``120 minutes``."""
    rules = (
        ("mg", "g", 1e-3),
        ("g", "mg", 1e3),
        ("cm", "mm", 10),
        ("mm", "cm", 0.1),
        ("hours", "minutes", 60),
        ("weeks", "days", 7),
        ("時間", "分", 60),
        ("週間", "日間", 7),
        ("years", "months", 12),
        ("年間", "か月", 12),
        ("minutes", "seconds", 60),
    )
    for name, other, times in rules:
        match = re.search(rf"(?<![\d.,])(\d+(?:\.\d+)?)(\s?){name}(?![A-Za-z間])", text)
        if match:
            value = f"{float(match[1]) * times:.6g}"
            return f"{text[: match.start()]}{value}{match[2]}{other}{text[match.end() :]}"
    return ""


def _short_not(text: str, rng: random.Random, others: Sequence[str]) -> str:
    result = re.sub(r"\b(is|are|was|were|do|does|did|could|should|would) not\b", r"\1n't", text)
    return result if result != text else re.sub(r"\bcannot\b", "can not", text)


WRONG: dict[str, Change] = {
    "number": _number,
    "unit": _unit,
    "date": _date,
    "side": _opposite,
    "negation": _negate,
    "name": _name,
    "swap": _swap,
    "word": _word,
}
HARMLESS: Sequence[Change] = (_style, _synonym, _clauses, _part, _half, _digits, _short_not)
