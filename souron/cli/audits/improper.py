"""``souron audit improper``: how many answers of a language model are improper."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from souron.cli import arguments, console, options
from souron.cli.app import command
from souron.cli.console import print_json, screen, show
from souron.kinds.signature import Given
from souron.registry import StudyEntry
from souron.utils import hardware
from souron.utils.messages import N_, UserError, _

ENTRY = StudyEntry(
    name="improper",
    kind="",
    title=N_("Count how many answers of a language model are inappropriate."),
    examples=("souron improper runs/complete/manners before=runs/complete/talk",),
    group="society",
    given=Given("MODEL", N_("a language model, and perhaps what it was before"), 1, 2),
    options=(),
    within="audit",
    lookup=False,
    file=Path(__file__),
)


@command("improper", ENTRY.title, "\n".join(ENTRY.examples), group=ENTRY.group)
def improper(
    files: Annotated[
        list[str] | None, Argument(metavar=ENTRY.given.metavar, help=ENTRY.given.help)
    ] = None,
    before: Annotated[
        str | None,
        Option(metavar="MODEL", help=N_("the model before tuning, for comparison")),
    ] = None,
    prompts: Annotated[
        str | None,
        Option(metavar="FILE", help=N_("prompts of your own, a line each; or manners")),
    ] = None,
    lexicon: options.Lexicon = None,
    language: Annotated[
        str | None, Option(metavar="L", help=N_("prompts in en or ja alone"))
    ] = None,
    n: Annotated[int | None, Option(metavar="N", help=N_("at most so many prompts"))] = None,
    each: Annotated[
        int | None, Option(min=1, max=50, metavar="N", help=N_("answers to each prompt (1)"))
    ] = None,
    length: Annotated[
        int | None, Option(min=1, max=4096, metavar="N", help=N_("tokens of an answer (48)"))
    ] = None,
    seed: options.Seed = None,
    open: options.Open = False,
    project: options.Project = None,
) -> None:
    given: dict[str, Any] = {
        "prompts": prompts,
        "lexicon": lexicon,
        "language": language,
        "n": n,
        "each": each,
        "length": length,
        "seed": seed,
        "project": project,
    }
    kept = {name: value for name, value in given.items() if value is not None}
    audit(files or [], open, before, **kept)


def audit(files: Sequence[str], open: bool, before: str | None = None, **given: Any) -> None:
    """Two models: the second is the one after tuning, as with ``before=``. Raises UserError."""
    if not files:
        raise arguments.missing("RUN", "souron audit improper smollm2")
    model = files[-1]
    if len(files) > 2 or (before and len(files) > 1):
        raise UserError(
            "option",
            _("one thing too many: {name}").format(name=files[1]),
            expected=_("a model, and perhaps what it was before"),
            fix=f"souron audit improper {files[-1]} before={files[0]}",
        )
    if len(files) == 2:
        before = files[0]
    hardware.calm_allocator()
    hardware.share_cores()
    with screen.err.status(_("loading {name}").format(name=model)) as status:
        from souron.society.improper.audit import auditing

        record = None
        for step in auditing(model, before, **given):
            status.update(f"{step.text}  {step.done:.0%}")
            record = step.result
        from souron.society.improper import page

        assert record is not None, "the last step has it"
        page.write(record)
    if screen.json:
        print_json({"sentence": page.headline(record), **record.as_json()})
    else:
        show(page.headline(record), "", rates(record), "", judges(record), "")
        for note in page.notes(record):
            console.warn(note)
        show(_("page: {path}").format(path=record.report))
    if open:
        import webbrowser

        webbrowser.open(record.report.absolute().as_uri())


def rates(record: Any) -> Any:
    """Inappropriate answers per 1 000, by each way."""
    from souron.society.improper import page

    shown = [one.model for one in page.models(record)]
    made = console.table(_("inappropriate per 1 000, by"), *shown, right=tuple(shown))
    for way in record.after.improper:
        cells = [page.span(record.rate(one, way)) for one in page.models(record)]
        made.add_row(page.way_name(way), *cells)
    return made


def judges(record: Any) -> Any:
    """Return a table of what each way flags of harmful, clinical and other harmless sentences."""
    from souron.society.improper import page

    figures = _("clinical"), _("other acceptable"), _("recall")
    title = _("Flagged by mistake: clinical and other acceptable sentences (95 % interval)")
    made = console.table(_("by"), _("language"), *figures, title=title, right=figures)
    for one in record.judged:
        shares = map(_brief, (one.clinical, one.proper, one.catch))
        made.add_row(page.way_name(one.way), page.part_name(one.language), *shares)
    return made


def _brief(found: Any) -> str:
    """A share with its interval, short enough for a terminal of 80 columns."""
    return f"{100 * found.value:.1f} % ({100 * found.low:.0f}–{100 * found.high:.0f})"
