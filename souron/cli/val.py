"""``souron val``: measure a trained system again."""

from dataclasses import asdict
from typing import Annotated, Any

from typer import Argument

from souron.cli import console
from souron.cli.app import command
from souron.cli.console import note, print_json, screen, show
from souron.cli.parsing import arguments
from souron.cli.parsing import options as cli_options
from souron.inference import modes
from souron.runs.options import EvaluateOptions
from souron.utils import hardware
from souron.utils.messages import N_, _


@command(
    "val",
    N_("Measure a trained system again, on its test cases or others."),
    "souron val runs/classify/cnn-digits\nsouron val runs/classify/resnet-photos data=others/\n"
    "souron val resnet                        (as it comes ready trained)",
    group="train",
)
@cli_options.takes(EvaluateOptions)
def val(
    run: Annotated[
        str | None,
        Argument(
            metavar="RUN|SYSTEM",
            help=N_("a run's folder, or a system that comes ready trained"),
            autocompletion=cli_options.complete_system_or_run,
        ),
    ] = None,
    model: cli_options.Model = None,
    data: cli_options.Data = None,
    fast: cli_options.Fast = None,
    **options: Any,
) -> None:
    folder = arguments.only_one(run, model)
    if folder is None:
        raise arguments.missing("RUN", "souron val runs/classify/cnn-digits")
    mode = modes.chosen_mode(fast)
    hardware.calm_allocator()
    with screen.err.status(_("testing")):
        from souron.data.quality import warnings as data_warnings
        from souron.evaluation import external
        from souron.inference import whole
        from souron.report import wording
        from souron.runs import evaluate

        record = evaluate.examine(folder, data, hasten=whole.hastening(mode, note), **cli_options.given(options))
    changes = external.side_by_side(record.internal, record.measures)
    if screen.json:
        measures = {name: asdict(measure) for name, measure in record.measures.items()}
        told = record.details.as_json() if hasattr(record.details, "as_json") else {}
        notes = {"notes": record.notes} if record.notes else {}
        unlike = {} if record.unlike is None else {"unlike": record.unlike}
        beside = {"external": external.as_json(changes, wording.change_sentence(changes))} if changes else {}
        named = {"run": folder, "data": data, "engine": record.engine}
        warnings = data_warnings.as_json(record.warnings, record.folder)
        print_json({**named, "measures": measures, **beside, **unlike, **warnings, **notes, **told})
    else:
        for text in record.notes:
            console.warn(text)
        if changes:
            show(wording.change_sentence(changes))
        rest = {name: one for name, one in record.measures.items() if name not in record.internal}
        for part in ([wording.change_table(changes)] if changes else []) + ([console.measures(rest)] if rest else []):
            show(part)
        console.data_warnings(record)
