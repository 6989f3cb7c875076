"""``souron fetch references``: ask registries about the identifiers in texts."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from souron.cli import console
from souron.cli.console import print_json, screen, show
from souron.cli.parsing import arguments
from souron.utils.messages import UserError, _

EXAMPLE = "souron fetch references answer.txt"


def fetch(files: Sequence[str], out: str | None, agreed: bool) -> None:
    """Ask Crossref, PubMed and arXiv about the identifiers in texts, and save their answers."""
    from souron.actions.references import identifiers
    from souron.hub import references
    from souron.kinds import files as kinds_files

    if not files:
        raise arguments.missing("FILE", EXAMPLE)
    text = "\n\n".join(kinds_files.words(Path(file)) for file in files)
    found = [(one.kind, one.value) for one in identifiers.find(text) if not one.why]
    wanted = [pair for pair in dict.fromkeys(found) if references.answers(pair[0])]
    if not wanted:
        raise UserError(
            "references",
            _("no DOI, PMID, PMCID or arXiv number was found in {files}").format(files=", ".join(files)),
            expected=_("a text that gives them; titles alone are not asked for"),
            exit=3,
        )
    place = Path(out) if out else Path(files[0]).with_suffix(".references.json")
    consent(len(wanted), agreed)
    answers = []
    with console.fetching_bar("references") as progress:
        for answer in references.ask(wanted):
            answers.append(answer)
            progress(len(answers), len(wanted))
    count = references.store(place, answers)
    tell_answers(answers, place, count)
    if all(answer.state == "not asked" for answer in answers):
        raise typer.Exit(4)


def consent(count: int, agreed: bool) -> None:
    """Ask for consent to send identifiers to other servers. Raises UserError without it."""
    asked = _("{count} identifiers, and nothing else of the text, go to Crossref, doi.org, PubMed and arXiv.").format(
        count=count
    )
    if agreed:
        return
    if not screen.json and sys.stdin.isatty():
        console.note(asked)
        if typer.confirm(_("Ask them?")):
            return
    raise UserError("consent", asked, expected=_("your consent"), fix=f"{EXAMPLE} --yes", exit=5)


def tell_answers(answers: Sequence[Any], place: Path, count: int) -> None:
    if screen.json:
        print_json({"library": place, "records": count, "answers": [a.as_json() for a in answers]})
        return
    states = {"found": _("found"), "not found": _("not found there"), "not asked": _("could not be asked")}
    made = console.table(_("identifier"), _("asked"), _("answer"))
    for answer in answers:
        told = states[answer.state] + (f": {answer.why}" if answer.why else "")
        made.add_row(answer.value, answer.who, told)
    show(made, "", f"{_('kept in')} {place}")
