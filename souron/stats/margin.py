"""Superiority, non-inferiority and equivalence: a difference against a margin that was fixed beforehand.

Piaggio, Elbourne, Pocock, Evans, Altman: Reporting of Noninferiority and Equivalence Randomized
Trials (2012). https://doi.org/10.1001/jama.2012.87802

With the interval (low, high) of a difference, > 0 favouring ``a``, and a margin m:

    superior        low > 0
    inferior        high < 0
    equivalent      -m < low and high < m
    not inferior    -m < low
    cannot tell     otherwise

A superior or inferior one may be ``within`` the margin as well: significant, and yet too small to matter.

The interval is the one of ``verdict.corrected``, two-sided with Holm's level, so that these words and
the verdict never contradict each other. For pairs without a significant difference these intervals hold
together with the stated level (Strassburger and Bretz, "Compatible simultaneous lower confidence
bounds for the Holm procedure and other Bonferroni-based closed tests", 2008,
https://doi.org/10.1002/sim.3338).
"""

import math
from dataclasses import replace

from souron.stats.records import Margin, Word
from souron.stats.verdict import POWER, Difference, cases_needed


def word(low: float, high: float, margin: float) -> Word:
    """Return the word for an interval of a difference against a margin > 0.

    >>> word(-0.01, 0.03, 0.02), word(-0.01, 0.01, 0.02), word(-0.03, 0.03, 0.02)
    ('not inferior', 'equivalent', 'cannot tell')
    """
    if low > 0:
        return "superior"
    if high < 0:
        return "inferior"
    if -margin < low:
        return "equivalent" if high < margin else "not inferior"
    return "cannot tell"


def against(contrast: Difference, margin: float, cases_per_unit: float = 1.0, power: float = POWER) -> Margin:
    """Judge a difference against a margin > 0, in the unit of the difference.

    ``cases_per_unit`` are cases per patient. Further cases are those after which a true difference
    as large as this one would be shown to exceed -margin with probability ``power``: a guide, as in
    ``verdict.cases_needed``. Raises ValueError unless the margin is positive.

    >>> from souron.stats.verdict import difference
    >>> found = difference([1, 1, 1, 0, 1, 0] * 20, [1, 1, 0, 1, 1, 0] * 20)
    >>> against(found, 0.2).word, against(found, 0.02).word
    ('equivalent', 'cannot tell')
    """
    if not margin > 0:
        raise ValueError(f"a margin is above 0, not {margin}")
    verdict, within = word(contrast.low, contrast.high, margin), -margin < contrast.low and contrast.high < margin
    if verdict != "cannot tell" or contrast.difference <= -margin:
        return Margin(verdict, None, within)
    units = cases_needed(replace(contrast, difference=contrast.difference + margin), power)
    return Margin(verdict, None if units is None else math.ceil(units * cases_per_unit))
