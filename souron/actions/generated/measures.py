"""Measures of a detector of generated images: AUC, misses, false alarms, and the controls."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from souron.actions.generated.image_sources import Header, Source
from souron.evaluation import generated_detector
from souron.evaluation.generated_detector import CHANGES, Detector, Floats
from souron.metrics import classification
from souron.stats import intervals
from souron.stats.records import Measure

Scores = NDArray[np.float64]

ALARMS = (0.01, 0.05)  # of the real pictures that may pass a threshold
THUMB, ALIKE = 8, 3.0  # pixels a side and levels, within which two pictures show the same
SHOWN = 12  # pictures of each mistake
FOLDS, FEWEST = 5, 10  # of what is told from the files alone; pictures of each side


@dataclass(frozen=True)
class Row:
    """Measures of the images of one generator against real ones, after one change."""

    generator: str
    seen: bool  # did the detector learn from this generator?
    change: str  # of ``CHANGES``
    auc: Measure
    misses: dict[float, Measure | None]  # of the drawn, by the false alarms allowed; None where
    # validation has too few real pictures for such a threshold
    alarms: dict[float, Measure | None]  # of the real, in the test part, at the same threshold
    kept: dict[float, Measure | None]  # of the real, where the threshold of unchanged ones is kept
    real: Scores = field(repr=False)  # (M,) of the test part
    drawn: Scores = field(repr=False)  # (N,)

    def as_json(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "seen": self.seen,
            "change": self.change,
            "auc": asdict(self.auc),
            "misses": _by_share(self.misses),
            "false_alarms": _by_share(self.alarms),
            "false_alarms_of_unchanged_threshold": _by_share(self.kept),
        }


@dataclass(frozen=True)
class Mistake:
    """A picture that was taken for the other side."""

    image: Tensor  # (C, S, S) uint8
    file: str  # or the number of a picture that was drawn for the audit
    generator: str  # "" of a real one
    score: float  # how likely it is drawn, by a detector that has not seen its generator


def _by_share(found: Mapping[float, Measure | None]) -> dict[str, Any]:
    return {f"{share:g}": asdict(one) if one else None for share, one in found.items()}


@dataclass(frozen=True)
class Seen:
    """Features of the pictures of one source, after each change."""

    features: dict[str, Floats]

    @classmethod
    def of(cls, image: Tensor) -> "Seen":
        changed = {change: generated_detector.changed(image, change) for change in CHANGES}
        return cls({change: generated_detector.features(one) for change, one in changed.items()})


@dataclass(frozen=True)
class Parts:
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


def split(group: Sequence[str], weights: Sequence[float], random: np.random.Generator) -> list[NDArray[np.int64]]:
    """Rows in parts of about these sizes; a group is never in two of them."""
    names, inverse, sizes = np.unique(group, return_inverse=True, return_counts=True)
    order = random.permutation(len(names))
    middle = (np.cumsum(sizes[order]) - sizes[order] / 2) / len(group)
    ends = np.cumsum(weights)[:-1] / np.sum(weights)
    part = np.empty(len(names), dtype=int)
    part[order] = np.searchsorted(ends, middle)
    return [np.flatnonzero(part[inverse] == number) for number in range(len(weights))]


def twins(image: Tensor, real: Tensor) -> NDArray[np.int64]:
    """Return for each image (N, C, S, S) the row of a real one (M, C, S, S) that shows the same.

    It is -1 where none does. With one in training and the other in the test, a detector that
    memorised images would label the copy as the original was labelled."""
    small = [F.adaptive_avg_pool2d(one.float().mean(1, keepdim=True), THUMB).flatten(1) for one in (image, real)]
    apart, row = torch.cdist(small[0], small[1]).min(1)
    return torch.where(apart / THUMB < ALIKE, row, -1).numpy()


def halves_beside(parts: Parts, twin: NDArray[np.int64], random: np.random.Generator) -> list[NDArray[np.int64]]:
    """Rows of drawn pictures for training and for the test, each on the side of its twin."""
    learns = np.zeros(len(twin), dtype=bool)
    learns[random.permutation(len(twin))[: len(twin) // 2]] = True
    has = twin >= 0
    learns[has] = np.isin(twin[has], parts.train)
    return [np.flatnonzero(learns), np.flatnonzero(~learns)]


@dataclass(frozen=True)
class Judge:
    """The real pictures that every detector is judged by."""

    seen: Seen
    parts: Parts
    groups: list[str] | None  # of the test part

    @property
    def train(self) -> Floats:
        return self.seen.features[CHANGES[0]][self.parts.train]

    def rows(self, name: str, seen: bool, detector: Detector, test: Mapping[str, Floats]) -> list[Row]:
        """One row for each change."""
        limits: dict[str, dict[float, float | None]] = {}
        made = []
        for change in CHANGES:
            every = self.seen.features[change]
            val = detector.of_features(every[self.parts.val])
            real = detector.of_features(every[self.parts.test])
            drawn = detector.of_features(test[change])
            limits[change] = {share: threshold(val, share) for share in ALARMS}
            made.append(
                Row(
                    name,
                    seen,
                    change,
                    auc(real, drawn, self.groups),
                    {share: _share(drawn, limit, None, above=False) for share, limit in limits[change].items()},
                    {share: _share(real, limit, self.groups) for share, limit in limits[change].items()},
                    {share: _share(real, limit, self.groups) for share, limit in limits[CHANGES[0]].items()},
                    real,
                    drawn,
                )
            )
        return made


def threshold(real: Scores, share: float) -> float | None:
    """Return the score that at most this share of further real images exceeds on average.

    It is the r-th largest of m scores, where r / (m + 1) is just below the share; None where they
    are too few."""
    rank = math.floor(share * (len(real) + 1) + 1e-9)
    return float(np.sort(real)[-rank]) if rank else None


def _share(scores: Scores, limit: float | None, groups: list[str] | None, above: bool = True) -> Measure | None:
    """Return the share of images above a threshold, or not above it."""
    if limit is None or not len(scores):
        return None
    passed = scores >= limit
    return intervals.interval((passed if above else ~passed).astype(float), groups)


def auc(real: Scores, drawn: Scores, groups: list[str] | None = None) -> Measure:
    """Return how often a generated image has the higher score, with its interval."""
    score = np.concatenate([real, drawn])
    label = np.repeat([0, 1], [len(real), len(drawn)])
    each = None if groups is None else [*groups, *(f"drawn {i}" for i in range(len(drawn)))]
    return classification.auc(np.stack([1 - score, score], 1), label, each)


def control(
    seen: Seen, parts: Parts, group: Sequence[str], grouped: bool, random: np.random.Generator
) -> list[Measure]:
    """AUC of real pictures against real pictures, told apart by chance, after each change."""
    rest = np.concatenate([parts.val, parts.test])
    mine, theirs = (
        [rows[part] for part in split([group[i] for i in rows], (1, 1), random)] for rows in (parts.train, rest)
    )
    plain = seen.features[CHANGES[0]]
    detector = generated_detector.fit(plain[mine[0]], [plain[mine[1]]])
    found = []
    for change in CHANGES:
        one, other = (detector.of_features(seen.features[change][rows]) for rows in theirs)
        score = np.concatenate([one, other])
        label = np.repeat([0, 1], [len(one), len(other)])
        each = [group[i] for i in np.concatenate(theirs)] if grouped else None
        found.append(classification.auc(np.stack([1 - score, score], 1), label, each))
    return found


def by_file(real: Source, drawn: Sequence[Source], random: np.random.Generator) -> Measure | None:
    """AUC of what the files alone tell (format, size, quality, bytes a pixel), by a small decision
    tree and cross-validation; None where a side has no files, or too few."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    theirs = [header for source in drawn for header in source.header]
    headers = [*real.header, *theirs]
    if min(len(real.header), len(theirs)) < FEWEST:
        return None
    formats = sorted({header.format for header in headers})
    table = np.array([_row(header, formats) for header in headers], dtype=float)
    label = np.repeat([0, 1], [len(real.header), len(theirs)])
    seed = int(random.integers(2**31))
    tree = DecisionTreeClassifier(max_depth=4, min_samples_leaf=5, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    chance = cross_val_predict(tree, table, label, cv=folds, method="predict_proba")
    return classification.auc(chance, label)


def _row(header: Header, formats: Sequence[str]) -> list[float]:
    pixels = max(1, header.width * header.height)
    return [
        formats.index(header.format),
        header.width,
        header.height,
        header.grey,
        header.quality or 101,
        header.size / pixels,
    ]


def worst(source: Source, image: Tensor, rows: NDArray[np.int64], score: Scores, generator: str) -> list[Mistake]:
    """Return the rows with the lowest scores."""
    made = []
    for row in rows[np.argsort(score[rows], kind="stable")][:SHOWN].tolist():
        file = source.file[row] if source.file else str(row)
        made.append(Mistake(image[row], file, generator, abs(float(score[row]))))
    return made
