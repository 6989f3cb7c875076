"""Bradley-Terry ratings of rivals from votes on pairs, with intervals and verdicts.

    P(a is preferred to b) = 1 / (1 + exp(rating_b - rating_a))

Bradley and Terry: Rank Analysis of Incomplete Block Designs (1952),
https://doi.org/10.2307/2334029. A tie is half a win of each. Each pair begins with ``PRIOR`` wins
of each side, so that a rival who has won every vote has a finite rating.

Intervals are Wald's, from the Fisher information, with Student's t and ``WIDER``: votes are whole
numbers, so that with the normal quantile two copies of one model are called different in 3.3 to 6.0
% of arenas, depending on the number of votes; with these it is at most 4.9 % at any number from 15
to 400 (computed for two models). The information is that of ratings which begin with ``SHRUNK``
wins: at the maximum itself it vanishes where all votes go one way, and twenty wins in a row would
decide nothing.

Votes on one question are not independent: where questions repeat, the variance is also computed
from the sums of each question's votes (Liang and Zeger: Longitudinal data analysis using
generalized linear models, 1986, https://doi.org/10.1093/biomet/73.1.13), with Student's t for as
many questions as there are, and the longer interval counts. The percentile bootstrap, as public
arenas use it, calls copies different more often; ``benchmarks/arena.py`` compares the methods.

Differs from the paper: the prior wins, ties, and intervals.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from souron.stats.records import Verdict

PRIOR = 0.25  # wins that each side of a pair begins with
SHRUNK = 0.5  # such wins for the ratings whose information counts
WIDER = 1.03  # factor on the standard errors
POWER = 0.8  # probability of detecting a difference as large as the one observed
MOST_VOTES = 100  # times the present votes: needing more is no plan
STEPS = 100  # Newton steps, at most
POINTS = 400 / math.log(10)  # Elo points per unit of log odds; 1000 is the mean
MEAN = 1000.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ratings:
    """Ratings of all rivals as log odds with mean 0, and their covariance."""

    log_odds: Floats  # (rivals,)
    fisher: Floats  # (rivals, rivals) covariance as if all votes were independent
    clustered: Floats | None  # covariance clustered by question; None: no question repeats
    questions: int
    votes: int

    def interval(self, contrast: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
        """Return the sum of log odds weighted by ``contrast`` (rivals,), with its interval."""
        weights = np.asarray(contrast, float)
        value = float(weights @ self.log_odds)
        reach = max(error * _quantile(level, freedom) for error, freedom in self._errors(weights))
        return value, value - reach, value + reach

    def difference(self, a: int, b: int, level: float = 0.95) -> tuple[float, float, float]:
        """Return how much better rival ``a`` is than ``b``, in log odds, with its interval."""
        return self.interval(self._contrast(a, b), level)

    def rating(self, rival: int, level: float = 0.95) -> tuple[float, float, float]:
        """Return a rival's log odds against the mean of all, with its interval."""
        weights = -np.ones(len(self.log_odds)) / len(self.log_odds)
        weights[rival] += 1
        return self.interval(weights, level)

    def p(self, a: int, b: int) -> float:
        """Return the two-sided p-value of the difference between two rivals."""
        weights = self._contrast(a, b)
        value = abs(float(weights @ self.log_odds))
        return max(2 * _tail(value / error, free) for error, free in self._errors(weights))

    def votes_needed(self, a: int, b: int, level: float = 0.95, power: float = POWER) -> int | None:
        """Estimate how many further votes, dealt as the present ones, would show this difference.

        None where a hundredfold of them would not be enough. A guide for planning: it takes the
        observed difference as if it were true.
        """
        weights = self._contrast(a, b)
        value = abs(float(weights @ self.log_odds))
        error = max(error for error, _freedom in self._errors(weights))
        if self.votes == 0 or value == 0:
            return None
        reach = float(scipy.special.ndtri((1 + level) / 2)) + float(scipy.special.ndtri(power))
        factor = reach * error / value
        further = math.ceil(self.votes * (factor**2 - 1))
        return max(further, 1) if further <= MOST_VOTES * self.votes else None

    def _contrast(self, a: int, b: int) -> Floats:
        """Return the weights whose sum of log odds is that of ``a`` less that of ``b``."""
        weights = np.zeros(len(self.log_odds))
        weights[a], weights[b] = 1, -1
        return weights

    def _errors(self, weights: Floats) -> list[tuple[float, float]]:
        """Return standard errors, each with its degrees of freedom."""
        error = WIDER * math.sqrt(max(float(weights @ self.fisher @ weights), 0.0))
        errors = [(error, max(self.votes - 1.0, 1.0))]
        if self.clustered is not None:
            variance = max(float(weights @ self.clustered @ weights), 0.0)
            errors.append((WIDER * math.sqrt(variance), self.questions - 1.0))
        return errors


def fit(
    a: ArrayLike,
    b: ArrayLike,
    outcome: ArrayLike,
    rivals: int,
    questions: Sequence[object] | None = None,
    prior: float = PRIOR,
) -> Ratings:
    """Fit the ratings of ``rivals`` rivals, 0, 1, ..., at least two of them.

    ``a`` and ``b`` (votes,) are the rivals of each vote, ``outcome`` (votes,) is 1 where ``a`` was
    preferred, 0 where ``b`` was, 0.5 for a tie; ``questions`` (votes,) name what was asked.

    >>> ratings = fit([0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0], rivals=2)
    >>> value, low, high = ratings.difference(0, 1)
    >>> round(share(value), 2), low < 0 < high  # 3 of 4 votes are too few
    (0.72, True)
    """
    a, b = np.asarray(a, int).reshape(-1), np.asarray(b, int).reshape(-1)
    outcome = np.asarray(outcome, float).reshape(-1)
    wins = np.zeros((rivals, rivals))
    np.add.at(wins, (a, b), outcome)
    np.add.at(wins, (b, a), 1 - outcome)
    apart = 1 - np.eye(rivals)
    rating, shrunk = _likeliest(wins + prior * apart), _likeliest(wins + SHRUNK * apart)
    together = wins + wins.T + 2 * prior * apart
    # inverse Fisher information at ratings that are shrunk a little
    covariance = _inverse(_information(together, scipy.special.expit(shrunk[:, None] - shrunk)))
    names, number = np.unique([str(question) for question in questions or range(len(a))], return_inverse=True)
    cluster_covariance = None
    if 1 < len(names) < len(a):
        # sandwich estimator: the scores of a question are summed, as one cluster
        residual = outcome - scipy.special.expit(rating[a] - rating[b])
        sums = np.zeros((len(names), rivals))
        np.add.at(sums, (number, a), residual)
        np.add.at(sums, (number, b), -residual)
        few = len(names) / (len(names) - 1)
        cluster_covariance = few * covariance @ (sums.T @ sums) @ covariance
    return Ratings(rating, covariance, cluster_covariance, len(names), len(a))


def verdicts(ratings: Ratings, names: Sequence[str], level: float = 0.95) -> list[Verdict]:
    """Judge every pair of rivals once.

    ``difference`` and its interval are in log odds; ``cases_needed`` counts votes. All verdicts
    together err with probability 1 - level at most (Holm: A simple sequentially rejective multiple
    test procedure, 1979, https://www.jstor.org/stable/4615733), as those of ``verdict.corrected`` do.

    >>> ratings = fit([0] * 20, [1] * 20, [1] * 19 + [0], rivals=2)
    >>> [found] = verdicts(ratings, ["a", "b"])
    >>> found.a, found.verdict, found.b
    ('a', 'better', 'b')
    """
    pairs = list(combinations(range(len(names)), 2))
    p = [ratings.p(a, b) for a, b in pairs]
    by_pair: dict[int, Verdict] = {}
    remaining = len(pairs)
    for i in sorted(range(len(pairs)), key=p.__getitem__):
        a, b = pairs[i]
        pair_level = 1 - (1 - level) / remaining
        value, low, high = ratings.difference(a, b, pair_level)
        word = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
        votes = ratings.votes_needed(a, b, pair_level) if word == "cannot tell" else None
        by_pair[i] = Verdict(names[a], names[b], value, low, high, word, votes, None)
        remaining -= word != "cannot tell"
    return [by_pair[i] for i in range(len(pairs))]


def _likeliest(wins: Floats) -> Floats:
    """Return the maximum likelihood ratings of wins (rivals, rivals), by Newton's method."""
    together, rating = wins + wins.T, np.zeros(len(wins))
    for _step in range(STEPS):
        chance = scipy.special.expit(rating[:, None] - rating)
        change = _inverse(_information(together, chance)) @ (wins - together * chance).sum(1)
        rating = rating + change / max(1.0, float(np.abs(change).max()))
        if np.abs(change).max() < 1e-10:
            break
    return rating


def share(log_odds: float) -> float:
    """Convert a difference in log odds to the share of votes that it wins.

    >>> share(0.0), round(share(1.0), 2)
    (0.5, 0.73)
    """
    return float(scipy.special.expit(log_odds))


def _information(together: Floats, chance: Floats) -> Floats:
    """Return the Fisher information of the ratings, (rivals, rivals)."""
    weight = together * chance * (1 - chance)
    return np.diag(weight.sum(1)) - weight


def _inverse(information: Floats) -> Floats:
    """Invert the information on ratings with mean 0; it is singular along a common shift."""
    ones = np.full_like(information, 1 / len(information))
    return np.linalg.inv(information + ones) - ones


def _quantile(level: float, freedom: float) -> float:
    """Return the two-sided quantile of Student's t."""
    share = (1 + level) / 2
    return float(scipy.special.stdtrit(freedom, share))


def _tail(value: float, freedom: float) -> float:
    """Return the upper tail probability of Student's t."""
    return float(scipy.special.stdtr(freedom, -value))
