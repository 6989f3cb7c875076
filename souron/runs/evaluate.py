"""Measure a finished run again: on its own test cases, or on other data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from souron.data import load, splits
from souron.data.dataset import Dataset, Loader
from souron.evaluation import classification, generation
from souron.runs import events, prepare, train
from souron.runs import folder as run_folder
from souron.runs.record import Cost, RunRecord
from souron.stats.records import Measure
from souron.utils.messages import UserError, _


def evaluate(
    folder: str | Path, data: str | Path | None = None, **options: Any
) -> dict[str, Measure]:
    """The measures of ``examine``. Takes the same options."""
    return examine(folder, data, **options).measures


def examine(
    folder: str | Path,
    data: str | Path | None = None,
    group: str | None = None,
    allow_leak: bool = False,
    prevalence: float | None = None,
    window: str | None = None,
    samples: int | None = None,
) -> RunRecord:
    """Measure a run again: on its own test cases, or on all cases of other data. The threshold and
    the temperature stay as they were chosen on the run's validation cases.

    Raises UserError, also where other data holds pictures or patients that the run learnt from and
    ``allow_leak`` is not said.
    """
    folder = Path(folder)
    train.check_shares(prevalence=prevalence)
    args = run_folder.read_args(folder)
    model = run_folder.load(folder)
    same = data is None or str(data) == str(args["data"])
    cases = load.load(
        args["data"] if data is None else str(data), model.seen.side, group or args.get("group"),
        window or args.get("window"),
    )  # fmt: skip
    record = RunRecord(
        folder, str(args["system"]), str(data or args["data"]), model.task, args["seed"],
        args["config"], args["seen"], 0, 0, {}, [], Cost(0, 0), Cost(0, 0), "", {},
        test=cases, model=model,
    )  # fmt: skip
    if model.task == "generate":
        _appraise(record, args, None if same else cases, samples)
        return record
    crossed = (folder / "folds.csv").exists()
    if same:
        split = splits.read(folder / "split.csv", cases)
        order = splits.read_order(folder / "folds.csv", cases) if crossed else split.test
        cases = cases.only(order)
    elif model.task == "classify":
        if not allow_leak:
            splits.refuse_leaks(*_learnt_from(folder, args, model, cases))
        cases = _with_labels_of(model, cases)
    cases = prepare.coloured(cases, model.seen.channels)
    record.test = cases
    if model.task != "classify":
        train.measure(record, model, Loader(cases, model.prepare))
        return record
    trial = classification.Trial(classification.positive(args.get("positive"), model.seen.labels))
    answers = classification.Answers.read(folder / "answers.safetensors", cases)
    if not (same and crossed):
        answers = classification.Answers.of(cases, trial.again(model, cases, answers.kept))
    record.probability = answers.probability[0]
    record.trust = classification.trust(answers, trial, prevalence or args.get("prevalence"))
    record.measures = record.trust.measures
    return record


def _appraise(
    record: RunRecord, args: dict[str, Any], others: Dataset | None, samples: int | None
) -> None:
    """Draw again, and hold it against the run's own test cases or all of ``others``."""
    count = samples or args.get("samples") or generation.SAMPLE
    own = prepare.cases_for({**args, "side": record.model.seen.side})
    split = splits.read(record.folder / "split.csv", own)
    *_before, (_done, scale) = generation.reference_set(own, split, count)
    assert scale is not None, "it ends with the scale itself"
    if others is not None:
        none = own.only([])
        scale = generation.ReferenceSet.of(scale.eye, splits.Parts(none, none, others), count)
    record.test = scale.test
    events.last(train.appraise(record, record.model, scale))


def _learnt_from(
    folder: Path, args: dict[str, Any], model: Any, cases: Dataset
) -> tuple[list[str], list[str]]:
    """Files and groups of these cases that the run has learnt from, as far as can be known: its own
    pictures must still be where they were."""
    trained = splits.read_groups(folder / "split.csv")
    groups = sorted(set(cases.group) & trained)
    try:
        own = prepare.cases_for({**args, "side": model.seen.side})
        split = splits.read(folder / "split.csv", own)
    except UserError:
        return [], groups
    return splits.shared(own.only(split.train), cases), groups


def _with_labels_of(model: Any, cases: Dataset) -> Dataset:
    """The same cases, their labels numbered as the model numbers them. Raises UserError."""
    unknown = [label for label in cases.labels if label not in model.seen.labels]
    if unknown:
        raise UserError(
            "labels",
            _("the model does not know the labels {labels}").format(labels=", ".join(unknown)),
            expected=", ".join(model.seen.labels),
            exit=3,
        )
    number = torch.tensor([model.seen.labels.index(label) for label in cases.labels])
    return replace(cases, label=number[cases.label], labels=model.seen.labels)
