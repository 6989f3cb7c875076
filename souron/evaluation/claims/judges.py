"""Classify whether a passage supports a sentence, contradicts it, or is about something else.

Two logistic regressions are applied in turn: from the cosine of the vectors and the share of common
words, whether sentence and passage are about the same; from the features of ``comparison``, whether
they contradict each other. Both are trained on true sentences and changed ones (``changes``, the
recipe of FactCC, https://arxiv.org/abs/1910.12840).

``python benchmarks/checking.py learn`` trains them again and writes ``judges.json``: means,
standard deviations, weights and thresholds, separately for passages in the other language.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from souron.evaluation.claims.comparison import DOUBTFUL, FEATURES, LEXICAL, PLAIN, Comparison

FILE = Path(__file__).with_suffix(".json")
ALIKE = ("cosine", "recall")
RIVAL = 1.0  # logits below the best passage beyond which a passage cannot support
AGAINST = {*PLAIN, *DOUBTFUL, "plain", "doubtful", "findings", "doubtful x alike"}
STRENGTH = 0.3  # C of the regressions
Rows = NDArray[np.float64]


class Verdict(NamedTuple):
    passage: int  # index of the deciding passage
    state: str  # "supported", "contradicted", "not found"
    support: float  # probability that it supports the sentence
    contradiction: float  # given the same topic, 0..1; -1 without a passage


class Judge:
    """The trained judge; ``thresholds`` were chosen on validation texts, per language."""

    def __init__(self, weights: dict[str, Any]) -> None:
        if weights["features"] != list(FEATURES):
            raise ValueError("judges.json was learnt from other features")
        self.parts: dict[str, dict[str, Any]] = weights["models"]
        self.thresholds: dict[str, float] = weights["thresholds"]

    def alike(self, comparisons: Sequence[Comparison]) -> Rows:
        """Return logits (N,) that sentence and passage are about the same."""
        return np.array([self._logit("alike", ALIKE, comparison) for comparison in comparisons])

    def contradicts(self, comparisons: Sequence[Comparison]) -> Rows:
        """Return probabilities (N,) of contradiction, given the same topic."""
        logits = np.array([self._logit("contradicts", FEATURES, comparison) for comparison in comparisons])
        return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))

    def _logit(self, model: str, names: Sequence[str], comparison: Comparison) -> float:
        part = self.parts[f"{model} {'across' if comparison.across else 'within'}"]
        row = np.array([comparison.features[name] for name in names])
        return float((row - part["mean"]) / part["spread"] @ np.array(part["weight"]) + part["bias"])

    def verdict(self, comparisons: Sequence[Comparison], language: str) -> Verdict:
        """Judge a sentence against several passages.

        A supporting passage wins if it is nearly as similar as the best; otherwise the most similar
        one decides.
        """
        alike, against = self.alike(comparisons), self.contradicts(comparisons)
        best = int(np.argmax(alike))
        near = (alike >= max(0.0, alike[best] - RIVAL)).nonzero()[0]
        if alike[best] < 0 or not len(near):
            share = 1 / (1 + np.exp(-alike[best]))
            return Verdict(best, "not found", float(share * (1 - against[best])), -1.0)
        index = int(near[np.argmin(against[near])])
        across = comparisons[index].across
        level = self.thresholds["across" if across else language]
        contradiction = float(against[index])
        if contradiction > level:
            index = best
        state = "contradicted" if contradiction > level else "supported"
        return Verdict(index, state, 1 - float(against[index]), contradiction)


def learn(rows: Rows, wrong: NDArray[np.int64], weights: Rows, blind: bool = False) -> dict:
    """Fit one regression and return its mean, spread, weight and bias as lists.

    ``rows`` is (N, features), ``wrong`` (N,) 0 or 1; ``blind`` excludes features that need a common
    language.
    """
    from sklearn.linear_model import LogisticRegression

    mean, spread = rows.mean(0), rows.std(0)
    spread = np.where(spread < 1e-6, 1.0, spread)
    standard = (rows - mean) / spread
    if blind:
        standard[:, [k for k, name in enumerate(FEATURES) if name in LEXICAL[3:-1]]] = 0
    regression = LogisticRegression(C=STRENGTH, max_iter=2_000)
    regression.fit(standard, wrong, sample_weight=weights)
    coefficients = regression.coef_[0]
    if len(coefficients) == len(FEATURES):  # differences never count in favour of a passage
        against = [name in AGAINST for name in FEATURES]
        coefficients = np.where(against, np.maximum(coefficients, 0), coefficients)
    return {
        "mean": np.round(mean, 5).tolist(),
        "spread": np.round(spread, 5).tolist(),
        "weight": np.round(coefficients, 4).tolist(),
        "bias": round(float(regression.intercept_[0]), 4),
    }


@lru_cache
def shipped() -> Judge:
    return Judge(json.loads(FILE.read_text("utf-8")))
