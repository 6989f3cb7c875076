"""Stops of the tour on society: generated images, a checked answer, an occupation, harmful output.

Each ends with an event that carries a ``Finding``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from souron.data import load
from souron.evaluation.answers import Step
from souron.hub import zoo
from souron.report import claims as claims_page
from souron.runs.events import Event
from souron.society.claims import faithfulness
from souron.society.improper import audit as improper_audit
from souron.society.improper import judges
from souron.society.improper import page as improper_page
from souron.studies import generated, work
from souron.study import Study
from souron.utils import files, units
from souron.utils.messages import _, language

GENERATORS = ("gan", "vae")  # to be distinguished from real images
PICTURES = 100  # images of each
OCCUPATION = "Dentists, General"
WRITER = "gpt"
PROMPTS = 20  # prompts for the language model
EXAMPLES = Path(faithfulness.__file__).parent  # an answer with errors, and its source


@dataclass(frozen=True)
class Finding:
    """The result of a stop."""

    sentences: tuple[str, ...]
    page: Path

    def as_json(self) -> dict[str, Any]:
        return {"sentence": " ".join(self.sentences), "page": self.page}


def stops(project: str | Path) -> list[tuple[str, Iterator[Event]]]:
    """Return (title, events) of each stop.

    Stops that need ready-trained systems or Fashion-MNIST are left out where these are missing.
    """
    ready = zoo.root() is not None
    known = ready and load.names()["fashion"].where()
    return [
        *([(_("generated or real:"), drawn_or_real(Path(project)))] if known else []),
        (_("an answer checked:"), checked(Path(project))),
        (_("an occupation:"), occupation(Path(project))),
        *([(_("inappropriate output:"), improper_output(project))] if ready else []),
    ]


def drawn_or_real(project: Path) -> Iterator[Event]:
    given = ("fashion", *GENERATORS)
    return measured(generated.Generated(project), given, generated.Options(n=PICTURES))


def measured(study: Study, given: Sequence[str], options: Any) -> Iterator[Event]:
    """Run a study and yield its events; the last one has its sentences and caveats."""
    for event in study.run(given, options):
        found = event.record
        yield (
            event
            if found is None
            else _done(Finding((*found.sentences(), *found.notes()), found.write()))
        )


def checked(project: Path) -> Iterator[Event]:
    answer, source = (
        EXAMPLES / f"example_{name}.{language()}.txt" for name in ("answer", "source")
    )
    for event in faithfulness.checking(answer, source, keep=False):
        if event.record is None:
            yield event
            continue
        page = files.new_folder(project / "check", answer.stem) / "report.html"
        claims_page.write(event.record, page)
        told = (f"{one.sign} {one.state_name}  {one.sentence}" for one in event.record.checked)
        yield _done(Finding((*told, event.record.headline()), page))


def occupation(project: Path) -> Iterator[Event]:
    return measured(work.Work(project), (OCCUPATION,), work.Options())


def improper_output(project: str | Path) -> Iterator[Event]:
    for step in improper_audit.auditing(WRITER, n=PROMPTS, project=project):
        yield _event(step, lambda found: Finding(
            (improper_page.headline(found), judge(found.judged)), improper_page.write(found)
        ))  # fmt: skip


def judge(records: Sequence[judges.Record]) -> str:
    """Return one sentence on the accuracy of the judge in the reader's language."""
    [both] = [one for one in records if (one.way, one.language) == ("both", language())]
    return _(
        "The judge itself flags {recall} of inappropriate sentences, and {clinical} of clinical "
        "ones by mistake."
    ).format(recall=units.percent(both.catch.value), clinical=units.percent(both.clinical.value))


def _event(step: Step, finding: Callable[[Any], Finding]) -> Event:
    if step.result is None:
        return Event("answer", step.done, text=step.text)
    return _done(finding(step.result))


def _done(finding: Finding) -> Event:
    return Event("done", 1.0, record=finding)
