"""Commands that train: ``souron train`` and ``souron compare``."""

import ast
import re
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from typer import Argument

from souron import registry
from souron.cli import actions, console
from souron.cli.app import command
from souron.cli.console import follow, print_json, screen
from souron.cli.parsing import arguments
from souron.cli.parsing import options as cli_options
from souron.hub import names
from souron.kinds.signature import yes_or_no
from souron.runs.options import CompareOptions, TrainOptions, all_fields
from souron.training import ranks
from souron.utils import hardware
from souron.utils.messages import N_, UserError, _, unknown_option

SHIPPED = "efficientnet_lite"  # its weights come with souron


@command(
    "train",
    N_("Train a system, test it on unseen cases, write a report."),
    "souron train data=photos/              (transfer learning with the weights that are here)\n"
    "souron train cnn data=digits budget=10s\n"
    "souron train resnet18 data=photos/ epochs=5 imgsz=64\n"
    "souron train resnet18 data=photos/ pretrained=true freeze=true\n"
    "souron train cnn data=digits rate=0.01     (any field of the system's Config)\n"
    "souron train cnn data=digits epochs=20 --forecast\n"
    "souron train cnn data=digits budget=1min --no-forecast\n"
    "souron train --resume",
    group="train",
)
@cli_options.takes(TrainOptions)
def train(
    context: typer.Context,
    system: cli_options.System = None,
    model: cli_options.Model = None,
    data: cli_options.Data = None,
    epochs: cli_options.Epochs = None,
    time: cli_options.Time = None,
    resume: cli_options.Resume = None,
    workers: cli_options.Workers = None,
    forecast: cli_options.Forecast = False,
    no_forecast: cli_options.NoForecast = False,
    fields: cli_options.Fields = None,
    **options: Any,
) -> None:
    if system and model:  # a field of the system's Config
        fields = [*(fields or []), f"model={model}"]
    system = system or model or ""
    resumed = folder_to_resume(resume, options["project"], "train")
    if resumed is None and not system and data is None:
        raise arguments.missing("SYSTEM", "souron train cnn data=digits budget=10s")
    if resumed is None and not system:
        system = SHIPPED
        options["pretrained"] = options["pretrained"] or "true"
        options["freeze"] = True
        console.warn(
            _("no system is named: transfer learning with {system}, whose ImageNet weights come with souron").format(
                system=SHIPPED
            )
        )
    config = chosen_fields(system, fields or [], context) if system else {}
    options["budget"] = one_budget(options["budget"], epochs, time)
    options["pretrained"] = yes_or_no(options["pretrained"])
    given = cli_options.given({**options, "config": config, "resume": resumed}, all_fields(TrainOptions))
    hardware.calm_allocator()
    use_cores(workers)
    from souron.runs import train as run_train

    if no_forecast:
        given["forecast"] = False
    events = run_train.training(system, data, **given)
    if team_of(options["processes"]):
        ranks.help_with(events)
        return
    if ranks.size() > 1:
        events = ranks.lead(events)
    if forecast:
        show_forecast(events)
        return
    [record] = follow(events)
    if screen.json:
        print_json(record.as_json())
    else:
        console.run(record)


def team_of(processes: int | None) -> bool:
    """Start the processes that are asked for, and end with their exit code; True in a helper of them."""
    if ranks.size() == 1 and processes and processes > 1:
        code = ranks.start(processes, ranks.without(sys.argv[1:]))
        screen.journal = None  # the first of them has told how it ended
        raise typer.Exit(code)
    if ranks.size() > 1:
        signal.signal(signal.SIGINT, signal.SIG_IGN if ranks.rank() else signal.default_int_handler)
    if ranks.rank():
        screen.journal = None  # the first of them tells its events
    return ranks.rank() > 0


def show_forecast(events: Iterable[Any]) -> None:
    """Print the forecast of time and memory, and stop before a run is created."""
    [found] = follow(console.up_to_forecast(events))
    if screen.json:
        print_json(found.as_json())
    else:
        console.forecast(found)


def given_options(**options: Any) -> dict[str, Any]:
    """Return the options that were given; the others keep their defaults further down."""
    return {name: value for name, value in options.items() if value is not None}


def one_budget(budget: str | None, epochs: int | None, time: str | None) -> str | None:
    if time is not None and re.fullmatch(r"[\d.]+", time):
        time += "s"
    given = [text for text in (budget, f"{epochs}ep" if epochs else None, time) if text]
    if len(given) > 1:
        raise UserError(
            "option",
            _("{given} cannot go together").format(given=", ".join(given)),
            expected=_("one of budget, epochs and time"),
            fix=f"budget={given[0]}",
        )
    return given[0] if given else None


def folder_to_resume(text: str | None, project: str | None, verb: str) -> str | None:
    """Return the run to resume; the latest unfinished one if no folder was named."""
    wish = yes_or_no(text)
    if not wish or isinstance(wish, str):
        return wish or None
    unfinished = [
        file
        for file in Path(project or "runs").glob("*/*/args.yaml")
        if (file.parts[-3] == "compare") == (verb == "compare") and not (file.parent / "receipt.json").exists()
    ]
    if not unfinished:
        raise UserError(
            "resume",
            _("no run in {folder} waits to be resumed").format(folder=project or "runs"),
            expected=_("the folder of an interrupted run"),
            fix=f"souron {verb} resume=FOLDER",
            exit=3,
        )
    return str(max(unfinished, key=lambda file: file.stat().st_mtime).parent)


def chosen_fields(system: str, given: list[str], context: typer.Context) -> dict[str, str]:
    """Parse ``["width=32"]`` to ``{"width": "32"}``, for fields of the system's Config."""
    entry, _size = registry.find(system)
    tree = ast.parse(entry.file.read_text(encoding="utf-8"))
    fields = [
        item.target.id
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Config"
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    ]
    chosen = dict(text.split("=", 1) for text in given)
    known = [*arguments.shown(arguments.options_of(context.command)), *fields]
    for name in chosen:
        if name not in fields:
            raise unknown_option(name, known, "souron train --help")
    return chosen


def use_cores(workers: int | None) -> None:
    if workers is not None:
        import torch

        torch.set_num_threads(workers)


@command(
    "compare",
    N_("Train systems at equal budgets and test which is better."),
    "souron compare mlp cnn resnet data=digits budget=10s seeds=3\n"
    "souron compare resnet18 vit data=photos/ budget=5min seeds=5 --json\n"
    "souron compare mlp cnn data=digits budget=1min margin=2        (is one not inferior by more than 2 points?)\n"
    "souron compare runs/classify/mlp-digits runs/classify/cnn-digits   (trained already: a verdict at once)\n"
    "souron compare --resume",
    group="train",
)
@cli_options.takes(CompareOptions)
def compare(
    systems: Annotated[
        list[str] | None,
        Argument(
            metavar="SYSTEMS",
            help=N_("two or more systems' names, or the folders of finished runs"),
            autocompletion=cli_options.complete_system_or_run,
        ),
    ] = None,
    data: cli_options.Data = None,
    epochs: cli_options.Epochs = None,
    time: cli_options.Time = None,
    resume: cli_options.Resume = None,
    workers: cli_options.Workers = None,
    forecast: cli_options.Forecast = False,
    **options: Any,
) -> None:
    resumed = folder_to_resume(resume, options["project"], "compare")
    if resumed is None and not systems:
        raise arguments.missing("SYSTEMS", "souron compare mlp cnn data=digits budget=10s seeds=3")
    if systems and all(map(names.is_run, systems)):
        margin = options.pop("margin", None)
        compare_runs(systems, margin, [n for n, v in {"data": data, **options}.items() if v not in (None, False)])
        return
    for system in systems or []:
        registry.find(system.partition(":")[0])
    options["budget"] = one_budget(options["budget"], epochs, time)
    given = cli_options.given({**options, "resume": resumed}, all_fields(CompareOptions))
    hardware.calm_allocator()
    use_cores(workers)
    from souron.runs import compare as run_compare

    events = run_compare.comparing(systems or [], data, **given)
    if forecast:
        show_forecast(events)
        return
    [record] = follow(events)
    if screen.json:
        print_json(record.as_json())
    elif options["sbatch"] or options["round"] is not None:
        console.show(record.sentence)
    else:
        console.comparison(record)


def compare_runs(folders: list[str], margin: float | None, given: list[str]) -> None:
    """Print the verdict on finished runs, as ``souron verdict`` does.

    Raises UserError, also for options of a training.
    """
    if given:
        runs = " ".join(map(console.quoted, folders))
        raise UserError(
            "option",
            _("{given} cannot go together with runs, which are trained").format(given=", ".join(given)),
            expected=_("folders of runs alone"),
            fix=f"souron compare {runs} margin=2",
            exit=2,
        )
    from souron.evaluation import fixed_margin

    words = {"margin": fixed_margin.asked(margin, None)}
    actions.conduct(registry.action("verdict"), folders, words, None, False)
