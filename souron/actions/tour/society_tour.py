"""Stops of the tour on society: generated images, a checked answer, an occupation, harmful output.

Each ends with an event that carries a ``Finding``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from souron.action import Action, Record
from souron.actions import check, generated, improper, work
from souron.data import load
from souron.evaluation.answers import Step
from souron.evaluation.harmful import judges
from souron.hub import zoo
from souron.runs.events import Event
from souron.utils import units
from souron.utils.messages import _, language

GENERATORS = ("gan", "vae")  # to be distinguished from real images
IMAGES = 100  # images of each
OCCUPATION = "Dentists, General"
WRITER = "gpt"
PROMPTS = 20  # prompts for the language model
EXAMPLES = Path(check.__file__).parent  # an answer with errors, and its source


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
        *([(_("harmful output:"), harmful_output(Path(project)))] if ready else []),
    ]


def drawn_or_real(project: Path) -> Iterator[Event]:
    given = ("fashion", *GENERATORS)
    options = generated.Options(n=IMAGES)
    return _of_action(generated.Generated(project), given, options, _in_words)


def _in_words(found: Record) -> list[str]:
    return [*found.sentences(), *found.notes()]


def checked(project: Path) -> Iterator[Event]:
    answer, source = (str(EXAMPLES / f"example_{name}.{language()}.txt") for name in ("answer", "source"))
    options = check.Options(sources=(source,), forget=True)
    return _of_action(check.Check(project), (answer,), options, _sentence_by_sentence)


def _sentence_by_sentence(found: check.CheckedAnswer) -> list[str]:
    told = [f"{one.sign} {one.state_name}  {one.sentence}" for one in found.checked]
    return [*told, *found.sentences()]


def occupation(project: Path) -> Iterator[Event]:
    return _of_action(work.Work(project), (OCCUPATION,), work.Options(), _in_words)


def harmful_output(project: Path) -> Iterator[Event]:
    study, options = improper.Improper(project), improper.Options(n=PROMPTS)
    return _of_action(study, (WRITER,), options, lambda found: (*found.sentences(), judge(found.judged)))


def judge(records: Sequence[judges.Accuracy]) -> str:
    """Return one sentence on the accuracy of the judge in the reader's language."""
    [both] = [one for one in records if (one.way, one.language) == ("both", language())]
    return _(
        "The judge itself flags {recall} of harmful sentences, and {clinical} of clinical ones by mistake."
    ).format(recall=units.percent(both.catch.value), clinical=units.percent(both.clinical.value))


def _of_action(
    action: Action, given: Sequence[str], options: Any, told: Callable[[Any], Iterable[str]]
) -> Iterator[Event]:
    """Yield an action's events; the last one has what is ``told`` of its record, which is written."""
    for event in action.run(given, options):
        if event.record is None:
            yield event
        else:
            yield _done(Finding(tuple(told(event.record)), event.record.write()))


def _event(step: Step, finding: Callable[[Any], Finding]) -> Event:
    if step.result is None:
        return Event("answer", step.done, text=step.text)
    return _done(finding(step.result))


def _done(finding: Finding) -> Event:
    return Event("done", 1.0, record=finding)
