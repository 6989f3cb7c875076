"""``souron work``: exposure of an occupation's tasks to language models."""

from typing import Annotated, Any

from typer import Argument, Option

from souron.cli import console
from souron.cli import options as cli_options
from souron.cli.app import command
from souron.cli.console import note, print_json, screen, show
from souron.utils import hardware, units
from souron.utils.messages import N_, _

MOST_ROWS = 40  # maximum in a table


@command(
    "work",
    N_("Estimate the exposure of an occupation to language models."),
    'souron work\nsouron work "Registered Nurses"\nsouron work 歯科医師\n'
    "souron work tasks.txt\nsouron work --json",
    group="society",
)
def work(
    what: Annotated[
        str | None,
        Argument(
            metavar="[OCCUPATION|FILE]",
            help=N_("an occupation, or a file with a task a line; without it: all occupations"),
        ),
    ] = None,
    table: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help=N_("a table of labelled tasks (default: the fetched one, or the half that ships)"),
        ),
    ] = None,
    project: cli_options.Project = None,
    open: cli_options.Open = False,
) -> None:
    hardware.share_cores()
    with screen.err.status(_("reading data")) as status:
        from souron.society.work import answers

        record = None
        for step in answers.answering(what, table, project or "runs"):
            status.update(f"{step.text}  {step.done:.0%}")
            record = step.result
    assert record is not None, "the last step has it"
    if screen.json:
        print_json(record.as_json())
    else:
        tell(record)
    if open:
        import webbrowser

        webbrowser.open(record.report.absolute().as_uri())


def tell(record: Any) -> None:
    from souron.society.work import exposure, page

    answer = record.answer
    show(page.headline(answer))
    if hasattr(answer, "whole"):
        tell_whole(answer.whole)
    elif hasattr(answer, "found"):
        tell_occupation(answer)
    else:
        tell_own(answer)
    for text in record.notes():
        console.warn(text)
    note(exposure.attribution())
    show(_("report: {path}").format(path=record.report))


def tell_occupation(answer: Any) -> None:
    from souron.society.work import page, tiles

    found = answer.found
    if not found.exact and found.near:
        show(_("It would also fit: {names}").format(names="; ".join(found.near)))
    tell_table(page.figures_of(answer))
    judges = [_("people"), *([_("GPT-4")] if answer.gpt4 else [])]
    counts = _("counts")
    table = console.table("", _("task at work"), *judges, counts, right=(counts,))
    for task in found.occupation.tasks[:MOST_ROWS]:
        table.add_row(
            tiles.label_sign(task.people), task.text, task.people,
            *([task.gpt4] if answer.gpt4 else []), f"{task.weight:g}",
        )  # fmt: skip
    show("", table)
    tell_rest(len(found.occupation.tasks))


def tell_own(answer: Any) -> None:
    from souron.society.work import page, tiles

    value, span = _("expected value"), _("95 % interval")
    table = console.table(_("figure"), _("what it counts"), value, span, right=(value, span))
    for name, one in answer.figures.items():
        table.add_row(name, page.meaning(name), f"{one.value:.2f}", page.span(one))
    show(table, "")
    table = console.table("", _("task at work"), "beta", "E0, E1, E2", right=("beta",))
    for task in answer.tasks[:MOST_ROWS]:
        beta = task.value("beta")
        shares = ", ".join(units.percent(share, 0) for share in task.probabilities)
        table.add_row(tiles.sign(beta), task.text, f"{beta:.2f}", shares)
    show(table)
    tell_rest(len(answer.tasks))


def tell_rest(count: int) -> None:
    if count > MOST_ROWS:
        show(_("and {count} more").format(count=count - MOST_ROWS))


def tell_whole(found: Any) -> None:
    from souron.society.work import page

    tell_table(page.workers_table(found))
    show("")
    tell_table(page.means_table(found))


def tell_table(part: dict[str, Any]) -> None:
    table = console.table(*part["heads"])
    for row in part["rows"]:
        table.add_row(*row)
    show(table, part["text"])
