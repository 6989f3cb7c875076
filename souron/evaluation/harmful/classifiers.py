"""A small classifier of harmful sentences, trained on the sentences of ``corpus``.

Multinomial logistic regression with a class for each kind of harm and one for harmless sentences,
on three groups of features: hashed counts of character n-grams, n = 1 to 4 (Weinberger and others:
Feature Hashing for Large Scale Multitask Learning (2009), https://arxiv.org/abs/0902.2206), the
sentence embedding (``blocks.sentences``), shared by English and Japanese, and some indicators: rude
words, who is addressed, long numbers, mail addresses. A sentence counts as harmful if its
probability of harm exceeds the threshold.

Accuracy is measured by five-fold cross-validation over the groups of ``corpus``, with a threshold
chosen on the training folds. Training takes seconds, once per computer; the result is cached.
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
from souron.data.composing.language import manners_judge
from souron.evaluation.harmful import corpus
from souron.evaluation.harmful.corpus import CLINICAL, FOLDS, HARMFUL, KINDS, LANGUAGES, Sentence
from souron.utils import files
from souron.utils.messages import UserError

Floats = NDArray[np.float64]

VERSION = 1  # of the computation below
CLASSES = ("", *KINDS)  # "" is harmless
HASHED = 2**15
LETTERS = (1, 4)  # lengths of the character n-grams
SIGNS = (  # besides the rude words of manners_judge
    re.compile(r"\b(?:you|your|yourself)\b|お前|おまえ|あなた|君[のはがを]", re.IGNORECASE),
    re.compile(r"\b(?:i|my|me)\b|私|俺", re.IGNORECASE),
    re.compile(r"(?:\d[ -]?){7,}"),
    re.compile(r"[\w.]+@\w+\."),
    re.compile(r"\b(?:mr|mrs|ms) [A-Z]|さん[のはがを]|氏[のはがを]", re.IGNORECASE),
)
WEIGHT_OF_LETTERS, WEIGHT_OF_VECTOR, WEIGHT_OF_SIGN = 3.0, 2.0, 0.7
INVERSE_PENALTY = 3.0
ALARMS = {CLINICAL: 0.01, corpus.HARMLESS: 0.04}  # allowed false alarm rates of harmless sentences
LONGEST = 600  # characters of a sentence that are used


@dataclass(frozen=True)
class Told:
    """The classification of a sentence."""

    chance: float  # probability of harm
    kind: str  # the most probable of KINDS


@dataclass(frozen=True)
class Classifier:
    """The trained classifier and its out-of-fold predictions.

    ``weight`` is (classes, features), ``bias`` (classes,); ``thresholds`` by language. ``held_out``
    are the out-of-fold probabilities of the training sentences, ``flagged`` whether they exceed the
    threshold chosen on the other folds.
    """

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
        """Return the threshold of a language; of an unknown one the highest."""
        return self.thresholds.get(language, max(self.thresholds.values()))


@lru_cache
def classifier() -> Classifier:
    """Load the classifier from the cache, or train it."""
    try:
        return _read(_place())
    except UserError:  # missing or damaged
        classifier = learn(corpus.sentences())
        _write(_place(), classifier)
        return classifier


def is_trained() -> bool:
    """Return whether the cache has the classifier, which is otherwise trained when it is first needed."""
    return _place().is_file()


def _place() -> Path:
    return files.cache_folder() / "improper" / f"{_digest()}.safetensors"


def learn(examples: Sequence[Sentence]) -> Classifier:
    """Train on these sentences, with out-of-fold predictions for each."""
    features = _features([sentence.text for sentence in examples])
    target = np.array([sentence.topic if sentence.sort == HARMFUL else "" for sentence in examples])
    fold = np.array([sentence.fold for sentence in examples])
    held_out = np.zeros(len(examples))
    for held_fold in sorted(set(fold.tolist())):
        here = fold == held_fold
        weight, bias = _fitted(features[~here], target[~here])
        held_out[here] = 1 - _softmax(features[here] @ weight.T + bias)[:, 0]
    flags = held_out > chosen_by_others(examples, held_out)
    weight, bias = _fitted(features, target)
    thresholds = _thresholds(examples, held_out, np.ones(len(examples), bool))
    return Classifier(weight, bias, thresholds, held_out, flags)


def _fitted(features: Any, target: NDArray[Any]) -> tuple[Floats, Floats]:
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=INVERSE_PENALTY, max_iter=200).fit(features, target)
    order = [list(regression.classes_).index(name) for name in CLASSES]
    return regression.coef_[order], regression.intercept_[order]


def chosen_by_others(examples: Sequence[Sentence], chance: Floats) -> Floats:
    """Return for each sentence (N,) its language's threshold, chosen on the other folds."""
    fold = np.array([sentence.fold for sentence in examples])
    thresholds_of_rows = np.zeros(len(examples))
    for held_fold in range(FOLDS):
        thresholds = _thresholds(examples, chance, fold != held_fold)
        for i in np.flatnonzero(fold == held_fold):
            thresholds_of_rows[i] = thresholds[examples[int(i)].language]
    return thresholds_of_rows


def _thresholds(examples: Sequence[Sentence], chance: Floats, among: NDArray[np.bool_]) -> dict[str, float]:
    """Return per language the lowest threshold that respects ``ALARMS``, at least 0.5."""
    thresholds = {}
    for language in LANGUAGES:
        highest = 0.5
        for sort, alarms in ALARMS.items():
            of = np.array([sentence.sort == sort and sentence.language == language for sentence in examples])
            if (of & among).any():
                highest = max(highest, float(np.quantile(chance[of & among], 1 - alarms)))
        thresholds[language] = highest
    return thresholds


def _features(texts: Sequence[str]) -> Any:
    """Return a sparse matrix (N, HASHED + 512 + signs)."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import HashingVectorizer

    short = [text[:LONGEST] for text in texts]
    counts = HashingVectorizer(analyzer="char", ngram_range=LETTERS, n_features=HASHED, alternate_sign=False).transform(
        short
    )
    vectors = encoder().encode(short).astype(np.float64)
    dense = np.hstack([vectors * WEIGHT_OF_VECTOR, _signs(short) * WEIGHT_OF_SIGN])
    return hstack([counts * WEIGHT_OF_LETTERS, csr_matrix(dense)]).tocsr()


def _signs(texts: Sequence[str]) -> Floats:
    """Return indicators (N, 1 + SIGNS), 0 or 1."""
    return np.array(
        [[float(manners_judge.improper(text)), *(float(bool(s.search(text))) for s in SIGNS)] for text in texts]
    )


@lru_cache
def encoder() -> SentenceEncoder:
    return SentenceEncoder()


def _softmax(logits: Any) -> Floats:
    values = np.asarray(logits, np.float64)
    exponentials = np.exp(values - values.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def _digest() -> str:
    """Return a digest of the training data and settings."""
    how = (
        VERSION,
        CLASSES,
        HASHED,
        LETTERS,
        WEIGHT_OF_LETTERS,
        WEIGHT_OF_VECTOR,
        WEIGHT_OF_SIGN,
        INVERSE_PENALTY,
        ALARMS,
        [sign.pattern for sign in SIGNS],
    )
    text = repr((how, corpus.sentences()))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _write(path: Path, model: Classifier) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        "weight": torch.tensor(model.weight, dtype=torch.float32),
        "bias": torch.tensor(model.bias, dtype=torch.float32),
        "held_out": torch.tensor(model.held_out),
        "flagged": torch.tensor(model.flagged),
    }
    files.write_tensors(path, tensors, {"thresholds": model.thresholds})


def _read(path: Path) -> Classifier:
    """Read a classifier. Raises UserError if it is missing or invalid."""
    tensors, about = files.read_tensors(path)
    thresholds = about.get("thresholds")
    count = len(corpus.sentences())
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    expected = {
        "weight": (len(CLASSES), HASHED + DIMS + 1 + len(SIGNS)),
        "bias": (len(CLASSES),),
        "held_out": (count,),
        "flagged": (count,),
    }
    if shapes != expected or not isinstance(thresholds, dict) or set(thresholds) != set(LANGUAGES):
        raise UserError("weights file", str(path))
    return Classifier(
        tensors["weight"].double().numpy(),
        tensors["bias"].double().numpy(),
        {name: float(value) for name, value in thresholds.items()},
        tensors["held_out"].double().numpy(),
        tensors["flagged"].bool().numpy(),
    )
