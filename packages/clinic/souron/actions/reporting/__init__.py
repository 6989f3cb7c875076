"""Fill the reporting table that a journal asks for from a finished run.

The guidelines are STARD-AI (2025), TRIPOD+AI (2024), the CLAIM 2024 update and TRIPOD-LLM (2025), one file each
(``guidelines``). An item is filled only with what the run's own files hold; the rest is left to the author.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from souron.action import Action, Given
from souron.actions.reporting import guidelines, source
from souron.actions.reporting.record import ReportingRecord, filled
from souron.kinds.signature import Choice
from souron.runs.events import Event
from souron.utils.messages import N_


@dataclass(frozen=True)
class Options:
    guideline: Annotated[
        str,
        Choice(
            N_("the guideline (default: the one that fits the run)"),
            among=("stard-ai", "tripod-ai", "claim", "tripod-llm"),
        ),
    ] = ""


class ReportingStudy(Action):
    """Fill a reporting guideline's items from a run, and write its Methods and Results as sentences."""

    title = N_("Fill the reporting table that a journal asks for from a run.")
    examples = (
        "souron reporting runs/classify/resnet-photos",
        "souron reporting runs/classify/resnet-photos guideline=claim",
        "souron reporting runs/exam/nearest-terms-3 guideline=tripod-llm",
    )
    group = "train"
    question = N_("What may I write?")
    given = Given("RUN", N_("the folder of a finished run or comparison, of an exam or an arena"))
    brief = True
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        [name] = given
        yield Event("data", text=str(name))
        read = source.read(name)
        guideline = guidelines.read(options.guideline or fitting(read))
        folder = self.new_folder(f"{read.folder.resolve().name}-{guideline.key}")
        yield Event("done", 1.0, record=ReportingRecord(guideline, read, filled(guideline, read), folder))


def fitting(read: source.Source) -> str:
    """Return the guideline for a run: of language, of a diagnosis, of other images, or of a prediction."""
    if read.of_language:
        return "tripod-llm"
    if source.mapping(read.receipt.get("decision")).get("positive"):
        return "stard-ai"
    return "claim" if read.of_images else "tripod-ai"
