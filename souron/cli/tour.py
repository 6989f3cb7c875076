"""``souron tour``: the highlights in ninety seconds, or the lecture chapter by chapter."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer import Argument

from souron import registry
from souron.cli import actions, console
from souron.cli.app import command
from souron.cli.console import follow, note, print_json, screen, show
from souron.cli.parsing import options as cli_options
from souron.runs.options import TourOptions, all_fields
from souron.utils import hardware, units
from souron.utils.messages import N_, _

NAMES = ("classification", "generation", "detection", "segmentation", "language", "words", "society", "fair-fight")


@command(
    "tour",
    N_("See souron at work: eight short demonstrations in 90 seconds, or one chapter."),
    "souron tour\nsouron tour detection\nsouron tour fair-fight data=photos/ budget=30s seeds=3\nsouron tour all",
    group="start",
)
@cli_options.takes(TourOptions)
def tour(
    chapter: Annotated[
        str | None,
        Argument(
            metavar="CHAPTER",
            help=N_(
                "classification, generation, detection, segmentation, language, words, society, "
                "fair-fight, or all; without one the highlights"
            ),
            autocompletion=lambda incomplete: [n for n in NAMES if n.startswith(incomplete)],
        ),
    ] = None,
    data: cli_options.Data = None,
    **options: Any,
) -> None:
    hardware.calm_allocator()
    given = cli_options.given({"data": data, **options}, all_fields(TourOptions))
    if chapter is None and given.keys() - {"project"}:
        chapter = "fair-fight"  # the chapter that these options belong to
    if chapter is None:
        highlights(**given)
    elif chapter == "all":
        in_turn(given)
    else:
        one(chapter, given)


def highlights(**given: Any) -> None:
    """Run all parts of the highlights; print a line for each, and the page's path."""
    from souron.tour import tour as touring

    record: Any = None
    for record in follow(touring.touring(**given)):
        if not screen.json and hasattr(record, "name"):
            part(record)
    if screen.json:
        print_json(record.as_json())
    else:
        show(
            "",
            _("{seconds} in all. Everything on one page: {path}").format(
                seconds=units.seconds(record.seconds), path=record.page.resolve()
            ),
            _("Next: {command}; and {fetch} for networks that answer on photographs").format(
                command="souron studio", fetch="souron fetch starters"
            ),
        )
    if any(outcome.error for outcome in record.parts):
        raise typer.Exit(1)


def part(outcome: Any) -> None:
    """Print one part in a few lines."""
    show(f"{outcome.title}  ({units.seconds(outcome.seconds)})")
    if outcome.error is not None:
        console.warn(f"  [{outcome.error.code}] {outcome.error.found}")
        if outcome.error.fix:
            note(f"  {outcome.error.fix}")
        return
    show(*(f"  {sentence}" for sentence in outcome.highlight.sentences))


def one(chapter: str, given: dict[str, Any]) -> None:
    from souron.tour import chapters

    record = None
    for record in follow(chapters.touring(chapter, chapters.Given(**given))):
        if not screen.json:
            stop(record)
    if screen.json and record is not None:
        print_json({"chapter": chapter, **record.as_json()})


def in_turn(given: dict[str, Any], names: Sequence[str] = NAMES) -> None:
    """Run every chapter; Ctrl-C ends one and offers the next."""
    for number, name in enumerate(names):
        if not screen.json:
            show("", f"{number + 1}/{len(names)} {name}")
        try:
            one(name, given)
        except typer.Exit as ended:
            following = names[number + 1 :]
            if ended.exit_code != 130 or not following or not sys.stdin.isatty():
                raise
            if not typer.confirm(_("Continue with {chapter}?").format(chapter=following[0]), True):
                raise


def stop(record: Any) -> None:
    """Print one stop of a chapter: in short for a run, in full for a comparison."""
    if hasattr(record, "verdicts"):
        from souron.actions.compare import CompareRecord

        actions.print_record(CompareRecord(record))
        return
    if hasattr(record, "drawings"):
        show(
            _("ready trained: {systems}").format(systems=", ".join([*record.answers, *record.drawings]))
            + f"  {record.folder / 'ready.html'}"
        )
        return
    if hasattr(record, "sentences"):
        show(*record.sentences, str(record.page))
        return
    figures = ", ".join(
        f"{registry.metric(name).title} {registry.metric(name).text(measure.value)}"
        for name, measure in record.measures.items()
    )
    show(f"{record.system}: {figures or _('generated')}  {record.folder / 'report.html'}")
