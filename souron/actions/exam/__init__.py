"""Examine a trained system: a fresh paper, its score with controls, and what of it the system may
have read before."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from souron import registry
from souron.action import Action, Block, Fact, Given, Record, Section, Table
from souron.actions.exam import overlap
from souron.actions.exam.overlap import Overlap
from souron.data import load
from souron.data.dataset import Dataset
from souron.data.display_names import called
from souron.data.display_names import folder as folder_name
from souron.evaluation.answers import Answers, Setup, Step, Trainings
from souron.evaluation.language.exams import ExamResult
from souron.hub import names
from souron.kinds.signature import Choice
from souron.report.blocks import again
from souron.report.sections import choose
from souron.runs import evaluate, loading
from souron.runs import folder as run_folder
from souron.runs.elsewhere import workers
from souron.runs.events import Event, left
from souron.task import Task
from souron.tasks import choose as choose_task
from souron.tasks.choose import Item
from souron.utils import files, units
from souron.utils.messages import N_, UserError, _

CHOSEN_ON = 100  # further questions at most, for what no training has chosen
TASK = "choose"
MOST_SEEN = 10  # questions that are named


@dataclass(frozen=True)
class Options:
    data: Annotated[str, Choice(N_("terms, glosses, or a CSV or JSONL: question, options, answer"), metavar="D")] = ""
    seed: Annotated[int, Choice(N_("another paper for each (default 0)"), low=0)] = 0
    questions: Annotated[int, Choice(N_("at most so many (default 400)"), low=1)] = 400
    on: Annotated[
        str, Choice(N_("where questions are answered: processes:4, dask://HOST:PORT, slurm"), metavar="ENGINE")
    ] = ""


@dataclass
class ExamRecord(Record):
    """One examination."""

    eyebrow = N_("multiple choice")
    json_file = "exam.json"

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
    folder: Path

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "data": self.data,
            "seed": self.seed,
            **self.result.as_json(),
            "notes": self.remarks,
            "overlap": self.overlap.as_json(),
            "seconds": self.seconds,
            "report": str(self.report),
        }

    def page_title(self) -> str:
        text = _("{model}: an examination in {data}")
        return text.format(model=self.model, data=called(self.data))

    def sentences(self) -> list[str]:
        accuracy, metric = self.result.accuracy, registry.metric("accuracy")
        text = _(
            "{model} is right on {value} of {n} questions of {data} (95 % interval "
            "{interval}); by chance it were {chance}."
        )
        return [
            text.format(
                model=self.model,
                value=metric.text(accuracy.value),
                n=units.whole(accuracy.n),
                data=called(self.data),
                interval=metric.interval(accuracy.low, accuracy.high),
                chance=metric.text(self.result.chance),
            )
        ]

    def facts(self) -> list[Fact]:
        result, metric = self.result, registry.metric("accuracy")
        accuracy = result.accuracy
        return [
            Fact(metric.title, metric.text(accuracy.value), metric.interval(accuracy.low, accuracy.high)),
            Fact(_("without the questions"), metric.text(result.control.value)),
            Fact(_("chance"), metric.text(result.chance)),
            Fact(_("exam questions"), units.whole(accuracy.n)),
            Fact(_("time"), units.seconds(self.seconds)),
        ]

    def notes(self) -> list[str]:
        return [*choose.warnings(self.result, self.data), *self.remarks, *self._seen()]

    def _seen(self) -> list[str]:
        shared, found = self.overlap, []
        if shared.seen:
            text = _(
                "It has read {count} of {all} questions in training, {answered} of them with "
                "their right option in the same text."
            )
            found.append(
                text.format(
                    count=units.whole(len(shared.seen)),
                    all=units.whole(shared.questions),
                    answered=units.whole(len(shared.answered)),
                )
            )
        if shared.unknown:
            text = _("Whether it has read these questions before is not known: {why}.")
            found.append(text.format(why=shared.unknown))
        return found

    def tables(self) -> list[Table]:
        value, interval, questions = _("accuracy"), _("95 % interval"), _("exam questions")
        result, metric = self.result, registry.metric("accuracy")
        measures = {
            _("with the questions"): result.accuracy,
            _("without the questions"): result.control,
            _("with the key shuffled"): result.shuffled,
            **result.by_subject,
        }
        rows = [
            (name, metric.text(one.value), metric.interval(one.low, one.high), str(one.n))
            for name, one in measures.items()
        ]
        right = (value, interval, questions)
        return [Table(("", *right), rows, right=right)]

    def sections(self) -> list[Section]:
        return [*choose.paper(self.result, self.answers, self.test, self.data), *self._ledger()]

    def _ledger(self) -> list[Section]:
        shared, test = self.overlap, self.test
        rows = [
            (_("data"), called(self.data)),
            (_("seed"), str(self.seed)),
            (_("source"), test.source or units.UNKNOWN),
            (_("licence"), test.licence or units.UNKNOWN),
            (_("questions left out"), units.whole(len(test.skipped))),
            (
                _("texts that it learnt from"),
                f"{units.whole(shared.texts)} ({called(shared.data)})" if shared.data else _("none of souron's"),
            ),
            (_("questions in them"), units.whole(len(shared.seen)) if shared.data else units.UNKNOWN),
        ]
        seen = [test.input[row].text[:200] for row in shared.seen[:MOST_SEEN]]
        command = f"souron exam {self.model} data={self.data} seed={self.seed}"
        read: list[Block] = [_("Questions that occur in its training texts:"), Table([""], [[text] for text in seen])]
        parts: list[Block] = [Table([], rows), *(read if seen else []), *again(command)]
        return [Section("ledger", _("The paper, and what it learnt from"), parts)]


class Exam(Action):
    """Let a run, or a system that needs no training, sit a paper.

    ``terms`` and ``glosses`` make another paper for each ``seed``; of a file the seed draws the
    questions. Where no training has chosen how to score, questions that are left over decide. With
    ``on`` the batches of the paper are answered on an engine; that choice is made here.
    """

    title = N_("Give a model a multiple-choice exam, with controls.")
    examples = (
        "souron exam nearest data=terms seed=3",
        "souron exam runs/choose/nearest-terms data=glosses questions=300",
        "souron exam nearest data=medqa.jsonl --json",
        "souron exam smollm2 data=medqa.jsonl on=processes:2",
    )
    group = "language"
    given = Given("RUN|SYSTEM", N_("a run's folder, or a system that needs no training"))

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        [model], seed, questions = given, options.seed, options.questions
        begun = time.monotonic()
        yield Event("data")
        task: Task = registry.load_task(TASK)
        system, decision, folder, name = _examinee(model, task)
        name_of_data = options.data or task.default_data
        whole = load.paper(name_of_data, seed, task.formats, task.target)
        task.check(whole, task.Options())
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(whole), generator=generator)
        test = whole.only(order[:questions].sort().values)
        setup = Setup(task.Options(), test)
        if not decision:
            others = order[questions : questions + CHOSEN_ON]
            decision = task.decide(system, whole.only(others), setup)
        answers: Answers = {}
        answering = time.monotonic()
        here = task.answer(system, test, decision, setup, seed)
        for step in elsewhere(options.on, model, test, decision) if options.on else here:
            yield Event("answer", step.done, left(answering, step.done), step.text)
            answers = step.result or answers
        yield Event("check", text=_("looking for the questions in what it learnt from"))
        shared = overlap.of_run(folder, test) if folder else Overlap(len(test), unknown=overlap.unknown_of(name))
        result = task.result(Trainings.of_one(test, answers, decision), setup)
        run_name = f"{Path(model).name}-{folder_name(name_of_data)}-{seed}"
        place = files.new_folder(self.project / "exam", run_name)
        yield Event(
            "done",
            1.0,
            record=ExamRecord(
                model,
                name,
                name_of_data,
                seed,
                test,
                answers,
                result,
                shared,
                system.remarks(list(test.input)),
                round(time.monotonic() - begun, 3),
                place,
            ),
        )


def _examinee(model: str, task: Task) -> tuple[Any, dict[str, float], Path | None, str]:
    """The system, what its training chose, its run's folder, and its name. A language model
    answers by likelihood, also one from a file. Raises UserError."""
    meaning = names.resolve(model)
    if isinstance(meaning, names.OpenModel):
        return _reading(loading.open_model(model)), {}, None, "open_model"
    if isinstance(meaning, names.System):
        system_class, config = registry.load_system(model)
        _check_task(system_class.task, model)
        if system_class.needs_fit:
            raise run_folder.not_trained(model)
        system = system_class(config, None).eval()
        return _reading(system) if registry.talks(system_class.task) else system, {}, None, model
    folder = run_folder.folder_of(meaning)
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


def elsewhere(on: str, model: str, test: Dataset, decision: Mapping[str, float]) -> Iterator[Step]:
    """Answer a paper on an engine, in the batches of ``Choice.answer``, as its steps do here."""
    name, questions = workers.anywhere(model), list(test.input)
    batches = list(workers.slices(questions, choose_task.TOGETHER))
    parts: dict[int, dict[str, Tensor]] = {}
    given = ((number, (name, some, decision)) for number, some in enumerate(batches))
    for number, found in workers.gather(on, answered, given, [name]):
        parts[number] = {key: torch.from_numpy(values) for key, values in found.items()}
        yield Step(len(parts) / len(batches), _("answering questions"))
    yield Step(1.0, result=choose_task.answers_of([parts[n] for n in sorted(parts)], questions, decision))


@torch.no_grad()
def answered(model: str, questions: Sequence[Item], decision: Mapping[str, float]) -> dict[str, NDArray[Any]]:
    """Return the logits of a batch of questions, by a system that this machine loads."""
    found = choose_task.logits_of(workers.loaded(examinee, model), questions, decision)
    return {key: values.numpy() for key, values in found.items()}


def examinee(model: str) -> Any:
    return _examinee(model, registry.load_task(TASK))[0]


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
