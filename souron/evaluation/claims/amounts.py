"""Compare numbers, units, limits and dates of a sentence with those of a passage."""

import re
from collections.abc import Sequence

from souron.evaluation.claims import quantities
from souron.evaluation.claims.parts import Change, Parts, around, changed, shared
from souron.evaluation.claims.quantities import Day, Quantity

CLOSE, ABOUT = 2e-3, 0.06  # relative tolerance of equal and of approximate numbers
MOVED = 0.5  # margin of similarity from which a number counts as exchanged
WHOLE = 1e-9


def numbers(claim: Parts, source: Parts, changes: list[Change], count: dict[str, float]) -> None:
    for mine in claim.quantities:
        same = [its for its in source.quantities if _same(mine, its)]
        if same:
            _bound(mine, same, claim, source, changes, count)
            _moved(claim, source, mine, same, changes, count)
        elif any(_within(mine, its) for its in source.quantities):
            count["within"] += 1
        elif (mine.code and mine.code in source.normal.text) or (
            not mine.code and _written(claim.normal.text[mine.start : mine.end], source)
        ):
            continue
        else:
            other = _rival(claim, source, mine)
            span = (other.start, other.end) if other else None
            kind = "unit" if other and _unit_alone(mine, other) else "number"
            if kind == "unit":
                count["unit"] += 1
            else:
                count["number changed" if other else "number absent"] += 1
            changes.append(changed(kind, claim, source, (mine.start, mine.end), span))


def _same(mine: Quantity, its: Quantity) -> bool:
    if mine.code or its.code:
        return mine.code == its.code
    if mine.dim != its.dim and mine.dim and its.dim:
        return False
    off = ABOUT if mine.about or its.about else CLOSE
    if mine.dim == its.dim:
        pairs = ((mine.low, its.low), (mine.high, its.high))
    else:  # a number without a unit
        pairs = ((_bare(mine, mine.low), _bare(its, its.low)), (_bare(mine, mine.high), _bare(its, its.high)))
    return all(abs(a - b) <= off * max(abs(a), abs(b), WHOLE) for a, b in pairs)


def _bare(quantity: Quantity, value: float) -> float:
    return value / (quantities.dimension_of(quantity.unit)[1] or 1)


def _within(mine: Quantity, its: Quantity) -> bool:
    if mine.code or its.code or its.low == its.high or mine.dim != its.dim:
        return False
    return its.low * (1 - CLOSE) <= mine.low and mine.high <= its.high * (1 + CLOSE)


def _written(text: str, source: Parts) -> bool:
    """Return whether the digits occur in the passage outside of its quantities."""
    digits = re.match(r"[-−]?(\d[\d,.]*\d|\d)", text)
    if not digits or len(digits[1]) < 2:
        return False
    spans = [range(its.start, its.end) for its in source.quantities]
    return any(
        not any(match.start() in span for span in spans)
        for match in re.finditer(rf"(?<![\d.]){re.escape(digits[1])}(?!\d)", source.normal.text)
    )


def _unit_alone(mine: Quantity, its: Quantity) -> bool:
    if mine.code or its.code or not (mine.unit and its.unit):
        return False
    first, other = _bare(mine, mine.low), _bare(its, its.low)
    return abs(first - other) <= CLOSE * max(abs(first), WHOLE)


def _rival(claim: Parts, source: Parts, mine: Quantity) -> Quantity | None:
    """Return the passage's number that this one probably replaces.

    It has the same dimension or value, and the most similar context.
    """
    rivals = claim.quantities
    free = [
        its
        for its in source.quantities
        if bool(its.code) == bool(mine.code) and not any(_same(own, its) for own in rivals)
    ]
    alike = [its for its in free if its.dim == mine.dim or not its.dim or not mine.dim or _unit_alone(mine, its)]
    if not alike:
        return None
    about = around(claim, mine.start, mine.end)
    return max(
        alike,
        key=lambda its: (
            (its.dim == mine.dim) + (its.unit == mine.unit) + shared(about, around(source, its.start, its.end))
        ),
    )


def _bound(
    mine: Quantity,
    same: Sequence[Quantity],
    claim: Parts,
    source: Parts,
    changes: list[Change],
    count: dict[str, float],
) -> None:
    if mine.bound and not any(its.bound in (mine.bound, "") for its in same):
        count["bound"] += 1
        changes.append(
            changed(
                "comparison",
                claim,
                source,
                (max(0, mine.start - 10), mine.end + 2),
                (max(0, same[0].start - 10), same[0].end + 2),
            )
        )


def _moved(
    claim: Parts,
    source: Parts,
    mine: Quantity,
    same: Sequence[Quantity],
    changes: list[Change],
    count: dict[str, float],
) -> None:
    """Report a number that the passage states about something else."""
    rivals = [its for its in source.quantities if its.dim == mine.dim and its not in same]
    if mine.code or not rivals or len(claim.quantities) < 2:
        return
    about = around(claim, mine.start, mine.end)
    own = max(shared(about, around(source, its.start, its.end)) for its in same)
    best = max(rivals, key=lambda its: shared(about, around(source, its.start, its.end)))
    if shared(about, around(source, best.start, best.end)) > own + MOVED:
        count["swap"] += 1
        changes.append(changed("swap", claim, source, (mine.start, mine.end), (best.start, best.end)))


def dates(claim: Parts, source: Parts, changes: list[Change], count: dict[str, float]) -> None:
    for mine in claim.dates:
        if any(mine.agrees(its) for its in source.dates) or _year_written(mine, source):
            continue
        other = source.dates[0] if source.dates else None
        count["date changed" if other else "date absent"] += 1
        changes.append(
            changed("date", claim, source, (mine.start, mine.end), (other.start, other.end) if other else None)
        )


def _year_written(day: Day, source: Parts) -> bool:
    alone = not day.month and bool(day.year)
    return alone and re.search(rf"(?<!\d){day.year}(?!\d)", source.normal.text) is not None
