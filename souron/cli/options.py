"""The options that several commands share, and what a shell completes them with."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from souron import registry
from souron.registry import about
from souron.utils.messages import N_


def complete_system(incomplete: str) -> list[tuple[str, str]]:
    names = {
        registry.full_name(entry, size): about(entry)
        for entry in registry.entries().values()
        for size in entry.sizes
    }
    return [(name, idea) for name, idea in names.items() if name.startswith(incomplete)]


def complete_data(incomplete: str) -> list[tuple[str, str]]:
    from souron.data import load

    entries = load.names().values()
    return [(entry.name, about(entry)) for entry in entries if entry.name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    runs = [str(file.parent) for file in Path("runs").glob("*/*/args.yaml")]
    return [run for run in sorted(runs) if run.startswith(incomplete)]


def complete_system_or_run(incomplete: str) -> list[tuple[str, str]]:
    runs = [(run, "") for run in complete_run(incomplete)]
    return [*complete_system(incomplete), *runs]


def complete_fetchable(incomplete: str) -> list[str]:
    from souron.hub import fetch

    return [name for name in fetch.fetchable() if name.startswith(incomplete)]


System = Annotated[
    str | None,
    Argument(
        metavar="SYSTEM",
        help=N_("a system's name, with or without a size: resnet, resnet18"),
        autocompletion=complete_system,
    ),
]
Model = Annotated[
    str | None,
    Option("--model", "--system", metavar="SYSTEM", help=N_("the system, as an option")),
]
Data = Annotated[
    str | None,
    Option(
        metavar="D",
        help=N_("a data set's name, a folder with a sub-folder for each class, or a CSV"),
        autocompletion=complete_data,
    ),
]
Budget = Annotated[
    str | None,
    Option(metavar="B", help=N_("how much to train: 60s, 5min, 1h, 5ep, 20000ex; 60s if not said")),
]
Epochs = Annotated[
    int | None, Option(min=1, metavar="N", help=N_("passes over the training cases: epochs=5"))
]
Time = Annotated[
    str | None, Option(metavar="T", help=N_("training time: 90 (seconds), 90s, 5min, 1h"))
]
Seed = Annotated[
    int | None, Option(min=0, metavar="N", help=N_("what chance starts from; 0 if not said"))
]
Seeds = Annotated[
    int | None, Option(min=1, metavar="N", help=N_("runs of each system; 3 if not said"))
]
Batch = Annotated[
    int | None, Option(min=1, metavar="N", help=N_("cases in one step; 128 if not said"))
]
Side = Annotated[
    int | None,
    Option(
        "--imgsz",
        min=4,
        metavar="N",
        help=N_("the pictures' side in pixels; the data's own if not said"),
    ),
]
Device = Annotated[str | None, Option(metavar="X", help=N_("auto, cpu, cuda, cuda:1, mps"))]
Workers = Annotated[
    int | None, Option(min=1, metavar="N", help=N_("cores to use; all if not said"))
]
Resume = Annotated[
    str | None,
    Option(metavar="RUN", help=N_("go on with an interrupted run; without a folder the latest")),
]
Pretrained = Annotated[
    str | None,
    Option(metavar="true|RUN", help=N_("start from published weights, or from those of a run")),
]
Freeze = Annotated[
    bool, Option("--freeze", help=N_("let only the last layer learn (transfer learning)"))
]
Patience = Annotated[
    int | None,
    Option(min=0, metavar="N", help=N_("stop after N looks without improvement; 0 never")),
]
Rate = Annotated[
    float | None,
    Option(
        "--lr0", metavar="X", help=N_("the highest learning rate; the system's own if not said")
    ),
]
Augment = Annotated[
    str | None,
    Option(metavar="A", help=N_("what is done to training pictures: shift,mirror or none")),
]
Group = Annotated[
    str | None,
    Option(
        metavar="G",
        help=N_("how to know a patient's pictures: a column, a pattern for file names, or none"),
    ),
]
AllowLeak = Annotated[
    bool,
    Option(
        "--allow-leak", help=N_("measure although training shares patients or pictures with it")
    ),
]
Folds = Annotated[
    int | None,
    Option(
        min=1, metavar="N",
        help=N_("cross-validate in N folds; 5 where cases are few, 1 for a single split"),
    ),
]  # fmt: skip
Repeats = Annotated[
    int | None,
    Option(min=1, metavar="N", help=N_("repeats of the cross-validation; 2 if not said")),
]
Positive = Annotated[
    str | None, Option(metavar="CLASS", help=N_("the class that is to be found, such as a disease"))
]
Prevalence = Annotated[
    float | None,
    Option(metavar="X", help=N_("its share where the system will be used, for predictive values")),
]
Sensitivity = Annotated[
    float | None,
    Option(metavar="X", help=N_("what the threshold must reach on validation cases, such as 0.95")),
]
Window = Annotated[
    str | None,
    Option(metavar="C,W", help=N_("grey values of DICOM to show: centre,width; full; the file's")),
]
Samples = Annotated[
    int | None,
    Option(min=3, metavar="N", help=N_("pictures that a generator is judged by; 500 if not said")),
]
Name = Annotated[str | None, Option(metavar="TEXT", help=N_("the run folder's name"))]
Project = Annotated[
    str | None, Option(metavar="FOLDER", help=N_("where run folders go; runs if not said"))
]
Forecast = Annotated[
    bool, Option("--forecast", help=N_("say what it would take, and stop before it starts"))
]
Fields = Annotated[list[str] | None, Option("--set", hidden=True)]
Open = Annotated[bool, Option("--open", help=N_("open the page in the browser"))]
