"""The predicted risks of a run's network for its validation cases, which it neither learnt from nor is judged by."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from souron.evaluation.answers import dense
from souron.runs import evaluate, prepare
from souron.runs import folder as run_folder
from souron.stats.variance import Scores


@dataclass(frozen=True)
class Held:
    """Risks (cases,) of one class and the outcome (cases,) of validation cases."""

    risk: Scores
    outcome: Scores


def risks(folder: Path, positive: str) -> Held | None:
    """Ask the network of a run for the risk of a class on its validation cases.

    None for a run without validation cases, and for a cross-validated one: the networks of its folds are not kept, and
    the validation cases of the final network are test cases of the folds. Raises UserError where the run or its data
    cannot be read, or has changed.
    """
    if (folder / "folds.csv").exists():
        return None
    args = run_folder.read_args(folder)
    task = prepare.task_of(args)
    run_folder.refuse_changed(folder)
    system = run_folder.load(folder)
    cases = evaluate.cases_of(args, str(args["data"]), system.spec, task)
    split = prepare.read_split(folder, cases, task)
    if not len(split.val):
        return None
    val = cases.only(split.val)
    *_before, step = task.setup(cases, split, prepare.task_options(args, task))
    *_before, last = task.answer(system, val, {}, step.result, args["seed"])
    probability = dense(last.result, "probability").double().numpy()[:, list(system.spec.labels).index(positive)]
    truth = np.array([val.classes[label] == positive for label in val.target.tolist()])
    return Held(probability, truth.astype(np.float64))


__all__ = ["Held", "risks"]
