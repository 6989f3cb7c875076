"""Evaluate landmark detection: errors by landmark, heat maps, baselines."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.answers import Answers, Setup, Sparse, Trainings, dense
from souron.metrics import keypoints, poses
from souron.stats.records import Measure

MAPPED = 4  # landmarks whose heat maps are shown: the best and the worst

Array = NDArray[Any]


@dataclass
class KeypointSetup(Setup):
    """A setup with the constant baseline: the mean position of each landmark in training."""

    constant: Tensor = field(default_factory=lambda: torch.zeros(0, 2))  # (K, 2)


@dataclass(frozen=True)
class OfLandmark:
    """Figures of one landmark."""

    name: str
    marked: int  # test images
    error: Measure | None  # in mm, else pixels; None where no image marks it
    near: Measure | None  # proportion within 2 mm, else within 1/50 of the side
    worst: float


@dataclass(frozen=True)
class Maps:
    """Heat maps of some landmarks in one test image."""

    row: int
    landmarks: list[int]
    chance: Array  # (landmarks, h, w)


@dataclass(frozen=True)
class KeypointResult:
    """The results of one run for its report."""

    millimetres: bool
    landmarks: tuple[OfLandmark, ...]
    found: Array  # (cases, K, 2) pixels
    score: Array  # (cases, K)
    error: Array  # (cases, K) in mm, else pixels
    baselines: dict[str, dict[str, Measure]]  # "constant", "untrained" -> its measures
    baseline_errors: dict[str, Array]  # baseline -> (cases, K)
    maps: Maps | None

    def as_json(self) -> dict[str, Any]:
        return {
            "unit": "mm" if self.millimetres else "px",
            "landmarks": {landmark.name: landmark.error.value for landmark in self.landmarks if landmark.error},
            "baselines": {
                name: {metric: measure.value for metric, measure in measures.items()}
                for name, measures in self.baselines.items()
            },
        }


def mean_places(points: Tensor) -> Tensor:
    """Return the mean position of each landmark, (N, K, 2) -> (K, 2), as a constant baseline.

    A landmark that is never marked gets the mean of the others.
    """
    mean = points.double().nanmean(0)
    return torch.where(mean.isnan(), mean.nanmean(0), mean).nan_to_num(0.0).float()


def scores_of(prediction: Any, cases: Dataset) -> dict[str, NDArray[np.float64]]:
    """Compute scores (cases,) of each metric, see ``metrics.keypoints.scores``."""
    sigmas = poses.sigmas_of(cases.classes)
    error, area = keypoints.errors(prediction, cases.target), keypoints.area_around(cases.target)
    sigmas = np.pad(sigmas, (0, error.shape[1] - len(sigmas)), constant_values=poses.USUAL)
    return keypoints.scores(error, cases.side, cases.spacing, area, sigmas)


def _measures(prediction: Any, test: Dataset) -> dict[str, Measure]:
    return {
        name: registry.metric(name).measure(scores, test.units) for name, scores in scores_of(prediction, test).items()
    }


def result(trainings: Trainings, setup: KeypointSetup) -> KeypointResult:
    [answers] = trainings.answers
    test = setup.test
    prediction = dense(answers, "found").double().numpy()
    baselines = {"constant": setup.constant[None].expand(len(test), -1, -1).numpy()}
    if "untrained" in answers:
        baselines["untrained"] = dense(answers, "untrained").numpy()
    error = _in_units(keypoints.errors(prediction, test.target), test)
    return KeypointResult(
        keypoints.known(test.spacing),
        tuple(_of_landmark(name, error[:, k], test) for k, name in enumerate(test.classes)),
        prediction,
        dense(answers, "score").double().numpy(),
        error,
        {name: _measures(points, test) for name, points in baselines.items()},
        {name: _in_units(keypoints.errors(points, test.target), test) for name, points in baselines.items()},
        _maps(answers),
    )


def chosen(prediction: Tensor, cases: Dataset) -> list[int]:
    """Return the landmarks with the smallest and the largest errors, half of each."""
    error = keypoints.errors(prediction, cases.target)
    means = [float(np.nanmean(landmark)) if np.isfinite(landmark).any() else np.inf for landmark in error.T]
    order = [int(k) for k in np.argsort(means) if np.isfinite(means[k])]
    return list(dict.fromkeys([*order[: MAPPED // 2], *order[-(MAPPED // 2) :]]))


def _in_units(error: Any, test: Dataset) -> Array:
    has_spacing = keypoints.known(test.spacing)
    return keypoints.millimetres(error, test.spacing) if has_spacing else error


def _maps(answers: Answers) -> Maps | None:
    chance, names = answers.get("maps"), answers.get("mapped")
    if not isinstance(chance, Sparse) or not isinstance(names, Sparse) or not len(chance.rows):
        return None
    row = int(chance.rows[0])
    return Maps(row, names.values[0].tolist(), chance.values[0].float().numpy())


def _of_landmark(name: str, error: Array, test: Dataset) -> OfLandmark:
    rows = np.nonzero(np.isfinite(error))[0]
    if not len(rows):
        return OfLandmark(name, 0, None, None, float("nan"))
    units = None if test.units is None else [test.units[row] for row in rows]
    in_mm = keypoints.known(test.spacing)
    far = keypoints.WITHIN[0] if in_mm else keypoints.SHARE * test.side
    return OfLandmark(
        name,
        len(rows),
        registry.metric(keypoints.MEAN if in_mm else keypoints.PIXELS).measure(error[rows], units),
        registry.metric(keypoints.NEAR).measure((error[rows] <= far).astype(float), units),
        float(error[rows].max()),
    )
