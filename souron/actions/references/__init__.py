"""References in a text: those that cannot exist, and those that differ from a library.

No network is used; ``souron fetch references`` asks registries and makes a library of the answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from souron.action import Action, Given
from souron.actions.references import findings, library
from souron.actions.references.record import ReferencesRecord
from souron.kinds.signature import Choice
from souron.utils import files
from souron.utils.messages import N_, _

if TYPE_CHECKING:
    from souron.runs.events import Event


@dataclass(frozen=True)
class Options:
    library: Annotated[
        tuple[str, ...], Choice(N_("your publications (.bib, .ris, .nbib), for references"), metavar="FILE")
    ] = ()


class References(Action):
    """Check each reference of some texts, together with a library where there is one."""

    title = N_("Check the references in a text, also against your library.")
    examples = (
        "souron references answer.txt",
        "souron references thesis.md library=refs.bib",
        "souron references - library=zotero/ --json",
    )
    group = "society"
    given = Given("FILE...", N_("texts (.txt, .md), folders of them, or - for what is piped in"), 1, None)
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator["Event"]:
        from souron.runs import documents
        from souron.runs.events import Event

        yield Event("data", text=_("reading the text"))
        texts = documents.read(given)
        entries = library.read(options.library)
        yield Event("check")
        found = findings.check("\n\n".join(text.text for text in texts), entries)
        name = Path(given[0]).name if given[0] != documents.STDIN else ""
        place = files.new_folder(self.project / "references", Path(name).stem or "text")
        yield Event("done", 1.0, record=ReferencesRecord(name, found, len(entries), place))
