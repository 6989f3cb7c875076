"""The predictions of finished runs of classifiers on their test cases, beside tables of anybody's predictions."""

import hashlib
import re
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from souron.data import prediction_table
from souron.data.prediction_table import columns_of
from souron.data.predictions import Asked, Predictions, predictions
from souron.kinds.codecs.limits import readable
from souron.metrics import abstention
from souron.metrics.classification import positive_class
from souron.utils import files
from souron.utils.messages import UserError, _

ANSWERS = "answers.safetensors"  # in the folder of a run


def read(sources: Sequence[str | Path], columns: Asked | None = None) -> Predictions:
    """Return the predictions in tables (``data.prediction_table``), or in the folders of classifiers' runs.

    Each run is a method. Several runs must have the same test cases. Raises UserError.
    """
    columns, paths = columns or Asked(), [Path(source) for source in sources]
    if not all(path.is_dir() for path in paths):
        return predictions(prediction_table.read(paths), columns)
    runs = [of_run(path, columns.positive) for path in paths]
    first, *others = runs
    methods = dict(first.methods)
    for path, other in zip(paths[1:], others, strict=True):
        pairs = zip(*((run.cases, run.classes, run.seeds, run.truth) for run in (first, other)), strict=True)
        if not all(np.array_equal(mine, theirs) for mine, theirs in pairs):
            raise UserError(
                "other cases",
                _("the test cases of {folder} are not those of {first}").format(folder=path, first=paths[0]),
                expected=_("runs with the same data, seed and folds"),
                exit=3,
            )
        for name, values in other.methods.items():
            methods[free_name(name, methods)] = values
    trainings = {None if run.trainings is None else run.trainings.tobytes() for run in runs}
    return replace(first, methods=methods, trainings=first.trainings if len(trainings) == 1 else None)


def sources(paths: Sequence[str | Path]) -> dict[str, str]:
    """Return the SHA-256 of each table, or of the answers of each run, by its name, for the receipt.

    Raises UserError for a file that cannot be read.
    """
    digests = {}
    for path in map(Path, paths):
        file = path / ANSWERS if path.is_dir() else path
        try:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256")
        except OSError as error:
            raise _refused(path, str(error)) from error
        digests[readable(path.as_posix() if path.is_dir() else path.name)] = digest.hexdigest()
    return digests


def free_name(name: str, names: Container[str]) -> str:
    """Return ``name``, or ``name-2``, ``name-3``, ... where that is taken.

    >>> free_name("cnn", {"cnn": 1, "cnn-2": 1})
    'cnn-3'
    """
    number, free = 1, name
    while free in names:
        number += 1
        free = f"{name}-{number}"
    return free


def of_run(folder: Path, positive: str = "") -> Predictions:
    """Return a run's probabilities for its test cases, as ``predict`` gives them; kind "probability".

    Of a cross-validation each repeat is a row of ``methods`` and ``trainings``. Raises UserError for a folder that is
    no run of a classifier.
    """
    tensors, _about = files.read_tensors(folder / ANSWERS)
    repeats = sorted(int(name.split(":")[0]) for name in tensors if re.fullmatch(r"\d+:probability", name))
    probabilities = [tensors[f"{repeat}:probability"] for repeat in repeats]
    rows = _test_rows(folder)
    if not probabilities or any(repeat.ndim != 2 or repeat.shape != probabilities[0].shape for repeat in probabilities):
        raise _refused(folder, _("it is no run of a classifier"))
    values = np.stack([repeat.double().numpy() for repeat in probabilities])  # (repeats, cases, classes)
    classes = sorted({row["label"] for row in rows})
    labels = _labels(folder, classes)
    if values.shape[1] != len(rows) or values.shape[2] != len(labels) or not np.isfinite(values).all():
        raise _refused(folder, _("its answers do not fit its cases"))
    training = tensors.get("training")
    several = training is not None and int(training.max()) > 1
    groups = [row.get("group", "") for row in rows]
    number = {label: index for index, label in enumerate(labels)}
    return Predictions(
        cases=tuple(row["file"] for row in rows),
        kind="probability",
        methods={folder.name: values},
        classes=tuple(labels),
        truth=np.array([number[row["label"]] for row in rows]),
        positive=_positive(labels, positive),
        groups=np.unique(groups, return_inverse=True)[1] if all(groups) else None,
        trainings=training.double().numpy() if several and training is not None else None,
        taken={"file": "case", "label": "truth"},
    )


def least_confidence(folder: Path, share: float) -> float:
    """Return the confidence below which this share of a run's answers on its test cases lie.

    The mean over the repeats of a cross-validation. Raises UserError for a folder that is no run of a classifier.
    """
    [values] = of_run(folder).methods.values()
    return float(np.mean([abstention.floor(row.max(1), share) for row in values]))


def _positive(labels: Sequence[str], name: str) -> int | None:
    if len(labels) != 2:
        return None
    if name and name not in labels:
        raise UserError(
            "positive",
            _("there is no class named {name}").format(name=name),
            expected=", ".join(labels),
            fix=f"positive={labels[0]}",
        )
    return labels.index(name) if name else positive_class(labels)


def _test_rows(folder: Path) -> list[dict[str, str]]:
    """Return file, label and group of each test case, in the order of the run's answers."""
    folds = folder / "folds.csv"
    path = folds if folds.exists() else folder / "split.csv"
    columns = columns_of(path)
    if not {"file", "label"} <= set(columns):
        raise _refused(folder, _("it is no run of a classifier"))
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    return [row for row in rows if row.get("part", "test") == "test"]


def _labels(folder: Path, classes: Sequence[str]) -> list[str]:
    """Return the classes of a run in the order of its answers. Raises UserError."""
    try:
        args = files.parse_yaml((folder / "args.yaml").read_text(encoding="utf-8"))
        labels = [str(label) for label in args["seen"]["labels"]]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise _refused(folder, str(error)) from error
    if not set(classes) <= set(labels):
        raise _refused(folder, _("its answers do not fit its cases"))
    return labels


def _refused(folder: Path, why: str) -> UserError:
    return UserError(
        "not a classifier's run",
        _("{folder} is not a run: {why}").format(folder=folder, why=why),
        expected=_("a folder made by souron train with a classifier, or a table of predictions"),
        fix="ls runs/*",
        exit=3,
    )


__all__ = ["ANSWERS", "free_name", "least_confidence", "of_run", "read", "sources"]
