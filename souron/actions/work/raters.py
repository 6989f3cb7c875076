"""Rate one's own tasks as people rated O*NET's: sentence embeddings and logistic regression.

    p(E0, E1, E2) = softmax(W x + b),    x: the task's sentence vector (512)
    alpha = p1,    beta = p1 + p2 / 2,    zeta = p1 + p2

The expected value is reported, not the most probable label, which is biased on unseen occupations
(``benchmarks/work.py``). The embeddings share one space for sixteen languages, including Japanese;
English labels train all. The weights are trained by ``python benchmarks/work.py weights``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from souron.actions.work import tables
from souron.actions.work.exposure import FIGURES, VALUES, Exposure
from souron.actions.work.tables import LABELS, Table
from souron.blocks.sentences import SentenceEncoder
from souron.stats.records import Measure

PENALTY = 1.0  # C of scikit-learn's logistic regression, its default, not tuned
ITERATIONS = 300
FOLDS = 10
SOME = (1, 2, 4, 8, 16)  # tasks of an occupation, sampled for the spread of their mean
DRAWS = 3
Array = NDArray[np.float64]
SCORES = {name: np.array([VALUES[name][label] for label in LABELS]) for name in FIGURES}


@dataclass(frozen=True)
class Rater:
    """The trained rater; ``spread`` has the error variance of each figure, ``a + b / tasks``."""

    weight: Array  # (512, 3)
    bias: Array  # (3,)
    spread: dict[str, tuple[float, float]]
    about: dict[str, str]

    def probabilities(self, vectors: NDArray[Any]) -> Array:
        """Return probabilities of E0, E1, E2, (N, 3), for sentence vectors (N, 512)."""
        return scipy.special.softmax(vectors @ self.weight + self.bias, axis=1)

    def rate(self, texts: Sequence[str]) -> Array:
        """Return probabilities of E0, E1, E2, (N, 3), for texts."""
        return self.probabilities(_encoder().encode(list(texts)))

    def figures(self, probabilities: Array) -> dict[str, Measure]:
        """Return alpha, beta and zeta of tasks (N, 3), with 95 % intervals.

        The intervals covered the labels of people in 95 % of unseen occupations.
        """
        return {
            name: around(expected, spread_of(self.spread[name], len(probabilities)), len(probabilities))
            for name, expected in zip(FIGURES, expectation(probabilities), strict=True)
        }


def around(value: float, deviation: float, n: int) -> Measure:
    reach = float(scipy.special.ndtri(0.975)) * deviation
    return Measure(value, max(value - reach, 0.0), min(value + reach, 1.0), n)


def expectation(probabilities: Array) -> Exposure:
    """Return the expected figures of tasks (N, 3), equally weighted."""
    return Exposure(*(float((probabilities @ SCORES[name]).mean()) for name in FIGURES))


def spread_of(parts: tuple[float, float], tasks: float) -> float:
    """Return the standard deviation of the error of a mean over ``tasks``."""
    return float(np.sqrt(parts[0] + parts[1] / max(tasks, 1.0)))


@lru_cache(maxsize=1)
def _encoder() -> SentenceEncoder:
    return SentenceEncoder()


def weights_file() -> Path:
    return tables.folder() / "rater.safetensors"


@lru_cache(maxsize=1)
def shipped() -> Rater:
    """Load the rater that comes with souron, trained on the table that does."""
    from safetensors import safe_open

    with safe_open(weights_file(), "numpy") as file:
        spread = file.get_tensor("spread")
        return Rater(
            file.get_tensor("weight").astype(np.float64),
            file.get_tensor("bias").astype(np.float64),
            {name: (float(a), float(b)) for name, (a, b) in zip(FIGURES, spread, strict=True)},
            file.metadata() or {},
        )


def save(rater: Rater, path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(
        {
            "weight": rater.weight.astype(np.float32),
            "bias": rater.bias.astype(np.float32),
            "spread": np.array([rater.spread[name] for name in FIGURES], np.float32),
        },
        path,
        rater.about,
    )


def learn(table: Table, vectors: NDArray[Any], about: dict[str, str]) -> tuple[Rater, Array]:
    """Train a rater on the labels of people; returns it and its out-of-fold probabilities (N, 3).

    ``vectors`` is (N, 512). The folds keep each occupation on one side.
    """
    unseen = predictions(table, vectors)
    model = new_model().fit(vectors, _labels(table))
    assert list(model.classes_) == [0, 1, 2], "every label is there"
    return Rater(model.coef_.T, model.intercept_, spread(table, unseen), about), unseen


def predictions(table: Table, vectors: NDArray[Any], folds: int = FOLDS) -> Array:
    """Return out-of-fold probabilities (N, 3), with folds grouped by the six digits."""
    from sklearn.model_selection import GroupKFold

    labels, found = _labels(table), np.zeros((len(table.tasks), len(LABELS)))
    groups = [one.soc for one in table.occupations for _task in one.tasks]
    for known, new in GroupKFold(folds).split(vectors, labels, groups):
        found[new] = new_model().fit(vectors[known], labels[known]).predict_proba(vectors[new])
    return found


def spread(table: Table, probabilities: Array, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Fit the error variance ``a + b / tasks`` of a mean over tasks of one unseen occupation.

    It is a non-negative least-squares fit to the squared errors of all tasks of an occupation, and
    of samples. The variance includes the bias.
    """
    from scipy.optimize import nnls

    found = {}
    for name in FIGURES:
        tasks, errors = drawn_errors(table, probabilities, name, seed)
        parts, _rest = nnls(np.stack([np.ones(len(tasks)), 1 / tasks], 1), errors**2)
        found[name] = float(parts[0]), float(parts[1])
    return found


def drawn_errors(table: Table, probabilities: Array, name: str, seed: int = 0) -> tuple[Array, Array]:
    """Return the number of tasks, (M,), and the error of their mean, (M,).

    For all tasks of each occupation, and for samples.
    """
    random = np.random.default_rng(seed)
    errors = probabilities @ SCORES[name] - SCORES[name][_labels(table)]
    counts, found, start = [], [], 0
    for one in table.occupations:
        own = errors[start : start + len(one.tasks)]
        start += len(one.tasks)
        counts.append(len(own))
        found.append(own.mean())
        for count in SOME:
            if count < len(own):
                for _draw in range(DRAWS):
                    counts.append(count)
                    found.append(random.choice(own, count, replace=False).mean())
    return np.array(counts, float), np.array(found)


def _labels(table: Table) -> NDArray[np.int64]:
    return np.array([LABELS.index(task.people) for task in table.tasks])


def new_model() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=PENALTY, max_iter=ITERATIONS)
