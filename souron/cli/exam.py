"""``souron exam``: a fresh paper, and what a model makes of it."""

from typing import Annotated

from typer import Argument, Option

from souron import registry
from souron.cli import arguments, console
from souron.cli import options as cli_options
from souron.cli.app import command
from souron.cli.console import print_json, screen, show
from souron.utils import hardware
from souron.utils.messages import N_, _


@command(
    "exam",
    N_("Give a model a multiple-choice exam, with controls."),
    "souron exam nearest data=terms seed=3\n"
    "souron exam runs/choose/nearest-terms data=glosses questions=300\n"
    "souron exam nearest data=medqa.jsonl --json",
    group="language",
)
def exam(
    model: Annotated[
        str | None,
        Argument(
            metavar="RUN|SYSTEM",
            help=N_("a run's folder, or a system that needs no training"),
            autocompletion=cli_options.complete_system_or_run,
        ),
    ] = None,
    data: Annotated[
        str | None,
        Option(
            metavar="D",
            help=N_("terms, glosses, or a CSV or JSONL: question, options, answer"),
            autocompletion=cli_options.complete_data,
        ),
    ] = None,
    seed: Annotated[
        int | None, Option(min=0, metavar="N", help=N_("another paper for each (default 0)"))
    ] = None,
    questions: Annotated[
        int | None, Option(min=1, metavar="N", help=N_("at most this many (default 400)"))
    ] = None,
    project: cli_options.Project = None,
) -> None:
    if model is None:
        raise arguments.missing("RUN|SYSTEM", "souron exam nearest data=terms seed=3")
    hardware.calm_allocator()
    hardware.share_cores()
    with screen.err.status(_("reading data")) as status:
        from souron.audit import exam as audit_exam

        record = None
        for step in audit_exam.examining(
            model, data, seed or 0, questions or audit_exam.QUESTIONS, project or "runs"
        ):
            status.update(f"{step.text}  {step.done:.0%}")
            record = step.result
    assert record is not None, "the last step has it"
    if screen.json:
        print_json(record.as_json())
        return
    from souron.report import exam as page

    show(page.headline(record))
    for note in page.warnings(record):
        console.warn(note)
    value, interval = _("accuracy"), _("95 % interval")
    table = console.table("", value, interval, _("exam questions"),
                          right=(value, interval, _("exam questions")))  # fmt: skip
    result, metric = record.result, registry.metric("accuracy")
    rows = {
        _("with the questions"): result.accuracy,
        _("without the questions"): result.control,
        _("with the key shuffled"): result.shuffled,
        **result.by_subject,
    }
    for name, one in rows.items():
        table.add_row(name, metric.text(one.value), metric.interval(one.low, one.high), str(one.n))
    show(table)
    show(_("report: {path}").format(path=record.report))
