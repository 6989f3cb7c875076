"""A small classifier of improper sentences, learnt from the sentences of ``corpus``.

Logistic regression with a class for each kind and one for what is proper, on three sorts of
features: how often each run of one to four letters occurs, hashed (Weinberger and others: Feature
Hashing for Large Scale Multitask Learning (2009), https://arxiv.org/abs/0902.2206), the sentence's
vector (``blocks.sentences``), in which English and Japanese lie together, and some signs: rude
words, who is spoken to, long numbers, addresses of mail. A sentence counts as improper
where the chance that it is not proper exceeds the threshold.

How good it is, is measured by cross-validation: five times it learns from four fifths of the groups
(``corpus``) and judges the last, with a threshold that the others chose. It learns within
seconds, once a computer; what it learnt lies in the cache.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from souron.blocks.sentences import DIMS, SentenceEncoder
from souron.data.composing import manners_judge
from souron.society.improper import corpus
from souron.society.improper.corpus import CLINICAL, FOLDS, IMPROPER, KINDS, LANGUAGES, Sentence
from souron.utils import files
from souron.utils.messages import UserError

Floats = NDArray[np.float64]

VERSION = 1  # of what is computed below
CLASSES = ("", *KINDS)  # "" is proper
HASHED = 2**15
LETTERS = (1, 4)  # in a row
SIGNS = (  # beside the rude words of manners_judge
    re.compile(r"\b(?:you|your|yourself)\b|お前|おまえ|あなた|君[のはがを]", re.IGNORECASE),
    re.compile(r"\b(?:i|my|me)\b|私|俺", re.IGNORECASE),
    re.compile(r"(?:\d[ -]?){7,}"),
    re.compile(r"[\w.]+@\w+\."),
    re.compile(r"\b(?:mr|mrs|ms) [A-Z]|さん[のはがを]|氏[のはがを]", re.IGNORECASE),
)
WEIGHT_OF_LETTERS, WEIGHT_OF_VECTOR, WEIGHT_OF_SIGN = 3.0, 2.0, 0.7
INVERSE_PENALTY = 3.0
ALARMS = {
    CLINICAL: 0.01,
    corpus.PROPER: 0.04,
}  # share of the proper sentences that may lie above the threshold
LONGEST = 600  # characters of a sentence that are read


@dataclass(frozen=True)
class Told:
    """What it says of a sentence."""

    chance: float  # that it is improper
    kind: str  # the likeliest of KINDS


@dataclass(frozen=True)
class Classifier:
    """``weight`` (classes, features), ``bias`` (classes,); ``thresholds`` by language; of each
    sentence it learnt from, ``held_out`` the chance it gave before it had, and ``flagged`` whether
    that was above the threshold which the other sentences chose."""

    weight: Floats
    bias: Floats
    thresholds: dict[str, float]
    held_out: Floats
    flagged: NDArray[np.bool_]

    def judge(self, texts: Sequence[str]) -> list[Told]:
        if not texts:
            return []
        return [
            Told(float(1 - row[0]), CLASSES[1 + int(row[1:].argmax())])
            for row in _softmax(_features(texts) @ self.weight.T + self.bias)
        ]

    def threshold(self, language: str) -> float:
        """Above it a sentence of that language counts as improper; of another, the higher one."""
        return self.thresholds.get(language, max(self.thresholds.values()))


@lru_cache
def classifier() -> Classifier:
    """The one of this computer: out of the cache, or learnt now."""
    place = files.cache_folder() / "improper" / f"{_digest()}.safetensors"
    try:
        return _read(place)
    except UserError:  # not yet there, or damaged
        learnt = learn(corpus.sentences())
        _write(place, learnt)
        return learnt


def learn(known: Sequence[Sentence]) -> Classifier:
    """Learn from these sentences, and judge each by what learnt without its fold."""
    features = _features([each.text for each in known])
    target = np.array([each.topic if each.sort == IMPROPER else "" for each in known])
    fold = np.array([each.fold for each in known])
    held_out = np.zeros(len(known))
    for left in sorted(set(fold.tolist())):
        here = fold == left
        weight, bias = _fitted(features[~here], target[~here])
        held_out[here] = 1 - _softmax(features[here] @ weight.T + bias)[:, 0]
    flagged = held_out > chosen_by_others(known, held_out)
    weight, bias = _fitted(features, target)
    thresholds = _thresholds(known, held_out, np.ones(len(known), bool))
    return Classifier(weight, bias, thresholds, held_out, flagged)


def _fitted(features: Any, target: NDArray[Any]) -> tuple[Floats, Floats]:
    from sklearn.linear_model import LogisticRegression

    made = LogisticRegression(C=INVERSE_PENALTY, max_iter=200).fit(features, target)
    order = [list(made.classes_).index(name) for name in CLASSES]
    return made.coef_[order], made.intercept_[order]


def chosen_by_others(known: Sequence[Sentence], chance: Floats) -> Floats:
    """(N,) of each sentence the threshold of its language that the other folds choose."""
    fold = np.array([each.fold for each in known])
    found = np.zeros(len(known))
    for left in range(FOLDS):
        thresholds = _thresholds(known, chance, fold != left)
        for i in np.flatnonzero(fold == left):
            found[i] = thresholds[known[int(i)].language]
    return found


def _thresholds(
    known: Sequence[Sentence], chance: Floats, among: NDArray[np.bool_]
) -> dict[str, float]:
    """For each language the lowest threshold, 0.5 at least, above which no more than ``ALARMS`` of
    the proper sentences lie."""
    found = {}
    for language in LANGUAGES:
        highest = 0.5
        for sort, alarms in ALARMS.items():
            of = np.array([each.sort == sort and each.language == language for each in known])
            if (of & among).any():
                highest = max(highest, float(np.quantile(chance[of & among], 1 - alarms)))
        found[language] = highest
    return found


def _features(texts: Sequence[str]) -> Any:
    """(N, HASHED + 512 + signs), a sparse matrix."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import HashingVectorizer

    short = [text[:LONGEST] for text in texts]
    hashed = HashingVectorizer(
        analyzer="char", ngram_range=LETTERS, n_features=HASHED, alternate_sign=False
    ).transform(short)
    vectors = encoder().encode(short).astype(np.float64)
    dense = np.hstack([vectors * WEIGHT_OF_VECTOR, _signs(short) * WEIGHT_OF_SIGN])
    return hstack([hashed * WEIGHT_OF_LETTERS, csr_matrix(dense)]).tocsr()


def _signs(texts: Sequence[str]) -> Floats:
    """(N, 1 + SIGNS), 0 or 1."""
    return np.array([
        [float(manners_judge.improper(text)), *(float(bool(s.search(text))) for s in SIGNS)]
        for text in texts
    ])  # fmt: skip


@lru_cache
def encoder() -> SentenceEncoder:
    return SentenceEncoder()


def _softmax(logits: Any) -> Floats:
    values = np.asarray(logits, np.float64)
    raised = np.exp(values - values.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def _digest() -> str:
    """Of all that it learns from, and how."""
    how = (VERSION, CLASSES, HASHED, LETTERS, WEIGHT_OF_LETTERS, WEIGHT_OF_VECTOR, WEIGHT_OF_SIGN,
           INVERSE_PENALTY, ALARMS, [sign.pattern for sign in SIGNS])  # fmt: skip
    text = repr((how, corpus.sentences()))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _write(place: Path, made: Classifier) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        "weight": torch.tensor(made.weight, dtype=torch.float32),
        "bias": torch.tensor(made.bias, dtype=torch.float32),
        "held_out": torch.tensor(made.held_out),
        "flagged": torch.tensor(made.flagged),
    }
    files.write_tensors(place, tensors, {"thresholds": made.thresholds})


def _read(place: Path) -> Classifier:
    """Raises UserError where it is not there, or not what ``_write`` wrote."""
    tensors, about = files.read_tensors(place)
    thresholds = about.get("thresholds")
    known = len(corpus.sentences())
    shapes = {name: tuple(each.shape) for name, each in tensors.items()}
    expected = {
        "weight": (len(CLASSES), HASHED + DIMS + 1 + len(SIGNS)),
        "bias": (len(CLASSES),),
        "held_out": (known,),
        "flagged": (known,),
    }
    if shapes != expected or not isinstance(thresholds, dict) or set(thresholds) != set(LANGUAGES):
        raise UserError("weights file", str(place))
    return Classifier(
        tensors["weight"].double().numpy(),
        tensors["bias"].double().numpy(),
        {name: float(value) for name, value in thresholds.items()},
        tensors["held_out"].double().numpy(),
        tensors["flagged"].bool().numpy(),
    )
