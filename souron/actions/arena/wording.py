"""Descriptions of an arena's result in words."""

import math
from collections.abc import Iterator
from typing import Any

from souron.stats.bradley_terry import MEAN, POINTS, share
from souron.stats.records import Verdict
from souron.utils import units
from souron.utils.messages import _


def headline(result: Any) -> str:
    """Return the number of votes, questions and ties in one sentence."""
    told = _("{votes} votes on {questions} questions, {ties} of them ties").format(
        votes=result.votes, questions=result.questions, ties=result.ties
    )
    if result.shown:
        told += _("; {count} more do not count (names shown, or a second vote)").format(count=result.shown)
    return told


def sentence(verdict: Verdict) -> str:
    """Return which model is better, or how many votes it would take to decide."""
    a, b, value, low, high = (verdict.a, verdict.b, verdict.difference, verdict.low, verdict.high)
    if value < 0:
        a, b, value, low, high = b, a, -value, -high, -low
    fields = {
        "a": a,
        "b": b,
        "share": percent(share(value)),
        "interval": units.interval("share", share(low), share(high)),
        "points": f"{POINTS * value:.0f}",
        "count": verdict.cases_needed,
    }
    if verdict.verdict != "cannot tell":
        return _("{a} is better than {b} by {points} points: it wins {share} of votes ({interval}).").format(**fields)
    if verdict.cases_needed is None:
        return _(
            "{a} or {b}: cannot tell. {a} wins {share} of votes ({interval}); no sensible number of votes would decide."
        ).format(**fields)
    return _(
        "{a} or {b}: cannot tell. {a} wins {share} of votes ({interval}); about {count} more votes would decide."
    ).format(**fields)


def ratings(result: Any) -> list[tuple[str, str, str]]:
    """Return the name, rating and interval of each model, best first."""
    return [
        (
            each.name,
            "–" if each.rating is None else f"{each.rating:.0f}",
            "" if each.rating is None else units.ends(f"{each.low:.0f}", f"{each.high:.0f}"),
        )
        for each in result.models
    ]


def about_ratings() -> str:
    return _("{mean} is the mean; a lead of {points} points wins 10 votes of 11. Intervals: 95 %.").format(
        mean=f"{MEAN:.0f}", points=400
    )


def judged(result: Any) -> Iterator[str]:
    """Yield how far each judge agrees with the person's votes."""
    for judge in result.judges:
        same, kappa, first = judge.agreement.same, judge.agreement.kappa, judge.first
        if same.n:
            yield _(
                "{judge} decides as the votes do on {share} of {count} pairs ({interval}), "
                "ties among them; Cohen's kappa {kappa}."
            ).format(
                judge=judge.name,
                share=percent(same.value),
                count=same.n,
                interval=units.interval("share", same.low, same.high),
                kappa=_kappa(kappa),
            )
        else:
            yield _("{judge}: no pair that was voted on was compared.").format(judge=judge.name)
        if judge.compared:
            yield _(
                "It chose what it read first in {share} of its answers ({interval}; fair: "
                "50 %). On {undecided} of {compared} pairs it changed its mind when the answers "
                "changed places."
            ).format(
                share=percent(first.value),
                interval=units.interval("share", first.low, first.high),
                undecided=judge.undecided,
                compared=judge.compared,
            )


def _kappa(kappa: Any) -> str:
    if math.isnan(kappa.value):
        return _("cannot be computed, as one of the two decided all alike")
    return f"{kappa.value:.2f} ({units.ends(f'{kappa.low:.2f}', f'{kappa.high:.2f}')})"


def percent(value: float) -> str:
    return f"{100 * value:.0f} %"
