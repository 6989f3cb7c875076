"""Examine a trained system: a fresh paper, its score with controls, and what of it the system may
have read before."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from souron import registry
from souron.audit import overlap
from souron.audit.overlap import Overlap
from souron.data import load
from souron.data.called import folder as folder_name
from souron.data.dataset import Dataset
from souron.evaluation.answers import Answers, Setup, Trainings
from souron.evaluation.exams import ExamResult
from souron.hub import names
from souron.report import exam as exam_page
from souron.runs import evaluate, loading
from souron.runs import folder as run_folder
from souron.task import Step, Task
from souron.utils import files
from souron.utils.messages import UserError, _

QUESTIONS = 400  # of a paper, where it is not said
CHOSEN_ON = 100  # further questions at most, for what no training has chosen
TASK = "choose"


@dataclass
class ExamRecord:
    """One examination."""

    model: str
    system: str
    data: str
    seed: int
    test: Dataset  # the paper
    answers: Answers
    result: ExamResult
    overlap: Overlap
    remarks: list[str]  # of the system, on how it read the questions
    seconds: float
    report: Path

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.model, "data": self.data, "seed": self.seed,
            **self.result.as_json(), "notes": self.remarks, "overlap": self.overlap.as_json(),
            "seconds": self.seconds, "report": str(self.report),
        }  # fmt: skip


def examine(
    model: str,
    data: str | Path | None = None,
    seed: int = 0,
    questions: int = QUESTIONS,
    project: str | Path = "runs",
) -> ExamRecord:
    """Run ``examining`` to its end. Takes the same options."""
    *_before, step = examining(model, data, seed, questions, project)
    return step.result


def examining(
    model: str,
    data: str | Path | None = None,
    seed: int = 0,
    questions: int = QUESTIONS,
    project: str | Path = "runs",
) -> Iterator[Step]:
    """Let a run, or a system that needs no training, sit a paper of at most so many ``questions``;
    how far it is, with an ``ExamRecord`` at the end, whose report is written to
    ``project/exam``.

    ``terms`` and ``glosses`` make another paper for each ``seed``; of a file the seed draws the
    questions. Where no training has chosen how to score, questions that are left over decide.
    Raises UserError.
    """
    if questions < 1:
        raise UserError("option", f"questions={questions}", expected="questions >= 1")
    begun = time.monotonic()
    task: Task = registry.load_task(TASK)
    system, decision, folder, name = _examinee(model, task)
    name_of_data = str(data or task.default_data)
    whole = load.paper(name_of_data, seed, task.formats, task.target)
    task.check(whole, task.Options())
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(whole), generator=generator)
    test = whole.only(order[:questions].sort().values)
    setup = Setup(task.Options(), test)
    if not decision:
        left = order[questions : questions + CHOSEN_ON]
        decision = task.decide(system, whole.only(left), setup)
    answers: Answers = {}
    for step in task.answer(system, test, decision, setup, seed):
        if step.result is None:
            yield Step(0.95 * step.done, step.text)
        else:
            answers = step.result
    yield Step(0.95, _("looking for the questions in its training data"))
    shared = (
        overlap.of_run(folder, test)
        if folder
        else Overlap(len(test), unknown=overlap.unknown_of(name))
    )
    found = task.result(Trainings.of_one(test, answers, decision), setup)
    place = files.new_folder(
        Path(project) / "exam", f"{Path(model).name}-{folder_name(name_of_data)}-{seed}"
    )
    record = ExamRecord(
        model, name, name_of_data, seed, test, answers, found, shared,
        system.remarks(list(test.input)), round(time.monotonic() - begun, 3), place / "report.html",
    )  # fmt: skip
    files.write_json(place / "exam.json", record.as_json())
    exam_page.write(record)
    yield Step(1.0, result=record)


def _examinee(model: str, task: Task) -> tuple[Any, dict[str, float], Path | None, str]:
    """The system, what its training chose, its run's folder, and its name. A language model
    answers by likelihood, also one from a file. Raises UserError."""
    meaning = names.resolve(model)
    if isinstance(meaning, names.OpenModel):
        return _reading(loading.open_model(model)), {}, None, "open_model"
    if isinstance(meaning, names.System):
        kind, config = registry.load_system(model)
        _check_task(kind.task, model)
        if kind.needs_fit:
            raise run_folder.not_trained(model)
        system = kind(config, None).eval()
        return _reading(system) if registry.talks(kind.task) else system, {}, None, model
    folder = run_folder.find(model)
    args = run_folder.read_args(folder)
    run_folder.refuse_changed(folder)
    _check_task(registry.find(str(args["system"]))[0].task, model)
    system = run_folder.load(folder)
    name = str(args["system"])
    if registry.talks(system.task):
        return _reading(system), {}, folder, name
    decision: dict[str, float] = {}
    if (folder / evaluate.ANSWERS).exists():
        nothing = Dataset("", torch.zeros(0), None, (), [])
        decision = Trainings.read(folder / evaluate.ANSWERS, nothing).decision
    return system, decision, folder, name


def _reading(model: Any) -> Any:
    return registry.load_system("likelihood")[0].of(model)


def _check_task(task: str, model: str) -> None:
    able = [TASK, *(entry.name for entry in registry.tasks().values() if entry.talks)]
    if task not in able:
        raise UserError(
            "task",
            _("{model} answers no questions with options: its task is {task}").format(
                model=model, task=registry.task_name(task)
            ),
            expected=_("a run of {task}").format(task=" / ".join(map(registry.task_name, able))),
            fix="souron exam nearest data=terms",
            exit=2,
        )
