"""Compare a sentence with a passage: differences for the reader, and features for the judge.

Rules find differing numbers, units, dates, sides and other opposites, negation and names; the
features count these findings and measure the overlap of words. The verdict is learned
(``judges``). The kinds of error are those of Kryscinski and others (2020),
https://arxiv.org/abs/1910.12840, with units, dates, sides and comparisons added.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

from souron.evaluation.claims import amounts
from souron.evaluation.claims.amounts import MOVED
from souron.evaluation.claims.parts import Change, Parts, around, changed, parts, shared
from souron.evaluation.claims.words import BINDING, Pole

KINDS = ("number", "unit", "date", "side", "order", "amount", "polarity", "negation", "name", "swap", "comparison")
ALIKE = 0.7  # share of common words from which a negation is the only difference
OUTLINE = 0.9  # similarity from which the order of names is the only difference
TURNS = frozenset(re.findall(r"\w+", "by was were is are been being from to than of"))
CALENDAR = frozenset(
    re.findall(
        r"\w+",
        "january february march april may june july august september october november december monday "
        "tuesday wednesday thursday friday saturday sunday",
    )
)
MOST_PIECES = 160  # pieces of a sentence whose order is compared


@dataclass(frozen=True)
class Comparison:
    changes: Sequence[Change]  # most obvious first
    features: dict[str, float]
    across: bool  # whether the passage is in another language
    unchecked: Sequence[str] = ()  # kinds that could not be checked


def compare(
    sentence: str, passage: str, cosine: float, occurs: Callable[[str], bool] = lambda _name: False
) -> Comparison:
    """Compare a sentence with a passage.

    ``cosine`` is that of their vectors; ``occurs`` returns whether a name occurs elsewhere in the
    sources.
    """
    claim, source = parts(sentence), parts(passage)
    across = claim.japanese != source.japanese
    changes: list[Change] = []
    count = dict.fromkeys(FEATURES, 0.0)
    amounts.numbers(claim, source, changes, count)
    amounts.dates(claim, source, changes, count)
    _poles(claim, source, changes, count)
    gaps = _names(claim, source, changes, count, across, occurs)
    if not across:
        _exchanged(claim, source, changes, count)
        _negation(claim, source, changes, count)
        if not count["negation added"] and not count["negation lost"]:
            _odd_one(claim, source, changes, count)
    elif claim.negatives or source.negatives:  # 13 % of correct translations differ in negation
        gaps.append("negation")
    _overlap(claim, source, count, across)
    count["cosine"] = cosine
    count["findings"] = float(bool(changes))
    count["plain"] = float(any(count[name] for name in PLAIN))
    count["doubtful"] = float(any(count[name] for name in DOUBTFUL))
    for name in CROSSED:
        count[f"{name} x alike"] = count[name] * (cosine if across else count["recall"])
    return Comparison(_sorted(changes), count, across, gaps)


COUNTED = (
    "number changed",
    "number absent",
    "unit",
    "date changed",
    "date absent",
    "within",
    "bound",
    "side",
    "opposite",
    "opposite absent",
    "negation added",
    "negation lost",
    "parity",
    "name changed",
    "name unknown",
    "name elsewhere",
    "swap",
)
PLAIN = (
    "number changed",
    "unit",
    "date changed",
    "side",
    "opposite",
    "negation added",
    "negation lost",
    "bound",
    "swap",
    "name changed",
)
DOUBTFUL = ("number absent", "date absent", "name unknown", "name elsewhere", "opposite absent")
LEXICAL = (
    "plain",
    "doubtful",
    "cosine",
    "recall",
    "precision",
    "order",
    "contained",
    "substituted",
    "inserted",
    "unmatched",
    "short",
    "findings",
)
CROSSED = ("plain", "doubtful", "substituted")
FEATURES = (*COUNTED, *LEXICAL, *(f"{name} x alike" for name in CROSSED))


def _sorted(changes: list[Change]) -> list[Change]:
    """Sort contradictions before statements missing from the passage."""
    return sorted(
        changes, key=lambda change: (not change.source and change.kind != "negation", KINDS.index(change.kind))
    )


def _poles(claim: Parts, source: Parts, changes: list[Change], count: dict[str, float]) -> None:
    there = {(its.pair, its.pole) for its in source.poles}
    mine_there = {(its.pair, its.pole) for its in claim.poles}
    by_word: dict[tuple[int, int], list[Pole]] = {}
    for mine in claim.poles:
        by_word.setdefault((mine.start, mine.end), []).append(mine)
    for span, entries in by_word.items():
        if any((pole.pair, pole.pole) in there for pole in entries):
            _turned(claim, source, entries, changes, count)
            continue
        facing = [
            (pole, its) for pole in entries for its in source.poles if its.pair == pole.pair and its.pole != pole.pole
        ]
        if not facing:
            count["opposite absent"] += entries[0].sort in ("side", "amount")
            continue
        pole, its = min(facing, key=lambda pair: (pair[1].pair, pair[1].pole) in mine_there)
        count["side" if pole.sort == "side" else "opposite"] += 1
        changes.append(changed(pole.sort, claim, source, span, (its.start, its.end)))


def _turned(
    claim: Parts, source: Parts, entries: Sequence[Pole], changes: list[Change], count: dict[str, float]
) -> None:
    """Report a side that the passage states about something else."""
    mine = entries[0]
    same = [its for its in source.poles if (its.pair, its.pole) == (mine.pair, mine.pole)]
    other = [its for its in source.poles if its.pair == mine.pair and its.pole != mine.pole]
    if not same or not other:
        return
    about = around(claim, mine.start, mine.end)
    own = max(shared(about, around(source, its.start, its.end)) for its in same)
    best = max(other, key=lambda its: shared(about, around(source, its.start, its.end)))
    if shared(about, around(source, best.start, best.end)) > own + MOVED:
        count["swap"] += 1
        changes.append(changed("swap", claim, source, (mine.start, mine.end), (best.start, best.end)))


def _negation(claim: Parts, source: Parts, changes: list[Change], count: dict[str, float]) -> None:
    count["parity"] = float(len(claim.negatives) % 2 != len(source.negatives) % 2)
    for side, other, addition in ((claim, source, True), (source, claim, False)):
        stems = {word.stem for word in other.words}
        negated_words = frozenset().union(*(negative.about for negative in other.negatives))
        for negative in side.negatives:
            overlap = negative.about & stems
            if overlap and not overlap & negated_words:
                count["negation added" if addition else "negation lost"] += 1
                span = (negative.start, negative.end)
                changes.append(
                    changed("negation", claim, source, span if addition else None, None if addition else span)
                )


def _odd_one(claim: Parts, source: Parts, changes: list[Change], count: dict[str, float]) -> None:
    """Report an additional negation in otherwise similar texts."""
    more = len(claim.negatives) - len(source.negatives)
    mine, its = set(claim.pieces), set(source.pieces)
    overlap = len(mine & its) / max(1, len(mine), len(its))
    if abs(more) != 1 or overlap < ALIKE:
        return
    longer, other = (claim, source) if more > 0 else (source, claim)
    negatives = [negative.text.lower() for negative in other.negatives]
    extra = [negative for negative in longer.negatives if negative.text.lower() not in negatives] or longer.negatives
    span = (extra[0].start, extra[0].end)
    count["negation added" if more > 0 else "negation lost"] += 1
    changes.append(changed("negation", claim, source, span if more > 0 else None, None if more > 0 else span))


def _names(
    claim: Parts,
    source: Parts,
    changes: list[Change],
    count: dict[str, float],
    across: bool,
    occurs: Callable[[str], bool],
) -> list[str]:
    """Compare names; returns the kinds that could not be checked."""
    source_text, has_gap = source.normal.text.lower(), False
    mine_told = claim.normal.text.lower()
    free = [its for its in source.names if its.text.lower() not in mine_told]
    for mine in claim.names:
        name = mine.text.lower()
        if name in source_text or name.rstrip("s") in source_text or name.rstrip("ー") in source_text:
            continue
        if across:
            has_gap = True
            continue
        alike = [its for its in free if its.sort == mine.sort]
        other = next((its for its in alike if _calendar(its.text) == _calendar(name)), None)
        if other:
            count["name changed"] += 1
        count["name elsewhere" if occurs(mine.text) else "name unknown"] += 1
        changes.append(
            changed("name", claim, source, (mine.start, mine.end), (other.start, other.end) if other else None)
        )
    return ["name"] if has_gap else []


def _calendar(name: str) -> bool:
    """Return whether a name is a month or a day of the week."""
    return name.lower() in CALENDAR


def _exchanged(claim: Parts, source: Parts, changes: list[Change], count: dict[str, float]) -> None:
    """Report two names in exchanged positions with similar context."""
    mine, its = _outline(claim), _outline(source)
    if len(mine.names) < 2 or set(mine.names) != set(its.names) or mine.names == its.names:
        return
    if len(set(mine.names)) < len(mine.names) or len(mine.names) != len(its.names):
        return
    turns = [sum(word in TURNS for word in outline.words) for outline in (mine, its)]
    alike = SequenceMatcher(None, mine.words, its.words, autojunk=False).ratio()
    if alike < OUTLINE or turns[0] != turns[1]:
        return
    index = next(i for i, name in enumerate(mine.names) if name != its.names[i])
    count["swap"] += 1
    changes.append(changed("swap", claim, source, mine.spans[index], its.spans[index]))


class _Outline(NamedTuple):
    """A text with its names blanked, and the names in order."""

    words: list[str]
    names: list[str]
    spans: list[tuple[int, int]]


def _outline(text: Parts) -> _Outline:
    """Build an outline; the first word of a sentence may also be a name."""
    plain = text.normal.text
    name_at = {name.start: name for name in text.names}
    first = re.match(r"\W*([A-Z][\w-]+)", plain)
    words, names, spans = [], [], []
    for match in re.finditer(r"[\w-]+", plain):
        opens = first is not None and match.start() == first.start(1)
        if match.start() in name_at or (opens and match[0].lower() not in BINDING):
            words.append("")
            names.append(match[0].lower())
            spans.append(match.span())
        else:
            words.append(match[0].lower())
    return _Outline(words, names, spans)


def _overlap(claim: Parts, source: Parts, count: dict[str, float], across: bool) -> None:
    mine, its = claim.pieces[:MOST_PIECES], source.pieces[:MOST_PIECES]
    count["short"] = 1 / (1 + len(mine))
    if across or not mine or not its:
        return
    count["recall"] = sum(piece in set(its) for piece in mine) / len(mine)
    count["precision"] = sum(piece in set(mine) for piece in its) / len(its)
    count["contained"] = float(_bare_text(claim) in _bare_text(source))
    count["unmatched"] = min(6.0, sum(piece not in set(its) for piece in mine)) / 6
    matcher = SequenceMatcher(None, mine, its, autojunk=False)
    blocks = matcher.get_opcodes()
    count["order"] = sum(b - a for tag, a, b, _c, _d in blocks if tag == "equal") / len(mine)
    count["substituted"] = min(3.0, sum(tag == "replace" and b - a <= 3 and d - c <= 3 for tag, a, b, c, d in blocks))
    count["inserted"] = min(3.0, sum(tag == "delete" for tag, *_place in blocks))


def _bare_text(text: Parts) -> str:
    return re.sub(r"[\W_]+", "", text.normal.text.lower())
