"""Check an answer of a language model against its sources, or its references alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from souron.action import Action, Given, Text, text_of
from souron.actions.check import faithfulness
from souron.actions.check.record import CheckedAnswer, CheckedReferences
from souron.actions.references import findings as references
from souron.actions.references import library
from souron.kinds.signature import Choice
from souron.kinds.text import STDIN
from souron.runs.events import Event
from souron.utils.messages import N_, UserError, _


@dataclass(frozen=True)
class Options:
    sources: Annotated[
        tuple[str, ...], Choice(N_("the texts that should support it; repeatable"), metavar="FILE|FOLDER", text=True)
    ] = ()
    library: Annotated[
        tuple[str, ...], Choice(N_("your publications (.bib, .ris, .nbib), for references"), metavar="FILE")
    ] = ()
    page: Annotated[str, Choice(N_("write the result as one HTML page, and nothing else"), metavar="FILE")] = ""
    model: Annotated[str, Choice(N_("the language model that gave the answer"), metavar="RUN")] = ""
    question: Annotated[str, Choice(N_("what it was asked"), metavar="TEXT")] = ""
    samples: Annotated[int, Choice(N_("answers to sample again (default 0)"), low=0, high=20)] = 0
    seed: Annotated[int, Choice(N_("random seed (default 0)"), low=0)] = 0
    forget: Annotated[bool, Choice(N_("keep no index of the texts in the cache"))] = False


class Check(Action):
    """Say of each sentence whether a source supports or contradicts it.

    Without sources only the references are checked, by their check digits and against ``library``.
    """

    title = N_("Check an answer against its sources, sentence by sentence.")
    examples = (
        "souron check answer.txt sources=notes/",
        "souron check - sources=guide.txt page=checked.html",
        "souron check answer.txt library=refs.bib          (its references alone)",
        "souron check answer.txt sources=notes/ library=refs.bib --json",
        'souron check answer.txt sources=notes/ model=smollm2 question="..." samples=5',
    )
    group = "society"
    given = Given("ANSWER", N_("the answer: a text (.txt, .md), or - for what is piped in"))
    texts = True
    reads_only = True

    def run(self, given: Sequence[Any], options: Options) -> Iterator[Event]:
        page = new_page(options.page)
        [answer] = map(text_of, given)
        for event in self._events(answer, options):
            if event.record is not None and page:
                event.record.page = page
            elif event.record is not None:
                event.record.folder = self.new_folder(Path(answer.file).stem)
            yield event

    def _events(self, answer: Text, options: Options) -> Iterator[Event]:
        """Yield the events of the check; the record of the last one has no folder yet."""
        if options.sources:
            yield from faithfulness.checking(
                answer,
                options.sources,
                keep=self.writes and not options.forget,
                library=options.library,
                model=options.model,
                samples=options.samples,
                question=options.question,
                seed=options.seed,
            )
        else:
            findings = references.check(answer.text, library.read(options.library))
            record = CheckedReferences(findings, answer.file or STDIN)
            yield Event("done", 1.0, record=record)


def new_page(name: str) -> Path | None:
    """Return the path of a page that is asked for. Raises UserError if the file exists."""
    if not name:
        return None
    path = Path(name)
    if path.exists():
        raise UserError(
            "exists",
            _("{path} is there already").format(path=path),
            expected=_("the name of a new file"),
            fix=f"page={path.stem}-2.html",
        )
    return path


__all__ = ["Check", "CheckedAnswer", "CheckedReferences", "Options"]
