"""``souron check``: check an answer against its sources."""

from pathlib import Path
from typing import Annotated, Any

from rich.text import Text
from typer import Argument, Option

from souron.cli import arguments, console, options
from souron.cli.app import command
from souron.cli.console import note, print_json, screen, show
from souron.cli.studies import print_record
from souron.utils import hardware, units
from souron.utils.messages import N_, UserError, _

EXAMPLE = "souron check answer.txt sources=notes/"
STYLES = {
    "supported": "green",
    "contradicted": "bold red",
    "not found": "yellow",
    "no claim": "dim",
}


@command(
    "check",
    N_("Check an answer against its sources, sentence by sentence."),
    "souron check answer.txt sources=notes/\n"
    "souron check - sources=guide.txt page=checked.html\n"
    "souron check answer.txt library=refs.bib          (its references alone)\n"
    "souron check answer.txt sources=notes/ library=refs.bib --json\n"
    'souron check answer.txt sources=notes/ model=smollm2 question="..." samples=5',
    group="society",
)
def check(
    answer: Annotated[
        str | None,
        Argument(metavar="ANSWER", help=N_("a text (.txt, .md), or - for what is piped in")),
    ] = None,
    sources: Annotated[
        list[str] | None,
        Option(metavar="FILE|FOLDER", help=N_("the texts that should support it; repeatable")),
    ] = None,
    library: Annotated[
        list[str] | None,
        Option(metavar="FILE", help=N_("your publications (.bib, .ris, .nbib), for references")),
    ] = None,
    page: Annotated[str, Option(metavar="FILE", help=N_("write the result as one HTML page"))] = "",
    model: Annotated[
        str, Option(metavar="RUN", help=N_("the language model that gave the answer"))
    ] = "",
    question: Annotated[str, Option(metavar="TEXT", help=N_("what it was asked"))] = "",
    samples: Annotated[
        int, Option(min=0, max=20, metavar="N", help=N_("answers to sample again (default 0)"))
    ] = 0,
    seed: options.Seed = None,
    forget: Annotated[
        bool, Option("--forget", help=N_("keep no index of the texts in the cache"))
    ] = False,
    open: options.Open = False,
) -> None:
    if not answer:
        raise arguments.missing("ANSWER", EXAMPLE)
    if not sources:
        check_references(answer, library or [])
        return
    path = page_path(page, answer, open)
    hardware.calm_allocator()
    hardware.share_cores()
    from souron.society.claims import faithfulness

    record: Any = None
    events = faithfulness.checking(
        answer, sources, keep=not forget, library=library or (), model=model, samples=samples,
        question=question, seed=seed or 0,
    )  # fmt: skip
    with console.watcher() as draw:
        for event in events:
            draw(event)
            record = event.record
    assert record is not None
    if path:
        from souron.report import claims as report

        report.write(record, path)
    if screen.json:
        print_json(record.as_json() | ({"page": path} if path else {}))
    else:
        tell(record, path)
    if open and path:
        import webbrowser

        webbrowser.open(path.absolute().as_uri())


def check_references(answer: str, library: list[str]) -> None:
    """Check only the references of an answer, where no sources were given."""
    from souron.society.claims import faithfulness
    from souron.studies.references import findings
    from souron.studies.references import library as shelf
    from souron.studies.references.record import ReferencesRecord

    entries = shelf.read(library)
    found = findings.check(faithfulness.answer_of(answer), entries)
    if screen.json:
        print_json({"citations": [finding.as_json() for finding in found]})
        return
    print_record(ReferencesRecord(answer, found, len(entries)))
    note(_("only the references were checked; for the sentences: {command}").format(
        command=f"souron check {answer} sources=notes/"))  # fmt: skip


def page_path(page: str, answer: str, open: bool) -> Path | None:
    """Return the path of the page, None for no page. Raises UserError if the file exists."""
    if not page and not open:
        return None
    path = Path(page or f"{Path(answer).stem if answer != '-' else 'answer'}-checked.html")
    if path.exists():
        raise UserError(
            "exists",
            _("{path} is there already").format(path=path),
            expected=_("the name of a new file"),
            fix=f"page={path.stem}-2.html",
        )
    return path


def tell(record: Any, path: Path | None) -> None:
    """Print the sentences with their signs, the differences and the passages."""
    from souron.society.claims.record import SIGNS, STATES, described, line

    for each in record.checked:
        style = STYLES[each.state]
        head = Text(f"{SIGNS[each.state]} {_(STATES[each.state])}  ", style)
        show(head.append(line(each.sentence), "not bold default"))
        if each.state != "no claim":
            show(*(Text(f"    {told}", "dim") for told in described(each)))
    if record.citations:
        show("", Text(_("References"), "bold"))
        for finding in record.citations:
            show(Text(f"{finding.told()}"), Text(f"    {line(finding.reference)}", "dim"))
    show("", Text(record.headline(), "bold"))
    for remark in record.remarks():
        note(remark)
    took = _("{files} files, {sentences} sentences, {time}.").format(
        files=units.whole(record.files), sentences=units.whole(record.sentences),
        time=units.seconds(record.seconds),
    )  # fmt: skip
    note(took)
    if path:
        show(_("page: {path}").format(path=path))
