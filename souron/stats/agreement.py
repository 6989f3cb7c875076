"""Agreement of two raters on the same cases, beyond chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from souron.stats.intervals import proportion_interval
from souron.stats.records import Measure


@dataclass(frozen=True)
class Agreement:
    """Observed agreement and Cohen's kappa of two raters."""

    same: Measure  # share of cases that both decided alike, with Wilson's interval
    kappa: Measure  # 1: perfect; 0: as expected by chance; nan where one of the
    # two decided all cases alike


def agreement(one: Sequence[str], other: Sequence[str], level: float = 0.95) -> Agreement:
    """Compute the agreement of two raters who decide the same cases, with intervals.

    Cohen: A Coefficient of Agreement for Nominal Scales (1960),
    https://doi.org/10.1177/001316446002000104, with the large-sample interval of Fleiss, Cohen and
    Everitt (1969), https://doi.org/10.1037/h0028106.

    >>> found = agreement(["yes", "yes", "no", "no"], ["yes", "no", "no", "no"])
    >>> found.same.value, round(found.kappa.value, 2)
    (0.75, 0.5)
    """
    n = len(one)
    names = sorted({*one, *other})
    table = np.zeros((len(names), len(names)))
    for a, b in zip(one, other, strict=True):
        table[names.index(a), names.index(b)] += 1
    same = proportion_interval(int(table.trace()), n, level)
    if n == 0:
        return Agreement(same, Measure(math.nan, -1.0, 1.0, 0))
    share = table / n
    rows, columns = share.sum(1), share.sum(0)
    alike, chance = float(share.trace()), float(rows @ columns)
    if max(rows.max(), columns.max()) > 1 - 1e-12:
        return Agreement(same, Measure(math.nan, -1.0, 1.0, n))
    kappa = (alike - chance) / (1 - chance)
    both = columns[:, None] + rows  # cell (i, j): columns[i] + rows[j]
    on = (np.diag(share) * (1 - both.diagonal() * (1 - kappa)) ** 2).sum()
    off = (1 - kappa) ** 2 * ((share - np.diag(np.diag(share))) * both**2).sum()
    variance = on + off - (kappa - chance * (1 - kappa)) ** 2
    normal = float(scipy.special.ndtri((1 + level) / 2))
    reach = normal * math.sqrt(max(variance, 0.0) / n) / (1 - chance)
    return Agreement(same, Measure(kappa, max(kappa - reach, -1.0), min(kappa + reach, 1.0), n))
