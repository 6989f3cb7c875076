"""Options of ``train`` and ``compare``.

The Python API, the command line and the studio's forms are made from these dataclasses, and from
the ``Options`` of each task.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

from souron import registry
from souron.kinds.signature import Choice, Option, options_of_class
from souron.utils.messages import N_, UserError, _, unknown_option

Budget = Annotated[str, Choice(N_("how much to train: 60s, 5min, 1h, 5ep, 20000ex (default 60s)"), metavar="B")]
Side = Annotated[int | None, Choice(N_("the images' side in pixels (default: the data's own)"), low=4)]
Batch = Annotated[int, Choice(N_("batch size: cases in one step (default 128)"), low=1)]
Augment = Annotated[str | None, Choice(N_("augmentation of training images: shift,mirror or none"), metavar="A")]
Device = Annotated[str, Choice(N_("what computes: auto, cpu, cuda, cuda:1, mps"), metavar="X")]
Group = Annotated[
    str | None,
    Choice(N_("which images belong to one patient: a column, a pattern for file names, or none"), metavar="G"),
]
AllowLeak = Annotated[bool, Choice(N_("ignore leakage of patients or images (not recommended)"))]
Window = Annotated[
    str | None, Choice(N_("grey values of DICOM to show: centre,width; full; the file's"), metavar="C,W")
]
Freeze = Annotated[
    bool, Choice(N_("train only the last layer, or a detector above its published backbone (transfer learning)"))
]
Seeds = Annotated[int, Choice(N_("runs of each system (default 3)"), low=1)]
Name = Annotated[str, Choice(N_("the run folder's name"))]
Project = Annotated[str, Choice(N_("where run folders go (default runs)"), metavar="FOLDER")]


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of ``souron.evaluate`` besides a run and data; tasks add their own."""

    ORDER: ClassVar = (  # in help texts
        "budget",
        "seed",
        "seeds",
        "side",
        "batch",
        "pretrained",
        "freeze",
        "patience",
        "rate",
        "augment",
        "name",
        "project",
        "device",
        "margin",
        "plan",
        "processes",
        "brief",
        "on",
        "send",
        "sbatch",
        "round",
        "group",
        "allow_leak",
        "window",
    )

    group: Group = None
    allow_leak: AllowLeak = False
    window: Window = None


@dataclass(frozen=True)
class _LearningOptions(EvaluateOptions):
    """Options common to training one system and comparing several."""

    budget: Budget = "60s"
    side: Side = None
    batch: Batch = 128
    freeze: Freeze = False
    augment: Augment = None
    name: Name = ""
    project: Project = "runs"
    device: Device = "auto"


@dataclass(frozen=True)
class TrainOptions(_LearningOptions):
    """Options of ``souron.train`` besides a system and data; tasks add their own."""

    seed: Annotated[int, Choice(N_("random seed (default 0)"), low=0)] = 0
    pretrained: Annotated[
        str | None, Choice(N_("start from published weights, or from those of a run"), metavar="true|RUN")
    ] = None
    patience: Annotated[int, Choice(N_("early stopping: validations without improvement; 0 never"), low=0)] = 0
    rate: Annotated[float | None, Choice(N_("the highest learning rate (default: the system's own)"))] = None
    processes: Annotated[int, Choice(N_("processes that share each batch"), low=1)] = 1
    brief: Annotated[bool, Choice(N_("seconds by the clock, with the tests: at most 200 test cases, no folds"))] = False


@dataclass(frozen=True)
class CompareOptions(_LearningOptions):
    """Options of ``souron.compare`` besides systems and data; tasks add their own."""

    budget: Annotated[
        str,
        Choice(
            N_(
                "how much to train: 60s, 5min, 1h, 5ep, 20000ex (default 60s); 5min@HOST: as many examples "
                "everywhere as fit 5 minutes on that computer, 5min@here on this one"
            ),
            metavar="B",
        ),
    ] = "60s"
    seeds: Seeds = 3
    margin: Annotated[
        float | None, Choice(N_("margin of non-inferiority and equivalence: points, or the measure's unit"), low=0)
    ] = None
    plan: Annotated[str | None, Choice(N_("take the margin that a plan keeps"), metavar="FOLDER")] = None
    on: Annotated[
        str | None, Choice(N_("where the rounds run: processes:4, dask://HOST:PORT, slurm"), metavar="ENGINE")
    ] = None
    send: Annotated[
        str | None,
        Choice(
            N_("with on: send the data to workers that lack them; patients: even data of patients"),
            metavar="true|patients",
        ),
    ] = None
    sbatch: Annotated[str | None, Choice(N_("write a job script for SLURM, and compute nothing"), metavar="FILE")] = (
        None
    )
    round: Annotated[
        int | None, Choice(N_("of resume: play this round alone, from 0, as a job script does"), low=0)
    ] = None
    pretrained: Annotated[
        str | None, Choice(N_("start each from its published weights, or from a run's"), metavar="true|RUN")
    ] = None


@dataclass(frozen=True)
class CommandOptions:
    """Options of the commands ``train`` and ``compare``; the functions of Python have parameters in their place."""

    data: Annotated[
        str, Choice(N_("a data set's name, a folder with a sub-folder for each class, or a CSV"), metavar="D")
    ] = ""
    epochs: Annotated[int | None, Choice(N_("passes over the training cases: epochs=5"), low=1)] = None
    time: Annotated[str, Choice(N_("training time: 90 (seconds), 90s, 5min, 1h"), metavar="T")] = ""
    resume: Annotated[str, Choice(N_("resume an interrupted run; without a folder the latest"), metavar="RUN")] = ""
    workers: Annotated[int | None, Choice(N_("cores to use (default all)"), low=1)] = None
    forecast: Annotated[bool, Choice(N_("print the forecast, and stop before it starts"))] = False


MOST_BRIEF = 200  # validation and test cases each of a brief training

# these determine the location of a run, not its content
NOT_KEPT = ("name", "project", "plan", "on", "send", "processes", "sbatch", "round")
ON_THE_COMMAND_LINE = {"side": "imgsz", "rate": "lr0"}  # different names on the command line


def word(option: Option) -> str:
    """Return the name of an option on the command line.

    >>> word(Choice("pixels").option("side", 32))
    'imgsz'
    """
    return ON_THE_COMMAND_LINE.get(option.name, option.name)


def all_fields(options: type) -> list[Option]:
    """Return the options of a command, the tasks' own after the common ones."""
    return [*options_of_class(options).values(), *task_fields(options)]


def task_fields(options: type) -> list[Option]:
    """Return the options of some tasks only that a command takes, without importing torch."""
    return registry.task_options("compared" if options is CompareOptions else "all")


def read(options: type, given: Mapping[str, Any], fix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the common options with defaults, and those of the task.

    Raises UserError for an unknown name.
    """
    common = {item.name: item.default for item in fields(options)}
    own = {field.name for field in task_fields(options)}
    for name, value in given.items():
        if name not in common and name not in own:
            raise unknown_option(name, [*common, *own], fix)
        if name in common and value is not None:
            common[name] = value
    return common, {name: given[name] for name in own if given.get(name) is not None}


def of_task(task: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task's own options among a run's arguments.

    Raises UserError for an option of another task.
    """
    entry = registry.tasks()[task]
    known = [option.name for option in entry.options]
    for field in task_fields(TrainOptions):
        value = args.get(field.name)
        if value not in (None, field.default) and field.name not in known:
            raise UserError(
                "option",
                _("{task} takes no {name}").format(task=registry.task_name(task), name=f"{field.name}={value}"),
                expected=_("options of {tasks} only there").format(
                    tasks=", ".join(map(registry.task_name, field.tasks))
                ),
                fix=_("leave it out; its own options: {names}").format(names=", ".join(known) or "–"),
                exit=2,
            )
    return {name: args[name] for name in known if args.get(name) is not None}


def takes(options: type) -> Callable[[Callable], Callable]:
    """Decorate a function so that ``help()`` lists its ``**options`` one by one."""

    def shown(function: Callable) -> Callable:
        parameters = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.type if field.default is not None else field.type | None,
            )
            for field in all_fields(options)
        ]
        function.__signature__ = inspect.signature(function).replace(parameters=parameters)  # type: ignore[attr-defined]
        return function

    return shown


def check_shares(**shares: float | None) -> None:
    """Raise UserError unless all are between 0 and 1."""
    for name, value in shares.items():
        if value is not None and not 0 < value < 1:
            raise UserError(
                "value",
                _("{name}={value} is not understood").format(name=name, value=value),
                expected=_("a share between 0 and 1, such as {name}=0.05").format(name=name),
            )
