"""Do an arena's intervals keep their promise, and what do they cost in power?

    python benchmarks/arena.py [--arenas 4000]

Votes are drawn as Bradley and Terry's model says, pairs in turn. *Told apart* is how often the
verdict says that the first two models differ: of copies it should in at most 5 % of arenas.
*Covers* is how often the 95 % interval of their difference holds the true one. The percentile
bootstrap of votes, as public arenas use it, stands beside Wald's interval. In the last rows each
question is asked several times and has a taste of its own.
"""

import argparse
from itertools import combinations

import numpy as np
from printing import table

from souron.stats import bradley_terry
from souron.stats.bradley_terry import Ratings

GAP = 0.8  # log odds: the better one wins 69 % of votes
RESAMPLED = 100  # votes drawn anew for the bootstrap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arenas", type=int, default=4000)
    parser.add_argument("--bootstrap", type=int, default=100, help="arenas with the bootstrap, too")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = []
    for models in (2, 3):
        for votes in (30, 60, 150):
            rows.append(row(rng, models, votes, given.arenas, given.bootstrap))
    for questions, taste in ((20, 0.0), (20, 1.0)):
        rows.append(row(rng, 3, 60, given.arenas, 0, questions, taste))
    heads = (
        "models",
        "votes",
        "questions",
        "copies told apart",
        "covers",
        "69 % told apart",
        "covers",
        "bootstrap: copies told apart",
    )
    print(table(heads, rows))


def row(
    rng: np.random.Generator,
    models: int,
    votes: int,
    arenas: int,
    bootstrap: int,
    questions: int = 0,
    taste: float = 0.0,
) -> tuple[str, ...]:
    told = {gap: [one(rng, models, votes, gap, questions, taste) for _ in range(arenas)] for gap in (0.0, GAP)}
    shares = [f"{100 * np.mean([each[i] for each in told[gap]]):.1f} %" for gap in (0.0, GAP) for i in (0, 1)]
    apart = [resampled(rng, models, votes) for _ in range(bootstrap)]
    asked = f"{questions}, taste {taste:g}" if questions else str(votes)
    last = f"{100 * np.mean(apart):.1f} % of {bootstrap}" if apart else "–"
    return str(models), str(votes), asked, *shares, last


def drawn(
    rng: np.random.Generator, models: int, votes: int, gap: float, questions: int = 0, taste: float = 0.0
) -> tuple[np.ndarray, ...]:
    every = np.array(list(combinations(range(models), 2)))
    pairs = every[np.arange(votes) % len(every)]
    a, b = pairs.T
    asked = rng.integers(0, questions, votes) if questions else np.arange(votes)
    skill = np.r_[gap, np.zeros(models - 1)] + rng.normal(0, taste, (asked.max() + 1, models))
    better = skill[asked, a] - skill[asked, b]
    return a, b, (rng.random(votes) < 1 / (1 + np.exp(-better))).astype(float), asked


def one(
    rng: np.random.Generator, models: int, votes: int, gap: float, questions: int, taste: float
) -> tuple[bool, bool]:
    a, b, won, asked = drawn(rng, models, votes, gap, questions, taste)
    found = bradley_terry.fit(a, b, won, models, list(asked) if questions else None)
    verdict = bradley_terry.verdicts(found, [str(i) for i in range(models)])[0]
    _value, low, high = found.difference(0, 1)
    return verdict.verdict != "cannot tell", low <= gap <= high


def resampled(rng: np.random.Generator, models: int, votes: int) -> bool:
    """Whether the percentile bootstrap of the votes tells copies apart."""
    a, b, won, _asked = drawn(rng, models, votes, 0.0)
    differences = []
    for _ in range(RESAMPLED):
        rows = rng.integers(0, votes, votes)
        found: Ratings = bradley_terry.fit(a[rows], b[rows], won[rows], models)
        differences.append(found.log_odds[0] - found.log_odds[1])
    low, high = np.quantile(differences, (0.025, 0.975))
    return bool(low > 0 or high < 0)


if __name__ == "__main__":
    main()
