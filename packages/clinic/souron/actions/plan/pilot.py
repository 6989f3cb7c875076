"""The figures of a pilot, from the folders of one run, two runs, or a comparison; its data is not read."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from souron.metrics import classification
from souron.stats import sample_size, variance
from souron.utils import files
from souron.utils.messages import UserError, _

MOST_BYTES = 100_000_000  # of a file


def read(folders: Sequence[str], compared: str = "accuracy") -> dict[str, Any]:
    """Return a pilot's figures by the names of the options that they fill. Raises UserError.

    One run: ``prevalence``, ``sensitivity``, ``specificity``, ``auc``, ``images`` and ``icc``. Two runs on the same
    cases, or a comparison: also ``other_auc``, ``correlation`` and ``discordant``, the latter of the cases with the
    disease where ``compared`` is "sensitivity", and of those without where it is "specificity". The difference of two
    accuracies is not taken from a pilot: the one that matters to patients is not the one that few cases show.
    """
    paths = [Path(one) for one in folders]
    if len(paths) == 2:
        first, second = (of_run(path) for path in paths)
        return {**first, **of_pair(paths[0], paths[1], first, second, compared)}
    if (paths[0] / "rounds").is_dir():
        return of_comparison(paths[0], compared)
    return of_run(paths[0])


def of_run(folder: Path) -> dict[str, Any]:
    """Return the figures of a binary classifier's run from its receipt, its test cases and their groups."""
    measures = receipt(folder).get("measures")
    cases, labels = answered_cases(folder)
    positive = labels[classification.positive_class(labels)]
    if not isinstance(measures, dict) or not cases:
        raise _refused(folder, _("it has no measures of test cases"))
    found: dict[str, Any] = {}
    try:
        for option, name in (("sensitivity", "sensitivity"), ("specificity", "specificity"), ("auc", "AUC")):
            if name in measures:
                found[option] = float(measures[name]["value"])
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(folder, str(error)) from error
    truth = np.array([row["label"] == positive for row in cases])
    right = np.array([float(row["label"] == row["predicted"]) for row in cases])
    return {**found, "prevalence": float(truth.mean()), **clusters(right, truth, [row["group"] for row in cases])}


def of_pair(one: Path, other: Path, first: dict[str, Any], second: dict[str, Any], compared: str) -> dict[str, Any]:
    """Return the figures of two runs on the same test cases. Raises UserError where the cases differ."""
    cases, labels = answered_cases(one)
    by_file = {row["file"]: row for row in answered_cases(other)[0]}
    if len(by_file) != len(cases) or any(row["file"] not in by_file for row in cases):
        raise _refused(other, _("its test cases are not those of {folder}").format(folder=one))
    pairs = [(row, by_file[row["file"]]) for row in cases]
    positive = labels[classification.positive_class(labels)]
    right = np.array([[float(row["label"] == row["predicted"]) for row in pair] for pair in pairs]).T
    truth = np.array([row["label"] == positive for row in cases])
    chosen = {"sensitivity": truth, "specificity": ~truth}.get(compared, np.ones_like(truth))
    found = {"discordant": float((right[0] != right[1])[chosen].mean())}
    if "auc" in first and "auc" in second:
        groups = [row["group"] for row in cases] if all(row["group"] for row in cases) else None
        scores = [
            classification.auc_scores(_chances(column, positive), truth, groups) for column in zip(*pairs, strict=True)
        ]
        found["correlation"] = correlation(scores[0], scores[1], groups)
        found["other_auc"] = second["auc"]
    return found


def of_comparison(folder: Path, compared: str) -> dict[str, Any]:
    """Return the figures of the two best systems of a comparison of binary classifiers."""
    about = receipt(folder)
    cases, labels = grouped_cases(folder)
    positive = labels[classification.positive_class(labels)]
    try:
        rows = about["rows"][:2]
        of_areas = rows if rows[0]["measure"] == "AUC" else about.get("auc", {}).get("rows", [])
        areas = {row["system"]: float(row["value"]) for row in of_areas}
        systems = [row["system"] for row in rows[:2]]
        if len(systems) < 2:
            raise KeyError(2)
        discordant = [_discordant(path, systems) for path in sorted((folder / "rounds").glob("*.safetensors"))]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise _refused(folder, _("it is no comparison of two systems")) from error
    found: dict[str, Any] = {}
    if all(name in areas for name in systems):
        found |= {"auc": areas[systems[0]], "other_auc": areas[systems[1]]}
    if discordant and compared == "accuracy":  # the rounds keep no labels
        found["discordant"] = float(np.concatenate(discordant).mean())
    sizes = np.unique([row["group"] for row in cases if row["group"]], return_counts=True)[1]
    if len(sizes):
        found["images"] = float(sizes.mean())
    return {**found, "prevalence": float(np.mean([row["label"] == positive for row in cases]))}


def _discordant(path: Path, systems: Sequence[str]) -> Any:
    """Return for each test case of a round whether the two systems disagree: of two classes one is right."""
    tensors = files.read_tensors(path)[0]
    one, other = (tensors[f"{name}/probability"].argmax(1) for name in systems)
    return (one != other).numpy()


def correlation(one: Any, other: Any, groups: Sequence[Any] | None) -> float:
    """Return the correlation of two AUCs from DeLong's pseudo-scores (1, cases) of the same cases."""
    first, second, both = (variance.spread(scores, groups, None)[0] for scores in (one, other, one + other))
    if not first * second > 0:
        return 0.0
    return float(min(max((both - first - second) / (2 * (first * second) ** 0.5), 0.0), 0.99))


def clusters(right: Any, truth: Any, groups: Sequence[str]) -> dict[str, float]:
    """Return the images of a patient and the correlation of their being right, about the mean of their label."""
    if not all(groups) or len(set(groups)) == len(groups):
        return {}
    centred = right.copy()
    for label in (True, False):
        if (truth == label).any():
            centred[truth == label] -= right[truth == label].mean()
    return {"images": len(groups) / len(set(groups)), "icc": sample_size.intraclass_correlation(centred, groups)}


def answered_cases(folder: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the answered test cases with label, prediction and group, and the two labels. Raises UserError."""
    known = {row["file"]: row["group"] for row in grouped_cases(folder)[0]}
    rows = table(folder / "predictions.csv", ("file", "label", "predicted", "probability"))
    cases = [{**row, "group": known.get(row["file"], "")} for row in rows]
    return cases, two_labels(folder, cases)


def grouped_cases(folder: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the cases of a folder with their labels and groups, and the two labels. Raises UserError."""
    name = "folds.csv" if (folder / "folds.csv").exists() else "split.csv"
    cases = table(folder / name, ("file", "label", "group"))
    if cases and "part" in cases[0] and any(row["part"] == "test" for row in cases):
        cases = [row for row in cases if row["part"] == "test"]
    return cases, two_labels(folder, cases)


def two_labels(folder: Path, cases: Sequence[dict[str, str]]) -> list[str]:
    labels = sorted({row["label"] for row in cases})
    if len(labels) != 2:
        raise _refused(folder, _("its test cases have {count} classes").format(count=len(labels)))
    return labels


def table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV with these columns. Raises UserError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _refused(path, _("over {count} MB").format(count=MOST_BYTES // 10**6))
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _refused(path, str(getattr(error, "strerror", "") or error)) from error
    if any(row.get(name) is None for row in rows for name in columns):
        raise _refused(path, _("it lacks one of the columns {columns}").format(columns=", ".join(columns)))
    return rows


def receipt(folder: Path) -> dict[str, Any]:
    """Return a folder's receipt. Raises UserError."""
    path = folder / "receipt.json"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _refused(path, _("over {count} MB").format(count=MOST_BYTES // 10**6))
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(path, str(getattr(error, "strerror", "") or error)) from error
    if not isinstance(found, dict):
        raise _refused(path, _("it is no receipt"))
    return found


def _chances(rows: Sequence[dict[str, str]], positive: str) -> Any:
    """Return the probabilities (cases, 2) of the negative and the positive label."""
    try:
        chance = np.array([float(row["probability"]) for row in rows])
    except ValueError as error:
        raise _refused("predictions.csv", str(error)) from error
    chance = np.where([row["predicted"] == positive for row in rows], chance, 1 - chance)
    return np.stack([1 - chance, chance], 1)


def _refused(path: Path | str, why: str) -> UserError:
    return UserError(
        "not a pilot",
        f"{path}: {why}",
        expected=_("a run of a classifier with two classes, two such runs on the same cases, or their comparison"),
        fix="souron plan --help",
        exit=3,
    )
